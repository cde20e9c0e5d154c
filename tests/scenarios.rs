//! The tracker against data files: observations in, tracks and verdicts out, no kernel.
//!
//! `fixtures/scenarios/*.toml`: `[[step]]`s are observations, `[[expect]]`s are connections. Only
//! what an expectation names is compared. Times are milliseconds. Sockets are written
//! `40000>50008 ESTABLISHED ck=1 ino=7`, on 127.0.0.1 unless an address stands before a port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tcpwatch::diagnosis::verdict::judge;
use tcpwatch::model::event::{Comm, File, ResetReason};
use tcpwatch::model::observation::HostFacts;
use tcpwatch::model::{
    Answer, Ask, Body, Caller, Cookie, Descriptor, Endpoint, Event, FourTuple, Look, Moment,
    Observation, Poll, Queues, Sample, Scope, Shutdown, SockId, SourceName, SourceState, TcpState,
    Timer, TimerKind, Timestamp, What,
};
use tcpwatch::timeline::{
    Came, Cause, Certainty, Change, ConnId, Connection, DEFAULT_RETENTION, Found, Reason, Side,
    Track, Tracker, When,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[allow(dead_code, reason = "for the reader of the file")]
    about: String,
    /// What is expected holds also when the stamps of host number 1 are shifted by so many
    /// milliseconds, and all is told in the order that makes. Spans are compared as if they were not.
    #[serde(default)]
    shifts: Vec<i64>,
    source: Option<String>,
    retention: Option<usize>,
    step: Vec<Step>,
    #[serde(default)]
    expect: Vec<Expect>,
    /// How many connections there are in the end.
    connections: Option<usize>,
    /// Every question, in order.
    asks: Option<Vec<String>>,
    /// How many connections were dropped.
    dropped: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    source: Option<String>,
    /// Of which recording it is.
    #[serde(default)]
    host_number: u16,
    /// Begin and end of a look.
    look: Option<[u64; 2]>,
    #[serde(default)]
    first: bool,
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    without_time_wait: bool,
    #[serde(default)]
    appeared: Vec<String>,
    #[serde(default)]
    changed: Vec<String>,
    #[serde(default)]
    missing: Vec<String>,
    /// Begin and end of a lookup.
    lookup: Option<[u64; 2]>,
    asked: Option<String>,
    found: Option<String>,
    #[serde(default)]
    gone: bool,
    other: Option<u64>,
    /// Begin of the newest earlier lookup without news.
    unchanged_before: Option<u64>,
    /// `40000>50008 ESTABLISHED->FIN_WAIT1 ck=1 file=closing shut=3 unread=4 pid=7`, see `event`.
    event: Option<String>,
    /// When, in milliseconds.
    at: Option<u64>,
    /// Events begin to be complete, or stop.
    events: Option<bool>,
    /// So many events were lost.
    lost: Option<u64>,
    /// Looks without news, the newest begun then.
    unchanged: Option<u64>,
    /// Facts of the host.
    host: Option<Host>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    fin_timeout_s: Option<u64>,
    overflows: Option<u64>,
    /// Resets counted so far, by this time.
    resets: Option<u64>,
    #[serde(default)]
    at: u64,
    #[serde(default)]
    fast_open: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    conn: u64,
    a: Option<String>,
    b: Option<String>,
    /// `STATE [inferred] [from..to | before to] [held|gone|not_accepted]`, from birth or attach.
    a_spans: Option<Vec<String>>,
    b_spans: Option<Vec<String>>,
    visible: Option<String>,
    closed: Option<String>,
    #[serde(default)]
    open: bool,
    first_closer: Option<String>,
    how: Option<String>,
    /// Lower bounds of the ages at the moment of the first sight, milliseconds.
    a_age: Option<u64>,
    b_age: Option<u64>,
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

fn scope() -> Scope {
    scope_of(0)
}

fn scope_of(host: u16) -> Scope {
    Scope {
        host,
        netns: Some(1 + u64::from(host)),
    }
}

/// Puts an observation on another host.
fn on_host(mut observation: Observation, host: u16) -> Observation {
    if host == 0 {
        return observation;
    }
    let scope = scope_of(host);
    let move_all = |samples: &mut Vec<Sample>| {
        samples
            .iter_mut()
            .for_each(|sample| sample.id.scope = scope);
    };
    observation.host = host;
    match &mut observation.body {
        Body::Poll(poll) => {
            move_all(&mut poll.appeared);
            move_all(&mut poll.changed);
            poll.missing.iter_mut().for_each(|id| id.scope = scope);
        }
        Body::Lookup { asked, answer, .. } => {
            asked.scope = scope;
            if let Answer::Found(sample) = answer {
                sample.id.scope = scope;
            }
        }
        Body::Event(event) => event.id.scope = scope,
        Body::Host(facts) => facts.scope = scope,
        _ => {}
    }
    observation
}

/// The steps as observations, in the order of time, those of host number 1 shifted.
fn told(scenario: &Scenario, shift_ms: i64) -> Vec<Observation> {
    let mut told: Vec<Observation> = scenario
        .step
        .iter()
        .map(|step| {
            let said = observation(step, scenario.source.as_deref());
            let mut said = on_host(said, step.host_number);
            if step.host_number == 1 {
                said.shift(shift_ms * 1_000_000);
            }
            said
        })
        .collect();
    if shift_ms != 0 {
        told.sort_by_key(|said| said.at);
    }
    told
}

fn endpoint(text: &str) -> Endpoint {
    let (addr, port) = match text.rsplit_once(':') {
        Some((addr, port)) => (addr.trim_matches(['[', ']']), port),
        None => ("127.0.0.1", text),
    };
    Endpoint::new(
        addr.parse::<IpAddr>().expect(text),
        port.parse().expect(text),
    )
}

fn tuple(text: &str) -> FourTuple {
    let (local, remote) = text.split_once('>').expect(text);
    FourTuple {
        local: endpoint(local),
        remote: endpoint(remote),
    }
}

fn id(text: &str) -> SockId {
    let mut words = text.split_whitespace();
    let tuple = tuple(words.next().unwrap());
    let cookie = words
        .find_map(|word| word.strip_prefix("ck="))
        .map(|number| Cookie(number.parse().unwrap()));
    let host = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("host="));
    let scope = host.map_or(scope(), |host| scope_of(host.parse().unwrap()));
    SockId {
        scope,
        cookie,
        tuple,
    }
}

