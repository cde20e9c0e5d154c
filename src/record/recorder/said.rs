//! What a file that begins in the middle has to say again: how the sources do, what the host is
//! like, and the clock.
//!
//! The trap: said again with its old stamp, it would be older than the file. It gets the stamp of
//! the keyframe that it stands before.

use std::collections::BTreeMap;

use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::record::Anchor;

/// The newest of what is said again.
#[derive(Debug, Default)]
pub(super) struct Said {
    sources: BTreeMap<SourceName, SourceState>,
    host: Option<Observation>,
}

impl Said {
    #[inline]
    pub(super) fn note(&mut self, observation: &Observation) {
        match &observation.body {
            Body::Source(state) => {
                self.sources.insert(observation.source, state.clone());
            }
            Body::Host(_) => self.host = Some(observation.clone()),
            _ => {}
        }
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
