//! Files that are whole, or not there.
//!
//! Written under another name beside the one that is asked for, and renamed when it is whole: what
//! fails leaves nothing half. The trap: a name that is there already is somebody's, and is replaced
//! only when that is said.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::Out;
use crate::run::live::Message;
use crate::run::signals;

/// Where something is written to, which may be refused before it is made.
pub(super) struct Output<'a> {
    out: &'a Out,
    name: String,
}

impl<'a> Output<'a> {
    /// Refuses what can't be written to, or must not. Before all is read, so that nobody waits for a
    /// refusal.
    pub(super) fn new(out: &'a Out, inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let name = if is_stdout(&out.path) {
            "standard output".to_owned()
        } else {
            out.path.display().to_string()
        };
        if !is_stdout(&out.path) && !is_device(&out.path) {
            if out.path.is_dir() {
                bail!("{name}: it is a directory: name a file in it");
            }
            if let Some(input) = is_read(&out.path, inputs) {
                bail!("{name}: it is {input}, which is read: name another file");
            }
            if !out.force && out.path.symlink_metadata().is_ok() {
                bail!(
                    "{name}: it is there already: name another file, or say --force to replace it"
                );
            }
        }
        Ok(Self { out, name })
    }

    /// Writes what `put` makes.
    pub(super) fn write(
        &self,
        put: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = &self.out.path;
        if is_stdout(path) {
            return self.put_all(io::stdout().lock(), put);
        }
        if is_device(path) {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.with_context(|| format!("open {}", self.name))?;
            return self.put_all(file, put);
        }
        abandon_at_the_end(draft_of(path)?)?;
        let draft = Draft::create(path)?;
        self.put_all(&draft.file, put)?;
        draft.settle()?;
        draft.keep(self.out.force)
    }

    fn put_all(
        &self,
        out: impl Write,
        put: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = BufWriter::new(out);
        put(&mut out)
            .and_then(|()| Ok(out.flush()?))
            .with_context(|| format!("write to {}", self.name))
    }
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A pipe, a terminal, `/dev/null`: nothing that could be half, and nothing to be replaced.
fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|known| !known.is_file() && !known.is_dir())
}

/// The recording that would be replaced.
fn is_read<'a>(out: &Path, inputs: &'a [PathBuf]) -> Option<std::path::Display<'a>> {
    let identity = |path: &Path| {
        let known = std::fs::metadata(path).ok()?;
        Some((known.dev(), known.ino()))
    };
    let wanted = identity(out)?;
    let same = inputs
        .iter()
        .filter(|file| !is_stdout(file))
        .find(|file| identity(file) == Some(wanted));
    same.map(|file| file.display())
}

/// The name that a file has while it is on its way.
fn draft_of(wanted: &Path) -> anyhow::Result<PathBuf> {
    let name = wanted
        .file_name()
        .with_context(|| format!("{}: it names no file", wanted.display()))?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}.part", std::process::id()));
    Ok(wanted.with_file_name(draft))
}

/// A signal ends the program without a drop, and a file that grows too long is an error of its
/// write. To be said before the file is there: it can come at once.
fn abandon_at_the_end(draft: PathBuf) -> anyhow::Result<()> {
    signals::spawn(Duration::ZERO, move |message| {
        if matches!(message, Message::End) {
            let _ = std::fs::remove_file(&draft);
        }
        true
    })
    .context("catch signals")
}

/// A file on its way, which is removed unless it is kept.
pub(super) struct Draft {
    pub(super) file: File,
    path: PathBuf,
    /// The name that it is to have.
    wanted: PathBuf,
    kept: bool,
}

impl Draft {
    /// Beside `wanted`, so that it can be renamed.
    pub(super) fn create(wanted: &Path) -> anyhow::Result<Self> {
        let path = draft_of(wanted)?;
        // It tells as much as the recording.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        Ok(Self {
            file,
            path,
            wanted: wanted.to_owned(),
            kept: false,
        })
    }

    /// It is whole: waits until it is on the disk, which can take seconds.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let written = self.file.sync_all();
        written.with_context(|| format!("write {} to the disk", self.path.display()))
    }

    /// It is whole: gives it its name.
    pub(super) fn keep(mut self, force: bool) -> anyhow::Result<()> {
        let wanted = &self.wanted;
        if force {
            std::fs::rename(&self.path, wanted).with_context(|| {
                format!("rename {} to {}", self.path.display(), wanted.display())
            })?;
            self.kept = true;
            return Ok(());
        }
        // A link never replaces what came there in the meantime.
        match std::fs::hard_link(&self.path, wanted) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!(
                    "{}: it is there now, and was not replaced",
                    wanted.display()
                )
            }
            // Not every file system knows links.
            Err(_) => {
                std::fs::rename(&self.path, wanted).with_context(|| {
                    format!("rename {} to {}", self.path.display(), wanted.display())
                })?;
                self.kept = true;
                Ok(())
            }
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about one that can't be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
