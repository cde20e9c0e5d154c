//! What the watching thread knows: who holds what is wanted, and since which look.
//!
//! Looks into processes only add holders; only asking a known descriptor again takes one away. So
//! each change has its own lower bound: a copy was closed after the last time it was shown, and a
//! newcomer came after the last look that would have shown it: a whole one that looked for this
//! socket, or its own birth. Without either nothing is said of since when. The trap: the last copy goes with
//! the socket itself, mostly, and then nobody asks any more; "nobody holds it" is said only when
//! a whole look that began later found nobody.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use rustix::io::Errno;

use crate::model::{
    Body, Holder, Holders, Observation, ProcessId, Program, Scope, Seen, Timestamp,
};
use crate::source::holders::program::Stat;
use crate::source::holders::said;
use crate::source::holders::scan::{Found, Scan, Scanner};
use crate::source::holders::tree::socket_behind;

/// So many folders of descriptors are kept open; others are opened whenever they are asked.
const OPEN: usize = 128;
/// Who closes a socket closes it in a moment; until then "nobody holds it" is not worth a word.
const SETTLED: Duration = Duration::from_millis(300);

/// What is known.
#[derive(Default)]
pub(super) struct Book {
    wanted: HashSet<u32>,
    sockets: HashMap<u32, Socket>,
    /// By pid, or by the number of a thread.
    processes: BTreeMap<u32, Process>,
    /// Sockets of which there is something to say.
    news: Vec<u32>,
    /// Sockets without a holder of which nothing final was said.
    alone: HashSet<u32>,
    /// Sockets of which it was said that nobody holds them: they may be on their way to somebody.
    unheld: HashSet<u32>,
    /// Who became a holder lately, and that process's parent.
    came: Vec<(u32, Option<u32>)>,
    /// Those that the newest whole look could not look into.
    refused: HashSet<u32>,
}

/// A socket that somebody wants to know about.
#[derive(Debug)]
struct Socket {
    /// By pid.
    holders: Vec<Holder>,
    seen: Seen,
    /// The begin of the look by which it was last changed.
    begun: Timestamp,
    /// The begin of the newest whole look that looked for it.
    covered: Since,
    /// It differs from what was last said, which held until then at least.
    unchanged: Option<Since>,
    /// It differs from what was last said.
    is_news: bool,
    was_said: bool,
    ended: Vec<ProcessId>,
    /// Since when nobody is known.
    alone_since: Timestamp,
    /// A whole look has found nobody since.
    was_looked_for: bool,
}

/// Not before this; `None` when nothing is known, which is before everything.
type Since = Option<Timestamp>;

/// A process that holds something, or a thread with descriptors of its own.
struct Process {
    program: Arc<Program>,
    dir: Option<OwnedFd>,
    /// Inode and descriptor, and the begin of the newest look that showed it.
    pairs: BTreeMap<(u32, u32), Timestamp>,
}

/// What became of a process's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    /// They could not be asked for.
    Unknown,
}

impl Book {
    /// Somebody wants to know who holds it.
    pub(super) fn want(&mut self, inode: u32, now: Timestamp) {
        if self.wanted.insert(inode) {
            self.alone.insert(inode);
            self.sockets.insert(
                inode,
                Socket {
                    holders: Vec::new(),
                    seen: Seen::Partly,
                    begun: now,
                    covered: None,
                    unchanged: None,
                    is_news: false,
                    was_said: false,
                    ended: Vec::new(),
                    alone_since: now,
                    was_looked_for: false,
                },
            );
        }
    }

    /// Nobody wants to know any more. Its descriptors are left out at the next round.
    pub(super) fn forget(&mut self, inode: u32) {
        self.wanted.remove(&inode);
        self.sockets.remove(&inode);
        self.alone.remove(&inode);
        self.unheld.remove(&inode);
    }

    /// Whether a socket that nobody held may have reached somebody.
    pub(super) fn has_unheld(&self) -> bool {
        !self.unheld.is_empty()
    }

    pub(super) const fn wanted(&self) -> &HashSet<u32> {
        &self.wanted
    }

    /// Whether somebody has yet to be found: anybody at once, or, of a socket that had a holder a
    /// moment ago or was looked for already, only when that moment is over.
    pub(super) fn is_hunting(&self, now: Timestamp) -> bool {
        let is_due = |inode: &u32| {
            let socket = self.sockets.get(inode);
            socket.is_some_and(|socket| socket.is_due(now))
        };
        self.alone.iter().any(is_due)
    }

