//! The tracker's work: a look's rows and a lookup's answer become steps of tracks.
//!
//! Connections that a look shows for the first time are opened only when the whole look is in, so
//! that both ends and the listeners are known when it is decided which end is A.

use crate::model::tcp::{can_follow, passed_between};
use crate::model::{Answer, Ask, Poll, Sample, SockId, SourceName, TcpState, Timestamp};
use crate::timeline::pair::found_since;
use crate::timeline::resets::counts_when_reset;
use crate::timeline::track::Presence;
use crate::timeline::{
    Certainty, Change, ConnId, Connection, EndRef, Listener, Looks, Side, Track, Tracker,
    Transition, When,
};

/// How a row came: what bounds it, and what it proves.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    /// Before the source asked.
    pub(super) begun: Timestamp,
    /// After it had the answer.
    pub(super) at: Timestamp,
    pub(super) source: SourceName,
    /// The socket was not there before, as far as the last look can tell.
    pub(super) newborn: bool,
    /// It comes from the looks, which from then on say when it is news again.
    pub(super) looked: bool,
}

impl Tracker {
    pub(super) fn ingest_poll(&mut self, poll: &Poll, at: Timestamp, source: SourceName) {
        let sight = Sight {
            begun: poll.begun.min(at),
            at,
            source,
            newborn: !poll.first,
            looked: true,
        };
        if poll.first {
            // Another source may have named them otherwise.
            self.listeners.clear();
        }
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
        let heals = self.lost_at.is_some_and(|lost| lost < sight.begun);
        if (poll.first || heals) && poll.complete {
            self.lost_at = None;
            self.miss_what_the_new_source_lacks(sight.begun, source);
        }
        if poll.complete {
            self.looks
                .entry(source)
                .or_default()
                .note(poll.look, sight.begun);
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
        // Who follows asks in its own right; its answers are sock_diag's.
        let (source, looked) = match source {
            SourceName::Follow => (SourceName::SockDiag, false),
            source => (source, true),
        };
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
            looked,
        };
        match answer {
            Answer::Found(sample) => self.meet(sample, sight),
            Answer::Gone | Answer::Other(_) => {
                let replaced = matches!(answer, Answer::Other(_));
                if !looked && !replaced && self.has_unseen_peer(asked) {
                    // Who follows asks for what is known. The other end may be there, in TIME_WAIT.
                    self.miss(asked, source);
                } else if let Some(end) = self.find(asked) {
                    self.end_track(end, at, source, replaced);
                }
            }
        }
        self.open_the_unopened(at);
    }

    /// The end that a source means: by cookie, and where it has none, by the 4-tuple.
    pub(super) fn find(&self, id: &SockId) -> Option<EndRef> {
        match id.cookie {
            Some(cookie) => self.by_cookie.get(&(id.scope, cookie)).copied(),
            None => self.by_tuple.get(&(id.scope, id.tuple)).copied(),
        }
    }

    pub(super) fn track_mut(&mut self, end: EndRef) -> Option<&mut Track> {
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
        if self.is_stale(sample, sight.begun) || self.is_forgotten(sample, sight) {
            return;
        }
        match self.find(&sample.id) {
            Some(end) if self.continues(end, sample) => self.follow(end, sample, sight),
            _ => match self.renamed(sample, sight.source) {
                Some(end) => {
                    self.rename(end, sample);
                    self.follow(end, sample, sight);
                }
                None => {
                    if let Some(end) = self.find(&sample.id) {
                        // The socket is in another life now.
                        self.end_track(end, sight.at, sight.source, true);
                    }
                    self.begin(sample, sight);
                }
            },
        }
    }

    /// Whether the row is of the request from which a life has come meanwhile: the socket that it
    /// becomes can have another cookie, when the look was the first to ask for one.
    fn is_request_of_a_known_life(&self, sample: &Sample, begun: Timestamp) -> bool {
        let id = &sample.id;
        sample.state == TcpState::SynRecv
            && self
                .by_tuple
                .get(&(id.scope, id.tuple))
                .and_then(|&end| self.track(end))
                .is_some_and(|track| track.id().cookie != id.cookie && track.changed_since(begun))
    }

