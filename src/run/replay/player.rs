//! Time travel: the world of a recording at any of its moments.
//!
//! Going back is going forth from an earlier place. Such places, checkpoints, are made while the
//! recording is read for the first time: whole copies of the reader, the tracker and what the
//! screen has heard. When there are too many of them, every second one goes, so that they stay
//! evenly spaced and memory does not grow with the recording: at most [`CHECKPOINTS`], and at most
//! [`HELD`] times the tracker's retention of connections in all of them together. Beside them there
//! are the world that is shown, the farthest that was read, and two places near the last step back.
//!
//! The world at a time is what was recorded until the first observation that is later. That makes
//! it the same, however one came there.

mod world;

use std::collections::VecDeque;

use jiff::tz::TimeZone;

use crate::cli::when::Extent;
use crate::model::filter::Filter;
use crate::model::{Body, Timestamp};
use crate::source::replay::{Replay, ReplayError};
use crate::timeline::{ConnId, DEFAULT_RETENTION};
use crate::view::report::ClockWord;
pub use world::World;

/// So many checkpoints are kept at most.
pub const CHECKPOINTS: usize = 64;
/// So many times the tracker's retention is kept in all checkpoints together.
pub const HELD: usize = 8;
/// Observations between two checkpoints at first.
const SPACING: u64 = 1024;
/// Observations between two places that are kept on the way to the last step back.
const NEARBY: u64 = 8192;
/// Stops that are remembered for the way back.
const REMEMBERED: usize = 1 << 16;
/// A first look comes within so much time of the start.
const OPENING: std::time::Duration = std::time::Duration::from_secs(5);

/// Where steps stop: wherever something is known of these.
#[derive(Clone, Debug, PartialEq)]
pub enum Stops {
    /// All connections that the filter wants.
    All(Filter),
    /// One connection.
    Of(ConnId),
}

/// Stops that were met on the way, so that the next step back need not look again.
struct Remembered {
    stops: Stops,
    /// All stops from the first of these up to there are known.
    until: Timestamp,
    at: VecDeque<Timestamp>,
}

/// Shows any moment of a recording.
pub struct Player {
    /// What was read first: the farthest that is known.
    frontier: World,
    /// The first of them is the start.
    checkpoints: Vec<World>,
    spacing: u64,
    held: usize,
    /// Two places before the last step back: the next ones begin there.
    nearby: VecDeque<World>,
    now: World,
    position: Timestamp,
    /// What comes later is not read.
    until: Option<Timestamp>,
    begin: Timestamp,
    remembered: Option<Remembered>,
}

