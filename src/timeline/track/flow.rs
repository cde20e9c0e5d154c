//! What flowed: the bytes that an end had sent and received when the first FIN was there, and later,
//! and whether a shut window holds the rest up.
//!
//! The trap: the kernel's counters count a FIN as one byte, as its queues do. What is compared here
//! has it taken off.

use crate::model::{Moment, Queues, Sample, TcpState, TimerKind, Timestamp};
use crate::timeline::Track;

/// Payload bytes of an end at a moment, up to what the handshake adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    received: u64,
    /// Acknowledged, on its way, or queued.
    sent: u64,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::timeline) struct Flow {
    /// When this end sent its FIN, or the peer's came, whichever was first.
    at_fin: Option<Bytes>,
    newest: Option<Bytes>,
    /// The newest is of the moment when nothing could follow any more.
    is_final: bool,
    /// Looks have shown that something came, or was sent, after the FIN.
    seen_after_fin: bool,
    /// Since when every look has shown the probe timer, and never less waiting.
    shut_since: Option<Timestamp>,
    /// When a look has last shown more or less unread here than the one before.
    unread_moved: Option<Timestamp>,
}

impl Flow {
    pub(super) fn of(sample: &Sample, seen: Timestamp) -> Self {
        Self {
            shut_since: shut_out(sample).map(|_| seen),
            ..Self::default()
        }
    }

    fn see(&mut self, before: &Sample, now: &Sample, seen: Timestamp) {
        let goes_on = match (shut_out(before), shut_out(now)) {
            (Some(before), Some(now)) => now >= before,
            _ => false,
        };
        let since = self.shut_since.filter(|_| goes_on).unwrap_or(seen);
        self.shut_since = shut_out(now).map(|_| since);
        if before
            .unread()
            .zip(now.unread())
            .is_some_and(|(before, now)| before != now)
        {
            self.unread_moved = Some(seen);
        }
        let grows = match now.state {
            TcpState::FinWait1 | TcpState::FinWait2 if has_fin_out(before.state) => {
                now.unread() > before.unread()
            }
            TcpState::CloseWait if before.state == TcpState::CloseWait => {
                now.unacked() > before.unacked()
            }
            _ => false,
        };
        self.seen_after_fin |= grows && before.unread().is_some();
    }
}

/// How much waits behind a shut window, the FIN's one counted; `None` while none does.
fn shut_out(sample: &Sample) -> Option<u32> {
    let is_probing = sample
        .timer
        .is_some_and(|timer| timer.kind == TimerKind::Probe);
    match sample.queues {
        Queues::Stream { send, .. } if send > 0 && is_probing => Some(send),
        _ => None,
    }
}

const fn has_fin_out(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck
    )
}

impl Bytes {
    /// `None` where it can't be told whether the peer's FIN is among them.
    fn of(from: TcpState, to: TcpState, moment: &Moment) -> Option<Self> {
        let has_come = from.has_received_fin() || to.has_received_fin();
        let fin_received = match (has_come, moment.fin_received, to) {
            (true, ..) => true,
            (false, Some(received), _) => received,
            (false, None, TcpState::Close) => return None,
            (false, None, _) => false,
        };
        let sent = moment.bytes_acked.saturating_add(moment.send.into());
        Some(Self {
            received: moment.bytes_received.saturating_sub(fin_received.into()),
            sent: sent.saturating_sub(has_fin_out(from).into()),
        })
    }
}

impl Track {
    /// Takes in what an event shows of the bytes.
    pub(in crate::timeline) fn note_bytes(
        &mut self,
        from: TcpState,
        to: TcpState,
        moment: &Moment,
    ) {
        let Some(bytes) = Bytes::of(from, to, moment) else {
            return;
        };
        if matches!(to, TcpState::FinWait1 | TcpState::CloseWait) {
            self.flow.at_fin.get_or_insert(bytes);
        }
        self.flow.newest = Some(bytes);
        self.flow.is_final = matches!(to, TcpState::Close | TcpState::LastAck);
    }

    /// Takes in what the next look shows.
    pub(super) fn note_flow(&mut self, sample: &Sample, seen: Timestamp) {
        let before = self.last;
        self.flow.see(&before, sample, seen);
    }

    /// Whether data came to this end after it had sent the first FIN, or was sent by it after the
    /// peer's had come; `None` where nothing tells.
    pub fn flowed_after_fin(&self) -> Option<bool> {
        let Flow {
            at_fin,
            newest,
            is_final,
            seen_after_fin,
            ..
        } = self.flow;
        let flowed = at_fin.zip(newest).map(|(at_fin, newest)| {
            let here = self.passed(TcpState::FinWait1);
            match here {
                true => newest.received > at_fin.received,
                false => newest.sent > at_fin.sent,
            }
        });
        match (flowed, seen_after_fin) {
            (Some(true), _) | (_, true) => Some(true),
            (Some(false), false) if is_final => Some(false),
            _ => None,
        }
    }

    /// Since when looks have shown the peer's window shut, and never less waiting behind it.
    ///
    /// The trap: a program that writes as fast as a slow peer reads shows the same.
    pub const fn window_shut_since(&self) -> Option<Timestamp> {
        self.flow.shut_since
    }

    /// When looks have last shown that what is unread here became more or less: data came, or the
    /// program reads. `None` when it never has.
    pub const fn unread_moved(&self) -> Option<Timestamp> {
        self.flow.unread_moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shutdown;
    use crate::model::event::File;

    fn moment(received: u64, acked: u64, send: u32, fin: Option<bool>) -> Moment {
        Moment {
            shutdown: Shutdown::from_kernel(0),
            file: File::Held,
            error: None,
            receive: 0,
            send,
            lingers_not: false,
            fin_received: fin,
            bytes_received: received,
            bytes_acked: acked,
            cgroup: None,
            multipath: false,
        }
    }

    #[test]
    fn a_fin_is_no_byte() {
        use TcpState::*;
        let of = |from, to, moment: &Moment| Bytes::of(from, to, moment);
        let bytes = |received, sent| Some(Bytes { received, sent });
        // Its own FIN is queued after the step, the peer's is counted before it.
        let fin_sent = of(Established, FinWait1, &moment(100, 50, 0, None));
        assert_eq!(fin_sent, bytes(100, 50));
        let fin_acked = of(FinWait1, FinWait2, &moment(100, 51, 0, None));
        assert_eq!(fin_acked, bytes(100, 50));
        let both = of(FinWait2, Close, &moment(101, 51, 0, Some(true)));
        assert_eq!(both, bytes(100, 50));
        let heard = of(Established, CloseWait, &moment(51, 100, 0, None));
        assert_eq!(heard, bytes(50, 100));
        let answered = of(CloseWait, LastAck, &moment(51, 100, 7, None));
        assert_eq!(answered, bytes(50, 107));
        assert_eq!(
            of(LastAck, Close, &moment(51, 108, 0, None)),
            bytes(50, 107)
        );
        assert_eq!(of(FinWait2, Close, &moment(101, 51, 0, None)), None);
    }
}
