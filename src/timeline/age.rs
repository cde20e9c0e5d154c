//! How old a state is that was there before we came, by the socket's own counters.
//!
//! The kernel keeps no time of entry. It keeps when it last heard an acknowledgement, and when it
//! last received data, and of a CLOSE_WAIT that is a bound on either side. The trap: the lower one
//! looks like the answer, and is wrong as soon as anything was sent since the FIN: data, or a
//! keepalive probe, whose acknowledgement sets it back.

use std::time::Duration;

use crate::model::{Counters, TcpState, Timestamp};
use crate::timeline::{Track, When};

/// Two counters that were set by one segment are this close.
const AT_ONCE: Duration = Duration::from_millis(50);
/// 10 ms: the coarsest jiffy (HZ=100), by which a counter may be off.
const JIFFY: Duration = Duration::from_millis(10);
/// Bounds that are closer are one time to whoever reads it.
const EXACT: Duration = Duration::from_millis(200);

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
        (!self.at_least.is_zero() || self.at_most.is_some()).then_some(self.at_least)
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
        keepalive,
        ..
    } = *counters;
    match counters.state {
        TcpState::CloseWait => {
            // Nothing was sent since the FIN, so that the FIN's was the last acknowledgement.
            let is_exact = data_received.saturating_sub(ack_received) <= AT_ONCE
                || (data_sent > data_received && !keepalive);
            let most = if is_exact {
                ack_received
            } else {
                data_received
            };
            Some((ack_received.min(most), Some(most)))
        }
        // The acknowledgement of our FIN began it, and data or a probe's answer brings another.
        TcpState::FinWait2 => {
            let is_reset = keepalive || data_received.abs_diff(ack_received) <= AT_ONCE;
            let most = if is_reset { data_sent } else { ack_received };
            Some((ack_received.min(most), Some(most)))
        }
        _ => None,
    }
}

impl Track {
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

    fn counters(state: TcpState, sent: u64, received: u64, ack: u64, keepalive: bool) -> Counters {
        Counters {
            state,
            data_sent: Duration::from_millis(sent),
            data_received: Duration::from_millis(received),
            ack_received: Duration::from_millis(ack),
            keepalive,
            backoff: 0,
            bytes_received: None,
            bytes_acked: None,
        }
    }

    /// Every case of KERNEL.md's table, read 20.0 s after the FIN; the truth lies within.
    #[test]
    fn the_bounds_of_a_close_wait_hold_the_truth() {
        for (about, sent, received, ack, keepalive, least, most) in [
            (
                "data 2 s before",
                23_004,
                22_004,
                20_000,
                false,
                20_000,
                20_000,
            ),
            (
                "no data ever",
                23_004,
                23_004,
                20_000,
                false,
                20_000,
                23_004,
            ),
            ("FIN on data", 23_004, 20_000, 20_000, false, 20_000, 20_000),
            ("keepalive", 22_500, 22_004, 4_704, true, 4_704, 22_004),
            (
                "we sent later",
                15_000,
                22_004,
                15_000,
                false,
                15_000,
                22_004,
            ),
            (
                "answered before",
                21_000,
                22_004,
                20_000,
                false,
                20_000,
                22_004,
            ),
        ] {
            let told = bounds(&counters(
                TcpState::CloseWait,
                sent,
                received,
                ack,
                keepalive,
            ));
            let ms = Duration::from_millis;
            assert_eq!(told, Some((ms(least), Some(ms(most)))), "{about}");
        }
    }

    #[test]
    fn a_fin_wait2_is_as_old_as_the_last_acknowledgement_unless_something_came() {
        let ms = Duration::from_millis;
        let quiet = counters(TcpState::FinWait2, 20_100, 30_000, 20_000, false);
        assert_eq!(bounds(&quiet), Some((ms(20_000), Some(ms(20_000)))));
        let data = counters(TcpState::FinWait2, 20_100, 3_000, 3_000, false);
        assert_eq!(bounds(&data), Some((ms(3_000), Some(ms(20_100)))));
        let probed = counters(TcpState::FinWait2, 20_100, 30_000, 900, true);
        assert_eq!(bounds(&probed), Some((ms(900), Some(ms(20_100)))));
        let other = counters(TcpState::Established, 1, 1, 1, false);
        assert_eq!(bounds(&other), None);
    }
}
