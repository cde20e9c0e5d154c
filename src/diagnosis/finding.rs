//! What the diagnosis says of an end, a connection, a listener or a destination, and on what it
//! rests.
//!
//! A finding holds facts and the clause that says what they mean. How old a state is by now, and
//! how an address is spelled, is the view's. The trap: a condition can pass (the program closes at
//! last), a fact can't (data was lost): only the first is ever over.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::model::{Endpoint, Scope, SockId, TcpState, Timestamp};
use crate::timeline::{Age, ConnId, Connection, Holding, Owners, Side, Track, When};

/// What was found. The words are stable; docs/diagnosis.md has a section on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each has its section in docs/diagnosis.md")]
pub enum Code {
    CloseWaitNeverAccepted,
    CloseWaitUnread,
    CloseWaitEofUnread,
    CloseWaitLeaked,
    CloseWaitShared,
    CloseWaitHalfClose,
    FinWait2Held,
    FinWait2Orphan,
    RelayPairLeaked,
    ResetUnreadData,
    ResetLinger0,
    ResetDataAfterClose,
    ResetByPeer,
    DataLost,
    SharedDescriptor,
    TimeWaitPileup,
    EphemeralPortsLow,
    LastAckStuck,
    FinWait1Stuck,
    SynUnanswered,
    ZeroWindow,
    EndsDisagree,
    ListenOverflow,
}

impl Code {
    /// All of them, in the order of docs/diagnosis.md.
    pub const ALL: [Self; 23] = [
        Self::CloseWaitNeverAccepted,
        Self::CloseWaitUnread,
        Self::CloseWaitEofUnread,
        Self::CloseWaitLeaked,
        Self::CloseWaitShared,
        Self::CloseWaitHalfClose,
        Self::FinWait2Held,
        Self::FinWait2Orphan,
        Self::RelayPairLeaked,
        Self::ResetUnreadData,
        Self::ResetLinger0,
        Self::ResetDataAfterClose,
        Self::ResetByPeer,
        Self::DataLost,
        Self::SharedDescriptor,
        Self::TimeWaitPileup,
        Self::EphemeralPortsLow,
        Self::LastAckStuck,
        Self::FinWait1Stuck,
        Self::SynUnanswered,
        Self::ZeroWindow,
        Self::EndsDisagree,
        Self::ListenOverflow,
    ];

    /// The word for machines, on the command line and in the documentation.
    pub const fn token(self) -> &'static str {
        match self {
            Self::CloseWaitNeverAccepted => "close-wait-never-accepted",
            Self::CloseWaitUnread => "close-wait-unread",
            Self::CloseWaitEofUnread => "close-wait-eof-unread",
            Self::CloseWaitLeaked => "close-wait-leaked",
            Self::CloseWaitShared => "close-wait-shared",
            Self::CloseWaitHalfClose => "close-wait-half-close",
            Self::FinWait2Held => "fin-wait2-held",
            Self::FinWait2Orphan => "fin-wait2-orphan",
            Self::RelayPairLeaked => "relay-pair-leaked",
            Self::ResetUnreadData => "reset-unread-data",
            Self::ResetLinger0 => "reset-linger0",
            Self::ResetDataAfterClose => "reset-data-after-close",
            Self::ResetByPeer => "reset-by-peer",
            Self::DataLost => "data-lost",
            Self::SharedDescriptor => "shared-descriptor",
            Self::TimeWaitPileup => "time-wait-pileup",
            Self::EphemeralPortsLow => "ephemeral-ports-low",
            Self::LastAckStuck => "last-ack-stuck",
            Self::FinWait1Stuck => "fin-wait1-stuck",
            Self::SynUnanswered => "syn-unanswered",
            Self::ZeroWindow => "zero-window",
            Self::EndsDisagree => "ends-disagree",
            Self::ListenOverflow => "listen-overflow",
        }
    }

    /// The code of a word.
    pub fn of(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.token() == token)
    }

    /// Whether it says what has happened, which no later observation undoes.
    pub const fn is_fact(self) -> bool {
        matches!(
            self,
            Self::ResetUnreadData
                | Self::ResetLinger0
                | Self::ResetDataAfterClose
                | Self::ResetByPeer
                | Self::DataLost
        )
    }

    /// Whether one look can show it. The others need what happens in time: a change of holders, a
    /// reset, a window that stays shut.
    pub const fn shows_in_one_look(self) -> bool {
        !self.is_fact()
            && !matches!(
                self,
                Self::SharedDescriptor | Self::ZeroWindow | Self::EndsDisagree
            )
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; it may be as it should be.
    Info,
    /// Something is not as its program should have it.
    Warn,
    /// Connections fail, or will soon.
    Error,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// The word in machine output and on the command line.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One end of a connection.
    End(ConnId, Side),
    /// An end in CLOSE_WAIT and one in FIN_WAIT2, of two connections that one process holds.
    Pair {
        /// The one that waits for its close.
        close_wait: (ConnId, Side),
        /// The one whose peer has not closed.
        fin_wait2: (ConnId, Side),
    },
    /// A listening socket.
    Listener(SockId),
    /// All connections from an address to a destination.
    Destination {
        /// Where the local address is one.
        scope: Scope,
        /// From there.
        local: IpAddr,
        /// To there.
        remote: Endpoint,
    },
}

