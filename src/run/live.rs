//! The loop of every live command: observations in, tracker, changes out, questions back.
//!
//! The main thread owns the tracker and what shows it; sources, keys and signals are threads that
//! send messages over one bounded channel. The first look is made here, so that a source that
//! can't run is an error before anything is shown.

mod beside;
mod show;
mod threads;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use anyhow::Context;

use crate::cli::{Format, Live};
use crate::diagnosis::Known;
use crate::lab::conductor::Announcement;
use crate::model::{Ask, Body, Observation, SourceName, Timestamp, What};
use crate::record::recorder::{PATIENCE, Recorder};
use crate::run::lab::Experimenter;
use crate::run::lines::LineShow;
use crate::run::log::Log;
use crate::run::merge::{HORIZON, Merge, Stream};
use crate::run::record::{self, NoShow};
use crate::run::screen::ScreenShow;
use crate::run::{Outcome, complain, place, signals};
use crate::source::feed::Feed;
use crate::source::quick::{Asker, Batch};
use crate::source::{SourceError, clock};
use crate::timeline::Tracker;
use crate::view::tui::Input;
use crate::view::tui::terminal::end_on_panic;
use beside::{Beside, shows_cmdlines};
pub(super) use show::{Flow, Show, Shown};
use threads::{open_quick, spawn_quick, spawn_source};

/// Messages wait here when the main thread is busy; a full channel makes the source look later.
const WAITING_MESSAGES: usize = 256;
/// How long a run has to end after a signal, unless a recording has to be written to its end.
pub(super) const TO_END: Duration = Duration::from_secs(1);
/// How often monotonic and wall clock are compared.
const ANCHOR_PERIOD: Duration = Duration::from_secs(60);
/// Messages taken in one go before something is shown.
const GULP: usize = 256;

/// What the threads tell the main thread.
pub(super) enum Message {
    /// A source said this.
    Observed(Vec<Observation>),
    /// The quick thread said this.
    Quick(Batch),
    /// What the threads beside say: who holds the sockets, what their counters say.
    Beside(Stream, Vec<Observation>),
    /// No source can go on.
    SourceFailed(SourceError),
    /// News of the terminal.
    Input(Input),
    /// Keys wait at what shows the run: they must not stand behind all else that waits here.
    Keys,
    /// A step of the experiment.
    Lab(Announcement),
    /// The recorder has news.
    Recorder,
    /// A signal asks to end.
    End,
}

/// Watches until the user, a signal, or the time says otherwise.
pub(super) fn watch(config: &Live) -> anyhow::Result<Outcome> {
    run(config, None, Shown::Wanted)
}

/// Watches, with nothing shown but by `show`.
pub(super) fn watch_with(config: &Live, show: Box<dyn Show>) -> anyhow::Result<Outcome> {
    run_with(config, None, Shown::Wanted, Some(show))
}

/// Watches, with an experiment going on beside it, maybe.
pub(super) fn run(
    config: &Live,
    experimenter: Option<Experimenter>,
    shown: Shown,
) -> anyhow::Result<Outcome> {
    run_with(config, experimenter, shown, None)
}

fn run_with(
    config: &Live,
    experimenter: Option<Experimenter>,
    shown: Shown,
    show: Option<Box<dyn Show>>,
) -> anyhow::Result<Outcome> {
    let mut log = Log::open(config.log.as_deref())?;
    let done = run_logged(config, experimenter, shown, show, &mut log);
    if let Err(error) = &done {
        log.line(&format!("ended: {error:#}"));
    }
    log.conclude();
    done
}

