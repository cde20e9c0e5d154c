//! The thread that knows who holds what: asked for inodes, it says who holds them, and again
//! whenever that changes.
//!
//! It goes round ten times a second at most: who is new among the processes, whether the known
//! descriptors are still what they were, and then, for sockets whose holder is not known yet, a look
//! into those that are likely, and into all. It rests in proportion to what a round cost, so that all
//! together takes one part in a hundred of a core. The trap: on a busy host a question comes for
//! every socket of thousands a second; they are collected while it rests, and who is closed by then
//! is not looked for.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use crate::model::{Ask, Observation, Scope, Seen, Timestamp};
use crate::source::clock;
use crate::source::holders::book::Book;
use crate::source::holders::newest::Newest;
use crate::source::holders::scan::{Scan, Scanner};
use crate::source::holders::sight::keep_what_looking_needs;
use crate::source::holders::{PROC, off, running, said};

/// Known descriptors are asked for this often, and new processes looked for.
const ROUND: Duration = Duration::from_millis(100);
/// The names of holders are read this often: a program that becomes another keeps its sockets.
const NAMES: Duration = Duration::from_secs(1);
/// A socket that nobody holds is looked for this often in those who hold, or held, others: handed over,
/// it arrives there.
const AWAITED: Duration = Duration::from_secs(1);
/// Every process is looked into this often.
const ALL: Duration = Duration::from_secs(10);
/// Questions that come in this time are answered by one look.
const COLLECT: Duration = Duration::from_millis(5);
/// All together take this part of a core, seven in a thousand: with what was saved, and with what
/// one costly look overdraws, that stays below one in a hundred of any minute.
const SHARE: u32 = 140;
/// After a round it rests this many times as long as that took of the processor. These and the
/// next leave enough of the share for the look into all.
const ROUND_SHARE: u32 = 1000;
/// So it is for the questions for known descriptors, and for names.
const VERIFY_SHARE: u32 = 333;
const NAMES_SHARE: u32 = 2000;
/// Looks into the likely have their own part, two in a thousand: a costly look into all does not
/// keep them waiting, nor they that.
const LIKELY_SHARE: u32 = 500;
/// So many parents of whoever was found are looked into at once.
const GENERATIONS: usize = 3;
/// However costly a round, the next one comes by then.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// What was not taken of the share can be taken later, up to this much.
const SAVED: Duration = Duration::from_millis(30);
/// With nobody to look after, it waits to be asked.
const IDLE: Duration = Duration::from_secs(3600);

/// Watches who holds the sockets that it is asked for.
pub struct Watch {
    scanner: Option<Scanner>,
    scope: Scope,
}

impl Watch {
    /// Opens /proc and says how far it can be seen. To be opened before capabilities are given up,
    /// and run in a thread that was made before. Without `cmdline` no command line is read.
    pub fn open(scope: Scope, cmdline: bool, out: &mut Vec<Observation>) -> Self {
        let scanner = match Scanner::open(Path::new(PROC), cmdline) {
            Ok(scanner) => {
                let why = scanner.sight.why.clone();
                out.push(said(clock::now(), running(ALL, why)));
                Some(scanner)
            }
            Err(error) => {
                out.push(off(&error));
                None
            }
        };
        Self { scanner, scope }
    }

    /// Looks and answers until nobody listens: `send` says so by returning false, and the asking
    /// side by hanging up.
    pub fn run(self, asks: &Receiver<Vec<Ask>>, send: impl FnMut(Vec<Observation>) -> bool) {
        if let Some(scanner) = self.scanner {
            keep_what_looking_needs();
            Rounds::new(scanner, self.scope).run(asks, send);
        }
    }
}

struct Rounds {
    scanner: Scanner,
    scope: Scope,
    book: Book,
    newest: Newest,
    /// Begins of the newest look at new processes, and into all.
    newest_at: Timestamp,
    all_at: Timestamp,
    verifying: Turn,
    naming: Turn,
    likely: Turn,
    likely_purse: Purse,
    purse: Purse,
    /// What can't be seen, as it was last said.
    unseen: Option<String>,
    wants_all_told: bool,
    /// Kept to save the allocation.
    pids: Vec<u32>,
}

