//! The program itself, as a user runs it: a process whose output is read as it comes.
//!
//! The trap: nothing here may wait by sleeping. A line is awaited with a deadline, the end of the
//! process by the end of its output, and whatever happens to the test, the process ends with it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tcpwatch::source::clock;

use crate::sockets::{PATIENCE, Pair, while_nobody_closes};
use crate::story::{Story, describe};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpwatch");

/// Somebody who is not root.
pub const NOBODY: u32 = 65534;

/// The program with these arguments, with nothing in its environment that changes what it prints.
pub fn program(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    run_to_end(program(Path::new(PROGRAM), arguments))
}

/// Runs a command to its end.
pub fn run_to_end(mut command: Command) -> Output {
    let child = while_nobody_closes(|| command.spawn()).unwrap();
    child.wait_with_output().unwrap()
}

/// A running program that prints JSON lines.
pub struct Watcher {
    child: Child,
    lines: Receiver<String>,
    stderr: ChildStderr,
    /// What it has printed so far.
    pub seen: Vec<Value>,
}

impl Watcher {
    /// Watches live through one source, every 10 ms unless said otherwise. The source "events" is
    /// `sock-diag` with them; the others are without.
    pub fn on(source: &str, arguments: &[&str]) -> Self {
        let (source, events) = match source {
            "events" => ("sock-diag", "on"),
            other => (other, "off"),
        };
        let mut all = vec!["--format", "json", "--source", source, "--events", events];
        if !arguments.contains(&"--interval") {
            all.extend(["--interval", "10ms"]);
        }
        all.extend(arguments);
        Self::start(&all)
    }

    /// Runs the program with exactly these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(program(Path::new(PROGRAM), arguments))
    }

    /// Runs a copy of the program as an ordinary user.
    pub fn start_as_nobody(path: &Path, arguments: &[&str]) -> Self {
        Self::spawn(program_as_nobody(path, arguments))
    }

    /// Runs this command, which becomes the program.
    pub fn of(command: Command) -> Self {
        Self::spawn(command)
    }

    /// Returns when the first line has come: the first look is made by then, so that whatever
    /// comes later is seen to be born.
    fn spawn(mut command: Command) -> Self {
        let mut child = while_nobody_closes(|| command.spawn()).unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = child.stderr.take().unwrap();
        let mut watcher = Self {
            child,
            lines,
            stderr,
            seen: Vec::new(),
        };
        watcher.wait_for("its first line", |line| line["type"] == "session");
        watcher
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The first line that satisfies the condition, among those seen and those to come.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.seen.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        let begun = clock::now();
        loop {
            let left = PATIENCE.saturating_sub(clock::now().since(begun));
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let line = parsed(&line);
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("waited in vain for {what}; seen:\n{}", describe(&self.seen))
                }
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "the program ended without {what}: {}; seen:\n{}",
                    self.complaints(),
                    describe(&self.seen)
                ),
            }
        }
    }

    /// Waits until an end of the connection is shown in a state.
    pub fn sees(&mut self, pair: &Pair, end: &str, state: &str) -> Value {
        let local = if end == "a" { pair.a } else { pair.b }.to_string();
        let remote = if end == "a" { pair.b } else { pair.a }.to_string();
        self.wait_for(&format!("{end} {local} in {state}"), |line| {
            line["type"] == "transition"
                && line["to"] == state
                && line["local"] == *local
                && line["remote"] == *remote
        })
    }

    /// Waits until end A is shown to have shut down its write side and still be held.
    pub fn sees_held_fin_wait2(&mut self, pair: &Pair) {
        let local = pair.a.to_string();
        self.wait_for(&format!("{local} shut down and held"), |line| {
            line["type"] == "transition"
                && line["local"] == *local
                && line["to"] == "FIN_WAIT2"
                && line["descriptor"] == "held"
        });
    }

    /// Waits until both ends are shown in ESTABLISHED.
    pub fn sees_established(&mut self, pair: &Pair) {
        self.sees(pair, "a", "ESTABLISHED");
        self.sees(pair, "b", "ESTABLISHED");
    }

    /// Waits until the connection is shown for the first time.
    pub fn sees_open(&mut self, pair: &Pair) -> Value {
        let (a, b) = (pair.a.to_string(), pair.b.to_string());
        self.wait_for(&format!("the opening of {a} {b}"), |line| {
            line["type"] == "open" && line["a"] == *a && line["b"] == *b
        })
    }

    /// Waits until the connection is over; its verdict.
    pub fn sees_closed(&mut self, pair: &Pair) -> Value {
        let conn = self.sees_open(pair)["conn"].clone();
        self.wait_for(&format!("the end of #{conn}"), |line| {
            line["type"] == "closed" && line["conn"] == conn
        })["verdict"]
            .clone()
    }

    /// Waits until the connection is over, and is said to have ended like this; the verdict.
    pub fn sees_end(&mut self, pair: &Pair, code: &str) -> Value {
        let verdict = self.sees_closed(pair);
        let kernel = (pair.client_state(), pair.server_state());
        assert_eq!(
            verdict["code"],
            code,
            "the kernel has {kernel:?}; seen:\n{}",
            describe(&self.seen)
        );
        verdict
    }

    /// Asks the program to end in good order, and takes in the rest.
    pub fn finish(self) -> Story {
        self.finish_by(Signal::TERM)
    }

    /// Ends the program by this signal: with status 0, its last lines flushed.
    pub fn finish_by(self, signal: Signal) -> Story {
        kill_process(self.pid(), signal).unwrap();
        let (story, status) = self.rest();
        assert_eq!(status, Some(0), "after {signal:?}");
        story
    }

    /// Waits for the program's own end; the story, checked, and the exit status.
    pub fn rest(self) -> (Story, Option<i32>) {
        let (lines, status) = self.all_lines();
        (Story::of(lines), status)
    }

    /// Like [`Watcher::finish`], of a run in which something may be missed.
    pub fn finish_with_losses(self) -> Story {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let (lines, status) = self.all_lines();
        assert_eq!(status, Some(0));
        Story::with_losses(lines)
    }

    /// Waits for the program's own end; all lines, and the exit status.
    fn all_lines(mut self) -> (Vec<Value>, Option<i32>) {
        let begun = clock::now();
        loop {
            let left = PATIENCE.saturating_sub(clock::now().since(begun));
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(parsed(&line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the program does not end"),
            }
        }
        let status = self.child.wait().unwrap();
        let complaints = self.complaints();
        // What a recording beside it came to is said there.
        let mut others = complaints
            .lines()
            .filter(|line| !line.starts_with("tcpwatch: recorded "));
        assert_eq!(others.next(), None, "JSON needs no words beside it");
        (std::mem::take(&mut self.seen), status.code())
    }

    /// What it says on standard error, to the end.
    fn complaints(&mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a process, whatever comes of that.
pub fn end(child: &mut Child) {
    // Fails only when it has ended already; until it is waited for, its pid is no one else's.
    let _ = child.kill();
    let _ = child.wait();
}

/// The program as an ordinary user runs it, from a copy that everybody may read.
pub fn program_as_nobody(path: &Path, arguments: &[&str]) -> Command {
    let mut command = program(path, arguments);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

fn parsed(line: &str) -> Value {
    assert!(!line.chars().any(char::is_control), "raw: {line:?}");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
