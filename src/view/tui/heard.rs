//! What the screen has heard beside connections: how sources do, what was lost, what the lab
//! announced.
//!
//! The trap: notes come without end, so only the newest are kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;

use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::view::wall::{Anchors, WallClock};

/// How many notes are kept.
const NOTES: usize = 100;

/// Something that a process of the lab announced.
#[derive(Clone, Debug)]
pub(super) struct LabNote {
    pub(super) at: Timestamp,
    pub(super) pid: u32,
    pub(super) text: String,
}

/// What was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    sources: BTreeMap<SourceName, SourceState>,
    /// Why something was missed, the newest reason.
    last_loss: Option<Cow<'static, str>>,
    notes: VecDeque<LabNote>,
    clock: WallClock,
    /// What the recording beside it says, when something is wrong with it.
    recording: Option<String>,
    /// Bytes of it, as long as it goes on.
    recorded: Option<u64>,
}

impl Heard {
    /// Nothing yet, with times of day in `zone`.
    pub const fn new(zone: TimeZone) -> Self {
        Self {
            sources: BTreeMap::new(),
            last_loss: None,
            notes: VecDeque::new(),
            clock: WallClock::new(zone),
            recording: None,
            recorded: None,
        }
    }

    /// Takes in what an observation says beside connections.
    pub fn note(&mut self, observation: &Observation) {
        let at = observation.at;
        self.clock.note(observation);
        match &observation.body {
            Body::Source(state) => {
                self.sources.insert(observation.source, state.clone());
            }
            Body::Lost { why, .. } => self.last_loss = Some(why.clone()),
            Body::Note { pid, text } => self.keep(LabNote {
                at,
                pid: *pid,
                text: text.clone(),
            }),
            Body::Poll(_)
            | Body::Event(_)
            | Body::Unchanged { .. }
            | Body::Lookup { .. }
            | Body::Keyframe(_)
            | Body::Holders(_)
            | Body::Info(_)
            | Body::Host(_)
            | Body::Clock { .. } => {}
        }
    }

    fn keep(&mut self, note: LabNote) {
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
    }

    pub(super) const fn sources(&self) -> &BTreeMap<SourceName, SourceState> {
        &self.sources
    }

    pub(super) fn last_loss(&self) -> Option<&str> {
        self.last_loss.as_deref()
    }

    pub(super) fn hear_of_recording(&mut self, text: String) {
        self.recording = Some(text);
    }

    pub(super) const fn show_recorded(&mut self, bytes: Option<u64>) {
        self.recorded = bytes;
    }

    pub(super) const fn recorded(&self) -> Option<u64> {
        self.recorded
    }

    pub(super) fn recording(&self) -> Option<&str> {
        self.recording.as_deref()
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &LabNote> {
        self.notes.iter()
    }

    /// Whether any source looks at sockets.
    pub(super) fn is_watching(&self) -> bool {
        let looks = |name| !matches!(name, SourceName::Holders | SourceName::Info);
        self.sources
            .iter()
            .any(|(name, state)| looks(*name) && matches!(state, SourceState::Running { .. }))
    }

    /// `2026-11-20 14:02:11.532123`; without a date, what [`Heard::time`] says.
    pub(super) fn date_and_time(&self, at: Timestamp) -> String {
        self.clock.date_and_time(at)
    }

    /// What moments are dated by.
    pub const fn anchors(&self) -> &Anchors {
        self.clock.anchors()
    }

    /// The time of day, in fifteen columns.
    pub(super) fn time(&self, at: Timestamp) -> String {
        self.clock.time_of_day(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(at: u64, body: Body) -> Observation {
        Observation {
            host: 0,
            at: Timestamp::from_nanos(at),
            source: SourceName::Lab,
            body,
        }
    }

    #[test]
    fn only_the_newest_notes_are_kept() {
        let mut heard = Heard::new(TimeZone::UTC);
        for pid in 0..300 {
            let text = "close(3)".to_owned();
            heard.note(&observation(1, Body::Note { pid, text }));
        }
        assert_eq!(heard.notes().count(), NOTES);
        assert_eq!(heard.notes().next().map(|note| note.pid), Some(200));
    }
}
