//! What the programs write and how it is read: one layout for every event.
//!
//! The programs take the offsets from here, so the two can't disagree. It must not know how a
//! record got here, nor whether it is wanted. The traps: ports are in host order and addresses in
//! network order, an IPv4 address in the first 4 of its 16 bytes; and who was running when the
//! event happened is said only for changes that a local call makes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::event::{Comm, File, ResetReason};
use crate::model::{
    Body, Caller, Cookie, Endpoint, Event, FourTuple, Moment, Observation, Scope, Shutdown, SockId,
    SourceName, TcpState, Timestamp, What,
};

/// `AF_INET6`.
const AF_INET6: u8 = libc::AF_INET6 as u8;

/// Of `Record::kind`: a state changed.
pub const STATE: u8 = 1;
/// A reset was sent.
pub const RESET_SENT: u8 = 2;
/// A reset came.
pub const RESET_RECEIVED: u8 = 3;
/// A segment was sent again.
pub const RETRANSMIT: u8 = 4;
/// The full socket was freed.
pub const FREED: u8 = 5;

/// Of `Record::flags`: it is a full socket, and all of the record holds.
pub const FULL: u8 = 1;
/// `SO_LINGER` with a time of 0.
pub const LINGERS_NOT: u8 = 2;
/// The peer's FIN has been taken in. As a shift, since the program moves the bit here.
pub const FIN_RECEIVED_SHIFT: u8 = 2;
/// A subflow of a multipath connection.
pub const MULTIPATH: u8 = 8;
const FIN_RECEIVED: u8 = 1 << FIN_RECEIVED_SHIFT;

/// Of `Record::file`.
pub const FILE_ABSENT: u8 = 0;
/// A descriptor stays open.
pub const FILE_HELD: u8 = 1;
/// The last one is being closed.
pub const FILE_CLOSING: u8 = 2;
/// The kernel does not say.
pub const FILE_UNKNOWN: u8 = 3;

/// Of `Record::task`: who was running is not said.
pub const TASK_UNSAID: u8 = 0;
/// It is said.
pub const TASK_SAID: u8 = 1;
/// The process is ending. As a shift.
pub const TASK_EXITING_SHIFT: u8 = 1;
/// It is a thread of the kernel's own. As a shift.
pub const TASK_KERNEL_SHIFT: u8 = 2;
const TASK_EXITING: u8 = 1 << TASK_EXITING_SHIFT;
const TASK_KERNEL: u8 = 1 << TASK_KERNEL_SHIFT;

/// One event as a program wrote it. Every pattern of bits is a valid one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "named as what they become, in `observation`")]
pub struct Record {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub at: u64,
    pub cookie: u64,
    /// The socket's address: its name for as long as it lives.
    pub sock: u64,
    pub cgroup: u64,
    pub bytes_received: u64,
    pub bytes_acked: u64,
    pub receive: u32,
    pub send: u32,
    pub pid: u32,
    pub device: u32,
    pub kind: u8,
    pub from: u8,
    pub to: u8,
    pub reason: u8,
    pub shutdown: u8,
    pub file: u8,
    pub flags: u8,
    pub task: u8,
    pub local_port: u16,
    pub remote_port: u16,
    pub error: u16,
    pub family: u8,
    pub signal: u8,
    pub comm: [u8; 16],
    pub local: [u8; 16],
    pub remote: [u8; 16],
}

/// What a record alone does not say.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where its socket is.
    pub scope: Scope,
    /// Reasons of resets by number.
    pub reasons: &'a [ResetReason],
    /// Whether the flag of a received FIN can be read.
    pub says_fin: bool,
    /// Whether the cgroup can be read.
    pub says_cgroup: bool,
}

impl Record {
    /// The 4-tuple, whatever of it is known.
    pub fn tuple(&self) -> FourTuple {
        let endpoint = |bytes: &[u8; 16], port| {
            let addr = match self.family {
                AF_INET6 => IpAddr::from(Ipv6Addr::from(*bytes)),
                _ => {
                    let [a, b, c, d, ..] = *bytes;
                    IpAddr::from(Ipv4Addr::new(a, b, c, d))
                }
            };
            Endpoint::on_interface(addr, port, self.device)
        };
        FourTuple {
            local: endpoint(&self.local, self.local_port),
            remote: endpoint(&self.remote, self.remote_port),
        }
    }

