//! The terminal itself: taken, given back whole, and read.
//!
//! It must come back after quit, panic, signal and Ctrl-Z, so [`restore`] can be called from any
//! thread, at any time, any number of times, and takes no lock that a stuck writer could hold.
//!
//! The traps. `Terminal::clear` asks for the cursor and waits for an answer that a reader in
//! another thread eats; `resize` clears without asking. And whoever has asked the terminal something
//! and ends at once leaves the answer to the shell, which takes it for what was typed.

mod answer;
mod clipboard;
mod frame;
mod keys;
mod modes;

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};
use rustix::event::Timespec;
use rustix::process::Signal;

use clipboard::Between;
pub use clipboard::Copied;
use frame::{FrameBuffer, takes_bytes, write_all};
pub use keys::spawn_keys;

/// Whether the terminal is ours now.
static ENTERED: AtomicBool = AtomicBool::new(false);
/// Whether the mouse is to be listened to while it is.
static HEARS_MOUSE: AtomicBool = AtomicBool::new(false);
/// The terminal's answer.
static AWAITED: Awaited = Awaited(AtomicBool::new(false));

/// How long the terminal's file is waited for before something else is looked for: a change of its
/// size comes another way (crossterm's own pipe), an answer may never come.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// Gives the terminal back: cooked, its own screen, its cursor. Does nothing when it is not ours.
pub fn restore() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    // Past the lock of std's stdout, which a writer to a stuck terminal may hold. Nothing can be
    // done about errors here: a terminal that is gone needs no restoring.
    // One that takes nothing any more (a stalled connection) must not keep us here.
    if takes_bytes() {
        let _ = write_all(modes::farewell().as_bytes(), takes_bytes);
    }
    AWAITED.wait();
    let _ = disable_raw_mode();
}

/// An answer that is on its way, maybe.
struct Awaited(AtomicBool);

impl Awaited {
    fn expect(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_awaited(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// It is there, or will not come.
    fn settle(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Waits until the reader of the keys has it, for 200 ms at most; what has come by then and was
    /// not read is nobody's.
    fn wait(&self) {
        const STEP: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        for _ in 0..20 {
            if !self.is_awaited() {
                return;
            }
            // Nothing to wait for but time.
            let _ = rustix::event::poll(&mut [], Some(&STEP));
        }
        if let Ok(keyboard) = keys::keyboard() {
            let _ = rustix::termios::tcflush(&keyboard, rustix::termios::QueueSelector::IFlush);
        }
    }
}

/// What sends a frame.
type Sender = fn(&[u8]) -> io::Result<()>;

/// The terminal, ours as long as this lives.
pub struct Guard {
    terminal: Terminal<CrosstermBackend<FrameBuffer<Sender>>>,
}

impl Guard {
    /// Takes the terminal. A panic of any thread gives it back before it is printed, and ends the
    /// program: without one of its threads, a picture would show the past as the present.
    pub fn enter() -> io::Result<Self> {
        end_on_panic();
        let buffer = FrameBuffer::new(send as Sender)?;
        let terminal = Terminal::new(CrosstermBackend::new(buffer))?;
        take()?;
        Ok(Self { terminal })
    }

    /// Listens to the mouse from now on, or leaves it to the terminal, which selects text with it.
    pub fn listen(&mut self, to_mouse: bool) -> io::Result<()> {
        HEARS_MOUSE.store(to_mouse, Ordering::SeqCst);
        send(match to_mouse {
            true => modes::MOUSE_ON.as_bytes(),
            false => modes::MOUSE_OFF.as_bytes(),
        })
    }

    /// Asks what is behind the letters. The answer is an [`Input`](crate::view::tui::Input), if one
    /// comes; to be asked before the keys are read.
    pub fn ask_background(&mut self) -> io::Result<()> {
        AWAITED.expect();
        send(answer::QUESTION.as_bytes())
    }

    /// Hands a text to the terminal for its clipboard. Whether it takes it, it does not say.
    pub fn copy(&mut self, text: &str) -> io::Result<Copied> {
        let (sequence, copied) = clipboard::sequence(text, Between::of_environment());
        send(sequence.as_bytes())?;
        Ok(copied)
    }

    /// Draws one frame, which the terminal shows as a whole. Does nothing once [`restore`] was
    /// called: the terminal is not ours any more.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(picture)?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// The same, and gives the cells of the frame.
    pub fn draw_and_keep(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<Buffer> {
        let mut cells = Buffer::default();
        self.draw(|frame| {
            picture(frame);
            cells.clone_from(frame.buffer_mut());
        })?;
        Ok(cells)
    }

    /// Makes the next frame send every cell again, to a terminal whose modes are ours again:
    /// whoever wrote on it may have changed them too, as a shell does.
    pub fn repaint(&mut self) -> io::Result<()> {
        if !ENTERED.load(Ordering::SeqCst) {
            return Ok(());
        }
        // crossterm believes that nobody else changes modes: only turned off they can be turned on.
        disable_raw_mode()?;
        enable_raw_mode()?;
        if HEARS_MOUSE.load(Ordering::SeqCst) {
            send(modes::MOUSE_ON.as_bytes())?;
        }
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Stops the program as the shell's Ctrl-Z does, and returns when it goes on.
    ///
    /// The whole job is stopped, so that a wrapper (`make`, a script) stops with it. And it is
    /// `SIGTSTP`: the kernel drops it where no shell could let us go on (`ssh -t`, a container).
    pub fn suspend(&mut self) -> io::Result<()> {
        restore();
        rustix::process::kill_current_process_group(Signal::TSTP)?;
        take()?;
        self.repaint()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    ENTERED.store(true, Ordering::SeqCst);
    let greeting = modes::greeting(HEARS_MOUSE.load(Ordering::SeqCst));
    write_all(greeting.as_bytes(), || true).inspect_err(|_| restore())
}

/// Sends to the terminal as long as it is ours.
fn send(bytes: &[u8]) -> io::Result<()> {
    write_all(bytes, || ENTERED.load(Ordering::SeqCst))
}

/// The status of a program that panicked.
const PANICKED: i32 = 101;

/// From now on a panic of any thread gives the terminal back, is printed, and ends the program: a
/// program that goes on without one of its threads shows a world that has stopped.
pub fn end_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // The thread that holds the guard unwinds; what is to be dropped is dropped.
        let holder = std::thread::current().id();
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            print(panic);
            if std::thread::current().id() != holder {
                std::process::exit(PANICKED);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giving_back_what_was_not_taken_does_nothing() {
        restore();
        restore();
    }
}
