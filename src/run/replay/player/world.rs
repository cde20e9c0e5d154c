//! Everything that is known at a moment of a recording, and how it goes on to the next.
//!
//! A copy goes on from where it was made, on its own. The trap: what a copy is asked about later
//! must not depend on the way that led to it.

use jiff::tz::TimeZone;

use crate::diagnosis::{Known, Settings};
use crate::model::{Observation, Timestamp};
use crate::run::clocks::Kept;
use crate::run::load::survey::Survey;
use crate::run::replay::extent::anchor;
use crate::run::replay::player::Stops;
use crate::source::replay::{Replay, ReplayError};
use crate::timeline::Tracker;
use crate::view::Asked;
use crate::view::report::ClockWord;
use crate::view::tui::Heard;

/// Everything at a moment.
#[derive(Clone)]
pub struct World {
    pub(super) replay: Replay,
    pub(super) known: Known,
    pub(super) heard: Heard,
    survey: Survey,
    /// The latest moment that was taken in.
    pub(super) at: Timestamp,
    /// So many observations were taken in.
    pub(super) taken: u64,
    clocks: Kept,
}

impl World {
    /// Before anything was taken in.
    pub fn new(replay: Replay, zone: TimeZone) -> Self {
        let mut heard = Heard::new(zone);
        // Who joins in the middle may meet no anchor for a while.
        if let Some(anchor) = anchor(&replay) {
            heard.note(&anchor);
        }
        Self {
            clocks: Kept::new(&replay),
            survey: Survey::new(&replay),
            replay,
            known: Known::new(Kept::tracker(), Settings::default()),
            heard,
            at: Timestamp::default(),
            taken: 0,
        }
    }

    /// The same, with these thresholds of the rules.
    #[must_use]
    pub fn with(mut self, settings: Settings) -> Self {
        self.known = Known::new(Kept::tracker(), settings);
        self
    }

    /// Takes in the next observation, unless it is later than `until`; gives it.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn take(&mut self, until: Option<Timestamp>) -> Result<Option<Observation>, ReplayError> {
        let Some(observation) = self.replay.next_until(until)? else {
            return Ok(None);
        };
        self.at = self.at.max(observation.at);
        self.taken += 1;
        self.heard.note(&observation);
        self.survey.note(&observation);
        self.known.take(&observation);
        self.clocks.take(&mut self.known.tracker);
        self.replay.answer(self.known.asks());
        Ok(Some(observation))
    }

    /// Whether no more will come that is not later than `until`.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn is_all(&mut self, until: Option<Timestamp>) -> Result<bool, ReplayError> {
        let next = self.replay.peek()?;
        Ok(match next {
            Some(next) => until.is_some_and(|until| next > until),
            None => self.replay.is_ended(),
        })
    }

    /// Whether all was taken in that there is.
    pub fn is_ended(&self) -> bool {
        self.replay.is_ended()
    }

    /// The latest moment that was taken in.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// All that is known of the connections.
    pub const fn known(&self) -> &Known {
        &self.known
    }

    /// The connections.
    pub const fn tracker(&self) -> &Tracker {
        &self.known.tracker
    }

    /// What is to be said of the clocks by now; nothing in a copy.
    pub fn clocks(&self) -> Vec<ClockWord> {
        self.clocks.words(&self.known.tracker, &self.replay)
    }

    /// What is known of the recordings by now.
    pub const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// What was learned of the recordings.
    pub(in crate::run) const fn survey(&self) -> &Survey {
        &self.survey
    }

    /// What was heard beside connections.
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Whether something of what is looked for followed from the observation taken in last.
    pub(super) fn stops_for(&self, stops: &Stops) -> bool {
        self.known.changes().iter().any(|change| match stops {
            Stops::Of(id) => change.conn() == *id,
            Stops::All(filter) => self
                .known
                .tracker
                .get(change.conn())
                .is_some_and(|connection| {
                    Asked::of(filter, &self.known, self.at).wants(connection)
                }),
        })
    }
}
