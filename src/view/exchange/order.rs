//! Where segments stand: in the order of cause, and where that order is not known.
//!
//! The trap: on one host the kernel reports what it does in the order of its own functions, and
//! tells of an arrival before it tells of the sending.

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, MarkKind, Side, Span, Track, When};
use crate::view::exchange::{Entered, Exchange, Item, Proof, What};

impl Exchange<'_> {
    /// Where the acknowledgement of the first FIN is drawn: before the other end's own FIN, which
    /// the kernel may report before it reports that the acknowledgement has come.
    pub(super) fn first_ack(&self, from: Side, waits: &Span) -> Timestamp {
        let arrived = waits.from.not_after();
        self.entered(from, TcpState::LastAck)
            .map_or(arrived, |sent| sent.min(arrived))
    }

    /// Where the second FIN is drawn: when the end that it goes to waits for it, so that no arrow
    /// tells of a simultaneous close that there was not; and before its own acknowledgement.
    pub(super) fn second_fin(&self, from: Side, sends: &Span) -> Timestamp {
        let sent = sends.from.not_after();
        let awaited = self.entered(from.other(), TcpState::FinWait2);
        let gone = self.entered(from, TcpState::Close);
        let at = awaited.map_or(sent, |awaited| awaited.max(sent));
        gone.map_or(at, |gone| at.min(gone))
    }

    /// When an end entered a state.
    fn entered(&self, side: Side, state: TcpState) -> Option<Timestamp> {
        let spans = self.connection.end(side)?.spans();
        let entered = spans.iter().skip(1).find(|span| span.state == state)?;
        Some(entered.from.not_after())
    }

    /// The reset of the other end that this one received at `at`: of those that it sent the
    /// nearest, whichever was reported first.
    pub(super) fn other_sent(&self, side: Side, at: Timestamp) -> Option<Timestamp> {
        resets(self.connection, side.other(), true)
            .min_by_key(|sent| sent.since(at).max(at.since(*sent)))
    }

    /// When the reset that was sent at `at` reached the other end.
    pub(super) fn other_received(&self, side: Side, at: Timestamp) -> Option<Timestamp> {
        resets(self.connection, side.other(), false)
            .find(|received| self.other_sent(side.other(), *received) == Some(at))
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

/// Whether it may have happened before what stands above it: their bounds overlap, and neither
/// causes the other.
pub(super) fn may_be_before(item: &Item<'_>, above: &Item<'_>) -> bool {
    let Some(begin) = item.when.not_before() else {
        return false;
    };
    // A finding is of the moment that it counts to, and hides no order.
    let is_found = |item: &Item<'_>| matches!(item.what, What::Found(..));
    if is_found(item) || is_found(above) || begin >= above.when.not_after() {
        return false;
    }
    if matches!((item.when, above.when), (When::At(_), When::At(_))) {
        return false;
    }
    match (state_behind(above), state_behind(item)) {
        (Some(above), Some(below)) => {
            above.side != below.side && !forces(above.span.state, below.span.state)
        }
        _ => true,
    }
}

/// The state that an item is, or that proves it.
const fn state_behind<'a>(item: &Item<'a>) -> Option<Entered<'a>> {
    match item.what {
        What::State(entered) => Some(entered),
        What::Segment(segment) => match segment.proof {
            Proof::State(entered) => Some(entered),
            Proof::Told(_) => None,
        },
        _ => None,
    }
}

/// Whether one end's state has to be before the other end can have this one (RFC 9293, 3.6).
const fn forces(before: TcpState, of_other: TcpState) -> bool {
    use TcpState::{
        CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent, TimeWait,
    };
    matches!(
        (before, of_other),
        (SynSent, SynRecv | Established)
            | (SynRecv | Established, Established)
            | (FinWait1, CloseWait | Closing | LastAck | TimeWait)
            | (CloseWait, FinWait2 | TimeWait)
            | (Closing | LastAck, TimeWait)
    )
}
