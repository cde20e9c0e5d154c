//! A recording read back: observations in the order in which they were taken in.
//!
//! Reads by position, so a reader can be cloned and both go on from there: that is how replay goes
//! back in time. Nothing is believed: a line that can't be read is counted, and said in an
//! observation of its own before the next one that can; what it lacked is bounded by the next
//! keyframe.
//!
//! The traps: a look and its rows are several lines, of which any can be missing, and a look with
//! a row missing covers less than it says. A last line without its end may still grow. And a stamp
//! that was damaged must not make all others look old.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Body, Keyframe, Observation, Poll, SockId, SourceName, Timestamp};
use crate::record::decode::{self, LookHead, RowKind, RowOf, Said, Sockets, Unread};
use crate::record::lines::{Bytes, Found, Lines};
use crate::record::{Header, SOCKETS_KNOWN, VERSION};

/// Why a file is not replayed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is in it.
    #[error("it is empty: the recorder has not written its first line")]
    Empty,
    /// The first line has no end.
    #[error("its first line is cut short: the recorder was stopped before it had written it")]
    HeaderCut,
    /// The first line is of something else.
    #[error("it is not a recording of tcpwatch (its first line is no header)")]
    NotARecording,
    /// Written by a later version.
    #[error("it has format version {0}, and this tcpwatch reads up to {VERSION}: use a newer one")]
    TooNew(u32),
    /// A header that lacks what it must have.
    #[error("its first line is damaged: {0}")]
    Header(String),
    /// It can't be read.
    #[error("can't read it: {0}")]
    Io(#[from] io::Error),
}

/// What a reader gives.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are observations"
)]
pub enum Item {
    /// A source said this.
    Observation(Observation),
    /// Another file begins here: recordings may be put together by `cat`.
    Header(Box<Header>),
    /// The recording was ended in good order.
    End(Timestamp),
}

/// What was not read, and what was not in order. All but the last three are in the observations
/// too, as losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Lines that are not what a recording has.
    pub unreadable: u64,
    /// Lines about sockets whose own line could not be read.
    pub nameless: u64,
    /// Lines whose time can't be.
    pub misdated: u64,
    /// Records, or words in them, that a later version has added.
    pub unknown_records: u64,
    /// Fields that a later version has added.
    pub unknown_fields: u64,
    /// Observations that come after later ones.
    pub disordered: u64,
}

impl Skipped {
    /// Lines that say nothing although they should.
    pub const fn lines(&self) -> u64 {
        self.unreadable + self.nameless + self.misdated
    }
}

/// Sockets by their numbers. The newest take the places of the oldest.
#[derive(Clone, Debug, Default)]
struct Names {
    places: Vec<Option<(u64, SockId)>>,
}

impl Names {
    fn insert(&mut self, number: u64, id: SockId) {
        let place = place_of(number);
        if place >= self.places.len() {
            self.places.resize(place + 1, None);
        }
        self.places[place] = Some((number, id));
    }
}

impl Sockets for Names {
    #[inline]
    fn socket(&self, number: u64) -> Option<SockId> {
        match self.places.get(place_of(number)) {
            Some(Some((known, id))) if *known == number => Some(*id),
            _ => None,
        }
    }
}

/// Twice as many places as sockets have a number at a time: the writer forgets all at once, and
/// those of a look are named before its rows.
const fn place_of(number: u64) -> usize {
    (number % (2 * SOCKETS_KNOWN as u64)) as usize
}

/// A look of which rows are still to come.
#[derive(Clone, Debug)]
struct Gathering {
    head: LookHead,
    /// Rows that were there.
    met: u64,
    /// Lines among them that could not be read.
    unread: u64,
    poll: Poll,
}

/// Reads a recording.
#[derive(Clone)]
pub struct Reader {
    lines: Lines,
    header: Header,
    host: u16,
    names: Names,
    gathering: Option<Gathering>,
    /// What was read before what has to be said first.
    stashed: VecDeque<Item>,
    newest: Timestamp,
    /// A jump in time, believed when the next line says the same.
    doubtful: Option<Timestamp>,
    skipped: Skipped,
    /// How many lost lines have been said.
    said: u64,
}

/// Behind the newest by more than this is no order that a run can have.
const LATEST: Duration = Duration::from_secs(60);
/// Sources say something every second; a gap like this is a suspended machine, or damage.
const JUMP: Duration = Duration::from_secs(3600);

