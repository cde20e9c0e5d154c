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
/// Told by the second program, in place of the first.
pub const RESCUED: u8 = 16;
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

    /// Told by the second program, which took it for skipped.
    pub const fn is_rescued(&self) -> bool {
        self.flags & RESCUED != 0
    }

    /// The same change of the same socket.
    pub fn is_same_change(&self, other: &Self) -> bool {
        let change = |of: &Self| (of.kind, of.cookie, of.sock, of.from, of.to);
        self.kind == STATE && change(self) == change(other)
    }

    /// Begins to open a connection from a port that it does not have yet.
    pub const fn opens_without_port(&self) -> bool {
        self.kind == STATE && self.to == TcpState::SynSent as u8 && self.local_port == 0
    }

    /// A socket that is being made of a listener's, by a kernel that says so before it has given
    /// it addresses and a cookie of its own (6.18 does not).
    pub const fn is_half_made(&self) -> bool {
        self.is_birth() && self.remote_port == 0
    }

    const fn is_birth(&self) -> bool {
        self.kind == STATE
            && self.from == TcpState::Listen as u8
            && self.to == TcpState::SynRecv as u8
    }

    /// Its 4-tuple went with its connection: what was disconnected, or refused, has no more ports
    /// on one side or the other, and its sequence numbers mean nothing.
    pub const fn is_wiped(&self) -> bool {
        self.local_port == 0 || (self.remote_port == 0 && self.kind != STATE)
    }

    /// A listener begins or ends.
    pub const fn is_of_listener(&self) -> bool {
        let listen = TcpState::Listen as u8;
        self.kind == STATE && (self.from == listen || self.to == listen) && !self.is_birth()
    }

    /// A listener that nobody gave a port: it gets one right after the event, and nothing tells
    /// which. The kernel's table shows it.
    pub const fn is_nameless_listener(&self) -> bool {
        self.kind == STATE && self.to == TcpState::Listen as u8 && self.local_port == 0
    }

    /// As an observation; `None` for a state or kind that we do not know.
    pub fn observation(&self, tuple: FourTuple, context: &Context) -> Option<Observation> {
        Some(Observation {
            host: 0,
            at: Timestamp::from_nanos(self.at),
            source: SourceName::Bpf,
            body: Body::Event(Event {
                id: SockId {
                    scope: context.scope,
                    cookie: Some(Cookie(self.cookie)),
                    tuple,
                },
                what: self.what(context)?,
                moment: self.has_moment().then(|| self.moment(context)),
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

    const fn has_moment(&self) -> bool {
        let is_gone = self.kind == FREED && self.is_wiped();
        self.flags & FULL != 0 && !is_gone
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

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context {
            scope: Scope::default(),
            reasons: &[ResetReason::Unsaid, ResetReason::NoSocket],
            says_fin: true,
            says_cgroup: true,
        }
    }

    fn record(from: TcpState, to: TcpState) -> Record {
        Record {
            at: 5,
            cookie: 7,
            kind: STATE,
            from: from as u8,
            to: to as u8,
            flags: FULL,
            local_port: 80,
            remote_port: 40000,
            task: TASK_SAID,
            pid: 12,
            ..Record::default()
        }
    }

    fn event(record: &Record) -> Event {
        let seen = record.observation(record.tuple(), &context()).unwrap();
        assert_eq!(seen.at.nanos(), record.at);
        match seen.body {
            Body::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_lies_between_the_members() {
        let members = 6 * 8 + 4 * 4 + 8 + 3 * 2 + 2 + 3 * 16;
        assert_eq!(size_of::<Record>(), members);
    }

    #[test]
    fn addresses_are_folded_and_link_local_ones_have_their_interface() {
        let mut record = record(TcpState::Established, TcpState::CloseWait);
        record.local[..4].copy_from_slice(&[127, 0, 0, 1]);
        record.remote[..4].copy_from_slice(&[10, 0, 0, 2]);
        record.device = 3;
        let text = |record: &Record| format!("{:?}", record.tuple());
        assert!(text(&record).contains("127.0.0.1:80"), "{}", text(&record));
        assert!(text(&record).contains("10.0.0.2:40000"));
        record.family = AF_INET6;
        record.local = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        record.remote = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
        assert!(text(&record).contains("local: 127.0.0.1:80"));
        assert!(text(&record).contains("[fe80::1%3]:40000"));
    }

    #[test]
    fn a_caller_is_named_for_local_calls_alone() {
        use TcpState::*;
        let called = |from, to, error, file| {
            let record = Record {
                error,
                file,
                ..record(from, to)
            };
            event(&record).caller.is_some()
        };
        for (from, to) in [
            (Close, SynSent),
            (Close, Listen),
            (Listen, Close),
            (Established, FinWait1),
            (SynRecv, FinWait1),
            (CloseWait, LastAck),
            (FinWait2, FinWait2),
        ] {
            assert!(called(from, to, 0, FILE_HELD), "{from} {to}");
        }
        for (from, to) in [
            (Established, CloseWait),
            (FinWait1, FinWait2),
            (Listen, SynRecv),
            (LastAck, Close),
            (FinWait2, Close),
        ] {
            assert!(!called(from, to, 0, FILE_ABSENT), "{from} {to}");
        }
        assert!(called(Established, Close, 0, FILE_CLOSING), "an abort");
        assert!(!called(Established, Close, 104, FILE_CLOSING), "a reset");
        assert!(!called(LastAck, Close, 0, FILE_CLOSING), "the last ACK");
        assert!(!called(Established, Close, 0, FILE_HELD));
        let kernel = Record {
            task: TASK_SAID | TASK_KERNEL,
            ..record(Established, FinWait1)
        };
        assert_eq!(event(&kernel).caller, None);
    }

    #[test]
    fn a_signal_counts_only_when_the_process_ends() {
        let caller = |task| {
            let record = Record {
                task,
                signal: 9,
                ..record(TcpState::Established, TcpState::FinWait1)
            };
            event(&record).caller.unwrap()
        };
        assert_eq!(caller(TASK_SAID).signal, None);
        let ended = caller(TASK_SAID | TASK_EXITING);
        assert_eq!((ended.exiting, ended.signal), (true, Some(9)));
    }

    #[test]
    fn what_the_kernel_does_not_say_is_none() {
        let plain = record(TcpState::Established, TcpState::CloseWait);
        assert_eq!(event(&plain).moment.unwrap().fin_received, Some(false));
        assert_eq!(event(&plain).moment.unwrap().cgroup, None);
        let silent = Context {
            says_fin: false,
            reasons: &[],
            ..context()
        };
        assert_eq!(plain.moment(&silent).fin_received, None);
        let mini = Record { flags: 0, ..plain };
        assert_eq!(event(&mini).moment, None);
        let reset = |reason, context: &Context| {
            let record = Record {
                kind: RESET_SENT,
                reason,
                ..plain
            };
            record.what(context)
        };
        let sent = |reason| Some(What::ResetSent(reason));
        assert_eq!(reset(1, &context()), sent(ResetReason::NoSocket));
        assert_eq!(reset(9, &context()), sent(ResetReason::Other));
        assert_eq!(reset(1, &silent), sent(ResetReason::Unsaid));
        let unknown = Record { kind: 99, ..plain };
        assert!(unknown.observation(plain.tuple(), &context()).is_none());
    }

    #[test]
    fn a_disconnected_socket_is_known_by_its_cookie_alone() {
        let freed = Record {
            kind: FREED,
            remote_port: 0,
            ..record(TcpState::Close, TcpState::Close)
        };
        assert!(freed.is_wiped());
        assert_eq!(event(&freed).moment, None);
        assert_eq!(event(&freed).id.cookie, Some(Cookie(7)));
        let listens = Record {
            remote_port: 0,
            ..record(TcpState::Close, TcpState::Listen)
        };
        assert!(listens.is_of_listener() && !listens.is_wiped());
    }
}
