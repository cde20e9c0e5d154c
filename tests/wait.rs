//! `tcpwatch wait` as scripts use it: exit statuses first of all, and the one line that says why.
//!
//! The trap: a wait that ends too early looks just like one that has seen it, so each success is
//! held against the moment in which it became true.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tcpwatch::source::clock;

#[path = "common/copy.rs"]
mod copy;
#[path = "common/netns.rs"]
mod netns;
#[path = "common/sockets.rs"]
#[allow(dead_code, reason = "shared with tests/live.rs")]
mod sockets;
#[path = "common/story.rs"]
#[allow(dead_code, reason = "shared with tests/live.rs")]
mod story;
#[path = "common/watcher.rs"]
#[allow(dead_code, reason = "shared with tests/live.rs")]
mod watcher;

use sockets::{PATIENCE, Pair, port_of, server, while_nobody_closes};
use watcher::{PROGRAM, end, program, program_as_nobody, run, run_to_end};

/// Runs the story in a fresh namespace.
fn alone(story: impl FnOnce() + Send) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    netns::in_fresh_netns(&test, story);
}

/// Waits to the end; the result, and the exit status.
fn wait(arguments: &[&str]) -> (Value, i32) {
    let all = [&["wait", "--format", "json"], arguments].concat();
    let output = run(&all);
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}{said}");
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(result["type"], "wait");
    (result, output.status.code().unwrap())
}

/// A wait that goes on beside the test.
struct Waiting(Child);

impl Waiting {
    fn begin(arguments: &[&str]) -> Self {
        let all = [&["wait", "--format", "json"], arguments].concat();
        let mut command = program(Path::new(PROGRAM), &all);
        Self(while_nobody_closes(|| command.spawn()).unwrap())
    }

    fn end(&mut self) -> (String, i32) {
        let mut text = String::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        (text, self.0.wait().unwrap().code().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

#[test]
fn no_connection_at_all_is_closed_at_once() {
    alone(|| {
        let begun = clock::now();
        let (result, status) = wait(&["--port", "1", "--until", "closed", "--timeout", "20s"]);
        assert_eq!(status, 0);
        assert_eq!(result["result"], "reached");
        assert_eq!(result["seen"], 0);
        assert!(clock::now().since(begun) < PATIENCE);
        let output = run(&["wait", "--port", "1", "--until", "closed"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.ends_with("there is no connection of port 1\n"),
            "{text}"
        );
    });
}

#[test]
fn a_timeout_is_never_early_and_names_who_is_open() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        let port = port_of(&server).to_string();
        let begun = clock::now();
        let timeout = ["--until", "closed", "--timeout", "500ms"];
        let (result, status) = wait(&[&["--port", &port], &timeout[..]].concat());
        assert!(clock::now().since(begun) >= Duration::from_millis(500));
        assert_eq!(status, 1);
        assert_eq!(result["result"], "timed_out");
        assert!(result["waited_ns"].as_u64() >= Some(500_000_000));
        assert_eq!(result["open_count"], 1);
        let end = &result["open"][0]["b"];
        assert_eq!(end["state"], "CLOSE_WAIT");
        assert_eq!(end["owners"][0]["pid"], std::process::id(), "{result:#}");
        let sentence = result["sentence"].as_str().unwrap();
        assert!(sentence.contains("CLOSE_WAIT"), "{sentence}");

        let (result, status) = wait(&[
            "--port",
            "1",
            "--at-least",
            "1",
            "--until",
            "closed",
            "--timeout",
            "100ms",
        ]);
        assert_eq!((status, &result["seen"]), (1, &Value::from(0)));
    });
}

#[test]
fn it_ends_when_the_last_one_is_closed() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        let port = port_of(&server).to_string();
        let mut waiting = Waiting::begin(&[
            "--port",
            &port,
            "--until",
            "closed",
            "--at-least",
            "2",
            "--timeout",
            "20s",
            "--events",
            "off",
        ]);
        let mut other = Pair::to(&server);
        other.close_client();
        other.client_enters("FIN_WAIT2");
        other.close_server();
        thread::park_timeout(Duration::from_millis(300));
        pair.close_client();
        pair.client_enters("FIN_WAIT2");
        let closed = pair.close_server();
        let (text, status) = waiting.end();
        assert_eq!(status, 0, "{text}");
        let result: Value = serde_json::from_str(&text).unwrap();
        assert!(
            result["at_ns"].as_u64() >= Some(closed.earliest),
            "{result:#}"
        );
        assert_eq!(result["open_count"], 0);
    });
}

#[test]
fn a_state_is_reached_or_there_already() {
    alone(|| {
        let server = server();
        let port = port_of(&server).to_string();
        let (result, status) = wait(&["--port", &port, "--until", "listen"]);
        assert_eq!((status, &result["reached"]), (0, &Value::from(1)));
        let mut waiting =
            Waiting::begin(&["--port", &port, "--until", "close-wait", "--timeout", "20s"]);
        let mut pair = Pair::to(&server);
        pair.close_client();
        let (text, status) = waiting.end();
        assert_eq!(status, 0, "{text}");
        let (result, status) = wait(&["--port", &port, "--until", "CLOSE_WAIT"]);
        assert_eq!((status, &result["until"]), (0, &Value::from("CLOSE_WAIT")));
        let two = [
            "--until",
            "close-wait",
            "--at-least",
            "2",
            "--timeout",
            "100ms",
        ];
        let (result, status) = wait(&[&["--port", &port], &two[..]].concat());
        assert_eq!((status, &result["reached"]), (1, &Value::from(1)));
    });
}

