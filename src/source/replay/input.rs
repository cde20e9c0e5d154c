//! A file that is given to be replayed, opened. What is no regular file is kept in a temporary one
//! while it comes, since a pipe can't be read twice.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::record::Bytes;
use crate::source::replay::ReplayError;
use crate::source::replay::spool::Spool;

/// A recording, or a part of one.
#[derive(Clone)]
pub struct Input {
    /// What to call it in messages.
    pub name: PathBuf,
    /// What is in it.
    pub bytes: Arc<dyn Bytes>,
}

impl Input {
    /// Opens a file; `-` is standard input. A pipe is read by a thread of its own, which calls
    /// `tell` when there is more, and when that was all. Returns when there is a first line.
    ///
    /// # Errors
    /// When it can't be opened, is a directory, or a pipe that gives nothing.
    pub fn open(path: &Path, tell: impl Fn() + Send + 'static) -> Result<Self, ReplayError> {
        let name = if is_standard_input(path) {
            PathBuf::from("standard input")
        } else {
            path.to_owned()
        };
        let not_opened = |error| ReplayError::NotOpened {
            name: name.display().to_string(),
            error,
        };
        let file = file(path).map_err(not_opened)?;
        let kind = file.metadata().map_err(not_opened)?.file_type();
        if kind.is_dir() {
            return Err(ReplayError::Directory(name.display().to_string()));
        }
        let bytes: Arc<dyn Bytes> = if kind.is_file() {
            Arc::new(file)
        } else {
            Spool::start(file, &name, tell)?
        };
        Ok(Self { name, bytes })
    }

    /// As [`Input::open`], and returns when all is there.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn open_whole(path: &Path) -> Result<Self, ReplayError> {
        let (sender, more) = std::sync::mpsc::channel();
        let input = Self::open(path, move || {
            // Nobody waits any more once all is there.
            let _ = sender.send(());
        })?;
        while !input.bytes.is_whole() && more.recv().is_ok() {}
        Ok(input)
    }
}

/// Asks the system for so many open files, where it allows as many: each file given is one. What
/// it then still refuses is said when it is opened.
pub fn allow_files(count: usize) {
    /// For all that is no recording.
    const OTHERS: u64 = 64;
    let needed = OTHERS + count as u64;
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |most: Option<u64>| most.is_none_or(|most| most >= needed);
    if !is_enough(limit.current) {
        let current = if is_enough(limit.maximum) {
            Some(needed)
        } else {
            limit.maximum
        };
        // Refused, it stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn file(path: &Path) -> std::io::Result<File> {
    if is_standard_input(path) {
        // A copy: it is closed when it has been read, and standard input is not ours to close.
        let copy = rustix::io::dup(rustix::stdio::stdin())?;
        return Ok(copy.into());
    }
    File::open(path)
}
