//! The six steps of a graceful shutdown: both ends call `shutdown(write)`, read until 0, and close.
//!
//! The trap: `close()` sends the same FIN as `shutdown(write)`, so one call can be two steps, and
//! the sixth can come first; that is what is wrong then.

use crate::model::TcpState;
use crate::timeline::{Cause, MarkKind, Side};
use crate::view::exchange::{Exchange, Flag, Item, What};

/// Which of the six, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::view) struct Steps(u8);

impl Steps {
    /// The end that closes first sends its FIN.
    pub(super) const FIRST_FIN: u8 = 1;
    /// It has come: the other end reads until 0.
    pub(super) const FIRST_HAS_COME: u8 = 2;
    /// The other end sends its own.
    pub(super) const SECOND_FIN: u8 = 3;
    /// It has come: the end that closed first reads until 0.
    pub(super) const SECOND_HAS_COME: u8 = 4;
    /// The other end's descriptor is closed.
    pub(super) const OTHER_CLOSED: u8 = 5;
    /// And that of the end that closed first.
    pub(super) const FIRST_CLOSED: u8 = 6;

    const fn add(&mut self, step: u8) {
        self.0 |= 1 << step;
    }

    /// Their numbers.
    pub(in crate::view) fn numbers(self) -> impl Iterator<Item = u8> {
        (Self::FIRST_FIN..=Self::FIRST_CLOSED).filter(move |step| self.0 & (1 << step) != 0)
    }

    /// These and those.
    pub(in crate::view) const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }
}

impl Exchange<'_> {
    /// Numbers the steps, as far as the exchange has them: a reset ends it.
    pub(in crate::view) fn numbered(mut self) -> Self {
        let Some(first) = self.items.iter().find_map(sends_first) else {
            return self;
        };
        let mut numbered = Steps::default();
        let [first_here, other_here] =
            [first, first.other()].map(|side| self.connection.end(side).is_some());
        for item in &mut self.items {
            if matches!(item.what, What::Segment(segment) if segment.flag == Flag::Rst) {
                break;
            }
            let mut steps = Steps::default();
            for step in steps_of(item, first).into_iter().flatten() {
                steps.add(step);
            }
            // Of an end that is not seen, what the other one shows of it.
            for step in implied(item, first).into_iter().flatten() {
                let is_of_first = matches!(step, Steps::FIRST_FIN | Steps::SECOND_HAS_COME);
                let is_here = if is_of_first { first_here } else { other_here };
                if !is_here {
                    steps.add(step);
                }
            }
            // Each is taken once.
            item.steps = Steps(steps.0 & !numbered.0);
            numbered = numbered.and(item.steps);
        }
        self
    }
}

/// Who sent the first FIN, if this is where that shows.
const fn sends_first(item: &Item<'_>) -> Option<Side> {
    match item.what {
        What::State(entered) => match entered.span.state {
            TcpState::FinWait1 | TcpState::FinWait2 | TcpState::TimeWait => Some(entered.side),
            TcpState::CloseWait | TcpState::LastAck => Some(entered.side.other()),
            _ => None,
        },
        What::Segment(segment) if segment.flag.is_fin() => Some(segment.from),
        _ => None,
    }
}

fn steps_of(item: &Item<'_>, first: Side) -> [Option<u8>; 2] {
    match item.what {
        What::State(entered) => {
            let is_first = entered.side == first;
            let state = match (entered.span.state, is_first) {
                // Found in it, it has sent its FIN earlier.
                (TcpState::FinWait1 | TcpState::FinWait2, true) => Some(Steps::FIRST_FIN),
                (TcpState::FinWait1 | TcpState::LastAck, false) => Some(Steps::SECOND_FIN),
                (TcpState::CloseWait | TcpState::Closing | TcpState::TimeWait, false) => {
                    Some(Steps::FIRST_HAS_COME)
                }
                (TcpState::Closing | TcpState::TimeWait, true) => Some(Steps::SECOND_HAS_COME),
                _ => None,
            };
            let closes = matches!(entered.span.why.cause, Cause::Close | Cause::ProcessExit);
            [state, closes.then_some(closed(is_first))]
        }
        What::Mark(side, mark) if matches!(mark.kind, MarkKind::CloseCall | MarkKind::Freed) => {
            [Some(closed(side == first)), None]
        }
        _ => [None, None],
    }
}

const fn closed(by_first: bool) -> u8 {
    match by_first {
        true => Steps::FIRST_CLOSED,
        false => Steps::OTHER_CLOSED,
    }
}

/// What a segment shows of the end that is not seen: its own FIN, or that the other one's has come.
fn implied(item: &Item<'_>, first: Side) -> [Option<u8>; 2] {
    let What::Segment(segment) = item.what else {
        return [None, None];
    };
    let is_first = segment.from == first;
    match (segment.flag, is_first) {
        (Flag::Fin | Flag::FinAck | Flag::FinPerhapsAck, true) => [Some(Steps::FIRST_FIN), None],
        (Flag::Fin, false) => [Some(Steps::SECOND_FIN), None],
        // It tells that the first FIN has come.
        (Flag::FinAck | Flag::FinPerhapsAck, false) => {
            [Some(Steps::FIRST_HAS_COME), Some(Steps::SECOND_FIN)]
        }
        // The ACK of a handshake comes before any FIN.
        (Flag::Ack, true) if item.rank >= super::ACK_OF_A_FIN => {
            [Some(Steps::SECOND_HAS_COME), None]
        }
        (Flag::Ack, false) if item.rank >= super::ACK_OF_A_FIN => {
            [Some(Steps::FIRST_HAS_COME), None]
        }
        _ => [None, None],
    }
}
