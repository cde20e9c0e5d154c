//! Which events leave a question that only a lookup can answer.
//!
//! `FIN_WAIT2 -> CLOSE` and `CLOSING -> CLOSE` without an error are the end of the full socket: a
//! mini-socket stays, in TIME_WAIT or FIN_WAIT2, or nothing. And no event at all tells that an
//! orphan FIN_WAIT2 got its peer's FIN, but the peer's own `LAST_ACK -> CLOSE` does where the peer
//! is here. The trap: these come as fast as connections end, so the asking has an allowance of
//! CPU time; what is left out, the timeline infers.

use std::time::Duration;

use crate::model::{Body, Event, Observation, SockId, TcpState, Timestamp, What};

/// An allowance that was not used is kept for this long.
const SAVED: Duration = Duration::from_millis(100);
/// A lookup costs about this much before it was measured.
const FIRST_COST: Duration = Duration::from_micros(1);

/// What the events leave open. `is_orphan` tells whether the mirror of an end is a followed
/// FIN_WAIT2 mini-socket.
pub(super) fn questions(
    told: &[Observation],
    mut mirror_is_orphan: impl FnMut(&SockId) -> bool,
) -> Vec<SockId> {
    let mut asked = Vec::new();
    for observation in told {
        let Body::Event(
            event @ Event {
                what: What::State { from, to },
                ..
            },
        ) = &observation.body
        else {
            continue;
        };
        let id = &event.id;
        let is_wiped = id.tuple.local.port() == 0 || id.tuple.remote.port() == 0;
        if *to != TcpState::Close || is_wiped {
            continue;
        }
        let in_order = event.moment.is_none_or(|moment| !moment.has_broken());
        match from {
            TcpState::FinWait2 | TcpState::Closing if in_order => asked.push(*id),
            TcpState::LastAck if mirror_is_orphan(id) => asked.push(SockId {
                cookie: None,
                tuple: id.tuple.mirror(),
                ..*id
            }),
            _ => {}
        }
    }
    asked
}

/// CPU time for answering them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    share: f64,
    saved: f64,
    at: Timestamp,
    /// Seconds a lookup takes, smoothed.
    cost: f64,
}

impl Allowance {
    pub(super) fn new(share: f64, now: Timestamp) -> Self {
        Self {
            share,
            saved: share * SAVED.as_secs_f64(),
            at: now,
            cost: FIRST_COST.as_secs_f64(),
        }
    }

    /// How many lookups may be made now.
    pub(super) fn lookups(&mut self, now: Timestamp) -> usize {
        let earned = self.share * now.since(self.at).as_secs_f64();
        self.at = now;
        self.saved = (self.saved + earned).min(self.share * SAVED.as_secs_f64());
        (self.saved.max(0.0) / self.cost) as usize
    }

    /// So many were made, and took so long.
    pub(super) fn spend(&mut self, lookups: u64, cpu: Duration) {
        let cpu = cpu.as_secs_f64();
        self.saved -= cpu;
        if lookups > 0 {
            self.cost = (self.cost * 3.0 + cpu / lookups as f64) / 4.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::File;
    use crate::model::{Cookie, Endpoint, FourTuple, Moment, Scope, Shutdown, SourceName};

    fn event(cookie: u64, from: TcpState, to: TcpState, error: Option<u16>) -> Observation {
        let endpoint = |port| Endpoint::new([127, 0, 0, 1].into(), port);
        Observation {
            host: 0,
            at: Timestamp::from_nanos(cookie),
            source: SourceName::Bpf,
            body: Body::Event(Event {
                id: SockId {
                    scope: Scope::default(),
                    cookie: Some(Cookie(cookie)),
                    tuple: FourTuple {
                        local: endpoint(cookie as u16),
                        remote: endpoint(80),
                    },
                },
                what: What::State { from, to },
                moment: Some(Moment {
                    shutdown: Shutdown::default(),
                    file: File::Absent,
                    error,
                    receive: 0,
                    send: 0,
                    lingers_not: false,
                    fin_received: None,
                    bytes_received: 0,
                    bytes_acked: 0,
                    cgroup: None,
                    multipath: false,
                }),
                caller: None,
            }),
        }
    }

    #[test]
    fn only_ends_that_may_live_on_are_asked_for() {
        use TcpState::{Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck};
        let told = [
            event(1, FinWait1, FinWait2, None),
            event(2, FinWait2, Close, None),
            event(3, FinWait2, Close, Some(104)),
            event(4, Closing, Close, None),
            event(5, Established, Close, None),
            event(6, CloseWait, Close, None),
            event(7, LastAck, Close, None),
            event(8, LastAck, Close, None),
        ];
        let asked = questions(&told, |id| id.cookie == Some(Cookie(8)));
        let ports: Vec<(u16, u16)> = asked
            .iter()
            .map(|id| (id.tuple.local.port(), id.tuple.remote.port()))
            .collect();
        assert_eq!(ports, [(2, 80), (4, 80), (80, 8)]);
        assert_eq!(asked[2].cookie, None, "the mirror's cookie is not known");
    }

    #[test]
    fn an_allowance_is_kept() {
        let ms = |millis: u64| Timestamp::from_nanos(millis * 1_000_000);
        let mut allowance = Allowance::new(0.05, ms(0));
        let mut used = Duration::ZERO;
        for now in (0..1000).step_by(2) {
            let lookups = allowance.lookups(ms(now)).min(500);
            let cpu = Duration::from_nanos(1700) * lookups as u32;
            allowance.spend(lookups as u64, cpu);
            used += cpu;
        }
        let millis = used.as_millis();
        assert!((48..60).contains(&millis), "{used:?}");
    }
}
