//! A connection: both ends of one 4-tuple, in one incarnation.
//!
//! A opened the connection, B was opened to. Which end is A is fixed when the connection is first
//! shown and never changed, even when later evidence speaks against it: a lane that swaps places
//! is worse than a wrong letter. What the two ends show is kept apart; they may disagree.

use std::fmt;

use crate::model::filter::{EndFacts, Selection};
use crate::model::{Endpoint, FourTuple, Scope, TcpState, Timestamp};
use crate::timeline::Change;
use crate::timeline::track::{Track, When};

/// The small number under which the user sees a connection. Given in the order of first sight,
/// from 1, and never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(true, "", &self.0.to_string())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One of the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Opened the connection.
    A,
    /// Was opened to.
    B,
}

impl Side {
    /// Both, in the order of the lanes.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The name of its lane.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }

    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// Both ends of one incarnation of a 4-tuple.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) id: ConnId,
    pub(super) scope: Scope,
    /// The life that had the 4-tuple before, where it was first met.
    pub(super) previous: Option<ConnId>,
    /// As A sees it.
    pub(super) tuple: FourTuple,
    pub(super) ends: [Option<Track>; 2],
    pub(super) opened: Timestamp,
    pub(super) closed: Option<Timestamp>,
    /// Another incarnation took the 4-tuple while this one was not known to be over.
    pub(super) replaced: bool,
    /// `TCPTimeWaitOverflow` of the end's host when it was first seen there.
    pub(super) overflows_at_open: [Option<u64>; 2],
    /// TIME_WAITs were dropped for want of room during its life, so that none proves nothing.
    pub(super) time_wait_unreliable: bool,
    /// The host counted a reset while its ends vanished, and no other connection has claimed it.
    pub(super) reset_counted: bool,
    /// An end is a subflow of a multipath connection.
    pub(super) multipath: bool,
    /// Nothing that was seen tells which end opened it.
    pub(super) sides_guessed: bool,
    /// It has been shown, its sides are fixed.
    pub(super) shown: bool,
    /// What is to be shown of it once what happened before it is known.
    pub(super) held: Vec<Change>,
}

impl Connection {
    /// One of which no end is known yet.
    pub(super) const fn new(id: ConnId, scope: Scope, tuple: FourTuple, opened: Timestamp) -> Self {
        Self {
            id,
            scope,
            tuple,
            ends: [None, None],
            opened,
            closed: None,
            replaced: false,
            overflows_at_open: [None, None],
            previous: None,
            time_wait_unreliable: false,
            reset_counted: false,
            multipath: false,
            sides_guessed: false,
            shown: false,
            held: Vec::new(),
        }
    }

    /// Whether both ends are in one place, as far as the addresses tell: one that is not seen there
    /// is not hidden, it is gone.
    pub fn is_local(&self) -> bool {
        let [a, b] = [self.tuple.local, self.tuple.remote].map(|end| end.addr());
        a == b || a.is_loopback() || b.is_loopback()
    }

    /// Its number.
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// Where its addresses mean something: where A is, or B when A is not seen.
    pub fn scope(&self) -> Scope {
        let seen = self.end_scope(Side::A).or(self.end_scope(Side::B));
        seen.unwrap_or(self.scope)
    }

    /// Where an end is; `None` when it is not seen. The two ends can be on two hosts, or in two
    /// namespaces of one.
    pub fn end_scope(&self, side: Side) -> Option<Scope> {
        self.end(side).map(|track| track.id().scope)
    }

    /// The hosts of its visible ends, each once.
    pub(super) fn hosts(&self) -> [Option<u16>; 2] {
        let [a, b] = Side::BOTH.map(|side| Some(self.end_scope(side)?.host));
        [a, b.filter(|_| a != b)]
    }

    /// The address of an end, visible or not.
    pub const fn endpoint(&self, side: Side) -> Endpoint {
        match side {
            Side::A => self.tuple.local,
            Side::B => self.tuple.remote,
        }
    }

    /// The history of an end; `None` when it is on no host that is watched, or was gone when we came.
    pub const fn end(&self, side: Side) -> Option<&Track> {
        self.ends[side as usize].as_ref()
    }

    /// The visible ends.
    pub fn visible(&self) -> impl Iterator<Item = (Side, &Track)> {
        Side::BOTH
            .into_iter()
            .filter_map(|side| Some((side, self.end(side)?)))
    }

    /// When it was first seen.
    pub const fn opened(&self) -> Timestamp {
        self.opened
    }

    /// When every visible end was first known to be gone or in TIME_WAIT.
    pub const fn closed(&self) -> Option<Timestamp> {
        self.closed
    }

    /// Whether another incarnation took its 4-tuple while it was not known to be over.
    pub const fn was_replaced(&self) -> bool {
        self.replaced
    }

