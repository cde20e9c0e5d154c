//! The worst that holds of each connection, for all of them at once.
//!
//! The trap: to ask the diagnosis of one connection after the other is a search for each, also for the
//! many of which nothing was found.

use std::collections::HashMap;

use crate::diagnosis::{Diagnosis, Finding};
use crate::timeline::ConnId;

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

    pub(super) fn about(&self, conn: ConnId) -> Option<&'a Finding> {
        self.0.get(&conn).copied()
    }
}
