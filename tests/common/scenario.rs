//! Scenario files: observations at stated times, and what is to follow from them.
//!
//! `[[step]]`s are observations. Times are milliseconds. Sockets are written
//! `40000>50008 ESTABLISHED ck=1 ino=7`, on 127.0.0.1 unless an address stands before a port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]
#![allow(dead_code, reason = "no test file uses all of it")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tcpwatch::model::event::{Comm, File, ResetReason};
use tcpwatch::model::observation::HostFacts;
use tcpwatch::model::{
    Answer, Body, Caller, Cookie, Counters, Endpoint, Event, FourTuple, Holder, Holders, Info,
    InfoAnswer, Look, Moment, Observation, Poll, ProcessId, Program, Queues, Sample, Scope, Seen,
    Shutdown, SockId, SourceName, SourceState, TcpState, Timer, TimerKind, Timestamp, What,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// For the reader of the file.
    pub about: String,
    /// What is expected holds also when the stamps of host number 1 are shifted by so many
    /// milliseconds, and all is told in the order that makes. Spans are compared as if they were not.
    #[serde(default)]
    pub shifts: Vec<i64>,
    pub source: Option<String>,
    pub retention: Option<usize>,
    pub step: Vec<Step>,
    #[serde(default)]
    pub expect: Vec<Expect>,
    /// How many connections there are in the end.
    pub connections: Option<usize>,
    /// Every question, in order.
    pub asks: Option<Vec<String>>,
    /// How many connections were dropped.
    pub dropped: Option<u64>,
    /// What is found, all of it, where `[[finding]]`s are named or `finds` is.
    #[serde(default)]
    pub finding: Vec<ExpectFinding>,
    /// Whether the findings are compared; false for files that are about connections alone.
    #[serde(default)]
    pub finds_nothing_else: bool,
}

/// What is to be found.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectFinding {
    pub code: String,
    /// `1b`, `1b 2a` of a pair, `listener 127.0.0.1:50008`, `127.0.0.1 to 127.0.0.1:80`.
    pub on: String,
    pub severity: String,
    pub at: u64,
    pub over: Option<u64>,
    /// Parts of its words: what it means, its evidence, its advice.
    #[serde(default)]
    pub says: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub source: Option<String>,
    /// Of which recording it is.
    #[serde(default)]
    pub host_number: u16,
    /// Begin and end of a look.
    pub look: Option<[u64; 2]>,
    #[serde(default)]
    pub first: bool,
    #[serde(default)]
    pub incomplete: bool,
    #[serde(default)]
    pub without_time_wait: bool,
    #[serde(default)]
    pub appeared: Vec<String>,
    #[serde(default)]
    pub changed: Vec<String>,
    #[serde(default)]
    pub missing: Vec<String>,
    /// Begin and end of a lookup.
    pub lookup: Option<[u64; 2]>,
    pub asked: Option<String>,
    pub found: Option<String>,
    #[serde(default)]
    pub gone: bool,
    pub other: Option<u64>,
    /// Begin of the newest earlier lookup without news.
    pub unchanged_before: Option<u64>,
    /// `40000>50008 ESTABLISHED->FIN_WAIT1 ck=1 file=closing shut=3 unread=4 pid=7`, see `event`.
    pub event: Option<String>,
    /// When, in milliseconds.
    pub at: Option<u64>,
    /// Events begin to be complete, or stop.
    pub events: Option<bool>,
    /// So many events were lost.
    pub lost: Option<u64>,
    /// Looks without news, the newest begun then.
    pub unchanged: Option<u64>,
    /// Facts of the host.
    pub host: Option<Host>,
    /// The inode of which it is said who holds it, `at` a time.
    pub holders: Option<u32>,
    /// `name[7] 3,4 parent=1`: the process 7 under its descriptors.
    #[serde(default)]
    pub held_by: Vec<String>,
    /// Pids of those who have ended.
    #[serde(default)]
    pub ended: Vec<u32>,
    /// Not every process could be looked into.
    #[serde(default)]
    pub partly: bool,
    /// Begin of the newest look that showed the set before.
    pub same_until: Option<u64>,
    /// `50008>40000 CLOSE_WAIT ck=2 sent=900 received=800 ack=800`: a socket's counters, `at` a time.
    pub info: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub fin_timeout_s: Option<u64>,
    pub overflows: Option<u64>,
    /// Resets counted so far, by this time.
    pub resets: Option<u64>,
    #[serde(default)]
    pub at: u64,
    #[serde(default)]
    pub fast_open: bool,
    pub port_range: Option<(u16, u16)>,
    pub time_wait_reuse: Option<u8>,
    pub listen_overflows: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub conn: u64,
    pub a: Option<String>,
    pub b: Option<String>,
    /// `STATE [inferred] [from..to | before to] [held|gone|not_accepted]`, from birth or attach.
    pub a_spans: Option<Vec<String>>,
    pub b_spans: Option<Vec<String>>,
    pub visible: Option<String>,
    pub closed: Option<String>,
    #[serde(default)]
    pub open: bool,
    pub first_closer: Option<String>,
    pub how: Option<String>,
    /// Whether data flowed after the first FIN: `true`, `false` or `unknown`.
    pub half_close: Option<String>,
    /// Lower bounds of the ages at the moment of the first sight, milliseconds.
    pub a_age: Option<u64>,
    pub b_age: Option<u64>,
}

