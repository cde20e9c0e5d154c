//! The tracker's work: a look's rows and a lookup's answer become steps of tracks.
//!
//! Connections that a look shows for the first time are opened only when the whole look is in, so
//! that both ends and the listeners are known when it is decided which end is A.

use crate::model::tcp::passed_between;
use crate::model::{Answer, Ask, Poll, Sample, SockId, SourceName, TcpState, Timestamp};
use crate::timeline::pair::{found_since, is_opening};
use crate::timeline::track::Presence;
use crate::timeline::{
    Certainty, Change, ConnId, Connection, EndRef, Found, Listener, SeenBeside, Side, Track,
    Tracker, Transition, When,
};

/// How a row came: what bounds it, and what it proves.
#[derive(Clone, Copy)]
struct Sight {
    /// Before the source asked.
    begun: Timestamp,
    /// After it had the answer.
    at: Timestamp,
    source: SourceName,
    /// The socket was not there before, as far as the last look can tell.
    newborn: bool,
}

impl Tracker {
    pub(super) fn ingest_poll(&mut self, poll: &Poll, at: Timestamp, source: SourceName) {
        let sight = Sight {
            begun: poll.begun,
            at,
            source,
            newborn: !poll.first,
        };
        // Listeners first: they tell which end was opened to.
        for sample in poll.appeared.iter().chain(&poll.changed) {
            if sample.state == TcpState::Listen {
                self.listeners.insert(sample.id, Listener::of(sample));
            }
        }
        self.end_the_lives_before(poll, at, source);
        for sample in &poll.appeared {
            self.meet(sample, sight);
        }
        for sample in &poll.changed {
            // A change of a connection that was dropped is not a birth.
            if self.find(&sample.id).is_some() || sample.state != TcpState::TimeWait {
                self.meet(sample, sight);
            }
        }
        self.open_the_unopened(at);
        for id in &poll.missing {
            self.miss(id, source);
        }
        if poll.first && poll.complete {
            self.miss_what_the_new_source_lacks(poll.begun, source);
        }
        if poll.complete {
            self.looks
                .entry(source)
                .or_default()
                .note(poll.look, poll.begun);
        }
    }

    pub(super) fn ingest_lookup(
        &mut self,
        asked: &SockId,
        begun: Timestamp,
        answer: &Answer,
        at: Timestamp,
        source: SourceName,
    ) {
        if self.listeners.contains_key(asked) {
            if !matches!(answer, Answer::Found(_)) {
                self.listeners.remove(asked);
            }
            return;
        }
        let sight = Sight {
            begun,
            at,
            source,
            newborn: false,
        };
        match answer {
            Answer::Found(sample) => self.meet(sample, sight),
            Answer::Gone | Answer::Other(_) => {
                let replaced = matches!(answer, Answer::Other(_));
                if let Some(end) = self.find(asked) {
                    self.end_track(end, at, source, replaced);
                }
            }
        }
        self.open_the_unopened(at);
    }

    /// The end that a source means: by cookie, and where it has none, by the 4-tuple.
    fn find(&self, id: &SockId) -> Option<EndRef> {
        match id.cookie {
            Some(cookie) => self.by_cookie.get(&(id.scope, cookie)).copied(),
            None => self.by_tuple.get(&(id.scope, id.tuple)).copied(),
        }
    }

    fn track_mut(&mut self, end: EndRef) -> Option<&mut Track> {
        self.connections.get_mut(&end.conn)?.ends[end.side as usize].as_mut()
    }

    pub(super) fn track(&self, end: EndRef) -> Option<&Track> {
        self.connections.get(&end.conn)?.end(end.side)
    }

    /// Takes in a row: the next sight of a known socket, or the first of a new one.
    fn meet(&mut self, sample: &Sample, sight: Sight) {
        if matches!(sample.state, TcpState::Listen | TcpState::Close) {
            return;
        }
        match self.find(&sample.id) {
            Some(end) if self.continues(end, sample) => self.follow(end, sample, sight),
            _ => match self.renamed(sample, sight.source) {
                Some(end) => {
                    self.rename(end, sample);
                    self.follow(end, sample, sight);
                }
                None => self.begin(sample, sight),
            },
        }
    }

