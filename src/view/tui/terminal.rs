//! The terminal itself: taken, given back whole, and read.
//!
//! It must come back after quit, panic, signal and Ctrl-Z, so [`restore`] can be called from any
//! thread, at any time, any number of times, and takes no lock that a stuck writer could hold.
//!
//! The traps. `Terminal::clear` asks for the cursor and waits for an answer that a reader in
//! another thread eats; `resize` clears without asking. Standard output is a line writer, so a
//! frame would be hundreds of writes; here it is collected and goes out as one. When the terminal
//! dies, the event reader spins for ever: it is asked only after `poll` said that the terminal
//! lives.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{Command, execute, queue};
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::view::tui::Input;

/// Whether the terminal is ours now.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back: cooked, its own screen, its cursor. Does nothing when it is not ours.
pub fn restore() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    // Past the lock of std's stdout, which a writer to a stuck terminal may hold. Nothing can be
    // done about errors here: a terminal that is gone needs no restoring.
    // One that takes nothing any more (a stalled connection) must not keep us here.
    if takes_bytes() {
        let _ = write_all(farewell().as_bytes(), takes_bytes);
    }
    let _ = disable_raw_mode();
}

fn farewell() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = EndSynchronizedUpdate.write_ansi(&mut text);
    let _ = LeaveAlternateScreen.write_ansi(&mut text);
    let _ = Show.write_ansi(&mut text);
    text
}

fn greeting() -> String {
    let mut text = String::new();
    let _ = EnterAlternateScreen.write_ansi(&mut text);
    let _ = Hide.write_ansi(&mut text);
    text
}

/// The terminal, ours as long as this lives.
pub struct Guard {
    terminal: Terminal<CrosstermBackend<FrameBuffer>>,
}

impl Guard {
    /// Takes the terminal. A panic of any thread gives it back before it is printed, and ends the
    /// program: without one of its threads, a picture would show the past as the present.
    pub fn enter() -> io::Result<Self> {
        end_on_panic();
        let buffer = FrameBuffer(Vec::with_capacity(1 << 16));
        let terminal = Terminal::new(CrosstermBackend::new(buffer))?;
        take()?;
        Ok(Self { terminal })
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
    write_all(greeting().as_bytes(), || true).inspect_err(|_| restore())
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

/// Collects a frame, and sends it as a whole when it is complete.
struct FrameBuffer(Vec<u8>);

/// What [`EndSynchronizedUpdate`] writes: the end of a frame.
const END_OF_FRAME: &[u8] = b"\x1b[?2026l";

impl Write for FrameBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// ratatui flushes before a frame is complete; that does not count.
    fn flush(&mut self) -> io::Result<()> {
        if !self.0.ends_with(END_OF_FRAME) {
            return Ok(());
        }
        let sent = write_all(&self.0, || ENTERED.load(Ordering::SeqCst));
        self.0.clear();
        sent
    }
}

/// Writes to the terminal as long as `wanted` holds.
fn write_all(mut bytes: &[u8], wanted: impl Fn() -> bool) -> io::Result<()> {
    let out = rustix::stdio::stdout();
    while !bytes.is_empty() && wanted() {
        match rustix::io::write(out, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody else may have made the open file non-blocking.
            Err(Errno::AGAIN) => {
                takes_bytes();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits a little for room in the terminal's queue.
fn takes_bytes() -> bool {
    let out = rustix::stdio::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::OUT)];
    let ready = rustix::event::poll(&mut fds, Some(&TICK));
    ready.is_ok_and(|count| count > 0)
}

/// How long the terminal's file is waited for before a change of its size is looked for, which
/// comes another way (crossterm's own pipe).
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// Starts the thread that reads the keys. It ends when the terminal is gone, which it says, or
/// when `tell` says that nobody listens. It is never joined: nothing can wake it.
pub fn spawn_keys(tell: impl Fn(Input) -> bool + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            if read_keys(&tell).is_err() {
                tell(Input::TerminalGone);
            }
        })
        .map(|_never_joined| ())
}

/// Reads until nobody listens; an error means that the terminal is gone.
fn read_keys(tell: &impl Fn(Input) -> bool) -> io::Result<()> {
    let keys = keyboard()?;
    loop {
        wait_for_terminal(&keys)?;
        while event::poll(std::time::Duration::ZERO)? {
            let input = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
                Event::Resize(..) => Input::Resize,
                _ => continue,
            };
            if !tell(input) {
                return Ok(());
            }
        }
    }
}

/// Where the keys come from: standard input, unless something is piped into it.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    if rustix::termios::isatty(stdin) {
        return Ok(rustix::io::dup(stdin)?);
    }
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::empty();
    Ok(rustix::fs::open("/dev/tty", flags, mode)?)
}

/// Returns when there may be something to read; an error when the terminal has hung up.
fn wait_for_terminal(keys: &impl AsFd) -> io::Result<()> {
    let mut fds = [PollFd::new(keys, PollFlags::IN)];
    match rustix::event::poll(&mut fds, Some(&TICK)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let dead = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    if fds[0].revents().intersects(dead) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_frame_is_what_crossterm_writes() {
        let mut text = String::new();
        EndSynchronizedUpdate.write_ansi(&mut text).unwrap();
        assert_eq!(text.as_bytes(), END_OF_FRAME);
    }

    #[test]
    fn giving_back_what_was_not_taken_does_nothing() {
        restore();
        restore();
    }
}