impl Rounds {
    fn new(scanner: Scanner, scope: Scope) -> Self {
        let mut newest = Newest::default();
        let mut pids = Vec::new();
        let begun = clock::now();
        newest.since(&scanner.tree, &mut pids);
        let unseen = scanner.sight.why.clone();
        Self {
            scanner,
            scope,
            book: Book::default(),
            newest,
            newest_at: begun,
            all_at: begun,
            verifying: Turn::new(begun),
            naming: Turn::new(begun),
            likely: Turn::new(begun),
            likely_purse: Purse::new(begun, LIKELY_SHARE),
            purse: Purse::new(begun, SHARE),
            unseen,
            wants_all_told: false,
            pids,
        }
    }

    fn run(mut self, asks: &Receiver<Vec<Ask>>, mut send: impl FnMut(Vec<Observation>) -> bool) {
        loop {
            let wait = self.next().since(clock::now());
            match asks.recv_timeout(wait) {
                Ok(batch) => self.hear(&batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let before = clock::thread_cpu();
            loop {
                match asks.try_recv() {
                    Ok(batch) => self.hear(&batch),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let mut out = Vec::new();
            let on_demand = self.go_round(&mut out);
            self.book.tell(self.scope, clock::now(), &mut out);
            if std::mem::take(&mut self.wants_all_told) {
                self.book.tell_all(self.scope, clock::now(), &mut out);
            }
            if !out.is_empty() && !send(out) {
                return;
            }
            let spent = clock::thread_cpu().saturating_sub(before);
            self.purse.spend(spent, clock::now());
            let cost = spent.saturating_sub(on_demand);
            // Questions do not wake it from this: they are collected.
            thread::park_timeout((cost * ROUND_SHARE).clamp(COLLECT, LONGEST_REST));
        }
    }

    fn hear(&mut self, asks: &[Ask]) {
        let now = clock::now();
        for ask in asks {
            match ask {
                Ask::Holders(inode) => self.book.want(*inode, now),
                Ask::NoHolders(inode) => self.book.forget(*inode),
                Ask::Keyframe => self.wants_all_told = true,
                Ask::Confirm(_) | Ask::Follow(_) | Ask::Leave(_) | Ask::Info(_) => {}
            }
        }
    }

    /// When there is something to do unless somebody asks.
    fn next(&self) -> Timestamp {
        if self.book.wanted().is_empty() {
            return clock::now().plus(IDLE);
        }
        self.newest_at.plus(ROUND)
    }

    /// One round; gives what all but the look at new processes took of the processor, which has its
    /// own bounds.
    fn go_round(&mut self, out: &mut Vec<Observation>) -> Duration {
        if self.book.wanted().is_empty() {
            return Duration::ZERO;
        }
        // A child that is found first is not all that is to be found.
        let was_hunting = self.book.is_hunting(clock::now());
        self.look_at_the_newest();
        let cpu = clock::thread_cpu();
        let now = clock::now();
        if self.verifying.is_due(now, ROUND) {
            self.verifying.begin(now);
            self.book.verify(&mut self.scanner, now);
            self.verifying.end(cpu, VERIFY_SHARE);
        }
        if self.naming.is_due(now, NAMES) {
            let (cpu, before) = (clock::thread_cpu(), self.naming.begin(now));
            self.book.name(&mut self.scanner, now, before);
            self.naming.end(cpu, NAMES_SHARE);
        }
        let can_pay = self.purse.is_open(now);
        let is_hunting = was_hunting || self.book.is_hunting(now);
        let is_awaited = self.book.has_unheld() && self.likely.is_due(now, AWAITED);
        if is_awaited || is_hunting && self.likely_purse.is_open(now) {
            let cpu = clock::thread_cpu();
            self.likely.begin(now);
            self.look_at_the_likely();
            self.likely.end(cpu, LIKELY_SHARE);
            let cost = clock::thread_cpu().saturating_sub(cpu);
            self.likely_purse.spend(cost, clock::now());
        }
        let is_wanted = can_pay && self.book.is_hunting(now);
        let is_due = now.since(self.all_at) >= ALL && self.purse.is_full(now);
        if is_wanted || is_due {
            let cpu = clock::thread_cpu();
            self.look_at_all(out);
            self.purse.all = clock::thread_cpu().saturating_sub(cpu);
        }
        clock::thread_cpu().saturating_sub(cpu)
    }

    fn look_at_the_newest(&mut self) {
        let begun = clock::now();
        let before = std::mem::replace(&mut self.newest_at, begun);
        let mut pids = std::mem::take(&mut self.pids);
        self.newest.since(&self.scanner.tree, &mut pids);
        self.look_into(&pids, begun, Some(before));
        self.look_at_parents(pids.clone());
        self.pids = pids;
    }

    /// Those who hold something else, and those who were born lately.
    fn look_at_the_likely(&mut self) {
        let mut pids = std::mem::take(&mut self.pids);
        self.book.pids(&mut pids);
        let known = pids.len();
        let recent = self.newest.recent();
        pids.extend(recent);
        let (holders, recent) = pids.split_at_mut(known);
        recent.sort_unstable();
        let others: Vec<u32> = recent
            .iter()
            .copied()
            .filter(|pid| holders.binary_search(pid).is_err())
            .collect();
        let begun = clock::now();
        self.look_into(&pids[..known], begun, None);
        self.look_into(&others, begun, None);
        pids.truncate(known);
        pids.extend(others);
        self.look_at_parents(pids.clone());
        self.pids = pids;
    }

    /// Whoever was found may have it from a parent, which holds it on: that is looked into before
    /// anything is said, unless it was looked into just now.
    fn look_at_parents(&mut self, mut looked: Vec<u32>) {
        for _ in 0..GENERATIONS {
            let came = self.book.came().into_iter();
            let mut parents: Vec<u32> = came.filter_map(|(_, parent)| parent).collect();
            parents.sort_unstable();
            parents.dedup();
            parents.retain(|parent| *parent != 0 && !looked.contains(parent));
            if parents.is_empty() {
                return;
            }
            self.look_into(&parents, clock::now(), None);
            looked.extend(parents);
        }
    }

    /// `born`: none of them was there before.
    fn look_into(&mut self, pids: &[u32], begun: Timestamp, born: Option<Timestamp>) {
        let mut scan = Scan::default();
        for &pid in pids {
            self.scanner.look_into(pid, self.book.wanted(), &mut scan);
        }
        let seen = self.scanner.seen(&scan);
        self.take(scan, seen, begun, born);
    }

    fn look_at_all(&mut self, out: &mut Vec<Observation>) {
        let begun = clock::now();
        self.all_at = begun;
        let mut scan = self.scanner.all(self.book.wanted());
        let seen = self.scanner.seen(&scan);
        let unseen = self.scanner.unseen(&scan);
        if unseen != self.unseen {
            self.unseen.clone_from(&unseen);
            out.push(said(clock::now(), running(ALL, unseen)));
        }
        let refused = std::mem::take(&mut scan.refused).into_iter().collect();
        let is_whole = !scan.failed;
        self.take(scan, seen, begun, None);
        if is_whole {
            self.book.covered(begun, refused);
        }
        let nobodys = self.book.nobodys(begun);
        if !nobodys.is_empty() {
            let scan = self.scanner.threads(&nobodys);
            self.take(scan, seen, begun, None);
        }
        self.book.looked_at_all(seen, begun);
        self.book.came();
    }

    fn take(&mut self, scan: Scan, seen: Seen, begun: Timestamp, born: Option<Timestamp>) {
        for found in &scan.found {
            // Who has opened one may open the next. A thread is no process to be looked into.
            self.newest.remember(found.holder.program.id.pid);
        }
        self.book.take(scan, seen, begun, born);
    }
}

/// When something was done last, and when it may be done again.
#[derive(Clone, Copy, Debug)]
struct Turn {
    begun: Timestamp,
    may: Timestamp,
}

impl Turn {
    const fn new(now: Timestamp) -> Self {
        Self {
            begun: now,
            may: now,
        }
    }

    fn is_due(&self, now: Timestamp, period: Duration) -> bool {
        now.since(self.begun) >= period && now >= self.may
    }

    /// Gives when it was begun before.
    const fn begin(&mut self, now: Timestamp) -> Timestamp {
        std::mem::replace(&mut self.begun, now)
    }

    /// It has taken what the thread has used since `cpu`, and comes again after so many times that.
    fn end(&mut self, cpu: Duration, share: u32) {
        let cost = clock::thread_cpu().saturating_sub(cpu);
        self.may = clock::now().plus((cost * share).min(LONGEST_REST));
    }
}

/// What is left of the thread's share of a core.
#[derive(Clone, Copy, Debug)]
struct Purse {
    /// In nanoseconds of the processor; below zero after a costly look.
    left: i64,
    /// What the look into all cost last, which can be saved for.
    all: Duration,
    as_of: Timestamp,
    /// One part in so many of a core is what comes in.
    share: u32,
    /// The first look is for nothing.
    is_free: bool,
}

impl Purse {
    const fn new(now: Timestamp, share: u32) -> Self {
        Self {
            left: nanos(SAVED),
            all: Duration::ZERO,
            as_of: now,
            share,
            is_free: true,
        }
    }

    fn fill(&mut self, now: Timestamp) {
        let more = nanos(now.since(self.as_of) / self.share);
        self.left = self
            .left
            .saturating_add(more)
            .min(nanos(SAVED.max(self.all)));
        self.as_of = now;
    }

    fn is_open(&mut self, now: Timestamp) -> bool {
        self.fill(now);
        self.left > 0
    }

    /// Whether the look into all, which nobody waits for, is paid for in advance.
    fn is_full(&mut self, now: Timestamp) -> bool {
        self.fill(now);
        self.left >= nanos(self.all)
    }

    fn spend(&mut self, cost: Duration, now: Timestamp) {
        self.fill(now);
        if !std::mem::take(&mut self.is_free) {
            self.left = self.left.saturating_sub(nanos(cost));
        }
    }
}

const fn nanos(time: Duration) -> i64 {
    // Three hundred years.
    time.as_nanos() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_costly_look_is_paid_back_before_the_next() {
        let mut purse = Purse::new(at(0), 100);
        purse.spend(900 * MS, at(0));
        assert!(purse.is_open(at(0)), "the first is free");
        purse.spend(130 * MS, at(0));
        // A hundred milliseconds too much: ten seconds of a part in a hundred.
        assert!(!purse.is_open(at(10_000)));
        assert!(purse.is_open(at(10_001)));
    }

    #[test]
    fn a_look_that_nobody_waits_for_is_paid_in_advance() {
        let mut purse = Purse::new(at(0), 100);
        purse.spend(200 * MS, at(0));
        purse.all = 200 * MS;
        assert!(purse.is_open(at(10_000)) && !purse.is_full(at(10_000)));
        assert!(
            purse.is_full(at(17_000)),
            "thirty were saved, a hundred and seventy came"
        );
        purse.spend(200 * MS, at(30_000));
        assert!(!purse.is_full(at(49_000)) && purse.is_full(at(50_000)));
    }

    #[test]
    fn what_is_saved_is_bounded() {
        let mut purse = Purse::new(at(0), 100);
        purse.spend(MS, at(0));
        assert!(purse.is_open(at(3_600_000)));
        purse.spend(SAVED, at(3_600_000));
        assert!(!purse.is_open(at(3_600_000)));
    }
}
