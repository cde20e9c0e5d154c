//! The processes and their descriptors, as /proc shows them.
//!
//! Nothing is allocated for a descriptor: its name is read where the kernel wrote it, its link into
//! a small buffer. No descriptor is opened and none is asked for its status, which could block and
//! costs more than all the rest. The trap: processes end while they are read; that is no error, and
//! a process that may not be looked into is one, or "nobody" would be said of what is hidden.

use std::ffi::CStr;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawDir, open, openat, readlinkat_raw};
use rustix::io::{self, Errno};

/// Names of this many bytes are read in one go.
const NAMES: usize = 32 << 10;
/// A path below /proc: two numbers of ten digits and some words.
const PATH: usize = 64;

/// A mounted /proc, or what looks like one.
pub(super) struct Tree {
    root: OwnedFd,
    names: Box<[MaybeUninit<u8>]>,
}

/// What came of a look at one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// It has so many descriptors.
    At(u32),
    /// It has ended.
    Gone,
    /// It may not be looked into.
    Refused,
    /// It could not be looked into: too many open files, say.
    Failed,
}

impl Looked {
    fn of(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::SRCH => Self::Gone,
            Errno::ACCESS | Errno::PERM => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl Tree {
    /// Opens the tree at this path.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: open(root, directory(), Mode::empty())?,
            names: vec![MaybeUninit::uninit(); NAMES].into_boxed_slice(),
        })
    }

    /// The numbers of all processes, into `out`.
    pub(super) fn pids(&mut self, out: &mut Vec<u32>) -> io::Result<()> {
        out.clear();
        let root = openat(&self.root, c".", directory(), Mode::empty())?;
        self.numbers(root, |pid| out.push(pid))
    }

    /// The numbers of a process's threads, into `out`; none when it has ended.
    pub(super) fn threads(&mut self, pid: u32, out: &mut Vec<u32>) {
        out.clear();
        if let Ok(dir) = self.directory(path(&mut [0; PATH], format_args!("{pid}/task"))) {
            // What could be read before it ended will do.
            let _ = self.numbers(dir, |tid| out.push(tid));
        }
    }

    /// The descriptors of a process, for [`Tree::each_socket`].
    pub(super) fn descriptors(&self, pid: u32) -> io::Result<OwnedFd> {
        self.directory(path(&mut [0; PATH], format_args!("{pid}/fd")))
    }

    /// The descriptors of one thread, which it mostly shares with the others.
    pub(super) fn descriptors_of_thread(&self, pid: u32, tid: u32) -> io::Result<OwnedFd> {
        self.directory(path(&mut [0; PATH], format_args!("{pid}/task/{tid}/fd")))
    }

    fn directory(&self, path: &CStr) -> io::Result<OwnedFd> {
        openat(&self.root, path, directory(), Mode::empty())
    }

    /// Calls `each(descriptor, inode)` for every socket that a process holds, and gives the folder
    /// in which it was found.
    pub(super) fn each_socket(
        &mut self,
        pid: u32,
        mut each: impl FnMut(u32, u32),
    ) -> (Option<OwnedFd>, Looked) {
        let (dir, looked) = match self.descriptors(pid) {
            Ok(dir) => {
                let looked = self.each_socket_in(&dir, &mut each);
                (Some(dir), looked)
            }
            Err(error) => return (None, Looked::of(error)),
        };
        if looked != Looked::At(0) {
            return (dir, looked);
        }
        // A first thread that has ended shows none, while the others hold them on.
        let mut threads = Vec::new();
        self.threads(pid, &mut threads);
        for tid in threads.into_iter().filter(|&tid| tid != pid) {
            let Ok(dir) = self.descriptors_of_thread(pid, tid) else {
                continue;
            };
            match self.each_socket_in(&dir, &mut each) {
                Looked::At(0) | Looked::Gone => {}
                looked => return (Some(dir), looked),
            }
        }
        (dir, looked)
    }

    /// Calls `each(descriptor, inode)` for every socket of one thread's own descriptors.
    pub(super) fn each_socket_of_thread(
        &mut self,
        pid: u32,
        tid: u32,
        mut each: impl FnMut(u32, u32),
    ) -> Option<OwnedFd> {
        let dir = self.descriptors_of_thread(pid, tid).ok()?;
        self.each_socket_in(&dir, &mut each);
        Some(dir)
    }

    fn each_socket_in(&mut self, dir: &OwnedFd, each: &mut impl FnMut(u32, u32)) -> Looked {
        let mut seen = 0;
        let mut entries = RawDir::new(dir, &mut self.names);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Looked::of(error),
            };
            let Some(fd) = number(entry.file_name().to_bytes()) else {
                continue;
            };
            seen += 1;
            match inode_behind(dir, entry.file_name()) {
                Ok(Some(inode)) => each(fd, inode),
                Ok(None) | Err(Errno::NOENT | Errno::SRCH) => {}
                // What is refused for one descriptor is for all.
                Err(error) => return Looked::of(error),
            }
        }
        Looked::At(seen)
    }

    /// Calls `each` with every entry that is a number.
    fn numbers(&mut self, dir: OwnedFd, mut each: impl FnMut(u32)) -> io::Result<()> {
        let mut entries = RawDir::new(dir, &mut self.names);
        while let Some(entry) = entries.next() {
            if let Some(number) = number(entry?.file_name().to_bytes()) {
                each(number);
            }
        }
        Ok(())
    }

    /// As much of a process's file as fits; less when it ends while it is read.
    pub(super) fn read<'a>(
        &self,
        pid: u32,
        file: &str,
        buffer: &'a mut [u8],
    ) -> io::Result<&'a [u8]> {
        self.read_at(path(&mut [0; PATH], format_args!("{pid}/{file}")), buffer)
    }

    /// As much of a file at the top as fits.
    pub(super) fn read_here<'a>(&self, file: &str, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        self.read_at(path(&mut [0; PATH], format_args!("{file}")), buffer)
    }

    fn read_at<'a>(&self, path: &CStr, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.root, path, flags, Mode::empty())?;
        let mut filled = 0;
        while filled < buffer.len() {
            match rustix::io::read(&file, &mut buffer[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(&buffer[..filled])
    }
}

/// The inode of the socket behind a descriptor; `None` when it is none any more.
pub(super) fn socket_behind(dir: impl AsFd, fd: u32) -> io::Result<Option<u32>> {
    inode_behind(dir, path(&mut [0; PATH], format_args!("{fd}")))
}

fn inode_behind(dir: impl AsFd, name: &CStr) -> io::Result<Option<u32>> {
    let mut link = [0; PATH];
    let length = readlinkat_raw(dir, name, &mut link)?;
    Ok(socket_inode(&link[..length]))
}

/// `socket:[20417]`.
fn socket_inode(link: &[u8]) -> Option<u32> {
    number(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

const fn directory() -> OFlags {
    OFlags::RDONLY
        .union(OFlags::DIRECTORY)
        .union(OFlags::CLOEXEC)
}

/// Writes a path where it needs no allocation. One that does not fit would be cut, and is no path
/// that exists.
fn path<'a>(buffer: &'a mut [u8; PATH], text: std::fmt::Arguments<'_>) -> &'a CStr {
    let mut rest = &mut buffer[..PATH - 1];
    let _ = rest.write_fmt(text);
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_has_an_inode() {
        assert_eq!(socket_inode(b"socket:[20417]"), Some(20417));
        for other in [
            &b"pipe:[20417]"[..],
            b"socket:[]",
            b"socket:[1x]",
            b"socket:[99999999999]",
            b"/tmp/socket:[1]",
            b"socket:[1] (deleted)",
            b"",
        ] {
            assert_eq!(socket_inode(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_path_is_written_where_it_fits() {
        assert_eq!(
            path(
                &mut [0; PATH],
                format_args!("{}/task/{}/fd", u32::MAX, u32::MAX)
            ),
            c"4294967295/task/4294967295/fd"
        );
    }
}
