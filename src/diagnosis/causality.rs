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
//! [`Pair::sentence`] says it in English. Connections of which each host shows one end only, too far
//! apart in time to be paired, are kept aside: when there are enough of them, they say how far.
//!
//! A connection that breaks the order whatever the offset says nothing of clocks. It is counted by
//! itself ([`Pair::odd`]): its ends are paired wrongly, or were told out of order.
//!
//! The traps: the server's SYN_RECV is told by the kernel only when the handshake's last ACK has
//! come, so it is no proof of the SYN's arrival *before* the client's ESTABLISHED; and a reset, a
//! timeout or a segment that is sent again proves no order.

mod apart;
mod constraint;
mod offset;
mod sentence;

use std::time::Duration;

use crate::diagnosis::causality::apart::Alone;
pub use crate::diagnosis::causality::apart::Apart;
pub use crate::diagnosis::causality::constraint::Law;
use crate::diagnosis::causality::constraint::{Bounds, Constraint, constraints};
use crate::diagnosis::causality::offset::{Crowd, choose};
pub use crate::diagnosis::causality::sentence::Words;
use crate::timeline::{ConnId, Connection, Side};

/// Where only one bound is known the other is taken to be this far from it: a short way's delay.
const NEAR: i64 = 100_000;
/// One in so many is not a clock's doing when the others are in order.
const FEW: u64 = 10;

/// What all connections say of the clocks of the hosts that they join.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    pairs: Vec<Pair>,
    alone: Alone,
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
    /// How many of them break the protocol's order as things are, and would not with another
    /// offset.
    pub broken: u64,
    /// The worst of their breaches.
    pub worst: Option<Breach>,
    /// How many of them break it with any offset.
    pub odd: u64,
    /// The worst of the breaches of these.
    pub oddest: Option<Breach>,
    /// Connections of which each host shows one end, and whose ends are too far apart in time.
    pub apart: Option<Apart>,
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
        /// This one leaves the fewest broken, as far as the connections kept tell; `None` when that
        /// is how things are.
        offset: Option<i64>,
    },
    /// Most are in order as things are, and what mends the few others would break those.
    Stray,
    /// Most connections between the two are not joined, as their clocks are too far apart.
    Apart {
        /// This one would join them.
        offset: i64,
    },
}

impl Clocks {
    /// Takes in a connection. To be called once for each, when it is over or is not going on.
    pub fn take(&mut self, connection: &Connection) {
        let Some(hosts) = hosts_of(connection) else {
            self.alone.take(connection);
            return;
        };
        let mut said = constraints(connection, hosts).peekable();
        if said.peek().is_some() {
            self.pair(hosts).take(connection.id(), said);
        }
    }

    /// The pairs of hosts that have connections with each other, in order.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut all = self.clone();
        for (hosts, apart) in self.alone.apart() {
            all.pair(hosts).apart = Some(apart);
        }
        all.pairs
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
            odd: 0,
            oddest: None,
            apart: None,
            laws: 0,
            offsets: Bounds::NONE,
            crowd: Crowd::new(),
        }
    }

    fn take(&mut self, conn: ConnId, said: impl Iterator<Item = Constraint>) {
        let mut offsets = Bounds::NONE;
        let mut worst: Option<Breach> = None;
        let mut laws = 0;
        for constraint in said {
            self.constraints += 1;
            offsets = offsets.and(constraint.offsets);
            let breach = constraint.offsets.distance_of_zero();
            if breach > 0 {
                let (law, by) = (constraint.law, Duration::from_nanos(breach));
                laws |= 1 << law as u8;
                worst = worse(worst, Some(Breach { conn, law, by }));
            }
        }
        self.connections += 1;
        if offsets.is_empty() {
            self.odd += 1;
            self.oddest = worse(self.oddest, worst);
            return;
        }
        self.broken += u64::from(worst.is_some());
        self.worst = worse(self.worst, worst);
        self.laws |= laws;
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
        if let Some(apart) = self.apart
            && apart.connections > self.connections
        {
            let offset = apart.offset;
            return Finding::Apart { offset };
        }
        if self.broken == 0 {
            let (at_least, at_most) = self.offsets();
            return Finding::Agree { at_least, at_most };
        }
        if !self.offsets.is_empty() {
            let offset = choose(self.offsets, NEAR);
            return Finding::Mend { offset };
        }
        let overlap = self.crowd.overlap();
        if !overlap.contains(0) {
            let offset = Some(choose(overlap, NEAR));
            return Finding::Split { offset };
        }
        if self.broken.saturating_mul(FEW) <= self.connections {
            return Finding::Stray;
        }
        Finding::Split { offset: None }
    }

    /// The offsets among which the recommended one was chosen.
    fn recommended(&self) -> Bounds {
        match self.finding() {
            Finding::Apart { .. } => Bounds::NONE,
            _ if self.offsets.is_empty() => self.crowd.overlap(),
            _ => self.offsets,
        }
    }
}

fn worse(known: Option<Breach>, new: Option<Breach>) -> Option<Breach> {
    match (known, new) {
        (Some(known), Some(new)) if known.by < new.by => Some(new),
        (known, new) => known.or(new),
    }
}

#[cfg(test)]
mod tests;
