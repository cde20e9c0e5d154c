//! The thresholds of the rules: from when on something that is always there for a moment counts.
//!
//! The trap: each is a promise that no healthy program is spoken of. Lower one only with a test of a
//! healthy server under load beside it (tests/rules.rs).

use std::time::Duration;

/// Thresholds. Their defaults, and why, are in docs/diagnosis.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A CLOSE_WAIT, or a FIN_WAIT2, is old from then on (`--older-than`).
    pub older_than: Duration,
    /// A half-close in use is as it should be until then.
    pub half_close: Duration,
    /// A SYN or FIN that nobody has acknowledged for so long, and that was sent again, is unanswered.
    /// The kernel sends it again after 0.2 s, 0.6 s, 1.4 s (a SYN after 1 s and 2 s): one that is
    /// lost by chance is answered long before.
    pub unanswered: Duration,
    /// A window that every look of so long has shown shut. A reader that is slow for a moment is
    /// how flow control works.
    pub window_shut: Duration,
    /// A process hands a socket over to another faster than this: `fork()` and `close()` take
    /// milliseconds.
    pub handover: Duration,
    /// What one end has done reaches the other end on the same host within this.
    pub half_open: Duration,
    /// An accept queue that was full in two looks this far apart was not emptied by a program that is
    /// just busy. `doctor` looks twice, 200 ms apart.
    pub listener_full: Duration,
    /// TIME_WAITs to one destination, in percent of the ports that there are.
    pub time_wait_percent: u32,
    /// Ports in use to one destination, in percent of the ports that there are.
    pub ports_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            older_than: Duration::from_secs(30),
            half_close: Duration::from_secs(300),
            unanswered: Duration::from_secs(3),
            window_shut: Duration::from_secs(5),
            handover: Duration::from_secs(1),
            half_open: Duration::from_secs(5),
            listener_full: Duration::from_millis(100),
            time_wait_percent: 50,
            ports_percent: 90,
        }
    }
}
