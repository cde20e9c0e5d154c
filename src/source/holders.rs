//! Who holds which socket, from /proc: every process's descriptors, looked through for the inodes
//! that somebody asked for.
//!
//! One hash of what is wanted serves a whole scan; a descriptor costs one `readlink`. It runs in a
//! thread of its own, and nobody waits for it. The trap: "no process shows it" is a claim about all
//! of them. It is made only with all rights, and otherwise said to be partial; and some let nobody look,
//! whoever asks: those are named as the source's reason, and the claim's own words admit them.

mod book;
mod hidden;
mod kcmp;
#[cfg(test)]
mod made_up;
mod newest;
mod program;
mod scan;
mod sight;
mod tree;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use foldhash::HashSet;

use crate::model::{Body, Holders, Observation, Scope, Seen, SourceName, SourceState, Timestamp};
use crate::source::clock;
use scan::Scanner;

pub use hidden::may_hide;
pub use watch::Watch;

/// Looks through all processes once and says of each inode who holds its socket: also of those that
/// nobody holds. What could not be seen is said before, as the source's reason. Without /proc, only
/// that it can't be told.
pub fn census(inodes: &[u32], scope: Scope, cmdline: bool) -> Vec<Observation> {
    match Scanner::open(Path::new(PROC), cmdline) {
        Ok(mut scanner) => count(&mut scanner, inodes, scope),
        Err(error) => vec![off(&error)],
    }
}

fn count(scanner: &mut Scanner, inodes: &[u32], scope: Scope) -> Vec<Observation> {
    let mut wanted: HashSet<u32> = inodes.iter().copied().collect();
    let begun = clock::now();
    let scan = scanner.all(&wanted);
    let (mut seen, unseen) = (scanner.seen(&scan), scanner.unseen(&scan));
    let mut sets = scan.sets();
    wanted.retain(|inode| !sets.contains_key(inode));
    if !wanted.is_empty() && seen == Seen::All {
        // One can be handed from a process that is still to come to one that was looked into.
        let again = scanner.all(&wanted);
        seen = scanner.seen(&again);
        sets.extend(again.sets());
        wanted.retain(|inode| !sets.contains_key(inode));
    }
    if !wanted.is_empty() {
        sets.extend(scanner.threads(&wanted).sets());
    }
    let at = clock::now();
    let why = unseen.map(|why| said(at, running(Duration::ZERO, Some(why))));
    let asked: BTreeSet<u32> = inodes.iter().copied().collect();
    let said = asked.into_iter().map(|inode| {
        let holders = Holders {
            scope,
            inode,
            begun,
            unchanged: None,
            holders: sets.remove(&inode).unwrap_or_default(),
            ended: Vec::new(),
            seen,
        };
        said(at, Body::Holders(holders))
    });
    why.into_iter().chain(said).collect()
}

fn running(period: Duration, why: Option<String>) -> Body {
    Body::Source(SourceState::Running {
        period,
        cost: None,
        why,
    })
}

/// Where the processes are.
const PROC: &str = "/proc";

fn said(at: Timestamp, body: Body) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::Holders,
        body,
    }
}

fn off(error: &rustix::io::Errno) -> Observation {
    let why = format!("can't read {PROC}: {error} (is it mounted, and may this user read it?)");
    said(clock::now(), Body::Source(SourceState::Off { why }))
}
