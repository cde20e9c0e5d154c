//! Recordings of every version of the format stay readable, and say what they said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tcpwatch::diagnosis::verdict::{self, How};
use tcpwatch::diagnosis::{Finding, Known};
use tcpwatch::model::{Body, Holder};
use tcpwatch::record::{Item, Reader};
use tcpwatch::timeline::{ConnId, Side};

/// What is in a file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    observations: u64,
    /// What became of each connection that is over: how it ended, who closed first, and how.
    verdicts: Vec<String>,
    /// Connections, over or not.
    connections: usize,
    unknown_fields: u64,
    unknown_records: u64,
    /// Who held each end that somebody is known of, in the end or last: `#1 B python3 fd 5`.
    #[serde(default)]
    owners: Vec<String>,
    /// What was found of whom, in order.
    #[serde(default)]
    findings: Vec<String>,
    /// How many sockets' own counters are in it.
    #[serde(default)]
    counters: u64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings")
}

fn found(path: &Path) -> Expected {
    let file = std::fs::File::open(path).unwrap();
    let mut reader = Reader::open(Arc::new(file), 0).unwrap();
    let mut known = Known::default();
    let mut found = Expected::default();
    let mut is_ended = false;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Observation(observation) => {
                found.observations += 1;
                found.counters += u64::from(matches!(observation.body, Body::Info(_)));
                known.take(&observation);
                let _ = known.asks().count();
            }
            Item::End { .. } => is_ended = true,
            Item::Header(_) => {}
        }
    }
    assert!(is_ended && reader.finish().is_none());
    let skipped = reader.skipped();
    assert_eq!((skipped.lines(), reader.torn()), (0, 0), "{path:?}");
    found.unknown_fields = skipped.unknown_fields;
    found.unknown_records = skipped.unknown_records;
    found.findings = known.diagnosis.findings().map(finding).collect();
    let tracker = known.tracker;
    for connection in tracker.connections() {
        for (side, track) in connection.visible() {
            let of = |one: &Holder| owner(connection.id(), side, one);
            found.owners.extend(track.owners().holders().iter().map(of));
        }
    }
    found.connections = tracker.connections().len();
    found.verdicts = tracker
        .connections()
        .filter(|connection| connection.closed().is_some())
        .map(|connection| {
            let verdict = verdict::judge(connection);
            let first = verdict.first_closer.map_or("?", |side| match side {
                Side::A => "A",
                Side::B => "B",
            });
            let how = verdict.how.map_or("?", How::token);
            format!("{} {first} {how}", verdict.code.token())
        })
        .collect();
    found
}

fn owner(conn: ConnId, side: Side, one: &Holder) -> String {
    let (comm, fds) = (one.program.comm.text(), &one.fds);
    format!("#{conn} {} {comm} fds {fds:?}", side.letter())
}

fn finding(finding: &Finding) -> String {
    let (code, over) = (finding.code.token(), finding.over.is_some());
    let of = finding.subject.end();
    let of = of.map_or(String::new(), |(conn, side)| {
        format!("#{conn} {} ", side.letter())
    });
    format!("{of}{code}{}", if over { ", over" } else { "" })
}

#[test]
fn recordings_of_every_version_say_what_they_said() {
    let expected: BTreeMap<String, BTreeMap<String, Expected>> =
        toml::from_str(&std::fs::read_to_string(folder().join("expected.toml")).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for version in std::fs::read_dir(folder()).unwrap() {
        let version = version.unwrap().path();
        if !version.is_dir() {
            continue;
        }
        let of_version: &mut BTreeMap<String, Expected> = files
            .entry(version.file_name().unwrap().to_string_lossy().into_owned())
            .or_default();
        for file in std::fs::read_dir(&version).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            of_version.insert(name, found(&file));
        }
    }
    assert!(files.contains_key("v1"));
    assert_eq!(files, expected);
}
