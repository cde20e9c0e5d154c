//! The end of a track: what a look misses is asked for, and gone is only what an answer says is
//! gone. Then the states that must have been passed on the way, and the close of the connection.

use crate::model::tcp::passed_between;
use crate::model::{Ask, SockId, SourceName, TcpState, Timestamp};
use crate::timeline::opening::is_local;
use crate::timeline::pair::is_opening;
use crate::timeline::resets::counts_when_reset;
use crate::timeline::track::Presence;
use crate::timeline::{Cause, EndRef, Span, Track, Tracker, When};

impl Tracker {
    /// A look should have shown it and did not: ask, and ask for the other end beside it, so that
    /// the two answers are of one moment. The other end first: when it turns out to be in
    /// TIME_WAIT, that is evidence for how this one ended.
    pub(super) fn miss(&mut self, id: &SockId, source: SourceName) {
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
        let (asked, other) = (*track.id(), self.other_to_ask(end, track.id()));
        if track.presence == Presence::Present && counts_when_reset(track) {
            self.hosts.get_mut(id.scope.host).missing_that_count += 1;
        }
        if let Some(track) = self.track_mut(end) {
            track.seen = seen;
            track.presence = Presence::Missing;
        }
        self.asks.extend(other.map(Ask::Confirm));
        self.asks.push(Ask::Confirm(asked));
    }

    /// A source that takes over knows nothing of what the one before it saw: what its first look
    /// does not show would otherwise stay for ever.
    pub(super) fn miss_what_the_new_source_lacks(
        &mut self,
        begun: Timestamp,
        source: SourceName,
        host: u16,
    ) {
        let lacking: Vec<SockId> = self
            .connections
            .values()
            .flat_map(|connection| connection.visible())
            .filter(|(_, track)| track.id().scope.host == host)
            .filter(|(_, track)| !track.is_gone() && track.seen < begun)
            .map(|(_, track)| *track.id())
            .collect();
        for id in lacking {
            self.miss(&id, source);
        }
    }

    /// Whether the other end must be on this host, and no look has shown it yet.
    pub(super) fn has_unseen_peer(&self, id: &SockId) -> bool {
        let connection = self
            .find(id)
            .and_then(|end| Some((end, self.connections.get(&end.conn)?)));
        is_local(&id.tuple)
            && !id.tuple.is_own_mirror()
            && connection
                .is_some_and(|(end, connection)| connection.end(end.side.other()).is_none())
    }

    /// The other end, unless it is known to be over. One that was never seen is asked for by its
    /// 4-tuple: it may be in the TIME_WAIT that the look left out, or have been skipped.
    fn other_to_ask(&self, end: EndRef, this: &SockId) -> Option<SockId> {
        match self.connections.get(&end.conn)?.end(end.side.other()) {
            // Who is asked knows nothing of another host.
            Some(other) => (other.presence == Presence::Present
                && !other.is_over()
                && other.id().scope == this.scope)
                .then_some(*other.id()),
            None => (!this.tuple.is_own_mirror()).then_some(SockId {
                cookie: None,
                tuple: this.tuple.mirror(),
                scope: this.scope,
            }),
        }
    }

    /// A missing end is found, or gone: it is not missing any more.
    pub(super) fn settle_missing(&mut self, end: EndRef) {
        let counted = self
            .track(end)
            .is_some_and(|track| track.presence == Presence::Missing && counts_when_reset(track));
        if counted {
            self.missing_is_settled(end);
        }
    }

    /// Ends a track: the socket is in no table any more.
    pub(super) fn end_track(
        &mut self,
        end: EndRef,
        at: Timestamp,
        source: SourceName,
        replaced: bool,
    ) {
        self.settle_gone(end, at);
        let Some(track) = self.track(end).filter(|track| !track.is_gone()) else {
            return self.release(end.conn);
        };
        let since = self.last_seen(track, source);
        // The full socket was freed by then, and a mini-socket never took its place.
        let (at, source) = match track.freed {
            Some(freed) if never_turns(track.state()) && freed < at => {
                (freed.max(since), SourceName::Destroy)
            }
            _ => (at, source),
        };
        let time_wait = self.passed_time_wait(end);
        let before_last_ack = self.passed_before_last_ack(end, since, replaced);
        self.settle_missing(end);
        let last_ack = before_last_ack.map(|_| TcpState::LastAck);
        let passed = before_last_ack.into_iter().flatten().copied();
        let passed = passed.chain(last_ack).chain(time_wait);
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        connection.time_wait_unreliable |= self.hosts.has_overflowed(connection, end.side);
        connection.replaced |= replaced && !connection.is_over();
        let Some(track) = connection.ends[end.side as usize].as_mut() else {
            return;
        };
        let before = track.spans.len();
        let ran_out = ran_out(track, at) && !replaced;
        track.advance(passed, TcpState::Close, (since, at), source, None);
        if let Some(span) = track.spans.last_mut().filter(|_| ran_out) {
            span.why = Cause::Timeout.into();
        }
        track.presence = Presence::Gone;
        self.leave(end);
        self.say_steps(end, before, at);
        self.release(end.conn);
    }

