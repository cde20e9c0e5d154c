//! All that is known of one connection: its sockets, their queues, timers, holders and counters, the
//! verdict, the findings with their advice, and every step.
//!
//! The rows have fixed places: what is not known shows `-` in its own, or says why, so that nothing
//! jumps when it comes. The trap: a text as long as this may not be put into words ten times a
//! second, so a part first says how high it is, and only those in sight are made.

mod ending;
mod ends;
mod holders;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::{Finding, Place};
use crate::model::{Holder, Timestamp};
use crate::timeline::{Connection, Side, Track};
use crate::view::finding::sentence;
use crate::view::plain::plain;
use crate::view::tui::details::history::{Entry, history};
use crate::view::tui::details::{flow, sign_and_end, title};
use crate::view::tui::findings::{self, reasons};
use crate::view::tui::fit::{width_of, wrap};
use crate::view::tui::pane::{draw_bar, place};
use crate::view::tui::scroll::Scroll;
use crate::view::tui::{View, letter};

/// Draws the pane.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    connection: &Connection,
    scroll: &mut Scroll,
) {
    if area.height == 0 {
        return;
    }
    let parts = parts(connection, view, area.width);
    let heights: Vec<usize> = parts
        .iter()
        .map(|part| part.height(view, area.width))
        .collect();
    let total = heights.iter().sum();
    let window = scroll.window_from_begin(total, usize::from(area.height - 1));
    let mut place = place(window.start, window.end, total);
    if area.width >= ROOMY && !place.is_empty() {
        place.push_str(": PgUp PgDn ");
    }
    let room = area.width.saturating_sub(columns_of(&place));
    draw_bar(buffer, area, view, title(connection, room), place);
    let mut top = 0;
    for (part, height) in parts.into_iter().zip(heights) {
        let bottom = top + height;
        if bottom > window.start && top < window.end {
            let lines = part.lines(view, area.width);
            for (place, line) in (top..bottom).zip(lines) {
                let row = place.checked_sub(window.start).map(u16::try_from);
                if let Some(Ok(row)) = row.filter(|_| place < window.end) {
                    let y = area.y + 1 + row;
                    line.render(Rect::new(area.x, y, area.width, 1), buffer);
                }
            }
        }
        top = bottom;
    }
}

/// From here on there is room for the keys beside the place.
const ROOMY: u16 = 100;

fn columns_of(text: &str) -> u16 {
    u16::try_from(width_of(text)).unwrap_or(u16::MAX)
}

/// A part of the text, not yet put into words unless that is cheap.
enum Part<'a> {
    Line(Line<'static>),
    Holder(&'a Holder),
    /// With the moment of the one before.
    Entry(Entry<'a>, Option<Timestamp>),
}

impl Part<'_> {
    fn height(&self, view: &View<'_>, width: u16) -> usize {
        match self {
            Self::Line(_) => 1,
            Self::Holder(holder) => holders::height(holder, width),
            Self::Entry(entry, _) => entry.height_after(view, width),
        }
    }

    fn lines(self, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
        match self {
            Self::Line(line) => vec![line],
            Self::Holder(holder) => holders::lines(holder, width),
            Self::Entry(entry, before) => entry.lines_after(before, view, width),
        }
    }
}

fn parts<'a>(connection: &'a Connection, view: &View<'a>, width: u16) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    let line = |parts: &mut Vec<Part<'a>>, lines: Vec<Line<'static>>| {
        parts.extend(lines.into_iter().map(Part::Line));
    };
    line(&mut parts, ending::sentence(connection, view, width));
    line(&mut parts, ends::lines(connection, view, width));
    line(&mut parts, heading("found", view));
    line(&mut parts, found(connection, view, width));
    line(&mut parts, heading("how it ended", view));
    line(&mut parts, ending::lines(connection, view, width));
    line(&mut parts, heading("held by", view));
    for side in Side::BOTH {
        let Some(track) = connection.end(side) else {
            continue;
        };
        line(&mut parts, holders::summary(side, track, view, width));
        parts.extend(track.owners().holders().iter().map(Part::Holder));
    }
    line(&mut parts, heading("history", view));
    line(&mut parts, not_kept(connection, width));
    let mut before = None;
    for entry in history(connection, view) {
        let at = entry.at();
        parts.push(Part::Entry(entry, before.replace(at)));
    }
    parts
}

fn heading(text: &'static str, view: &View<'_>) -> Vec<Line<'static>> {
    vec![
        Line::default(),
        Line::styled(format!(" {text}"), view.theme.strong()),
    ]
}

/// Columns of the words that head a row.
const LABEL: usize = 13;

/// ` timer       timewait, 55 s left`, in as many lines as it needs.
fn row(label: &str, value: Value, width: u16) -> Vec<Line<'static>> {
    let mut head = vec![Span::raw(format!(" {label:<w$}", w = LABEL - 1))];
    head.extend(value.head);
    let lines = flow(head, &value.text, LABEL, width).into_iter();
    lines.map(|line| line.patch_style(value.style)).collect()
}

/// What a row says, behind what stands out in it.
#[derive(Default)]
struct Value {
    head: Option<Span<'static>>,
    text: String,
    style: Style,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// What stands where nothing is known.
const UNKNOWN: &str = "-";

/// What was found, worst first: since when, of whom and what, why, and what to do about it.
fn found(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let all = view.diagnosis.about(connection.id());
    let mut all: Vec<&Finding> = all.filter(|finding| finding.at <= view.at).collect();
    if all.is_empty() {
        return vec![Line::raw(" - nothing")];
    }
    all.sort_by_key(|finding| (finding.over.is_some(), Place::of(finding)));
    let lines = all.into_iter();
    lines
        .flat_map(|finding| finding_lines(finding, connection, view, width))
        .collect()
}

fn finding_lines(
    finding: &Finding,
    connection: &Connection,
    view: &View<'_>,
    width: u16,
) -> Vec<Line<'static>> {
    let (head, rest) = match finding.over {
        None => (view.theme.severity(finding.severity), Style::new()),
        Some(_) => (view.theme.quiet(), view.theme.quiet()),
    };
    let title = findings::title(finding, view);
    let title = format!("{}{title}", sign_and_end(finding, connection));
    let mut lines = vec![Line::styled(title, head)];
    let room = usize::from(width.saturating_sub(1));
    let said = sentence(finding, view.at);
    let said = wrap(&plain(&said), room.saturating_sub(1).max(1));
    lines.extend(said.into_iter().map(|line| Line::raw(format!(" {line}"))));
    lines.extend(reasons(finding, room));
    lines.extend(findings::advice(finding, room));
    let lines = lines.into_iter();
    lines.map(|line| line.patch_style(rest)).collect()
}

/// What has happened and is not kept: there was too much of it.
fn not_kept(connection: &Connection, width: u16) -> Vec<Line<'static>> {
    let of = |(side, track): (Side, &Track)| {
        let counts = [
            (track.marks_dropped(), "older marks"),
            (track.holdings_dropped(), "sets of holders"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        counts.map(move |(count, what)| format!("{count} {what} of {}", letter(side)))
    };
    let all: Vec<String> = connection.visible().flat_map(of).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let text = format!("not kept: {}", all.join(", "));
    let lines = wrap(&text, usize::from(width.saturating_sub(2))).into_iter();
    lines.map(|line| Line::raw(format!(" {line}"))).collect()
}
