//! Keeps the findings up to date, observation by observation.
//!
//! Time passes by observations alone: what a rule says depends on what was seen and on the newest
//! observation's time, so live, replayed and tested it is the same. A rule that will hold when
//! nothing changes says when, and is asked again then.
//!
//! The trap: this runs beside every event of a busy host. An end that no rule cares for costs the
//! look at its state, and an observation that changes nothing costs nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::ops::RangeBounds;
use std::rc::Rc;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Finding, Severity, Subject};
use crate::diagnosis::ranked::{Place, Ranked};
use crate::diagnosis::rules::{self, Draft, Drafts};
use crate::diagnosis::settings::Settings;
use crate::model::{Body, Observation, Timestamp};
use crate::timeline::{Change, ConnId, Tracker};

type Fast = foldhash::fast::RandomState;

/// So many findings are kept. Of more the oldest that are over, or facts, go; while as many hold,
/// what is found beyond them is counted and not kept.
pub const KEPT: usize = 10_000;
/// So many moments to ask again are kept without a look at whether they are still of use.
const DUES: usize = 1024;

/// What has become known of the findings.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Something was found; said again when it has become worse.
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
    /// Those that are over, and facts, in the order in which they may go.
    past: VecDeque<u64>,
    /// Found when there was no room.
    refused: HashMap<Subject, Vec<Code>, Fast>,
    next: u64,
    dropped: u64,
    /// When to ask again, and about what.
    due: BinaryHeap<Reverse<(Timestamp, ConnId)>>,
    /// The earliest of them for each connection.
    next_due: HashMap<ConnId, Timestamp, Fast>,
    /// What the rules that look at more than one end keep.
    wide: rules::Wide,
    news: Vec<News>,
    /// Kept to save the allocation.
    touched: Vec<ConnId>,
    subjects: Vec<Subject>,
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
        for change in changes {
            let conn = change.conn();
            if touched.last() != Some(&conn) {
                touched.push(conn);
            }
            if rules::Wide::wants(change)
                && let Some(connection) = tracker.get(conn)
            {
                self.wide.note(change, connection);
            }
        }
        touched.extend(tracker.touched().map(|(conn, _)| conn));
        self.take_what_is_due(at, &mut touched);
        if touched.len() > 1 {
            touched.sort_unstable();
            touched.dedup();
        }
        let is_event = matches!(observation.body, Body::Event(_));
        for &conn in &touched {
            self.check(conn, (at, is_event), tracker);
        }
        touched.clear();
        self.touched = touched;
        self.check_wide(at, tracker);
        self.forget_useless_dues(at, tracker);
    }

    fn take_what_is_due(&mut self, at: Timestamp, touched: &mut Vec<ConnId>) {
        while let Some(Reverse((due, conn))) = self.due.peek().copied()
            && due <= at
        {
            self.due.pop();
            if self.next_due.get(&conn) == Some(&due) {
                self.next_due.remove(&conn);
                touched.push(conn);
            }
        }
    }

    /// A connection is touched often, and asked about again once.
    fn ask_again(&mut self, due: Timestamp, conn: ConnId) {
        let known = self.next_due.get(&conn);
        if known.is_none_or(|known| due < *known) {
            self.next_due.insert(conn, due);
            self.due.push(Reverse((due, conn)));
        }
    }

    /// On a busy host most connections are over long before it is time to ask again.
    fn forget_useless_dues(&mut self, at: Timestamp, tracker: &Tracker) {
        /// A rule may want to see what follows the end of a connection.
        const SOON: Duration = Duration::from_secs(1);
        if self.due.len() <= DUES + 2 * tracker.totals().open {
            return;
        }
        let next_due = &mut self.next_due;
        self.due.retain(|Reverse((due, conn))| {
            let is_open = |conn| {
                let connection = tracker.get(conn);
                connection.is_some_and(|connection| connection.closed().is_none())
            };
            let is_newest = next_due.get(conn) == Some(due);
            let is_useful = is_newest && (due.since(at) <= SOON || is_open(*conn));
            if is_newest && !is_useful {
                next_due.remove(conn);
            }
            is_useful
        });
    }

    /// Asks the rules about one connection.
    fn check(&mut self, conn: ConnId, (at, is_event): (Timestamp, bool), tracker: &Tracker) {
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
            // What an event begins is mostly over before the next look, and if it is not, that look shows
            // it: there is time enough then to say when to ask again.
            let is_passing = is_event && rules::is_passing(track.state());
            if let Some(due) = due.filter(|due| *due > at && !is_passing) {
                self.ask_again(due, conn);
            }
            self.settle(Subject::End(conn, side), &mut drafts, at);
        }
        self.drafts = drafts;
    }

    /// Asks the rules that look at listeners, destinations, and pairs of connections.
    fn check_wide(&mut self, at: Timestamp, tracker: &Tracker) {
        let mut subjects = std::mem::take(&mut self.subjects);
        self.wide.subjects(at, tracker, &mut subjects);
        for subject in subjects.drain(..) {
            let mut drafts = std::mem::take(&mut self.drafts);
            let mut wide = std::mem::take(&mut self.wide);
            let holds = |code| self.holds(&subject, code);
            wide.judge(&subject, (at, tracker, &self.settings), holds, &mut drafts);
            self.wide = wide;
            self.settle(subject, &mut drafts, at);
            self.drafts = drafts;
        }
        self.subjects = subjects;
    }

    /// Compares what the rules say of a subject with what was known, and leaves `drafts` empty.
    fn settle(&mut self, subject: Subject, drafts: &mut Drafts, at: Timestamp) {
        if drafts.is_empty() && (self.known.is_empty() || !self.known.contains_key(&subject)) {
            // What was refused and does not hold any more is counted anew when it does again.
            if !self.refused.is_empty() {
                self.refused.remove(&subject);
            }
            return;
        }
        let known = self.known.remove(&subject).unwrap_or_default();
        let mut holds = Vec::with_capacity(known.len().max(drafts.len()));
        for number in known {
            let Some(finding) = self.findings.get_mut(&number) else {
                continue;
            };
            let code = finding.code;
            match drafts.iter().position(|draft| draft.code == code) {
                Some(index) => {
                    let draft = drafts.swap_remove(index);
                    let (moves, rises) = (
                        finding.severity != draft.severity,
                        finding.severity < draft.severity,
                    );
                    if moves {
                        self.ranked.leave(finding);
                    }
                    if refresh(finding, draft) {
                        self.wide.note_found(finding);
                    }
                    if moves {
                        self.ranked.enter(finding);
                    }
                    if rises {
                        self.news.push(News::Found(Rc::clone(finding)));
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
                    self.past.push_back(number);
                }
            }
        }
        drafts.sort_by_key(|draft| (draft.at, draft.code));
        for draft in drafts.drain(..) {
            holds.extend(self.found(subject, draft));
        }
        if !holds.is_empty() {
            self.known.insert(subject, holds);
        }
    }

    /// Keeps what was found, if there is room.
    fn found(&mut self, subject: Subject, draft: Draft) -> Option<u64> {
        if self.findings.len() >= KEPT && !self.forget_the_oldest() {
            self.refuse(subject, draft.code);
            return None;
        }
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
        if draft.code.is_fact() {
            self.past.push_back(self.next);
        }
        self.wide.note_found(&finding);
        self.ranked.enter(&finding);
        self.findings.insert(self.next, Rc::clone(&finding));
        self.news.push(News::Found(finding));
        Some(self.next)
    }

    /// Counts what there is no room for, once.
    fn refuse(&mut self, subject: Subject, code: Code) {
        let codes = match code.is_fact() {
            // Told once, and the end it is about is gone: it does not come again.
            true => return self.dropped += 1,
            false => self.refused.entry(subject).or_default(),
        };
        if !codes.contains(&code) {
            codes.push(code);
            self.dropped += 1;
        }
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

    /// Makes room; says whether there was anything that may go.
    fn forget_the_oldest(&mut self) -> bool {
        let Some(number) = self.past.pop_front() else {
            return false;
        };
        self.dropped += 1;
        let Some(finding) = self.findings.remove(&number) else {
            return true;
        };
        self.ranked.leave(&finding);
        if let Some(numbers) = self.known.get_mut(&finding.subject) {
            numbers.retain(|known| *known != number);
            if numbers.is_empty() {
                self.known.remove(&finding.subject);
            }
        }
        true
    }
}

/// Takes over what is said now of what was found before, and says whether it is anything else; since
/// when does not change.
fn refresh(finding: &mut Rc<Finding>, draft: Draft) -> bool {
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
    !is_same
}
