//! Recordings for the tests, made by the program's own encoder, and a folder to put them in.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tcpwatch::model::event::{File, What};
use tcpwatch::model::{
    Answer, Body, Caller, Event, Holder, Holders, Look, Moment, Observation, Poll, ProcessId,
    Program, Sample, Seen, SourceName, SourceState, TcpState, Timestamp,
};
use tcpwatch::record::{Encoder, FORMAT, Header, VERSION};

use crate::build::{at, at_us, endpoint, moment, process, sock, step};

/// 2026-03-01 14:02:00 UTC.
const REALTIME: u64 = 1_772_373_720_000_000_000;

/// A recording that is being made. It begins at 14:02:00.
pub struct Tape {
    pub host: String,
    told: Vec<Observation>,
    looked: bool,
}

impl Tape {
    pub fn new(host: &str) -> Self {
        let mut tape = Self {
            host: host.into(),
            told: Vec::new(),
            looked: false,
        };
        let clock = Body::Clock {
            realtime_ns: REALTIME,
        };
        tape.say(at(0), SourceName::SockDiag, clock);
        let running = SourceState::Running {
            period: Duration::from_millis(100),
            cost: Some(Duration::from_micros(240)),
            why: None,
        };
        tape.say(at(0), SourceName::SockDiag, Body::Source(running));
        tape
    }

    pub fn with_events(mut self) -> Self {
        let running = SourceState::Running {
            period: Duration::ZERO,
            cost: None,
            why: None,
        };
        self.say(at(0), SourceName::Bpf, Body::Source(running));
        self
    }

    fn say(&mut self, at: Timestamp, source: SourceName, body: Body) {
        self.told.push(Observation {
            at,
            host: 0,
            source,
            body,
        });
    }

    pub fn event(
        &mut self,
        us: u64,
        sample: Sample,
        what: What,
        moment: Moment,
        caller: Option<Caller>,
    ) {
        let event = Event {
            id: sample.id,
            what,
            moment: Some(moment),
            caller,
        };
        self.say(at_us(us), SourceName::Bpf, Body::Event(event));
    }

    /// A lookup that finds the end.
    pub fn found(&mut self, us: u64, sample: Sample) {
        self.lookup(us, sample, Answer::Found(sample));
    }

    fn lookup(&mut self, us: u64, sample: Sample, answer: Answer) {
        let body = Body::Lookup {
            asked: sample.id,
            begun: at_us(us - 1),
            unchanged: None,
            answer,
        };
        self.say(at_us(us), SourceName::Follow, body);
    }

    /// A look of 2 ms; the one before it was 100 ms ago and showed nothing new.
    pub fn look(&mut self, ms: u64, appeared: &[Sample], changed: &[Sample]) {
        let first = !std::mem::replace(&mut self.looked, true);
        if !first {
            let unchanged = Body::Unchanged {
                until: at(ms - 100),
                look: Look::Whole,
            };
            self.say(at(ms - 98), SourceName::SockDiag, unchanged);
        }
        let poll = Poll {
            begun: at(ms - 2),
            look: Look::Whole,
            complete: true,
            first,
            appeared: appeared.to_vec(),
            changed: changed.to_vec(),
            missing: Vec::new(),
        };
        self.say(at(ms), SourceName::SockDiag, Body::Poll(poll));
    }

    /// A look into the processes, of 1 ms, that shows who holds a socket: names, pids, and under
    /// which descriptor. Each is the child of the first. `ended` of the set before have.
    pub fn held(&mut self, ms: u64, sample: Sample, holders: &[(&str, u32, u32)], ended: &[u32]) {
        let id = |pid| ProcessId { pid, started: 100 };
        let first = holders.first().map(|(_, pid, _)| *pid);
        let holder = |&(name, pid, fd): &(&str, u32, u32)| Holder {
            program: Arc::new(Program {
                id: id(pid),
                parent: first.filter(|first| *first != pid).or(Some(1)),
                comm: process(name, pid).comm,
                uid: Some(33),
                user: Some("www-data".into()),
                cmdline: None,
            }),
            fds: vec![fd],
        };
        let set = Holders {
            scope: sample.id.scope,
            inode: sample.inode.unwrap(),
            begun: at(ms - 1),
            unchanged: Some(at(ms - 101)),
            holders: holders.iter().map(holder).collect(),
            ended: ended.iter().copied().map(id).collect(),
            seen: Seen::All,
        };
        self.say(at(ms), SourceName::Holders, Body::Holders(set));
    }

