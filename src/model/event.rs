//! What the kernel reports at an exact time, and what the socket was like in that very moment.
//!
//! A look says how things are; an event says that they change, and carries what no later look can
//! tell: whether the last descriptor was just being closed, how much was thrown away unread, who
//! made the call. The traps: `-> CLOSE` is the end of the kernel's full socket and not always of
//! the connection, which may live on as a mini-socket that has no events at all; a state that
//! "changes" to itself is a `close()`; and the task that happens to run when a packet is handled
//! has nothing to do with the socket, so [`Event::caller`] is filled only for changes that a local
//! call makes.

use std::fmt;

use crate::model::{Shutdown, SockId, TcpState};

/// Something that the kernel reported of one socket, at the observation's `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who. Always with its cookie. The 4-tuple of a socket that was freed or disconnected may be
    /// wiped (all zero): then the cookie alone names it.
    pub id: SockId,
    /// What happened.
    pub what: What,
    /// The socket at that moment; `None` where the source can't read it (a mini-socket, or the
    /// destroy multicast).
    pub moment: Option<Moment>,
    /// Who made the call, where one did.
    pub caller: Option<Caller>,
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `inet_sock_set_state`. Equal states are a `close()` of a socket whose FIN is out already.
    State {
        /// The state that ended.
        from: TcpState,
        /// The state that began.
        to: TcpState,
    },
    /// It sent a reset.
    ResetSent(ResetReason),
    /// A reset came for it.
    ResetReceived,
    /// It sent a segment again.
    Retransmit,
    /// The kernel's full socket was freed. A mini-socket may stay.
    Freed,
}

/// The socket as the kernel's program read it in the moment of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `sk_shutdown`.
    pub shutdown: Shutdown,
    /// Whether a descriptor holds it.
    pub file: File,
    /// `sk_err`, an errno; `None` is 0.
    pub error: Option<u16>,
    /// `rcv_nxt - copied_seq`: received and not read, the FIN counting one.
    pub receive: u32,
    /// `write_seq - snd_una`: sent or queued and not acknowledged, the FIN or SYN counting one.
    pub send: u32,
    /// `SO_LINGER` with a time of 0: closing aborts.
    pub lingers_not: bool,
    /// The peer's FIN has been taken in (`SOCK_DONE`), `None` where the kernel does not say.
    pub fin_received: Option<bool>,
    /// Payload bytes taken in so far, `tcp_sock.bytes_received`.
    pub bytes_received: u64,
    /// Payload bytes that the peer has acknowledged so far, `tcp_sock.bytes_acked`.
    pub bytes_acked: u64,
    /// The cgroup v2 id.
    pub cgroup: Option<u64>,
    /// A subflow of a multipath connection, whose teardown goes by other rules.
    pub multipath: bool,
}

/// Whether a file refers to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// A descriptor is open and stays open.
    Held,
    /// The last descriptor is being closed right now: `close()`, or the end of its process.
    Closing,
    /// None: not accepted yet, or closed before.
    Absent,
    /// This kernel's reference count is not one that we can read.
    Unknown,
}

/// Who made the call that moved a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process (thread group), as the watched host numbers it.
    pub pid: u32,
    /// The name of the thread.
    pub comm: Comm,
    /// The process is ending, and the kernel closes for it.
    pub exiting: bool,
    /// The signal that ended it; `None` when it ended by itself, or goes on.
    pub signal: Option<u8>,
}

/// The name of a thread: up to 15 bytes, which its owner may choose freely.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// As text; what is no UTF-8 is replaced. Not safe to print: it can hold control characters.
    pub fn text(&self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0);
        let bytes = &self.0[..end.unwrap_or(self.0.len())];
        String::from_utf8_lossy(bytes).into_owned()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

