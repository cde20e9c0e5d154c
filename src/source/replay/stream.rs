//! One recording, or several made one after the other in one place, as one stream of observations.
//!
//! A stream is in step as long as nothing is missing of it. Then keyframes say nothing new. What is
//! not in step, since it begins with a later part or something was lost in it, goes on with what
//! there is, and takes the next keyframe for a first look.
//!
//! The trap: files that were put together by `cat` show their headers only when they are reached.
//! What would then go back in time is left out, and said.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Answer, Body, Keyframe, Look, Observation, Poll, SockId, SourceName, Timestamp,
};
use crate::record::{Bytes, Header, Item, Reader, Skipped};
use crate::source::replay::align::shift_onto;
use crate::source::replay::{Ending, Progress, Recorded, ReplayError};

/// A file of a stream.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) name: PathBuf,
    pub(super) bytes: Arc<dyn Bytes>,
    pub(super) reader: Reader,
    /// Bytes; `None` of what may still grow.
    pub(super) length: Option<u64>,
}

/// One recording.
#[derive(Clone)]
pub(super) struct Stream {
    host: u16,
    /// The file at hand.
    part: Part,
    /// The files behind the first one: clones share them, since there may be many.
    rest: Arc<[Part]>,
    /// So many of them are behind us, or at hand.
    begun: usize,
    /// The header of what is read now.
    header: Header,
    head: Option<Observation>,
    about: Recorded,
    /// Of the files that were read to their end.
    behind: Behind,
    is_in_step: bool,
    /// Of this moment are the lines that a part begins with and that repeat what was said.
    repeats: Option<Timestamp>,
    /// A recording of another host is read, which `cat` has put behind ours: nothing is told.
    is_elsewhere: bool,
    /// What the keyframe showed that was given last, taken for a first look.
    joined: Option<Joined>,
    /// Nothing before this is told: it would go back in time.
    floor: Timestamp,
    is_ended: bool,
}

/// What is known of files that were read to their end.
#[derive(Clone, Copy, Default)]
struct Behind {
    skipped: Skipped,
    torn: usize,
    bytes: u64,
}

/// A first look in the middle.
#[derive(Clone)]
struct Joined {
    at: Timestamp,
    begun: Timestamp,
    source: SourceName,
    there: HashSet<SockId>,
}

impl Stream {
    /// A stream of these files.
    pub(super) fn new(host: u16, part: Part, rest: Arc<[Part]>, about: Recorded) -> Self {
        let header = part.reader.header().clone();
        let mut stream = Self {
            host,
            is_in_step: header.part == 1,
            about,
            part,
            rest,
            begun: 0,
            header,
            head: None,
            behind: Behind::default(),
            repeats: None,
            is_elsewhere: false,
            joined: None,
            floor: Timestamp::default(),
            is_ended: false,
        };
        if stream.header.part > 1 {
            stream.about.missing.push(1..=stream.header.part - 1);
        }
        stream
    }

    pub(super) const fn about(&self) -> &Recorded {
        &self.about
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.is_ended && self.head.is_none()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.part.bytes.is_whole() && self.to_come().all(|part| part.bytes.is_whole())
    }

    fn to_come(&self) -> impl Iterator<Item = &Part> {
        self.rest.iter().skip(self.begun)
    }

    pub(super) fn progress(&self) -> Progress {
        let at_hand = std::iter::once(&self.part).chain(self.to_come());
        let lengths = at_hand.map(|part| part.length);
        Progress {
            read: self.behind.bytes + self.part.reader.position(),
            of: lengths
                .sum::<Option<u64>>()
                .map(|left| left + self.behind.bytes),
        }
    }

    pub(super) fn head_at(&self) -> Option<Timestamp> {
        self.head.as_ref().map(|head| head.at)
    }

    pub(super) fn take_head(&mut self) -> Option<Observation> {
        let head = self.head.take()?;
        self.about.newest = self.about.newest.max(head.at);
        Some(head)
    }

    /// When the next observation is of, read if it was not yet.
    pub(super) fn look_ahead(&mut self) -> Result<Option<Timestamp>, ReplayError> {
        if self.head.is_none() && !self.is_ended {
            self.joined = None;
            self.head = self.next()?;
        }
        Ok(self.head_at())
    }