pub fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

pub fn scope() -> Scope {
    scope_of(0)
}

pub fn scope_of(host: u16) -> Scope {
    Scope {
        host,
        netns: Some(1 + u64::from(host)),
    }
}

/// Puts an observation on another host.
pub fn on_host(mut observation: Observation, host: u16) -> Observation {
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
pub fn told(scenario: &Scenario, shift_ms: i64) -> Vec<Observation> {
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

pub fn endpoint(text: &str) -> Endpoint {
    let (addr, port) = match text.rsplit_once(':') {
        Some((addr, port)) => (addr.trim_matches(['[', ']']), port),
        None => ("127.0.0.1", text),
    };
    Endpoint::new(
        addr.parse::<IpAddr>().expect(text),
        port.parse().expect(text),
    )
}

pub fn tuple(text: &str) -> FourTuple {
    let (local, remote) = text.split_once('>').expect(text);
    FourTuple {
        local: endpoint(local),
        remote: endpoint(remote),
    }
}

pub fn id(text: &str) -> SockId {
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

pub fn sample(text: &str, now: Timestamp) -> Sample {
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
            // What runs, and how often it ran out.
            "rto" | "probe" | "keepalive" => {
                let kind = match key {
                    "rto" => TimerKind::Retransmit,
                    "probe" => TimerKind::Probe,
                    _ => TimerKind::KeepAlive,
                };
                let deadline = now.plus(Duration::from_millis(number().into()));
                sample.timer = Some(Timer { kind, deadline });
            }
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

pub fn source(name: Option<&str>) -> SourceName {
    match name {
        Some("proc") => SourceName::Proc,
        _ => SourceName::SockDiag,
    }
}

pub fn observation(step: &Step, default: Option<&str>) -> Observation {
    let source = source(step.source.as_deref().or(default));
    let samples = |lines: &[String], now| {
        let each = lines.iter().flat_map(|line| crowd(line));
        each.map(|line| sample(&line, now)).collect()
    };
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
    if let Some(inode) = step.holders {
        return holders(step, inode);
    }
    if let Some(line) = &step.info {
        return info(step, line);
    }
    let host = step
        .host
        .as_ref()
        .expect("a step is a look, a lookup, unchanged, holders, info or host");
    Observation {
        host: 0,
        at: at(host.at),
        source,
        body: Body::Host(HostFacts {
            port_range: host.port_range,
            time_wait_reuse: host.time_wait_reuse,
            listen_overflows: host.listen_overflows,
            scope: scope(),
            fin_timeout: host.fin_timeout_s.map(Duration::from_secs),
            time_wait_overflows: host.overflows,
            server_fast_open: host.fast_open,
            resets: host.resets,
            ..HostFacts::default()
        }),
    }
}

pub fn bpf(step: &Step, body: Body) -> Observation {
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
pub fn event(line: &str) -> Event {
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
            "received" => moment.bytes_received = value.parse().unwrap(),
            "acked" => moment.bytes_acked = value.parse().unwrap(),
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

pub fn reset_reason(word: &str) -> ResetReason {
    match word {
        "data_after_close" => ResetReason::AbortOnData,
        "unread_data" => ResetReason::AbortOnClose,
        "state" => ResetReason::State,
        "time_wait" => ResetReason::TimeWaitSocket,
        other => panic!("{other} is no reason"),
    }
}

/// `40000-40009>80 TIME_WAIT`: ten sockets, each with its port as its cookie.
fn crowd(line: &str) -> Vec<String> {
    let range = line
        .split_once('>')
        .and_then(|(ports, rest)| Some((ports.split_once('-')?, rest)));
    let Some(((first, last), rest)) = range else {
        return vec![line.to_owned()];
    };
    let (first, last): (u16, u16) = (first.parse().unwrap(), last.parse().unwrap());
    (first..=last)
        .map(|port| format!("{port}>{rest} ck={port}"))
        .collect()
}

fn said(step: &Step, source: SourceName, body: Body) -> Observation {
    Observation {
        host: 0,
        at: at(step.at.expect("it has its time")),
        source,
        body,
    }
}

fn holders(step: &Step, inode: u32) -> Observation {
    let end = step.at.expect("holders have their time");
    let body = Body::Holders(Holders {
        scope: scope(),
        inode,
        begun: at(end.saturating_sub(1)),
        unchanged: step.same_until.map(at),
        holders: step.held_by.iter().map(|line| holder(line)).collect(),
        ended: step.ended.iter().map(|pid| process(*pid)).collect(),
        seen: if step.partly { Seen::Partly } else { Seen::All },
    });
    said(step, SourceName::Holders, body)
}

fn process(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        started: u64::from(pid) * 10,
    }
}

fn holder(line: &str) -> Holder {
    let (name, rest) = line.split_once('[').expect(line);
    let (pid, rest) = rest.split_once("] ").expect(line);
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    let mut words = rest.split_whitespace();
    let fds = words.next().expect(line).split(',');
    let parent = words.find_map(|word| word.strip_prefix("parent="));
    Holder {
        program: Arc::new(Program {
            id: process(pid.parse().unwrap()),
            parent: parent.map(|pid| pid.parse().unwrap()),
            comm: Comm(comm),
            uid: Some(1000),
            user: None,
            cmdline: None,
        }),
        fds: fds.map(|fd| fd.parse().unwrap()).collect(),
    }
}

fn info(step: &Step, line: &str) -> Observation {
    let end = step.at.expect("counters have their time");
    let state = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let ago = |key: &str| {
        let mut words = line.split_whitespace();
        let number = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        Duration::from_millis(number.unwrap_or("0").parse().unwrap())
    };
    let body = Body::Info(Info {
        id: id(line),
        begun: at(end.saturating_sub(1)),
        answer: InfoAnswer::Counters(Counters {
            state,
            data_sent: ago("sent"),
            data_received: ago("received"),
            ack_received: ago("ack"),
            keepalive: line.contains("keepalive"),
            backoff: 0,
            bytes_received: None,
            bytes_acked: None,
        }),
    });
    said(step, SourceName::Info, body)
}

/// The files of a folder of fixtures, by name.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

/// A file's scenario.
pub fn load(file: &Path) -> Scenario {
    let text = fs::read_to_string(file).unwrap();
    toml::from_str(&text).unwrap_or_else(|e| panic!("{file:?}: {e}"))
}
