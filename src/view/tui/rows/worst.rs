//! The worst that holds of each connection, for all of them at once.
//!
//! The trap: to ask the diagnosis of one connection after the other is a search for each, also for the
//! many of which nothing was found.

use std::collections::HashMap;

use crate::diagnosis::{Diagnosis, Finding, Place};
use crate::timeline::{ConnId, Connection};

/// The worst finding that is not over, by the connection that it is about.
#[derive(Default)]
pub(super) struct Worst<'a>(HashMap<ConnId, &'a Finding, foldhash::fast::RandomState>);

impl<'a> Worst<'a> {
    pub(super) fn of(diagnosis: &'a Diagnosis) -> Self {
        let mut all = Self::default();
        let holding = diagnosis.ranked(..);
        // What is over comes last.
        for finding in holding.take_while(|finding| finding.over.is_none()) {
            for conn in finding.subject.connections() {
                all.0.entry(conn).or_insert(finding);
            }
        }
        all
    }

    /// Of these alone.
    pub(super) fn of_these(diagnosis: &'a Diagnosis, connections: &[&Connection]) -> Self {
        let worst = |conn: ConnId| {
            let all = diagnosis.about(conn);
            let holding = all.filter(|finding| finding.over.is_none());
            Some((conn, holding.min_by_key(|finding| Place::of(finding))?))
        };
        let ids = connections.iter().map(|connection| connection.id());
        Self(ids.filter_map(worst).collect())
    }

    pub(super) fn about(&self, conn: ConnId) -> Option<&'a Finding> {
        self.0.get(&conn).copied()
    }
}
