//! Recordings as a source: what was said then is said again, in the same order.
//!
//! Several files of one recording are one stream, in the order of their parts. Recordings of
//! several hosts, or namespaces, are several streams on one time axis, that of the first: stamps of
//! one boot are of one clock, others are aligned by the anchors in their headers and by what the
//! user says.
//!
//! A [`Replay`] can be cloned, and both go on from there: that is how time goes back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::Observation;
use crate::record::{Bytes, Header, Item, OpenError, Reader, Skipped};

/// A file that is given to be replayed.
#[derive(Clone)]
pub struct Input {
    /// What to call it in messages.
    pub name: PathBuf,
    /// What is in it.
    pub bytes: Arc<dyn Bytes>,
}

/// Why recordings can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file is none that can be replayed.
    #[error("{name}: {error}")]
    Open {
        /// The file.
        name: String,
        /// Why not.
        error: OpenError,
    },
    /// A file can't be read any more.
    #[error("{name}: can't read on: {error}")]
    Read {
        /// The file.
        name: String,
        /// Why not.
        error: io::Error,
    },
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
    /// Whether the last line read says that it was ended in good order.
    pub ended: bool,
    /// Bytes behind the last whole line.
    pub torn: usize,
    /// So many nanoseconds are added to its stamps.
    pub shift: i64,
}

/// Recordings, read together.
#[derive(Clone)]
pub struct Replay {
    streams: Vec<Stream>,
}

/// One recording.
#[derive(Clone)]
struct Stream {
    /// The file at hand.
    reader: Reader,
    /// The files behind it.
    rest: std::collections::VecDeque<(PathBuf, Reader)>,
    head: Option<Observation>,
    about: Recorded,
}

impl Replay {
    /// Opens recordings.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn open(inputs: Vec<Input>) -> Result<Self, ReplayError> {
        let mut streams: Vec<Stream> = Vec::new();
        for (host, input) in (0u16..).zip(inputs) {
            let name = input.name;
            let reader = Reader::open(input.bytes, host).map_err(|error| ReplayError::Open {
                name: name.display().to_string(),
                error,
            })?;
            streams.push(Stream {
                about: Recorded {
                    header: reader.header().clone(),
                    files: vec![name],
                    skipped: Skipped::default(),
                    ended: false,
                    torn: 0,
                    shift: 0,
                },
                reader,
                rest: std::collections::VecDeque::new(),
                head: None,
            });
        }
        Ok(Self { streams })
    }

    /// What is known of the recordings, by the number that their observations carry.
    pub fn recordings(&self) -> impl ExactSizeIterator<Item = &Recorded> {
        self.streams.iter().map(|stream| &stream.about)
    }

    /// The next observation of all; `None` at the end.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn next_observation(&mut self) -> Result<Option<Observation>, ReplayError> {
        for stream in &mut self.streams {
            if stream.head.is_none() {
                stream.head = stream.next()?;
            }
        }
        let heads = self
            .streams
            .iter_mut()
            .filter(|stream| stream.head.is_some());
        let first = heads.min_by_key(|stream| stream.head.as_ref().map(|head| head.at));
        Ok(first.and_then(|stream| stream.head.take()))
    }
}

impl Stream {
    fn next(&mut self) -> Result<Option<Observation>, ReplayError> {
        loop {
            let item = self.reader.next_item().map_err(|error| ReplayError::Read {
                name: self.about.files[0].display().to_string(),
                error,
            })?;
            self.about.skipped = self.reader.skipped();
            self.about.torn = self.reader.torn();
            match item {
                Some(Item::Observation(mut observation)) => {
                    observation.shift(self.about.shift);
                    return Ok(Some(observation));
                }
                Some(Item::Header(_)) => {}
                Some(Item::End(_)) => self.about.ended = true,
                None => return Ok(None),
            }
        }
    }
}
