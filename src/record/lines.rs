//! The lines of a recording, by position: a clone goes on from where it was made.
//!
//! The traps: a line that is too long is walked over and never held; and a last line without its
//! end is no line yet, since the file may still grow. Memory: one line and one chunk.

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
    /// The end, for now, and what stands behind the last newline: nothing of a line that is too
    /// long.
    Rest(&'a [u8]),
}

/// Lines, one after the other.
pub(super) struct Lines {
    bytes: Arc<dyn Bytes>,
    /// Where the first byte of `buffer` stands.
    offset: u64,
    buffer: Vec<u8>,
    /// How much of it is behind us.
    read: usize,
    /// How much of it was filled; the rest is room.
    filled: usize,
    /// Where the line at hand begins while it is too long and walked over.
    skipped_from: Option<u64>,
    at_end: bool,
}

impl Clone for Lines {
    /// What was read ahead is read again: clones are made to be kept.
    fn clone(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            offset: self.position(),
            buffer: Vec::new(),
            read: 0,
            filled: 0,
            skipped_from: self.skipped_from,
            at_end: false,
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
            filled: 0,
            skipped_from: None,
            at_end: false,
        }
    }

    /// How many bytes have been read.
    pub(super) const fn position(&self) -> u64 {
        self.offset + self.read as u64
    }

    /// How many bytes stand behind the last line, once the end was met; 0 before.
    pub(super) fn torn(&self) -> u64 {
        if !self.at_end {
            return 0;
        }
        let end = self.offset + self.filled as u64;
        end - self.skipped_from.unwrap_or_else(|| self.position())
    }

    #[inline]
    pub(super) fn next_line(&mut self) -> io::Result<Found<'_>> {
        self.at_end = false;
        // Bytes from `read` on that hold no newline.
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.read + searched..self.filled];
            if let Some(length) = memchr::memchr(b'\n', unread) {
                let line = self.read..self.read + searched + length;
                self.read = line.end + 1;
                if self.skipped_from.take().is_some() || line.len() > LONGEST_LINE {
                    return Ok(Found::TooLong);
                }
                return Ok(Found::Line(&self.buffer[line]));
            }
            searched = self.filled - self.read;
            if searched > LONGEST_LINE || self.skipped_from.is_some() {
                let begins = self.position();
                self.skipped_from.get_or_insert(begins);
                self.read = self.filled;
                searched = 0;
            }
            if !self.fill()? {
                self.at_end = true;
                return Ok(Found::Rest(&self.buffer[self.read..self.filled]));
            }
        }
    }

    /// Reads on; says whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.read..self.filled, 0);
        self.filled -= self.read;
        self.offset += self.read as u64;
        self.read = 0;
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        let from = self.offset + self.filled as u64;
        let more = self
            .bytes
            .read_at(&mut self.buffer[self.filled..self.filled + CHUNK], from)?;
        self.filled += more.min(CHUNK);
        Ok(more > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: Vec<u8>) -> Lines {
        Lines::of(Arc::new(bytes))
    }

    /// The lengths of the lines, those that are too long as `None`; and what is torn.
    fn lengths(bytes: Vec<u8>) -> (Vec<Option<usize>>, u64) {
        let mut lines = lines(bytes);
        let mut found = Vec::new();
        loop {
            match lines.next_line().unwrap() {
                Found::Line(line) => found.push(Some(line.len())),
                Found::TooLong => found.push(None),
                Found::Rest(_) => return (found, lines.torn()),
            }
            assert_eq!(lines.torn(), 0, "not at the end");
            assert!(lines.buffer.capacity() <= 4 * LONGEST_LINE);
        }
    }

    #[test]
    fn lines_end_with_a_newline_and_nowhere_else() {
        assert_eq!(lengths(b"".to_vec()), (vec![], 0));
        assert_eq!(lengths(b"a\n\nbc".to_vec()), (vec![Some(1), Some(0)], 2));
    }

    #[test]
    fn a_line_that_is_too_long_is_walked_over() {
        for length in [LONGEST_LINE + 1, LONGEST_LINE + CHUNK, 9 << 20] {
            let mut bytes = b"a\n".to_vec();
            bytes.resize(bytes.len() + length, b'x');
            let torn = bytes.clone();
            assert_eq!(lengths(torn), (vec![Some(1)], length as u64));
            bytes.extend_from_slice(b"\nbc\n");
            assert_eq!(lengths(bytes), (vec![Some(1), None, Some(2)], 0));
        }
        let longest = [vec![b'x'; LONGEST_LINE], b"\n".to_vec()].concat();
        assert_eq!(lengths(longest), (vec![Some(LONGEST_LINE)], 0));
    }

    #[test]
    fn a_clone_goes_on_from_where_it_was_made() {
        let mut all = lines(b"a\nbc\nd\n".to_vec());
        all.next_line().unwrap();
        let mut copy = all.clone();
        for lines in [&mut all, &mut copy] {
            assert!(matches!(lines.next_line().unwrap(), Found::Line(b"bc")));
            assert_eq!(lines.position(), 5);
        }
    }
}
