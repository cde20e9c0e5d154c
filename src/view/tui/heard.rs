//! What the screen has heard beside connections: how sources do, what was lost, what the lab
//! announced, and which date a timestamp is.
//!
//! The traps: notes come without end, so only the newest are kept. A clock that was set makes the
//! newest anchor the right one, for old stamps too.

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;

use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::view::duration;

/// How many notes are kept.
const NOTES: usize = 100;

/// Something that a process of the lab announced.
#[derive(Debug)]
pub(super) struct LabNote {
    pub(super) at: Timestamp,
    pub(super) pid: u32,
    pub(super) text: String,
}

/// One moment on two clocks.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    at: Timestamp,
    realtime_ns: u64,
}

#[derive(Debug)]
pub(super) struct Heard {
    sources: BTreeMap<SourceName, SourceState>,
    /// Why something was missed, the newest reason.
    last_loss: Option<&'static str>,
    notes: VecDeque<LabNote>,
    clock: Option<Anchor>,
    first: Option<Timestamp>,
    zone: TimeZone,
}

impl Heard {
    pub(super) const fn new(zone: TimeZone) -> Self {
        Self {
            sources: BTreeMap::new(),
            last_loss: None,
            notes: VecDeque::new(),
            clock: None,
            first: None,
            zone,
        }
    }

    pub(super) fn note(&mut self, observation: &Observation) {
        let at = observation.at;
        self.first.get_or_insert(at);
        match &observation.body {
            Body::Source(state) => {
                self.sources.insert(observation.source, state.clone());
            }
            Body::Lost { why, .. } => self.last_loss = Some(why),
            Body::Clock { realtime_ns } => {
                self.clock = Some(Anchor {
                    at,
                    realtime_ns: *realtime_ns,
                });
            }
            Body::Note { pid, text } => self.keep(LabNote {
                at,
                pid: *pid,
                text: text.clone(),
            }),
            Body::Poll(_) | Body::Unchanged { .. } | Body::Lookup { .. } | Body::Host(_) => {}
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

    pub(super) const fn last_loss(&self) -> Option<&'static str> {
        self.last_loss
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &LabNote> {
        self.notes.iter()
    }

    /// Whether any source looks at sockets.
    pub(super) fn is_watching(&self) -> bool {
        self.sources
            .values()
            .any(|state| matches!(state, SourceState::Running { .. }))
    }

    /// The time of day, in twelve columns; without an anchor, the time since the start.
    pub(super) fn time(&self, at: Timestamp) -> String {
        self.time_of_day(at).unwrap_or_else(|| {
            let since = at.since(self.first.unwrap_or(at));
            format!("+{}", duration::brief(since))
        })
    }

    fn time_of_day(&self, at: Timestamp) -> Option<String> {
        let anchor = self.clock?;
        let realtime =
            i128::from(anchor.realtime_ns) + i128::from(at.nanos()) - i128::from(anchor.at.nanos());
        let moment = jiff::Timestamp::from_nanosecond(realtime).ok()?;
        let local = moment.to_zoned(self.zone.clone());
        Some(local.strftime("%H:%M:%S%.3f").to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(at: u64, body: Body) -> Observation {
        Observation {
            at: Timestamp::from_nanos(at),
            source: SourceName::Lab,
            body,
        }
    }

    #[test]
    fn the_newest_anchor_dates_every_stamp() {
        let mut heard = Heard::new(TimeZone::UTC);
        let second = 1_000_000_000;
        assert_eq!(heard.time(Timestamp::from_nanos(second)), "+0 µs");
        let clock = |hours: u64| Body::Clock {
            realtime_ns: hours * 3600 * second,
        };
        heard.note(&observation(10 * second, clock(5)));
        assert_eq!(
            heard.time(Timestamp::from_nanos(9 * second)),
            "04:59:59.000"
        );
        heard.note(&observation(20 * second, clock(7)));
        assert_eq!(
            heard.time(Timestamp::from_nanos(9 * second)),
            "06:59:49.000"
        );
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
