//! Signals become a message to the main thread; a thread of their own waits for them.
//!
//! The trap: the main thread can be stuck in a write to a terminal that is gone. So when it has
//! not ended a second after the message, this thread restores the terminal and ends the program.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long the main thread has to end in good order.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls `tell` when the program is asked to end.
///
/// # Errors
/// When the handlers can't be installed.
pub(super) fn spawn(tell: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                tell();
                thread::park_timeout(PATIENCE);
                crate::view::tui::terminal::restore();
                std::process::exit(128 + signal);
            }
        })?;
    Ok(())
}
