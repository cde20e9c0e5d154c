//! One end's lane: its track as a row of cells.
//!
//! ```text
//!     «━ESTABLISHED━━━━━|═FIN_WAIT2 fd held══════░░(FW1)░░|·TIME_WAIT········╳
//!     found, began      seen to begin            between two looks           gone
//!     earlier           here
//! ```
//!
//! Signs lie on top ([`sign`](super::sign)): resets, segments sent again, changes of holders, findings.
//!
//! A state is known by its glyph and its name, never by colour alone. The trap: short states are
//! what a teardown is made of, and several of them can fall into one cell, with marks among them.
//! Such a cell is marked (`‡`), so that nothing is silently painted over; only a reset shows
//! itself in the cell of the end that it is.

use crate::diagnosis::Severity;
use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Certainty, Span, Track, When};
use crate::view::tui::axis::Axis;
use crate::view::tui::sign::{SEVERAL, Sign, together};

/// A state began before it was seen.
pub(super) const EARLIER: char = '\u{ab}';
/// A state began in this cell.
pub(super) const STEP: char = '|';
/// More than one state began in this cell.
pub(super) const STEPS: char = SEVERAL;
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
    /// Something that happened beside the states; a reset or a finding in the style of its severity.
    Sign(Option<Severity>),
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

/// The track as it was at `at`, on the axis, with what lies on top.
pub(super) fn cells(track: &Track, signs: &[Sign], axis: &Axis, at: Timestamp) -> Vec<Cell> {
    let known = track.span_at(at).map_or(0, |last| last + 1);
    let spans = &track.spans()[..known.min(track.spans().len())];
    drawn(spans, signs, axis, at)
}

fn drawn(spans: &[Span], signs: &[Sign], axis: &Axis, at: Timestamp) -> Vec<Cell> {
    let mut lane = Lane::new(axis);
    for (index, span) in spans.iter().enumerate() {
        if index == 0 && span.state == TcpState::Close {
            continue;
        }
        if is_first_of_its_bounds(spans, index) {
            lane.unsure_beginning(spans, index);
        }
        if lasts(span) {
            lane.fill(span, end_of(spans, index, at));
        }
        lane.begin(span);
    }
    lane.sign_all(signs);
    lane.label_all(spans, at);
    lane.cells
}

