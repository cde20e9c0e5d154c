//! A /proc made of plain files, for tests: processes come, hold, close and end as they are told.
//!
//! The trap: it has no kernel behind it, so a folder that is open when its process ends must lose its
//! entries, as a real one does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::model::Seen;
use crate::source::holders::scan::Scanner;
use crate::source::holders::sight::Sight;

/// The folder; gone with it.
pub(super) struct MadeUp {
    root: PathBuf,
}

impl MadeUp {
    /// An empty one; `name` tells it from others.
    pub(super) fn new(name: &str) -> Self {
        let own = format!("tcpwatch-made-up-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(own);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    /// Looks at it with all rights.
    pub(super) fn scanner(&self) -> Scanner {
        let mut scanner = Scanner::open(&self.root, true).unwrap();
        scanner.sight = Sight {
            seen: Seen::All,
            why: None,
        };
        scanner
    }

    /// A process of one thread.
    pub(super) fn has(&self, pid: u32, comm: &str, started: u64) {
        fs::create_dir_all(self.root.join(format!("{pid}/fd"))).unwrap();
        self.is_in_state(pid, comm, started, "S", 1);
        self.write(pid, "status", "Name:\tx\nUid:\t0\t0\t0\t0\n");
        self.write(pid, "cmdline", &format!("{comm}\0--serve\0"));
    }

    pub(super) fn is_in_state(
        &self,
        pid: u32,
        comm: &str,
        started: u64,
        state: &str,
        threads: u32,
    ) {
        let stat = format!(
            "{pid} ({comm}) {state} 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 {threads} 0 {started} 0 0\n"
        );
        self.write(pid, "stat", &stat);
    }

    /// It has another user and command line now.
    pub(super) fn runs(&self, pid: u32, comm: &str, uid: u32, cmdline: &str) {
        let status = format!("Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        self.write(pid, "status", &status);
        self.write(pid, "cmdline", cmdline);
    }

    fn write(&self, pid: u32, file: &str, text: &str) {
        fs::write(self.root.join(format!("{pid}/{file}")), text).unwrap();
    }

    /// It opens something.
    pub(super) fn opens(&self, pid: u32, fd: u32, what: &str) {
        symlink(what, self.root.join(format!("{pid}/fd/{fd}"))).unwrap();
    }

    /// It opens a socket.
    pub(super) fn holds(&self, pid: u32, fd: u32, inode: u32) {
        self.opens(pid, fd, &format!("socket:[{inode}]"));
    }

    /// Another of its threads has descriptors of its own to show.
    pub(super) fn thread_holds(&self, pid: u32, tid: u32, fd: u32, inode: u32) {
        let folder = self.root.join(format!("{pid}/task/{tid}/fd"));
        fs::create_dir_all(&folder).unwrap();
        symlink(format!("socket:[{inode}]"), folder.join(fd.to_string())).unwrap();
    }

    pub(super) fn closes(&self, pid: u32, fd: u32) {
        fs::remove_file(self.root.join(format!("{pid}/fd/{fd}"))).unwrap();
    }

    pub(super) fn ends(&self, pid: u32) {
        fs::remove_dir_all(self.root.join(pid.to_string())).unwrap();
    }
}

impl Drop for MadeUp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
