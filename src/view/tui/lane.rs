//! One end's lane: its track as a row of cells.
//!
//! ```text
//!     «━ESTABLISHED▄━━━▄━━━━§═FIN_WAIT2 fd held══════░░(FW1)░░|·TIME_WAIT········╳
//!     found, began          seen to begin            between two looks           gone
//!     earlier               here, by shutdown()
//! ```
//!
//! Signs lie on top ([`sign`](super::sign)): resets, segments sent again, changes of holders, findings;
//! below them, on the state's own cells, [`bars`] of what is queued.
//!
//! A state is known by its glyph and its name, never by colour alone. The trap: short states are
//! what a teardown is made of, and several of them can fall into one cell, with marks among them.
//! Such a cell is marked (`‡`), so that nothing is silently painted over; only the end of all, and
//! the reset that is it, show themselves in such a cell.
//!
//! Of the axis this knows only which column a moment falls in, and that later ones do not fall to
//! the left of it: what is in sight need not end with the present, nor columns be of equal length.

mod bars;

use std::ops::RangeInclusive;

use crate::diagnosis::Severity;
use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Cause, Certainty, Level, Span, Track, When};
use crate::view::tui::axis::Axis;
use crate::view::tui::sign::{SEVERAL, Sign, is_call, of_call, together};

pub(super) use bars::{UNACKED, UNREAD};

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
    let columns = Columns {
        of: &|at| axis.column(at),
        width: axis.width(),
    };
    drawn(spans, track.levels(), signs, &columns, at)
}

/// What a lane has to know of the axis.
struct Columns<'a> {
    /// The column of a moment, wherever it is; of a later one it is not smaller.
    of: &'a dyn Fn(Timestamp) -> i64,
    width: u16,
}

impl Columns<'_> {
    /// Columns from `first` to `last`, as far as they are in sight.
    fn in_sight(&self, first: i64, last: i64) -> RangeInclusive<i64> {
        first.max(0)..=last.min(i64::from(self.width) - 1)
    }
}

fn drawn<'a>(
    spans: &[Span],
    levels: impl Iterator<Item = &'a Level> + Clone,
    signs: &[Sign],
    columns: &Columns<'_>,
    at: Timestamp,
) -> Vec<Cell> {
    let mut lane = Lane::new(columns);
    let mut first = 0;
    for together in spans.chunk_by(|a, b| a.from == b.from) {
        let is_birth = first == 0 && together[0].state == TcpState::Close;
        if !is_birth {
            lane.unsure_before(spans, first, together);
            for (index, span) in (first..).zip(together).filter(|(_, span)| lasts(span)) {
                lane.fill(span, end_of(spans, index, at));
            }
            lane.step(together);
        }
        first += together.len();
    }
    lane.sign_all(signs);
    for index in 0..spans.len() {
        lane.bars(spans, index, levels.clone(), at);
    }
    lane.label_all(spans, at);
    lane.cells
}

/// Whether it is known when the state began and ended: of one that was passed between two looks
/// nothing is.
fn lasts(span: &Span) -> bool {
    span.certainty != Certainty::Inferred || matches!(span.from, When::At(_))
}

/// Whether the state is the peer's acknowledgement of our FIN, and nothing more.
fn is_answer(span: &Span) -> bool {
    span.state == TcpState::FinWait2 && span.why.cause == Cause::AckReceived
}

/// The moment up to which the span is proven to have held.
fn end_of(spans: &[Span], index: usize, at: Timestamp) -> Timestamp {
    spans.get(index + 1).map_or(at, |next| {
        next.from.not_before().unwrap_or(next.from.not_after())
    })
}

/// What lies in a cell, from below: what is higher is never covered by what is lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Blank,
    Unsure,
    /// A state, and its bars and its name.
    Fill,
    /// Says that the state began before what is in sight.
    Edge,
    Step,
    Sign,
}

struct Lane<'a> {
    columns: &'a Columns<'a>,
    cells: Vec<Cell>,
    layers: Vec<Layer>,
}

impl<'a> Lane<'a> {
    fn new(columns: &'a Columns<'a>) -> Self {
        let blank = Cell {
            glyph: ' ',
            kind: Kind::Blank,
        };
        let width = usize::from(columns.width);
        Self {
            columns,
            cells: vec![blank; width],
            layers: vec![Layer::Blank; width],
        }
    }

