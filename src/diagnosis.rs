//! What the timeline means. Knows the model and the timeline, no source, no view, no clock.
//!
//! Three questions are answered here: how a connection ended, what is wrong with those that are
//! there, and whether the clocks of two hosts can both be right.

pub mod causality;
pub mod finding;
pub mod group;
mod health;
mod known;
pub mod lost;
mod ranked;
mod rules;
pub mod settings;
mod told;
pub mod until;
pub mod verdict;
pub mod watch;
pub mod words;

pub use causality::Clocks;
pub use finding::{Finding, Severity, Subject};
pub use health::{Health, Unseen, health, unseen};
pub use known::Known;
pub use lost::Lost;
pub use ranked::Place;
pub use settings::Settings;
pub use verdict::{Code, How, Verdict};
pub use watch::{Diagnosis, News};
