//! The first showing of a connection: which end is A, and in what state each was found.
//!
//! The trap: A and B are fixed here for good, so this waits until a whole look is in, with the
//! listeners and both ends.

use crate::model::{Endpoint, TcpState, Timestamp};
use crate::timeline::ingest::steps;
use crate::timeline::{Came, Change, ConnId, EndRef, Found, Side, Track, Tracker};

impl Tracker {
    /// Decides which end is A, and shows what was met.
    pub(super) fn open_the_unopened(&mut self, at: Timestamp) {
        for id in std::mem::take(&mut self.unopened) {
            self.settle_sides(id);
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            let ends = Side::BOTH.map(|side| connection.end(side).map(|track| found(track, at)));
            self.changes.push(Change::Opened { conn: id, at, ends });
            self.changes.extend(steps(connection, Side::A, 1));
            self.say_steps(
                EndRef {
                    conn: id,
                    side: Side::B,
                },
                1,
                at,
            );
        }
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
        let ids = Side::BOTH.map(|side| connection.end(side).map(|track| *track.id()));
        for (side, sock) in Side::BOTH.into_iter().zip(ids) {
            if let Some(sock) = sock {
                self.index(EndRef { conn: id, side }, &sock);
            }
        }
    }

    fn has_listener(&self, endpoint: &Endpoint) -> bool {
        self.listeners.values().any(|listener| {
            let local = listener.local();
            local.port() == endpoint.port()
                && (local.is_any_address() || local.addr() == endpoint.addr())
        })
    }
}

fn found(track: &Track, at: Timestamp) -> Found {
    let starts_in = track.spans().first().map(|span| span.state);
    Found {
        state: track.state(),
        came: match starts_in {
            Some(TcpState::Close) => Came::Born,
            _ => Came::Found,
        },
        age: track.present_age(at),
        cookie: track.id().cookie,
    }
}
