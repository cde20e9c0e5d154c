//! One clock for everything that is observed.
//!
//! The trap: wall clocks step, and two of them disagree. Every source stamps with
//! `CLOCK_MONOTONIC` of the watched host; a stamp becomes a date only in the view, by an anchor.

use std::fmt;
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC` of the watched host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `by` more.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(by)))
    }

    /// This moment less `by`; the clock's start at the earliest.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(by)))
    }

    /// This moment by a clock that is ahead of ours by so many nanoseconds; the ends of the clock
    /// at the outside.
    #[must_use]
    pub const fn shifted(self, by: i64) -> Self {
        Self(self.0.saturating_add_signed(by))
    }

    /// The distance to `other`, whichever is the later.
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// A duration in nanoseconds, at most `u64::MAX` (584 years).
pub fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_below_its_start() {
        let early = Timestamp::from_nanos(5);
        assert_eq!(
            early.minus(Duration::from_secs(1)),
            Timestamp::from_nanos(0)
        );
        assert_eq!(early.since(Timestamp::from_nanos(9)), Duration::ZERO);
        assert_eq!(
            early.distance(Timestamp::from_nanos(9)),
            Duration::from_nanos(4)
        );
    }
}
