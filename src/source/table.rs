//! What a source has said, so that it says only what is new.
//!
//! The bulk of every look is sockets that did not move; they cost one hash lookup and one
//! comparison here, no allocation, and never leave the source.
//!
//! The traps: a dump can show a socket twice (the later row is the newer one) and can skip one,
//! so a socket that a look lacks is reported as missing and kept until a question settles it. A
//! look without TIME_WAIT lacks those by design.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model::{
    Body, Look, Observation, Poll, Queues, Sample, SockId, SourceName, TcpState, TimerKind,
    Timestamp,
};

/// Timers are kept as deadlines; the kernel's jiffies make one wobble by less than this.
const TIMER_WOBBLE: Duration = Duration::from_millis(20);
/// Lengths of queues, and timers that every acknowledgement moves, are said once in this time.
const BUSY_PERIOD: Duration = Duration::from_secs(1);
/// Looks without news are reported once in this time.
const UNCHANGED_PERIOD: Duration = Duration::from_secs(1);
/// A missing socket that nobody asks for is forgotten after this time.
const UNASKED: Duration = Duration::from_secs(10);

struct Entry {
    said: Sample,
    said_at: Timestamp,
    device: u32,
    generation: u64,
    missing_since: Option<Timestamp>,
}

/// The sockets of one source as it last reported them, by what tells them apart: the cookie, or
/// from /proc the 4-tuple.
pub struct Table<K> {
    source: SourceName,
    entries: HashMap<K, Entry, foldhash::fast::RandomState>,
    generation: u64,
    /// Sockets seen in the look at hand.
    seen: usize,
    time_waits: usize,
    any_look_done: bool,
    appeared: Vec<Sample>,
    changed: Vec<Sample>,
    unchanged_whole: Quiet,
    unchanged_without_time_wait: Quiet,
}

/// Looks without news that are not reported yet.
#[derive(Default)]
struct Quiet {
    newest: Option<Timestamp>,
    said_at: Timestamp,
}

impl<K: Eq + Hash + Copy + Ord> Table<K> {
    /// An empty table.
    pub fn new(source: SourceName) -> Self {
        Self {
            source,
            entries: HashMap::default(),
            generation: 0,
            seen: 0,
            time_waits: 0,
            any_look_done: false,
            appeared: Vec::new(),
            changed: Vec::new(),
            unchanged_whole: Quiet::default(),
            unchanged_without_time_wait: Quiet::default(),
        }
    }

    /// How many sockets it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many of them were in TIME_WAIT at the end of the last whole look.
    pub const fn time_waits(&self) -> usize {
        self.time_waits
    }

