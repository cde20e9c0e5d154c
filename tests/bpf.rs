//! Kernel events of real connections, each test in a network namespace of its own: what happened,
//! to whom, and what the socket was like in that very moment.
//!
//! The trap: everything runs in one process, and a process that is being started holds copies of
//! all descriptors for a moment; so whoever closes does it while nobody starts one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_linger, socket_cookie};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tcpwatch::model::event::{Caller, Event, File, Moment, ResetReason, What};
use tcpwatch::model::filter::Filter;
use tcpwatch::model::{Body, Cookie, SourceName, TcpState, Timestamp};
use tcpwatch::source::bpf::{self, Bpf, Options};
use tcpwatch::source::{Request, clock, host};

#[path = "common/netns.rs"]
mod netns;
#[allow(dead_code, reason = "shared with the tests of the whole program")]
#[path = "common/sockets.rs"]
mod sockets;

use netns::in_fresh_netns;
use sockets::{PATIENCE, while_nobody_closes, while_nobody_starts};

use TcpState::{
    Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};

/// Runs the test in a fresh namespace with the events of all its connections.
fn watched(name: &str, test: impl FnOnce(&mut Watch) + Send) {
    watched_by(name, Filter::default(), test);
}

fn watched_by(name: &str, filter: Filter, test: impl FnOnce(&mut Watch) + Send) {
    in_fresh_netns(name, || {
        if let Some(mut watch) = Watch::open(name, filter, Options::default()) {
            test(&mut watch);
        }
    });
}

/// The source, with all that it has said.
struct Watch {
    bpf: Bpf,
    seen: Vec<(Timestamp, Event)>,
    lost: Vec<(u64, String)>,
    until: Timestamp,
}

impl Watch {
    /// `None` where root may not do it either, as the line on stderr says.
    fn open(name: &str, filter: Filter, options: Options) -> Option<Self> {
        let scope = host::scope();
        match Bpf::open(
            &Request {
                filter,
                scope,
                ..Request::default()
            },
            &options,
        ) {
            Ok(bpf) => {
                assert_eq!(bpf.limits(), None);
                Some(Self {
                    bpf,
                    seen: Vec::new(),
                    lost: Vec::new(),
                    until: Timestamp::default(),
                })
            }
            Err(error) if error.log().is_none() => {
                eprintln!("skipped: {name}: {error}");
                None
            }
            Err(error) => panic!("{error}\n{}", error.log().unwrap_or_default()),
        }
    }

    /// Takes what there is, and holds it against the promises of the source.
    fn drain(&mut self) {
        let mut out = Vec::new();
        let until = self.bpf.drain(&mut out);
        assert!(until >= self.until, "the moment never moves back");
        for observation in out {
            let at = observation.at;
            assert_eq!(observation.source, SourceName::Bpf);
            match observation.body {
                Body::Event(event) => {
                    assert!(at <= until, "nothing newer than was promised");
                    let last = self.seen.last().map_or(Timestamp::default(), |seen| seen.0);
                    assert!(at >= last, "in order of time: {event:?}");
                    assert!(at > self.until, "nothing comes late: {event:?}");
                    self.seen.push((at, event));
                }
                Body::Lost { count, why } => self.lost.push((count.unwrap(), why.into_owned())),
                other => panic!("{other:?}"),
            }
        }
        self.until = until;
    }

    /// Waits for news, or for the source's own moment, at most until `end`.
    fn wait(&mut self, end: Timestamp) {
        let now = clock::now();
        let due = self.bpf.next_due().unwrap_or(end).min(end);
        let timeout = Timespec::try_from(due.since(now)).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(self.bpf.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).unwrap();
        self.drain();
    }

    /// Waits until the events show something.
    fn until(&mut self, what: &str, mut shows: impl FnMut(&[(Timestamp, Event)]) -> bool) {
        let end = clock::now().plus(PATIENCE);
        while !shows(&self.seen) {
            assert!(clock::now() < end, "{what} did not come: {:#?}", self.seen);
            self.wait(end);
        }
    }

    /// Waits until all that has happened by now is known.
    fn settle(&mut self) {
        let now = clock::now();
        while self.until < now {
            self.wait(clock::now().plus(Duration::from_millis(1)));
        }
    }

    /// The one change of this socket between the two states.
    fn change(&mut self, of: Cookie, from: TcpState, to: TcpState) -> (Timestamp, Event) {
        let wanted = What::State { from, to };
        let is = |event: &Event| event.id.cookie == Some(of) && event.what == wanted;
        self.until(&format!("{from} -> {to} of {of:?}"), |seen| {
            seen.iter().any(|(_, event)| is(event))
        });
        let all: Vec<_> = self.seen.iter().filter(|(_, event)| is(event)).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        *all[0]
    }

