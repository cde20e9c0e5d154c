//! The lab: teardown experiments that are really run, on loopback, between two real processes.
//!
//! [`experiments`] says what is done, as data; [`actors`] is a process that does it, one call at
//! a time; [`conductor`] starts two of them and gives the cues. None of them looks at sockets from
//! outside: what an experiment shows, the same sources show that watch any other program, and
//! [`judge`] reads it from the timeline.

pub mod actors;
pub mod conductor;
pub mod experiments;
pub mod judge;

pub use conductor::{Announcement, Conductor, LabError, Plan, Running};
pub use experiments::{Experiment, LoopbackFamily, Role};
