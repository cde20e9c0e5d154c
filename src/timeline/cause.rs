//! What moved a state: the local program's call, the peer's segment, a timer, or nobody knows.
//!
//! Everything here is read off one event (or one look) and what is known of the end before it.
//! The trap: the same step has many causes. ESTABLISHED goes to CLOSE when the peer resets, when
//! the program closes with unread data, with `SO_LINGER` 0, when the peer falls silent, and when
//! a listener is closed over a connection that it never accepted; only the socket's own fields at
//! that moment tell them apart.

use crate::model::event::{Comm, ResetReason};
use crate::model::{Timestamp, event};

/// Why a step was made, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Why {
    /// What moved the state.
    pub cause: Cause,
    /// What the local program did.
    pub call: Option<Call>,
    /// Why a reset was sent or a connection given up.
    pub reason: Option<Reason>,
    /// The signal that ended the process.
    pub signal: Option<u8>,
    /// The process that made the call.
    pub by: Option<Process>,
}

/// What moved a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cause {
    /// The program opened the connection.
    Connect,
    /// The peer's SYN came.
    SynReceived,
    /// The last descriptor was closed. From looks alone it may also have been the end of the
    /// process; then [`Why::call`] is `None`.
    Close,
    /// The process ended, and the kernel closed for it.
    ProcessExit,
    /// `shutdown(SHUT_WR)`.
    ShutdownWr,
    /// `shutdown(SHUT_RDWR)`.
    ShutdownRdwr,
    /// The peer's FIN came.
    FinReceived,
    /// The peer acknowledged our SYN or FIN.
    AckReceived,
    /// This end sent a reset.
    ResetSent,
    /// The peer sent a reset.
    ResetReceived,
    /// Nobody answered in time, or a timer ran out.
    Timeout,
    /// Not known.
    #[default]
    Unknown,
}

impl Cause {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::SynReceived => "syn_received",
            Self::Close => "close",
            Self::ProcessExit => "process_exit",
            Self::ShutdownWr => "shutdown_wr",
            Self::ShutdownRdwr => "shutdown_rdwr",
            Self::FinReceived => "fin_received",
            Self::AckReceived => "ack_received",
            Self::ResetSent => "reset_sent",
            Self::ResetReceived => "reset_received",
            Self::Timeout => "timeout",
            Self::Unknown => "unknown",
        }
    }
}

/// What the local program did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `connect()`.
    Connect,
    /// `close()` of the last descriptor.
    Close,
    /// `shutdown(SHUT_WR)`; after the peer's FIN also `SHUT_RDWR`, which then does the same.
    ShutdownWr,
    /// `shutdown(SHUT_RDWR)`.
    ShutdownRdwr,
    /// Its process ended.
    Exit,
}

impl Call {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Close => "close",
            Self::ShutdownWr => "shutdown_wr",
            Self::ShutdownRdwr => "shutdown_rdwr",
            Self::Exit => "exit",
        }
    }
}

/// Why a reset was sent, or why a connection was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Closed with so many bytes unread.
    UnreadData(u32),
    /// Closed with `SO_LINGER` 0.
    LingerZero,
    /// Data came after the close.
    DataAfterClose,
    /// Its listener was closed before it was accepted.
    NeverAccepted,
    /// Taken apart by `connect(AF_UNSPEC)`.
    Disconnected,
    /// Destroyed by an administrator (`ss -K`).
    Destroyed,
    /// The peer refused.
    Refused,
    /// No way to the peer (an ICMP error, or no answer on the link).
    Unreachable,
    /// As the kernel says.
    Kernel(ResetReason),
}

impl Reason {
    /// The word in machine output.
    pub const fn token(self) -> Option<&'static str> {
        Some(match self {
            Self::UnreadData(_) => "unread_data",
            Self::LingerZero => "linger_0",
            Self::DataAfterClose => "data_after_close",
            Self::NeverAccepted => "never_accepted",
            Self::Disconnected => "disconnected",
            Self::Destroyed => "destroyed",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Kernel(reason) => return reason.token(),
        })
    }
}

/// A process as the event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, as it chose it: not safe to print as it is.
    pub comm: Comm,
}

impl From<&event::Caller> for Process {
    fn from(caller: &event::Caller) -> Self {
        Self {
            pid: caller.pid,
            comm: caller.comm,
        }
    }
}

/// Something that happened to an end without moving its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: MarkKind,
    /// Who made the call, of a `close()`.
    pub by: Option<Process>,
}

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A reset went out.
    ResetSent(Option<Reason>),
    /// A reset came in.
    ResetReceived,
    /// A segment was sent again.
    Retransmit,
    /// The descriptor was closed after the connection was over: the kernel freed the socket.
    Freed,
    /// `close()` after the FIN was out already.
    CloseCall,
}

impl MarkKind {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::ResetSent(_) => "reset_sent",
            Self::ResetReceived => "reset_received",
            Self::Retransmit => "retransmit",
            Self::Freed => "freed",
            Self::CloseCall => "close_call",
        }
    }

    /// Why, where there is a reason.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::ResetSent(reason) => reason,
            _ => None,
        }
    }
}
