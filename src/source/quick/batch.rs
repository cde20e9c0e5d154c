//! What the quick thread hands out: observations in the order of time, not too many at once.
//!
//! The trap: a batch that is cut must not claim the whole of what was drained.

use std::time::Duration;

use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::source::clock;

/// At most so many observations in a batch.
const BATCH: usize = 16 << 10;

/// What the thread hands out.
#[derive(Debug, Default)]
pub struct Batch {
    /// Sorted by time.
    pub observations: Vec<Observation>,
    /// All that the kernel reported up to then has been handed out. `None` when no event source
    /// runs.
    pub drained: Option<Timestamp>,
}

/// Parts that are not too long, in the order of time. What a part but the last says to be drained
/// is what lies before its end.
pub(super) fn batches(
    mut observations: Vec<Observation>,
    drained: Option<Timestamp>,
) -> impl Iterator<Item = Batch> {
    if !observations.is_sorted_by_key(|told| told.at) {
        observations.sort_by_key(|told| told.at);
    }
    let mut rest = observations.into_iter();
    let mut is_first = true;
    std::iter::from_fn(move || {
        if !std::mem::take(&mut is_first) && rest.len() == 0 {
            return None;
        }
        let part: Vec<Observation> = rest.by_ref().take(BATCH).collect();
        // Some of the same moment may be in the next part.
        let before = rest
            .as_slice()
            .first()
            .map(|told| told.at.minus(Duration::from_nanos(1)));
        Some(Batch {
            observations: part,
            drained: drained.map(|drained| before.map_or(drained, |before| before.min(drained))),
        })
    })
}

pub(super) fn state(source: SourceName, state: SourceState) -> Observation {
    Observation {
        host: 0,
        at: clock::now(),
        source,
        body: Body::Source(state),
    }
}

pub(super) fn off(source: SourceName, why: String) -> Observation {
    state(source, SourceState::Off { why })
}

pub(super) fn running(source: SourceName, period: Duration, why: Option<String>) -> Observation {
    state(
        source,
        SourceState::Running {
            period,
            cost: None,
            why,
        },
    )
}

pub(super) fn lost(at: Timestamp) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::Destroy,
        body: Body::Lost {
            count: None,
            why: "the queue of freed sockets overran (ENOBUFS)".into(),
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Cookie, Endpoint, Event, FourTuple, Scope, SockId, TcpState, What};

    pub fn ns(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    /// A socket is closed, and a mini-socket may follow.
    pub fn event(at: Timestamp) -> Observation {
        let endpoint = |port| Endpoint::new([127, 0, 0, 1].into(), port);
        Observation {
            host: 0,
            at,
            source: SourceName::Bpf,
            body: Body::Event(Event {
                id: SockId {
                    scope: Scope::default(),
                    cookie: Some(Cookie(1)),
                    tuple: FourTuple {
                        local: endpoint(1),
                        remote: endpoint(2),
                    },
                },
                what: What::State {
                    from: TcpState::FinWait2,
                    to: TcpState::Close,
                },
                moment: None,
                caller: None,
            }),
        }
    }

    #[test]
    fn batches_are_sorted_bounded_and_never_claim_too_much() {
        // Each moment twice, so that one of them is cut in two.
        let mut observations: Vec<Observation> = (0..2 * BATCH as u64 + 1)
            .map(|n| event(ns(n.div_ceil(2) + 10)))
            .collect();
        observations.reverse();
        let end = ns(1_000_000);
        let parts: Vec<Batch> = batches(observations, Some(end)).collect();
        assert_eq!(parts.len(), 3);
        let mut handed_out = ns(0);
        for (index, part) in parts.iter().enumerate() {
            assert!(part.observations.len() <= BATCH);
            assert!(part.observations.is_sorted_by_key(|told| told.at));
            assert!(part.observations.iter().all(|told| told.at > handed_out));
            handed_out = part.drained.unwrap();
            assert!(
                parts[index + 1..]
                    .iter()
                    .all(|later| { later.observations.iter().all(|told| told.at > handed_out) })
            );
        }
        assert_eq!(handed_out, end);
        // What was drained bounds it, too: lookups are later than that.
        let parts: Vec<Batch> = batches(vec![event(ns(50))], Some(ns(20))).collect();
        assert_eq!(parts[0].drained, Some(ns(20)));
        let parts: Vec<Batch> = batches(Vec::new(), None).collect();
        assert!(parts.len() == 1 && parts[0].drained.is_none());
    }
}
