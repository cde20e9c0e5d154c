//! `tcpwatch export`: recordings as a file for another program.
//!
//! Written under another name beside the one that is asked for, and renamed when it is whole: an
//! export that fails leaves nothing half. The trap: a name that is there already is somebody's, and
//! is replaced only when that is said.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::Export;
use crate::run::clocks::complain_of;
use crate::run::live::Message;
use crate::run::load::Loaded;
use crate::run::report::outcome;
use crate::run::{Outcome, complain, signals};
use crate::view::export;

pub(super) fn export(config: &Export) -> anyhow::Result<Outcome> {
    if config.out.as_os_str() == "-" {
        let loaded = Loaded::new(&config.chosen)?;
        let mut out = BufWriter::new(io::stdout().lock());
        write(config, &loaded, &mut out, "standard output")?;
        return Ok(outcome(&loaded));
    }
    // Before all is read, so that nobody waits for a refusal.
    let name = config.out.display().to_string();
    if is_device(&config.out) {
        let loaded = Loaded::new(&config.chosen)?;
        let file = OpenOptions::new().write(true).open(&config.out);
        let file = file.with_context(|| format!("open {name}"))?;
        write(config, &loaded, &mut BufWriter::new(file), &name)?;
        return Ok(outcome(&loaded));
    }
    if config.out.is_dir() {
        bail!("{name}: it is a directory: name a file in it");
    }
    if let Some(input) = is_read(config) {
        bail!("{name}: it is {input}, which is read: name another file");
    }
    if !config.force && config.out.symlink_metadata().is_ok() {
        bail!("{name}: it is there already: name another file, or say --force to replace it");
    }
    let loaded = Loaded::new(&config.chosen)?;
    let draft = Draft::create(&config.out)?;
    let mut out = BufWriter::new(&draft.file);
    write(config, &loaded, &mut out, &name)?;
    drop(out);
    draft.keep(config)?;
    Ok(outcome(&loaded))
}

/// The recording that the export would replace.
fn is_read(config: &Export) -> Option<std::path::Display<'_>> {
    let identity = |path: &Path| {
        let known = std::fs::metadata(path).ok()?;
        Some((known.dev(), known.ino()))
    };
    let wanted = identity(&config.out)?;
    let files = config.chosen.files.iter();
    let same = files
        .filter(|file| file.as_os_str() != "-")
        .find(|file| identity(file) == Some(wanted));
    same.map(|file| file.display())
}

/// A pipe, a terminal, `/dev/null`: nothing that could be half, and nothing to be replaced.
fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|known| !known.is_file() && !known.is_dir())
}

fn write(config: &Export, loaded: &Loaded, out: &mut impl Write, name: &str) -> anyhow::Result<()> {
    let mut text = String::new();
    let put = |text: &mut String, out: &mut dyn Write| {
        let written = out.write_all(text.as_bytes());
        text.clear();
        written.with_context(|| format!("write to {name}"))
    };
    let (about, summary) = (&loaded.about, &loaded.summary);
    let mut export = export::Export::begin(config.format, about, summary, &mut text)?;
    put(&mut text, out)?;
    loaded.connections(|shown| {
        export.connection(shown, &mut text)?;
        put(&mut text, out)
    })?;
    let left_out = export.end(&mut text)?;
    put(&mut text, out)?;
    out.flush().with_context(|| format!("write to {name}"))?;
    complain_of(&about.clocks);
    if left_out > 0 {
        complain(&format!(
            "{left_out} of {} connections are left out, it has no room for them: choose with \
             --conn, --verdict, --port, --from or --until",
            summary.seen
        ));
    }
    Ok(())
}

/// A file on its way, which is removed unless it is kept.
struct Draft {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// Beside `wanted`, so that it can be renamed.
    fn create(wanted: &Path) -> anyhow::Result<Self> {
        let name = wanted
            .file_name()
            .with_context(|| format!("{}: it names no file", wanted.display()))?;
        let mut draft = std::ffi::OsString::from(".");
        draft.push(name);
        draft.push(format!(".{}.part", std::process::id()));
        let path = wanted.with_file_name(draft);
        // A signal ends the program without a drop, and a file that grows too long is an error of
        // its write.
        let abandoned = path.clone();
        signals::spawn(Duration::ZERO, move |message| {
            if matches!(message, Message::End) {
                let _ = std::fs::remove_file(&abandoned);
            }
            true
        })
        .context("catch signals")?;
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
            kept: false,
        })
    }

    fn keep(mut self, config: &Export) -> anyhow::Result<()> {
        let wanted = &config.out;
        self.file
            .sync_all()
            .with_context(|| format!("write {} to the disk", self.path.display()))?;
        if config.force {
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
                    "{}: it is there now: say --force to replace it",
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
