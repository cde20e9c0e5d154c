//! How much was queued at an end over time: what its program had not read, and what its peer had
//! not acknowledged, as looks, lookups and events show it.
//!
//! Data only: the one that a FIN or a SYN counts is taken off. Nothing is kept of an end until its
//! queues are seen to change, and a history that is full is thinned: two neighbours become one that
//! has the higher of both, so that no peak is lost, and the older a part is, the coarser it is.
//!
//! The traps: a state that shows no queues (a mini-socket, a request) has no level, which is not
//! an empty one. And between the last look that showed a level and the first that shows another
//! nothing is known, so levels do not abut as spans do. Of a busy socket looks tell what every
//! segment moves once a second only, so in between a level can be that old.

use crate::model::{Moment, Sample, TcpState, Timestamp};
use crate::timeline::Track;

/// How many levels an end keeps beside the newest.
pub const LEVELS: usize = 128;
/// How many of them stay when the end is over: 1.3 kB of a busy one, so that 20,000 settled
/// connections with two busy ends take 51 MB and not 205.
const SETTLED: usize = 32;
/// So many of these are the last ones as they were, for it is the end that is asked about.
const LAST: usize = SETTLED / 2;

/// So much was queued, from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// When it was first seen.
    pub from: Timestamp,
    /// When it was last proven; `None` while nothing else has been seen since.
    pub to: Option<Timestamp>,
    /// Bytes received that the program had not read.
    pub unread: u32,
    /// Bytes sent or queued that the peer had not acknowledged.
    pub unacked: u32,
    /// How many levels it stands for. Of more than one it has the peaks, which need not be of one
    /// moment.
    pub merged: u32,
    /// A state that shows no queues lay before it.
    pub after_gap: bool,
}

/// What an observation shows of both queues.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Queued {
    unread: u32,
    unacked: u32,
}

impl Queued {
    /// `None` where the socket shows no queues.
    fn of(sample: &Sample) -> Option<Self> {
        Some(Self {
            unread: sample.unread()?,
            unacked: sample.unacked()?,
        })
    }

    /// In the moment of a step. Our own FIN is queued behind it (`tcp_close_state` comes before
    /// `tcp_send_fin`, net/ipv4/tcp.c) and our SYN too; an acknowledgement is taken in before it, and so is the
    /// peer's FIN. So one is taken off only of a FIN that was out before and still is.
    fn at_step(from: TcpState, to: TcpState, moment: &Moment) -> Self {
        let is_out = to.has_control_in_flight() || to == TcpState::Close;
        let unacked = match is_out {
            true => moment.unacked(from),
            false => moment.send,
        };
        let last = if to == TcpState::Close { from } else { to };
        Self {
            unread: moment.unread(last),
            unacked,
        }
    }
}

/// The levels of an end.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    newest: Option<Level>,
    earlier: Option<Box<Earlier>>,
}

/// Those before the newest, of an end that has had several.
#[derive(Clone, Debug)]
struct Earlier {
    levels: Vec<Level>,
    dropped: u64,
}

impl Levels {
    /// Takes in what was seen at `at`; the level before was last proven at `since`.
    fn see(&mut self, queued: Queued, since: Timestamp, at: Timestamp) {
        let mut level = Level {
            from: at,
            to: None,
            unread: queued.unread,
            unacked: queued.unacked,
            merged: 1,
            after_gap: false,
        };
        let Some(before) = &mut self.newest else {
            self.newest = Some(level);
            return;
        };
        let is_same = before.unread == level.unread && before.unacked == level.unacked;
        if is_same && before.to.is_none() {
            return;
        }
        if before.from == at && before.to.is_none() {
            // Of one moment the last word counts: a step is told behind what it was found in.
            level.after_gap = before.after_gap;
            *before = level;
            return;
        }
        level.after_gap = before.to.is_some();
        // What comes late is taken in where we are.
        level.from = at.max(before.from);
        before.end(since.min(level.from));
        let before = *before;
        self.newest = Some(level);
        self.keep(before);
    }

    /// From here on nothing shows the queues; they were last proven at `since`.
    pub(super) fn end(&mut self, since: Timestamp) {
        if let Some(level) = &mut self.newest {
            level.end(since);
        }
    }

    /// The end is over: fewer levels tell its story.
    pub(super) fn settle(&mut self, since: Timestamp) {
        self.end(since);
        if let Some(earlier) = &mut self.earlier {
            earlier.settle();
        }
    }

