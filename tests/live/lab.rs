//! The experiments, run whole: what is seen is what they are there to show, and whoever leaves
//! one in the middle leaves nothing behind.

use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::sockets::{port_of, server};
use crate::story::Story;
use crate::watcher::{Watcher, run};
use crate::{in_netns_each, through_both_sources};

/// Long enough for a look between two steps: a look at /proc is costly, above all in a build
/// without optimization, and the program stretches its period for that.
const STEP: [&str; 4] = ["--step", "200ms", "--interval", "10ms"];

fn told(experiment: &str, arguments: &[&str]) -> Story {
    let all = [
        &["lab", experiment, "--format", "json"],
        &STEP[..],
        arguments,
    ]
    .concat();
    let (story, status) = Watcher::start(&all).rest();
    let conclusion = story.lines.last().unwrap();
    assert_eq!(conclusion["type"], "conclusion");
    assert_eq!(conclusion["experiment"], *experiment);
    assert_eq!(conclusion["shown"], true, "{conclusion}");
    assert_eq!(status, Some(0));
    story
}

fn path(story: &Story, end: &'static str) -> Vec<String> {
    story.path(1, end).into_iter().map(str::to_owned).collect()
}

#[test]
fn close_shows_a_reset_and_no_time_wait() {
    through_both_sources(|source| {
        let story = told("close", &["--source", source]);
        assert_eq!(story.verdict(1)["code"], "aborted");
        assert_eq!(story.verdict(1)["how"], "close");
        story.never_tells(&["TIME_WAIT", "LAST_ACK"]);
        assert_eq!(path(&story, "b").last().unwrap(), "CLOSE");
        assert_eq!(story.step(1, "a", "FIN_WAIT2")["descriptor"], "gone");
    });
}

#[test]
fn shutdown_shows_a_half_close_and_an_orderly_end() {
    through_both_sources(|source| {
        let story = told("shutdown", &["--source", source]);
        assert_eq!(story.verdict(1)["code"], "orderly");
        assert_eq!(story.verdict(1)["how"], "shutdown");
        assert!(path(&story, "a").contains(&"TIME_WAIT".to_owned()));
        assert_eq!(story.step(1, "a", "FIN_WAIT2")["descriptor"], "held");
    });
}

#[test]
fn the_experiments_work_over_ipv6_and_over_both_versions() {
    for experiment in ["close", "shutdown"] {
        in_netns_each(["--ipv6", "--dual-stack"], |option| {
            let addr = match option {
                "--ipv6" => "[::1]:",
                _ => "127.0.0.1:",
            };
            let story = told(experiment, &[option]);
            let open = story.all("open").next().unwrap();
            for end in ["a", "b"] {
                assert!(open[end].as_str().unwrap().starts_with(addr), "{open}");
            }
        });
    }
}

#[test]
fn lines_end_with_the_experiment_and_what_it_showed() {
    in_netns_each(["close", "shutdown"], |experiment| {
        let output = run(&[&["lab", experiment, "--format", "text"], &STEP[..]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with(&format!("{experiment}: shown: ")),
            "{text}"
        );
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(raw), "{text:?}");
    });
}

#[test]
fn a_port_of_one_s_own_is_used() {
    in_netns_each(["close"], |experiment| {
        let story = told(experiment, &["--port", "50008"]);
        let open = story.all("open").next().unwrap();
        assert_eq!(open["b"], "127.0.0.1:50008");
    });
}

#[test]
fn a_port_that_is_taken_is_named_in_one_line() {
    in_netns_each(["close"], |experiment| {
        let server = server();
        let port = port_of(&server).to_string();
        let output = run(&["lab", experiment, "--port", &port]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(output.stdout, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said,
            format!(
                "tcpwatch: port {port} on 127.0.0.1 is taken (EADDRINUSE); \
                 choose another with --port\n"
            )
        );
    });
}

/// The process of a note, while it is there.
fn process_of(note: &Value) -> String {
    let process = format!("/proc/{}", note["pid"]);
    assert!(Path::new(&process).exists(), "{note}");
    process
}

#[test]
fn an_experiment_left_in_the_middle_leaves_nothing_behind() {
    in_netns_each(["SIGINT", "SIGTERM"], |name| {
        let signal = match name {
            "SIGINT" => Signal::INT,
            _ => Signal::TERM,
        };
        let arguments = ["--format", "json", "--step", "300ms", "--port", "50008"];
        let mut watcher = Watcher::start(&[&["lab", "shutdown"], &arguments[..]].concat());
        let note = |role: &'static str| {
            move |line: &Value| {
                let text = line["text"].as_str().unwrap_or_default();
                line["type"] == "note" && text.starts_with(role)
            }
        };
        let client = process_of(&watcher.wait_for("the client's first call", note("client")));
        let server = process_of(&watcher.wait_for("the server's first call", note("server")));
        assert!(TcpStream::connect("127.0.0.1:50008").is_ok());
        let story = watcher.finish_by(signal);
        assert_eq!(story.all("conclusion").count(), 0);
        for process in [client, server] {
            assert!(!Path::new(&process).exists(), "{process}");
        }
        let refused = TcpStream::connect("127.0.0.1:50008").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn without_a_name_the_experiments_are_listed() {
    let output = run(&["lab"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for (line, name) in text.lines().zip(["close", "shutdown"]) {
        assert!(line.starts_with(name), "{text}");
    }
}
