//! The events of connections that nobody has opened, as the kernel tells them at full speed.

use std::net::Ipv4Addr;

use tcpwatch::model::event::{Caller, Comm, File};
use tcpwatch::model::observation::HostFacts;
use tcpwatch::model::{
    Body, Cookie, Endpoint, Event, FourTuple, Moment, Observation, Scope, Shutdown, SockId,
    SourceName, SourceState, TcpState, Timestamp, What,
};

/// One connection every 12.5 us is 80,000 a second.
const APART: u64 = 12_500;
/// As many ports as a host has for going out.
const PORTS: u64 = 28_000;

/// What comes before any event.
pub fn opening() -> [Observation; 2] {
    let of = |source, body| Observation {
        host: 0,
        at: Timestamp::from_nanos(1),
        source,
        body,
    };
    [
        of(SourceName::SockDiag, Body::Host(HostFacts::default())),
        of(
            SourceName::Bpf,
            Body::Source(SourceState::Running {
                period: std::time::Duration::from_millis(2),
                cost: None,
                why: None,
            }),
        ),
    ]
}

/// The events of the connections from number `first` on: twelve each, the server closes first, and
/// every 4-tuple is used again after a while.
pub fn events(first: u64, number: u64) -> Vec<Observation> {
    (first..first + number).flat_map(life).collect()
}

/// Events of one life.
pub const EVENTS: usize = 12;

fn life(index: u64) -> [Observation; EVENTS] {
    use TcpState::*;
    let end = |port| Endpoint::from((Ipv4Addr::LOCALHOST, port));
    let client = FourTuple {
        local: end(32_768 + (index % PORTS) as u16),
        remote: end(50_008),
    };
    let ids = [client, client.mirror()].map(|tuple| SockId {
        scope: Scope::default(),
        cookie: Some(Cookie(
            2 * index + 1 + u64::from(tuple.local.port() == 50_008),
        )),
        tuple,
    });
    let state = |end: usize, from, to, file| {
        let what = What::State { from, to };
        (end, what, file)
    };
    let steps = [
        state(0, Close, SynSent, File::Held),
        state(1, Listen, SynRecv, File::Absent),
        state(1, SynRecv, Established, File::Absent),
        state(0, SynSent, Established, File::Held),
        state(1, Established, FinWait1, File::Closing),
        state(0, Established, CloseWait, File::Held),
        state(0, CloseWait, LastAck, File::Closing),
        state(1, FinWait1, FinWait2, File::Absent),
        state(1, FinWait2, Close, File::Absent),
        (1, What::Freed, File::Absent),
        state(0, LastAck, Close, File::Closing),
        (0, What::Freed, File::Absent),
    ];
    let mut at = 1000 + index * APART;
    steps.map(|(end, what, file)| {
        at += 500;
        Observation {
            host: 0,
            at: Timestamp::from_nanos(at),
            source: SourceName::Bpf,
            body: Body::Event(Event {
                id: ids[end],
                what,
                moment: Some(moment(file, what)),
                caller: (file == File::Closing).then_some(Caller {
                    pid: 7,
                    comm: Comm(*b"generator\0\0\0\0\0\0\0"),
                    exiting: false,
                    signal: None,
                }),
            }),
        }
    })
}

fn moment(file: File, what: What) -> Moment {
    let has_fin = matches!(
        what,
        What::State {
            from: TcpState::FinWait2,
            ..
        }
    );
    Moment {
        shutdown: Shutdown::from_kernel(3),
        file,
        error: None,
        receive: 0,
        send: 0,
        lingers_not: false,
        fin_received: Some(has_fin),
        bytes_received: 0,
        bytes_acked: 0,
        cgroup: Some(1),
        multipath: false,
    }
}
