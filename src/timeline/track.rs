//! One end's history: the states it passed, and how surely each bound is known.
//!
//! Spans hold only their beginning; a span ends where the next begins. So they abut by
//! construction and cannot overlap. The trap: three kinds of "when" look alike on an axis and are
//! not. A sampled change lies somewhere between two looks; an inferred state was never seen; a
//! state found at attach began at an unknown time before it.

mod entry;
mod flow;
mod levels;
mod shown;

use crate::model::tcp::StateSet;
use crate::model::{
    Descriptor, FourTuple, Queues, Sample, SockId, SourceName, TcpState, Timestamp,
};
use crate::timeline::cause::{Mark, Why, of_look};
use crate::timeline::counters::LastCounters;
use crate::timeline::turned::Turned;
use crate::timeline::{Holding, SeenBeside};

pub use entry::Entry;
use entry::IN_THE_MIDDLE;
use flow::Flow;
use levels::Levels;
pub use levels::{LEVELS, Level};

/// How many marks an end keeps.
pub const MARKS: usize = 64;

/// When something happened, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The kernel said so.
    At(Timestamp),
    /// Not before the first (the begin of the last look that showed the old state), not after the
    /// second (the end of the first that showed the new one).
    Between(Timestamp, Timestamp),
    /// Some time before: it was so when we came.
    Before(Timestamp),
}

impl When {
    /// The earliest it can have been.
    pub const fn not_before(self) -> Option<Timestamp> {
        match self {
            Self::At(at) | Self::Between(at, _) => Some(at),
            Self::Before(_) => None,
        }
    }

    /// The latest it can have been.
    pub const fn not_after(self) -> Timestamp {
        match self {
            Self::At(at) | Self::Between(_, at) | Self::Before(at) => at,
        }
    }
}

/// How a state came to be on a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Reported by the kernel at that time.
    Exact,
    /// Seen in a look; its beginning lies between two looks.
    Sampled,
    /// Not seen. Every legal path passes it.
    Inferred,
}

impl Certainty {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Sampled => "sampled",
            Self::Inferred => "inferred",
        }
    }
}

/// A stretch of time in one state. It ends where the next span of the track begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The state.
    pub state: TcpState,
    /// When it was entered.
    pub from: When,
    /// How the state is known.
    pub certainty: Certainty,
    /// Who reported it, or what it was inferred from.
    pub source: SourceName,
    /// Whether a program held the socket when it was last seen in this state.
    pub descriptor: Option<Descriptor>,
    /// What the first look that showed this state, or the event that began it, showed beside it;
    /// `None` for states that nothing showed.
    pub entry: Option<Entry>,
    /// Why it was entered.
    pub why: Why,
}

/// Whether the socket is in the kernel's table, as far as the last answers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// The last look that covers its state showed it.
    Present,
    /// A look missed it, and the question is out.
    Missing,
    /// A lookup says so, or another incarnation has its place.
    Gone,
}

/// Nothing but the FIN is in the receive queue, where it counts one.
fn is_eof_unread(sample: &Sample) -> bool {
    sample.state == TcpState::CloseWait
        && matches!(sample.queues, Queues::Stream { receive: 1, .. })
}

/// One end's history.
#[derive(Clone, Debug)]
pub struct Track {
    pub(super) spans: Vec<Span>,
    pub(super) last: Sample,
    /// The newest moment at which it is proven to have been in its present state.
    pub(super) seen: Timestamp,
    pub(super) presence: Presence,
    /// What the newest look or event showed beside the state.
    pub(super) beside: SeenBeside,
    /// A descriptor was open when that was last to be seen. A TIME_WAIT does not show it.
    pub(super) is_held: bool,
    /// The kernel's full socket is closed; whether a mini-socket goes on is not known yet.
    pub(super) turned: Option<Turned>,
    /// The state in which looks have last shown it: while that is the present one, a look without
    /// news of it is a sight of it.
    pub(super) looked: Option<TcpState>,
    /// The state in which the newest row showed it, of a look or of a lookup.
    shown: Option<TcpState>,
    /// When the destroy multicast said that the full socket was freed.
    pub(super) freed: Option<Timestamp>,
    /// A reset was told of, and it is not clear yet whether it came or went.
    pub(super) reset_heard: Option<Timestamp>,
    /// In CLOSE_WAIT with nothing but the end-of-file unread: it was not merged with data.
    pub(super) eof_was_unread: bool,
    /// What it had sent and received.
    pub(super) flow: Flow,
    pub(super) counters: LastCounters,
    levels: Levels,
    /// Who held it, oldest first.
    pub(super) holdings: Vec<Holding>,
    pub(super) holdings_dropped: u64,
    /// The inode whose holders were asked for.
    pub(super) asked_for: Option<u32>,
    marks: Vec<Mark>,
    marks_dropped: u64,
    /// Kept, since a selection asks for it of every connection.
    seen_states: StateSet,
}

impl Track {
    /// The track of a socket that was there when we came.
    pub(super) fn found(sample: Sample, from: When, seen: Timestamp, source: SourceName) -> Self {
        let span = Span {
            state: sample.state,
            from,
            certainty: Certainty::Sampled,
            source,
            descriptor: sample.descriptor(),
            entry: Some(Entry::from(&sample)),
            why: Why::default(),
        };
        Self::starting(span, sample, seen)
    }

