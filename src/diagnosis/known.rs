//! All that is known at a moment: the connections, and what is wrong with them. One door for
//! observations, so that a live run, a replay and a test take them in alike.

use crate::diagnosis::settings::Settings;
use crate::diagnosis::watch::{Diagnosis, News};
use crate::model::{Ask, Observation};
use crate::timeline::{Change, Tracker};

/// The connections and their findings.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The connections.
    pub tracker: Tracker,
    /// What is wrong with them.
    pub diagnosis: Diagnosis,
    changes: Vec<Change>,
    news: Vec<News>,
    moved: u64,
}

impl Known {
    /// Nothing, to be judged by these thresholds.
    pub fn new(tracker: Tracker, settings: Settings) -> Self {
        Self {
            tracker,
            diagnosis: Diagnosis::new(settings),
            changes: Vec::new(),
            news: Vec::new(),
            moved: 0,
        }
    }

    /// Takes in an observation.
    pub fn take(&mut self, observation: &Observation) {
        self.tracker.ingest(observation);
        self.tracker.take_changes(&mut self.changes);
        self.diagnosis
            .take(observation, &self.changes, &self.tracker);
        self.news.clear();
        self.news.extend(self.diagnosis.news());
        let is_news = !self.changes.is_empty() || !self.news.is_empty();
        self.moved += u64::from(is_news || self.tracker.touched().next().is_some());
    }

    /// How many observations have shown something otherwise than before: as long as it is the same,
    /// so is everything known.
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    /// What followed for the connections from the observation taken in last, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What was found by it, and what is over.
    pub fn news(&self) -> &[News] {
        &self.news
    }

    /// What the tracker wants to know since this was last asked.
    pub fn asks(&mut self) -> std::vec::Drain<'_, Ask> {
        self.tracker.asks()
    }
}
