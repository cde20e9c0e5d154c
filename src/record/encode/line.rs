//! A line of JSON that is being written, field by field, without an allocation.
//!
//! Knows JSON and nothing of what the fields mean. The trap: a recording can be shown on a
//! terminal, so no text in it may hold what a terminal acts on.

use std::io::Write;

use crate::model::{SourceName, Timestamp};
use crate::record::LONGEST_LINE;

/// So many bytes of a text are written: as escapes they become six times as many.
const LONGEST_TEXT: usize = LONGEST_LINE / 16;

/// A line that is being written. Writing to a `Vec` can't fail, so nothing here is a `Result`.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Line<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, kind: &str) -> Self {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Self { out }
    }

    pub(super) fn at(out: &'a mut Vec<u8>, kind: &str, at: Timestamp) -> Self {
        let mut line = Self::begin(out, kind);
        line.number("at", at.nanos());
        line
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    pub(super) fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut left = number;
        loop {
            first -= 1;
            // The remainder is below 10.
            digits[first] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[first..]);
    }

    pub(super) fn nonzero(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number(name, number);
        }
    }

    pub(super) fn optional(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    pub(super) fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.name(name);
            self.out.extend_from_slice(b"true");
        }
    }

    /// Says that it is not so, where it mostly is.
    pub(super) fn not(&mut self, name: &str, is_worth_it: bool) {
        if is_worth_it {
            self.name(name);
            self.out.extend_from_slice(b"false");
        }
    }

    pub(super) fn null(&mut self, name: &str) {
        self.name(name);
        self.out.extend_from_slice(b"null");
    }

    /// A text of ours, which needs no escapes.
    pub(super) fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// As [`Line::word`].
    pub(super) fn display(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        // A Vec takes everything.
        let _ = write!(self.out, "\"{value}\"");
    }

    /// Any text. Of one that would make its line too long to be read, the beginning.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        let longest = text.len().min(LONGEST_TEXT);
        let end = (0..=longest).rev().find(|&end| text.is_char_boundary(end));
        let text = &text[..end.unwrap_or(0)];
        let start = self.out.len();
        // A Vec takes everything, and a str is always JSON.
        let _ = serde_json::to_writer(&mut *self.out, text);
        make_inert(self.out, start);
    }

    pub(super) fn netns(&mut self, netns: Option<u64>, usual: Option<u64>) {
        self.unless_usual("netns", netns, usual);
    }

    pub(super) fn unless_usual(&mut self, name: &str, number: Option<u64>, usual: Option<u64>) {
        match number {
            number if number == usual => {}
            Some(number) => self.number(name, number),
            None => self.null(name),
        }
    }

    pub(super) fn source(&mut self, source: SourceName, usual: SourceName) {
        if source != usual {
            self.word("source", source.token());
        }
    }
}

/// JSON leaves DEL, C1 and what turns the direction of text as they are, on which a terminal would
/// act if the recording were shown on one.
fn make_inert(out: &mut Vec<u8>, start: usize) {
    if out[start..].iter().all(|&byte| byte < 0x7f) {
        return;
    }
    let tail = out.split_off(start);
    let mut units = [0; 2];
    for c in String::from_utf8_lossy(&tail).chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c as u8);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            // A Vec takes everything.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
}
