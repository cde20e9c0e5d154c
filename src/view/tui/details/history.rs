//! The history of the chosen connection: steps, marks and notes of the lab, in the order of time.
//!
//! Steps are dated by the moment the new state was seen; how much earlier it may have begun stands
//! beside, with the cause. When there is not room for all, the newest are shown and the others
//! counted, but for the step that began the end of a closed connection. The trap: a connection whose
//! peer is gone sends the same segment again for minutes, and must not push everything else out of
//! sight; what follows one another is one line.

use std::time::Duration;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::diagnosis::{Finding, Severity};
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Age, Cause, Certainty, Connection, Mark, MarkKind, Side, Track, Why, track};
use crate::view::cause::{self, Step, certainty};
use crate::view::duration;
use crate::view::exchange::{Delivered, delivered};
use crate::view::owners;
use crate::view::plain::plain;
use crate::view::tui::details::held;
use crate::view::tui::fit::wrap_after;
use crate::view::tui::heard::LabNote;
use crate::view::tui::sign::of_severity;
use crate::view::tui::{View, letter, pad, shown_state};
use crate::view::wall;

/// A line of the history, not yet put into words: only what is in sight is.
pub(in crate::view::tui) enum Entry<'a> {
    Step(Side, &'a Track, usize),
    Mark(Side, &'a Mark),
    /// A reset sent, told so much later than that it had come to the other end.
    ToldLate(Side, &'a Mark, Duration),
    /// A segment sent again and again, and when for the last time.
    Retransmits(Side, &'a Mark, usize, Timestamp),
    Note(&'a LabNote),
    /// A set of holders, by its number since the end was met.
    Held(&'a Connection, Side, usize, Timestamp),
    /// Something was found that is over by now.
    Found(Side, &'a Finding),
    Over(Side, &'a Finding, Timestamp),
}

impl Entry<'_> {
    pub(in crate::view::tui) fn at(&self) -> Timestamp {
        match self {
            Self::Step(_, track, index) => track.spans()[*index].from.not_after(),
            Self::Mark(_, mark) | Self::ToldLate(_, mark, _) | Self::Retransmits(_, mark, ..) => {
                mark.at
            }
            Self::Note(note) => note.at,
            Self::Held(.., at) | Self::Over(.., at) => *at,
            Self::Found(_, finding) => finding.at,
        }
    }

    /// Where it stands: a cause above its effect, the later of the two keys.
    fn place(&self) -> (Timestamp, bool) {
        match self {
            Self::ToldLate(.., late) => (self.at().minus(*late), false),
            _ => (self.at(), true),
        }
    }

    /// Whether an end that was open began to close by itself, or was ended at once.
    fn starts_closing(&self) -> bool {
        let Self::Step(_, track, index) = self else {
            return false;
        };
        let before = index.checked_sub(1).map(|index| track.spans()[index].state);
        let is_open = matches!(
            before,
            Some(TcpState::SynSent | TcpState::SynRecv | TcpState::Established)
        );
        let state = track.spans()[*index].state;
        is_open && matches!(state, TcpState::FinWait1 | TcpState::Close)
    }

    fn lines(&self, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
        let head = format!(" {}  ", view.heard.time(self.at()));
        self.said(view, Words::ForRoom(width)).lines(head, width)
    }

    /// All of it, with the time that has passed since the entry before.
    pub(in crate::view::tui) fn lines_after(
        &self,
        before: Option<Timestamp>,
        view: &View<'_>,
        width: u16,
    ) -> Vec<Line<'static>> {
        let since = before.map_or_else(String::new, |before| {
            // What was told late stands above what is earlier.
            let (sign, since) = match before > self.at() {
                true => ('-', before.since(self.at())),
                false => ('+', self.at().since(before)),
            };
            let age = Age {
                at_least: since,
                at_most: Some(since),
            };
            format!("{sign}{}", duration::narrow_age(age))
        });
        let head = format!(" {} {since:>DIFFERENCE$} ", view.heard.time(self.at()));
        self.said(view, Words::InFull).lines(head, width)
    }

    /// How many lines that takes.
    pub(in crate::view::tui) fn height_after(&self, view: &View<'_>, width: u16) -> usize {
        /// The time, the difference, and what stands between them.
        const HEAD: usize = wall::WIDTH + DIFFERENCE + 3;
        self.said(view, Words::InFull).height(HEAD, width)
    }

    fn said(&self, view: &View<'_>, words: Words) -> Said {
        let (who, text, style) = match self {
            Self::Step(side, track, index) => return step(*side, track, *index, view, words),
            Self::Mark(side, mark) => (side, cause::mark_words(mark), mark_style(mark, view)),
            Self::ToldLate(side, mark, late) => {
                let (words, late) = (cause::mark_words(mark), duration::brief(*late));
                let text = format!("{words}, told {late} after it had come");
                (side, text, mark_style(mark, view))
            }
            Self::Retransmits(side, first, times, last) => {
                let within = duration::brief(last.since(first.at));
                let text = format!("{}, {times} times in {within}", cause::mark_words(first));
                (side, text, Style::new())
            }
            Self::Note(note) => return Said::of_nobody(note),
            Self::Held(connection, side, nth, _) => {
                let text = owners::news(connection, *side, *nth).unwrap_or_default();
                (side, text, Style::new())
            }
            Self::Found(side, finding) => {
                let sign = of_severity(finding.severity);
                let text = format!("{sign} {}", finding.code.token());
                (side, text, Style::new())
            }
            Self::Over(side, finding, _) => {
                let text = format!("over: {}", finding.code.token());
                (side, text, view.theme.quiet())
            }
        };
        Said {
            who: Some(letter(*who)),
            states: Vec::new(),
            text,
            style,
        }
    }
}

/// Columns of the time since the entry before.
const DIFFERENCE: usize = 8;

/// How much is said of a step.
#[derive(Clone, Copy)]
enum Words {
    /// As much as there is room for in a pane of this width.
    ForRoom(u16),
    InFull,
}

/// What an entry says behind its time.
struct Said {
    /// Whose it is.
    who: Option<char>,
    /// Its columns of states.
    states: Vec<Span<'static>>,
    text: String,
    style: Style,
}

impl Said {
    fn of_nobody(note: &LabNote) -> Self {
        Self {
            who: None,
            states: Vec::new(),
            text: format!("[{}] {}", note.pid, plain(&note.text)),
            style: Style::new(),
        }
    }

    fn lines(self, time: String, width: u16) -> Vec<Line<'static>> {
        let mut head = vec![Span::raw(time)];
        head.extend(self.who.map(|who| Span::raw(format!("{who} "))));
        head.extend(self.states);
        flowing(head, &self.text, self.style, width)
    }

    /// How many lines it takes behind a time of so many columns.
    fn height(&self, time: usize, width: u16) -> usize {
        let who = self.who.map_or(0, |_| 2);
        let states: usize = self.states.iter().map(Span::width).sum();
        let (first, rest) = rooms(time + who + states, width);
        wrap_after(&self.text, first, rest).len().max(1)
    }
}

fn mark_style(mark: &Mark, view: &View<'_>) -> Style {
    match mark.kind {
        MarkKind::ResetSent(_) | MarkKind::ResetReceived | MarkKind::NoAnswer => view.theme.alert(),
        MarkKind::Retransmit | MarkKind::CloseCall | MarkKind::Freed => Style::new(),
    }
}

/// Below the text of the first line, where that is near the left.
const INDENT: usize = wall::WIDTH + 5;

/// Columns for a text in its first line, behind `taken` others, and in those below.
fn rooms(taken: usize, width: u16) -> (usize, usize) {
    let room = |taken: usize| usize::from(width).saturating_sub(taken).max(1);
    (room(taken), room(INDENT.min(taken)))
}

/// `head`, and behind it `text` in as many lines as it needs.
fn flowing(
    mut head: Vec<Span<'static>>,
    text: &str,
    style: Style,
    width: u16,
) -> Vec<Line<'static>> {
    let taken: usize = head.iter().map(Span::width).sum();
    let (first, rest) = rooms(taken, width);
    let indent = INDENT.min(taken);
    let parts = wrap_after(text, first, rest);
    let mut parts = parts.into_iter();
    head.push(Span::styled(parts.next().unwrap_or_default(), style));
    let rest = parts.map(|part| {
        let indented = format!("{:indent$}{part}", "");
        Line::styled(indented, style)
    });
    std::iter::once(Line::from(head)).chain(rest).collect()
}

/// Steps, marks and notes in the order of time.
pub(in crate::view::tui) fn history<'a>(
    connection: &'a Connection,
    view: &View<'a>,
) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (side, track) in connection.visible() {
        let known = track.span_at(view.at).map_or(0, |last| last + 1);
        let first = track.spans().first();
        let born = first.is_some_and(|span| span.state == TcpState::Close);
        entries.extend((usize::from(born)..known).map(|index| Entry::Step(side, track, index)));
        let marks = track.marks().iter().filter(|mark| mark.at <= view.at);
        let late = told_late(connection, side);
        let entry = |mark| told(side, mark, &late);
        entries.extend(marks.map(entry));
        entries.extend(held_sets(connection, side, track));
        entries.extend(passed(connection, side, view));
    }
    entries.retain(|entry| entry.at() <= view.at);
    let notes = view.heard.notes().filter(|note| note.at <= view.at);
    entries.extend(notes.map(Entry::Note));
    // Stable: what is of one moment keeps the order of its track.
    entries.sort_by_key(Entry::place);
    joined(entries)
}

/// The resets of an end that the kernel told of after their arrival.
fn told_late(connection: &Connection, from: Side) -> Vec<Delivered> {
    let mut all = delivered(connection, from);
    all.retain(|reset| reset.told_late().is_some());
    all
}

fn told<'a>(side: Side, mark: &'a Mark, late: &[Delivered]) -> Entry<'a> {
    let is_it = |reset: &&Delivered| reset.sent == mark.at;
    let is_sent = matches!(mark.kind, MarkKind::ResetSent(_));
    let late = late.iter().filter(|_| is_sent).find(is_it);
    match late.and_then(Delivered::told_late) {
        Some(late) => Entry::ToldLate(side, mark, late),
        None => Entry::Mark(side, mark),
    }
}

