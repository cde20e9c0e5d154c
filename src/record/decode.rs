//! Lines as what they say. The inverse of [`super::encode`].
//!
//! Knows one line at a time: that a poll has rows, and which number is which socket, is the
//! reader's. Fields come in any order, unknown ones are counted and skipped, and a line that lacks
//! what it must have, or says what can't be, is unreadable as a whole: half a line is a guess.

mod beside;
mod host;
mod raw;

use std::sync::Arc;

use crate::model::event::{Comm, Moment, ResetReason};
use crate::model::{
    Answer, Body, Caller, Cookie, Event, FourTuple, Look, Program, Queues, Sample, Scope, Shutdown,
    SockId, SourceName, TcpState, Timer, TimerKind, Timestamp, What,
};
use crate::record::fields::{Fields, Malformed};
use crate::record::usual::Usual;
use crate::record::words;
use raw::Raw;

/// Why a line says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not what it should be.
    Malformed,
    /// A record that a later version has added, or a word that it uses.
    Unknown,
    /// It names a socket, or a process, by a number that no line that could be read has introduced.
    UnknownName,
}

impl From<Malformed> for Unread {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A line with nothing on it.
    Nothing,
    /// A file begins: another line follows its rules.
    Header,
    /// The recording has ended in good order.
    End { at: Timestamp, why: Box<str> },
    /// A socket and its number.
    Socket { number: u64, id: Named },
    /// A process and its number.
    Process { number: u64, program: Arc<Program> },
    /// A look, whose rows follow.
    Look(LookHead),
    /// A row of the look.
    Row { is: RowKind, of: RowOf },
    /// A whole observation.
    Whole {
        at: Timestamp,
        source: SourceName,
        body: Body,
    },
}

/// The first line of a look, or of a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LookHead {
    pub(super) at: Timestamp,
    pub(super) source: SourceName,
    pub(super) begun: Timestamp,
    pub(super) look: Look,
    pub(super) complete: bool,
    pub(super) first: bool,
    pub(super) rows: u64,
    pub(super) is_keyframe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    New,
    Changed,
    Missing,
    There,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RowOf {
    Sample(Sample),
    Socket(SockId),
}

/// Who is meant by a number, and the cgroup that its lines need not repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: SockId,
    pub(super) cgroup: Option<u64>,
}

/// Who has which number.
pub(super) trait Known {
    fn socket(&self, number: u64) -> Option<Named>;
    fn process(&self, number: u64) -> Option<Arc<Program>>;
}

/// Reads a line. `unknown` counts the fields that this version does not know.
pub(super) fn line(
    text: &[u8],
    scope: Scope,
    known: &impl Known,
    unknown: &mut u64,
) -> Result<Said, Unread> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Said::Nothing);
    }
    let mut fields = Fields::of(text)?;
    let mut raw = Raw::default();
    let mut strange = 0;
    let mut is_wrong = false;
    while let Some((name, value)) = fields.next()? {
        match raw.take(name, value) {
            Ok(true) => {}
            Ok(false) => strange += 1,
            // A record that this version does not know may mean something else by the name.
            Err(Malformed) => is_wrong = true,
        }
    }
    if is_wrong {
        return Err(match raw.kind {
            Some(kind) if !KINDS.contains(&kind) => Unread::Unknown,
            _ => Unread::Malformed,
        });
    }
    let decoder = Decoder { raw, scope, known };
    let said = decoder.said();
    // What is in a record that is not read is part of it; a header's reader counts its own.
    if matches!(&said, Ok(said) if *said != Said::Header) {
        *unknown += strange;
    }
    said
}

/// The records of this version.
const KINDS: [&str; 17] = [
    "event",
    "row",
    "socket",
    "lookup",
    "poll",
    "keyframe",
    "held",
    "process",
    "info",
    "unchanged",
    "host",
    "source",
    "clock",
    "note",
    "lost",
    "end",
    "header",
];

fn needed<T>(field: Option<T>) -> Result<T, Unread> {
    field.ok_or(Unread::Malformed)
}

/// What a word means; one that is not in the table is of a later version.
fn meant<T>(word: &str, meaning: impl Fn(&str) -> Option<T>) -> Result<T, Unread> {
    meaning(word).ok_or(Unread::Unknown)
}

struct Decoder<'a, S> {
    raw: Raw<'a>,
    scope: Scope,
    known: &'a S,
}

