//! Observations in, connections out: who is who, what each end passed, and when.
//!
//! The tracker has one door, [`Tracker::ingest`], and knows neither clock nor IO: the same
//! observations in the same order give the same connections, live, replayed or in a test. It says
//! what it concluded as [`Change`]s, which are never taken back, and what it wants to know as
//! [`Ask`]s.
//!
//! The traps: absence from a look proves nothing, so an end is gone only when a lookup says so.
//! A 4-tuple that is used again is another incarnation, told by the cookie, and where there is
//! none, by inode and state. Lower bounds come from the look that last covered the *old* state:
//! one without TIME_WAIT says nothing of a socket in TIME_WAIT.

mod across;
mod age;
mod beginning;
mod book;
pub mod cause;
mod change;
mod counters;
mod ending;
mod events;
mod holders;
mod hosts;
mod incarnation;
mod ingest;
mod opening;
pub mod pair;
mod queues;
mod resets;
mod retain;
pub mod track;
mod turned;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeBounds;
use std::rc::Rc;

use crate::model::observation::HostFacts;
use crate::model::{
    Ask, Body, Cookie, Endpoint, FourTuple, Observation, Queues, Sample, Scope, SockId, SourceName,
    SourceState, Timestamp,
};
use across::Offsets;
pub use age::{Age, Precision, sent_again_for};
use book::Book;
pub use cause::{Call, Cause, Mark, MarkKind, Process, Reason, Why};
pub use change::{Came, Change, Found, SeenBeside, Transition};
pub use counters::{Carried, Told};
use holders::Held;
pub use holders::{Holding, Owners, SETS};
pub use hosts::Coverage;
use hosts::Hosts;
pub use pair::{ConnId, Connection, Side};
pub use track::{Certainty, Entry, LEVELS, Level, Span, Track, When};

type Fast = foldhash::fast::RandomState;

/// How many settled connections are kept when nothing else is said.
pub const DEFAULT_RETENTION: usize = 20_000;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Who it is.
    pub id: SockId,
    /// Connections that wait for `accept()`.
    pub waiting: u32,
    /// How many may wait.
    pub backlog: Option<u32>,
    /// The inode; several sockets can listen on one address (SO_REUSEPORT).
    pub inode: Option<u32>,
    /// Since when every look has shown it full; `None` while it has room, or its backlog is unknown.
    pub full_since: Option<Timestamp>,
}

impl Listener {
    /// Where it listens.
    pub const fn local(&self) -> Endpoint {
        self.id.tuple.local
    }

    /// Whether the next connection finds no room. The kernel lets one more wait than the backlog says
    /// (`sk_acceptq_is_full`, include/net/sock.h).
    pub fn is_full(&self) -> bool {
        self.backlog.is_some_and(|backlog| self.waiting > backlog)
    }

    fn of(sample: &Sample) -> Self {
        let (waiting, backlog) = match sample.queues {
            Queues::Accept { waiting, backlog } => (waiting, backlog),
            Queues::Stream { receive, .. } => (receive, None),
            Queues::Absent => (0, None),
        };
        Self {
            id: sample.id,
            waiting,
            backlog,
            inode: sample.inode,
            full_since: None,
        }
    }
}

/// Where an end is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EndRef {
    conn: ConnId,
    side: Side,
}

/// Numbers for the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections seen since the start.
    pub seen: u64,
    /// Connections of which an end can still move.
    pub open: usize,
    /// Settled connections that were dropped to bound memory.
    pub dropped: u64,
    /// Rows or messages that a source missed, as far as they could be counted.
    pub lost: u64,
    /// How many times something was missed.
    pub losses: u64,
    /// Events that came after a look had shown what they say.
    pub late: u64,
    /// Sockets that lived and died unseen between two looks.
    pub unseen: u64,
}

/// Observations in, connections out.
#[derive(Clone, Debug)]
pub struct Tracker {
    connections: Book,
    by_cookie: HashMap<(Scope, Cookie), EndRef, Fast>,
    /// The newest incarnation of a 4-tuple, as one end sees it.
    by_tuple: HashMap<(Scope, FourTuple), EndRef, Fast>,
    listeners: BTreeMap<SockId, Listener>,
    listener_holders: HashMap<SockId, Vec<Holding>, Fast>,
    /// Whose holders are asked for, by host and inode.
    by_inode: HashMap<(u16, u32), Held, Fast>,
    hosts: Hosts,
    /// How far the clocks of two hosts seem to be apart.
    offsets: Offsets,
    /// Closed connections, oldest first.
    settled: VecDeque<ConnId>,
    /// Those that were dropped, for whoever has asked for them.
    retired: Option<Vec<Rc<Connection>>>,
    retention: usize,
    /// Kept though it is settled.
    held: Option<ConnId>,
    next: u64,
    /// Met in the observation at hand and not yet shown: their sides are not decided.
    unopened: Vec<ConnId>,
    /// Not shown either, until the other end is met or it is clear that it won't be. In order of
    /// time, as is the next.
    waiting: VecDeque<(Timestamp, ConnId)>,
    /// Ends whose full socket is closed and of which a lookup has to tell the rest.
    turned: VecDeque<(Timestamp, EndRef)>,
    /// What the observation at hand was about, whether or not it was news.
    touched: Vec<EndRef>,
    touched_listeners: Vec<SockId>,
    changes: Vec<Change>,
    asks: Vec<Ask>,
    totals: Totals,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new(DEFAULT_RETENTION)
    }
}