    fn moment(&mut self, of: Cookie, from: TcpState, to: TcpState) -> Moment {
        self.change(of, from, to).1.moment.unwrap()
    }

    fn caller(&mut self, of: Cookie, from: TcpState, to: TcpState) -> Option<Caller> {
        self.change(of, from, to).1.caller
    }

    /// Waits for something else that happens to the socket.
    fn happens(&mut self, of: Cookie, what: What) -> (Timestamp, Event) {
        let is = |event: &Event| event.id.cookie == Some(of) && event.what == what;
        self.until(&format!("{what:?} of {of:?}"), |seen| {
            seen.iter().any(|(_, event)| is(event))
        });
        *self.seen.iter().find(|(_, event)| is(event)).unwrap()
    }

    /// The states that this socket has passed, each change beginning where the last one ended.
    fn chain(&self, of: Cookie) -> Vec<TcpState> {
        let mut chain: Vec<TcpState> = Vec::new();
        for (_, event) in &self.seen {
            let What::State { from, to } = event.what else {
                continue;
            };
            if event.id.cookie == Some(of) {
                match chain.last() {
                    Some(last) => assert_eq!(*last, from, "{of:?}: {:#?}", self.seen),
                    None => chain.push(from),
                }
                chain.push(to);
            }
        }
        chain
    }
}

fn cookie(of: impl AsFd) -> Cookie {
    Cookie(socket_cookie(of).unwrap())
}

fn server() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// Both ends of a connection.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    c: Cookie,
    s: Cookie,
}

impl Pair {
    fn to(listener: &TcpListener) -> Self {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        Self {
            c: cookie(&client),
            s: cookie(&server),
            client,
            server,
        }
    }
}

fn close<T>(what: T) {
    while_nobody_starts(|| drop(what));
}

/// A process that holds the socket as its standard input and does nothing.
fn holder(socket: impl Into<OwnedFd>) -> Child {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::from(socket.into()));
    while_nobody_closes(|| command.spawn().unwrap())
}

