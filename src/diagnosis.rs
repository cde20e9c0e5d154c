//! What the timeline means. Knows the model and the timeline, no source, no view, no clock.
//!
//! So far one question is answered here: how a connection ended.

mod told;
pub mod verdict;

pub use verdict::{Code, How, Verdict};
