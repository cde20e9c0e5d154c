//! Exit codes, what was not looked for, /proc as the source, and looking again and again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sockets::{Pair, server, while_nobody_closes};
use crate::watcher::{PROGRAM, end, program, run};
use crate::{Report, alone, text_of};

#[test]
fn nothing_at_all_is_no_trouble() {
    alone(|| {
        let (text, status) = text_of(&["--port", "1"]);
        assert_eq!(status, 0);
        assert!(
            text.starts_with("no trouble in 0 connections of port 1\n"),
            "{text}"
        );
        let report = Report::of(&["--port", "1"]);
        assert_eq!(report.status, 0);
        assert_eq!(report.document["version"], 1);
        for list in ["findings", "groups", "listeners", "elsewhere"] {
            assert_eq!(report.document[list], Value::Array(Vec::new()), "{list}");
        }
        let not_looked_for = report.document["not_looked_for"].to_string();
        for code in ["reset-unread-data", "data-lost", "shared-descriptor"] {
            assert!(not_looked_for.contains(code), "{not_looked_for}");
            assert!(text.contains(code), "{text}");
        }
        assert!(
            text.contains("they need watching: tcpwatch --port 1"),
            "{text}"
        );
    });
}

#[test]
fn wrong_usage_is_trouble() {
    for wrong in [
        &["--older-than", "soon"][..],
        &["--older-than", "-1s"],
        &["--severity", "bad"],
        &["--watch", "0s"],
        &["--format", "tui"],
        &["--port", "70000"],
        &["--netns", "no-such-namespace"],
    ] {
        let output = run(&[&["doctor"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty(), "{wrong:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn from_proc_an_unknown_age_is_said_to_be_unknown() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        pair.server_reads_to_end();
        let report = Report::of(&["--source", "proc", "--older-than", "0s"]);
        assert_eq!(report.codes(), ["close-wait-leaked"]);
        let report = Report::of(&["--source", "proc"]);
        assert_eq!(report.status, 0);
        let unseen = report.document["unseen"].to_string();
        assert!(
            unseen.contains("the age of 1 end in CLOSE_WAIT"),
            "{unseen}"
        );
        let (text, _) = text_of(&["--source", "proc"]);
        let words = "no trouble found in 1 connection; 1 in CLOSE_WAIT of unknown age\n";
        assert!(text.starts_with(words), "{text}");
    });
}

/// Ends with the test, whatever comes of that.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

#[test]
fn watching_tells_what_comes_and_what_goes() {
    alone(|| {
        let server = server();
        let arguments = [
            "doctor",
            "--watch",
            "20ms",
            "--older-than",
            "50ms",
            "--format",
            "json",
        ];
        let mut command = program(Path::new(PROGRAM), &arguments);
        let mut running = Running(while_nobody_closes(|| command.spawn()).unwrap());
        let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let mut reports = lines.map(|line| {
            let report: Value = serde_json::from_str(&line.unwrap()).unwrap();
            report
        });
        let is_leaked = |report: &Value| {
            let groups = report["groups"].as_array().unwrap();
            groups
                .iter()
                .any(|group| group["code"] == "close-wait-leaked")
        };
        assert!(!is_leaked(&reports.next().unwrap()), "nothing is wrong yet");
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        pair.server_reads_to_end();
        let found = reports.find(is_leaked).unwrap();
        let not_looked_for = found["not_looked_for"].to_string();
        assert!(
            !not_looked_for.contains("shared-descriptor"),
            "it is looked for now"
        );
        pair.close_server();
        assert!(reports.any(|report| !is_leaked(&report)));
        let pid = Pid::from_child(&running.0);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(reports.count(), 0);
        assert_eq!(
            running.0.wait().unwrap().code(),
            Some(0),
            "nothing is wrong any more"
        );
    });
}

#[test]
fn reports_in_words_are_dated_and_apart() {
    alone(|| {
        let server = server();
        let arguments = ["doctor", "--watch", "20ms", "--older-than", "50ms"];
        let mut command = program(Path::new(PROGRAM), &arguments);
        let mut running = Running(while_nobody_closes(|| command.spawn()).unwrap());
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        let is_time = |line: &str| {
            let digits = line.bytes().filter(u8::is_ascii_digit).count();
            line.len() == 15 && digits == 12 && line.matches(':').count() == 2
        };
        let first = next();
        assert!(is_time(&first), "{first}");
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        let mut before = first;
        loop {
            let line = next();
            if is_time(&line) {
                assert_eq!(before, "", "a blank line is between two");
                break;
            }
            before = line;
        }
    });
}

#[test]
fn what_is_suggested_asks_for_the_same() {
    alone(|| {
        let (text, _) = text_of(&[
            "--port",
            "1,7",
            "--host",
            "10.0.0.0/8",
            "--state",
            "close-wait",
        ]);
        let command = "tcpwatch --port 1,7 --host 10.0.0.0/8 --state CLOSE_WAIT)";
        assert!(text.contains(command), "{text}");
    });
}
