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
    Body, Keyframe, Look, Observation, Poll, Queues, Sample, SockId, SourceName, TcpState,
    TimerKind, Timestamp,
};

/// Timers are kept as deadlines; the kernel's jiffies make one wobble by less than this.
const TIMER_WOBBLE: Duration = Duration::from_millis(20);
/// A deadline that was said so late is put right: it would be wrong for long.
const LATE: Duration = Duration::from_millis(250);
/// Lengths of queues, and timers that every acknowledgement moves, are said once in this time.
const BUSY_PERIOD: Duration = Duration::from_secs(1);
/// Looks without news are reported once in this time.
const UNCHANGED_PERIOD: Duration = Duration::from_secs(1);
/// A missing socket that nobody asks for is forgotten after this time.
const UNASKED: Duration = Duration::from_secs(10);

/// When a socket was seen. What the kernel said of its timer is the time that was left at some
/// moment between the two: the deadline that is made of it is late by that much at most.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// It was not asked for before.
    pub since: Timestamp,
    /// The answer was there.
    pub at: Timestamp,
}

struct Entry {
    said: Sample,
    seen: Seen,
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
    /// Sockets seen in the look at hand, and those in TIME_WAIT among them.
    seen: usize,
    time_waits_seen: usize,
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
            time_waits_seen: 0,
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

    /// How many sockets the last whole look showed in TIME_WAIT.
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

    /// Whether a look before the one that began then lacked the socket too.
    pub fn was_missing_before(&self, key: &K, begun: Timestamp) -> bool {
        self.entries
            .get(key)
            .is_none_or(|entry| entry.missing_since.is_some_and(|since| since < begun))
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
        self.time_waits_seen = 0;
        self.appeared.clear();
        self.changed.clear();
    }

