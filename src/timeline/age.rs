//! How old a state is that was there before we came, by the socket's own counters.
//!
//! The kernel keeps no time of entry. It keeps when it last heard an acknowledgement, and when it
//! last received data, and of a CLOSE_WAIT that is a bound on either side. The trap: the lower one
//! looks like the answer, and is wrong as soon as anything came since the FIN that acknowledges:
//! what was sent later, by a program or as a probe; what was sent just before; and the news that
//! the peer, which reads on after its shutdown(), has room again.

use std::time::Duration;

use crate::model::{Counters, Sample, TcpState, TimerKind, Timestamp};
use crate::timeline::{Connection, Side, Span, Track, When};

/// Two counters that were set by one segment are this close.
const AT_ONCE: Duration = Duration::from_millis(50);
/// Data is acknowledged by then, or was sent again (RFC 6298's first timeout).
const ACKNOWLEDGED: Duration = Duration::from_secs(1);
/// With less than a segment unread a peer has no reason to tell of new room (RFC 9293, 3.8.6.2.2),
/// and a segment of Ethernet has some 1,448 bytes. The SYN and the FIN count one each.
const ONE_SEGMENT: u64 = 1_400;
/// Nothing was ever acknowledged. Who connected counts its SYN as one byte, who was connected to does not
/// (`tcp_rcv_synsent_state_process`, net/ipv4/tcp_input.c), and a byte of data looks the same.
const NO_DATA: u64 = 0;
/// 10 ms: the coarsest jiffy (HZ=100), by which a counter may be off.
const JIFFY: Duration = Duration::from_millis(10);
/// `TCP_TIMEOUT_INIT`, include/net/tcp.h.
const FIRST_OF_A_SYN: Duration = Duration::from_secs(1);
/// `TCP_RTO_MIN`, include/net/tcp.h.
const FIRST_OF_A_FIN: Duration = Duration::from_millis(200);
/// Bounds that are closer are one time to whoever reads it.
const EXACT: Duration = Duration::from_millis(200);

/// A state that was found when we came, and this short a time ago, has only been there for as long as
/// our own look took.
const LOOK: Duration = Duration::from_millis(1);

/// How long a state has lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// At least this long.
    pub at_least: Duration,
    /// At most this long; `None` when the beginning was before we came.
    pub at_most: Option<Duration>,
}

impl Age {
    /// The lower bound, `None` when nothing at all is known.
    pub fn known(self) -> Option<Duration> {
        (self.at_least >= LOOK || self.at_most.is_some()).then_some(self.at_least)
    }
}

/// How surely an age is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As good as exactly.
    Exact,
    /// It lies between two bounds.
    Range,
    /// It is at least so much.
    AtLeast,
}

impl Precision {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Range => "range",
            Self::AtLeast => "at_least",
        }
    }
}

impl Age {
    /// How surely it is known.
    pub fn precision(self) -> Precision {
        match self.at_most {
            None => Precision::AtLeast,
            // A fiftieth is nothing to who waits: 59 to 60 minutes are an hour.
            Some(most) if most.saturating_sub(self.at_least) <= EXACT.max(most / 50) => {
                Precision::Exact
            }
            Some(_) => Precision::Range,
        }
    }
}

/// The bounds of the age of the state that the counters were read in: at least, and at most.
pub(super) fn bounds(counters: &Counters) -> Option<(Duration, Option<Duration>)> {
    let Counters {
        data_sent,
        data_received,
        ack_received,
        ..
    } = *counters;
    let most = match counters.state {
        // No data comes after a FIN. When the FIN's was the last acknowledgement, that dates it.
        TcpState::CloseWait if is_quiet(counters) => ack_received,
        TcpState::CloseWait => data_received,
        // The acknowledgement of our FIN began it, and each segment of the peer's brings another.
        // Our own last data was sent before.
        TcpState::FinWait2
            if has_no_news(counters) && data_received.abs_diff(ack_received) > AT_ONCE =>
        {
            ack_received
        }
        TcpState::FinWait2 => data_sent,
        _ => return None,
    };
    Some((ack_received.min(most), Some(most)))
}

