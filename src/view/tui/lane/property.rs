//! Any track on any axis: nothing is claimed that is not known.
//!
//! Axes here are any monotone function of time, of equal columns or not, with the present to the
//! left or to the right of what is in sight.

use proptest::prelude::*;

use super::*;
use crate::model::{SourceName, Timestamp};
use crate::timeline::{Call, Why};

const fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

const STATES: [TcpState; 8] = [
    TcpState::SynSent,
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::TimeWait,
    TcpState::Close,
];

/// One beginning: how long after the one before, how wide its bounds are, and of what kind.
#[derive(Clone, Debug)]
struct Step {
    after: u64,
    wide: u64,
    kind: u8,
    passed: usize,
    state: usize,
    call: Option<Call>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = prop_oneof![
        Just(None),
        Just(Some(Call::Close)),
        Just(Some(Call::ShutdownWr)),
        Just(Some(Call::Exit)),
        Just(Some(Call::Connect)),
    ];
    let length = prop_oneof![0..5u64, 0..300u64, 0..20_000u64];
    let step = (length.clone(), length, 0..4u8, 0..3usize, 0..7usize, call);
    let step = step.prop_map(|(after, wide, kind, passed, state, call)| Step {
        after,
        wide,
        kind,
        passed,
        state,
        call,
    });
    proptest::collection::vec(step, 1..9)
}

/// A track as the timeline makes them: ordered, inferred states sharing bounds with a seen one.
fn spans_of(steps: &[Step], ends: bool) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut now = 1000;
    for (index, step) in steps.iter().enumerate() {
        let is_last = index + 1 == steps.len();
        let (from, to) = (now + step.after, now + step.after + step.wide);
        now = to;
        let state = match ends && is_last && index > 0 {
            true => TcpState::Close,
            false => STATES[step.state],
        };
        let span = |state, when, certainty| Span {
            state,
            from: when,
            certainty,
            source: SourceName::SockDiag,
            descriptor: None,
            entry: None,
            why: Why {
                call: step.call,
                cause: match step.call {
                    Some(_) => Cause::Unknown,
                    None => Cause::AckReceived,
                },
                ..Why::default()
            },
        };
        match (index, step.kind) {
            (0, 0 | 1) => spans.push(span(state, When::Before(at(from)), Certainty::Sampled)),
            (_, 0) => spans.push(span(state, When::At(at(to)), Certainty::Exact)),
            (_, 1) if state != TcpState::Close => {
                spans.push(span(state, When::At(at(to)), Certainty::Inferred));
            }
            _ => {
                let when = When::Between(at(from), at(to));
                for n in 0..step.passed {
                    let passed = STATES[(step.state + n) % 7];
                    spans.push(span(passed, when, Certainty::Inferred));
                }
                spans.push(span(state, when, Certainty::Sampled));
            }
        }
    }
    spans
}

/// Levels in order, of lengths and distances as given.
fn levels_of(raw: &[(u64, u64, u32, u32)]) -> Vec<Level> {
    let mut now = 900;
    let mut levels: Vec<Level> = Vec::new();
    for (index, &(after, long, unread, unacked)) in raw.iter().enumerate() {
        let from = now + after;
        now = from + long;
        levels.push(Level {
            from: at(from),
            to: (index + 1 < raw.len()).then_some(at(now)),
            unread,
            unacked,
            merged: 1,
            after_gap: false,
        });
    }
    levels
}

/// A monotone axis: columns of one length, or of the lengths given, in turn.
#[derive(Clone, Debug)]
enum Scale {
    Even { begin: i64, length: u64 },
    Uneven { begin: i64, edges: Vec<u64> },
}

impl Scale {
    fn column(&self, at: Timestamp) -> i64 {
        match self {
            Self::Even { begin, length } => (at.nanos() / length).cast_signed() - begin,
            Self::Uneven { begin, edges } => {
                let before = edges.iter().filter(|&&edge| edge <= at.nanos());
                i64::try_from(before.count()).unwrap() - begin
            }
        }
    }
}

