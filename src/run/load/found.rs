//! What was found in a recording, kept beside the connections until they are told.
//!
//! The news are taken as they come, since the diagnosis forgets the oldest. The trap: what is said
//! of a finding that holds changes without news, so it is asked for again when it is told.

use std::collections::HashMap;
use std::rc::Rc;

use crate::diagnosis::{Diagnosis, Finding, Known, News};
use crate::timeline::ConnId;

/// So many findings of one connection are kept: what comes and goes is told that often.
const OF_ONE: usize = 64;
/// So many that are about no connection.
const WIDE: usize = 1000;

/// What was found so far of what is not told yet.
#[derive(Default)]
pub(super) struct Found {
    of: HashMap<ConnId, Vec<Rc<Finding>>>,
    /// About listeners and destinations.
    wide: Vec<Rc<Finding>>,
}

impl Found {
    /// Takes in the news of the newest observation.
    pub(super) fn note(&mut self, known: &Known) {
        for news in known.news() {
            let (News::Found(finding) | News::Over(finding)) = news;
            let mut is_wide = true;
            for conn in finding.subject.connections() {
                is_wide = false;
                // One that is told already is not told again.
                if known.tracker.get(conn).is_some() {
                    put(self.of.entry(conn).or_default(), finding, OF_ONE);
                }
            }
            if is_wide {
                put(&mut self.wide, finding, WIDE);
            }
        }
    }

    /// What was found of a connection, which is told now.
    pub(super) fn take(&mut self, conn: ConnId, diagnosis: &Diagnosis) -> Vec<Rc<Finding>> {
        let mut found = self.of.remove(&conn).unwrap_or_default();
        found.iter_mut().for_each(|one| refresh(one, diagnosis));
        found
    }

    /// What was found of no connection.
    pub(super) fn take_wide(&mut self, diagnosis: &Diagnosis) -> Vec<Rc<Finding>> {
        let mut found = std::mem::take(&mut self.wide);
        found.iter_mut().for_each(|one| refresh(one, diagnosis));
        found
    }
}

fn put(all: &mut Vec<Rc<Finding>>, finding: &Rc<Finding>, most: usize) {
    let place = all.iter().position(|known| known.number == finding.number);
    match place {
        Some(place) => all[place] = Rc::clone(finding),
        None if all.len() < most => all.push(Rc::clone(finding)),
        None => {}
    }
}

/// As it is said now.
fn refresh(finding: &mut Rc<Finding>, diagnosis: &Diagnosis) {
    let now = diagnosis
        .of(&finding.subject)
        .find(|now| now.number == finding.number)
        .cloned();
    if let Some(now) = now {
        *finding = Rc::new(now);
    }
}