/// Whether nothing but a FIN can have brought the last acknowledgement: there was nothing else to
/// acknowledge.
fn is_quiet(counters: &Counters) -> bool {
    let is_settled = counters.data_sent.saturating_sub(counters.ack_received) >= ACKNOWLEDGED;
    has_no_news(counters) && (is_settled || has_sent_at_most(counters, NO_DATA))
}

/// Whether the peer has nothing to tell: no probe asks for it, and it has always had room.
fn has_no_news(counters: &Counters) -> bool {
    !counters.keepalive && has_sent_at_most(counters, ONE_SEGMENT)
}

fn has_sent_at_most(counters: &Counters, bytes: u64) -> bool {
    counters.bytes_acked.is_some_and(|acked| acked <= bytes)
}

/// How long at least a SYN or FIN has been sent again and again, by how often: each time the kernel
/// waits at least as long as before.
///
/// The trap: of a FIN behind data the count may have begun with the data, before the state.
pub fn sent_again_for(sample: &Sample) -> Duration {
    let times = u32::from(sample.retransmits);
    match sample.state {
        // The first ones may be evenly spaced (tcp_syn_linear_timeouts).
        TcpState::SynSent => FIRST_OF_A_SYN * times,
        _ => FIRST_OF_A_FIN * ((1_u32 << times.min(10)) - 1),
    }
}

/// How long at least a state has lasted, by how often its SYN, or its FIN alone, was sent again.
pub(super) fn by_count(sample: &Sample) -> Duration {
    let kind = sample.timer.map(|timer| timer.kind);
    let is_counted = match (sample.state, kind) {
        (TcpState::SynSent, Some(TimerKind::Retransmit)) => true,
        (
            TcpState::FinWait1 | TcpState::LastAck,
            Some(TimerKind::Retransmit | TimerKind::Probe),
        ) => sample.unacked() == Some(0),
        _ => false,
    };
    match is_counted {
        true => sent_again_for(sample),
        false => Duration::ZERO,
    }
}

impl Connection {
    /// Since when an end has been in the state of one of its spans, by what its other end on the
    /// same host shows too: a CLOSE_WAIT is older than the FIN_WAIT2 that it has begun.
    pub fn since(&self, side: Side, span: &Span) -> When {
        let ends = self.end(side).zip(self.end(side.other()));
        let Some((here, there)) = ends.filter(|_| span.state == TcpState::CloseWait) else {
            return span.from;
        };
        let acknowledged = there
            .spans()
            .iter()
            .find(|span| span.state == TcpState::FinWait2)
            .filter(|_| here.id().scope.host == there.id().scope.host)
            .map(|span| span.from.not_after().plus(JIFFY));
        match (span.from, acknowledged) {
            (When::Before(known), Some(at)) => When::Before(known.min(at)),
            (When::Between(from, to), Some(at)) => When::Between(from, to.min(at).max(from)),
            _ => span.from,
        }
    }
}

impl Track {
    /// Takes in how long the state has lasted that was there when we came, by how often its SYN or
    /// FIN was sent again.
    pub(super) fn date_by_count(&mut self, seen: Timestamp) {
        let lasted = by_count(&self.last);
        if let [span] = self.spans.as_mut_slice()
            && let When::Before(known) = span.from
            && span.state == self.last.state
        {
            span.from = When::Before(known.min(seen.minus(lasted)));
        }
    }

    /// How long the span at `index` had lasted at `now`, or until it ended.
    pub fn age(&self, index: usize, now: Timestamp) -> Option<Age> {
        let span = self.spans.get(index)?;
        let end = self.spans.get(index + 1).map(|next| next.from);
        let (end_least, end_most) = match end {
            None => (now, now),
            Some(when) => (
                when.not_before().unwrap_or(when.not_after()).min(now),
                when.not_after().min(now),
            ),
        };
        Some(Age {
            at_least: end_least.since(span.from.not_after()),
            at_most: span.from.not_before().map(|from| end_most.since(from)),
        })
    }

    /// How long the present state has lasted at `now`.
    pub fn present_age(&self, now: Timestamp) -> Option<Age> {
        self.age(self.spans.len().checked_sub(1)?, now)
    }