    fn keep(&mut self, level: Level) {
        let earlier = self.earlier.get_or_insert_with(|| {
            Box::new(Earlier {
                levels: Vec::with_capacity(1),
                dropped: 0,
            })
        });
        if earlier.levels.len() == LEVELS {
            earlier.thin();
        }
        earlier.levels.push(level);
    }
}

impl Level {
    fn end(&mut self, since: Timestamp) {
        self.to.get_or_insert(since.max(self.from));
    }

    /// Both as one.
    fn merge(self, next: Self) -> Self {
        Self {
            from: self.from,
            to: next.to,
            unread: self.unread.max(next.unread),
            unacked: self.unacked.max(next.unacked),
            merged: self.merged.saturating_add(next.merged),
            after_gap: self.after_gap,
        }
    }
}

impl Earlier {
    /// Makes room for one more.
    fn thin(&mut self) {
        self.halve();
        self.drop_beyond(LEVELS - 1);
    }

    /// Two neighbours become one. Where a gap lies between them, nothing was queued that could be
    /// told of both.
    fn halve(&mut self) {
        let mut thinned: Vec<Level> = Vec::with_capacity(LEVELS);
        let mut all = self.levels.iter().copied().peekable();
        while let Some(level) = all.next() {
            let next = all.next_if(|next| !next.after_gap);
            thinned.push(next.map_or(level, |next| level.merge(next)));
        }
        self.levels = thinned;
    }

    /// Of a history of nothing but gaps the oldest go.
    fn drop_beyond(&mut self, most: usize) {
        let beyond = self.levels.len().saturating_sub(most);
        self.levels.drain(..beyond);
        self.dropped += beyond as u64;
    }

    /// Keeps [`SETTLED`], the last ones untouched, and gives the memory of the others back.
    fn settle(&mut self) {
        if self.levels.len() > SETTLED {
            let last = self.levels.split_off(self.levels.len() - LAST);
            let mut before = usize::MAX;
            while self.levels.len() > SETTLED - LAST && self.levels.len() < before {
                before = self.levels.len();
                self.halve();
            }
            self.drop_beyond(SETTLED - LAST);
            self.levels.extend(last);
        }
        self.levels.shrink_to_fit();
    }
}

impl Track {
    /// Takes in a row that came by `at`; the end was last proven to be as before at `since`.
    pub(in crate::timeline) fn see_queues(
        &mut self,
        sample: &Sample,
        since: Timestamp,
        at: Timestamp,
    ) {
        match Queued::of(sample) {
            Some(queued) if self.state() != TcpState::Close => self.levels.see(queued, since, at),
            Some(_) => {}
            None if self.is_over() => self.levels.settle(since),
            None => self.levels.end(since),
        }
    }

    /// Takes in what an event shows: in a step from one state to another, or without one.
    pub(in crate::timeline) fn see_queues_at(
        &mut self,
        (from, to): (TcpState, TcpState),
        moment: &Moment,
        since: Timestamp,
        at: Timestamp,
    ) {
        self.levels
            .see(Queued::at_step(from, to, moment), since, at);
    }

    /// How much was queued over time, oldest first. Where no level lies, none is known: no queue
    /// was shown, or it changed between two looks. At most [`LEVELS`] and the newest.
    pub fn levels(&self) -> impl Iterator<Item = &Level> + Clone {
        let earlier = self.levels.earlier.iter();
        let earlier = earlier.flat_map(|earlier| &earlier.levels);
        earlier.chain(&self.levels.newest)
    }

