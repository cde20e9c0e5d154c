//! A process of its own that sends what it is given, and nothing else: to ask for a socket's
//! counters is to wait for its lock, and nothing ends that wait but who holds it.
//!
//! A thread would do for the waiting, and not for the end: a process is not over for whoever waits
//! for it before its last thread is, and one that waits for a socket's lock can't be killed. A
//! process that waits is left behind. Answers come to whoever has the netlink socket, so the one
//! that sends them on their way need not live.
//!
//! The trap: it is forked beside other threads, whose locks nobody will ever open again in the
//! copy. So it allocates nothing, and makes only calls that a signal handler may make. And it must
//! hold nothing of ours: a copied pipe keeps its reader waiting, a copied program in the kernel
//! keeps running.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

/// The longest batch.
pub(super) const ROOM: usize = 16 << 10;
/// One that does not wait for a lock ends at once when it is told so.
const TO_END: Duration = Duration::from_millis(100);
/// Where `close_range()` is not to be had: so many descriptors are closed one by one.
const DESCRIPTORS: RawFd = 4096;

/// The process, as we hold it.
pub(super) struct Helper {
    pid: Pid,
    /// Batches go there; how each was sent comes back. `None` only while it is being ended.
    line: Option<OwnedFd>,
    waits: bool,
}

/// How a batch was sent.
pub(super) enum Sent {
    /// Not yet: it is being asked.
    NotYet,
    /// The kernel has answered each question, or refused them all with this errno.
    Done(i32),
    /// The process is gone.
    Ended,
}

impl Helper {
    /// Starts it; it sends through this socket.
    pub(super) fn start(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let (line, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let pid = fork(theirs.as_raw_fd(), socket.as_raw_fd())?;
        Ok(Self {
            pid,
            line: Some(line),
            waits: false,
        })
    }

    /// Has a batch of at most [`ROOM`] bytes sent, as one datagram.
    pub(super) fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        let line = self.line.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        send(line, batch, SendFlags::NOSIGNAL)?;
        self.waits = true;
        Ok(())
    }

    /// Whether the batch has been sent.
    pub(super) fn sent(&mut self) -> Sent {
        let Some(line) = &self.line else {
            return Sent::Ended;
        };
        let mut errno = [0; 4];
        match recv(line, &mut errno, RecvFlags::DONTWAIT) {
            Ok((4, _)) => {
                self.waits = false;
                Sent::Done(i32::from_ne_bytes(errno))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Sent::NotYet,
            Ok(_) | Err(_) => Sent::Ended,
        }
    }

    /// Readable when a batch has been sent.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.line.as_ref().map(AsFd::as_fd)
    }

    /// Whether a batch is on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.waits
    }

    /// Whether it sleeps where no signal reaches it, as for a lock, and is not only kept from running
    /// by others. Where that can't be told it is believed.
    pub(super) fn is_blocked(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        // Its name, in parentheses, can hold anything.
        let state = stat.ok().and_then(|text| {
            let (_, rest) = text.rsplit_once(')')?;
            rest.trim_start().chars().next()
        });
        self.waits && state.is_none_or(|state| state == 'D')
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It reads the end of the line, and ends. Waiting for a lock, it does so later, without us.
        self.line = None;
        if !self.waits
            && let Ok(end) = pidfd_open(self.pid, PidfdFlags::empty())
            && let Ok(limit) = TO_END.try_into()
        {
            let _ = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&limit));
        }
        let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
    }
}

#[expect(unsafe_code, reason = "fork has no safe form")]
fn fork(line: RawFd, socket: RawFd) -> io::Result<Pid> {
    // SAFETY: the child does what `serve` does, which is what a signal handler may do, and never
    // returns.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: this is the child, and nobody else uses its descriptors.
            unsafe { serve(line, socket) }
        }
        pid => Pid::from_raw(pid.max(0)).ok_or_else(io::Error::last_os_error),
    }
}

/// Sends each batch that comes over the line, and says how that went, until the line ends.
///
/// # Safety
/// Only in a process that was just forked, of which it closes every other descriptor.
#[expect(
    unsafe_code,
    reason = "in a forked process only bare system calls will do"
)]
unsafe fn serve(line: RawFd, socket: RawFd) -> ! {
    let mut batch = [0_u8; ROOM];
    // SAFETY: each call is given numbers, or the place and length of a variable of this function.
    unsafe {
        // Who ends us does it by the end of the line, or by SIGKILL; the handlers are not ours.
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
        close_others(line.min(socket), line.max(socket));
        loop {
            let length = libc::recv(line, batch.as_mut_ptr().cast(), ROOM, 0);
            let Ok(length @ 1..) = usize::try_from(length) else {
                libc::_exit(0);
            };
            let sent = libc::send(socket, batch.as_ptr().cast(), length, 0);
            let errno = if sent < 0 {
                *libc::__errno_location()
            } else {
                0
            };
            libc::send(
                line,
                (&raw const errno).cast(),
                size_of::<i32>(),
                libc::MSG_NOSIGNAL,
            );
        }
    }
}

/// Closes all descriptors but these two.
///
/// # Safety
/// As [`serve`].
#[expect(
    unsafe_code,
    reason = "closes what others in the copied memory believe open"
)]
unsafe fn close_others(low: RawFd, high: RawFd) {
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: the caller's.
        unsafe {
            if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
                for fd in first..=last.min(DESCRIPTORS) {
                    libc::close(fd);
                }
            }
        }
    }
}
