//! The ways in which a connection can end, as words.

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The peer refused.
    Refused,
    /// Nobody answered any more.
    TimedOut,
    /// A reset ended it, whoever sent it.
    Aborted,
    /// The first closer's FIN_WAIT2 ran out: the peer never closed.
    Orphaned,
    /// Both closed at once.
    Simultaneous,
    /// FIN and acknowledgement in both directions.
    Orderly,
    /// What was seen does not tell.
    Unknown,
}

impl Code {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 7] = [
        Self::Orderly,
        Self::Simultaneous,
        Self::Aborted,
        Self::Orphaned,
        Self::TimedOut,
        Self::Refused,
        Self::Unknown,
    ];

    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::Aborted => "aborted",
            Self::Orphaned => "orphaned",
            Self::Simultaneous => "simultaneous",
            Self::Orderly => "orderly",
            Self::Unknown => "unknown",
        }
    }
}