fn sample(text: &str, now: Timestamp) -> Sample {
    let mut words = text.split_whitespace().skip(1);
    let state = words.next().unwrap().parse().unwrap();
    let mut sample = Sample {
        id: id(text),
        state,
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        timer: None,
        retransmits: 0,
        inode: None,
        uid: Some(0),
        shutdown: None,
        cgroup: None,
        multipath: false,
    };
    let (mut receive, mut send) = (0, 0);
    for word in words {
        let (key, value) = word.split_once('=').expect(word);
        let number = || value.parse::<u32>().expect(word);
        match key {
            "ck" => {}
            "ino" => sample.inode = Some(number()),
            "shut" => sample.shutdown = Some(Shutdown::from_kernel(number() as u8)),
            "rq" => receive = number(),
            "wq" => send = number(),
            "retr" => sample.retransmits = number() as u8,
            // A mini-socket's timer, in milliseconds from now.
            "tw" => {
                sample.timer = Some(Timer {
                    kind: TimerKind::TimeWait,
                    deadline: now.plus(Duration::from_millis(number().into())),
                });
            }
            other => panic!("unknown word {other} in {text}"),
        }
    }
    sample.queues = match state {
        TcpState::Listen => Queues::Accept {
            waiting: receive,
            backlog: Some(send),
        },
        _ if sample.is_mini_socket() => Queues::Absent,
        _ => Queues::Stream { receive, send },
    };
    sample
}

fn source(name: Option<&str>) -> SourceName {
    match name {
        Some("proc") => SourceName::Proc,
        _ => SourceName::SockDiag,
    }
}

