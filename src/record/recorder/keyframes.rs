//! When a keyframe is worth its bytes, and when a file is full.
//!
//! A file changes at a keyframe, so that each can be read alone; and a keyframe has to be asked
//! for and comes a moment later. So it is asked for early: at three quarters of the size, or from
//! the half on when so much is written that the rest would not last until it comes. The traps:
//! where all sockets take more room than a file may have, each new file would be full at once, so
//! that the limit counts from behind a keyframe that is large. And where a file's worth is written
//! faster than a keyframe comes, none would be early enough: below half of the size none is asked
//! for, or every file would end as soon as it has begun.

use std::time::Duration;

use crate::model::Timestamp;
use crate::record::recorder::Rotation;

/// Fewer bytes than this are quickly read.
const WORTH: u64 = 1_000_000;
/// Without reason, one this often.
const AT_LEAST: Duration = Duration::from_secs(3600);
/// What was asked for and has not come is asked for again.
const AGAIN: Duration = Duration::from_secs(2);
/// So long the first keyframe is thought to take until it is here. How long they do is measured.
const LEAD: Duration = Duration::from_millis(500);
/// The rate of writing is measured over this time.
const WINDOW: Duration = Duration::from_millis(100);

/// How far the file at hand has come.
#[derive(Debug)]
pub(super) struct Keyframes {
    rotation: Rotation,
    begun: Timestamp,
    /// Bytes of the file, and those that it began with.
    written: u64,
    beginning: u64,
    newest: Timestamp,
    newest_size: u64,
    since: u64,
    asked: Option<Timestamp>,
    /// How long they take from the question on.
    lead: Duration,
    /// Somebody else wants one.
    is_needed: bool,
    /// It was asked for because the file is full.
    turns: bool,
    rate: Rate,
}

impl Keyframes {
    /// A file begins.
    pub(super) fn new(rotation: Rotation, now: Timestamp) -> Self {
        Self {
            rotation,
            begun: now,
            written: 0,
            beginning: 0,
            newest: now,
            newest_size: 0,
            since: 0,
            asked: None,
            lead: LEAD,
            is_needed: false,
            turns: false,
            rate: Rate::new(now),
        }
    }

    /// Another file begins, with so many bytes, of which all is its keyframe.
    pub(super) fn turn(&mut self, now: Timestamp, beginning: u64) {
        self.begin(now, beginning);
        self.came(now, beginning);
    }

    /// Another file begins, with so many bytes and no keyframe, which is still asked for.
    pub(super) fn turn_without_keyframe(&mut self, now: Timestamp, beginning: u64) {
        self.begin(now, beginning);
        self.is_needed = true;
    }

    const fn begin(&mut self, now: Timestamp, beginning: u64) {
        self.begun = now;
        self.written = beginning;
        self.beginning = beginning;
        self.turns = false;
    }

    /// A keyframe of so many bytes was written.
    pub(super) fn came(&mut self, now: Timestamp, size: u64) {
        if let Some(asked) = self.asked.take() {
            // Down slowly: what has taken long will again.
            self.lead = now.since(asked).max(self.lead / 2);
        }
        self.newest = now;
        self.newest_size = size;
        self.since = 0;
        self.is_needed = false;
    }

    /// One is wanted for another reason than ours. What was asked for before may be lost.
    pub(super) const fn want(&mut self) {
        self.is_needed = true;
        self.asked = None;
    }

    /// Whether one was asked for, or will be, and has not come.
    pub(super) const fn is_awaited(&self) -> bool {
        self.asked.is_some() || self.is_needed
    }

    /// So many bytes were written.
    pub(super) fn wrote(&mut self, bytes: u64, now: Timestamp) {
        self.written += bytes;
        self.since += bytes;
        self.rate.note(bytes, now);
    }

    /// Whether one should be asked for now. Said once for each that comes.
    pub(super) fn is_wanted(&mut self, now: Timestamp) -> bool {
        self.turns |= self.is_full(now);
        let wanted = self.turns
            || self.is_needed
            || self.since > WORTH.max(4 * self.newest_size)
            || now.since(self.newest) >= AT_LEAST;
        let is_new = self.asked.is_none_or(|asked| now.since(asked) >= AGAIN);
        if wanted && is_new {
            self.asked = Some(now);
        }
        wanted && is_new
    }

