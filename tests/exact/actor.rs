//! A process of its own that holds a socket and does with it what it is told, saying when.
//!
//! It is forked, for only a fork shares a socket as forks do, and never runs another program. The
//! trap: it has copies of everything that any test has open, and what is closed meanwhile would not
//! be closed. So nobody closes until it has let go of them. And of the test's many threads it has
//! only one, so it may do nothing but system calls: it allocates nothing and takes no lock.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::life::{Who, me};
use crate::sockets::{Between, now_ns, while_nobody_closes};

/// What an actor can do with its socket.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// `shutdown(SHUT_WR)`
    ShutWrite,
    /// `close()`
    Close,
    /// `_exit(0)`
    Exit,
}

/// The process.
pub struct Actor {
    pid: Pid,
    comm: String,
    orders: PipeWriter,
    answers: PipeReader,
    is_over: bool,
}

impl Actor {
    /// Forks a process that has a copy of this socket, and of nothing else.
    pub fn holding(socket: &impl AsRawFd) -> Self {
        let (orders_in, orders) = pipe().unwrap();
        let (mut answers, answers_out) = pipe().unwrap();
        let comm = me().comm;
        let socket = socket.as_raw_fd();
        let pid = while_nobody_closes(|| {
            let pid = fork(socket, &orders_in, &answers_out);
            // Only then has it let go of the last copy.
            answers.read_exact(&mut [0]).unwrap();
            pid
        });
        Self {
            pid,
            comm,
            orders,
            answers,
            is_over: false,
        }
    }

    /// As the kernel names it.
    pub fn who(&self) -> Who {
        Who {
            pid: self.pid.as_raw_nonzero().get().unsigned_abs().into(),
            comm: self.comm.clone(),
        }
    }

    /// Lets it act; when it did. An exit is over when the process is.
    pub fn does(&mut self, act: Act) -> Between {
        self.orders.write_all(&[act as u8]).unwrap();
        let mut answer = [0; 16];
        self.answers.read_exact(&mut answer).unwrap();
        let [earliest, latest] = [0, 8].map(|at| {
            let bytes = answer[at..at + 8].try_into().unwrap();
            u64::from_ne_bytes(bytes)
        });
        match act {
            Act::Exit => Between {
                earliest,
                latest: self.is_waited_for(),
            },
            _ => Between { earliest, latest },
        }
    }

    /// Ends it by a signal; when.
    pub fn dies_of(&mut self, signal: Signal) -> Between {
        let earliest = now_ns();
        kill_process(self.pid, signal).unwrap();
        Between {
            earliest,
            latest: self.is_waited_for(),
        }
    }

    fn is_waited_for(&mut self) -> u64 {
        waitpid(Some(self.pid), WaitOptions::empty()).unwrap();
        self.is_over = true;
        now_ns()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if !self.is_over {
            // Not waited for yet, so its number is no one else's.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}

#[allow(unsafe_code, reason = "std starts other programs only")]
fn fork(socket: RawFd, orders: &PipeReader, answers: &PipeWriter) -> Pid {
    let (orders, answers) = (orders.as_raw_fd(), answers.as_raw_fd());
    // SAFETY: the child makes nothing but system calls until it exits.
    match unsafe { libc::fork() } {
        0 => {
            keep_only([socket, orders, answers]);
            obey(socket, orders, answers)
        }
        pid => Pid::from_raw(pid).expect("no fork"),
    }
}

#[allow(unsafe_code, reason = "the child may use only system calls")]
fn keep_only(mut kept: [RawFd; 3]) {
    kept.sort_unstable();
    let mut from = 0;
    for end in kept.into_iter().chain([RawFd::MAX]) {
        if from < end {
            // SAFETY: plain arguments; nothing of this process uses what is closed.
            unsafe { libc::syscall(libc::SYS_close_range, from, end - 1, 0) };
        }
        from = end.saturating_add(1);
    }
}

#[allow(unsafe_code, reason = "the child may use only system calls")]
fn obey(socket: RawFd, orders: RawFd, answers: RawFd) -> ! {
    // SAFETY: writes the one byte that there is.
    unsafe { libc::write(answers, [0_u8].as_ptr().cast(), 1) };
    loop {
        let mut order = 0_u8;
        // SAFETY: reads one byte into one byte.
        if unsafe { libc::read(orders, (&raw mut order).cast(), 1) } != 1 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) };
        }
        let earliest = now_ns();
        if order == Act::ShutWrite as u8 {
            // SAFETY: plain arguments.
            unsafe { libc::shutdown(socket, libc::SHUT_WR) };
        } else if order == Act::Close as u8 {
            // SAFETY: the socket is used no more.
            unsafe { libc::close(socket) };
        }
        let stamps = [earliest, now_ns()];
        // SAFETY: writes the 16 bytes that there are.
        unsafe { libc::write(answers, stamps.as_ptr().cast(), 16) };
        if order == Act::Exit as u8 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
    }
}
