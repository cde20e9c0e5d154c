//! Who holds what is in the recording, and their command lines only when that was asked for.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tcpwatch::model::{Body, Seen};
use tcpwatch::source::clock;

use crate::copy::Copy;
use crate::sockets::{PATIENCE, Pair, server, while_nobody_closes};
use crate::tape::{Folder, Recording, Tape, in_netns, text};
use crate::watcher::{PROGRAM, Watcher, end, program, program_as_nobody, run};

/// An argument that is nowhere else.
const SECRET: &str = "86400.271828";

/// Another process that holds a copy of a socket, with a secret on its command line.
struct Keeper(Child);

impl Keeper {
    fn of(socket: &impl std::os::fd::AsFd) -> Self {
        let copy: OwnedFd = socket.as_fd().try_clone_to_owned().unwrap();
        let mut command = Command::new("sleep");
        command.arg(SECRET).stdin(Stdio::from(copy));
        Self(while_nobody_closes(|| command.spawn()).unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Looks every now and then: nobody tells what another process writes.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = clock::now();
    while !is_so() {
        assert!(clock::now().since(begun) < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn pids(line: &Value) -> Vec<u64> {
    let owners = line["owners"].as_array().into_iter().flatten();
    owners.map(|owner| owner["pid"].as_u64().unwrap()).collect()
}

/// The server's end is shared with another process, closed here, and ended there.
fn shared_and_ended(watcher: &mut Watcher) -> u64 {
    let server = server();
    let mut pair = Pair::to(&server);
    watcher.sees_open(&pair);
    let (ours, local) = (u64::from(std::process::id()), pair.b.to_string());
    let holders = |watcher: &mut Watcher, what: &str, wanted: &[u64]| {
        watcher.wait_for(what, |line| {
            line["type"] == "holders" && line["local"] == *local && pids(line) == wanted
        });
    };
    holders(watcher, "us", &[ours]);
    let keeper = Keeper::of(pair.server.as_ref().unwrap());
    let pid = u64::from(keeper.pid());
    let mut both = [ours, pid];
    both.sort_unstable();
    holders(watcher, "both", &both);
    pair.close_client();
    watcher.sees(&pair, "b", "CLOSE_WAIT");
    pair.close_server();
    holders(watcher, "the keeper alone", &[pid]);
    keeper.end();
    watcher.sees_closed(&pair);
    pid
}

fn replayed(file: &Path, arguments: &[&str]) -> Vec<Value> {
    let all = [&["replay", "--format", "json", text(file)], arguments].concat();
    let output: Output = run(&all);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let parsed = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

fn is_replayed_as_shown(options: &[&str], has_cmdlines: bool) {
    let folder = Folder::new(&format!("owners-{has_cmdlines}"));
    let file = folder.file("a.jsonl");
    let arguments = [&["--record", text(&file)], options].concat();
    let mut watcher = Watcher::on("sock-diag", &arguments);
    let pid = shared_and_ended(&mut watcher);
    let shown = watcher.finish().lines;
    let again = replayed(&file, &[]);
    for (shown, again) in shown.iter().zip(&again) {
        assert_eq!(shown, again);
    }
    assert_eq!(shown.len(), again.len());
    let bytes = std::fs::read_to_string(&file).unwrap();
    assert_eq!(bytes.contains(SECRET), has_cmdlines, "in the recording");
    let is_in = shown.iter().any(|line| line.to_string().contains(SECRET));
    assert_eq!(is_in, has_cmdlines, "in the lines beside it");
    assert_eq!(Tape::whole(&file).header.cmdlines, has_cmdlines);
    // By who held it, also when they hold it no more.
    for (filter, is_its) in [
        (["--pid", &pid.to_string()], true),
        (["--process", "sleep"], true),
        (["--pid", "4194304"], false),
        (["--process", "slee"], false),
    ] {
        let lines = replayed(&file, &filter);
        let opens = lines.iter().filter(|line| line["type"] == "open");
        assert_eq!(opens.count(), usize::from(is_its), "{filter:?}: {lines:#?}");
        let closes = lines.iter().filter(|line| line["type"] == "closed");
        assert_eq!(closes.count(), usize::from(is_its), "{filter:?}");
    }
}

#[test]
fn who_holds_what_is_recorded_without_their_command_lines() {
    in_netns(|_| is_replayed_as_shown(&[], false));
}

#[test]
fn command_lines_are_recorded_when_that_is_asked_for() {
    in_netns(|_| is_replayed_as_shown(&["--record-cmdline"], true));
}

#[test]
fn a_recorder_without_a_screen_keeps_them_out_too() {
    in_netns(|_| {
        let folder = Folder::new("owners-record");
        for (options, has_cmdlines) in [(&[][..], false), (&["--record-cmdline"], true)] {
            let file = folder.file(&format!("{has_cmdlines}.jsonl"));
            let server = server();
            let pair = Pair::to(&server);
            let keeper = Keeper::of(pair.server.as_ref().unwrap());
            let recording = Recording::start(&[&["-o", text(&file)], options].concat());
            let is_there = || {
                let recorded = std::fs::read_to_string(&file).unwrap_or_default();
                recorded.contains("\"comm\":\"sleep\"")
            };
            until("it is recorded", is_there);
            recording.finish();
            let bytes = std::fs::read_to_string(&file).unwrap();
            assert_eq!(bytes.contains(SECRET), has_cmdlines);
            assert_eq!(bytes.contains("\"cmdline\":"), has_cmdlines);
            keeper.end();
        }
    });
}

/// Each file of a rotation can be read alone, and names those who held what was there before it.
#[test]
fn a_later_part_knows_the_holders_from_its_beginning() {
    in_netns(|_| {
        let folder = Folder::new("owners-parts");
        let first = folder.file("a.jsonl");
        let server = server();
        let pair = Pair::to(&server);
        let keeper = Keeper::of(pair.server.as_ref().unwrap());
        let recording = Recording::start(&["-o", text(&first), "--max-age", "1s"]);
        let part = |number: u32| folder.file(&format!("a.{number}.jsonl"));
        // The look into the processes may take its time: the part behind the one that has it.
        let knows = |path: &Path| std::fs::read_to_string(path).is_ok_and(|t| t.contains("sleep"));
        let known = std::cell::Cell::new(2);
        until("the keeper is known", || {
            let newer = (known.get()..).take_while(|number| part(*number).exists());
            known.set(newer.last().unwrap_or(known.get()));
            knows(&first) || knows(&part(known.get()))
        });
        let next = known.get() + 1;
        until("a part behind the next one", || part(next + 1).exists());
        recording.finish();
        let tape = Tape::read(&part(next));
        tape.is_readable();
        let keyframe = tape
            .told
            .iter()
            .find(|told| matches!(told.body, Body::Keyframe(_)));
        let begun = keyframe.unwrap().at;
        let sets = tape.told.iter().filter_map(|told| match &told.body {
            Body::Holders(set) if told.at == begun => Some(set),
            _ => None,
        });
        let is_keepers = |pid: u32| {
            let mut sets = sets.clone();
            sets.any(|set| set.holders.iter().any(|one| one.program.id.pid == pid))
        };
        assert!(is_keepers(keeper.pid()), "{:#?}", tape.told);
        assert!(is_keepers(std::process::id()));
        assert!(
            sets.clone()
                .all(|set| set.seen == Seen::All || !set.holders.is_empty())
        );
        let again = replayed(&part(next), &["--process", "sleep"]);
        assert_eq!(
            again.iter().filter(|line| line["type"] == "open").count(),
            1
        );
        keeper.end();
    });
}

/// Whoever asks for a process in vain is told why that may be.
#[test]
fn a_process_that_nobody_has_is_nothing_matched() {
    in_netns(|_| {
        let server = server();
        let _pair = Pair::to(&server);
        let mut command = program(Path::new(PROGRAM), &["list", "--pid", "4194304"]);
        command.stderr(Stdio::piped());
        let (status, out, complaints) = crate::tape::run(command);
        assert_eq!(
            (status, out.as_slice()),
            (Some(1), &b""[..]),
            "{complaints}"
        );
        assert_eq!(complaints, "tcpwatch: no TCP connection of pid 4194304\n");
        let ours = std::process::id().to_string();
        let output = run(&["list", "--pid", &ours, "--format", "json"]);
        assert_eq!(output.status.code(), Some(0));
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(list["connections"].as_array().unwrap().len(), 1, "{list}");
    });
}

/// A connection is told from when it comes to be wanted, in the states that it has then.
#[test]
fn a_connection_is_shown_once_its_process_holds_it() {
    in_netns(|_| {
        let server = server();
        let (others, mut pair) = (Pair::to(&server), Pair::to(&server));
        let arguments = ["--process", "nginx,sleep"];
        let mut watcher = Watcher::on("sock-diag", &arguments);
        pair.shut_client();
        pair.server_enters("CLOSE_WAIT");
        let keeper = Keeper::of(pair.server.as_ref().unwrap());
        let open = watcher.sees_open(&pair);
        assert_eq!(open["b_state"], "CLOSE_WAIT", "{open}");
        keeper.end();
        pair.close_server();
        pair.close_client();
        watcher.sees_closed(&pair);
        let story = watcher.finish();
        assert_eq!(
            (story.conns(&pair).len(), story.conns(&others).len()),
            (1, 0)
        );
    });
}

/// Whoever may not look into others' processes is told that this is why nothing comes.
#[test]
fn who_may_not_see_the_holders_is_told_so() {
    let copy = Copy::new("hidden");
    in_netns(|_| {
        let server = server();
        let _pair = Pair::to(&server);
        let ours = std::process::id().to_string();
        for arguments in [
            &["--pid", &ours, "--format", "text", "--duration", "1s"][..],
            &["list", "--pid", &ours],
        ] {
            let command = program_as_nobody(&copy.program(), arguments);
            let (_, out, complaints) = crate::tape::run(command);
            assert!(
                complaints.contains("CAP_SYS_PTRACE, so connections may be missing"),
                "{complaints}"
            );
            assert_eq!(
                complaints.matches("may be missing").count(),
                1,
                "{complaints}"
            );
            assert_eq!(String::from_utf8(out).unwrap(), "");
        }
    });
}