    /// The interface that a socket is bound to.
    pub fn device(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.device)
    }

    /// The socket, if the newest look shows it.
    pub fn present(&self, key: &K) -> Option<&Sample> {
        self.entries
            .get(key)
            .filter(|entry| entry.generation == self.generation)
            .map(|entry| &entry.said)
    }

    /// Some socket that the newest look shows and whose key satisfies the condition.
    pub fn any_present(&self, wanted: impl Fn(&K) -> bool) -> Option<&Sample> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.generation == self.generation)
            .find(|(key, _)| wanted(key))
            .map(|(_, entry)| &entry.said)
    }

    /// What was missing is reported as missing again: the question about it was lost.
    pub fn miss_again(&mut self) {
        for entry in self.entries.values_mut() {
            entry.missing_since = None;
        }
    }

    /// A look begins.
    pub fn begin(&mut self) {
        self.generation += 1;
        self.seen = 0;
        self.appeared.clear();
        self.changed.clear();
    }

    /// The look shows a socket.
    #[inline]
    pub fn row(&mut self, key: K, sample: &Sample, device: u32, at: Timestamp) {
        let Some(entry) = self.entries.get_mut(&key) else {
            self.seen += 1;
            self.insert(key, sample, device, at);
            self.appeared.push(*sample);
            return;
        };
        if entry.generation != self.generation {
            entry.generation = self.generation;
            self.seen += 1;
        }
        entry.missing_since = None;
        if differs(&entry.said, sample, entry.said_at, at) {
            entry.said = *sample;
            entry.said_at = at;
            self.changed.push(*sample);
        }
    }

    fn insert(&mut self, key: K, sample: &Sample, device: u32, at: Timestamp) {
        let entry = Entry {
            said: *sample,
            said_at: at,
            device,
            generation: self.generation,
            missing_since: None,
        };
        self.entries.insert(key, entry);
    }

    /// The look is over: reports what was new in it.
    pub fn finish(
        &mut self,
        look: Look,
        begun: Timestamp,
        at: Timestamp,
        complete: bool,
        out: &mut Vec<Observation>,
    ) {
        let missing = if complete {
            self.missing(look, at)
        } else {
            Vec::new()
        };
        if complete && look == Look::Whole {
            self.time_waits = self.count_time_waits();
        }
        let first = !self.any_look_done;
        self.any_look_done |= complete;
        let quiet = self.appeared.is_empty() && self.changed.is_empty() && missing.is_empty();
        if quiet && complete && !first {
            self.stay_quiet(look, begun, at, out);
            return;
        }
        self.flush(at, out);
        let poll = Poll {
            begun,
            look,
            complete,
            first,
            appeared: std::mem::take(&mut self.appeared),
            changed: std::mem::take(&mut self.changed),
            missing,
        };
        out.push(self.observation(at, Body::Poll(poll)));
    }

    /// The sockets that a complete look should have shown.
    fn missing(&mut self, look: Look, at: Timestamp) -> Vec<SockId> {
        if self.seen == self.entries.len() {
            return Vec::new();
        }
        let generation = self.generation;
        let mut missing: Vec<(K, SockId)> = Vec::new();
        self.entries.retain(|key, entry| {
            if entry.generation == generation || !is_covered(&entry.said, look, at) {
                return true;
            }
            match entry.missing_since {
                None => {
                    entry.missing_since = Some(at);
                    missing.push((*key, entry.said.id));
                    true
                }
                Some(since) => at.since(since) < UNASKED,
            }
        });
        // The order of a hash map is chance; what is said must not be.
        missing.sort_unstable_by_key(|(key, _)| *key);
        missing.into_iter().map(|(_, id)| id).collect()
    }

    fn count_time_waits(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.said.state == TcpState::TimeWait)
            .count()
    }

    fn stay_quiet(
        &mut self,
        look: Look,
        begun: Timestamp,
        at: Timestamp,
        out: &mut Vec<Observation>,
    ) {
        let quiet = match look {
            Look::Whole => &mut self.unchanged_whole,
            Look::WithoutTimeWait => &mut self.unchanged_without_time_wait,
        };
        quiet.newest = Some(begun);
        if at.since(quiet.said_at) >= UNCHANGED_PERIOD {
            self.flush(at, out);
        }
    }

    /// Reports looks without news that were kept back: before any news, since their begins bound
    /// what comes.
    pub fn flush(&mut self, at: Timestamp, out: &mut Vec<Observation>) {
        let source = self.source;
        for (quiet, look) in [
            (&mut self.unchanged_whole, Look::Whole),
            (&mut self.unchanged_without_time_wait, Look::WithoutTimeWait),
        ] {
            if let Some(until) = quiet.newest.take() {
                quiet.said_at = at;
                out.push(Observation {
                    at,
                    source,
                    body: Body::Unchanged { until, look },
                });
            }
        }
    }

    /// A question was answered: the socket is there, like this.
    pub fn found(&mut self, key: K, sample: &Sample, device: u32, at: Timestamp) {
        self.insert(key, sample, device, at);
    }

    /// A question was answered: the socket is gone.
    pub fn gone(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn observation(&self, at: Timestamp, body: Body) -> Observation {
        Observation {
            at,
            source: self.source,
            body,
        }
    }
}

/// Whether the look should have shown the socket. A TIME_WAIT whose time is over is asked for
/// even when the look leaves TIME_WAIT out.
fn is_covered(said: &Sample, look: Look, at: Timestamp) -> bool {
    look == Look::Whole
        || said.state != TcpState::TimeWait
        || said
            .timer
            .is_some_and(|timer| timer.deadline.plus(TIMER_WOBBLE) < at)
}

/// Whether the new sight is worth saying. What every segment of a busy connection moves is said
/// at once when it comes or goes, and else once a second.
fn differs(said: &Sample, new: &Sample, said_at: Timestamp, at: Timestamp) -> bool {
    if said.state != new.state
        || said.inode != new.inode
        || said.uid != new.uid
        || said.shutdown != new.shutdown
        || said.cgroup != new.cgroup
        || said.retransmits != new.retransmits
        || said.id != new.id
    {
        return true;
    }
    let is_due = at.since(said_at) >= BUSY_PERIOD;
    queues_differ(said.queues, new.queues, is_due) || timers_differ(said, new, is_due)
}

fn queues_differ(said: Queues, new: Queues, is_due: bool) -> bool {
    match (said, new) {
        (
            Queues::Stream {
                receive: said_receive,
                send: said_send,
            },
            Queues::Stream { receive, send },
        ) => {
            let turned = (said_receive == 0) != (receive == 0) || (said_send == 0) != (send == 0);
            turned || (is_due && said != new)
        }
        _ => said != new,
    }
}

fn timers_differ(said: &Sample, new: &Sample, is_due: bool) -> bool {
    let moved_by_traffic = |sample: &Sample| {
        sample
            .timer
            .is_none_or(|timer| timer.kind == TimerKind::Retransmit)
    };
    if !is_due && moved_by_traffic(said) && moved_by_traffic(new) {
        return false;
    }
    match (said.timer, new.timer) {
        (Some(said), Some(new)) => {
            said.kind != new.kind || said.deadline.distance(new.deadline) > TIMER_WOBBLE
        }
        (said, new) => said.is_some() != new.is_some(),
    }
}
