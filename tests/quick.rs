//! The quick thread against the kernel this runs on, each test in a network namespace of its own:
//! what it says of a followed end is true within the bounds that it gives, and freed sockets are
//! heard of at once.
//!
//! The truth is the stamps around the calls of the test itself, never the program's own word.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]
#![allow(dead_code, reason = "the shared helpers serve other tests, too")]

#[path = "common/netns.rs"]
mod netns;
#[path = "common/sockets.rs"]
mod sockets;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netns::in_fresh_netns;
use rustix::net::sockopt;
use sockets::{Between, Pair, abort_on_close, connect_from, now_ns, port_of, server};
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{
    Answer, Ask, Body, Cookie, Endpoint, FourTuple, Observation, Sample, SockId, SourceName,
    SourceState, TcpState, Timestamp, What,
};
use tcpwatch::source::quick::{Asker, Batch, Events, Quick, Wanted};
use tcpwatch::source::{Request, SourceError, clock, host};

const PATIENCE: Duration = Duration::from_secs(20);
const NOBODY: u32 = 65534;

/// A running quick thread.
struct Watch {
    opening: Vec<Observation>,
    asker: Option<Asker>,
    batches: Receiver<Batch>,
    thread: Option<JoinHandle<Result<(), SourceError>>>,
    /// The kernel's number of the thread.
    number: i32,
    /// Everything that was told, in order.
    told: Vec<Observation>,
    /// How much of it was looked at.
    read: usize,
}

impl Watch {
    fn start(wanted: Wanted, filter: Filter) -> Self {
        Self::start_as(wanted, filter, || {})
    }

    /// Starts it in a thread of its own that does something first.
    fn start_as(wanted: Wanted, filter: Filter, first: impl FnOnce() + Send + 'static) -> Self {
        let request = Request {
            filter,
            scope: host::scope(),
            ..Request::default()
        };
        let (opened, open) = mpsc::channel();
        let (tell, batches) = mpsc::channel();
        let thread = thread::spawn(move || {
            first();
            let mut opening = Vec::new();
            let (quick, asker) = Quick::open(request, wanted, &mut None, &mut opening)?;
            assert!(!quick.events_run());
            let number = rustix::thread::gettid().as_raw_nonzero().get();
            opened.send((asker, opening, number)).unwrap();
            quick.run(|batch| tell.send(batch).is_ok())
        });
        let (asker, opening, number) = open.recv().unwrap();
        Self {
            opening,
            asker: Some(asker),
            batches,
            thread: Some(thread),
            number,
            told: Vec::new(),
            read: 0,
        }
    }

    fn ask(&self, asks: &[Ask]) {
        self.asker.as_ref().unwrap().send(asks);
    }

    fn follow(&self, id: SockId) {
        self.ask(&[Ask::Follow(id)]);
    }