    fn is_step(&self, column: i64) -> bool {
        self.layer(column) == Some(Layer::Step)
    }

    fn column(&self, at: Timestamp) -> i64 {
        (self.columns.of)(at)
    }

    /// What lies in a column, `None` out of sight.
    fn layer(&self, column: i64) -> Option<Layer> {
        let column = usize::try_from(column).ok()?;
        self.layers.get(column).copied()
    }

    /// Puts it into a cell that is in sight, unless something higher lies there.
    fn put(&mut self, column: i64, layer: Layer, glyph: char, kind: Kind) {
        let Ok(column) = usize::try_from(column) else {
            return;
        };
        if let Some((cell, below)) = self.cells.get_mut(column).zip(self.layers.get_mut(column))
            && *below <= layer
        {
            *cell = Cell { glyph, kind };
            *below = layer;
        }
    }

    fn fill(&mut self, span: &Span, end: Timestamp) {
        let first = self.column(span.from.not_after());
        let last = self.column(end);
        let filling = glyph(span.state, span.descriptor);
        let kind = match span.certainty {
            Certainty::Inferred => Kind::Unsure,
            Certainty::Exact | Certainty::Sampled => Kind::Fill(span.state),
        };
        for column in self.columns.in_sight(first.saturating_add(1), last) {
            self.put(column, Layer::Fill, filling, kind);
        }
        if first < 0 && last >= 0 && matches!(span.from, When::Before(_)) {
            self.put(0, Layer::Edge, EARLIER, Kind::Fill(span.state));
        }
    }

    /// The columns in which a step may have happened that leads through states that nobody saw.
    /// Bounds can overlap by the length of a look, and what is proven stands.
    fn unsure_before(&mut self, spans: &[Span], first: usize, together: &[Span]) {
        let When::Between(from, to) = together[0].from else {
            return;
        };
        let (from, to) = (self.column(from), self.column(to));
        let (from, to) = (from.saturating_add(1), to.saturating_sub(1));
        for column in self.columns.in_sight(from, to) {
            self.put(column, Layer::Unsure, UNSURE, Kind::Unsure);
        }
        let is_all_in_sight = from <= 0 && to >= i64::from(self.columns.width) - 1;
        let names = [
            is_all_in_sight.then(|| either(spans, first, together)),
            Some(passed(together).collect()),
        ];
        self.write_first(
            from,
            to,
            Layer::Unsure,
            names.into_iter().flatten(),
            Kind::Unsure,
        );
    }

    /// The mark of a step in its cell. States that were passed unseen on the way belong to it, and
    /// the call that began it is its mark, also when the peer's acknowledgement of our FIN falls
    /// into the same cell: that follows from the call.
    fn step(&mut self, together: &[Span]) {
        let Some((seen, before)) = together.split_last() else {
            return;
        };
        let column = self.column(seen.from.not_after());
        let below = self.cell(column).filter(|_| self.is_step(column));
        let call = together.iter().find_map(|span| of_call(span.why.call?));
        let is_one = matches!(seen.from, When::Between(..)) || before.is_empty();
        let mark = match (seen.from, below, call) {
            _ if seen.state == TcpState::Close => GONE,
            (When::Before(_), ..) => EARLIER,
            (_, Some(below), _) if before.is_empty() && is_answer(seen) => {
                match is_call(below.glyph) {
                    true => below.glyph,
                    false => STEPS,
                }
            }
            (_, None, Some(call)) if is_one => call,
            (_, None, _) if before.is_empty() => STEP,
            _ => STEPS,
        };
        let kind = match seen.certainty {
            Certainty::Inferred => Kind::Unsure,
            Certainty::Exact | Certainty::Sampled => Kind::Fill(seen.state),
        };
        self.put(column, Layer::Step, mark, kind);
    }

    /// The signs, which are in the order of time: those of a cell stand together.
    fn sign_all(&mut self, signs: &[Sign]) {
        let columns = self.columns;
        for of_cell in signs.chunk_by(|a, b| (columns.of)(a.at) == (columns.of)(b.at)) {
            let Some(sign) = together(of_cell) else {
                continue;
            };
            let column = self.column(sign.at);
            let below = self.layer(column).zip(self.cell(column));
            let glyph = match below {
                Some((Layer::Step, cell)) if cell.glyph != GONE || !sign.is_reset() => STEPS,
                Some(_) => sign.glyph,
                None => continue,
            };
            self.put(column, Layer::Sign, glyph, Kind::Sign(sign.severity));
        }
    }

