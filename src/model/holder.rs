//! Who holds a socket, and how old it says it is: what a look at the table does not show.
//!
//! A socket can be held by many processes, by each under several descriptors. The traps: a pid is
//! given again, so a process is its pid and the time of its start; and who may not look into every
//! process sees none where there is one, so a set says whether it can be all.

use std::sync::Arc;
use std::time::Duration;

use crate::model::event::Comm;
use crate::model::{Scope, SockId, TcpState, Timestamp};

/// A process for as long as the host is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Its number, which is given again after its end.
    pub pid: u32,
    /// When it started, in clock ticks since the boot (field 22 of /proc/PID/stat).
    pub started: u64,
}

/// A process as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Who it is.
    pub id: ProcessId,
    /// Its parent's number at that time; `None` when it could not be read.
    pub parent: Option<u32>,
    /// Its name, as it chose it: not safe to print as it is.
    pub comm: Comm,
    /// Its effective user; `None` when it could not be read.
    pub uid: Option<u32>,
    /// That user's name, `None` where the host has none for it.
    pub user: Option<Box<str>>,
    /// Its command line, a space between two arguments; at most [`CMDLINE`] bytes. Not safe to
    /// print as it is, and it can hold a password. `None` when it could not be read, has none (a
    /// kernel thread, a zombie), or was not recorded.
    pub cmdline: Option<Box<str>>,
}

/// So many bytes of a command line are kept.
pub const CMDLINE: usize = 1024;
/// So many descriptors of one socket in one process are named.
pub const DESCRIPTORS: usize = 64;

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub program: Arc<Program>,
    /// Under which descriptors, ascending, at least one; the first [`DESCRIPTORS`] of them.
    pub fds: Vec<u32>,
}

/// Whether a set can lack somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Every process could be looked into.
    All,
    /// Some could not: they belong to others, or /proc hides them.
    Partly,
}

/// Who holds a socket, as one look into the processes showed it. Said when it differs from the set
/// before, and again when somebody asks for all that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Holders {
    /// Where the socket is. The inode is the host's, whatever the namespace.
    pub scope: Scope,
    /// The socket file's inode.
    pub inode: u32,
    /// Before the look into the processes; the observation's `at` is after it.
    pub begun: Timestamp,
    /// The begin of the newest look that showed the set before; `None` when this is the first.
    pub unchanged: Option<Timestamp>,
    /// The holders, by pid. None: no process that could be looked into has it.
    pub holders: Vec<Holder>,
    /// Those of the set before that have ended: they did not close it, the kernel did.
    pub ended: Vec<ProcessId>,
    /// Whether there can be others.
    pub seen: Seen,
}

/// The answer to a question for a socket's own counters (`tcp_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Who was asked for.
    pub id: SockId,
    /// Before the question was sent.
    pub begun: Timestamp,
    /// What came.
    pub answer: InfoAnswer,
}

/// What came of a question for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoAnswer {
    /// The counters.
    Counters(Counters),
    /// Nothing in this time: whoever holds the socket's lock does not give it back.
    Silent(Duration),
}

/// How long ago things were last done, and how much: `struct tcp_info`, include/uapi/linux/tcp.h.
/// The times are whole milliseconds, in steps of the kernel's tick (4 ms at HZ=250).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// The state that the socket had in this answer.
    pub state: TcpState,
    /// Since data was last sent (`tcpi_last_data_sent`).
    pub data_sent: Duration,
    /// Since data was last received (`tcpi_last_data_recv`).
    pub data_received: Duration,
    /// Since an acknowledgement was last received (`tcpi_last_ack_recv`); garbage in SYN_SENT.
    pub ack_received: Duration,
    /// Its keepalive timer runs, or may: each probe's answer is an acknowledgement. So is that of a
    /// probe of a zero window, whose timer hides the keepalive's, as the retransmission's does.
    pub keepalive: bool,
    /// Doublings of the retransmission or probe timer (`tcpi_backoff`).
    pub backoff: u8,
    /// Bytes taken in so far, the FIN counts one (`tcpi_bytes_received`); `None` from an older kernel.
    pub bytes_received: Option<u64>,
    /// Bytes acknowledged so far, SYN and FIN count one each (`tcpi_bytes_acked`); `None` from an
    /// older kernel.
    pub bytes_acked: Option<u64>,
}
