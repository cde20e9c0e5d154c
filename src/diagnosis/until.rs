//! What `tcpwatch wait` waits for: that all connections are closed, or that ends reach a state; and
//! the findings that end the wait at once.
//!
//! Fed with what became known, observation by observation, so that a test can do it without a
//! kernel. The traps: before the first whole look is in, nothing is known, and "no connection" would
//! be true of every host; and a connection can come to be wanted in the middle of its life, so the
//! whole connection is looked at whenever something of it changes.

use std::collections::{BTreeSet, HashSet};
use std::str::FromStr;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Finding, Owned, Severity, Subject};
use crate::diagnosis::{Known, News};
use crate::model::{Body, Descriptor, Observation, TcpState, Timestamp};
use crate::timeline::{ConnId, Connection, Listener, Side, Tracker};

/// A finding waits so long for who holds its end: they are looked for at once, and named with it.
const NAMED_WITHIN: Duration = Duration::from_millis(300);

/// How often it is seen what has become old enough to be wanted.
const AGED: Duration = Duration::from_millis(100);

type Fast = foldhash::fast::RandomState;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every connection that is wanted is over: each of its visible ends is gone or in TIME_WAIT.
    Closed,
    /// Ends are in this state, or have passed it; of LISTEN, sockets listen.
    State(TcpState),
}

impl Target {
    /// The word in machine output and on the command line.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::State(state) => state.name(),
        }
    }
}

impl FromStr for Target {
    type Err = <TcpState as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse()? {
            // An end that is in no state any more is closed, whatever it is called.
            TcpState::Close => Self::Closed,
            state => Self::State(state),
        })
    }
}

/// Codes that end the wait, each from a severity on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailOn {
    codes: Vec<(Code, Severity)>,
}

/// Not a code, nor the beginning of some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no finding (allowed: any; a family: close-wait, fin-wait2, reset; or one of {list})",
    list = all_codes()
)]
pub struct UnknownCode(String);

fn all_codes() -> String {
    Code::ALL.map(Code::token).join(", ")
}

impl FromStr for FailOn {
    type Err = UnknownCode;

    /// A code counts however mild it is: who names it wants it. Of a family (`close-wait`), and of
    /// `any`, what may be as it should be does not count.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let word = text.trim().to_ascii_lowercase().replace('_', "-");
        if let Some(code) = Code::of(&word) {
            let codes = vec![(code, Severity::Info)];
            return Ok(Self { codes });
        }
        let is_of_family = |code: &Code| {
            let rest = code.token().strip_prefix(word.as_str());
            word == "any" || rest.is_some_and(|rest| !word.is_empty() && rest.starts_with('-'))
        };
        let codes: Vec<(Code, Severity)> = Code::ALL
            .into_iter()
            .filter(is_of_family)
            .map(|code| (code, Severity::Warn))
            .collect();
        if codes.is_empty() {
            return Err(UnknownCode(text.escape_default().to_string()));
        }
        Ok(Self { codes })
    }
}

impl FailOn {
    /// These and others.
    pub fn extend(&mut self, other: Self) {
        self.codes.extend(other.codes);
    }

    fn names(&self, code: Code) -> bool {
        self.codes.iter().any(|(named, _)| *named == code)
    }

    fn is_met_by(&self, finding: &Finding) -> bool {
        let is_met =
            |(code, least): &(Code, Severity)| finding.code == *code && finding.severity >= *least;
        self.codes.iter().any(is_met)
    }
}

/// Which connections, findings and listeners are wanted.
pub trait Choose {
    /// Whether this connection is.
    fn wants(&self, connection: &Connection) -> bool;
    /// Whether it can still turn out to be: who holds it is not known yet.
    fn may_want(&self, connection: &Connection) -> bool;
    /// Whether it can be wanted, and nobody can tell: who holds it is hidden.
    fn is_hidden(&self, connection: &Connection) -> bool;
    /// Whether this finding is about something that is.
    fn wants_finding(&self, finding: &Finding, tracker: &Tracker) -> bool;
    /// Whether this listener is.
    fn wants_listener(&self, listener: &Listener, tracker: &Tracker) -> bool;
    /// Whether a connection can come to be wanted without anything being observed of it.
    fn depends_on_time(&self) -> bool;
}

/// How far a wait has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Not there yet.
    Waiting,
    /// It is so.
    Reached,
    /// Something was found that ends it.
    Failed(Box<Finding>),
}