impl<S: Known> Decoder<'_, S> {
    fn said(self) -> Result<Said, Unread> {
        match needed(self.raw.kind)? {
            "event" => {
                let event = Body::Event(self.event()?);
                self.whole(SourceName::Bpf, event)
            }
            "row" => self.row(),
            "socket" => self.named(),
            "lookup" => {
                let lookup = self.lookup()?;
                self.whole(SourceName::SockDiag, lookup)
            }
            "poll" => self.look(false),
            "keyframe" => self.look(true),
            "unchanged" => {
                let until = Timestamp::from_nanos(needed(self.raw.until)?);
                let look = self.extent();
                self.whole(SourceName::SockDiag, Body::Unchanged { until, look })
            }
            "held" => {
                let holders = self.holders()?;
                self.whole(SourceName::Holders, holders)
            }
            "process" => self.process(),
            "info" => {
                let info = self.info()?;
                self.whole(SourceName::Info, info)
            }
            "host" => {
                let facts = Body::Host(self.host()?);
                self.whole(SourceName::SockDiag, facts)
            }
            "source" => {
                let state = self.source_state()?;
                needed(self.raw.source)?;
                self.whole(SourceName::SockDiag, Body::Source(state))
            }
            "clock" => {
                let realtime_ns = needed(self.raw.realtime_ns)?;
                self.whole(SourceName::SockDiag, Body::Clock { realtime_ns })
            }
            "note" => {
                let pid = needed(self.raw.pid)?;
                let text = needed(self.raw.text.as_deref())?.to_owned();
                self.whole(SourceName::Lab, Body::Note { pid, text })
            }
            "lost" => {
                let count = self.raw.count;
                let why = needed(self.raw.why.as_deref())?.to_owned().into();
                needed(self.raw.source)?;
                self.whole(SourceName::SockDiag, Body::Lost { count, why })
            }
            "end" => Ok(Said::End {
                at: self.at()?,
                why: self.raw.why.as_deref().unwrap_or_default().into(),
            }),
            "header" => Ok(Said::Header),
            _ => Err(Unread::Unknown),
        }
    }

    fn at(&self) -> Result<Timestamp, Unread> {
        needed(self.raw.at).map(Timestamp::from_nanos)
    }

    fn begun(&self) -> Result<Timestamp, Unread> {
        needed(self.raw.begun).map(Timestamp::from_nanos)
    }

    fn source(&self, usual: SourceName) -> Result<SourceName, Unread> {
        self.raw
            .source
            .map_or(Ok(usual), |word| meant(word, words::source))
    }

    fn whole(&self, usual: SourceName, body: Body) -> Result<Said, Unread> {
        Ok(Said::Whole {
            at: self.at()?,
            source: self.source(usual)?,
            body,
        })
    }

    fn socket(&self, number: Option<u64>) -> Result<Named, Unread> {
        self.known
            .socket(needed(number)?)
            .ok_or(Unread::UnknownName)
    }

    fn named(&self) -> Result<Said, Unread> {
        let tuple = match self.raw.mirrors {
            Some(other) => self.socket(Some(other))?.id.tuple.mirror(),
            None => FourTuple {
                local: needed(words::endpoint(needed(self.raw.local)?))?,
                remote: needed(words::endpoint(needed(self.raw.remote)?))?,
            },
        };
        Ok(Said::Socket {
            number: needed(self.raw.n)?,
            id: Named {
                id: SockId {
                    scope: self.scope(),
                    cookie: self.raw.cookie.map(Cookie),
                    tuple,
                },
                cgroup: self.raw.cgroup.flatten(),
            },
        })
    }

    fn scope(&self) -> Scope {
        Scope {
            host: self.scope.host,
            netns: self.raw.netns.unwrap_or(self.scope.netns),
        }
    }

    const fn extent(&self) -> Look {
        if self.raw.without_time_wait {
            Look::WithoutTimeWait
        } else {
            Look::Whole
        }
    }

    fn look(&self, is_keyframe: bool) -> Result<Said, Unread> {
        Ok(Said::Look(LookHead {
            at: self.at()?,
            source: self.source(SourceName::SockDiag)?,
            begun: self.begun()?,
            look: self.extent(),
            complete: !self.raw.incomplete,
            first: self.raw.first,
            rows: needed(self.raw.rows)?,
            is_keyframe,
        }))
    }

    fn row(&self) -> Result<Said, Unread> {
        let is = match self.raw.is {
            Some("new") => RowKind::New,
            None | Some("changed") => RowKind::Changed,
            Some("missing") => RowKind::Missing,
            Some("there") => RowKind::There,
            Some(_) => return Err(Unread::Unknown),
        };
        let named = self.socket(self.raw.sock)?;
        let of = match is {
            RowKind::Missing => RowOf::Socket(named.id),
            _ => RowOf::Sample(self.sample(named)?),
        };
        Ok(Said::Row { is, of })
    }

    fn sample(&self, named: Named) -> Result<Sample, Unread> {
        let raw = &self.raw;
        let state = self.state(raw.state)?;
        let waits = state == TcpState::TimeWait;
        let usual = named.cgroup.filter(|_| !waits);
        let queueless = raw.queueless.unwrap_or(waits);
        let queues = match (queueless, raw.waiting) {
            (_, Some(waiting)) => Queues::Accept {
                waiting,
                backlog: raw.backlog,
            },
            (true, None) => Queues::Absent,
            (false, None) => Queues::Stream {
                receive: raw.receive,
                send: raw.send,
            },
        };
        Ok(Sample {
            id: named.id,
            state,
            queues,
            timer: self.timer(state)?,
            retransmits: raw.retransmits,
            inode: raw.inode,
            uid: raw.uid,
            shutdown: raw.shut.map(shutdown).transpose()?,
            cgroup: raw.cgroup.unwrap_or(usual),
            multipath: raw.multipath,
        })
    }

    fn state(&self, word: Option<&str>) -> Result<TcpState, Unread> {
        meant(needed(word)?, words::state)
    }

    fn timer(&self, state: TcpState) -> Result<Option<Timer>, Unread> {
        let kind = match (self.raw.timer, self.raw.deadline) {
            (Some(word), _) => meant(word, words::timer)?,
            // The one that goes with the state.
            (None, Some(_)) if state == TcpState::TimeWait => TimerKind::TimeWait,
            (None, _) => return Ok(None),
        };
        let deadline = Timestamp::from_nanos(needed(self.raw.deadline)?);
        Ok(Some(Timer { kind, deadline }))
    }

    fn lookup(&self) -> Result<Body, Unread> {
        let named = self.socket(self.raw.sock)?;
        let asked = named.id;
        let answer = match (self.raw.answer, self.raw.found) {
            (Some("gone"), None) => Answer::Gone,
            (Some("other"), None) => Answer::Other(self.raw.cookie.map(Cookie)),
            (None, Some(_)) => Answer::Found(self.sample(self.socket(self.raw.found)?)?),
            // The one that was asked for.
            (None, None) => Answer::Found(self.sample(named)?),
            (Some(_), None) => return Err(Unread::Unknown),
            (Some(_), Some(_)) => return Err(Unread::Malformed),
        };
        Ok(Body::Lookup {
            asked,
            begun: self.begun()?,
            unchanged: self.raw.unchanged.map(Timestamp::from_nanos),
            answer,
        })
    }

    fn event(&self) -> Result<Event, Unread> {
        let raw = &self.raw;
        let what = match raw.what {
            None => What::State {
                from: self.state(raw.from)?,
                to: self.state(raw.to)?,
            },
            Some("reset_sent") => What::ResetSent(match raw.reason {
                None => ResetReason::Unsaid,
                Some(word) => meant(word, words::reason)?,
            }),
            Some("reset_received") => What::ResetReceived,
            Some("retransmit") => What::Retransmit,
            Some("freed") => What::Freed,
            Some(_) => return Err(Unread::Unknown),
        };
        let named = self.socket(raw.sock)?;
        let moment = match raw.bare {
            true => None,
            false => Some(self.moment(&what, named.cgroup)?),
        };
        Ok(Event {
            id: named.id,
            what,
            moment,
            caller: self.caller()?,
        })
    }

    fn moment(&self, what: &What, cgroup: Option<u64>) -> Result<Moment, Unread> {
        let raw = &self.raw;
        let usual = Usual::at(what);
        Ok(Moment {
            shutdown: shutdown(raw.shut.unwrap_or(usual.shut))?,
            file: match raw.file {
                None => usual.file,
                Some(word) => meant(word, words::file)?,
            },
            error: raw.error,
            receive: raw.receive,
            send: raw.send,
            lingers_not: raw.lingers_not,
            fin_received: raw.fin.unwrap_or(Some(usual.fin)),
            bytes_received: raw.bytes_received.unwrap_or(0),
            bytes_acked: raw.bytes_acked.unwrap_or(0),
            cgroup: raw.cgroup.unwrap_or(cgroup),
            multipath: raw.multipath,
        })
    }

    fn caller(&self) -> Result<Option<Caller>, Unread> {
        let Some(pid) = self.raw.pid else {
            return Ok(None);
        };
        Ok(Some(Caller {
            pid,
            comm: self.comm()?,
            exiting: self.raw.exiting,
            signal: self.raw.signal,
        }))
    }

    fn comm(&self) -> Result<Comm, Unread> {
        match (self.raw.comm.as_deref(), self.raw.comm_hex) {
            (Some(name), _) => comm_of(name),
            (None, Some(hex)) if hex.len() == 32 => u128::from_str_radix(hex, 16)
                .map(|bytes| Comm(bytes.to_be_bytes()))
                .map_err(|_| Unread::Malformed),
            _ => Err(Unread::Malformed),
        }
    }
}

/// The kernel has two bits.
fn shutdown(mask: u8) -> Result<Shutdown, Unread> {
    match mask {
        0..=3 => Ok(Shutdown::from_kernel(mask)),
        _ => Err(Unread::Malformed),
    }
}

fn comm_of(name: &str) -> Result<Comm, Unread> {
    let mut bytes = [0; 16];
    bytes
        .get_mut(..name.len())
        .ok_or(Unread::Malformed)?
        .copy_from_slice(name.as_bytes());
    Ok(Comm(bytes))
}