impl Reader {
    /// Opens a recording as the one of that number.
    ///
    /// # Errors
    /// When it does not begin with a header that this version reads.
    pub fn open(bytes: Arc<dyn Bytes>, host: u16) -> Result<Self, OpenError> {
        let mut lines = Lines::of(bytes);
        let header = match lines.next_line()? {
            Found::Line(line) => Header::read(line)?,
            Found::TooLong => return Err(OpenError::NotARecording),
            Found::Rest(&[]) => return Err(OpenError::Empty),
            Found::Rest(rest) if rest.starts_with(b"{\"type\":\"header\"") => {
                return Err(OpenError::HeaderCut);
            }
            Found::Rest(_) => return Err(OpenError::NotARecording),
        };
        let skipped = Skipped {
            unknown_fields: header.1,
            ..Skipped::default()
        };
        let header = header.0;
        Ok(Self {
            lines,
            host,
            names: Names::default(),
            gathering: None,
            stashed: VecDeque::new(),
            newest: Timestamp::from_nanos(header.clock.monotonic_ns),
            header,
            doubtful: None,
            skipped,
            said: 0,
        })
    }

    /// The first line.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What could not be read so far.
    pub const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// How many bytes have been read.
    pub const fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The newest moment of which something was read.
    pub const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// How many bytes there are behind the last whole line: a line that was cut short. Only at the
    /// end.
    pub fn torn(&self) -> usize {
        self.lines.torn()
    }

