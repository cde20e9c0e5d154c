//! A running recorder, and what it has left behind.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tcpwatch::model::{Answer, Body, Observation, SockId, SourceName, TcpState, What};
use tcpwatch::record::{Header, Item, Reader, Skipped};
use tcpwatch::source::clock;

use crate::netns::in_fresh_netns;
use crate::sockets::{PATIENCE, Pair, while_nobody_closes};
use crate::watcher::{PROGRAM, program};

/// A directory of a test's own.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let own = format!("tcpwatch-record-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(own);
        // Left over from a process of the same number that was killed, if at all.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the body in a namespace of its own; it is told whether events can be had.
pub fn in_netns(body: impl FnOnce(bool) + Send) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let has_events = crate::events::can_run(&test);
    in_fresh_netns(&test, || body(has_events));
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `tcpwatch record`, running.
pub struct Recording {
    child: Child,
    said: Receiver<String>,
}

impl Recording {
    /// With these arguments, looking every 20 ms. It has made its first look.
    pub fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["record", "--interval", "20ms"];
        all.extend(arguments);
        Self::of(program(Path::new(PROGRAM), &all))
    }

    /// Of this command, which becomes the program.
    pub fn of(mut command: Command) -> Self {
        command.stdout(Stdio::null());
        let mut child = while_nobody_closes(|| command.spawn()).unwrap();
        let (sender, said) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let recording = Self { child, said };
        recording.says("tcpwatch: recording ");
        recording
    }

    /// Waits until it says a line that begins like this.
    pub fn says(&self, beginning: &str) -> String {
        loop {
            let line = self.said.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it never says '{beginning}'"));
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: the exit status, and what it said that nobody has waited for.
    pub fn rest(mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        (self.child.wait().unwrap().code(), lines)
    }

    /// Ends it in good order; its last line.
    pub fn finish(self) -> String {
        self.signal(Signal::TERM);
        let (status, lines) = self.rest();
        assert_eq!(status, Some(0), "{lines:?}");
        lines.last().unwrap().clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Fails only when it has ended already; until it is waited for, its pid is no one else's.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a file of a recording says.
pub struct Tape {
    pub header: Header,
    pub told: Vec<Observation>,
    pub ended: bool,
    pub skipped: Skipped,
    pub torn: usize,
    /// Every end in every state that something shows it in.
    sights: HashSet<(String, String, TcpState)>,
}

fn sights(told: &[Observation]) -> HashSet<(String, String, TcpState)> {
    let mut sights = HashSet::new();
    let mut see = |id: &SockId, state| {
        let tuple = id.tuple;
        sights.insert((tuple.local.to_string(), tuple.remote.to_string(), state));
    };
    for told in told {
        match &told.body {
            Body::Event(event) => {
                if let What::State { to, .. } = event.what {
                    see(&event.id, to);
                }
            }
            Body::Poll(poll) => {
                let samples = poll.appeared.iter().chain(&poll.changed);
                samples.for_each(|sample| see(&sample.id, sample.state));
            }
            Body::Lookup {
                answer: Answer::Found(sample),
                ..
            } => see(&sample.id, sample.state),
            _ => {}
        }
    }
    sights
}

impl Tape {
    pub fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let mut reader = Reader::open(Arc::new(file), 0)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let header = reader.header().clone();
        let (mut told, mut ended) = (Vec::new(), false);
        let mut take = |item| match item {
            Item::Observation(observation) => told.push(observation),
            Item::End { .. } => ended = true,
            Item::Header(_) => panic!("a second header"),
        };
        while let Some(item) = reader.next_item().unwrap() {
            take(item);
        }
        while let Some(item) = reader.finish() {
            take(item);
        }
        Self {
            header,
            sights: sights(&told),
            told,
            ended,
            skipped: reader.skipped(),
            torn: reader.torn(),
        }
    }

    /// Like [`Tape::read`], of one that must be in good order to its end.
    pub fn whole(path: &Path) -> Self {
        let tape = Self::read(path);
        tape.is_readable();
        assert_eq!(tape.torn, 0);
        assert!(tape.ended, "{} has no end", path.display());
        tape.loses_nothing();
        tape
    }

    /// Every line that is whole says something. Observations may come later than others of their
    /// time: they are recorded in the order in which they were taken in.
    pub fn is_readable(&self) {
        let disordered = self.skipped.disordered;
        let expected = Skipped {
            disordered,
            ..Skipped::default()
        };
        assert_eq!(self.skipped, expected);
    }

    pub fn loses_nothing(&self) {
        let is_lost = |told: &&Observation| matches!(told.body, Body::Lost { .. });
        let lost: Vec<_> = self.told.iter().filter(is_lost).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    /// Whether something in it shows that end in that state.
    pub fn shows(&self, local: SocketAddr, remote: SocketAddr, state: TcpState) -> bool {
        let sight = (local.to_string(), remote.to_string(), state);
        self.sights.contains(&sight)
    }

    pub fn by(&self, source: SourceName) -> usize {
        let of = self.told.iter().filter(|told| told.source == source);
        of.count()
    }
}

/// A connection that is opened, closed and over. Its client's port, and when it was over.
pub struct Life {
    pub a: SocketAddr,
    pub b: SocketAddr,
    pub over: u64,
}

/// One after the other, until told to stop.
pub fn live(server: &TcpListener) -> Life {
    let mut pair = Pair::to(server);
    pair.close_client();
    pair.server_reads_to_end();
    pair.close_server();
    Life {
        a: pair.a,
        b: pair.b,
        over: clock::now().nanos(),
    }
}

/// Time itself has to pass.
pub fn pass(time: Duration) {
    let (_nobody, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(time).is_err());
}

/// Runs a command to its end; status, output, and complaints.
pub fn run(mut command: Command) -> (Option<i32>, Vec<u8>, String) {
    let child = while_nobody_closes(|| command.spawn()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), output.stdout, complaints)
}

/// `tcpwatch record` with these arguments, which ends at once.
pub fn refused(arguments: &[&str]) -> String {
    let mut all = vec!["record", "--duration", "100ms"];
    all.extend(arguments);
    let (status, _, complaints) = run(program(Path::new(PROGRAM), &all));
    assert_eq!(status, Some(2), "{arguments:?}: {complaints}");
    assert_eq!(complaints.lines().count(), 1, "{complaints}");
    complaints
}

pub fn bytes(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}
