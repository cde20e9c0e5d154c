//! How the listeners do, and what a look could not see.
//!
//! A connection that was never accepted is joined to the listener that it came from. The trap:
//! several sockets can listen on one address (`SO_REUSEPORT`), and which of them a connection waits
//! at is not to be seen, so the count is of the address.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{Descriptor, Endpoint, Scope, TcpState, Timestamp};
use crate::timeline::{Connection, Listener, MarkKind, Owners, Precision, Track, Tracker};

type Fast = foldhash::fast::RandomState;

/// A listener, and what waits at it.
#[derive(Clone, Copy, Debug)]
pub struct Health<'a> {
    /// The listener.
    pub listener: &'a Listener,
    /// Who listens.
    pub owners: Owners<'a>,
    /// What nobody has accepted at its address.
    pub never_accepted: NeverAccepted,
}

impl Health<'_> {
    /// Whether its queue is full, or closed connections are left in it.
    pub fn is_in_trouble(&self) -> bool {
        self.listener.is_full() || self.never_accepted.close_wait > 0
    }
}

/// Connections that wait in a listener's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeverAccepted {
    /// Of those the peer has closed.
    pub close_wait: usize,
    /// Of those it has not.
    pub established: usize,
}

/// How each of these listeners does, in the order given.
pub fn health<'a>(
    listeners: impl Iterator<Item = &'a Listener>,
    tracker: &'a Tracker,
) -> Vec<Health<'a>> {
    let waiting = never_accepted(tracker);
    listeners
        .map(|listener| {
            let name = (listener.id.scope, listener.local());
            Health {
                listener,
                owners: tracker.owners_of(listener),
                never_accepted: waiting.get(&name).copied().unwrap_or_default(),
            }
        })
        .collect()
}

/// What waits at each listening address.
fn never_accepted(tracker: &Tracker) -> HashMap<(Scope, Endpoint), NeverAccepted, Fast> {
    let mut by_end: HashMap<(Scope, Endpoint), NeverAccepted, Fast> = HashMap::default();
    for connection in tracker.connections() {
        for (side, track) in connection.visible() {
            if track.is_gone() || track.beside().descriptor != Some(Descriptor::NotAccepted) {
                continue;
            }
            let name = (track.id().scope, connection.endpoint(side));
            let count = by_end.entry(name).or_default();
            match track.state() {
                TcpState::CloseWait => count.close_wait += 1,
                TcpState::Established => count.established += 1,
                _ => {}
            }
        }
    }
    let mut by_listener: HashMap<(Scope, Endpoint), NeverAccepted, Fast> = HashMap::default();
    for ((scope, local), count) in by_end {
        // Several sockets of one address are one here.
        if let Some(listener) = tracker.listeners_of(local, scope).next() {
            let all = by_listener.entry((scope, listener.local())).or_default();
            all.close_wait += count.close_wait;
            all.established += count.established;
        }
    }
    by_listener
}

/// What a look could not see, and how much of it there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Sockets whose holders are not to be seen without more rights.
    pub hidden: usize,
    /// Sockets that did not answer for their counters.
    pub silent: usize,
    /// Ends in CLOSE_WAIT or FIN_WAIT2 that may be older than the threshold, as far as is known.
    pub undated: usize,
    /// Those of them in CLOSE_WAIT.
    pub undated_close_wait: usize,
    /// Connections with an end in CLOSE_WAIT or FIN_WAIT2 that is not old enough to count.
    pub younger: usize,
}

/// Counts what could not be seen of these connections.
pub fn unseen<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    older_than: Duration,
    now: Timestamp,
) -> Unseen {
    let mut unseen = Unseen::default();
    for connection in connections {
        let mut is_younger = false;
        for (_, track) in connection.visible().filter(|(_, track)| !track.is_gone()) {
            unseen.hidden += usize::from(track.owners() == Owners::Hidden);
            let is_silent = |mark: &crate::timeline::Mark| mark.kind == MarkKind::NoAnswer;
            unseen.silent += usize::from(track.marks().iter().any(is_silent));
            if may_be_older(track, older_than, now) {
                unseen.undated += 1;
                unseen.undated_close_wait += usize::from(track.state() == TcpState::CloseWait);
            } else {
                is_younger |= is_younger_than(track, older_than, now);
            }
        }
        unseen.younger += usize::from(is_younger);
    }
    unseen
}

fn is_younger_than(track: &Track, older_than: Duration, now: Timestamp) -> bool {
    let age = track.present_age(now);
    matches!(track.state(), TcpState::CloseWait | TcpState::FinWait2)
        && age.is_some_and(|age| age.at_most.is_some_and(|most| most < older_than))
}

/// Whether the state is younger than the threshold by its lower bound alone, and was there before
/// anybody looked.
fn may_be_older(track: &Track, older_than: Duration, now: Timestamp) -> bool {
    let is_timed = match track.state() {
        TcpState::CloseWait => true,
        TcpState::FinWait2 => track.beside().descriptor == Some(Descriptor::Held),
        _ => false,
    };
    let age = track.present_age(now);
    is_timed
        && track.spans().len() == 1
        && age.is_some_and(|age| {
            age.at_least < older_than
                && age.at_most.is_none_or(|most| most >= older_than)
                && age.precision() != Precision::Exact
        })
}
