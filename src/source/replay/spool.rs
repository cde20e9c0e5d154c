//! What comes from a pipe, kept in a temporary file that has no name, so that it can be read from
//! anywhere, and is gone with the program.
//!
//! The traps: the file grows while it is read, so "whole" is said only after the last byte is in
//! it. A full disk ends what is kept, not what was kept. And a recording is not for everybody's
//! eyes: the file is its owner's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::fs::{Mode, OFlags, open, unlink};
use rustix::io::Errno;

use crate::record::Bytes;
use crate::source::replay::ReplayError;

const CHUNK: usize = 64 << 10;
/// Names that are tried where a file can't be made without one.
const NAMES: u32 = 100;

/// A pipe, kept.
pub(super) struct Spool {
    kept: File,
    is_whole: AtomicBool,
    /// Why it could not be kept to its end.
    failed: OnceLock<String>,
}

impl Bytes for Spool {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        // Asked before: what was kept is read before the failure is told.
        let failed = self.failed.get();
        match (Bytes::read_at(&self.kept, into, offset)?, failed) {
            (0, Some(why)) => Err(io::Error::other(why.clone())),
            (count, _) => Ok(count),
        }
    }

    fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }
}

impl Spool {
    /// Starts the thread that reads `pipe`, and returns when there is a first line, or all of it.
    pub(super) fn start(
        pipe: File,
        name: &Path,
        tell: impl Fn() + Send + 'static,
    ) -> Result<Arc<Self>, ReplayError> {
        let folder = std::env::temp_dir();
        let not_kept = |error| ReplayError::Spool {
            name: name.display().to_string(),
            folder: folder.display().to_string(),
            error,
        };
        let kept = nameless(&folder).map_err(not_kept)?;
        let writer = kept.try_clone().map_err(not_kept)?;
        let spool = Arc::new(Self {
            kept,
            is_whole: AtomicBool::new(false),
            failed: OnceLock::new(),
        });
        let (has_line, first_line) = channel();
        let theirs = Arc::clone(&spool);
        thread::Builder::new()
            .name("spool".into())
            .spawn(move || {
                if let Err(error) = copy(pipe, writer, has_line, &tell) {
                    let why = format!("what came from it could not be kept: {error}");
                    let _ = theirs.failed.set(why);
                }
                theirs.is_whole.store(true, Ordering::Release);
                tell();
            })
            .map_err(not_kept)?;
        // The thread drops its end when the pipe has ended without a line.
        let _ = first_line.recv();
        let is_empty = spool.kept.metadata().is_ok_and(|kept| kept.len() == 0);
        if is_empty {
            return Err(match spool.failed.get() {
                Some(why) => not_kept(io::Error::other(why.clone())),
                None => ReplayError::NothingCame(name.display().to_string()),
            });
        }
        Ok(spool)
    }
}

fn copy(mut pipe: File, mut kept: File, has_line: Sender<()>, tell: &impl Fn()) -> io::Result<()> {
    let mut has_line = Some(has_line);
    let mut chunk = vec![0; CHUNK];
    let mut before = 0;
    loop {
        let count = match pipe.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        kept.write_all(&chunk[..count])?;
        before += count;
        // What has no line's end for so long is no recording: whoever opens it will say so.
        if before > LONGEST_FIRST_LINE || memchr::memchr(b'\n', &chunk[..count]).is_some() {
            has_line = has_line.and_then(|waiting| {
                // Nobody waits any more: that is for the reader to know.
                let _ = waiting.send(());
                None
            });
        }
        tell();
    }
}

/// A header is shorter.
const LONGEST_FIRST_LINE: usize = 1 << 21;

/// A file without a name, for its owner alone.
fn nameless(folder: &Path) -> io::Result<File> {
    let owner = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match open(folder, flags | OFlags::TMPFILE, owner) {
        Ok(file) => return Ok(file.into()),
        // File systems and kernels that can't.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let exclusive = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mut last = Errno::EXIST;
    for number in 0..NAMES {
        let path = temporary(folder, number);
        match open(&path, exclusive, owner) {
            Ok(file) => {
                unlink(&path)?;
                return Ok(file.into());
            }
            Err(Errno::EXIST) => {}
            Err(error) => {
                last = error;
                break;
            }
        }
    }
    Err(last.into())
}

fn temporary(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!(".tcpwatch-{}-{number}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Receiver;

    fn started() -> (File, Arc<Spool>, Receiver<()>) {
        let (read, write) = io::pipe().unwrap();
        let mut write = File::from(std::os::fd::OwnedFd::from(write));
        write.write_all(b"a line\nand").unwrap();
        let (sender, told) = channel();
        let tell = move || sender.send(()).unwrap_or_default();
        let spool = Spool::start(
            std::os::fd::OwnedFd::from(read).into(),
            Path::new("pipe"),
            tell,
        )
        .unwrap();
        (write, spool, told)
    }

    fn read(spool: &Spool) -> Vec<u8> {
        let mut all = vec![0; 100];
        let count = Bytes::read_at(spool, &mut all, 0).unwrap();
        all.truncate(count);
        all
    }

    #[test]
    fn a_pipe_can_be_read_while_it_grows_and_again() {
        let (mut pipe, spool, told) = started();
        assert_eq!(read(&spool), b"a line\nand");
        assert!(!spool.is_whole());
        pipe.write_all(b" another\n").unwrap();
        drop(pipe);
        // Told of each piece and of the end; the sender goes with the thread.
        assert!(told.iter().count() >= 2);
        assert!(spool.is_whole());
        assert_eq!(read(&spool), b"a line\nand another\n");
        assert_eq!(read(&spool), b"a line\nand another\n");
    }

    #[test]
    fn what_is_kept_is_for_its_owner_and_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        let (_pipe, spool, _told) = started();
        let kept = spool.kept.metadata().unwrap();
        assert_eq!(kept.mode() & 0o777, 0o600);
        assert_eq!(kept.nlink(), 0);
    }

    #[test]
    fn a_pipe_that_gives_nothing_is_an_error() {
        let (read, write) = io::pipe().unwrap();
        drop(write);
        let opened = Spool::start(
            std::os::fd::OwnedFd::from(read).into(),
            Path::new("pipe"),
            || {},
        );
        let text = opened.map(|_| ()).unwrap_err().to_string();
        assert!(text.starts_with("pipe: nothing came from it"), "{text}");
    }
}
