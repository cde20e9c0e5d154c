//! Keeps the findings up to date, observation by observation.
//!
//! Time passes by observations alone: what a rule says depends on what was seen and on the newest
//! observation's time, so live, replayed and tested it is the same. A rule that will hold when
//! nothing changes says when, and is asked again then.
//!
//! The trap: this runs beside every event of a busy host. An end that no rule cares for costs the
//! look at its state, and an observation that changes nothing costs nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::RangeBounds;
use std::rc::Rc;

use crate::diagnosis::finding::{Code, Finding, Severity, Subject};
use crate::diagnosis::ranked::{Place, Ranked};
use crate::diagnosis::rules::{self, Draft, Drafts};
use crate::diagnosis::settings::Settings;
use crate::model::{Body, Observation, Timestamp};
use crate::timeline::{Change, ConnId, Tracker};

type Fast = foldhash::fast::RandomState;

/// So many findings are kept; of more the oldest go, those that are over first.
pub const KEPT: usize = 10_000;

/// What has become known of the findings.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Something was found.
    Found(Rc<Finding>),
    /// It does not hold any more.
    Over(Rc<Finding>),
}

impl News {
    /// What it is about.
    pub fn finding(&self) -> &Finding {
        match self {
            Self::Found(finding) | Self::Over(finding) => finding,
        }
    }
}

/// The findings of what a tracker knows.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    settings: Settings,
    findings: BTreeMap<u64, Rc<Finding>>,
    ranked: Ranked,
    /// Those that hold, and facts, by what they are about.
    known: HashMap<Subject, Vec<u64>, Fast>,
    next: u64,
    dropped: u64,
    /// When to ask again, and about what.
    due: BinaryHeap<Reverse<(Timestamp, ConnId)>>,
    /// What the rules that look at more than one end keep.
    wide: rules::Wide,
    news: Vec<News>,
    /// Kept to save the allocation.
    touched: Vec<ConnId>,
    drafts: Drafts,
}

impl Diagnosis {
    /// With thresholds other than the usual.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// The thresholds.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes in what followed from an observation, which the tracker has just ingested.
    pub fn take(&mut self, observation: &Observation, changes: &[Change], tracker: &Tracker) {
        if let Body::Keyframe(_) = observation.body {
            // As for the tracker, no time passes by it.
            return;
        }
        let at = observation.at;
        let mut touched = std::mem::take(&mut self.touched);
        touched.extend(changes.iter().map(Change::conn));
        touched.extend(tracker.touched().map(|(conn, _)| conn));
        while let Some(Reverse((due, conn))) = self.due.peek().copied()
            && due <= at
        {
            self.due.pop();
            touched.push(conn);
        }
        if touched.len() > 1 {
            touched.sort_unstable();
            touched.dedup();
        }
        for &conn in &touched {
            self.check(conn, at, tracker);
        }
        touched.clear();
        self.touched = touched;
        self.check_wide(at, tracker);
        self.forget_the_oldest();
    }

    /// Asks the rules about one connection.
    fn check(&mut self, conn: ConnId, at: Timestamp, tracker: &Tracker) {
        let Some(connection) = tracker.get(conn) else {
            return;
        };
        if connection.is_multipath() {
            // Its teardown goes by other rules.
            return;
        }
        let mut drafts = std::mem::take(&mut self.drafts);
        for (side, track) in connection.visible() {
            let case = rules::Case {
                at,
                tracker,
                connection,
                side,
                track,
                settings: &self.settings,
            };
            let due = rules::of_end(&case, &mut drafts);
            if let Some(due) = due.filter(|due| *due > at) {
                self.due.push(Reverse((due, conn)));
            }
            self.settle(Subject::End(conn, side), &mut drafts, at);
        }
        self.drafts = drafts;
    }

    /// Asks the rules that look at listeners, destinations, and pairs of connections.
    fn check_wide(&mut self, at: Timestamp, tracker: &Tracker) {
        let mut wide = std::mem::take(&mut self.wide);
        let mut drafts = std::mem::take(&mut self.drafts);
        for subject in wide.subjects(at, tracker, self) {
            wide.of(&subject, (at, tracker), self, &mut drafts);
            self.settle(subject, &mut drafts, at);
        }
        self.wide = wide;
        self.drafts = drafts;
    }

