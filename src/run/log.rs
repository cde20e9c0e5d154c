//! What went wrong, for a bug report: how each source does, what was lost, what the recorder says, the
//! error that ended it, and the kernel's own words when it refuses a program. Never to the terminal,
//! which may be a screen's.
//!
//! The trap: a log that can't be written is no reason to see nothing. It ends, and the user is told
//! when the screen is gone.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::model::{Body, Observation, SourceState};
use crate::run::complain;
use crate::view::plain::plain;
use crate::view::wall::WallClock;

/// The file, if one is wanted.
pub(super) struct Log {
    file: Option<(File, PathBuf)>,
    /// Why there is no file any more.
    failure: Option<String>,
    clock: WallClock,
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
        Ok(Self {
            file,
            failure: None,
            clock: WallClock::new(TimeZone::system()),
        })
    }

    /// Notes how a source does, and what it lost, with the time.
    pub(super) fn note(&mut self, observation: &Observation) {
        if self.file.is_none() {
            return;
        }
        let source = observation.source;
        let text = match &observation.body {
            Body::Clock { .. } => return self.clock.note(observation),
            Body::Source(SourceState::Running { why, .. }) => {
                let why = why.as_deref().unwrap_or("all of it");
                format!("{source}: running: {why}")
            }
            Body::Source(SourceState::Off { why }) => format!("{source}: off: {why}"),
            Body::Lost {
                count: Some(count),
                why,
            } => format!("{source}: lost {count}: {why}"),
            Body::Lost { count: None, why } => format!("{source}: lost some: {why}"),
            _ => return,
        };
        let time = self.clock.time_of_day(observation.at);
        self.line(&format!("{} {}", time.trim_start(), plain(&text)));
    }

    /// Writes a line, or a text of several.
    pub(super) fn line(&mut self, text: &str) {
        let Some((file, path)) = &mut self.file else {
            return;
        };
        if let Err(error) = writeln!(file, "{text}") {
            self.failure = Some(format!("--log {}: it ended: {error}", path.display()));
            self.file = None;
        }
    }

    /// Nobody has the terminal any more: says what became of the log, if it was not written.
    pub(super) fn conclude(self) {
        if let Some(failure) = self.failure {
            complain(&failure);
        }
    }
}
