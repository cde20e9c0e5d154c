//! What the two ends of a connection did and sent each other, one thing after the other: what a
//! sequence diagram and the ladder on the screen are made of.
//!
//! Knows connections and findings; writes nothing. No packet was captured: each segment is one that
//! a state proves (who is in CLOSE_WAIT has received a FIN), or that the kernel told of, and it
//! says which. The trap: one segment has an effect on both ends, and must not be there twice.

mod acked;
mod notes;
mod order;
mod resets;
mod steps;
mod wait;

use crate::diagnosis::Finding;
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Cause, Certainty, Connection, Mark, MarkKind, Side, Span, Track, When};

use acked::Acked;
pub(in crate::view) use notes::Note;
use order::stands;
use resets::resets;
pub(in crate::view) use resets::{Delivered, delivered};
pub(in crate::view) use steps::Steps;
pub(in crate::view) use wait::{Wait, passed};

/// The rank of the first acknowledgement of a FIN: those of a handshake are less.
const ACK_OF_A_FIN: u8 = 13;

/// All that is known of it, in the order of time, and of cause where the time is one.
#[derive(Debug)]
pub(in crate::view) struct Exchange<'a> {
    connection: &'a Connection,
    /// Where the steps of A and of B stand.
    stands: [Vec<Timestamp>; 2],
    /// The resets from A, and from B, that both ends told of.
    delivered: [Vec<Delivered>; 2],
    items: Vec<Item<'a>>,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Item<'a> {
    /// Where it stands.
    pub(in crate::view) at: Timestamp,
    /// When it was, as closely as that is known.
    pub(in crate::view) when: When,
    /// Of one moment, what causes the other is less.
    rank: u8,
    pub(in crate::view) what: What<'a>,
    /// Which steps of a graceful shutdown it is.
    pub(in crate::view) steps: Steps,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) enum What<'a> {
    /// An end entered a state, or was found in it.
    State(Entered<'a>),
    /// A segment went from one end to the other.
    Segment(Segment<'a>),
    /// Something that neither moved a state nor is a segment of its own.
    Mark(Side, &'a Mark),
    /// An end sent again what was not acknowledged.
    Again(Again),
    /// An end has another set of holders: its number since the end was met.
    Held(Side, usize),
    /// Something was found of an end.
    Found(Side, &'a Finding),
    /// A process of the lab announced what it does, and which end it holds, where that is known.
    Said(Option<Side>, Note<'a>),
    /// For a while nothing happened.
    Wait(Wait),
}

/// A state and the end that entered it.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Entered<'a> {
    pub(in crate::view) side: Side,
    pub(in crate::view) span: &'a Span,
    /// The state before; `None` of an end that was there when we came.
    pub(in crate::view) before: Option<TcpState>,
    /// Its number on the track.
    index: usize,
}

/// A segment, as far as its flags tell something.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Segment<'a> {
    pub(in crate::view) from: Side,
    pub(in crate::view) flag: Flag,
    pub(in crate::view) proof: Proof<'a>,
}

/// What the segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view) enum Flag {
    Syn,
    SynAck,
    Ack,
    Fin,
    /// It acknowledges the first FIN, too.
    FinAck,
    /// Whether it does, or a segment of its own did, is not known.
    FinPerhapsAck,
    Rst,
}

impl Flag {
    pub(in crate::view) const fn name(self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::SynAck => "SYN, ACK",
            Self::Ack => "ACK",
            Self::Fin => "FIN",
            Self::FinAck => "FIN, ACK",
            Self::FinPerhapsAck => "FIN, ACK?",
            Self::Rst => "RST",
        }
    }

    /// Whether its sender closes its side with it.
    const fn is_fin(self) -> bool {
        matches!(self, Self::Fin | Self::FinAck | Self::FinPerhapsAck)
    }
}

