//! The tracker's work: a look's rows and a lookup's answer become steps of tracks.
//!
//! Connections that a look shows for the first time are opened only when the whole look is in, so
//! that both ends and the listeners are known when it is decided which end is A.

use crate::model::tcp::{can_follow, passed_between};
use crate::model::{Answer, Ask, Poll, Sample, SockId, SourceName, TcpState, Timestamp};
use crate::timeline::hosts::Looks;
use crate::timeline::pair::found_since;
use crate::timeline::resets::counts_when_reset;
use crate::timeline::track::Presence;
use crate::timeline::{
    Certainty, Change, ConnId, Connection, EndRef, Listener, Side, Track, Tracker, Transition, When,
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
    pub(super) fn ingest_poll(
        &mut self,
        poll: &Poll,
        at: Timestamp,
        source: SourceName,
        host: u16,
    ) {
        let sight = Sight {
            begun: poll.begun.min(at),
            at,
            source,
            newborn: !poll.first,
            looked: true,
        };
        if poll.first {
            // Another source may have named them otherwise.
            self.forget_the_listeners(host);
        }
        // Listeners first: they tell which end was opened to.
        for sample in poll.appeared.iter().chain(&poll.changed) {
            if sample.state == TcpState::Listen {
                self.note_listener(Listener::of(sample), at);
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
        let known = self.hosts.get_mut(host);
        let heals = known.lost_at.is_some_and(|lost| lost < sight.begun);
        if (poll.first || heals) && poll.complete {
            known.lost_at = None;
            self.miss_what_the_new_source_lacks(sight.begun, source, host);
        }
        if poll.complete {
            let looks = self.hosts.get_mut(host).looks_mut(source);
            looks.note(poll.look, sight.begun);
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
                self.remove_listener(asked);
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
                || !can_follow(
                    track.state(),
                    sample.state,
                    self.fast_open(sample.id.scope.host),
                ));
        // A row of the full socket says nothing of what took its place.
        let is_before_the_turn =
            track.turned.is_some_and(|turned| turned.at >= begun) && !sample.is_mini_socket();
        is_older || is_over || is_before_the_turn
    }

    /// Whether the row is the TIME_WAIT of a connection that was dropped to bound memory: events
    /// have told of it, if it began while they ran.
    fn is_forgotten(&self, sample: &Sample, sight: Sight) -> bool {
        let host = self.hosts.get(sample.id.scope.host);
        let Some(events_since) = host.events_since else {
            return false;
        };
        self.totals.dropped > 0
            && sample.state == TcpState::TimeWait
            && self.find(&sample.id).is_none()
            && found_since(sample, host.facts.fin_timeout, sight.at).not_after() > events_since
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
        last_seen(track, self.looks_at(track, source))
    }

    /// The next sight of a known socket.
    fn follow(&mut self, end: EndRef, sample: &Sample, sight: Sight) {
        self.settle_by_sight(end, sample, sight.at);
        let host = self.hosts.get_mut(sample.id.scope.host);
        let (fast_open, looks) = (host.facts.server_fast_open, *host.looks(sight.source));
        let has_events = host.events_since.is_some();
        let peer = self.fin_of_the_peer(end);
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        let Some(track) = connection.ends[end.side as usize].as_mut() else {
            return;
        };
        if track.presence == Presence::Missing && counts_when_reset(track) {
            self.hosts
                .get_mut(sample.id.scope.host)
                .missing_is_settled();
        }
        let known = track.state();
        // A SYN_RECV with a file was accepted early, or opened from both sides: it can be closed.
        let can_close = known == TcpState::SynRecv && track.last.inode.is_some();
        let fast_open = fast_open || can_close;
        connection.multipath |= sample.multipath;
        let since = last_seen(track, &looks);
        if sight.looked {
            track.looked = Some(sample.state);
        }
        if known == sample.state {
            track.see_queues(sample, since, sight.at);
            track.refresh(*sample, sight.begun);
            self.note_inode(end, sample.inode);
            self.touch(end);
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
        track.see_queues(sample, since, sight.at);
        track.refresh(*sample, sight.begun);
        self.note_inode(end, sample.inode);
        if sample.state == TcpState::TimeWait {
            self.leave(end);
        } else if sight.looked && !has_events {
            // A dump has seen it move before who follows did: it was followed slowly, or not at all.
            self.asks.push(Ask::Follow(sample.id));
        }
        self.say_steps(end, before, sight.at);
        self.release(end.conn);
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
            for host in connection.hosts().into_iter().flatten() {
                let known = self.hosts.get_mut(host);
                let others = known.missing_that_count;
                connection.reset_counted |= known.resets.claim(connection, host, others);
            }
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
fn last_seen(track: &Track, looks: &Looks) -> Timestamp {
    let is_in_looks = track.looked == Some(track.state());
    let look = match track.presence {
        Presence::Present if is_in_looks => looks.covering(track.state()),
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

/// A state that was found counts as timed when its beginning is known this well.
const DATED: std::time::Duration = std::time::Duration::from_secs(1);

/// The step into the span at `index`, which is not the first.
fn step(track: &Track, index: usize) -> Transition {
    let (old, new) = (&track.spans[index - 1], &track.spans[index]);
    let began = match (old.certainty, old.from) {
        (Certainty::Inferred, _) | (_, When::Before(_)) => None,
        // It was found, and its own counters date it no better than so.
        (_, When::Between(from, to)) if index == 1 && to.since(from) > DATED => None,
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