fn kill(mut holder: Child) {
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn every_change_joins_the_one_before() {
    watched("every_change_joins_the_one_before", |watch| {
        let listener = server();
        let l = cookie(&listener);
        let (before, pair) = (clock::now(), Pair::to(&listener));
        let (c, s) = (pair.c, pair.s);
        let connected = clock::now();
        let tuple = watch.change(c, Close, SynSent).1.id.tuple;
        assert_eq!(tuple.local.port(), pair.client.local_addr().unwrap().port());
        assert_eq!(
            watch.change(s, SynRecv, Established).1.id.tuple,
            tuple.mirror()
        );
        assert_eq!(watch.change(s, Listen, SynRecv).1.id.tuple, tuple.mirror());
        close(pair.client);
        watch.change(c, FinWait2, Close);
        watch.happens(c, What::Freed);
        close(pair.server);
        watch.happens(s, What::Freed);
        close(listener);
        watch.happens(l, What::Freed);
        assert_eq!(
            watch.chain(c),
            [Close, SynSent, Established, FinWait1, FinWait2, Close]
        );
        assert_eq!(
            watch.chain(s),
            [Listen, SynRecv, Established, CloseWait, LastAck, Close]
        );
        assert_eq!(watch.chain(l), [Close, Listen, Close]);
        let opened = watch.change(c, Close, SynSent).0;
        assert!(before < opened && opened < connected);
        assert!(watch.lost.is_empty(), "{:?}", watch.lost);
    });
}

#[test]
fn close_is_made_by_the_last_descriptor() {
    watched("close_is_made_by_the_last_descriptor", |watch| {
        let Pair {
            client,
            server: mut accepted,
            c,
            s,
        } = Pair::to(&server());
        (&client).write_all(b"twelve bytes").unwrap();
        close(client);
        let fin = watch.moment(c, Established, FinWait1);
        assert_eq!((fin.shutdown.mask(), fin.file), (3, File::Closing));
        assert_eq!((fin.error, fin.fin_received), (None, Some(false)));
        assert!(fin.cgroup.is_some() && !fin.multipath && !fin.lingers_not);
        let caller = watch.caller(c, Established, FinWait1).unwrap();
        assert_eq!(caller.pid, std::process::id());
        assert_eq!((caller.exiting, caller.signal), (false, None));
        assert!("close_is_made_by_the_last_descriptor".starts_with(&caller.comm.text()));

        let came = watch.moment(s, Established, CloseWait);
        assert_eq!((came.receive, came.bytes_received), (13, 13));
        assert_eq!(came.unread(Established), 12);
        assert_eq!((came.file, came.fin_received), (File::Held, Some(true)));
        assert_eq!(watch.caller(s, Established, CloseWait), None);

        let acked = watch.moment(c, FinWait1, FinWait2);
        assert_eq!((acked.file, acked.send), (File::Absent, 0));
        let mini = watch.moment(c, FinWait2, Close);
        assert_eq!(mini.fin_received, Some(false), "a mini-socket in FIN_WAIT2");
        assert_eq!(mini.error, None);

        accepted.read_exact(&mut [0; 12]).unwrap();
        close(accepted);
        let last = watch.moment(s, CloseWait, LastAck);
        assert_eq!((last.shutdown.mask(), last.file), (3, File::Closing));
        assert!(watch.caller(s, CloseWait, LastAck).is_some());
        assert_eq!(watch.caller(s, LastAck, Close), None);
    });
}

#[test]
fn shutdown_leaves_the_descriptor_open() {
    watched("shutdown_leaves_the_descriptor_open", |watch| {
        let listener = server();
        for (how, mask) in [(Shutdown::Write, 2), (Shutdown::Both, 3)] {
            let Pair {
                client,
                server: accepted,
                c,
                s,
            } = Pair::to(&listener);
            client.shutdown(how).unwrap();
            let fin = watch.moment(c, Established, FinWait1);
            assert_eq!((fin.shutdown.mask(), fin.file), (mask, File::Held));
            assert!(watch.caller(c, Established, FinWait1).is_some());
            assert_eq!(watch.moment(c, FinWait1, FinWait2).file, File::Held);
            close(accepted);
            let end = watch.moment(c, FinWait2, Close);
            assert_eq!(end.fin_received, Some(true), "a TIME_WAIT follows");
            assert_eq!((end.file, end.error), (File::Held, None));
            assert_eq!(watch.moment(s, CloseWait, LastAck).file, File::Closing);
            watch.settle();
            let freed = What::Freed;
            assert!(
                !watch
                    .seen
                    .iter()
                    .any(|(_, e)| e.id.cookie == Some(c) && e.what == freed)
            );
            close(client);
            watch.happens(c, freed);
        }
    });
}

#[test]
fn a_close_after_the_fin_is_a_change_to_itself() {
    watched("a_close_after_the_fin_is_a_change_to_itself", |watch| {
        let Pair {
            client,
            server: accepted,
            c,
            s,
        } = Pair::to(&server());
        client.shutdown(Shutdown::Write).unwrap();
        watch.change(c, FinWait1, FinWait2);
        close(client);
        let closed = watch.change(c, FinWait2, FinWait2).1;
        assert_eq!(closed.moment.unwrap().file, File::Closing);
        assert_eq!(closed.caller.unwrap().pid, std::process::id());
        let mini = watch.moment(c, FinWait2, Close);
        assert_eq!(mini.fin_received, Some(false), "an orphan, not a TIME_WAIT");

        // What is sent to it now is answered by its mini-socket.
        (&accepted).write_all(b"too late").unwrap();
        let answer = What::ResetSent(ResetReason::TimeWaitSocket);
        let sent = watch.happens(c, answer).1;
        assert_eq!((sent.moment, sent.caller), (None, None));
        assert_eq!(sent.id.tuple, closed.id.tuple);
        watch.happens(s, What::ResetReceived);
        let reset = watch.moment(s, CloseWait, Close);
        assert_eq!(reset.error, Some(libc::EPIPE as u16));
        close(accepted);
    });
}

#[test]
fn closing_with_unread_data_aborts() {
    watched("closing_with_unread_data_aborts", |watch| {
        let Pair {
            client,
            server: accepted,
            c,
            s,
        } = Pair::to(&server());
        (&accepted).write_all(&[0; 4000]).unwrap();
        // The bytes are there once one of them can be seen.
        client.peek(&mut [0; 4000]).unwrap();
        close(client);
        let abort = watch.change(c, Established, Close).1;
        let moment = abort.moment.unwrap();
        assert_eq!((moment.receive, moment.unread(Established)), (4000, 4000));
        assert_eq!((moment.error, moment.file), (None, File::Closing));
        assert_eq!(abort.caller.unwrap().pid, std::process::id());
        watch.happens(c, What::ResetSent(ResetReason::AbortOnClose));
        watch.happens(s, What::ResetReceived);
        let reset = watch.change(s, Established, Close).1;
        assert_eq!(reset.moment.unwrap().error, Some(libc::ECONNRESET as u16));
        assert_eq!(reset.caller, None);
        close(accepted);
    });
}

#[test]
fn a_linger_time_of_zero_aborts() {
    watched("a_linger_time_of_zero_aborts", |watch| {
        let Pair {
            client,
            server: accepted,
            c,
            s,
        } = Pair::to(&server());
        set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        set_socket_linger(&accepted, Some(Duration::from_secs(5))).unwrap();
        close(client);
        let abort = watch.moment(c, Established, Close);
        assert_eq!((abort.lingers_not, abort.receive), (true, 0));
        assert!(watch.caller(c, Established, Close).is_some());
        watch.happens(c, What::ResetSent(ResetReason::State));
        let freed = watch.happens(c, What::Freed).1;
        assert_eq!(freed.moment, None, "what was disconnected says nothing");
        assert!(!watch.moment(s, Established, Close).lingers_not);
        close(accepted);
    });
}

#[test]
fn a_killed_process_closes_by_its_signal() {
    watched("a_killed_process_closes_by_its_signal", |watch| {
        let Pair {
            client,
            server: accepted,
            c,
            s,
        } = Pair::to(&server());
        let child = holder(client);
        let pid = child.id();
        kill(child);
        let caller = watch.caller(c, Established, FinWait1).unwrap();
        assert_eq!((caller.pid, caller.comm.text()), (pid, "sleep".to_owned()));
        assert_eq!((caller.exiting, caller.signal), (true, Some(9)));
        assert_eq!(watch.moment(c, Established, FinWait1).file, File::Closing);
        assert_eq!(watch.caller(s, Established, CloseWait), None);
        close(accepted);
    });
}

#[test]
fn a_shared_descriptor_is_closed_by_its_last_holder() {
    watched(
        "a_shared_descriptor_is_closed_by_its_last_holder",
        |watch| {
            let Pair {
                client,
                server: accepted,
                c,
                ..
            } = Pair::to(&server());
            let child = holder(client.try_clone().unwrap());
            close(client);
            watch.settle();
            assert_eq!(watch.chain(c), [Close, SynSent, Established]);
            let pid = child.id();
            kill(child);
            let closed = watch.change(c, Established, FinWait1).1;
            assert_eq!(closed.caller.unwrap().pid, pid);
            close(accepted);
        },
    );
}

#[test]
fn a_refused_connection_has_its_port_and_its_error() {
    watched("a_refused_connection_has_its_port_and_its_error", |watch| {
        let nobody = server().local_addr().unwrap();
        let before = clock::now();
        let error = TcpStream::connect(nobody).unwrap_err();
        let after = clock::now();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        let refused = |(_, event): &&(Timestamp, Event)| {
            event.what
                == (What::State {
                    from: SynSent,
                    to: Close,
                })
        };
        watch.until("the refusal", |seen| seen.iter().any(|e| refused(&e)));
        let (_, end) = *watch.seen.iter().find(refused).unwrap();
        assert_eq!(end.moment.unwrap().error, Some(libc::ECONNREFUSED as u16));
        assert_eq!(end.caller, None);
        let c = end.id.cookie.unwrap();
        let (at, opened) = watch.change(c, Close, SynSent);
        assert!(before < at && at < after);
        assert!(opened.caller.is_some());
        assert_ne!(opened.id.tuple.local.port(), 0);
        assert_eq!(opened.id.tuple, end.id.tuple);
        watch.happens(c, What::ResetReceived);
        watch.happens(c, What::Freed);
    });
}

#[test]
fn both_families_are_spelled_in_one_way() {
    watched("both_families_are_spelled_in_one_way", |watch| {
        let dual = sockets::dual_stack_server();
        let port = dual.local_addr().unwrap().port();
        for (address, shown) in [
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ] {
            let to: SocketAddr = format!("{address}:{port}").parse().unwrap();
            let client = TcpStream::connect(to).unwrap();
            let accepted = dual.accept().unwrap().0;
            let c = watch.change(cookie(&client), SynSent, Established).1.id;
            let s = watch.change(cookie(&accepted), SynRecv, Established).1.id;
            assert_eq!(c.tuple.remote.to_string(), format!("{shown}:{port}"));
            assert_eq!(c.tuple, s.tuple.mirror(), "{address}");
            assert_eq!(c.scope, host::scope());
            close((client, accepted));
        }
    });
}

#[test]
fn other_namespaces_are_not_seen() {
    watched("other_namespaces_are_not_seen", |watch| {
        let ran = in_fresh_netns("another namespace", || {
            let pair = Pair::to(&server());
            close(pair.client);
            close(pair.server);
        });
        assert!(ran);
        watch.settle();
        assert!(watch.seen.is_empty(), "{:#?}", watch.seen);
    });
}

#[test]
fn a_ring_too_small_counts_what_it_loses() {
    let name = "a_ring_too_small_counts_what_it_loses";
    in_fresh_netns(name, || {
        let options = Options { ring: 4096 };
        let Some(mut watch) = Watch::open(name, Filter::default(), options) else {
            return;
        };
        let listener = server();
        for _ in 0..20 {
            let Pair { client, server, .. } = Pair::to(&listener);
            close(client);
            close(server);
        }
        watch.settle();
        let lost: u64 = watch.lost.iter().map(|(count, _)| count).sum();
        assert!(lost > 100, "{:?}", watch.lost);
        assert!(watch.lost.iter().all(|(_, why)| why.contains("full")));
        // 4096 bytes hold 30 records of 136.
        assert_eq!(watch.seen.len(), 30);
        let Pair {
            client, server, c, ..
        } = Pair::to(&listener);
        watch.change(c, SynSent, Established);
        close((client, server));
    });
}

#[test]
fn a_port_filter_keeps_both_ends_and_nobody_else() {
    let name = "a_port_filter_keeps_both_ends_and_nobody_else";
    in_fresh_netns(name, || {
        let (wanted, other) = (server(), server());
        let port = wanted.local_addr().unwrap().port();
        let filter = Filter {
            ports: format!("{port},1-5").parse().unwrap(),
            ..Filter::default()
        };
        let Some(mut watch) = Watch::open(name, filter, Options::default()) else {
            return;
        };
        let unseen = Pair::to(&other);
        let seen = Pair::to(&wanted);
        let (c, s) = (seen.c, seen.s);
        for pair in [unseen, seen] {
            close(pair.client);
            close(pair.server);
        }
        watch.change(s, LastAck, Close);
        watch.settle();
        let chain = watch.chain(c);
        assert_eq!(chain[..4], [Close, SynSent, Established, FinWait1]);
        assert_eq!(
            watch.chain(s),
            [Listen, SynRecv, Established, CloseWait, LastAck, Close]
        );
        let strangers: Vec<_> = watch
            .seen
            .iter()
            .filter(|(_, event)| ![Some(c), Some(s)].contains(&event.id.cookie))
            .collect();
        assert!(strangers.is_empty(), "{strangers:#?}");
    });
}

#[test]
fn an_address_filter_keeps_both_ends_and_nobody_else() {
    let filter = Filter {
        hosts: vec!["127.0.0.2".parse().unwrap()],
        ..Filter::default()
    };
    let name = "an_address_filter_keeps_both_ends_and_nobody_else";
    watched_by(name, filter, |watch| {
        let unseen = Pair::to(&server());
        let seen = Pair::to(&TcpListener::bind("127.0.0.2:0").unwrap());
        let (c, s) = (seen.c, seen.s);
        for pair in [unseen, seen] {
            close(pair.client);
            close(pair.server);
        }
        watch.change(c, Close, SynSent);
        watch.change(s, LastAck, Close);
        watch.settle();
        let states = watch.seen.iter().filter_map(|(_, event)| match event.what {
            What::State { from, to } if from != Listen && to != Listen => event.id.cookie,
            _ => None,
        });
        let strangers: Vec<_> = states.filter(|of| ![c, s].contains(of)).collect();
        assert!(strangers.is_empty(), "{:#?}", watch.seen);
    });
}

#[test]
fn a_filter_of_very_many_ports_loads() {
    let ports: Vec<String> = (1..20_000).map(|n| (n * 3).to_string()).collect();
    let mut filter = Filter {
        ports: ports.join(",").parse().unwrap(),
        hosts: vec!["127.0.0.0/8".parse().unwrap()],
        ..Filter::default()
    };
    filter.selection.local_ports = "1-65535".parse().unwrap();
    filter.selection.remote_ports = "1-65535".parse().unwrap();
    watched_by("a_filter_of_very_many_ports_loads", filter, |watch| {
        let wanted = TcpListener::bind("127.0.0.1:2400").unwrap();
        let pair = Pair::to(&wanted);
        watch.change(pair.s, SynRecv, Established);
        watch.change(pair.c, Close, SynSent);
        close((pair.client, pair.server));
    });
}

/// A listener that takes no more, so that who connects now is not answered.
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = sockets::server_with_backlog(0);
    let waits = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, vec![waits])
}