    /// Begins to open a connection from a port that it does not have yet.
    pub const fn opens_without_port(&self) -> bool {
        self.kind == STATE && self.to == TcpState::SynSent as u8 && self.local_port == 0
    }

    /// A socket being made of a listener's: its addresses and its cookie are not its own yet.
    pub const fn is_half_made(&self) -> bool {
        self.kind == STATE
            && self.from == TcpState::Listen as u8
            && self.to == TcpState::SynRecv as u8
    }

    /// A listener begins or ends.
    pub const fn is_of_listener(&self) -> bool {
        let listen = TcpState::Listen as u8;
        self.kind == STATE && (self.from == listen || self.to == listen) && !self.is_half_made()
    }

    /// As an observation; `None` for a state or kind that we do not know.
    pub fn observation(&self, tuple: FourTuple, context: &Context) -> Option<Observation> {
        Some(Observation {
            at: Timestamp::from_nanos(self.at),
            source: SourceName::Bpf,
            body: Body::Event(Event {
                id: SockId {
                    scope: context.scope,
                    cookie: Some(Cookie(self.cookie)),
                    tuple,
                },
                what: self.what(context)?,
                moment: (self.flags & FULL != 0).then(|| self.moment(context)),
                caller: self.caller(),
            }),
        })
    }

    fn what(&self, context: &Context) -> Option<What> {
        Some(match self.kind {
            STATE => What::State {
                from: TcpState::from_kernel(self.from)?,
                to: TcpState::from_kernel(self.to)?,
            },
            RESET_SENT => What::ResetSent(self.reset_reason(context)),
            RESET_RECEIVED => What::ResetReceived,
            RETRANSMIT => What::Retransmit,
            FREED => What::Freed,
            _ => return None,
        })
    }

    fn reset_reason(&self, context: &Context) -> ResetReason {
        if context.reasons.is_empty() {
            return ResetReason::Unsaid;
        }
        let reason = context.reasons.get(usize::from(self.reason));
        reason.copied().unwrap_or(ResetReason::Other)
    }

    fn moment(&self, context: &Context) -> Moment {
        Moment {
            shutdown: Shutdown::from_kernel(self.shutdown),
            file: self.file(),
            error: (self.error != 0).then_some(self.error),
            receive: self.receive,
            send: self.send,
            lingers_not: self.flags & LINGERS_NOT != 0,
            fin_received: context.says_fin.then_some(self.flags & FIN_RECEIVED != 0),
            bytes_received: self.bytes_received,
            bytes_acked: self.bytes_acked,
            cgroup: (context.says_cgroup && self.cgroup != 0).then_some(self.cgroup),
            multipath: self.flags & MULTIPATH != 0,
        }
    }

    const fn file(&self) -> File {
        match self.file {
            FILE_ABSENT => File::Absent,
            FILE_HELD => File::Held,
            FILE_CLOSING => File::Closing,
            _ => File::Unknown,
        }
    }

    /// Whoever made the call, for a change that only a local call makes.
    fn caller(&self) -> Option<Caller> {
        let said = self.task & (TASK_SAID | TASK_KERNEL) == TASK_SAID;
        if !said || !self.is_a_call() {
            return None;
        }
        let exiting = self.task & TASK_EXITING != 0;
        Some(Caller {
            pid: self.pid,
            comm: Comm(self.comm),
            exiting,
            signal: (exiting && self.signal != 0).then_some(self.signal),
        })
    }

    fn is_a_call(&self) -> bool {
        use TcpState::{Close, CloseWait, Closing, FinWait1, LastAck, Listen, SynSent, TimeWait};
        let states = (
            TcpState::from_kernel(self.from),
            TcpState::from_kernel(self.to),
        );
        let (Some(from), Some(to)) = states else {
            return false;
        };
        match (from, to) {
            _ if self.kind != STATE => false,
            (_, SynSent | Listen | FinWait1) | (CloseWait, LastAck) | (Listen, Close) => true,
            // Ended by the peer's acknowledgement, even when it is taken in inside close().
            (LastAck | Closing | TimeWait, Close) => false,
            (_, Close) => self.error == 0 && self.file() == File::Closing,
            (from, to) => from == to,
        }
    }
}
