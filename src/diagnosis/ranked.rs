//! The findings in the order in which a person wants to read them, and by connection, so that a
//! view takes what is in sight and counts nothing.
//!
//! Knows findings and no tracker. The trap: a finding changes its place (its severity rises, it is
//! over), and a place that is not left is a finding that is shown twice.

use std::collections::BTreeSet;
use std::ops::RangeBounds;

use crate::diagnosis::finding::{Finding, Severity};
use crate::timeline::ConnId;

/// Where a finding stands among all: worst first; of one severity those that hold, oldest first,
/// then facts, newest first; what is over comes last, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    class: u8,
    turn: u64,
    number: u64,
}

/// The class of all that is over.
const OVER: u8 = 6;

impl Place {
    /// The finding's number.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// The place of a finding as it is now.
    pub fn of(finding: &Finding) -> Self {
        let is_fact = finding.code.is_fact();
        let newest_first = is_fact || finding.over.is_some();
        let class = match finding.severity {
            _ if finding.over.is_some() => OVER,
            Severity::Error => u8::from(is_fact),
            Severity::Warn => 2 + u8::from(is_fact),
            Severity::Info => 4 + u8::from(is_fact),
        };
        Self {
            class,
            turn: if newest_first {
                u64::MAX - finding.number
            } else {
                finding.number
            },
            number: finding.number,
        }
    }
}

/// Numbers of findings, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranked {
    places: BTreeSet<Place>,
    about: BTreeSet<(ConnId, u64)>,
    /// Those that are not over, by severity.
    counts: [usize; 3],
}

impl Ranked {
    /// Takes in a finding.
    pub(super) fn enter(&mut self, finding: &Finding) {
        self.places.insert(Place::of(finding));
        for conn in finding.subject.connections() {
            self.about.insert((conn, finding.number));
        }
        if finding.over.is_none() {
            self.counts[finding.severity as usize] += 1;
        }
    }

    /// Forgets a finding, which is as it was when it was taken in.
    pub(super) fn leave(&mut self, finding: &Finding) {
        self.places.remove(&Place::of(finding));
        for conn in finding.subject.connections() {
            self.about.remove(&(conn, finding.number));
        }
        if finding.over.is_none() {
            let count = &mut self.counts[finding.severity as usize];
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn places(
        &self,
        range: impl RangeBounds<Place>,
    ) -> impl DoubleEndedIterator<Item = Place> {
        self.places.range(range).copied()
    }

    /// The numbers of all that is kept about a connection, oldest first.
    pub(super) fn about(&self, conn: ConnId) -> impl Iterator<Item = u64> {
        let all = self.about.range((conn, 0)..=(conn, u64::MAX));
        all.map(|(_, number)| *number)
    }

    pub(super) const fn count(&self, severity: Severity) -> usize {
        self.counts[severity as usize]
    }
}
