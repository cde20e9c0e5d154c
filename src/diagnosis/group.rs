//! Findings of one kind, of one process and one peer, as one group: what `tcpwatch doctor` says a
//! sentence about.
//!
//! A process is its pid and the time of its start; forty that hold one socket are one party. The
//! peer is whom our end connected to, and where our end was connected to, its own address: then the
//! callers are counted, as each has a port of its own. The trap: a connection that was never
//! accepted has no holder; the process that should have accepted it is its listener's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Finding, Owned, Severity, Standing, Subject};
use crate::model::{Endpoint, ProcessId, Program, Scope, TcpState, Timestamp};
use crate::timeline::{Listener, Owners, Side, Tracker};

type Fast = foldhash::fast::RandomState;

/// Findings of one code, of the same processes and the same peer.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// What was found.
    pub code: Code,
    /// The worst of them.
    pub severity: Severity,
    /// Whose they are.
    pub owned: Owned,
    /// The processes, by pid.
    pub parties: Vec<Party>,
    /// With whom.
    pub peer: Peer,
    /// Where that address means something.
    pub scope: Scope,
    /// The callers' addresses, of connections that were opened from elsewhere.
    pub callers: BTreeSet<IpAddr>,
    /// The state that all of them are in; `None` of a listener or a destination.
    pub state: Option<TcpState>,
    /// How long the ends have been in their state.
    pub ages: Option<Ages>,
    /// What they have not read.
    pub unread: Option<Unread>,
    /// The findings, the oldest state first.
    pub findings: Vec<&'a Finding>,
}

/// A process of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Which.
    pub program: Arc<Program>,
    /// All descriptors under which it holds sockets of the group, ascending.
    pub fds: Vec<u32>,
}

/// The other side of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Our ends opened the connections to it.
    To(Endpoint),
    /// The connections were opened to this address of ours.
    At(Endpoint),
    /// Connections from an address to a destination.
    Between(IpAddr, Endpoint),
    /// Nobody in particular.
    Unknown,
}

/// The ages of several ends, each of which may be known between bounds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// The lower bound of the youngest.
    pub youngest: Duration,
    /// The upper bound of the youngest; `None` when it is not known.
    pub youngest_at_most: Option<Duration>,
    /// The lower bound of the oldest.
    pub oldest: Duration,
    /// None is older than this; `None` when of one it is not known.
    pub oldest_at_most: Option<Duration>,
}

/// Bytes received and not read, the FIN not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// All together.
    pub sum: u64,
    /// Of the end with the fewest.
    pub least: u32,
    /// Of the end with the most.
    pub most: u32,
}

impl Group<'_> {
    /// How many findings it holds.
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// What its findings have in common.
    pub fn key(&self) -> Key {
        Key {
            code: self.code,
            owned: self.owned,
            processes: processes(&self.parties),
            peer: self.peer,
            scope: self.scope,
        }
    }
}

impl Key {
    /// What was found.
    pub const fn code(&self) -> Code {
        self.code
    }
}

fn processes(parties: &[Party]) -> Vec<ProcessId> {
    parties.iter().map(|party| party.program.id).collect()
}

/// What makes findings one group: by it a group is known again, whatever comes to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    code: Code,
    owned: Owned,
    processes: Vec<ProcessId>,
    peer: Peer,
    scope: Scope,
}

/// The processes of a finding with their descriptors, and how they are known.
struct Whose {
    owned: Owned,
    parties: Vec<Party>,
}

impl Whose {
    fn of(owners: Owners<'_>) -> Self {
        let party = |holder: &crate::model::Holder| Party {
            program: Arc::clone(&holder.program),
            fds: holder.fds.clone(),
        };
        Self {
            owned: owners.into(),
            parties: owners.holders().iter().map(party).collect(),
        }
    }

