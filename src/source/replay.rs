//! Recordings as a source: what was said then is said again, in the same order.
//!
//! The files of one recording are one stream, in the order of their parts, and so are recordings
//! made one after the other of the same namespace with the same filter. Recordings of several
//! hosts, or namespaces, are several streams on one time axis, that of the first: stamps of one
//! boot are of one clock, others are aligned by the anchors in their headers and by what the user
//! says.
//!
//! A [`Replay`] can be cloned, and both go on from there: that is how time goes back.
//!
//! The traps: "nothing more now" is not "the end" when a pipe is read. And whoever joins in the
//! middle has seen no first look: the next keyframe is taken for one, and what the tracker then
//! asks about ([`Replay::answer`]) is gone if the keyframe lacks it.

mod align;
mod input;
mod plan;
mod spool;
mod stream;
mod tail;

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::model::{Ask, Observation, Timestamp};
use crate::record::{Header, OpenError, Skipped};

pub use input::{Input, allow_files};
use stream::Stream;

/// How recordings are put together.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is added to the stamps of a recording, beside what its header asks for.
    pub offsets: Vec<Offset>,
}

/// A correction of one recording's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The name of its host or of one of its files; `None` is the second recording.
    pub of: Option<String>,
    /// So many nanoseconds are added to its stamps.
    pub by: i64,
}

/// Why recordings can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// No file was given.
    #[error("no recording is given")]
    Nothing,
    /// A file is none that can be replayed.
    #[error("{name}: {error}")]
    Open {
        /// The file.
        name: String,
        /// Why not.
        error: OpenError,
    },
    /// A file can't be opened.
    #[error("{name}: can't open it: {error}{}", cure(error))]
    NotOpened {
        /// The file.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// A directory.
    #[error("{0}: it is a directory: name the files in it ({0}/*.jsonl)")]
    Directory(String),
    /// A pipe that was closed before a first line came.
    #[error(
        "{0}: nothing came from it (is a recording written to it, as by 'tcpwatch record -o -'?)"
    )]
    NothingCame(String),
    /// What comes from a pipe can't be kept.
    #[error(
        "{name}: can't keep what comes from it in {folder}: {error} (is there room? TMPDIR names another place)"
    )]
    Spool {
        /// The pipe.
        name: String,
        /// Where it was to be kept.
        folder: String,
        /// Why not.
        error: io::Error,
    },
    /// A file can't be read any more.
    #[error("{name}: can't read on: {error}")]
    Read {
        /// The file.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// An offset of none of the recordings.
    #[error("--offset: no recording is of '{of}' (given are: {given})")]
    NotOffered {
        /// Whose clock was to be corrected.
        of: String,
        /// The hosts and files that there are.
        given: String,
    },
    /// An offset of several of the recordings.
    #[error("--offset: several recordings are of '{of}': name the file ({files})")]
    SeveralOffered {
        /// Whose clock was to be corrected.
        of: String,
        /// The files of these.
        files: String,
    },
    /// An offset without a name, and one recording.
    #[error(
        "--offset: there is one recording only; an offset moves the second (or write HOST=TIME)"
    )]
    NoSecond,
    /// More recordings than can have a number.
    #[error("too many recordings at once (at most {})", u16::MAX)]
    TooMany,
}

/// What to do about an error of the system.
fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (recordings are readable for who made them: run this as the same user, or as root)"
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            " (more files at once than are allowed: 'ulimit -n 65536' first, or give fewer)"
        }
        _ => "",
    }
}

/// What is known of one recording.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The header of its first file.
    pub header: Header,
    /// Its files, in order.
    pub files: Vec<PathBuf>,
    /// What could not be read so far.
    pub skipped: Skipped,
    /// What the last line read says of the end.
    pub ending: Ending,
    /// Files without a whole first line: they were just begun when the recorder was stopped.
    pub just_begun: Vec<PathBuf>,
    /// Bytes behind the last whole line: a line that was cut short.
    pub torn: usize,
    /// So many nanoseconds are added to its stamps.
    pub shift: i64,
    /// So many of them because the user has said so.
    pub given: i64,
    /// When it begins, on the common axis.
    pub first: Timestamp,
    /// The newest moment read so far, on the common axis; also that of its last line.
    pub newest: Timestamp,
    /// When it ends, on the common axis, as its last lines say; `None` of what may still grow.
    pub last: Option<Timestamp>,
    /// Parts that are not there, so far.
    pub missing: Vec<RangeInclusive<u32>>,
}

/// How a recording ends, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing says so: the recorder was stopped at once, failed, or still writes.
    Unsaid,
    /// It was ended, and its last line says why.
    Said(Box<str>),
    /// It goes on in this part, which was not given.
    GoesOn(u32),
}

