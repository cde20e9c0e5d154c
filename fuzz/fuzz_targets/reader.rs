//! Any bytes as a recording, read to the end and followed by the tracker: no panic, no endless
//! loop, no memory that the bytes do not account for; and what could not be read is what is said.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tcpwatch::diagnosis::verdict;
use tcpwatch::model::{Body, SourceName};
use tcpwatch::record::{Item, Reader};
use tcpwatch::timeline::Tracker;

/// A header, so that not every input has to find one.
const HEADER: &str = r#"{"type":"header","format":"tcpwatch","version":1,"tcpwatch":"0.1.0","about":"","host":"h","kernel":"6","recording":"r","part":1,"clock":{"monotonic_ns":1000000000,"realtime_ns":1700000000000000000}}
"#;

fuzz_target!(|bytes: &[u8]| {
    let with_header = match bytes.first() {
        Some(b'{') => bytes.to_vec(),
        _ => [HEADER.as_bytes(), bytes].concat(),
    };
    let lines = with_header.len() as u64;
    let Ok(mut reader) = Reader::open(Arc::new(with_header), 0) else {
        return;
    };
    let mut tracker = Tracker::new(100);
    let (mut given, mut said) = (0u64, 0u64);
    let mut take = |item: Item| {
        given += 1;
        if let Item::Observation(observation) = item {
            if observation.source == SourceName::Recording
                && let Body::Lost {
                    count: Some(count),
                    why,
                } = &observation.body
                && why == "lines of the recording can't be read"
            {
                said = said.saturating_add(*count);
            }
            tracker.ingest(&observation);
            tracker.changes().for_each(drop);
            tracker.asks().for_each(drop);
        }
    };
    while let Some(item) = reader.next_item().unwrap_or(None) {
        take(item);
    }
    while let Some(item) = reader.finish() {
        take(item);
    }
    // A line gives one item, and one more that says what was lost before it.
    assert!(given <= 2 * lines + 2);
    assert!(said >= reader.skipped().lines());
    for connection in tracker.connections() {
        let _ = verdict::judge(connection);
    }
});