/// Begins to connect, and does not wait.
fn connecting(to: SocketAddr) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let begun = connect(&socket, &to);
    assert_eq!(begun, Err(rustix::io::Errno::INPROGRESS));
    socket
}

#[test]
fn a_connection_that_nobody_answers_gets_its_port_and_keeps_its_time() {
    let name = "a_connection_that_nobody_answers_gets_its_port_and_keeps_its_time";
    watched(name, |watch| {
        let (listener, held) = full_listener();
        let to = listener.local_addr().unwrap();
        watch.settle();
        let before = clock::now();
        let socket = connecting(to);
        let after = clock::now();
        let (at, opened) = watch.change(cookie(&socket), Close, SynSent);
        assert!(before < at && at < after, "its own time");
        assert!(clock::now() > after.plus(Duration::from_millis(40)));
        let own: SocketAddr = rustix::net::getsockname(&socket)
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(opened.id.tuple.local.port(), own.port());
        assert!(watch.lost.is_empty(), "{:?}", watch.lost);
        // The SYN is sent again after a second.
        watch.happens(cookie(&socket), What::Retransmit);
        close((socket, held, listener));
    });
}

#[test]
fn openings_of_unwanted_ports_do_not_hold_the_rest_up() {
    // A port that a client can be given, so that every opening could be wanted.
    let filter = Filter {
        ports: "40000".parse().unwrap(),
        ..Filter::default()
    };
    let name = "openings_of_unwanted_ports_do_not_hold_the_rest_up";
    watched_by(name, filter, |watch| {
        let (listener, held) = full_listener();
        let sockets = [(); 5].map(|()| connecting(listener.local_addr().unwrap()));
        watch.settle();
        for _ in 0..5 {
            let pair = Pair::to(&server());
            close((pair.client, pair.server));
        }
        watch.settle();
        assert!(watch.lost.is_empty(), "{:?}", watch.lost);
        let opened = What::State {
            from: Close,
            to: SynSent,
        };
        assert!(!watch.seen.iter().any(|(_, event)| event.what == opened));
        close((sockets, held, listener));
    });
}

