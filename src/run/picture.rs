//! `tcpwatch export --to screen`: the screen of a recording as a picture, with nobody before it.
//!
//! The same recording, moment, size and keys give the same picture. The trap: some keys ask for what
//! only a terminal has, or what a picture must not do; those are refused, not passed over.

use anyhow::bail;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::cli::Picture;
use crate::run::Outcome;
use crate::run::clocks::complain_of;
use crate::run::output::Output;
use crate::run::replay::showing::Showing;
use crate::view::export::screen;
use crate::view::tui::{self, Reaction};

/// Observations taken in at once.
const GULP: usize = 100_000;

pub(super) fn draw(config: &Picture) -> anyhow::Result<Outcome> {
    let output = Output::new(&config.out, &config.replaying.files)?;
    let replay = crate::run::replay::open_whole(&config.replaying)?;
    let mut showing = Showing::new(&config.replaying, replay)?;
    while showing.read_on(GULP)? {}
    showing.stop_at(config.at.as_ref())?;
    let (columns, rows) = config.size;
    // It holds the cells in memory, and fails never.
    let mut terminal = Terminal::new(TestBackend::new(columns, rows))?;
    let mut frame = |showing: &mut Showing| {
        let (app, known, position) = showing.picture()?;
        terminal.draw(|frame| tui::draw(frame, app, known, position))?;
        Ok::<_, anyhow::Error>(terminal.backend().buffer().clone())
    };
    let mut cells = frame(&mut showing)?;
    for key in &config.keys {
        match showing.update(*key)? {
            Reaction::Quit => {
                bail!("--keys: one of them ends the program: nothing is left to be drawn")
            }
            Reaction::Suspend => {
                bail!("--keys: one of them leads to the shell, which is not there")
            }
            Reaction::Save(_) => {
                bail!("--keys: one of them saves a file: -o names what is written")
            }
            _ => {}
        }
        // A page is as long as what was drawn.
        cells = frame(&mut showing)?;
    }
    let picture = screen::svg(&cells, config.replaying.screen.looks.background);
    output.write(|out| Ok(out.write_all(picture.as_bytes())?))?;
    complain_of(&showing.clocks());
    Ok(Outcome::Done)
}
