//! What is said of the host and of the sources themselves.
//!
//! Knows one line. The trap: a counter that is left out is not known, and not 0.

use std::time::Duration;

use crate::model::SourceState;
use crate::model::observation::HostFacts;
use crate::record::decode::beside::number;
use crate::record::decode::{Decoder, Known, Unread, needed};

impl<S: Known> Decoder<'_, S> {
    pub(super) fn host(&self) -> Result<HostFacts, Unread> {
        let raw = &self.raw;
        Ok(HostFacts {
            scope: self.scope(),
            fin_timeout: raw.fin_timeout_ns.map(Duration::from_nanos),
            max_tw_buckets: raw.max_tw_buckets,
            time_wait_overflows: raw.time_wait_overflows,
            listen_overflows: raw.listen_overflows,
            resets: raw.resets,
            time_wait_reuse: raw.time_wait_reuse,
            port_range: raw.port_range.map(port_range).transpose()?,
            server_fast_open: raw.server_fast_open,
        })
    }

    pub(super) fn source_state(&self) -> Result<SourceState, Unread> {
        let why = self.raw.why.as_deref().map(str::to_owned);
        match needed(self.raw.state)? {
            "running" => Ok(SourceState::Running {
                period: Duration::from_nanos(needed(self.raw.period_ns)?),
                cost: self.raw.cost_ns.map(Duration::from_nanos),
                why,
            }),
            "off" => Ok(SourceState::Off { why: needed(why)? }),
            _ => Err(Unread::Unknown),
        }
    }
}

/// `32768-60999`
fn port_range(text: &str) -> Result<(u16, u16), Unread> {
    let (first, last) = text.split_once('-').ok_or(Unread::Malformed)?;
    Ok((number(first)?, number(last)?))
}
