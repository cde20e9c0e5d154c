//! What the timeline means. Knows the model and the timeline, no source, no view, no clock.
//!
//! Two questions are answered here: how a connection ended, and whether the clocks of two hosts
//! can both be right.

pub mod causality;
mod told;
pub mod verdict;

pub use causality::Clocks;
pub use verdict::{Code, How, Verdict};
