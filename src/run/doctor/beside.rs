//! What a look does not show: who holds the sockets, and how old their states are. Both are asked
//! at the same time, as the one reads /proc and the other may have to wait.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Ask, Observation, Scope, SockId};
use crate::source::SourceError;
use crate::source::holders::census;
use crate::source::info::ask_once;

/// A socket that has not answered by then is said not to.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who holds these inodes, and the answers to what else the tracker asks.
pub(super) fn answers(
    inodes: &BTreeSet<u32>,
    asks: &[Ask],
    place: Scope,
) -> Result<[Vec<Observation>; 2], SourceError> {
    let inodes: Vec<u32> = inodes.iter().copied().collect();
    let ids: Vec<SockId> = asks
        .iter()
        .filter_map(|ask| match ask {
            Ask::Info(id) => Some(*id),
            _ => None,
        })
        .collect();
    std::thread::scope(|scope| {
        let holders = scope.spawn(|| census(&inodes, place, true));
        let ages = ask_once(&ids, PATIENCE)?;
        Ok([holders.join().unwrap_or_default(), ages])
    })
}
