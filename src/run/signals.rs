//! Signals become a message to the main thread; a thread of their own waits for them.
//!
//! The trap: the main thread can be stuck in a write to a terminal that is gone, and its channel
//! full. So nothing here blocks, and when main has not ended a second after the signal, this
//! thread restores the terminal and ends the program.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long the main thread has to end in good order.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a full channel is tried again meanwhile.
const RETRY: Duration = Duration::from_millis(10);

/// Calls `tell`, which must not block and says whether it was heard, when the program is asked to
/// end.
///
/// # Errors
/// When the handlers can't be installed.
pub(super) fn spawn(tell: impl Fn() -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let mut left = PATIENCE;
                while !tell() && !left.is_zero() {
                    thread::park_timeout(RETRY);
                    left = left.saturating_sub(RETRY);
                }
                thread::park_timeout(left);
                crate::view::tui::terminal::restore();
                std::process::exit(128 + signal);
            }
        })?;
    Ok(())
}
