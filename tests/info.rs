//! The sockets' own counters, asked of this kernel: every age at attach that timeline/age.rs gives
//! holds the truth, and a socket that does not answer keeps nobody else from it.
//!
//! The traps: counters have the kernel's tick (up to 10 ms), and on a busy machine a segment comes
//! later than the call that sent it returns. So a truth is a pair of bounds around what was awaited.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly; an age has to be lived through"
)]

#[allow(dead_code, reason = "not every test file needs all of it")]
#[path = "common/story.rs"]
mod story;
#[allow(dead_code, reason = "not every test file needs all of it")]
#[path = "common/watcher.rs"]
mod watcher;

#[path = "info/ages.rs"]
mod ages;
#[path = "common/netns.rs"]
mod netns;
#[allow(dead_code, reason = "not every test file needs all of it")]
#[path = "common/sockets.rs"]
mod sockets;
#[path = "info/stuck.rs"]
mod stuck;

use std::net::SocketAddr;
use std::time::Duration;

use netns::in_fresh_netns;
use sockets::{Pair, port_of, server};
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{
    Body, Counters, FourTuple, Info, InfoAnswer, Observation, Sample, SockId, TcpState,
};
use tcpwatch::source::info::ask_once;
use tcpwatch::source::sock_diag::SockDiag;
use tcpwatch::source::{Poller, Request, host};

/// More than an answer takes on any machine.
const LIMIT: Duration = Duration::from_secs(5);

/// One look at all sockets of these ports.
fn look(ports: &[u16]) -> Vec<Observation> {
    let mut set = PortSet::default();
    for port in ports {
        set.extend(&PortSet::one(*port));
    }
    let mut source = SockDiag::open(Request {
        filter: Filter {
            ports: set,
            ..Filter::default()
        },
        scope: host::scope(),
        ..Request::default()
    })
    .unwrap();
    let mut out = Vec::new();
    source.look(&mut out).unwrap();
    out
}

fn samples(looked: &[Observation]) -> Vec<Sample> {
    let polls = looked.iter().filter_map(|told| match &told.body {
        Body::Poll(poll) => Some(poll.appeared.iter().copied()),
        _ => None,
    });
    polls.flatten().collect()
}

/// The socket that has these ends.
fn id_of(looked: &[Observation], local: SocketAddr, remote: SocketAddr) -> SockId {
    let endpoint = |addr: SocketAddr| tcpwatch::model::Endpoint::new(addr.ip(), addr.port());
    let tuple = FourTuple {
        local: endpoint(local),
        remote: endpoint(remote),
    };
    let found = samples(looked).into_iter().find(|s| s.id.tuple == tuple);
    found.unwrap().id
}

fn infos(told: &[Observation]) -> Vec<Info> {
    let infos = told.iter().map(|told| match &told.body {
        Body::Info(info) => *info,
        other => panic!("{other:?}"),
    });
    infos.collect()
}

fn counters(told: &[Observation], id: &SockId) -> Option<Counters> {
    let info = infos(told).into_iter().find(|info| info.id == *id)?;
    match info.answer {
        InfoAnswer::Counters(counters) => Some(counters),
        InfoAnswer::Silent(_) => None,
    }
}

#[test]
fn who_is_there_answers_and_who_is_not_does_not() {
    in_fresh_netns("who_is_there_answers", || {
        let server = server();
        let ports = [port_of(&server)];
        let mut pairs: Vec<Pair> = (0..150).map(|_| Pair::to(&server)).collect();
        let mut gone = Pair::to(&server);
        let mut mini = Pair::to(&server);
        mini.close_client();
        mini.client_enters("FIN_WAIT2");
        let looked = look(&ports);
        let of_gone = id_of(&looked, gone.a, gone.b);
        let of_mini = id_of(&looked, mini.a, mini.b);
        sockets::abort_on_close(gone.client.as_ref().unwrap());
        gone.close_client();
        gone.server_vanishes();
        let mut ids: Vec<SockId> = samples(&looked)
            .iter()
            .filter(|sample| sample.state != TcpState::Listen)
            .map(|sample| sample.id)
            .collect();
        // Asked for twice, it is answered once; without a cookie nobody can be asked for.
        ids.push(ids[0]);
        ids.push(SockId {
            cookie: None,
            ..ids[0]
        });
        let told = ask_once(&ids, LIMIT).unwrap();
        assert_eq!(
            told.len(),
            2 * 150 + 1,
            "300 ends, and the one in CLOSE_WAIT"
        );
        assert!(counters(&told, &of_gone).is_none());
        assert!(counters(&told, &of_mini).is_none());
        for info in infos(&told) {
            assert!(matches!(info.answer, InfoAnswer::Counters(_)), "{info:?}");
        }
        for pair in &pairs {
            let counted = counters(&told, &id_of(&looked, pair.a, pair.b)).unwrap();
            assert_eq!(counted.state, TcpState::Established);
            assert!(!counted.keepalive);
            assert_eq!(counted.bytes_received, Some(0));
        }
        assert_eq!(ask_once(&[], LIMIT).unwrap(), []);
        pairs.clear();
    });
}

#[test]
fn a_socket_that_is_bound_to_a_device_answers() {
    in_fresh_netns("bound_to_a_device_answers", || {
        let server = server();
        let pair = Pair::to(&server);
        netns::bind_to_device(pair.client.as_ref().unwrap(), "lo");
        let looked = look(&[port_of(&server)]);
        let id = id_of(&looked, pair.a, pair.b);
        let told = ask_once(&[id], LIMIT).unwrap();
        assert!(counters(&told, &id).is_some(), "{told:?}");
    });
}