fn observation(step: &Step, default: Option<&str>) -> Observation {
    let source = source(step.source.as_deref().or(default));
    let samples = |lines: &[String], now| lines.iter().map(|line| sample(line, now)).collect();
    if let Some([begun, end]) = step.look {
        let now = at(end);
        let body = Body::Poll(Poll {
            begun: at(begun),
            look: if step.without_time_wait {
                Look::WithoutTimeWait
            } else {
                Look::Whole
            },
            complete: !step.incomplete,
            first: step.first,
            appeared: samples(&step.appeared, now),
            changed: samples(&step.changed, now),
            missing: step.missing.iter().map(|line| id(line)).collect(),
        });
        return Observation {
            host: 0,
            at: now,
            source,
            body,
        };
    }
    if let Some([begun, end]) = step.lookup {
        let answer = match (&step.found, step.other) {
            (Some(line), _) => Answer::Found(sample(line, at(end))),
            (None, Some(cookie)) => Answer::Other(Some(Cookie(cookie))),
            (None, None) => {
                assert!(step.gone, "a lookup needs an answer");
                Answer::Gone
            }
        };
        return Observation {
            host: 0,
            at: at(end),
            source,
            body: Body::Lookup {
                asked: id(step.asked.as_deref().unwrap()),
                begun: at(begun),
                unchanged: step.unchanged_before.map(at),
                answer,
            },
        };
    }
    if let Some(line) = &step.event {
        let body = Body::Event(event(line));
        return bpf(step, body);
    }
    if let Some(runs) = step.events {
        let state = match runs {
            true => SourceState::Running {
                period: Duration::from_millis(2),
                cost: None,
                why: None,
            },
            false => SourceState::Off { why: "test".into() },
        };
        return bpf(step, Body::Source(state));
    }
    if let Some(count) = step.lost {
        let why = "the ring was full";
        let count = Some(count);
        return bpf(
            step,
            Body::Lost {
                count,
                why: why.into(),
            },
        );
    }
    if let Some(until) = step.unchanged {
        return Observation {
            host: 0,
            at: at(until),
            source,
            body: Body::Unchanged {
                until: at(until),
                look: if step.without_time_wait {
                    Look::WithoutTimeWait
                } else {
                    Look::Whole
                },
            },
        };
    }
    let host = step
        .host
        .as_ref()
        .expect("a step is a look, a lookup, unchanged or host");
    Observation {
        host: 0,
        at: at(host.at),
        source,
        body: Body::Host(HostFacts {
            port_range: None,
            scope: scope(),
            fin_timeout: host.fin_timeout_s.map(Duration::from_secs),
            time_wait_overflows: host.overflows,
            server_fast_open: host.fast_open,
            resets: host.resets,
            ..HostFacts::default()
        }),
    }
}

struct Run {
    tracker: Tracker,
    asks: Vec<Ask>,
    changes: Vec<Change>,
}

fn run(scenario: &Scenario, shift_ms: i64) -> Run {
    let mut tracker = Tracker::new(scenario.retention.unwrap_or(DEFAULT_RETENTION));
    let (mut asks, mut changes) = (Vec::new(), Vec::new());
    for said in &told(scenario, shift_ms) {
        tracker.ingest(said);
        changes.extend(tracker.changes());
        asks.extend(tracker.asks());
        for connection in tracker.connections() {
            for (_, track) in connection.visible() {
                check_track(track);
            }
        }
    }
    check_changes(&changes);
    Run {
        tracker,
        asks,
        changes,
    }
}

/// Spans are ordered, abut (by construction), and only states that may follow do.
fn check_track(track: &Track) {
    let spans = track.spans();
    assert!(!spans.is_empty());
    for pair in spans.windows(2) {
        assert_ne!(pair[0].state, pair[1].state, "{spans:?}");
        assert!(
            pair[0].from.not_after() <= pair[1].from.not_after(),
            "{spans:?}"
        );
        assert!(
            pair[0].from.not_before() <= pair[1].from.not_before(),
            "{spans:?}"
        );
        assert_ne!(
            (pair[0].state, track.spans()[0].state == TcpState::Close),
            (TcpState::Close, false),
            "nothing follows the end: {spans:?}"
        );
    }
}

fn bpf(step: &Step, body: Body) -> Observation {
    let source = match step.source.as_deref() {
        Some("destroy") => SourceName::Destroy,
        Some("recording") => SourceName::Recording,
        _ => SourceName::Bpf,
    };
    Observation {
        host: 0,
        at: at(step.at.expect("an event has its time")),
        source,
        body,
    }
}