    /// Compares what the rules say of a subject with what was known, and leaves `drafts` empty.
    fn settle(&mut self, subject: Subject, drafts: &mut Drafts, at: Timestamp) {
        let known = self.known.remove(&subject).unwrap_or_default();
        if known.is_empty() && drafts.is_empty() {
            return;
        }
        let mut holds = Vec::with_capacity(known.len().max(drafts.len()));
        for number in known {
            let Some(finding) = self.findings.get_mut(&number) else {
                continue;
            };
            let code = finding.code;
            match drafts.iter().position(|draft| draft.code == code) {
                Some(index) => {
                    let draft = drafts.swap_remove(index);
                    if finding.severity == draft.severity {
                        refresh(finding, draft);
                    } else {
                        self.ranked.leave(finding);
                        refresh(finding, draft);
                        self.ranked.enter(finding);
                    }
                    holds.push(number);
                }
                None if code.is_fact() => holds.push(number),
                None => {
                    self.ranked.leave(finding);
                    Rc::make_mut(finding).over = Some(at);
                    self.ranked.enter(finding);
                    self.wide.note_over(finding);
                    self.news.push(News::Over(Rc::clone(finding)));
                }
            }
        }
        drafts.sort_by_key(|draft| (draft.at, draft.code));
        for draft in drafts.drain(..) {
            holds.push(self.found(subject, draft));
        }
        if !holds.is_empty() {
            self.known.insert(subject, holds);
        }
    }

    fn found(&mut self, subject: Subject, draft: Draft) -> u64 {
        self.next += 1;
        let finding = Rc::new(Finding {
            number: self.next,
            code: draft.code,
            severity: draft.severity,
            subject,
            at: draft.at,
            over: None,
            what: draft.what,
            evidence: draft.evidence,
            advice: draft.advice,
            standing: draft.standing,
        });
        self.wide.note_found(&finding);
        self.ranked.enter(&finding);
        self.findings.insert(self.next, Rc::clone(&finding));
        self.news.push(News::Found(finding));
        self.next
    }

    /// What became known since this was last asked, in order.
    pub fn news(&mut self) -> std::vec::Drain<'_, News> {
        self.news.drain(..)
    }

    /// All findings that are kept, oldest first: those that hold, those that are over, and facts.
    pub fn findings(&self) -> impl DoubleEndedIterator<Item = &Finding> + ExactSizeIterator {
        self.findings.values().map(|finding| &**finding)
    }

    /// Findings in the order in which a person wants them: the worst that holds first, what is over
    /// last.
    pub fn ranked(
        &self,
        range: impl RangeBounds<Place>,
    ) -> impl DoubleEndedIterator<Item = &Finding> {
        let places = self.ranked.places(range);
        places.filter_map(|place| self.get(place.number()))
    }

    /// A finding by its number, `None` when it is not kept any more.
    pub fn get(&self, number: u64) -> Option<&Finding> {
        self.findings.get(&number).map(|finding| &**finding)
    }

    /// All that is kept about a connection, oldest first: what holds, what is over, and facts.
    pub fn about(&self, conn: ConnId) -> impl Iterator<Item = &Finding> {
        let numbers = self.ranked.about(conn);
        numbers.filter_map(|number| self.get(number))
    }

    /// How many of a severity there are, without those that are over.
    pub const fn count(&self, severity: Severity) -> usize {
        self.ranked.count(severity)
    }

    /// How many findings were dropped to bound memory.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What holds of a subject, and what has happened to it.
    pub fn of(&self, subject: &Subject) -> impl Iterator<Item = &Finding> {
        let numbers = self.known.get(subject).into_iter().flatten();
        numbers.filter_map(|number| self.findings.get(number).map(|finding| &**finding))
    }

    /// Whether a code holds of a subject.
    pub fn holds(&self, subject: &Subject, code: Code) -> bool {
        self.of(subject).any(|finding| finding.code == code)
    }

    fn forget_the_oldest(&mut self) {
        while self.findings.len() > KEPT {
            let settled = self.ranked.oldest_settled();
            let oldest = settled.or_else(|| self.findings.keys().next().copied());
            let Some(number) = oldest else {
                return;
            };
            self.dropped += 1;
            let Some(finding) = self.findings.remove(&number) else {
                return;
            };
            self.ranked.leave(&finding);
            if let Some(numbers) = self.known.get_mut(&finding.subject) {
                numbers.retain(|known| *known != number);
                if numbers.is_empty() {
                    self.known.remove(&finding.subject);
                }
            }
        }
    }
}

/// Takes over what is said now of what was found before; since when does not change.
fn refresh(finding: &mut Rc<Finding>, draft: Draft) {
    let is_same = finding.severity == draft.severity
        && finding.what == draft.what
        && finding.evidence == draft.evidence
        && finding.advice == draft.advice
        && finding.standing == draft.standing;
    if !is_same {
        let finding = Rc::make_mut(finding);
        finding.severity = draft.severity;
        finding.what = draft.what;
        finding.evidence = draft.evidence;
        finding.advice = draft.advice;
        finding.standing = draft.standing;
    }
}
