//! The rules against real sockets: what is made wrong is found, on the right end, and nothing else is;
//! and a healthy server under load is left in peace.
//!
//! Each scene has a network namespace of its own and is watched by the built program. What needs no
//! events is shown with and without them.

#![allow(
    clippy::disallowed_methods,
    reason = "a load is paced by time, and that something lasts is what is tested"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

#[path = "common/events.rs"]
mod events;
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

#[path = "found/healthy.rs"]
mod healthy;
#[path = "found/holders.rs"]
mod holders;
#[path = "found/resets.rs"]
mod resets;
#[path = "found/silence.rs"]
mod silence;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::sockets::Pair;
use crate::story::describe;
use crate::watcher::Watcher;

/// A running watcher, and what may be found.
struct Scene {
    watcher: Watcher,
    expected: BTreeSet<String>,
}

impl Scene {
    fn on(source: &str, arguments: &[&str]) -> Self {
        Self {
            watcher: Watcher::on(source, arguments),
            expected: BTreeSet::new(),
        }
    }

    /// Waits until a code is found of an end; the line.
    fn finds(&mut self, pair: &Pair, end: &str, code: &str) -> Value {
        let local = if end == "a" { pair.a } else { pair.b }.to_string();
        let remote = if end == "a" { pair.b } else { pair.a }.to_string();
        self.expected.insert(format!("{code} {end}"));
        self.watcher.wait_for(&format!("{code} of {end}"), |line| {
            line["type"] == "finding"
                && line["code"] == code
                && line["local"] == *local
                && line["remote"] == *remote
        })
    }

    /// Waits until it is said that a code does not hold any more.
    fn is_over(&mut self, code: &str) {
        self.watcher
            .wait_for(&format!("the end of {code}"), |line| {
                line["type"] == "finding_over" && line["code"] == code
            });
    }

    /// Nothing but what was waited for was found.
    fn ends(self) {
        let expected = self.expected;
        let story = self.watcher.finish();
        let found: BTreeSet<String> = findings(&story.lines).collect();
        assert_eq!(found, expected, "\n{}", describe(&story.lines));
    }
}

/// `CODE end` of each finding.
fn findings(lines: &[Value]) -> impl Iterator<Item = String> {
    let found = lines.iter().filter(|line| line["type"] == "finding");
    found.map(|line| {
        let word = |field: &str| line[field].as_str().unwrap_or("-").to_owned();
        format!("{} {}", word("code"), word("end"))
    })
}

/// With events where they can run, and without.
fn in_both_ways(name: &str, act: impl Fn(&str) + Sync) {
    let ways: &[&str] = match events::can_run(name) {
        true => &["events", "sock-diag"],
        false => &["sock-diag"],
    };
    for way in ways {
        netns::in_fresh_netns(name, || act(way));
    }
}

/// Where events can run.
fn with_events(name: &str, act: impl Fn() + Sync) {
    if events::can_run(name) {
        netns::in_fresh_netns(name, &act);
    }
}