/// `40000>50008 ESTABLISHED->FIN_WAIT1 ck=1` and what the socket was like; instead of a step
/// `reset-sent=data_after_close`, `reset-received`, `retransmit`, `freed`. `file=` held, closing,
/// absent or unknown; `fin` and `nofin`: whether the peer's FIN has come; `mini`: no moment at all.
fn event(line: &str) -> Event {
    let mut moment = Moment {
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
    let mut caller = None;
    let mut names = Vec::new();
    let (mut what, mut is_mini) = (None, false);
    for word in line.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "file" => {
                moment.file = match value {
                    "held" => File::Held,
                    "closing" => File::Closing,
                    "absent" => File::Absent,
                    "unknown" => File::Unknown,
                    other => panic!("{other} is no file"),
                }
            }
            "shut" => moment.shutdown = Shutdown::from_kernel(value.parse().unwrap()),
            "err" => moment.error = Some(value.parse().unwrap()),
            "receive" => moment.receive = value.parse().unwrap(),
            "send" => moment.send = value.parse().unwrap(),
            "linger0" => moment.lingers_not = true,
            "fin" => moment.fin_received = Some(true),
            "nofin" => moment.fin_received = Some(false),
            "multipath" => moment.multipath = true,
            "mini" => is_mini = true,
            "pid" => {
                caller = Some(Caller {
                    pid: value.parse().unwrap(),
                    comm: Comm(*b"program\0\0\0\0\0\0\0\0\0"),
                    exiting: false,
                    signal: None,
                });
            }
            "killed" => {
                caller.as_mut().unwrap().exiting = true;
                caller.as_mut().unwrap().signal = value.parse().ok();
            }
            "reset-sent" => what = Some(What::ResetSent(reset_reason(value))),
            "reset-received" => what = Some(What::ResetReceived),
            "retransmit" => what = Some(What::Retransmit),
            "freed" => what = Some(What::Freed),
            _ => match word.split_once("->") {
                Some((from, to)) => {
                    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
                    what = Some(What::State { from, to });
                }
                None => names.push(word),
            },
        }
    }
    Event {
        id: id(&names.join(" ")),
        what: what.expect("an event says what happened"),
        moment: (!is_mini).then_some(moment),
        caller,
    }
}

fn reset_reason(word: &str) -> ResetReason {
    match word {
        "data_after_close" => ResetReason::AbortOnData,
        "unread_data" => ResetReason::AbortOnClose,
        "state" => ResetReason::State,
        "time_wait" => ResetReason::TimeWaitSocket,
        other => panic!("{other} is no reason"),
    }
}

/// What is said is a chain for each end, and every connection closes once at most.
fn check_changes(changes: &[Change]) {
    use std::collections::{HashMap, HashSet};
    let mut states: HashMap<(ConnId, Side), TcpState> = HashMap::new();
    let (mut opened, mut closed) = (HashSet::new(), HashSet::new());
    for change in changes {
        match change {
            Change::Opened { conn, ends, .. } => {
                assert!(opened.insert(*conn), "opened twice");
                for side in Side::BOTH {
                    if let Some(found) = ends[side as usize] {
                        states.insert((*conn, side), chain_start(found));
                    }
                }
            }
            Change::Joined {
                conn, side, found, ..
            } => {
                assert!(states.insert((*conn, *side), chain_start(*found)).is_none());
                // It is not over before this end is.
                closed.remove(conn);
            }
            Change::Moved { conn, side, step } => {
                let state = states
                    .get_mut(&(*conn, *side))
                    .expect("moved before opened");
                assert_eq!(*state, step.from, "broken chain: {change:?}");
                *state = step.to;
            }
            Change::Closed { conn, .. } => assert!(closed.insert(*conn), "closed twice"),
            Change::Marked { conn, .. }
            | Change::Held { conn, .. }
            | Change::Dated { conn, .. }
            | Change::Missed { conn, .. } => {
                assert!(opened.contains(conn), "marked before opened");
            }
        }
    }
}

