//! What a wait came to, as one object.

use serde::Serialize;

use crate::model::time::nanos_of;
use crate::view::json::VERSION;
use crate::view::json::bytes::inert;
use crate::view::json::document::ConnectionInfo;
use crate::view::json::finding::FindingLine;
use crate::view::waiting::{Ended, Waited};

/// So many open connections are in the object; how many there are is exact.
const LISTED: usize = 1000;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u32,
    result: &'static str,
    until: &'static str,
    filter: &'a str,
    at_ns: u64,
    waited_ns: u64,
    at_least: Option<u64>,
    /// Connections that were wanted.
    seen: u64,
    /// Ends that reached the state; null when it was waited for the close.
    reached: Option<u64>,
    open_count: usize,
    open: Vec<ConnectionInfo<'a>>,
    /// Open connections that may be wanted too, as nobody can tell who holds them.
    unknown: usize,
    finding: Option<FindingLine<'a>>,
    sentence: String,
}

/// The object, without its newline.
///
/// # Errors
/// When serde_json can't write it, which it can.
pub fn waited(waited: &Waited<'_>) -> serde_json::Result<String> {
    let until = waited.until;
    let (result, finding) = match waited.ended {
        Ended::Reached => ("reached", None),
        Ended::TimedOut => ("timed_out", None),
        Ended::Failed(finding) => ("failed", Some(FindingLine::new(finding, waited.now))),
    };
    let reached = match until.target() {
        crate::diagnosis::until::Target::Closed => None,
        crate::diagnosis::until::Target::State(_) => Some(until.reached()),
    };
    let document = Document {
        kind: "wait",
        version: VERSION,
        result,
        until: until.target().token(),
        filter: &waited.filter,
        at_ns: waited.now.nanos(),
        waited_ns: nanos_of(waited.waited),
        at_least: until.at_least(),
        seen: until.seen(),
        reached,
        open_count: until.open().len(),
        open: waited
            .open()
            .take(LISTED)
            .map(|connection| ConnectionInfo::new(connection, waited.now))
            .collect(),
        unknown: waited.unknown,
        finding,
        sentence: waited.sentence(),
    };
    serde_json::to_string(&document).map(inert)
}