    /// The newest moment at which the end is proven to have been in its present state.
    pub(super) fn last_seen(&self, track: &Track, source: SourceName) -> Timestamp {
        let look = match track.presence {
            Presence::Present => self
                .looks
                .get(&source)
                .and_then(|looks| looks.covering(track.state())),
            Presence::Missing | Presence::Gone => None,
        };
        track.seen.max(look.unwrap_or_default())
    }

    /// The next sight of a known socket.
    fn follow(&mut self, end: EndRef, sample: &Sample, sight: Sight) {
        let fast_open = self.host.server_fast_open;
        let Some(track) = self.track(end) else {
            return;
        };
        let (known, since) = (track.state(), self.last_seen(track, sight.source));
        let Some(track) = self.track_mut(end) else {
            return;
        };
        if known == sample.state {
            track.refresh(*sample, sight.begun);
            return;
        }
        let before = track.spans.len();
        let passed = passed_between(known, sample.state, fast_open);
        track.advance(&passed, sample.state, (since, sight.at), sight.source);
        track.refresh(*sample, sight.begun);
        self.say_steps(end, before);
        self.close_if_over(end.conn, sight.at);
    }

    /// The first sight of a socket: the other end of a known connection, or a new connection.
    fn begin(&mut self, sample: &Sample, sight: Sight) {
        let scope = sample.id.scope;
        let replaced = self.by_tuple.get(&(scope, sample.id.tuple)).copied();
        if let Some(end) = replaced {
            // One table, one socket a 4-tuple: whoever had it before is gone.
            self.end_track(end, sight.at, sight.source, true);
        }
        let mirror = sample.id.tuple.mirror();
        let partner = self
            .by_tuple
            .get(&(scope, mirror))
            .copied()
            .filter(|_| !sample.id.tuple.is_own_mirror())
            .filter(|end| self.has_room(*end, sample.state));
        let track = self.first_track(sample, sight, replaced, partner);
        let end = match partner {
            Some(partner) => EndRef {
                conn: partner.conn,
                side: partner.side.other(),
            },
            None => self.new_connection(sample, sight.at),
        };
        if let Some(connection) = self.connections.get_mut(&end.conn) {
            connection.ends[end.side as usize] = Some(track);
        }
        self.index(end, &sample.id);
        if !self.unopened.contains(&end.conn) {
            self.join(end, sight.at);
        }
    }

    fn has_room(&self, end: EndRef, state: TcpState) -> bool {
        self.connections
            .get(&end.conn)
            .is_some_and(|connection| connection.can_take(end.side.other(), state))
    }

    fn first_track(
        &self,
        sample: &Sample,
        sight: Sight,
        replaced: Option<EndRef>,
        partner: Option<EndRef>,
    ) -> Track {
        let look = self
            .looks
            .get(&sight.source)
            .and_then(|looks| looks.covering(sample.state));
        // A partner that is past SYN_SENT has talked to this end: the looks that showed it alone
        // have skipped this one, and prove nothing.
        let met = partner
            .and_then(|end| self.track(end))
            .filter(|track| track.state() != TcpState::SynSent);
        let born_with = met.and_then(Track::not_born_before);
        let is_newborn = sight.newborn && (met.is_none() || born_with.is_some());
        let look = look.map(|look| look.min(born_with.unwrap_or(look)));
        // What took the place of another socket was born after that one was last seen.
        let predecessor = replaced.and_then(|end| self.track(end)).map(|old| old.seen);
        match look.max(predecessor) {
            Some(since) if is_newborn || replaced.is_some() => {
                let mut track = Track::born(*sample, (since, sight.at), sight.begun, sight.source);
                let fast_open = self.host.server_fast_open;
                let passed = passed_between(TcpState::Close, sample.state, fast_open);
                track.advance(&passed, sample.state, (since, sight.at), sight.source);
                track.refresh(*sample, sight.begun);
                track
            }
            _ => {
                let since = found_since(sample, self.host.fin_timeout, sight.at);
                Track::found(*sample, since, sight.begun, sight.source)
            }
        }
    }

    fn new_connection(&mut self, sample: &Sample, at: Timestamp) -> EndRef {
        let id = ConnId(self.next);
        self.next += 1;
        self.totals.seen += 1;
        let connection = Connection {
            id,
            scope: sample.id.scope,
            tuple: sample.id.tuple,
            ends: [None, None],
            opened: at,
            closed: None,
            replaced: false,
            overflows_at_open: self.host.time_wait_overflows,
            time_wait_unreliable: false,
        };
        self.connections.insert(id, connection);
        self.unopened.push(id);
        EndRef {
            conn: id,
            side: Side::A,
        }
    }

