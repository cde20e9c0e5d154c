//! Who holds a socket, with real processes: by one census, by the thread that watches, and by the
//! program.
//!
//! The trap: what a test awaits must come by itself, on a machine that does much else; bounds are
//! held to be true, and to be narrow only within the patience of such a machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

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

#[path = "holders/holding.rs"]
mod holding;
#[path = "holders/program.rs"]
mod program;
#[path = "holders/sets.rs"]
mod sets;
#[path = "holders/watched.rs"]
mod watched;
