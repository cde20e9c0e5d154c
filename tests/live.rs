//! The program as its users run it: the real binary, real sockets, the real kernel, each test in
//! a network namespace of its own, through both sources with the same expectations.
//!
//! Every run's whole output is held against the rules in `common/story.rs`, whatever the test is
//! about. The trap: a test that sleeps is slow and still not sure. What must have happened is
//! awaited, in the program's own lines or in the kernel's table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

#[path = "common/netns.rs"]
mod netns;
#[path = "common/sockets.rs"]
mod sockets;
#[path = "common/story.rs"]
mod story;
#[path = "common/watcher.rs"]
mod watcher;

#[path = "live/attach.rs"]
mod attach;
#[path = "live/crowd.rs"]
mod crowd;
#[path = "live/ends.rs"]
mod ends;
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

/// Runs the scenario once through each source, each time in a fresh namespace.
fn through_both_sources(scenario: impl Fn(&'static str) + Sync) {
    for source in ["sock-diag", "proc"] {
        in_netns(source, || scenario(source));
    }
}

/// Runs the scenario in a fresh namespace.
fn in_netns(what: &str, scenario: impl FnOnce() + Send) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    netns::in_fresh_netns(&format!("{test} ({what})"), scenario);
}