    /// Those who hold something, by pid.
    pub(super) fn pids(&self, out: &mut Vec<u32>) {
        out.clear();
        out.extend(self.processes.values().map(|it| it.program.id.pid));
        out.sort_unstable();
        out.dedup();
    }

    /// Who became a holder since this was last asked, and that process's parent.
    pub(super) fn came(&mut self) -> Vec<(u32, Option<u32>)> {
        std::mem::take(&mut self.came)
    }

    /// Takes in what a look into some processes showed that began at `begun`. `born`: none of them
    /// was there before.
    pub(super) fn take(&mut self, scan: Scan, seen: Seen, begun: Timestamp, born: Since) {
        for found in scan.found {
            self.add(found, seen, begun, born);
        }
        let kept = self.processes.values().filter(|p| p.dir.is_some()).count();
        let mut room = OPEN.saturating_sub(kept);
        for (pid, dir) in scan.dirs {
            if let Some(process) = self.processes.get_mut(&pid)
                && (process.dir.is_some() || room > 0)
            {
                room -= usize::from(process.dir.is_none());
                process.dir = Some(dir);
            }
        }
    }

    fn add(&mut self, found: Found, seen: Seen, begun: Timestamp, born: Since) {
        let Found {
            inode,
            holder,
            task,
        } = found;
        let Some(socket) = self.sockets.get_mut(&inode) else {
            return;
        };
        let pid = holder.program.id.pid;
        let process = self.processes.entry(task).or_insert_with(|| Process {
            program: Arc::clone(&holder.program),
            dir: None,
            pairs: BTreeMap::new(),
        });
        if process.program.id != holder.program.id {
            // The number is another process's now; what the first one held went with it.
            process.dir = None;
            process.pairs.clear();
        }
        process.program = Arc::clone(&holder.program);
        for &fd in &holder.fds {
            process.pairs.insert((inode, fd), begun);
        }
        let is_covered = task == pid && !self.refused.contains(&pid);
        let since = born.max(socket.covered.filter(|_| is_covered));
        let place = socket
            .holders
            .binary_search_by_key(&pid, |known| known.program.id.pid);
        match place {
            Ok(place) if socket.holders[place] == holder => return,
            Ok(place) => {
                let known = std::mem::replace(&mut socket.holders[place], holder);
                if known.program.id != socket.holders[place].program.id {
                    socket.ended.push(known.program.id);
                }
            }
            Err(place) => {
                self.came.push((pid, holder.program.parent));
                socket.holders.insert(place, holder);
            }
        }
        socket.seen = seen;
        socket.differs(begun, since);
        self.alone.remove(&inode);
        self.unheld.remove(&inode);
        note(&mut self.news, socket, inode);
    }

    /// The sockets of which it is to be said next that nobody holds them, by a whole look that
    /// began at `begun`.
    pub(super) fn nobodys(&self, begun: Timestamp) -> HashSet<u32> {
        let is_nobodys = |inode: &&u32| {
            let socket = self.sockets.get(inode);
            socket.is_some_and(|socket| {
                begun >= socket.alone_since && begun.since(socket.alone_since) >= SETTLED
            })
        };
        self.alone.iter().filter(is_nobodys).copied().collect()
    }

    /// A whole look that began at `begun` has covered all but some.
    pub(super) fn covered(&mut self, begun: Timestamp, refused: HashSet<u32>) {
        for socket in self.sockets.values_mut() {
            socket.covered = Some(begun);
        }
        self.refused = refused;
    }

    /// A whole look that began at `begun` is over: whoever is still alone was not found by it.
    pub(super) fn looked_at_all(&mut self, seen: Seen, begun: Timestamp) {
        let sockets = &mut self.sockets;
        let (news, unheld) = (&mut self.news, &mut self.unheld);
        self.alone.retain(|inode| {
            let Some(socket) = sockets.get_mut(inode) else {
                return false;
            };
            if begun < socket.alone_since {
                return true;
            }
            socket.was_looked_for = true;
            if begun.since(socket.alone_since) < SETTLED {
                return true;
            }
            socket.seen = seen;
            socket.differs(begun, Some(begun));
            note(news, socket, *inode);
            unheld.insert(*inode);
            false
        });
    }

