//! What the newest look, lookup or event showed of an end, and whether that is so of its present
//! state.
//!
//! The trap: an event moves the state and says little of the rest, so until the next look the row of
//! the last one is of a state that is over. What it tells of timers and queues is history then.

use crate::model::{Sample, TcpState};
use crate::timeline::{SeenBeside, Track};

impl Track {
    /// The newest row of a look or a lookup, where it showed the end in `state`. Nothing of an
    /// earlier state goes for a later one.
    pub fn look_in(&self, state: TcpState) -> Option<&Sample> {
        (self.shown == Some(state)).then_some(&self.last)
    }

    /// Whether a look or a lookup has ever shown it.
    pub const fn was_looked_at(&self) -> bool {
        self.shown.is_some()
    }

    /// Whether the end-of-file was seen unread behind no data, in CLOSE_WAIT: once the queue is empty,
    /// it was read.
    pub const fn end_of_file_was_unread(&self) -> bool {
        self.eof_was_unread
    }

    /// What the newest look or event showed beside the state.
    pub const fn beside(&self) -> &SeenBeside {
        &self.beside
    }

    /// What the newest look or event of the present state showed beside it; `None` where nothing has
    /// shown that state.
    pub fn beside_now(&self) -> Option<&SeenBeside> {
        let is_shown = self.spans.last().is_some_and(|span| span.entry.is_some());
        is_shown.then_some(&self.beside)
    }

    /// Bytes received that the program has not read. `None` where that is not known, and of an end
    /// that is over or has no queue.
    pub fn unread(&self) -> Option<u32> {
        self.waiting().and_then(|beside| beside.unread)
    }

    /// Bytes sent that the peer has not acknowledged. `None` as for [`Track::unread`].
    pub fn unacked(&self) -> Option<u32> {
        self.waiting().and_then(|beside| beside.unacked)
    }

    fn waiting(&self) -> Option<&SeenBeside> {
        self.beside_now().filter(|_| !self.is_over())
    }
}
