//! The orders that TCP forces between the two ends of one connection, and what each says of the
//! offset of their clocks.
//!
//! The trap: only what is forced, in the order in which the kernel does it. SYN_SENT, ESTABLISHED
//! of who opens, FIN_WAIT1 and LAST_ACK are set before their segment goes out, and every state that
//! a segment leads to is set after it has come. Whoever gets a FIN in ESTABLISHED is in CLOSE_WAIT
//! before its ACK goes out; but in FIN_WAIT1 and FIN_WAIT2 the ACK goes out first, and CLOSING and
//! TIME_WAIT come after: they bound nothing of when it was sent.

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, Side, Track, When};

/// An order that the protocol forces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// A SYN is sent before it comes.
    Syn,
    /// The last ACK of the handshake is sent before it comes.
    Handshake,
    /// A FIN is sent before it comes.
    Fin,
    /// A FIN comes before its acknowledgement does.
    FinAcknowledged,
}

impl Law {
    /// What a connection did that broke it.
    pub const fn broken(self) -> &'static str {
        match self {
            Self::Syn => "got a SYN before it was sent",
            Self::Handshake => "was established before the last ACK of its handshake was sent",
            Self::Fin => "got a FIN before it was sent",
            Self::FinAcknowledged => "had a FIN acknowledged before it came",
        }
    }

    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Handshake => "handshake",
            Self::Fin => "fin",
            Self::FinAcknowledged => "fin_acknowledged",
        }
    }
}

/// Offsets, in nanoseconds, from one to the other; `None` is without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) at_least: Option<i64>,
    pub(super) at_most: Option<i64>,
}

impl Bounds {
    pub(super) const NONE: Self = Self {
        at_least: None,
        at_most: None,
    };

    /// Those that both allow.
    pub(super) fn and(self, other: Self) -> Self {
        let least = |a: Option<i64>, b: Option<i64>| a.max(b);
        let most = |a: Option<i64>, b: Option<i64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
        Self {
            at_least: least(self.at_least, other.at_least),
            at_most: most(self.at_most, other.at_most),
        }
    }

    pub(super) const fn is_empty(self) -> bool {
        matches!((self.at_least, self.at_most), (Some(least), Some(most)) if least > most)
    }

    pub(super) fn contains(self, offset: i64) -> bool {
        self.at_least.is_none_or(|least| least <= offset)
            && self.at_most.is_none_or(|most| offset <= most)
    }

    pub(super) fn shifted(self, by: i64) -> Self {
        Self {
            at_least: self.at_least.map(|least| least.saturating_add(by)),
            at_most: self.at_most.map(|most| most.saturating_add(by)),
        }
    }

    /// How far the clocks are from an offset that is allowed; 0 when they need none.
    pub(super) fn distance_of_zero(self) -> u64 {
        let below = self.at_least.map_or(0, |least| least.max(0).unsigned_abs());
        let above = self.at_most.map_or(0, |most| most.min(0).unsigned_abs());
        below.max(above)
    }
}

/// One order, as a bound of the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constraint {
    pub(super) law: Law,
    pub(super) offsets: Bounds,
}

/// All that a connection says. The offset is that of `hosts.1`.
pub(super) fn constraints(
    connection: &Connection,
    hosts: (u16, u16),
) -> impl Iterator<Item = Constraint> {
    Side::BOTH.into_iter().flat_map(move |side| {
        let here = connection.end(side);
        let there = connection.end(side.other());
        here.zip(there)
            .map(|(here, there)| orders(here, there))
            .into_iter()
            .flatten()
            .filter_map(move |(law, cause, effect)| {
                let is_cause_first = if law == Law::FinAcknowledged {
                    there?.id().scope.host == hosts.0
                } else {
                    here?.id().scope.host == hosts.0
                };
                let offsets = offsets(cause?, effect?, is_cause_first)?;
                Some(Constraint { law, offsets })
            })
    })
}

type Order = (Law, Option<When>, Option<When>);

/// What `here` sends, and what that makes of `there`: each a cause and its effect.
fn orders(here: &Track, there: &Track) -> [Order; 4] {
    let opened = opened(here, there);
    let syn = opened.then(|| entry(here, TcpState::SynSent)).flatten();
    let established = opened.then(|| entry(here, TcpState::Established)).flatten();
    let sent = fin_sent(here);
    let answers = entry(there, TcpState::CloseWait);
    [
        (Law::Syn, syn, entry(there, TcpState::SynRecv)),
        (
            Law::Handshake,
            established,
            entry(there, TcpState::Established),
        ),
        (Law::Fin, sent, fin_received(there)),
        (
            Law::FinAcknowledged,
            answers,
            sent.and(fin_acknowledged(here)),
        ),
    ]
}

/// `here` opened the connection to `there`, and not both to each other.
fn opened(here: &Track, there: &Track) -> bool {
    here.passed(TcpState::SynSent)
        && !here.passed(TcpState::SynRecv)
        && !there.passed(TcpState::SynSent)
}

fn entry(track: &Track, state: TcpState) -> Option<When> {
    let span = track.spans().iter().find(|span| span.state == state)?;
    Some(span.from)
}

/// The FIN was sent after this.
fn fin_sent(track: &Track) -> Option<When> {
    entry(track, TcpState::FinWait1).or_else(|| entry(track, TcpState::LastAck))
}

/// The peer's FIN had been taken in.
fn fin_received(track: &Track) -> Option<When> {
    [TcpState::CloseWait, TcpState::Closing, TcpState::TimeWait]
        .into_iter()
        .find_map(|state| entry(track, state))
}

/// The peer's ACK of the FIN had come.
fn fin_acknowledged(track: &Track) -> Option<When> {
    entry(track, TcpState::FinWait2).or_else(|| entry(track, TcpState::TimeWait))
}

/// `cause` was not after `effect`: what that says of the offset of the second host. `None` when the
/// cause can have been at any time before.
fn offsets(cause: When, effect: When, is_cause_first: bool) -> Option<Bounds> {
    let (cause, effect) = (cause.not_before()?, effect.not_after());
    Some(match is_cause_first {
        true => Bounds {
            at_least: Some(difference(cause, effect)),
            at_most: None,
        },
        false => Bounds {
            at_least: None,
            at_most: Some(difference(effect, cause)),
        },
    })
}

/// `a - b` in nanoseconds.
fn difference(a: Timestamp, b: Timestamp) -> i64 {
    let distance = i64::try_from(a.distance(b).as_nanos()).unwrap_or(i64::MAX);
    if a >= b { distance } else { -distance }
}