fn run_logged(
    config: &Live,
    experimenter: Option<Experimenter>,
    shown: Shown,
    show: Option<Box<dyn Show>>,
    log: &mut Log,
) -> anyhow::Result<Outcome> {
    // First of all: no thread is to be left behind.
    let request = place::request(&config.filter, config.netns.as_ref())?;
    let scope = request.scope;
    end_on_panic();
    let (to_main, messages) = mpsc::sync_channel(WAITING_MESSAGES);
    let (questions, asks) = mpsc::channel();
    let mut opening = vec![clock::anchor(SourceName::SockDiag)];
    let beside = Beside::start(scope, shows_cmdlines(config, shown), &to_main, &mut opening)?;
    let plan = config.record.as_ref();
    if config.filter.asks_for_names() && plan.is_some_and(|plan| !plan.cmdlines) {
        complain(
            "names of processes: without --record-cmdline no command lines are recorded, so that \
             only the kernel's names of processes are compared (ps -o comm)",
        );
    }
    let mut recorder = plan
        .map(|plan| record::open(plan, &questions, beside.who_say_all(), &to_main))
        .transpose()?;
    // Before anything is shown: whoever reads the first line may ask for the end at once.
    let tell = to_main.clone();
    let patience = recorder.as_ref().map_or(TO_END, |_| TO_END + PATIENCE);
    signals::spawn(patience, move |message| tell.try_send(message).is_ok())
        .context("install signal handlers")?;

    // Events first: what happens during the first look is not missed then.
    let quick = open_quick(config, &request, &mut opening, log)?;
    let mut feed = Feed::open(config.source, request, config.interval, &mut opening)?;
    feed.look(&mut opening)?;

    if let Some(recorder) = &mut recorder {
        recorder.begin(record::header(config, scope, &opening));
    }
    let mut show: Box<dyn Show> = match (show, config.format) {
        (Some(show), _) => show,
        (None, _) if shown == Shown::Nothing => Box::new(NoShow::open(config, &opening)),
        (None, Format::Tui) => {
            let span = experimenter.as_ref().map(Experimenter::span);
            Box::new(ScreenShow::open(config, to_main.clone(), span)?)
        }
        (None, Format::Text | Format::Json) => Box::new(LineShow::open(config, &opening)?),
    };
    spawn_source(feed, asks, to_main.clone())?;
    let mut merge = Merge::default();
    let (quick, asker) = quick;
    if quick.events_run() {
        merge.drained(Timestamp::default());
    }
    let quick_done = spawn_quick(quick, to_main.clone())?;

    let mut main = Main {
        merge,
        asker,
        beside,
        caught_up: Timestamp::default(),
        prompted: Timestamp::default(),
        quick_done,
        known: Known::new(Tracker::default(), config.settings),
        asks: Vec::new(),
        questions,
        show: show.as_mut(),
        shown,
        config,
        recorder,
        experimenter,
        log,
    };
    main.begin(opening)?;
    if let Some(experimenter) = &mut main.experimenter {
        experimenter.start(to_main)?;
    }
    main.until_the_end(&messages, config.duration)
}

/// What the main thread owns.
struct Main<'a> {
    merge: Merge,
    asker: Asker,
    beside: Beside,
    /// All that the threads had said by then has been taken in.
    caught_up: Timestamp,
    /// The events until then have been asked for.
    prompted: Timestamp,
    /// To be told when a batch of the quick thread is done with.
    quick_done: SyncSender<()>,
    known: Known,
    /// Kept to save the allocation.
    asks: Vec<Ask>,
    questions: Sender<Vec<Ask>>,
    show: &'a mut dyn Show,
    shown: Shown,
    config: &'a Live,
    recorder: Option<Recorder>,
    experimenter: Option<Experimenter>,
    log: &'a mut Log,
}