    /// An end whose next events were lost ends here, in its old life.
    pub(super) fn end_between(
        &mut self,
        end: EndRef,
        since: Timestamp,
        at: Timestamp,
        source: SourceName,
    ) {
        let Some(track) = self.track_mut(end).filter(|track| !track.is_gone()) else {
            return;
        };
        let before = track.spans.len();
        track.advance([], TcpState::Close, (since, at), source, None);
        track.presence = Presence::Gone;
        self.leave(end);
        self.say_steps(end, before, at);
        self.release(end.conn);
    }

    /// Nothing more is to be asked of the end.
    pub(super) fn leave(&mut self, end: EndRef) {
        // Its file, if there still is one, is of no connection any more.
        self.note_inode(end, None);
        // While events run, only mini-sockets are followed.
        let was_followed =
            |track: &&Track| !self.has_events(track.id()) || track.last.is_mini_socket();
        if let Some(id) = self
            .track(end)
            .filter(was_followed)
            .map(|track| *track.id())
        {
            self.asks.push(Ask::Leave(id));
        }
    }

    /// A FIN_WAIT2 that vanished was in TIME_WAIT if it has acknowledged the peer's FIN.
    fn passed_time_wait(&self, end: EndRef) -> Option<TcpState> {
        let is_fin_wait2 = self.track(end)?.state() == TcpState::FinWait2;
        let acknowledged = self.fin_of_the_peer(end).acknowledged.is_some();
        (is_fin_wait2 && acknowledged).then_some(TcpState::TimeWait)
    }

    /// What the other end's events tell of its FIN.
    pub(super) fn fin_of_the_peer(&self, end: EndRef) -> PeerFin {
        let peer = self.track(EndRef {
            conn: end.conn,
            side: end.side.other(),
        });
        let exact = |span: &&Span| matches!(span.from, When::At(_));
        let spans = || {
            peer.into_iter()
                .flat_map(|track| track.spans())
                .filter(exact)
        };
        let sent = spans().find(|span| span.state == TcpState::LastAck);
        let acknowledged = spans()
            .find(|span| span.state == TcpState::Close && span.why.cause == Cause::AckReceived);
        let here = self.track(end).map(|track| track.id().scope.host);
        PeerFin {
            sent: sent.map(|span| span.from.not_after()),
            acknowledged: acknowledged.map(|span| span.from.not_after()),
            is_on_one_clock: here == peer.map(|peer| peer.id().scope.host),
        }
    }

    /// The states that an end passed between its last sight and LAST_ACK, `None` unless that was
    /// its last one. Two things show it. The other end is in TIME_WAIT: it has this one's FIN, and
    /// closed first, or this one would be in TIME_WAIT too (a simultaneous close whose TIME_WAIT
    /// found no room is the exception, and is known by the overflow count). Or this end was in
    /// CLOSE_WAIT and the host has counted no socket that went from there straight to CLOSE.
    fn passed_before_last_ack(
        &self,
        end: EndRef,
        since: Timestamp,
        replaced: bool,
    ) -> Option<&'static [TcpState]> {
        let connection = self.connections.get(&end.conn)?;
        let track = connection.end(end.side)?;
        let overflowed = self.has_overflowed(end);
        let host = self.hosts.get(track.id().scope.host);
        let other_waits = connection
            .end(end.side.other())
            .is_some_and(|other| !other.is_gone() && other.state() == TcpState::TimeWait);
        let closes_second = matches!(track.state(), TcpState::Established | TcpState::CloseWait)
            || is_opening(track.state());
        // Counts are read before "gone" is said, but not before a successor is met.
        let was_not_reset = track.state() == TcpState::CloseWait
            && !replaced
            && host.facts.resets.is_some()
            && host.resets.none_since(since);
        let fast_open = host.facts.server_fast_open;
        let is_shown = (other_waits && closes_second && !overflowed) || was_not_reset;
        is_shown.then(|| passed_between(track.state(), TcpState::LastAck, fast_open))
    }
}

/// When the peer's FIN was sent, and when its acknowledgement was there, as its events say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeerFin {
    sent: Option<Timestamp>,
    acknowledged: Option<Timestamp>,
    is_on_one_clock: bool,
}

impl PeerFin {
    /// The FIN arrived between the two: it bounds TIME_WAIT closer than looks do.
    pub(super) fn narrow(self, (from, to): (Timestamp, Timestamp)) -> (Timestamp, Timestamp) {
        if !self.is_on_one_clock {
            return (from, to);
        }
        let from = self.sent.map_or(from, |sent| from.max(sent)).min(to);
        let to = self
            .acknowledged
            .map_or(to, |acknowledged| to.min(acknowledged));
        (from, to.max(from))
    }
}

/// The states from which no mini-socket is made.
const fn never_turns(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::SynSent | TcpState::SynRecv | TcpState::CloseWait | TcpState::LastAck
    )
}

/// A mini-socket whose time was over when it was found gone.
fn ran_out(track: &Track, at: Timestamp) -> bool {
    const JIFFY: std::time::Duration = std::time::Duration::from_millis(10);
    let last = track.last();
    last.is_mini_socket()
        && last
            .timer
            .is_some_and(|timer| at.plus(JIFFY) >= timer.deadline)
}