/// A wait.
#[derive(Clone, Debug)]
pub struct Until {
    target: Target,
    at_least: Option<u64>,
    fail_on: FailOn,
    has_looked: bool,
    /// When all were last looked at, since time has passed.
    aged: Timestamp,
    /// Connections that are wanted, as long as the tracker may have them.
    matched: HashSet<ConnId, Fast>,
    seen: u64,
    open: BTreeSet<ConnId>,
    /// Open ones of which it is not known yet whether they are wanted.
    undecided: BTreeSet<ConnId>,
    /// Open ones of which that can't be known.
    hidden: BTreeSet<ConnId>,
    /// Ends that have reached the state; likewise.
    ends: HashSet<(ConnId, Side), Fast>,
    reached: u64,
    /// Findings of a code that counts, which are too mild by now.
    mild: Vec<(Subject, Code)>,
    /// One that counts, of an end whose holders are being looked for, and until when that may take.
    unnamed: Option<(Box<Finding>, Timestamp)>,
    failed: Option<Box<Finding>>,
}

/// Whether it can still become known who holds the end.
fn may_be_named(finding: &Finding, tracker: &Tracker) -> bool {
    let is_unasked = finding
        .standing
        .as_ref()
        .is_some_and(|standing| standing.owned == Owned::NotLooked);
    let end = finding
        .subject
        .end()
        .and_then(|(conn, side)| tracker.get(conn)?.end(side));
    is_unasked && end.is_some_and(|track| track.beside().descriptor == Some(Descriptor::Held))
}

impl Until {
    /// A wait that has not begun. `at_least` so many connections must have been seen, or ends have
    /// reached the state.
    pub fn new(target: Target, at_least: Option<u64>, fail_on: FailOn) -> Self {
        Self {
            target,
            at_least,
            fail_on,
            has_looked: false,
            aged: Timestamp::default(),
            matched: HashSet::default(),
            seen: 0,
            open: BTreeSet::new(),
            undecided: BTreeSet::new(),
            hidden: BTreeSet::new(),
            ends: HashSet::default(),
            reached: 0,
            mild: Vec::new(),
            unnamed: None,
            failed: None,
        }
    }

    /// What is waited for.
    pub const fn target(&self) -> Target {
        self.target
    }

    /// How many it takes, where that was said.
    pub const fn at_least(&self) -> Option<u64> {
        self.at_least
    }

    /// Whether a whole look is in: before, nothing can be said.
    pub const fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// How many connections were wanted so far.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// How many ends have reached the state, or of LISTEN, listen.
    pub const fn reached(&self) -> u64 {
        self.reached
    }

