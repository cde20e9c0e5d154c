//! What a source says, and the one thing that goes back to it.
//!
//! [`Observation`] is the only type that crosses from the sources inward. Live sources, and later
//! a replayed file, speak it alike, so what is concluded from it cannot differ between them.
//!
//! Change detection sits in the source: a [`Poll`] carries only what differs from the look before,
//! and looks that differ in nothing become one [`Body::Unchanged`]. The trap in that: the lower
//! bound of a change is the *begin* of the last look that covered the socket, which is why every
//! look says when it began, whether it was complete, and whether TIME_WAIT was in it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::model::{Cookie, Event, Holders, Info, Sample, Scope, SockId, Timestamp};

/// Something that a source said.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it was known: for looks and lookups the moment after the answer.
    pub at: Timestamp,
    /// Which of the recordings that are shown together it comes from; 0 is the first, and what is
    /// watched live. [`Scope::host`] of every socket in it is the same.
    pub host: u16,
    /// Who says it.
    pub source: SourceName,
    /// What is said.
    pub body: Body,
}

impl Observation {
    /// Puts every stamp in it on a clock that is ahead by so many nanoseconds.
    pub fn shift(&mut self, by: i64) {
        self.at = self.at.shifted(by);
        match &mut self.body {
            Body::Poll(poll) => {
                poll.begun = poll.begun.shifted(by);
                shift_timers(&mut poll.appeared, by);
                shift_timers(&mut poll.changed, by);
            }
            Body::Keyframe(keyframe) => {
                keyframe.begun = keyframe.begun.shifted(by);
                shift_timers(&mut keyframe.samples, by);
            }
            Body::Unchanged { until, .. } => *until = until.shifted(by),
            Body::Lookup {
                begun,
                unchanged,
                answer,
                ..
            } => {
                *begun = begun.shifted(by);
                *unchanged = unchanged.map(|at| at.shifted(by));
                if let Answer::Found(sample) = answer {
                    shift_timers(std::slice::from_mut(sample), by);
                }
            }
            Body::Holders(holders) => {
                holders.begun = holders.begun.shifted(by);
                holders.unchanged = holders.unchanged.map(|at| at.shifted(by));
            }
            Body::Info(info) => info.begun = info.begun.shifted(by),
            // The same moment on two clocks, of which the other is not ours to move.
            Body::Clock { .. } => {}
            Body::Event(_)
            | Body::Host(_)
            | Body::Source(_)
            | Body::Note { .. }
            | Body::Lost { .. } => {}
        }
    }
}

fn shift_timers(samples: &mut [Sample], by: i64) {
    for timer in samples
        .iter_mut()
        .filter_map(|sample| sample.timer.as_mut())
    {
        timer.deadline = timer.deadline.shifted(by);
    }
}

/// A source of observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceName {
    /// netlink `sock_diag`.
    SockDiag,
    /// `/proc/net/tcp` and `tcp6`.
    Proc,
    /// Kernel events.
    Bpf,
    /// The kernel's word of freed sockets, `sock_diag`'s destroy multicast.
    Destroy,
    /// Exact lookups of known sockets, many times a second, by `sock_diag`.
    Follow,
    /// What /proc shows of the processes.
    Holders,
    /// The sockets' own counters, `tcp_info` by `sock_diag`.
    Info,
    /// The lab's own processes.
    Lab,
    /// A recording, of itself: what it lacks.
    Recording,
}

impl SourceName {
    /// The name in machine output and on the screen.
    pub const fn token(self) -> &'static str {
        match self {
            Self::SockDiag => "sock_diag",
            Self::Proc => "proc",
            Self::Bpf => "bpf",
            Self::Destroy => "destroy",
            Self::Follow => "follow",
            Self::Holders => "holders",
            Self::Info => "info",
            Self::Lab => "lab",
            Self::Recording => "recording",
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.token())
    }
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A look at all sockets that match, as changes against the look before.
    Poll(Poll),
    /// No look since the last report showed a change; the newest began at `until`.
    Unchanged {
        /// Begin of the newest of these looks.
        until: Timestamp,
        /// What they covered.
        look: Look,
    },
    /// Something that the kernel reported, at the very moment of the observation's `at`. From the
    /// destroy multicast `at` is when we read it: the socket was freed some time before.
    Event(Event),
    /// The answer to a question about one socket. `begun` is before the question was sent; the
    /// observation's `at` is after the answer came.
    Lookup {
        /// Who was asked for.
        asked: SockId,
        /// Before the question was sent.
        begun: Timestamp,
        /// Before the newest earlier question was sent whose answer was no news: the socket was
        /// then still as it was last reported. `None` when there was none.
        unchanged: Option<Timestamp>,
        /// What came.
        answer: Answer,
    },
    /// Who holds a socket, as it differs from what was said before.
    Holders(Holders),
    /// A socket's own counters.
    Info(Info),
    /// Facts of the host.
    Host(HostFacts),
    /// A source began, ended, or changed its pace.
    Source(SourceState),
    /// The same moment on two clocks: a stamp becomes a date by the newest of these.
    Clock {
        /// Nanoseconds since 1970, UTC.
        realtime_ns: u64,
    },
    /// Something that a process of the lab announced.
    Note {
        /// The process.
        pid: u32,
        /// What it did.
        text: String,
    },
    /// Something was missed.
    Lost {
        /// How many rows or messages; `None` when it can't be counted.
        count: Option<u64>,
        /// Why, in words.
        why: Cow<'static, str>,
    },
    /// All that the last whole look showed, for who joins a recording in its middle. It says
    /// nothing that was not said before.
    Keyframe(Keyframe),
}

