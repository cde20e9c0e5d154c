//! The thread that knows who holds what: asked for inodes, it says who holds them, and again
//! whenever that changes.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use foldhash::{HashMap, HashSet};

use crate::model::{Ask, Body, Holder, Holders, Observation, Scope, Seen, SourceState, Timestamp};
use crate::source::clock;
use crate::source::holders::scan::Scanner;
use crate::source::holders::sight::keep_what_looking_needs;
use crate::source::holders::{PROC, off, said};
use crate::source::pace::Pace;

/// Every process is looked into this often.
const ALL: Duration = Duration::from_secs(1);

/// Watches who holds the sockets that it is asked for.
pub struct Watch {
    scanner: Option<Scanner>,
    scope: Scope,
    wanted: HashSet<u32>,
    known: HashMap<u32, Known>,
    pace: Pace,
}

struct Known {
    holders: Vec<Holder>,
    seen: Seen,
    /// The begin of the newest look that showed this.
    begun: Timestamp,
}

impl Watch {
    /// Opens /proc and says how far it can be seen. To be opened before capabilities are given up,
    /// in a thread that keeps them.
    pub fn open(scope: Scope, out: &mut Vec<Observation>) -> Self {
        let scanner = match Scanner::open(Path::new(PROC), true) {
            Ok(scanner) => {
                out.push(said(
                    clock::now(),
                    Body::Source(SourceState::Running {
                        period: ALL,
                        cost: None,
                        why: scanner.sight.why.clone(),
                    }),
                ));
                Some(scanner)
            }
            Err(error) => {
                out.push(off(&error));
                None
            }
        };
        Self {
            scanner,
            scope,
            wanted: HashSet::default(),
            known: HashMap::default(),
            pace: Pace::new(ALL),
        }
    }

    /// Looks and answers until nobody listens: `send` says so by returning false, and the asking
    /// side by hanging up.
    pub fn run(
        mut self,
        asks: &Receiver<Vec<Ask>>,
        mut send: impl FnMut(Vec<Observation>) -> bool,
    ) {
        let Some(mut scanner) = self.scanner.take() else {
            return;
        };
        keep_what_looking_needs();
        let mut due = clock::now();
        loop {
            let mut out = Vec::new();
            match asks.recv_timeout(due.since(clock::now())) {
                Ok(batch) => {
                    self.take(&batch, &mut out);
                    while let Ok(batch) = asks.try_recv() {
                        self.take(&batch, &mut out);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let is_new = self.wanted.len() > self.known.len();
            if is_new || due <= clock::now() {
                let before = clock::thread_cpu();
                self.look(&mut scanner, &mut out);
                self.pace.note(clock::thread_cpu().saturating_sub(before));
                due = clock::now().plus(self.pace.period());
            }
            if !out.is_empty() && !send(out) {
                return;
            }
        }
    }

    fn take(&mut self, asks: &[Ask], out: &mut Vec<Observation>) {
        for ask in asks {
            match ask {
                Ask::Holders(inode) => {
                    self.wanted.insert(*inode);
                }
                Ask::NoHolders(inode) => {
                    self.wanted.remove(inode);
                    self.known.remove(inode);
                }
                Ask::Keyframe => self.say_all(out),
                Ask::Confirm(_) | Ask::Follow(_) | Ask::Leave(_) | Ask::Info(_) => {}
            }
        }
    }

    fn say_all(&self, out: &mut Vec<Observation>) {
        let at = clock::now();
        let mut inodes: Vec<u32> = self.known.keys().copied().collect();
        inodes.sort_unstable();
        for inode in inodes {
            let known = &self.known[&inode];
            out.push(said(
                at,
                Body::Holders(Holders {
                    scope: self.scope,
                    inode,
                    begun: known.begun,
                    unchanged: None,
                    holders: known.holders.clone(),
                    ended: Vec::new(),
                    seen: known.seen,
                }),
            ));
        }
    }

    fn look(&mut self, scanner: &mut Scanner, out: &mut Vec<Observation>) {
        if self.wanted.is_empty() {
            return;
        }
        let begun = clock::now();
        let scan = scanner.all(&self.wanted);
        let seen = scanner.seen(scan.denied);
        let mut sets = scan.sets();
        let at = clock::now();
        let mut wanted: Vec<u32> = self.wanted.iter().copied().collect();
        wanted.sort_unstable();
        for inode in wanted {
            let holders = sets.remove(&inode).unwrap_or_default();
            let before = self.known.insert(
                inode,
                Known {
                    holders: holders.clone(),
                    seen,
                    begun,
                },
            );
            if before
                .as_ref()
                .is_some_and(|b| b.holders == holders && b.seen == seen)
            {
                continue;
            }
            let ended = before.iter().flat_map(|before| &before.holders);
            let ended = ended.map(|holder| holder.program.id);
            let ended = ended.filter(|id| scanner.has_ended(*id)).collect();
            out.push(said(
                at,
                Body::Holders(Holders {
                    scope: self.scope,
                    inode,
                    begun,
                    unchanged: before.map(|before| before.begun),
                    holders,
                    ended,
                    seen,
                }),
            ));
        }
    }
}