fn scales() -> impl Strategy<Value = Scale> {
    let length = prop_oneof![1..4u64, 1..400u64, 1..50_000u64];
    let even = (length, -100..400i64).prop_map(|(length, pan)| {
        let begin = (5000 / length).cast_signed() - pan;
        Scale::Even { begin, length }
    });
    let edges = proptest::collection::vec(0..60_000u64, 0..120);
    let uneven = (edges, -50..120i64).prop_map(|(mut edges, begin)| {
        edges.sort_unstable();
        Scale::Uneven { begin, edges }
    });
    prop_oneof![even, uneven]
}

/// Bytes that are often none.
fn bytes() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..100u32, any::<u32>()]
}

/// What is drawn, with the columns that each span is proven in.
struct Drawn {
    cells: Vec<Cell>,
    /// First, last, and the span.
    proven: Vec<(i64, i64, Span)>,
    spans: Vec<Span>,
    at: i64,
}

fn draw_it(
    spans: &[Span],
    levels: &[Level],
    signs: &[Sign],
    scale: &Scale,
    width: u16,
    now: Timestamp,
) -> Drawn {
    let known = spans.iter().rposition(|span| span.from.not_after() <= now);
    let spans = &spans[..known.map_or(0, |last| last + 1)];
    let columns = Columns {
        of: &|at| scale.column(at),
        width,
    };
    let signs: Vec<Sign> = signs.iter().copied().filter(|it| it.at <= now).collect();
    let cells = drawn(spans, levels.iter(), &signs, &columns, now);
    let proven = spans.iter().enumerate();
    let proven = proven.filter(|(_, span)| lasts(span)).map(|(index, span)| {
        let end = match spans.get(index + 1).map(|next| next.from) {
            None => now,
            Some(When::Between(from, _)) => from,
            Some(When::At(at) | When::Before(at)) => at,
        };
        (
            scale.column(span.from.not_after()),
            scale.column(end),
            *span,
        )
    });
    Drawn {
        cells,
        proven: proven.collect(),
        spans: spans.to_vec(),
        at: scale.column(now),
    }
}

fn is_bar(glyph: char) -> bool {
    bars::UNREAD.contains(&glyph) || bars::UNACKED.contains(&glyph)
}

