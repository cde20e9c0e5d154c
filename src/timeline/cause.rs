//! What moved a state: the local program's call, the peer's segment, a timer, or nobody knows.
//!
//! Everything here is read off one event (or one look) and what is known of the end before it.
//! The trap: the same step has many causes. ESTABLISHED goes to CLOSE when the peer resets, when
//! the program closes with unread data, with `SO_LINGER` 0, when the peer falls silent, and when
//! a listener is closed over a connection that it never accepted; only the socket's own fields at
//! that moment tell them apart.

use std::time::Duration;

use crate::model::event::{Comm, File, ResetReason, errno};
use crate::model::{Descriptor, Event, Moment, Sample, TcpState, Timestamp, event};
use crate::timeline::When;

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
    /// The last descriptor was closed. When [`Why::call`] is `None` nobody saw how: from looks alone
    /// it may have been the end of the process, or a `close()` right behind a `shutdown()`.
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
    /// The socket did not answer a question for its counters: somebody keeps its lock.
    NoAnswer,
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
            Self::NoAnswer => "no_answer",
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

/// A look can be this far from the one before for a descriptor that is gone to say that closing it
/// sent the FIN.
const NARROW: Duration = Duration::from_millis(20);

/// Why a step was made that an event reports.
pub(super) fn of_event(from: TcpState, to: TcpState, event: &Event) -> Why {
    match to {
        TcpState::SynSent => called(Cause::Connect, Call::Connect, event),
        TcpState::SynRecv => Cause::SynReceived.into(),
        TcpState::Established | TcpState::FinWait2 => Cause::AckReceived.into(),
        TcpState::CloseWait | TcpState::Closing => Cause::FinReceived.into(),
        TcpState::FinWait1 | TcpState::LastAck => of_our_fin(to, event),
        TcpState::Close => of_the_end(from, event),
        TcpState::TimeWait | TcpState::Listen => Why::default(),
    }
}

/// Why TIME_WAIT was entered.
pub(super) fn of_time_wait(from: TcpState) -> Why {
    match from {
        TcpState::FinWait2 => Cause::FinReceived.into(),
        TcpState::Closing => Cause::AckReceived.into(),
        _ => Why::default(),
    }
}

/// `close()`, the end of the process, or `shutdown()`. After the peer's FIN both ways of shutting
/// down do the same, and the mask is the same.
fn of_our_fin(to: TcpState, event: &Event) -> Why {
    let Some(moment) = &event.moment else {
        return Why::default();
    };
    let shuts_both = to == TcpState::FinWait1 && moment.shutdown.receive();
    match moment.file {
        File::Closing => closed(Cause::Close, event),
        File::Held if shuts_both => called(Cause::ShutdownRdwr, Call::ShutdownRdwr, event),
        File::Held => called(Cause::ShutdownWr, Call::ShutdownWr, event),
        File::Unknown if !moment.shutdown.receive() => {
            called(Cause::ShutdownWr, Call::ShutdownWr, event)
        }
        File::Absent | File::Unknown => Why::default(),
    }
}

/// Why an end went to CLOSE for good.
///
/// The trap: an ICMP error can stay in the socket's error field of a healthy connection for as long
/// as nobody reads it (IP_RECVERR), so what the program or the last ACK did is looked at first.
fn of_the_end(from: TcpState, event: &Event) -> Why {
    let Some(moment) = &event.moment else {
        return Why::default();
    };
    if moment.file == File::Closing
        && let Some(reason) = aborts(from, moment)
    {
        return closed(Cause::ResetSent, event).because(reason);
    }
    if is_acknowledged(from, moment) && !moment.has_broken() {
        return Cause::AckReceived.into();
    }
    match moment.error {
        Some(errno::ECONNREFUSED) => Why::from(Cause::ResetReceived).because(Reason::Refused),
        Some(errno::ECONNRESET | errno::EPIPE) => Cause::ResetReceived.into(),
        Some(errno::ETIMEDOUT) => Cause::Timeout.into(),
        Some(errno::ECONNABORTED) => Why::from(Cause::ResetSent).because(Reason::Destroyed),
        Some(errno::EHOSTUNREACH | errno::ENETUNREACH | errno::EHOSTDOWN) => {
            Why::from(Cause::Timeout).because(Reason::Unreachable)
        }
        Some(_) => Why::default(),
        None => of_the_local_end(from, moment, event),
    }
}

/// The ACK of our FIN is what ends LAST_ACK and CLOSING, once nothing is outstanding any more
/// (`tcp_rcv_state_process`, net/ipv4/tcp_input.c).
pub(super) const fn is_acknowledged(from: TcpState, moment: &Moment) -> bool {
    matches!(from, TcpState::LastAck | TcpState::Closing) && moment.send == 0
}