    /// Whether the keyframe that comes now begins another file.
    pub(super) fn turns_with_keyframe(&self, now: Timestamp) -> bool {
        self.turns || self.is_full(now)
    }

    /// Whether no keyframe came for so long that the file has to end without one.
    pub(super) fn must_turn(&self) -> bool {
        self.limit()
            .is_some_and(|limit| self.written >= limit.saturating_mul(2))
    }

    fn is_full(&self, now: Timestamp) -> bool {
        let is_old = self
            .rotation
            .max_age
            .is_some_and(|most| now.since(self.begun) >= most);
        let is_long = self.limit().is_some_and(|limit| {
            let room = limit - self.beginning;
            let used = self.written - self.beginning;
            let soon = used.saturating_add(self.rate.within(self.lead));
            used >= room / 4 * 3 || used >= room / 2 && soon >= room
        });
        is_old || is_long
    }

    /// How long the file may grow: as said, and behind a keyframe that takes more than half of
    /// that, by as much again, or by what was said.
    fn limit(&self) -> Option<u64> {
        let most = self.rotation.max_size?;
        let behind = self.beginning.saturating_add(self.beginning.min(most));
        Some(most.max(behind))
    }

    /// How long until age alone fills the file.
    pub(super) fn patience(&self, now: Timestamp) -> Option<Duration> {
        let most = self.rotation.max_age?;
        let waits = self
            .asked
            .map_or(Duration::ZERO, |at| at.plus(AGAIN).since(now));
        Some(self.begun.plus(most).since(now).max(waits))
    }
}

/// Bytes a second, of late.
#[derive(Debug)]
struct Rate {
    since: Timestamp,
    bytes: u64,
    a_second: u64,
}

