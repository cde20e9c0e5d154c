//! What is said of a recording itself: its files, its host, its sources, and how far it was read.
//!
//! Host names and the words of a filter come from the file, and go through [`plain`].

use std::time::Duration;

use crate::view::duration;
use crate::view::plain::plain;
use crate::view::report::text::paper::{flow, plural};
use crate::view::report::{Read, Recording};
use crate::view::source;

/// A recording has thousands of files: so many are named.
const FILES: usize = 8;

pub(super) fn recorded(out: &mut String, number: Option<usize>, recording: &Recording) {
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
    flow(out, &head, 2, &files.join(" "));
    let netns = recording
        .netns
        .map_or_else(String::new, |inode| format!(", network namespace {inode}"));
    let of = format!(
        "of {}, Linux {}{netns}, by tcpwatch {}",
        plain(&recording.host),
        plain(&recording.kernel),
        plain(&recording.tcpwatch)
    );
    flow(out, "  ", 2, &of);
    if !recording.filter.is_empty() {
        flow(out, "  filter: ", 4, &plain(&recording.filter));
    }
    if recording.shift != 0 {
        let by = duration::brief(Duration::from_nanos(recording.shift.unsigned_abs()));
        let way = if recording.shift < 0 {
            "earlier"
        } else {
            "later"
        };
        flow(out, "  ", 2, &format!("its stamps are moved {by} {way}"));
    }
    for (name, state) in &recording.sources {
        flow(out, "  source: ", 4, &source::words(*name, state));
    }
    flow(out, "  ", 2, &read_words(&recording.read));
    for (_, words, count) in recording.skipped.iter().filter(|(.., count)| *count > 0) {
        flow(out, "  ", 2, &format!("{count} {words}"));
    }
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
