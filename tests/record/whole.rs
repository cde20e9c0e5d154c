//! What was seen is in the recording, all of it, and nothing else comes of it than was shown live.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use tcpwatch::diagnosis::Known;
use tcpwatch::model::{Body, Cookie, SourceName, TcpState, What};
use tcpwatch::record::VERSION;
use tcpwatch::view::json;

use crate::sockets::{Pair, port_of, server};
use crate::tape::{Folder, Recording, Tape, in_netns, live, run, text};
use crate::watcher::{PROGRAM, Watcher, program};

/// What follows from the observations, as the live view would print it.
fn concluded(tape: &Tape) -> Vec<Value> {
    let mut known = Known::default();
    let mut lines = Vec::new();
    for told in &tape.told {
        known.take(told);
        let _ = known.asks().count();
        for change in known.changes() {
            let connection = known.tracker.get(change.conn()).unwrap();
            json::write_change(&mut lines, change, connection).unwrap();
        }
        for news in known.news() {
            json::write_news(&mut lines, news, told.at).unwrap();
        }
    }
    let text = String::from_utf8(lines).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn is_as_shown(source: &str) {
    let folder = Folder::new(&format!("as-shown-{source}"));
    let file = folder.file("live.jsonl");
    let server = server();
    let mut before = Pair::to(&server);
    let mut watcher = Watcher::on(source, &["--record", text(&file)]);
    watcher.sees_open(&before);
    let mut pair = Pair::to(&server);
    watcher.sees_open(&pair);
    pair.close_client();
    pair.client_enters("FIN_WAIT2");
    watcher.sees(&pair, "b", "CLOSE_WAIT");
    pair.close_server();
    watcher.sees_closed(&pair);
    before.close_server();
    watcher.sees(&before, "b", "FIN_WAIT2");
    let story = watcher.finish();
    let tape = Tape::whole(&file);
    let shown: Vec<&Value> = story
        .lines
        .iter()
        .filter(|line| line.get("conn").is_some())
        .collect();
    let concluded = concluded(&tape);
    assert!(concluded.len() >= 4, "{concluded:?}");
    assert_eq!(concluded.iter().collect::<Vec<_>>(), shown, "by {source}");
}

#[test]
fn what_follows_from_a_recording_is_what_was_shown() {
    in_netns(|has_events| {
        is_as_shown("sock-diag");
        is_as_shown("proc");
        if has_events {
            is_as_shown("events");
        }
    });
}

#[test]
fn a_recording_holds_every_life_and_explains_itself() {
    in_netns(|has_events| {
        let folder = Folder::new("whole");
        let file = folder.file("a.jsonl");
        let server = server();
        let port = port_of(&server).to_string();
        let recording = Recording::start(&["-o", text(&file), "--port", &port]);
        let lives: Vec<_> = (0..20).map(|_| live(&server)).collect();
        let last = recording.finish();
        assert!(last.starts_with("tcpwatch: recorded "), "{last}");
        let named = format!(" of 20 connections to {}: ", text(&file));
        assert!(last.contains(&named), "{last}");
        assert!(last.ends_with(" in 1 file; nothing was lost"), "{last}");
        let tape = Tape::whole(&file);
        let header = &tape.header;
        assert_eq!((header.version, header.part), (VERSION, 1));
        assert_eq!(header.filter.text, format!("port {port}"));
        assert_eq!(header.filter.filter().to_string(), format!("port {port}"));
        assert_eq!(header.period_ns, 20_000_000);
        assert!(header.boot_id.is_some() && header.netns.is_some());
        assert!(header.sources.contains(&"sock_diag".to_owned()));
        assert_eq!(has_events, header.sources.contains(&"bpf".to_owned()));
        for life in &lives {
            assert!(tape.shows(life.a, life.b, TcpState::TimeWait), "{}", life.a);
            if has_events {
                assert!(tape.shows(life.b, life.a, TcpState::LastAck), "{}", life.a);
            }
        }
    });
}

#[test]
fn every_way_to_end_is_an_end_in_good_order() {
    in_netns(|_| {
        let folder = Folder::new("signals");
        for (name, signal) in [
            ("int", Signal::INT),
            ("term", Signal::TERM),
            ("hup", Signal::HUP),
        ] {
            let file = folder.file(name);
            let recording = Recording::start(&["-o", text(&file)]);
            recording.signal(signal);
            assert_eq!(recording.rest().0, Some(0), "{name}");
            Tape::whole(&file);
        }
    });
}

#[test]
fn standard_output_can_be_the_recording() {
    in_netns(|_| {
        let folder = Folder::new("stdout");
        let arguments = [
            "record",
            "-o",
            "-",
            "--source",
            "proc",
            "--duration",
            "200ms",
        ];
        let (status, out, complaints) = run(program(Path::new(PROGRAM), &arguments));
        assert_eq!(status, Some(0), "{complaints}");
        assert!(complaints.starts_with("tcpwatch: recording all connections to standard output "));
        let file = folder.file("out");
        std::fs::write(&file, out).unwrap();
        assert!(Tape::whole(&file).by(SourceName::Proc) > 0);
    });
}

#[test]
fn a_closed_pipe_ends_quietly() {
    in_netns(|_| {
        let mut command = program(Path::new(PROGRAM), &["record", "-o", "-"]);
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
    });
}

#[test]
fn a_lab_experiment_is_recorded_with_its_steps() {
    in_netns(|_| {
        let folder = Folder::new("lab");
        let file = folder.file("close.jsonl");
        let arguments = [
            "lab", "close", "--step", "50ms", "--format", "text", "--record",
        ];
        let mut command = program(Path::new(PROGRAM), &arguments);
        command.arg(&file).stdout(Stdio::null());
        let (status, _, complaints) = run(command);
        assert_eq!(status, Some(0), "{complaints}");
        let tape = Tape::whole(&file);
        assert!(tape.by(SourceName::Lab) >= 3);
    });
}

/// Sockets that were only bound, or listened, have no ports any more when the kernel tells that they
/// are freed: no filter of ports leaves them out.
#[test]
fn what_is_freed_and_was_never_seen_is_not_in_the_recording() {
    in_netns(|has_events| {
        if !has_events {
            return;
        }
        let folder = Folder::new("strangers");
        let file = folder.file("own.jsonl");
        let (own, other) = (server(), server());
        let port = port_of(&own).to_string();
        let recording = Recording::start(&["--port", &port, "-o", text(&file)]);
        for _ in 0..50 {
            drop(server());
            let mut stranger = Pair::to(&other);
            stranger.close_client();
            stranger.close_server();
        }
        live(&own);
        recording.finish();
        let tape = Tape::whole(&file);
        let known: HashSet<Cookie> = tape
            .told
            .iter()
            .filter(|told| told.source == SourceName::Bpf)
            .filter_map(|told| match &told.body {
                Body::Event(event) if event.what != What::Freed => event.id.cookie,
                _ => None,
            })
            .collect();
        let freed: Vec<Cookie> = tape
            .told
            .iter()
            .filter_map(|told| match &told.body {
                Body::Event(event) if event.what == What::Freed => event.id.cookie,
                _ => None,
            })
            .collect();
        assert!(!freed.is_empty(), "its own ends are freed");
        let strangers = freed.iter().filter(|cookie| !known.contains(cookie));
        assert_eq!(strangers.count(), 0, "{freed:?}");
    });
}
