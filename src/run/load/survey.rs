//! What is learned of recordings, or of a live run, beside connections: sources, losses, the dates.
//!
//! The trap: it goes with the moment that is shown. What a source says later is not known yet.

use jiff::tz::TimeZone;

use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::run::replay::extent::anchor;
use crate::source::host;
use crate::source::replay::{Ending, Recorded, Replay};
use crate::view::report::{About, Losses, Read, Recording, Window};
use crate::view::wall::WallClock;

/// What was learned so far.
#[derive(Clone)]
pub(in crate::run) struct Survey {
    clock: WallClock,
    /// What each source of each recording said last of itself.
    sources: Vec<Vec<(SourceName, SourceState)>>,
    /// What was missed.
    pub(in crate::run) losses: Losses,
    first: Option<Timestamp>,
}

impl Survey {
    /// Of recordings of which nothing is read yet.
    pub(in crate::run) fn new(replay: &Replay) -> Self {
        let mut survey = Self::of(replay.recordings().len());
        if let Some(anchor) = anchor(replay) {
            survey.clock.note(&anchor);
        }
        survey
    }

    /// Of a live run, of which nothing is known yet.
    pub(in crate::run) fn live() -> Self {
        Self::of(1)
    }

    fn of(recordings: usize) -> Self {
        Self {
            clock: WallClock::new(TimeZone::system()),
            sources: vec![Vec::new(); recordings],
            losses: Losses::default(),
            first: None,
        }
    }

    /// Takes in what an observation says beside connections.
    pub(in crate::run) fn note(&mut self, observation: &Observation) {
        self.first.get_or_insert(observation.at);
        self.clock.note(observation);
        self.losses.note(observation);
        let sources = self.sources.get_mut(usize::from(observation.host));
        if let (Body::Source(state), Some(sources)) = (&observation.body, sources) {
            match sources
                .iter_mut()
                .find(|(name, _)| *name == observation.source)
            {
                Some((_, known)) => known.clone_from(state),
                None => sources.push((observation.source, state.clone())),
            }
        }
    }

    /// What is shown of these recordings, up to `last`; `stopped` says whether there is more of them.
    pub(in crate::run) fn about(
        &self,
        replay: &Replay,
        last: Timestamp,
        stopped: bool,
        (window, filter): (Window, String),
    ) -> About {
        let recordings = replay
            .recordings()
            .zip(&self.sources)
            .map(|(recorded, sources)| recording(recorded, sources.clone(), stopped))
            .collect();
        self.about_all(recordings, last, (window, filter))
    }

    /// What is shown of a live run, in that namespace.
    pub(in crate::run) fn about_live(
        &self,
        netns: Option<u64>,
        last: Timestamp,
        filter: String,
    ) -> About {
        let (kernel, host) = host::identity();
        let run = Recording {
            files: Vec::new(),
            host,
            kernel,
            tcpwatch: env!("CARGO_PKG_VERSION").to_owned(),
            netns,
            filter: filter.clone(),
            sources: self.sources.concat(),
            // It goes on.
            read: Read::Partly,
            shift: 0,
            skipped: Vec::new(),
        };
        self.about_all(vec![run], last, (Window::default(), filter))
    }

    fn about_all(
        &self,
        recordings: Vec<Recording>,
        last: Timestamp,
        (window, filter): (Window, String),
    ) -> About {
        About {
            recordings,
            clock: self.clock.clone(),
            first: self.first.unwrap_or(last),
            last,
            window,
            filter,
            clocks: Vec::new(),
        }
    }
}

fn read(recorded: &Recorded, stopped: bool) -> Read {
    match &recorded.ending {
        Ending::Said(why) if &**why == "stopped" => Read::Ended,
        Ending::Said(why) => Read::Said(why.clone()),
        _ if stopped => Read::Partly,
        Ending::GoesOn(part) => Read::GoesOn(*part),
        Ending::Unsaid => Read::CutOff(recorded.torn as u64),
    }
}

fn recording(
    recorded: &Recorded,
    sources: Vec<(SourceName, SourceState)>,
    stopped: bool,
) -> Recording {
    let header = &recorded.header;
    let skipped = &recorded.skipped;
    let missing: u64 = recorded
        .missing
        .iter()
        .map(|parts| u64::from(parts.end() - parts.start()) + 1)
        .sum();
    Recording {
        files: recorded
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        host: header.host.clone(),
        kernel: header.kernel.clone(),
        tcpwatch: header.tcpwatch.clone(),
        netns: header.netns,
        filter: header.filter.text.clone(),
        sources,
        read: read(recorded, stopped),
        shift: recorded.shift,
        skipped: vec![
            (
                "unreadable",
                "lines that could not be read",
                skipped.unreadable,
            ),
            (
                "nameless",
                "lines about sockets whose own line could not be read",
                skipped.nameless,
            ),
            (
                "misdated",
                "lines whose time could not be believed",
                skipped.misdated,
            ),
            (
                "unknown_records",
                "records of a kind that this version does not know",
                skipped.unknown_records,
            ),
            (
                "unknown_fields",
                "fields that this version does not know",
                skipped.unknown_fields,
            ),
            (
                "disordered",
                "observations that came after later ones",
                skipped.disordered,
            ),
            ("missing_parts", "parts that are not there", missing),
            (
                "just_begun",
                "files without a first line: just begun when the recorder was stopped",
                recorded.just_begun.len() as u64,
            ),
        ],
    }
}
