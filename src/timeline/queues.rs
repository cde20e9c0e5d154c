//! What events show of an end's queues, in a step or beside one.
//!
//! The trap: a socket's queues are read in the middle of a step, when one FIN may be counted
//! already and the other not yet (see [`super::track::Level`]).

use crate::model::{Event, SourceName, TcpState, Timestamp};
use crate::timeline::{EndRef, MarkKind, Track, Tracker};

impl Tracker {
    /// Takes in what the event of a step shows.
    pub(super) fn note_queues(
        &mut self,
        end: EndRef,
        event: &Event,
        step: (TcpState, TcpState),
        at: Timestamp,
    ) {
        let Some((moment, track)) = event.moment.as_ref().zip(self.track(end)) else {
            return;
        };
        let since = self.last_seen(track, SourceName::SockDiag);
        if let Some(track) = self.track_mut(end) {
            track.see_queues_at(step, moment, since, at);
        }
    }

    /// Takes in what an event shows that moves no state.
    pub(super) fn note_present_queues(&mut self, end: EndRef, event: &Event, at: Timestamp) {
        let living = self.track(end).filter(|track| !track.is_over());
        if let Some(state) = living.map(Track::state) {
            self.note_queues(end, event, (state, state), at);
        }
    }

    /// A segment was sent again: it is still not acknowledged.
    pub(super) fn retransmitted(&mut self, event: &Event, at: Timestamp) {
        self.note_event_counters(event, at);
        if let Some(end) = self.find(&event.id) {
            self.note_present_queues(end, event, at);
            self.mark_end(end, MarkKind::Retransmit, None, at);
        }
    }
}
