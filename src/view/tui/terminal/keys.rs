//! The thread that reads keys, the mouse, and what the terminal answers.
//!
//! The traps. When the terminal dies, the event reader spins for ever: it is asked only after `poll`
//! said that the terminal lives. And crossterm has two readers: the one that it takes by itself loses
//! a key that comes together with another size, and does not see it before the next one (its epoll
//! is edge-triggered, and it looks at one of two files). So the other one is compiled in (the feature
//! `use-dev-tty`), which has its own trap: asked without any time, it looks at nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind, MouseEventKind};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::answer::{Heard, Listener};
use super::{AWAITED, TICK};
use crate::view::tui::Input;

/// Time for a look at what is there; more than the scheduler mostly takes away in the middle of it.
const A_LOOK: Duration = Duration::from_millis(5);

/// Starts the thread that reads the keys. It ends when the terminal is gone, which it says, or
/// when `tell` says that nobody listens. It is never joined: nothing can wake it.
pub fn spawn_keys(tell: impl Fn(Input) -> bool + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            let ended = read_keys(&tell);
            AWAITED.settle();
            if ended.is_err() {
                tell(Input::TerminalGone);
            }
        })
        .map(|_never_joined| ())
}

/// Reads until nobody listens; an error means that the terminal is gone.
fn read_keys(tell: &impl Fn(Input) -> bool) -> io::Result<()> {
    let keyboard = keyboard()?;
    let mut listener = AWAITED.is_awaited().then(Listener::default);
    let mut inputs = Vec::new();
    loop {
        let has_more = wait_for_terminal(&keyboard)?;
        if !has_more {
            // Whoever has not answered by now may never do so. It is listened for, not waited for.
            AWAITED.settle();
            inputs.extend(
                listener
                    .iter_mut()
                    .flat_map(Listener::give_up)
                    .map(Input::Key),
            );
        }
        while event::poll(A_LOOK)? {
            let Some(input) = wanted(event::read()?) else {
                continue;
            };
            listen(input, &mut listener, &mut inputs);
            if !inputs.drain(..).all(tell) {
                return Ok(());
            }
        }
        inputs.extend(
            listener
                .iter_mut()
                .flat_map(Listener::pause)
                .map(Input::Key),
        );
        if !inputs.drain(..).all(tell) {
            return Ok(());
        }
    }
}

/// What the screen is to hear of. That a button is let go changes nothing.
fn wanted(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(Input::Key(key)),
        Event::Resize(..) => Some(Input::Resize),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Moved | MouseEventKind::Up(_) => None,
            _ => Some(Input::Mouse(mouse)),
        },
        _ => None,
    }
}

/// Tells keys from the answer, as long as one may come.
fn listen(input: Input, listener: &mut Option<Listener>, inputs: &mut Vec<Input>) {
    let (Input::Key(key), Some(listening)) = (input, listener.as_mut()) else {
        inputs.push(input);
        return;
    };
    match listening.take(key) {
        Heard::Keys(keys) => inputs.extend(keys.into_iter().map(Input::Key)),
        Heard::Part => {}
        Heard::Answer(background) => {
            AWAITED.settle();
            *listener = None;
            inputs.extend(background.map(Input::Background));
        }
    }
}

/// Where the keys come from: standard input, unless something is piped into it.
pub(super) fn keyboard() -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    if rustix::termios::isatty(stdin) {
        return Ok(rustix::io::dup(stdin)?);
    }
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::empty();
    Ok(rustix::fs::open("/dev/tty", flags, mode)?)
}

/// Waits a little, and says whether there may be something to read; an error when the terminal has
/// hung up.
fn wait_for_terminal(keys: &impl AsFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(keys, PollFlags::IN)];
    let ready = match rustix::event::poll(&mut fds, Some(&TICK)) {
        Ok(count) => count > 0,
        Err(Errno::INTR) => true,
        Err(error) => return Err(error.into()),
    };
    let dead = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    if fds[0].revents().intersects(dead) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent};

    fn mouse(kind: MouseEventKind) -> Event {
        Event::Mouse(MouseEvent {
            kind,
            column: 3,
            row: 4,
            modifiers: KeyModifiers::NONE,
        })
    }

    #[test]
    fn of_the_mouse_only_what_means_something_is_told() {
        let left = MouseButton::Left;
        for kind in [
            MouseEventKind::Down(left),
            MouseEventKind::Drag(left),
            MouseEventKind::ScrollUp,
            MouseEventKind::ScrollDown,
        ] {
            assert!(
                matches!(wanted(mouse(kind)), Some(Input::Mouse(_))),
                "{kind:?}"
            );
        }
        for kind in [MouseEventKind::Moved, MouseEventKind::Up(left)] {
            assert_eq!(wanted(mouse(kind)), None);
        }
        assert_eq!(wanted(Event::FocusGained), None);
    }

    #[test]
    fn after_one_answer_none_is_listened_for() {
        let (mut listener, mut inputs) = (Some(Listener::default()), Vec::new());
        let bracket = KeyEvent::new(KeyCode::Char(']'), KeyModifiers::ALT);
        let mut hear = |key| listen(Input::Key(key), &mut listener, &mut inputs);
        hear(bracket);
        "11;rgb:0/0/0"
            .chars()
            .for_each(|c| hear(KeyCode::Char(c).into()));
        hear(KeyEvent::new(KeyCode::Char('\\'), KeyModifiers::ALT));
        hear(bracket);
        assert!(listener.is_none());
        assert_eq!(inputs.len(), 2, "{inputs:?}");
        assert_eq!(inputs[1], Input::Key(bracket));
    }
}