/// The sets of holders, when there were several: one that never changed stands above.
fn held_sets<'a>(
    connection: &'a Connection,
    side: Side,
    track: &'a Track,
) -> impl Iterator<Item = Entry<'a>> {
    let sets = track.holdings();
    let dropped = usize::try_from(track.holdings_dropped()).unwrap_or(0);
    let shown = sets.iter().enumerate().filter(|_| sets.len() > 1);
    shown.map(move |(index, set)| {
        let nth = if index == 0 { 0 } else { index + dropped };
        Entry::Held(connection, side, nth, set.from.not_after())
    })
}

/// Findings that are over: what holds stands above, and what was only worth knowing then is not
/// worth a line now.
fn passed<'a>(
    connection: &Connection,
    side: Side,
    view: &View<'a>,
) -> impl Iterator<Item = Entry<'a>> {
    let all = view.diagnosis.about(connection.id());
    let conn = connection.id();
    let is_worth_it = |finding: &&Finding| finding.severity > Severity::Info;
    let of_side = all
        .filter(is_worth_it)
        .filter(move |finding| finding.subject.is_about(conn, side));
    of_side.flat_map(move |finding| {
        let over = finding.over.map(|at| Entry::Over(side, finding, at));
        let found = over.is_some().then_some(Entry::Found(side, finding));
        found.into_iter().chain(over)
    })
}

