//! What was found in a recording: counted by code, worst first, with so many told one by one.
//!
//! Its size does not depend on the length of the recording: of findings beyond a number only the
//! code is counted, and that is said. The trap: a pair of connections has one finding, and both
//! show it.

use std::cmp::Reverse;
use std::rc::Rc;

use crate::diagnosis::finding::{Code, Finding, Severity, Subject};
use crate::model::Timestamp;
use crate::timeline::Side;
use crate::view::finding::sentence;
use crate::view::report::Shown;

/// So many are told one by one, as the diagnosis keeps as many.
const KEPT: usize = crate::diagnosis::watch::KEPT;

/// A finding, as it was when it was over, or at the end.
#[derive(Clone, Debug)]
pub struct Told {
    /// It.
    pub finding: Rc<Finding>,
    /// When that was.
    pub now: Timestamp,
}

impl Told {
    fn new(finding: &Rc<Finding>, until: Timestamp) -> Self {
        Self {
            finding: Rc::clone(finding),
            now: finding.over.unwrap_or(until).max(finding.at),
        }
    }

    /// It in words.
    pub(in crate::view) fn sentence(&self) -> String {
        sentence(&self.finding, self.now)
    }
}

/// How often a code was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub found: u64,
    /// Those that held until the end, or say what has happened.
    pub holding: u64,
    /// The worst of them; `None` while there is none.
    pub worst: Option<Severity>,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    kept: Vec<Told>,
    /// How many more there were.
    pub left_out: u64,
    counts: [Count; Code::ALL.len()],
}

impl Findings {
    /// Takes in what was found of a connection that is shown.
    pub fn take(&mut self, shown: &Shown<'_>) {
        let own = shown.connection.id();
        for finding in shown.findings {
            // Of a pair the one that waits in CLOSE_WAIT tells.
            if finding.subject.end().is_some_and(|(conn, _)| conn == own) {
                self.add(finding, shown.until);
            }
        }
    }

    /// Takes in what is about no connection, but a listener or a destination.
    pub fn add(&mut self, finding: &Rc<Finding>, until: Timestamp) {
        let count = &mut self.counts[finding.code as usize];
        count.found += 1;
        count.holding += u64::from(finding.over.is_none());
        count.worst = count.worst.max(Some(finding.severity));
        if self.kept.len() < KEPT {
            self.kept.push(Told::new(finding, until));
        } else {
            self.left_out += 1;
        }
    }

    /// In the order in which they were found.
    pub fn sort(&mut self) {
        self.kept.sort_by_key(|told| told.finding.number);
    }

    /// Those that are told.
    pub fn told(&self) -> &[Told] {
        &self.kept
    }

    /// Each code that was found, worst first, then those that still hold.
    pub fn codes(&self) -> Vec<(Code, Count)> {
        let all = Code::ALL.into_iter().zip(self.counts);
        let mut found: Vec<(Code, Count)> = all.filter(|(_, count)| count.found > 0).collect();
        found.sort_by_key(|(code, count)| (Reverse((count.worst, count.holding)), *code));
        found
    }

    /// Those of a code.
    pub fn of(&self, code: Code) -> impl Iterator<Item = &Told> {
        self.kept
            .iter()
            .filter(move |told| told.finding.code == code)
    }
}

/// The end of this connection that a finding is about.
pub(in crate::view) fn end_of(finding: &Finding, shown: &Shown<'_>) -> Option<Side> {
    let own = shown.connection.id();
    let ends = match finding.subject {
        Subject::End(conn, side) => [Some((conn, side)), None],
        Subject::Pair {
            close_wait,
            fin_wait2,
        } => [Some(close_wait), Some(fin_wait2)],
        Subject::Listener(_) | Subject::Destination { .. } => [None, None],
    };
    let mut ends = ends.into_iter().flatten();
    ends.find_map(|(conn, side)| (conn == own).then_some(side))
}

/// What was found of a connection, oldest first, each as it is shown.
pub(in crate::view) fn of_shown<'a>(shown: &Shown<'a>) -> impl Iterator<Item = Told> + use<'a> {
    let until = shown.until;
    shown.findings.iter().map(move |it| Told::new(it, until))
}
