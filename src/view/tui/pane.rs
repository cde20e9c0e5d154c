//! A pane of text: a bar that says what it is about, and lines below it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::view::tui::View;

/// Draws the bar and as many lines as there is room for; of no height, nothing.
pub(super) fn draw<'a>(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    title: Line<'_>,
    lines: impl IntoIterator<Item = Line<'a>>,
) {
    if area.height == 0 {
        return;
    }
    draw_bar(buffer, area, view, title, String::new());
    draw_lines(buffer, area, lines);
}

/// The line above a text: what it is about, and at the right which of its lines are in sight.
pub(super) fn draw_bar(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    title: Line<'_>,
    place: String,
) {
    let bar = Rect::new(area.x, area.y, area.width, 1);
    buffer.set_style(bar, view.theme.bar());
    title.render(bar, buffer);
    Line::raw(place).right_aligned().render(bar, buffer);
}

/// The lines below the bar.
pub(super) fn draw_lines<'a>(
    buffer: &mut Buffer,
    area: Rect,
    lines: impl IntoIterator<Item = Line<'a>>,
) {
    for (y, line) in (area.y + 1..area.bottom()).zip(lines) {
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

/// Which lines are in sight; nothing when all are.
pub(super) fn place(first: usize, end: usize, total: usize) -> String {
    match first == 0 && end == total {
        true => String::new(),
        false => format!(" {}-{end} of {total}", first + 1),
    }
}
