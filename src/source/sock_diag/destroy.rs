//! The kernel's word of every freed socket of the namespace: `SKNLGRP_INET_TCP_DESTROY` and its
//! IPv6 twin. Needs no privilege.
//!
//! It tells when the *full* socket was freed, some 0.1 to 0.7 ms before we read it; a mini-socket
//! may stay, and ends without a word. A reset wipes the 4-tuple first: the cookie names it.
//!
//! The traps: the host pays for each free, a quarter of its top connection rate, whether we read
//! the message or a socket filter drops it. So what the namespace frees is estimated, and above
//! [`TOO_MANY`] a second we leave, say so, and come back when it is quiet. The messages are read
//! by the lot, never one by one: waking for each costs more than the message.

mod filter;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::model::{SockId, Timestamp};
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::wire::{Message, messages, row};
use crate::source::{Request, clock, host};

/// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY` (include/uapi/linux/sock_diag.h).
const GROUPS: [u32; 2] = [1, 3];
/// Frees a second above which listening would be felt by the host.
pub const TOO_MANY: u64 = 2000;
/// Sockets opened a second below which it is quiet enough to listen again.
const QUIET: u64 = TOO_MANY / 2;
/// How often the rate is looked at.
const WINDOW: Duration = Duration::from_secs(1);
/// How long we stay away.
const AWAY: Duration = Duration::from_secs(30);
/// A message is 380 bytes here.
const ROOM: usize = 8 << 10;
/// Messages that are read in one go; the rest keeps.
const GULP: usize = 4096;

/// Listens to the multicast.
pub struct Destroy {
    socket: Socket,
    buffer: Vec<u8>,
    request: Request,
    joined: bool,
    /// A socket filter hides from us what the host pays for.
    filtered: bool,
    opened: Opened,
    window: Window,
}

/// What is counted since some moment.
#[derive(Clone, Copy, Default)]
struct Window {
    since: Timestamp,
    freed: u64,
    /// Sockets opened by then, of the namespace's whole life.
    opened: Option<u64>,
}

/// What a reading of the queue brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The queue overran: frees were missed.
    pub lost: bool,
    /// There is more to read.
    pub more: bool,
}

/// What the rate calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Stay,
    /// The multicast was left: so many sockets are freed a second.
    Left(u64),
    /// It was joined again.
    Back,
}

impl Destroy {
    /// Joins both groups, with room for `room` bytes of messages.
    ///
    /// # Errors
    /// When the kernel or a sandbox does not allow it.
    pub fn open(request: &Request, room: usize) -> Result<Self, DiagError> {
        let io = |operation| move |error| DiagError::Io { operation, error };
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(DiagError::NoSockDiag)?;
        socket
            .bind(&SocketAddr::new(0, 0))
            .and_then(|()| socket.set_non_blocking(true))
            .map_err(io("bind the netlink socket of the destroy multicast"))?;
        // Root may have more than net.core.rmem_max. Where both are refused, less must do.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, room)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, room));
        let program = filter::program(&request.filter);
        let filtered = program.is_some();
        if let Some(mut program) = program {
            filter::attach(&socket, &mut program)
                .map_err(io("attach a filter to the destroy multicast"))?;
        }
        let mut destroy = Self {
            socket,
            buffer: vec![0; ROOM],
            request: request.clone(),
            joined: false,
            filtered,
            opened: Opened::open(),
            window: Window::default(),
        };
        destroy.join()?;
        Ok(destroy)
    }

