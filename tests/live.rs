//! The program as its users run it: the real binary, real sockets, the real kernel, each test in
//! a network namespace of its own, through every source with the same expectations.
//!
//! Every run's whole output is held against the rules in `common/story.rs`, whatever the test is
//! about. The trap: a test that sleeps is slow and still not sure. What must have happened is
//! awaited, in the program's own lines or in the kernel's table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::thread;

#[path = "common/copy.rs"]
mod copy;
#[path = "common/events.rs"]
mod events;
#[path = "common/netns.rs"]
mod netns;
#[path = "common/sockets.rs"]
#[allow(dead_code, reason = "shared with tests/exact.rs")]
mod sockets;
#[path = "common/story.rs"]
mod story;
#[path = "common/watcher.rs"]
#[allow(dead_code, reason = "shared with tests/exact.rs")]
mod watcher;

#[path = "live/attach.rs"]
mod attach;
#[path = "live/crowd.rs"]
mod crowd;
#[path = "live/ends.rs"]
mod ends;
#[path = "live/fallback.rs"]
mod fallback;
#[path = "live/filters.rs"]
mod filters;
#[path = "live/incarnations.rs"]
mod incarnations;
#[path = "live/lab.rs"]
mod lab;
#[path = "live/remote.rs"]
mod remote;
#[path = "live/resets.rs"]
mod resets;
#[path = "live/teardown.rs"]
mod teardown;
#[path = "live/usage.rs"]
mod usage;
#[path = "live/user.rs"]
mod user;

/// Runs the scenario once through each source, and once with events, each in a fresh namespace, at
/// the same time: they wait more than they work.
fn through_every_source(scenario: impl Fn(&'static str) + Sync) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    if events::can_run(&test) {
        in_netns_each(["sock-diag", "proc", "events"], scenario);
    } else {
        in_netns_each(["sock-diag", "proc"], scenario);
    }
}

/// Runs the scenario once through each source of looks.
fn through_both_sources(scenario: impl Fn(&'static str) + Sync) {
    in_netns_each(["sock-diag", "proc"], scenario);
}

/// Runs the scenario with each of these, each in a fresh namespace, at the same time.
fn in_netns_each<const N: usize>(cases: [&'static str; N], scenario: impl Fn(&'static str) + Sync) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let run = |case| {
        netns::in_fresh_netns(&format!("{test} ({case})"), || scenario(case));
    };
    thread::scope(|scope| {
        let run = &run;
        let running = cases.map(|case| scope.spawn(move || run(case)));
        for case in running {
            if let Err(panic) = case.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
