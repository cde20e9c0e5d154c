//! The screen as a way to show a live run: when to draw, and what the keys do to the program.
//!
//! A frame is drawn when something has changed, at most twenty times a second or soon after a key,
//! and while time itself moves the picture a few times a second.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::cli::Live;
use crate::diagnosis::Known;
use crate::lab::judge::Conclusion;
use crate::model::{Body, Observation, SourceName, Timestamp};
use crate::record::recorder::News;
use crate::run::live::{Flow, Message, Show};
use crate::run::load::survey::Survey;
use crate::run::record::in_words;
use crate::run::save::{Saving, Scene};
use crate::run::terminal::{FRAME, Left, Stage};
use crate::timeline::ConnId;
use crate::view::tui::terminal::restore;
use crate::view::tui::{App, Input};

/// A key is answered after this at the latest, also when a frame has just been drawn: what comes behind
/// it, what was taken in meanwhile and the frame itself, is to fit into [`FRAME`] too.
const ANSWER: Duration = Duration::from_millis(20);
/// Keys that wait while the main thread is busy; then they wait in the terminal.
const WAITING_KEYS: usize = 256;
/// How often the picture moves by itself: ages count up, the axis scrolls.
const TICK: Duration = Duration::from_millis(200);

/// The screen.
pub(super) struct ScreenShow {
    app: App,
    stage: Stage,
    /// For what is saved.
    told: Told,
    saving: Saving,
    older_than: Duration,
    drawn: Option<Timestamp>,
    is_stale: bool,
    /// The user waits for the next frame.
    is_waited_for: bool,
    /// What the terminal says.
    inputs: Receiver<Input>,
}

/// What was told beside connections: up to now, and as far as the picture shows it.
struct Told {
    now: Survey,
    /// As it was when the picture was stopped; `None` while it moves.
    paused: Option<Survey>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            now: Survey::live(),
            paused: None,
        }
    }
}

impl Told {
    /// Stops with the picture, and goes on with it.
    fn stand_still(&mut self, is_paused: bool) {
        self.paused = match (is_paused, self.paused.take()) {
            (true, None) => Some(self.now.clone()),
            (true, kept) => kept,
            (false, _) => None,
        };
    }

    /// What belongs to the connections that are shown.
    fn shown(&self) -> &Survey {
        self.paused.as_ref().unwrap_or(&self.now)
    }
}

impl ScreenShow {
    /// Takes the terminal, and starts the thread that reads its keys.
    /// `span` is how much time is to be seen at first, when that is known.
    pub(super) fn open(
        config: &Live,
        to_main: SyncSender<Message>,
        span: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let mut app = App::new(config.filter.clone(), config.color, TimeZone::system());
        app.follow_newest();
        if let Some(netns) = &config.netns {
            app.show_netns(netns.to_string());
        }
        if let Some(span) = span {
            app.show_span(span);
        }
        let (keys, inputs) = mpsc::sync_channel(WAITING_KEYS);
        let tell = move |input| {
            // A full channel is one whose reader is awake.
            let wake = |sent| !matches!(sent, Err(TrySendError::Disconnected(_)));
            keys.send(input).is_ok() && wake(to_main.try_send(Message::Keys))
        };
        let stage = Stage::take(&mut app, config.screen, tell)?;
        Ok(Self {
            app,
            stage,
            told: Told::default(),
            saving: Saving::new(),
            older_than: config.settings.older_than,
            drawn: None,
            is_stale: true,
            is_waited_for: false,
            inputs,
        })
    }

    fn answer(&mut self, input: Input, known: &Known, now: Timestamp) -> anyhow::Result<Flow> {
        let reaction = self.app.update(input, known, now);
        self.told.stand_still(self.app.is_paused());
        match self.stage.carry_out(&mut self.app, reaction)? {
            // Time travels in recordings only.
            Left::Nothing | Left::Travel(_) => {}
            Left::Save(name) => self.save(&name, known, now)?,
            Left::Redraw | Left::Resumed => self.is_stale = true,
            Left::Quit => return Ok(Flow::End),
        }
        Ok(Flow::On)
    }