    /// Readable when sockets were freed; `None` while we stay away.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.joined.then(|| self.socket.as_fd())
    }

    /// When [`Destroy::judge`] is to be called at the latest. Without a socket filter, nothing
    /// needs to be looked at before something comes.
    pub fn due(&self) -> Option<Timestamp> {
        let wait = if self.joined { WINDOW } else { AWAY };
        (!self.joined || self.filtered || self.window.freed > 0)
            .then(|| self.window.since.plus(wait))
    }

    /// Reads what has come: who was freed, whether or not anybody wants to know.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn drain(&mut self, mut freed: impl FnMut(SockId)) -> Result<Heard, DiagError> {
        const OPERATION: &str = "destroy multicast";
        let mut heard = Heard::default();
        for _ in 0..GULP {
            let length = match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Ok(length) => length,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(heard),
                    Some(libc::EINTR) => continue,
                    // Said once; no message comes before the queue has been read empty.
                    Some(libc::ENOBUFS) => {
                        heard.lost = true;
                        continue;
                    }
                    _ => {
                        return Err(DiagError::Io {
                            operation: OPERATION,
                            error,
                        });
                    }
                },
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            for (_, _, message) in messages(datagram) {
                if let Message::Row(payload) = message
                    && let Some(row) = row(payload, self.request.scope, Timestamp::default())
                {
                    self.window.freed += 1;
                    freed(row.sample.id);
                }
            }
        }
        heard.more = true;
        Ok(heard)
    }

    /// Looks at the rate: leaves when too many are freed, comes back when it is quiet.
    ///
    /// # Errors
    /// When the groups can't be joined again.
    pub fn judge(&mut self, now: Timestamp) -> Result<Verdict, DiagError> {
        let past = now.since(self.window.since);
        if !self.joined {
            if past < AWAY {
                return Ok(Verdict::Stay);
            }
            let opened = self.opened.read();
            if per_second(self.opened_since(opened), past) > QUIET {
                self.window = Window {
                    since: now,
                    freed: 0,
                    opened,
                };
                return Ok(Verdict::Stay);
            }
            self.join()?;
            return Ok(Verdict::Back);
        }
        if past < WINDOW && self.window.freed <= TOO_MANY {
            return Ok(Verdict::Stay);
        }
        let opened = self.opened.read();
        // Each socket that is opened is freed one day; the filter hides that day from us. What we
        // did receive counts in any case: sockets can be freed that were opened long ago.
        let whole = past.max(WINDOW);
        let rate =
            per_second(self.window.freed, whole).max(per_second(self.opened_since(opened), whole));
        self.window = Window {
            since: now,
            freed: 0,
            opened,
        };
        if rate <= TOO_MANY {
            return Ok(Verdict::Stay);
        }
        self.leave();
        Ok(Verdict::Left(rate))
    }

    fn opened_since(&self, now: Option<u64>) -> u64 {
        match (self.window.opened, now) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        }
    }

    fn join(&mut self) -> Result<(), DiagError> {
        for group in GROUPS {
            self.socket
                .add_membership(group)
                .map_err(|error| DiagError::Io {
                    operation: "join the destroy multicast",
                    error,
                })?;
        }
        self.joined = true;
        self.window = Window {
            since: clock::now(),
            freed: 0,
            opened: self.opened.read(),
        };
        Ok(())
    }

    fn leave(&mut self) {
        for group in GROUPS {
            // A group that can't be left was not joined.
            let _ = self.socket.drop_membership(group);
        }
        self.joined = false;
    }
}

fn per_second(count: u64, past: Duration) -> u64 {
    let millis = u64::try_from(past.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1000) / millis
}

/// How many sockets the namespace has opened: `ActiveOpens` and `PassiveOpens` of
/// /proc/net/snmp. A read costs some 20 us.
struct Opened {
    /// Held open, so that it stays that of this thread's namespace.
    snmp: Option<File>,
    text: Vec<u8>,
}

impl Opened {
    fn open() -> Self {
        Self {
            snmp: File::open("/proc/thread-self/net/snmp").ok(),
            text: vec![0; 8 << 10],
        }
    }

    fn read(&mut self) -> Option<u64> {
        let length = self.snmp.as_ref()?.read_at(&mut self.text, 0).ok()?;
        let text = std::str::from_utf8(self.text.get(..length)?).ok()?;
        let count = |name| host::counter(text, "Tcp:", name);
        Some(count("ActiveOpens")? + count("PassiveOpens")?)
    }
}
