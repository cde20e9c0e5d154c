//! `tcpwatch doctor` as its users run it: real sockets that are in real trouble, each test in a
//! network namespace of its own, and the findings held against what was done.
//!
//! The trap: a state needs a moment to be entered and a descriptor a moment to be closed, so each
//! story is awaited in the kernel's table before the doctor is called.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::thread;
use std::time::Duration;

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

#[path = "doctor/close_wait.rs"]
mod close_wait;
#[path = "doctor/crowd.rs"]
mod crowd;
#[path = "doctor/others.rs"]
mod others;
#[path = "doctor/usage.rs"]
mod usage;

/// What a look came to.
struct Report {
    document: Value,
    status: i32,
}

impl Report {
    /// One look at everything in this namespace, with these thresholds.
    fn of(arguments: &[&str]) -> Self {
        let mut all = vec!["doctor", "--format", "json"];
        all.extend(arguments);
        let output = watcher::run(&all);
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        Self {
            document: serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{said}")),
            status: output.status.code().unwrap(),
        }
    }

    /// The findings of a code.
    fn findings(&self, code: &str) -> Vec<&Value> {
        let all = self.document["findings"].as_array().unwrap();
        all.iter().filter(|it| it["code"] == code).collect()
    }

    /// The only group of a code.
    #[track_caller]
    fn group(&self, code: &str) -> &Value {
        let all = self.document["groups"].as_array().unwrap();
        let mut of_code = all.iter().filter(|it| it["code"] == code);
        match (of_code.next(), of_code.next()) {
            (Some(group), None) => group,
            _ => panic!("not one group of {code}: {:#}", self.document),
        }
    }

    /// The codes found that are warnings or worse, each once, in order.
    fn codes(&self) -> Vec<&str> {
        let all = self.document["findings"].as_array().unwrap();
        let mut codes: Vec<&str> = all
            .iter()
            .filter(|it| it["severity"] != "info")
            .map(|it| it["code"].as_str().unwrap())
            .collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// The words of one look.
fn text_of(arguments: &[&str]) -> (String, i32) {
    let mut all = vec!["doctor"];
    all.extend(arguments);
    let output = watcher::run(&all);
    let status = output.status.code().unwrap();
    (String::from_utf8(output.stdout).unwrap(), status)
}

/// Runs the story in a fresh namespace.
fn alone(story: impl FnOnce() + Send) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    netns::in_fresh_netns(&test, story);
}

/// Lets so much time pass since a moment.
fn until_it_is_old(since: tcpwatch::model::Timestamp, age: Duration) {
    while clock::now().since(since) < age {
        thread::park_timeout(age.saturating_sub(clock::now().since(since)));
    }
}

/// This process, as the doctor has to name it.
fn own_pid() -> u64 {
    u64::from(std::process::id())
}
