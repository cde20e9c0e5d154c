//! Lanes by hand, cell by cell.

use super::*;
use crate::model::SourceName;
use crate::timeline::{Call, Why};
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
            cause: Cause::Unknown,
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
    let picture = Picture {
        signs,
        ..Picture::of(spans)
    };
    picture.show(1000, 1000)
}

/// What is drawn.
#[derive(Clone, Copy)]
struct Picture<'a> {
    spans: &'a [Span],
    levels: &'a [Level],
    signs: &'a [Sign],
}

impl<'a> Picture<'a> {
    const fn of(spans: &'a [Span]) -> Self {
        Self {
            spans,
            levels: &[],
            signs: &[],
        }
    }

    /// A millisecond that ends at `edge`, as it was at `now`.
    fn show(&self, edge: u64, now: u64) -> String {
        let axis = Axis::new(at(edge), Zoom::showing(Duration::from_millis(1)), 50);
        let columns = Columns {
            of: &|at| axis.column(at),
            width: axis.width(),
        };
        let cells = drawn(
            self.spans,
            self.levels.iter(),
            self.signs,
            &columns,
            at(now),
        );
        cells.into_iter().map(|cell| cell.glyph).collect()
    }
}

/// Seen between two looks.
const fn sampled(state: TcpState, from: u64, to: u64) -> Span {
    Span {
        from: When::Between(at(from), at(to)),
        certainty: Certainty::Sampled,
        source: SourceName::SockDiag,
        ..exact(state, to)
    }
}

const fn inferred(state: TcpState, from: u64, to: u64) -> Span {
    Span {
        certainty: Certainty::Inferred,
        ..sampled(state, from, to)
    }
}

/// Found at attach.
const fn found(state: TcpState, micros: u64) -> Span {
    Span {
        from: When::Before(at(micros)),
        ..sampled(state, micros, micros)
    }
}

const fn by(span: Span, call: Call) -> Span {
    Span {
        why: Why {
            call: Some(call),
            ..span.why
        },
        ..span
    }
}

