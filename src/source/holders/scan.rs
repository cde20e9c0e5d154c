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
use crate::model::{Holder, Program, Seen};
use crate::source::holders::kcmp::share_descriptors;
use crate::source::holders::program::{Reader, Stat};
use crate::source::holders::sight::Sight;
use crate::source::holders::tree::{Looked, Tree, socket_behind};

/// So many processes that keep us out are named.
const NAMED: usize = 4;

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
    /// Who holds what.
    pub(super) found: Vec<Found>,
    /// The descriptors of those who hold something, by pid or by the number of a thread.
    pub(super) dirs: Vec<(u32, OwnedFd)>,
    /// These may not be looked into.
    pub(super) refused: Vec<u32>,
    /// Some could not be looked into.
    pub(super) failed: bool,
}

/// A socket in the hands of a process.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) inode: u32,
    pub(super) holder: Holder,
    /// Whose descriptors they are: the process's, by its pid, or those of one of its threads that
    /// has its own.
    pub(super) task: u32,
}

impl Scan {
    /// The holders of each inode that has some, by pid.
    pub(super) fn sets(self) -> HashMap<u32, Vec<Holder>> {
        let mut sets: HashMap<u32, BTreeMap<u32, Holder>> = HashMap::default();
        for Found { inode, holder, .. } in self.found {
            let pid = holder.program.id.pid;
            sets.entry(inode).or_default().insert(pid, holder);
        }
        sets.into_iter()
            .map(|(inode, set)| (inode, set.into_values().collect()))
            .collect()
    }
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

    /// Whether a look can lack somebody. A process that keeps out even who has all rights does not
    /// count: it is named apart ([`Scanner::unseen`]).
    pub(super) fn seen(&self, scan: &Scan) -> Seen {
        match scan.failed {
            true => Seen::Partly,
            false => self.sight.seen,
        }
    }

