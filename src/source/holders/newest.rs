//! The processes that are new since the last look, without reading the list of all.
//!
//! The kernel says the number that it gave last; those between are asked for one by one. The trap:
//! threads have numbers of the same kind, and showing one's descriptors shows its process's again.

use std::collections::VecDeque;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::source::holders::tree::Tree;

/// More numbers than that are not asked for one by one: the next whole look finds them.
const STEP: u32 = 512;
/// So many of the newest are remembered: who was just born has yet to open what it will hold.
const REMEMBERED: usize = 32;

/// Knows which processes are new.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The number given last, as of the look before; `None` where it can't be read.
    last: Option<u32>,
    recent: VecDeque<u32>,
}

impl Newest {
    /// The processes born since this was last asked, into `out`; at the first time none.
    pub(super) fn since(&mut self, tree: &Tree, out: &mut Vec<u32>) {
        out.clear();
        let mut buffer = [0; 128];
        let now = tree
            .read_here("loadavg", &mut buffer)
            .ok()
            .and_then(last_given);
        let before = std::mem::replace(&mut self.last, now);
        let (Some(before), Some(now)) = (before, now) else {
            return;
        };
        // Numbers that began again from below are left to the whole look.
        if before < now {
            let first = now.saturating_sub(STEP).max(before) + 1;
            out.extend((first..=now).filter(|&pid| is_process(pid)));
        }
        for &pid in out.iter() {
            self.remember(pid);
        }
    }

    /// One that may well hold what is opened next.
    pub(super) fn remember(&mut self, pid: u32) {
        if self.recent.contains(&pid) {
            return;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(pid);
    }

    /// Those remembered.
    pub(super) fn recent(&self) -> impl Iterator<Item = u32> {
        self.recent.iter().copied()
    }
}

/// Whether a number is a process's; a thread's is refused, and so is one that is nobody's.
fn is_process(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(_) => true,
        // Linux before 5.3, or a sandbox: it is looked into to see.
        Err(error) => matches!(error, Errno::NOSYS | Errno::PERM | Errno::MFILE),
    })
}

/// `0.02 0.45 0.64 2/90 32735`: the last is the number given last, proc_loadavg(5).
fn last_given(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_ascii_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_given_last_is_read() {
        assert_eq!(last_given(b"0.02 0.45 0.64 2/90 32735\n"), Some(32735));
        assert_eq!(last_given(b"0.02 0.45\n"), None);
    }

    #[test]
    fn a_thread_is_no_process() {
        assert!(is_process(std::process::id()));
        let tid = std::thread::spawn(|| {
            let tid = rustix::thread::gettid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs();
            (tid, is_process(tid))
        });
        let (tid, is_one) = tid.join().unwrap();
        assert!(tid != std::process::id() && !is_one);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut newest = Newest::default();
        for pid in (1..=40).chain([40, 39]) {
            newest.remember(pid);
        }
        let recent: Vec<u32> = newest.recent().collect();
        assert_eq!(recent, (9..=40).collect::<Vec<_>>());
    }
}