const fn level(from: u64, to: Option<u64>, unread: u32, unacked: u32) -> Level {
    Level {
        from: at(from),
        to: match to {
            Some(to) => Some(at(to)),
            None => None,
        },
        unread,
        unacked,
        merged: 1,
        after_gap: false,
    }
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

#[test]
fn a_call_is_the_mark_of_its_step() {
    let spans = [
        exact(TcpState::Established, 100),
        by(exact(TcpState::FinWait1, 400), Call::ShutdownWr),
        exact(TcpState::FinWait2, 600),
    ];
    assert_eq!(
        lane(&spans, &[]),
        "    |ESTABLISHED━━━§FIN_WAIT1|FIN_WAIT2═══════════"
    );
    for (call, mark) in [
        (Call::Connect, '|'),
        (Call::Close, '\u{a2}'),
        (Call::ShutdownRdwr, '\u{a7}'),
        (Call::Exit, '\u{2020}'),
    ] {
        let spans = [
            exact(TcpState::CloseWait, 100),
            by(exact(TcpState::LastAck, 400), call),
        ];
        assert_eq!(lane(&spans, &[]).chars().nth(19), Some(mark), "{call:?}");
    }
}

#[test]
fn a_cause_without_a_call_is_not_drawn_as_one() {
    let mut close = exact(TcpState::LastAck, 400);
    close.why.cause = Cause::Close;
    let spans = [exact(TcpState::CloseWait, 100), close];
    assert_eq!(lane(&spans, &[]).chars().nth(19), Some(STEP));
}

#[test]
fn the_call_stands_for_what_was_passed_unseen_behind_it() {
    // The descriptor is held in FIN_WAIT2: that proves shutdown(), and FIN_WAIT1 was passed.
    let spans = [
        found(TcpState::Established, 100),
        by(inferred(TcpState::FinWait1, 300, 500), Call::ShutdownWr),
        sampled(TcpState::FinWait2, 300, 500),
    ];
    assert_eq!(
        lane(&spans, &[]),
        "    «EST━━━━━━━(FW1)░░░░§FIN_WAIT2════════════════"
    );
    // Two steps, each seen, in one cell: that is said.
    let spans = [
        exact(TcpState::Established, 100),
        by(exact(TcpState::FinWait1, 402), Call::Close),
        exact(TcpState::FinWait2, 403),
    ];
    assert_eq!(lane(&spans, &[]).chars().nth(19), Some(STEPS));
    // But the acknowledgement of the FIN is what the call leads to.
    let mut acknowledged = exact(TcpState::FinWait2, 403);
    acknowledged.why.cause = Cause::AckReceived;
    let answered = [spans[0], spans[1], acknowledged];
    assert_eq!(lane(&answered, &[]).chars().nth(19), Some(CLOSE_CALL));
    let over = [
        spans[0],
        spans[1],
        acknowledged,
        exact(TcpState::TimeWait, 404),
    ];
    assert_eq!(lane(&over, &[]).chars().nth(19), Some(STEPS));
    let at_once = [spans[0], spans[1], exact(TcpState::FinWait2, 402)];
    assert_eq!(lane(&at_once, &[]).chars().nth(19), Some(STEPS));
}

#[test]
fn a_pan_into_the_past_shows_nothing_of_what_came_after() {
    let spans = [
        exact(TcpState::Established, 400),
        exact(TcpState::CloseWait, 900),
        sampled(TcpState::LastAck, 1200, 1400),
        sampled(TcpState::Close, 2000, 2100),
    ];
    let picture = Picture::of(&spans);
    assert_eq!(
        picture.show(700, 5000),
        "                                  |ESTABLISHED━━━━"
    );
    // A name that has left the sight stands at its edge.
    assert_eq!(
        picture.show(1500, 5000),
        "ESTABLISHED━━━━━━━━|CLOSE_WAIT▓▓▓▓▓░░░░░░░░░|LA‹‹‹"
    );
    assert_eq!(picture.show(300, 5000).trim(), "");
    assert_eq!(picture.show(4000, 5000).trim(), "gone");
}

#[test]
fn nothing_is_drawn_beyond_the_moment_of_the_picture() {
    let spans = [exact(TcpState::Established, 100)];
    let shown = Picture::of(&spans).show(1400, 800);
    assert_eq!(shown.trim_end(), "ESTABLISHED━━━━━━━━━");
}

#[test]
fn where_nothing_is_certain_it_says_between_what() {
    let spans = [
        found(TcpState::Established, 0),
        inferred(TcpState::FinWait1, 100, 5000),
        sampled(TcpState::FinWait2, 100, 5000),
    ];
    let picture = Picture::of(&spans);
    assert!(
        picture
            .show(3000, 6000)
            .starts_with("EST or (FW1) or FW2░░░")
    );
    let born = [
        found(TcpState::Close, 100),
        sampled(TcpState::Established, 100, 5000),
    ];
    let shown = Picture::of(&born).show(3000, 6000);
    assert!(shown.starts_with("not open or EST░░░"), "{shown}");
    // With the end of it in sight, what was passed is named.
    let shown = picture.show(5200, 6000);
    assert!(shown.starts_with("(FW1)░░░"), "{shown}");
}

#[test]
fn bounds_that_overlap_cover_no_step() {
    // A look takes time: what it shows at 420 was read from 300 on.
    let spans = [
        found(TcpState::Established, 0),
        sampled(TcpState::CloseWait, 200, 420),
        sampled(TcpState::LastAck, 300, 700),
    ];
    assert_eq!(
        lane(&spans, &[]),
        "«EST━━━━━━░░░░░░░░░░|░░░░░░░░░░░░░|LAST_ACK‹‹‹‹‹‹‹"
    );
}

#[test]
fn bars_rise_eightfold() {
    use super::bars::{UNACKED, UNREAD};
    for (bytes, glyph) in [
        (1, UNREAD[0]),
        (63, UNREAD[0]),
        (64, UNREAD[1]),
        (511, UNREAD[1]),
        (512, UNREAD[2]),
        (4096, UNREAD[3]),
        (32_768, UNREAD[4]),
        (262_144, UNREAD[5]),
        (2_097_152, UNREAD[6]),
        (16_777_216, UNREAD[7]),
        (u32::MAX, UNREAD[7]),
    ] {
        let levels = [level(0, None, bytes, 0)];
        let spans = [exact(TcpState::CloseWait, 20)];
        let picture = Picture {
            levels: &levels,
            ..Picture::of(&spans)
        };
        let shown = picture.show(1000, 1000);
        assert_eq!(shown.chars().filter(|&c| c == glyph).count(), 9, "{shown}");
    }
    for (bytes, glyph) in [
        (1, UNACKED[0]),
        (65_535, UNACKED[0]),
        (65_536, UNACKED[1]),
        (u32::MAX, UNACKED[1]),
    ] {
        let levels = [level(0, None, 0, bytes)];
        let spans = [exact(TcpState::Established, 20)];
        let picture = Picture {
            levels: &levels,
            ..Picture::of(&spans)
        };
        assert!(picture.show(1000, 1000).contains(glyph), "{bytes}");
    }
}

#[test]
fn bars_stand_between_the_glyphs_of_the_state() {
    let spans = [
        exact(TcpState::Established, 20),
        exact(TcpState::CloseWait, 600),
    ];
    let levels = [
        level(10, Some(300), 0, 0),
        level(310, Some(590), 0, 70_000),
        level(600, Some(700), 14, 70_000),
        level(760, None, 14, 0),
    ];
    let picture = Picture {
        levels: &levels,
        ..Picture::of(&spans)
    };
    assert_eq!(
        picture.show(1000, 1000),
        "|ESTABLISHED━━━━▀━━━▀━━━▀━━━▀|CLOSE_WAIT▓▓▓▁▓▓▓▁▓▓"
    );
    // The axis moves, and they go with it.
    let later = picture.show(1100, 1000);
    let shown: String = later.chars().skip(11).take(9).collect();
    assert_eq!(shown, "▀━━━▀━━━▀", "{later}");
}

#[test]
fn no_peak_within_a_span_is_lost_between_bars() {
    let spans = [
        exact(TcpState::Established, 20),
        exact(TcpState::CloseWait, 700),
    ];
    for begin in 240..690 {
        let levels = [
            level(10, Some(begin - 5), 0, 0),
            level(begin, Some(begin + 3), 300, 300),
            level(begin + 8, None, 0, 0),
        ];
        let picture = Picture {
            levels: &levels,
            ..Picture::of(&spans)
        };
        let shown = picture.show(1000, 1000);
        assert!(shown.contains('\u{2582}'), "{begin}: {shown}");
        assert!(shown.contains('\u{2594}'), "{begin}: {shown}");
    }
}

#[test]
fn bars_give_way_and_are_not_made_up() {
    // A mini-socket shows no queue: what was queued before says nothing of it.
    let spans = [
        exact(TcpState::FinWait1, 20),
        sampled(TcpState::TimeWait, 300, 310),
    ];
    let levels = [level(10, Some(300), 0, 5000)];
    let signs = [sign(RETRANSMIT, 260)];
    let picture = Picture {
        levels: &levels,
        signs: &signs,
        ..Picture::of(&spans)
    };
    let shown = picture.show(1000, 1000);
    assert_eq!(shown, "|FIN_WAIT1»»↑»|TIME_WAIT··························");
    let signless = Picture {
        signs: &[],
        ..picture
    };
    let shown = signless.show(1000, 1000);
    assert!(shown.starts_with("|FIN_WAIT1»»▔»|TIME"), "{shown}");
    // What was unread in the moment of the end is of the state that ended.
    let closed = [
        exact(TcpState::Established, 20),
        exact(TcpState::Close, 500),
    ];
    let levels = [level(20, Some(400), 0, 0), level(500, Some(500), 4000, 0)];
    let picture = Picture {
        levels: &levels,
        ..Picture::of(&closed)
    };
    let shown = picture.show(1000, 1000);
    assert_eq!(shown.trim_end(), "|ESTABLISHED━━━━━━━━━━▃━╳");
    // Too short for one.
    let short = [
        exact(TcpState::FinWait1, 500),
        exact(TcpState::FinWait2, 560),
    ];
    let levels = [level(500, Some(560), 9, 9), level(570, None, 0, 0)];
    let picture = Picture {
        levels: &levels,
        ..Picture::of(&short)
    };
    let shown = picture.show(1000, 1000);
    assert!(shown.contains("|»»|FIN_WAIT2"), "{shown}");
}
