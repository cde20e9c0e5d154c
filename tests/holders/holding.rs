//! Processes that hold a socket: shells that take orders, and the sets that somebody else sees.
//!
//! A shell gets the socket as its standard error, so nothing is inherited by chance. The trap: any
//! process that is being started by another test has copies of all for a moment, so these tests run
//! one after the other.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tcpwatch::model::{Ask, Body, Holders, Observation, Scope};
use tcpwatch::source::clock;
use tcpwatch::source::holders::Watch;

use crate::sockets::PATIENCE;

static ALONE: Mutex<()> = Mutex::new(());

/// Keeps the other tests of this file waiting.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The inode of a socket file.
pub fn inode(socket: &impl AsFd) -> u32 {
    let stat = rustix::fs::fstat(socket).unwrap();
    stat.st_ino.try_into().unwrap()
}

/// A copy that no process inherits.
pub fn copy(socket: &impl AsFd) -> OwnedFd {
    socket.as_fd().try_clone_to_owned().unwrap()
}

/// A shell that holds a socket as its descriptor 2.
pub struct Shell {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts it.
    pub fn holding(socket: &impl AsFd) -> Self {
        Self::of(Command::new("/bin/sh"), socket)
    }

    /// Starts a shell with a user, or a name.
    pub fn of(mut command: Command, socket: &impl AsFd) -> Self {
        let mut child = command
            .args(["-c", "while read line; do eval \"$line\"; echo done; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(copy(socket)))
            .process_group(0)
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut shell = Self {
            child,
            orders,
            answers,
        };
        shell.does(":");
        shell
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something; returns when it is done.
    pub fn does(&mut self, order: &str) {
        self.starts(order);
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "after {order}");
    }

    /// Has it do something that it does not come back from.
    pub fn starts(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Ends it by a signal, and not its children.
    pub fn is_killed(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by a signal and leaves it a zombie.
    pub fn becomes_a_zombie(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It leads a group of its own: its children end with it.
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The thread that watches, and what it has said.
pub struct Watching {
    asks: Sender<Vec<Ask>>,
    said: Receiver<Vec<Observation>>,
    /// All sets so far, as they came.
    pub sets: Vec<(u64, Holders)>,
}

impl Watching {
    /// Starts it, as a live run does.
    pub fn start() -> Self {
        let (asks, asked) = mpsc::channel();
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            let watch = Watch::open(Scope::default(), true, &mut Vec::new());
            watch.run(&asked, |batch| say.send(batch).is_ok());
        });
        Self {
            asks,
            said,
            sets: Vec::new(),
        }
    }

    /// Starts it, and asks for this socket.
    pub fn over(socket: &impl AsFd) -> Self {
        let watching = Self::start();
        watching.ask(Ask::Holders(inode(socket)));
        watching
    }

    pub fn ask(&self, ask: Ask) {
        self.asks.send(vec![ask]).unwrap();
    }

    /// The first set from the `from`th on that is as wanted; when it was said, and its number.
    pub fn sees(
        &mut self,
        from: usize,
        what: &str,
        wanted: impl Fn(&Holders) -> bool,
    ) -> (usize, u64, Holders) {
        let begun = clock::now();
        let mut next = from;
        loop {
            while let Some((at, set)) = self.sets.get(next) {
                if wanted(set) {
                    return (next, *at, set.clone());
                }
                next += 1;
            }
            let left = PATIENCE.saturating_sub(clock::now().since(begun));
            let Ok(batch) = self.said.recv_timeout(left) else {
                panic!("waited in vain for {what}; seen: {:#?}", self.sets);
            };
            for told in batch {
                if let Body::Holders(set) = told.body {
                    assert!(set.begun <= told.at, "{set:?}");
                    assert!(
                        set.unchanged.is_none_or(|since| since <= set.begun),
                        "{set:?}"
                    );
                    self.sets.push((told.at.nanos(), set));
                }
            }
        }
    }

    /// Waits until exactly these processes hold it.
    pub fn sees_pids(&mut self, from: usize, pids: &[u32]) -> (usize, u64, Holders) {
        let mut sorted = pids.to_vec();
        sorted.sort_unstable();
        self.sees(from, &format!("{sorted:?}"), |set| pids_of(set) == sorted)
    }
}

pub fn pids_of(set: &Holders) -> Vec<u32> {
    set.holders
        .iter()
        .map(|holder| holder.program.id.pid)
        .collect()
}
