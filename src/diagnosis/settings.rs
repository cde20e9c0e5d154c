//! The thresholds of the rules: from when on something that is always there for a moment counts.

use std::time::Duration;

/// Thresholds. Their defaults, and why, are in docs/diagnosis.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A CLOSE_WAIT, or a held FIN_WAIT2, is old from then on (`--older-than`).
    pub older_than: Duration,
    /// A half-close in use is as it should be until then.
    pub half_close: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            older_than: Duration::from_secs(30),
            half_close: Duration::from_secs(300),
        }
    }
}
