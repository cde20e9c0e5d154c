//! The timeline pane: two lanes a connection on one axis, A above B.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::timeline::{ConnId, Connection, Side};
use crate::view::tui::axis::Axis;
use crate::view::tui::lane::{self, Cell, Kind};
use crate::view::tui::sign::{of_severity, signs};
use crate::view::tui::theme::Theme;
use crate::view::tui::viewport::Scale;
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
    rows: &[&Connection],
    focus: Option<ConnId>,
) {
    let gutter = gutter_width(area.width);
    let chosen = rows.iter().find(|row| focus == Some(row.id()));
    let chosen = chosen.or(rows.first()).copied();
    let axis = view.viewport.axis(view.at, axis_width(area.width), chosen);
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
    draw_cursor(buffer, area, gutter, view, &axis, rows.len());
}

/// A column of its own, through all lanes.
fn draw_cursor(
    buffer: &mut Buffer,
    area: Rect,
    gutter: u16,
    view: &View<'_>,
    axis: &Axis,
    rows: usize,
) {
    let column = view
        .viewport
        .cursor(view.at)
        .map(|cursor| axis.column(cursor));
    let column = column.and_then(|column| u16::try_from(column).ok());
    let Some(column) = column.filter(|&column| column < axis.width()) else {
        return;
    };
    let x = area.x + gutter + column;
    // The label at the right edge is a time: no letter of it gives way.
    if buffer[(x, area.y)].symbol() == " " {
        buffer[(x, area.y)].set_char(CURSOR);
    }
    let lanes = u16::try_from(2 * rows).unwrap_or(u16::MAX);
    let height = lanes.saturating_add(1).min(area.height);
    let style = view.theme.cursor();
    buffer.set_style(Rect::new(x, area.y, 1, height), style);
}

/// Above the column of the cursor.
pub(super) const CURSOR: char = '\u{25bd}';

/// Columns of the axis in a pane of this width.
pub(super) const fn axis_width(width: u16) -> u16 {
    width.saturating_sub(gutter_width(width))
}

/// The number and the letter; the address too where there is room.
pub(super) const fn gutter_width(width: u16) -> u16 {
    if width >= 110 { 32 } else { 9 }
}

fn draw_axis(buffer: &mut Buffer, area: Rect, gutter: u16, view: &View<'_>, axis: &Axis) {
    let bar = view.theme.bar();
    buffer.set_style(Rect::new(area.x, area.y, area.width, 1), bar);
    let scale = match view.viewport.scale() {
        Scale::Time => "time",
        Scale::Order => "order",
    };
    buffer.set_stringn(area.x + 1, area.y, scale, 8, bar);
    let edge = match view.playback {
        _ if !view.viewport.follows() => view.heard.time(view.viewport.right(view.at)),
        Some(playback) => playback.standing.at_the_axis().to_owned(),
        None if view.is_paused() => "paused".to_owned(),
        None => "now".to_owned(),
    };
    let edge = edge.trim_start();
    let left = area.x + gutter;
    let length = u16::try_from(edge.len()).unwrap_or(0);
    let start = area.right().saturating_sub(length);
    for (column, label) in axis.ticks() {
        let length = u16::try_from(label.chars().count()).unwrap_or(u16::MAX);
        // The last sign of the label stands above its column's mark.
        if let Some(place) = (column + 1).checked_sub(length)
            && left + column + 1 < start
        {
            buffer.set_stringn(left + place, area.y, &label, length.into(), bar);
        }
    }
    if start > left {
        buffer.set_stringn(start, area.y, edge, edge.len(), bar);
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
