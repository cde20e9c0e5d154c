//! A process in words: its name, user, parent and command line.
//!
//! Read as bytes: a name can hold anything but a zero, brackets and line ends included. The trap: a
//! pid is given again, so whoever reads a process's files must ask for its start time with them.

use std::sync::Arc;

use foldhash::HashMap;

use crate::model::event::Comm;
use crate::model::holder::CMDLINE;
use crate::model::{ProcessId, Program};
use crate::source::holders::tree::Tree;

/// `PF_EXITING`, include/linux/sched.h: it is on its way out, its descriptors are closed first.
const EXITING: u32 = 0x4;

/// What /proc/PID/stat says of a process that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) id: ProcessId,
    pub(super) comm: Comm,
    parent: u32,
    /// Its first thread has ended or is ending.
    is_ending: bool,
    threads: u32,
}

impl Stat {
    /// Reads it; `None` when there is no such process.
    pub(super) fn of(tree: &Tree, pid: u32) -> Option<Self> {
        let mut buffer = [0; 1024];
        Self::parse(pid, tree.read(pid, "stat", &mut buffer).ok()?)
    }

    /// Fields of proc_pid_stat(5), which counts from 1; after the name comes the third.
    fn parse(pid: u32, text: &[u8]) -> Option<Self> {
        let begin = text.iter().position(|&byte| byte == b'(')? + 1;
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let name = text.get(begin..end)?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let flags: u32 = field(9)?.parse().ok()?;
        Some(Self {
            id: ProcessId {
                pid,
                started: field(22)?.parse().ok()?,
            },
            comm: comm(name),
            parent: field(4)?.parse().ok()?,
            is_ending: flags & EXITING != 0 || matches!(field(3)?, "Z" | "X" | "x"),
            threads: field(20)?.parse().ok()?,
        })
    }

    /// Whether the process is over: a zombie, or about to be one.
    pub(super) const fn has_ended(&self) -> bool {
        self.is_ending && self.threads <= 1
    }

    /// Others go on without the first thread, whose descriptors are no longer shown.
    pub(super) const fn lacks_its_first_thread(&self) -> bool {
        self.is_ending && self.threads > 1
    }
}

fn comm(name: &[u8]) -> Comm {
    let mut comm = Comm([0; 16]);
    // The last one stays zero, as the kernel has it.
    let length = name.len().min(comm.0.len() - 1);
    comm.0[..length].copy_from_slice(&name[..length]);
    comm
}

/// Reads processes, and remembers the names of users.
#[derive(Debug, Default)]
pub(super) struct Reader {
    users: HashMap<u32, Option<Box<str>>>,
}

impl Reader {
    /// All that is said of a process.
    pub(super) fn program(&mut self, tree: &Tree, stat: &Stat, cmdline: bool) -> Arc<Program> {
        let pid = stat.id.pid;
        let mut buffer = [0; 1024];
        let status = tree.read(pid, "status", &mut buffer).ok();
        let uid = status.and_then(effective_user);
        let mut buffer = [0; CMDLINE];
        let cmdline = cmdline
            .then(|| tree.read(pid, "cmdline", &mut buffer).ok())
            .flatten()
            .and_then(command_line);
        Arc::new(Program {
            id: stat.id,
            parent: Some(stat.parent),
            comm: stat.comm,
            uid,
            user: uid.and_then(|uid| self.user(uid)),
            cmdline,
        })
    }

    fn user(&mut self, uid: u32) -> Option<Box<str>> {
        let name = || {
            let passwd = std::fs::read("/etc/passwd").ok()?;
            user_name(&passwd, uid)
        };
        self.users.entry(uid).or_insert_with(name).clone()
    }
}

/// The second number of the line "Uid:", which is among the first: the effective user.
fn effective_user(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))?;
    let line = std::str::from_utf8(line).ok()?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The arguments, a space between two of them.
fn command_line(text: &[u8]) -> Option<Box<str>> {
    let end = text.iter().rposition(|&byte| byte != 0)? + 1;
    let spaced: Vec<u8> = text[..end]
        .iter()
        .map(|&byte| if byte == 0 { b' ' } else { byte })
        .collect();
    let mut line = String::from_utf8_lossy(&spaced).into_owned();
    // A byte that is no UTF-8 becomes three.
    while line.len() > CMDLINE {
        line.pop();
    }
    Some(line.into())
}

/// `name:password:uid:...`, passwd(5).
fn user_name(passwd: &[u8], uid: u32) -> Option<Box<str>> {
    let uid = uid.to_string();
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let is_it = fields.nth(1)? == uid.as_bytes();
        (is_it && !name.is_empty()).then(|| String::from_utf8_lossy(name).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "1 812 812 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 3 0 98765 1 2";

    fn stat(name: &[u8], state: &str) -> Stat {
        let mut text = b"812 (".to_vec();
        text.extend(name);
        text.extend(format!(") {state} {TAIL}\n").bytes());
        Stat::parse(812, &text).unwrap()
    }

    #[test]
    fn a_name_may_hold_anything() {
        for name in [
            &b"python3"[..],
            b"a) Z 1 (b",
            b"two\nlines \x1b[31m",
            b"\xff\xfe",
            b"",
        ] {
            let stat = stat(name, "S");
            assert_eq!(&stat.comm.0[..name.len()], name);
            assert_eq!(stat.id.started, 98765);
            assert_eq!(stat.parent, 1);
            assert!(!stat.has_ended());
        }
        // A kernel worker's name is longer than a task's.
        assert_eq!(
            stat(b"kworker/u8:3-events_unbound", "I").comm.0,
            *b"kworker/u8:3-ev\0"
        );
        assert_eq!(Stat::parse(1, b""), None);
        assert_eq!(Stat::parse(1, b"1 (x) S 1"), None);
    }

    #[test]
    fn a_process_has_ended_with_its_last_thread() {
        let zombie = stat(b"x", "Z");
        assert!(!zombie.has_ended(), "two other threads go on");
        assert!(
            Stat {
                threads: 1,
                ..zombie
            }
            .has_ended()
        );
    }

    #[test]
    fn the_user_is_the_effective_one() {
        let status = b"Name:\tx\\nUid:\t9\t9\nUmask:\t0022\nUid:\t1000\t0\t1000\t1000\n";
        assert_eq!(effective_user(status), Some(0));
        assert_eq!(effective_user(b"Name:\tx\n"), None);
        let passwd = b"root:x:0:0::/root:/bin/sh\n\nhttp:x:33:33\nold::1:\n:x:7:7\n";
        assert_eq!(user_name(passwd, 33).as_deref(), Some("http"));
        assert_eq!(user_name(passwd, 3), None);
        assert_eq!(user_name(passwd, 7), None);
    }

    #[test]
    fn a_command_line_is_cut_and_readable() {
        assert_eq!(command_line(b"a\0b c\0\0").as_deref(), Some("a b c"));
        assert_eq!(command_line(b"\xffx\0").as_deref(), Some("\u{fffd}x"));
        assert_eq!(command_line(b""), None);
        assert_eq!(command_line(b"\0\0"), None);
        let long = command_line(&[0xff; CMDLINE]).unwrap();
        assert_eq!(long.len(), CMDLINE / 3 * 3);
    }
}