    pub(super) fn index(&mut self, end: EndRef, id: &SockId) {
        self.by_tuple.insert((id.scope, id.tuple), end);
        if let Some(cookie) = id.cookie {
            self.by_cookie.insert((id.scope, cookie), end);
        }
    }

    /// Decides which end is A, and shows what was met.
    fn open_the_unopened(&mut self, at: Timestamp) {
        for id in std::mem::take(&mut self.unopened) {
            self.settle_sides(id);
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            let ends = Side::BOTH.map(|side| connection.end(side).map(|track| found(track, at)));
            self.changes.push(Change::Opened { conn: id, at, ends });
            for side in Side::BOTH {
                self.say_steps(EndRef { conn: id, side }, 1);
            }
            self.close_if_over(id, at);
        }
    }

    /// Shows the second end of a connection that was shown before.
    fn join(&mut self, end: EndRef, at: Timestamp) {
        let Some(found) = self.track(end).map(|track| found(track, at)) else {
            return;
        };
        self.changes.push(Change::Joined {
            conn: end.conn,
            side: end.side,
            at,
            found,
        });
        self.say_steps(end, 1);
        self.close_if_over(end.conn, at);
    }

    /// A opened the connection: it was seen in SYN_SENT, or the other end's port has a listener,
    /// or the other end was seen in SYN_RECV; else the higher port.
    fn settle_sides(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.tuple.is_own_mirror() {
            // It opened the connection, to itself.
            return;
        }
        let [first, second] = &connection.ends;
        let passed = |end: &Option<Track>, state| end.as_ref().is_some_and(|t| t.passed(state));
        let tuple = connection.tuple;
        let evidence = [
            (
                passed(first, TcpState::SynSent),
                passed(second, TcpState::SynSent),
            ),
            (
                self.has_listener(&tuple.remote),
                self.has_listener(&tuple.local),
            ),
            (
                passed(second, TcpState::SynRecv),
                passed(first, TcpState::SynRecv),
            ),
            (
                (tuple.local.port(), tuple.local) > (tuple.remote.port(), tuple.remote),
                tuple.local.port() < tuple.remote.port(),
            ),
        ];
        let first_opened = evidence
            .into_iter()
            .find(|(for_first, for_second)| for_first != for_second)
            .is_none_or(|(for_first, _)| for_first);
        if !first_opened {
            self.swap_sides(id);
        }
    }

    fn swap_sides(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.tuple = connection.tuple.mirror();
        connection.ends.swap(0, 1);
        let ids: Vec<(Side, SockId)> = connection
            .visible()
            .map(|(side, track)| (side, track.id))
            .collect();
        for (side, sock) in ids {
            self.index(EndRef { conn: id, side }, &sock);
        }
    }

    fn has_listener(&self, endpoint: &crate::model::Endpoint) -> bool {
        self.listeners.values().any(|listener| {
            let local = listener.local();
            local.port() == endpoint.port()
                && (local.is_any_address() || local.addr() == endpoint.addr())
        })
    }

    /// A look should have shown it and did not: ask, and ask for the other end beside it, so that
    /// the two answers are of one moment. The other end first: when it turns out to be in
    /// TIME_WAIT, that is evidence for how this one ended.
    fn miss(&mut self, id: &SockId, source: SourceName) {
        if self.listeners.contains_key(id) {
            self.asks.push(Ask::Confirm(*id));
            return;
        }
        let Some(end) = self.find(id) else {
            return;
        };
        let Some(track) = self.track(end).filter(|track| !track.is_gone()) else {
            return;
        };
        let seen = self.last_seen(track, source);
        let (asked, other) = (track.id, self.other_to_ask(end));
        if let Some(track) = self.track_mut(end) {
            track.seen = seen;
            track.presence = Presence::Missing;
        }
        self.asks.extend(other.map(Ask::Confirm));
        self.asks.push(Ask::Confirm(asked));
    }

    /// A source that takes over knows nothing of what the one before it saw: what its first look
    /// does not show would otherwise stay for ever.
    fn miss_what_the_new_source_lacks(&mut self, begun: Timestamp, source: SourceName) {
        let lacking: Vec<SockId> = self
            .connections
            .values()
            .flat_map(Connection::visible)
            .filter(|(_, track)| !track.is_gone() && track.seen < begun)
            .map(|(_, track)| track.id)
            .collect();
        for id in lacking {
            self.miss(&id, source);
        }
    }

