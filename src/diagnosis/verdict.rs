//! How a connection ended, as far as its two tracks can tell.
//!
//! An orderly close leaves a TIME_WAIT on exactly one end, a simultaneous one on both. The trap:
//! looks can miss every state of a short teardown, even the TIME_WAIT when a reset cuts it short,
//! and what was not seen must not be made up: everything that the rules below do not decide is
//! `unknown`.

mod code;
mod flow;

use std::borrow::Cow;
use std::time::Duration;

use crate::diagnosis::lost::Lost;
use crate::diagnosis::told::told_by_events;
use crate::model::{Descriptor, TcpState};
use crate::timeline::{Cause, Connection, Entry, Reason, Side, Span, Track, When, Why};
pub use code::Code;
use flow::{add_what_flowed, half_close};

/// How the first closer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Its last descriptor was gone when the FIN was first seen: `close()`, or the end of the
    /// process, or both calls between two looks.
    Close,
    /// It still held a descriptor: `shutdown()`.
    Shutdown,
    /// Its process ended, and the kernel closed for it.
    Exit,
    /// It sent a reset and no FIN.
    Reset,
    /// It gave up waiting.
    Timeout,
}

impl How {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Shutdown => "shutdown",
            Self::Exit => "exit",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
        }
    }
}

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub code: Code,
    /// Who closed first; `None` when that can't be told, or both did.
    pub first_closer: Option<Side>,
    /// How that end began; `None` when no look showed it.
    pub how: Option<How>,
    /// The signal that ended the first closer's process.
    pub signal: Option<u8>,
    /// Bytes that an end had received and threw away unread, as far as an event told.
    pub lost_bytes: Option<u64>,
    /// What each end, A and B, lost in a reset; `None` of an end that no event says was reset.
    pub lost: [Option<Lost>; 2],
    /// Whether data still flowed after the first FIN; `None` where nothing tells.
    pub half_close: Option<bool>,
    /// One sentence, with what it rests on.
    pub sentence: String,
}

/// How the connection ended, by the code alone.
pub fn code(connection: &Connection) -> Code {
    how_it_ended(connection).0
}

/// Judges a connection whose visible ends are all over.
pub fn judge(connection: &Connection) -> Verdict {
    let (code, evidence) = how_it_ended(connection);
    let first_closer = first_closer(connection, code);
    let closer = first_closer.and_then(|side| connection.end(side));
    let how = closer.and_then(how_it_closed);
    let first_step = closer.and_then(first_step_of);
    let signal = first_step.and_then(|why| why.signal);
    let is_exact = first_step.is_some_and(|why| why.call.is_some());
    let who = (first_closer, how);
    let lost = Side::BOTH.map(|side| connection.end(side).and_then(Lost::of));
    let half_close = half_close(connection, (first_closer, how), code);
    let mut sentence = sentence(who, (is_exact, signal), code, &evidence);
    add_what_flowed(&mut sentence, half_close, lost);
    Verdict {
        code,
        first_closer,
        how,
        signal,
        lost_bytes: lost_bytes(connection),
        lost,
        half_close,
        sentence,
    }
}

/// Its code alone, without the words.
pub fn code_of(connection: &Connection) -> Code {
    how_it_ended(connection).0
}

/// What the rules rest on, in the words of the sentence.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Evidence(pub(super) Cow<'static, str>);

