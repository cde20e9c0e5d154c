//! What went wrong at the start, for a bug report: how each source does, and the kernel's own words
//! when it refuses a program. Never to the terminal.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::model::{Body, Observation, SourceState};

/// The file, if one is wanted.
pub(super) struct Log {
    file: Option<(File, PathBuf)>,
}

impl Log {
    /// Opens the file at once: who asks for a log wants to know that there will be one.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| {
                File::create(path)
                    .map(|file| (file, path.to_owned()))
                    .with_context(|| format!("--log {}", path.display()))
            })
            .transpose()?;
        Ok(Self { file })
    }

    /// Notes how a source does.
    pub(super) fn state(&mut self, observation: &Observation) -> anyhow::Result<()> {
        let source = observation.source;
        match &observation.body {
            Body::Source(SourceState::Running { why, .. }) => {
                let why = why.as_deref().unwrap_or("all of it");
                self.line(&format!("{source}: running: {why}"))
            }
            Body::Source(SourceState::Off { why }) => self.line(&format!("{source}: off: {why}")),
            _ => Ok(()),
        }
    }

    /// Writes a line, or a text of several.
    pub(super) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        match &mut self.file {
            Some((file, path)) => {
                writeln!(file, "{text}").with_context(|| format!("write {}", path.display()))
            }
            None => Ok(()),
        }
    }
}