/// Whether it is known when the state began and ended: of one that was passed between two looks
/// nothing is.
fn lasts(span: &Span) -> bool {
    span.certainty != Certainty::Inferred || matches!(span.from, When::At(_))
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
        let kind = match span.certainty {
            Certainty::Inferred => Kind::Unsure,
            Certainty::Exact | Certainty::Sampled => Kind::Fill(span.state),
        };
        for column in self.in_sight(first + 1, last) {
            self.put(column, filling, kind);
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

    /// The signs, which are in the order of time: those of a cell stand together.
    fn sign_all(&mut self, signs: &[Sign]) {
        let axis = self.axis;
        for of_cell in signs.chunk_by(|a, b| axis.column(a.at) == axis.column(b.at)) {
            let Some(sign) = together(of_cell) else {
                continue;
            };
            let column = axis.column(sign.at);
            if let Some(cell) = self.cell(column) {
                let glyph = match cell.glyph {
                    GONE if sign.is_reset() => sign.glyph,
                    STEP | STEPS | GONE | EARLIER => STEPS,
                    _ => sign.glyph,
                };
                self.put(column, glyph, Kind::Sign(sign.severity));
            }
        }
    }

    fn cell(&self, column: i64) -> Option<Cell> {
        let column = usize::try_from(column).ok()?;
        self.cells.get(column).copied()
    }

    /// Names go in last: they give way to marks, never the other way round.
    fn label_all(&mut self, spans: &[Span], at: Timestamp) {
        for (index, span) in spans.iter().enumerate() {
            if lasts(span) && span.state != TcpState::Close {
                let first = self.axis.column(span.from.not_after());
                let last = self.axis.column(end_of(spans, index, at));
                self.label(span, descriptor_note(spans, index), first, last);
            }
        }
        let gone = spans.last().filter(|span| span.state == TcpState::Close);
        if gone.is_some_and(|span| self.axis.column(span.from.not_after()) < 0) {
            self.write(0, i64::from(self.axis.width()) - 1, "gone", Kind::Unsure);
        }
    }

    /// The stretches from `first` to `last` that no step and no mark interrupts.
    fn free(&self, first: i64, last: i64) -> Vec<(i64, i64)> {
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        let is_free = |&column: &i64| self.cell(column).is_some_and(|cell| !is_sign(cell));
        for column in self.in_sight(first, last).filter(is_free) {
            match stretches.last_mut() {
                Some((_, end)) if *end + 1 == column => *end = column,
                _ => stretches.push((column, column)),
            }
        }
        stretches
    }

    /// The longest name that fits, as far left as it does.
    fn label(&mut self, span: &Span, note: &str, first: i64, last: i64) {
        let (long, short) = (span.state.name(), short(span.state));
        let (names, kind) = match span.certainty {
            Certainty::Inferred => (
                [format!("({long})"), format!("({short})")].to_vec(),
                Kind::Unsure,
            ),
            Certainty::Exact | Certainty::Sampled => (
                [
                    format!("{long}{note}"),
                    format!("{short}{note}"),
                    long.to_owned(),
                    short.to_owned(),
                ]
                .to_vec(),
                Kind::Name(span.state),
            ),
        };
        let stretches = self.free(first, last);
        for name in names {
            for &(first, last) in &stretches {
                if self.write(first, last, &name, kind) {
                    return;
                }
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

/// Whether the cell shows something that a name must not cover.
fn is_sign(cell: Cell) -> bool {
    matches!(cell.kind, Kind::Sign(_)) || matches!(cell.glyph, STEP | STEPS | EARLIER | GONE)
}

/// Who holds the socket, where that tells something.
///
/// The trap: an event can only say that nobody has accepted the connection yet. Where the next
/// state shows a program, one has accepted it in between.
fn descriptor_note(spans: &[Span], index: usize) -> &'static str {
    let span = &spans[index];
    let next = spans.get(index + 1).and_then(|next| next.descriptor);
    let was_accepted = matches!(next, Some(Descriptor::Held | Descriptor::Gone));
    match (span.state, span.descriptor) {
        (
            TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing,
            Some(descriptor @ (Descriptor::Held | Descriptor::Gone)),
        ) => match descriptor {
            Descriptor::Held => " fd held",
            _ => " fd gone",
        },
        (_, Some(Descriptor::NotAccepted)) if !was_accepted => " not accepted",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceName;
    use crate::timeline::Why;
    use crate::view::fixture::at;
    use crate::view::tui::axis::Zoom;
    use crate::view::tui::sign::{CLOSE_CALL, FREED, RESET_RECEIVED, RESET_SENT, RETRANSMIT};
    use std::time::Duration;

    const fn exact(state: TcpState, micros: u64) -> Span {
        Span {
            state,
            from: When::At(at(micros)),
            certainty: Certainty::Exact,
            source: SourceName::Bpf,
            descriptor: None,
            entry: None,
            why: Why {
                cause: crate::timeline::Cause::Unknown,
                call: None,
                reason: None,
                signal: None,
                by: None,
            },
        }
    }

    const fn sign(glyph: char, micros: u64) -> Sign {
        Sign {
            at: at(micros),
            glyph,
            severity: None,
        }
    }

    /// The lane of the last millisecond, a column for each 20 us, at 1000 us.
    fn lane(spans: &[Span], signs: &[Sign]) -> String {
        let axis = Axis::new(at(1000), Zoom::showing(Duration::from_millis(1)), 50);
        let cells = drawn(spans, signs, &axis, at(1000));
        cells.into_iter().map(|cell| cell.glyph).collect()
    }

    #[test]
    fn exact_bounds_have_no_shade_and_marks_lie_on_top() {
        let spans = [
            exact(TcpState::Established, 100),
            exact(TcpState::FinWait1, 600),
            exact(TcpState::FinWait2, 640),
        ];
        let marks = [
            sign(RETRANSMIT, 400),
            sign(RETRANSMIT, 500),
            sign(RETRANSMIT, 501),
            sign(CLOSE_CALL, 700),
            sign(FREED, 760),
            sign(RESET_RECEIVED, 765),
        ];
        assert_eq!(
            lane(&spans, &marks),
            "    |ESTABLISHED━━━↑━━━━2━━━━|»|══¢══‡FIN_WAIT2═══"
        );
    }

    #[test]
    fn a_reset_shows_itself_where_the_lane_ends() {
        let spans = [
            exact(TcpState::Established, 100),
            exact(TcpState::Close, 600),
        ];
        let sent = [sign(RESET_SENT, 601)];
        let freed = [sign(FREED, 700)];
        assert_eq!(
            lane(&spans, &sent).trim_end(),
            "    |ESTABLISHED━━━━━━━━━━━━━▲"
        );
        assert_eq!(
            lane(&spans, &freed).trim_end(),
            "    |ESTABLISHED━━━━━━━━━━━━━╳    ○"
        );
        let many = [sign(RETRANSMIT, 300); 12];
        assert!(lane(&spans, &many).contains('+'));
    }

    #[test]
    fn an_inferred_time_wait_is_drawn_as_one() {
        let spans = [
            exact(TcpState::FinWait2, 100),
            Span {
                certainty: Certainty::Inferred,
                ..exact(TcpState::TimeWait, 600)
            },
        ];
        assert_eq!(
            lane(&spans, &[]),
            "    |FIN_WAIT2═══════════════|(TIME_WAIT)·········"
        );
    }
}
