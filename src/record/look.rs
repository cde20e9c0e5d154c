//! A look, or a keyframe, of which rows are still to come.
//!
//! Knows how many rows were said to come, and not how lines are read. Nothing is made ready for
//! rows that are only claimed, and more than [`ROWS_MOST`] are not held.
//!
//! The trap: a look with a row missing covers less than it says, and must not be taken for a
//! complete one; a keyframe with a row missing shows nobody where they are.

use crate::model::{Body, Keyframe, Poll};
use crate::record::decode::{LookHead, RowKind, RowOf};

/// How many rows of one look are held. There are hosts with more connections; of those a look is
/// read as an incomplete one.
const ROWS_MOST: u64 = 1 << 20;

/// A look of which rows are still to come.
#[derive(Clone, Debug)]
pub(super) struct Gathering {
    head: LookHead,
    /// Rows that were there.
    met: u64,
    /// Lines among them that could not be read.
    unread: u64,
    poll: Poll,
}

/// What became of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// It is the last one.
    Last,
    /// More follow.
    Taken,
    /// It does not belong there, or there is no room for it.
    Refused,
}

impl Gathering {
    pub(super) const fn new(head: LookHead) -> Self {
        Self {
            head,
            met: 0,
            unread: 0,
            poll: Poll {
                begun: head.begun,
                look: head.look,
                complete: head.complete,
                first: head.first,
                appeared: Vec::new(),
                changed: Vec::new(),
                missing: Vec::new(),
            },
        }
    }

    pub(super) const fn head(&self) -> &LookHead {
        &self.head
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.met == self.head.rows
    }

    pub(super) const fn count_unread(&mut self) {
        self.unread += 1;
    }

    pub(super) fn take(&mut self, is: RowKind, of: RowOf) -> Row {
        if self.met >= ROWS_MOST {
            return Row::Refused;
        }
        match (is, of) {
            (RowKind::There, RowOf::Sample(sample)) if self.head.is_keyframe => {
                self.poll.appeared.push(sample);
            }
            _ if self.head.is_keyframe => return Row::Refused,
            (RowKind::New, RowOf::Sample(sample)) => self.poll.appeared.push(sample),
            (RowKind::Changed, RowOf::Sample(sample)) => self.poll.changed.push(sample),
            (RowKind::Missing, RowOf::Socket(id)) => self.poll.missing.push(id),
            _ => return Row::Refused,
        }
        self.met += 1;
        if self.is_whole() {
            Row::Last
        } else {
            Row::Taken
        }
    }

    /// Rows that never came, beside the lines that could not be read. A number that no look has is
    /// damage in one line.
    pub(super) const fn lacks(&self) -> u64 {
        if self.head.rows > ROWS_MOST {
            return (self.unread == 0) as u64;
        }
        self.head.rows.saturating_sub(self.met + self.unread)
    }

    /// What was read of it; `None` of a keyframe that is not whole.
    pub(super) fn told(self) -> Option<Body> {
        let is_whole = self.is_whole();
        let mut poll = self.poll;
        if !self.head.is_keyframe {
            poll.complete &= is_whole;
            return Some(Body::Poll(poll));
        }
        is_whole.then_some(Body::Keyframe(Keyframe {
            begun: self.head.begun,
            samples: poll.appeared,
        }))
    }
}
