//! One end's lane: its track as a row of cells.
//!
//! ```text
//!     «━ESTABLISHED━━━━━|═FIN_WAIT2 fd held══════░░(FW1)░░|·TIME_WAIT········╳
//!     found, began      seen to begin            between two looks           gone
//!     earlier           here
//! ```
//!
//! A state is known by its glyph and its name, never by colour alone. The trap: short states are
//! what a teardown is made of, and several of them can fall into one cell. Such a cell is marked
//! (`‡`), so that nothing is silently painted over.

use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Certainty, Span, Track, When};
use crate::view::tui::axis::Axis;

/// A state began before it was seen.
pub(super) const EARLIER: char = '\u{ab}';
/// A state began in this cell.
pub(super) const STEP: char = '|';
/// More than one state began in this cell.
pub(super) const STEPS: char = '\u{2021}';
/// The socket is gone.
pub(super) const GONE: char = '\u{2573}';
/// Somewhere in here the next state began.
pub(super) const UNSURE: char = '\u{2591}';

/// What a cell shows, and in whose colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) glyph: char,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Blank,
    Fill(TcpState),
    Name(TcpState),
    /// A bound that is only known to lie about here, or a state that was not seen.
    Unsure,
}

/// The glyph that fills a state. A FIN_WAIT is drawn thin when the program has let go of the
/// socket: that is what tells `close()` from `shutdown()`.
pub(super) const fn glyph(state: TcpState, descriptor: Option<Descriptor>) -> char {
    let held = !matches!(descriptor, Some(Descriptor::Gone));
    match state {
        TcpState::Established => '\u{2501}',
        TcpState::SynSent | TcpState::SynRecv => '~',
        TcpState::FinWait1 if held => '\u{bb}',
        TcpState::FinWait1 => '\u{203a}',
        TcpState::FinWait2 if held => '\u{2550}',
        TcpState::FinWait2 => '\u{2500}',
        TcpState::CloseWait => '\u{2593}',
        TcpState::LastAck => '\u{2039}',
        TcpState::Closing => '\u{2248}',
        TcpState::TimeWait => '\u{b7}',
        TcpState::Close | TcpState::Listen => ' ',
    }
}

/// The name of a state where there is room for three letters.
pub(super) const fn short(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "EST",
        TcpState::SynSent => "SS",
        TcpState::SynRecv => "SR",
        TcpState::FinWait1 => "FW1",
        TcpState::FinWait2 => "FW2",
        TcpState::TimeWait => "TW",
        TcpState::Close => "gone",
        TcpState::CloseWait => "CW",
        TcpState::LastAck => "LA",
        TcpState::Listen => "LST",
        TcpState::Closing => "CLG",
    }
}

/// The track as it was at `at`, on the axis.
pub(super) fn cells(track: &Track, axis: &Axis, at: Timestamp) -> Vec<Cell> {
    let mut lane = Lane::new(axis);
    let known = track.span_at(at).map_or(0, |last| last + 1);
    let spans = &track.spans()[..known.min(track.spans().len())];
    for (index, span) in spans.iter().enumerate() {
        if index == 0 && span.state == TcpState::Close {
            continue;
        }
        if is_first_of_its_bounds(spans, index) {
            lane.unsure_beginning(spans, index);
        }
        if span.certainty != Certainty::Inferred {
            lane.fill(span, end_of(spans, index, at));
        }
        lane.begin(span);
    }
    lane.label_all(spans, at);
    lane.cells
}

/// The moment up to which the span is proven to have held.
fn end_of(spans: &[Span], index: usize, at: Timestamp) -> Timestamp {
    spans.get(index + 1).map_or(at, |next| {
        next.from.not_before().unwrap_or(next.from.not_after())
    })
}

/// Inferred states share the bounds of the seen one behind them.
fn is_first_of_its_bounds(spans: &[Span], index: usize) -> bool {
    index == 0 || spans[index - 1].from != spans[index].from
}

struct Lane<'a> {
    axis: &'a Axis,
    cells: Vec<Cell>,
}

impl<'a> Lane<'a> {
    fn new(axis: &'a Axis) -> Self {
        let blank = Cell {
            glyph: ' ',
            kind: Kind::Blank,
        };
        Self {
            axis,
            cells: vec![blank; usize::from(axis.width())],
        }
    }

    fn put(&mut self, column: i64, glyph: char, kind: Kind) {
        let cell = usize::try_from(column)
            .ok()
            .and_then(|column| self.cells.get_mut(column));
        if let Some(cell) = cell {
            *cell = Cell { glyph, kind };
        }
    }

