//! The kernel's own table over netlink: cookie, shutdown mask, timers, cgroup, filtered there.
//!
//! Two netlink sockets: one for dumps, one for lookups, since a socket that has a dump running
//! refuses a second. The traps are the ends of a dump (see [`wire`]) and all the ways in which
//! rows are lost on the way; each has a name in [`DiagError`].

mod bytecode;
pub mod destroy;
pub(in crate::source) mod devices;
mod discover;
pub mod follow;
mod lookup;
mod mailbox;
mod multipath;
pub mod tcp_info;
pub mod wire;

use std::io;

use crate::model::{
    Body, Cookie, Look, Observation, Sample, SockId, SourceName, TcpState, Timestamp,
};
use crate::source::table::Table;
use crate::source::{Poller, Request, SourceError, clock, host};
use discover::Dumper;
pub(in crate::source) use discover::open_socket;
use lookup::Lookups;
use multipath::Multipath;

/// What `sock_diag` can fail with, by name.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// `socket()` refuses: a kernel without it, or a sandbox that forbids it.
    #[error(
        "no NETLINK_SOCK_DIAG socket: {0} (the kernel needs CONFIG_INET_DIAG, a sandbox must allow AF_NETLINK)"
    )]
    NoSockDiag(io::Error),
    /// No handler for TCP: the module is not loaded and can't be.
    #[error(
        "this kernel has no tcp_diag ({operation}: ENOENT; 'modprobe tcp_diag' as root may bring it)"
    )]
    NoTcpDiag {
        /// What was asked.
        operation: &'static str,
    },
    /// The kernel forbids it.
    #[error("{operation} is not permitted (EPERM)")]
    NotPermitted {
        /// What was asked.
        operation: &'static str,
    },
    /// A dump runs on this socket already.
    #[error("{operation}: another dump is running on this socket (EBUSY)")]
    Busy {
        /// What was asked.
        operation: &'static str,
    },
    /// The receive queue was full: rows are lost.
    #[error("{operation}: the receive queue overran (ENOBUFS)")]
    Overrun {
        /// What was asked.
        operation: &'static str,
    },
    /// A datagram was longer than the buffer.
    #[error("{operation}: a datagram of {length} bytes was cut at {room}")]
    Truncated {
        /// What was asked.
        operation: &'static str,
        /// How long it was.
        length: usize,
        /// How much room there was.
        room: usize,
    },
    /// Nothing came.
    #[error("{operation}: the kernel did not answer within {seconds} s")]
    Silent {
        /// What was asked.
        operation: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// Another errno.
    #[error("{operation}: the kernel refuses ({error})")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The errno.
        error: io::Error,
    },
    /// A system call failed.
    #[error("{operation}: {error}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        error: io::Error,
    },
}

impl DiagError {
    /// The error of a positive errno in an answer.
    pub(crate) fn refused(operation: &'static str, errno: i32) -> Self {
        match errno {
            libc::ENOENT => Self::NoTcpDiag { operation },
            libc::EPERM | libc::EACCES => Self::NotPermitted { operation },
            libc::EBUSY => Self::Busy { operation },
            libc::ENOBUFS => Self::Overrun { operation },
            _ => Self::Refused {
                operation,
                error: io::Error::from_raw_os_error(errno),
            },
        }
    }

    /// Whether the next look may do better: then it is a loss and not the end of the source.
    pub const fn passes(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Overrun { .. } | Self::Truncated { .. }
        )
    }

    /// In a few words, for the count of losses.
    pub const fn loss(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "another dump was running (EBUSY)",
            Self::Overrun { .. } => "receive queue overran (ENOBUFS)",
            Self::Truncated { .. } => "datagram cut short",
            _ => "the dump failed",
        }
    }
}

/// With more TIME_WAITs than this, they are left out of most looks.
const MANY_TIME_WAITS: usize = 1000;
/// How often they are looked at then.
const TIME_WAIT_PERIOD: std::time::Duration = std::time::Duration::from_secs(5);

/// The source.
pub struct SockDiag {
    request: Request,
    dumper: Dumper,
    lookups: Lookups,
    multipath: Multipath,
    table: Table<Cookie>,
    host: host::Watched,
    time_waits_seen: Option<Timestamp>,
    /// Rows that the last look could not read: said when the number changes.
    unreadable: u64,
}

impl SockDiag {
    /// Opens the two sockets.
    ///
    /// # Errors
    /// When the kernel or a sandbox does not allow it.
    pub fn open(request: Request) -> Result<Self, DiagError> {
        let scope = request.scope;
        Ok(Self {
            dumper: Dumper::open(&request.filter)?,
            lookups: Lookups::open()?,
            multipath: Multipath::open(),
            table: Table::new(SourceName::SockDiag),
            host: host::Watched::new(scope, SourceName::SockDiag),
            request,
            time_waits_seen: None,
            unreadable: 0,
        })
    }

    /// TIME_WAITs are in every look while they are few.
    fn next_look(&self, now: Timestamp) -> Look {
        match self.time_waits_seen {
            Some(seen)
                if self.table.time_waits() > MANY_TIME_WAITS
                    && now.since(seen) < TIME_WAIT_PERIOD =>
            {
                Look::WithoutTimeWait
            }
            _ => Look::Whole,
        }
    }