fn is_step(glyph: char) -> bool {
    let calls = [Call::Close, Call::ShutdownWr, Call::Exit];
    matches!(glyph, STEP | STEPS | EARLIER | GONE)
        || calls.into_iter().any(|call| of_call(call) == Some(glyph))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_claimed_that_is_not_known(
        steps in steps(),
        ends in any::<bool>(),
        raw in proptest::collection::vec((0..200u64, 0..3000u64, bytes(), bytes()), 0..12),
        marks in proptest::collection::vec(0..60_000u64, 0..6),
        scale in scales(),
        width in 0..220u16,
        now in 0..90_000u64,
    ) {
        let (spans, levels, now) = (spans_of(&steps, ends), levels_of(&raw), at(now));
        let mut signs: Vec<Sign> = marks
            .iter()
            .map(|&nanos| Sign { at: at(nanos), glyph: '\u{2191}', severity: None })
            .collect();
        signs.sort_by_key(|sign| sign.at);
        let drawn = draw_it(&spans, &levels, &signs, &scale, width, now);
        prop_assert_eq!(drawn.cells.len(), usize::from(width));

        let begin = drawn.spans.first().map(|first| {
            let known = first.from.not_before().unwrap_or(first.from.not_after());
            scale.column(known)
        });
        for (column, cell) in (0i64..).zip(&drawn.cells) {
            match cell.kind {
                Kind::Fill(state) | Kind::Name(state) => {
                    // Within the proven time of a span of this state.
                    let holds = drawn.proven.iter().any(|&(first, last, span)| {
                        span.state == state && first <= column && column <= last
                    });
                    prop_assert!(holds, "{state:?} at {column}");
                }
                Kind::Unsure => {
                    // Never where a state is proven that was seen.
                    let covers = drawn.proven.iter().any(|&(first, last, span)| {
                        span.certainty != Certainty::Inferred
                            && span.state != TcpState::Close
                            && first < column
                            && column < last
                    });
                    prop_assert!(!covers, "unsure at {column}");
                }
                Kind::Blank | Kind::Sign(_) => {}
            }
            let is_known = column <= drawn.at && begin.is_some_and(|begin| begin <= column);
            if !is_known && !matches!(cell.kind, Kind::Sign(_)) {
                prop_assert_eq!(cell.kind, Kind::Blank, "at {}", column);
                prop_assert_eq!(cell.glyph, ' ');
            }
            if is_bar(cell.glyph) {
                // So much was queued in the columns that it stands for, or in the rest of its span.
                let peak = |(first, last, _): &(i64, i64, Span)| {
                    let reach = column - 3..=(*last).min(column + 4);
                    *first <= column && column <= *last && levels.iter().any(|level| {
                        let to = scale.column(level.to.unwrap_or(now));
                        level.unread.max(level.unacked) > 0
                            && scale.column(level.from) <= *reach.end()
                            && to >= *reach.start()
                    })
                };
                prop_assert!(drawn.proven.iter().any(peak), "a bar at {column}");
            }
        }
        // No step is painted over, and no call is drawn that was not made there.
        for span in &drawn.spans {
            let is_birth = span.state == TcpState::Close && span == &drawn.spans[0];
            let column = scale.column(span.from.not_after());
            let cell = usize::try_from(column).ok().and_then(|at| drawn.cells.get(at));
            if let Some(cell) = cell.filter(|_| !is_birth) {
                let is_sign = matches!(cell.kind, Kind::Sign(_));
                prop_assert!(is_sign || is_step(cell.glyph), "{:?} at {column}", cell);
                if !is_sign && !matches!(cell.glyph, STEP | STEPS | EARLIER | GONE) {
                    let is_here = |span: &&Span| scale.column(span.from.not_after()) == column;
                    let mut here = drawn.spans.iter().filter(is_here);
                    let called = |span: &Span| span.why.call.and_then(of_call) == Some(cell.glyph);
                    prop_assert!(here.any(called), "a call at {column}");
                }
            }
        }
    }

    #[test]
    fn what_has_room_in_sight_is_named_there(
        steps in steps(),
        scale in scales(),
        width in 1..220u16,
    ) {
        let (spans, now) = (spans_of(&steps, false), at(90_000));
        let drawn = draw_it(&spans, &[], &[], &scale, width, now);
        for &(first, last, span) in &drawn.proven {
            let is_seen = span.certainty != Certainty::Inferred && span.state != TcpState::Close;
            let begin = if first < 0 && matches!(span.from, When::Before(_)) { 1 } else { 0 };
            let (from, to) = ((first + 1).max(begin), last.min(i64::from(width) - 1));
            let to = match drawn.spans.last() {
                // The next step lies in the last column.
                Some(last) if last.from != span.from => to.min(width.into()).min(last_free(&drawn, to)),
                _ => to,
            };
            let name = short(span.state);
            if is_seen && to - from >= i64::try_from(name.len()).unwrap() {
                let cells = &drawn.cells[usize::try_from(from).unwrap()..=usize::try_from(to).unwrap()];
                let named = cells.iter().any(|cell| cell.kind == Kind::Name(span.state));
                prop_assert!(named, "{name} from {from} to {to}");
            }
        }
    }

    #[test]
    fn nothing_flickers_when_the_axis_moves(
        steps in steps(),
        raw in proptest::collection::vec((0..200u64, 0..3000u64, bytes(), bytes()), 0..12),
        length in 1..2000u64,
        begin in -50..80i64,
        by in 1..9i64,
        width in 10..200u16,
    ) {
        let (spans, levels, now) = (spans_of(&steps, false), levels_of(&raw), at(90_000));
        let show = |begin| {
            let scale = Scale::Even { begin, length };
            draw_it(&spans, &levels, &[], &scale, width, now).cells
        };
        let (before, after) = (show(begin), show(begin + by));
        let by = usize::try_from(by).unwrap();
        for (column, (before, after)) in before[by..].iter().zip(&after).enumerate() {
            let is_settled = |cell: &Cell| {
                matches!(cell.kind, Kind::Fill(_)) && cell.glyph != EARLIER
            };
            if is_settled(before) && is_settled(after) {
                prop_assert_eq!(before, after, "at {}", column);
            }
        }
    }
}

/// The last column up to `to` in which no step lies.
fn last_free(drawn: &Drawn, to: i64) -> i64 {
    let is_step_at = |column: i64| {
        let cell = usize::try_from(column)
            .ok()
            .and_then(|at| drawn.cells.get(at));
        cell.is_some_and(|cell| is_step(cell.glyph))
    };
    (0..=to)
        .rev()
        .find(|&column| !is_step_at(column))
        .unwrap_or(0)
}
