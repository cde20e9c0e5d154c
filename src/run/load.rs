//! Recordings from beginning to end, for who wants all of it at once: reports and exports.
//!
//! Two passes over the same files. The first learns what a head has to say (when it ends, how many
//! connections there are, how long ends were in each state), the second gives the connections one
//! by one, as the tracker lets go of them: memory does not grow with the length. The trap: both
//! must see the same, and a recording may still be written, so the second stops where the first
//! did.

mod found;
pub(super) mod survey;
mod wanted;

use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;

use crate::cli::Chosen;
use crate::cli::when::{Use, When};
use crate::diagnosis::causality::Clocks;
use crate::diagnosis::{Finding, Known, Settings};
use crate::model::{Observation, Timestamp};
use crate::run::clocks::clock_words;
use crate::run::compressed::refuse_compressed;
use crate::run::replay::extent::extent;
use crate::run::replay::{given, tell_the_just_begun};
use crate::source::replay::{Input, Replay, allow_files};
use crate::timeline::{ConnId, Connection, Totals, Tracker};
use crate::view::report::{About, Queued, Shown, Summary, Window};
use found::Found;
use survey::Survey;
use wanted::Wanted;

/// What is asked for, read once.
pub(super) struct Loaded {
    /// At the beginning.
    replay: Replay,
    /// How many observations the first pass read.
    read: u64,
    wanted: Wanted,
    /// The thresholds of the rules.
    settings: Settings,
    /// What it is about.
    pub(super) about: About,
    /// Numbers of what is shown.
    pub(super) summary: Summary,
    /// What to say when a process was asked for, and who held what is hidden.
    pub(super) hidden: Option<&'static str>,
    /// Of how many connections an expression can't tell whether they are wanted.
    pub(super) unsure: usize,
}

impl Loaded {
    /// Reads all of what is asked for.
    pub(super) fn new(chosen: &Chosen) -> anyhow::Result<Self> {
        let files = given(&chosen.files);
        allow_files(files.len());
        let inputs: Result<Vec<Input>, _> =
            files.iter().map(|file| Input::open_whole(file)).collect();
        let inputs = inputs?;
        refuse_compressed(&inputs, "report")?;
        let replay = Replay::open(inputs, &chosen.options)?;
        tell_the_just_begun(&replay);
        let window = window(chosen, &replay)?;
        let wanted = Wanted::new(chosen, &replay, window);
        let mut survey = Survey::new(&replay);
        let mut summary = Summary::new(chosen.settings.older_than);
        let mut clocks = Clocks::default();
        let (mut all, mut hidden, mut unsure) = (0, None, 0);
        let mut walk = Walk::new(replay.clone(), window, None, chosen.settings);
        walk.all(|told| {
            match told {
                Told::Observation(observation) => survey.note(observation),
                Told::Connection(shown, known) => {
                    all += 1;
                    clocks.take(shown.connection);
                    if wanted.has(&shown, known) {
                        summary.take(&shown);
                        return Ok(());
                    }
                    unsure += usize::from(wanted.is_unsure(&shown, known));
                    if hidden.is_none() {
                        hidden = wanted.hides(&shown, known);
                    }
                }
                Told::Finding(finding, until, known) => {
                    if wanted.has_finding(finding, (known, until)) {
                        summary.findings.add(finding, until);
                    }
                }
            }
            Ok(())
        })?;
        summary.findings.sort();
        summary.left_out = all - summary.seen;
        summary.totals = walk.totals;
        summary.losses = std::mem::take(&mut survey.losses);
        let shown = (window, wanted.spelled(chosen));
        let mut about = survey.about(&walk.replay, walk.last, walk.stopped, shown);
        about.clocks = clock_words(&clocks, &walk.replay);
        Ok(Self {
            read: walk.read,
            settings: chosen.settings,
            about,
            replay,
            wanted,
            summary,
            hidden,
            unsure,
        })
    }

