//! Numbers of a whole recording: what ended how, what was lost, how long ends were in each state.
//!
//! Its size does not depend on the length of the recording: losses beyond a number are counted
//! only, and that is said.

use std::time::Duration;

use crate::diagnosis::Code;
use crate::model::{Body, Observation, SourceName, TcpState, Timestamp};
use crate::timeline::{ConnId, Totals};
use crate::view::report::findings::Findings;
use crate::view::report::spent::States;
use crate::view::report::{Shown, Way};
use crate::view::verdict;

/// How many losses are told one by one.
const LOSSES: usize = 1000;

/// Something that was missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When that was said.
    pub at: Timestamp,
    /// Which recording.
    pub host: u16,
    /// Who missed it.
    pub source: SourceName,
    /// How much, where it can be counted.
    pub count: Option<u64>,
    /// Why.
    pub why: String,
}

/// What was missed, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    kept: Vec<Loss>,
    /// How many more there were.
    pub left_out: u64,
}

impl Losses {
    /// Takes in an observation, if it is of a loss.
    pub fn note(&mut self, observation: &Observation) {
        let Body::Lost { count, why } = &observation.body else {
            return;
        };
        if self.kept.len() == LOSSES {
            self.left_out += 1;
            return;
        }
        self.kept.push(Loss {
            at: observation.at,
            host: observation.host,
            source: observation.source,
            count: *count,
            why: why.as_ref().to_owned(),
        });
    }

    /// Those that are told.
    pub fn told(&self) -> &[Loss] {
        &self.kept
    }
}

/// Every way to end, in the order in which they are told.
pub(super) const CODES: [Code; 7] = Code::ALL;

/// Numbers of all that is shown.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Connections that are shown.
    pub seen: u64,
    /// Of them, not over in the end.
    pub open: u64,
    /// Settled and dropped before the end, so that what came after is not known.
    pub dropped: u64,
    /// Over, and multipath: without a verdict.
    pub multipath: u64,
    /// Connections that the filter or the window leaves out.
    pub left_out: u64,
    /// Time in each state.
    pub states: States,
    /// Whether the window cut off parts of it.
    pub clipped: bool,
    /// A CLOSE_WAIT counts from this age on.
    pub older_than: Duration,
    /// Ends that were in CLOSE_WAIT in the end, and not for so long.
    pub young: u64,
    /// What was missed.
    pub losses: Losses,
    /// What was found.
    pub findings: Findings,
    /// Numbers of the tracker: of everything, also what is not shown.
    pub totals: Totals,
    closed: [u64; CODES.len()],
    /// Of each way to end, and of those still open, the first numbers.
    first: [Vec<ConnId>; CODES.len() + 1],
}

/// How many numbers are told of a way to end.
pub(super) const NUMBERS: usize = 20;

impl Summary {
    /// Nothing yet, with that age as threshold.
    pub fn new(older_than: Duration) -> Self {
        Self {
            older_than,
            ..Self::default()
        }
    }

    /// Takes in a connection that is shown.
    pub fn take(&mut self, shown: &Shown<'_>) {
        self.seen += 1;
        self.dropped += u64::from(shown.dropped);
        self.clipped |= self.states.take(shown);
        self.findings.take(shown);
        self.young += self.young_of(shown);
        if shown.connection.closed().is_none() {
            self.open += 1;
            self.remember(CODES.len(), shown);
            return;
        }
        let code = verdict(shown.connection).map(|verdict| verdict.code);
        match code.and_then(|code| CODES.iter().position(|known| *known == code)) {
            Some(place) => {
                self.closed[place] += 1;
                self.remember(place, shown);
            }
            None => self.multipath += 1,
        }
    }

    /// Ends of which nothing was found, as they have not been in CLOSE_WAIT for long enough.
    fn young_of(&self, shown: &Shown<'_>) -> u64 {
        let is_found = |side| {
            let mut all = shown.findings.iter().filter(|it| it.over.is_none());
            all.any(|it| {
                it.code.token().starts_with("close-wait")
                    && it.subject.is_about(shown.connection.id(), side)
            })
        };
        let young = shown.connection.visible().filter(|(side, track)| {
            let age = track.present_age(shown.until);
            !track.is_gone()
                && track.state() == TcpState::CloseWait
                && age.is_some_and(|age| age.at_least < self.older_than)
                && !is_found(*side)
        });
        young.count() as u64
    }

    fn remember(&mut self, place: usize, shown: &Shown<'_>) {
        let known = &mut self.first[place];
        let number = shown.connection.id();
        // Those that were dropped come first, and may be newer.
        let at = known.partition_point(|one| *one < number);
        known.insert(at, number);
        known.truncate(NUMBERS);
    }

    /// The first numbers of those that did not end in good order; none of others.
    pub fn numbers(&self, way: Way) -> &[ConnId] {
        let place = match way {
            Way::Ended(code) => CODES.iter().position(|known| *known == code),
            Way::Open => Some(CODES.len()),
            Way::Multipath => None,
        };
        match place.filter(|_| !way.is_orderly()) {
            Some(place) => &self.first[place],
            None => &[],
        }
    }

    /// How many ended in each way, those that none did left out.
    pub fn closed(&self) -> impl Iterator<Item = (Code, u64)> {
        CODES
            .into_iter()
            .zip(self.closed)
            .filter(|(_, count)| *count > 0)
    }
}
