//! What the protocol forces on two clocks: nothing is received before it was sent.
//!
//! [`Clocks::take`] is given every connection once, at the end of its life (when it is retired, or
//! when the recordings are at their end). Of each that has its ends on two hosts, what must have
//! been sent is held against what was received. A breach is certain only when the cause cannot
//! have been as early as the effect was late, so bounds count, not middles. What is left of the
//! offsets that would satisfy everything is an interval for each pair of hosts; memory does not
//! grow with the number of connections.
//!
//! An offset is added to the stamps of the *later* host of the pair ([`Pair::hosts`]`.1`), on top
//! of whatever they were shifted by already. [`Pair::finding`] says what to make of it, and
//! [`Pair::sentence`] says it in English.
//!
//! The traps: the server's SYN_RECV is told by the kernel only when the handshake's last ACK has
//! come, so it is no proof of the SYN's arrival *before* the client's ESTABLISHED; and a reset, a
//! timeout or a segment that is sent again proves no order.

mod constraint;
mod offset;

use std::time::Duration;

pub use crate::diagnosis::causality::constraint::Law;
use crate::diagnosis::causality::constraint::{Bounds, Constraint, constraints};
use crate::diagnosis::causality::offset::{Crowd, choose, written};
use crate::timeline::{ConnId, Connection, Side};

/// Where only one bound is known the other is taken to be this far from it: a short way's delay.
const NEAR: i64 = 100_000;

/// What all connections say of the clocks of the hosts that they join.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    pairs: Vec<Pair>,
}

/// What the connections between two hosts say of their clocks.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The two, by the number of their recording; the offset is that of the second.
    pub hosts: (u16, u16),
    /// How many orders were looked at.
    pub constraints: u64,
    /// How many connections had at least one.
    pub connections: u64,
    /// How many of them break the protocol's order as things are.
    pub broken: u64,
    /// The worst of the breaches.
    pub worst: Option<Breach>,
    laws: u8,
    offsets: Bounds,
    crowd: Crowd,
}

/// An effect that was certainly before its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The connection.
    pub conn: ConnId,
    /// What was before what.
    pub law: Law,
    /// By how much, at least.
    pub by: Duration,
}

/// What is to be made of two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All is in order. The offsets between the two bounds would leave it so, in nanoseconds;
    /// `None` where nothing bounds them.
    Agree {
        /// The smallest of them.
        at_least: Option<i64>,
        /// The greatest of them.
        at_most: Option<i64>,
    },
    /// This offset, in nanoseconds, would mend all.
    Mend {
        /// To be added to the second host's stamps.
        offset: i64,
    },
    /// No single offset mends all: one of the clocks was set, or they drift apart.
    Split {
        /// This one leaves the fewest broken, as far as the connections kept tell.
        offset: i64,
    },
}

impl Clocks {
    /// Takes in a connection. To be called once for each, when it is over or is not going on.
    pub fn take(&mut self, connection: &Connection) {
        let Some(hosts) = hosts_of(connection) else {
            return;
        };
        let mut said = constraints(connection, hosts).peekable();
        if said.peek().is_some() {
            self.pair(hosts).take(connection.id(), said);
        }
    }

    /// The pairs of hosts that have connections with each other.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = &Pair> {
        self.pairs.iter()
    }

    fn pair(&mut self, hosts: (u16, u16)) -> &mut Pair {
        let place = match self.pairs.binary_search_by_key(&hosts, |pair| pair.hosts) {
            Ok(place) => place,
            Err(place) => {
                self.pairs.insert(place, Pair::new(hosts));
                place
            }
        };
        &mut self.pairs[place]
    }
}

/// The hosts of the two ends, the first one first; `None` when they are on one, or one is unseen.
fn hosts_of(connection: &Connection) -> Option<(u16, u16)> {
    let host = |side| Some(connection.end(side)?.id().scope.host);
    let (a, b) = (host(Side::A)?, host(Side::B)?);
    (a != b && !connection.is_multipath()).then_some((a.min(b), a.max(b)))
}

impl Pair {
    const fn new(hosts: (u16, u16)) -> Self {
        Self {
            hosts,
            constraints: 0,
            connections: 0,
            broken: 0,
            worst: None,
            laws: 0,
            offsets: Bounds::NONE,
            crowd: Crowd::new(),
        }
    }

