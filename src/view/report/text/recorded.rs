//! What is said of a recording itself: its files, its host, its sources, and how far it was read.
//!
//! Host names and the words of a filter come from the file, and go through [`plain`].

use std::time::Duration;

use crate::model::{SourceName, SourceState};
use crate::view::duration;
use crate::view::plain::plain;
use crate::view::report::text::paper::{flow, plural};
use crate::view::report::{Read, Recording, short};
use crate::view::source;

/// A recording has thousands of files: so many are named.
const FILES: usize = 8;

pub(super) fn recorded(
    width: usize,
    out: &mut String,
    number: Option<usize>,
    recording: &Recording,
) {
    let (first, last) = match recording.files.as_slice() {
        [first @ .., last] if first.len() >= FILES => (&first[..FILES - 1], Some(last)),
        all => (all, None),
    };
    let mut files: Vec<String> = first.iter().map(|file| plain(file).into_owned()).collect();
    if let Some(last) = last {
        files.push(format!("... {}", plain(last)));
        files.push(format!("({} files)", recording.files.len()));
    }
    let head = match number {
        None => "recording: ".to_owned(),
        Some(number) => format!("recording {}: ", number + 1),
    };
    flow(width, out, &head, 2, &files.join(" "));
    let netns = recording
        .netns
        .map_or_else(String::new, |inode| format!(", network namespace {inode}"));
    let of = format!(
        "of {}, Linux {}{netns}, by tcpwatch {}",
        recording.name(),
        short(&recording.kernel),
        short(&recording.tcpwatch)
    );
    flow(width, out, "  ", 2, &of);
    if !recording.filter.is_empty() {
        flow(width, out, "  filter: ", 4, &plain(&recording.filter));
    }
    if recording.shift != 0 {
        let by = duration::brief(Duration::from_nanos(recording.shift.unsigned_abs()));
        let way = if recording.shift < 0 {
            "earlier"
        } else {
            "later"
        };
        flow(
            width,
            out,
            "  ",
            2,
            &format!("its stamps are moved {by} {way}"),
        );
    }
    for (name, state) in &recording.sources {
        flow(width, out, "  source: ", 4, &source::words(*name, state));
    }
    flow(width, out, "  ", 2, &read_words(&recording.read));
    for (_, words, count) in recording.skipped.iter().filter(|(.., count)| *count > 0) {
        flow(width, out, "  ", 2, &counted(*count, words));
    }
}

/// `1 line that could not be read`, of words for many.
fn counted(count: u64, words: &str) -> String {
    match words.split_once("s ").filter(|_| count == 1) {
        Some((one, rest)) => format!("1 {one} {}", rest.replacen("that are ", "that is ", 1)),
        None => format!("{count} {words}"),
    }
}

/// What can't have been seen, for want of the kernel's events; `None` when nothing had to be missed.
/// Where some recordings have events, the others are named.
pub(in crate::view) fn blind_words(recordings: &[Recording]) -> Option<String> {
    let blind: Vec<(usize, &Recording, Duration)> = recordings
        .iter()
        .enumerate()
        .filter_map(|(number, recording)| Some((number + 1, recording, between_looks(recording)?)))
        .collect();
    let look = blind.iter().map(|(.., look)| *look).max()?;
    let look = duration::brief(look);
    if blind.len() == recordings.len() {
        return Some(format!(
            "connections shorter than a look ({look}) may not have been seen: there were no kernel \
             events"
        ));
    }
    let names: Vec<String> = blind
        .iter()
        .map(|(number, recording, _)| format!("{number} ({})", recording.name()))
        .collect();
    Some(format!(
        "connections shorter than a look ({look}) may not have been seen in recording{} {}: there \
         were no kernel events",
        plural(names.len() as u64),
        names.join(", ")
    ))
}

/// The longest time between two looks, where no kernel events tell what is between them.
fn between_looks(recording: &Recording) -> Option<Duration> {
    let running = || {
        let all = recording.sources.iter();
        all.filter_map(|(name, state)| match state {
            SourceState::Running { period, .. } => Some((*name, *period)),
            SourceState::Off { .. } => None,
        })
    };
    let has_events = running().any(|(name, _)| name == SourceName::Bpf);
    // Others have periods, too: who holds the sockets is looked for every 10 s.
    let looks = running().filter(|(name, _)| {
        matches!(
            name,
            SourceName::SockDiag | SourceName::Proc | SourceName::Follow
        )
    });
    let longest = looks.map(|(_, period)| period).max();
    longest.filter(|period| !has_events && !period.is_zero())
}

pub(in crate::view) fn read_words(read: &Read) -> String {
    match read {
        Read::Ended => "ended in good order".to_owned(),
        Read::Said(why) => format!("ended: {}", plain(why)),
        Read::GoesOn(part) => format!("goes on in part {part}, which was not given"),
        Read::CutOff(0) => {
            "cut off: it does not say that it ended (the recorder was stopped at once, or still \
             writes)"
                .to_owned()
        }
        Read::CutOff(bytes) => format!(
            "cut off in the middle of a line ({bytes} byte{} of it): the recorder was stopped at \
             once, or still writes",
            plural(*bytes)
        ),
        Read::Partly => "read up to the end of what is shown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(host: &str, sources: &[(SourceName, u64)]) -> Recording {
        let running = |(name, ms): &(SourceName, u64)| {
            let period = Duration::from_millis(*ms);
            let (cost, why) = (None, None);
            (*name, SourceState::Running { period, cost, why })
        };
        Recording {
            files: Vec::new(),
            host: host.to_owned(),
            kernel: String::new(),
            tcpwatch: String::new(),
            netns: None,
            filter: String::new(),
            sources: sources.iter().map(running).collect(),
            read: Read::Ended,
            shift: 0,
            skipped: Vec::new(),
        }
    }

    #[test]
    fn what_was_missed_is_shorter_than_a_look_at_connections() {
        let looks = [(SourceName::SockDiag, 100), (SourceName::Holders, 10_000)];
        let events = [(SourceName::SockDiag, 100), (SourceName::Bpf, 1)];
        let (db, web) = (recording("db", &looks), recording("web", &events));
        let words = blind_words(std::slice::from_ref(&db)).unwrap();
        assert!(words.contains("a look (100 ms)"), "{words}");
        assert!(
            words.ends_with("seen: there were no kernel events"),
            "{words}"
        );
        assert_eq!(blind_words(std::slice::from_ref(&web)), None);
        let words = blind_words(&[web, db]).unwrap();
        assert!(words.contains("in recording 2 (db): there were"), "{words}");
    }

    #[test]
    fn one_is_one() {
        let lines = "lines that could not be read";
        assert_eq!(counted(1, lines), "1 line that could not be read");
        assert_eq!(counted(2, lines), "2 lines that could not be read");
        assert_eq!(
            counted(1, "parts that are not there"),
            "1 part that is not there"
        );
    }
}