    /// How many levels are not kept, not even as a part of another.
    pub fn levels_dropped(&self) -> u64 {
        let earlier = self.levels.earlier.as_ref();
        earlier.map_or(0, |earlier| earlier.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::File;
    use crate::model::{Endpoint, FourTuple, Queues, Scope, Shutdown, SockId, SourceName};
    use crate::timeline::{Certainty, When};

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    /// Sees (unread, unacked) at milliseconds, a look each 10 ms.
    fn seen(all: impl IntoIterator<Item = (u64, u32)>) -> Levels {
        let mut levels = Levels::default();
        for (ms, unread) in all {
            let queued = Queued { unread, unacked: 0 };
            levels.see(queued, at(ms.saturating_sub(10)), at(ms));
        }
        levels
    }

    fn all(levels: &Levels) -> Vec<Level> {
        let earlier = levels.earlier.iter().flat_map(|earlier| &earlier.levels);
        earlier.chain(&levels.newest).copied().collect()
    }

    #[test]
    fn what_does_not_change_is_kept_once_and_takes_no_memory() {
        let levels = seen((0..1000).map(|n| (n * 10, 0)));
        assert!(levels.earlier.is_none());
        let [only] = all(&levels)[..] else {
            panic!("{levels:?}");
        };
        assert_eq!((only.from, only.to, only.merged), (at(0), None, 1));
    }

    #[test]
    fn a_level_ends_where_it_was_last_seen() {
        let levels = seen([(100, 0), (200, 14), (300, 14), (400, 0)]);
        let bounds: Vec<_> = all(&levels)
            .iter()
            .map(|level| (level.from, level.to, level.unread))
            .collect();
        assert_eq!(
            bounds,
            [
                (at(100), Some(at(190)), 0),
                (at(200), Some(at(390)), 14),
                (at(400), None, 0)
            ]
        );
    }

    #[test]
    fn a_gap_ends_it_and_is_no_empty_queue() {
        let mut levels = seen([(100, 5)]);
        levels.end(at(150));
        levels.end(at(170));
        assert_eq!(all(&levels)[0].to, Some(at(150)));
        let again = Queued {
            unread: 5,
            unacked: 0,
        };
        levels.see(again, at(180), at(200));
        let all = all(&levels);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].to, Some(at(150)));
        assert!(all[1].after_gap);
    }

    #[test]
    fn of_one_moment_the_last_word_counts() {
        let levels = seen([(100, 5), (100, 6)]);
        assert_eq!(all(&levels).len(), 1);
        assert_eq!(levels.newest.unwrap().unread, 6);
    }

    #[test]
    fn what_comes_late_does_not_turn_the_order_round() {
        let levels = seen([(100, 5), (90, 6), (110, 7)]);
        for level in all(&levels) {
            assert!(level.to.is_none_or(|to| level.from <= to), "{level:?}");
        }
        assert!(all(&levels).windows(2).all(|pair| {
            pair[0].to.is_some_and(|to| to <= pair[1].from) && pair[0].from <= pair[1].from
        }));
    }

    #[test]
    fn a_long_history_is_thinned_and_keeps_its_peaks() {
        let many = 10_000;
        let of = |n: u64| if n == 4321 { 1_000_000 } else { n as u32 % 7 };
        let levels = seen((0..many).map(|n| (n * 10, of(n))));
        let kept = all(&levels);
        assert!(kept.len() <= LEVELS + 1, "{}", kept.len());
        let told: u32 = kept.iter().map(|level| level.merged).sum();
        assert_eq!(u64::from(told), many, "what is merged is counted");
        let peak = kept.iter().find(|level| level.unread == 1_000_000).unwrap();
        assert!(peak.from <= at(43_210) && peak.to.unwrap() >= at(43_210));
        assert!(kept.windows(2).all(|pair| pair[0].from < pair[1].from));
        assert!(kept[0].merged > kept[LEVELS / 2].merged, "older is coarser");
        assert_eq!(levels.newest.unwrap().merged, 1);
    }

    #[test]
    fn nothing_is_told_of_a_gap_when_it_is_thinned() {
        let mut levels = Levels::default();
        for n in 0..1000 {
            let queued = Queued {
                unread: 1,
                unacked: 0,
            };
            levels.see(queued, at(n * 10), at(n * 10));
            levels.end(at(n * 10 + 1));
        }
        let kept = all(&levels);
        assert_eq!(kept.len(), LEVELS + 1);
        let is_short = |level: &Level| level.to.unwrap().since(level.from).as_millis() == 1;
        assert!(kept.iter().all(is_short));
        let dropped = levels.earlier.unwrap().dropped;
        assert_eq!(dropped, 1000 - (LEVELS as u64 + 1));
    }

    #[test]
    fn what_is_over_keeps_its_peak_and_its_end_and_gives_memory_back() {
        let peak = |n: u64| if n == 77 { 1_000_000 } else { n as u32 % 7 };
        let mut levels = seen((0..120).map(|n| (n * 10, peak(n))));
        let before = all(&levels);
        levels.settle(at(1300));
        let kept = all(&levels);
        assert!((LAST..=SETTLED + 1).contains(&kept.len()), "{kept:?}");
        assert!(kept.iter().any(|level| level.unread == 1_000_000));
        let told: u32 = kept.iter().map(|level| level.merged).sum();
        assert_eq!(told, 120);
        assert_eq!(kept.last().unwrap().to, Some(at(1300)));
        let last = |all: &[Level]| all[all.len() - 1 - LAST..all.len() - 1].to_vec();
        assert_eq!(last(&kept), last(&before));
        let room = levels.earlier.as_ref().unwrap().levels.capacity();
        assert!(room <= SETTLED, "{room}");
        // Nothing more happens to it.
        levels.settle(at(2000));
        assert_eq!(all(&levels), kept);
    }