    /// Those of the connections that are not over, oldest first.
    pub fn open(&self) -> impl ExactSizeIterator<Item = ConnId> + '_ {
        self.open.iter().copied()
    }

    /// How many are open of which it is not known whether they are wanted, as nobody could tell
    /// yet, or may.
    pub fn unknown(&self) -> usize {
        self.undecided.len() + self.hidden.len()
    }

    /// Takes in what followed from an observation, which `known` has just taken in.
    pub fn take(&mut self, observation: &Observation, known: &Known, choose: &impl Choose) {
        let is_look = match &observation.body {
            Body::Poll(poll) => poll.complete,
            Body::Unchanged { .. } => true,
            _ => false,
        };
        let tracker = &known.tracker;
        if is_look && !self.has_looked {
            self.has_looked = true;
            // Some may not have been shown as opened yet.
            for connection in tracker.connections() {
                self.note(connection, choose);
            }
        }
        let changed = known.changes().iter().map(crate::timeline::Change::conn);
        let news = known.news().iter().map(News::finding);
        let found = news.flat_map(|finding| finding.subject.connections());
        let touched = tracker.touched().map(|(conn, _)| conn);
        for conn in changed.chain(touched).chain(found) {
            if let Some(connection) = tracker.get(conn) {
                self.note(connection, choose);
            }
        }
        if choose.depends_on_time() && self.has_looked {
            self.note_what_is_older(observation.at, tracker, choose);
        }
        self.note_listeners(tracker, choose);
        self.note_findings(observation.at, known, choose);
        self.settle(known, observation.at);
        if self.matched.len() > 2 * tracker.connections().len() + 1024 {
            self.matched.retain(|conn| tracker.get(*conn).is_some());
            self.ends.retain(|(conn, _)| tracker.get(*conn).is_some());
        }
    }

    fn note(&mut self, connection: &Connection, choose: &impl Choose) {
        let conn = connection.id();
        // Once wanted, it is waited for to its end.
        if !self.matched.contains(&conn) {
            self.undecided.remove(&conn);
            self.hidden.remove(&conn);
            if !choose.wants(connection) {
                if connection.closed().is_none() {
                    self.note_unknown(connection, choose);
                }
                return;
            }
            self.matched.insert(conn);
            self.seen += 1;
        }
        if connection.closed().is_some() {
            self.open.remove(&conn);
        } else {
            self.open.insert(conn);
        }
        if let Target::State(state) = self.target {
            for (side, track) in connection.visible() {
                let has_been = track.spans().iter().any(|span| span.state == state);
                if has_been && self.ends.insert((conn, side)) {
                    self.reached += 1;
                }
            }
        }
    }

    /// Time has passed for those that are not wanted yet.
    fn note_what_is_older(&mut self, at: Timestamp, tracker: &Tracker, choose: &impl Choose) {
        if at.since(self.aged) < AGED {
            return;
        }
        self.aged = at;
        for connection in tracker.connections() {
            if connection.closed().is_none() {
                self.note(connection, choose);
            }
        }
    }

    fn note_unknown(&mut self, connection: &Connection, choose: &impl Choose) {
        if choose.may_want(connection) {
            self.undecided.insert(connection.id());
        } else if choose.is_hidden(connection) {
            self.hidden.insert(connection.id());
        }
    }

    fn note_listeners(&mut self, tracker: &Tracker, choose: &impl Choose) {
        if self.target == Target::State(TcpState::Listen) && self.has_looked {
            let listeners = tracker.listeners();
            let wanted = listeners.filter(|listener| choose.wants_listener(listener, tracker));
            self.reached = wanted.count() as u64;
        }
    }

    /// Time has passed, though nothing was observed.
    pub fn settle(&mut self, known: &Known, now: Timestamp) {
        let Some((finding, due)) = self.unnamed.take() else {
            return;
        };
        let newest = known.diagnosis.get(finding.number);
        let finding = newest.map_or(finding, |newest| Box::new(newest.clone()));
        if now >= due || finding.over.is_some() || !may_be_named(&finding, &known.tracker) {
            self.failed = Some(finding);
        } else {
            self.unnamed = Some((finding, due));
        }
    }

    /// When [`Until::settle`] has something to do at the latest.
    pub fn due(&self) -> Option<Timestamp> {
        self.unnamed.as_ref().map(|(_, due)| *due)
    }

    /// Nothing more is waited for: a finding that counts does so without a name.
    pub fn hurry(&mut self) {
        self.failed = self
            .failed
            .take()
            .or(self.unnamed.take().map(|(finding, _)| finding));
    }

    fn fail(&mut self, finding: &Finding, (at, tracker): (Timestamp, &Tracker)) {
        let finding = Box::new(finding.clone());
        if may_be_named(&finding, tracker) {
            self.unnamed = Some((finding, at.plus(NAMED_WITHIN)));
        } else {
            self.failed = Some(finding);
        }
    }

    fn note_findings(&mut self, at: Timestamp, known: &Known, choose: &impl Choose) {
        if self.failed.is_some() || self.unnamed.is_some() {
            return;
        }
        for news in known.news() {
            let News::Found(finding) = news else { continue };
            if !self.fail_on.names(finding.code) || !choose.wants_finding(finding, &known.tracker) {
                continue;
            }
            if self.fail_on.is_met_by(finding) {
                self.fail(finding, (at, &known.tracker));
                return;
            }
            self.mild.push((finding.subject, finding.code));
        }
        let mut mild = std::mem::take(&mut self.mild);
        mild.retain(|(subject, code)| {
            let finding = known
                .diagnosis
                .of(subject)
                .find(|known| known.code == *code);
            if let Some(finding) = finding.filter(|finding| self.fail_on.is_met_by(finding)) {
                self.fail(finding, (at, &known.tracker));
            }
            finding.is_some()
        });
        self.mild = mild;
    }

    /// How far it has come. What ends it at once goes first.
    pub fn progress(&self) -> Progress {
        if let Some(finding) = &self.failed {
            return Progress::Failed(finding.clone());
        }
        if self.unnamed.is_some() {
            return Progress::Waiting;
        }
        let is_reached = match self.target {
            Target::Closed => {
                let none_is_left = self.open.is_empty() && self.undecided.is_empty();
                none_is_left && self.seen >= self.at_least.unwrap_or(0)
            }
            Target::State(_) => self.reached >= self.at_least.unwrap_or(1),
        };
        if self.has_looked && is_reached {
            Progress::Reached
        } else {
            Progress::Waiting
        }
    }
}
