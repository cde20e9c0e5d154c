//! Holds the house up: who may import whom, where a clock may be read, how long a file may be.
//!
//! Reads the sources as text. What it can't see (a clock behind a macro, say) clippy's
//! `disallowed-methods` does.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms, most special path first, and what they may import. Rooms that are not built yet are
/// listed, so that they are held to it from their first line.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &["model"]),
    ("source/replay", &["source", "model", "record"]),
    ("source", &["source", "model"]),
    ("record", &["record", "model"]),
    ("timeline", &["timeline", "model"]),
    ("diagnosis", &["diagnosis", "timeline", "model"]),
    ("view", &["view", "diagnosis", "timeline", "model"]),
    ("lab/actors", &[]),
    ("lab/judge", &["diagnosis", "timeline", "model"]),
    ("lab", &["lab"]),
];
/// These know every room.
const KNOW_ALL: &[&str] = &["run", "cli", "main", "lib"];
/// Where a clock may be read.
const CLOCK_ROOM: &str = "source/clock";
const CLOCKS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "clock_gettime",
    "Timestamp::now",
    "Zoned::now",
    "thread::sleep",
];
/// Files that need `unsafe`, each block with its reason.
const UNSAFE: &[&str] = &[
    "source/bpf/ring",
    "source/bpf/sys",
    "source/holders/kcmp",
    "source/info/helper",
    "source/sock_diag/destroy/filter",
    "source/sock_diag/mailbox",
];
/// Lines of a file without its tests.
const LONGEST: usize = 500;

struct Source {
    /// Path below src, without the ending: `source/sock_diag/wire`.
    name: String,
    text: String,
}

impl Source {
    fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap()
    }

    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.without_tests()
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap()))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    files
        .into_iter()
        .map(|path| Source {
            name: path
                .strip_prefix(&root)
                .unwrap()
                .with_extension("")
                .to_str()
                .unwrap()
                .to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// The rooms that a line imports: `crate::model::Timestamp` imports model.
fn imports(line: &str) -> Vec<&str> {
    line.match_indices("crate::")
        .map(|(at, word)| {
            let rest = &line[at + word.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

fn is_in(name: &str, room: &str) -> bool {
    name == room
        || name
            .strip_prefix(room)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for source in sources() {
        if KNOW_ALL.iter().any(|room| is_in(&source.name, room)) {
            continue;
        }
        let rule = MAY_IMPORT
            .iter()
            .find(|(room, _)| is_in(&source.name, room));
        let Some((room, allowed)) = rule else {
            wrong.push(format!("{}: belongs to no room", source.name));
            continue;
        };
        for (number, line) in source.code_lines() {
            for import in imports(line) {
                if !allowed.contains(&import) {
                    wrong.push(format!(
                        "{}:{number}: {room} must not import '{import}'",
                        source.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn clocks_are_read_at_one_door() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.name != CLOCK_ROOM) {
        for (number, line) in source.code_lines() {
            for clock in CLOCKS.iter().filter(|clock| line.contains(**clock)) {
                wrong.push(format!("{}:{number}: {clock}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_do_no_io() {
    let mut wrong = Vec::new();
    for source in sources() {
        let is_pure = ["model", "timeline", "diagnosis"]
            .iter()
            .any(|room| is_in(&source.name, room));
        let io = [
            "std::fs",
            "std::net::Tcp",
            "std::process",
            "std::io",
            "rustix",
            "println!",
        ];
        for (number, line) in source.code_lines().filter(|_| is_pure) {
            for word in io.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{number}: {word}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_open_with_their_job() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.without_tests().lines().count();
        if lines > LONGEST {
            wrong.push(format!(
                "{}: {lines} lines, split it by meaning",
                source.name
            ));
        }
        if !source.text.starts_with("//!") {
            wrong.push(format!("{}: does not open with its job", source.name));
        }
        if source.name.ends_with("/mod") {
            wrong.push(format!("{}: module files are x.rs and x/", source.name));
        }
        let is_unsafe = source
            .code_lines()
            .any(|(_, line)| line.contains("unsafe "));
        if is_unsafe && !UNSAFE.contains(&source.name.as_str()) {
            wrong.push(format!("{}: is not named for unsafe code", source.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_verdict_has_its_section() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    let docs = fs::read_to_string(docs).unwrap();
    for code in [
        "refused",
        "timed-out",
        "aborted",
        "orphaned",
        "simultaneous",
        "orderly",
        "unknown",
    ] {
        assert!(
            docs.contains(&format!("### {code}")),
            "no section for {code}"
        );
    }
}

#[test]
fn the_rules_can_be_broken() {
    assert_eq!(
        imports("use crate::model::{A, B}; crate::view::x()"),
        ["model", "view"]
    );
    assert!(is_in("source/sock_diag/wire", "source") && !is_in("sources", "source"));
}
