//! The details of the chosen connection: how its ends stand, or how it ended, and every step of
//! both in the order of time.
//!
//! Steps are dated by the moment the new state was seen; how much earlier it may have begun stands
//! beside. When there is not room for all, the newest are shown and the others counted.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::verdict::judge;
use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Certainty, Connection, Side, Track, When};
use crate::view::duration;
use crate::view::plain::plain;
use crate::view::tui::heard::LabNote;
use crate::view::tui::{NOT_VISIBLE, View, letter, pad, shorten_both, shown_state};

/// Draws the pane.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>, connection: &Connection) {
    if area.height == 0 {
        return;
    }
    let bar = Rect::new(area.x, area.y, area.width, 1);
    buffer.set_style(bar, view.theme.bar());
    title(connection, area.width).render(bar, buffer);
    let room = usize::from(area.height - 1);
    let mut lines = standing(connection, view, area.width);
    lines.truncate(room);
    let left = room - lines.len();
    lines.extend(newest(connection, view, area.width, left));
    for (y, line) in (area.y + 1..area.bottom()).zip(lines) {
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

fn title(connection: &Connection, width: u16) -> Line<'static> {
    let name = format!(" connection {}", connection.id());
    let room = usize::from(width).saturating_sub(name.len() + 8);
    let [a, b] = Side::BOTH.map(|side| connection.endpoint(side).to_string());
    let (a, b) = shorten_both(&a, &b, room);
    Line::from(format!("{name}: A {a}, B {b}"))
}

/// How it ended, or how both ends stand.
fn standing(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    if connection.closed().is_some() {
        let verdict = judge(connection);
        let sentence = format!("{}: {}", verdict.code.token(), verdict.sentence);
        let room = usize::from(width.saturating_sub(2));
        return wrap(&plain(&sentence), room)
            .into_iter()
            .map(|line| Line::styled(format!(" {line}"), view.theme.strong()))
            .collect();
    }
    Side::BOTH
        .into_iter()
        .map(|side| end_line(connection, side, view))
        .collect()
}

fn end_line(connection: &Connection, side: Side, view: &View<'_>) -> Line<'static> {
    let name = format!(" {} ", letter(side));
    let Some(track) = connection.end(side) else {
        return Line::styled(format!("{name}{NOT_VISIBLE}"), view.theme.quiet());
    };
    let Some(index) = track.span_at(view.at) else {
        return Line::raw(name);
    };
    let state = track.spans()[index].state;
    let age = track
        .age(index, view.at)
        .map_or_else(String::new, |age| format!(" for {}", duration::age(age)));
    Line::from(vec![
        Span::raw(name),
        Span::styled(shown_state(state), view.theme.state(state)),
        Span::raw(age),
        Span::raw(facts(track, state, view.at)),
    ])
}

/// What is known of a living end beside its state.
fn facts(track: &Track, state: TcpState, at: Timestamp) -> String {
    if state == TcpState::Close {
        return String::new();
    }
    let last = track.last();
    let mut facts = String::new();
    if let Some(note) = track.descriptor_in(state).and_then(|d| held(state, d)) {
        facts.push_str(", ");
        facts.push_str(note);
    }
    for (count, what) in [
        (last.unread(), "unread"),
        (last.unacked(), "not acknowledged"),
    ] {
        match count {
            None | Some(0) => {}
            Some(1) => facts.push_str(&format!(", 1 byte {what}")),
            Some(bytes) => facts.push_str(&format!(", {bytes} bytes {what}")),
        }
    }
    if let Some(timer) = last.timer {
        let left = duration::brief(timer.deadline.since(at));
        facts.push_str(&match state {
            TcpState::TimeWait => format!(", ends in {left}"),
            TcpState::FinWait2 if last.is_mini_socket() => format!(", given up in {left}"),
            _ => format!(", {} timer {left}", timer.kind.name()),
        });
    }
    facts
}

/// Who holds the socket, where that tells something of this state.
const fn held(state: TcpState, descriptor: Descriptor) -> Option<&'static str> {
    match (state, descriptor) {
        (_, Descriptor::NotAccepted) => Some("not accepted: waits in the accept queue"),
        (TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing, Descriptor::Held) => {
            Some("descriptor held: write side shut")
        }
        (TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing, Descriptor::Gone) => {
            Some("descriptor gone")
        }
        (TcpState::CloseWait, Descriptor::Held) => Some("descriptor held: not closed yet"),
        _ => None,
    }
}

