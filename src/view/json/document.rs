//! The document of `tcpwatch list`: connections with their spans, as one JSON object.

use serde::Serialize;
use serde_json::Value;

use crate::model::{Descriptor, Timestamp};
use crate::timeline::{Certainty, Connection, Side, Span, Track, When};
use crate::view::json::bytes::{Address, inert};
use crate::view::json::line::{VerdictInfo, other_netns};
use crate::view::json::{VERSION, age_ns};
use crate::view::verdict;

/// The document of `tcpwatch list`.
///
/// # Errors
/// When serde_json can't write it, which it can.
pub fn list<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    now: Timestamp,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document {
        version: u32,
        connections: Vec<ConnectionInfo>,
    }
    let document = serde_json::to_string_pretty(&Document {
        version: VERSION,
        connections: connections.map(|c| ConnectionInfo::new(c, now)).collect(),
    });
    document.map(inert)
}

#[derive(Serialize)]
struct ConnectionInfo {
    conn: u64,
    netns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b_netns: Option<u64>,
    a: Option<EndInfo>,
    b: Option<EndInfo>,
    verdict: Option<VerdictInfo>,
}

#[derive(Serialize)]
struct EndInfo {
    addr: Address,
    state: &'static str,
    age_ns: Option<u64>,
    cookie: Option<u64>,
    inode: Option<u32>,
    uid: Option<u32>,
    descriptor: Option<&'static str>,
    unread: Option<u32>,
    unacked: Option<u32>,
    owners: Option<Value>,
    spans: Vec<SpanInfo>,
}

#[derive(Serialize)]
struct SpanInfo {
    state: &'static str,
    from_ns: [Option<u64>; 2],
    to_ns: Option<[Option<u64>; 2]>,
    certainty: &'static str,
}

impl ConnectionInfo {
    fn new(connection: &Connection, now: Timestamp) -> Self {
        let end = |side| {
            let track = connection.end(side)?;
            Some(EndInfo::new(track, Address(connection.endpoint(side)), now))
        };
        Self {
            conn: connection.id().0,
            netns: connection.scope().netns,
            b_netns: other_netns(connection),
            a: end(Side::A),
            b: end(Side::B),
            verdict: connection
                .closed()
                .and_then(|_| verdict(connection))
                .map(VerdictInfo::from),
        }
    }
}

impl EndInfo {
    fn new(track: &Track, addr: Address, now: Timestamp) -> Self {
        let last = track.last();
        Self {
            addr,
            state: track.state().name(),
            age_ns: age_ns(track.present_age(now)),
            cookie: last.id.cookie.map(|cookie| cookie.0),
            inode: last.inode,
            uid: last.uid,
            descriptor: track.descriptor_in(track.state()).map(Descriptor::token),
            unread: last.unread(),
            unacked: last.unacked(),
            owners: None,
            spans: spans(track.spans()),
        }
    }
}

fn spans(spans: &[Span]) -> Vec<SpanInfo> {
    let bounds = |when: When| {
        [
            when.not_before().map(Timestamp::nanos),
            Some(when.not_after().nanos()),
        ]
    };
    spans
        .iter()
        .enumerate()
        .map(|(index, span)| SpanInfo {
            state: span.state.name(),
            from_ns: bounds(span.from),
            to_ns: spans.get(index + 1).map(|next| bounds(next.from)),
            certainty: Certainty::token(span.certainty),
        })
        .collect()
}