#[test]
fn a_finding_ends_it_at_once() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        pair.server_reads_to_end();
        for fail_on in [
            "close-wait",
            "close-wait-leaked",
            "any",
            "data-lost,close-wait-leaked",
        ] {
            let (result, status) = wait(&[
                "--until",
                "closed",
                "--timeout",
                "20s",
                "--older-than",
                "1s",
                "--fail-on",
                fail_on,
            ]);
            assert_eq!(status, 3, "{fail_on}: {result:#}");
            assert_eq!(result["result"], "failed");
            assert_eq!(result["finding"]["code"], "close-wait-leaked");
            assert!(result["finding"]["age_ns"].as_u64() >= Some(1_000_000_000));
        }
        let (_, status) = wait(&[
            "--until",
            "closed",
            "--timeout",
            "300ms",
            "--older-than",
            "0s",
            "--fail-on",
            "reset",
        ]);
        assert_eq!(status, 1);
    });
}

#[test]
fn a_half_close_in_use_fails_only_by_its_own_name() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.shut_client();
        pair.server_enters("CLOSE_WAIT");
        pair.client_enters("FIN_WAIT2");
        pair.server_reads_to_end();
        let common = [
            "--until",
            "closed",
            "--timeout",
            "500ms",
            "--older-than",
            "0s",
            "--fail-on",
        ];
        let (result, status) = wait(&[&common[..], &["close-wait"]].concat());
        assert_eq!(status, 1, "{result:#}");
        let (_, status) = wait(&[&common[..], &["close-wait-half-close"]].concat());
        assert_eq!(status, 3);
    });
}

#[test]
fn a_process_is_waited_for_once_it_is_known_to_hold_anything() {
    alone(|| {
        let server = server();
        let pair = Pair::to(&server);
        let own = std::process::id().to_string();
        let (result, status) = wait(&["--pid", &own, "--until", "closed", "--timeout", "300ms"]);
        assert_eq!(
            (status, &result["seen"]),
            (1, &Value::from(1)),
            "{result:#}"
        );
        let (result, status) = wait(&["--pid", "1", "--until", "closed", "--timeout", "20s"]);
        assert_eq!(
            (status, &result["seen"]),
            (0, &Value::from(0)),
            "{result:#}"
        );
        drop(pair);
    });
}

#[test]
fn a_signal_is_no_success() {
    alone(|| {
        let server = server();
        let _pair = Pair::to(&server);
        let arguments = ["--until", "closed", "--timeout", "20s"];
        let mut waiting = Waiting::begin(&arguments);
        // It has its handlers when it has read the table; before, the signal ends it as well.
        thread::park_timeout(Duration::from_millis(500));
        kill_process(Pid::from_child(&waiting.0), Signal::TERM).unwrap();
        let (text, status) = waiting.end();
        assert_eq!((text.as_str(), status), ("", 2));
    });
}

#[test]
fn wrong_usage_is_trouble() {
    for wrong in [
        &[][..],
        &["--until", "half-open"],
        &["--until", "closed", "--at-least", "0"],
        &["--until", "closed", "--timeout", "10"],
        &["--until", "closed", "--fail-on", "leaks"],
        &["--until", "closed", "--format", "tui"],
    ] {
        let output = run(&[&["wait"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_ordinary_user_can_wait() {
    let copy = copy::Copy::new("wait");
    alone(|| {
        let server = server();
        let port = port_of(&server).to_string();
        let _pair = Pair::to(&server);
        let arguments = ["wait", "--port", &port, "--until", "established"];
        let output = run_to_end(program_as_nobody(&copy.program(), &arguments));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("2 ends of port"), "{text}");
    });
}

#[test]
fn what_is_hidden_is_not_closed() {
    let copy = copy::Copy::new("wait");
    alone(|| {
        let server = server();
        let _pair = Pair::to(&server);
        let own = std::process::id().to_string();
        let as_nobody = |arguments: &[&str]| {
            let all = [&["wait", "--until", "closed", "--timeout", "2s"], arguments].concat();
            let output = run_to_end(program_as_nobody(&copy.program(), &all));
            let said = [output.stdout, output.stderr].map(|out| String::from_utf8(out).unwrap());
            (said.concat(), output.status.code())
        };
        let (said, status) = as_nobody(&["--pid", &own]);
        assert_eq!(status, Some(2), "{said}");
        assert!(
            said.contains("not visible without CAP_SYS_PTRACE"),
            "{said}"
        );
        let (said, status) = as_nobody(&["--pid", &own, "--at-least", "1"]);
        assert_eq!(status, Some(1), "{said}");
        assert!(
            said.contains("not visible without CAP_SYS_PTRACE"),
            "{said}"
        );
        // Nobody has this number.
        let (said, status) = as_nobody(&["--pid", "4194304"]);
        assert_eq!(status, Some(0), "{said}");
    });
}
