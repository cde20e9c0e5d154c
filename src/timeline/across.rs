//! Pairing across recordings: the two ends of one 4-tuple that lie on two hosts, or in two
//! namespaces, are one connection.
//!
//! The trap: two clocks. One end can be over, and its 4-tuple used again, when the other end's
//! beginning is told. So an end whose place beside it is free stays to be found for a while after
//! it is over, its earlier lives too, and lives in a row find each other in their order. What
//! clear pairs have shown of the clocks helps to choose.

use std::time::Duration;

use crate::model::time::nanos_of;
use crate::model::{Sample, SockId, SourceName, TcpState, Timestamp};
use crate::timeline::ingest::Sight;
use crate::timeline::opening::is_local;
use crate::timeline::{ConnId, Connection, EndRef, Track, Tracker};

/// Two clocks may be so far apart as long as nothing better is known: far enough for clocks that
/// nobody has set well, near enough not to take the next life of a 4-tuple for this one.
const APART: Duration = Duration::from_secs(10);
/// What is allowed beside an offset that several pairs agree on: a clock may be set.
const SETTLED: Duration = Duration::from_secs(2);
/// The same for a birth on a 4-tuple that is used again and again, where the next life is not far:
/// the way through the network, beside what is not known of the births.
const NEXT_LIFE: Duration = Duration::from_millis(250);
/// Births that are known so well show an offset, and such offsets agree.
const NARROW: u64 = 1_000_000_000;
/// So many pairs have to agree.
const QUORUM: u32 = 3;
/// How many lives of one 4-tuple are looked through.
const LIVES: usize = 64;

/// How far the clocks of two hosts seem to be apart, by the births of ends that were paired.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets(Vec<Offset>);

#[derive(Clone, Copy, Debug)]
struct Offset {
    /// The lower number first.
    hosts: (u16, u16),
    /// The second host's stamps are ahead by so many nanoseconds.
    ahead: i64,
    /// As well as that is known.
    within: Duration,
    agreeing: u32,
}

/// How much later than one host's another's stamps are to be expected.
#[derive(Clone, Copy, Debug)]
struct Expected {
    ahead: i64,
    allowed: Duration,
    /// For births on a 4-tuple that is used again.
    allowed_if_used_again: Duration,
    is_known: bool,
}

impl Offsets {
    fn expected(&self, from: u16, to: u16) -> Expected {
        let hosts = (from.min(to), from.max(to));
        let Some(known) = self.0.iter().find(|offset| offset.hosts == hosts) else {
            return Expected {
                ahead: 0,
                allowed: APART,
                allowed_if_used_again: APART,
                is_known: false,
            };
        };
        let (allowed, allowed_if_used_again) = if known.agreeing >= QUORUM {
            (SETTLED, NEXT_LIFE + known.within)
        } else {
            (APART, APART)
        };
        Expected {
            ahead: if from <= to {
                known.ahead
            } else {
                -known.ahead
            },
            allowed,
            allowed_if_used_again,
            is_known: true,
        }
    }

    fn note(&mut self, from: u16, to: u16, ahead: i64, within: Duration) {
        let hosts = (from.min(to), from.max(to));
        let ahead = if from <= to { ahead } else { -ahead };
        match self.0.iter_mut().find(|offset| offset.hosts == hosts) {
            None => self.0.push(Offset {
                hosts,
                ahead,
                within,
                agreeing: 1,
            }),
            Some(known) if known.ahead.abs_diff(ahead) <= NARROW => {
                // Clocks drift.
                (known.ahead, known.within) = (ahead, within);
                known.agreeing = (known.agreeing + 1).min(2 * QUORUM);
            }
            Some(known) => {
                known.agreeing -= 1;
                if known.agreeing == 0 {
                    (known.ahead, known.within) = (ahead, within);
                    known.agreeing = 1;
                }
            }
        }
    }
}

/// An end that is met for the first time.
#[derive(Clone, Copy)]
struct Newcomer {
    state: TcpState,
    /// When it was born, between the two; `None` when it was there before.
    born: Option<(Timestamp, Timestamp)>,
    /// It was there by then.
    seen: Timestamp,
}

