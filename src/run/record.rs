//! Recording as the main loop sees it: opens the recorder, writes its header, passes on what it has
//! to say; and `tcpwatch record`, which shows nothing else.
//!
//! The trap: the file is made before capabilities are given up and before signals are caught, so
//! that what can't be recorded to is an error at once, and who waits for the reader of a pipe can
//! still be ended.

use std::fs;
use std::io;
use std::sync::mpsc::{Sender, SyncSender};

use crate::cli::Live;
use crate::diagnosis::Known;
use crate::diagnosis::words::counted;
use crate::model::{Ask, Body, Observation, Scope, SourceName, SourceState, Timestamp};
use crate::record::recorder::{
    Ended, News, Plan, RecordError, Recorder, Summary, Surroundings, Target, sources,
};
use crate::record::{Anchor, FORMAT, FilterText, Header, VERSION};
use crate::run::lines::reader_is_gone;
use crate::run::live::{self, Flow, Message, Show, Shown};
use crate::run::{Outcome, complain};
use crate::source::{clock, host};
use crate::timeline::Tracker;
use crate::view::duration::brief;
use crate::view::plain::plain;
use crate::view::size::size;
use crate::view::text;

/// Records until the user, a signal, or the time says otherwise.
pub(super) fn run(config: &Live) -> anyhow::Result<Outcome> {
    live::run(config, None, Shown::Nothing)
}

/// Makes the file, and starts the recorder, which asks the source for keyframes, and when something
/// was lost, those beside it for all they know.
pub(super) fn open(
    plan: &Plan,
    questions: &Sender<Vec<Ask>>,
    beside: Vec<Sender<Vec<Ask>>>,
    to_main: &SyncSender<Message>,
) -> anyhow::Result<Recorder> {
    let (questions, to_main) = (questions.clone(), to_main.clone());
    let surroundings = Surroundings {
        clock: Box::new(anchor),
        // A source that has ended says so itself.
        ask_keyframe: Box::new(move || questions.send(vec![Ask::Keyframe]).unwrap_or_default()),
        ask_holders: Box::new(move || {
            for source in &beside {
                source.send(vec![Ask::Keyframe]).unwrap_or_default();
            }
        }),
        // Full, and it is awake.
        wake: Box::new(move || to_main.try_send(Message::Recorder).unwrap_or_default()),
    };
    Ok(Recorder::open(plan, surroundings)?)
}

fn anchor() -> Anchor {
    anchor_of(&clock::anchor(SourceName::Recording)).unwrap_or(Anchor {
        monotonic_ns: clock::now().nanos(),
        realtime_ns: 0,
    })
}

fn anchor_of(observation: &Observation) -> Option<Anchor> {
    match observation.body {
        Body::Clock { realtime_ns } => Some(Anchor {
            monotonic_ns: observation.at.nanos(),
            realtime_ns,
        }),
        _ => None,
    }
}

/// The first line of the first file.
pub(super) fn header(config: &Live, scope: Scope, opening: &[Observation]) -> Header {
    let (kernel, host_name) = host::identity();
    let random = |name| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/random/{name}")).ok()?;
        Some(text.trim().to_owned())
    };
    let clock = opening.iter().find_map(anchor_of).unwrap_or_else(anchor);
    let unique = || format!("{host_name}-{}-{}", clock.monotonic_ns, std::process::id());
    Header {
        format: FORMAT.into(),
        version: VERSION,
        tcpwatch: env!("CARGO_PKG_VERSION").into(),
        about: "what tcpwatch saw, a JSON object a line; 'tcpwatch replay' shows it, \
                docs/recording.md explains it"
            .into(),
        boot_id: random("boot_id"),
        netns: scope.netns,
        recording: random("uuid").unwrap_or_else(unique),
        part: 1,
        filter: FilterText::from(&config.filter),
        sources: sources(states(opening)),
        period_ns: crate::model::time::nanos_of(config.interval),
        cmdlines: config.record.as_ref().is_some_and(|plan| plan.cmdlines),
        host: host_name,
        kernel,
        clock,
    }
}

fn states(opening: &[Observation]) -> impl Iterator<Item = (SourceName, &SourceState)> {
    opening.iter().filter_map(|told| match &told.body {
        Body::Source(state) => Some((told.source, state)),
        _ => None,
    })
}

/// What the recorder has to say, for people.
pub(super) fn in_words(news: &News) -> String {
    match news {
        News::Losing => {
            "recording: it can't be written as fast as it comes: observations are being lost".into()
        }
        News::Lost(count) => format!("recording: lost {count} observations; it goes on"),
        News::Notice(text) => format!("recording: {text}"),
        News::Failed(text) => format!("recording ended: {text}"),
    }
}

/// The end of a recording beside a live view, which has told what went wrong unless it was a screen.
pub(super) fn end_beside(config: &Live, recorder: Recorder, was_told: bool, tracker: &Tracker) {
    let had_failed = recorder.failure().is_some();
    let ended = recorder.finish();
    if let Some(failure) = &ended.failure
        && !(had_failed && was_told)
    {
        complain(&format!("recording ended: {failure}"));
    }
    say_what_it_came_to(config, &ended, tracker);
}

/// The end of `tcpwatch record`.
pub(super) fn end(config: &Live, recorder: Recorder, tracker: &Tracker) -> anyhow::Result<()> {
    let ended = recorder.finish();
    if ended
        .failure
        .as_ref()
        .is_some_and(RecordError::is_closed_pipe)
    {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
    }
    say_what_it_came_to(config, &ended, tracker);
    ended.failure.map_or(Ok(()), |failure| Err(failure.into()))
}

