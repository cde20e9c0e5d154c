//! Which incarnation a row belongs to: the life that is known, or another on the same 4-tuple.
//!
//! The cookie decides, where there is one. The traps: the kernel can give one life two of them,
//! when a look meets its handshake at the wrong moment; and the rows of a look come one by one,
//! so that an end of a new life can be met while the other end's old life still looks alive.

use crate::model::tcp::can_follow;
use crate::model::{Poll, Sample, SourceName, TcpState, Timestamp};
use crate::timeline::{EndRef, Tracker};

impl Tracker {
    /// One table, one socket a 4-tuple: whoever had one before that a row of this look shows in
    /// another life is gone. Before any row is met, or the first end of a new life would be paired
    /// with the second of the old one.
    pub(super) fn end_the_lives_before(&mut self, poll: &Poll, at: Timestamp, source: SourceName) {
        // Again when one was ended: who is gone is evidence for the other end
        // ([`Tracker::renamed`]).
        while self.end_those_before(poll, at, source) {}
    }

    /// Says whether there was one. A change that comes under a cookie is of the life that has it.
    fn end_those_before(&mut self, poll: &Poll, at: Timestamp, source: SourceName) -> bool {
        let nameless = poll.changed.iter().filter(|s| s.id.cookie.is_none());
        let mut any = false;
        for sample in poll.appeared.iter().chain(nameless) {
            if !self.is_stale(sample, poll.begun) {
                any |= self.end_the_life_before(sample, at, source);
            }
        }
        any
    }

    fn end_the_life_before(&mut self, sample: &Sample, at: Timestamp, source: SourceName) -> bool {
        if matches!(sample.state, TcpState::Listen | TcpState::Close) {
            return false;
        }
        let id = &sample.id;
        let ended = self
            .by_tuple
            .get(&(id.scope, id.tuple))
            .copied()
            .filter(|end| self.track(*end).is_some_and(|track| !track.is_gone()))
            .filter(|end| !self.continues(*end, sample) && self.renamed(sample, source).is_none());
        if let Some(end) = ended {
            self.end_track(end, at, source, true);
        }
        ended.is_some()
    }

    /// Whether the row can be the same incarnation. Cookies decide; without them a file that is
    /// another, or a state that cannot follow, is another life.
    pub(super) fn continues(&self, end: EndRef, sample: &Sample) -> bool {
        let Some(track) = self.track(end) else {
            return false;
        };
        let fast_open = self.fast_open(sample.id.scope.host);
        let same_socket = match (track.id().cookie, sample.id.cookie) {
            (Some(known), Some(seen)) => known == seen,
            _ => same_file(&track.last, sample),
        };
        // The cookie is the socket's, and a program can connect one socket again and again.
        same_socket
            && !track.is_gone()
            && *track.tuple() == sample.id.tuple
            && (track.state() == sample.state || can_follow(track.state(), sample.state, fast_open))
    }

    /// The same life under another cookie. The kernel gives a socket its cookie when a look first
    /// meets it. In that very moment it may be making the next socket of this life from it, which
    /// then does not inherit it: the connection from the handshake's (inet_csk_clone_lock,
    /// net/ipv4/inet_connection_sock.c), or the mini-socket from the connection's (tcp_time_wait,
    /// net/ipv4/tcp_minisocks.c). So this can be only where no later look showed the first one.
    ///
    /// It could also be two lives, of which one ended and the other came as far between two looks;
    /// unless the other end shows that, one is the better guess by far.
    pub(super) fn renamed(&self, sample: &Sample, source: SourceName) -> Option<EndRef> {
        let id = &sample.id;
        let end = self.by_tuple.get(&(id.scope, id.tuple)).copied()?;
        let track = self.track(end)?;
        let is_heir = match track.state() {
            TcpState::SynRecv => sample.state != TcpState::SynRecv,
            TcpState::SynSent | TcpState::TimeWait => false,
            _ => sample.is_mini_socket(),
        };
        let is_other_gone = self
            .connections
            .get(&end.conn)?
            .end(end.side.other())
            // Another clock proves nothing.
            .is_some_and(|other| other.is_gone() && other.id().scope == id.scope);
        let first_sight = track
            .spans
            .iter()
            .find(|span| span.state != TcpState::Close)?
            .from
            .not_after();
        let fast_open = self.fast_open(id.scope.host);
        (is_heir
            && !track.is_gone()
            && !is_other_gone
            && self.last_seen(track, source) <= first_sight
            && (track.state() == sample.state
                || can_follow(track.state(), sample.state, fast_open)))
        .then_some(end)
    }