/// What a segment is known by.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) enum Proof<'a> {
    /// A state that its sender, or its receiver, has by it.
    State(Entered<'a>),
    /// The kernel told that it was sent, or received.
    Told(&'a Mark),
}

impl Segment<'_> {
    /// Whether it rests on a state that nobody saw, or that began before we came.
    pub(in crate::view) const fn is_inferred(&self) -> bool {
        match self.proof {
            Proof::State(by) => {
                matches!(by.span.certainty, Certainty::Inferred)
                    || by.span.from.not_before().is_none()
            }
            Proof::Told(_) => false,
        }
    }

    /// Whether it is this state that proves it.
    pub(in crate::view) fn is_proved_by(&self, state: &Entered<'_>) -> bool {
        match self.proof {
            Proof::State(by) => (by.side, by.index) == (state.side, state.index),
            Proof::Told(_) => false,
        }
    }
}

/// A segment that was sent again, and again.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Again {
    pub(in crate::view) from: Side,
    pub(in crate::view) first: Timestamp,
    pub(in crate::view) last: Timestamp,
    pub(in crate::view) times: u64,
}

impl<'a> Exchange<'a> {
    /// What is known of `connection` from a moment on.
    pub(in crate::view) fn of(
        connection: &'a Connection,
        from: Timestamp,
        findings: impl Iterator<Item = &'a Finding>,
    ) -> Self {
        let mut exchange = Self {
            connection,
            stands: stands(connection),
            delivered: Side::BOTH.map(|side| delivered(connection, side)),
            items: Vec::new(),
        };
        for (side, track) in connection.visible() {
            exchange.track(side, track, from);
            exchange.marks(side, track, from);
            exchange.held(side, track, from);
        }
        exchange.found(findings, from);
        exchange.sort();
        exchange
    }

    /// What happened, in its order.
    pub(in crate::view) fn items(&self) -> &[Item<'a>] {
        &self.items
    }

    fn sort(&mut self) {
        // Stable, and of one moment what causes the other comes first.
        self.items.sort_by_key(|item| (item.at, item.rank));
        self.join();
    }

    fn push(&mut self, at: Timestamp, when: When, rank: u8, what: What<'a>) {
        self.items.push(Item {
            at,
            when,
            rank,
            what,
            steps: Steps::default(),
        });
    }

    fn track(&mut self, side: Side, track: &'a Track, from: Timestamp) {
        let mut before = None;
        for (index, span) in track.spans().iter().enumerate() {
            let entered = Entered {
                side,
                span,
                before,
                index,
            };
            before = Some(span.state);
            let is_first = entered.before.is_none();
            let is_unborn = is_first && span.state == TcpState::Close;
            if is_unborn || (!is_first && span.from.not_after() < from) {
                continue;
            }
            let rank = rank_of(span.state, entered.before);
            self.push(self.stand(&entered), span.from, rank, What::State(entered));
            self.segments(entered);
        }
    }