impl Main<'_> {
    fn until_the_end(
        &mut self,
        messages: &Receiver<Message>,
        duration: Option<Duration>,
    ) -> anyhow::Result<Outcome> {
        let end = duration.map(|duration| clock::now().plus(duration));
        let mut anchored = clock::now();
        loop {
            let now = clock::now();
            self.known.tracker.hold(self.show.looks_at());
            self.release()?;
            self.hear_the_recorder();
            if self.show.settle(&self.known, now)? == Flow::End || end.is_some_and(|end| end <= now)
            {
                return self.conclude(messages);
            }
            // Its last steps may still be waiting for the events of their time.
            let is_told = !self.merge.waits(Stream::Main);
            if is_told && self.experiment_is_over(now) && self.show_conclusion(now)? == Flow::End {
                return self.conclude(messages);
            }
            if now.since(anchored) >= ANCHOR_PERIOD {
                anchored = now;
                self.take(Stream::Main, vec![clock::anchor(SourceName::SockDiag)])?;
            }
            self.prompt(now);
            match messages.recv_timeout(self.patience(now, end)) {
                Ok(message) => {
                    let mut next = Some(message);
                    for _ in 0..GULP {
                        let Some(message) = next else { break };
                        if self.handle(message)? == Flow::End || self.hear_the_user()? == Flow::End
                        {
                            return self.conclude(messages);
                        }
                        if self.show.is_waited_for() {
                            next = None;
                            break;
                        }
                        let before = clock::now();
                        next = messages.try_recv().ok();
                        if next.is_none() {
                            self.caught_up = before;
                        }
                    }
                    if let Some(message) = next
                        && self.handle(message)? == Flow::End
                    {
                        return self.conclude(messages);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.caught_up = clock::now(),
                Err(RecvTimeoutError::Disconnected) => return self.conclude(messages),
            }
        }
    }

    /// The quick thread sleeps while nothing happens: whatever waits for events has it say that there
    /// are none.
    fn prompt(&mut self, now: Timestamp) {
        if self.merge.waits_since(self.prompted) {
            self.prompted = now;
            self.asker.prompt();
        }
    }

    fn handle(&mut self, message: Message) -> anyhow::Result<Flow> {
        match message {
            Message::Observed(batch) => {
                self.take(Stream::Looks, batch)?;
                Ok(Flow::On)
            }
            Message::Beside(stream, batch) => {
                self.take(stream, batch)?;
                Ok(Flow::On)
            }
            Message::Quick(batch) => {
                self.push_quick(batch);
                self.release()?;
                // It may have ended; then its failure is on the way.
                let _ = self.quick_done.try_send(());
                Ok(Flow::On)
            }
            Message::SourceFailed(error) => Err(error.into()),
            Message::Input(input) => self.show.input(input, &self.known, clock::now()),
            // They are heard between any two messages.
            Message::Keys => Ok(Flow::On),
            Message::Lab(announcement) => {
                let now = clock::now();
                let note = self
                    .experimenter
                    .as_mut()
                    .and_then(|experimenter| experimenter.hear(announcement, now));
                self.take(Stream::Main, note.into_iter().collect())?;
                Ok(Flow::On)
            }
            // It is heard in every turn.
            Message::Recorder => Ok(Flow::On),
            Message::End => Ok(Flow::End),
        }
    }

    fn hear_the_user(&mut self) -> anyhow::Result<Flow> {
        self.show.hear_keys(&self.known, clock::now())
    }

    fn hear_the_recorder(&mut self) {
        while let Some(news) = self.recorder.as_mut().and_then(Recorder::news) {
            self.log.line(&record::in_words(&news));
            self.show.recording(&news);
        }
        if let Some(recorder) = &self.recorder {
            let goes_on = recorder.failure().is_none();
            self.show.recorded(goes_on.then(|| recorder.written()));
        }
    }

    /// Takes in what there is at the start. How sources do needs no events beside it, and the first
    /// picture shows it.
    fn begin(&mut self, opening: Vec<Observation>) -> anyhow::Result<()> {
        let begun = opening.first().map_or_else(clock::now, |told| told.at);
        let (looks, mut states): (Vec<_>, Vec<_>) = opening
            .into_iter()
            .partition(|told| !matches!(told.body, Body::Source(_) | Body::Clock { .. }));
        for observation in &mut states {
            if matches!(observation.body, Body::Source(_)) {
                // They come before what was known before them.
                observation.at = begun;
            }
            self.ingest(observation)?;
        }
        self.take(Stream::Looks, looks)
    }

    /// What is drained is known before the observations are, which are sorted by it.
    fn push_quick(&mut self, batch: Batch) {
        if let Some(drained) = batch.drained {
            self.merge.drained(drained);
        }
        self.merge.push(Stream::Quick, batch.observations);
    }

    /// Takes in a batch, and all that is free to go on by now.
    fn take(&mut self, stream: Stream, batch: Vec<Observation>) -> anyhow::Result<()> {
        self.merge.push(stream, batch);
        self.release()
    }

    /// Whoever is behind has the events of a look's time in hand already, and not yet taken in:
    /// only what has been waited for since all was taken in counts.
    fn release(&mut self) -> anyhow::Result<()> {
        while let Some(observation) = self.merge.pop(self.caught_up) {
            self.ingest(&observation)?;
        }
        self.say_what_is_late()?;
        if let Some(recorder) = &mut self.recorder {
            recorder.hand_over();
        }
        self.ask();
        Ok(())
    }

    /// What came later than others of its time is told in the order in which it came, and that is
    /// said.
    fn say_what_is_late(&mut self) -> anyhow::Result<()> {
        let late = self.merge.take_late();
        if late == 0 {
            return Ok(());
        }
        self.ingest(&Observation {
            host: 0,
            at: clock::now(),
            source: SourceName::Bpf,
            body: Body::Lost {
                count: None,
                why: "this program was held up: some lines come later than others of their time"
                    .into(),
            },
        })
    }

    /// Record, ingest, show: in this order for every observation.
    fn ingest(&mut self, observation: &Observation) -> anyhow::Result<()> {
        if self.is_of_a_stranger(observation) {
            return Ok(());
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.tap(observation);
        }
        self.log.note(observation);
        self.known.take(observation);
        self.asks.extend(self.known.asks());
        self.show.take(observation, &self.known)
    }

    /// A socket that was freed and never seen tells nothing: its ports are wiped by then, so no filter
    /// could leave it out, and a busy namespace has thousands of them.
    fn is_of_a_stranger(&self, observation: &Observation) -> bool {
        observation.source == SourceName::Bpf
            && matches!(&observation.body, Body::Event(event)
                if event.what == What::Freed && !self.known.tracker.knows(&event.id))
    }

    fn ask(&mut self) {
        if self.asks.is_empty() {
            return;
        }
        self.asker.send(&self.asks);
        self.beside.ask(&self.asks);
        self.asks.retain(|ask| matches!(ask, Ask::Confirm(_)));
        if !self.asks.is_empty() {
            // A source that has ended has said so, or will, in a message of its own.
            let _ = self.questions.send(std::mem::take(&mut self.asks));
        }
    }

    /// How long nothing needs to be done unless a message comes.
    fn patience(&self, now: Timestamp, end: Option<Timestamp>) -> Duration {
        let waits = [
            Some(self.show.patience(now)),
            end.map(|end| end.since(now)),
            self.merge.due().map(|due| due.since(now)),
            self.experimenter.as_ref().and_then(|e| e.patience(now)),
        ];
        waits
            .into_iter()
            .flatten()
            .fold(ANCHOR_PERIOD, Duration::min)
    }

    fn experiment_is_over(&self, now: Timestamp) -> bool {
        self.experimenter
            .as_ref()
            .is_some_and(|experimenter| experimenter.is_over(&self.known.tracker, now))
    }

    /// The experiment is over: its conclusion is shown. Lines end with it; the screen stays.
    fn show_conclusion(&mut self, now: Timestamp) -> anyhow::Result<Flow> {
        let Some(experimenter) = &mut self.experimenter else {
            return Ok(Flow::On);
        };
        let (name, conclusion) = experimenter.conclude(&self.known.tracker);
        self.show.conclusion(name, conclusion, &self.known, now)?;
        Ok(if experimenter.stays() {
            Flow::On
        } else {
            Flow::End
        })
    }

    /// What has happened by now is told as well: it waits in the ring and in the channel.
    fn collect_the_rest(&mut self, messages: &Receiver<Message>) {
        let end = clock::now();
        self.asker.prompt();
        while !self.merge.is_drained(end) {
            let left = end.plus(HORIZON).since(clock::now());
            match messages.recv_timeout(left) {
                Ok(Message::Observed(batch)) => self.merge.push(Stream::Looks, batch),
                Ok(Message::Beside(stream, batch)) => self.merge.push(stream, batch),
                Ok(Message::Quick(batch)) => {
                    self.push_quick(batch);
                    let _ = self.quick_done.try_send(());
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn conclude(&mut self, messages: &Receiver<Message>) -> anyhow::Result<Outcome> {
        self.collect_the_rest(messages);
        for observation in self.merge.rest() {
            self.ingest(&observation)?;
        }
        self.show.conclude()?;
        if let Some(recorder) = self.recorder.take() {
            match self.shown {
                Shown::Nothing => record::end(self.config, recorder, &self.known.tracker)?,
                Shown::Wanted => {
                    let was_told = self.config.format != Format::Tui;
                    record::end_beside(self.config, recorder, was_told, &self.known.tracker);
                }
            }
        }
        Ok(match self.experimenter.take() {
            Some(experimenter) => experimenter.end(),
            None => self.show.outcome(),
        })
    }
}
