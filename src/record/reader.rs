//! A recording read back: observations in the order in which they were taken in.
//!
//! Reads by position, so a reader can be cloned and both go on from there: that is how replay goes
//! back in time. Nothing is believed: a line that can't be read is counted, and said in an
//! observation of its own before the next one that can; what it lacked is bounded by the next
//! keyframe.
//!
//! Memory is bounded whatever the file holds: one chunk and one line (2 MiB), the numbers of 32,768
//! sockets (4 MiB, shared by clones), as many processes (1.3 KiB each at most), and the rows of one
//! look, of which 1,048,576 are held.
//!
//! The traps: a look and its rows are several lines, of which any can be missing, and a look with
//! a row missing covers less than it says. A last line without its end may still grow. And a stamp
//! that was damaged must not make all others look old: a jump in time waits for the next line to
//! confirm it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Body, Observation, SourceName, Timestamp};
use crate::record::decode::{self, LookHead, RowKind, RowOf, Said, Unread};
use crate::record::lines::{Bytes, Found, Lines};
use crate::record::look::{Gathering, Row};
use crate::record::names::Names;
use crate::record::{Header, VERSION};

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
    TooNew(u64),
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
    /// The file was ended in good order.
    End {
        /// When.
        at: Timestamp,
        /// What it says of why; "rotated" when the recording goes on in the next part.
        why: Box<str>,
    },
}

/// What was not read, and what was not in order. All but the last three are in the observations
/// too, as losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Lines that are not what a recording has.
    pub unreadable: u64,
    /// Lines about sockets, or processes, whose own line could not be read.
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
        self.unreadable
            .saturating_add(self.nameless)
            .saturating_add(self.misdated)
    }
}

/// Reads a recording.
#[derive(Clone)]
pub struct Reader {
    lines: Lines,
    header: Header,
    host: u16,
    names: Names,
    gathering: Option<Gathering>,
    /// What was read and is to be given, in order.
    ready: VecDeque<Item>,
    newest: Timestamp,
    /// An observation that jumps in time, until the next one confirms it.
    doubtful: Option<Box<Observation>>,
    skipped: Skipped,
    /// How many lost lines have been said.
    said: u64,
}

/// Sources say something every second, and what comes late comes within one: what is further from
/// the newest than this is a gap, or damage.
const APART: Duration = Duration::from_secs(60);

impl Reader {
    /// Opens a recording as the one of that number.
    ///
    /// # Errors
    /// When it does not begin with a header that this version reads.
    pub fn open(bytes: Arc<dyn Bytes>, host: u16) -> Result<Self, OpenError> {
        let mut lines = Lines::of(bytes);
        let (header, unknown_fields) = match lines.next_line()? {
            Found::Line(line) => Header::read(line)?,
            Found::TooLong => return Err(OpenError::NotARecording),
            Found::Rest(rest) if may_become_a_header(rest) => return Err(OpenError::HeaderCut),
            Found::Rest(_) => {
                return Err(match lines.torn() {
                    0 => OpenError::Empty,
                    _ => OpenError::NotARecording,
                });
            }
        };
        Ok(Self {
            lines,
            host,
            names: Names::default(),
            gathering: None,
            ready: VecDeque::new(),
            newest: Timestamp::from_nanos(header.clock.monotonic_ns),
            header,
            doubtful: None,
            skipped: Skipped {
                unknown_fields,
                ..Skipped::default()
            },
            said: 0,
        })
    }