    /// The segments that a state proves, or that an end sends when it enters it.
    fn segments(&mut self, new: Entered<'a>) {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent,
            TimeWait,
        };
        let (side, other) = (new.side, new.side.other());
        let Some(before) = new.before else {
            return;
        };
        match (before, new.span.state) {
            (_, SynSent) => self.segment(side, Flag::Syn, new, 1),
            (_, SynRecv) => {
                self.unless_sent(other, &[SynSent], Flag::Syn, new, 1);
                // Where its arrival is seen, it is drawn there: the kernel answers before it tells
                // that it does.
                if !self.opens_here(other) {
                    self.segment(side, Flag::SynAck, new, 3);
                }
            }
            (SynSent, Established) => {
                self.segment(other, Flag::SynAck, new, 3);
                self.segment(side, Flag::Ack, new, 5);
            }
            (SynRecv, Established) => self.unless_sent(other, &[SynSent], Flag::Ack, new, 5),
            (_, FinWait1) => self.segment(side, Flag::Fin, new, 11),
            (_, LastAck) => {
                let acked = self.acked(other);
                // What carries the acknowledgement is before what it leads to.
                let at = match acked {
                    Acked::Alone => self.second_fin(&new),
                    Acked::WithFin | Acked::Unknown => self.stand(&new),
                };
                self.segment_at(at, side, acked.second_fin(), new, 16);
            }
            (Established, CloseWait) => self.unless_sent(other, &[FinWait1], Flag::Fin, new, 11),
            (FinWait1, Closing) => {
                self.unless_sent(other, &[FinWait1, LastAck], Flag::Fin, new, 11);
            }
            (FinWait1, FinWait2) if self.acked(side) == Acked::Alone => {
                self.segment(other, Flag::Ack, new, ACK_OF_A_FIN);
            }
            (Closing, TimeWait) => self.segment(other, Flag::Ack, new, ACK_OF_A_FIN),
            (FinWait2 | FinWait1, TimeWait) => {
                let flag = self.acked(side).second_fin();
                self.unless_sent(other, &[LastAck, FinWait1], flag, new, 16);
            }
            (LastAck, Close) if new.span.why.cause == Cause::AckReceived => {
                self.segment(other, Flag::Ack, new, 18);
            }
            (_, Close) => self.reset(new),
            _ => {}
        }
    }

    /// Whether an end was seen to open the connection and to have it open.
    fn opens_here(&self, side: Side) -> bool {
        self.connection.end(side).is_some_and(|track| {
            track.spans().windows(2).any(|pair| {
                (pair[0].state, pair[1].state) == (TcpState::SynSent, TcpState::Established)
            })
        })
    }

    /// A reset that ended an end, where no mark of its sender tells of it.
    fn reset(&mut self, new: Entered<'a>) {
        let (side, other) = (new.side, new.side.other());
        let at = self.stand(&new);
        match new.span.why.cause {
            Cause::ResetSent if !self.has_reset(side, true) => {
                // On one host its arrival is reported first.
                let received = resets(self.connection, other, false).next();
                let at = received.map_or(at, |received| received.min(at));
                self.segment_at(at, side, Flag::Rst, new, 9);
            }
            Cause::ResetReceived => {
                let is_told = self.has_reset(other, true) || self.has_reset(side, false);
                if !is_told && self.ended_by_reset(other).is_none() {
                    self.segment(other, Flag::Rst, new, 9);
                }
            }
            _ => {}
        }
    }

    /// Whether an end told that it sent, or received, a reset.
    fn has_reset(&self, side: Side, sent: bool) -> bool {
        resets(self.connection, side, sent).next().is_some()
    }

    /// When an end ended by a reset that it sent.
    fn ended_by_reset(&self, side: Side) -> Option<Timestamp> {
        let track = self.connection.end(side)?;
        let gone = track.spans().last()?;
        let why = track.why_gone()?;
        (why.cause == Cause::ResetSent).then_some(gone.from.not_after())
    }

    /// Whether the reset that an end received at `at` is the one with which the other ended: the
    /// first of them, where no mark tells of its sending.
    fn is_of_the_end(&self, side: Side, at: Timestamp) -> bool {
        let other = side.other();
        !self.has_reset(other, true)
            && self.ended_by_reset(other).is_some()
            && resets(self.connection, side, false).next() == Some(at)
    }

    fn marks(&mut self, side: Side, track: &'a Track, from: Timestamp) {
        for mark in track.marks().iter().filter(|mark| mark.at >= from) {
            let told = |from| Segment {
                from,
                flag: Flag::Rst,
                proof: Proof::Told(mark),
            };
            let (at, rank, what) = match mark.kind {
                MarkKind::ResetSent(_) => {
                    // On one host its arrival is reported first; it is drawn once, and where
                    // the earlier of the two is.
                    let received = self.other_received(side, mark.at);
                    // And so is the end that it put to its sender.
                    let ended = self
                        .ended_by_reset(side)
                        .filter(|_| resets(self.connection, side, true).next() == Some(mark.at));
                    let earlier = received.into_iter().chain(ended).min();
                    let at = earlier.map_or(mark.at, |earlier| earlier.min(mark.at));
                    (at, 8, What::Segment(told(side)))
                }
                MarkKind::ResetReceived
                    if self.other_sent(side, mark.at) || self.is_of_the_end(side, mark.at) =>
                {
                    (mark.at, 10, What::Mark(side, mark))
                }
                MarkKind::ResetReceived => (mark.at, 8, What::Segment(told(side.other()))),
                MarkKind::Retransmit => {
                    let again = Again {
                        from: side,
                        first: mark.at,
                        last: mark.at,
                        times: 1,
                    };
                    (mark.at, 12, What::Again(again))
                }
                MarkKind::CloseCall | MarkKind::Freed | MarkKind::NoAnswer => {
                    (mark.at, 12, What::Mark(side, mark))
                }
            };
            self.push(at, When::At(at), rank, what);
        }
    }

    fn segment(&mut self, from: Side, flag: Flag, by: Entered<'a>, rank: u8) {
        self.segment_at(self.stand(&by), from, flag, by, rank);
    }

    fn segment_at(&mut self, at: Timestamp, from: Side, flag: Flag, by: Entered<'a>, rank: u8) {
        let segment = Segment {
            from,
            flag,
            proof: Proof::State(by),
        };
        self.push(at, by.span.from, rank, What::Segment(segment));
    }

    /// A segment that the other end's history shows already is not there twice.
    fn unless_sent(
        &mut self,
        from: Side,
        states: &[TcpState],
        flag: Flag,
        by: Entered<'a>,
        rank: u8,
    ) {
        let has_sent = self
            .connection
            .end(from)
            .is_some_and(|track| states.iter().any(|&state| track.passed(state)));
        if !has_sent {
            self.segment(from, flag, by, rank);
        }
    }

    /// Segments that an end sent again while nothing moved become one item.
    fn join(&mut self) {
        // Where the last of each end stands.
        let mut open: [Option<usize>; 2] = [None, None];
        let mut joined: Vec<Item<'a>> = Vec::with_capacity(self.items.len());
        for item in self.items.drain(..) {
            match item.what {
                What::Again(again) => {
                    let place = &mut open[again.from as usize];
                    if let Some(What::Again(before)) = place
                        .and_then(|at| joined.get_mut(at))
                        .map(|it| &mut it.what)
                    {
                        before.last = before.last.max(again.last);
                        before.times += again.times;
                        continue;
                    }
                    *place = Some(joined.len());
                }
                What::State(_) | What::Segment(_) => open = [None, None],
                _ => {}
            }
            joined.push(item);
        }
        self.items = joined;
    }
}