    /// The look shows a socket.
    #[inline]
    pub fn row(&mut self, key: K, sample: &Sample, device: u32, seen: Seen) {
        let waits = usize::from(sample.state == TcpState::TimeWait);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.seen += 1;
            self.time_waits_seen += waits;
            self.insert(key, sample, device, seen);
            self.appeared.push(*sample);
            return;
        };
        if entry.generation != self.generation {
            entry.generation = self.generation;
            self.seen += 1;
            self.time_waits_seen += waits;
        }
        entry.missing_since = None;
        // A socket can be bound to a device at any time, and no other field tells.
        entry.device = device;
        if differs((&entry.said, entry.seen), (sample, seen)) {
            entry.said = *sample;
            entry.seen = seen;
            self.changed.push(*sample);
        }
    }

    fn insert(&mut self, key: K, sample: &Sample, device: u32, seen: Seen) {
        let entry = Entry {
            said: *sample,
            seen,
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
            self.time_waits = self.time_waits_seen;
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

    /// All that the look that has just been finished showed, as it was last said.
    pub fn keyframe(&self, begun: Timestamp, at: Timestamp) -> Observation {
        let mut shown: Vec<(K, Sample)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.generation == self.generation)
            .map(|(key, entry)| (*key, entry.said))
            .collect();
        // The order of a hash map is chance; what is said must not be.
        shown.sort_unstable_by_key(|(key, _)| *key);
        let samples = shown.into_iter().map(|(_, sample)| sample).collect();
        self.observation(at, Body::Keyframe(Keyframe { begun, samples }))
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
                    host: 0,
                    at,
                    source,
                    body: Body::Unchanged { until, look },
                });
            }
        }
    }

    /// A question was answered: the socket is there, like this.
    pub fn found(&mut self, key: K, sample: &Sample, device: u32, seen: Seen) {
        self.insert(key, sample, device, seen);
    }

    /// A question was answered: the socket is gone.
    pub fn gone(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn observation(&self, at: Timestamp, body: Body) -> Observation {
        Observation {
            host: 0,
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
pub(in crate::source) fn differs(before: (&Sample, Seen), now: (&Sample, Seen)) -> bool {
    let ((said, said_seen), (new, seen)) = (before, now);
    if said.state != new.state
        || said.inode != new.inode
        || said.uid != new.uid
        || said.shutdown != new.shutdown
        || said.cgroup != new.cgroup
        || said.multipath != new.multipath
        || said.retransmits != new.retransmits
        || said.id != new.id
    {
        return true;
    }
    let is_due = seen.at.since(said_seen.at) >= BUSY_PERIOD;
    queues_differ(said.queues, new.queues, is_due)
        || timers_differ(before, now, is_due) && !both_overdue(said, new, seen.at)
}

/// A mini-socket outlives its time by up to an eighth (the kernel's timers are coarse), and shows
/// nothing left all that while: its deadline does not move with every look.
fn both_overdue(said: &Sample, new: &Sample, now: Timestamp) -> bool {
    let overdue = |sample: &Sample| {
        sample.is_mini_socket()
            && sample
                .timer
                .is_some_and(|timer| timer.deadline <= now.plus(TIMER_WOBBLE))
    };
    said.state == new.state && overdue(said) && overdue(new)
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

fn timers_differ(before: (&Sample, Seen), now: (&Sample, Seen), is_due: bool) -> bool {
    let ((said, said_seen), (new, seen)) = (before, now);
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
            // Of the later deadline a part may be that it was taken in late.
            let late = if new.deadline > said.deadline {
                seen.at.since(seen.since)
            } else {
                said_seen.at.since(said_seen.since).min(LATE)
            };
            said.kind != new.kind || said.deadline.distance(new.deadline) > TIMER_WOBBLE + late
        }
        (said, new) => said.is_some() != new.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cookie, Endpoint, FourTuple, Scope, Shutdown, Timer};

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_millis(millis))
    }

    const fn at_once(at: Timestamp) -> Seen {
        Seen { since: at, at }
    }

    fn sample(cookie: u64, state: TcpState) -> Sample {
        let endpoint = |port| Endpoint::new([127, 0, 0, 1].into(), port);
        Sample {
            id: SockId {
                scope: Scope::default(),
                cookie: Some(Cookie(cookie)),
                tuple: FourTuple {
                    local: endpoint(cookie as u16),
                    remote: endpoint(80),
                },
            },
            state,
            queues: Queues::Stream {
                receive: 0,
                send: 0,
            },
            timer: None,
            retransmits: 0,
            inode: Some(7),
            uid: Some(0),
            shutdown: Some(Shutdown::default()),
            cgroup: None,
            multipath: false,
        }
    }

    fn established(cookie: u64) -> Sample {
        sample(cookie, TcpState::Established)
    }

    fn queued(receive: u32, send: u32) -> Sample {
        Sample {
            queues: Queues::Stream { receive, send },
            ..established(1)
        }
    }

    fn timed(kind: TimerKind, deadline: Timestamp) -> Sample {
        Sample {
            timer: Some(Timer { kind, deadline }),
            ..established(1)
        }
    }

    fn time_wait(cookie: u64, deadline: Timestamp) -> Sample {
        Sample {
            inode: None,
            queues: Queues::Absent,
            timer: Some(Timer {
                kind: TimerKind::TimeWait,
                deadline,
            }),
            ..sample(cookie, TcpState::TimeWait)
        }
    }

    #[test]
    fn a_time_wait_that_outlives_its_time_is_no_news() {
        let mut watched = Watched::after(&[time_wait(1, ms(500))]);
        for at in [490, 600, 700, 2700] {
            assert!(!watched.is_news(at, time_wait(1, ms(at))), "at {at}");
        }
        // Begun anew: something came for it.
        assert!(watched.is_news(2800, time_wait(1, ms(62_800))));
    }

    #[test]
    fn a_keyframe_is_what_the_look_showed_as_it_was_last_said() {
        let mut watched = Watched::after(&[established(3), queued(0, 0), established(2)]);
        let mut busy = queued(0, 9);
        busy.retransmits = 1;
        watched.whole(10, &[busy, established(3)]);
        let told = watched.table.keyframe(ms(10), ms(11));
        assert_eq!((told.at, told.source), (ms(11), SourceName::SockDiag));
        let Body::Keyframe(keyframe) = told.body else {
            panic!("no keyframe: {told:?}");
        };
        assert_eq!(keyframe.begun, ms(10));
        // In the order of their keys; the one that is missing is not in it.
        assert_eq!(keyframe.samples, [busy, established(3)]);
    }

    /// A table that is looked at as a kernel would show it.
    struct Watched {
        table: Table<Cookie>,
    }

    impl Watched {
        /// A table whose first look, at 0 ms, showed these.
        fn after(rows: &[Sample]) -> Self {
            let mut watched = Self {
                table: Table::new(SourceName::SockDiag),
            };
            let poll = watched.poll(0, rows);
            assert!(poll.first);
            assert_eq!(poll.appeared, rows);
            watched
        }

        /// A look that begins at `at` and ends a millisecond later.
        fn look(&mut self, at: u64, rows: &[Sample], look: Look, complete: bool) -> Vec<Body> {
            let mut out = Vec::new();
            self.table.begin();
            for sample in rows {
                let cookie = sample.id.cookie.unwrap();
                self.table.row(cookie, sample, 0, at_once(ms(at)));
            }
            self.table
                .finish(look, ms(at), ms(at + 1), complete, &mut out);
            assert!(out.iter().all(|told| told.at == ms(at + 1)));
            out.into_iter().map(|told| told.body).collect()
        }

        fn whole(&mut self, at: u64, rows: &[Sample]) -> Vec<Body> {
            self.look(at, rows, Look::Whole, true)
        }

        /// What was new in a whole look, which must have been something.
        fn poll(&mut self, at: u64, rows: &[Sample]) -> Poll {
            news(self.whole(at, rows)).unwrap()
        }

        /// Whether a whole look at this one socket was worth saying.
        fn is_news(&mut self, at: u64, row: Sample) -> bool {
            match news(self.whole(at, &[row])) {
                Some(poll) => {
                    assert_eq!((&poll.appeared[..], &poll.missing[..]), (&[][..], &[][..]));
                    assert_eq!(poll.changed, [row]);
                    true
                }
                None => false,
            }
        }
    }

    fn news(told: Vec<Body>) -> Option<Poll> {
        told.into_iter().find_map(|body| match body {
            Body::Poll(poll) => Some(poll),
            _ => None,
        })
    }

    fn unchanged(until: u64, look: Look) -> Body {
        let until = ms(until);
        Body::Unchanged { until, look }
    }

    fn ids(samples: &[Sample]) -> Vec<SockId> {
        samples.iter().map(|sample| sample.id).collect()
    }

    #[test]
    fn looks_without_news_are_one_report_a_second() {
        let rows = [established(1), established(2)];
        let mut watched = Watched::after(&rows);
        // The first is said at once: nothing was said of quiet looks before.
        assert_eq!(watched.whole(100, &rows), [unchanged(100, Look::Whole)]);
        for at in (200..1100).step_by(100) {
            assert_eq!(watched.whole(at, &rows), [], "at {at}");
        }
        assert_eq!(watched.whole(1100, &rows), [unchanged(1100, Look::Whole)]);
        assert_eq!(watched.whole(1200, &rows), []);
    }

    #[test]
    fn quiet_looks_are_reported_before_news_with_the_newest_begin() {
        let mut watched = Watched::after(&[established(1)]);
        watched.whole(100, &[established(1)]);
        for at in [200, 300, 400] {
            assert_eq!(watched.whole(at, &[established(1)]), []);
        }
        let told = watched.whole(500, &[sample(1, TcpState::CloseWait)]);
        let [before, Body::Poll(poll)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(*before, unchanged(400, Look::Whole));
        assert_eq!(
            (poll.begun, poll.first, poll.complete),
            (ms(500), false, true)
        );
        assert_eq!(poll.changed, [sample(1, TcpState::CloseWait)]);
        // Said once.
        let told = watched.whole(600, &[sample(1, TcpState::LastAck)]);
        assert!(matches!(&told[..], [Body::Poll(_)]), "{told:?}");
    }

    #[test]
    fn quiet_looks_are_reported_before_an_answer() {
        let mut watched = Watched::after(&[established(1)]);
        watched.whole(100, &[established(1)]);
        watched.look(200, &[established(1)], Look::WithoutTimeWait, true);
        watched.whole(300, &[established(1)]);
        let mut out = Vec::new();
        watched.table.flush(ms(310), &mut out);
        let bodies: Vec<Body> = out.into_iter().map(|told| told.body).collect();
        assert!(bodies.contains(&unchanged(300, Look::Whole)));
        let mut again = Vec::new();
        watched.table.flush(ms(320), &mut again);
        assert_eq!(again, []);
    }

    #[test]
    fn the_two_kinds_of_quiet_looks_are_reported_apart() {
        let rows = [established(1), time_wait(2, ms(60_000))];
        let mut watched = Watched::after(&rows);
        watched.whole(100, &rows);
        watched.look(150, &rows[..1], Look::WithoutTimeWait, true);
        watched.whole(200, &rows);
        watched.look(300, &rows[..1], Look::WithoutTimeWait, true);
        let told = watched.whole(400, &[]);
        assert_eq!(
            told[..2],
            [
                unchanged(200, Look::Whole),
                unchanged(300, Look::WithoutTimeWait)
            ]
        );
        assert!(matches!(told[2], Body::Poll(_)));
    }

    #[test]
    fn an_empty_first_look_is_said() {
        let mut watched = Watched::after(&[]);
        assert!(!watched.poll(100, &[established(1)]).first);
    }

    #[test]
    fn the_first_complete_look_is_still_a_first_one() {
        let mut table = Watched {
            table: Table::new(SourceName::Proc),
        };
        let cut = news(table.look(0, &[established(1)], Look::Whole, false)).unwrap();
        assert!(cut.first && !cut.complete);
        let poll = table.poll(100, &[established(1), established(2)]);
        assert!(poll.first && poll.complete);
        assert_eq!(poll.appeared, [established(2)]);
        assert!(!table.poll(200, &[established(1)]).first);
    }

    #[test]
    fn sockets_appear_change_and_are_missed() {
        let mut watched = Watched::after(&[established(1), established(2)]);
        let changed = sample(2, TcpState::FinWait1);
        let poll = watched.poll(100, &[changed, established(3)]);
        assert_eq!(poll.appeared, [established(3)]);
        assert_eq!(poll.changed, [changed]);
        assert_eq!(poll.missing, [established(1).id]);
        assert_eq!(watched.table.len(), 3, "missing is not gone");
        assert_eq!(watched.table.present(&Cookie(1)), None);
        assert_eq!(watched.table.present(&Cookie(2)), Some(&changed));
    }

    #[test]
    fn everything_but_queues_and_timers_is_news_at_once() {
        let base = established(1);
        let mut moved = base;
        moved.id.tuple.remote = Endpoint::new([127, 0, 0, 2].into(), 80);
        for (index, news) in [
            sample(1, TcpState::CloseWait),
            Sample {
                inode: None,
                ..base
            },
            Sample {
                uid: Some(1),
                ..base
            },
            Sample {
                shutdown: Some(Shutdown::from_kernel(1)),
                ..base
            },
            Sample {
                cgroup: Some(5),
                ..base
            },
            Sample {
                retransmits: 1,
                ..base
            },
            moved,
        ]
        .into_iter()
        .enumerate()
        {
            let mut watched = Watched::after(&[base]);
            assert!(watched.is_news(1, news), "case {index}");
            assert!(!watched.is_news(2, news), "case {index}, twice");
        }
    }

    #[test]
    fn a_socket_shown_twice_in_a_look_is_one_and_the_later_row_counts() {
        let mut watched = Watched::after(&[established(1), established(2)]);
        let later = sample(1, TcpState::FinWait1);
        let poll = watched.poll(100, &[established(1), established(2), later]);
        assert_eq!(poll.changed, [later]);
        assert_eq!(poll.missing, []);
        assert_eq!(watched.table.present(&Cookie(1)), Some(&later));
        // Shown twice, it does not hide that another one lacks.
        let poll = watched.poll(200, &[later, later]);
        assert_eq!(poll.missing, [established(2).id]);
        // New and twice.
        let poll = watched.poll(
            300,
            &[later, established(2), established(3), established(3)],
        );
        assert_eq!(poll.appeared, [established(3)]);
        assert_eq!(poll.changed, []);
    }

    #[test]
    fn a_missing_socket_is_said_once_until_it_is_back() {
        let both = [established(1), established(2)];
        let mut watched = Watched::after(&both);
        assert_eq!(watched.poll(100, &both[..1]).missing, [both[1].id]);
        assert_eq!(news(watched.whole(200, &both[..1])), None);
        // A dump skipped it: its return is no news, its next absence is.
        assert_eq!(news(watched.whole(300, &both)), None);
        assert_eq!(watched.poll(400, &both[..1]).missing, [both[1].id]);
        // The question about it was lost.
        watched.table.miss_again();
        assert_eq!(watched.poll(500, &both[..1]).missing, [both[1].id]);
    }

    #[test]
    fn a_missing_socket_nobody_asks_for_is_forgotten() {
        let both = [established(1), established(2)];
        let mut watched = Watched::after(&both);
        watched.poll(100, &both[..1]);
        watched.whole(10_099, &both[..1]);
        assert_eq!(watched.table.len(), 2);
        watched.whole(10_100, &both[..1]);
        assert_eq!(watched.table.len(), 1);
        assert_eq!(watched.poll(10_200, &both).appeared, [both[1]]);
    }

    #[test]
    fn an_answer_settles_what_was_missing() {
        let both = [established(1), established(2)];
        let mut watched = Watched::after(&both);
        watched.poll(100, &[]);
        watched.table.gone(&Cookie(1));
        let found = sample(2, TcpState::FinWait2);
        watched.table.found(Cookie(2), &found, 3, at_once(ms(110)));
        assert_eq!(watched.table.len(), 1);
        assert_eq!(watched.table.device(&Cookie(2)), 3);
        assert_eq!(news(watched.whole(200, &[found])), None);
        assert_eq!(watched.poll(300, &[]).missing, [found.id]);
        assert_eq!(watched.table.device(&Cookie(1)), 0);
    }

    #[test]
    fn a_socket_bound_later_is_asked_for_by_its_device() {
        let mut watched = Watched::after(&[established(1)]);
        watched.table.begin();
        watched
            .table
            .row(Cookie(1), &established(1), 4, at_once(ms(100)));
        assert_eq!(watched.table.device(&Cookie(1)), 4);
    }

    #[test]
    fn a_look_without_time_wait_misses_one_when_its_time_is_over() {
        let rows = [established(1), time_wait(2, ms(1000))];
        let mut watched = Watched::after(&rows);
        assert_eq!(watched.table.time_waits(), 1);
        let without = Look::WithoutTimeWait;
        for at in [100, 900, 1000, 1018] {
            let told = watched.look(at, &rows[..1], without, true);
            assert_eq!(news(told), None, "at {at}");
        }
        // The count is of the last whole look.
        assert_eq!(watched.table.time_waits(), 1);
        let told = watched.look(1020, &rows[..1], without, true);
        assert_eq!(news(told).unwrap().missing, [rows[1].id]);
        // What such a look does cover, it misses.
        let told = watched.look(1100, &[], without, true);
        assert_eq!(news(told).unwrap().missing, [rows[0].id]);
    }

    #[test]
    fn a_whole_look_misses_a_time_wait_before_its_time() {
        let mut watched = Watched::after(&[time_wait(2, ms(60_000))]);
        assert_eq!(watched.poll(100, &[]).missing, ids(&[time_wait(2, ms(0))]));
    }

    #[test]
    fn an_incomplete_look_misses_nothing_and_is_said() {
        let both = [established(1), established(2)];
        let mut watched = Watched::after(&both);
        watched.whole(100, &both);
        watched.whole(150, &both);
        let told = watched.look(200, &both[..1], Look::Whole, false);
        let [before, Body::Poll(poll)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(*before, unchanged(150, Look::Whole));
        assert!(!poll.complete);
        assert_eq!((ids(&poll.appeared), ids(&poll.changed)), (vec![], vec![]));
        assert_eq!(poll.missing, []);
        assert_eq!(watched.poll(300, &both[..1]).missing, [both[1].id]);
    }

    #[test]
    fn missing_sockets_are_in_the_order_of_their_names() {
        let rows: Vec<Sample> = (1..=100).rev().map(established).collect();
        let mut watched = Watched::after(&rows);
        let mut expected = ids(&rows);
        expected.reverse();
        assert_eq!(watched.poll(100, &[]).missing, expected);
    }

    #[test]
    fn a_look_that_was_held_up_moves_no_timer() {
        let held_up = |at, by| Seen {
            since: ms(at),
            at: ms(at + by),
        };
        // An hour to go at the start; what a look takes in late is late by as much.
        let seen = |by| timed(TimerKind::KeepAlive, ms(3_600_000 + by));
        let differs = |(said, new): ((u64, Seen), (u64, Seen))| {
            differs((&seen(said.0), said.1), (&seen(new.0), new.1))
        };
        assert!(!differs(((0, held_up(0, 0)), (40, held_up(100, 40)))));
        assert!(!differs(((40, held_up(0, 40)), (0, held_up(100, 0)))));
        assert!(!differs(((0, held_up(0, 0)), (9000, held_up(100, 9000)))));
        // That it was held up does not make it any earlier.
        assert!(differs(((40, held_up(0, 0)), (0, held_up(100, 40)))));
        assert!(differs(((0, held_up(0, 40)), (40, held_up(100, 0)))));
        // More than that is a move, and what was said far too late is put right.
        assert!(differs(((0, held_up(0, 0)), (70, held_up(100, 40)))));
        assert!(differs(((9000, held_up(0, 9000)), (0, held_up(10_000, 0)))));
    }

    #[test]
    fn a_timer_that_wobbles_is_no_news_and_one_that_moved_is() {
        for kind in [
            TimerKind::KeepAlive,
            TimerKind::TimeWait,
            TimerKind::Probe,
            TimerKind::Other(6),
        ] {
            let mut watched = Watched::after(&[timed(kind, ms(5000))]);
            for (at, deadline) in [(100, 5019), (200, 4981), (1500, 5020), (1600, 4980)] {
                let row = timed(kind, ms(deadline));
                assert!(!watched.is_news(at, row), "{kind:?} {deadline}");
            }
            assert!(watched.is_news(1700, timed(kind, ms(5021))), "{kind:?}");
            // Wobbles do not add up: this is 41 ms from where it began.
            assert!(!watched.is_news(1800, timed(kind, ms(5041))), "{kind:?}");
            assert!(watched.is_news(1900, established(1)), "{kind:?}");
            assert!(watched.is_news(2000, timed(kind, ms(9000))), "{kind:?}");
        }
    }

    #[test]
    fn the_retransmit_timer_of_a_busy_connection_is_said_once_a_second() {
        let retransmit = |deadline| timed(TimerKind::Retransmit, ms(deadline));
        let mut watched = Watched::after(&[established(1)]);
        assert!(!watched.is_news(100, retransmit(300)));
        assert!(!watched.is_news(200, established(1)));
        assert!(!watched.is_news(999, retransmit(1200)));
        assert!(watched.is_news(1000, retransmit(1200)));
        assert!(!watched.is_news(1900, retransmit(2100)));
        assert!(watched.is_news(2000, established(1)));
        // Another kind of timer is no traffic.
        assert!(watched.is_news(2001, timed(TimerKind::Probe, ms(2200))));
        assert!(watched.is_news(2002, retransmit(2200)));
    }

    #[test]
    fn a_queue_that_turns_empty_or_not_is_said_at_once_else_once_a_second() {
        let mut watched = Watched::after(&[queued(0, 0)]);
        assert!(watched.is_news(100, queued(5, 0)));
        assert!(!watched.is_news(200, queued(6, 0)));
        assert!(watched.is_news(300, queued(6, 1)));
        assert!(!watched.is_news(400, queued(600, 1000)));
        assert!(!watched.is_news(1299, queued(700, 1001)));
        assert!(watched.is_news(1300, queued(800, 1002)));
        assert!(watched.is_news(1301, queued(800, 0)));
        assert!(watched.is_news(1302, queued(0, 0)));
        assert!(!watched.is_news(5000, queued(0, 0)));
    }

    #[test]
    fn what_queues_is_another_kind_is_said_at_once() {
        let accept = |waiting| Sample {
            queues: Queues::Accept {
                waiting,
                backlog: Some(5),
            },
            ..sample(1, TcpState::Listen)
        };
        let mut watched = Watched::after(&[accept(1)]);
        assert!(watched.is_news(1, accept(2)));
        let mut absent = accept(2);
        absent.queues = Queues::Absent;
        assert!(watched.is_news(2, absent));
    }
}