    /// Dumps listeners, then connections. Listeners first: a connection that is in the second
    /// dump had its listener in the first.
    fn dump(&mut self, look: Look) -> Result<Losses, DiagError> {
        let Self {
            dumper,
            table,
            request,
            multipath,
            ..
        } = self;
        multipath.look(request.scope, clock::now());
        let mut losses = Losses::default();
        let filter = &request.filter;
        let mut take = |row: &wire::Row, seen| {
            let id = &row.sample.id;
            let wanted = match row.sample.state {
                TcpState::Listen => filter.keeps_listener(&id.tuple.local),
                // Caught on its way out, mostly into a mini-socket: it is not in the state in which
                // it was last seen any more. As a row that is missing, it is asked for.
                TcpState::Close => false,
                _ => filter.keeps(&id.tuple),
            };
            if wanted && let Some(cookie) = id.cookie {
                if multipath.has(&id.tuple) {
                    let sample = Sample {
                        multipath: true,
                        ..row.sample
                    };
                    table.row(cookie, &sample, row.device, seen);
                } else {
                    table.row(cookie, &row.sample, row.device, seen);
                }
            }
        };
        losses.add(dumper.listeners(request.scope, &mut take)?);
        losses.add(dumper.connections(request.scope, look, &mut take)?);
        Ok(losses)
    }

    /// Looks once; says when a complete look began and ended.
    fn look_at(
        &mut self,
        look: Look,
        out: &mut Vec<Observation>,
    ) -> Result<Option<(Timestamp, Timestamp)>, SourceError> {
        self.host.before_look(out);
        let begun = clock::now();
        self.table.begin();
        let (complete, losses) = match self.dump(look) {
            Ok(losses) => (!losses.interrupted, losses),
            Err(error) if error.passes() => {
                out.push(lost(None, error.loss()));
                self.dumper.recover(&error)?;
                (false, Losses::default())
            }
            Err(error) => return Err(error.into()),
        };
        if losses.unreadable != std::mem::replace(&mut self.unreadable, losses.unreadable)
            && losses.unreadable > 0
        {
            out.push(lost(Some(losses.unreadable), "rows that could not be read"));
        }
        if losses.interrupted {
            out.push(lost(None, "the table changed under the dump"));
        }
        if complete && look == Look::Whole {
            self.time_waits_seen = Some(begun);
        }
        let at = clock::now();
        self.table.finish(look, begun, at, complete, out);
        let brings_somebody = |told: &Observation| match &told.body {
            Body::Poll(poll) => !poll.appeared.is_empty(),
            _ => false,
        };
        if out.iter().any(brings_somebody) {
            self.multipath.somebody_is_new();
        }
        Ok(complete.then_some((begun, at)))
    }

    /// Looks the sockets up. Of several listeners on one address (SO_REUSEPORT) the kernel finds
    /// whichever it likes, so a listener that was not found is looked for in a second dump.
    fn ask(&mut self, asked: &[SockId]) -> Result<Vec<lookup::Answered>, DiagError> {
        let scope = self.request.scope;
        let mut answers = self.lookups.ask(asked, scope, &self.table)?;
        for answer in &mut answers {
            answer.mark(|tuple| self.multipath.has(tuple));
        }
        if answers.iter().any(lookup::Answered::is_lost_listener) {
            self.dumper.listeners(scope, &mut |row, seen| {
                for answer in &mut answers {
                    answer.seen_listening(row, seen.at);
                }
            })?;
        }
        Ok(answers)
    }
}

/// What a look lacks although it ended in good order.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    unreadable: u64,
    interrupted: bool,
}

impl Losses {
    fn add(&mut self, read: wire::Datagram) {
        self.unreadable += read.unreadable;
        self.interrupted |= read.interrupted;
    }
}

impl Poller for SockDiag {
    fn name(&self) -> SourceName {
        SourceName::SockDiag
    }

    fn look(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
        let look = self.next_look(clock::now());
        self.look_at(look, out).map(|_| ())
    }

    fn look_at_all(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
        if let Some((begun, at)) = self.look_at(Look::Whole, out)? {
            out.push(self.table.keyframe(begun, at));
        }
        Ok(())
    }

    fn confirm(&mut self, asked: &[SockId], out: &mut Vec<Observation>) -> Result<(), SourceError> {
        self.table.flush(clock::now(), out);
        let answers = match self.ask(asked) {
            Ok(answers) => answers,
            Err(error) if error.passes() => {
                out.push(lost(None, error.loss()));
                self.table.miss_again();
                self.dumper.recover(&error)?;
                self.lookups = Lookups::open()?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if answers.iter().any(lookup::Answered::is_gone) {
            self.host.before_gone(out);
        }
        for answer in answers {
            answer.settle(&mut self.table);
            out.push(answer.observation());
        }
        Ok(())
    }
}

fn lost(count: Option<u64>, why: &'static str) -> Observation {
    Observation {
        host: 0,
        at: clock::now(),
        source: SourceName::SockDiag,
        body: Body::Lost {
            count,
            why: why.into(),
        },
    }
}