#[test]
fn fins_that_cross_end_in_time_wait() {
    watched("fins_that_cross_end_in_time_wait", |watch| {
        let listener = server();
        for _ in 0..300 {
            let Pair {
                client, server, c, ..
            } = Pair::to(&listener);
            let ready = AtomicUsize::new(0);
            // They spin, since whoever is woken is too late.
            let together = |end: TcpStream| {
                ready.fetch_add(1, Ordering::SeqCst);
                let end_of_patience = clock::now().plus(PATIENCE);
                while ready.load(Ordering::SeqCst) < 2 && clock::now() < end_of_patience {
                    std::hint::spin_loop();
                }
                drop(end);
            };
            while_nobody_starts(|| {
                thread::scope(|scope| {
                    scope.spawn(|| together(server));
                    together(client);
                });
            });
            watch.happens(c, What::Freed);
            if watch.chain(c).contains(&Closing) {
                let end = watch.moment(c, Closing, Close);
                assert_eq!((end.fin_received, end.error), (Some(true), None));
                return;
            }
        }
        eprintln!("skipped: fins_that_cross_end_in_time_wait: they never crossed");
    });
}

#[test]
fn nothing_is_needed_once_it_runs() {
    watched("nothing_is_needed_once_it_runs", |watch| {
        bpf::drop_capabilities().unwrap();
        assert!(bpf::missing_capabilities().is_some());
        let pair = Pair::to(&server());
        watch.change(pair.c, SynSent, Established);
        let request = Request::default();
        let error = Bpf::open(&request, &Options::default()).err().unwrap();
        assert!(
            error.to_string().contains("CAP_BPF and CAP_PERFMON"),
            "{error}"
        );
        close((pair.client, pair.server));
    });
}

