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
        self.asked.max(self.least())
    }

    /// The least distance of two looks, however often somebody wants one.
    pub fn least(&self) -> Duration {
        (self.cost.unwrap_or_default() * SHARE).min(SLOWEST)
    }
}

/// A lookup costs about this much, before it was measured.
const LOOKUP_COST: f64 = 1e-6;
/// The allowance grows by at most this factor from one account to the next.
const RECOVERY: f64 = 1.2;
/// Whoever takes nine tenths of what is allowed would take more.
const LIMITED: f64 = 0.9;
/// Even a machine that is far too slow gets a lookup now and then.
const LEAST: f64 = 2.0;
/// An account takes away no more than this part of the allowance.
const DEEPEST: f64 = 4.0;

/// How many lookups a second may be made for a share of a core.
///
/// It is kept by what a thread really used: over the share it falls at once by as much, below it
/// rises step by step while it is what limits.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    share: f64,
    allowed: f64,
}

impl Budget {
    /// A budget of this share of one core.
    pub fn new(share: f64) -> Self {
        Self {
            share,
            allowed: (share / LOOKUP_COST).max(LEAST),
        }
    }

    /// The share of a core.
    pub const fn share(&self) -> f64 {
        self.share
    }

    /// Lookups a second.
    pub const fn allowed(&self) -> f64 {
        self.allowed
    }

    /// Takes in an account: `lookups` were made in `wall`, in which the thread used `cpu`.
    pub fn note(&mut self, cpu: Duration, wall: Duration, lookups: u64) {
        if wall.is_zero() {
            return;
        }
        let used = cpu.as_secs_f64() / wall.as_secs_f64();
        let rate = lookups as f64 / wall.as_secs_f64();
        let room = if used > 0.0 {
            self.share / used
        } else {
            RECOVERY
        };
        if room < 1.0 {
            // One account can be odd: few lookups, and much that a starved thread did beside them.
            let wanted = self.allowed.min(rate) * room;
            self.allowed = wanted.max(self.allowed / DEEPEST).max(LEAST);
        } else if rate >= LIMITED * self.allowed {
            self.allowed *= room.min(RECOVERY);
        }
    }
}

/// Deals out an allowance of lookups a second to groups of sockets in their order: each gets at
/// most the rate that it wants, in looks a second of each of its sockets, and one that would get
/// less than its `least` gets none.
pub fn deal<const N: usize>(allowed: f64, groups: [Group; N]) -> [f64; N] {
    let mut rest = allowed;
    groups.map(|group| {
        if group.sockets == 0 {
            return 0.0;
        }
        let sockets = group.sockets as f64;
        let rate = group.wanted.min(rest.max(0.0) / sockets);
        if rate < group.least {
            return 0.0;
        }
        rest -= rate * sockets;
        rate
    })
}

/// Sockets that are looked at alike.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// How many.
    pub sockets: usize,
    /// Looks a second that each shall get.
    pub wanted: f64,
    /// Fewer are not worth it.
    pub least: f64,
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

    /// A thread whose CPU time is a fixed part for its ticks and a part for each lookup.
    fn live(budget: &mut Budget, wanted: f64, lookup: f64, seconds: usize) -> f64 {
        let window = 0.05;
        let mut worst_second: f64 = 0.0;
        for _ in 0..seconds {
            let mut second = 0.0;
            for _ in 0..20 {
                let lookups = budget.allowed().min(wanted) * window;
                let cpu = 0.005 * window + lookups * lookup;
                second += cpu;
                let (cpu, wall) = (
                    Duration::from_secs_f64(cpu),
                    Duration::from_secs_f64(window),
                );
                budget.note(cpu, wall, lookups as u64);
            }
            worst_second = worst_second.max(second);
        }
        worst_second
    }

    #[test]
    fn a_budget_is_kept_whatever_a_lookup_costs_and_recovers() {
        let mut budget = Budget::new(0.05);
        // Dear lookups: the first account is over, and none after it.
        let first = live(&mut budget, 200_000.0, 20e-6, 1);
        assert!(first < 0.11, "{first}");
        let kept = live(&mut budget, 200_000.0, 20e-6, 5);
        assert!((0.045..=0.0505).contains(&kept), "{kept}");
        assert!(budget.allowed() < 2500.0, "{budget:?}");
        // Cheap ones again: it takes what it may, and no more.
        let kept = live(&mut budget, 200_000.0, 0.5e-6, 5);
        assert!((0.045..=0.0505).contains(&kept), "{kept}");
        assert!(budget.allowed() > 80_000.0, "{budget:?}");
    }

    #[test]
    fn few_lookups_are_not_limited() {
        let mut budget = Budget::new(0.05);
        live(&mut budget, 2000.0, 1e-6, 3);
        assert!(budget.allowed() >= 50_000.0, "{budget:?}");
        let mut none = Budget::new(0.0);
        none.note(MS, 50 * MS, 100);
        assert!(none.allowed() >= 1.0, "{none:?}");
    }

    #[test]
    fn what_moves_is_served_first_and_what_would_get_too_little_is_left() {
        let group = |sockets, wanted, least| Group {
            sockets,
            wanted,
            least,
        };
        let groups = [
            group(10, 1000.0, 0.0),
            group(100, 1000.0, 10.0),
            group(40, 100.0, 10.0),
        ];
        assert_eq!(deal(1e9, groups), [1000.0, 1000.0, 100.0]);
        assert_eq!(deal(50_000.0, groups), [1000.0, 400.0, 0.0]);
        assert_eq!(deal(10_500.0, groups), [1000.0, 0.0, 12.5]);
        assert_eq!(deal(5_000.0, groups), [500.0, 0.0, 0.0]);
        assert_eq!(deal(5_000.0, [group(0, 1000.0, 0.0)]), [0.0]);
    }

    #[test]
    fn one_odd_account_does_not_stop_the_following() {
        let mut budget = Budget::new(0.02);
        let before = budget.allowed();
        // Starved: one lookup was made, and the time went elsewhere.
        budget.note(300 * MS, 1000 * MS, 1);
        assert!(budget.allowed() >= before / DEEPEST);
        for _ in 0..12 {
            budget.note(300 * MS, 1000 * MS, 1);
        }
        assert!(budget.allowed() < 10.0, "what goes on is believed");
    }
}