    /// Gives the connections that are wanted, one by one: first those that were dropped to bound
    /// memory, in that order, then the others by their numbers.
    pub(super) fn connections(
        &self,
        mut each: impl FnMut(&Shown<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let known = Some((self.read, self.about.last));
        let mut walk = Walk::new(self.replay.clone(), self.about.window, known, self.settings);
        walk.all(|told| match told {
            Told::Connection(shown, known) if self.wanted.has(&shown, known) => each(&shown),
            Told::Connection(..) | Told::Observation(_) | Told::Finding(..) => Ok(()),
        })
    }
}

/// The part of the time that is asked for.
fn window(chosen: &Chosen, replay: &Replay) -> anyhow::Result<Window> {
    let (from, to) = (chosen.from.as_ref(), chosen.to.as_ref());
    let extent = extent(replay, &[from, to], TimeZone::system())?;
    let moment = |when: Option<&When>, what_for: Use, option: &str| {
        when.map(|when| {
            when.resolve(&extent, what_for)
                .with_context(|| option.to_owned())
        })
        .transpose()
    };
    let window = Window {
        from: moment(from, Use::From, "--from")?,
        to: moment(to, Use::Until, "the end that was asked for")?,
    };
    if let (Some(from), Some(to)) = (window.from, window.to)
        && from > to
    {
        bail!("--from is after the end that was asked for: nothing lies between");
    }
    Ok(window)
}

/// What a pass tells.
enum Told<'a> {
    Observation(&'a Observation),
    /// A connection, and all that was known with it.
    Connection(Shown<'a>, &'a Known),
    /// Of a listener, or a destination, as it was at that time.
    Finding(&'a Rc<Finding>, Timestamp, &'a Known),
}

/// One pass.
struct Walk {
    replay: Replay,
    known: Known,
    found: Found,
    window: Window,
    /// As a pass before has found: stop after so many observations; when all ends.
    before: Option<(u64, Timestamp)>,
    /// How many there were.
    read: u64,
    last: Timestamp,
    /// The window ends before the recording does.
    stopped: bool,
    queued: HashMap<ConnId, Vec<Queued>>,
    totals: Totals,
}

impl Walk {
    fn new(
        replay: Replay,
        window: Window,
        before: Option<(u64, Timestamp)>,
        settings: Settings,
    ) -> Self {
        let mut tracker = Tracker::default();
        tracker.hand_out_the_retired();
        Self {
            replay,
            known: Known::new(tracker, settings),
            found: Found::default(),
            window,
            before,
            read: 0,
            last: Timestamp::default(),
            stopped: false,
            queued: HashMap::new(),
            totals: Totals::default(),
        }
    }

    fn all(&mut self, mut tell: impl FnMut(Told<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        while self.before.is_none_or(|(most, _)| self.read < most) {
            let Some(observation) = self.replay.next_observation()? else {
                break;
            };
            if self.window.to.is_some_and(|to| observation.at > to) {
                self.stopped = true;
                break;
            }
            self.read += 1;
            // What was dropped was known until then.
            let before = self.last;
            self.last = self.last.max(observation.at);
            self.take(&observation);
            self.give_the_dropped(before, &mut tell)?;
            tell(Told::Observation(&observation))?;
        }
        let tracker = &self.known.tracker;
        self.totals = tracker.totals();
        self.last = self.last.max(self.end());
        let diagnosis = &self.known.diagnosis;
        for finding in &self.found.take_wide(diagnosis) {
            tell(Told::Finding(finding, self.last, &self.known))?;
        }
        for connection in tracker.connections() {
            let findings = self.found.take(connection.id(), diagnosis);
            let queued = self.queued.get(&connection.id());
            tell(Told::Connection(
                Shown {
                    connection,
                    until: self.last,
                    dropped: false,
                    from: self.window.from,
                    queued: queued.map_or(&[], Vec::as_slice),
                    findings: &findings,
                },
                &self.known,
            ))?;
        }
        Ok(())
    }

    /// When what is shown ends: where it was asked for, or when the recorder was stopped.
    fn end(&self) -> Timestamp {
        let all = self.replay.recordings().map(|one| one.newest);
        match (self.before, self.window.to) {
            (Some((_, end)), _) => end,
            (None, Some(to)) if self.stopped => to,
            (None, to) => {
                let end = all.max().unwrap_or_default();
                to.map_or(end, |to| end.min(to))
            }
        }
    }

    fn take(&mut self, observation: &Observation) {
        self.known.take(observation);
        for change in self.known.changes() {
            if let Some(queued) = Queued::of(change) {
                self.queued.entry(change.conn()).or_default().push(queued);
            }
        }
        self.found.note(&self.known);
        self.replay.answer(self.known.asks());
    }

    fn give_the_dropped(
        &mut self,
        until: Timestamp,
        tell: &mut impl FnMut(Told<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let retired: Vec<Rc<Connection>> = self.known.tracker.retired().collect();
        for connection in retired {
            let findings = self.found.take(connection.id(), &self.known.diagnosis);
            let queued = self.queued.remove(&connection.id()).unwrap_or_default();
            tell(Told::Connection(
                Shown {
                    connection: &connection,
                    until,
                    dropped: true,
                    from: self.window.from,
                    queued: &queued,
                    findings: &findings,
                },
                &self.known,
            ))?;
        }
        Ok(())
    }
}
