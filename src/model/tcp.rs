//! TCP as the kernel speaks of it: states, timers, the shutdown mask, and which state may follow
//! which.
//!
//! The trap: a state that was not seen may still be certain. [`passed_between`] names exactly the
//! states that lie on *every* legal path; what lies only on some is never claimed.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::model::Timestamp;

/// A connection state, in the kernel's numbering (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// Both directions open.
    Established = 1,
    /// Our SYN is out and not answered.
    SynSent = 2,
    /// A SYN came and our SYN-ACK is not acknowledged (the kernel's NEW_SYN_RECV too).
    SynRecv = 3,
    /// Our FIN is out (or queued) and not acknowledged.
    FinWait1 = 4,
    /// Our FIN is acknowledged, the peer's has not come.
    FinWait2 = 5,
    /// Both FINs are through, and we closed first: 60 s of waiting for stragglers.
    TimeWait = 6,
    /// No connection.
    Close = 7,
    /// The peer's FIN came, our program has not closed.
    CloseWait = 8,
    /// The peer's FIN came first, ours is out and not acknowledged.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Both FINs crossed; ours is not acknowledged.
    Closing = 11,
}

impl TcpState {
    /// All states, in the kernel's order.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// The state of a kernel number, `None` for one we do not know. 12 (`NEW_SYN_RECV`) is a
    /// request socket, which `sock_diag` and /proc already print as `SYN_RECV`.
    pub const fn from_kernel(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// The spelling of netstat, which is ours everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
        }
    }

    /// The kernel's bit in a state mask.
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The peer's FIN has been received in this state, so it counts one in the receive queue
    /// until the program has read the end of file.
    pub const fn has_received_fin(self) -> bool {
        matches!(
            self,
            Self::CloseWait | Self::LastAck | Self::Closing | Self::TimeWait
        )
    }

    /// Our FIN is queued or out and not acknowledged, so it counts one in the send queue.
    pub const fn has_fin_in_flight(self) -> bool {
        matches!(self, Self::FinWait1 | Self::LastAck | Self::Closing)
    }

    /// Our SYN or FIN is not acknowledged, and counts one in the send queue.
    pub const fn has_control_in_flight(self) -> bool {
        matches!(self, Self::SynSent) || self.has_fin_in_flight()
    }

    /// The states that may come next, as a mask (RFC 9293 section 3.3.2; Linux `tcp_input.c`).
    ///
    /// `fast_open` adds the edges of a whole socket in SYN_RECV, accepted before its handshake
    /// ended (or opened from both sides): it can be closed, and meet a FIN.
    const fn followers(self, fast_open: bool) -> u16 {
        const CLOSE: u16 = TcpState::Close.bit();
        match self {
            Self::Close => Self::SynSent.bit() | Self::SynRecv.bit() | Self::Listen.bit(),
            Self::Listen => Self::SynRecv.bit() | CLOSE,
            Self::SynSent => Self::Established.bit() | Self::SynRecv.bit() | CLOSE,
            Self::SynRecv => {
                let early = if fast_open {
                    Self::FinWait1.bit() | Self::CloseWait.bit()
                } else {
                    0
                };
                Self::Established.bit() | CLOSE | early
            }
            Self::Established => Self::FinWait1.bit() | Self::CloseWait.bit() | CLOSE,
            Self::FinWait1 => {
                Self::FinWait2.bit() | Self::Closing.bit() | Self::TimeWait.bit() | CLOSE
            }
            Self::FinWait2 => Self::TimeWait.bit() | CLOSE,
            Self::Closing => Self::TimeWait.bit() | CLOSE,
            Self::CloseWait => Self::LastAck.bit() | CLOSE,
            Self::LastAck | Self::TimeWait => CLOSE,
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A state name that nobody uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a TCP state (allowed: {allowed})", allowed = state_names())]
pub struct UnknownState(String);

fn state_names() -> String {
    TcpState::ALL.map(TcpState::name).join(", ")
}

impl FromStr for TcpState {
    type Err = UnknownState;

    /// Accepts netstat's spelling, that of `ss` (`close-wait`, `fin-wait-1`, `estab`, `closed`),
    /// and RFC 9293's, in either case.
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let plain: String = text
            .trim()
            .chars()
            .filter(|c| !matches!(c, '-' | '_'))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let alias = match plain.as_str() {
            "ESTAB" => "ESTABLISHED",
            "CLOSED" | "UNCONN" => "CLOSE",
            "LISTENING" => "LISTEN",
            "SYNRECEIVED" | "SYNRCVD" => "SYNRECV",
            other => other,
        };
        Self::ALL
            .into_iter()
            .find(|state| state.name().replace('_', "") == alias)
            .ok_or_else(|| UnknownState(text.escape_default().to_string()))
    }
}

/// A set of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateSet(u16);

impl StateSet {
    /// No state.
    pub const EMPTY: Self = Self(0);

    /// This set and `state`.
    #[must_use]
    pub const fn with(self, state: TcpState) -> Self {
        Self(self.0 | state.bit())
    }

    /// Whether `state` is in the set.
    pub const fn contains(self, state: TcpState) -> bool {
        self.0 & state.bit() != 0
    }

    /// Whether the two sets share a state.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no state is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The states of the set, in the kernel's order.
    pub fn iter(self) -> impl Iterator<Item = TcpState> {
        TcpState::ALL
            .into_iter()
            .filter(move |state| self.contains(*state))
    }
}

impl FromIterator<TcpState> for StateSet {
    fn from_iter<I: IntoIterator<Item = TcpState>>(states: I) -> Self {
        states.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Whether `to` can be reached from `from` within one life of a connection.
pub fn can_follow(from: TcpState, to: TcpState, fast_open: bool) -> bool {
    reachable(from, to, 0, fast_open)
}

/// The states that every legal path from `from` to `to` passes, in order, the two not among them.
///
/// Empty when one step suffices, when the paths share nothing, or when there is no path.
pub fn passed_between(from: TcpState, to: TcpState, fast_open: bool) -> &'static [TcpState] {
    // `ALL` is in the kernel's order, which begins with 1.
    let index = |state| state as usize - 1;
    &PASSED[usize::from(fast_open)][index(from)][index(to)]
}

/// What is passed between any two states, without and with fast open. Asked for at every change,
/// so it is found once.
static PASSED: LazyLock<[[[Vec<TcpState>; 11]; 11]; 2]> = LazyLock::new(|| {
    let all = TcpState::ALL;
    [false, true].map(|fast_open| all.map(|from| all.map(|to| find_passed(from, to, fast_open))))
});

fn find_passed(from: TcpState, to: TcpState, fast_open: bool) -> Vec<TcpState> {
    if from == to || !can_follow(from, to, fast_open) {
        return Vec::new();
    }
    let mut forced: Vec<TcpState> = TcpState::ALL
        .into_iter()
        .filter(|&state| state != from && state != to)
        .filter(|&state| !reachable(from, to, state.bit(), fast_open))
        .collect();
    // All of them lie on one path, so "can be followed by" orders them.
    forced.sort_by(|&a, &b| {
        if can_follow(a, b, fast_open) {
            std::cmp::Ordering::Less
        } else {
            std::cmp::Ordering::Greater
        }
    });
    forced
}

/// Whether a path leads from `from` to `to` that avoids the states in `without` and does not run
/// through CLOSE, where a life ends.
fn reachable(from: TcpState, to: TcpState, without: u16, fast_open: bool) -> bool {
    let mut seen = 0u16;
    let mut open = from.followers(fast_open) & !without;
    while open != 0 {
        if open & to.bit() != 0 {
            return true;
        }
        seen |= open;
        let mut next = 0u16;
        for state in TcpState::ALL {
            if open & state.bit() != 0 && state != TcpState::Close {
                next |= state.followers(fast_open);
            }
        }
        open = next & !seen & !without;
    }
    false
}

/// Which sides of a socket are shut (`sk_shutdown`: 1 receive, 2 send).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shutdown(u8);

impl Shutdown {
    /// The mask as the kernel gives it; bits beyond the two are dropped.
    pub const fn from_kernel(mask: u8) -> Self {
        Self(mask & 3)
    }

    /// The kernel's mask, 0 to 3.
    pub const fn mask(self) -> u8 {
        self.0
    }

    /// The receive side is shut: the peer's FIN came, or `SHUT_RD`.
    pub const fn receive(self) -> bool {
        self.0 & 1 != 0
    }

    /// The send side is shut: our FIN is queued, out, or acknowledged.
    pub const fn send(self) -> bool {
        self.0 & 2 != 0
    }
}

/// What a socket's running timer is for (`idiag_timer`, column `tr` of /proc/net/tcp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerKind {
    /// Retransmission, tail-loss probe, or early retransmit.
    Retransmit,
    /// Keepalive, the SYN-ACK timer, or an orphan FIN_WAIT2 longer than 60 s.
    KeepAlive,
    /// A mini-socket's: TIME_WAIT, or FIN_WAIT2 after the descriptor is gone.
    TimeWait,
    /// Zero-window probe.
    Probe,
    /// A code that this version does not know (newer kernels report delayed ACKs).
    Other(u8),
}

impl TimerKind {
    /// The kind of a kernel code; `None` for 0, no timer.
    pub const fn from_kernel(code: u8) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::Retransmit,
            2 => Self::KeepAlive,
            3 => Self::TimeWait,
            4 => Self::Probe,
            other => Self::Other(other),
        })
    }

    /// A short word for the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retransmit => "retransmit",
            Self::KeepAlive => "keepalive",
            Self::TimeWait => "timewait",
            Self::Probe => "probe",
            Self::Other(_) => "other",
        }
    }
}

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    /// What it is for.
    pub kind: TimerKind,
    /// When it runs out. The kernel says it in jiffies: up to 10 ms coarse.
    pub deadline: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::TcpState::*;
    use super::*;

    #[test]
    fn states_are_read_in_every_common_spelling() {
        for (text, state) in [
            ("CLOSE_WAIT", CloseWait),
            ("close-wait", CloseWait),
            ("fin-wait-1", FinWait1),
            ("FIN_WAIT1", FinWait1),
            ("FIN-WAIT-2", FinWait2),
            ("estab", Established),
            ("syn-recv", SynRecv),
            ("SYN-RECEIVED", SynRecv),
            ("closed", Close),
            ("Listening", Listen),
            ("time_wait", TimeWait),
        ] {
            assert_eq!(text.parse(), Ok(state), "{text}");
        }
        let error = "half-open".parse::<TcpState>().unwrap_err().to_string();
        assert!(error.starts_with("'half-open' is not a TCP state (allowed: ESTABLISHED,"));
        assert!(
            "\u{1b}[31m"
                .parse::<TcpState>()
                .unwrap_err()
                .to_string()
                .contains("\\u{1b}")
        );
    }

    #[test]
    fn the_kernel_numbers_are_the_kernels() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::from_kernel(state as u8), Some(state));
        }
        assert_eq!(TcpState::from_kernel(12), Some(SynRecv));
        assert_eq!(TcpState::from_kernel(0), None);
        assert_eq!(TcpState::from_kernel(13), None);
    }

    #[test]
    fn only_what_every_path_passes_is_inferred() {
        let cases: &[(TcpState, TcpState, &[TcpState])] = &[
            (Established, TimeWait, &[FinWait1]),
            (Established, FinWait2, &[FinWait1]),
            (Established, LastAck, &[CloseWait]),
            (Established, Closing, &[FinWait1]),
            (Established, Close, &[]),
            (Established, CloseWait, &[]),
            (CloseWait, Close, &[]),
            (FinWait1, TimeWait, &[]),
            (Close, Established, &[]),
            (Close, TimeWait, &[Established, FinWait1]),
            (Close, CloseWait, &[Established]),
            (Close, LastAck, &[Established, CloseWait]),
            (SynSent, FinWait2, &[Established, FinWait1]),
            (TimeWait, Established, &[]),
        ];
        for &(from, to, forced) in cases {
            assert_eq!(passed_between(from, to, false), forced, "{from} to {to}");
        }
    }

    #[test]
    fn under_fast_open_a_handshake_may_be_skipped() {
        assert_eq!(passed_between(Close, TimeWait, true), [FinWait1]);
        assert_eq!(passed_between(Close, CloseWait, true), []);
    }

    #[test]
    fn a_life_does_not_run_through_close() {
        assert!(!can_follow(TimeWait, Established, false));
        assert!(!can_follow(FinWait2, Established, false));
        assert!(!can_follow(CloseWait, FinWait1, false));
        assert!(can_follow(SynRecv, CloseWait, false));
        assert!(can_follow(TimeWait, Close, false));
    }
}