impl Subject {
    /// The connections that it is about; none of a listener or a destination.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> {
        let both = match self {
            Self::End(conn, _) => [Some(*conn), None],
            Self::Pair {
                close_wait,
                fin_wait2,
            } => [Some(close_wait.0), Some(fin_wait2.0)],
            Self::Listener(_) | Self::Destination { .. } => [None, None],
        };
        both.into_iter().flatten()
    }

    /// Which recording it is of, where that is known without looking at a connection.
    pub const fn host(&self) -> Option<u16> {
        match self {
            Self::End(..) | Self::Pair { .. } => None,
            Self::Listener(id) => Some(id.scope.host),
            Self::Destination { scope, .. } => Some(scope.host),
        }
    }

    /// Whether it is about this end, among others.
    pub fn is_about(&self, conn: ConnId, side: Side) -> bool {
        match self {
            Self::End(of, at) => (*of, *at) == (conn, side),
            Self::Pair {
                close_wait,
                fin_wait2,
            } => [*close_wait, *fin_wait2].contains(&(conn, side)),
            Self::Listener(_) | Self::Destination { .. } => false,
        }
    }

    /// The end that it is about before all.
    pub const fn end(&self) -> Option<(ConnId, Side)> {
        match self {
            Self::End(conn, side) => Some((*conn, *side)),
            Self::Pair { close_wait, .. } => Some(*close_wait),
            Self::Listener(_) | Self::Destination { .. } => None,
        }
    }
}

/// An end as it was when the finding was last looked at: what groups, and prints, needs of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its own address.
    pub local: Endpoint,
    /// Its peer's.
    pub remote: Endpoint,
    /// Where it is.
    pub scope: Scope,
    /// Whether it opened the connection, or was opened to.
    pub side: Side,
    /// Its state; the last living one when it is gone.
    pub state: TcpState,
    /// Since when.
    pub since: When,
    /// Bytes received and not read, the FIN not counted.
    pub unread: Option<u32>,
    /// Who holds it, or did last.
    pub holding: Option<Holding>,
    /// What `holding` is.
    pub owned: Owned,
}

/// How the holders of an end are known; [`Owners`] without the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "as those of Owners")]
pub enum Owned {
    NotLooked,
    Hidden,
    Nobody,
    Now,
    Before,
}

impl From<Owners<'_>> for Owned {
    fn from(owners: Owners<'_>) -> Self {
        match owners {
            Owners::NotLooked => Self::NotLooked,
            Owners::Hidden => Self::Hidden,
            Owners::Nobody => Self::Nobody,
            Owners::Now(_) => Self::Now,
            Owners::Before(_) => Self::Before,
        }
    }
}

impl Standing {
    /// How an end stands.
    pub fn of(connection: &Connection, side: Side, track: &Track) -> Self {
        let state = track.last_living();
        let spans = track.spans().iter().rev();
        let since = spans.clone().find(|span| span.state == state);
        let owners = track.owners();
        Self {
            local: connection.endpoint(side),
            remote: connection.endpoint(side.other()),
            scope: track.id().scope,
            side,
            state,
            since: since.map_or(When::Before(connection.opened()), |span| {
                connection.since(side, span)
            }),
            unread: track.beside().unread,
            holding: owners.holding().cloned(),
            owned: owners.into(),
        }
    }

    /// Who holds it, or did last.
    pub fn owners(&self) -> Owners<'_> {
        match (self.owned, &self.holding) {
            (Owned::Now, Some(holding)) => Owners::Now(holding),
            (Owned::Before, Some(holding)) => Owners::Before(holding),
            (Owned::Hidden, _) => Owners::Hidden,
            (Owned::Nobody, _) => Owners::Nobody,
            (Owned::NotLooked | Owned::Now | Owned::Before, _) => Owners::NotLooked,
        }
    }

    /// How long it has been in its state at `now`.
    pub fn age(&self, now: Timestamp) -> Age {
        Age {
            at_least: now.since(self.since.not_after()),
            at_most: self.since.not_before().map(|from| now.since(from)),
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Its number, in the order of being found, from 1.
    pub number: u64,
    /// What.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Of what.
    pub subject: Subject,
    /// Since when: the moment from which the rule holds, threshold and all.
    pub at: Timestamp,
    /// Until when; `None` while it holds, and of a fact.
    pub over: Option<Timestamp>,
    /// What it means, as a clause that can follow a colon: without address, state or age.
    pub what: Cow<'static, str>,
    /// What it rests on, each a short sentence without its full stop; at least one.
    pub evidence: Vec<Cow<'static, str>>,
    /// What to do.
    pub advice: Cow<'static, str>,
    /// The end, where it is about one.
    pub standing: Option<Standing>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index, "ALL is in the order of the codes");
            assert_eq!(Code::of(code.token()), Some(code));
        }
        assert_eq!(Code::of("close-wait"), None);
        assert!(Code::CloseWaitLeaked.shows_in_one_look());
        assert!(!Code::DataLost.shows_in_one_look());
    }
}