impl Evidence {
    pub(super) const fn plain(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

fn lost_bytes(connection: &Connection) -> Option<u64> {
    let thrown_away = |track: &Track| match track.why_gone()?.reason {
        Some(Reason::UnreadData(bytes)) => Some(u64::from(bytes)),
        _ => None,
    };
    connection
        .visible()
        .find_map(|(_, track)| thrown_away(track))
}

fn how_it_ended(connection: &Connection) -> (Code, Evidence) {
    let tracks: Vec<&Track> = connection.visible().map(|(_, track)| track).collect();
    if let Some(told) = told_by_events(connection) {
        return told;
    }
    let in_time_wait = |track: &&&Track| track.passed(TcpState::TimeWait);
    match tracks.iter().filter(in_time_wait).count() {
        2 => {
            return (
                Code::Simultaneous,
                Evidence::plain("both reached TIME_WAIT"),
            );
        }
        1 if tracks.iter().any(|track| track.passed(TcpState::Closing)) => {
            return (Code::Simultaneous, Evidence::plain("CLOSING was seen"));
        }
        1 => return (Code::Orderly, orderly(&tracks)),
        _ => {}
    }
    if connection.was_replaced() {
        return (
            Code::Unknown,
            Evidence::plain("the 4-tuple was in use again before the end was seen"),
        );
    }
    if connection.time_wait_unreliable() {
        return (
            Code::Unknown,
            Evidence::plain(
                "the host dropped TIME_WAITs for want of room, so that none proves nothing",
            ),
        );
    }
    if is_orphaned(connection) {
        return (
            Code::Orphaned,
            Evidence::plain("FIN_WAIT2 ran out without the peer's FIN"),
        );
    }
    match tracks.as_slice() {
        [only] => alone(only, connection.reset_counted()),
        [_, _] => both_vanished(&tracks, connection.reset_counted()),
        _ => (Code::Unknown, Evidence::plain("no end was seen")),
    }
}

fn orderly(tracks: &[&Track]) -> Evidence {
    let is_seen = tracks
        .iter()
        .any(|track| track.seen_states().contains(TcpState::TimeWait));
    Evidence::plain(if is_seen {
        "its TIME_WAIT shows that both FINs went through"
    } else {
        "both FINs went through; no look has shown the TIME_WAIT that follows"
    })
}

/// One visible end, gone without TIME_WAIT.
fn alone(track: &Track, reset_counted: bool) -> (Code, Evidence) {
    if was_retransmitting(track) {
        return (Code::Unknown, RETRANSMITTING);
    }
    match track.last_living() {
        TcpState::SynSent | TcpState::SynRecv => (Code::Unknown, NEVER_ESTABLISHED),
        TcpState::LastAck => (
            Code::Orderly,
            Evidence::plain("LAST_ACK ended; the other end was not seen, so its ACK is assumed"),
        ),
        TcpState::FinWait2 if vanished_before_its_time(track) => (
            Code::Aborted,
            Evidence::plain(
                "FIN_WAIT2 ended before its time and left no TIME_WAIT: a reset, instead of the \
                 peer's FIN or just after it",
            ),
        ),
        TcpState::Established | TcpState::CloseWait if reset_counted => (
            Code::Aborted,
            Evidence::plain("the end vanished, left no TIME_WAIT, and the host counted a reset"),
        ),
        _ => (
            Code::Unknown,
            Evidence::plain(
                "the end vanished between two looks, and the other end was not seen here",
            ),
        ),
    }
}

const RETRANSMITTING: Evidence = Evidence::plain(
    "an end was retransmitting, or probing, without an answer when it vanished: a timeout or a reset",
);
const NEVER_ESTABLISHED: Evidence =
    Evidence::plain("it was last seen in the handshake: refused, timed out, reset, or given up");

/// Its FIN, data or probes were sent again and again. The trap: giving up in ESTABLISHED or
/// CLOSE_WAIT (keepalive, `TCP_USER_TIMEOUT`) counts as a reset does (`tcp_set_state`).
fn was_retransmitting(track: &Track) -> bool {
    let last = track.last();
    let may_give_up = matches!(last.state, TcpState::Established | TcpState::CloseWait);
    (last.state.has_fin_in_flight() || may_give_up) && last.retransmits > 0
}

/// A mini-socket in FIN_WAIT2 that was seen, and not seen any more, before its timer was due.
fn vanished_before_its_time(track: &Track) -> bool {
    let last = track.last();
    let (Some(timer), Some(end)) = (last.timer, track.spans().last()) else {
        return false;
    };
    last.is_mini_socket() && end.from.not_after() < timer.deadline
}

/// Both ends were visible and neither left a TIME_WAIT.
///
/// The trap: an orderly close leaves one, but a reset can cut it short at once (RFC 1337). On
/// loopback that happens by itself, when a late ACK of the peer is answered after the peer is
/// gone: 160 of 25,000 healthy connections in a run, and none of them counted as a reset. So a
/// reset is claimed only when the host counted one.
fn both_vanished(tracks: &[&Track], reset_counted: bool) -> (Code, Evidence) {
    let is_opening = |state| matches!(state, TcpState::SynSent | TcpState::SynRecv);
    if tracks.iter().any(|track| is_opening(track.last().state)) {
        return (Code::Unknown, NEVER_ESTABLISHED);
    }
    if tracks.iter().any(|track| was_retransmitting(track)) {
        return (Code::Unknown, RETRANSMITTING);
    }
    if tracks.iter().any(|track| unwatched_too_long(track)) {
        return (
            Code::Unknown,
            Evidence::plain("the looks were so far apart that a TIME_WAIT can have come and gone"),
        );
    }
    if reset_counted {
        return (
            Code::Aborted,
            Evidence::plain(
                "both ends vanished, neither left a TIME_WAIT, and the host counted a reset",
            ),
        );
    }
    (
        Code::Unknown,
        Evidence::plain(
            "both ends vanished and neither left a TIME_WAIT: a reset met the last data, or cut \
             the TIME_WAIT of an orderly close short",
        ),
    )
}

/// The gap in which the end vanished could hide a whole TIME_WAIT: 60 s, or 1 s when the host
/// gives the port of a TIME_WAIT to a new connection (`tcp_tw_reuse_delay`); such a reuse is seen
/// by the new incarnation, so the 60 s count here.
fn unwatched_too_long(track: &Track) -> bool {
    const TIME_WAIT_LENGTH: Duration = Duration::from_secs(60);
    track.spans().last().is_some_and(|span| match span.from {
        When::Between(from, to) => to.since(from) >= TIME_WAIT_LENGTH,
        When::At(_) | When::Before(_) => false,
    })
}

/// Gone from an orphan FIN_WAIT2 when its timer was due: seen until shortly before, or outlived by
/// the other end. Across a longer gap a reset looks the same.
fn is_orphaned(connection: &Connection) -> bool {
    /// Room for a look or two, and for a timer that is late.
    const NEAR: Duration = Duration::from_millis(500);
    const JIFFY: Duration = Duration::from_millis(10);
    connection.visible().any(|(side, track)| {
        let last = track.last();
        let (Some(timer), Some(end)) = (last.timer, track.spans().last()) else {
            return false;
        };
        let outlived = connection.end(side.other()).is_some_and(|other| {
            let until = other.spans().last().and_then(|span| span.from.not_before());
            !other.is_gone() || until >= Some(timer.deadline.plus(between_clocks(connection)))
        });
        track.is_gone()
            && last.state == TcpState::FinWait2
            && last.is_mini_socket()
            && end.from.not_after().plus(JIFFY) >= timer.deadline
            && (outlived || end.from.not_before() >= Some(timer.deadline.minus(NEAR)))
    })
}

/// What is before what on two hosts is sure only when they are further apart than clocks may be.
fn between_clocks(connection: &Connection) -> Duration {
    const CLOCKS: Duration = Duration::from_secs(10);
    let host = |side| connection.end_scope(side).map(|scope| scope.host);
    match (host(Side::A), host(Side::B)) {
        (Some(a), Some(b)) if a != b => CLOCKS,
        _ => Duration::ZERO,
    }
}

fn first_closer(connection: &Connection, code: Code) -> Option<Side> {
    if code == Code::Simultaneous {
        return None;
    }
    if let Some(told) = gave_up_first(connection) {
        return told;
    }
    // Of a simultaneous close with a peer elsewhere, TIME_WAIT shows no more than of any other.
    // One here would have been in TIME_WAIT too.
    let can_be_simultaneous = |track: &Track| {
        connection.visible().count() == 1
            && !track.tuple().remote.addr().is_loopback()
            && track.passed(TcpState::TimeWait)
            && !track.passed(TcpState::FinWait2)
    };
    let closed_first = |side: Side| {
        let here = connection.end(side);
        let there = connection.end(side.other());
        let sent_fin_first = |track: &Track| {
            [TcpState::FinWait1, TcpState::FinWait2, TcpState::TimeWait]
                .iter()
                .any(|&state| track.passed(state))
                && !can_be_simultaneous(track)
        };
        let received_fin_first = |track: &Track| {
            [TcpState::CloseWait, TcpState::LastAck]
                .iter()
                .any(|&state| track.passed(state))
        };
        here.is_some_and(sent_fin_first) || there.is_some_and(received_fin_first)
    };
    match (closed_first(Side::A), closed_first(Side::B)) {
        (true, false) => Some(Side::A),
        (false, true) => Some(Side::B),
        (true, true) => None,
        (false, false) => Side::BOTH.into_iter().find(|&side| {
            let gone = connection.end(side).and_then(Track::why_gone);
            gone.is_some_and(|why| matches!(why.cause, Cause::ResetSent | Cause::Timeout))
        }),
    }
}

/// The end that reset or gave up before the other one had sent a FIN. Its exact time tells: on a
/// broken way the other end closes later, in peace, and did not begin.
fn gave_up_first(connection: &Connection) -> Option<Option<Side>> {
    let exact = |side: Side, wanted: fn(&Span) -> bool| {
        let spans = connection.end(side).into_iter().flat_map(Track::spans);
        spans
            .filter(|span| wanted(span))
            .find_map(|span| match span.from {
                When::At(at) => Some(at),
                When::Between(..) | When::Before(_) => None,
            })
    };
    let unsure = between_clocks(connection);
    let gave_up = |span: &Span| {
        span.state == TcpState::Close && matches!(span.why.cause, Cause::ResetSent | Cause::Timeout)
    };
    let began = |span: &Span| matches!(span.state, TcpState::FinWait1 | TcpState::LastAck);
    Side::BOTH.into_iter().find_map(|side| {
        let other = exact(side.other(), began).or(exact(side.other(), gave_up));
        let at = exact(side, gave_up).filter(|_| exact(side, began).is_none())?;
        let has_heard = connection
            .end(side)
            .is_some_and(|track| track.passed(TcpState::CloseWait));
        match other {
            _ if has_heard => None,
            Some(other) if at.plus(unsure) < other => Some(Some(side)),
            Some(other) if at.distance(other) <= unsure && !unsure.is_zero() => Some(None),
            Some(_) => None,
            None => Some(Some(side)),
        }
    })
}

/// Why this end began to close: its FIN, or its end where there was none.
fn first_step_of(track: &Track) -> Option<Why> {
    track
        .why_of(TcpState::FinWait1)
        .or_else(|| track.why_of(TcpState::LastAck))
        .or_else(|| track.why_gone())
}

/// close() or shutdown(): the descriptor tells, when the FIN is first seen.
///
/// The trap is a close() that blocks in SO_LINGER: until the FIN is acknowledged it holds the
/// descriptor too. So a descriptor that is held proves shutdown() only in FIN_WAIT2, or where the
/// receiving side is open.
fn how_it_closed(track: &Track) -> Option<How> {
    match first_step_of(track).map(|why| why.cause) {
        Some(Cause::Close) => return Some(How::Close),
        Some(Cause::ProcessExit) => return Some(How::Exit),
        Some(Cause::ShutdownWr | Cause::ShutdownRdwr) => return Some(How::Shutdown),
        Some(Cause::ResetSent) => return Some(How::Reset),
        Some(Cause::Timeout) => return Some(How::Timeout),
        _ => {}
    }
    let fin_sent = track.entry_of(TcpState::FinWait1);
    let fin_acked = track.entry_of(TcpState::FinWait2);
    let only_send = |entry: &Entry| {
        entry
            .shutdown
            .is_some_and(|mask| mask.send() && !mask.receive())
    };
    let is = |entry: &Option<Entry>, descriptor| {
        entry.is_some_and(|entry| entry.descriptor == Some(descriptor))
    };
    if is(&fin_acked, Descriptor::Held) || fin_sent.as_ref().is_some_and(only_send) {
        return Some(How::Shutdown);
    }
    let first = fin_sent.or(fin_acked);
    is(&first, Descriptor::Gone).then_some(How::Close)
}

fn sentence(
    (who, how): (Option<Side>, Option<How>),
    (is_exact, signal): (bool, Option<u8>),
    code: Code,
    evidence: &Evidence,
) -> String {
    let beginning = match (who, how) {
        (Some(side), Some(How::Close)) if is_exact => {
            format!("{} closed first, by close()", side.letter())
        }
        (Some(side), Some(How::Close)) => {
            format!("{} closed first, its descriptor gone", side.letter())
        }
        (Some(side), Some(How::Shutdown)) if is_exact => {
            format!("{} closed first, by shutdown()", side.letter())
        }
        (Some(side), Some(How::Shutdown)) => format!(
            "{} shut down first and still held its descriptor",
            side.letter()
        ),
        (Some(side), Some(How::Exit)) => match signal {
            Some(signal) => format!(
                "{} closed first, because its process was killed by signal {signal}",
                side.letter()
            ),
            None => format!("{} closed first, because its process ended", side.letter()),
        },
        (Some(side), Some(How::Reset)) => match signal {
            Some(signal) => format!(
                "{} ended it without a FIN, because its process was killed by signal {signal}",
                side.letter()
            ),
            None => format!("{} ended it without a FIN", side.letter()),
        },
        (Some(side), Some(How::Timeout)) => format!("{} gave up", side.letter()),
        (Some(side), None) => format!("{} closed first", side.letter()),
        (None, _) if code == Code::Simultaneous => "both ends closed at once".to_owned(),
        (None, _) if *evidence == NEVER_ESTABLISHED || code == Code::Refused => {
            return evidence.0.to_string();
        }
        (None, _) => "who closed first was not seen".to_owned(),
    };
    format!("{beginning}; {}", evidence.0)
}