    /// Asks for every known descriptor again, in a round that begins at `begun`.
    pub(super) fn verify(&mut self, scanner: &mut Scanner, begun: Timestamp) {
        let mut to_look_into = Vec::new();
        let mut lost = Vec::new();
        for (&task, process) in &mut self.processes {
            lost.clear();
            let wanted = &self.wanted;
            process.pairs.retain(|(inode, _), _| wanted.contains(inode));
            let fate = process.ask(task, scanner, begun, &mut lost);
            if fate == Fate::Unknown || lost.is_empty() {
                continue;
            }
            let pid = process.program.id.pid;
            let stat = Stat::of(&scanner.tree, pid).filter(|stat| stat.id == process.program.id);
            let has_ended = stat.is_none_or(|stat| stat.has_ended());
            let mut is_shared = stat.is_some_and(|stat| stat.lacks_its_first_thread());
            for &(inode, fd, shown) in &lost {
                let Some(socket) = self.sockets.get_mut(&inode) else {
                    continue;
                };
                socket.remove(&process.program, fd, has_ended);
                socket.differs(begun, Some(shown));
                if socket.holders.is_empty() {
                    socket.alone_since = begun;
                    socket.was_looked_for = false;
                    self.alone.insert(inode);
                } else {
                    is_shared = true;
                    note(&mut self.news, socket, inode);
                }
            }
            if is_shared && !has_ended {
                // It may hold it on, under another number.
                to_look_into.push(pid);
            }
        }
        self.processes
            .retain(|_, process| !process.pairs.is_empty());
        for pid in to_look_into {
            let mut scan = Scan::default();
            scanner.look_into(pid, &self.wanted, &mut scan);
            let seen = scanner.seen(&scan);
            self.take(scan, seen, begun, None);
        }
    }

    /// Reads again who those are that hold something: exec(), prctl() and setuid() change it.
    pub(super) fn name(&mut self, scanner: &mut Scanner, begun: Timestamp, before: Timestamp) {
        for process in self.processes.values_mut() {
            let known = &process.program;
            let stat = Stat::of(&scanner.tree, known.id.pid);
            let Some(stat) = stat.filter(|stat| stat.id == known.id && !stat.has_ended()) else {
                continue;
            };
            let Some(program) = scanner.program_again(&stat, known) else {
                continue;
            };
            process.program = program;
            for &(inode, _) in process.pairs.keys() {
                let Some(socket) = self.sockets.get_mut(&inode) else {
                    continue;
                };
                let place = |holder: &&mut Holder| holder.program.id == stat.id;
                if let Some(holder) = socket.holders.iter_mut().find(place) {
                    holder.program = Arc::clone(&process.program);
                    socket.differs(begun, Some(before));
                    note(&mut self.news, socket, inode);
                }
            }
        }
    }

    /// Says what is new.
    pub(super) fn tell(&mut self, scope: Scope, at: Timestamp, out: &mut Vec<Observation>) {
        self.news.sort_unstable();
        self.news.dedup();
        for inode in self.news.drain(..) {
            let Some(socket) = self.sockets.get_mut(&inode) else {
                continue;
            };
            socket.is_news = false;
            if self.alone.contains(&inode) {
                // The last copy that was known went after others did.
                continue;
            }
            let unchanged = socket.unchanged.take().flatten();
            let unchanged = unchanged.filter(|_| socket.was_said);
            let ended = std::mem::take(&mut socket.ended);
            socket.was_said = true;
            let body = socket.body(scope, inode, unchanged, ended);
            out.push(said(at, body));
        }
    }

    /// Says all that was said before again.
    pub(super) fn tell_all(&self, scope: Scope, at: Timestamp, out: &mut Vec<Observation>) {
        let known = self.sockets.iter();
        let mut known: Vec<_> = known.filter(|(_, socket)| socket.is_settled()).collect();
        known.sort_unstable_by_key(|(inode, _)| **inode);
        for (inode, socket) in known {
            out.push(said(at, socket.body(scope, *inode, None, Vec::new())));
        }
    }
}

fn note(news: &mut Vec<u32>, socket: &mut Socket, inode: u32) {
    if !socket.is_news {
        socket.is_news = true;
        news.push(inode);
    }
}

