//! Which files there may be, and whose they are.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

use crate::sockets::while_nobody_closes;
use crate::tape::{Folder, Recording, Tape, bytes, in_netns, refused, run, text};
use crate::watcher::{PROGRAM, program};

#[test]
fn a_file_that_is_there_stays_unless_forced() {
    in_netns(|_| {
        let folder = Folder::new("existing");
        let file = folder.file("a.jsonl");
        for there in ["mine", ""] {
            fs::write(&file, there).unwrap();
            let why = refused(&["-o", text(&file)]);
            assert!(why.contains("a.jsonl: is there already"), "{why}");
            assert!(why.contains("--force"), "{why}");
            assert_eq!(bytes(&file), there.as_bytes());
        }
        let arguments = ["--format", "json", "--duration", "100ms", "--record"];
        let mut command = program(Path::new(PROGRAM), &arguments);
        command.arg(&file);
        let (status, out, why) = run(command);
        assert_eq!((status, out), (Some(2), vec![]), "{why}");
        assert!(why.contains("--force"), "{why}");
        let recording = Recording::start(&["-o", text(&file), "--force"]);
        recording.finish();
        Tape::whole(&file);
        assert_eq!(folder.names(), ["a.jsonl"]);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_later_file_that_is_there_stays_too() {
    in_netns(|_| {
        let folder = Folder::new("later");
        fs::write(folder.file("a.7.jsonl"), "mine").unwrap();
        let file = folder.file("a.jsonl");
        let why = refused(&["-o", text(&file), "--max-age", "1s"]);
        assert!(why.contains("a.7.jsonl: is there already"), "{why}");
        assert_eq!(folder.names(), ["a.7.jsonl"]);
    });
}

#[test]
fn a_recording_is_its_owners_alone_whatever_the_umask() {
    in_netns(|_| {
        let folder = Folder::new("umask");
        for umask in ["000", "777"] {
            let file = folder.file(umask);
            let script = format!("umask {umask}; exec {PROGRAM} record -o \"$0\"");
            let mut command = program(Path::new("/bin/sh"), &["-c", &script]);
            command.arg(&file);
            Recording::of(command).finish();
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "umask {umask}");
        }
    });
}

#[test]
fn what_can_be_no_recording_is_refused_in_words() {
    in_netns(|_| {
        let folder = Folder::new("refused");
        let here = folder.file("");
        let missing = folder.file("no/a.jsonl");
        let dangling = folder.file("dangling");
        symlink(folder.file("nowhere"), &dangling).unwrap();
        for (arguments, words) in [
            (&["-o", text(&here)][..], "is a directory"),
            (&["-o", text(&missing)], "is the directory there?"),
            (&["-o", text(&dangling)], "is a symbolic link"),
            (&["-o", "/dev/null", "--max-age", "1s"], "only those rotate"),
            (&["-o", "/proc/x"], "can't make the recording"),
            (&["-o", "-", "--max-size", "1MB"], "does not rotate"),
            (&["-o", "x", "--max-files", "3"], "--max-size or --max-age"),
            (&["-o", "x", "--max-size", "1KB"], "64KiB"),
            (&["-o", "x", "--max-age", "10ms"], "1s and more"),
            (&["-o", ""], "a value is required"),
            (&[], "--output <FILE>"),
        ] {
            let why = refused(arguments);
            assert!(why.contains(words), "{arguments:?}: {why}");
        }
        assert_eq!(folder.names(), ["dangling"]);
    });
}

#[test]
fn options_of_a_recording_need_one() {
    for (arguments, words) in [
        (&["--force"][..], "--record FILE"),
        (&["--max-files", "2"], "--record FILE"),
        (&["--record", "-"], "tcpwatch record -o -"),
        (&["list", "--record", "x"], "--record"),
    ] {
        let (status, _, why) = run(program(Path::new(PROGRAM), arguments));
        assert_eq!(status, Some(2), "{why}");
        assert!(why.contains(words), "{arguments:?}: {why}");
    }
}

#[test]
fn no_file_is_left_where_there_was_nothing_to_record() {
    in_netns(|_| {
        let folder = Folder::new("nothing");
        let file = folder.file("a.jsonl");
        // Bpf can't be had without the right to it.
        let script = format!(
            "exec setpriv --bounding-set -all --inh-caps -all --reuid 65534 --clear-groups {PROGRAM} record -o \"$0\" --events on"
        );
        fs::set_permissions(folder.file(""), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = program(Path::new("/bin/sh"), &["-c", &script]);
        command.arg(&file);
        let (status, _, why) = run(command);
        assert_ne!(status, Some(0), "{why}");
        assert_eq!(folder.names(), Vec::<String>::new());
    });
}

#[test]
fn a_link_is_replaced_and_what_it_leads_to_stays() {
    in_netns(|_| {
        let folder = Folder::new("link");
        fs::write(folder.file("target"), "mine").unwrap();
        let link = folder.file("link");
        symlink(folder.file("target"), &link).unwrap();
        assert!(refused(&["-o", text(&link)]).contains("--force"));
        Recording::start(&["-o", text(&link), "--force"]).finish();
        assert_eq!(bytes(&folder.file("target")), b"mine");
        assert!(!link.symlink_metadata().unwrap().is_symlink());
        Tape::whole(&link);
    });
}

#[test]
fn devices_and_named_pipes_are_written_to() {
    in_netns(|_| {
        Recording::start(&["-o", "/dev/null"]).finish();
        let folder = Folder::new("fifo");
        let fifo = folder.file("fifo");
        let made = while_nobody_closes(|| std::process::Command::new("mkfifo").arg(&fifo).status());
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        Recording::start(&["-o", text(&fifo)]).finish();
        let read = reader.join().unwrap();
        assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
        let copy = folder.file("copy");
        fs::write(&copy, read).unwrap();
        Tape::whole(&copy);
    });
}