#[test]
fn two_capabilities_suffice() {
    let name = "two_capabilities_suffice";
    in_fresh_netns(name, || {
        if bpf::missing_capabilities().is_some() {
            return;
        }
        let two = CapabilitySet::BPF | CapabilitySet::PERFMON;
        let sets = CapabilitySets {
            effective: two,
            permitted: two,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).unwrap();
        let Some(mut watch) = Watch::open(name, Filter::default(), Options::default()) else {
            return;
        };
        let pair = Pair::to(&server());
        watch.change(pair.c, SynSent, Established);
        close((pair.client, pair.server));
    });
}

#[test]
fn a_subflow_of_a_multipath_connection_is_called_so() {
    let name = "a_subflow_of_a_multipath_connection_is_called_so";
    watched(name, |watch| {
        use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
        let multipath = || {
            let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
            let protocol = Protocol::from_raw(262.try_into().unwrap());
            socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))
        };
        let (Ok(listener), Ok(client)) = (multipath(), multipath()) else {
            eprintln!("skipped: {name}: this kernel has no MPTCP");
            return;
        };
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        rustix::net::bind(&listener, &any).unwrap();
        rustix::net::listen(&listener, 8).unwrap();
        let listener = TcpListener::from(listener);
        rustix::net::connect(&client, &listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        let established = What::State {
            from: SynSent,
            to: Established,
        };
        watch.until("the connection", |seen| {
            seen.iter().any(|(_, event)| event.what == established)
        });
        close((client, accepted));
        let closed = |event: &Event| {
            matches!(
                event.what,
                What::State {
                    from: Established,
                    ..
                }
            ) && event.moment.is_some_and(|moment| moment.multipath)
        };
        watch.until("the end of a subflow", |seen| {
            seen.iter().any(|(_, event)| closed(event))
        });
    });
}