impl Recorded {
    /// Whether it was ended in good order.
    pub const fn is_ended(&self) -> bool {
        matches!(self.ending, Ending::Said(_))
    }

    /// What to call it in a message: its first file, and how many more there are.
    pub fn name(&self) -> String {
        let first = self.files.first();
        let first = first.map_or_else(String::new, |file| file.display().to_string());
        match self.files.len().saturating_sub(1) {
            0 => first,
            1 => format!("{first} and 1 more file"),
            more => format!("{first} and {more} more files"),
        }
    }

    /// Whether the stamps of both are of one clock, that of one boot.
    pub fn is_of_the_clock_of(&self, other: &Self) -> bool {
        align::is_one_clock(&self.header, &other.header)
    }
}

/// How much has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes.
    pub read: u64,
    /// Bytes in all; `None` of what may still grow.
    pub of: Option<u64>,
}

/// Recordings, read together.
#[derive(Clone)]
pub struct Replay {
    streams: Vec<Stream>,
    /// What was asked right after a keyframe was taken for a first look.
    answers: VecDeque<Observation>,
    /// The stream whose observation was given last.
    told: usize,
}

impl Replay {
    /// Opens recordings. Each file is one of them, or a part of one, in any order.
    ///
    /// # Errors
    /// When one of them is none, or an offset is of none of them.
    pub fn open(inputs: Vec<Input>, options: &Options) -> Result<Self, ReplayError> {
        let streams = plan::streams(inputs, options)?;
        Ok(Self {
            streams,
            answers: VecDeque::new(),
            told: 0,
        })
    }

    /// What is known of the recordings, by the number that their observations carry.
    pub fn recordings(&self) -> impl ExactSizeIterator<Item = &Recorded> {
        self.streams.iter().map(Stream::about)
    }

    /// The next observation of all; `None` at the end, which is the end for now unless
    /// [`Replay::is_ended`] says otherwise.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn next_observation(&mut self) -> Result<Option<Observation>, ReplayError> {
        self.next_until(None)
    }

    /// As [`Replay::next_observation`], and `None` too when the next one is later than `until`.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn next_until(
        &mut self,
        until: Option<Timestamp>,
    ) -> Result<Option<Observation>, ReplayError> {
        let is_later = |at: Timestamp| until.is_some_and(|until| at > until);
        if let Some(answer) = self.answers.front() {
            return Ok(if is_later(answer.at) {
                None
            } else {
                self.answers.pop_front()
            });
        }
        match self.first()? {
            Some((at, first)) if !is_later(at) => {
                self.told = first;
                Ok(self.streams[first].take_head())
            }
            Some(_) | None => Ok(None),
        }
    }

    /// When the next observation is of; `None` as with [`Replay::next_observation`].
    ///
    /// # Errors
    /// When the system can't read.
    pub fn peek(&mut self) -> Result<Option<Timestamp>, ReplayError> {
        if let Some(answer) = self.answers.front() {
            return Ok(Some(answer.at));
        }
        Ok(self.first()?.map(|(at, _)| at))
    }

    /// Takes in what the tracker wants to know about the observation given last. Most of it is in
    /// the recording or can't be known; but where a keyframe was taken for a first look, what it
    /// lacks is gone, and the next observations say so.
    pub fn answer(&mut self, asks: impl IntoIterator<Item = Ask>) {
        let Some(stream) = self.streams.get(self.told) else {
            return;
        };
        for asked in asks.into_iter().filter_map(|ask| ask.to_confirm()) {
            self.answers.extend(stream.gone(&asked));
        }
    }

    /// Whether all has been read and nothing more will come.
    pub fn is_ended(&self) -> bool {
        self.answers.is_empty() && self.streams.iter().all(Stream::is_ended)
    }

    /// Whether all recordings are there whole: what was read to its end then has ended.
    pub fn is_whole(&self) -> bool {
        self.streams.iter().all(Stream::is_whole)
    }

    /// How much has been read.
    pub fn progress(&self) -> Progress {
        let nothing = Progress {
            read: 0,
            of: Some(0),
        };
        self.streams
            .iter()
            .map(Stream::progress)
            .fold(nothing, |all, one| Progress {
                read: all.read + one.read,
                of: all.of.zip(one.of).map(|(a, b)| a + b),
            })
    }

    /// The stream whose next observation is the first of all. While one that may still grow has
    /// none, none is known to be.
    fn first(&mut self) -> Result<Option<(Timestamp, usize)>, ReplayError> {
        let mut first: Option<(Timestamp, usize)> = None;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            match stream.look_ahead()? {
                Some(at) if first.is_none_or(|(earliest, _)| at < earliest) => {
                    first = Some((at, index));
                }
                None if !stream.is_ended() => return Ok(None),
                Some(_) | None => {}
            }
        }
        Ok(first)
    }
}
