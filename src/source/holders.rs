//! Who holds which socket, from /proc: every process's descriptors, looked through for the inodes
//! that somebody asked for.
//!
//! One hash of what is wanted serves a whole scan; a descriptor costs one `readlink`. It runs in a
//! thread of its own, and nobody waits for it. The trap: "no process shows it" is a claim about all
//! of them. It is made only when all could be looked into, and otherwise said to be partial.

mod program;
mod scan;
mod sight;
mod tree;
mod watch;

use std::path::Path;

use crate::model::{Body, Holders, Observation, Scope, SourceName, SourceState, Timestamp};
use crate::source::clock;
use scan::Scanner;

pub use watch::Watch;

/// Looks through all processes once and says of each inode who holds its socket: also of those that
/// nobody holds. Without /proc, only that it can't be told.
pub fn census(inodes: &[u32], scope: Scope, cmdline: bool) -> Vec<Observation> {
    let mut scanner = match Scanner::open(Path::new(PROC), cmdline) {
        Ok(scanner) => scanner,
        Err(error) => return vec![off(&error)],
    };
    let wanted = inodes.iter().copied().collect();
    let begun = clock::now();
    let scan = scanner.all(&wanted);
    let at = clock::now();
    let mut asked = inodes.to_vec();
    asked.sort_unstable();
    asked.dedup();
    let seen = scanner.seen(scan.denied);
    let mut sets = scan.sets();
    asked
        .into_iter()
        .map(|inode| {
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
        })
        .collect()
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
