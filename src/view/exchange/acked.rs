//! Whether the first FIN was acknowledged by a segment of its own, or by the second FIN.
//!
//! The trap: who gets a FIN that carries the acknowledgement passes FIN_WAIT2 on its way to
//! TIME_WAIT, so FIN_WAIT2 alone proves no segment of its own (RFC 9293, 3.10.7.4).

use std::time::Duration;

use crate::model::TcpState;
use crate::timeline::{Certainty, Side, Span, Track, When};
use crate::view::exchange::{Exchange, Flag};

/// One segment moves its receiver from FIN_WAIT1 through FIN_WAIT2 within microseconds.
const PASSES: Duration = Duration::from_millis(1);

/// How the first FIN was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    /// By a segment before the second FIN.
    Alone,
    /// By the second FIN.
    WithFin,
    /// Either.
    Unknown,
}

impl Acked {
    /// What the second FIN is then.
    pub(super) const fn second_fin(self) -> Flag {
        match self {
            Self::Alone => Flag::Fin,
            Self::WithFin => Flag::FinAck,
            Self::Unknown => Flag::FinPerhapsAck,
        }
    }
}

impl Exchange<'_> {
    /// How the FIN of `first`, which closed first, was acknowledged.
    pub(super) fn acked(&self, first: Side) -> Acked {
        let spans = self.connection.end(first).map_or(&[][..], Track::spans);
        let of_state = |state| spans.iter().position(|span| span.state == state);
        let Some(index) = of_state(TcpState::FinWait2) else {
            // In one look still before it, in the next behind it.
            let is_behind = of_state(TcpState::FinWait1)
                .is_some_and(|index| goes_to(spans, index, TcpState::TimeWait));
            return match is_behind {
                true => Acked::Unknown,
                false => Acked::Alone,
            };
        };
        if index == 0 || stays(spans, index) {
            return Acked::Alone;
        }
        let waits = &spans[index];
        match self.sent_second(first.other()) {
            Some(sent) if is_before(sent, waits.from) && is_exact(waits) => Acked::WithFin,
            Some(sent) if is_before(waits.from, sent) => Acked::Alone,
            Some(_) => Acked::Unknown,
            None if goes_to(spans, index, TcpState::TimeWait) => Acked::Unknown,
            None => Acked::Alone,
        }
    }

    /// When an end sent its FIN after it had the other one's.
    fn sent_second(&self, side: Side) -> Option<When> {
        let spans = self.connection.end(side)?.spans();
        let sent = spans.iter().find(|span| span.state == TcpState::LastAck)?;
        Some(sent.from)
    }
}

fn goes_to(spans: &[Span], index: usize, state: TcpState) -> bool {
    spans.get(index + 1).is_some_and(|next| next.state == state)
}

/// Whether a state that was seen lasted: no FIN had come with what led to it.
fn stays(spans: &[Span], index: usize) -> bool {
    let until = spans.get(index + 1).and_then(|next| next.from.not_before());
    let span = &spans[index];
    span.certainty != Certainty::Inferred
        && until.is_some_and(|until| until.since(span.from.not_after()) >= PASSES)
}

fn is_exact(span: &Span) -> bool {
    span.certainty == Certainty::Exact
}

fn is_before(one: When, other: When) -> bool {
    other
        .not_before()
        .is_some_and(|other| one.not_after() <= other)
}