fn say_what_it_came_to(config: &Live, ended: &Ended, tracker: &Tracker) {
    if let Some(summary) = &ended.summary {
        let to = target_of(config);
        let is_whole = ended.failure.is_none();
        let losses = tracker.totals().losses;
        let seen = tracker.totals().seen;
        complain(&summed_up(&to, summary, is_whole, seen, losses));
    }
}

/// The name of what is recorded to.
fn target_of(config: &Live) -> String {
    match config.record.as_ref().map(|plan| &plan.target) {
        Some(Target::File(path)) => plain(&path.display().to_string()).to_string(),
        Some(Target::Stdout) | None => "standard output".to_owned(),
    }
}

/// What a recording came to. Of one that did not come to its end only what is written is known.
fn summed_up(to: &str, summary: &Summary, is_whole: bool, seen: u64, losses: u64) -> String {
    let lost = match (summary.lost, losses) {
        (0, 0) if is_whole => "; nothing was lost".to_owned(),
        (0, 0) => String::new(),
        (0, seen) => format!("; sources lost something {}", counted(seen, "time")),
        (lost, 0) => format!("; the recording lost {}", counted(lost, "observation")),
        (lost, seen) => format!(
            "; the recording lost {}, and sources something {}",
            counted(lost, "observation"),
            counted(seen, "time")
        ),
    };
    format!(
        "recorded {} of {} to {to}: {}{lost}",
        counted(summary.observations, "observation"),
        counted(seen, "connection"),
        files(summary),
    )
}

fn files(summary: &Summary) -> String {
    let written = size(summary.bytes);
    let begun = counted(summary.files, "file");
    if summary.files_removed == 0 {
        return format!("{written} in {begun}");
    }
    let kept = u64::from(summary.files.saturating_sub(summary.files_removed));
    let left = size(summary.bytes.saturating_sub(summary.bytes_removed));
    format!(
        "{left} in {} that were kept, of {written} in {begun} ({} removed)",
        counted(kept, "file"),
        summary.files_removed,
    )
}

/// Shows nothing of what is seen.
pub(super) struct NoShow {
    to_stdout: bool,
    /// What was there at the start is told in the first line.
    told_until: Timestamp,
    has_failed: bool,
}

impl NoShow {
    pub(super) fn open(config: &Live, opening: &[Observation]) -> Self {
        let target = config.record.as_ref().map(|plan| &plan.target);
        complain(&first_line(config, opening));
        config.filter.asked_later().into_iter().for_each(|expr| {
            complain(&format!(
                "--filter: only ports are chosen by while recording; '{}' is asked when it is read",
                plain(&expr.to_string())
            ));
        });
        Self {
            to_stdout: target == Some(&Target::Stdout),
            told_until: opening.iter().map(|told| told.at).max().unwrap_or_default(),
            has_failed: false,
        }
    }
}

fn first_line(config: &Live, opening: &[Observation]) -> String {
    let filter = config.filter.recorded().to_string();
    let what = if filter.is_empty() {
        "all connections"
    } else {
        &filter
    };
    let mut how: Vec<String> = Vec::new();
    let mut events = "events off".to_owned();
    for (name, state) in states(opening) {
        match (name, state) {
            (SourceName::Bpf, SourceState::Running { .. }) => events = "events on".to_owned(),
            (SourceName::Bpf, SourceState::Off { why }) => {
                events = format!("events off: {}", plain(why));
            }
            (SourceName::SockDiag | SourceName::Proc, SourceState::Running { period, .. }) => {
                how.push(format!("{name} every {}", brief(*period)));
            }
            _ => {}
        }
    }
    how.push(events);
    format!(
        "recording {} to {} ({})",
        plain(what),
        target_of(config),
        how.join(", ")
    )
}

impl Show for NoShow {
    fn take(&mut self, observation: &Observation, _: &Known) -> anyhow::Result<()> {
        if observation.at <= self.told_until {
            return Ok(());
        }
        if let Some(message) = text::source_message(observation) {
            complain(&message);
        }
        if let Body::Lost { count, why } = &observation.body {
            let (source, why) = (observation.source, plain(why));
            complain(&match count {
                Some(count) => format!("{source} lost {count}: {why}"),
                None => format!("{source} lost some: {why}"),
            });
        }
        Ok(())
    }

    fn settle(&mut self, _: &Known, _: Timestamp) -> anyhow::Result<Flow> {
        Ok(if self.has_failed || self.to_stdout && reader_is_gone() {
            Flow::End
        } else {
            Flow::On
        })
    }

    fn recording(&mut self, news: &News) {
        match news {
            // It is the error that the command ends with.
            News::Failed(_) => self.has_failed = true,
            other => complain(&in_words(other)),
        }
    }

    fn conclude(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            observations: 12,
            bytes: 5_432_100,
            files: 1,
            ..Summary::default()
        }
    }

    #[test]
    fn what_a_recording_came_to_is_said_and_no_more() {
        let said = |summary: &Summary, is_whole, losses| {
            summed_up("night.jsonl", summary, is_whole, 1, losses)
        };
        assert_eq!(
            said(&summary(), true, 0),
            "recorded 12 observations of 1 connection to night.jsonl: 5.4 MB in 1 file; nothing \
             was lost"
        );
        assert_eq!(
            said(&summary(), false, 0),
            "recorded 12 observations of 1 connection to night.jsonl: 5.4 MB in 1 file"
        );
        let rotated = Summary {
            files: 7,
            files_removed: 4,
            bytes_removed: 4_000_000,
            lost: 3,
            ..summary()
        };
        assert_eq!(
            said(&rotated, true, 1),
            "recorded 12 observations of 1 connection to night.jsonl: 1.4 MB in 3 files that were \
             kept, of 5.4 MB in 7 files (4 removed); the recording lost 3 observations, and sources \
             something 1 time"
        );
    }
}
