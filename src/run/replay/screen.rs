//! The screen of a recording: time passes as the user says.
//!
//! Frames come at most twenty times a second while time passes, and none while it does not. The
//! trap: the first reading takes a while, and keys must work meanwhile.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use crate::cli::Replaying;
use crate::model::Timestamp;
use crate::run::clocks::complain_of;
use crate::run::live::Flow;
use crate::run::replay::News;
use crate::run::replay::showing::Showing;
use crate::run::terminal::{FRAME, Left, Stage};
use crate::source::clock;
use crate::source::replay::Replay;
use crate::view::tui::Input;
use crate::view::tui::terminal::restore;

/// Observations taken in between two looks at the keys.
const GULP: usize = 20_000;
/// Nothing is to be done until there is news.
const IDLE: Duration = Duration::from_secs(3600);

/// Shows the recording until the user has seen enough.
pub(super) fn show(
    config: &Replaying,
    replay: Replay,
    to_main: SyncSender<News>,
    news: &Receiver<News>,
) -> anyhow::Result<()> {
    let mut showing = Showing::new(config, replay)?;
    let tell = move |key| to_main.send(News::Key(key)).is_ok();
    let stage = Stage::take(&mut showing.app, config.screen, tell)?;
    let mut screen = Screen {
        showing,
        stage,
        has_more: true,
        moved: clock::now(),
        drawn: None,
        is_stale: true,
    };
    let done = screen.until_the_end(news);
    restore();
    complain_of(&screen.showing.clocks());
    done
}

struct Screen {
    showing: Showing,
    stage: Stage,
    /// There may be more to read now.
    has_more: bool,
    /// Time has passed up to then.
    moved: Timestamp,
    drawn: Option<Timestamp>,
    is_stale: bool,
}

impl Screen {
    fn until_the_end(&mut self, news: &Receiver<News>) -> anyhow::Result<()> {
        loop {
            self.read_on()?;
            self.let_time_pass()?;
            self.draw_if_due()?;
            match news.recv_timeout(self.patience()) {
                Ok(one) => {
                    if self.hear(one)? == Flow::End {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// How long nothing needs to be done unless there is news.
    fn patience(&self) -> Duration {
        if self.has_more {
            return Duration::ZERO;
        }
        if !self.is_stale && !self.showing.passes() {
            return IDLE;
        }
        let now = clock::now();
        self.drawn
            .map_or(Duration::ZERO, |drawn| drawn.plus(FRAME).since(now))
    }

    fn read_on(&mut self) -> anyhow::Result<()> {
        if !self.has_more {
            return Ok(());
        }
        let was_read = self.showing.is_read;
        self.has_more = self.showing.read_on(GULP)?;
        self.is_stale |= !self.showing.is_read || !self.has_more;
        if self.showing.is_read && !was_read {
            self.moved = clock::now();
        }
        Ok(())
    }

    fn let_time_pass(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let passed = now.since(self.moved);
        self.moved = now;
        if self.showing.passes() {
            self.showing.pass(passed, GULP)?;
            self.is_stale = true;
        }
        Ok(())
    }

    fn draw_if_due(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let is_due = self.drawn.is_none_or(|drawn| now.since(drawn) >= FRAME);
        if !self.is_stale || !is_due {
            return Ok(());
        }
        let (app, known, position) = self.showing.picture()?;
        self.stage.draw(app, known, position)?;
        self.drawn = Some(now);
        self.is_stale = false;
        Ok(())
    }

    /// Saves what the screen shows without the line in which the name was typed.
    fn save(&mut self, name: &str) -> anyhow::Result<()> {
        let (app, known, position) = self.showing.picture()?;
        let cells = self.stage.draw_and_keep(app, known, position)?;
        self.showing.save(name, &cells);
        self.is_stale = true;
        Ok(())
    }

    fn hear(&mut self, news: News) -> anyhow::Result<Flow> {
        match news {
            News::End => Ok(Flow::End),
            News::More => {
                self.has_more = true;
                Ok(Flow::On)
            }
            News::Key(key) => self.input(key),
        }
    }

    fn input(&mut self, input: Input) -> anyhow::Result<Flow> {
        let before = self.showing.player.position();
        let reaction = self.showing.update(input)?;
        if self.showing.player.position() != before {
            // Time passes from there on: not while the way was gone.
            self.moved = clock::now();
        }
        match self.stage.carry_out(&mut self.showing.app, reaction)? {
            Left::Nothing => {}
            Left::Redraw | Left::Travel(_) => self.is_stale = true,
            Left::Resumed => {
                self.moved = clock::now();
                self.is_stale = true;
            }
            Left::Save(name) => self.save(&name)?,
            Left::Quit => return Ok(Flow::End),
        }
        Ok(Flow::On)
    }
}
