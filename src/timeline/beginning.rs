//! The first sight of a socket: it is the other end of a known connection, or begins a new one.
//!
//! The trap: what was there before is not born now. Only a look that should have shown a socket
//! and did not, or an event, makes it newborn; and a look of another host proves nothing.

use std::rc::Rc;

use crate::model::tcp::passed_between;
use crate::model::{Ask, Sample, TcpState, Timestamp};
use crate::timeline::ingest::Sight;
use crate::timeline::pair::found_since;
use crate::timeline::{ConnId, Connection, EndRef, Side, Track, Tracker, When};

impl Tracker {
    /// The first sight of a socket: the other end of a known connection, or a new connection.
    pub(super) fn begin(&mut self, sample: &Sample, sight: Sight) {
        let scope = sample.id.scope;
        let replaced = self.by_tuple.get(&(scope, sample.id.tuple)).copied();
        if let Some(end) = replaced {
            // One table, one socket a 4-tuple: whoever had it before is gone.
            self.end_track(end, sight.at, sight.source, true);
        }
        let partner = self
            .partner_of(sample, sight)
            .or_else(|| self.partner_elsewhere(sample, sight));
        let mut track = self.first_track(sample, sight, replaced, partner);
        track.looked = sight.looked.then_some(sample.state);
        self.place(sample, sight, (partner, replaced), track);
    }

    /// The first sight of a socket whose beginning an event tells.
    pub(super) fn begin_with(&mut self, sample: &Sample, sight: Sight, track: Track) -> EndRef {
        if let Some(end) = self.find(&sample.id) {
            // Connected again under its old cookie.
            self.end_track(end, sight.at, sight.source, true);
        }
        let name = (sample.id.scope, sample.id.tuple);
        let replaced = self.by_tuple.get(&name).copied();
        if let Some(end) = replaced {
            self.end_track(end, sight.at, sight.source, true);
        }
        let partner = self
            .partner_of(sample, sight)
            .or_else(|| self.partner_elsewhere(sample, sight));
        self.place(sample, sight, (partner, replaced), track)
    }

    /// The end of a known connection whose other end this can be.
    fn partner_of(&self, sample: &Sample, sight: Sight) -> Option<EndRef> {
        let mirror = sample.id.tuple.mirror();
        self.by_tuple
            .get(&(sample.id.scope, mirror))
            .copied()
            .filter(|_| !sample.id.tuple.is_own_mirror())
            .filter(|end| self.has_room(*end, sample, sight))
    }

    fn place(
        &mut self,
        sample: &Sample,
        sight: Sight,
        (partner, replaced): (Option<EndRef>, Option<EndRef>),
        mut track: Track,
    ) -> EndRef {
        track.see_queues(sample, sight.at, sight.at);
        let end = match partner {
            Some(partner) => EndRef {
                conn: partner.conn,
                side: partner.side.other(),
            },
            None => self.new_connection(sample, replaced, sight.at),
        };
        let scope = sample.id.scope;
        let mut other = None;
        if let Some(connection) = self.connections.get_mut(&end.conn) {
            other = connection.end_scope(end.side.other());
            connection.multipath |= sample.multipath;
            connection.overflows_at_open[end.side as usize] =
                match other.filter(|other| other.host == scope.host) {
                    // Both ends of one host count from when the first was met.
                    Some(_) => connection.overflows_at_open[end.side.other() as usize],
                    None => self.hosts.get(scope.host).facts.time_wait_overflows,
                };
            connection.ends[end.side as usize] = Some(track);
        }
        self.hosts.note_scope(&sample.id);
        self.index(end, &sample.id);
        self.note_inode(end, sample.inode);
        self.ask_its_age(end);
        if other.is_some_and(|other| other != scope) {
            self.join_hosts(end);
        }
        if !self.has_events(&sample.id) && sample.state != TcpState::TimeWait {
            self.asks.push(Ask::Follow(sample.id));
        }
        if self.is_shown(end.conn) {
            self.join(end, sight.at);
        }
        end
    }

    /// Whether the connection has a free place for this socket. Not beside an end that was in
    /// TIME_WAIT before the look that shows the socket for the first time: that life was over.
    fn has_room(&self, end: EndRef, sample: &Sample, sight: Sight) -> bool {
        self.connections.get(&end.conn).is_some_and(|connection| {
            let was_over = connection.end(end.side).is_some_and(|there| {
                there.state() == TcpState::TimeWait
                    && there
                        .spans
                        .last()
                        .is_some_and(|span| span.from.not_after() < sight.begun)
            });
            connection.can_take(end.side.other(), sample.state, sight.newborn)
                && !(sight.newborn && was_over)
        })
    }

    fn first_track(
        &self,
        sample: &Sample,
        sight: Sight,
        replaced: Option<EndRef>,
        partner: Option<EndRef>,
    ) -> Track {
        let host = self.hosts.get(sample.id.scope.host);
        let look = host.looks(sight.source).covering(sample.state);
        // A partner that is past SYN_SENT has talked to this end: the looks that showed it alone
        // have skipped this one, and prove nothing.
        let met = partner
            .and_then(|end| self.track(end))
            .filter(|track| track.state() != TcpState::SynSent)
            .filter(|track| track.id().scope == sample.id.scope);
        let born_with = met.and_then(Track::not_born_before);
        let is_newborn = sight.newborn && (met.is_none() || born_with.is_some());
        let look = look.map(|look| look.min(born_with.unwrap_or(look)));
        // What took the place of another socket was born after that one was last seen.
        let predecessor = replaced.and_then(|end| self.track(end)).map(|old| old.seen);
        let found_since = found_since(sample, host.facts.fin_timeout, sight.at);
        // What the timer says to be older was overlooked before.
        let is_older = |since| match found_since {
            When::Before(began) => sample.state == TcpState::TimeWait && began < since,
            When::At(_) | When::Between(..) => false,
        };
        match look.max(predecessor) {
            Some(since) if (is_newborn || replaced.is_some()) && !is_older(since) => {
                let mut track = Track::born(*sample, (since, sight.at), sight.begun, sight.source);
                let fast_open = host.facts.server_fast_open;
                let passed = passed_between(TcpState::Close, sample.state, fast_open);
                let passed = passed.iter().copied();
                let bounds = (since, sight.at);
                track.advance(passed, sample.state, bounds, sight.source, Some(sample));
                track.refresh(*sample, sight.begun);
                track
            }
            _ => Track::found(*sample, found_since, sight.begun, sight.source),
        }
    }

    fn new_connection(
        &mut self,
        sample: &Sample,
        replaced: Option<EndRef>,
        at: Timestamp,
    ) -> EndRef {
        let id = ConnId(self.next);
        self.next += 1;
        self.totals.seen += 1;
        let mut connection = Connection::new(id, sample.id.scope, sample.id.tuple, at);
        connection.previous = replaced.map(|end| end.conn);
        self.connections.insert(Rc::new(connection));
        self.unopened.push(id);
        EndRef {
            conn: id,
            side: Side::A,
        }
    }
}