    fn other_to_ask(&self, end: EndRef) -> Option<SockId> {
        let other = self.connections.get(&end.conn)?.end(end.side.other())?;
        (other.presence == Presence::Present && !other.is_over()).then_some(other.id)
    }

    /// Ends a track: the socket is in no table any more.
    pub(super) fn end_track(
        &mut self,
        end: EndRef,
        at: Timestamp,
        source: SourceName,
        replaced: bool,
    ) {
        let Some(track) = self.track(end).filter(|track| !track.is_gone()) else {
            return;
        };
        let since = self.last_seen(track, source);
        let passed = self.passed_before_the_end(end);
        let overflows = self.host.time_wait_overflows;
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        connection.time_wait_unreliable |= connection.overflows_at_open != overflows;
        connection.replaced |= replaced && !connection.is_over();
        let Some(track) = connection.ends[end.side as usize].as_mut() else {
            return;
        };
        let before = track.spans.len();
        track.advance(&passed, TcpState::Close, (since, at), source);
        track.presence = Presence::Gone;
        self.say_steps(end, before);
        self.close_if_over(end.conn, at);
    }

    /// The states that an end passed between its last sight and its end, given that the other end
    /// is in TIME_WAIT: that one has this one's FIN, and closed first, or this one would be in
    /// TIME_WAIT too. (A simultaneous close whose TIME_WAIT found no room is the exception, and is
    /// known by the overflow count.)
    fn passed_before_the_end(&self, end: EndRef) -> Vec<TcpState> {
        let Some(connection) = self.connections.get(&end.conn) else {
            return Vec::new();
        };
        let Some(track) = connection.end(end.side) else {
            return Vec::new();
        };
        let overflowed = connection.overflows_at_open != self.host.time_wait_overflows;
        let other_waits = connection
            .end(end.side.other())
            .is_some_and(|other| !other.is_gone() && other.state() == TcpState::TimeWait);
        let closes_second = matches!(track.state(), TcpState::Established | TcpState::CloseWait)
            || is_opening(track.state());
        if !other_waits || !closes_second || overflowed {
            return Vec::new();
        }
        let mut passed =
            passed_between(track.state(), TcpState::LastAck, self.host.server_fast_open);
        passed.push(TcpState::LastAck);
        passed
    }

    /// Reports the steps of an end from its span `first` on, unless it is not shown yet.
    fn say_steps(&mut self, end: EndRef, first: usize) {
        if self.unopened.contains(&end.conn) {
            return;
        }
        let Some(track) = self
            .connections
            .get(&end.conn)
            .and_then(|connection| connection.end(end.side))
        else {
            return;
        };
        for index in first..track.spans.len() {
            self.changes.push(Change::Moved {
                conn: end.conn,
                side: end.side,
                step: step(track, index),
            });
        }
    }

    fn close_if_over(&mut self, id: ConnId, at: Timestamp) {
        if self.unopened.contains(&id) {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.closed.is_none() && connection.is_over() {
            connection.closed = Some(at);
            self.settled.push_back(id);
            self.changes.push(Change::Closed { conn: id, at });
        }
    }
}

fn found(track: &Track, at: Timestamp) -> Found {
    let state = track.spans.first().map_or(TcpState::Close, |s| s.state);
    Found {
        state,
        age: match state {
            TcpState::Close => None,
            _ => track.age(0, at),
        },
        cookie: track.id.cookie,
    }
}

/// The step into the span at `index`, which is not the first.
fn step(track: &Track, index: usize) -> Transition {
    let (old, new) = (&track.spans[index - 1], &track.spans[index]);
    let began = match (old.certainty, old.from) {
        (Certainty::Inferred, _) | (_, When::Before(_)) => None,
        (_, from) => Some(from.not_after()),
    };
    let is_present = index + 1 == track.spans.len();
    let was_seen = new.certainty != Certainty::Inferred && new.state != TcpState::Close;
    Transition {
        from: old.state,
        to: new.state,
        when: new.from,
        certainty: new.certainty,
        source: new.source,
        in_from: began.map(|began| new.from.not_after().since(began)),
        seen: (is_present && was_seen).then(|| SeenBeside::from(&track.last)),
    }
}