    /// Takes in when the state was entered that was found at attach; says whether that is news.
    /// `asked` is before and after the counters were read.
    pub(super) fn date_what_was_found(
        &mut self,
        counters: &Counters,
        asked: (Timestamp, Timestamp),
    ) -> bool {
        let [span] = self.spans.as_mut_slice() else {
            return false;
        };
        let (When::Before(known), true) = (span.from, span.state == counters.state) else {
            return false;
        };
        let Some((least, most)) = bounds(counters) else {
            return false;
        };
        let latest = asked.1.minus(least.saturating_sub(JIFFY)).min(known);
        span.from = match most {
            Some(most) => When::Between(asked.0.minus(most + JIFFY).min(latest), latest),
            None => When::Before(latest),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn counters(state: TcpState, sent: u64, received: u64, ack: u64) -> Counters {
        Counters {
            state,
            data_sent: MS(sent),
            data_received: MS(received),
            ack_received: MS(ack),
            keepalive: false,
            backoff: 0,
            bytes_received: None,
            bytes_acked: Some(200),
        }
    }

    /// Every case of a CLOSE_WAIT, 20.0 s old or not much older; the truth lies within.
    #[test]
    fn the_bounds_of_a_close_wait_hold_the_truth() {
        let of = |sent, received, ack| counters(TcpState::CloseWait, sent, received, ack);
        let nothing_sent = |counters| Counters {
            bytes_acked: Some(0),
            ..counters
        };
        let one_byte_sent = |counters| Counters {
            bytes_acked: Some(1),
            ..counters
        };
        let much_sent = |counters| Counters {
            bytes_acked: Some(100_000),
            ..counters
        };
        let probing = |counters| Counters {
            keepalive: true,
            ..counters
        };
        let unknown = |counters| Counters {
            bytes_acked: None,
            ..counters
        };
        for (about, told, least, most) in [
            (
                "data 2 s before",
                of(23_004, 22_004, 20_000),
                20_000,
                20_000,
            ),
            ("no data ever", of(23_004, 23_004, 20_000), 20_000, 20_000),
            (
                "nothing sent, and the FIN at once",
                nothing_sent(of(20_100, 20_100, 20_000)),
                20_000,
                20_000,
            ),
            (
                "one byte, since the FIN",
                one_byte_sent(of(15_000, 22_004, 14_990)),
                14_990,
                22_004,
            ),
            ("FIN on data", of(23_004, 20_000, 20_000), 20_000, 20_000),
            (
                "keepalive",
                probing(nothing_sent(of(22_500, 22_004, 4_704))),
                4_704,
                22_004,
            ),
            ("we sent later", of(15_000, 22_004, 15_000), 15_000, 22_004),
            (
                "and that was lost",
                of(15_000, 22_004, 14_300),
                14_300,
                22_004,
            ),
            (
                "sent before, acknowledged after",
                of(20_010, 22_004, 19_990),
                19_990,
                22_004,
            ),
            (
                "answered 1 s before",
                of(21_000, 22_004, 20_000),
                20_000,
                20_000,
            ),
            (
                "the peer has read since",
                much_sent(of(22_500, 22_004, 8_000)),
                8_000,
                22_004,
            ),
            (
                "an old kernel",
                unknown(of(23_004, 22_004, 20_000)),
                20_000,
                22_004,
            ),
        ] {
            assert_eq!(bounds(&told), Some((MS(least), Some(MS(most)))), "{about}");
        }
    }

    #[test]
    fn a_fin_wait2_is_as_old_as_the_last_acknowledgement_unless_something_came() {
        let of = |sent, received, ack| counters(TcpState::FinWait2, sent, received, ack);
        let probed = Counters {
            keepalive: true,
            ..of(20_100, 30_000, 900)
        };
        let reading = Counters {
            bytes_acked: Some(100_000),
            ..of(20_100, 30_000, 7_000)
        };
        for (about, told, least, most) in [
            ("quiet", of(20_100, 30_000, 20_000), 20_000, 20_000),
            ("data came", of(20_100, 3_000, 3_000), 3_000, 20_100),
            ("probed", probed, 900, 20_100),
            ("the peer reads", reading, 7_000, 20_100),
        ] {
            assert_eq!(bounds(&told), Some((MS(least), Some(MS(most)))), "{about}");
        }
        assert_eq!(bounds(&counters(TcpState::Established, 1, 1, 1)), None);
    }
}
