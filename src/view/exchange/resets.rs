//! Which reset that one end sent is which that the other received.
//!
//! The trap: on one host a segment is delivered within the call that sends it, and the kernel tells
//! of the sending behind that call. So the arrival can be told first.

use std::time::Duration;

use crate::model::Timestamp;
use crate::timeline::{Connection, MarkKind, Side, Track};
use crate::view::exchange::Exchange;

/// By no more than this the kernel tells of an arrival before it tells of the sending: on loopback
/// some tens of microseconds, and more where the sender is interrupted in between.
const TOLD_LATE: Duration = Duration::from_millis(10);

/// A reset that both ends told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view) struct Delivered {
    pub(in crate::view) sent: Timestamp,
    pub(in crate::view) received: Timestamp,
}

impl Delivered {
    /// How long after its arrival its sending was told, where it was.
    pub(in crate::view) fn told_late(&self) -> Option<Duration> {
        (self.sent > self.received).then(|| self.sent.since(self.received))
    }
}

/// The resets from an end that reached the other, one to one and in their order.
pub(in crate::view) fn delivered(connection: &Connection, from: Side) -> Vec<Delivered> {
    let mut arrivals = resets(connection, from.other(), false).peekable();
    let mut all = Vec::new();
    for sent in resets(connection, from, true) {
        // Of what came so much earlier nobody told that it was sent.
        while arrivals
            .next_if(|received| sent.since(*received) > TOLD_LATE)
            .is_some()
        {}
        let Some(received) = arrivals.next() else {
            break;
        };
        all.push(Delivered { sent, received });
    }
    all
}

impl Exchange<'_> {
    /// Whether the other end told that it sent the reset that this one received at `at`.
    pub(super) fn other_sent(&self, side: Side, at: Timestamp) -> bool {
        let mut all = self.delivered[side.other() as usize].iter();
        all.any(|reset| reset.received == at)
    }

    /// When the reset that was sent at `at` reached the other end.
    pub(super) fn other_received(&self, side: Side, at: Timestamp) -> Option<Timestamp> {
        let mut all = self.delivered[side as usize].iter();
        all.find(|reset| reset.sent == at)
            .map(|reset| reset.received)
    }
}

/// When an end sent, or received, resets.
pub(super) fn resets(
    connection: &Connection,
    side: Side,
    sent: bool,
) -> impl Iterator<Item = Timestamp> {
    let marks = connection.end(side).map_or(&[][..], Track::marks);
    marks.iter().filter_map(move |mark| match mark.kind {
        MarkKind::ResetSent(_) => sent.then_some(mark.at),
        MarkKind::ResetReceived => (!sent).then_some(mark.at),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{ResetReason, What};
    use crate::timeline::ConnId;
    use crate::view::fixture::{at, told, tracker};

    const SENT: What = What::ResetSent(ResetReason::AbortOnClose);

    #[test]
    fn the_first_sent_is_the_first_received() {
        let mut tracker = tracker();
        // Nobody told that the first that B got was sent; the rest is nearer to another one.
        for (side, what, micros) in [
            (Side::B, What::ResetReceived, 1000),
            (Side::A, SENT, 50_000),
            (Side::A, SENT, 50_040),
            (Side::B, What::ResetReceived, 50_045),
            (Side::B, What::ResetReceived, 50_090),
            (Side::B, What::ResetReceived, 50_200),
            (Side::A, SENT, 50_230),
        ] {
            tracker.ingest(&told(&tracker, side, what, micros));
        }
        let all = delivered(tracker.get(ConnId(1)).unwrap(), Side::A);
        let reset = |sent, received| Delivered {
            sent: at(sent),
            received: at(received),
        };
        let expected = [
            reset(50_000, 50_045),
            reset(50_040, 50_090),
            reset(50_230, 50_200),
        ];
        assert_eq!(all, expected);
        let late: Vec<Option<Duration>> = all.iter().map(Delivered::told_late).collect();
        assert_eq!(late, [None, None, Some(Duration::from_micros(30))]);
    }
}
