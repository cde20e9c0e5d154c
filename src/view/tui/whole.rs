//! All that is known of one connection: its sockets, their queues, timers, holders and counters, the
//! verdict, the findings with their advice, and every step.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::timeline::Connection;
use crate::view::tui::scroll::Scroll;
use crate::view::tui::{View, details};

/// Draws the pane.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    connection: &Connection,
    _scroll: &mut Scroll,
) {
    details::draw(buffer, area, view, connection);
}