impl Tracker {
    /// A tracker that keeps at most `retention` settled connections.
    pub fn new(retention: usize) -> Self {
        Self {
            connections: Book::default(),
            by_cookie: HashMap::default(),
            by_tuple: HashMap::default(),
            listeners: BTreeMap::new(),
            listener_holders: HashMap::default(),
            by_inode: HashMap::default(),
            hosts: Hosts::default(),
            offsets: Offsets::default(),
            settled: VecDeque::new(),
            retired: None,
            retention,
            held: None,
            next: 1,
            unopened: Vec::new(),
            waiting: VecDeque::new(),
            turned: VecDeque::new(),
            touched: Vec::new(),
            touched_listeners: Vec::new(),
            changes: Vec::new(),
            asks: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Takes in one observation. What follows from it is to be had from [`Tracker::changes`] and
    /// [`Tracker::asks`].
    pub fn ingest(&mut self, observation: &Observation) {
        if let Body::Keyframe(_) = observation.body {
            // Whoever replays a recording may leave it out, so not even time passes by it.
            return;
        }
        self.touched.clear();
        self.touched_listeners.clear();
        // Before, not after: what this observation changes must still be there to be shown.
        self.retire_settled();
        let (at, source, host) = (observation.at, observation.source, observation.host);
        self.settle_overdue(at);
        self.open_the_overdue(at);
        match &observation.body {
            Body::Poll(poll) => self.ingest_poll(poll, at, source, host),
            Body::Unchanged { until, look } => {
                // A recording can say what can't be.
                let until = (*until).min(at);
                self.hosts
                    .get_mut(host)
                    .looks_mut(source)
                    .note(*look, until);
            }
            Body::Lookup {
                asked,
                begun,
                unchanged,
                answer,
            } => {
                self.note_unchanged(asked, unchanged.map(|since| since.min(at)));
                self.ingest_lookup(asked, (*begun).min(at), answer, at, source);
            }
            Body::Event(event) => self.ingest_event(event, at, source),
            Body::Holders(holders) => self.ingest_holders(holders, at),
            Body::Info(info) => self.ingest_info(info, at),
            Body::Host(facts) => self.hosts.get_mut(host).note_facts(facts, at),
            Body::Lost { count, .. } => {
                self.hosts.get_mut(host).note_loss(source, at);
                self.totals.losses += 1;
                self.totals.lost = self.totals.lost.saturating_add(count.unwrap_or(0));
            }
            Body::Source(state) => self.note_source(source, host, state, at),
            Body::Clock { .. } | Body::Note { .. } | Body::Keyframe(_) => {}
        }
    }

    fn note_source(&mut self, source: SourceName, host: u16, state: &SourceState, at: Timestamp) {
        if source == SourceName::Bpf {
            let host = self.hosts.get_mut(host);
            host.events_since = match state {
                SourceState::Running { .. } => host.events_since.or(Some(at)),
                SourceState::Off { .. } => None,
            };
        }
    }

    /// What was concluded since this was last asked, in order.
    pub fn changes(&mut self) -> std::vec::Drain<'_, Change> {
        self.changes.drain(..)
    }

    /// As [`Tracker::changes`], into a list whose memory is used again; what was in it is dropped.
    pub fn take_changes(&mut self, into: &mut Vec<Change>) {
        into.clear();
        std::mem::swap(&mut self.changes, into);
    }

    /// What the tracker wants to know since this was last asked.
    pub fn asks(&mut self) -> std::vec::Drain<'_, Ask> {
        self.asks.drain(..)
    }

    /// From now on connections that are dropped to bound memory can be had from
    /// [`Tracker::retired`], and must be.
    pub fn hand_out_the_retired(&mut self) {
        self.retired.get_or_insert_default();
    }

    /// The connections that were dropped since this was last asked, in that order.
    pub fn retired(&mut self) -> impl Iterator<Item = Rc<Connection>> + '_ {
        self.retired
            .iter_mut()
            .flat_map(|retired| retired.drain(..))
    }

    /// A connection by its number, `None` once it is dropped.
    pub fn get(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// Whether the socket is, or was, an end of a connection that is known.
    pub fn knows(&self, id: &SockId) -> bool {
        self.find(id).is_some()
    }

    /// All connections known, oldest first.
    pub fn connections(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Connection> + ExactSizeIterator + Clone {
        self.connections.values()
    }

    /// The connections known whose numbers lie in `range`, oldest first.
    pub fn connections_in(
        &self,
        range: impl RangeBounds<ConnId>,
    ) -> impl DoubleEndedIterator<Item = &Connection> {
        self.connections.range(range)
    }

    /// The listening sockets, by address.
    pub fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.values()
    }

    /// What is known of a host, by the number of its recording; 0 is the one watched live.
    pub fn host(&self, host: u16) -> &HostFacts {
        &self.hosts.get(host).facts
    }

    /// The ends that the newest observation showed otherwise than before, in their state or beside
    /// it; some more than once, and some for nothing.
    pub fn touched(&self) -> impl Iterator<Item = (ConnId, Side)> + '_ {
        self.touched.iter().map(|end| (end.conn, end.side))
    }

    /// The listeners that the newest observation showed otherwise, or took away.
    pub fn touched_listeners(&self) -> &[SockId] {
        &self.touched_listeners
    }

    /// A listener by its socket.
    pub fn listener(&self, id: &SockId) -> Option<&Listener> {
        self.listeners.get(id)
    }

    fn touch(&mut self, end: EndRef) {
        self.touched.push(end);
    }

    /// Numbers for the header.
    pub fn totals(&self) -> Totals {
        Totals {
            open: self.connections.len() - self.settled.len(),
            ..self.totals
        }
    }
}
