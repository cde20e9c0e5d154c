//! How often to look: as often as asked, and never so often that the machine feels it.

use std::time::Duration;

/// A look may take this share of one core: one part in twenty.
const SHARE: u32 = 20;
/// However costly a look, it comes at least this often, unless the user asked for less.
const SLOWEST: Duration = Duration::from_secs(5);

/// The distance of two looks, from what they cost.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    asked: Duration,
    cost: Option<Duration>,
}

impl Pace {
    /// Looks every `asked`, stretched when a look takes more than a twentieth of that.
    pub const fn new(asked: Duration) -> Self {
        Self { asked, cost: None }
    }

    /// Takes in what a look cost.
    pub fn note(&mut self, cost: Duration) {
        self.cost = Some(match self.cost {
            None => cost,
            Some(before) => (before * 3 + cost) / 4,
        });
    }

    /// CPU time of a look, smoothed.
    pub const fn cost(&self) -> Option<Duration> {
        self.cost
    }

    /// The distance of two looks.
    pub fn period(&self) -> Duration {
        let due = self.cost.unwrap_or_default() * SHARE;
        self.asked.max(due.min(SLOWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cheap_looks_keep_the_period_and_costly_ones_stretch_it() {
        let mut pace = Pace::new(100 * MS);
        assert_eq!(pace.period(), 100 * MS);
        pace.note(MS);
        assert_eq!(pace.period(), 100 * MS);
        for _ in 0..40 {
            pace.note(62 * MS);
        }
        let period = pace.period();
        assert!(period > 1200 * MS && period <= 1240 * MS, "{period:?}");
        for _ in 0..40 {
            pace.note(MS);
        }
        assert_eq!(pace.period(), 100 * MS);
    }

    #[test]
    fn a_look_comes_every_five_seconds_or_as_seldom_as_asked() {
        let mut pace = Pace::new(MS);
        pace.note(900 * MS);
        assert_eq!(pace.period(), Duration::from_secs(5));
        assert_eq!(Pace::new(60_000 * MS).period(), 60_000 * MS);
    }
}
