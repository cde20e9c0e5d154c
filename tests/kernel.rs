//! Both sources against the kernel this runs on, each test in a network namespace of its own:
//! they see the same, they keep what the filter keeps, and they answer questions.
//!
//! Nothing here sleeps for a state: what must come is asked for until it is there.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

#[path = "common/netns.rs"]
mod netns;

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use netns::in_fresh_netns;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tcpwatch::model::filter::{Filter, Selection};
use tcpwatch::model::{
    Answer, Ask, Body, Cookie, Descriptor, Endpoint, FourTuple, Keyframe, Observation, Queues,
    Sample, SockId, SourceName, TcpState, TimerKind,
};
use tcpwatch::source::clock;
use tcpwatch::source::feed::{Choice, Feed};
use tcpwatch::source::proc_net::ProcNet;
use tcpwatch::source::sock_diag::SockDiag;
use tcpwatch::source::{Poller, Request, host};

const LOOPBACK: &str = "127.0.0.1";
/// How long the kernel may take for what it is sure to do.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(2);

fn request(filter: Filter) -> Request {
    Request {
        filter,
        scope: host::scope(),
        ..Request::default()
    }
}

fn sock_diag(filter: Filter) -> SockDiag {
    SockDiag::open(request(filter)).unwrap()
}

/// What is new in one look.
fn look(source: &mut dyn Poller) -> Vec<Sample> {
    let mut told = Vec::new();
    source.look(&mut told).unwrap();
    let mut new = Vec::new();
    for Observation { body, .. } in told {
        match body {
            Body::Poll(poll) => {
                assert!(poll.complete);
                new.extend(poll.appeared);
                new.extend(poll.changed);
            }
            Body::Host(_) | Body::Unchanged { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    new.sort_by_key(|sample| sample.id.tuple);
    new
}

/// Everything that this filter lets pass, seen for the first time.
fn everything(filter: &Filter) -> Vec<Sample> {
    look(&mut sock_diag(filter.clone()))
}

/// Looks until what is wanted is there.
fn until<T>(what: &str, mut wanted: impl FnMut(&[Sample]) -> Option<T>) -> T {
    let begun = clock::now();
    loop {
        let samples = everything(&Filter::default());
        if let Some(found) = wanted(&samples) {
            return found;
        }
        assert!(
            clock::now().since(begun) < PATIENCE,
            "no {what} in {samples:#?}"
        );
        thread::park_timeout(BETWEEN_QUESTIONS);
    }
}

/// Waits until no segment is under way: what two sources say can be compared then.
fn settle() {
    until("rest", |samples| {
        samples
            .iter()
            .all(|sample| {
                let moving = matches!(
                    sample.state,
                    TcpState::SynSent
                        | TcpState::SynRecv
                        | TcpState::FinWait1
                        | TcpState::LastAck
                        | TcpState::Closing
                );
                !moving && sample.unacked().unwrap_or(0) == 0
            })
            .then_some(())
    });
}

fn of(samples: &[Sample], tuple: FourTuple) -> Option<Sample> {
    let mut found = samples.iter().filter(|sample| sample.id.tuple == tuple);
    let sample = found.next().copied();
    assert!(found.next().is_none(), "two rows of {tuple:?}");
    sample
}

fn until_in(state: TcpState, tuple: FourTuple) -> Sample {
    until(state.name(), |samples| {
        of(samples, tuple).filter(|sample| sample.state == state)
    })
}

fn until_gone(tuple: FourTuple) {
    until("end", |samples| of(samples, tuple).is_none().then_some(()));
}

fn endpoint(address: SocketAddr) -> Endpoint {
    let interface = match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    Endpoint::on_interface(address.ip(), address.port(), interface)
}

fn tuple_of(stream: &TcpStream) -> FourTuple {
    FourTuple {
        local: endpoint(stream.local_addr().unwrap()),
        remote: endpoint(stream.peer_addr().unwrap()),
    }
}

fn cookie_of(socket: impl AsFd) -> Option<Cookie> {
    Some(Cookie(sockopt::socket_cookie(socket).unwrap()))
}

fn inode_of(socket: impl AsFd) -> Option<u32> {
    u32::try_from(rustix::fs::fstat(socket).unwrap().st_ino).ok()
}

fn socket(address: SocketAddr) -> OwnedFd {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    rustix::net::socket(family, SocketType::STREAM, None).unwrap()
}

/// A client that chooses its own address and port.
fn connect_from(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let client = socket(from);
    sockopt::set_socket_reuseaddr(&client, true).unwrap();
    rustix::net::bind(&client, &from).unwrap();
    rustix::net::connect(&client, &to).unwrap();
    client.into()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Client and server.
fn pair_at(listener: &TcpListener, from: &str, to: &str) -> (TcpStream, TcpStream) {
    let client = connect_from(address(from), address(to));
    (client, listener.accept().unwrap().0)
}

/// Client and server, whose listener is closed.
fn pair(listen: &str, to: &str, port: u16) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(format!("{listen}:{port}")).unwrap();
    let client = TcpStream::connect(format!("{to}:{port}")).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Ends it with a reset: both ends are gone, and neither leaves a TIME_WAIT.
fn abort(client: TcpStream) {
    let tuple = tuple_of(&client);
    sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    until_gone(tuple);
    until_gone(tuple.mirror());
}

/// The answers to one question each, from a source that has looked once.
fn confirm(source: &mut dyn Poller, asked: &[SockId]) -> Vec<Answer> {
    let mut told = Vec::new();
    source.confirm(asked, &mut told).unwrap();
    answers(&told, asked)
}

fn answers(told: &[Observation], expected: &[SockId]) -> Vec<Answer> {
    let lookups: Vec<_> = told
        .iter()
        .filter_map(|told| match told.body {
            Body::Lookup {
                asked,
                begun,
                answer,
                ..
            } => {
                assert!(begun <= told.at);
                Some((asked, answer))
            }
            _ => None,
        })
        .collect();
    let asked: Vec<SockId> = lookups.iter().map(|(asked, _)| *asked).collect();
    assert_eq!(asked, expected);
    lookups.into_iter().map(|(_, answer)| answer).collect()
}

fn assert_found(answer: &Answer, expected: &Sample) {
    let Answer::Found(sample) = answer else {
        panic!("{answer:?} for {expected:?}");
    };
    assert_eq!(sample.id, expected.id);
    assert_eq!(sample.state, expected.state);
    assert_eq!(sample.inode, expected.inode);
}

/// What a socket must look like, from what its program knows.
struct Expected {
    tuple: FourTuple,
    state: TcpState,
    cookie: Option<Cookie>,
    inode: Option<u32>,
    queues: Queues,
}

impl Expected {
    fn of(stream: &TcpStream, state: TcpState, receive: u32) -> Self {
        Self {
            tuple: tuple_of(stream),
            state,
            cookie: cookie_of(stream),
            inode: inode_of(stream),
            queues: Queues::Stream { receive, send: 0 },
        }
    }

    /// What will be left of a socket that is about to be closed.
    fn remains(stream: &TcpStream, state: TcpState) -> Self {
        Self {
            inode: None,
            queues: Queues::Absent,
            ..Self::of(stream, state, 0)
        }
    }

    fn listener(listener: &TcpListener) -> Self {
        let local = endpoint(listener.local_addr().unwrap());
        let nowhere = match local.addr() {
            std::net::IpAddr::V4(_) => address("0.0.0.0:0"),
            std::net::IpAddr::V6(_) => address("[::]:0"),
        };
        Self {
            tuple: FourTuple {
                local,
                remote: endpoint(nowhere),
            },
            state: TcpState::Listen,
            cookie: cookie_of(listener),
            inode: inode_of(listener),
            // What std asks for.
            queues: Queues::Accept {
                waiting: 0,
                backlog: Some(128),
            },
        }
    }
}

/// Connections in every state that stays, over one kind of address.
fn make_stories(listen: &str, to: &str, port: u16) -> (Vec<OwnedFd>, Vec<Expected>) {
    let mut expected = Vec::new();
    let mut held: Vec<OwnedFd> = Vec::new();

    let (client, server) = pair(listen, to, port);
    (&client).write_all(b"hello").unwrap();
    expected.push(Expected::of(&client, TcpState::Established, 0));
    expected.push(Expected::of(&server, TcpState::Established, 5));
    held.extend([client.into(), server.into()]);

    let (client, server) = pair(listen, to, port + 1);
    client.shutdown(Shutdown::Write).unwrap();
    expected.push(Expected::of(&client, TcpState::FinWait2, 0));
    expected.push(Expected::of(&server, TcpState::CloseWait, 1));
    held.extend([client.into(), server.into()]);

    let (client, server) = pair(listen, to, port + 2);
    expected.push(Expected::remains(&client, TcpState::FinWait2));
    expected.push(Expected::of(&server, TcpState::CloseWait, 1));
    drop(client);
    held.push(server.into());

    let (client, mut server) = pair(listen, to, port + 3);
    expected.push(Expected::remains(&client, TcpState::TimeWait));
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);

    let listener = TcpListener::bind(format!("{listen}:{}", port + 4)).unwrap();
    expected.push(Expected::listener(&listener));
    held.push(listener.into());
    (held, expected)
}

#[test]
fn both_sources_show_the_same_sockets() {
    in_fresh_netns("both_sources_show_the_same_sockets", || {
        let mut held = Vec::new();
        let mut expected = Vec::new();
        for (listen, to, port) in [
            (LOOPBACK, LOOPBACK, 1000),
            ("[::1]", "[::1]", 2000),
            ("[::]", LOOPBACK, 3000),
        ] {
            let (fds, sockets) = make_stories(listen, to, port);
            held.extend(fds);
            expected.extend(sockets);
        }
        for socket in &expected {
            until_in(socket.state, socket.tuple);
        }
        settle();
        let netlink = everything(&Filter::default());
        let proc = look(&mut ProcNet::open(request(Filter::default())));
        assert_eq!(netlink.len(), expected.len(), "{netlink:#?}");
        assert_eq!(proc.len(), expected.len(), "{proc:#?}");
        for socket in &expected {
            let seen = of(&netlink, socket.tuple).unwrap();
            assert_eq!(seen.state, socket.state);
            assert_eq!(seen.id.cookie, socket.cookie, "{seen:?}");
            assert_eq!(seen.inode, socket.inode, "{seen:?}");
            assert_eq!(
                seen.queues,
                without_knowing_the_backlog(socket.queues, seen.queues)
            );
            let read = of(&proc, socket.tuple).unwrap();
            assert_eq!(read.id.cookie, None);
            assert_eq!(read.id.scope, seen.id.scope);
            assert_eq!(read.state, seen.state);
            assert_eq!(read.inode, seen.inode);
            assert_eq!(read.uid, seen.uid);
            assert_eq!(read.descriptor(), seen.descriptor());
            assert_eq!(read.is_mini_socket(), seen.is_mini_socket());
            assert_eq!(read.unread(), seen.unread());
            let kind = |sample: &Sample| sample.timer.map(|timer| timer.kind);
            assert_eq!(kind(&read), kind(&seen));
            if let (Some(read), Some(seen)) = (read.timer, seen.timer) {
                assert_eq!(seen.kind, TimerKind::TimeWait);
                let apart = read.deadline.distance(seen.deadline);
                assert!(apart < Duration::from_secs(1), "{apart:?}");
            }
        }
        let masks = |state| {
            let of_state = |sample: &&Sample| sample.state == state && sample.shutdown.is_some();
            let masks = netlink.iter().filter(of_state);
            masks
                .filter_map(|s| Some(s.shutdown?.mask()))
                .collect::<Vec<_>>()
        };
        assert_eq!(masks(TcpState::FinWait2), [2; 3]);
        assert_eq!(masks(TcpState::CloseWait), [1; 6]);
        assert_eq!(masks(TcpState::Established), [0; 6]);
    });
}

/// std's backlog is std's own business.
fn without_knowing_the_backlog(expected: Queues, seen: Queues) -> Queues {
    match (expected, seen) {
        (Queues::Accept { waiting, .. }, Queues::Accept { backlog, .. }) => {
            assert!(backlog.is_some());
            Queues::Accept { waiting, backlog }
        }
        _ => expected,
    }
}

#[test]
fn a_filter_keeps_both_ends_of_a_connection_and_nothing_else() {
    in_fresh_netns("a_filter_keeps_both_ends", || {
        let listen = |at: &str| TcpListener::bind(at).unwrap();
        let listeners = [
            "127.0.0.1:8000",
            "127.0.0.1:8001",
            "127.0.0.2:9000",
            "[::]:9001",
            "[::1]:9002",
        ]
        .map(listen);
        // What it comes from, where it goes.
        let connections = [
            (0, "127.0.0.1:7000", "127.0.0.1:8000"),
            (1, "127.0.0.1:7001", "127.0.0.1:8001"),
            (2, "127.0.0.3:7002", "127.0.0.2:9000"),
            (3, "127.9.0.1:7003", "127.9.0.2:9001"),
            (4, "[::1]:7004", "[::1]:9002"),
        ];
        let held = connections.map(|(index, from, to)| pair_at(&listeners[index], from, to));
        settle();
        // A filter, and the connections that pass.
        let cases: &[(&str, &[&str], &[usize])] = &[
            ("", &[], &[0, 1, 2, 3, 4]),
            ("8000", &[], &[0]),
            ("7001", &[], &[1]),
            ("8000,9001,9999", &[], &[0, 3]),
            ("8000-8001", &[], &[0, 1]),
            ("7002-7003,8001-9000", &[], &[1, 2, 3]),
            ("6000-65535", &[], &[0, 1, 2, 3, 4]),
            ("6000", &[], &[]),
            ("", &["127.0.0.2"], &[2]),
            ("", &["127.0.0.0/24"], &[0, 1, 2]),
            ("", &["127.9.0.0/16"], &[3]),
            ("", &["127.9.0.2"], &[3]),
            ("", &["127.0.0.0/8"], &[0, 1, 2, 3]),
            ("", &["0.0.0.0/0"], &[0, 1, 2, 3]),
            ("", &["::1"], &[4]),
            ("", &["::1", "127.9.0.1/32"], &[3, 4]),
            ("", &["10.0.0.0/8", "2001:db8::/32"], &[]),
            ("9001,8000-8001", &["127.9.0.0/16", "::1"], &[3]),
            ("7004,9000", &["::/0", "127.0.0.3"], &[2, 4]),
        ];
        for (ports, hosts, kept) in cases {
            let filter = Filter {
                ports: if ports.is_empty() {
                    Default::default()
                } else {
                    ports.parse().unwrap()
                },
                hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
                selection: Selection::default(),
                expr: None,
            };
            let mut expected: Vec<FourTuple> = kept
                .iter()
                .flat_map(|&index| [tuple_of(&held[index].0), tuple_of(&held[index].1)])
                .collect();
            expected.sort();
            let proc = look(&mut ProcNet::open(request(filter.clone())));
            for seen in [everything(&filter), proc] {
                let connections: Vec<FourTuple> = seen
                    .iter()
                    .filter(|sample| sample.state != TcpState::Listen)
                    .map(|sample| sample.id.tuple)
                    .collect();
                assert_eq!(connections, expected, "{filter}");
                // Listeners stay whatever the addresses, since they may listen on all of them.
                let listening = seen.len() - connections.len();
                let ports = listeners.iter().map(|l| l.local_addr().unwrap().port());
                let wanted = ports.filter(|&port| filter.ports.allows(port)).count();
                assert_eq!(listening, wanted, "{filter}");
            }
        }
        // Own port here, other port there, in the kernel "either port" twice.
        let filter = Filter {
            selection: Selection {
                local_ports: "8000-8001".parse().unwrap(),
                remote_ports: "7001-9999".parse().unwrap(),
                ..Selection::default()
            },
            ..Filter::default()
        };
        let kept: Vec<FourTuple> = everything(&filter)
            .iter()
            .filter(|sample| sample.state != TcpState::Listen)
            .map(|sample| sample.id.tuple)
            .collect();
        for end in [&held[0].0, &held[0].1, &held[1].0, &held[1].1] {
            assert!(kept.contains(&tuple_of(end)));
        }
        assert_eq!(kept.len(), 4);
    });
}

#[test]
fn a_question_is_answered_found_gone_or_other() {
    in_fresh_netns("a_question_is_answered", || {
        let listener = TcpListener::bind("127.0.0.1:80").unwrap();
        let (from, to) = ("127.0.0.1:5000", "127.0.0.1:80");
        let (client, server) = pair_at(&listener, from, to);
        let tuple = tuple_of(&client);
        let mut source = sock_diag(Filter::default());
        let seen = look(&mut source);
        let ends = [tuple, tuple.mirror()].map(|tuple| of(&seen, tuple).unwrap());
        let ids = ends.map(|end| end.id);

        let found = confirm(&mut source, &ids);
        assert_found(&found[0], &ends[0]);
        assert_found(&found[1], &ends[1]);

        // The listener answers for the server's end, and is not it.
        abort(client);
        assert_eq!(confirm(&mut source, &ids), [Answer::Gone, Answer::Gone]);

        let again = pair_at(&listener, from, to);
        let others = [cookie_of(&again.0), cookie_of(&again.1)].map(Answer::Other);
        assert_ne!(cookie_of(&again.0), ids[0].cookie);
        assert_eq!(confirm(&mut source, &ids), others);
        drop(server);

        // A TIME_WAIT is found, and so is a socket that is held in FIN_WAIT2.
        again.0.shutdown(Shutdown::Write).unwrap();
        until_in(TcpState::FinWait2, tuple);
        let id = SockId {
            cookie: cookie_of(&again.0),
            ..ids[0]
        };
        let held = confirm(&mut source, &[id]);
        assert!(matches!(&held[..], [Answer::Found(s)] if s.state == TcpState::FinWait2));
        drop(again.1);
        let rest = until_in(TcpState::TimeWait, tuple);
        assert_eq!(rest.id, id);
        assert_found(&confirm(&mut source, &[id])[0], &rest);
    });
}

#[test]
fn many_questions_are_answered_in_their_order() {
    in_fresh_netns("many_questions_are_answered", || {
        let listener = TcpListener::bind("127.0.0.1:80").unwrap();
        let pairs: Vec<_> = (0..200u16)
            .map(|n| {
                pair_at(
                    &listener,
                    &format!("127.0.0.1:{}", 5000 + n),
                    "127.0.0.1:80",
                )
            })
            .collect();
        let mut source = sock_diag(Filter::default());
        let seen = look(&mut source);
        let ends: Vec<Sample> = pairs
            .iter()
            .flat_map(|(client, server)| [tuple_of(client), tuple_of(server)])
            .map(|tuple| of(&seen, tuple).unwrap())
            .collect();
        let ids: Vec<SockId> = ends.iter().map(|end| end.id).collect();
        let mut kept = Vec::new();
        for (index, (client, server)) in pairs.into_iter().enumerate() {
            if index % 2 == 0 {
                abort(client);
            } else {
                kept.push((client, server));
            }
        }
        let answers = confirm(&mut source, &ids);
        for (index, (answer, end)) in answers.iter().zip(&ends).enumerate() {
            if index / 2 % 2 == 0 {
                assert_eq!(*answer, Answer::Gone, "{index}");
            } else {
                assert_found(answer, end);
            }
        }
    });
}

#[test]
fn proc_answers_with_the_next_look() {
    in_fresh_netns("proc_answers_with_the_next_look", || {
        let listener = TcpListener::bind("127.0.0.1:80").unwrap();
        let (client, _server) = pair_at(&listener, "127.0.0.1:5000", "127.0.0.1:80");
        let (gone, _) = pair_at(&listener, "127.0.0.1:5001", "127.0.0.1:80");
        let mut source = ProcNet::open(request(Filter::default()));
        let seen = look(&mut source);
        let ends = [&client, &gone].map(|end| of(&seen, tuple_of(end)).unwrap());
        let asked = ends.map(|end| end.id);
        abort(gone);
        // Absent once is no answer yet.
        assert_eq!(
            confirm_later(&mut source, &asked, &asked[..1]),
            [Answer::Found(ends[0])]
        );
        let mut told = Vec::new();
        source.look(&mut told).unwrap();
        assert_eq!(answers(&told, &asked[1..]), [Answer::Gone]);
    });
}

fn confirm_later(source: &mut ProcNet, asked: &[SockId], answered: &[SockId]) -> Vec<Answer> {
    let mut told = Vec::new();
    source.confirm(asked, &mut told).unwrap();
    assert_eq!(told, []);
    source.look(&mut told).unwrap();
    answers(&told, answered)
}

#[test]
fn a_socket_bound_to_a_device_is_found() {
    in_fresh_netns("a_socket_bound_to_a_device_is_found", || {
        let listener = TcpListener::bind("127.0.0.1:80").unwrap();
        let to = address("127.0.0.1:80");
        let bound = socket(to);
        netns::bind_to_device(&bound, "lo");
        rustix::net::connect(&bound, &to).unwrap();
        let bound = TcpStream::from(bound);
        let server = listener.accept().unwrap().0;
        let later = connect_from(address("127.0.0.1:5000"), to);

        let mut source = sock_diag(Filter::default());
        look(&mut source);
        // No field of it but the device changes.
        netns::bind_to_device(&later, "lo");
        look(&mut source);
        netns::bind_to_device(&listener, "lo");
        let mut newest = sock_diag(Filter::default());
        let seen = look(&mut newest);
        let listening = Expected::listener(&listener).tuple;
        let ends = [
            tuple_of(&bound),
            tuple_of(&server),
            tuple_of(&later),
            listening,
        ]
        .map(|tuple| of(&seen, tuple).unwrap());
        // Who is bound is no part of who it is.
        assert_eq!(ends[0].id.tuple, ends[1].id.tuple.mirror());
        let ids = ends.map(|end| end.id);
        for (answer, end) in confirm(&mut newest, &ids).iter().zip(&ends) {
            assert_found(answer, end);
        }
        for (answer, end) in confirm(&mut source, &ids[..3]).iter().zip(&ends) {
            assert_found(answer, end);
        }
        // A successor that is bound too.
        let tuple = tuple_of(&later);
        abort(later);
        let again = socket(to);
        sockopt::set_socket_reuseaddr(&again, true).unwrap();
        netns::bind_to_device(&again, "lo");
        rustix::net::bind(&again, &address("127.0.0.1:5000")).unwrap();
        rustix::net::connect(&again, &to).unwrap();
        assert_eq!(
            tuple_of(&TcpStream::from(again.try_clone().unwrap())),
            tuple
        );
        let answer = confirm(&mut source, &ids[2..3]);
        assert_eq!(answer, [Answer::Other(cookie_of(&again))]);
    });
}

#[test]
fn listeners_on_one_port_are_told_apart() {
    in_fresh_netns("listeners_on_one_port_are_told_apart", || {
        let listeners: Vec<TcpListener> = (0..3)
            .map(|_| {
                let listener = socket(address("127.0.0.1:80"));
                sockopt::set_socket_reuseport(&listener, true).unwrap();
                rustix::net::bind(&listener, &address("127.0.0.1:80")).unwrap();
                rustix::net::listen(&listener, 5).unwrap();
                listener.into()
            })
            .collect();
        let mut cookies: Vec<_> = listeners.iter().map(cookie_of).collect();
        cookies.sort();
        for mut source in [
            Box::new(sock_diag(Filter::default())) as Box<dyn Poller>,
            Box::new(ProcNet::open(request(Filter::default()))),
        ] {
            let seen = look(&mut *source);
            assert_eq!(seen.len(), 3, "{seen:?}");
            let inodes: Vec<_> = listeners.iter().map(inode_of).collect();
            assert!(seen.iter().all(|sample| inodes.contains(&sample.inode)));
            let told: Vec<_> = seen.iter().map(|sample| sample.id.cookie).collect();
            assert!(
                told.iter()
                    .all(|cookie| cookie.is_none() || cookies.contains(cookie))
            );
        }
        let mut source = sock_diag(Filter::default());
        let seen = look(&mut source);
        let ids: Vec<SockId> = seen.iter().map(|sample| sample.id).collect();
        for (answer, sample) in confirm(&mut source, &ids).iter().zip(&seen) {
            assert_found(answer, sample);
        }
        // One of them ends; the others are still not it.
        let ended = cookie_of(&listeners[1]);
        let mut listeners = listeners;
        drop(listeners.remove(1));
        for (answer, sample) in confirm(&mut source, &ids).iter().zip(&seen) {
            if sample.id.cookie == ended {
                assert_eq!(*answer, Answer::Gone);
            } else {
                assert_found(answer, sample);
            }
        }
    });
}

#[test]
fn a_connection_that_nobody_accepted_says_so() {
    in_fresh_netns("a_connection_that_nobody_accepted", || {
        let _listener = TcpListener::bind("127.0.0.1:80").unwrap();
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let server = tuple_of(&client).mirror();
        let waiting = until_in(TcpState::Established, server);
        assert_eq!(waiting.descriptor(), Some(Descriptor::NotAccepted));
        drop(client);
        let waiting = until_in(TcpState::CloseWait, server);
        assert_eq!(waiting.descriptor(), Some(Descriptor::NotAccepted));
    });
}

#[test]
fn link_local_ends_find_each_other() {
    in_fresh_netns("link_local_ends_find_each_other", || {
        let addr: Ipv6Addr = "fe80::1".parse().unwrap();
        let index = add_link_local(addr);
        let listener = listen_when_ready(SocketAddrV6::new(addr, 80, 0, index));
        let client = TcpStream::connect(SocketAddrV6::new(addr, 80, 0, index)).unwrap();
        let server = listener.accept().unwrap().0;
        let tuple = tuple_of(&client);
        assert_eq!(tuple.local.interface(), Some(index));
        assert_eq!(tuple_of(&server), tuple.mirror());
        settle();
        let mut source = sock_diag(Filter::default());
        let seen = look(&mut source);
        let ends = [tuple, tuple.mirror()].map(|tuple| of(&seen, tuple).unwrap());
        let ids = ends.map(|end| end.id);
        for (answer, end) in confirm(&mut source, &ids).iter().zip(&ends) {
            assert_found(answer, end);
        }
        drop(client);
        until_in(TcpState::FinWait2, tuple);
        drop(server);
        let rest = until_in(TcpState::TimeWait, tuple);
        assert_eq!(rest.id, ids[0]);
        let answers = confirm(&mut source, &ids);
        assert_found(&answers[0], &rest);
        assert_eq!(answers[1], Answer::Gone);
    });
}

/// A new address can be bound to only when the kernel has got round to it.
fn listen_when_ready(address: SocketAddrV6) -> TcpListener {
    let begun = clock::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(clock::now().since(begun) < PATIENCE, "{address}: {error}"),
        }
        thread::park_timeout(BETWEEN_QUESTIONS);
    }
}

/// Gives the loopback a link-local address; says its index.
#[allow(unsafe_code, reason = "an ioctl that no safe crate of ours wraps")]
fn add_link_local(address: Ipv6Addr) -> u32 {
    let any = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None).unwrap();
    let index = rustix::net::netdevice::name_to_index(&any, "lo").unwrap();
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        ifr6_prefixlen: 64,
        ifr6_ifindex: index as libc::c_int,
    };
    // SAFETY: the request is a valid in6_ifreq and outlives the call.
    let result = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFADDR as _, &request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    index
}

