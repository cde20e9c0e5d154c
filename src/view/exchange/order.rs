//! Where segments stand: in the order of cause, and where that order is not known.
//!
//! The trap: between two looks both ends move, and the later look may show the cause. On one host the
//! kernel reports what it does in the order of its own functions.

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, Side, Span, Track, When};
use crate::view::exchange::{Entered, Exchange, Item, Proof, What};

/// Where each step of both ends stands: when it was so at the latest, and where the bounds let it, not
/// after what it has to be before. Exact times stay as they are.
pub(super) fn stands(connection: &Connection) -> [Vec<Timestamp>; 2] {
    let spans = Side::BOTH.map(|side| connection.end(side).map_or(&[][..], Track::spans));
    let latest = |span: &Span| span.from.not_after();
    let mut stands = spans.map(|spans| spans.iter().map(latest).collect::<Vec<_>>());
    // It ends: a step only moves to the time of an other one, and only to an earlier one.
    let mut has_moved = true;
    while has_moved {
        has_moved = false;
        for (causes, effects) in [(0, 1), (1, 0)] {
            for effect in 0..spans[effects].len() {
                for cause in 0..spans[causes].len() {
                    if is_cause(spans[causes], cause, spans[effects], effect) {
                        let until = stands[effects][effect];
                        has_moved |= lower(&mut stands[causes], spans[causes], cause, until);
                    }
                }
            }
        }
    }
    stands
}

/// Whether a step of one end has to be before a step of the other.
fn is_cause(causes: &[Span], cause: usize, effects: &[Span], effect: usize) -> bool {
    let before = |spans: &[Span], index: usize| Some(spans[index.checked_sub(1)?].state);
    let states = (causes[cause].state, effects[effect].state);
    if states == (TcpState::Established, TcpState::Established) {
        // Who opens has it first.
        return before(causes, cause) == Some(TcpState::SynSent)
            && before(effects, effect) == Some(TcpState::SynRecv);
    }
    forces(states.0, states.1)
}

/// Moves a step up, and those before it on its track, as far as their bounds let them; whether it
/// did.
fn lower(stands: &mut [Timestamp], spans: &[Span], index: usize, until: Timestamp) -> bool {
    let may_be = |span: &Span| match span.from {
        When::At(_) => false,
        when => when.not_before().is_none_or(|begin| begin <= until),
    };
    let is_late = |stand: &Timestamp| *stand > until;
    let (stands, spans) = (&mut stands[..=index], &spans[..=index]);
    let mut late = stands.iter().zip(spans).filter(|(stand, _)| is_late(stand));
    if !stands.last().is_some_and(is_late) || !late.all(|(_, span)| may_be(span)) {
        return false;
    }
    for stand in stands {
        *stand = (*stand).min(until);
    }
    true
}

impl Exchange<'_> {
    /// Where a step stands.
    pub(super) fn stand(&self, step: &Entered<'_>) -> Timestamp {
        let stand = self.stands[step.side as usize].get(step.index);
        stand.copied().unwrap_or(step.span.from.not_after())
    }

    /// Where the second FIN is drawn: when the end that it goes to waits for it, so that no arrow
    /// tells of a simultaneous close that there was not; and before its own acknowledgement.
    pub(super) fn second_fin(&self, new: &Entered<'_>) -> Timestamp {
        let sent = self.stand(new);
        let awaited = self.entered(new.side.other(), TcpState::FinWait2);
        let gone = self.entered(new.side, TcpState::Close);
        let at = awaited.map_or(sent, |awaited| awaited.max(sent));
        gone.map_or(at, |gone| at.min(gone))
    }

    /// Where the step stands with which an end entered a state.
    fn entered(&self, side: Side, state: TcpState) -> Option<Timestamp> {
        let spans = self.connection.end(side)?.spans();
        let index = spans.iter().skip(1).position(|span| span.state == state)?;
        self.stands[side as usize].get(index + 1).copied()
    }
}

/// Whether it may have happened before what stands above it: their bounds overlap, and neither
/// causes the other.
pub(super) fn may_be_before(item: &Item<'_>, above: &Item<'_>) -> bool {
    let Some(begin) = item.when.not_before() else {
        return false;
    };
    // A finding is of the moment that it counts to, and hides no order.
    let is_found = |item: &Item<'_>| matches!(item.what, What::Found(..));
    if is_found(item) || is_found(above) || begin >= above.when.not_after() {
        return false;
    }
    if matches!((item.when, above.when), (When::At(_), When::At(_))) {
        return false;
    }
    match (state_behind(above), state_behind(item)) {
        (Some(above), Some(below)) => {
            above.side != below.side && !forces(above.span.state, below.span.state)
        }
        _ => true,
    }
}

/// The state that an item is, or that proves it.
const fn state_behind<'a>(item: &Item<'a>) -> Option<Entered<'a>> {
    match item.what {
        What::State(entered) => Some(entered),
        What::Segment(segment) => match segment.proof {
            Proof::State(entered) => Some(entered),
            Proof::Told(_) => None,
        },
        _ => None,
    }
}

/// Whether one end's state has to be before the other end can have this one (RFC 9293, 3.6).
const fn forces(before: TcpState, of_other: TcpState) -> bool {
    use TcpState::{
        CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent, TimeWait,
    };
    matches!(
        (before, of_other),
        (SynSent, SynRecv | Established)
            | (SynRecv | Established, Established)
            | (FinWait1, CloseWait | Closing | LastAck | TimeWait)
            | (CloseWait, FinWait2 | TimeWait)
            | (Closing | LastAck, TimeWait)
    )
}
