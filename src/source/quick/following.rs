//! Following within a budget: keeps the account of the CPU time that the thread uses, deals out
//! lookups by it, and says at what rate ends are looked at.
//!
//! The trap: reading the thread's CPU time is a system call, as dear as a lookup. So accounts are
//! made twenty times a second and not at each tick. Where kernel events run, reading them is not
//! on the budget, so there only the lookups themselves are measured.

use std::time::Duration;

use crate::model::{Ask, FourTuple, Observation, SockId, SourceName, SourceState, Timestamp};
use crate::source::clock;
use crate::source::pace::Budget;
use crate::source::quick::batch::state;
use crate::source::quick::questions::{Allowance, questions};
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::follow::{Follower, Manner};

/// How often the account is made.
const ACCOUNT: Duration = Duration::from_millis(50);
/// A span with more than this much sleep in it says nothing of how we work.
const ASLEEP: Duration = Duration::from_millis(500);
/// How often a FIN_WAIT2 mini-socket is looked at.
const MINI_PERIOD: Duration = Duration::from_millis(100);
/// How often the rate is said, at most.
const ANNOUNCED: Duration = Duration::from_secs(5);

/// The follower and its budget.
pub(super) struct Following {
    follower: Follower,
    manner: Manner,
    budget: Budget,
    account: Account,
    announced: Announced,
    /// For what kernel events leave open.
    allowance: Allowance,
}

/// What was used by then.
#[derive(Clone, Copy, Default)]
struct Account {
    at: Timestamp,
    cpu: Duration,
    lookups: u64,
    /// CPU time of a lookup and its part of the tick, smoothed.
    cost: Option<Duration>,
}

/// What was last said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Announced {
    at: Timestamp,
    period: Duration,
    is_limited: bool,
}

impl Following {
    /// Begins, and says so.
    pub(super) fn new(
        follower: Follower,
        manner: Manner,
        share: f64,
        out: &mut Vec<Observation>,
    ) -> Self {
        let now = clock::now();
        let mut following = Self {
            follower,
            manner,
            budget: Budget::new(share),
            account: Account::default(),
            announced: Announced {
                at: Timestamp::default(),
                period: Duration::MAX,
                is_limited: false,
            },
            allowance: Allowance::new(share, now),
        };
        following.announce(now, out);
        following
    }

    pub(super) fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Follow(id) => self.follower.follow(id),
            Ask::Leave(id) => self.follower.leave(&id),
            Ask::Confirm(_)
            | Ask::Holders(_)
            | Ask::NoHolders(_)
            | Ask::Info(_)
            | Ask::Keyframe => {}
        }
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.follower.due(self.budget.allowed())
    }

    /// Looks at those whose turn it is, if any.
    pub(super) fn round(
        &mut self,
        now: Timestamp,
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        if self.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.follower.round(self.budget.allowed(), now, out)?;
        if now.since(self.account.at) >= ACCOUNT {
            self.make_account(now);
            self.announce(now, out);
        }
        Ok(())
    }

    /// The followed end of a freed socket.
    pub(super) fn known(&self, id: &SockId) -> Option<SockId> {
        self.follower.known(id.cookie?)
    }

    /// Looks at the followed ends of these connections now.
    pub(super) fn look_at(
        &mut self,
        tuples: &[FourTuple],
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        self.follower.look_at(tuples, out)
    }

    /// Looks at everybody now.
    pub(super) fn look_at_all(&mut self, out: &mut Vec<Observation>) -> Result<(), DiagError> {
        self.follower.look_at_all(out)
    }

    /// Asks what these events leave open, as far as the budget allows it.
    pub(super) fn answer(
        &mut self,
        events: &[Observation],
        now: Timestamp,
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        let Self {
            follower,
            allowance,
            ..
        } = self;
        let mut asked = questions(events, |id| follower.mirror_is_orphan(id));
        if asked.is_empty() {
            return Ok(());
        }
        // The newest first to be asked: of them most is to be learnt.
        let most = allowance.lookups(now);
        asked.drain(..asked.len().saturating_sub(most));
        let (cpu, made) = (clock::thread_cpu(), follower.made());
        let result = follower.ask(&asked, out);
        let used = clock::thread_cpu().saturating_sub(cpu);
        allowance.spend(follower.made() - made, used);
        result
    }

    fn make_account(&mut self, now: Timestamp) {
        let before = self.account;
        let (cpu, lookups) = (clock::thread_cpu(), self.follower.made());
        self.account = Account {
            at: now,
            cpu,
            lookups,
            cost: before.cost,
        };
        let wall = now.since(before.at);
        if wall > ASLEEP || self.manner.events {
            return;
        }
        let (cpu, lookups) = (cpu.saturating_sub(before.cpu), lookups - before.lookups);
        self.budget.note(cpu, wall, lookups);
        if let Ok(lookups @ 1..) = u32::try_from(lookups) {
            let cost = cpu / lookups;
            self.account.cost = Some(before.cost.map_or(cost, |known| (known * 3 + cost) / 4));
        }
    }

    /// Once: where events run, only mini-sockets are followed, slowly.
    fn announce_beside_events(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        if self.announced.period != Duration::MAX {
            return;
        }
        self.announced.period = MINI_PERIOD;
        self.announced.at = now;
        out.push(state(
            SourceName::Follow,
            SourceState::Running {
                period: MINI_PERIOD,
                cost: None,
                why: Some("only what events leave open".into()),
            },
        ));
    }

    /// Says at what rate ends that move are looked at, when that is new or differs by a fifth.
    fn announce(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        if self.manner.events {
            return self.announce_beside_events(now, out);
        }
        let full = 1.0 / f64::from(self.manner.rate.max(1));
        let (ends, rate) = self.follower.fast(self.budget.allowed());
        let is_limited = ends > 0 && rate * full < 0.9;
        let period = if ends > 0 && rate > 0.0 {
            Duration::from_secs_f64(1.0 / rate)
        } else {
            Duration::from_secs_f64(full)
        };
        let before = self.announced;
        let is_news = is_limited != before.is_limited
            || before.period.abs_diff(period) > before.period.min(period) / 2;
        if !is_news || (now.since(before.at) < ANNOUNCED && before.period != Duration::MAX) {
            return;
        }
        self.announced = Announced {
            at: now,
            period,
            is_limited,
        };
        let share = self.budget.share() * 100.0;
        let why = is_limited.then(|| {
            let s = if ends == 1 { "" } else { "s" };
            format!("{ends} end{s} at {rate:.0} Hz: the budget of {share} % of a core is used up")
        });
        out.push(state(
            SourceName::Follow,
            SourceState::Running {
                period,
                // Of a round at all that move.
                cost: self
                    .account
                    .cost
                    .map(|cost| cost * u32::try_from(ends).unwrap_or(u32::MAX)),
                why,
            },
        ));
    }
}