/// Segments sent again with nothing in between become one entry.
fn joined(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut joined: Vec<Entry<'_>> = Vec::with_capacity(entries.len());
    for entry in entries {
        match (joined.last_mut(), &entry) {
            (Some(before), Entry::Mark(side, mark)) if mark.kind == MarkKind::Retransmit => {
                if !before.takes(*side, mark.at) {
                    joined.push(entry);
                }
            }
            _ => joined.push(entry),
        }
    }
    joined
}

impl Entry<'_> {
    /// Takes in one more segment that `side` sent again, when it is about such segments.
    fn takes(&mut self, side: Side, at: Timestamp) -> bool {
        match self {
            Self::Mark(of, first) if *of == side && first.kind == MarkKind::Retransmit => {
                *self = Self::Retransmits(side, first, 2, at);
                true
            }
            Self::Retransmits(of, _, times, last) if *of == side => {
                *times += 1;
                *last = at;
                true
            }
            _ => false,
        }
    }
}

/// `A ESTABLISHED -> FIN_WAIT1  exact, close() by nginx[812]`
fn step(side: Side, track: &Track, index: usize, view: &View<'_>, words: Words) -> Said {
    let span = &track.spans()[index];
    let before = index.checked_sub(1).map(|index| track.spans()[index].state);
    Said {
        who: Some(letter(side)),
        states: states(before, span.state, view),
        text: notes(span, before, words).join(", "),
        style: certainty_style(span.certainty, view),
    }
}

