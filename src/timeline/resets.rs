//! Resets that the host has counted, waiting for the connection that they ended.
//!
//! Every end that goes from ESTABLISHED or CLOSE_WAIT straight to CLOSE counts one
//! (`tcp_set_state`, net/ipv4/tcp.c). The trap: the count is the whole namespace's. So a
//! connection claims only what was counted after its ends were last seen, all that it wants or
//! nothing, and nothing while others that vanished with it may want the same.

use std::collections::VecDeque;

use crate::model::observation::HostFacts;
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, Track};

/// Older counts can't be of a connection that vanishes now.
const KEPT: usize = 64;

/// Counted and not claimed.
#[derive(Clone, Debug, Default)]
pub(super) struct Resets {
    /// The newest last.
    counts: VecDeque<Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    /// By when they were counted.
    at: Timestamp,
    unclaimed: u64,
}

impl Resets {
    /// Takes in new facts of the host.
    pub(super) fn note(&mut self, before: &HostFacts, now: &HostFacts, at: Timestamp) {
        let (Some(before), Some(now)) = (before.resets, now.resets) else {
            return;
        };
        if now > before {
            self.counts.push_back(Count {
                at,
                unclaimed: now - before,
            });
        }
        if self.counts.len() > KEPT {
            self.counts.pop_front();
        }
    }

    /// Whether none at all was counted since then.
    pub(super) fn none_since(&self, since: Timestamp) -> bool {
        self.counts.back().is_none_or(|count| count.at <= since)
    }

    /// Claims the resets of a connection whose ends have vanished without TIME_WAIT; says whether
    /// there were as many as it wants. `others` are ends that a look misses as well and that may
    /// want theirs. Only the ends of one host count, that of these resets.
    pub(super) fn claim(&mut self, connection: &Connection, host: u16, others: u64) -> bool {
        let all = || connection.visible().map(|(_, track)| track);
        let tracks = || all().filter(|track| track.id().scope.host == host);
        if all().any(|track| track.passed(TcpState::TimeWait)) {
            return false;
        }
        let since = tracks().filter_map(vanished_after).min();
        let mut wanted = tracks().filter(|track| counts_when_reset(track)).count() as u64;
        let recent = || self.counts.iter().filter(|count| Some(count.at) > since);
        let counted: u64 = recent().map(|count| count.unclaimed).sum();
        let is_enough = wanted > 0 && counted >= wanted + others;
        if !is_enough && others > 0 {
            // Too few for all of them: nobody can say whose they are.
            wanted = counted;
        }
        for count in self
            .counts
            .iter_mut()
            .filter(|count| Some(count.at) > since)
        {
            let claimed = wanted.min(count.unclaimed);
            count.unclaimed -= claimed;
            wanted -= claimed;
        }
        is_enough
    }
}

fn vanished_after(track: &Track) -> Option<Timestamp> {
    track.spans().last()?.from.not_before()
}

/// Whether a reset of this end would have been counted.
pub(super) fn counts_when_reset(track: &Track) -> bool {
    matches!(
        track.last_living(),
        TcpState::Established | TcpState::CloseWait
    )
}