/// A line of the history, not yet put into words: only what is in sight is.
enum Entry<'a> {
    Step(Side, &'a Track, usize),
    Note(&'a LabNote),
}

impl Entry<'_> {
    fn at(&self) -> Timestamp {
        match self {
            Self::Step(_, track, index) => track.spans()[*index].from.not_after(),
            Self::Note(note) => note.at,
        }
    }

    fn lines(&self, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
        match self {
            Self::Step(side, track, index) => vec![step(*side, track, *index, view, width)],
            Self::Note(note) => note_lines(note, view, width),
        }
    }
}

/// What a process announced, in as many lines as it needs.
fn note_lines(note: &LabNote, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    /// Below the text of the first line.
    const INDENT: usize = 15;
    let text = format!("[{}] {}", note.pid, plain(&note.text));
    let room = usize::from(width).saturating_sub(INDENT).max(1);
    wrap(&text, room)
        .into_iter()
        .enumerate()
        .map(|(index, line)| {
            let time = if index == 0 {
                view.heard.time(note.at)
            } else {
                String::new()
            };
            Line::raw(format!(" {time:<12}  {line}"))
        })
        .collect()
}

/// Steps and notes in the order of time.
fn history<'a>(connection: &'a Connection, view: &View<'a>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (side, track) in connection.visible() {
        let known = track.span_at(view.at).map_or(0, |last| last + 1);
        let first = track.spans().first();
        let born = first.is_some_and(|span| span.state == TcpState::Close);
        entries.extend((usize::from(born)..known).map(|index| Entry::Step(side, track, index)));
    }
    let notes = view.heard.notes().filter(|note| note.at <= view.at);
    entries.extend(notes.map(Entry::Note));
    // Stable: steps of one moment keep the order of their track.
    entries.sort_by_key(Entry::at);
    entries
}

/// `14:02:11.532  A  ESTABLISHED -> FIN_WAIT1  within 98 ms  descriptor gone`
fn step(side: Side, track: &Track, index: usize, view: &View<'_>, width: u16) -> Line<'static> {
    let span = &track.spans()[index];
    let time = view.heard.time(span.from.not_after());
    let before = index.checked_sub(1).map(|index| track.spans()[index].state);
    let mut spans = vec![Span::raw(format!(" {time:<12}  {} ", letter(side)))];
    let taken = before.map_or(0, |before| before.name().len() + 4);
    if let Some(before) = before {
        spans.push(Span::styled(before.name(), view.theme.state(before)));
        spans.push(Span::raw(" -> "));
    }
    let name = pad(shown_state(span.state), STEP_WIDTH.saturating_sub(taken));
    spans.push(Span::styled(name, view.theme.state(span.state)));
    spans.push(Span::styled(
        format!("  {:<14}", certainty(span.certainty, span.from)),
        certainty_style(span.certainty, view),
    ));
    let note = span.descriptor.and_then(|d| held(span.state, d));
    if let Some(note) = note {
        let short = note.split_once(':').map_or(note, |(short, _)| short);
        let note = if width >= 100 { note } else { short };
        spans.push(Span::raw(format!("  {note}")));
    }
    Line::from(spans)
}

/// The longest step: `ESTABLISHED -> CLOSE_WAIT`.
const STEP_WIDTH: usize = 25;

/// How surely the beginning is known.
fn certainty(certainty: Certainty, from: When) -> String {
    match (certainty, from) {
        (Certainty::Inferred, _) => "inferred".to_owned(),
        (_, When::At(_)) => "exact".to_owned(),
        (_, When::Between(from, to)) => format!("within {}", duration::brief(to.since(from))),
        (_, When::Before(_)) => "began earlier".to_owned(),
    }
}

fn certainty_style(certainty: Certainty, view: &View<'_>) -> Style {
    match certainty {
        Certainty::Inferred => view.theme.quiet(),
        Certainty::Exact | Certainty::Sampled => Style::new(),
    }
}

/// The newest of the history in `room` lines; when not all fit, the first line counts the others.
fn newest(connection: &Connection, view: &View<'_>, width: u16, room: usize) -> Vec<Line<'static>> {
    let all = history(connection, view);
    let mut blocks: Vec<Vec<Line<'static>>> = Vec::new();
    let mut taken = 0;
    for entry in all.iter().rev() {
        let block = entry.lines(view, width);
        taken += block.len();
        let is_last = blocks.len() + 1 == all.len();
        // One line is kept for the count, unless nothing is left to count.
        if taken + usize::from(!is_last && room > 1) > room {
            break;
        }
        blocks.push(block);
    }
    let hidden = all.len() - blocks.len();
    let count = (hidden > 0 && room > 1).then(|| Line::raw(format!(" ({hidden} earlier)")));
    count
        .into_iter()
        .chain(blocks.into_iter().rev().flatten())
        .collect()
}

/// Words in lines of at most `width` columns; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