    fn take(&mut self, conn: ConnId, said: impl Iterator<Item = Constraint>) {
        let mut offsets = Bounds::NONE;
        let mut is_broken = false;
        for constraint in said {
            self.constraints += 1;
            offsets = offsets.and(constraint.offsets);
            let breach = constraint.offsets.distance_of_zero();
            if breach > 0 {
                is_broken = true;
                self.laws |= 1 << constraint.law as u8;
                let by = Duration::from_nanos(breach);
                let law = constraint.law;
                if self.worst.is_none_or(|worst| worst.by < by) {
                    self.worst = Some(Breach { conn, law, by });
                }
            }
        }
        self.connections += 1;
        self.broken += u64::from(is_broken);
        self.offsets = self.offsets.and(offsets);
        self.crowd.add(offsets);
    }

    /// The offsets that satisfy every connection, in nanoseconds: the smallest and the greatest,
    /// `None` where nothing bounds them. When no offset does, the first is above the second.
    pub const fn offsets(&self) -> (Option<i64>, Option<i64>) {
        (self.offsets.at_least, self.offsets.at_most)
    }

    /// What is to be made of the two clocks.
    pub fn finding(&self) -> Finding {
        if self.offsets.is_empty() {
            let offset = self.crowd.best();
            return Finding::Split { offset };
        }
        if self.broken == 0 {
            let (at_least, at_most) = self.offsets();
            return Finding::Agree { at_least, at_most };
        }
        let offset = choose(self.offsets, NEAR);
        Finding::Mend { offset }
    }

    /// The finding in a sentence. `name` gives a host's name, safe to print. `given` is the offset
    /// that the user has given for the second host already, nanoseconds: an option replaces the one
    /// before, so it is in the one that is recommended.
    pub fn sentence(&self, name: &dyn Fn(u16) -> String, given: i64) -> String {
        let (first, second) = (name(self.hosts.0), name(self.hosts.1));
        let all = self.connections;
        let noun = if all == 1 {
            "connection"
        } else {
            "connections"
        };
        // The option goes without a name to the second of two.
        let host = match self.hosts {
            (0, 1) => String::new(),
            _ => format!("{second}="),
        };
        let option = |offset: i64| {
            let inside = self.offsets.shifted(given);
            format!(
                "--offset {host}{}",
                written(offset.saturating_add(given), inside)
            )
        };
        match self.finding() {
            Finding::Agree { at_least, at_most } => {
                let agree = if all == 1 { "agrees" } else { "agree" };
                let range = range(at_least, at_most);
                format!("the clocks of {first} and {second}: {all} {noun} {agree} with {range}")
            }
            Finding::Mend { offset } => format!(
                "the clocks of {first} and {second} disagree: {} of {all} {noun} {}; {} would \
                 mend it",
                self.broken,
                self.what_broke(),
                option(offset)
            ),
            Finding::Split { offset } => format!(
                "the clocks of {first} and {second} disagree: {} of {all} {noun} {}, and no \
                 single offset mends all of them: a clock was set, or they drift apart; {} leaves \
                 the fewest",
                self.broken,
                self.what_broke(),
                option(offset)
            ),
        }
    }

    fn what_broke(&self) -> String {
        let Some(worst) = self.worst else {
            return "contradict each other".to_owned();
        };
        if self.laws.is_power_of_two() {
            return worst.law.broken().to_owned();
        }
        let by = written(
            i64::try_from(worst.by.as_nanos()).unwrap_or(i64::MAX),
            Bounds::NONE,
        );
        let law = worst.law.broken();
        format!(
            "break the order of the protocol (the worst, {}, {law}, by {by})",
            worst.conn
        )
    }
}

fn range(at_least: Option<i64>, at_most: Option<i64>) -> String {
    let text = |offset| written(offset, Bounds::NONE);
    match (at_least, at_most) {
        (Some(least), Some(most)) => format!("offsets from {} to {}", text(least), text(most)),
        (Some(least), None) => format!("offsets from {} on", text(least)),
        (None, Some(most)) => format!("offsets up to {}", text(most)),
        (None, None) => "any offset".to_owned(),
    }
}

#[cfg(test)]
mod tests;
