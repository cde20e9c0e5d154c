//! Which files are one stream: parts of a recording in their order, and recordings of one place
//! that were made one after the other.
//!
//! The trap: two recordings with different filters are never one stream, however well they follow
//! each other: what the second does not look for would seem to be gone.

use std::path::{Path, PathBuf};

use crate::model::Timestamp;
use crate::record::{Header, OpenError, Reader, Skipped};
use crate::source::replay::align::{Shift, shifts};
use crate::source::replay::stream::{Part, Stream};
use crate::source::replay::tail::{last_time, length};
use crate::source::replay::{Ending, Input, Options, Recorded, ReplayError};

/// A file, and what its ends say.
struct File {
    input: Input,
    /// Without a buffer of its own.
    reader: Reader,
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
    let (files, just_begun) = files(inputs)?;
    let groups = one_after_the_other(recordings(files));
    let mut all: Vec<Recorded> = groups.iter().map(|group| recorded(group)).collect();
    for file in just_begun {
        note_just_begun(&mut all, file);
    }
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

/// All that have a header, and the names of those that were just begun: when the recorder is
/// stopped while it goes on in another file, the newest one has no first line yet. When there are
/// only such files, that is an error.
fn files(inputs: Vec<Input>) -> Result<(Vec<File>, Vec<PathBuf>), ReplayError> {
    let mut files = Vec::with_capacity(inputs.len());
    let mut just_begun = Vec::new();
    let mut first_error = None;
    for input in inputs {
        let name = input.name.clone();
        match file(input) {
            Ok(file) => files.push(file),
            Err(
                error @ ReplayError::Open {
                    error: OpenError::Empty | OpenError::HeaderCut,
                    ..
                },
            ) => {
                just_begun.push(name);
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match first_error {
        Some(error) if files.is_empty() => Err(error),
        _ => Ok((files, just_begun)),
    }
}

/// Notes it with the recording whose files have a name like its own, or else with the first.
fn note_just_begun(all: &mut [Recorded], file: PathBuf) {
    let stem = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        (path.parent().map(Path::to_owned), stem)
    };
    let is_alike = |one: &Recorded| one.files.iter().any(|known| stem(known) == stem(&file));
    let place = all.iter().position(is_alike).unwrap_or(0);
    if let Some(one) = all.get_mut(place) {
        one.just_begun.push(file);
    }
}

fn file(input: Input) -> Result<File, ReplayError> {
    // A copy reads its lines again, and holds none of them meanwhile: there may be many files.
    let reader = reader(&input, 0)?.clone();
    let header = reader.header().clone();
    let is_whole = input.bytes.is_whole();
    let length = is_whole.then(|| length(&*input.bytes));
    Ok(File {
        last: length.and_then(|length| last_time(&*input.bytes, length)),
        length,
        header,
        reader,
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
        ending: Ending::Unsaid,
        just_begun: Vec::new(),
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
    let mut parts = files.into_iter().map(|file| Part {
        reader: file.reader.of_host(host),
        name: file.input.name,
        bytes: file.input.bytes,
        length: file.length,
    });
    let first = parts.next().ok_or(ReplayError::Nothing)?;
    Ok(Stream::new(host, first, parts.collect(), about))
}