    /// Those of all these listeners, which may be several processes' (`SO_REUSEPORT`).
    fn of_listeners<'a>(listeners: impl Iterator<Item = &'a Listener>, tracker: &Tracker) -> Self {
        let mut all: Option<Self> = None;
        for listener in listeners {
            let one = Self::of(tracker.owners_of(listener));
            match &mut all {
                None => all = Some(one),
                Some(all) => {
                    all.parties = merged(std::mem::take(&mut all.parties), &one.parties);
                    if all.owned != Owned::Now {
                        all.owned = one.owned;
                    }
                }
            }
        }
        all.unwrap_or(Self {
            owned: Owned::NotLooked,
            parties: Vec::new(),
        })
    }
}

/// The processes of both, their descriptors together.
fn merged(all: Vec<Party>, more: &[Party]) -> Vec<Party> {
    let mut by_id: BTreeMap<ProcessId, Party> = all
        .into_iter()
        .map(|party| (party.program.id, party))
        .collect();
    for party in more {
        let known = by_id
            .entry(party.program.id)
            .or_insert_with(|| party.clone());
        known.fds.extend_from_slice(&party.fds);
        known.fds.sort_unstable();
        known.fds.dedup();
    }
    by_id.into_values().collect()
}

/// Puts findings into groups as of a moment, the worst group first: by severity, then by how many
/// there are, then by the oldest.
pub fn group<'a>(
    findings: impl Iterator<Item = &'a Finding>,
    tracker: &Tracker,
    now: Timestamp,
) -> Vec<Group<'a>> {
    let mut sorter = Sorter {
        tracker,
        now,
        groups: Vec::new(),
        places: HashMap::default(),
        listening: HashMap::default(),
    };
    for finding in findings {
        sorter.take(finding);
    }
    let mut groups = sorter.groups;
    for group in &mut groups {
        group.settle(now);
    }
    groups.sort_by_key(|group| {
        let oldest = group.ages.map(|ages| ages.oldest);
        let first = group.findings.iter().map(|finding| finding.number).min();
        (
            Reverse((group.severity, group.count(), oldest)),
            group.code,
            first,
        )
    });
    groups
}

struct Sorter<'a, 't> {
    tracker: &'t Tracker,
    now: Timestamp,
    groups: Vec<Group<'a>>,
    places: HashMap<Key, usize, Fast>,
    /// Who listens at an address: asked once, not for each of three thousand that wait there.
    listening: HashMap<(Scope, Endpoint), (Owned, Vec<Party>), Fast>,
}

impl<'a> Sorter<'a, '_> {
    fn take(&mut self, finding: &'a Finding) {
        let whose = self.whose(finding);
        let (peer, scope) = peer_of(finding);
        let key = Key {
            code: finding.code,
            owned: whose.owned,
            processes: processes(&whose.parties),
            peer,
            scope,
        };
        let place = *self.places.entry(key).or_insert_with(|| {
            self.groups.push(Group {
                code: finding.code,
                severity: finding.severity,
                owned: whose.owned,
                parties: Vec::new(),
                peer,
                scope,
                callers: BTreeSet::new(),
                state: lasting(finding).map(|standing| standing.state),
                ages: None,
                unread: None,
                findings: Vec::new(),
            });
            self.groups.len() - 1
        });
        self.groups[place].add(finding, whose.parties, self.now);
    }

    fn whose(&mut self, finding: &Finding) -> Whose {
        let tracker = self.tracker;
        let (owned, parties) = match (&finding.subject, &finding.standing) {
            (Subject::Listener(id), _) => {
                return Whose::of_listeners(tracker.listener(id).into_iter(), tracker);
            }
            (_, Some(standing)) if finding.code == Code::CloseWaitNeverAccepted => self
                .listening
                .entry((standing.scope, standing.local))
                .or_insert_with(|| {
                    let listeners = tracker.listeners_of(standing.local, standing.scope);
                    let whose = Whose::of_listeners(listeners, tracker);
                    (whose.owned, whose.parties)
                })
                .clone(),
            (_, Some(standing)) => return Whose::of(standing.owners()),
            (_, None) => (Owned::NotLooked, Vec::new()),
        };
        Whose { owned, parties }
    }
}