impl Newcomer {
    /// By the other host's clock.
    fn by(self, expected: Expected) -> Self {
        let shift = |at: Timestamp| at.shifted(expected.ahead.saturating_neg());
        Self {
            born: self.born.map(|(from, to)| (shift(from), shift(to))),
            seen: shift(self.seen),
            ..self
        }
    }

    fn began(self) -> Timestamp {
        self.born.map_or(self.seen, |(from, _)| from)
    }

    /// Whether this can be the other end of the life of which only `there` is seen.
    fn belongs_beside(self, there: &Track, allowed: Duration) -> bool {
        let is_opening = !there
            .spans
            .iter()
            .any(|span| !matches!(span.state, TcpState::SynSent | TcpState::Close));
        let is_old_time_wait = self.born.is_none() && self.state == TcpState::TimeWait;
        if is_old_time_wait && is_opening && !there.is_gone() {
            // It talks to what an earlier life has left.
            return false;
        }
        let is_born_too_late = self.born.is_some_and(|(from, _)| {
            established_by(there).is_some_and(|by| from > by.plus(allowed))
        });
        let is_too_late = over_since(there).is_some_and(|over| {
            self.began() > over.plus(allowed) && !self.is_left_behind_by(there)
        });
        !is_born_too_late && !is_too_late
    }

    /// It has the FIN of an end that is over, and was not born since: nobody else can have sent it.
    fn is_left_behind_by(self, there: &Track) -> bool {
        let has_sent_fin = there.passed(TcpState::FinWait1) || there.passed(TcpState::FinWait2);
        let has_received = matches!(
            self.state,
            TcpState::CloseWait | TcpState::LastAck | TcpState::Closing | TcpState::TimeWait
        );
        self.born.is_none() && has_received && has_sent_fin
    }
}

impl Tracker {
    /// The end on another host, or in another namespace, whose other end this can be.
    pub(super) fn partner_elsewhere(&self, sample: &Sample, sight: Sight) -> Option<EndRef> {
        let tuple = &sample.id.tuple;
        if is_local(tuple) || tuple.local.addr().is_loopback() {
            return None;
        }
        let newcomer = self.newcomer(sample, sight);
        self.hosts
            .mirrors_beside(&sample.id)
            .filter_map(|name| self.by_tuple.get(&name).copied())
            .find_map(|newest| self.partner_among(newest.conn, &sample.id, newcomer))
    }

    /// Among the lives of a 4-tuple as another host has seen them, from the newest back: those that
    /// are alone. Behind one that is not, all are of the past.
    fn partner_among(&self, newest: ConnId, id: &SockId, newcomer: Newcomer) -> Option<EndRef> {
        let lives = std::iter::successors(self.connections.get(&newest), |connection| {
            self.connections.get(&connection.previous?)
        });
        let candidates = lives
            .take(LIVES)
            .map_while(|connection| self.is_beside(connection, id, newcomer));
        // From the newest to the oldest.
        let mut found: Option<Candidate> = None;
        for candidate in candidates {
            let is_better = match (found, newcomer.born) {
                (None, _) => true,
                // Of those that were there when we came the newest is the likely one.
                (Some(_), None) => false,
                (Some(found), Some(_)) => !candidate.is_known || candidate.off <= found.off,
            };
            if is_better {
                found = Some(candidate);
            }
        }
        found.map(|candidate| candidate.end)
    }

    fn is_beside(
        &self,
        connection: &Connection,
        id: &SockId,
        newcomer: Newcomer,
    ) -> Option<Candidate> {
        let mut visible = connection.visible();
        let (Some((side, there)), None) = (visible.next(), visible.next()) else {
            return None;
        };
        let expected = self.offsets.expected(there.id().scope.host, id.scope.host);
        let newcomer = newcomer.by(expected);
        let off = birth(there)
            .zip(newcomer.born)
            .map(|(there, here)| middle(there).distance(middle(here)));
        let is_used_again = connection.previous.is_some() && newcomer.born.is_some();
        let allowed = if is_used_again {
            expected.allowed_if_used_again
        } else {
            expected.allowed
        };
        newcomer
            .belongs_beside(there, allowed)
            .then_some(Candidate {
                end: EndRef {
                    conn: connection.id,
                    side,
                },
                is_known: expected.is_known,
                off: off.unwrap_or(APART),
            })
    }