    /// The track of a socket that a look does not show and the next one does. It begins in CLOSE.
    pub(super) fn born(
        sample: Sample,
        between: (Timestamp, Timestamp),
        seen: Timestamp,
        source: SourceName,
    ) -> Self {
        let before = Span {
            state: TcpState::Close,
            from: When::Before(between.0),
            certainty: Certainty::Sampled,
            source,
            descriptor: None,
            entry: None,
            why: Why::default(),
        };
        Self::starting(before, sample, seen)
    }

    fn starting(span: Span, sample: Sample, seen: Timestamp) -> Self {
        // From an unseen birth to the end, the usual life.
        let mut spans = Vec::with_capacity(6);
        spans.push(span);
        let seen_states = match span.state {
            TcpState::Close => StateSet::EMPTY,
            state => StateSet::EMPTY.with(state),
        };
        Self {
            seen_states,
            spans,
            last: sample,
            seen,
            presence: Presence::Present,
            beside: SeenBeside::from(&sample),
            is_held: sample.descriptor() == Some(Descriptor::Held),
            turned: None,
            looked: None,
            shown: (span.source != SourceName::Bpf).then_some(sample.state),
            freed: None,
            reset_heard: None,
            eof_was_unread: is_eof_unread(&sample),
            flow: Flow::of(&sample, seen),
            counters: LastCounters::default(),
            levels: Levels::default(),
            holdings: Vec::new(),
            holdings_dropped: 0,
            asked_for: None,
            marks: Vec::new(),
            marks_dropped: 0,
        }
    }

    /// The lower bound of its birth, `None` for one that was found.
    pub(super) fn not_born_before(&self) -> Option<Timestamp> {
        let first = self.spans.first()?;
        (first.state == TcpState::Close).then(|| first.from.not_after())
    }

    /// Enters `to`, through `passed`, all within the same bounds. `sample` is the look that shows
    /// it, `None` for an end that is gone.
    pub(super) fn advance(
        &mut self,
        passed: impl IntoIterator<Item = TcpState>,
        to: TcpState,
        bounds: (Timestamp, Timestamp),
        source: SourceName,
        sample: Option<&Sample>,
    ) {
        // What the other end's events say of the state before can be later than the last look at it.
        let entered = self.spans.last().and_then(|span| span.from.not_before());
        let since = entered.map_or(bounds.0, |entered| entered.max(bounds.0));
        let from = When::Between(since.min(bounds.1), bounds.1);
        let states = passed
            .into_iter()
            .map(|state| (state, Certainty::Inferred))
            .chain([(to, Certainty::Sampled)]);
        self.seen_states = self.seen_states.with(to);
        if to == TcpState::Close {
            self.levels.settle(bounds.0);
        }
        for (state, certainty) in states {
            let why = of_look(self.state(), state, from, sample);
            self.spans.push(Span {
                state,
                from,
                certainty,
                source,
                descriptor: None,
                entry: None,
                why,
            });
        }
    }

    /// Enters `to` at the very moment.
    pub(super) fn enter(
        &mut self,
        to: TcpState,
        at: Timestamp,
        certainty: Certainty,
        why: Why,
        beside: Option<SeenBeside>,
    ) {
        if certainty != Certainty::Inferred && to != TcpState::Close {
            self.seen_states = self.seen_states.with(to);
        }
        if matches!(to, TcpState::TimeWait | TcpState::Close) {
            self.levels.settle(at);
        }
        self.spans.push(Span {
            state: to,
            from: When::At(at),
            certainty,
            source: SourceName::Bpf,
            descriptor: beside.and_then(|beside| beside.descriptor),
            entry: beside.map(|beside| Entry {
                descriptor: beside.descriptor,
                shutdown: beside.shutdown,
            }),
            why,
        });
        self.seen = self.seen.max(at);
        self.presence = match to {
            TcpState::Close => Presence::Gone,
            _ => Presence::Present,
        };
        if to != TcpState::Close {
            self.last.state = to;
        }
        // The FIN has just been taken in, and nothing else is there to be read.
        let is_alone = |beside: SeenBeside| beside.unread == Some(0);
        self.eof_was_unread |= to == TcpState::CloseWait && beside.is_some_and(is_alone);
        if let Some(beside) = beside {
            self.note_holder(beside.descriptor);
            self.beside = beside;
        }
    }

    /// An event says exactly when the present state, which a look has shown, was entered.
    pub(super) fn sharpen(&mut self, at: Timestamp, why: Why) {
        if let Some(span) = self.spans.last_mut()
            && let When::Between(from, to) = span.from
            && from <= at
            && at <= to
        {
            span.from = When::At(at);
            span.certainty = Certainty::Exact;
            span.source = SourceName::Bpf;
            span.why = why;
        }
    }

