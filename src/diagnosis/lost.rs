//! What an end took with it when a reset ended it.
//!
//! The trap: a victim can still read what had come before the reset; only whoever closes throws it
//! away. What was sent and not acknowledged is lost on either side, or has arrived without anybody
//! knowing.

use crate::diagnosis::words;
use crate::timeline::{Cause, Reason, Track};

/// Bytes that an end lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Received, and thrown away unread.
    pub unread: u32,
    /// Sent or queued, and never acknowledged.
    pub unacked: u32,
}

impl Lost {
    /// What an end lost that a reset has ended; `None` of others.
    pub fn of(track: &Track) -> Option<Self> {
        let why = track.why_gone()?;
        if !matches!(why.cause, Cause::ResetSent | Cause::ResetReceived) {
            return None;
        }
        let unread = match why.reason {
            Some(Reason::UnreadData(bytes)) => bytes,
            Some(Reason::LingerZero | Reason::NeverAccepted) => track.beside().unread.unwrap_or(0),
            _ => 0,
        };
        Some(Self {
            unread,
            unacked: track.beside().unacked.unwrap_or(0),
        })
    }

    /// Whether it is anything.
    pub const fn is_some(self) -> bool {
        self.unread > 0 || self.unacked > 0
    }

    /// `4000 bytes received and never read`.
    pub fn words(self) -> String {
        let unread = format!(
            "{} received and never read",
            words::bytes(self.unread.into())
        );
        let unacked = format!(
            "{} sent and never acknowledged",
            words::bytes(self.unacked.into())
        );
        match (self.unread, self.unacked) {
            (0, 0) => "nothing".to_owned(),
            (_, 0) => unread,
            (0, _) => unacked,
            _ => format!("{unread}, and {unacked}"),
        }
    }
}
