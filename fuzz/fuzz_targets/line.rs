//! A few lines behind a header, two sockets and two processes: what they say, written again and read again, is the
//! same.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tcpwatch::model::{Body, Observation, SourceName};
use tcpwatch::record::{Encoder, Header, Item, Reader};

const BEGIN: &str = r#"{"type":"header","format":"tcpwatch","version":1,"tcpwatch":"0.1.0","about":"","host":"h","kernel":"6","netns":7,"recording":"r","part":1,"clock":{"monotonic_ns":1000000000,"realtime_ns":1700000000000000000},"cmdlines":true}
{"type":"socket","n":0,"cookie":1,"local":"127.0.0.1:40000","remote":"127.0.0.1:80"}
{"type":"socket","n":1,"cookie":2,"local":"[::1]:80","remote":"[fe80::1%3]:40000","netns":null}
{"type":"process","n":0,"pid":812,"started":4423,"parent":1,"comm":"server","uid":0,"user":"root","cmdline":"server -v"}
{"type":"process","n":1,"pid":813,"started":4424,"comm_hex":"61ff1b5b324a62000000000000000000"}
"#;

fn read(bytes: Vec<u8>) -> Option<(Header, Vec<Observation>, Reader)> {
    let mut reader = Reader::open(Arc::new(bytes), 0).ok()?;
    let header = reader.header().clone();
    let mut all = Vec::new();
    let mut take = |item| {
        if let Item::Observation(observation) = item {
            all.push(observation);
        }
    };
    while let Some(item) = reader.next_item().ok()? {
        take(item);
    }
    while let Some(item) = reader.finish() {
        take(item);
    }
    Some((header, all, reader))
}

fuzz_target!(|line: &[u8]| {
    let bytes = [BEGIN.as_bytes(), line, b"\n"].concat();
    let Some((header, mut all, _)) = read(bytes) else {
        return;
    };
    // Of the recording itself, and said anew for what can't be read.
    all.retain(|said| {
        said.source != SourceName::Recording || !matches!(said.body, Body::Lost { .. })
    });
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    encoder.header(&header, &mut out).unwrap();
    for observation in &all {
        encoder.observation(observation, &mut out);
    }
    let (_, again, reader) = read(out).unwrap();
    // What was told in disorder may be in a disorder that is told otherwise.
    if reader.skipped().misdated == 0 {
        assert_eq!(all, again);
        assert_eq!(reader.skipped().lines(), 0);
    }
});