    /// That a socket is gone which the first look in the middle lacks.
    pub(super) fn gone(&self, asked: &SockId) -> Option<Observation> {
        let joined = self.joined.as_ref()?;
        if joined.there.contains(asked) || asked.scope.host != self.host {
            return None;
        }
        Some(Observation {
            at: joined.at,
            host: self.host,
            source: joined.source,
            body: Body::Lookup {
                asked: *asked,
                begun: joined.begun,
                unchanged: None,
                answer: Answer::Gone,
            },
        })
    }

    fn next(&mut self) -> Result<Option<Observation>, ReplayError> {
        loop {
            // Asked before the end is met.
            let is_whole = self.part.bytes.is_whole();
            let item = self
                .part
                .reader
                .next_item()
                .map_err(|error| self.failed(error))?;
            let item = match item {
                None if !is_whole => {
                    self.count();
                    return Ok(None);
                }
                None => self.part.reader.finish(),
                item => item,
            };
            let told = match item {
                Some(Item::Header(header)) => self.meet(*header),
                Some(_) if self.is_elsewhere => None,
                Some(Item::Observation(observation)) => self.pass(observation),
                Some(Item::End { at, why }) => {
                    self.end(at, why);
                    None
                }
                None => match self.next_file() {
                    Some(header) => {
                        self.is_elsewhere = false;
                        self.seam(header)
                    }
                    None => {
                        self.count();
                        self.is_ended = true;
                        return Ok(None);
                    }
                },
            };
            if told.is_some() {
                return Ok(told);
            }
        }
    }

    fn failed(&self, error: std::io::Error) -> ReplayError {
        ReplayError::Read {
            name: self.part.name.display().to_string(),
            error,
        }
    }

    /// Brings what is known of the files up to date.
    fn count(&mut self) {
        self.about.skipped = sum(self.behind.skipped, self.part.reader.skipped());
        self.about.torn = self.behind.torn + self.part.reader.torn();
    }

    fn next_file(&mut self) -> Option<Header> {
        self.count();
        let next = self.rest.get(self.begun)?.clone();
        self.begun += 1;
        self.behind = Behind {
            skipped: self.about.skipped,
            torn: self.about.torn,
            bytes: self.behind.bytes + self.part.reader.position(),
        };
        self.part = next;
        Some(self.part.reader.header().clone())
    }

    /// The last line of a file.
    fn end(&mut self, at: Timestamp, why: Box<str>) {
        let at = at.shifted(self.about.shift);
        self.about.newest = self.about.newest.max(at);
        self.about.ending = if &*why != "rotated" {
            Ending::Said(why)
        } else if self.about.just_begun.is_empty() {
            Ending::GoesOn(self.header.part.saturating_add(1))
        } else {
            Ending::Unsaid
        };
    }

    /// A header in the middle of a file: what is of another host is not told.
    fn meet(&mut self, header: Header) -> Option<Observation> {
        let was_elsewhere = self.is_elsewhere;
        self.is_elsewhere = self.is_foreign(&header);
        if !self.is_elsewhere {
            return self.seam(header);
        }
        (!was_elsewhere).then(|| Observation {
            at: self.about.newest.max(self.floor),
            host: self.host,
            source: SourceName::Recording,
            body: Body::Lost {
                count: None,
                why: format!(
                    "another recording begins here, of host {}, and is left out: give it as a file \
                     of its own",
                    header.host
                )
                .into(),
            },
        })
    }

    /// Whether a recording is of another place than the one at hand. What was recorded on the same
    /// host after another boot is not, as long as it is later.
    fn is_foreign(&self, header: &Header) -> bool {
        let ours = &self.header;
        if header.recording == ours.recording {
            return false;
        }
        if header.boot_id.is_some() && header.boot_id == ours.boot_id {
            return header.netns != ours.netns;
        }
        let onto = shift_onto(&ours.clock, &header.clock);
        let shift = self.about.shift.saturating_add(onto);
        let begins = Timestamp::from_nanos(header.clock.monotonic_ns).shifted(shift);
        header.host != ours.host || begins < self.about.newest
    }

