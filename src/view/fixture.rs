//! A connection for the tests of what is written of one.

use std::time::Duration;

use crate::model::event::{Comm, File, What};
use crate::model::{
    Body, Cookie, Descriptor, Endpoint, Event, FourTuple, Look, Moment, Observation, Poll, Queues,
    Sample, Scope, Shutdown, SockId, SourceName, TcpState, Timestamp,
};
use crate::timeline::{
    Call, Cause, Certainty, Change, ConnId, Connection, Mark, MarkKind, Process, Reason,
    SeenBeside, Side, Tracker, Transition, When, Why,
};

/// One second and `micros` after the clock's start.
pub(super) const fn at(micros: u64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000 + micros * 1000)
}

/// Both ends of 127.0.0.1:40001 to 127.0.0.1:80, found in ESTABLISHED.
pub(super) fn tracker() -> Tracker {
    let end = |port| Endpoint::new(std::net::Ipv4Addr::LOCALHOST.into(), port);
    let sample = |tuple: FourTuple| Sample {
        id: SockId {
            scope: Scope::default(),
            cookie: Some(Cookie(tuple.local.port().into())),
            tuple,
        },
        state: TcpState::Established,
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        timer: None,
        retransmits: 0,
        inode: Some(7),
        uid: Some(0),
        shutdown: None,
        cgroup: None,
        multipath: false,
    };
    let tuple = FourTuple {
        local: end(40_001),
        remote: end(80),
    };
    let mut tracker = Tracker::default();
    tracker.ingest(&Observation {
        host: 0,
        at: at(0),
        source: SourceName::SockDiag,
        body: Body::Poll(Poll {
            begun: at(0).minus(Duration::from_micros(300)),
            look: Look::Whole,
            complete: true,
            first: true,
            appeared: vec![sample(tuple), sample(tuple.mirror())],
            changed: Vec::new(),
            missing: Vec::new(),
        }),
    });
    tracker
}

/// An event of an end of it.
pub(super) fn told(tracker: &Tracker, side: Side, what: What, micros: u64) -> Observation {
    let id = *connection(tracker).end(side).unwrap().id();
    let moment = Moment {
        shutdown: Shutdown::from_kernel(0),
        file: File::Held,
        error: None,
        receive: 0,
        send: 0,
        lingers_not: false,
        fin_received: None,
        bytes_received: 0,
        bytes_acked: 0,
        cgroup: None,
        multipath: false,
    };
    let event = Event {
        id,
        what,
        moment: Some(moment),
        caller: None,
    };
    Observation {
        host: 0,
        at: at(micros),
        source: SourceName::Bpf,
        body: Body::Event(event),
    }
}

pub(super) fn connection(tracker: &Tracker) -> &Connection {
    tracker.get(ConnId(1)).unwrap()
}

pub(super) fn process(comm: &str, pid: u32) -> Process {
    let mut bytes = [0; 16];
    bytes[..comm.len()].copy_from_slice(comm.as_bytes());
    Process {
        pid,
        comm: Comm(bytes),
    }
}

/// An exact step of A.
pub(super) fn moved(from: TcpState, to: TcpState, micros: u64, why: Why) -> Change {
    Change::Moved {
        conn: ConnId(1),
        side: Side::A,
        step: Transition {
            from,
            to,
            when: When::At(at(micros)),
            certainty: Certainty::Exact,
            source: SourceName::Bpf,
            in_from: Some(Duration::from_micros(1204)),
            seen: None,
            why,
        },
    }
}

/// The process was killed with data unread: a reset.
pub(super) fn killed_with_unread_data() -> Change {
    let why = Why {
        cause: Cause::ResetSent,
        call: Some(Call::Exit),
        reason: Some(Reason::UnreadData(4000)),
        signal: Some(9),
        by: Some(process("py\u{7f}thon", 4711)),
    };
    moved(TcpState::Established, TcpState::Close, 20, why)
}

/// `close()` as its event shows it.
pub(super) fn closed_by_nginx() -> Change {
    let why = Why {
        cause: Cause::Close,
        call: Some(Call::Close),
        by: Some(process("nginx", 812)),
        ..Why::default()
    };
    let mut change = moved(TcpState::Established, TcpState::FinWait1, 40, why);
    if let Change::Moved { step, .. } = &mut change {
        step.seen = Some(SeenBeside {
            descriptor: Some(Descriptor::Gone),
            shutdown: Some(Shutdown::from_kernel(3)),
            unread: Some(0),
            unacked: Some(12),
        });
    }
    change
}

/// A TIME_WAIT that no look has shown.
pub(super) fn time_wait_inferred() -> Change {
    let why = Why {
        cause: Cause::FinReceived,
        ..Why::default()
    };
    let mut change = moved(TcpState::FinWait2, TcpState::TimeWait, 60, why);
    if let Change::Moved { step, .. } = &mut change {
        step.certainty = Certainty::Inferred;
    }
    change
}

/// Something that happened to A.
pub(super) fn marked(kind: MarkKind, by: Option<Process>) -> Change {
    Change::Marked {
        conn: ConnId(1),
        side: Side::A,
        mark: Mark {
            at: at(80),
            kind,
            by,
        },
    }
}
