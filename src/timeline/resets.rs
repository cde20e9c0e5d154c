//! Resets that the host has counted, waiting for the connection that they ended.
//!
//! Every end that goes from ESTABLISHED or CLOSE_WAIT straight to CLOSE counts one
//! (`tcp_set_state`, net/ipv4/tcp.c). The trap: the count is the whole namespace's. So a
//! connection claims only what was counted after its ends were last seen, and what it has claimed
//! is gone for the others.

use std::collections::VecDeque;

use crate::model::observation::HostFacts;
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, Track};

/// Older counts can't be of a connection that vanishes now.
const KEPT: usize = 64;

/// Counted and not claimed.
#[derive(Clone, Debug, Default)]
pub(super) struct Resets {
    /// By when they were counted, and how many; the newest last.
    unclaimed: VecDeque<(Timestamp, u64)>,
}

impl Resets {
    /// Takes in new facts of the host.
    pub(super) fn note(&mut self, before: &HostFacts, now: &HostFacts, at: Timestamp) {
        let (Some(before), Some(now)) = (before.resets, now.resets) else {
            return;
        };
        if now > before {
            self.unclaimed.push_back((at, now - before));
        }
        if self.unclaimed.len() > KEPT {
            self.unclaimed.pop_front();
        }
    }

    /// Claims the resets of a connection whose ends have vanished without TIME_WAIT; says whether
    /// there was one.
    pub(super) fn claim(&mut self, connection: &Connection) -> bool {
        let tracks = || connection.visible().map(|(_, track)| track);
        if tracks().any(|track| track.passed(TcpState::TimeWait)) {
            return false;
        }
        let since = tracks().filter_map(vanished_after).min();
        let mut wanted = tracks().filter(|track| counts_when_reset(track)).count() as u64;
        let mut is_counted = false;
        for (_, unclaimed) in self
            .unclaimed
            .iter_mut()
            .filter(|(at, _)| Some(*at) > since)
        {
            let claimed = wanted.min(*unclaimed);
            *unclaimed -= claimed;
            wanted -= claimed;
            is_counted |= claimed > 0;
        }
        is_counted
    }
}

fn vanished_after(track: &Track) -> Option<Timestamp> {
    track.spans().last()?.from.not_before()
}

fn counts_when_reset(track: &Track) -> bool {
    matches!(
        track.last_living(),
        TcpState::Established | TcpState::CloseWait
    )
}