/// What comes of a feed that is asked for a keyframe: the batch that brings it.
fn with_keyframe(source: SourceName, pairs: usize) {
    let server = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let addr = server.local_addr().unwrap();
    let filter = Filter {
        ports: addr.port().to_string().parse().unwrap(),
        ..Filter::default()
    };
    let pairs: Vec<_> = (0..pairs)
        .map(|_| (TcpStream::connect(addr).unwrap(), server.accept().unwrap()))
        .collect();
    let mut opening = Vec::new();
    // The next look would come in an hour.
    let period = Duration::from_secs(3600);
    let choice = Choice::Only(source);
    let mut feed = Feed::open(choice, request(filter), period, &mut opening).unwrap();
    feed.look(&mut opening).unwrap();
    let (questions, asks) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || feed.run(&asks, |batch| tell.send(batch).is_ok()));
    questions.send(vec![Ask::Keyframe]).unwrap();
    let batch = loop {
        let batch: Vec<Observation> = told.recv_timeout(PATIENCE).unwrap();
        let is_keyframe = |told: &Observation| matches!(told.body, Body::Keyframe(_));
        if batch.iter().any(is_keyframe) {
            break batch;
        }
    };
    let keyframes: Vec<(&Observation, &Keyframe)> = batch
        .iter()
        .filter_map(|told| match &told.body {
            Body::Keyframe(keyframe) => Some((told, keyframe)),
            _ => None,
        })
        .collect();
    let [(observation, keyframe)] = keyframes[..] else {
        panic!("{batch:?}");
    };
    assert_eq!(observation.source, source);
    assert!(keyframe.begun <= observation.at);
    let listeners = |sample: &&Sample| sample.state == TcpState::Listen;
    assert_eq!(keyframe.samples.iter().filter(listeners).count(), 1);
    assert_eq!(keyframe.samples.len(), 1 + 2 * pairs.len());
    drop(questions);
    thread.join().unwrap().unwrap();
}

#[test]
fn a_keyframe_comes_when_it_is_asked_for() {
    in_fresh_netns("a_keyframe_comes_when_it_is_asked_for", || {
        with_keyframe(SourceName::SockDiag, 5);
        with_keyframe(SourceName::Proc, 5);
    });
}

#[test]
fn a_keyframe_has_every_time_wait_however_many() {
    in_fresh_netns("a_keyframe_has_every_time_wait_however_many", || {
        let server = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let addr = server.local_addr().unwrap();
        for _ in 0..1200 {
            let client = TcpStream::connect(addr).unwrap();
            let accepted = server.accept().unwrap();
            drop(client);
            drop(accepted);
        }
        let mut source = sock_diag(Filter::default());
        look(&mut source);
        let mut told = Vec::new();
        // By itself it would leave them out.
        source.look(&mut told).unwrap();
        source.look_at_all(&mut told).unwrap();
        let Some(Body::Keyframe(keyframe)) = told.last().map(|told| &told.body) else {
            panic!("no keyframe: {told:?}");
        };
        let waits = |sample: &&Sample| sample.state == TcpState::TimeWait;
        assert!(keyframe.samples.iter().filter(waits).count() > 1000);
    });
}
