//! What a recording shows, as a whole: what reports and exports are given, and the report itself.
//!
//! Knows connections and what `run` tells of the files; reads no file. A connection is taken in,
//! and let go, when the tracker lets go of it or at the end, so that a night with a million
//! connections is no million in memory. The trap: what is still going on at the end has no
//! duration yet, and what a window cuts off is not counted.

pub mod findings;
pub mod json;
pub mod spent;
pub mod summary;
pub mod text;

use std::rc::Rc;

use crate::diagnosis::{Code, Finding};
use crate::model::{SourceName, SourceState, TcpState, Timestamp};
use crate::timeline::{Came, Change, Connection, SeenBeside, Side, Span, Track, When};
use crate::view::plain::plain;
use crate::view::verdict;
use crate::view::wall::WallClock;

pub use summary::{Loss, Losses, Summary};

/// What is known of one recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its files, in the order of their parts.
    pub files: Vec<String>,
    /// The name of the host.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The version of the program that wrote it.
    pub tcpwatch: String,
    /// The network namespace's inode.
    pub netns: Option<u64>,
    /// What was wanted, empty for everything.
    pub filter: String,
    /// What each source said last of itself, in the order in which they were first heard of.
    pub sources: Vec<(SourceName, SourceState)>,
    /// Whether it was read to its end.
    pub read: Read,
    /// Added to its stamps, nanoseconds.
    pub shift: i64,
    /// What could not be read, and what was not in order: a word for machines, one for people, how
    /// many.
    pub skipped: Vec<(&'static str, &'static str, u64)>,
}

impl Recording {
    /// The name of the host, harmless and of a reasonable length.
    pub(in crate::view) fn name(&self) -> String {
        short(&self.host)
    }
}

/// A name from outside, harmless and of a reasonable length.
pub(in crate::view) fn short(text: &str) -> String {
    /// As long as the kernel lets a host's name be.
    const MOST: usize = 64;
    let mut letters = plain(text).chars().collect::<Vec<char>>();
    if letters.len() > MOST {
        letters.truncate(MOST - 1);
        letters.push('\u{2026}');
    }
    letters.into_iter().collect()
}

/// How far a recording was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// To its end, which its last line says.
    Ended,
    /// The same, and its last line says why it ended.
    Said(Box<str>),
    /// To the end of a part; it goes on in this one, which was not given.
    GoesOn(u32),
    /// To its last line, which is no end: the recorder was stopped, or still writes. Behind it are
    /// so many bytes of a line that is cut short.
    CutOff(u64),
    /// Not to its end: what is shown ends before.
    Partly,
}

/// The part of the time that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// What was before is left out.
    pub from: Option<Timestamp>,
    /// The world stops there.
    pub to: Option<Timestamp>,
}

/// What reports and exports are about.
#[derive(Clone, Debug)]
pub struct About {
    /// The recordings, by the number of the host in their observations.
    pub recordings: Vec<Recording>,
    /// For dates.
    pub clock: WallClock,
    /// The first observation.
    pub first: Timestamp,
    /// The end of what is shown.
    pub last: Timestamp,
    /// What is wanted of the time.
    pub window: Window,
    /// What is wanted of the connections, empty for everything.
    pub filter: String,
    /// Whether the clocks of several hosts agree.
    pub clocks: Vec<ClockWord>,
}

impl About {
    /// ` (web)`, the host of an end, where there are several recordings.
    pub(in crate::view) fn host_of(&self, track: &Track) -> String {
        match self.recordings.get(usize::from(track.id().scope.host)) {
            Some(recording) if self.recordings.len() > 1 => format!(" ({})", recording.name()),
            _ => String::new(),
        }
    }

    /// The name of a recording's host, as it stands there: not safe to print as it is.
    pub(in crate::view) fn name_of(&self, host: u16) -> &str {
        let recording = self.recordings.get(usize::from(host));
        recording.map_or("", |recording| recording.host.as_str())
    }

    /// Where what is shown begins.
    pub fn begin(&self) -> Timestamp {
        self.window.from.unwrap_or(self.first).min(self.last)
    }
}

/// How the clocks of two hosts stand to each other, by the connections between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockWord {
    /// The two recordings; an offset is that of the second.
    pub hosts: (u16, u16),
    /// How many connections tell.
    pub connections: u64,
    /// Of how many what was received was not sent before.
    pub broken: u64,
    /// How many contradict themselves, whatever the offset.
    pub odd: u64,
    /// How many are not joined, since the clocks are too far apart.
    pub apart: u64,
    /// What would mend that, nanoseconds; `None` when nothing is broken, or no offset does.
    pub mend_ns: Option<i64>,
    /// Whether it mends all of them.
    pub mends_all: bool,
    /// The smallest and the greatest offset that would leave all in order, as far as bounded.
    pub offsets_ns: (Option<i64>, Option<i64>),
    /// All of it in words.
    pub sentence: String,
}

impl ClockWord {
    /// Whether nothing is to be mended.
    pub const fn agrees(&self) -> bool {
        self.broken == 0 && self.odd == 0 && self.mend_ns.is_none()
    }
}

