//! The moment after `FIN_WAIT2 -> CLOSE` and `CLOSING -> CLOSE`, which is no end.
//!
//! The kernel's full socket is closed, and a mini-socket takes its place: in TIME_WAIT, or in
//! FIN_WAIT2 when the program has let go and the peer's FIN has not come
//! (`tcp_time_wait`, net/ipv4/tcp_minisocks.c). Mini-sockets have no events, so a lookup right
//! after it says which; until then nothing of the connection is shown, so that nothing has to be
//! taken back. The traps: no mini-socket is made when the host has too many of them, and the
//! same event begins the end of a connection that is reset by data after the close.

use std::time::Duration;

use crate::model::{Sample, TcpState, Timestamp};
use crate::timeline::cause::of_time_wait;
use crate::timeline::track::Presence;
use crate::timeline::{
    Cause, Certainty, ConnId, EndRef, MarkKind, Reason, SeenBeside, Tracker, Why,
};

/// A lookup that has not come by then does not come: it was left out, or lost.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The full socket is closed, and what became of the connection is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turned {
    /// When.
    pub(super) at: Timestamp,
    /// What it left.
    pub(super) from: TcpState,
    /// Whether the peer's FIN had come: then what follows is TIME_WAIT.
    pub(super) fin_received: Option<bool>,
    /// It was reset, by the peer unless a reset that it sends itself is told next.
    pub(super) ended: Option<Ended>,
}

/// How a track ends when nothing speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) why: Why,
    pub(super) beside: Option<SeenBeside>,
}

impl Turned {
    /// Whether it can only have become a TIME_WAIT, if anything.
    fn must_wait(&self) -> bool {
        self.ended.is_none() && (self.from == TcpState::Closing || self.fin_received == Some(true))
    }
}

impl Tracker {
    /// The full socket of an end is closed, and a mini-socket may have its place.
    pub(super) fn turn(&mut self, end: EndRef, turned: Turned, has_let_go: bool) {
        let Some(track) = self.track_mut(end) else {
            return;
        };
        track.turned = Some(turned);
        track.seen = track.seen.max(turned.at);
        if has_let_go {
            track.let_go();
        }
        self.turned.push_back((turned.at, end));
    }

    /// Ends whose lookup has not come.
    pub(super) fn settle_overdue(&mut self, now: Timestamp) {
        while let Some(&(at, end)) = self.turned.front()
            && now.since(at) >= PATIENCE
        {
            self.turned.pop_front();
            let turned = self.track(end).and_then(|track| track.turned);
            if turned.is_some_and(|turned| turned.at == at) {
                self.settle_without_lookup(end, at);
            }
        }
    }

    /// TIME_WAIT is what must have followed, where the peer's FIN had come; else nothing moved.
    fn settle_without_lookup(&mut self, end: EndRef, now: Timestamp) {
        let Some(turned) = self.take_turned(end) else {
            return;
        };
        if let Some(ended) = turned.ended {
            self.end_by_the_peer(end, turned.at, ended, now);
        } else if turned.must_wait() {
            self.enter_time_wait(end, turned, Certainty::Inferred, now);
        } else {
            self.follow_the_mini_socket(end);
        }
        self.release(end.conn);
    }

    /// A look shows the mini-socket. Says whether that settles it; a row that was read before the
    /// socket turned does not.
    pub(super) fn settle_by_sight(&mut self, end: EndRef, sample: &Sample, at: Timestamp) -> bool {
        let Some(turned) = self.track(end).and_then(|track| track.turned) else {
            return false;
        };
        if !sample.is_mini_socket() {
            return false;
        }
        match sample.state {
            // Unless it was in FIN_WAIT2 for a while first.
            TcpState::TimeWait if turned.fin_received != Some(false) => {
                self.take_turned(end);
                self.enter_time_wait(end, turned, Certainty::Exact, at);
            }
            TcpState::TimeWait => {
                self.take_turned(end);
            }
            _ => {
                self.take_turned(end);
                self.follow_the_mini_socket(end);
            }
        }
        true
    }

    /// A lookup finds nothing. Whether there was a TIME_WAIT for a moment, or no room for one, the
    /// host's count tells.
    pub(super) fn settle_gone(&mut self, end: EndRef, at: Timestamp) {
        let Some(turned) = self.take_turned(end) else {
            return;
        };
        if let Some(ended) = turned.ended {
            return self.end_by_the_peer(end, turned.at, ended, at);
        }
        let overflowed = self.has_overflowed(end);
        if overflowed {
            let why = match turned.must_wait() {
                true => of_time_wait(turned.from),
                false => Why::default(),
            };
            self.end_exactly(end, turned.at, why, None, at);
        } else if turned.must_wait() {
            self.enter_time_wait(end, turned, Certainty::Inferred, at);
        }
    }

    /// The end sent a reset right after it turned: it was given up, and no mini-socket was made.
    /// Says whether that was so.
    pub(super) fn settle_by_reset(&mut self, end: EndRef, reason: Reason, at: Timestamp) -> bool {
        let turned = self.track(end).and_then(|track| track.turned);
        let is_over = |turned: Turned| turned.must_wait() && turned.from != TcpState::Closing;
        if turned.is_none_or(is_over) {
            return false;
        }
        let Some(turned) = self.take_turned(end) else {
            return false;
        };
        let why = Why::from(Cause::ResetSent).because(reason);
        self.end_exactly(end, turned.at, why, None, at);
        true
    }

    /// The peer reset it: no reset of its own was told.
    fn end_by_the_peer(&mut self, end: EndRef, at: Timestamp, ended: Ended, now: Timestamp) {
        let heard = self
            .track_mut(end)
            .and_then(|track| track.reset_heard.take());
        if let Some(heard) = heard {
            self.mark_end(end, MarkKind::ResetReceived, None, heard);
        }
        self.end_exactly(end, at, ended.why, ended.beside, now);
    }

    pub(super) fn take_turned(&mut self, end: EndRef) -> Option<Turned> {
        self.track_mut(end)?.turned.take()
    }

    fn enter_time_wait(
        &mut self,
        end: EndRef,
        turned: Turned,
        certainty: Certainty,
        now: Timestamp,
    ) {
        let Some(track) = self.track_mut(end) else {
            return;
        };
        let before = track.spans.len();
        track.enter(
            TcpState::TimeWait,
            turned.at,
            certainty,
            of_time_wait(turned.from),
            None,
        );
        self.leave(end);
        self.say_steps(end, before, now);
    }

    /// A mini-socket in FIN_WAIT2 becomes a TIME_WAIT without a word: it has to be watched.
    fn follow_the_mini_socket(&mut self, end: EndRef) {
        if let Some(track) = self.track_mut(end) {
            track.presence = Presence::Present;
            let id = *track.id();
            self.asks.push(crate::model::Ask::Follow(id));
        }
    }

    /// What was held back of a connection goes out in the order of time, once nothing of it is
    /// open any more.
    pub(super) fn release(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if connection.held.is_empty() || connection.has_turned() || !connection.shown {
            return;
        }
        let mut held = std::mem::take(&mut connection.held);
        held.sort_by_key(|change| (matches!(change, super::Change::Closed { .. }), change.at()));
        self.changes.append(&mut held);
    }
}