fn chain_start(found: Found) -> TcpState {
    match found.came {
        Came::Born => TcpState::Close,
        Came::Found => found.state,
    }
}

fn describe(track: &Track, shift_ms: i64) -> Vec<String> {
    let shift_ms = if track.id().scope.host == 1 {
        shift_ms
    } else {
        0
    };
    let ms = |at: Timestamp| at.shifted(-shift_ms * 1_000_000).nanos() / 1_000_000;
    track
        .spans()
        .iter()
        .map(|span| {
            let mut text = span.state.name().to_owned();
            if span.certainty == Certainty::Inferred {
                text += " inferred";
            }
            text += &match span.from {
                When::At(at) => format!(" at {}", ms(at)),
                When::Between(from, to) => format!(" {}..{}", ms(from), ms(to)),
                When::Before(to) => format!(" before {}", ms(to)),
            };
            if span.why.cause != Cause::Unknown {
                text += &format!(" by {}", span.why.cause.token());
            }
            if let Some(reason) = span.why.reason.and_then(Reason::token) {
                text += &format!(" reason {reason}");
            }
            text += match span.descriptor {
                Some(Descriptor::Held) => " held",
                Some(Descriptor::Gone) => " gone",
                Some(Descriptor::NotAccepted) => " not_accepted",
                None => "",
            };
            text
        })
        .collect()
}

/// Whether every word of the expectation is in the description, and nothing is inferred that it
/// does not say is.
fn fits(expected: &str, actual: &str) -> bool {
    let actual: Vec<&str> = actual.split(' ').collect();
    let expected: Vec<&str> = expected.split_whitespace().collect();
    let inferred = |words: &[&str]| words.contains(&"inferred");
    actual[0] == expected[0]
        && expected.iter().all(|word| actual.contains(word))
        && inferred(&actual) == inferred(&expected)
}

fn check(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let scenario: Scenario = toml::from_str(&text).unwrap_or_else(|e| panic!("{file:?}: {e}"));
    check_shifted(file, &scenario, 0);
    for &shift in &scenario.shifts {
        check_shifted(file, &scenario, shift);
    }
}

fn check_shifted(file: &Path, scenario: &Scenario, shift: i64) {
    let run = run(scenario, shift);
    let name = format!("{} by {shift} ms", file.file_name().unwrap().display());
    let name = name.as_str();
    for expect in &scenario.expect {
        let connection = find(scenario, &run, expect)
            .unwrap_or_else(|| panic!("{name}: no connection {}", expect.conn));
        check_connection(name, expect, connection, &run.changes, shift);
    }
    if let Some(count) = scenario.connections {
        assert_eq!(
            run.tracker.connections().len(),
            count,
            "{name}: connections"
        );
    }
    if let Some(asks) = &scenario.asks {
        let asked: Vec<SockId> = run
            .asks
            .iter()
            .filter_map(|ask| match ask {
                Ask::Confirm(id) => Some(*id),
                Ask::Follow(_)
                | Ask::Leave(_)
                | Ask::Holders(_)
                | Ask::NoHolders(_)
                | Ask::Info(_)
                | Ask::Keyframe => None,
            })
            .collect();
        let expected: Vec<SockId> = asks.iter().map(|line| id(line)).collect();
        assert_eq!(asked, expected, "{name}: asks");
    }
    if let Some(dropped) = scenario.dropped {
        assert_eq!(run.tracker.totals().dropped, dropped, "{name}: dropped");
    }
}

/// By number; where clocks are shifted the numbers differ, so it is the one of so many that A opened.
fn find<'a>(scenario: &Scenario, run: &'a Run, expect: &Expect) -> Option<&'a Connection> {
    if scenario.shifts.is_empty() {
        return run.tracker.get(ConnId(expect.conn));
    }
    let a = endpoint(expect.a.as_deref().expect("shifted, it needs A's address"));
    let mut of_a = run
        .tracker
        .connections()
        .filter(|connection| connection.endpoint(Side::A) == a);
    of_a.nth(expect.conn as usize - 1)
}

