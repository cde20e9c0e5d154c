//! Recordings as their users make them: the real binary, real sockets, real disks, and ends that
//! nobody asked for.
//!
//! What is on the disk is read back with the library's own reader, and held against what truly
//! happened. The trap: a recording that says nothing breaks no rule, so every test first knows what
//! must be in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

#[path = "common/copy.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod copy;
#[path = "common/events.rs"]
mod events;
#[path = "common/netns.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod netns;
#[path = "common/sockets.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod sockets;
#[path = "common/story.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod story;
#[path = "common/watcher.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod watcher;

#[path = "record/disk.rs"]
mod disk;
#[path = "record/files.rs"]
mod files;
#[path = "record/kill.rs"]
mod kill;
#[path = "record/owners.rs"]
mod owners;
#[path = "record/rotation.rs"]
mod rotation;
#[path = "record/tape.rs"]
mod tape;
#[path = "record/whole.rs"]
mod whole;