    /// Whether the row may have been read before what is known happened: a look takes time, and an
    /// event or a lookup in the middle of it is newer than some of its rows.
    pub(super) fn is_stale(&self, sample: &Sample, begun: Timestamp) -> bool {
        if self.is_request_of_a_known_life(sample, begun) {
            return true;
        }
        // Without cookies there is one source, and its looks come one after the other.
        let named = sample.id.cookie.and_then(|_| self.find(&sample.id));
        let Some(track) = named.and_then(|end| self.track(end)) else {
            return false;
        };
        // A mini-socket is still in the table for a moment after it has answered with a reset; one of
        // another life has another cookie.
        let is_over = track.is_gone() && sample.is_mini_socket();
        let is_older = *track.tuple() == sample.id.tuple
            && track.changed_since(begun)
            && track.state() != sample.state
            && (track.is_gone()
                || track.passed(sample.state)
                || !can_follow(track.state(), sample.state, self.host.server_fast_open));
        // A row of the full socket says nothing of what took its place.
        let is_before_the_turn =
            track.turned.is_some_and(|turned| turned.at >= begun) && !sample.is_mini_socket();
        is_older || is_over || is_before_the_turn
    }

    /// Whether the row is the TIME_WAIT of a connection that was dropped to bound memory: events
    /// have told of it, if it began while they ran.
    fn is_forgotten(&self, sample: &Sample, sight: Sight) -> bool {
        let Some(events_since) = self.events_since else {
            return false;
        };
        sample.state == TcpState::TimeWait
            && self.find(&sample.id).is_none()
            && found_since(sample, self.host.fin_timeout, sight.at).not_after() > events_since
    }

    /// The end was still as it was last reported when the question before this one was sent.
    pub(super) fn note_unchanged(&mut self, asked: &SockId, unchanged: Option<Timestamp>) {
        if let Some(since) = unchanged
            && let Some(end) = self.find(asked)
            && let Some(track) = self.track_mut(end)
            && !track.is_gone()
            && !track.changed_since(since)
        {
            track.seen = track.seen.max(since);
        }
    }

    /// The newest moment at which the end is proven to have been in its present state.
    pub(super) fn last_seen(&self, track: &Track, source: SourceName) -> Timestamp {
        last_seen(track, self.looks.get(&source))
    }

    /// The next sight of a known socket.
    fn follow(&mut self, end: EndRef, sample: &Sample, sight: Sight) {
        self.settle_by_sight(end, sample, sight.at);
        let fast_open = self.host.server_fast_open;
        let peer = self.fin_of_the_peer(end);
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        let Some(track) = connection.ends[end.side as usize].as_mut() else {
            return;
        };
        if track.presence == Presence::Missing && counts_when_reset(track) {
            self.missing_that_count = self.missing_that_count.saturating_sub(1);
        }
        let known = track.state();
        // A SYN_RECV with a file was accepted early, or opened from both sides: it can be closed.
        let can_close = known == TcpState::SynRecv && track.last.inode.is_some();
        let fast_open = fast_open || can_close;
        connection.multipath |= sample.multipath;
        let since = last_seen(track, self.looks.get(&sight.source));
        if sight.looked {
            track.looked = Some(sample.state);
        }
        if known == sample.state {
            track.refresh(*sample, sight.begun);
            self.release(end.conn);
            return;
        }
        let bounds = match (known, sample.state) {
            (TcpState::FinWait2, TcpState::TimeWait) => peer.narrow((since, sight.at)),
            _ => (since, sight.at),
        };
        let before = track.spans.len();
        let passed = passed_between(known, sample.state, fast_open)
            .iter()
            .copied();
        track.advance(passed, sample.state, bounds, sight.source, Some(sample));
        track.refresh(*sample, sight.begun);
        if sample.state == TcpState::TimeWait {
            self.leave(end);
        } else if sight.looked && self.events_since.is_none() {
            // A dump has seen it move before who follows did: it was followed slowly, or not at all.
            self.asks.push(Ask::Follow(sample.id));
        }
        self.say_steps(end, before, sight.at);
        self.release(end.conn);
    }

    /// The first sight of a socket: the other end of a known connection, or a new connection.
    fn begin(&mut self, sample: &Sample, sight: Sight) {
        let scope = sample.id.scope;
        let replaced = self.by_tuple.get(&(scope, sample.id.tuple)).copied();
        if let Some(end) = replaced {
            // One table, one socket a 4-tuple: whoever had it before is gone.
            self.end_track(end, sight.at, sight.source, true);
        }
        let partner = self.partner_of(sample, sight);
        let mut track = self.first_track(sample, sight, replaced, partner);
        track.looked = sight.looked.then_some(sample.state);
        self.place(sample, sight, partner, track);
    }

