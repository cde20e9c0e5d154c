//! The terminal under the screen: taken as the user wants it, and what a reaction asks of it done.
//!
//! Live and replayed runs share it; what is left to them comes back. The trap: what could not be done
//! must be said where the user looks, and nothing may be said that nobody knows.

use std::time::Duration;

use anyhow::Context;
use ratatui::buffer::Buffer;

use crate::cli::OnScreen;
use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::view::tui::playback::Travel;
use crate::view::tui::terminal::{Copied, Guard, spawn_keys};
use crate::view::tui::{App, Input, Reaction, draw};

/// Frames are at least this far apart.
pub(super) const FRAME: Duration = Duration::from_millis(50);

/// The terminal, with the screen on it.
pub(super) struct Stage {
    guard: Guard,
}

/// What is left of a reaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// The picture is another one.
    Redraw,
    /// The same, and the program had stopped meanwhile.
    Resumed,
    /// To another moment of the recording.
    Travel(Travel),
    /// The picture is to be saved under this name.
    Save(String),
    /// It is over.
    Quit,
}

impl Stage {
    /// Takes the terminal for `app`, and starts the thread that reads it.
    pub(super) fn take(
        app: &mut App,
        wanted: OnScreen,
        tell: impl Fn(Input) -> bool + Send + 'static,
    ) -> anyhow::Result<Self> {
        app.show_as(wanted.looks);
        app.hear_mouse(wanted.hears_mouse);
        let mut guard = Guard::enter()
            .context("take the terminal for the screen (--format text needs no terminal)")?;
        if wanted.hears_mouse {
            guard.listen(true).context("turn the mouse on")?;
        }
        if wanted.asks_background {
            guard.ask_background().context("ask the terminal")?;
        }
        spawn_keys(tell).context("start the thread of the keys")?;
        Ok(Self { guard })
    }

    /// Draws one frame.
    pub(super) fn draw(
        &mut self,
        app: &mut App,
        known: &Known,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let picture = |frame: &mut ratatui::Frame<'_>| draw(frame, app, known, now);
        self.guard.draw(picture).context("draw on the terminal")
    }

    /// The same, and gives the cells that were drawn, to be saved.
    pub(super) fn draw_and_keep(
        &mut self,
        app: &mut App,
        known: &Known,
        now: Timestamp,
    ) -> anyhow::Result<Buffer> {
        let picture = |frame: &mut ratatui::Frame<'_>| draw(frame, app, known, now);
        let drawn = self.guard.draw_and_keep(picture);
        drawn.context("draw on the terminal")
    }

    /// Does what a reaction asks of the terminal.
    pub(super) fn carry_out(&mut self, app: &mut App, reaction: Reaction) -> anyhow::Result<Left> {
        match reaction {
            Reaction::Nothing => return Ok(Left::Nothing),
            Reaction::Redraw => {}
            Reaction::Repaint => self.guard.repaint().context("clear the terminal")?,
            Reaction::Suspend => {
                self.guard.suspend().context("suspend")?;
                return Ok(Left::Resumed);
            }
            Reaction::Copy(text) => {
                let copied = self.guard.copy(&text).context("copy")?;
                app.say(said_of(copied));
            }
            Reaction::Listen { to_mouse } => {
                self.guard.listen(to_mouse).context("turn the mouse")?;
            }
            Reaction::Travel(travel) => return Ok(Left::Travel(travel)),
            Reaction::Save(name) => return Ok(Left::Save(name)),
            Reaction::Quit => return Ok(Left::Quit),
        }
        Ok(Left::Redraw)
    }
}

/// No terminal tells whether it lets programs have its clipboard.
fn said_of(copied: Copied) -> String {
    match copied {
        Copied::All => "copied, if the terminal lets programs have its clipboard".to_owned(),
        Copied::Beginning(bytes) => format!("copied: the first {bytes} bytes, no more fits"),
    }
}
