//! The first showing of a connection: which end is A, and in what state each was found.
//!
//! The trap: A and B are fixed here for good, so this waits until a whole look is in, with the
//! listeners and both ends.

use crate::model::FourTuple;
use crate::model::{Endpoint, Scope, TcpState, Timestamp};
use crate::timeline::ingest::steps;
use crate::timeline::turned::PATIENCE;
use crate::timeline::{Came, Change, ConnId, EndRef, Found, Side, Track, Tracker};

impl Tracker {
    /// Decides which end is A, and shows what was met.
    pub(super) fn open_the_unopened(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.unopened) {
            self.open(id, now);
        }
    }

    /// Shows a connection that an event has told of: at once, unless its other end must be here and
    /// the next event will tell of it.
    pub(super) fn open_or_wait(&mut self, end: EndRef, now: Timestamp) {
        self.unopened.retain(|id| *id != end.conn);
        let Some(connection) = self.connections.get(&end.conn) else {
            return;
        };
        if connection.shown {
            return;
        }
        let is_alone = connection.visible().count() == 1 && !connection.tuple.is_own_mirror();
        if is_alone && is_local(&connection.tuple) {
            self.waiting.push_back((now, end.conn));
        } else {
            self.open(end.conn, now);
        }
    }

    /// Shows a connection that has gone on without its other end. A client is in ESTABLISHED before
    /// the server's end is made.
    pub(super) fn open_unless_new(&mut self, end: EndRef, now: Timestamp) {
        let is_new = self.track(end).is_some_and(|track| {
            matches!(track.state(), TcpState::SynSent | TcpState::Established)
        });
        if !is_new {
            self.open(end.conn, now);
        }
    }

    /// Shows the connections whose other end has not come.
    pub(super) fn open_the_overdue(&mut self, now: Timestamp) {
        while let Some(&(since, id)) = self.waiting.front()
            && (now.since(since) >= PATIENCE || self.is_shown(id))
        {
            self.waiting.pop_front();
            self.open(id, now);
        }
    }

    pub(super) fn open(&mut self, id: ConnId, now: Timestamp) {
        if self.is_shown(id) {
            return;
        }
        self.settle_sides(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.shown = true;
        let at = connection.opened;
        let ends =
            Side::BOTH.map(|side| connection.end(side).map(|track| found(track, at.max(now))));
        self.changes.push(Change::Opened { conn: id, at, ends });
        let mut news: Vec<Change> = Side::BOTH
            .into_iter()
            .flat_map(|side| steps(connection, side, 1))
            .collect();
        news.append(&mut connection.held);
        news.sort_by_key(Change::at);
        connection.held = news;
        let side = Side::A;
        self.say_steps(EndRef { conn: id, side }, usize::MAX, now);
        self.release(id);
    }

    /// Shows the second end of a connection that was shown before.
    pub(super) fn join(&mut self, end: EndRef, at: Timestamp) {
        let Some(found) = self.track(end).map(|track| found(track, at)) else {
            return;
        };
        self.changes.push(Change::Joined {
            conn: end.conn,
            side: end.side,
            at,
            found,
        });
        self.say_steps(end, 1, at);
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
                self.has_listener(&tuple.remote, connection.end_scope(Side::B)),
                self.has_listener(&tuple.local, connection.end_scope(Side::A)),
            ),
            (
                passed(second, TcpState::SynRecv),
                passed(first, TcpState::SynRecv),
            ),
        ];
        let seen = evidence
            .into_iter()
            .find(|(for_first, for_second)| for_first != for_second)
            .map(|(for_first, _)| for_first);
        let higher = (tuple.local.port(), tuple.local) > (tuple.remote.port(), tuple.remote);
        let first_opened = seen.unwrap_or(higher || tuple.local.port() == tuple.remote.port());
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.sides_guessed = seen.is_none();
        }
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
        connection.overflows_at_open.swap(0, 1);
        let ids = Side::BOTH.map(|side| connection.end(side).map(|track| *track.id()));
        for (side, sock) in Side::BOTH.into_iter().zip(ids) {
            if let Some(sock) = sock {
                self.index(EndRef { conn: id, side }, &sock);
                self.rename_inode(EndRef { conn: id, side });
            }
        }
    }

    /// Whether somebody listens there: where the end is, or anywhere while it is not seen.
    fn has_listener(&self, endpoint: &Endpoint, scope: Option<Scope>) -> bool {
        self.listeners.values().any(|listener| {
            let local = listener.local();
            scope.is_none_or(|scope| scope == listener.id.scope)
                && local.port() == endpoint.port()
                && (local.is_any_address() || local.addr() == endpoint.addr())
        })
    }
}

fn found(track: &Track, at: Timestamp) -> Found {
    let starts_in = track.spans().first().map(|span| span.state);
    let (state, came) = match starts_in {
        Some(TcpState::Close) | None => (track.state(), Came::Born),
        // Its steps since then are told after this.
        Some(first) => (first, Came::Found),
    };
    let age = match came {
        Came::Born => track.present_age(at),
        Came::Found => track.age(0, at),
    };
    Found {
        state,
        came,
        age,
        cookie: track.id().cookie,
    }
}

/// Whether both ends of a connection are on this host as far as its addresses tell.
pub(super) fn is_local(tuple: &FourTuple) -> bool {
    tuple.remote.addr().is_loopback() || tuple.remote.addr() == tuple.local.addr()
}
