//! What a file that begins in the middle has to say again: how the sources do, what the host is
//! like, and the clock; and behind every keyframe who holds the sockets that it shows.
//!
//! The traps: said again with its old stamp, it would be older than the file, so it gets the stamp
//! of the keyframe. And what is said again must be what was said last: when something was lost,
//! nobody knows whether it was that.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Body, Holders, Keyframe, Observation, SourceName, SourceState, Timestamp};
use crate::record::Anchor;

/// So many sets are kept at most, if no keyframe comes that shows which are over.
const SETS: usize = 1 << 16;

/// The newest of what is said again.
#[derive(Debug, Default)]
pub(super) struct Said {
    sources: BTreeMap<SourceName, SourceState>,
    host: Option<Observation>,
    /// By the inode, which no other socket gets for a long time: they are counted up through 32 bits
    /// (`get_next_ino`, fs/inode.c).
    holders: BTreeMap<u32, Holders>,
}

impl Said {
    #[inline]
    pub(super) fn note(&mut self, observation: &Observation) {
        match &observation.body {
            Body::Source(state) => {
                self.sources.insert(observation.source, state.clone());
            }
            Body::Host(_) => self.host = Some(observation.clone()),
            Body::Holders(told) => {
                if self.holders.len() >= SETS {
                    self.holders.clear();
                }
                self.holders.insert(told.inode, told.clone());
            }
            Body::Lost { .. } if observation.source == SourceName::Recording => {
                self.holders.clear();
            }
            _ => {}
        }
    }

    /// Who holds the sockets of a keyframe, as it was said last; of others it is forgotten.
    pub(super) fn holders_again(
        &mut self,
        keyframe: &Keyframe,
        at: Timestamp,
    ) -> impl Iterator<Item = Observation> {
        let there: BTreeSet<u32> = keyframe.samples.iter().filter_map(|it| it.inode).collect();
        self.holders.retain(|inode, _| there.contains(inode));
        self.holders.values().map(move |told| Observation {
            at,
            host: 0,
            source: SourceName::Holders,
            body: Body::Holders(Holders {
                unchanged: None,
                ended: Vec::new(),
                ..told.clone()
            }),
        })
    }

    /// For the header.
    pub(super) fn sources(&self) -> Vec<String> {
        sources(self.sources.iter().map(|(name, state)| (*name, state)))
    }

    /// All of it, as of that time.
    pub(super) fn again(&self, at: Timestamp, anchor: Anchor) -> Vec<Observation> {
        let said = |source, body| Observation {
            at,
            host: 0,
            source,
            body,
        };
        let realtime_ns = anchor.realtime_ns;
        let clock = said(SourceName::SockDiag, Body::Clock { realtime_ns });
        let host = self
            .host
            .as_ref()
            .map(|told| said(told.source, told.body.clone()));
        let sources = self
            .sources
            .iter()
            .map(|(name, state)| said(*name, Body::Source(state.clone())));
        sources.chain(host).chain([clock]).collect()
    }
}

/// How the sources do, for a header: `sock_diag`, or `bpf: off`.
pub fn sources<'a>(states: impl Iterator<Item = (SourceName, &'a SourceState)>) -> Vec<String> {
    states
        .map(|(name, state)| match state {
            SourceState::Running { .. } => name.token().to_owned(),
            SourceState::Off { .. } => format!("{name}: off"),
        })
        .collect()
}
