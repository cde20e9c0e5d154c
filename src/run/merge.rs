//! Puts what several sources say into the order of time.
//!
//! A look is known when its last row is in, an event when the ring is read: later than it
//! happened. So an observation waits until the events of its time are all in hand; what is still
//! missing after the horizon has nothing to wait for. While no events run, nobody waits. The trap:
//! an observation that comes after later ones have gone out is let through in its turn and
//! counted, never sorted into what was shown. And a lookup is made after the ring was read, but the
//! next events may be older than it: events and what is later than them queue apart.

use std::collections::VecDeque;
use std::time::Duration;
use std::vec::IntoIter;

use crate::model::{Body, Observation, Timestamp};

/// Nobody waits longer than this for events of the same time. An opening waits 50 ms for its port
/// before it comes, and a thread that reads events for its turn on a machine under load.
pub(super) const HORIZON: Duration = Duration::from_millis(200);

/// Who hands in batches. Each hands in its own in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// The looks.
    Looks,
    /// Events and the lookups that go with them.
    Quick,
    /// What the main thread itself has to say.
    Main,
    /// Who holds the sockets.
    Holders,
    /// What the sockets' counters say.
    Info,
}

/// The queue of lookups that are later than the events they came with, beside those of the streams.
const LATER: usize = 5;

/// Observations on their way to the tracker.
#[derive(Debug, Default)]
pub(super) struct Merge {
    streams: [VecDeque<IntoIter<Observation>>; 6],
    /// All events up to then are here; `None` while none run.
    drained: Option<Timestamp>,
    released: Timestamp,
    late: u64,
}

impl Merge {
    /// Takes in a batch.
    pub(super) fn push(&mut self, stream: Stream, mut batch: Vec<Observation>) {
        if let (Stream::Quick, Some(drained)) = (stream, self.drained) {
            let later = batch.split_off(batch.partition_point(|told| told.at <= drained));
            self.queue(LATER, later);
        }
        self.queue(stream as usize, batch);
    }

    fn queue(&mut self, index: usize, batch: Vec<Observation>) {
        if !batch.is_empty() {
            self.streams[index].push_back(batch.into_iter());
        }
    }

    /// Events run from now on, and are here up to then.
    pub(super) fn drained(&mut self, until: Timestamp) {
        self.drained = self.drained.max(Some(until));
    }

    /// Whether all that happened before then is here; so it is while no events run.
    pub(super) fn is_drained(&self, until: Timestamp) -> bool {
        self.drained.is_none_or(|drained| drained >= until)
    }

    /// How many came after later ones since this was last asked.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// The next observation that nothing can come before any more.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Observation> {
        let (at, oldest) = self.oldest()?;
        let is_free = self
            .drained
            .is_none_or(|drained| at <= drained.max(now.minus(HORIZON)));
        if !is_free {
            return None;
        }
        let is_behind = self.drained.is_some() && at < self.released;
        self.released = self.released.max(at);
        let stream = &mut self.streams[oldest];
        let batch = stream.front_mut()?;
        let observation = batch.next();
        let is_event = observation
            .as_ref()
            .is_some_and(|told| matches!(told.body, Body::Event(_)));
        self.late += u64::from(is_behind && is_event);
        if batch.len() == 0 {
            stream.pop_front();
        }
        observation
    }

    /// When the next one is free at the latest, `None` when nothing waits.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.oldest().map(|(at, _)| at.plus(HORIZON))
    }

    /// Whether what waits is later than that.
    pub(super) fn waits_since(&self, since: Timestamp) -> bool {
        self.oldest().is_some_and(|(at, _)| at > since)
    }

    /// Whether something that the stream said is not free yet.
    pub(super) fn waits(&self, stream: Stream) -> bool {
        !self.streams[stream as usize].is_empty()
    }

    /// All that is left, in order, at the end of a run.
    pub(super) fn rest(&mut self) -> Vec<Observation> {
        let mut all: Vec<Observation> = self
            .streams
            .iter_mut()
            .flat_map(std::mem::take)
            .flatten()
            .collect();
        all.sort_by_key(|observation| observation.at);
        all
    }

    fn oldest(&self) -> Option<(Timestamp, usize)> {
        let heads = self.streams.iter().enumerate();
        heads
            .filter_map(|(index, stream)| {
                let first = stream.front()?.as_slice().first()?;
                Some((first.at, index))
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceName;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn batch(times: &[u64]) -> Vec<Observation> {
        let observation = |&ms: &u64| Observation {
            host: 0,
            at: at(ms),
            source: SourceName::Lab,
            body: Body::Clock { realtime_ns: ms },
        };
        times.iter().map(observation).collect()
    }

    fn all(merge: &mut Merge, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| merge.pop(at(now)))
            .map(|observation| observation.at.nanos() / 1_000_000)
            .collect()
    }

    #[test]
    fn without_events_nobody_waits() {
        let mut merge = Merge::default();
        merge.push(Stream::Looks, batch(&[100, 130]));
        merge.push(Stream::Quick, batch(&[110, 120]));
        assert_eq!(all(&mut merge, 100), [100, 110, 120, 130]);
        assert_eq!(merge.due(), None);
    }

    #[test]
    fn a_look_waits_for_the_events_of_its_time() {
        let mut merge = Merge::default();
        merge.drained(at(90));
        merge.push(Stream::Looks, batch(&[100]));
        assert!(all(&mut merge, 101).is_empty());
        merge.push(Stream::Quick, batch(&[95, 99, 104]));
        merge.drained(at(102));
        assert_eq!(all(&mut merge, 102), [95, 99, 100]);
        assert_eq!(merge.due(), Some(at(304)));
        merge.drained(at(110));
        assert_eq!(all(&mut merge, 110), [104]);
    }

    #[test]
    fn a_lookup_waits_for_the_events_that_come_after_it() {
        let mut merge = Merge::default();
        merge.drained(at(90));
        merge.push(Stream::Quick, batch(&[80, 100]));
        assert_eq!(all(&mut merge, 101), [80]);
        merge.drained(at(110));
        merge.push(Stream::Quick, batch(&[95, 105]));
        assert_eq!(all(&mut merge, 111), [95, 100, 105]);
        assert_eq!(merge.late, 0);
    }

    #[test]
    fn nobody_waits_beyond_the_horizon() {
        let mut merge = Merge::default();
        merge.drained(at(90));
        merge.push(Stream::Looks, batch(&[100]));
        assert!(all(&mut merge, 299).is_empty());
        assert_eq!(all(&mut merge, 300), [100]);
        // What comes after that is late, and comes all the same.
        merge.push(Stream::Quick, batch(&[99]));
        merge.drained(at(400));
        assert_eq!(all(&mut merge, 400), [99]);
        assert_eq!(merge.take_late(), 0, "no event");
    }

    #[test]
    fn nothing_is_left_behind_at_the_end() {
        let mut merge = Merge::default();
        merge.drained(at(0));
        merge.push(Stream::Looks, batch(&[100, 300]));
        merge.push(Stream::Main, batch(&[200]));
        let times: Vec<u64> = merge.rest().iter().map(|o| o.at.nanos()).collect();
        assert_eq!(times, [100_000_000, 200_000_000, 300_000_000]);
    }
}