    /// The first sight of a socket whose beginning an event tells.
    pub(super) fn begin_with(&mut self, sample: &Sample, sight: Sight, track: Track) -> EndRef {
        if let Some(end) = self.find(&sample.id) {
            // Connected again under its old cookie.
            self.end_track(end, sight.at, sight.source, true);
        }
        let name = (sample.id.scope, sample.id.tuple);
        if let Some(end) = self.by_tuple.get(&name).copied() {
            self.end_track(end, sight.at, sight.source, true);
        }
        let partner = self.partner_of(sample, sight);
        self.place(sample, sight, partner, track)
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
        partner: Option<EndRef>,
        track: Track,
    ) -> EndRef {
        let end = match partner {
            Some(partner) => EndRef {
                conn: partner.conn,
                side: partner.side.other(),
            },
            None => self.new_connection(sample, sight.at),
        };
        if let Some(connection) = self.connections.get_mut(&end.conn) {
            connection.multipath |= sample.multipath;
            connection.ends[end.side as usize] = Some(track);
        }
        self.index(end, &sample.id);
        if self.events_since.is_none() && sample.state != TcpState::TimeWait {
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
        let found_since = found_since(sample, self.host.fin_timeout, sight.at);
        // What the timer says to be older was overlooked before.
        let is_older = |since| match found_since {
            When::Before(began) => sample.state == TcpState::TimeWait && began < since,
            When::At(_) | When::Between(..) => false,
        };
        match look.max(predecessor) {
            Some(since) if (is_newborn || replaced.is_some()) && !is_older(since) => {
                let mut track = Track::born(*sample, (since, sight.at), sight.begun, sight.source);
                let fast_open = self.host.server_fast_open;
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

    fn new_connection(&mut self, sample: &Sample, at: Timestamp) -> EndRef {
        let id = ConnId(self.next);
        self.next += 1;
        self.totals.seen += 1;
        let mut connection = Connection::new(id, sample.id.scope, sample.id.tuple, at);
        connection.overflows_at_open = self.host.time_wait_overflows;
        self.connections.insert(Box::new(connection));
        self.unopened.push(id);
        EndRef {
            conn: id,
            side: Side::A,
        }
    }

    /// Whether the connection has been shown.
    pub(super) fn is_shown(&self, id: ConnId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| connection.shown)
    }

    pub(super) fn index(&mut self, end: EndRef, id: &SockId) {
        self.by_tuple.insert((id.scope, id.tuple), end);
        if let Some(cookie) = id.cookie {
            self.by_cookie.insert((id.scope, cookie), end);
        }
    }

    /// Reports the steps of an end from its span `first` on, and the connection's close if it was
    /// that, unless the connection is not shown yet.
    pub(super) fn say_steps(&mut self, end: EndRef, first: usize, at: Timestamp) {
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        if !connection.shown {
            return;
        }
        let is_closed = connection.close_if_over(at);
        if is_closed {
            connection.reset_counted = self.resets.claim(connection, self.missing_that_count);
            self.settled.push_back(end.conn);
        }
        let closed = is_closed.then_some(Change::Closed { conn: end.conn, at });
        if connection.held.is_empty() && !connection.has_turned() {
            self.changes.extend(steps(connection, end.side, first));
            self.changes.extend(closed);
        } else {
            let news: Vec<Change> = steps(connection, end.side, first).chain(closed).collect();
            connection.held.extend(news);
        }
    }
}

/// The newest moment at which a look or an answer proves the track's present state.
fn last_seen(track: &Track, looks: Option<&Looks>) -> Timestamp {
    let is_in_looks = track.looked == Some(track.state());
    let look = match track.presence {
        Presence::Present if is_in_looks => looks.and_then(|looks| looks.covering(track.state())),
        Presence::Present | Presence::Missing | Presence::Gone => None,
    };
    track.seen.max(look.unwrap_or_default())
}

/// The steps of an end from its span `first` on.
pub(super) fn steps(
    connection: &Connection,
    side: Side,
    first: usize,
) -> impl Iterator<Item = Change> {
    let conn = connection.id;
    connection.end(side).into_iter().flat_map(move |track| {
        (first..track.spans.len()).map(move |index| Change::Moved {
            conn,
            side,
            step: step(track, index),
        })
    })
}

/// The step into the span at `index`, which is not the first.
fn step(track: &Track, index: usize) -> Transition {
    let (old, new) = (&track.spans[index - 1], &track.spans[index]);
    let began = match (old.certainty, old.from) {
        (Certainty::Inferred, _) | (_, When::Before(_)) => None,
        (_, from) => Some(from.not_after()),
    };
    let is_present = index + 1 == track.spans.len();
    let was_seen = match new.certainty {
        Certainty::Exact => new.entry.is_some(),
        Certainty::Sampled => new.state != TcpState::Close,
        Certainty::Inferred => false,
    };
    Transition {
        from: old.state,
        to: new.state,
        when: new.from,
        certainty: new.certainty,
        source: new.source,
        in_from: began.map(|began| new.from.not_after().since(began)),
        seen: (is_present && was_seen).then_some(track.beside),
        why: new.why,
    }
}
