//! Runs an experiment beside the watching: its steps become notes on the timeline, and at the end
//! the judge says what was seen.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::{Format, Lab, LabAddresses, Live};
use crate::lab::conductor::{Announcement, Conductor, Plan, Running};
use crate::lab::experiments::{self, Experiment, LoopbackFamily};
use crate::lab::judge::{self, Conclusion};
use crate::model::filter::{Filter, PortSet};
use crate::model::{Body, Observation, SourceName, Timestamp};
use crate::run::live::{self, Message, Shown};
use crate::run::{Outcome, complain, place};
use crate::source::clock;
use crate::timeline::{Connection, Tracker};

/// How long after the last step the connection may take to come to its end.
const REST: Duration = Duration::from_secs(3);

/// Lists the experiments.
pub(super) fn index() -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    for experiment in experiments::all() {
        writeln!(out, "{:<12} {}", experiment.name, experiment.line)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Runs one experiment and watches it.
pub(super) fn run(config: &Lab) -> anyhow::Result<Outcome> {
    let Some(experiment) = experiments::find(&config.experiment) else {
        let names: Vec<&str> = experiments::all().iter().map(|e| e.name).collect();
        bail!(
            "'{}' is no experiment (there are: {})",
            config.experiment.escape_default(),
            names.join(", ")
        );
    };
    // The experiment's processes are born into it, and looked at there.
    place::enter_with_all(config.watch.netns.as_ref())?;
    let executable = std::env::current_exe().context("find this program's own file")?;
    let plan = Plan {
        experiment,
        family: match config.addresses {
            LabAddresses::V4 => LoopbackFamily::V4,
            LabAddresses::V6 => LoopbackFamily::V6,
            LabAddresses::DualStack => LoopbackFamily::DualStack,
        },
        port: config.port,
        step: config.step,
    };
    let conductor = Conductor::start(&executable, plan)?;
    let watch = Live {
        filter: Filter {
            ports: PortSet::one(conductor.port),
            ..Filter::default()
        },
        netns: None,
        ..config.watch.clone()
    };
    let experimenter = Experimenter {
        experiment,
        step: config.step,
        stage: Stage::Ready(Box::new(conductor)),
        began: clock::now(),
        format: watch.format,
        conclusion: None,
        failure: None,
    };
    live::run(&watch, Some(experimenter), Shown::Wanted)
}

/// How far an experiment has come.
enum Stage {
    /// The server listens, the client waits.
    Ready(Box<Conductor>),
    /// Steps are made. Held, since dropping it ends the processes.
    Running(#[allow(dead_code, reason = "held for its Drop")] Running),
    /// The last step was made at this time.
    Resting(Timestamp),
    /// Concluded.
    Over,
}

/// An experiment as the main loop sees it.
pub(super) struct Experimenter {
    experiment: &'static Experiment,
    step: Duration,
    stage: Stage,
    /// When the steps began: older connections of the port are not the experiment's.
    began: Timestamp,
    format: Format,
    conclusion: Option<Conclusion>,
    failure: Option<String>,
}

impl Experimenter {
    /// Lets the steps begin: somebody watches now.
    pub(super) fn start(
        &mut self,
        to_main: std::sync::mpsc::SyncSender<Message>,
    ) -> anyhow::Result<()> {
        let Stage::Ready(conductor) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Ok(());
        };
        let opening = conductor.opening.clone();
        self.began = clock::now();
        // The channel has just been made and has room.
        let _ = to_main.send(Message::Lab(opening));
        let tell = move |announcement| to_main.send(Message::Lab(announcement)).is_ok();
        self.stage = Stage::Running(conductor.run(tell)?);
        Ok(())
    }

    /// How long its steps take together.
    pub(super) fn span(&self) -> Duration {
        let steps = u32::try_from(self.experiment.steps.len()).unwrap_or(u32::MAX);
        self.step.saturating_mul(steps)
    }

    /// Takes in what the experiment tells, as a note for the timeline.
    pub(super) fn hear(
        &mut self,
        announcement: Announcement,
        now: Timestamp,
    ) -> Option<Observation> {
        match announcement {
            Announcement::Step {
                pid,
                role,
                text,
                say,
            } => Some(note(now, pid, format!("{role}: {text}: {say}"))),
            Announcement::Finished => {
                self.stage = Stage::Resting(now);
                None
            }
            Announcement::Failed(why) => {
                self.failure = Some(why);
                self.stage = Stage::Resting(now);
                None
            }
        }
    }

    /// Whether nothing more is to be expected.
    pub(super) fn is_over(&self, tracker: &Tracker, now: Timestamp) -> bool {
        let Stage::Resting(since) = self.stage else {
            return false;
        };
        let ended = self
            .connection(tracker)
            .is_some_and(|c| c.closed().is_some());
        ended || self.failure.is_some() || now.since(since) >= REST
    }

    /// The conclusion, with the experiment's name.
    pub(super) fn conclude(&mut self, tracker: &Tracker) -> (&'static str, &Conclusion) {
        self.stage = Stage::Over;
        let name = self.experiment.name;
        let conclusion = match &self.failure {
            Some(why) => Conclusion::Otherwise(why.clone()),
            None => judge::conclude(name, self.connection(tracker)),
        };
        (name, self.conclusion.insert(conclusion))
    }

    /// The connection that the experiment made: the first that came since it began.
    fn connection<'a>(&self, tracker: &'a Tracker) -> Option<&'a Connection> {
        tracker
            .connections()
            .find(|connection| connection.opened() >= self.began)
    }

    /// Whether the run goes on after the conclusion: a screen stays until its user leaves it.
    pub(super) fn stays(&self) -> bool {
        self.format == Format::Tui
    }

    /// How long until [`Experimenter::is_over`] may change by itself.
    pub(super) fn patience(&self, now: Timestamp) -> Option<Duration> {
        match self.stage {
            Stage::Resting(since) => Some(REST.saturating_sub(now.since(since))),
            _ => None,
        }
    }

    /// The end of the program. When the screen is left, its conclusion stays on the terminal.
    pub(super) fn end(self) -> Outcome {
        let Some(conclusion) = &self.conclusion else {
            // Left by the user, in the middle.
            return Outcome::Done;
        };
        if self.format == Format::Tui {
            complain(&conclusion.line(self.experiment.name));
        }
        if conclusion.is_shown() {
            Outcome::Done
        } else {
            Outcome::NotShown
        }
    }
}

fn note(at: Timestamp, pid: u32, text: String) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::Lab,
        body: Body::Note { pid, text },
    }
}
