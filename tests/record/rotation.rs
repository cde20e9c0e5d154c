//! One recording in many files: each can be read alone, all together say what happened.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tcpwatch::model::{Body, TcpState};

use crate::sockets::{Pair, port_of, server};
use crate::tape::{Folder, Life, Recording, Tape, bytes, in_netns, live, pass, text};
use crate::watcher::{PROGRAM, program};

const MOST: u64 = 64 << 10;

/// The files in the order of their parts.
fn parts(folder: &Folder) -> Vec<(PathBuf, Tape)> {
    let mut parts: Vec<(PathBuf, Tape)> = folder
        .names()
        .into_iter()
        .map(|name| folder.file(&name))
        .map(|path| (path.clone(), Tape::read(&path)))
        .collect();
    parts.sort_by_key(|(_, tape)| tape.header.part);
    parts
}

/// Those that are followed by another one are as they should be, and so is the last.
fn are_in_order(parts: &[(PathBuf, Tape)]) {
    let first = parts[0].1.header.part;
    for (index, (path, tape)) in parts.iter().enumerate() {
        let name = path.display();
        assert_eq!(tape.header.part as usize, first as usize + index);
        assert_eq!(tape.header.recording, parts[0].1.header.recording);
        tape.is_readable();
        assert!(tape.ended && tape.torn == 0, "{name}");
        tape.loses_nothing();
        let text = String::from_utf8(bytes(path)).unwrap();
        let last = text.lines().last().unwrap();
        let why = if index + 1 == parts.len() {
            "stopped"
        } else {
            "rotated"
        };
        assert!(last.contains(why), "{name}: {last}");
        if tape.header.part > 1 {
            begins_whole(tape);
        }
    }
}

/// Sources, host, clock and a keyframe stand first, in this order, and nothing between them.
fn begins_whole(tape: &Tape) {
    let keyframe = tape
        .told
        .iter()
        .position(|told| matches!(told.body, Body::Keyframe(_)))
        .unwrap();
    let before = &tape.told[..keyframe];
    let is_said_again =
        |body: &Body| matches!(body, Body::Source(_) | Body::Host(_) | Body::Clock { .. });
    assert!(before.iter().all(|told| is_said_again(&told.body)));
    assert!(
        before
            .iter()
            .any(|told| matches!(told.body, Body::Source(_)))
    );
    assert!(before.iter().any(|told| matches!(told.body, Body::Host(_))));
    assert!(matches!(before.last().unwrap().body, Body::Clock { .. }));
    let at = tape.told[keyframe].at;
    assert!(before.iter().all(|told| told.at == at));
    assert_eq!(tape.header.clock.monotonic_ns, at.nanos());
}

#[test]
fn files_change_before_they_are_too_long() {
    in_netns(|has_events| {
        let folder = Folder::new("size");
        let server = server();
        let port = port_of(&server).to_string();
        let file = folder.file("night.jsonl");
        let idle: Vec<Pair> = (0..10).map(|_| Pair::to(&server)).collect();
        let recording =
            Recording::start(&["-o", text(&file), "--port", &port, "--max-size", "64KiB"]);
        let mut lives: Vec<Life> = Vec::new();
        while folder.names().len() < 4 {
            lives.push(live(&server));
            pass(Duration::from_millis(5));
        }
        let last = recording.finish();
        assert!(last.ends_with(" files; nothing was lost"), "{last}");
        let parts = parts(&folder);
        assert!(parts.len() >= 4);
        assert_eq!(parts[0].0, file);
        assert_eq!(parts[1].0, folder.file("night.2.jsonl"));
        are_in_order(&parts);
        for (path, tape) in &parts {
            let length = path.metadata().unwrap().len();
            assert!(length <= MOST, "{}: {length} bytes", path.display());
            // Who reads this one alone knows the idle connections.
            let knows = |pair: &Pair| {
                tape.told.iter().any(|told| {
                    let Body::Keyframe(keyframe) = &told.body else {
                        return false;
                    };
                    keyframe.samples.iter().any(|sample| {
                        sample.id.tuple.local.port() == pair.a.port()
                            && sample.state == TcpState::Established
                    })
                })
            };
            assert!(tape.header.part == 1 || idle.iter().all(knows));
        }
        for life in &lives {
            let mut tapes = parts.iter().map(|(_, tape)| tape);
            assert!(
                tapes.any(|tape| tape.shows(life.a, life.b, TcpState::TimeWait)
                    || has_events && tape.shows(life.a, life.b, TcpState::FinWait1)),
                "{}",
                life.a
            );
        }
    });
}

#[test]
fn files_change_after_their_time_and_the_oldest_go() {
    in_netns(|_| {
        let folder = Folder::new("age");
        let file = folder.file("night");
        let recording = Recording::start(&[
            "-o",
            text(&file),
            "--source",
            "proc",
            "--max-age",
            "1s",
            "--max-files",
            "2",
        ]);
        while !folder.file("night.4").exists() {
            pass(Duration::from_millis(20));
        }
        recording.finish();
        let parts = parts(&folder);
        are_in_order(&parts);
        assert_eq!(parts.len(), 2, "{:?}", folder.names());
        let begun = |part: usize| parts[part].1.header.clock.monotonic_ns;
        let span = Duration::from_nanos(begun(1) - begun(0));
        assert!(span >= Duration::from_secs(1), "{span:?}");
        assert!(span < Duration::from_millis(2500), "{span:?}");
    });
}

/// Whoever names the recording as it was begun gets what is left of it.
#[test]
fn what_is_left_is_read_when_the_first_file_was_removed() {
    in_netns(|_| {
        let folder = Folder::new("left");
        let file = folder.file("night.jsonl");
        let server = server();
        let port = port_of(&server).to_string();
        let limit = ["--max-age", "1s", "--max-files", "2"];
        let recording =
            Recording::start(&[&["--port", &port, "-o", text(&file)], &limit[..]].concat());
        let _pair = Pair::to(&server);
        while file.exists() {
            pass(Duration::from_millis(20));
        }
        recording.finish();
        for arguments in [["report", text(&file)], ["replay", text(&file)]] {
            let mut command = program(Path::new(PROGRAM), &arguments);
            command.stderr(Stdio::piped());
            let (status, out, complaints) = crate::tape::run(command);
            assert_eq!(status, Some(0), "{complaints}");
            assert!(
                complaints.contains("is not there any more: "),
                "{complaints}"
            );
            assert!(complaints.contains(&folder.names()[0]), "{complaints}");
            assert!(String::from_utf8(out).unwrap().contains(&port));
        }
        for name in folder.names() {
            std::fs::remove_file(folder.file(&name)).unwrap();
        }
        let mut command = program(Path::new(PROGRAM), &["report", text(&file)]);
        command.stderr(Stdio::piped());
        let (status, _, complaints) = crate::tape::run(command);
        assert_eq!(status, Some(2), "{complaints}");
        assert!(complaints.contains("can't open it"), "{complaints}");
    });
}