    /// Takes over the new cookie.
    pub(super) fn rename(&mut self, end: EndRef, sample: &Sample) {
        let known = self.track(end).and_then(|track| track.id().cookie);
        if let Some(cookie) = known {
            self.by_cookie.remove(&(sample.id.scope, cookie));
        }
        self.index(end, &sample.id);
    }
}

/// Whether the files of two rows of one 4-tuple allow them to be of one life.
fn same_file(known: &Sample, seen: &Sample) -> bool {
    match (known.inode, seen.inode) {
        (Some(known), Some(seen)) => known == seen,
        // Only accept() gives a socket its file late (sock_graft, net/core/sock.c).
        (None, Some(_)) => matches!(
            known.state,
            TcpState::SynRecv | TcpState::Established | TcpState::CloseWait
        ),
        // And only closing takes it away.
        (Some(_), None) => !matches!(
            seen.state,
            TcpState::SynRecv | TcpState::Established | TcpState::CloseWait
        ),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::{
        Body, Cookie, Endpoint, FourTuple, Look, Observation, Queues, Scope, SockId, Timer,
        TimerKind,
    };
    use crate::timeline::{Side, Track};

    const CLIENT: u16 = 40_000;
    const SERVER: u16 = 80;

    fn row((from, to): (u16, u16), state: TcpState, cookie: u64) -> Sample {
        let end = |port| Endpoint::from((Ipv4Addr::LOCALHOST, port));
        let tuple = FourTuple {
            local: end(from),
            remote: end(to),
        };
        Sample {
            id: SockId {
                scope: Scope::default(),
                cookie: Some(Cookie(cookie)),
                tuple,
            },
            state,
            queues: Queues::Absent,
            timer: None,
            retransmits: 0,
            inode: None,
            uid: None,
            shutdown: None,
            cgroup: None,
            multipath: false,
        }
    }

    fn client(state: TcpState, cookie: u64) -> Sample {
        row((CLIENT, SERVER), state, cookie)
    }

    fn server(state: TcpState, cookie: u64) -> Sample {
        row((SERVER, CLIENT), state, cookie)
    }

    fn mini(sample: Sample) -> Sample {
        let timer = Timer {
            kind: TimerKind::TimeWait,
            deadline: Timestamp::from_nanos(60_000_000_000),
        };
        Sample {
            timer: Some(timer),
            ..sample
        }
    }

    /// A tracker after these looks, 10 ns apart, and one before them that showed nothing.
    fn tracker(looks: &[&[Sample]]) -> Tracker {
        let mut tracker = Tracker::default();
        for (index, rows) in [&[][..]].iter().chain(looks).enumerate() {
            let at = index as u64 * 10;
            tracker.ingest(&Observation {
                host: 0,
                at: Timestamp::from_nanos(at + 5),
                source: SourceName::SockDiag,
                body: Body::Poll(Poll {
                    begun: Timestamp::from_nanos(at),
                    look: Look::Whole,
                    complete: true,
                    first: index == 0,
                    appeared: rows.to_vec(),
                    changed: Vec::new(),
                    missing: Vec::new(),
                }),
            });
        }
        tracker
    }

    /// The states of both ends of each connection after these looks.
    fn after(looks: &[&[Sample]]) -> Vec<[Option<TcpState>; 2]> {
        let states = |connection: &crate::timeline::Connection| {
            Side::BOTH.map(|side| connection.end(side).map(Track::state))
        };
        tracker(looks).connections().map(states).collect()
    }

    #[test]
    fn a_life_that_ends_within_one_look_is_one_connection() {
        let rows = [server(TcpState::SynRecv, 1), client(TcpState::TimeWait, 2)];
        let lanes = [Some(TcpState::TimeWait), Some(TcpState::SynRecv)];
        assert_eq!(after(&[&rows]), [lanes]);
    }

    #[test]
    fn a_client_in_syn_sent_is_not_of_the_life_that_left_a_time_wait() {
        let before = [server(TcpState::TimeWait, 2)];
        let rows = [client(TcpState::SynSent, 1)];
        assert_eq!(after(&[&before, &rows]).len(), 2);
    }

    #[test]
    fn a_client_in_syn_sent_is_of_the_life_whose_time_wait_is_new() {
        let (first, second) = (client(TcpState::SynSent, 1), server(TcpState::TimeWait, 2));
        let lanes = [Some(TcpState::SynSent), Some(TcpState::TimeWait)];
        assert_eq!(after(&[&[first, second]]), [lanes]);
        assert_eq!(after(&[&[first], &[second]]), [lanes]);
    }

    #[test]
    fn a_handshake_and_its_connection_are_one_life_under_two_cookies() {
        let first = [
            client(TcpState::Established, 1),
            server(TcpState::SynRecv, 2),
        ];
        let second = [server(TcpState::Established, 3)];
        let lanes = [Some(TcpState::Established), Some(TcpState::Established)];
        assert_eq!(after(&[&first, &second]), [lanes]);
    }

    #[test]
    fn a_connection_and_its_mini_socket_are_one_life_under_two_cookies() {
        let first = [client(TcpState::FinWait2, 1)];
        let second = [mini(client(TcpState::TimeWait, 2))];
        let lanes = [Some(TcpState::TimeWait), None];
        assert_eq!(after(&[&first, &second]), [lanes]);
        // Not when the first was there to stay.
        assert_eq!(after(&[&first, &[], &second]).len(), 2);
    }

    #[test]
    fn the_ends_of_a_new_life_find_each_other_in_any_order() {
        let first = [client(TcpState::TimeWait, 1), server(TcpState::SynRecv, 2)];
        let (a, b) = (
            client(TcpState::FinWait2, 3),
            server(TcpState::CloseWait, 4),
        );
        let newest = [Some(TcpState::FinWait2), Some(TcpState::CloseWait)];
        for second in [[a, b], [b, a]] {
            assert_eq!(after(&[&first, &second]).last(), Some(&newest));
        }
        // The server's new end looks like the old handshake's, but for the client's.
        let first = [
            client(TcpState::Established, 1),
            server(TcpState::SynRecv, 2),
        ];
        for second in [[a, b], [b, a]] {
            assert_eq!(after(&[&first, &second]).last(), Some(&newest));
        }
    }

    #[test]
    fn an_end_that_a_look_skipped_is_not_younger_than_the_other() {
        let first = [client(TcpState::Established, 1)];
        let second = [server(TcpState::Established, 2)];
        let tracker = tracker(&[&first, &second]);
        let connection = tracker.connections().next().unwrap();
        for side in Side::BOTH {
            let born = connection.end(side).unwrap().spans()[1].from;
            assert_eq!(born.not_before(), Some(Timestamp::from_nanos(0)));
        }
    }

    #[test]
    fn a_socket_connected_to_itself_is_end_a_whatever_it_was_met_in() {
        for state in [TcpState::SynRecv, TcpState::Established] {
            let rows = [row((CLIENT, CLIENT), state, 1)];
            assert_eq!(after(&[&rows]), [[Some(state), None]]);
        }
    }
}
