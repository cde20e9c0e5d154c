//! What goes out: a frame is collected and sent as one.
//!
//! The traps. Standard output is a line writer, so a frame would be hundreds of writes. The open file
//! is shared with whoever started us, who may have made it non-blocking. And a terminal that takes
//! nothing any more must not keep who wants to end.

use std::io::{self, Write};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::TICK;

/// Collects a frame, and hands it on as a whole when it is complete.
pub(super) struct FrameBuffer<S> {
    bytes: Vec<u8>,
    /// A frame in which no cell has changed.
    idle: Vec<u8>,
    send: S,
}

/// What `EndSynchronizedUpdate` writes: the end of a frame.
const END_OF_FRAME: &[u8] = b"\x1b[?2026l";

impl<S: FnMut(&[u8]) -> io::Result<()>> FrameBuffer<S> {
    pub(super) fn new(send: S) -> io::Result<Self> {
        Ok(Self {
            bytes: Vec::with_capacity(1 << 16),
            idle: idle()?,
            send,
        })
    }
}

/// What a frame comes to in which no cell has changed: modes that are set as they are already. Made by
/// who makes the others, so that it is the same whatever that one leaves out (`NO_COLOR`).
fn idle() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut backend = CrosstermBackend::new(&mut bytes);
    queue!(backend, BeginSynchronizedUpdate)?;
    backend.draw(std::iter::empty())?;
    backend.hide_cursor()?;
    queue!(backend, EndSynchronizedUpdate)?;
    Ok(bytes)
}

impl<S: FnMut(&[u8]) -> io::Result<()>> Write for FrameBuffer<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// ratatui flushes before a frame is complete; that does not count. What would change nothing is
    /// not sent.
    fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.ends_with(END_OF_FRAME) {
            return Ok(());
        }
        let sent = match self.bytes == self.idle {
            true => Ok(()),
            false => (self.send)(&self.bytes),
        };
        self.bytes.clear();
        sent
    }
}

/// Writes to the terminal as long as `wanted` holds.
pub(super) fn write_all(mut bytes: &[u8], wanted: impl Fn() -> bool) -> io::Result<()> {
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
pub(super) fn takes_bytes() -> bool {
    let out = rustix::stdio::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::OUT)];
    let ready = rustix::event::poll(&mut fds, Some(&TICK));
    ready.is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ratatui::crossterm::{Command, execute};
    use ratatui::layout::Rect;
    use ratatui::{Terminal, TerminalOptions, Viewport};

    use super::*;

    #[test]
    fn the_end_of_a_frame_is_what_crossterm_writes() {
        let mut text = String::new();
        EndSynchronizedUpdate.write_ansi(&mut text).unwrap();
        assert_eq!(text.as_bytes(), END_OF_FRAME);
    }

    #[test]
    fn a_frame_is_one_write() {
        let writes = RefCell::new(Vec::new());
        let buffer = FrameBuffer::new(|bytes: &[u8]| {
            writes.borrow_mut().push(bytes.to_vec());
            Ok(())
        })
        .unwrap();
        let viewport = Viewport::Fixed(Rect::new(0, 0, 200, 60));
        let backend = CrosstermBackend::new(buffer);
        let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport }).unwrap();
        // The second one says nothing new.
        for letter in ["a", "a", "b", "c"] {
            queue!(terminal.backend_mut(), BeginSynchronizedUpdate).unwrap();
            let picture = letter.repeat(200 * 60);
            terminal
                .draw(|frame| {
                    let lines = picture.as_bytes().chunks(200);
                    for (y, line) in lines.enumerate() {
                        let text = std::str::from_utf8(line).unwrap();
                        let area = Rect::new(0, u16::try_from(y).unwrap(), 200, 1);
                        frame.render_widget(text, area);
                    }
                })
                .unwrap();
            execute!(terminal.backend_mut(), EndSynchronizedUpdate).unwrap();
        }
        let writes = writes.borrow();
        assert_eq!(writes.len(), 3);
        for bytes in writes.iter() {
            assert!(bytes.starts_with(b"\x1b[?2026h") && bytes.ends_with(END_OF_FRAME));
            assert!(bytes.len() > 200 * 60);
        }
    }
}