impl Socket {
    fn is_due(&self, now: Timestamp) -> bool {
        let is_untouched = !self.was_looked_for && !self.was_said;
        is_untouched || now.since(self.alone_since) >= SETTLED
    }

    /// What was last said still holds: it is said, and nobody has left since.
    const fn is_settled(&self) -> bool {
        self.was_said && !self.is_news && self.unchanged.is_none()
    }

    /// It is not any more what was last said, as a look showed that began at `begun`, and came to be
    /// so after `since`. Of several changes the first bounds all.
    fn differs(&mut self, begun: Timestamp, since: Since) {
        self.unchanged = Some(self.unchanged.map_or(since, |known| known.min(since)));
        self.begun = begun;
    }

    /// A process has it no more under this number.
    fn remove(&mut self, program: &Program, fd: u32, has_ended: bool) {
        let Some(place) = self
            .holders
            .iter()
            .position(|holder| holder.program.id == program.id)
        else {
            return;
        };
        let fds = &mut self.holders[place].fds;
        fds.retain(|&known| known != fd);
        if fds.is_empty() {
            self.holders.remove(place);
            if has_ended {
                self.ended.push(program.id);
            }
        }
    }

    fn body(
        &self,
        scope: Scope,
        inode: u32,
        unchanged: Option<Timestamp>,
        ended: Vec<ProcessId>,
    ) -> Body {
        Body::Holders(Holders {
            scope,
            inode,
            begun: self.begun,
            unchanged,
            holders: self.holders.clone(),
            ended,
            seen: self.seen,
        })
    }
}

