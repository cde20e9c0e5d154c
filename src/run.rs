//! The only place that knows all rooms: opens a source, feeds the tracker, shows what follows,
//! hands the tracker's questions back. Nothing here is worth a unit test of its own; the live
//! tests run it whole.

mod clocks;
mod compressed;
mod doctor;
mod export;
mod lab;
mod lines;
mod list;
mod live;
mod load;
mod log;
mod merge;
mod output;
mod picture;
mod place;
mod record;
pub mod replay;
mod report;
mod save;
mod screen;
mod signals;
mod terminal;
mod wait;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::Config;
use crate::view::plain::plain;

/// How a run ended when nothing went wrong.
#[derive(Debug)]
pub enum Outcome {
    /// Done.
    Done,
    /// A list without rows.
    NothingMatched,
    /// The doctor found something.
    Found,
    /// The doctor found nothing, and could not see all that was asked for.
    CanNotTell,
    /// A wait that came to nothing in its time.
    TimedOut,
    /// A wait that something was found in.
    Failed,
    /// An experiment that did not show what it should.
    NotShown,
    /// A process of an experiment, with its own status.
    Actor(ExitCode),
}

/// Does what the configuration says.
///
/// # Errors
/// Trouble, with what was tried and on what.
pub fn run(config: Config) -> anyhow::Result<Outcome> {
    // Whether to colour is settled by the command line and the environment together; crossterm
    // must not decide again.
    crossterm::style::force_color_output(true);
    match config {
        Config::Live(config) => live::watch(&config),
        Config::Record(config) => record::run(&config),
        Config::List(config) => list::list(&config),
        Config::Doctor(config) => doctor::doctor(&config),
        Config::Wait(config) => wait::wait(&config),
        Config::Report(config) => report::report(&config),
        Config::Export(config) => export::export(&config),
        Config::Picture(config) => picture::draw(&config),
        Config::Replay(config) => replay::replay(&config),
        Config::LabIndex => lab::index(),
        Config::Lab(config) => lab::run(&config),
        Config::LabActor(role) => Ok(Outcome::Actor(crate::lab::actors::run(&role))),
    }
}

/// Prints a text that was asked for; a closed pipe is no trouble.
pub fn print_and_end(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}

/// Says on standard error what is wrong, on one line; names of files come from outside. When even that fails, nobody is left to tell.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "tcpwatch: {}", plain(text));
}

/// Whether the error is that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
