//! What is known of each host: of each recording, when several are shown together.
//!
//! Counters, looks and losses are one host's own and prove nothing about another's sockets. The
//! trap: this is asked for at every event, so the first host, which is the only one live, is not
//! looked up at all.

use crate::model::observation::HostFacts;
use crate::model::{Endpoint, FourTuple, Look, Scope, SockId, SourceName, TcpState, Timestamp};
use crate::timeline::resets::Resets;
use crate::timeline::{Connection, EndRef, Side, Track, Tracker};

/// As many as [`SourceName`] has.
const SOURCES: usize = SourceName::Recording as usize + 1;
/// Interfaces with link-local connections, of one place; of more the ends are not paired.
const INTERFACES: usize = 64;

/// What is known of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) facts: HostFacts,
    pub(super) resets: Resets,
    /// Ends that a look misses and whose reset would have been counted.
    pub(super) missing_that_count: u64,
    /// Events are complete from then on; `None` while they do not run.
    pub(super) events_since: Option<Timestamp>,
    /// Events were lost then, and no look has been made since.
    pub(super) lost_at: Option<Timestamp>,
    looks: [Looks; SOURCES],
}

impl Host {
    #[inline]
    pub(super) const fn looks(&self, source: SourceName) -> &Looks {
        &self.looks[source as usize]
    }

    #[inline]
    pub(super) const fn looks_mut(&mut self, source: SourceName) -> &mut Looks {
        &mut self.looks[source as usize]
    }

    pub(super) fn note_facts(&mut self, facts: &HostFacts, at: Timestamp) {
        // Two threads read them, and the older reading may come last.
        let facts = facts.not_before(&self.facts);
        self.resets.note(&self.facts, &facts, at);
        self.facts = facts;
    }

    pub(super) fn note_loss(&mut self, source: SourceName, at: Timestamp) {
        match source {
            SourceName::Bpf => self.lost_at = Some(at),
            // What is lost of a recording can have been events; no look heals it but the one that
            // the recording itself is joined again with.
            SourceName::Recording => {}
            _ => return,
        }
        self.events_since = self.events_since.map(|_| at);
    }

    pub(super) fn missing_is_settled(&mut self) {
        self.missing_that_count = self.missing_that_count.saturating_sub(1);
    }
}

/// How much of what happened to an end events have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All of its life so far.
    Whole,
    /// All from then on: before, it was not known yet, no events ran, or some were lost.
    Since(Timestamp),
    /// They do not run.
    Off,
}

/// All hosts, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    first: Host,
    others: Vec<Host>,
    places: Vec<Place>,
}

/// A namespace of a host in which ends were met.
#[derive(Clone, Debug)]
struct Place {
    scope: Scope,
    /// The interfaces of its link-local addresses, which another host numbers otherwise.
    interfaces: Vec<u32>,
}

impl Hosts {
    /// A host; one that has said nothing is not there, and the first stands for it.
    #[inline]
    pub(super) fn get(&self, host: u16) -> &Host {
        match usize::from(host) {
            0 => &self.first,
            number => self.others.get(number - 1).unwrap_or(&self.first),
        }
    }

    /// A host, from now on known.
    #[inline]
    pub(super) fn get_mut(&mut self, host: u16) -> &mut Host {
        let number = usize::from(host);
        if number == 0 {
            return &mut self.first;
        }
        if self.others.len() < number {
            self.others.resize_with(number, Host::default);
        }
        &mut self.others[number - 1]
    }

    /// Whether the end's host had no room for a TIME_WAIT since the end was met.
    pub(super) fn has_overflowed(&self, connection: &Connection, side: Side) -> bool {
        connection.end(side).is_some_and(|track| {
            let now = self.get(track.id().scope.host).facts.time_wait_overflows;
            connection.overflows_at_open[side as usize] != now
        })
    }

    /// Notes where an end was met.
    pub(super) fn note_scope(&mut self, id: &SockId) {
        let place = self.places.iter().position(|place| place.scope == id.scope);
        let place = place.unwrap_or_else(|| {
            self.places.push(Place {
                scope: id.scope,
                interfaces: Vec::new(),
            });
            self.places.len() - 1
        });
        let Some(interface) = id.tuple.local.interface() else {
            return;
        };
        let interfaces = &mut self.places[place].interfaces;
        if interfaces.len() < INTERFACES && !interfaces.contains(&interface) {
            interfaces.push(interface);
        }
    }

    /// What the other end of a socket would be called in the other places.
    pub(super) fn mirrors_beside(
        &self,
        id: &SockId,
    ) -> impl Iterator<Item = (Scope, FourTuple)> + '_ {
        let (scope, mirror) = (id.scope, id.tuple.mirror());
        let is_link_local = mirror.local.interface().is_some();
        let places = self.places.iter().filter(move |place| place.scope != scope);
        places.flat_map(move |place| {
            let as_it_is = (!is_link_local).then_some(mirror);
            let there = place.interfaces.iter().filter(move |_| is_link_local);
            let renumbered = there.map(move |&interface| renumbered(mirror, interface));
            let tuples = as_it_is.into_iter().chain(renumbered);
            tuples.map(|tuple| (place.scope, tuple))
        })
    }
}

fn renumbered(tuple: FourTuple, interface: u32) -> FourTuple {
    let on = |end: Endpoint| Endpoint::on_interface(end.addr(), end.port(), interface);
    FourTuple {
        local: on(tuple.local),
        remote: on(tuple.remote),
    }
}