/// Why the kernel sent a reset (`enum sk_rst_reason`, include/net/rstreason.h). Its numbers differ
/// between kernels, so a source reads them from the running one's type information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// `TCP_ABORT_ON_CLOSE`: closed with unread data.
    AbortOnClose,
    /// `TCP_ABORT_ON_LINGER`: closed with `TCP_LINGER2` below 0.
    AbortOnLinger,
    /// `TCP_ABORT_ON_DATA`: data came after the close.
    AbortOnData,
    /// `TCP_ABORT_ON_MEMORY`: too many orphans, or no memory.
    AbortOnMemory,
    /// `TCP_TIMEWAIT_SOCKET`: a segment that a mini-socket can't take.
    TimeWaitSocket,
    /// `TCP_KEEPALIVE_TIMEOUT`: the peer does not answer.
    KeepaliveTimeout,
    /// `TCP_DISCONNECT_WITH_DATA`: disconnected with data unsent.
    DisconnectWithData,
    /// `TCP_STATE`: disconnected, aborted or destroyed in a state that calls for it.
    State,
    /// `NO_SOCKET`: nobody has the 4-tuple.
    NoSocket,
    /// One of the reasons for which a segment is refused, or one that we do not know.
    Other,
    /// This kernel does not say.
    Unsaid,
}

impl ResetReason {
    /// The reason of a name in the kernel's enumeration, without `SK_RST_REASON_`.
    pub fn from_kernel_name(name: &str) -> Self {
        match name {
            "TCP_ABORT_ON_CLOSE" => Self::AbortOnClose,
            "TCP_ABORT_ON_LINGER" => Self::AbortOnLinger,
            "TCP_ABORT_ON_DATA" => Self::AbortOnData,
            "TCP_ABORT_ON_MEMORY" => Self::AbortOnMemory,
            "TCP_TIMEWAIT_SOCKET" => Self::TimeWaitSocket,
            "TCP_KEEPALIVE_TIMEOUT" => Self::KeepaliveTimeout,
            "TCP_DISCONNECT_WITH_DATA" => Self::DisconnectWithData,
            "TCP_STATE" => Self::State,
            "NO_SOCKET" => Self::NoSocket,
            "NOT_SPECIFIED" => Self::Unsaid,
            _ => Self::Other,
        }
    }

    /// The word in machine output; `None` when the kernel gave no reason.
    pub const fn token(self) -> Option<&'static str> {
        Some(match self {
            Self::AbortOnClose => "unread_data",
            Self::AbortOnLinger => "linger2",
            Self::AbortOnData => "data_after_close",
            Self::AbortOnMemory => "out_of_memory",
            Self::TimeWaitSocket => "segment_in_time_wait",
            Self::KeepaliveTimeout => "keepalive_timeout",
            Self::DisconnectWithData => "disconnect_with_data",
            Self::State => "state",
            Self::NoSocket => "no_socket",
            Self::Other => "segment_refused",
            Self::Unsaid => return None,
        })
    }
}

/// The errors that end a connection, as asm-generic/errno.h numbers them. (mips, parisc and sparc
/// have numbers of their own.)
#[allow(missing_docs, reason = "they are the kernel's names")]
pub mod errno {
    pub const EPIPE: u16 = 32;
    pub const ENETUNREACH: u16 = 101;
    pub const ECONNABORTED: u16 = 103;
    pub const ECONNRESET: u16 = 104;
    pub const ETIMEDOUT: u16 = 110;
    pub const ECONNREFUSED: u16 = 111;
    pub const EHOSTDOWN: u16 = 112;
    pub const EHOSTUNREACH: u16 = 113;
}

impl Moment {
    /// Whether the socket's error says that the connection is over: it was reset, refused by its
    /// kernel, destroyed, or given up. An ICMP error can stand in the field of a healthy one.
    pub const fn has_broken(&self) -> bool {
        use errno::{ECONNABORTED, ECONNRESET, EPIPE, ETIMEDOUT};
        matches!(
            self.error,
            Some(EPIPE | ECONNABORTED | ECONNRESET | ETIMEDOUT)
        )
    }

    /// Bytes received and not read, less the FIN's one. `state` is the one that ended.
    pub fn unread(&self, state: TcpState) -> u32 {
        let fin = state.has_received_fin() || self.fin_received == Some(true);
        self.receive.saturating_sub(fin.into())
    }

    /// Bytes not acknowledged, less the one of a FIN or SYN that is on its way in `state`.
    pub fn unacked(&self, state: TcpState) -> u32 {
        self.send
            .saturating_sub(state.has_control_in_flight().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_call_itself_anything() {
        let mut name = [0; 16];
        name[..3].copy_from_slice(b"a\xffb");
        assert_eq!(Comm(name).text(), "a\u{fffd}b");
        assert_eq!(Comm([b'x'; 16]).text().len(), 16);
    }
}
