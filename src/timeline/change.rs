//! What the tracker says that it concluded. Never taken back.
//!
//! The trap: a change is told when it is known, and a step that lies between two looks has been
//! before that.

use crate::model::{Cookie, Descriptor, Sample, Shutdown, SourceName, TcpState, Timestamp};
use crate::timeline::{Age, Certainty, ConnId, Mark, Side, When, Why};

/// Something that the tracker concluded.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A connection was seen for the first time.
    Opened {
        /// Its number.
        conn: ConnId,
        /// When.
        at: Timestamp,
        /// What each end was first seen in.
        ends: [Option<Found>; 2],
    },
    /// The other end of a known connection was found, already in `found.state`.
    Joined {
        /// The connection.
        conn: ConnId,
        /// Which end.
        side: Side,
        /// When.
        at: Timestamp,
        /// What it was found in.
        found: Found,
    },
    /// An end went from one state to the next.
    Moved {
        /// The connection.
        conn: ConnId,
        /// Which end.
        side: Side,
        /// The step.
        step: Transition,
    },
    /// Something happened to an end that did not move its state.
    Marked {
        /// The connection.
        conn: ConnId,
        /// Which end.
        side: Side,
        /// What.
        mark: Mark,
    },
    /// Another set of processes holds the end: the `nth` since it was met, of which the newest are
    /// to be had from [`Track::holdings`].
    Held {
        /// The connection.
        conn: ConnId,
        /// Which end.
        side: Side,
        /// When that was known.
        at: Timestamp,
        /// The number of the set, from 0.
        nth: usize,
    },
    /// The state that the end was found in could be dated: [`Track::age`] has bounds now.
    Dated {
        /// The connection.
        conn: ConnId,
        /// Which end.
        side: Side,
        /// When that was known.
        at: Timestamp,
    },
    /// An event says that the end was in another state than the one it was last known in: events
    /// were lost in between.
    Missed {
        /// The connection.
        conn: ConnId,
        /// Which end.
        side: Side,
        /// When that was found out.
        at: Timestamp,
    },
    /// Every visible end is gone or in TIME_WAIT. Said again when an end was [`Change::Joined`]
    /// after that: two hosts' clocks disagreed.
    Closed {
        /// The connection.
        conn: ConnId,
        /// When that was known.
        at: Timestamp,
    },
}

impl Change {
    /// When it was; of a step that lies between two looks, the later bound.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Opened { at, .. }
            | Self::Joined { at, .. }
            | Self::Held { at, .. }
            | Self::Dated { at, .. }
            | Self::Missed { at, .. }
            | Self::Closed { at, .. } => *at,
            Self::Moved { step, .. } => step.when.not_after(),
            Self::Marked { mark, .. } => mark.at,
        }
    }

    /// Which connection it is about.
    pub const fn conn(&self) -> ConnId {
        match self {
            Self::Opened { conn, .. }
            | Self::Joined { conn, .. }
            | Self::Moved { conn, .. }
            | Self::Marked { conn, .. }
            | Self::Held { conn, .. }
            | Self::Dated { conn, .. }
            | Self::Missed { conn, .. }
            | Self::Closed { conn, .. } => *conn,
        }
    }
}

/// An end as it was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its state.
    pub state: TcpState,
    /// Whether it was there before.
    pub came: Came,
    /// How long it had been in it.
    pub age: Option<Age>,
    /// Its cookie.
    pub cookie: Option<Cookie>,
}

/// How an end came to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Born between two looks: its way from CLOSE to its state follows as [`Change::Moved`].
    Born,
    /// It was there when we came, or was overlooked before.
    Found,
}

/// One step of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state that ended.
    pub from: TcpState,
    /// The state that began.
    pub to: TcpState,
    /// When.
    pub when: When,
    /// How surely `to` is known.
    pub certainty: Certainty,
    /// Who reported it.
    pub source: SourceName,
    /// How long `from` lasted, taken between the moments the two were seen; `None` when the
    /// beginning of `from` is not known or it was never seen.
    pub in_from: Option<std::time::Duration>,
    /// What the look or the event showed beside the state; `None` for states that nothing showed.
    pub seen: Option<SeenBeside>,
    /// Why it was made.
    pub why: Why,
}

/// What a look showed beside a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenBeside {
    /// Whether a program holds the socket.
    pub descriptor: Option<Descriptor>,
    /// Which sides are shut.
    pub shutdown: Option<Shutdown>,
    /// Bytes received and not read.
    pub unread: Option<u32>,
    /// Bytes sent and not acknowledged.
    pub unacked: Option<u32>,
}

impl From<&Sample> for SeenBeside {
    fn from(sample: &Sample) -> Self {
        Self {
            descriptor: sample.descriptor(),
            shutdown: sample.shutdown,
            unread: sample.unread(),
            unacked: sample.unacked(),
        }
    }
}