#[test]
fn a_listener_that_got_its_port_by_listening_is_left_to_the_table() {
    let name = "a_listener_that_got_its_port_by_listening_is_left_to_the_table";
    watched(name, |watch| {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, listen, socket_with};
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let unbound = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        listen(&unbound, 8).unwrap();
        watch.settle();
        assert!(watch.seen.is_empty(), "{:?}", watch.seen);
        let l = cookie(&unbound);
        close(unbound);
        assert_ne!(watch.change(l, Listen, Close).1.id.tuple.local.port(), 0);
    });
}

#[test]
fn the_first_event_wakes_who_waits() {
    let name = "the_first_event_wakes_who_waits";
    in_fresh_netns(name, || {
        let begun = clock::now();
        let Some(mut watch) = Watch::open(name, Filter::default(), Options::default()) else {
            return;
        };
        let opened = clock::now();
        let listener = server();
        watch.until("the first event", |seen| !seen.is_empty());
        eprintln!(
            "open: {:?}, first event in hand {:?} later",
            opened.since(begun),
            clock::now().since(opened)
        );
        watch.settle();
        let to = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::park_timeout(Duration::from_millis(50));
                close(TcpStream::connect(to).unwrap());
            });
            let end = clock::now().plus(PATIENCE);
            watch.wait(end);
            assert!(clock::now() < end, "it was not woken");
            let woken = clock::now();
            watch.settle();
            let first = watch.seen[1].0;
            eprintln!("woken {:?} after the event", woken.since(first));
        });
    });
}

#[test]
fn what_is_asked_for_wrongly_is_said() {
    let mut request = Request {
        scope: host::scope(),
        ..Request::default()
    };
    let refused = |request: &Request, ring| {
        let error = Bpf::open(request, &Options { ring }).err().unwrap();
        error.to_string()
    };
    if bpf::missing_capabilities().is_none() {
        assert!(refused(&request, 5000).contains("a ring of 5000 bytes"));
        request.scope.netns = None;
        assert!(refused(&request, 4096).contains("/proc/thread-self/ns/net"));
    }
}

#[test]
fn a_crowd_on_all_processors_comes_whole_and_in_order() {
    let name = "a_crowd_on_all_processors_comes_whole_and_in_order";
    watched(name, |watch| {
        const EACH: usize = 1500;
        let running = AtomicUsize::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let listener = server();
                    for _ in 0..EACH {
                        let Pair { client, server, .. } = Pair::to(&listener);
                        while_nobody_starts(|| drop((client, server)));
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
            while running.load(Ordering::SeqCst) > 0 {
                watch.wait(clock::now().plus(Duration::from_millis(100)));
            }
        });
        // What the kernel skipped is asked for once a second, when there was something new.
        thread::park_timeout(Duration::from_millis(1100));
        close(server());
        watch.settle();
        assert!(watch.lost.is_empty(), "{:?}", watch.lost);

        let (mut last, mut opened, mut gaps) = (HashMap::new(), 0, 0);
        for (_, event) in &watch.seen {
            if let What::State { from, to } = event.what {
                let before = last.insert(event.id.cookie.unwrap(), to);
                gaps += u64::from(before.is_some_and(|before| before != from));
                opened += u64::from((from, to) == (Close, SynSent));
            }
        }
        assert_eq!((gaps, opened), (0, 3 * EACH as u64));
        // Both ends of each, and four listeners.
        assert_eq!(last.len(), 6 * EACH + 4);
    });
}

