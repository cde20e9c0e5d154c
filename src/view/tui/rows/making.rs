//! Rows on their way: what was met so far of all connections, a part a picture.
//!
//! The trap: between two parts connections come and go and change. What was met too early is met again
//! the next time, since something has moved by then.

use crate::diagnosis::Severity;
use crate::model::Timestamp;
use crate::timeline::{ConnId, Connection};
use crate::view::tui::query::Truth;
use crate::view::tui::rows::group::{GroupBy, Key};
use crate::view::tui::rows::sort::Column;
use crate::view::tui::rows::worst::Worst;
use crate::view::tui::rows::{Of, Rows};

/// A connection that has a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) id: ConnId,
    /// What it has in common with others, when they are grouped.
    pub(super) key: Option<Key>,
    pub(super) worst: Option<Severity>,
}

impl Met {
    pub(super) fn of(connection: &Connection, by: Option<GroupBy>, worst: &Worst<'_>) -> Self {
        let id = connection.id();
        Self {
            id,
            key: by.map(|by| Key::of(by, connection, worst)),
            worst: worst.about(id).map(|finding| finding.severity),
        }
    }
}

/// Rows on their way.
#[derive(Debug)]
pub(super) struct Making {
    /// When it began, and how much had been taken in by then.
    begun: (Timestamp, u64),
    next: ConnId,
    /// By what what is met is grouped.
    by: Option<GroupBy>,
    /// In the order of their numbers.
    met: Vec<Met>,
    matched: usize,
    unknown: usize,
}

impl Making {
    pub(super) const fn begin(of: Of<'_>, by: Option<GroupBy>) -> Self {
        Self {
            begun: (of.asked.at, of.moved),
            next: ConnId(0),
            by,
            met: Vec::new(),
            matched: 0,
            unknown: 0,
        }
    }

    pub(super) const fn begun(&self) -> (Timestamp, u64) {
        self.begun
    }

    /// How many match, and of how many that can't be told.
    pub(super) const fn counts(&self) -> (usize, usize) {
        (self.matched, self.unknown)
    }

    /// Looks at `part` more connections; says whether those were all. `kept` counts as one that matches.
    pub(super) fn go_on(
        &mut self,
        part: usize,
        of: Of<'_>,
        rows: &Rows,
        kept: Option<ConnId>,
    ) -> bool {
        let mut looked = 0;
        let mut met: Vec<&Connection> = Vec::new();
        for connection in of.asked.tracker.connections_in(self.next..).take(part) {
            looked += 1;
            self.next = ConnId(connection.id().0 + 1);
            let truth = match (of.asked.wants(connection), &rows.query) {
                (false, _) => Truth::No,
                (true, None) => Truth::Yes,
                (true, Some(query)) => query.truth(connection, of.asked),
            };
            self.matched += usize::from(truth == Truth::Yes);
            self.unknown += usize::from(truth == Truth::Unknown);
            if truth == Truth::Yes || kept == Some(connection.id()) {
                met.push(connection);
            }
        }
        let worst = match self.by {
            Some(_) => Worst::of_these(of.asked.diagnosis, &met),
            None => Worst::default(),
        };
        let by = self.by;
        self.met
            .extend(met.into_iter().map(|one| Met::of(one, by, &worst)));
        looked < part
    }

    /// What was met, in a new order.
    pub(super) fn in_order(self, rows: &Rows, of: Of<'_>) -> Vec<Met> {
        let worst = match rows.need_findings() {
            true => Worst::of(of.asked.diagnosis),
            false => Worst::default(),
        };
        ordered(&self.met, rows, of, &worst)
    }

    /// What was met: what had a row in its place, and the rest behind it in its order.
    pub(super) fn in_their_places(self, rows: &Rows, of: Of<'_>) -> Vec<Met> {
        if rows.sort.column == Column::Number {
            let mut met = self.met;
            if rows.sort.falls() {
                met.reverse();
            }
            return met;
        }
        let mut there: Vec<(usize, Met)> = Vec::with_capacity(self.met.len());
        let mut new: Vec<Met> = Vec::new();
        for met in self.met {
            match rows.places.get(&met.id) {
                Some(&place) => there.push((place, met)),
                None => new.push(met),
            }
        }
        there.sort_unstable_by_key(|&(place, _)| place);
        let known = new.iter().filter_map(|met| of.asked.tracker.get(met.id));
        let worst = match rows.need_findings() {
            true => Worst::of_these(of.asked.diagnosis, &known.collect::<Vec<_>>()),
            false => Worst::default(),
        };
        let there = there.into_iter().map(|(_, met)| met);
        there.chain(ordered(&new, rows, of, &worst)).collect()
    }
}

/// Sorted, as far as they are still known.
fn ordered(met: &[Met], rows: &Rows, of: Of<'_>, worst: &Worst<'_>) -> Vec<Met> {
    let known = met.iter().filter_map(|met| of.asked.tracker.get(met.id));
    let mut connections: Vec<&Connection> = known.collect();
    rows.sort.order(&mut connections, of.asked.at, worst);
    let met = connections
        .into_iter()
        .map(|one| Met::of(one, rows.group, worst));
    met.collect()
}