    #[test]
    fn an_end_that_is_over_has_few_levels_however_it_was_told() {
        let busy = || {
            let sample = stream(TcpState::Established, 0);
            let (from, source) = (When::Before(at(0)), SourceName::SockDiag);
            let mut track = Track::found(sample, from, at(0), source);
            for n in 0..500 {
                let sample = stream(TcpState::Established, n % 7);
                track.see_queues(&sample, at(n.into()), at(u64::from(n) + 1));
            }
            assert!(track.levels().count() > SETTLED + 1);
            track
        };
        let why = crate::timeline::Why::default();
        let mut by_event = busy();
        by_event.enter(TcpState::Close, at(600), Certainty::Exact, why, None);
        let mut by_look = busy();
        let bounds = (at(600), at(610));
        by_look.advance([], TcpState::Close, bounds, SourceName::SockDiag, None);
        let mut in_time_wait = busy();
        let waits = Sample {
            queues: Queues::Absent,
            ..stream(TcpState::TimeWait, 0)
        };
        in_time_wait.advance(
            [],
            TcpState::TimeWait,
            bounds,
            SourceName::SockDiag,
            Some(&waits),
        );
        in_time_wait.see_queues(&waits, at(600), at(610));
        for track in [by_event, by_look, in_time_wait] {
            assert!(track.levels().count() <= SETTLED + 1, "{:?}", track.state());
        }
    }

    fn moment(receive: u32, send: u32) -> Moment {
        Moment {
            shutdown: Shutdown::from_kernel(0),
            file: File::Held,
            error: None,
            receive,
            send,
            lingers_not: false,
            fin_received: None,
            bytes_received: 0,
            bytes_acked: 0,
            cgroup: None,
            multipath: false,
        }
    }

    #[test]
    fn a_fin_or_a_syn_is_no_data() {
        use TcpState::*;
        for (from, to, receive, send, unread, unacked) in [
            // Our FIN is queued after the step, the peer's is there before it.
            (Established, FinWait1, 3, 50, 3, 50),
            (Established, CloseWait, 15, 0, 14, 0),
            (CloseWait, LastAck, 1, 7, 0, 7),
            (FinWait1, Closing, 1, 51, 0, 50),
            (FinWait1, FinWait2, 0, 0, 0, 0),
            (LastAck, Close, 1, 8, 0, 7),
            (FinWait1, Close, 0, 21, 0, 20),
            // The SYN is acknowledged, what was sent with it or after may not be.
            (SynSent, Established, 0, 5, 0, 5),
            (Close, SynSent, 0, 0, 0, 0),
        ] {
            let queued = Queued::at_step(from, to, &moment(receive, send));
            assert_eq!((queued.unread, queued.unacked), (unread, unacked), "{to:?}");
        }
    }

    fn stream(state: TcpState, receive: u32) -> Sample {
        let end = |port| Endpoint::new(std::net::Ipv4Addr::LOCALHOST.into(), port);
        let (local, remote) = (end(40_001), end(80));
        Sample {
            id: SockId {
                scope: Scope::default(),
                cookie: None,
                tuple: FourTuple { local, remote },
            },
            state,
            queues: Queues::Stream { receive, send: 0 },
            timer: None,
            retransmits: 0,
            inode: None,
            uid: None,
            shutdown: None,
            cgroup: None,
            multipath: false,
        }
    }

    #[test]
    fn a_look_at_a_mini_socket_shows_no_level() {
        let with = |queues| Sample {
            queues,
            ..stream(TcpState::CloseWait, 0)
        };
        let queued = |receive, send| with(Queues::Stream { receive, send });
        let found = queued(1, 0);
        let mut track = Track::found(found, When::Before(at(0)), at(0), SourceName::SockDiag);
        track.see_queues(&found, at(0), at(0));
        track.see_queues(&queued(10, 4), at(10), at(20));
        track.see_queues(&with(Queues::Absent), at(30), at(40));
        let all: Vec<_> = track
            .levels()
            .map(|level| (level.from, level.to, level.unread, level.unacked))
            .collect();
        let expected = [(at(0), Some(at(10)), 0, 0), (at(20), Some(at(30)), 9, 4)];
        assert_eq!(all, expected);
        assert_eq!(track.levels_dropped(), 0);
    }
}