    /// The next thing that is told and wanted; what lies before it is passed over.
    fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Observation) -> Option<T>) -> T {
        let begun = clock::now();
        loop {
            while let Some(told) = self.told.get(self.read) {
                self.read += 1;
                if let Some(found) = wanted(told) {
                    return found;
                }
            }
            let left = PATIENCE.saturating_sub(clock::now().since(begun));
            match self.batches.recv_timeout(left) {
                Ok(batch) => self.take(batch),
                Err(error) => panic!("no {what} ({error}) in {:#?}", self.told),
            }
        }
    }

    /// All that is told within a time.
    fn listen(&mut self, time: Duration) {
        let begun = clock::now();
        loop {
            let left = time.saturating_sub(clock::now().since(begun));
            match self.batches.recv_timeout(left) {
                Ok(batch) => self.take(batch),
                Err(RecvTimeoutError::Timeout) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        assert!(batch.observations.is_sorted_by_key(|told| told.at));
        assert!(batch.drained.is_none(), "no event source runs");
        self.told.extend(batch.observations);
    }

    /// The end, as that of an end that is followed: how it is, and its bounds.
    fn until_found(&mut self, id: SockId, state: TcpState) -> Look {
        self.until(state.name(), |told| {
            Look::of(told, id).filter(|look| look.state() == Some(state))
        })
    }

    fn until_gone(&mut self, id: SockId) -> Look {
        self.until("end", |told| {
            Look::of(told, id).filter(|look| !matches!(look.answer, Answer::Found(_)))
        })
    }

    fn until_freed(&mut self, id: SockId) -> Timestamp {
        self.until("freed socket", |told| match told.body {
            Body::Event(event) if event.id == id && event.what == What::Freed => Some(told.at),
            _ => None,
        })
    }

    fn finish(mut self) {
        drop(self.asker.take());
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

/// A lookup that was told.
#[derive(Clone, Copy, Debug)]
struct Look {
    begun: Timestamp,
    unchanged: Option<Timestamp>,
    at: Timestamp,
    answer: Answer,
}

impl Look {
    fn of(told: &Observation, id: SockId) -> Option<Self> {
        match told.body {
            Body::Lookup {
                asked,
                begun,
                unchanged,
                answer,
            } if asked == id => {
                assert_eq!(told.source, SourceName::Follow);
                assert!(begun <= told.at && unchanged.is_none_or(|unchanged| unchanged <= begun));
                Some(Self {
                    begun,
                    unchanged,
                    at: told.at,
                    answer,
                })
            }
            _ => None,
        }
    }

    fn sample(&self) -> Option<Sample> {
        match self.answer {
            Answer::Found(sample) => Some(sample),
            _ => None,
        }
    }

    fn state(&self) -> Option<TcpState> {
        self.sample().map(|sample| sample.state)
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::new(address.ip(), address.port())
}

fn id_of(stream: &TcpStream) -> SockId {
    SockId {
        scope: host::scope(),
        cookie: Some(Cookie(sockopt::socket_cookie(stream).unwrap())),
        tuple: FourTuple {
            local: endpoint(stream.local_addr().unwrap()),
            remote: endpoint(stream.peer_addr().unwrap()),
        },
    }
}

/// Client and server of a pair.
fn ids(pair: &Pair) -> (SockId, SockId) {
    (
        id_of(pair.client.as_ref().unwrap()),
        id_of(pair.server.as_ref().unwrap()),
    )
}

/// What is told where the kernel's events can't be had.
fn without_events() -> Wanted {
    Wanted {
        events: Events::Off("the test is of what there is without them"),
        ..Wanted::default()
    }
}

fn watch() -> Watch {
    Watch::start(without_events(), Filter::default())
}

/// The bounds that a series of lookups of one end gives to its last step.
fn bounds(earlier: &Look, later: &Look) -> Between {
    Between {
        earliest: later.unchanged.unwrap_or(earlier.begun).nanos(),
        latest: later.at.nanos(),
    }
}

/// What truly was lies between what is claimed.
fn assert_within(truth: Between, claimed: Between) {
    assert!(
        claimed.earliest <= truth.latest && truth.earliest <= claimed.latest,
        "{claimed:?} for {truth:?}"
    );
}

#[test]
fn each_step_lies_within_its_bounds() {
    in_fresh_netns("each_step_lies_within_its_bounds", || {
        let server = server();
        let mut watch = watch();
        for _ in 0..10 {
            let mut pair = Pair::to(&server);
            let (client, served) = ids(&pair);
            watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
            let a = watch.until_found(client, TcpState::Established);
            let b = watch.until_found(served, TcpState::Established);
            assert_eq!((a.begun, a.at), (b.begun, b.at), "both ends in one send");
            assert_eq!(a.unchanged, None);
            // Some looks without news.
            watch.listen(Duration::from_millis(20));

            let shut = pair.shut_client();
            let fin_wait2 = watch.until_found(client, TcpState::FinWait2);
            let from = bounds(&a, &fin_wait2);
            assert!(from.earliest <= shut.latest.max(fin_wait2.begun.nanos()));
            assert!(fin_wait2.at.nanos() >= shut.earliest);
            watch.read = 0;
            let close_wait = watch.until_found(served, TcpState::CloseWait);
            assert_within(shut, bounds(&b, &close_wait));
            assert!(close_wait.unchanged.is_some(), "looked at in between");

            let closed = pair.close_server();
            let time_wait = watch.until_found(client, TcpState::TimeWait);
            assert_within(closed, bounds(&fin_wait2, &time_wait));
            watch.read = 0;
            let gone = watch.until_gone(served);
            assert_eq!(gone.answer, Answer::Gone);
            assert_within(closed, bounds(&close_wait, &gone));
            watch.ask(&[Ask::Leave(client), Ask::Leave(served)]);
        }
        watch.finish();
    });
}

#[test]
fn a_quick_death_is_timed_by_the_multicast() {
    in_fresh_netns("a_quick_death_is_timed_by_the_multicast", || {
        let server = server();
        // So seldom that no look can be the one that finds out.
        let wanted = Wanted {
            rate: 1,
            discover: Duration::from_secs(60),
            ..without_events()
        };
        let mut watch = Watch::start(wanted, Filter::default());
        let mut pair = Pair::to(&server);
        let (client, served) = ids(&pair);
        watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
        let known = watch.until_found(served, TcpState::Established);
        abort_on_close(pair.client.as_ref().unwrap());
        let aborted = pair.close_client();
        // Its 4-tuple was wiped: the cookie alone named it.
        let freed = watch.until_freed(client);
        assert!(freed.nanos() >= aborted.earliest);
        let gone = watch.until_gone(client);
        assert_eq!(gone.answer, Answer::Gone);
        assert!(gone.at >= freed && gone.begun >= freed);
        assert!(
            gone.at.since(Timestamp::from_nanos(aborted.latest)) < Duration::from_millis(500),
            "not by the next look"
        );
        watch.read = 0;
        // The other end, of which the descriptor is still open, was looked at beside it.
        let other = watch.until_gone(served);
        assert_within(aborted, bounds(&known, &other));
        // Only now it is freed; nobody follows it any more, and its 4-tuple is wiped.
        pair.close_server();
        watch.finish();
    });
}

#[test]
fn resets_are_counted_before_a_socket_is_gone() {
    in_fresh_netns("resets_are_counted_before_a_socket_is_gone", || {
        let server = server();
        let mut watch = watch();
        let mut pair = Pair::to(&server);
        let (client, served) = ids(&pair);
        watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
        watch.until_found(served, TcpState::Established);
        abort_on_close(pair.client.as_ref().unwrap());
        pair.close_client();
        watch.until("count of resets", |told| match told.body {
            Body::Host(facts) => facts.resets.filter(|&resets| resets > 0),
            Body::Lookup {
                answer: Answer::Gone,
                ..
            } => panic!("gone before"),
            _ => None,
        });
        watch.until_gone(client);
        watch.read = 0;
        watch.until_gone(served);
        watch.finish();
    });
}

#[test]
fn a_socket_too_short_lived_for_any_look_is_heard_of() {
    in_fresh_netns("a_socket_too_short_lived_for_any_look_is_heard_of", || {
        let (server, other) = (server(), server());
        let filter = Filter {
            ports: PortSet::one(port_of(&server)),
            ..Filter::default()
        };
        let mut watch = Watch::start(without_events(), filter);
        // Not of our port: nobody wants to know.
        let mut unwanted = Pair::to(&other);
        let (strange_client, strange_server) = ids(&unwanted);
        unwanted.close_client();
        unwanted.close_server();
        let mut pair = Pair::to(&server);
        let (client, served) = ids(&pair);
        pair.close_client();
        let closed = pair.close_server();
        let mut freed = HashMap::new();
        while freed.len() < 2 {
            let (id, at) = watch.until("freed socket", |told| match told.body {
                Body::Event(event) => Some((event.id, told.at)),
                _ => None,
            });
            assert_ne!(id, strange_client);
            assert_ne!(id, strange_server);
            freed.insert(id, at);
        }
        assert!(freed.contains_key(&client));
        assert!(freed[&served].nanos() >= closed.earliest);
        // A listener is no connection.
        drop(server);
        watch.listen(Duration::from_millis(50));
        let events = watch
            .told
            .iter()
            .filter(|told| matches!(told.body, Body::Event(_)));
        assert_eq!(events.count(), 2, "{:#?}", watch.told);
        watch.finish();
    });
}

#[test]
fn a_tuple_used_again_is_another() {
    in_fresh_netns("a_tuple_used_again_is_another", || {
        let server = server();
        let at = server.local_addr().unwrap();
        let from: SocketAddr = "127.0.0.1:40001".parse().unwrap();
        let mut watch = watch();
        let first = connect_from(from, at);
        let first_id = id_of(&first);
        abort_on_close(&first);
        drop(server.accept().unwrap());
        drop(first);
        let second = connect_from(from, at);
        let second_id = id_of(&second);
        assert_eq!(first_id.tuple, second_id.tuple);
        watch.ask(&[Ask::Follow(first_id), Ask::Follow(second_id)]);
        let gone = watch.until_gone(first_id);
        assert_eq!(gone.answer, Answer::Other(second_id.cookie));
        watch.read = 0;
        watch.until_found(second_id, TcpState::Established);
        // The end of the first leaves the second alone.
        watch.ask(&[Ask::Leave(first_id)]);
        drop(second);
        watch.until_found(second_id, TcpState::FinWait2);
        watch.finish();
    });
}

#[test]
fn an_end_without_a_cookie_gets_one() {
    in_fresh_netns("an_end_without_a_cookie_gets_one", || {
        let server = server();
        let mut watch = watch();
        let mut pair = Pair::to(&server);
        let (client, served) = ids(&pair);
        let named = |id: SockId| SockId { cookie: None, ..id };
        watch.ask(&[Ask::Follow(named(client)), Ask::Follow(named(served))]);
        let look = watch.until_found(named(client), TcpState::Established);
        assert_eq!(look.sample().unwrap().id, client);
        // The tracker says it again, by its cookie.
        watch.ask(&[Ask::Follow(client)]);
        pair.close_server();
        watch.until_found(client, TcpState::CloseWait);
        pair.close_client();
        watch.until_gone(client);
        // Nobody has the 4-tuple, and the listener answers in his place.
        watch.ask(&[Ask::Follow(named(client))]);
        let gone = watch.until_gone(named(client));
        assert_eq!(gone.answer, Answer::Gone);
        watch.finish();
    });
}

#[test]
fn a_socket_bound_to_a_device_is_found() {
    in_fresh_netns("a_socket_bound_to_a_device_is_found", || {
        let server = server();
        let mut watch = watch();
        let mut pair = Pair::to(&server);
        let (client, _) = ids(&pair);
        netns::bind_to_device(pair.client.as_ref().unwrap(), "lo");
        watch.follow(client);
        let look = watch.until("lookup", |told| Look::of(told, client));
        assert_eq!(look.state(), Some(TcpState::Established));
        // Bound no more, or to another: found all the same.
        netns::bind_to_device(pair.client.as_ref().unwrap(), "");
        pair.shut_client();
        let look = watch.until("lookup", |told| Look::of(told, client));
        assert!(look.state().is_some(), "{look:?}");
        watch.finish();
    });
}

#[test]
fn too_many_frees_drive_us_away() {
    in_fresh_netns("too_many_frees_drive_us_away", || {
        // What the filter hides from us counts as well.
        let hidden = Filter {
            ports: PortSet::one(9),
            ..Filter::default()
        };
        for filter in [Filter::default(), hidden] {
            let mut watch = Watch::start(without_events(), filter);
            assert!(watch.opening.iter().any(|told| {
                told.source == SourceName::Destroy
                    && matches!(told.body, Body::Source(SourceState::Running { .. }))
            }));
            let server = server();
            let begun = clock::now();
            let why = loop {
                for _ in 0..200 {
                    let pair = Pair::to(&server);
                    abort_on_close(pair.client.as_ref().unwrap());
                }
                watch.listen(Duration::ZERO);
                let off = watch.told.iter().find_map(|told| match &told.body {
                    Body::Source(SourceState::Off { why }) => {
                        assert_eq!(told.source, SourceName::Destroy);
                        Some(why.clone())
                    }
                    _ => None,
                });
                if let Some(why) = off {
                    break why;
                }
                assert!(clock::now().since(begun) < PATIENCE, "still there");
            };
            assert!(why.starts_with("left: "), "{why}");
            // Nothing comes any more, and follow goes on.
            watch.listen(Duration::from_millis(50));
            watch.read = watch.told.len();
            let mut pair = Pair::to(&server);
            let (client, _) = ids(&pair);
            watch.follow(client);
            watch.until_found(client, TcpState::Established);
            abort_on_close(pair.client.as_ref().unwrap());
            pair.close_client();
            let before = watch.read;
            watch.until_gone(client);
            let events = watch.told[before..]
                .iter()
                .filter(|told| matches!(told.body, Body::Event(_)));
            assert_eq!(events.count(), 0);
            watch.finish();
        }
    });
}

#[test]
fn what_overruns_the_queue_is_a_loss_and_looked_for() {
    in_fresh_netns("what_overruns_the_queue_is_a_loss_and_looked_for", || {
        let server = server();
        // No look by the clock: what is found out is found out because of the loss.
        let wanted = Wanted {
            rate: 1,
            discover: Duration::from_secs(60),
            destroy_room: 1,
            ..without_events()
        };
        let mut watch = Watch::start(wanted, Filter::default());
        let pairs: Vec<Pair> = (0..300).map(|_| Pair::to(&server)).collect();
        let mut clients = Vec::new();
        for pair in &pairs {
            let (client, _) = ids(pair);
            clients.push(client);
            watch.follow(client);
            abort_on_close(pair.client.as_ref().unwrap());
        }
        for &client in &clients {
            watch.read = 0;
            watch.until_found(client, TcpState::Established);
        }
        watch.read = watch.told.len();
        let begun = now_ns();
        drop(pairs);
        watch.until("loss", |told| match &told.body {
            Body::Lost { count: None, why } => why.contains("ENOBUFS").then_some(()),
            _ => None,
        });
        for &client in &clients {
            watch.read = 0;
            let gone = watch.until_gone(client);
            assert!(gone.at.nanos() >= begun);
        }
        watch.finish();
    });
}

#[allow(
    unsafe_code,
    reason = "std changes the user of the whole process, the raw call that of the thread"
)]
fn become_nobody() {
    // SAFETY: the call takes three numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn an_ordinary_user_follows_and_hears() {
    in_fresh_netns("an_ordinary_user_follows_and_hears", || {
        let server = server();
        let filter = Filter {
            ports: PortSet::one(port_of(&server)),
            ..Filter::default()
        };
        let mut watch = Watch::start_as(without_events(), filter, become_nobody);
        let mut pair = Pair::to(&server);
        let (client, served) = ids(&pair);
        watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
        let known = watch.until_found(client, TcpState::Established);
        let shut = pair.shut_client();
        let fin_wait2 = watch.until_found(client, TcpState::FinWait2);
        assert!(fin_wait2.at.nanos() >= shut.earliest && fin_wait2.begun >= known.begun);
        let closed = pair.close_server();
        let freed = watch.until_freed(served);
        assert!(freed.nanos() >= closed.earliest);
        watch.finish();
    });
}

#[test]
fn an_event_that_leaves_a_question_is_followed_by_its_answer() {
    const NAME: &str = "an_event_that_leaves_a_question_is_followed_by_its_answer";
    in_fresh_netns(NAME, || {
        let server = server();
        let request = Request {
            filter: Filter {
                ports: PortSet::one(port_of(&server)),
                ..Filter::default()
            },
            scope: host::scope(),
            ..Request::default()
        };
        let wanted = Wanted {
            events: Events::On,
            ..Wanted::default()
        };
        let (quick, asker) = match Quick::open(request, wanted, &mut None, &mut Vec::new()) {
            Ok(opened) => opened,
            // Asked for by name it is an error, not a quiet fallback.
            Err(error) => {
                assert!(error.to_string().starts_with("events: "), "{error}");
                return eprintln!("skipped: {NAME}: {error}");
            }
        };
        assert!(quick.events_run());
        let (tell, batches) = mpsc::channel();
        let thread = thread::spawn(move || quick.run(|batch| tell.send(batch).is_ok()));
        let mut pair = Pair::to(&server);
        let (client, _) = ids(&pair);
        pair.close_client();
        pair.client_enters("FIN_WAIT2");
        pair.close_server();
        let (mut closed, mut states, mut drained) = (None, Vec::new(), Timestamp::default());
        while !states.contains(&TcpState::TimeWait) {
            let batch = batches.recv_timeout(PATIENCE).unwrap();
            assert!(batch.observations.is_sorted_by_key(|told| told.at));
            for told in &batch.observations {
                match told.body {
                    Body::Event(event) if event.id.cookie == client.cookie => {
                        assert!(told.at > drained, "handed out already, it was said");
                        if matches!(
                            event.what,
                            What::State {
                                from: TcpState::FinWait2,
                                to: TcpState::Close
                            }
                        ) {
                            closed = Some(told.at);
                        }
                    }
                    // FIN_WAIT2 or TIME_WAIT: the event can't say, the lookup does.
                    Body::Lookup {
                        asked,
                        begun,
                        answer: Answer::Found(sample),
                        ..
                    } if asked.cookie == client.cookie => {
                        assert!(begun > closed.unwrap());
                        states.push(sample.state);
                        // As the tracker does with a mini-socket that is in no event.
                        asker.send(&[Ask::Follow(client)]);
                    }
                    _ => {}
                }
            }
            drained = batch.drained.unwrap();
        }
        drop(asker);
        thread.join().unwrap().unwrap();
    });
}

/// How often the thread went to sleep so far, and its CPU time.
fn sleeps_and_cpu(watch: &Watch) -> (u64, Duration) {
    let folder = format!("/proc/self/task/{}", watch.number);
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    let sleeps = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .unwrap();
    let schedstat = std::fs::read_to_string(format!("{folder}/schedstat")).unwrap();
    let cpu = schedstat.split_whitespace().next().unwrap();
    (
        sleeps.trim().parse().unwrap(),
        Duration::from_nanos(cpu.parse().unwrap()),
    )
}

#[test]
fn nothing_is_done_while_nobody_is_followed() {
    in_fresh_netns("nothing_is_done_while_nobody_is_followed", || {
        let server = server();
        let mut watch = watch();
        let mut pair = Pair::to(&server);
        let (client, served) = ids(&pair);
        watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
        watch.until_found(served, TcpState::Established);
        watch.ask(&[Ask::Leave(client), Ask::Leave(served)]);
        watch.listen(Duration::from_millis(100));
        let (before, _) = sleeps_and_cpu(&watch);
        watch.listen(Duration::from_millis(500));
        let (after, _) = sleeps_and_cpu(&watch);
        // A lock or a fault may put it to sleep once more; ticks would by the hundred.
        assert!(after - before <= 2, "{} times awake", after - before);
        pair.close_client();
        watch.until_freed(client);
        watch.finish();
    });
}

#[test]
fn the_budget_is_kept_and_said_and_what_moves_comes_first() {
    in_fresh_netns(
        "the_budget_is_kept_and_said_and_what_moves_comes_first",
        || {
            let server = server();
            let wanted = Wanted {
                budget: 0.02,
                ..without_events()
            };
            let mut watch = Watch::start(wanted, Filter::default());
            let mut pairs: Vec<Pair> = (0..200).map(|_| Pair::to(&server)).collect();
            for pair in &pairs {
                let (client, served) = ids(pair);
                watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
            }
            let why = watch.until("limit", |told| match &told.body {
                Body::Source(SourceState::Running { why: Some(why), .. }) => {
                    assert_eq!(told.source, SourceName::Follow);
                    Some(why.clone())
                }
                _ => None,
            });
            assert!(why.contains("budget of 2 % of a core"), "{why}");
            // The first looks are over, and the account is made.
            watch.listen(Duration::from_millis(1500));
            let begun = clock::now();
            let (_, before) = sleeps_and_cpu(&watch);
            watch.listen(Duration::from_secs(2));
            let (_, after) = sleeps_and_cpu(&watch);
            let share = (after - before).as_secs_f64() / clock::now().since(begun).as_secs_f64();
            assert!(share < 0.03, "{share}");
            let (client, served) = ids(&pairs[77]);
            let known = watch.told.len();
            let shut = pairs[77].shut_client();
            watch.read = known;
            let fin_wait2 = watch.until_found(client, TcpState::FinWait2);
            watch.read = known;
            let close_wait = watch.until_found(served, TcpState::CloseWait);
            assert!(fin_wait2.at.nanos() >= shut.earliest);
            assert!(close_wait.unchanged.unwrap().nanos() <= shut.latest);
            watch.finish();
        },
    );
}

#[test]
fn both_families_and_dual_stack_ends_are_followed_and_heard() {
    in_fresh_netns(
        "both_families_and_dual_stack_ends_are_followed_and_heard",
        || {
            let server = sockets::dual_stack_server();
            let port = port_of(&server);
            let filter = Filter {
                ports: PortSet::one(port),
                ..Filter::default()
            };
            let mut watch = Watch::start(without_events(), filter);
            for to in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
                let mut pair = Pair::of(TcpStream::connect(to).unwrap());
                pair.accept(&server);
                let (client, served) = ids(&pair);
                assert_eq!(client.tuple.mirror(), served.tuple);
                watch.ask(&[Ask::Follow(client), Ask::Follow(served)]);
                watch.until_found(served, TcpState::Established);
                pair.close_client();
                watch.until_freed(client);
                watch.read = 0;
                // The descriptor is gone, and a mini-socket stays.
                let orphan = watch.until_found(client, TcpState::FinWait2);
                assert!(orphan.sample().unwrap().inode.is_none());
                let closed = pair.close_server();
                let freed = watch.until_freed(served);
                assert!(freed.nanos() >= closed.earliest);
                watch.read = 0;
                watch.until_found(client, TcpState::TimeWait);
            }
            watch.finish();
        },
    );
}

#[test]
fn an_orphan_that_runs_out_is_gone_in_time() {
    in_fresh_netns("an_orphan_that_runs_out_is_gone_in_time", || {
        let server = server();
        let mut watch = watch();
        let mut pair = Pair::to(&server);
        let (client, _) = ids(&pair);
        std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "1").unwrap();
        watch.follow(client);
        watch.until_found(client, TcpState::Established);
        let closed = pair.close_client();
        watch.until_found(client, TcpState::FinWait2);
        let gone = watch.until_gone(client);
        assert_eq!(gone.answer, Answer::Gone);
        assert!(gone.at.nanos() >= closed.latest + 900_000_000);
        // Alone it is looked at ten times a second.
        let unchanged = gone.unchanged.unwrap();
        assert!(gone.at.since(unchanged) < Duration::from_secs(1));
        watch.finish();
    });
}
