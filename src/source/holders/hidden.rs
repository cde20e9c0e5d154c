//! Whether a process that is asked for may hold what we can't see.
//!
//! A socket whose holder is hidden is not held by a process that we can look into. So who asks for
//! its own process has a whole answer, whatever else is hidden. The trap: a process that is not to
//! be seen at all (`hidepid`) can be any.

use std::path::Path;

use crate::model::filter::ProcessSet;
use crate::source::holders::PROC;
use crate::source::holders::program::{Reader, Stat};
use crate::source::holders::tree::{Looked, Tree};

/// Whether one of these processes may not be looked into, or can't be ruled out.
pub fn may_hide(wanted: &ProcessSet) -> bool {
    Tree::open(Path::new(PROC)).map_or(true, |tree| hides(tree, wanted))
}

fn hides(mut tree: Tree, wanted: &ProcessSet) -> bool {
    let mut pids = Vec::new();
    // The first is always there: who does not see it does not see others either.
    if tree.pids(&mut pids).is_err() || !pids.contains(&1) {
        return true;
    }
    let mut reader = Reader::default();
    pids.into_iter().any(|pid| {
        let is_theirs = match Stat::of(&tree, pid) {
            Some(stat) => !stat.has_ended() && wanted.has(&reader.program(&tree, &stat, true)),
            // It has ended, or says nothing to us (hidepid=1).
            None => wanted.may_have(pid),
        };
        is_theirs && tree.each_socket(pid, |_, _| {}).1 == Looked::Refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pid: u32) -> ProcessSet {
        ProcessSet {
            pids: vec![pid],
            names: Vec::new(),
        }
    }

    #[test]
    fn who_can_be_looked_into_hides_nothing() {
        assert!(!may_hide(&of(std::process::id())));
        // Nobody has it: PID_MAX_LIMIT.
        assert!(!may_hide(&of(4 * 1024 * 1024)));
    }
}
