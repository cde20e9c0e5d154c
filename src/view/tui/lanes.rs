//! The timeline pane: two lanes a connection on one axis, A above B.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::timeline::{ConnId, Connection, Side};
use crate::view::tui::axis::{Axis, Zoom};
use crate::view::tui::lane::{self, Cell, Kind};
use crate::view::tui::sign::{of_severity, signs};
use crate::view::tui::theme::Theme;
use crate::view::tui::{View, letter, not_visible, shorten};

/// How many connections have both lanes in a pane of this height, below its axis.
pub(super) const fn capacity(height: u16) -> usize {
    (height.saturating_sub(1) / 2) as usize
}

/// Draws the axis and the lanes.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    zoom: Zoom,
    rows: &[&Connection],
    focus: Option<ConnId>,
) {
    let gutter = gutter_width(area.width);
    let width = area.width.saturating_sub(gutter);
    let axis = Axis::new(view.at, zoom, width);
    draw_axis(buffer, area, gutter, view, &axis);
    let bottom = area.bottom();
    for (index, connection) in (0u16..).zip(rows) {
        for (below, side) in (0u16..).zip(Side::BOTH) {
            let y = area.y + 1 + index * 2 + below;
            if y >= bottom {
                return;
            }
            let row = Rect::new(area.x, y, area.width, 1);
            let is_focus = focus == Some(connection.id());
            draw_gutter(buffer, row, gutter, connection, side, is_focus, view.theme);
            if let Some(severity) = view.worst_of(connection.id(), Some(side)) {
                // Before the letter of the end.
                buffer[(area.x + 6, y)]
                    .set_char(of_severity(severity))
                    .set_style(view.theme.severity(severity));
            }
            draw_lane(buffer, row, gutter, view, connection, side, &axis);
        }
    }
}

/// The number and the letter; the address too where there is room.
const fn gutter_width(width: u16) -> u16 {
    if width >= 110 { 32 } else { 9 }
}

fn draw_axis(buffer: &mut Buffer, area: Rect, gutter: u16, view: &View<'_>, axis: &Axis) {
    let bar = view.theme.bar();
    buffer.set_style(Rect::new(area.x, area.y, area.width, 1), bar);
    buffer.set_stringn(area.x + 1, area.y, "time", 8, bar);
    let left = area.x + gutter;
    for (column, label) in axis.ticks() {
        let length = u16::try_from(label.chars().count()).unwrap_or(u16::MAX);
        // The last sign of the label stands above its column's mark.
        if let Some(start) = (column + 1).checked_sub(length) {
            buffer.set_stringn(left + start, area.y, &label, length.into(), bar);
        }
    }
    let present = match view.playback {
        Some(playback) => playback.standing.at_the_axis(),
        None if view.is_paused() => "paused",
        None => "now",
    };
    let start = area
        .right()
        .saturating_sub(u16::try_from(present.len()).unwrap_or(0));
    if start > left {
        buffer.set_stringn(start, area.y, present, present.len(), bar);
    }
}

fn draw_gutter(
    buffer: &mut Buffer,
    row: Rect,
    gutter: u16,
    connection: &Connection,
    side: Side,
    is_focus: bool,
    theme: Theme,
) {
    let style = if is_focus {
        theme.strong()
    } else {
        Style::new()
    };
    let (mark, number) = match side {
        Side::A => (
            if is_focus { '>' } else { ' ' },
            connection.id().to_string(),
        ),
        Side::B => (' ', String::new()),
    };
    let mut text = format!("{mark}{number:>5} {} ", letter(side));
    if gutter > 9 {
        let address = shorten(&connection.endpoint(side).to_string(), 22);
        text.push_str(&address);
    }
    buffer.set_stringn(row.x, row.y, &text, gutter.into(), style);
}

fn draw_lane(
    buffer: &mut Buffer,
    row: Rect,
    gutter: u16,
    view: &View<'_>,
    connection: &Connection,
    side: Side,
    axis: &Axis,
) {
    let left = row.x + gutter;
    let Some(track) = connection.end(side) else {
        let room = usize::from(axis.width());
        buffer.set_stringn(
            left,
            row.y,
            not_visible(connection),
            room,
            view.theme.quiet(),
        );
        return;
    };
    let signs = signs(track, view.findings_of(connection.id(), side), view.at);
    for (x, cell) in (left..row.right()).zip(lane::cells(track, &signs, axis, view.at)) {
        buffer[(x, row.y)]
            .set_char(cell.glyph)
            .set_style(style_of(cell, view.theme));
    }
}

fn style_of(cell: Cell, theme: Theme) -> Style {
    match cell.kind {
        Kind::Blank => Style::new(),
        Kind::Fill(state) => theme.state(state),
        Kind::Name(state) => theme.state(state).patch(theme.strong()),
        Kind::Sign(severity) => {
            severity.map_or(theme.strong(), |severity| theme.severity(severity))
        }
        Kind::Unsure => theme.quiet(),
    }
}