/// The socket has no error: this end gave the connection up.
fn of_the_local_end(from: TcpState, moment: &Moment, event: &Event) -> Why {
    let has_data_out = moment.unacked(from) > 0;
    match (moment.file, from) {
        (File::Unknown, _) => match aborts(from, moment) {
            Some(reason) => closed(Cause::ResetSent, event).because(reason),
            None => Why::default(),
        },
        // Its FIN is out, and a reset is sent for data alone (tcp_disconnect, net/ipv4/tcp.c).
        (File::Closing, TcpState::LastAck | TcpState::Closing) if has_data_out => {
            closed(Cause::ResetSent, event).because(Reason::LingerZero)
        }
        (File::Closing, _) => closed(Cause::Close, event),
        (File::Held, TcpState::LastAck | TcpState::Closing) if has_data_out => {
            Why::from(Cause::ResetSent).because(Reason::Disconnected)
        }
        (File::Held, _) if needs_reset(from) => {
            Why::from(Cause::ResetSent).because(Reason::Disconnected)
        }
        (File::Absent, TcpState::FinWait1 | TcpState::FinWait2) => {
            Why::from(Cause::ResetSent).because(Reason::DataAfterClose)
        }
        (File::Absent, TcpState::Established | TcpState::CloseWait | TcpState::SynRecv) => {
            Why::from(Cause::ResetSent).because(Reason::NeverAccepted)
        }
        (File::Absent | File::Held, _) => Why::default(),
    }
}

/// Why closing the socket sends a reset and no FIN (`__tcp_close`, net/ipv4/tcp.c).
pub(super) fn aborts(from: TcpState, moment: &Moment) -> Option<Reason> {
    let unread = moment.unread(from);
    if unread > 0 {
        Some(Reason::UnreadData(unread))
    } else if moment.lingers_not && needs_reset(from) {
        Some(Reason::LingerZero)
    } else {
        None
    }
}

/// The states in which giving a connection up is told to the peer (`tcp_need_reset`,
/// net/ipv4/tcp.c).
const fn needs_reset(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::Established
            | TcpState::CloseWait
            | TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::SynRecv
    )
}

/// By `close()` or by the end of its process: the event's caller tells. Without one, a worker of
/// the kernel closed it for somebody.
fn closed(cause: Cause, event: &Event) -> Why {
    let Some(caller) = &event.caller else {
        return cause.into();
    };
    let why = match (caller.exiting, cause) {
        (true, Cause::Close) => called(Cause::ProcessExit, Call::Exit, event),
        (true, _) => called(cause, Call::Exit, event),
        (false, _) => called(cause, Call::Close, event),
    };
    Why {
        signal: caller.signal,
        ..why
    }
}

fn called(cause: Cause, call: Call, event: &Event) -> Why {
    Why {
        cause,
        call: Some(call),
        by: event.caller.as_ref().map(Process::from),
        ..Why::default()
    }
}

/// Why a step was made that looks show. `sample` is the look behind it, which may show a later
/// state than `to`.
pub(super) fn of_look(from: TcpState, to: TcpState, when: When, sample: Option<&Sample>) -> Why {
    match to {
        TcpState::SynSent => Cause::Connect.into(),
        TcpState::SynRecv => Cause::SynReceived.into(),
        TcpState::Established | TcpState::FinWait2 => Cause::AckReceived.into(),
        TcpState::CloseWait | TcpState::Closing => Cause::FinReceived.into(),
        TcpState::TimeWait => of_time_wait(from),
        TcpState::FinWait1 => {
            sample.map_or_else(Why::default, |sample| by_descriptor(sample, when))
        }
        TcpState::LastAck => sample
            .filter(|sample| sample.descriptor() == Some(Descriptor::Gone) && is_narrow(when))
            .map_or_else(Why::default, |_| Cause::Close.into()),
        TcpState::Close | TcpState::Listen => Why::default(),
    }
}

/// A descriptor that is held proves `shutdown()`, with one trap: a `close()` that blocks in
/// SO_LINGER holds it too until the FIN is acknowledged, and both sides are shut then. One that is
/// gone so soon was closed: by `close()`, by the end of the process, or by a `close()` right behind
/// a `shutdown()`. So no call is named.
fn by_descriptor(sample: &Sample, when: When) -> Why {
    let is_first_fin = matches!(
        sample.state,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing
    );
    let shut = |cause, call| Why {
        cause,
        call: Some(call),
        ..Why::default()
    };
    match (sample.descriptor(), sample.shutdown) {
        (Some(Descriptor::Gone), _) if is_first_fin && is_narrow(when) => Cause::Close.into(),
        (Some(Descriptor::Held), Some(mask)) if mask.send() && !mask.receive() => {
            shut(Cause::ShutdownWr, Call::ShutdownWr)
        }
        (Some(Descriptor::Held), Some(mask))
            if mask.send() && sample.state == TcpState::FinWait2 =>
        {
            shut(Cause::ShutdownRdwr, Call::ShutdownRdwr)
        }
        _ => Why::default(),
    }
}

fn is_narrow(when: When) -> bool {
    when.not_before()
        .is_some_and(|from| when.not_after().since(from) <= NARROW)
}

impl Why {
    pub(super) const fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}

impl From<Cause> for Why {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            ..Self::default()
        }
    }
}
