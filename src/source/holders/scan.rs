//! Looks into processes for the sockets that are wanted.
//!
//! The trap: between the look at its descriptors and the look at its name a process can end, and
//! its number be given again. The open folder of its descriptors belongs to the process, not to the
//! number: as long as it still shows one of them, the number has not changed hands.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use rustix::io;

use crate::model::holder::DESCRIPTORS;
use crate::model::{Holder, ProcessId, Program, Seen};
use crate::source::holders::program::{Reader, Stat};
use crate::source::holders::sight::Sight;
use crate::source::holders::tree::{Looked, Tree, socket_behind};

/// Looks into processes.
pub(super) struct Scanner {
    pub(super) tree: Tree,
    pub(super) sight: Sight,
    reader: Reader,
    cmdline: bool,
    /// Those of processes that hold something, by pid.
    programs: HashMap<u32, Arc<Program>>,
    /// Kept to save the allocation.
    pids: Vec<u32>,
    matches: Vec<(u32, u32)>,
}

/// What a look into some processes showed.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The inode, and who holds it, by pid.
    pub(super) found: Vec<(u32, Holder)>,
    /// Some could not be looked into.
    pub(super) denied: bool,
}

impl Scan {
    /// The holders of each inode that has some, by pid.
    pub(super) fn sets(self) -> HashMap<u32, Vec<Holder>> {
        let mut sets: HashMap<u32, BTreeMap<u32, Holder>> = HashMap::default();
        for (inode, holder) in self.found {
            let pid = holder.program.id.pid;
            sets.entry(inode).or_default().insert(pid, holder);
        }
        sets.into_iter()
            .map(|(inode, set)| (inode, set.into_values().collect()))
            .collect()
    }
}

/// A process that holds something that is wanted.
pub(super) struct Process {
    pub(super) program: Arc<Program>,
    /// Its descriptors.
    pub(super) dir: OwnedFd,
}

impl Scanner {
    /// Over the processes that are found below this folder.
    pub(super) fn open(root: &Path, cmdline: bool) -> io::Result<Self> {
        Ok(Self {
            tree: Tree::open(root)?,
            sight: Sight::here(),
            reader: Reader::default(),
            cmdline,
            programs: HashMap::default(),
            pids: Vec::new(),
            matches: Vec::new(),
        })
    }

    /// Whether a look can lack somebody.
    pub(super) const fn seen(&self, denied: bool) -> Seen {
        match (denied, self.sight.seen) {
            (false, Seen::All) => Seen::All,
            (true, _) | (_, Seen::Partly) => Seen::Partly,
        }
    }

    /// Looks into every process.
    pub(super) fn all(&mut self, wanted: &HashSet<u32>) -> Scan {
        let mut scan = Scan::default();
        let mut pids = std::mem::take(&mut self.pids);
        scan.denied = self.tree.pids(&mut pids).is_err();
        for &pid in &pids {
            self.look_into(pid, wanted, &mut scan);
        }
        self.pids = pids;
        let holds = |pid: &u32| scan.found.iter().any(|(_, h)| h.program.id.pid == *pid);
        self.programs.retain(|pid, _| holds(pid));
        scan
    }

    /// Looks into one process. Gives it when it holds something that is wanted.
    pub(super) fn look_into(
        &mut self,
        pid: u32,
        wanted: &HashSet<u32>,
        scan: &mut Scan,
    ) -> Option<Process> {
        let matches = &mut self.matches;
        matches.clear();
        let (dir, looked) = self.tree.each_socket(pid, |fd, inode| {
            if wanted.contains(&inode) {
                matches.push((inode, fd));
            }
        });
        scan.denied |= looked == Looked::Denied;
        let dir = dir.filter(|_| !self.matches.is_empty())?;
        self.matches.sort_unstable();
        let stat = Stat::of(&self.tree, pid)?;
        let is_there = |&(inode, fd): &(u32, u32)| socket_behind(&dir, fd) == Ok(Some(inode));
        if !self.matches.iter().any(is_there) {
            return None;
        }
        let program = self.program(&stat);
        for holding in self.matches.chunk_by(|a, b| a.0 == b.0) {
            let fds = holding.iter().take(DESCRIPTORS).map(|&(_, fd)| fd);
            let holder = Holder {
                program: Arc::clone(&program),
                fds: fds.collect(),
            };
            scan.found.push((holding[0].0, holder));
        }
        Some(Process { program, dir })
    }

    /// What is known of a process, read again when it has become another program.
    pub(super) fn program(&mut self, stat: &Stat) -> Arc<Program> {
        let known = self.programs.get(&stat.id.pid);
        if let Some(known) = known
            && known.id == stat.id
            && known.comm == stat.comm
        {
            return Arc::clone(known);
        }
        let program = self.reader.program(&self.tree, stat, self.cmdline);
        self.programs.insert(stat.id.pid, Arc::clone(&program));
        program
    }

    /// Whether a process is over: there is none of its number, or another, or it is a zombie.
    pub(super) fn has_ended(&self, id: ProcessId) -> bool {
        Stat::of(&self.tree, id.pid).is_none_or(|stat| stat.id != id || stat.has_ended())
    }
}
