//! Clocks that are so far apart that no connection finds its other end.
//!
//! Of connections that show one end only, the newest of each host are kept. When many of two hosts
//! mirror each other, with the same time between them, that time is how far the clocks are apart.
//! The trap: a 4-tuple is used again, so a mirror alone proves nothing; only that many agree does.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::{FourTuple, TcpState, Timestamp};
use crate::timeline::{Connection, Track, When};

/// So many are kept of each host.
const KEPT: usize = 4096;
/// How many lives of one 4-tuple are compared.
const LIVES: usize = 8;
/// Times between the two ends that are as close agree: looks may be as far apart.
const CLOSE: i64 = 1_000_000_000;
/// Nearer than this, ends are paired whatever the clocks say.
const NEAR: u64 = 2_000_000_000;
/// So many have to agree.
const QUORUM: usize = 3;

/// Connections that would be joined by an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// How many, of those that are kept.
    pub connections: u64,
    /// What joins them, nanoseconds to be added to the second host's stamps.
    pub offset: i64,
}

/// Ends whose other ends were not seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Alone {
    /// By the number of the host, the newest last.
    hosts: Vec<VecDeque<End>>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    tuple: FourTuple,
    born: Option<Timestamp>,
    first_fin: Option<Timestamp>,
}

impl Alone {
    /// Keeps a connection of which one end was seen; others are of no interest.
    pub(super) fn take(&mut self, connection: &Connection) {
        let mut visible = connection.visible();
        let (Some((_, track)), None) = (visible.next(), visible.next()) else {
            return;
        };
        let end = End {
            tuple: *track.tuple(),
            born: born(track),
            first_fin: first_fin(track),
        };
        let says_when = end.born.is_some() || end.first_fin.is_some();
        if connection.is_multipath() || end.tuple.local.addr().is_loopback() || !says_when {
            return;
        }
        let host = usize::from(track.id().scope.host);
        if self.hosts.len() <= host {
            self.hosts.resize_with(host + 1, VecDeque::new);
        }
        let kept = &mut self.hosts[host];
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(end);
    }

    /// The pairs of hosts, the lower number first, that have connections which would be joined.
    pub(super) fn apart(&self) -> Vec<((u16, u16), Apart)> {
        let mut found = Vec::new();
        for (first, ends) in self.hosts.iter().enumerate() {
            let by_tuple = by_tuple(ends);
            for (second, others) in self.hosts.iter().enumerate().skip(first + 1) {
                let hosts = u16::try_from(first).ok().zip(u16::try_from(second).ok());
                found.extend(hosts.zip(apart(&by_tuple, others)));
            }
        }
        found
    }
}

type ByTuple<'a> = HashMap<FourTuple, Vec<&'a End>>;

fn by_tuple(ends: &VecDeque<End>) -> ByTuple<'_> {
    let mut by_tuple = ByTuple::new();
    for end in ends.iter().rev() {
        let lives = by_tuple.entry(end.tuple).or_default();
        if lives.len() < LIVES {
            lives.push(end);
        }
    }
    by_tuple
}

fn apart(ends: &ByTuple<'_>, others: &VecDeque<End>) -> Option<Apart> {
    let mut offsets: Vec<i64> = Vec::new();
    for other in others {
        let lives = ends.get(&other.tuple.mirror()).into_iter().flatten();
        offsets.extend(lives.filter_map(|end| offset(end, other)));
    }
    offsets.sort_unstable();
    let close = |&begin: &usize| {
        let within = offsets[begin].saturating_add(CLOSE);
        offsets[begin..].partition_point(|offset| *offset <= within)
    };
    let begin = (0..offsets.len()).max_by_key(close)?;
    let count = close(&begin);
    let offset = offsets[begin + count / 2];
    let most = others.len().min(count);
    (count >= QUORUM && offset.unsigned_abs() > NEAR).then_some(Apart {
        connections: most as u64,
        offset,
    })
}

/// What is to be added to the other's stamps, if both are ends of one connection.
fn offset(end: &End, other: &End) -> Option<i64> {
    let born = end.born.zip(other.born);
    let (here, there) = born.or_else(|| end.first_fin.zip(other.first_fin))?;
    let distance = i64::try_from(here.distance(there).as_nanos()).ok()?;
    Some(if here >= there { distance } else { -distance })
}

fn born(track: &Track) -> Option<Timestamp> {
    let [unborn, first, ..] = track.spans() else {
        return None;
    };
    (unborn.state == TcpState::Close)
        .then(|| middle(first.from))
        .flatten()
}

fn first_fin(track: &Track) -> Option<Timestamp> {
    let is_after = |state| matches!(state, TcpState::FinWait1 | TcpState::CloseWait);
    let first = track.spans().iter().find(|span| is_after(span.state))?;
    middle(first.from)
}

/// `None` when it may have been long before.
fn middle(when: When) -> Option<Timestamp> {
    let (from, to) = (when.not_before()?, when.not_after());
    let lasted = to.since(from);
    (lasted <= Duration::from_nanos(CLOSE.unsigned_abs())).then(|| from.plus(lasted / 2))
}