    /// Columns from `first` to `last`, as far as they are in sight.
    fn in_sight(&self, first: i64, last: i64) -> std::ops::RangeInclusive<i64> {
        first.max(0)..=last.min(i64::from(self.axis.width()) - 1)
    }

    fn fill(&mut self, span: &Span, end: Timestamp) {
        let first = self.axis.column(span.from.not_after());
        let last = self.axis.column(end);
        let filling = glyph(span.state, span.descriptor);
        for column in self.in_sight(first + 1, last) {
            self.put(column, filling, Kind::Fill(span.state));
        }
        if first < 0 && last >= 0 && matches!(span.from, When::Before(_)) {
            self.put(0, EARLIER, Kind::Fill(span.state));
        }
    }

    /// The columns in which the step may have happened.
    fn unsure_beginning(&mut self, spans: &[Span], index: usize) {
        let When::Between(from, to) = spans[index].from else {
            return;
        };
        let (first, last) = (self.axis.column(from) + 1, self.axis.column(to) - 1);
        for column in self.in_sight(first, last) {
            self.put(column, UNSURE, Kind::Unsure);
        }
        let names: String = spans[index..]
            .iter()
            .take_while(|span| span.from == spans[index].from)
            .filter(|span| span.certainty == Certainty::Inferred)
            .map(|span| format!("({})", short(span.state)))
            .collect();
        self.write(first, last, &names, Kind::Unsure);
    }

    /// The mark of a step in its cell.
    fn begin(&mut self, span: &Span) {
        let column = self.axis.column(span.from.not_after());
        let Some(here) = usize::try_from(column)
            .ok()
            .and_then(|column| self.cells.get(column))
        else {
            return;
        };
        let is_taken = matches!(here.glyph, STEP | STEPS | EARLIER);
        let mark = match span.from {
            _ if span.state == TcpState::Close => GONE,
            When::Before(_) => EARLIER,
            _ if is_taken => STEPS,
            _ => STEP,
        };
        self.put(column, mark, Kind::Fill(span.state));
    }

    /// Names go in last: they give way to marks, never the other way round.
    fn label_all(&mut self, spans: &[Span], at: Timestamp) {
        for (index, span) in spans.iter().enumerate() {
            let seen = span.certainty != Certainty::Inferred && span.state != TcpState::Close;
            if seen {
                let first = self.axis.column(span.from.not_after()).max(-1) + 1;
                let first = first + i64::from(self.is_mark_at(first));
                let next = spans.get(index + 1).is_some();
                let last = self.axis.column(end_of(spans, index, at));
                let last = if next && self.is_mark_at(last) {
                    last - 1
                } else {
                    last
                };
                self.label(span, first, last);
            }
        }
        let gone = spans.last().filter(|span| span.state == TcpState::Close);
        if gone.is_some_and(|span| self.axis.column(span.from.not_after()) < 0) {
            self.write(0, i64::from(self.axis.width()) - 1, "gone", Kind::Unsure);
        }
    }

    fn is_mark_at(&self, column: i64) -> bool {
        usize::try_from(column)
            .ok()
            .and_then(|column| self.cells.get(column))
            .is_some_and(|cell| matches!(cell.glyph, STEP | STEPS | EARLIER | GONE))
    }

    /// The longest name that fits.
    fn label(&mut self, span: &Span, first: i64, last: i64) {
        let (long, short) = (span.state.name(), short(span.state));
        let note = descriptor_note(span);
        let names = [
            format!("{long}{note}"),
            format!("{short}{note}"),
            long.to_owned(),
            short.to_owned(),
        ];
        for name in names {
            if self.write(first, last, &name, Kind::Name(span.state)) {
                return;
            }
        }
    }

    /// Writes `text` from column `first` on if it ends by `last`.
    fn write(&mut self, first: i64, last: i64, text: &str, kind: Kind) -> bool {
        let mut columns = self.in_sight(first, last);
        let room = columns.clone().count();
        if text.is_empty() || text.chars().count() > room {
            return false;
        }
        for (glyph, column) in text.chars().zip(&mut columns) {
            self.put(column, glyph, kind);
        }
        true
    }
}

/// Who holds the socket, where that tells something.
fn descriptor_note(span: &Span) -> &'static str {
    match (span.state, span.descriptor) {
        (
            TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing,
            Some(descriptor @ (Descriptor::Held | Descriptor::Gone)),
        ) => match descriptor {
            Descriptor::Held => " fd held",
            _ => " fd gone",
        },
        (_, Some(Descriptor::NotAccepted)) => " not accepted",
        _ => "",
    }
}