/// Begins of the newest complete looks of a source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looks {
    whole: Option<Timestamp>,
    without_time_wait: Option<Timestamp>,
}

impl Looks {
    /// The newest complete look that would have shown a socket in `state`.
    pub(super) fn covering(&self, state: TcpState) -> Option<Timestamp> {
        match state {
            TcpState::TimeWait => self.whole,
            _ => self.whole.max(self.without_time_wait),
        }
    }

    pub(super) fn note(&mut self, look: Look, begun: Timestamp) {
        let newest = match look {
            Look::Whole => &mut self.whole,
            Look::WithoutTimeWait => &mut self.without_time_wait,
        };
        *newest = (*newest).max(Some(begun));
    }
}

impl Tracker {
    /// Whether the host lets a server accept before the handshake has ended.
    pub(super) fn fast_open(&self, host: u16) -> bool {
        self.hosts.get(host).facts.server_fast_open
    }

    /// The begin of the newest complete look at a host, by whichever source.
    pub fn newest_look(&self, host: u16) -> Option<Timestamp> {
        let looks = self.hosts.get(host).looks.iter();
        looks
            .filter_map(|looks| looks.covering(TcpState::Established))
            .max()
    }

    /// The newest moment at which a look, an answer or an event has proven an end to be in its present
    /// state.
    pub fn proven(&self, track: &Track) -> Timestamp {
        let by = |source| self.last_seen(track, source);
        by(SourceName::SockDiag).max(by(SourceName::Proc))
    }

    /// How much events have told of an end.
    pub fn coverage(&self, track: &Track) -> Coverage {
        let Some(since) = self.hosts.get(track.id().scope.host).events_since else {
            return Coverage::Off;
        };
        match (track.not_born_before(), track.spans().first()) {
            (Some(born), _) if born >= since => Coverage::Whole,
            (_, Some(first)) => Coverage::Since(since.max(first.from.not_after())),
            (_, None) => Coverage::Since(since),
        }
    }

    /// Whether events run on the socket's host.
    pub(super) fn has_events(&self, id: &SockId) -> bool {
        self.hosts.get(id.scope.host).events_since.is_some()
    }

    /// What the looks of the track's host have covered.
    pub(super) fn looks_at(&self, track: &Track, source: SourceName) -> &Looks {
        self.hosts.get(track.id().scope.host).looks(source)
    }

    /// Whether the end's host had no room for a TIME_WAIT since the end was met.
    pub(super) fn has_overflowed(&self, end: EndRef) -> bool {
        let connection = self.connections.get(&end.conn);
        connection.is_some_and(|connection| self.hosts.has_overflowed(connection, end.side))
    }

    /// A missing end is found, or gone.
    pub(super) fn missing_is_settled(&mut self, end: EndRef) {
        let host = self.track(end).map(|track| track.id().scope.host);
        if let Some(host) = host {
            self.hosts.get_mut(host).missing_is_settled();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(host: u16, netns: u64, addrs: [&str; 2], interface: u32) -> SockId {
        let end = |addr: &str, port| Endpoint::on_interface(addr.parse().unwrap(), port, interface);
        SockId {
            scope: Scope {
                host,
                netns: Some(netns),
            },
            cookie: None,
            tuple: FourTuple {
                local: end(addrs[0], 40_000),
                remote: end(addrs[1], 80),
            },
        }
    }

    fn mirrors(hosts: &Hosts, id: &SockId) -> Vec<(u16, String)> {
        let mirrors = hosts.mirrors_beside(id);
        mirrors
            .map(|(scope, tuple)| (scope.host, format!("{}>{}", tuple.local, tuple.remote)))
            .collect()
    }

    #[test]
    fn hosts_are_there_when_they_speak() {
        let mut hosts = Hosts::default();
        hosts.get_mut(3).missing_that_count = 7;
        let counts = [0, 1, 2, 3].map(|host| hosts.get(host).missing_that_count);
        assert_eq!(counts, [0, 0, 0, 7]);
    }

    #[test]
    fn a_mirror_is_sought_in_every_other_place() {
        let mut hosts = Hosts::default();
        let here = id(0, 1, ["10.0.0.1", "10.0.0.2"], 0);
        hosts.note_scope(&here);
        assert!(mirrors(&hosts, &here).is_empty(), "there is no other");
        hosts.note_scope(&id(1, 1, ["10.0.0.2", "10.0.0.1"], 0));
        hosts.note_scope(&id(2, 9, ["10.0.0.2", "10.0.0.1"], 0));
        let mirror = "10.0.0.2:80>10.0.0.1:40000".to_owned();
        let expected = [(1, mirror.clone()), (2, mirror)];
        assert_eq!(mirrors(&hosts, &here), expected);
    }

    #[test]
    fn another_host_numbers_its_interfaces_otherwise() {
        let mut hosts = Hosts::default();
        let here = id(0, 1, ["fe80::1", "fe80::2"], 3);
        hosts.note_scope(&here);
        hosts.note_scope(&id(1, 1, ["fe80::2", "fe80::1"], 7));
        hosts.note_scope(&id(1, 1, ["fe80::2", "fe80::9"], 8));
        let on = |index| format!("[fe80::2%{index}]:80>[fe80::1%{index}]:40000");
        assert_eq!(mirrors(&hosts, &here), [(1, on(7)), (1, on(8))]);
    }
}
