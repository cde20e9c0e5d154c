//! `tcpwatch wait`: watches as every live command does, shows nothing, and says at the end what it
//! came to.
//!
//! The traps: the time begins with the first look, and is over only when a look is in, so that it is
//! never shorter than asked for; what had happened by then and is told a moment later still counts;
//! and a reader that is gone must not make a failure look like a success.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::{Format, Wait};
use crate::diagnosis::Known;
use crate::diagnosis::until::{Progress, Target, Until};
use crate::model::filter::Filter;
use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::run::live::{Flow, Show, watch_with};
use crate::run::{Outcome, list};
use crate::source::holders::may_hide;
use crate::view::waiting::{self, Ended, Unsure, Waited};
use crate::view::{Asked, json};

/// How long a first whole look may take beyond the time, until that is trouble.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How often it is seen whether that look is in.
const RETRY: Duration = Duration::from_millis(10);
/// When nothing is due.
const IDLE: Duration = Duration::from_secs(1);

/// Waits.
pub(super) fn wait(config: &Wait) -> anyhow::Result<Outcome> {
    let show = WaitShow {
        until: Until::new(config.target, config.at_least, config.fail_on.clone()),
        filter: config.watch.filter.clone(),
        format: config.watch.format,
        timeout: config.timeout,
        begun: None,
        result: None,
    };
    watch_with(&config.watch, Box::new(show))
}

struct WaitShow {
    until: Until,
    filter: Filter,
    format: Format,
    timeout: Duration,
    begun: Option<Timestamp>,
    result: Option<Done>,
}

/// The end of it.
struct Done {
    outcome: Outcome,
    line: String,
}

impl WaitShow {
    fn deadline(&self) -> Option<Timestamp> {
        self.begun.map(|begun| begun.plus(self.timeout))
    }

    /// The end, when this is it.
    fn decide(&mut self, known: &Known, now: Timestamp, is_over: bool) -> anyhow::Result<()> {
        if is_over {
            self.until.hurry();
        }
        let progress = self.until.progress();
        let unknown = self.unknown();
        if progress == Progress::Reached && self.until.target() == Target::Closed && unknown > 0 {
            bail!(
                "it can't be told: {}",
                waiting::unknown(unknown, Unsure::of(&self.filter))
            );
        }
        let (ended, outcome) = match &progress {
            Progress::Failed(finding) => (Ended::Failed(finding), Outcome::Failed),
            Progress::Reached => (Ended::Reached, Outcome::Done),
            Progress::Waiting if is_over => (Ended::TimedOut, Outcome::TimedOut),
            Progress::Waiting => return Ok(()),
        };
        let waited = Waited {
            ended,
            until: &self.until,
            filter: self.filter.to_string(),
            tracker: &known.tracker,
            now,
            waited: now.since(self.begun.unwrap_or(now)),
            unknown,
            unsure: Unsure::of(&self.filter),
        };
        let line = match self.format {
            Format::Json => json::waited(&waited)?,
            Format::Text | Format::Tui => waited.sentence(),
        };
        self.result = Some(Done { outcome, line });
        Ok(())
    }

    /// How many connections may be wanted as well, for all that can be known.
    fn unknown(&self) -> usize {
        match self.until.unknown() {
            0 => 0,
            unknown if self.filter.expr.is_some() => unknown,
            unknown if may_hide(&self.filter.selection.processes) => unknown,
            _ => 0,
        }
    }

    fn has_only_timed_out(&self) -> bool {
        let outcome = self.result.as_ref().map(|done| &done.outcome);
        matches!(outcome, Some(Outcome::TimedOut))
    }
}

impl Show for WaitShow {
    fn take(&mut self, observation: &Observation, known: &Known) -> anyhow::Result<()> {
        tell(observation);
        if self.result.is_some() && !self.has_only_timed_out() {
            return Ok(());
        }
        let asked = Asked::of(&self.filter, known, observation.at);
        self.until.take(observation, known, &asked);
        // What had happened in time, and is told after it.
        let in_time = self.deadline().is_some_and(|end| observation.at <= end);
        if self.has_only_timed_out() && in_time && self.until.progress() != Progress::Waiting {
            self.decide(known, observation.at, false)?;
        }
        Ok(())
    }

    fn settle(&mut self, known: &Known, now: Timestamp) -> anyhow::Result<Flow> {
        let begun = *self.begun.get_or_insert(now);
        self.until.settle(known, now);
        let is_over = now.since(begun) >= self.timeout;
        if is_over && !self.until.has_looked() {
            if now.since(begun) >= self.timeout + FIRST_LOOK {
                bail!("no whole look at the connections could be made in time");
            }
            return Ok(Flow::On);
        }
        self.decide(known, now, is_over)?;
        Ok(match self.result {
            Some(_) => Flow::End,
            None => Flow::On,
        })
    }

    fn patience(&self, now: Timestamp) -> Duration {
        let due = self
            .until
            .due()
            .map_or(IDLE, |due| due.since(now).max(RETRY));
        match self.deadline() {
            Some(end) if end > now => end.since(now).min(IDLE).min(due),
            _ => RETRY,
        }
    }

    fn conclude(&mut self) -> anyhow::Result<()> {
        let Some(done) = &self.result else {
            bail!("ended by a signal before it was reached");
        };
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", done.line).and_then(|()| out.flush());
        match written {
            // The exit status says it to whoever asks.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.context("write to standard output"),
        }
    }

    fn outcome(&self) -> Outcome {
        match self.result.as_ref().map(|done| &done.outcome) {
            Some(Outcome::Failed) => Outcome::Failed,
            Some(Outcome::Done) => Outcome::Done,
            _ => Outcome::TimedOut,
        }
    }
}

/// A worse source and a loss are worth a word: the result may rest on less than it seems to.
fn tell(observation: &Observation) {
    match &observation.body {
        Body::Source(SourceState::Off { .. }) if observation.source == SourceName::SockDiag => {
            list::tell(observation);
        }
        Body::Lost { .. } => list::tell(observation),
        _ => {}
    }
}
