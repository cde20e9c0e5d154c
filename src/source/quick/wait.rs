//! Waiting: poll() on what can wake the thread, with a time at which it must be awake.
//!
//! The trap: a descriptor that becomes readable with each event would wake us for each. So after
//! it was read, a [`Gap`] keeps it out of the poll for some milliseconds.

use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::model::Timestamp;
use crate::source::clock;

/// How late a timer may fire, in nanoseconds, for the kernel to save a wake-up. Its default of
/// 50 us is a twentieth of a tick.
const TIMER_SLACK: u64 = 1000;

/// Lets this thread's timers fire in time.
pub(super) fn sharpen_timers() {
    // Without it, ticks come a little late: nothing to report.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK));
}

/// Sleeps until one of these is readable or `until` has come, without end when that is `None`.
/// Says which are readable; a signal wakes with none.
pub(super) fn wait<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    until: Option<Timestamp>,
) -> [bool; N] {
    let timeout = until.map(|until| timespec(until.since(clock::now())));
    let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(N);
    polled.extend(
        fds.iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
    );
    let readable = matches!(poll(&mut polled, timeout.as_ref()), Ok(1..));
    let mut answers = polled.iter().map(|fd| !fd.revents().is_empty());
    fds.map(|fd| fd.is_some() && answers.next().unwrap_or(false) && readable)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// A pause after a reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gap(Timestamp);

impl Gap {
    /// Nothing more is read before then.
    pub(super) fn until(&mut self, at: Timestamp) {
        self.0 = at;
    }

    /// Whether it is over.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self.0 <= now
    }

    /// When it is over; `None` when it is.
    pub(super) fn end(self, now: Timestamp) -> Option<Timestamp> {
        (!self.is_over(now)).then_some(self.0)
    }
}