    /// What a look at all processes could not see, in words.
    pub(super) fn unseen(&self, scan: &Scan) -> Option<String> {
        if self.sight.seen == Seen::Partly {
            return self.sight.why.clone();
        }
        let name = |&pid: &u32| {
            let comm = Stat::of(&self.tree, pid).map(|stat| stat.comm.text());
            format!("{}[{pid}]", comm.unwrap_or_default())
        };
        let named: Vec<String> = scan.refused.iter().take(NAMED).map(name).collect();
        let more = match scan.refused.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!named.is_empty()).then(|| {
            let names = named.join(", ");
            format!("{names}{more} can't be looked into, not even with CAP_SYS_PTRACE")
        })
    }

    /// Looks into every process.
    pub(super) fn all(&mut self, wanted: &HashSet<u32>) -> Scan {
        let mut scan = Scan::default();
        let mut pids = std::mem::take(&mut self.pids);
        scan.failed = self.tree.pids(&mut pids).is_err();
        for &pid in &pids {
            self.look_into(pid, wanted, &mut scan);
        }
        self.pids = pids;
        let holding: HashSet<u32> = scan.dirs.iter().map(|(pid, _)| *pid).collect();
        self.programs.retain(|pid, _| holding.contains(pid));
        scan
    }

    /// Looks into the threads that have descriptors of their own, of every process: costly where
    /// it can't be asked which have, and only worth it before "nobody holds it" is said.
    pub(super) fn threads(&mut self, wanted: &HashSet<u32>) -> Scan {
        let mut scan = Scan::default();
        let (mut pids, mut tids) = (std::mem::take(&mut self.pids), Vec::new());
        scan.failed = self.tree.pids(&mut pids).is_err();
        for &pid in &pids {
            self.tree.threads(pid, &mut tids);
            for &tid in tids.iter().filter(|&&tid| tid != pid) {
                self.look_into_thread(pid, tid, wanted, &mut scan);
            }
        }
        self.pids = pids;
        scan
    }

    fn look_into_thread(&mut self, pid: u32, tid: u32, wanted: &HashSet<u32>, scan: &mut Scan) {
        if share_descriptors(pid, tid) {
            return;
        }
        let matches = &mut self.matches;
        matches.clear();
        let Some(dir) = self.tree.each_socket_of_thread(pid, tid, |fd, inode| {
            if wanted.contains(&inode) {
                matches.push((inode, fd));
            }
        }) else {
            return;
        };
        self.hold(pid, tid, dir, scan);
    }

    /// Looks into one process.
    pub(super) fn look_into(&mut self, pid: u32, wanted: &HashSet<u32>, scan: &mut Scan) {
        let matches = &mut self.matches;
        matches.clear();
        let (dir, looked) = self.tree.each_socket(pid, |fd, inode| {
            if wanted.contains(&inode) {
                matches.push((inode, fd));
            }
        });
        match looked {
            Looked::At(_) | Looked::Gone => {}
            Looked::Refused => scan.refused.push(pid),
            Looked::Failed => scan.failed = true,
        }
        if let Some(dir) = dir {
            self.hold(pid, pid, dir, scan);
        }
    }

    /// What was matched is held by a process, or by a thread of it.
    fn hold(&mut self, pid: u32, task: u32, dir: OwnedFd, scan: &mut Scan) {
        if self.matches.is_empty() {
            return;
        }
        self.matches.sort_unstable();
        let Some(stat) = Stat::of(&self.tree, pid) else {
            return;
        };
        let is_there = |&(inode, fd): &(u32, u32)| socket_behind(&dir, fd) == Ok(Some(inode));
        if !self.matches.iter().any(is_there) {
            return;
        }
        let program = self.program(&stat);
        for holding in self.matches.chunk_by(|a, b| a.0 == b.0) {
            let fds = holding.iter().take(DESCRIPTORS).map(|&(_, fd)| fd);
            let holder = Holder {
                program: Arc::clone(&program),
                fds: fds.collect(),
            };
            scan.found.push(Found {
                inode: holding[0].0,
                holder,
                task,
            });
        }
        scan.dirs.push((task, dir));
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

    /// Reads a known process again; `None` when it is what it was. Its parent stays the one that
    /// it came from, and the command line that a program takes off for a moment is still its own.
    pub(super) fn program_again(&mut self, stat: &Stat, known: &Program) -> Option<Arc<Program>> {
        let read = self.reader.program(&self.tree, stat, self.cmdline);
        let mut program = Program::clone(&read);
        program.parent = known.parent;
        if program.comm == known.comm {
            program.cmdline = program.cmdline.or_else(|| known.cmdline.clone());
        }
        if program.uid.is_none() {
            program.uid = known.uid;
            program.user.clone_from(&known.user);
        }
        if program == *known {
            return None;
        }
        let program = Arc::new(program);
        self.programs.insert(stat.id.pid, Arc::clone(&program));
        Some(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::holders::made_up::MadeUp;

    fn look(scanner: &mut Scanner, wanted: &[u32]) -> HashMap<u32, Vec<Holder>> {
        let scan = scanner.all(&wanted.iter().copied().collect());
        assert_eq!(scanner.seen(&scan), Seen::All);
        scan.sets()
    }

    fn named(holders: &[Holder]) -> Vec<(u32, Vec<u32>)> {
        let name = |holder: &Holder| (holder.program.id.pid, holder.fds.clone());
        holders.iter().map(name).collect()
    }

    #[test]
    fn all_holders_are_found_with_all_their_descriptors() {
        let proc = MadeUp::new("all");
        for pid in [30, 4, 200] {
            proc.has(pid, "srv", 7);
        }
        proc.holds(30, 5, 1000);
        proc.holds(30, 11, 1000);
        proc.holds(30, 3, 1000);
        proc.holds(4, 9, 1000);
        proc.holds(4, 10, 2000);
        proc.opens(4, 1, "/dev/null");
        proc.opens(200, 1, "pipe:[1000]");
        let sets = look(&mut proc.scanner(), &[1000, 2000, 3000]);
        assert_eq!(named(&sets[&1000]), [(4, vec![9]), (30, vec![3, 5, 11])]);
        assert_eq!(named(&sets[&2000]), [(4, vec![10])]);
        assert_eq!(sets.len(), 2);
        let program = &sets[&2000][0].program;
        assert_eq!(program.comm.text(), "srv");
        assert_eq!(program.cmdline.as_deref(), Some("srv --serve"));
        assert_eq!(program.user.as_deref(), Some("root"));
    }

    #[test]
    fn of_many_descriptors_the_first_are_named() {
        let proc = MadeUp::new("many");
        proc.has(30, "srv", 7);
        for fd in 0..100 {
            proc.holds(30, fd, 1000);
        }
        let sets = look(&mut proc.scanner(), &[1000]);
        assert_eq!(named(&sets[&1000]), [(30, (0..64).collect())]);
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_holds_on() {
        let proc = MadeUp::new("threads");
        proc.has(30, "srv", 7);
        proc.is_in_state(30, "srv", 7, "Z", 2);
        proc.thread_holds(30, 33, 5, 1000);
        let sets = look(&mut proc.scanner(), &[1000]);
        assert_eq!(named(&sets[&1000]), [(30, vec![5])]);
    }

    #[test]
    fn a_process_that_ends_meanwhile_is_no_trouble() {
        let proc = MadeUp::new("ends");
        proc.has(30, "srv", 7);
        proc.holds(30, 5, 1000);
        proc.has(31, "srv", 7);
        proc.ends(31);
        let mut scanner = proc.scanner();
        let mut scan = Scan::default();
        for pid in [31, 30, 29] {
            scanner.look_into(pid, &[1000].into_iter().collect(), &mut scan);
        }
        assert_eq!(scanner.seen(&scan), Seen::All);
        assert_eq!(named(&scan.sets()[&1000]), [(30, vec![5])]);
    }

    #[test]
    fn a_number_given_again_is_read_again() {
        let proc = MadeUp::new("again");
        proc.has(30, "srv", 7);
        proc.holds(30, 5, 1000);
        let mut scanner = proc.scanner();
        assert_eq!(
            look(&mut scanner, &[1000])[&1000][0].program.comm.text(),
            "srv"
        );
        proc.ends(30);
        proc.has(30, "other", 99);
        proc.holds(30, 5, 1000);
        let program = Arc::clone(&look(&mut scanner, &[1000])[&1000][0].program);
        assert_eq!(
            (program.comm.text().as_str(), program.id.started),
            ("other", 99)
        );
    }
}
