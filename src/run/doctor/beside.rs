//! What a look does not show: who holds the sockets, how old their states are, and what lives in
//! other network namespaces. All are asked at the same time, as some read /proc and others may have
//! to wait.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::filter::Filter;
use crate::model::{Observation, Scope, SockId};
use crate::source::SourceError;
use crate::source::holders::census;
use crate::source::info::ask_once;
use crate::source::netns::others;
use crate::view::doctor::Elsewhere;

/// A socket that has not answered by then is said not to.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who holds these inodes, and how old the states of these sockets are.
pub(in crate::run) fn answers(
    inodes: &BTreeSet<u32>,
    ids: &[SockId],
    place: Scope,
) -> Result<[Vec<Observation>; 2], SourceError> {
    let inodes: Vec<u32> = inodes.iter().copied().collect();
    std::thread::scope(|scope| {
        let holders = scope.spawn(|| census(&inodes, place, true));
        let ages = ask_once(ids, PATIENCE)?;
        Ok([holders.join().unwrap_or_default(), ages])
    })
}

/// Other namespaces are looked into for so long.
const AROUND: Duration = Duration::from_millis(500);

/// The other namespaces of this host that hold sockets of the filter, and what could not be looked
/// into.
pub(super) fn around(filter: &Filter, own: Scope) -> (Vec<Elsewhere>, Vec<String>) {
    let others = others(filter, own, AROUND);
    let found = others.found.iter().map(|found| Elsewhere {
        netns: found.netns,
        name: found.name.clone(),
        process: found.process.as_ref().map(|it| (it.pid, it.comm.clone())),
        states: found.states.clone(),
        namespace: found.namespace().map(|namespace| namespace.to_string()),
    });
    (found.collect(), others.unseen)
}
