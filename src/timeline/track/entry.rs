//! What was seen beside a state when it was first seen: the evidence for how an end closed.
//!
//! The trap: `close()` takes a moment, and a look can fall into it.

use std::time::Duration;

use crate::model::{Descriptor, Sample, Shutdown};

/// What tells one way of closing from another, at the first sight of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether a program held the socket.
    pub descriptor: Option<Descriptor>,
    /// Which sides were shut.
    pub shutdown: Option<Shutdown>,
}

impl Entry {
    /// `close()` shuts both sides and sends its FIN before it lets go of the socket: a look can
    /// catch it in between.
    pub(super) fn may_be_amid_a_close(&self) -> bool {
        self.descriptor == Some(Descriptor::Held)
            && self
                .shutdown
                .is_some_and(|mask| mask.send() && mask.receive())
    }
}

/// `close()` is through by then, unless it lingers.
pub(super) const IN_THE_MIDDLE: Duration = Duration::from_millis(5);

impl From<&Sample> for Entry {
    fn from(sample: &Sample) -> Self {
        Self {
            descriptor: sample.descriptor(),
            shutdown: sample.shutdown,
        }
    }
}
