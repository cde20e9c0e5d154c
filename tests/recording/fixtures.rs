//! Recordings of every version of the format stay readable, and say what they said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tcpwatch::diagnosis::verdict::{self, How};
use tcpwatch::record::{Item, Reader};
use tcpwatch::timeline::{Side, Tracker};

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
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings")
}

fn found(path: &Path) -> Expected {
    let file = std::fs::File::open(path).unwrap();
    let mut reader = Reader::open(Arc::new(file), 0).unwrap();
    let mut tracker = Tracker::default();
    let mut found = Expected::default();
    let mut is_ended = false;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Observation(observation) => {
                found.observations += 1;
                tracker.ingest(&observation);
                tracker.changes().for_each(drop);
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