    fn cell(&self, column: i64) -> Option<Cell> {
        let column = usize::try_from(column).ok()?;
        self.cells.get(column).copied()
    }

    /// Names go in last: they give way to marks, never the other way round. Each stands in the part
    /// of its span that is in sight.
    fn label_all(&mut self, spans: &[Span], at: Timestamp) {
        for (index, span) in spans.iter().enumerate() {
            if lasts(span) && span.state != TcpState::Close {
                let first = self.column(span.from.not_after());
                let last = self.column(end_of(spans, index, at));
                self.label(span, descriptor_note(spans, index), first, last);
            }
        }
        let gone = spans.last().filter(|span| span.state == TcpState::Close);
        if gone.is_some_and(|span| self.column(span.from.not_after()) < 0) {
            let name = std::iter::once("gone".to_owned());
            self.write_first(0, self.column(at), Layer::Fill, name, Kind::Unsure);
        }
    }

    /// The longest name that fits, as far left as it does.
    fn label(&mut self, span: &Span, note: &str, first: i64, last: i64) {
        let (long, short) = (span.state.name(), short(span.state));
        match span.certainty {
            Certainty::Inferred => {
                let names = [format!("({long})"), format!("({short})")];
                self.write_first(first, last, Layer::Fill, names, Kind::Unsure);
            }
            Certainty::Exact | Certainty::Sampled => {
                let names = [
                    format!("{long}{note}"),
                    format!("{short}{note}"),
                    long.to_owned(),
                    short.to_owned(),
                ];
                self.write_first(first, last, Layer::Fill, names, Kind::Name(span.state));
            }
        }
    }

    /// The stretches from `first` to `last` in which nothing but `layer` lies.
    fn stretches(&self, first: i64, last: i64, layer: Layer) -> Vec<(i64, i64)> {
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        let is_free = |&column: &i64| self.layer(column) == Some(layer);
        for column in self.columns.in_sight(first, last).filter(is_free) {
            match stretches.last_mut() {
                Some((_, end)) if *end + 1 == column => *end = column,
                _ => stretches.push((column, column)),
            }
        }
        stretches
    }

    /// Writes the first of `names` for which there is room from `first` to `last`, on `layer` alone.
    fn write_first(
        &mut self,
        first: i64,
        last: i64,
        layer: Layer,
        names: impl IntoIterator<Item = String>,
        kind: Kind,
    ) {
        let stretches = self.stretches(first, last, layer);
        for name in names {
            let length = i64::try_from(name.len()).unwrap_or(i64::MAX);
            let mut fitting = stretches.iter();
            if let Some(&(start, _)) = fitting.find(|(start, end)| end - start + 1 >= length) {
                for (column, glyph) in (start..).zip(name.chars()) {
                    self.put(column, layer, glyph, kind);
                }
                return;
            }
        }
    }
}

/// `(FW1)(FW2)`: what was passed on the way to what is seen.
fn passed(together: &[Span]) -> impl Iterator<Item = String> {
    let unseen = together.iter();
    let unseen = unseen.filter(|span| span.certainty == Certainty::Inferred);
    unseen.map(|span| format!("({})", short(span.state)))
}

/// What an end may have been in where nothing but a step's bounds is in sight: `EST or (FW1) or
/// FW2`.
fn either(spans: &[Span], first: usize, together: &[Span]) -> String {
    let before = first.checked_sub(1).and_then(|before| spans.get(before));
    let before = match before {
        Some(span) if first == 1 && span.state == TcpState::Close => "not open",
        Some(span) => short(span.state),
        None => "earlier",
    };
    let after = together.last();
    let after = after.filter(|span| span.certainty != Certainty::Inferred);
    let states = std::iter::once(before.to_owned())
        .chain(passed(together))
        .chain(after.map(|span| short(span.state).to_owned()));
    states.collect::<Vec<String>>().join(" or ")
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
mod property;
#[cfg(test)]
mod tests;