    fn newcomer(&self, sample: &Sample, sight: Sight) -> Newcomer {
        let born = match (sight.newborn, sight.source) {
            (false, _) => None,
            (true, SourceName::Bpf) => Some(sight.begun),
            (true, source) => {
                let host = self.hosts.get(sample.id.scope.host);
                host.looks(source).covering(sample.state)
            }
        };
        Newcomer {
            state: sample.state,
            born: born.map(|from| (from, sight.at)),
            seen: sight.begun,
        }
    }

    /// An end has found its partner on another host. What was over is not, until this end is too.
    pub(super) fn join_hosts(&mut self, end: EndRef) {
        self.note_offset(end);
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        if connection.closed.take().is_some()
            && let Some(place) = self.settled.iter().rposition(|id| *id == end.conn)
        {
            self.settled.remove(place);
        }
    }

    /// The births of two ends of which each was alone show how far their clocks are apart.
    fn note_offset(&mut self, end: EndRef) {
        let Some(connection) = self.connections.get(&end.conn) else {
            return;
        };
        let (Some(here), Some(there)) =
            (connection.end(end.side), connection.end(end.side.other()))
        else {
            return;
        };
        let was_alone = connection
            .previous
            .and_then(|id| self.connections.get(&id))
            .is_none_or(|before| before.visible().count() == 2);
        let (Some(born), Some(born_there)) = (birth(here), birth(there)) else {
            return;
        };
        let is_narrow = |(from, to): (Timestamp, Timestamp)| nanos_of(to.since(from)) <= NARROW;
        let (here, there) = (here.id().scope.host, there.id().scope.host);
        if was_alone && is_narrow(born) && is_narrow(born_there) && here != there {
            let ahead = signed(middle(born_there), middle(born));
            let width = |(from, to): (Timestamp, Timestamp)| to.since(from) / 2;
            let within = width(born) + width(born_there);
            self.offsets.note(there, here, ahead, within);
        }
    }
}

#[derive(Clone, Copy)]
struct Candidate {
    end: EndRef,
    /// Something is known of how far the clocks are apart.
    is_known: bool,
    /// How far the two births are from that.
    off: Duration,
}

/// When the track was born, `None` when it was there before.
fn birth(track: &Track) -> Option<(Timestamp, Timestamp)> {
    track.not_born_before()?;
    let from = track.spans.get(1)?.from;
    Some((from.not_before()?, from.not_after()))
}

/// From when on the other end must have been there; `None` while nobody has answered.
fn established_by(track: &Track) -> Option<Timestamp> {
    let answered = track
        .spans
        .iter()
        .find(|span| !matches!(span.state, TcpState::Close | TcpState::SynSent))?;
    Some(answered.from.not_after())
}

/// Since when nothing more is to be expected of the end.
fn over_since(track: &Track) -> Option<Timestamp> {
    if !track.is_over() {
        return None;
    }
    let before_its_birth = usize::from(track.not_born_before().is_some());
    let over = |state| matches!(state, TcpState::TimeWait | TcpState::Close);
    let mut spans = track.spans.iter().skip(before_its_birth);
    let first = spans.find(|span| over(span.state))?;
    Some(first.from.not_after())
}

fn middle((from, to): (Timestamp, Timestamp)) -> Timestamp {
    from.plus(to.since(from) / 2)
}

/// `to - from` in nanoseconds.
fn signed(from: Timestamp, to: Timestamp) -> i64 {
    let distance = i64::try_from(nanos_of(from.distance(to))).unwrap_or(i64::MAX);
    if to >= from { distance } else { -distance }
}
