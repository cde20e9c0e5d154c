//! What is to be said of the clocks of several recordings, with the names that the user knows them
//! by.
//!
//! The trap: an option that is recommended is typed as it stands, so it must name one recording and
//! no other: the host, or the file where several are of one host.

use crate::diagnosis::causality::{Clocks, Finding, Pair, Words};
use crate::run::complain;
use crate::source::replay::{Recorded, Replay};
use crate::timeline::Tracker;
use crate::view::duration::brief;
use crate::view::plain::{plain, quoted};
use crate::view::report::ClockWord;

/// What connections say of clocks while they are read once. A copy keeps nothing: places to go back
/// to are many, and one who reads to the end is enough.
#[derive(Debug)]
pub(super) struct Kept(Option<Clocks>);

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Kept {
    /// One recording has one clock.
    pub(super) fn new(replay: &Replay) -> Self {
        Self((replay.recordings().len() > 1).then(Clocks::default))
    }

    /// A tracker that hands out what it drops.
    pub(super) fn tracker() -> Tracker {
        let mut tracker = Tracker::default();
        tracker.hand_out_the_retired();
        tracker
    }

    /// Takes in what was dropped, which a copy does too: else it would be kept for ever.
    pub(super) fn take(&mut self, tracker: &mut Tracker) {
        for connection in tracker.retired() {
            if let Some(clocks) = &mut self.0 {
                clocks.take(&connection);
            }
        }
    }

    /// What is to be said, with the connections that are still there.
    pub(super) fn words(&self, tracker: &Tracker, replay: &Replay) -> Vec<ClockWord> {
        let Some(mut clocks) = self.0.clone() else {
            return Vec::new();
        };
        tracker.connections().for_each(|one| clocks.take(one));
        clock_words(&clocks, replay)
    }
}

/// What the connections say of each two clocks.
pub(super) fn clock_words(clocks: &Clocks, replay: &Replay) -> Vec<ClockWord> {
    let all: Vec<&Recorded> = replay.recordings().collect();
    let pairs = clocks.pairs();
    pairs.iter().filter_map(|pair| word(pair, &all)).collect()
}

/// On standard error, what contradicts itself.
pub(super) fn complain_of(clocks: &[ClockWord]) {
    for word in clocks.iter().filter(|word| !word.agrees()) {
        complain(&word.sentence);
    }
}

/// The first of what contradicts itself, for a place with room for one.
pub(super) fn contradiction(clocks: &[ClockWord]) -> Option<String> {
    let first = clocks.iter().find(|word| !word.agrees())?;
    Some(first.sentence.clone())
}

fn word(pair: &Pair, all: &[&Recorded]) -> Option<ClockWord> {
    let (first, second) = (
        all.get(usize::from(pair.hosts.0))?,
        all.get(usize::from(pair.hosts.1))?,
    );
    let is_one_clock = first.is_of_the_clock_of(second);
    if is_one_clock && pair.connections == 0 {
        return None;
    }
    // By so much the user has moved what was of one clock.
    let moved = second.given.saturating_sub(first.given);
    let given = if is_one_clock { moved } else { second.given };
    let (mend_ns, mends_all) = match pair.finding() {
        _ if is_one_clock && (moved == 0 || pair.broken == 0) => (None, pair.broken == 0),
        _ if is_one_clock => (Some(moved.saturating_neg()), true),
        Finding::Agree { .. } => (None, true),
        Finding::Mend { offset } => (Some(offset), true),
        Finding::Split { offset } => (offset, false),
        Finding::Stray => (None, false),
        Finding::Apart { offset } => (Some(offset), false),
    };
    let names = [name(first, all), name(second, all)];
    let words = Words {
        names: [&plain(&names[0]), &plain(&names[1])],
        option: &quoted(&plain(&names[1])),
        given,
        is_one_clock,
        brief,
    };
    Some(ClockWord {
        hosts: pair.hosts,
        connections: pair.connections,
        broken: pair.broken,
        odd: pair.odd,
        apart: pair.apart.map_or(0, |apart| apart.connections),
        mend_ns,
        mends_all: mends_all && pair.odd == 0,
        offsets_ns: pair.offsets(),
        sentence: pair.sentence(&words),
    })
}

/// The host, or the file where several are of one host.
fn name(one: &Recorded, all: &[&Recorded]) -> String {
    let host = &one.header.host;
    let are_several = all
        .iter()
        .filter(|other| other.header.host == *host)
        .count()
        > 1;
    match one.files.first() {
        Some(file) if are_several || host.is_empty() => file.display().to_string(),
        _ => host.clone(),
    }
}
