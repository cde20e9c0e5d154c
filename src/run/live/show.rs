//! What shows a live run: the screen, lines, nothing, or the result of a wait.

use std::time::Duration;

use crate::diagnosis::Known;
use crate::lab::judge::Conclusion;
use crate::model::{Observation, Timestamp};
use crate::record::recorder::News;
use crate::run::lines::READER_CHECK;
use crate::run::{Outcome, complain, record};
use crate::timeline::ConnId;
use crate::view::tui::Input;

/// What is shown of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) enum Shown {
    /// What the user has asked for.
    Wanted,
    /// It is recorded, and no more.
    Nothing,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) enum Flow {
    /// Yes.
    On,
    /// No: done.
    End,
}

/// What shows a live run: the screen, or lines.
pub(in crate::run) trait Show {
    /// Takes in an observation and what followed from it.
    fn take(&mut self, observation: &Observation, known: &Known) -> anyhow::Result<()>;

    /// All that was waiting is taken in, or time has passed.
    fn settle(&mut self, known: &Known, now: Timestamp) -> anyhow::Result<Flow>;

    /// News of the terminal, which only a screen has.
    fn input(&mut self, _: Input, _: &Known, _: Timestamp) -> anyhow::Result<Flow> {
        Ok(Flow::On)
    }

    /// Takes in the keys that wait.
    fn hear_keys(&mut self, _: &Known, _: Timestamp) -> anyhow::Result<Flow> {
        Ok(Flow::On)
    }

    /// Whether somebody waits for the next picture.
    fn is_waited_for(&self) -> bool {
        false
    }

    /// The connection that somebody looks at, which is not to be forgotten.
    fn looks_at(&self) -> Option<ConnId> {
        None
    }

    /// How long nothing needs to be done: without a screen, until it is time to see whether anybody
    /// still reads.
    fn patience(&self, _: Timestamp) -> Duration {
        READER_CHECK
    }

    /// The recording beside it has something to say.
    fn recording(&mut self, news: &News) {
        complain(&record::in_words(news));
    }

    /// So many bytes are recorded by now, unless it has ended.
    fn recorded(&mut self, _bytes: Option<u64>) {}

    /// What an experiment came to, which who has none need not show.
    fn conclusion(
        &mut self,
        _experiment: &str,
        _: &Conclusion,
        _: &Known,
        _: Timestamp,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    /// The end: what is still held back goes out.
    fn conclude(&mut self) -> anyhow::Result<()>;

    /// What it came to.
    fn outcome(&self) -> Outcome {
        Outcome::Done
    }
}
