//! Disks that are full, and limits that are reached: what is written stays, and the live view goes
//! on.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::sockets::{PATIENCE, Pair, server, while_nobody_closes};
use crate::tape::{Folder, Recording, Tape, bytes, in_netns, live, run, text};
use crate::watcher::{PROGRAM, program};

/// The program behind a script that runs first, with `$0` for the file.
fn behind(script: &str, file: &Path, arguments: &str) -> Command {
    let script = format!("{script}; exec {PROGRAM} {arguments}");
    let mut command = program(Path::new("/bin/sh"), &["-c", &script]);
    command.arg(file);
    command
}

/// What is left is whole lines, and has no end.
fn broke_off(file: &Path) {
    let bytes = bytes(file);
    assert_eq!(bytes.last(), Some(&b'\n'));
    let tape = Tape::read(file);
    tape.is_readable();
    assert_eq!(tape.torn, 0);
    assert!(!tape.ended && !tape.told.is_empty());
}

#[test]
fn a_device_without_room_is_an_error_at_once() {
    in_netns(|_| {
        let arguments = ["record", "-o", "/dev/full"];
        let (status, _, why) = run(program(Path::new(PROGRAM), &arguments));
        assert_eq!(status, Some(2), "{why}");
        assert!(
            why.contains("/dev/full: can't write on: No space left"),
            "{why}"
        );
    });
}

#[test]
fn a_limit_of_the_shell_ends_the_recording_and_kills_nobody() {
    in_netns(|_| {
        let folder = Folder::new("ulimit");
        let file = folder.file("a.jsonl");
        let server = server();
        // Blocks of 512 bytes.
        let recording = Recording::of(behind("ulimit -f 40", &file, "record -o \"$0\""));
        let mut made = 0;
        while file.metadata().is_ok_and(|found| found.len() < 18 << 10) {
            live(&server);
            made += 1;
            assert!(made < 10_000);
        }
        for _ in 0..200 {
            live(&server);
        }
        let (status, lines) = recording.rest();
        assert_eq!(status, Some(2), "{lines:?}");
        assert!(
            lines.last().unwrap().contains("File too large"),
            "{lines:?}"
        );
        broke_off(&file);
    });
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_live_view() {
    in_netns(|_| {
        let folder = Folder::new("full");
        let disk = folder.file("disk");
        std::fs::create_dir(&disk).unwrap();
        let saved = folder.file("saved.jsonl");
        let server = server();
        // The disk is the program's alone; it is copied off before it goes.
        let script = format!(
            "mount -t tmpfs -o size=64k none {disk} && {PROGRAM} --format json --events off \
             --interval 10ms --record {disk}/a.jsonl; status=$?; cp {disk}/a.jsonl {saved}; \
             exit $status",
            disk = text(&disk),
            saved = text(&saved),
        );
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = while_nobody_closes(|| command.spawn()).unwrap();
        let mut complaints = BufReader::new(child.stderr.take().unwrap());
        let (sender, shown) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        // Read at once, whoever waits for what: a full pipe would stop it.
        let reader = thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| sender.send(line).unwrap_or_default());
        });
        let first = shown.recv_timeout(PATIENCE).unwrap();
        assert!(first.contains("session"), "{first}");
        let (stop, stopped) = mpsc::channel::<()>();
        let message = thread::scope(|scope| {
            let server = &server;
            scope.spawn(move || {
                while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    live(server);
                }
            });
            let mut message = String::new();
            complaints.read_line(&mut message).unwrap();
            drop(stop);
            message
        });
        assert!(message.contains("recording ended: "), "{message}");
        assert!(
            message.contains("a.jsonl: can't write on: No space left"),
            "{message}"
        );
        // The live view goes on.
        let pair = Pair::to(&server);
        let a = pair.a.to_string();
        let is_shown = |line: &String| line.contains("\"open\"") && line.contains(&a);
        while !is_shown(&shown.recv_timeout(PATIENCE).unwrap()) {}
        end_the_child_of(Pid::from_child(&child));
        reader.join().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        complaints.read_to_string(&mut rest).unwrap();
        // It is said once, and at the end what there is of it.
        assert!(rest.starts_with("tcpwatch: recorded "), "{rest}");
        assert_eq!(rest.lines().count(), 1, "{rest}");
        assert!(!rest.contains("nothing was lost"), "{rest}");
        broke_off(&saved);
    });
}

/// The program, of which the shell is the parent.
fn end_the_child_of(shell: Pid) {
    let shell = shell.as_raw_nonzero();
    let children = format!("/proc/{shell}/task/{shell}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let child = children.split_whitespace().next().unwrap();
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    kill_process(child, Signal::TERM).unwrap();
}