    /// Saves what the screen shows without the line in which the name was typed.
    fn save(&mut self, name: &str, known: &Known, now: Timestamp) -> anyhow::Result<()> {
        let app = &mut self.app;
        let cells = self.stage.draw_and_keep(app, known, now)?;
        let listed = app.listed(known, now);
        let first = listed.connections.first();
        let netns = first.and_then(|one| one.scope().netns);
        let survey = self.told.shown();
        let about = survey.about_live(netns, listed.at, listed.filter.clone());
        let scene = Scene {
            cells: (&cells, app.looks().background),
            listed,
            about,
            losses: survey.losses.clone(),
            older_than: self.older_than,
        };
        let said = self.saving.begin(name, scene);
        app.say(said);
        self.is_stale = true;
        Ok(())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.drawn
            .is_none_or(|drawn| now.since(drawn) >= self.wait())
    }

    /// From one frame to the next.
    const fn wait(&self) -> Duration {
        match (self.is_stale, self.is_waited_for) {
            (true, true) => ANSWER,
            (true, false) => FRAME,
            (false, _) => TICK,
        }
    }
}

impl Show for ScreenShow {
    fn take(&mut self, observation: &Observation, known: &Known) -> anyhow::Result<()> {
        self.app.note(observation);
        self.told.now.note(observation);
        self.is_stale |= !known.changes().is_empty()
            || !known.news().is_empty()
            || matches!(observation.body, Body::Note { .. });
        Ok(())
    }

    fn settle(&mut self, known: &Known, now: Timestamp) -> anyhow::Result<Flow> {
        while let Some(said) = self.saving.done() {
            self.app.say(said);
            self.is_stale = true;
        }
        if self.is_due(now) {
            self.stage.draw(&mut self.app, known, now)?;
            self.drawn = Some(now);
            (self.is_stale, self.is_waited_for) = (false, false);
        }
        Ok(Flow::On)
    }

    fn input(&mut self, input: Input, known: &Known, now: Timestamp) -> anyhow::Result<Flow> {
        self.is_waited_for = true;
        self.answer(input, known, now)
    }

    fn hear_keys(&mut self, known: &Known, now: Timestamp) -> anyhow::Result<Flow> {
        while let Ok(input) = self.inputs.try_recv() {
            if self.input(input, known, now)? == Flow::End {
                return Ok(Flow::End);
            }
        }
        Ok(Flow::On)
    }

    fn is_waited_for(&self) -> bool {
        self.is_waited_for && self.is_stale
    }

    fn looks_at(&self) -> Option<ConnId> {
        self.app.looks_at()
    }

    fn recording(&mut self, news: &News) {
        self.app.hear_of_recording(in_words(news));
        self.is_stale = true;
    }

    fn recorded(&mut self, bytes: Option<u64>) {
        self.app.show_recorded(bytes);
    }

    fn patience(&self, now: Timestamp) -> Duration {
        self.drawn
            .map_or(Duration::ZERO, |drawn| drawn.plus(self.wait()).since(now))
    }

    fn conclusion(
        &mut self,
        experiment: &str,
        conclusion: &Conclusion,
        known: &Known,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        self.app.note(&Observation {
            host: 0,
            at: now,
            source: SourceName::Lab,
            body: Body::Note {
                pid: std::process::id(),
                text: conclusion.line(experiment),
            },
        });
        // What was to be seen has been seen: it must not slide away.
        self.app.pause(known, now);
        self.told.stand_still(self.app.is_paused());
        self.is_stale = true;
        Ok(())
    }

    fn conclude(&mut self) -> anyhow::Result<()> {
        restore();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Observation {
        Observation {
            host: 0,
            at: Timestamp::default(),
            source: SourceName::Bpf,
            body: Body::Lost {
                count: Some(3),
                why: "the ring was full".into(),
            },
        }
    }

    /// What is saved is of one moment.
    #[test]
    fn what_is_lost_while_the_picture_stands_still_is_not_of_it() {
        let mut told = Told::default();
        let before = format!("{:?}", told.shown().losses);
        told.stand_still(true);
        told.now.note(&lost());
        told.stand_still(true);
        assert_eq!(format!("{:?}", told.shown().losses), before);
        told.stand_still(false);
        let after = format!("{:?}", told.shown().losses);
        assert_ne!(after, before);
        told.stand_still(true);
        assert_eq!(format!("{:?}", told.shown().losses), after);
    }
}
