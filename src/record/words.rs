//! The words of a recording, each with what it stands for: one table a kind, read in both
//! directions, so that what is written can be read.
//!
//! A promise like the machine output's: a word never changes its meaning. The trap: a word that a
//! later version adds is unknown here; it makes its line one that is skipped, never a guess.

use crate::model::event::{File, ResetReason};
use crate::model::{Endpoint, SourceName, TcpState, TimerKind};

/// The word of `value` in the table.
fn word<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> Option<&'static str> {
    table
        .iter()
        .find(|(known, _)| *known == value)
        .map(|(_, word)| *word)
}

/// What the word stands for in the table.
fn meaning<T: Copy>(table: &[(T, &'static str)], word: &str) -> Option<T> {
    table
        .iter()
        .find(|(_, known)| *known == word)
        .map(|(value, _)| *value)
}

const SOURCES: [SourceName; 9] = [
    SourceName::SockDiag,
    SourceName::Proc,
    SourceName::Bpf,
    SourceName::Destroy,
    SourceName::Follow,
    SourceName::Holders,
    SourceName::Info,
    SourceName::Lab,
    SourceName::Recording,
];

pub(super) fn source(word: &str) -> Option<SourceName> {
    SOURCES.into_iter().find(|source| source.token() == word)
}

/// Nearly every line has one. Bytes, since the compiler makes a tree of them.
pub(super) fn state(word: &str) -> Option<TcpState> {
    Some(match word.as_bytes() {
        b"ESTABLISHED" => TcpState::Established,
        b"SYN_SENT" => TcpState::SynSent,
        b"SYN_RECV" => TcpState::SynRecv,
        b"FIN_WAIT1" => TcpState::FinWait1,
        b"FIN_WAIT2" => TcpState::FinWait2,
        b"TIME_WAIT" => TcpState::TimeWait,
        b"CLOSE" => TcpState::Close,
        b"CLOSE_WAIT" => TcpState::CloseWait,
        b"LAST_ACK" => TcpState::LastAck,
        b"LISTEN" => TcpState::Listen,
        b"CLOSING" => TcpState::Closing,
        _ => return None,
    })
}

const FILES: [(File, &str); 4] = [
    (File::Held, "held"),
    (File::Closing, "closing"),
    (File::Absent, "absent"),
    (File::Unknown, "unknown"),
];

pub(super) fn file_word(file: File) -> &'static str {
    word(&FILES, file).unwrap_or("unknown")
}

pub(super) fn file(word: &str) -> Option<File> {
    meaning(&FILES, word)
}

const REASONS: [(ResetReason, &str); 11] = [
    (ResetReason::AbortOnClose, "unread_data"),
    (ResetReason::AbortOnLinger, "linger2"),
    (ResetReason::AbortOnData, "data_after_close"),
    (ResetReason::AbortOnMemory, "out_of_memory"),
    (ResetReason::TimeWaitSocket, "segment_in_time_wait"),
    (ResetReason::KeepaliveTimeout, "keepalive_timeout"),
    (ResetReason::DisconnectWithData, "disconnect_with_data"),
    (ResetReason::State, "state"),
    (ResetReason::NoSocket, "no_socket"),
    (ResetReason::Other, "segment_refused"),
    (ResetReason::Unsaid, "unsaid"),
];

pub(super) fn reason_word(reason: ResetReason) -> &'static str {
    word(&REASONS, reason).unwrap_or("unsaid")
}

pub(super) fn reason(word: &str) -> Option<ResetReason> {
    meaning(&REASONS, word)
}

/// Timers that have no word of their own are `other:CODE`.
const TIMERS: [(TimerKind, &str); 4] = [
    (TimerKind::Retransmit, "retransmit"),
    (TimerKind::KeepAlive, "keepalive"),
    (TimerKind::TimeWait, "timewait"),
    (TimerKind::Probe, "probe"),
];

/// The word of a timer, or the kernel's code of one that has none.
pub(super) fn timer_word(kind: TimerKind) -> Result<&'static str, u8> {
    match kind {
        TimerKind::Other(code) => Err(code),
        kind => word(&TIMERS, kind).ok_or(0),
    }
}

pub(super) fn timer(word: &str) -> Option<TimerKind> {
    match word.strip_prefix("other:") {
        Some(code) => TimerKind::from_kernel(code.parse().ok()?),
        None => meaning(&TIMERS, word),
    }
}

/// `127.0.0.1:80`, `[::1]:80`, `[fe80::1%3]:80` with the interface's index.
pub(super) fn endpoint(text: &str) -> Option<Endpoint> {
    let (addr, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let Some(inside) = addr.strip_prefix('[') else {
        let addr: std::net::Ipv4Addr = addr.parse().ok()?;
        return Some(Endpoint::new(addr.into(), port));
    };
    let inside = inside.strip_suffix(']')?;
    let (addr, interface) = match inside.split_once('%') {
        Some((addr, index)) => (addr, index.parse().ok()?),
        None => (inside, 0),
    };
    let addr: std::net::Ipv6Addr = addr.parse().ok()?;
    Some(Endpoint::on_interface(addr.into(), port, interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_what_it_was_written_for() {
        for (file, word) in FILES {
            assert_eq!(super::file(word), Some(file));
        }
        for (reason, word) in REASONS {
            assert_eq!(super::reason(word), Some(reason));
        }
        for state in TcpState::ALL {
            assert_eq!(super::state(state.name()), Some(state));
        }
        for (kind, word) in TIMERS {
            assert_eq!((timer(word), timer_word(kind)), (Some(kind), Ok(word)));
        }
        assert_eq!(timer("other:6"), Some(TimerKind::Other(6)));
        assert_eq!(timer("other:0"), None);
        assert_eq!(source("follow"), Some(SourceName::Follow));
        assert_eq!(source("ebpf2"), None);
    }
}