    /// Whoever held the socket has let go of it.
    pub(super) fn let_go(&mut self) {
        self.is_held = false;
        self.beside.descriptor = Some(Descriptor::Gone);
        if let Some(span) = self.spans.last_mut()
            && !matches!(span.state, TcpState::TimeWait | TcpState::Close)
        {
            span.descriptor = Some(Descriptor::Gone);
        }
    }

    fn note_holder(&mut self, descriptor: Option<Descriptor>) {
        if let Some(descriptor) = descriptor {
            self.is_held = descriptor == Descriptor::Held;
        }
    }

    /// Notes something that did not move the state. The newest are kept.
    pub(super) fn mark(&mut self, mark: Mark) {
        if self.marks.len() == MARKS {
            self.marks.remove(0);
            self.marks_dropped += 1;
        }
        self.marks.push(mark);
    }

    /// What happened without moving the state, oldest first; the newest [`MARKS`] of it.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// How many older marks are not kept.
    pub const fn marks_dropped(&self) -> u64 {
        self.marks_dropped
    }

    /// Whether a moment before the last change was known is being looked at: what was seen from
    /// `begun` on may be older than what the track knows.
    pub(super) fn changed_since(&self, begun: Timestamp) -> bool {
        let known = self.turned.map(|turned| turned.at);
        let entered = self.spans.last().map(|span| span.from.not_after());
        known.max(entered) >= Some(begun)
    }

    /// Takes over what a look shows of the state the track is in.
    pub(super) fn refresh(&mut self, sample: Sample, seen: Timestamp) {
        // A source without cookies does not unname a socket.
        let cookie = sample.id.cookie.or(self.last.id.cookie);
        self.note_flow(&sample, seen);
        self.last = sample;
        self.shown = Some(sample.state);
        self.last.id.cookie = cookie;
        self.date_by_count(seen);
        self.eof_was_unread |= is_eof_unread(&sample);
        self.note_holder(sample.descriptor());
        self.beside = SeenBeside::from(&sample);
        self.seen = self.seen.max(seen);
        self.presence = Presence::Present;
        if let Some(span) = self.spans.last_mut() {
            span.descriptor = sample.descriptor().or(span.descriptor);
            let entry = span.entry.get_or_insert(Entry::from(&sample));
            let is_soon = seen.since(span.from.not_after()) <= IN_THE_MIDDLE;
            if is_soon && entry.may_be_amid_a_close() {
                *entry = Entry::from(&sample);
            }
        }
    }

    /// Who the socket is.
    pub const fn id(&self) -> &SockId {
        &self.last.id
    }

    /// Its 4-tuple, as this end sees it.
    pub const fn tuple(&self) -> &FourTuple {
        &self.last.id.tuple
    }

    /// The states passed, oldest first; never empty.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The newest look at the socket; of a socket that is gone, the last one.
    pub const fn last(&self) -> &Sample {
        &self.last
    }

    /// The state it is in; CLOSE when it is gone.
    pub fn state(&self) -> TcpState {
        self.spans.last().map_or(TcpState::Close, |span| span.state)
    }

    /// The last state before the present one ended in CLOSE; the present one while it lives.
    pub fn last_living(&self) -> TcpState {
        self.spans
            .iter()
            .rev()
            .map(|span| span.state)
            .find(|&state| state != TcpState::Close)
            .unwrap_or(TcpState::Close)
    }

    /// Whether the kernel's table no longer has it.
    pub fn is_gone(&self) -> bool {
        self.presence == Presence::Gone
    }

    /// Gone, or in TIME_WAIT: nothing more is to be expected of this end.
    pub fn is_over(&self) -> bool {
        self.is_gone() || self.state() == TcpState::TimeWait
    }

    /// Whether the track ever was in `state`, seen or inferred.
    pub fn passed(&self, state: TcpState) -> bool {
        self.spans.iter().any(|span| span.state == state)
    }

    /// Whether a program held the socket, or not, when this was last known of `state`.
    pub fn descriptor_in(&self, state: TcpState) -> Option<Descriptor> {
        self.spans
            .iter()
            .rev()
            .find(|span| span.state == state)
            .and_then(|span| span.descriptor)
    }

    /// Why `state` was first entered, `None` when it never was.
    pub fn why_of(&self, state: TcpState) -> Option<Why> {
        let span = self.spans.iter().find(|span| span.state == state);
        span.map(|span| span.why)
    }

    /// Why the end is gone, `None` while it is not.
    pub fn why_gone(&self) -> Option<Why> {
        let last = self.spans.last()?;
        (self.is_gone() && last.state == TcpState::Close).then_some(last.why)
    }

    /// What the first look that showed `state` showed beside it.
    pub fn entry_of(&self, state: TcpState) -> Option<Entry> {
        self.spans
            .iter()
            .find(|span| span.state == state)
            .and_then(|span| span.entry)
    }

    /// States that were seen, not inferred; CLOSE before a birth is not one of them.
    pub const fn seen_states(&self) -> StateSet {
        self.seen_states
    }

    /// The index of the span that holds at `at`; a state counts from the moment it was seen.
    /// `None` before the track begins.
    pub fn span_at(&self, at: Timestamp) -> Option<usize> {
        self.spans
            .iter()
            .rposition(|span| span.from.not_after() <= at)
    }
}