/// What a look or an event showed beside a step and the track does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    side: Side,
    to: TcpState,
    at: Timestamp,
    unread: Option<u32>,
    unacked: Option<u32>,
}

impl Queued {
    /// What is to be kept of a change; `None` of most.
    pub fn of(change: &Change) -> Option<Self> {
        let Change::Moved { side, step, .. } = change else {
            return None;
        };
        let SeenBeside {
            unread, unacked, ..
        } = step.seen?;
        Some(Self {
            side: *side,
            to: step.to,
            at: step.when.not_after(),
            unread,
            unacked,
        })
    }
}

/// A connection as it is shown: as far as it was known at `until`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// Until when it is known: the end, or when it was dropped.
    pub until: Timestamp,
    /// It was settled and dropped to bound memory before the end.
    pub dropped: bool,
    /// The begin of the window.
    pub from: Option<Timestamp>,
    /// What was queued at its steps.
    pub queued: &'a [Queued],
    /// What was found of it, oldest first.
    pub findings: &'a [Rc<Finding>],
}

/// How a connection ended, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With a verdict.
    Ended(Code),
    /// Multipath: there is no verdict on it.
    Multipath,
    /// It goes on.
    Open,
}

impl Way {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        let ended = summary::CODES.into_iter().map(Self::Ended);
        ended.chain([Self::Multipath, Self::Open])
    }

    /// The word of the command line.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Ended(code) => code.token(),
            Self::Multipath => "multipath",
            Self::Open => "open",
        }
    }

    /// Whether nothing has to be looked at.
    pub const fn is_orderly(self) -> bool {
        matches!(self, Self::Ended(Code::Orderly | Code::Simultaneous))
    }
}

/// A step, as the track has it in the end.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Which end.
    pub side: Side,
    /// Its history.
    pub track: &'a Track,
    /// The index of the span that it begins, from 1.
    pub index: usize,
}

impl<'a> Step<'a> {
    /// The state that ended.
    pub fn left(&self) -> &'a Span {
        &self.track.spans()[self.index - 1]
    }

    /// The state that began.
    pub fn entered(&self) -> &'a Span {
        &self.track.spans()[self.index]
    }
}

impl<'a> Shown<'a> {
    /// How it ended, or did not.
    pub fn way(&self) -> Way {
        match (self.connection.closed(), verdict(self.connection)) {
            (None, _) => Way::Open,
            (Some(_), Some(verdict)) => Way::Ended(verdict.code),
            (Some(_), None) => Way::Multipath,
        }
    }

    /// All steps of both ends, in the order of time; those of one moment in the order of the ends
    /// and of their tracks.
    pub fn steps(&self) -> Vec<Step<'a>> {
        let mut steps: Vec<Step<'a>> = Vec::new();
        for (side, track) in self.connection.visible() {
            steps.extend((1..track.spans().len()).map(|index| Step { side, track, index }));
        }
        // Stable.
        steps.sort_by_key(|step| step.entered().from.not_after());
        steps
    }

    /// Bytes unread and unacknowledged at a step.
    pub fn queued_at(&self, side: Side, span: &Span) -> (Option<u32>, Option<u32>) {
        let at = span.from.not_after();
        self.queued
            .iter()
            .find(|queued| (queued.side, queued.to, queued.at) == (side, span.state, at))
            .map_or((None, None), |queued| (queued.unread, queued.unacked))
    }

    /// Whether anything of it lies within the window.
    pub fn is_within(&self) -> bool {
        let Some(from) = self.from else {
            return true;
        };
        let reaches = |track: &Track| match track.spans().last() {
            Some(last) if last.state == TcpState::Close => last.from.not_after() >= from,
            _ => self.until >= from,
        };
        self.connection.visible().any(|(_, track)| reaches(track))
    }

    /// Where the connection began: born, or found.
    pub fn began(&self) -> (When, Came) {
        let births = self
            .connection
            .visible()
            .filter_map(|(_, track)| birth(track));
        births
            .min_by_key(|(when, _)| when.not_after())
            .unwrap_or((When::Before(self.connection.opened()), Came::Found))
    }

    /// When the last of its visible ends was gone or in TIME_WAIT; `None` while one is not.
    pub fn ended(&self) -> Option<When> {
        self.connection.closed()?;
        let over = |track: &Track| {
            let spans = track.spans();
            let is_over = |span: &Span| matches!(span.state, TcpState::TimeWait | TcpState::Close);
            let last = spans.iter().rposition(|span| !is_over(span));
            spans
                .get(last.map_or(0, |last| last + 1))
                .map(|span| span.from)
        };
        self.connection
            .visible()
            .filter_map(|(_, track)| over(track))
            .max_by_key(|when| when.not_after())
    }
}

fn birth(track: &Track) -> Option<(When, Came)> {
    match track.spans() {
        [first, second, ..] if first.state == TcpState::Close => Some((second.from, Came::Born)),
        [first, ..] => Some((first.from, Came::Found)),
        [] => None,
    }
}