impl Process {
    /// Asks for each of its descriptors; those that are no more, or are something else, go to `lost`.
    fn ask(
        &mut self,
        task: u32,
        scanner: &Scanner,
        begun: Timestamp,
        lost: &mut Vec<(u32, u32, Timestamp)>,
    ) -> Fate {
        if self.pairs.is_empty() {
            return Fate::Kept;
        }
        let opened;
        let dir = match &self.dir {
            Some(dir) => Some(dir),
            None => match scanner.tree.descriptors(task) {
                Ok(dir) => {
                    opened = dir;
                    Some(&opened)
                }
                Err(Errno::NOENT | Errno::SRCH) => None,
                Err(_) => return Fate::Unknown,
            },
        };
        self.pairs.retain(|&(inode, fd), shown| {
            let fate = match dir.map(|dir| socket_behind(dir, fd)) {
                Some(Ok(Some(found))) if found == inode => Fate::Kept,
                None | Some(Ok(_) | Err(Errno::NOENT | Errno::SRCH)) => Fate::Lost,
                Some(Err(_)) => Fate::Unknown,
            };
            match fate {
                Fate::Kept => *shown = begun,
                Fate::Lost => lost.push((inode, fd, *shown)),
                Fate::Unknown => {}
            }
            fate != Fate::Lost
        });
        Fate::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::holders::made_up::MadeUp;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    /// A book over a made-up /proc, and its time.
    struct Story {
        proc: MadeUp,
        scanner: Scanner,
        book: Book,
        all_at: Timestamp,
    }

    impl Story {
        /// Two processes hold the socket 1000, the first of them under two numbers.
        fn of_two(name: &str) -> Self {
            let proc = MadeUp::new(name);
            for pid in [30, 31] {
                proc.has(pid, "srv", 7);
                proc.holds(pid, 5, 1000);
            }
            proc.holds(30, 6, 1000);
            let mut story = Self {
                scanner: proc.scanner(),
                proc,
                book: Book::default(),
                all_at: at(0),
            };
            story.book.want(1000, at(1));
            assert_eq!(story.looks_at_all(10), [(vec![30, 31], vec![], None)]);
            assert_eq!(story.asks(100), []);
            story
        }

        fn looks_at_all(&mut self, ms: u64) -> Vec<(Vec<u32>, Vec<u32>, Option<u64>)> {
            self.all_at = at(ms);
            let scan = self.scanner.all(self.book.wanted());
            self.book.take(scan, Seen::All, at(ms), None);
            self.book.covered(at(ms), HashSet::default());
            self.book.looked_at_all(Seen::All, at(ms));
            self.told(ms)
        }

        fn asks(&mut self, ms: u64) -> Vec<(Vec<u32>, Vec<u32>, Option<u64>)> {
            self.book.verify(&mut self.scanner, at(ms));
            self.told(ms)
        }

        /// What is told: who holds it, who has ended, and since when in milliseconds.
        fn told(&mut self, ms: u64) -> Vec<(Vec<u32>, Vec<u32>, Option<u64>)> {
            let mut out = Vec::new();
            self.book.tell(Scope::default(), at(ms), &mut out);
            let told = out.into_iter().map(|told| match told.body {
                Body::Holders(set) => (
                    set.holders.iter().map(|h| h.program.id.pid).collect(),
                    set.ended.iter().map(|id| id.pid).collect(),
                    set.unchanged.map(|since| since.nanos() / 1_000_000),
                ),
                other => panic!("{other:?}"),
            });
            told.collect()
        }
    }

    #[test]
    fn a_copy_closed_was_closed_after_it_was_last_asked_for() {
        let mut story = Story::of_two("copy");
        story.proc.closes(31, 5);
        assert_eq!(story.asks(200), [(vec![30], vec![], Some(100))]);
        assert_eq!(story.asks(300), []);
    }

    #[test]
    fn whoever_ends_has_not_closed() {
        let mut story = Story::of_two("ended");
        story.proc.ends(31);
        assert_eq!(story.asks(200), [(vec![30], vec![31], Some(100))]);
        // A zombie shows no descriptors.
        let mut story = Story::of_two("zombie");
        story.proc.is_in_state(31, "srv", 7, "Z", 1);
        story.proc.closes(31, 5);
        assert_eq!(story.asks(200), [(vec![30], vec![31], Some(100))]);
    }

    #[test]
    fn one_of_two_descriptors_is_not_the_last() {
        let mut story = Story::of_two("fd");
        story.proc.closes(30, 6);
        assert_eq!(story.asks(200), [(vec![30, 31], vec![], Some(100))]);
        story.proc.closes(30, 5);
        assert_eq!(story.asks(300), [(vec![31], vec![], Some(200))]);
    }

    #[test]
    fn a_descriptor_that_is_something_else_now_is_closed() {
        let mut story = Story::of_two("else");
        story.proc.closes(31, 5);
        story.proc.holds(31, 5, 2000);
        assert_eq!(story.asks(200), [(vec![30], vec![], Some(100))]);
    }

    #[test]
    fn a_socket_that_moves_to_another_number_is_held_on() {
        let mut story = Story::of_two("moved");
        story.proc.closes(31, 5);
        story.proc.holds(31, 9, 1000);
        assert_eq!(story.asks(200), [(vec![30, 31], vec![], Some(10))]);
    }

    #[test]
    fn a_number_given_again_is_another_process() {
        let mut story = Story::of_two("reused");
        story.proc.ends(31);
        story.proc.has(31, "other", 99);
        story.proc.holds(31, 5, 1000);
        assert_eq!(story.asks(200), [(vec![30], vec![31], Some(100))]);
        assert_eq!(story.looks_at_all(250), [(vec![30, 31], vec![], Some(10))]);
    }

    #[test]
    fn a_look_at_some_bounds_nothing() {
        let mut story = Story::of_two("some");
        story.proc.has(32, "srv", 8);
        story.proc.holds(32, 3, 2000);
        story.proc.has(33, "srv", 9);
        story.proc.holds(33, 3, 2000);
        story.book.want(2000, at(200));
        let looks = |story: &mut Story, pid: u32, ms: u64, born: Since| {
            let mut scan = Scan::default();
            story.scanner.look_into(pid, story.book.wanted(), &mut scan);
            story.book.take(scan, Seen::All, at(ms), born);
            story.told(ms)
        };
        assert_eq!(
            looks(&mut story, 33, 300, Some(at(250))),
            [(vec![33], vec![], None)]
        );
        // It held it all the time, and nobody had looked.
        assert_eq!(
            looks(&mut story, 32, 400, None),
            [(vec![32, 33], vec![], None)]
        );
        story.proc.has(34, "srv", 10);
        story.proc.holds(34, 3, 2000);
        assert_eq!(
            looks(&mut story, 34, 500, Some(at(450))),
            [(vec![32, 33, 34], vec![], Some(450))],
            "born since"
        );
    }

    #[test]
    fn another_user_and_command_line_are_news_and_a_parent_is_not() {
        let mut story = Story::of_two("words");
        story.book.name(&mut story.scanner, at(200), at(100));
        assert_eq!(story.told(200), []);
        story.proc.runs(31, "srv", 33, "srv\0--worker\0");
        story.book.name(&mut story.scanner, at(300), at(200));
        let mut out = Vec::new();
        story.book.tell(Scope::default(), at(300), &mut out);
        let [told] = out.as_slice() else {
            panic!("{out:?}")
        };
        let Body::Holders(set) = &told.body else {
            panic!("{told:?}")
        };
        let program = &set.holders[1].program;
        assert_eq!(program.uid, Some(33));
        assert_eq!(program.cmdline.as_deref(), Some("srv --worker"));
        assert_eq!(set.unchanged, Some(at(200)));
        story.book.name(&mut story.scanner, at(400), at(300));
        assert_eq!(story.told(400), []);
    }

    #[test]
    fn a_thread_with_its_own_descriptors_holds_it_for_its_process() {
        let mut story = Story::of_two("thread");
        // Numbers that the kernel, which is asked, has given to nobody.
        let (pid, tid) = (5_000_040, 5_000_043);
        story.proc.has(pid, "odd", 9);
        story.proc.holds(pid, 3, 7);
        story.proc.thread_holds(pid, tid, 5, 2000);
        let scan = story.scanner.threads(&[2000].into_iter().collect());
        story.book.want(2000, at(200));
        story.book.take(scan, Seen::All, at(210), None);
        assert_eq!(story.told(210), [(vec![pid], vec![], None)]);
        assert_eq!(story.asks(300), [], "asked where it is");
        let mut pids = Vec::new();
        story.book.pids(&mut pids);
        assert_eq!(pids, [30, 31, pid]);
    }

    #[test]
    fn a_newcomer_came_after_the_look_before() {
        let mut story = Story::of_two("came");
        assert_eq!(story.looks_at_all(5000), []);
        story.proc.has(32, "srv", 8);
        story.proc.holds(32, 3, 1000);
        assert_eq!(
            story.looks_at_all(15_000),
            [(vec![30, 31, 32], vec![], Some(5000))]
        );
    }

    #[test]
    fn nobody_is_said_only_by_a_whole_look_that_began_later() {
        let mut story = Story::of_two("nobody");
        story.proc.closes(30, 5);
        story.proc.closes(30, 6);
        story.proc.ends(31);
        assert_eq!(story.asks(200), []);
        assert!(!story.book.is_hunting(at(250)), "it may be on its way out");
        assert!(story.book.is_hunting(at(500)));
        assert_eq!(story.looks_at_all(490), []);
        assert_eq!(story.looks_at_all(510), [(vec![], vec![31], Some(100))]);
        assert!(!story.book.is_hunting(at(10_000)));
        // It was on its way to somebody.
        story.proc.has(40, "heir", 9);
        story.proc.holds(40, 3, 1000);
        assert_eq!(story.looks_at_all(10_510), [(vec![40], vec![], Some(510))]);
    }

    #[test]
    fn who_is_forgotten_is_not_spoken_of() {
        let mut story = Story::of_two("forgotten");
        story.proc.closes(31, 5);
        story.book.forget(1000);
        assert_eq!(story.asks(200), []);
        assert!(story.book.processes.is_empty());
        story.book.want(1000, at(300));
        assert_eq!(story.looks_at_all(400), [(vec![30], vec![], None)]);
    }

    #[test]
    fn a_program_that_becomes_another_is_news() {
        let mut story = Story::of_two("exec");
        story.book.name(&mut story.scanner, at(150), at(100));
        assert_eq!(story.told(150), []);
        story.proc.is_in_state(31, "sleep", 7, "S", 1);
        story.book.name(&mut story.scanner, at(1150), at(150));
        assert_eq!(story.told(1150), [(vec![30, 31], vec![], Some(150))]);
    }

    #[test]
    fn all_that_is_known_can_be_said_again() {
        let mut story = Story::of_two("again");
        story.book.want(2000, at(500));
        let mut out = Vec::new();
        story.book.tell_all(Scope::default(), at(600), &mut out);
        assert_eq!(out.len(), 1, "of the other nothing was said before");
    }
}