/// How the end stands that it is about; a fact was so once, and grows no older.
fn lasting(finding: &Finding) -> Option<&Standing> {
    let standing = finding.standing.as_ref();
    standing.filter(|_| !finding.code.is_fact())
}

fn peer_of(finding: &Finding) -> (Peer, Scope) {
    match (&finding.subject, &finding.standing) {
        (Subject::Listener(id), _) => (Peer::At(id.tuple.local), id.scope),
        (
            Subject::Destination {
                scope,
                local,
                remote,
            },
            _,
        ) => (Peer::Between(*local, *remote), *scope),
        (_, Some(standing)) => match standing.side {
            Side::A => (Peer::To(standing.remote), standing.scope),
            Side::B => (Peer::At(standing.local), standing.scope),
        },
        (_, None) => (Peer::Unknown, Scope::default()),
    }
}

impl<'a> Group<'a> {
    fn add(&mut self, finding: &'a Finding, parties: Vec<Party>, now: Timestamp) {
        self.severity = self.severity.max(finding.severity);
        self.findings.push(finding);
        if self.parties.is_empty() {
            self.parties = parties;
        } else {
            // The same processes in the same order: that is what made them one group.
            for (known, party) in self.parties.iter_mut().zip(parties) {
                known.fds.extend(party.fds);
            }
        }
        if let (Some(standing), Peer::At(_)) = (&finding.standing, self.peer) {
            self.callers.insert(standing.remote.addr());
        }
        if let Some(standing) = lasting(finding) {
            self.add_end(standing, now);
        }
    }

    fn add_end(&mut self, standing: &Standing, now: Timestamp) {
        if self.state != Some(standing.state) {
            self.state = None;
        }
        let age = standing.age(now);
        self.ages = Some(match self.ages {
            None => Ages {
                youngest: age.at_least,
                youngest_at_most: age.at_most,
                oldest: age.at_least,
                oldest_at_most: age.at_most,
            },
            Some(ages) => Ages {
                youngest: ages.youngest.min(age.at_least),
                youngest_at_most: match (ages.youngest_at_most, age.at_most) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                },
                oldest: ages.oldest.max(age.at_least),
                oldest_at_most: ages.oldest_at_most.zip(age.at_most).map(|(a, b)| a.max(b)),
            },
        });
        if let Some(bytes) = standing.unread {
            let unread = self.unread.get_or_insert(Unread {
                sum: 0,
                least: bytes,
                most: bytes,
            });
            unread.sum += u64::from(bytes);
            unread.least = unread.least.min(bytes);
            unread.most = unread.most.max(bytes);
        }
    }

    /// All is in: puts it in order.
    fn settle(&mut self, now: Timestamp) {
        for party in &mut self.parties {
            party.fds.sort_unstable();
            party.fds.dedup();
        }
        self.findings.sort_by_key(|finding| {
            let standing = finding.standing.as_ref();
            let age = standing.map(|standing| standing.age(now).at_least);
            // Of one age are those of which none is known: they were found in the order of a hash.
            let place = standing.map(|standing| {
                [standing.local, standing.remote].map(|end| (end.port(), end.addr()))
            });
            (Reverse(age), place, finding.number)
        });
    }
}

/// Numbers as ranges, first and last of each: 9-65. They have to be in order.
pub fn ranges(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number <= last.saturating_add(1) => *last = number.max(*last),
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_range() {
        let of = |numbers: &[u32]| ranges(numbers.iter().copied());
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[9, 10, 11, 65]), [(9, 11), (65, 65)]);
        assert_eq!(of(&[u32::MAX]), [(u32::MAX, u32::MAX)]);
    }
}