/// All sockets that one complete look at every state showed, as they were last reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyframe {
    /// Before the first row was asked for.
    pub begun: Timestamp,
    /// The sockets, each once.
    pub samples: Vec<Sample>,
}

/// How much of the table a look covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Every state.
    Whole,
    /// Every state but TIME_WAIT, of which there are too many to dump each time.
    WithoutTimeWait,
}

/// One look at all sockets that match the filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// Before the first row was asked for; the observation's `at` is after the last one came.
    pub begun: Timestamp,
    /// What it covered.
    pub look: Look,
    /// Whether every row arrived. Only a complete look can miss a socket, and only a complete one
    /// is a lower bound for what comes after.
    pub complete: bool,
    /// The first look of its source: nothing in it was born between two looks.
    pub first: bool,
    /// Sockets that no look had shown.
    pub appeared: Vec<Sample>,
    /// Sockets that differ from when they were last reported.
    pub changed: Vec<Sample>,
    /// Sockets that the look should have shown and did not. It proves nothing (a dump can skip
    /// rows): the tracker asks.
    pub missing: Vec<SockId>,
}

/// The answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// The socket is there.
    Found(Sample),
    /// No socket of this cookie (or, from /proc, none of this 4-tuple in two reads).
    Gone,
    /// Another incarnation has the 4-tuple now, so this one is gone.
    Other(Option<Cookie>),
}

/// What the tracker has to know of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// Where they hold.
    pub scope: Scope,
    /// `net.ipv4.tcp_fin_timeout`: how long an orphan FIN_WAIT2 is kept.
    pub fin_timeout: Option<Duration>,
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub max_tw_buckets: Option<u64>,
    /// `TcpExt: TCPTimeWaitOverflow`: connections that should have had a TIME_WAIT and got none.
    pub time_wait_overflows: Option<u64>,
    /// `TcpExt: ListenOverflows`: handshakes dropped at a full accept queue.
    pub listen_overflows: Option<u64>,
    /// `Tcp: EstabResets` of /proc/net/snmp: sockets that went from ESTABLISHED or CLOSE_WAIT
    /// straight to CLOSE.
    pub resets: Option<u64>,
    /// `net.ipv4.ip_local_port_range`: the first and the last port that `connect()` chooses from.
    pub port_range: Option<(u16, u16)>,
    /// `net.ipv4.tcp_tw_reuse`: whether `connect()` may take the port of a TIME_WAIT that is older than a
    /// second. 0 never, 1 always, 2 (the default) on loopback.
    pub time_wait_reuse: Option<u8>,
    /// `net.ipv4.tcp_fastopen` lets servers accept before the handshake has ended (bit 1).
    pub server_fast_open: bool,
}

impl HostFacts {
    /// These facts, their counters never below those of the facts known: counters only grow.
    #[must_use]
    pub fn not_before(mut self, known: &Self) -> Self {
        if self.scope == known.scope {
            self.time_wait_overflows = self.time_wait_overflows.max(known.time_wait_overflows);
            self.listen_overflows = self.listen_overflows.max(known.listen_overflows);
            self.resets = self.resets.max(known.resets);
        }
        self
    }
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It looks every `period`; one look costs `cost` of CPU time.
    Running {
        /// The distance of two looks, stretched when looks are costly.
        period: Duration,
        /// CPU time of a look, smoothed; `None` before the first.
        cost: Option<Duration>,
        /// Why this source and not a better one; `None` when it is the best.
        why: Option<String>,
    },
    /// It does not run, and why.
    Off {
        /// What is missing, and what would bring it back.
        why: String,
    },
}

/// What the tracker, or the recorder, wants to know. Live sources answer, replay drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Is it still there? Asked for what a look missed, and for the other end beside it, so that
    /// the two answers are of one moment.
    Confirm(SockId),
    /// An end came into sight: look at it often, by its cookie. Said again when an end that was
    /// only named by its 4-tuple gets its cookie.
    Follow(SockId),
    /// The end is gone, or waits out its TIME_WAIT, or is forgotten: no need to look any more.
    Leave(SockId),
    /// Who holds the socket file of this inode? To be said at once, and again whenever it changes.
    Holders(u32),
    /// Nobody needs to know any more who holds it.
    NoHolders(u32),
    /// How long ago did it last hear from its peer? The age of a state that was there before we came
    /// is bounded by it.
    Info(SockId),
    /// Say all that is there, as a [`Body::Keyframe`], after a whole look that is made at once; and
    /// all holders that are known.
    Keyframe,
}

impl Ask {
    /// The socket of which it is asked whether it is still there; `None` of other questions.
    pub const fn to_confirm(&self) -> Option<SockId> {
        match self {
            Self::Confirm(id) => Some(*id),
            Self::Follow(_)
            | Self::Leave(_)
            | Self::Holders(_)
            | Self::NoHolders(_)
            | Self::Info(_)
            | Self::Keyframe => None,
        }
    }
}