impl Rate {
    const fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            bytes: 0,
            a_second: 0,
        }
    }

    fn note(&mut self, bytes: u64, now: Timestamp) {
        self.bytes += bytes;
        let time = now.since(self.since);
        if time < WINDOW {
            return;
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Down slowly: bursts come again.
        self.a_second = (self.bytes.saturating_mul(1000) / millis.max(1)).max(self.a_second / 2);
        self.bytes = 0;
        self.since = now;
    }

    const fn within(&self, time: Duration) -> u64 {
        self.a_second.saturating_mul(time.as_millis() as u64) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn with_size(most: u64) -> Keyframes {
        let rotation = Rotation {
            max_size: Some(most),
            ..Rotation::default()
        };
        Keyframes::new(rotation, at(0))
    }

    #[test]
    fn a_megabyte_is_worth_a_keyframe_and_an_idle_hour_one() {
        let mut keyframes = Keyframes::new(Rotation::default(), at(0));
        keyframes.wrote(WORTH, at(1));
        assert!(!keyframes.is_wanted(at(1)));
        keyframes.wrote(1, at(2));
        assert!(keyframes.is_wanted(at(2)));
        assert!(!keyframes.is_wanted(at(3)), "asked for twice");
        keyframes.came(at(4), 500_000);
        keyframes.wrote(WORTH + 1, at(5));
        assert!(!keyframes.is_wanted(at(5)), "a large one is worth more");
        keyframes.wrote(WORTH, at(6));
        assert!(keyframes.is_wanted(at(6)));
        keyframes.came(at(7), 500);
        assert!(!keyframes.is_wanted(at(3_600_000)));
        assert!(keyframes.is_wanted(at(3_600_007)));
    }

    #[test]
    fn what_does_not_come_is_asked_for_again() {
        let mut keyframes = with_size(100_000);
        keyframes.wrote(90_000, at(1));
        assert!(keyframes.is_wanted(at(1)));
        assert!(!keyframes.is_wanted(at(1999)));
        assert!(keyframes.is_wanted(at(2001)));
        assert!(!keyframes.must_turn());
        keyframes.wrote(110_000, at(2002));
        assert!(keyframes.must_turn());
    }

    #[test]
    fn a_file_is_full_early_enough() {
        let mut keyframes = with_size(1_000_000);
        keyframes.wrote(700_000, at(0));
        assert!(!keyframes.turns_with_keyframe(at(1)));
        keyframes.wrote(50_000, at(1));
        assert!(keyframes.turns_with_keyframe(at(1)));
        // At a megabyte a second half a megabyte is the last that is safe.
        let mut keyframes = with_size(1_000_000);
        for ms in 1..=5 {
            keyframes.wrote(100_000, at(100 * ms));
            assert_eq!(keyframes.turns_with_keyframe(at(100 * ms)), ms == 5);
        }
        assert!(keyframes.is_wanted(at(501)));
        keyframes.turn(at(510), 20_000);
        assert!(!keyframes.turns_with_keyframe(at(511)));
    }

    #[test]
    fn what_does_not_fit_does_not_turn_for_ever() {
        let mut keyframes = with_size(100_000);
        keyframes.turn(at(1), 150_000);
        assert!(!keyframes.is_wanted(at(1)));
        keyframes.wrote(74_999, at(2));
        assert!(!keyframes.is_wanted(at(2)));
        keyframes.wrote(1, at(3));
        assert!(keyframes.is_wanted(at(3)));
        // Much larger than a file may be: there is as much room behind it all the same.
        let mut keyframes = with_size(100_000);
        keyframes.turn(at(1), 10_000_000);
        assert!(!keyframes.is_wanted(at(1)) && !keyframes.must_turn());
        keyframes.wrote(75_000, at(3));
        assert!(keyframes.is_wanted(at(3)));
    }

    #[test]
    fn however_much_is_written_a_file_is_at_least_half_full() {
        let mut keyframes = with_size(64 << 10);
        for turn in 0..20 {
            let mut in_it = 5000;
            keyframes.turn(at(1000 * turn), in_it);
            // Ten megabytes a second, and keyframes that take 5 ms.
            for ms in 1..1000 {
                keyframes.wrote(10_000, at(1000 * turn + ms));
                in_it += 10_000;
                if keyframes.is_wanted(at(1000 * turn + ms)) {
                    break;
                }
            }
            assert!(in_it >= 32 << 10, "{in_it}");
        }
    }

    #[test]
    fn how_long_a_keyframe_takes_is_learned() {
        let mut keyframes = with_size(1_000_000);
        for second in 0..8 {
            keyframes.turn(at(1000 * second), 0);
            keyframes.want();
            assert!(keyframes.is_wanted(at(1000 * second)));
            keyframes.came(at(1000 * second + 5), 0);
        }
        // A megabyte a second: more than half a second of room is left, and 5 ms are enough.
        for ms in 1..=7 {
            keyframes.wrote(100_000, at(8000 + 100 * ms));
            assert!(!keyframes.turns_with_keyframe(at(8000 + 100 * ms)), "{ms}");
        }
    }

    #[test]
    fn one_is_awaited_until_it_comes() {
        let mut keyframes = Keyframes::new(Rotation::default(), at(0));
        assert!(!keyframes.is_awaited());
        keyframes.want();
        assert!(keyframes.is_awaited());
        assert!(keyframes.is_wanted(at(1)));
        assert!(!keyframes.is_wanted(at(2)), "asked for twice");
        assert!(keyframes.is_awaited());
        // What was asked for can have been lost with the rest.
        keyframes.want();
        assert!(keyframes.is_wanted(at(3)));
        keyframes.came(at(4), 100);
        assert!(!keyframes.is_awaited());
        assert!(!keyframes.is_wanted(at(5)));
        keyframes.turn_without_keyframe(at(6), 100);
        assert!(keyframes.is_awaited());
    }

    #[test]
    fn a_file_has_its_time() {
        let rotation = Rotation {
            max_age: Some(Duration::from_secs(5)),
            ..Rotation::default()
        };
        let mut keyframes = Keyframes::new(rotation, at(0));
        assert_eq!(keyframes.patience(at(1000)), Some(Duration::from_secs(4)));
        assert!(!keyframes.is_wanted(at(4999)));
        assert!(keyframes.is_wanted(at(5000)));
        assert_eq!(keyframes.patience(at(5000)), Some(AGAIN));
    }
}
