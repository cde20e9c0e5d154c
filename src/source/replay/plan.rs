//! Which files are one stream: parts of a recording in their order, and recordings of one place
//! that were made one after the other.
//!
//! The trap: two recordings with different filters are never one stream, however well they follow
//! each other: what the second does not look for would seem to be gone.

use std::collections::VecDeque;

use crate::model::Timestamp;
use crate::record::{Header, Reader, Skipped};
use crate::source::replay::align::{Shift, shifts};
use crate::source::replay::stream::{Part, Stream};
use crate::source::replay::tail::{last_time, length};
use crate::source::replay::{Input, Options, Recorded, ReplayError};

/// A file, and what its ends say.
struct File {
    input: Input,
    header: Header,
    /// Bytes; `None` of what may still grow.
    length: Option<u64>,
    /// On its own clock.
    last: Option<Timestamp>,
}

impl File {
    fn begins(&self) -> Timestamp {
        Timestamp::from_nanos(self.header.clock.monotonic_ns)
    }

    /// Whether both are of one boot, one namespace and one filter.
    fn is_of_the_place_of(&self, other: &Self) -> bool {
        let key = |file: &Self| {
            let header = &file.header;
            (header.boot_id.clone(), header.netns, header.filter.clone())
        };
        self.header.boot_id.is_some() && key(self) == key(other)
    }
}

/// Opens all, and sorts them into streams.
pub(super) fn streams(inputs: Vec<Input>, options: &Options) -> Result<Vec<Stream>, ReplayError> {
    let files: Result<Vec<File>, ReplayError> = inputs.into_iter().map(file).collect();
    let groups = one_after_the_other(recordings(files?));
    let mut all: Vec<Recorded> = groups.iter().map(|group| recorded(group)).collect();
    let shifts = shifts(&all, options)?;
    for (one, shift) in all.iter_mut().zip(shifts) {
        let Shift { all: shift, given } = shift;
        (one.shift, one.given) = (shift, given);
        one.first = one.first.shifted(shift);
        one.newest = one.first;
        one.last = one.last.map(|last| last.shifted(shift));
    }
    let with_numbers = groups.into_iter().zip(all).enumerate();
    with_numbers
        .map(|(number, (group, about))| {
            let host = u16::try_from(number).map_err(|_| ReplayError::TooMany)?;
            stream(host, group, about)
        })
        .collect()
}

fn file(input: Input) -> Result<File, ReplayError> {
    let header = reader(&input, 0)?.header().clone();
    let is_whole = input.bytes.is_whole();
    let length = is_whole.then(|| length(&*input.bytes));
    Ok(File {
        last: length.and_then(|length| last_time(&*input.bytes, length)),
        length,
        header,
        input,
    })
}

fn reader(input: &Input, host: u16) -> Result<Reader, ReplayError> {
    Reader::open(input.bytes.clone(), host).map_err(|error| ReplayError::Open {
        name: input.name.display().to_string(),
        error,
    })
}

/// Parts of one recording together, in their order; recordings in the order in which they were
/// given. A part that is given twice counts once.
fn recordings(files: Vec<File>) -> Vec<Vec<File>> {
    let mut all: Vec<Vec<File>> = Vec::new();
    for file in files {
        let known = all
            .iter_mut()
            .find(|parts| parts[0].header.recording == file.header.recording);
        match known {
            Some(parts) => add(parts, file),
            None => all.push(vec![file]),
        }
    }
    all
}

fn add(parts: &mut Vec<File>, file: File) {
    match parts.binary_search_by_key(&file.header.part, |part| part.header.part) {
        // A copy that was made while it grew is shorter.
        Ok(place) if parts[place].length < file.length => parts[place] = file,
        Ok(_) => {}
        Err(place) => parts.insert(place, file),
    }
}

/// Recordings of one place that do not overlap are one; the others are each for itself.
fn one_after_the_other(recordings: Vec<Vec<File>>) -> Vec<Vec<File>> {
    let mut by_begin: Vec<(usize, Vec<File>)> = recordings.into_iter().enumerate().collect();
    by_begin.sort_by_key(|(_, parts)| parts[0].begins());
    let mut streams: Vec<(usize, Vec<File>)> = Vec::new();
    for (given, parts) in by_begin {
        let before = streams.iter_mut().find(|(_, before)| {
            before[0].is_of_the_place_of(&parts[0])
                && before
                    .last()
                    .and_then(|last| last.last)
                    .is_some_and(|end| end <= parts[0].begins())
        });
        match before {
            Some((first_given, before)) => {
                *first_given = given.min(*first_given);
                before.extend(parts);
            }
            None => streams.push((given, parts)),
        }
    }
    streams.sort_by_key(|(given, _)| *given);
    streams.into_iter().map(|(_, parts)| parts).collect()
}

/// What is known before anything is read. Times are still on its own clock.
fn recorded(files: &[File]) -> Recorded {
    let first = &files[0];
    Recorded {
        header: first.header.clone(),
        files: files.iter().map(|file| file.input.name.clone()).collect(),
        skipped: Skipped::default(),
        ended: false,
        torn: 0,
        shift: 0,
        given: 0,
        first: first.begins(),
        newest: first.begins(),
        last: files.last().and_then(|last| last.last),
        missing: Vec::new(),
    }
}

fn stream(host: u16, files: Vec<File>, about: Recorded) -> Result<Stream, ReplayError> {
    let parts = files.into_iter().map(|file| {
        Ok(Part {
            reader: reader(&file.input, host)?,
            name: file.input.name,
            bytes: file.input.bytes,
            length: file.length,
        })
    });
    let mut parts = parts.collect::<Result<VecDeque<Part>, ReplayError>>()?;
    let first = parts.pop_front().ok_or(ReplayError::Nothing)?;
    Ok(Stream::new(host, first, parts, about))
}
