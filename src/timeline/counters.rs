//! A socket's own counters, as they were last told: by the moment of an event, or in answer to a
//! question for its `tcp_info`.
//!
//! They are told seldom, so when that was stands beside. The trap: the kernel counts a SYN or FIN as
//! one byte, and what is kept here is what it says.

use crate::model::{Counters, Event, Moment, SourceName, TcpState, Timestamp};
use crate::timeline::{EndRef, Track, Tracker};

/// Bytes that went through a socket, the SYN and FIN counting one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// When that was read.
    pub at: Timestamp,
    /// Who says it.
    pub source: SourceName,
    /// Taken in so far; `None` where the kernel does not say.
    pub received: Option<u64>,
    /// Acknowledged by the peer so far; `None` where the kernel does not say.
    pub acked: Option<u64>,
}

/// The answer to a question for `tcp_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Before the question was sent: what they count the time since was so long before at least.
    pub asked: Timestamp,
    /// After the answer came.
    pub at: Timestamp,
    /// What it says.
    pub counters: Counters,
}

/// The newest counters of an end.
#[derive(Clone, Debug, Default)]
pub(super) struct LastCounters {
    carried: Option<Carried>,
    /// Few ends are ever asked for it.
    told: Option<Box<Told>>,
}

impl LastCounters {
    fn note(&mut self, carried: Carried) {
        if self.carried.is_none_or(|known| known.at <= carried.at) {
            self.carried = Some(carried);
        }
    }
}

impl Track {
    /// Takes in what an event shows.
    pub(super) fn note_moment(&mut self, moment: &Moment, at: Timestamp) {
        self.counters.note(Carried {
            at,
            source: SourceName::Bpf,
            received: Some(moment.bytes_received),
            acked: Some(moment.bytes_acked),
        });
    }

    /// Takes in an answer, asked for and told at these times.
    pub(super) fn note_counters(
        &mut self,
        counters: &Counters,
        (asked, at): (Timestamp, Timestamp),
    ) {
        self.counters.note(Carried {
            at,
            source: SourceName::Info,
            received: counters.bytes_received,
            acked: counters.bytes_acked,
        });
        let told = Told {
            asked,
            at,
            counters: *counters,
        };
        match &mut self.counters.told {
            Some(known) => **known = told,
            none => *none = Some(Box::new(told)),
        }
    }

    /// The newest count of bytes; `None` while nothing has told.
    pub const fn carried(&self) -> Option<&Carried> {
        self.counters.carried.as_ref()
    }

    /// The newest `tcp_info`; `None` where nobody had to ask.
    pub fn told(&self) -> Option<&Told> {
        self.counters.told.as_deref()
    }
}

impl Tracker {
    /// Takes in the bytes of an event that moves a state.
    pub(super) fn note_bytes(
        &mut self,
        end: EndRef,
        event: &Event,
        (from, to): (TcpState, TcpState),
        at: Timestamp,
    ) {
        if let (Some(moment), Some(track)) = (&event.moment, self.track_mut(end)) {
            track.note_bytes(from, to, moment);
            track.note_moment(moment, at);
        }
    }

    /// Takes in the counters of an event that moves no state.
    pub(super) fn note_event_counters(&mut self, event: &Event, at: Timestamp) {
        if let Some(moment) = &event.moment
            && let Some(end) = self.find(&event.id)
            && let Some(track) = self.track_mut(end)
        {
            track.note_moment(moment, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(at: u64, received: u64) -> Carried {
        Carried {
            at: Timestamp::from_nanos(at),
            source: SourceName::Bpf,
            received: Some(received),
            acked: None,
        }
    }

    #[test]
    fn what_comes_late_does_not_replace_what_is_newer() {
        let mut last = LastCounters::default();
        last.note(carried(5, 50));
        last.note(carried(3, 30));
        assert_eq!(last.carried, Some(carried(5, 50)));
        last.note(carried(5, 51));
        assert_eq!(last.carried, Some(carried(5, 51)));
    }
}
