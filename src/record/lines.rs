//! The lines of a recording, by position: a clone goes on from where it was made.
//!
//! The traps: a line that is too long is walked over and never held; and a last line without its
//! end is no line yet, since the file may still grow.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::record::LONGEST_LINE;

/// Bytes that can be read from anywhere, by several readers at once.
pub trait Bytes: Send + Sync {
    /// Reads from `offset` on; 0 bytes is the end, for now.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Whether nothing more will come behind the end. To be asked before the end is met: what came
    /// between the two questions would be missed.
    fn is_whole(&self) -> bool {
        true
    }
}

impl Bytes for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Bytes for Vec<u8> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).map_or(self.len(), |from| from.min(self.len()));
        let length = into.len().min(self.len() - from);
        into[..length].copy_from_slice(&self[from..from + length]);
        Ok(length)
    }
}

/// So much is read at a time.
const CHUNK: usize = 256 << 10;

/// What comes next.
pub(super) enum Found<'a> {
    /// A line, without its newline.
    Line(&'a [u8]),
    /// A line that is longer than any that we write. It is behind us.
    TooLong,
    /// The end, for now, and what stands behind the last newline.
    Rest(&'a [u8]),
}

/// Lines, one after the other.
pub(super) struct Lines {
    bytes: Arc<dyn Bytes>,
    /// Where the first byte of `buffer` stands.
    offset: u64,
    buffer: Vec<u8>,
    /// How much of it has been read.
    read: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl Clone for Lines {
    /// What was read ahead is read again: clones are made to be kept.
    fn clone(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            offset: self.position(),
            buffer: Vec::new(),
            read: 0,
            skipping: self.skipping,
        }
    }
}

impl Lines {
    pub(super) const fn of(bytes: Arc<dyn Bytes>) -> Self {
        Self {
            bytes,
            offset: 0,
            buffer: Vec::new(),
            read: 0,
            skipping: false,
        }
    }

    /// How many bytes have been read.
    pub(super) const fn position(&self) -> u64 {
        self.offset + self.read as u64
    }

    /// How many bytes stand behind the last line, once the end was met.
    pub(super) fn torn(&self) -> usize {
        (self.buffer.len() - self.read).max(self.skipping.into())
    }

    #[inline]
    pub(super) fn next_line(&mut self) -> io::Result<Found<'_>> {
        // Bytes from `read` on that hold no newline.
        let mut searched = 0;
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[self.read + searched..]);
            if let Some(length) = newline {
                let line = self.read..self.read + searched + length;
                self.read = line.end + 1;
                if std::mem::take(&mut self.skipping) {
                    return Ok(Found::TooLong);
                }
                return Ok(Found::Line(&self.buffer[line]));
            }
            searched = self.buffer.len() - self.read;
            self.skipping |= searched > LONGEST_LINE;
            if self.skipping {
                self.read = self.buffer.len();
                searched = 0;
            }
            if !self.fill()? {
                return Ok(Found::Rest(&self.buffer[self.read..]));
            }
        }
    }

    /// Reads on; says whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.read);
        self.offset += self.read as u64;
        self.read = 0;
        let known = self.buffer.len();
        self.buffer.resize(known + CHUNK, 0);
        let from = self.offset + known as u64;
        let more = self.bytes.read_at(&mut self.buffer[known..], from);
        self.buffer.truncate(known + *more.as_ref().unwrap_or(&0));
        Ok(more? > 0)
    }
}