    /// A lookup that finds nothing.
    pub fn gone(&mut self, ms: u64, sample: Sample) {
        self.lookup(ms * 1000, sample, Answer::Gone);
    }

    pub fn lost(&mut self, ms: u64, count: Option<u64>, why: &str) {
        let why = why.to_owned().into();
        self.say(at(ms), SourceName::SockDiag, Body::Lost { count, why });
    }

    /// A connection to elsewhere that lives for 300 µs, the `n`th of them.
    pub fn short_life(&mut self, n: u32) {
        use TcpState::{Close, Established, SynSent};
        let here = endpoint("10.0.0.1", 1024 + u16::try_from(n % 60_000).unwrap());
        let there = endpoint(&format!("10.1.{}.1", n / 60_000), 443);
        let mut end = sock(here, there, SynSent);
        end.id.cookie = Some(tcpwatch::model::Cookie(u64::from(n) + 1));
        let us = 1_000_000 + u64::from(n) * 400;
        let held = moment(File::Held, 0, 0);
        let who = Some(process("wrk", 5));
        self.event(us, end, step(Close, SynSent), held, who);
        self.event(us + 100, end, step(SynSent, Established), held, None);
        let reset = What::ResetReceived;
        self.event(us + 299, end, reset, held, None);
        self.event(us + 300, end, step(Established, Close), held, None);
    }

    fn header(&self) -> Header {
        serde_json::from_value(json!({
            "type": "header",
            "format": FORMAT,
            "version": VERSION,
            "tcpwatch": env!("CARGO_PKG_VERSION"),
            "about": "docs/recording.md",
            "host": self.host,
            "kernel": "6.18",
            "boot_id": self.host,
            "recording": self.host,
            "part": 1,
            "clock": {"monotonic_ns": at(0).nanos(), "realtime_ns": REALTIME},
            "sources": ["sock_diag"],
            "period_ns": 100_000_000,
        }))
        .unwrap()
    }

    /// The recording, without its end.
    pub fn bytes(&self) -> Vec<u8> {
        self.encoded().1
    }

    fn encoded(&self) -> (Encoder, Vec<u8>) {
        let (mut encoder, mut out) = (Encoder::default(), Vec::new());
        encoder.header(&self.header(), &mut out).unwrap();
        for observation in &self.told {
            encoder.observation(observation, &mut out);
        }
        (encoder, out)
    }

    /// The recording, ended in good order.
    pub fn ended(&self) -> Vec<u8> {
        let (mut encoder, mut out) = self.encoded();
        let last = self.told.last().map_or(at(0), |told| told.at);
        encoder.end(last, "stopped", &mut out);
        out
    }
}

/// A folder of its own, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcpwatch-report-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    /// All that is in it.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads what a process prints until it has ended well; gives the most memory that it had, in
/// bytes, as far as it was looked at while it printed, and what it printed.
pub fn peak_memory_of(child: &mut Child) -> (u64, Vec<u8>) {
    let path = format!("/proc/{}/status", child.id());
    let mut output = child.stdout.take().unwrap();
    let (mut printed, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    let mut peak = 0;
    loop {
        let length = output.read(&mut chunk).unwrap();
        if length == 0 {
            assert!(child.wait().unwrap().success());
            assert!(peak > 0, "it was never seen");
            return (peak << 10, printed);
        }
        printed.extend_from_slice(&chunk[..length]);
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        peak = peak.max(kilobytes.map_or(0, |number| number.parse::<u64>().unwrap()));
    }
}