    /// Whether the host dropped TIME_WAITs during its life, so that the lack of one proves nothing.
    pub const fn time_wait_unreliable(&self) -> bool {
        self.time_wait_unreliable
    }

    /// Whether the host counted a reset while the ends vanished.
    pub const fn reset_counted(&self) -> bool {
        self.reset_counted
    }

    /// Whether nothing that was seen tells which end opened it: neither its beginning nor a listener. A
    /// is then the end with the higher port.
    pub const fn sides_are_guessed(&self) -> bool {
        self.sides_guessed
    }

    /// Whether it is part of a multipath connection (MPTCP), whose teardown goes by other rules:
    /// there is no verdict on it.
    pub const fn is_multipath(&self) -> bool {
        self.multipath
    }

    /// Whether a lookup has yet to tell what became of an end.
    pub(super) fn has_turned(&self) -> bool {
        self.ends
            .iter()
            .flatten()
            .any(|track| track.turned.is_some())
    }

    /// Whether one visible end satisfies the selection, now or earlier.
    pub fn is_selected_by(&self, selection: &Selection) -> bool {
        self.visible().any(|(_, track)| {
            selection.matches(&EndFacts {
                tuple: *track.tuple(),
                states: track.seen_states(),
            }) && (selection.processes.is_any() || track.has_been_of(&selection.processes))
        })
    }

    /// Notes the moment when it is first known to be over; says whether that is now.
    pub(super) fn close_if_over(&mut self, at: Timestamp) -> bool {
        let is_news = self.closed.is_none() && self.is_over();
        if is_news {
            self.closed = Some(at);
        }
        is_news
    }

    pub(super) fn is_over(&self) -> bool {
        self.visible().all(|(_, track)| track.is_over())
    }

    /// Whether the present state of the visible end, looking from the free side, can belong to
    /// the same incarnation as a socket in `state`, which was looked at later: whoever is in
    /// TIME_WAIT has seen the peer send its FIN. A client in SYN_SENT may talk to the TIME_WAIT of
    /// the life before, unless that one is `newborn`, not seen by the look before; a server in SYN_RECV can't, since its client gave up its own TIME_WAIT
    /// before the SYN. So a TIME_WAIT seen after that is the same life, over within one look.
    pub(super) fn can_take(&self, side: Side, state: TcpState, newborn: bool) -> bool {
        let fin_sent = |state| {
            matches!(
                state,
                TcpState::LastAck | TcpState::Closing | TcpState::TimeWait
            )
        };
        self.end(side).is_none()
            && self.end(side.other()).is_some_and(|there| {
                !there.is_gone()
                    && (there.state() != TcpState::TimeWait || fin_sent(state))
                    && (newborn
                        || state != TcpState::TimeWait
                        || there.state() != TcpState::SynSent)
            })
    }
}

/// A state before the connection is established.
pub(super) const fn is_opening(state: TcpState) -> bool {
    matches!(state, TcpState::SynSent | TcpState::SynRecv)
}

/// How a mini-socket's timer dates the state that is found at attach: at least so old.
///
/// TIME_WAIT counts 60 s down (`TCP_TIMEWAIT_LEN`, include/net/tcp.h), and begins again at every
/// segment that it has to answer. FIN_WAIT2 counts `tcp_fin_timeout` from the `close()`, which may
/// come long after the state was entered. Of a timeout above 60 s the mini-socket has only the
/// part above, after a full orphan had as much (`tcp_rcv_state_process`, net/ipv4/tcp_input.c).
/// The trap that remains: a program can shorten its own with `TCP_LINGER2`, which no look shows.
pub(super) fn found_since(
    sample: &crate::model::Sample,
    fin_timeout: Option<std::time::Duration>,
    at: Timestamp,
) -> When {
    /// 10 ms: the coarsest jiffy (HZ=100).
    const JIFFY: std::time::Duration = std::time::Duration::from_millis(10);
    const TIME_WAIT_LENGTH: std::time::Duration = std::time::Duration::from_secs(60);
    let remaining = match sample.timer {
        Some(timer) if sample.is_mini_socket() => timer.deadline.since(at),
        _ => return When::Before(at.minus(crate::timeline::age::by_count(sample))),
    };
    let whole = match (sample.state, fin_timeout) {
        (TcpState::TimeWait, _) => TIME_WAIT_LENGTH,
        (TcpState::FinWait2, Some(timeout)) if timeout > TIME_WAIT_LENGTH => {
            timeout - TIME_WAIT_LENGTH
        }
        (TcpState::FinWait2, Some(timeout)) => timeout,
        _ => return When::Before(at),
    };
    let waited = whole.saturating_sub(remaining).saturating_sub(JIFFY);
    When::Before(at.minus(waited))
}
