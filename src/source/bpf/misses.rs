//! How many events were lost because the kernel skipped both programs of a tracepoint.
//!
//! The trap: the kernel counts a skipped program at once, and the other one counts the event that
//! it tells instead a moment later, or much later when the machine itself is not running. So a
//! number of skipped ones is held against the rescued ones of a second after.

use std::time::Duration;

use crate::model::Timestamp;

/// How often the kernel is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// What is known of them.
#[derive(Debug, Default)]
pub struct Misses {
    /// Something came since the kernel was asked.
    pub is_busy: bool,
    asked: u64,
    /// What it said then.
    skipped: u64,
    said: u64,
}

impl Misses {
    /// How many more are lost for certain. `ask` gives how many the first programs missed and how
    /// many of these the second ones told.
    pub fn lost(&mut self, now: Timestamp, ask: impl FnOnce() -> (u64, u64)) -> u64 {
        let since = now.since(Timestamp::from_nanos(self.asked));
        if !self.is_busy || since < PERIOD {
            return 0;
        }
        self.asked = now.nanos();
        let (skipped, rescued) = ask();
        // Once more, when it is quiet, for those of the last second.
        self.is_busy = skipped != self.skipped;
        let lost = self.skipped.saturating_sub(rescued);
        self.skipped = skipped;
        let more = lost.saturating_sub(self.said);
        self.said += more;
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_told_is_lost_and_said_once() {
        let mut misses = Misses::default();
        let mut at = |second: u64, skipped, rescued| {
            misses.is_busy = true;
            misses.lost(Timestamp::from_nanos(second * 1_000_000_000), || {
                (skipped, rescued)
            })
        };
        assert_eq!(at(1, 2, 1), 0, "it may be told yet");
        assert_eq!(at(2, 3, 2), 0);
        assert_eq!(at(3, 3, 2), 1);
        assert_eq!(at(4, 3, 2), 0, "it has been said");
        assert_eq!(at(4, 9, 2), 0, "not asked so soon");
        assert_eq!(at(5, 9, 4), 0);
        assert_eq!(at(6, 9, 7), 1);
        assert_eq!(at(7, 9, 10), 0, "never negative");
    }

    #[test]
    fn when_it_is_quiet_it_is_asked_once_more() {
        let mut misses = Misses {
            is_busy: true,
            ..Misses::default()
        };
        let second = |number: u64| Timestamp::from_nanos(number * 1_000_000_000);
        assert_eq!(misses.lost(second(1), || (4, 3)), 0);
        assert_eq!(misses.lost(second(2), || (4, 3)), 1);
        assert_eq!(misses.lost(second(3), || unreachable!("quiet")), 0);
    }
}
