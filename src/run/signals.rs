//! Signals become messages to the main thread; a thread of their own waits for them.
//!
//! The traps: the main thread can be stuck in a write to a terminal that is gone, and its channel
//! full. So nothing here blocks, and when main has not ended in time after the signal, a second
//! mostly, this thread restores the terminal and ends the program. A file that grows beyond what
//! `ulimit -f` allows is an error of the write, and no reason to die. And SIGHUP, when it was ignored before we
//! came (`nohup`), has to stay ignored. Not so SIGINT: a script's background job comes with it
//! ignored, and who sends it there means it. SIGQUIT ends in good order too: the terminal would be left
//! as it is, and a core is of no use to whoever typed it.

use std::io;
use std::thread;
use std::time::Duration;

use procfs::process::Process;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::run::live::Message;
use crate::source::bpf;
use crate::view::tui::Input;

/// How often a full channel is tried again meanwhile.
const RETRY: Duration = Duration::from_millis(10);

/// Calls `tell`, which must not block and says whether it was heard, when the program is asked to
/// end, and when it goes on after a stop. The main thread then has `patience` to end in good order.
///
/// # Errors
/// When the handlers can't be installed.
pub(super) fn spawn(
    patience: Duration,
    tell: impl Fn(Message) -> bool + Send + 'static,
) -> io::Result<()> {
    let mut wanted = vec![SIGINT, SIGTERM, SIGQUIT, SIGCONT, SIGXFSZ];
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // They belong to a thread, and this one needs none. Refused, it has those of its user.
            let _ = bpf::drop_capabilities();
            for signal in signals.forever() {
                match signal {
                    // Not heard, it costs a picture until Ctrl-L; waiting could cost the end.
                    SIGCONT => {
                        let _ = tell(Message::Input(Input::Continued));
                    }
                    SIGXFSZ => {}
                    _ => end(signal, patience, &tell),
                }
            }
        })?;
    Ok(())
}

/// Whether the signal is ignored, by `/proc/self/status`; not, when that can't be read.
fn is_ignored(signal: i32) -> bool {
    let ignored = Process::myself()
        .and_then(|process| process.status())
        .map_or(0, |status| status.sigign);
    ignored & (1 << (signal - 1)) != 0
}

fn end(signal: i32, patience: Duration, tell: &impl Fn(Message) -> bool) -> ! {
    let mut left = patience;
    while !tell(Message::End) && !left.is_zero() {
        thread::park_timeout(RETRY);
        left = left.saturating_sub(RETRY);
    }
    thread::park_timeout(left);
    crate::view::tui::terminal::restore();
    std::process::exit(128 + signal);
}