    /// Another file begins, of this recording or of another; gives what is to be said of that.
    fn seam(&mut self, header: Header) -> Option<Observation> {
        self.about.ending = Ending::Unsaid;
        let before = std::mem::replace(&mut self.header, header);
        let begins = self.begins(&before);
        let ends = self.about.newest.max(self.floor);
        let part = self.header.part;
        let is_same = before.recording == self.header.recording;
        let expected = if is_same {
            before.part.saturating_add(1)
        } else {
            1
        };
        if is_same && part == expected {
            self.repeats = self.is_in_step.then_some(begins);
            return None;
        }
        self.is_in_step = false;
        let goes_back = if is_same {
            part < expected
        } else {
            begins < ends
        };
        if part > expected {
            self.about.missing.push(expected..=part - 1);
        }
        let why = if goes_back {
            self.floor = ends;
            "recordings that overlap in time were put into one file: give them as files of their own"
                .into()
        } else if is_same {
            missing_parts(expected, part - 1)
        } else {
            format!("nothing was recorded for {}", rough(begins.since(ends)))
        };
        Some(Observation {
            at: begins.max(ends),
            host: self.host,
            source: SourceName::Recording,
            body: Body::Lost {
                count: None,
                why: why.into(),
            },
        })
    }

    /// When the file at hand begins; one of another clock is put onto the axis first.
    fn begins(&mut self, before: &Header) -> Timestamp {
        let is_same_clock = before.recording == self.header.recording
            || before.boot_id.is_some() && before.boot_id == self.header.boot_id;
        if !is_same_clock {
            let onto = shift_onto(&before.clock, &self.header.clock);
            self.about.shift = self.about.shift.saturating_add(onto);
        }
        Timestamp::from_nanos(self.header.clock.monotonic_ns).shifted(self.about.shift)
    }

    /// An observation on the common axis, if it says anything.
    fn pass(&mut self, mut observation: Observation) -> Option<Observation> {
        observation.shift(self.about.shift);
        if observation.at < self.floor {
            return None;
        }
        if self.is_repeated(&observation) {
            return None;
        }
        match &mut observation.body {
            Body::Lost { .. } if observation.source == SourceName::Recording => {
                self.is_in_step = false;
            }
            Body::Keyframe(_) if self.is_in_step => return None,
            Body::Keyframe(keyframe) => {
                let poll = first_look(keyframe);
                observation.body = Body::Poll(poll);
                self.join(&observation);
            }
            Body::Poll(poll) if !self.is_in_step && poll.first && poll.complete => {
                self.join(&observation);
            }
            _ => {}
        }
        Some(observation)
    }

    /// Whether it stands at the begin of a part and says nothing that the parts before have not:
    /// up to its keyframe, or to the line that says that there is none.
    fn is_repeated(&mut self, observation: &Observation) -> bool {
        let Some(begins) = self.repeats.filter(|begins| observation.at == *begins) else {
            self.repeats = None;
            return false;
        };
        let goes_on = matches!(
            observation.body,
            Body::Source(_) | Body::Host(_) | Body::Clock { .. }
        );
        self.repeats = goes_on.then_some(begins);
        goes_on
            || match &observation.body {
                Body::Keyframe(_) => true,
                Body::Lost { count: None, .. } => observation.source == SourceName::Recording,
                _ => false,
            }
    }

    /// From here on the stream is in step again.
    fn join(&mut self, look: &Observation) {
        if let Body::Poll(poll) = &look.body {
            self.is_in_step = true;
            self.joined = Some(Joined {
                at: look.at,
                begun: poll.begun,
                source: look.source,
                there: poll.appeared.iter().map(|sample| sample.id).collect(),
            });
        }
    }
}

fn first_look(keyframe: &mut Keyframe) -> Poll {
    Poll {
        begun: keyframe.begun,
        look: Look::Whole,
        complete: true,
        first: true,
        appeared: std::mem::take(&mut keyframe.samples),
        changed: Vec::new(),
        missing: Vec::new(),
    }
}

fn missing_parts(first: u32, last: u32) -> String {
    if first == last {
        format!("part {first} of the recording is missing")
    } else {
        format!("parts {first} to {last} of the recording are missing")
    }
}

const fn sum(a: Skipped, b: Skipped) -> Skipped {
    Skipped {
        unreadable: a.unreadable + b.unreadable,
        nameless: a.nameless + b.nameless,
        misdated: a.misdated + b.misdated,
        unknown_records: a.unknown_records + b.unknown_records,
        unknown_fields: a.unknown_fields + b.unknown_fields,
        disordered: a.disordered + b.disordered,
    }
}

/// A time in its largest unit, to the nearest.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", (seconds + 30) / 60),
        7200..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}