impl Player {
    /// A player of what `until` lets through, at the start. Nothing is read yet.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn new(mut start: World) -> Result<Self, ReplayError> {
        let first = start.replay.recordings().map(|one| one.first).min();
        let begin = start.replay.peek()?.or(first).unwrap_or_default();
        Ok(Self {
            frontier: start.clone(),
            checkpoints: vec![start.clone()],
            spacing: SPACING,
            held: 0,
            nearby: VecDeque::new(),
            now: start,
            position: begin,
            until: None,
            begin,
            remembered: None,
        })
    }

    /// Ends the world there: what comes later is not read. To be said before anything is.
    pub const fn end_at(&mut self, until: Timestamp) {
        self.until = Some(until);
    }

    /// Reads on behind the farthest that is known, at most so many observations; says whether that
    /// was all there is for now.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn read_on(&mut self, most: usize) -> Result<bool, ReplayError> {
        for _ in 0..most {
            let Some(observation) = self.frontier.take(self.until)? else {
                return Ok(true);
            };
            let is_first_look = matches!(&observation.body, Body::Poll(poll) if poll.first);
            if is_first_look && self.frontier.at.since(self.first_of_all()) < OPENING {
                // There is nothing to be seen before.
                self.begin = self.begin.max(self.frontier.at);
            }
            if self.frontier.taken.is_multiple_of(NEARBY) {
                keep_near(&mut self.nearby, &self.frontier);
            }
            let newest = self.checkpoints.last().map_or(0, |world| world.taken);
            if self.frontier.taken - newest >= self.spacing {
                self.add_checkpoint();
            }
        }
        Ok(false)
    }

    fn first_of_all(&self) -> Timestamp {
        let all = self.frontier.replay.recordings();
        all.map(|one| one.first).min().unwrap_or_default()
    }

    fn add_checkpoint(&mut self) {
        self.held += self.frontier.tracker().connections().len();
        self.checkpoints.push(self.frontier.clone());
        while self.is_full() && self.checkpoints.len() > 1 {
            self.thin_out();
        }
    }

    const fn is_full(&self) -> bool {
        self.checkpoints.len() > CHECKPOINTS || self.held > HELD * DEFAULT_RETENTION
    }

    /// Every second checkpoint goes; the first stays.
    fn thin_out(&mut self) {
        let mut place = 0;
        self.checkpoints.retain(|_| {
            place += 1;
            place % 2 == 1
        });
        self.spacing = self.spacing.saturating_mul(2);
        let held = self.checkpoints.iter();
        self.held = held.map(|world| world.tracker().connections().len()).sum();
    }

    /// How many checkpoints there are, and how many connections they hold together.
    pub const fn checkpoints(&self) -> (usize, usize) {
        (self.checkpoints.len(), self.held)
    }

    /// The world at the position.
    pub const fn world(&self) -> &World {
        &self.now
    }

    /// The moment that is shown.
    pub const fn position(&self) -> Timestamp {
        self.position
    }

    /// The first moment at which there is something to be seen.
    pub const fn begin(&self) -> Timestamp {
        self.begin
    }

    /// The last moment that is known: also that of the last line, which is no observation.
    pub fn end(&self) -> Timestamp {
        let newest = self.frontier.at.max(self.begin);
        let all = self.frontier.replay.recordings();
        match all.map(|one| one.newest).max() {
            Some(end) if self.frontier.is_ended() => {
                newest.max(self.until.map_or(end, |until| end.min(until)))
            }
            _ => newest,
        }
    }

    /// What is to be said of the clocks, as far as was read.
    pub fn clocks(&self) -> Vec<ClockWord> {
        self.frontier.clocks()
    }

    /// What is known of the recordings, as far as they were read.
    pub const fn known(&self) -> &Replay {
        &self.frontier.replay
    }

    /// Whether nothing more will come behind the farthest that is known. What lies behind `until`
    /// does not come.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn is_all(&mut self) -> Result<bool, ReplayError> {
        self.frontier.is_all(self.until)
    }

    /// Whether there is more that the user does not want to see.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn is_cut_by_wish(&mut self) -> Result<bool, ReplayError> {
        Ok(self.frontier.replay.peek()?.is_some() && self.is_all()?)
    }

    /// What a time is resolved with.
    pub fn extent(&self, zone: TimeZone) -> Extent {
        Extent {
            begin: self.first_of_all(),
            end: self.end(),
            grows: !self.frontier.replay.is_whole(),
            anchors: self.frontier.heard.anchors().clone(),
            zone,
        }
    }

    /// Shows the world of a moment; one outside of the recording is its start or its end.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn seek(&mut self, to: Timestamp) -> Result<(), ReplayError> {
        let to = to.clamp(self.begin, self.end());
        let best = self.best_before(to);
        if self.now.at > to || self.position > to || self.now.taken < best.taken {
            self.now = best.clone();
        }
        self.position = to;
        // A step back from there begins close by.
        while self.now.take(Some(to))?.is_some() {
            if self.now.taken.is_multiple_of(NEARBY) {
                keep_near(&mut self.nearby, &self.now);
            }
        }
        Ok(())
    }

    /// The latest known place that is not behind `to`.
    fn best_before(&self, to: Timestamp) -> &World {
        if self.frontier.at <= to {
            return &self.frontier;
        }
        let behind = self.checkpoints.partition_point(|world| world.at <= to);
        let checkpoint = self.checkpoint_before(behind);
        let nearby = self.nearby.iter().rev().find(|world| world.at <= to);
        match nearby {
            Some(nearby) if nearby.taken > checkpoint.taken => nearby,
            _ => checkpoint,
        }
    }

    /// The checkpoint before that place; the first one at the least.
    fn checkpoint_before(&self, place: usize) -> &World {
        &self.checkpoints[place.saturating_sub(1).min(self.checkpoints.len() - 1)]
    }

    /// Lets time pass up to `to`, at most so many observations of it; says whether it is there.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn advance(&mut self, to: Timestamp, most: usize) -> Result<bool, ReplayError> {
        let to = to.min(self.end());
        for _ in 0..most {
            if self.now.take(Some(to))?.is_none() {
                self.position = self.position.max(to);
                return Ok(true);
            }
        }
        self.position = self.position.max(self.now.at);
        Ok(false)
    }

    /// Goes to the next moment at which something was known; to the end when there is none.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn next(&mut self, stops: &Stops) -> Result<(), ReplayError> {
        let end = self.end();
        while self.now.take(Some(end))?.is_some() {
            if self.now.stops_for(stops) {
                return self.seek(self.now.at);
            }
        }
        self.position = end;
        Ok(())
    }

    /// Goes to the moment before at which something was known; to the start when there is none.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn previous(&mut self, stops: &Stops) -> Result<(), ReplayError> {
        let found = match self.recall(stops) {
            Some(found) => Some(found),
            None => self.look_back(stops)?,
        };
        self.seek(found.unwrap_or(self.begin))
    }

    /// The stop before the position, if it is remembered.
    fn recall(&self, stops: &Stops) -> Option<Timestamp> {
        let known = self.remembered.as_ref()?;
        if known.stops != *stops || known.until < self.position {
            return None;
        }
        let behind = known.at.partition_point(|at| *at < self.position);
        known.at.get(behind.checked_sub(1)?).copied()
    }

    /// The latest of the places near the last way that lies before, unless a checkpoint is nearer.
    fn nearby_before(&self, position: Timestamp) -> Option<World> {
        let before = |world: &&World| world.at < position;
        let checkpoint = self.checkpoints.iter().rev().find(before)?.taken;
        let nearby = self.nearby.iter().filter(before);
        let nearest = nearby.max_by_key(|world| world.taken)?;
        (nearest.taken > checkpoint).then(|| nearest.clone())
    }

    /// Looks for the stop before the position, from one checkpoint after the other.
    fn look_back(&mut self, stops: &Stops) -> Result<Option<Timestamp>, ReplayError> {
        let position = self.position;
        let mut until = position;
        if let Some(from) = self.nearby_before(position) {
            let begins = from.at;
            let at = self.stops_between(from, until, stops)?;
            if let Some(last) = at.back().copied().filter(|last| *last >= self.begin) {
                self.remembered = Some(Remembered {
                    stops: stops.clone(),
                    until,
                    at,
                });
                return Ok(Some(last));
            }
            until = begins.plus(std::time::Duration::from_nanos(1));
        }
        let mut place = self.checkpoints.partition_point(|world| world.at < until);
        loop {
            let from = self.checkpoint_before(place).clone();
            let begins = from.at;
            let at = self.stops_between(from, until, stops)?;
            // What the start shows is where steps back end.
            let last = at.back().copied().filter(|last| *last >= self.begin);
            if last.is_some() || place <= 1 {
                self.remembered = Some(Remembered {
                    stops: stops.clone(),
                    until,
                    at,
                });
                return Ok(last);
            }
            until = begins.plus(std::time::Duration::from_nanos(1));
            place -= 1;
        }
    }

    /// The moments before `until` at which something was known, the newest of them. The last places
    /// on the way are kept.
    fn stops_between(
        &mut self,
        mut world: World,
        until: Timestamp,
        stops: &Stops,
    ) -> Result<VecDeque<Timestamp>, ReplayError> {
        let mut met: VecDeque<Timestamp> = VecDeque::new();
        let last = until.minus(std::time::Duration::from_nanos(1));
        while world.take(Some(last))?.is_some() {
            if world.taken.is_multiple_of(NEARBY) {
                keep_near(&mut self.nearby, &world);
            }
            if world.stops_for(stops) && met.back() != Some(&world.at) {
                if met.len() == REMEMBERED {
                    met.pop_front();
                }
                met.push_back(world.at);
            }
        }
        Ok(met)
    }
}

/// Keeps a place, and the one that was kept before it.
fn keep_near(nearby: &mut VecDeque<World>, world: &World) {
    if nearby.len() == 2 {
        nearby.pop_front();
    }
    nearby.push_back(world.clone());
}