#[test]
#[ignore = "saturates both processors for a minute: run it alone, with --ignored"]
fn an_event_inside_another_is_not_lost() {
    let name = "an_event_inside_another_is_not_lost";
    /// How many connections the reader may be behind: less than the ring holds.
    const BEHIND: usize = 20_000;
    /// Whatever happens, the generators end.
    struct Stop<'a>(&'a AtomicUsize);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(1, Ordering::Relaxed);
        }
    }
    in_fresh_netns(name, || {
        let options = Options { ring: 128 << 20 };
        let Some(mut watch) = Watch::open(name, Filter::default(), options) else {
            return;
        };
        let [stop, made, told] = [(); 3].map(|()| AtomicUsize::new(0));
        let (mut states, mut born, mut rescued) = (HashMap::new(), 0, 0);
        // Every change begins where the last one of its socket ended.
        let mut check = |watch: &mut Watch| {
            for (_, event) in std::mem::take(&mut watch.seen) {
                let What::State { from, to } = event.what else {
                    continue;
                };
                let of = event.id.cookie.unwrap();
                match states.remove(&of) {
                    Some(last) => assert_eq!(from, last, "{event:?}"),
                    None => {
                        assert!(matches!(from, Close | Listen), "{event:?}");
                        born += usize::from(to != Listen);
                    }
                }
                if to != Close {
                    states.insert(of, to);
                }
            }
            (born, states.values().copied().collect::<Vec<_>>())
        };
        thread::scope(|scope| {
            let _stopping = Stop(&stop);
            for _ in 0..4 {
                scope.spawn(|| {
                    let listener = server();
                    while stop.load(Ordering::Relaxed) == 0 {
                        // Whoever reads must keep up, or the ring overflows.
                        if made.load(Ordering::Relaxed) > told.load(Ordering::Relaxed) + BEHIND {
                            thread::park_timeout(Duration::from_millis(1));
                            continue;
                        }
                        let Pair { client, server, .. } = Pair::to(&listener);
                        // TIME_WAIT stays on this end, and takes no port away.
                        drop(server);
                        drop(client);
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let end = clock::now().plus(Duration::from_secs(15));
            while rescued < 3 && clock::now() < end {
                thread::park_timeout(Duration::from_millis(3));
                watch.drain();
                told.store(check(&mut watch).0 / 2, Ordering::Relaxed);
                rescued = watch.bpf.rescued();
            }
        });
        let made = made.into_inner();
        // A process that is being started can hold the last ones a little longer.
        let end = clock::now().plus(PATIENCE);
        while !check(&mut watch).1.is_empty() && clock::now() < end {
            watch.wait(clock::now().plus(Duration::from_millis(100)));
        }
        assert_eq!(check(&mut watch), (2 * made, vec![]), "every life, whole");
        // The kernel's count is read once a second, when there was something new.
        for _ in 0..2 {
            thread::park_timeout(Duration::from_millis(1100));
            let Pair { client, server, .. } = Pair::to(&server());
            close((client, server));
            watch.settle();
        }
        assert!(watch.lost.is_empty(), "{:?}", watch.lost);
        eprintln!(
            "{rescued} of {} connections' events were skipped and told",
            made
        );
        if rescued == 0 {
            eprintln!("skipped: {name}: no program was interrupted");
        }
    });
}

/// Opens and closes connections as fast as it can until told to stop; how many.
fn generate(to: SocketAddr, listener: &TcpListener, stop: &AtomicUsize) -> u64 {
    let mut count = 0;
    while stop.load(Ordering::Relaxed) == 0 {
        let client = TcpStream::connect(to).unwrap();
        let accepted = listener.accept().unwrap().0;
        // No TIME_WAIT stays behind that would use the ports up.
        set_socket_linger(&accepted, Some(Duration::ZERO)).unwrap();
        drop(accepted);
        drop(client);
        count += 1;
    }
    count
}

/// What it costs, printed: `cargo test --release --test bpf -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_an_event() {
    let name = "the_cost_of_an_event";
    let begun = clock::now();
    let data = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let read = clock::now();
    bpf::btf::Btf::parse(data, bpf::layout::NAMES).unwrap();
    let (reading, parsing) = (read.since(begun), clock::now().since(read));
    eprintln!("BTF: read in {reading:?}, parsed in {parsing:?}");
    for (source, pause) in [
        ("off", 20),
        ("drained at once", 0),
        ("every 5 ms", 5),
        ("every 20 ms", 20),
    ] {
        in_fresh_netns(name, || {
            let begun = clock::now();
            let mut bpf = (source != "off").then(|| {
                let request = Request {
                    scope: host::scope(),
                    ..Request::default()
                };
                Bpf::open(&request, &Options::default()).unwrap()
            });
            let opened = clock::now().since(begun);
            let listener = server();
            let to = listener.local_addr().unwrap();
            let stop = AtomicUsize::new(0);
            let (mut events, mut lost, mut reads, mut out) = (0, 0, 0u64, Vec::new());
            thread::scope(|scope| {
                let generator = scope.spawn(|| generate(to, &listener, &stop));
                let (begun, before) = (clock::now(), clock::thread_cpu());
                while clock::now().since(begun) < Duration::from_secs(2) {
                    thread::park_timeout(Duration::from_millis(pause));
                    let Some(bpf) = &mut bpf else { continue };
                    let timeout = Timespec::try_from(Duration::from_millis(100)).unwrap();
                    let mut fds = [PollFd::from_borrowed_fd(bpf.fd(), PollFlags::IN)];
                    poll(&mut fds, Some(&timeout)).unwrap();
                    reads += 1;
                    bpf.drain(&mut out);
                    for observation in out.drain(..) {
                        match observation.body {
                            Body::Lost { count, why } => {
                                eprintln!("lost {count:?}: {why}");
                                lost += count.unwrap();
                            }
                            _ => events += 1,
                        }
                    }
                }
                let cpu = clock::thread_cpu().saturating_sub(before);
                stop.store(1, Ordering::Relaxed);
                let connections = generator.join().unwrap();
                eprintln!(
                    "{source}: open {opened:?}, {} connections/s, {events} events, {lost} lost, \
                     {reads} reads, {} ns of CPU an event",
                    connections / 2,
                    cpu.as_nanos() / (events + 1),
                );
            });
        });
    }
}