/// `ESTABLISHED -> FIN_WAIT1`, in columns.
fn states(before: Option<TcpState>, state: TcpState, view: &View<'_>) -> Vec<Span<'static>> {
    let mut spans = Vec::with_capacity(4);
    let taken = before.map_or(0, |before| before.name().len() + 4);
    if let Some(before) = before {
        spans.push(Span::styled(before.name(), view.theme.state(before)));
        spans.push(Span::raw(" -> "));
    }
    let name = pad(shown_state(state), STEP_WIDTH.saturating_sub(taken));
    spans.push(Span::styled(name, view.theme.state(state)));
    spans.push(Span::raw("  "));
    spans
}

/// How surely it is known, why it was, and who holds the socket. On a narrow screen, what the step
/// itself tells gives way to what it does not.
fn notes(span: &track::Span, from: Option<TcpState>, words: Words) -> Vec<String> {
    let certainty = certainty(span.certainty, span.from);
    let to = span.state;
    let cause = cause::words(&span.why, Step { from, to });
    let width = match words {
        Words::ForRoom(width) => width,
        Words::InFull => u16::MAX,
    };
    let holder = holder(span, width).map(str::to_owned);
    let mut notes = vec![match words {
        // Nothing but an event is exact.
        Words::InFull if span.certainty != Certainty::Exact => {
            format!("{certainty} ({})", span.source)
        }
        _ => certainty,
    }];
    match (width, span.certainty) {
        (100.., _) => notes.extend(cause.into_iter().chain(holder)),
        (_, Certainty::Exact) => notes.extend(cause.or(holder)),
        (_, Certainty::Sampled | Certainty::Inferred) => notes.extend(holder.or(cause)),
    }
    notes
}

/// Who holds the socket, unless the cause tells, in as many words as there is room for. An event
/// that opens a connection comes before anybody can accept it.
fn holder(span: &track::Span, width: u16) -> Option<&'static str> {
    let is_exact = span.certainty == Certainty::Exact;
    let opens = is_exact && span.state == TcpState::Established;
    let note = held(span.state, span.descriptor?)?;
    match width {
        _ if opens || tells_holder(&span.why) => None,
        100.. => Some(note),
        _ => Some(note.split_once(':').map_or(note, |(short, _)| short)),
    }
}

/// Whether the cause says already whether the descriptor is open.
const fn tells_holder(why: &Why) -> bool {
    why.call.is_some() || matches!(why.cause, Cause::Close)
}

/// The longest step: `ESTABLISHED -> CLOSE_WAIT`.
const STEP_WIDTH: usize = 25;

fn certainty_style(certainty: Certainty, view: &View<'_>) -> Style {
    match certainty {
        Certainty::Inferred => view.theme.quiet(),
        Certainty::Exact | Certainty::Sampled => Style::new(),
    }
}

/// What fits of the history into `room` lines: the newest, and above them how many are left out.
/// Of a closed connection, why it began to close stays in sight, on top of these.
pub(super) fn newest(
    mut all: Vec<Entry<'_>>,
    connection: &Connection,
    view: &View<'_>,
    width: u16,
    room: usize,
) -> Vec<Line<'static>> {
    let (lines, hidden) = fitting(&all, view, width, room);
    let first_close = all.iter().take(hidden).position(Entry::starts_closing);
    let Some(index) = first_close.filter(|_| connection.closed().is_some()) else {
        return lines;
    };
    let mut top = all[index].lines(view, width);
    // The count and the newest line have to fit below.
    if top.len() + 2 > room {
        return lines;
    }
    all.remove(index);
    top.extend(fitting(&all, view, width, room - top.len()).0);
    top
}

/// The newest in `room` lines, and how many are left out; when there are any, the first line
/// counts them.
fn fitting(
    all: &[Entry<'_>],
    view: &View<'_>,
    width: u16,
    room: usize,
) -> (Vec<Line<'static>>, usize) {
    let mut blocks: Vec<Vec<Line<'static>>> = Vec::new();
    let mut taken = 0;
    for entry in all.iter().rev() {
        let mut block = entry.lines(view, width);
        let is_last = blocks.len() + 1 == all.len();
        // One line is kept for the count, unless nothing is left to count.
        let free = room.saturating_sub(usize::from(!is_last && room > 1));
        if blocks.is_empty() {
            // The beginning of the newest is better than nothing.
            block.truncate(free);
        }
        taken += block.len();
        if taken > free || block.is_empty() {
            break;
        }
        blocks.push(block);
    }
    let hidden = all.len() - blocks.len();
    let count = (hidden > 0 && room > 1).then(|| Line::raw(format!(" ({hidden} earlier)")));
    let lines = count
        .into_iter()
        .chain(blocks.into_iter().rev().flatten())
        .collect();
    (lines, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::at;

    #[test]
    fn segments_sent_again_and_again_are_one_entry() {
        let mark = |micros| Mark {
            at: at(micros),
            kind: MarkKind::Retransmit,
            by: None,
        };
        let marks = [mark(1), mark(2), mark(3), mark(4), mark(5)];
        let of = |side, index: usize| Entry::Mark(side, &marks[index]);
        let all = joined(vec![
            of(Side::A, 0),
            of(Side::A, 1),
            of(Side::A, 2),
            of(Side::B, 3),
            of(Side::A, 4),
        ]);
        assert!(matches!(
            all.as_slice(),
            [
                Entry::Retransmits(Side::A, _, 3, last),
                Entry::Mark(Side::B, _),
                Entry::Mark(Side::A, _)
            ] if *last == at(3)
        ));
    }
}