    /// The same, whose observations are of the recording of that number. To be said before any was
    /// given.
    #[must_use]
    pub const fn of_host(mut self, host: u16) -> Self {
        self.host = host;
        self
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

    /// How many bytes there are behind the last whole line: a line that was cut short. 0 until the
    /// end was met.
    pub fn torn(&self) -> usize {
        usize::try_from(self.lines.torn()).unwrap_or(usize::MAX)
    }

    /// The next of what is recorded; `None` at the end, which may be the end for now.
    ///
    /// # Errors
    /// When the system can't read.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
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
            match said {
                Ok(Said::Header) => {
                    // Owned: what it begins changes the reader.
                    let header = Header::read(line);
                    self.another_file(header);
                }
                Ok(Said::Nothing) => {}
                Ok(said) => self.take(said),
                Err(wrong) => self.count(wrong),
            }
        }
    }

    /// At the end, until there is nothing more: a look whose rows are not all there, and what was
    /// lost last. What is written behind the end is not to be read after this.
    pub fn finish(&mut self) -> Option<Item> {
        if let Some(item) = self.ready.pop_front() {
            return Some(item);
        }
        if let Some(look) = self.gathering.take() {
            self.tell(look);
        }
        self.believe_the_doubtful();
        if let Some(lost) = self.lost(self.newest) {
            self.ready.push_back(Item::Observation(lost));
        }
        self.ready.pop_front()
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Whole { at, source, body } => {
                self.cut_off();
                self.observation(at, source, body);
            }
            Said::Row { is, of } => self.row(is, of),
            Said::Socket { number, id } => self.names.insert(number, id),
            Said::Process { number, program } => self.names.insert_process(number, program),
            Said::Look(head) => {
                self.cut_off();
                self.begin(head);
            }
            Said::End { at, why } => {
                self.cut_off();
                self.end(at, why);
            }
            // Their readers are in `next_item`.
            Said::Header | Said::Nothing => {}
        }
    }

    /// A header in the middle: files were put together.
    fn another_file(&mut self, header: Result<(Header, u64), OpenError>) {
        self.cut_off();
        self.believe_the_doubtful();
        // Numbers begin again behind it, even if it can't be read.
        self.names = Names::default();
        let Ok((header, unknown)) = header else {
            self.count(Unread::Malformed);
            return;
        };
        self.skipped.unknown_fields += unknown;
        self.give(self.newest, Item::Header(Box::new(header.clone())));
        self.newest = Timestamp::from_nanos(header.clock.monotonic_ns);
        self.header = header;
    }

    fn begin(&mut self, head: LookHead) {
        let look = Gathering::new(head);
        if look.is_whole() {
            self.tell(look);
        } else {
            self.gathering = Some(look);
        }
    }

    fn row(&mut self, is: RowKind, of: RowOf) {
        let row = match self.gathering.as_mut() {
            Some(look) => look.take(is, of),
            None => Row::Refused,
        };
        match row {
            Row::Taken => {}
            Row::Last => {
                if let Some(look) = self.gathering.take() {
                    self.tell(look);
                }
            }
            Row::Refused => self.count(Unread::Malformed),
        }
    }

    /// Something else came: what the look still lacks will not come any more.
    #[inline]
    fn cut_off(&mut self) {
        if let Some(look) = self.gathering.take() {
            self.skipped.unreadable = self.skipped.unreadable.saturating_add(look.lacks());
            self.tell(look);
        }
    }

    fn tell(&mut self, look: Gathering) {
        let (at, source) = (look.head().at, look.head().source);
        if let Some(body) = look.told() {
            self.observation(at, source, body);
        }
    }

    /// The end in good order. Its time is believed as an observation's is; a jump that nothing
    /// confirms is not the recording's end.
    fn end(&mut self, at: Timestamp, why: Box<str>) {
        self.judge_the_doubtful(at);
        self.believe_the_doubtful();
        if at.distance(self.newest) <= APART {
            self.newest = self.newest.max(at);
        }
        let at = self.newest;
        self.give(at, Item::End { at, why });
    }

    #[inline]
    fn observation(&mut self, at: Timestamp, source: SourceName, body: Body) {
        let observation = Observation {
            at,
            host: self.host,
            source,
            body,
        };
        if self.doubtful.is_some() {
            self.judge_the_doubtful(at);
        }
        if at.distance(self.newest) > APART {
            self.doubtful = Some(Box::new(observation));
        } else {
            self.tell_at(at, observation);
        }
    }

    /// What jumped in time is believed when the next one, of `at`, is not from before the jump.
    fn judge_the_doubtful(&mut self, at: Timestamp) {
        let Some(doubtful) = self.doubtful.take() else {
            return;
        };
        let then = doubtful.at;
        let is_near = at.distance(then) <= APART;
        let goes_on = at > then && (then > self.newest || at < self.newest);
        let was_never_left = at.distance(self.newest) <= APART;
        if is_near || (goes_on && !was_never_left) {
            self.believe(*doubtful);
        } else {
            self.skipped.misdated += 1;
        }
    }

    /// Nothing speaks against it.
    fn believe_the_doubtful(&mut self) {
        if let Some(doubtful) = self.doubtful.take() {
            self.believe(*doubtful);
        }
    }

    fn believe(&mut self, doubtful: Observation) {
        let then = doubtful.at;
        self.tell_at(then, doubtful);
        // Backward too: time is there now.
        self.newest = then;
    }

    #[inline]
    fn tell_at(&mut self, at: Timestamp, observation: Observation) {
        self.skipped.disordered += u64::from(at < self.newest);
        self.newest = self.newest.max(at);
        self.give(at, Item::Observation(observation));
    }

    fn count(&mut self, wrong: Unread) {
        match wrong {
            Unread::Malformed => {
                self.skipped.unreadable = self.skipped.unreadable.saturating_add(1);
            }
            Unread::Unknown => self.skipped.unknown_records += 1,
            Unread::UnknownName => self.skipped.nameless += 1,
        }
        if let Some(look) = self.gathering.as_mut() {
            look.count_unread();
        }
    }

    /// What could not be read before the item is said before it.
    #[inline]
    fn give(&mut self, at: Timestamp, item: Item) {
        if let Some(lost) = self.lost(at) {
            self.ready.push_back(Item::Observation(lost));
        }
        self.ready.push_back(item);
    }

    #[inline]
    fn lost(&mut self, at: Timestamp) -> Option<Observation> {
        let lost = self.skipped.lines().saturating_sub(self.said);
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

/// What every header that we write begins with.
const HEADER_BEGINS: &[u8] = b"{\"type\":\"header\"";

/// Whether it is a header's line whose end is missing.
fn may_become_a_header(rest: &[u8]) -> bool {
    let common = rest.len().min(HEADER_BEGINS.len());
    common > 0 && rest[..common] == HEADER_BEGINS[..common]
}