/// Of what is of one moment, what causes the other comes first.
const fn rank_of(state: TcpState, before: Option<TcpState>) -> u8 {
    match (state, before) {
        // Who was found with its FIN sent did so earlier.
        (TcpState::SynSent, _) | (TcpState::FinWait1 | TcpState::FinWait2, None) => 0,
        (TcpState::SynRecv, _) => 2,
        (TcpState::Established, Some(TcpState::SynSent)) => 4,
        (TcpState::Established, _) => 6,
        (TcpState::FinWait1, _) => 10,
        (TcpState::CloseWait | TcpState::Closing, _) => 12,
        (TcpState::FinWait2, _) => 14,
        (TcpState::LastAck, _) => 15,
        (TcpState::TimeWait, _) => 17,
        (TcpState::Close | TcpState::Listen, _) => 19,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceName;
    use crate::timeline::Why;
    use crate::view::fixture::{at, connection, tracker};

    const fn span(state: TcpState, from: When) -> Span {
        Span {
            state,
            from,
            certainty: Certainty::Sampled,
            source: SourceName::SockDiag,
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

    const fn entered(side: Side, before: TcpState, span: &Span, index: usize) -> Entered<'_> {
        Entered {
            side,
            span,
            before: Some(before),
            index,
        }
    }

    fn with_nothing<'a>(connection: &'a Connection) -> Exchange<'a> {
        Exchange {
            connection,
            stands: [Vec::new(), Vec::new()],
            delivered: [Vec::new(), Vec::new()],
            items: Vec::new(),
        }
    }

    /// What both ends sent again, in a row and with a state in between.
    #[test]
    fn what_is_sent_again_while_nothing_moves_is_one_item() {
        let tracker = tracker();
        let mut exchange = with_nothing(connection(&tracker));
        let closing = span(TcpState::FinWait1, When::At(at(35)));
        let again = |from, micros| Again {
            from,
            first: at(micros),
            last: at(micros),
            times: 1,
        };
        for (from, micros) in [
            (Side::A, 10),
            (Side::B, 15),
            (Side::A, 20),
            (Side::A, 30),
            (Side::A, 40),
        ] {
            let what = What::Again(again(from, micros));
            exchange.push(at(micros), When::At(at(micros)), 12, what);
        }
        let state = entered(Side::A, TcpState::Established, &closing, 1);
        exchange.push(at(35), closing.from, 10, What::State(state));
        exchange.sort();
        let told: Vec<(Side, u64)> = exchange
            .items()
            .iter()
            .filter_map(|item| match item.what {
                What::Again(again) => Some((again.from, again.times)),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(Side::A, 3), (Side::B, 1), (Side::A, 1)]);
    }

    #[test]
    fn of_two_ends_in_one_look_only_cause_tells_the_order() {
        let tracker = tracker();
        let within = When::Between(at(0), at(100));
        let [a, b, after] = [
            span(TcpState::FinWait2, within),
            span(TcpState::LastAck, within),
            span(TcpState::TimeWait, within),
        ];
        let mut exchange = with_nothing(connection(&tracker));
        for (side, before, span) in [
            (Side::A, TcpState::FinWait1, &a),
            (Side::B, TcpState::CloseWait, &b),
            (Side::A, TcpState::FinWait2, &after),
        ] {
            let state = entered(side, before, span, 1);
            let rank = rank_of(span.state, state.before);
            exchange.push(at(100), within, rank, What::State(state));
        }
        exchange.sort();
        let unknown: Vec<bool> = (0..3)
            .map(|index| exchange.may_be_before_the_one_above(index))
            .collect();
        // B may have sent its FIN before A heard of its own; and TIME_WAIT comes by B's FIN.
        assert_eq!(unknown, [false, true, false]);
    }

    #[test]
    fn one_call_can_be_two_steps_and_each_is_taken_once() {
        let tracker = tracker();
        let mut exchange = with_nothing(connection(&tracker));
        let closed = Span {
            why: Why::from(Cause::Close),
            ..span(TcpState::FinWait1, When::At(at(10)))
        };
        let waits = span(TcpState::FinWait2, When::At(at(20)));
        for (before, span) in [
            (TcpState::Established, &closed),
            (TcpState::FinWait1, &waits),
        ] {
            let state = entered(Side::B, before, span, 1);
            exchange.push(span.from.not_after(), span.from, 10, What::State(state));
        }
        let exchange = exchange.numbered();
        let steps: Vec<Vec<u8>> = exchange
            .items()
            .iter()
            .map(|item| item.steps.numbers().collect())
            .collect();
        assert_eq!(steps, [vec![1, 6], vec![]]);
    }

    #[test]
    fn a_wait_has_the_bounds_of_what_stands_around_it() {
        let tracker = tracker();
        let exchange = Exchange::of(connection(&tracker), at(0), std::iter::empty());
        let items = exchange.waiting(at(5_000_000)).items;
        let Some(What::Wait(wait)) = items.last().map(|item| item.what) else {
            panic!("{items:?}");
        };
        assert!(wait.goes_on);
        assert_eq!(wait.state(Side::A), Some(TcpState::Established));
        // It was open when we came: nobody knows for how long.
        assert_eq!(wait.lasted.at_least.as_secs(), 5);
        assert_eq!(wait.lasted.at_most, None);
    }
}