    /// The next of what is recorded; `None` at the end, which may be the end for now.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        if let Some(item) = self.stashed.pop_front() {
            return Ok(Some(item));
        }
        loop {
            let line = match self.lines.next_line()? {
                Found::Line(line) => line,
                Found::TooLong => {
                    self.count(Unread::Malformed);
                    continue;
                }
                Found::Rest(_) => return Ok(None),
            };
            let said = decode::line(
                line,
                self.header.scope(self.host),
                &self.names,
                &mut self.skipped.unknown_fields,
            );
            if let Ok(Said::Header) = said {
                // Owned: what it begins changes the reader.
                let header = Header::read(line);
                if let Some(item) = self.another_file(header) {
                    return Ok(Some(self.behind_what_is_lost(item)));
                }
                continue;
            }
            let item = match said {
                Ok(said) => {
                    let before = self.cut_off(&said);
                    let item = self.take(said);
                    match (before, item) {
                        (Some(before), item) => {
                            self.stashed.extend(item);
                            Some(before)
                        }
                        (None, item) => item,
                    }
                }
                Err(wrong) => {
                    self.count(wrong);
                    None
                }
            };
            if let Some(item) = item {
                return Ok(Some(self.behind_what_is_lost(item)));
            }
        }
    }

    /// At the end: a look whose rows are not all there, and what was lost last.
    pub fn finish(&mut self) -> Option<Item> {
        if let Some(item) = self.stashed.pop_front() {
            return Some(item);
        }
        let look = self.gathering.take();
        if let Some(item) = look.and_then(|look| self.told(look)) {
            return Some(self.behind_what_is_lost(item));
        }
        self.lost(self.newest).map(Item::Observation)
    }

    /// The look whose rows were still to come when something else came.
    fn cut_off(&mut self, said: &Said) -> Option<Item> {
        if matches!(said, Said::Row { .. } | Said::Socket { .. }) {
            return None;
        }
        let look = self.gathering.take()?;
        self.skipped.unreadable += look.head.rows.saturating_sub(look.met + look.unread);
        self.told(look)
    }

    fn take(&mut self, said: Said) -> Option<Item> {
        match said {
            Said::Socket { number, id } => {
                self.names.insert(number, id);
                None
            }
            Said::Look(head) => self.begin(head),
            Said::Row { is, of } => self.row(is, of),
            Said::Whole { at, source, body } => self.observation(at, source, body),
            Said::End { at } => {
                self.newest = self.newest.max(at);
                Some(Item::End(at))
            }
            // Its reader is in `next`.
            Said::Header => None,
        }
    }

    /// A header in the middle: files were put together.
    fn another_file(&mut self, header: Result<(Header, u64), OpenError>) -> Option<Item> {
        let Ok((header, unknown)) = header else {
            self.count(Unread::Malformed);
            return None;
        };
        let before = self.cut_off(&Said::Header);
        self.skipped.unknown_fields += unknown;
        self.names = Names::default();
        self.newest = Timestamp::from_nanos(header.clock.monotonic_ns);
        self.doubtful = None;
        self.header = header.clone();
        self.stashed.push_back(Item::Header(Box::new(header)));
        match before {
            Some(before) => Some(before),
            None => self.stashed.pop_front(),
        }
    }

    fn begin(&mut self, head: LookHead) -> Option<Item> {
        let look = Gathering {
            head,
            met: 0,
            unread: 0,
            poll: Poll {
                begun: head.begun,
                look: head.look,
                complete: head.complete,
                first: head.first,
                appeared: Vec::new(),
                changed: Vec::new(),
                missing: Vec::new(),
            },
        };
        if head.rows == 0 {
            return self.told(look);
        }
        self.gathering = Some(look);
        None
    }

    fn row(&mut self, is: RowKind, of: RowOf) -> Option<Item> {
        let Some(look) = self.gathering.as_mut() else {
            self.skipped.unreadable += 1;
            return None;
        };
        match (is, of) {
            (RowKind::New | RowKind::There, RowOf::Sample(sample)) => {
                look.poll.appeared.push(sample);
            }
            (RowKind::Changed, RowOf::Sample(sample)) => look.poll.changed.push(sample),
            (_, RowOf::Socket(id)) => look.poll.missing.push(id),
            (RowKind::Missing, RowOf::Sample(_)) => {}
        }
        self.met_a_row()
    }

    fn met_a_row(&mut self) -> Option<Item> {
        let look = self.gathering.as_mut()?;
        look.met += 1;
        if look.met < look.head.rows {
            return None;
        }
        let look = self.gathering.take()?;
        self.told(look)
    }

    /// A look with what was read of it. A keyframe that is not whole shows nobody where they are.
    fn told(&mut self, look: Gathering) -> Option<Item> {
        let Gathering {
            head,
            met,
            mut poll,
            ..
        } = look;
        let whole = met == head.rows;
        if head.is_keyframe {
            let keyframe = Body::Keyframe(Keyframe {
                begun: head.begun,
                samples: poll.appeared,
            });
            let told = whole.then(|| self.observation(head.at, head.source, keyframe));
            return told.flatten();
        }
        poll.complete &= whole;
        self.observation(head.at, head.source, Body::Poll(poll))
    }

    fn observation(&mut self, at: Timestamp, source: SourceName, body: Body) -> Option<Item> {
        if !self.can_be(at) {
            self.skipped.misdated += 1;
            return None;
        }
        self.skipped.disordered += u64::from(at < self.newest);
        self.newest = self.newest.max(at);
        Some(Item::Observation(Observation {
            at,
            host: self.host,
            source,
            body,
        }))
    }

    /// Whether a line of this recording can have that time. A jump is believed when it is made
    /// twice.
    fn can_be(&mut self, at: Timestamp) -> bool {
        if self.newest.since(at) > LATEST {
            return false;
        }
        let jumps = at.since(self.newest) > JUMP;
        let confirmed = self
            .doubtful
            .is_some_and(|doubtful| at.distance(doubtful) <= JUMP);
        self.doubtful = (jumps && !confirmed).then_some(at);
        !jumps || confirmed
    }

    fn count(&mut self, wrong: Unread) {
        match wrong {
            Unread::Malformed => self.skipped.unreadable += 1,
            Unread::Unknown => self.skipped.unknown_records += 1,
            Unread::UnknownSocket => self.skipped.nameless += 1,
        }
        if let Some(look) = self.gathering.as_mut() {
            look.unread += 1;
        }
    }

    /// What could not be read before the item is said before it.
    fn behind_what_is_lost(&mut self, item: Item) -> Item {
        let at = match &item {
            Item::Observation(observation) => observation.at,
            Item::Header(_) | Item::End(_) => self.newest,
        };
        match self.lost(at) {
            Some(lost) => {
                self.stashed.push_front(item);
                Item::Observation(lost)
            }
            None => item,
        }
    }

    fn lost(&mut self, at: Timestamp) -> Option<Observation> {
        let lost = self.skipped.lines() - self.said;
        self.said = self.skipped.lines();
        (lost > 0).then(|| Observation {
            at,
            host: self.host,
            source: SourceName::Recording,
            body: Body::Lost {
                count: Some(lost),
                why: "lines of the recording can't be read".into(),
            },
        })
    }
}
