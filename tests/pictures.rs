//! The pictures in docs/pictures are the screen's own, of recordings that are kept: whoever changes
//! the screen changes them. To make them again, and then to look at them:
//!
//! ```text
//! PICTURES=update cargo test --test pictures
//! ```
//!
//! The trap: a picture that nobody makes any more stays and lies, so that what is in the folder and
//! not in the table is an error too.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A line of the table: the name, the recording, and what is said to `export --to screen`.
type Picture = (&'static str, &'static str, &'static [&'static str]);

const PICTURES: [Picture; 5] = [
    // What README begins with.
    ("shutdown", "shutdown", &["--size", "100x30"]),
    // One connection has all the room.
    ("whole", "close", &["--size", "100x34", "--keys", "<Enter>"]),
    // The exchange of the two ends.
    ("ladder", "shutdown", &["--size", "100x56", "--keys", "3"]),
    // What was found, while both processes still held the socket.
    (
        "findings",
        "owners",
        &["--size", "100x30", "--at", "+5s", "--keys", "f"],
    ),
    // The same as the first, on paper and without colour.
    (
        "monochrome",
        "shutdown",
        &["--size", "100x30", "--color", "never", "--theme", "light"],
    ),
];

const HOW: &str = "make it again with 'PICTURES=update cargo test --test pictures', and look at it";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("docs/pictures")
}

fn export(recording: &str, arguments: &[&str]) -> Output {
    let file = format!("fixtures/recordings/v1/{recording}.jsonl");
    Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .current_dir(root())
        .args(["export", &file, "--to", "screen"])
        .args(arguments)
        .env("TZ", "UTC")
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn drawn(recording: &str, arguments: &[&str]) -> String {
    let done = export(recording, arguments);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{recording} {arguments:?}: {said}");
    assert_eq!(said, "", "{recording} {arguments:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// What can be read on it, row by row.
fn read(picture: &str) -> String {
    let mut text = String::new();
    for row in picture.split("<g transform=\"translate(0").skip(1) {
        for run in row.split("<text").skip(1) {
            let (_, run) = run.split_once('>').unwrap();
            text.push_str(run.split("</text>").next().unwrap());
            text.push(' ');
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_pictures_in_docs_are_those_of_the_screen() {
    let folder = folder();
    let is_update = std::env::var_os("PICTURES").is_some_and(|wish| wish == "update");
    let mut names = BTreeSet::new();
    let mut changed = Vec::new();
    for (name, recording, arguments) in PICTURES {
        let picture = drawn(recording, arguments);
        let name = format!("{name}.svg");
        let path = folder.join(&name);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&picture) {
            if is_update {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, picture).unwrap();
            } else {
                changed.push(name.clone());
            }
        }
        assert!(names.insert(name), "two pictures have this name");
    }
    assert!(changed.is_empty(), "docs/pictures: {changed:?}: {HOW}");
    let there: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, names, "docs/pictures and the table");
}

/// Every element ends, and in the order in which they began.
#[track_caller]
fn assert_well_formed(picture: &str) {
    let mut open = Vec::new();
    for tag in picture.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap();
        assert!(!text.contains(['&']) || text.contains(';'), "{text}");
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name), "{tag}"),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_picture_is_whole_small_and_of_nothing_else() {
    for (_, recording, arguments) in PICTURES {
        let picture = drawn(recording, arguments);
        assert_well_formed(&picture);
        assert!(picture.len() < 16_000, "{} bytes", picture.len());
        for outside in ["href", "url(", "<script", "<image", "@import"] {
            assert!(!picture.contains(outside), "{outside}");
        }
        assert_eq!(picture.matches("http").count(), 1, "its namespace");
    }
}

#[test]
fn the_moment_and_the_keys_are_those_of_a_replay() {
    let at_the_end = read(&drawn("close", &[]));
    assert!(at_the_end.contains(" end"), "{at_the_end}");
    let before = read(&drawn("close", &["--at", "+1ms"]));
    assert!(before.contains("paused 1x"), "{before}");
    // Keys that travel in time, and one that is typed.
    let started = read(&drawn("close", &["--keys", "<Home>]"]));
    assert!(started.contains("paused 2x"), "{started}");
    let typed = read(&drawn(
        "close",
        &["--at", "+1ms", "--keys", "tnever<Enter>"],
    ));
    assert!(typed.contains("is not a time"), "{typed}");
    let helped = read(&drawn("close", &["--keys", "?"]));
    assert!(helped.contains("this page"), "{helped}");
}

#[test]
fn what_no_picture_can_do_is_refused() {
    for (arguments, why) in [
        (["--keys", "q"], "ends the program"),
        (["--keys", "<C-z>"], "leads to the shell"),
        (["--at", "2001-02-03"], "is outside of the recording"),
        (
            ["-o", "fixtures/recordings/v1/close.jsonl"],
            "which is read",
        ),
        (["-o", "README.md"], "it is there already"),
    ] {
        let done = export("close", &arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert!(done.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn without_colour_there_is_none() {
    let plain = drawn("shutdown", &["--color", "never"]);
    let fills: BTreeSet<&str> = plain
        .split("fill")
        .skip(1)
        .filter_map(|rest| Some(&rest[rest.find('#')?..][..4]))
        .collect();
    // Text, what is behind it, and what is dim.
    assert!(fills.len() <= 3, "{fills:?}");
    let coloured = drawn("shutdown", &[]);
    assert_ne!(plain, coloured);
}
