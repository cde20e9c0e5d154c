//! The ladder: the exchange of the chosen connection as a sequence diagram between its two ends.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::timeline::Connection;
use crate::view::tui::View;
use crate::view::tui::scroll::Scroll;

/// Draws the pane.
pub(super) fn draw(
    _buffer: &mut Buffer,
    _area: Rect,
    _view: &View<'_>,
    _connection: &Connection,
    _scroll: &mut Scroll,
) {
}