fn check_connection(
    name: &str,
    expect: &Expect,
    connection: &Connection,
    changes: &[Change],
    shift: i64,
) {
    let name = format!("{name}: #{}", expect.conn);
    let sides = [
        (Side::A, &expect.a, &expect.a_spans, expect.a_age),
        (Side::B, &expect.b, &expect.b_spans, expect.b_age),
    ];
    for (side, addr, spans, age) in sides {
        if let Some(addr) = addr {
            assert_eq!(
                connection.endpoint(side),
                endpoint(addr),
                "{name}: {side:?}"
            );
        }
        if let Some(expected) = spans {
            let actual = connection
                .end(side)
                .map(|track| describe(track, shift))
                .unwrap_or_default();
            let all_fit = actual.len() == expected.len()
                && expected.iter().zip(&actual).all(|(e, a)| fits(e, a));
            assert!(
                all_fit,
                "{name}: {side:?}\nexpected {expected:#?}\nactual {actual:#?}"
            );
        }
        if let Some(age) = age {
            let found = changes.iter().find_map(|change| match change {
                Change::Opened { conn, ends, .. } if conn.0 == expect.conn => ends[side as usize],
                _ => None,
            });
            let known = found.unwrap().age.and_then(|age| age.known()).unwrap();
            assert_eq!(known, Duration::from_millis(age), "{name}: age of {side:?}");
        }
    }
    if let Some(visible) = &expect.visible {
        let letters: String = connection.visible().map(|(side, _)| side.token()).collect();
        assert_eq!(&letters, visible, "{name}: visible ends");
    }
    if expect.open {
        assert!(connection.closed().is_none(), "{name}: is closed");
    }
    let verdict = connection.closed().map(|_| judge(connection));
    if let Some(code) = &expect.closed {
        let verdict = verdict
            .as_ref()
            .unwrap_or_else(|| panic!("{name}: is not closed"));
        assert_eq!(verdict.code.token(), code, "{name}: {}", verdict.sentence);
    }
    if let Some(side) = &expect.first_closer {
        let closer = verdict.as_ref().and_then(|v| v.first_closer);
        assert_eq!(
            closer.map_or("none", Side::token),
            side,
            "{name}: first closer"
        );
    }
    if let Some(how) = &expect.how {
        let actual = verdict
            .as_ref()
            .and_then(|v| v.how)
            .map_or("none", |how| how.token());
        assert_eq!(actual, how, "{name}: how");
    }
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 15, "the scenarios were not found");
    files
}

#[test]
fn every_scenario_gives_what_it_says() {
    for file in scenarios() {
        check(&file);
    }
}

#[test]
fn the_same_observations_give_the_same_connections() {
    for file in scenarios() {
        let scenario: Scenario = toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let print = |run: &Run| {
            let connections: Vec<String> = run
                .tracker
                .connections()
                .map(|c| format!("{c:?}"))
                .collect();
            format!("{connections:?} {:?} {:?}", run.changes, run.asks)
        };
        assert_eq!(
            print(&run(&scenario, 0)),
            print(&run(&scenario, 0)),
            "{file:?}"
        );
    }
}

#[test]
fn a_life_that_was_over_is_open_again_when_its_other_end_joins() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let text = fs::read_to_string(folder.join("hosts-events.toml")).unwrap();
    let scenario: Scenario = toml::from_str(&text).unwrap();
    for shift in [5_000, -5_000] {
        let run = run(&scenario, shift);
        let kinds: Vec<&str> = run
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Opened { .. } => Some("opened"),
                Change::Joined { .. } => Some("joined"),
                Change::Closed { .. } => Some("closed"),
                _ => None,
            })
            .collect();
        assert_eq!(kinds, ["opened", "closed", "joined", "closed"], "{shift}");
        assert_eq!(run.tracker.totals().open, 0, "it is settled once");
    }
}

#[test]
fn the_namespace_of_b_is_said_where_it_is_another() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let document = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let scenario: Scenario = toml::from_str(&text).unwrap();
        let run = run(&scenario, 0);
        tcpwatch::view::json::list(run.tracker.connections(), at(200_000)).unwrap()
    };
    let two = document("hosts-events.toml");
    assert!(two.contains("\"netns\": 1,\n") && two.contains("\"b_netns\": 2,\n"));
    assert!(!document("close.toml").contains("b_netns"));
}
