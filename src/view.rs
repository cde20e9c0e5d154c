//! What is shown: screen, lines, JSON. Formats what it is given; reads no clock, opens no source.

mod asked;
mod cause;
pub mod doctor;
pub mod duration;
mod exchange;
pub mod export;
pub mod facts;
mod finding;
#[cfg(test)]
mod fixture;
pub mod json;
mod owners;
pub mod palette;
pub mod plain;
pub mod report;
pub mod size;
mod source;
mod standing;
pub mod text;
pub mod tui;
pub mod waiting;
pub mod wall;

use crate::diagnosis::Verdict;
use crate::diagnosis::verdict::judge;
use crate::timeline::Connection;

pub use asked::Asked;
use asked::OfMany;

/// How a connection ended; `None` of a multipath one (MPTCP), to which the rules don't apply.
fn verdict(connection: &Connection) -> Option<Verdict> {
    (!connection.is_multipath()).then(|| judge(connection))
}

/// What stands in its place.
const MULTIPATH: &str = "multipath (MPTCP): its teardown goes by other rules";
