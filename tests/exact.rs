//! The exact mode: every step at its true time and with its true cause, held against calls that are
//! stamped before and after; and the same lives watched without events, where less may be told, but
//! nothing wrong.
//!
//! Each scenario is a script of calls on real sockets in a network namespace of its own, and says
//! itself what truly happened (`exact/life.rs`). The trap: what is true of a busy machine. A segment
//! on loopback may be handled after the call that sent it has returned, so that only the step of
//! the caller's own socket lies between the call's stamps; for all others the upper bound is the
//! kernel's own table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

#[path = "common/copy.rs"]
mod copy;
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

#[path = "exact/actor.rs"]
mod actor;
#[path = "exact/crowd.rs"]
mod crowd;
#[path = "exact/kinds.rs"]
mod kinds;
#[path = "exact/life.rs"]
mod life;
#[path = "exact/orderly.rs"]
mod orderly;
#[path = "exact/processes.rs"]
mod processes;
#[path = "exact/resets.rs"]
mod resets;
#[path = "exact/scene.rs"]
mod scene;
#[path = "exact/silence.rs"]
mod silence;
#[path = "exact/trouble.rs"]
mod trouble;
