//! One followed end: the question that is sent for it again and again, and whether an answer is
//! news.
//!
//! Nearly all answers are the bytes of the answer before: they cost a comparison and are not even
//! decoded. The trap is `quiet`, the lower bound of the next change. It may move up to the begin
//! of a question only when its answer was, by the rule of [`differs`], what was last said, and it
//! is spent with the news that it bounds.

use crate::model::{
    Answer, Body, Cookie, Observation, Sample, Scope, SockId, SourceName, TcpState, TimerKind,
    Timestamp,
};
use crate::source::sock_diag::wire::{lookup_request, row};
use crate::source::table::{TIMER_WOBBLE, differs};

/// Where `idiag_expires` stands in `struct inet_diag_msg`: it runs down by itself.
const EXPIRES: std::ops::Range<usize> = 52..56;

/// A followed end.
pub(super) struct End {
    /// Who: with its cookie as soon as that is known.
    pub(super) id: SockId,
    /// What it is bound to, as far as it was seen.
    pub(super) device: u32,
    request: Vec<u8>,
    said: Option<(Sample, Timestamp)>,
    /// The newest answer.
    bytes: Vec<u8>,
    /// The same bytes again are no news, whenever they come.
    settled: bool,
    /// Begin of the newest question whose answer was no news since something was said.
    quiet: Option<Timestamp>,
    /// Caught on its way out: in CLOSE, or not found while it is looked for elsewhere.
    leaving: bool,
}

/// What an answer was.
pub(super) enum Taken {
    /// Nothing worth a word; `moved` is traffic that is not worth one yet.
    Quiet {
        /// Something but a running timer differs from the answer before.
        moved: bool,
    },
    /// News.
    News {
        /// What to say, but for its time.
        told: Box<Observation>,
        /// The state is another.
        stepped: bool,
    },
    /// Somebody else answered, the listener as a rule: it is not there.
    Stranger,
    /// It can't be read: no answer.
    Unreadable,
}

impl End {
    pub(super) fn new(id: SockId) -> Self {
        let device = id.tuple.local.interface().unwrap_or(0);
        Self {
            id,
            device,
            request: lookup_request(&id.tuple, id.cookie, device, 0),
            said: None,
            bytes: Vec::new(),
            settled: false,
            quiet: None,
            leaving: false,
        }
    }

    /// The question, to be numbered.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// As it was last said to be.
    pub(super) fn said(&self) -> Option<&Sample> {
        self.said.as_ref().map(|(sample, _)| sample)
    }

    /// It is going away at this moment.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Its cookie, or where it is bound, became known.
    pub(super) fn rename(&mut self, cookie: Option<Cookie>, device: u32) {
        if self.id.cookie != cookie || self.device != device {
            self.id.cookie = cookie;
            self.device = device;
            self.request = lookup_request(&self.id.tuple, cookie, device, 0);
        }
    }

    /// Takes in the payload of an answer to a question of `begun`, received at `now`.
    pub(super) fn take(
        &mut self,
        payload: &[u8],
        scope: Scope,
        begun: Timestamp,
        now: Timestamp,
    ) -> Taken {
        if self.settled && payload == self.bytes {
            self.quiet = Some(begun);
            return Taken::Quiet { moved: false };
        }
        let Some(row) = row(payload, scope, now) else {
            return Taken::Unreadable;
        };
        if row.sample.id.tuple != self.id.tuple || row.sample.state == TcpState::Listen {
            return Taken::Stranger;
        }
        if row.sample.state == TcpState::Close {
            // Between its last state and nothing, or a mini-socket: the next answer says which.
            self.leaving = true;
            self.settled = false;
            return Taken::Quiet { moved: true };
        }
        let moved = !same_but_for_expiry(&self.bytes, payload);
        self.bytes.clear();
        self.bytes.extend_from_slice(payload);
        self.found(&row.sample, row.device, begun, now, moved)
    }

    /// The socket is there, like this.
    pub(super) fn found(
        &mut self,
        sample: &Sample,
        device: u32,
        begun: Timestamp,
        now: Timestamp,
        moved: bool,
    ) -> Taken {
        let asked = self.id;
        self.leaving = false;
        self.rename(sample.id.cookie, device);
        let is_news = self.said.is_none_or(|(said, at)| {
            differs(&said, sample, at, now, TIMER_WOBBLE) && !both_overdue(&said, sample, now)
        });
        if !is_news {
            self.settled = self.said.is_some_and(|(said, _)| {
                sample.timer.is_none() && said.timer.is_none() && said.queues == sample.queues
            });
            self.quiet = Some(begun);
            return Taken::Quiet { moved };
        }
        let stepped = self.said().is_none_or(|said| said.state != sample.state);
        self.said = Some((*sample, now));
        self.settled = sample.timer.is_none();
        let unchanged = self.quiet.take();
        let told = lookup(asked, begun, unchanged, Answer::Found(*sample), now);
        Taken::News {
            told: Box::new(told),
            stepped,
        }
    }

    /// The socket is not there.
    pub(super) fn gone(&mut self, answer: Answer, begun: Timestamp, at: Timestamp) -> Observation {
        lookup(self.id, begun, self.quiet.take(), answer, at)
    }

    /// When a TIME_WAIT ends.
    pub(super) fn time_wait_deadline(&self) -> Option<Timestamp> {
        let sample = self.said().filter(|_| !self.leaving)?;
        let timer = sample
            .timer
            .filter(|timer| timer.kind == TimerKind::TimeWait)?;
        (sample.state == TcpState::TimeWait).then_some(timer.deadline)
    }
}

/// What is said of an answer.
pub(super) fn lookup(
    asked: SockId,
    begun: Timestamp,
    unchanged: Option<Timestamp>,
    answer: Answer,
    at: Timestamp,
) -> Observation {
    Observation {
        at,
        source: SourceName::Follow,
        body: Body::Lookup {
            asked,
            begun,
            unchanged,
            answer,
        },
    }
}

/// A mini-socket outlives its time by up to an eighth (the kernel's timers are coarse), and shows
/// nothing left all that while: its deadline does not move with every look.
fn both_overdue(said: &Sample, new: &Sample, now: Timestamp) -> bool {
    let overdue = |sample: &Sample| {
        sample.is_mini_socket()
            && sample
                .timer
                .is_some_and(|timer| timer.deadline <= now.plus(TIMER_WOBBLE))
    };
    said.state == new.state && overdue(said) && overdue(new)
}

fn same_but_for_expiry(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.get(..EXPIRES.start) == other.get(..EXPIRES.start)
        && one.get(EXPIRES.end..) == other.get(EXPIRES.end..)
}
