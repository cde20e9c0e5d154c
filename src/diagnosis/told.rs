//! What events tell of the end of a connection, where looks can only guess.
//!
//! An exact step carries its cause, so a reset, a refusal or a timeout is known as such, whoever
//! it came from. The trap: a TIME_WAIT that ran out, and a mini-socket whose time was over, are
//! timeouts that are no trouble.

use crate::diagnosis::verdict::{Code, Evidence};
use crate::model::TcpState;
use crate::timeline::{Cause, Certainty, Connection, Reason, Side, Track, Why};

/// The verdict, where the exact steps decide it.
pub(super) fn told_by_events(connection: &Connection) -> Option<(Code, Evidence)> {
    let exact_ends: Vec<(Side, &Track, Why)> = connection
        .visible()
        .filter_map(|(side, track)| Some((side, track, exact_end(track)?)))
        .collect();
    if ran_out(connection) {
        // The reset that answers the peer's late FIN or data is only its echo.
        return None;
    }
    refused(&exact_ends)
        .or_else(|| timed_out(&exact_ends))
        .or_else(|| given_up(&exact_ends))
        .or_else(|| reset(&exact_ends))
        .or_else(|| closed_without_time_wait(&exact_ends, connection.visible().count()))
}

/// An orphan's FIN_WAIT2 came to its time's end.
fn ran_out(connection: &Connection) -> bool {
    connection.visible().any(|(_, track)| {
        let is_timeout = track
            .why_gone()
            .is_some_and(|why| why.cause == Cause::Timeout);
        is_timeout && track.last().is_mini_socket() && track.last_living() == TcpState::FinWait2
    })
}

/// Why the end is gone, if an event said so.
fn exact_end(track: &Track) -> Option<Why> {
    let last = track.spans().last()?;
    (last.certainty == Certainty::Exact).then(|| track.why_gone())?
}

fn refused(ends: &[(Side, &Track, Why)]) -> Option<(Code, Evidence)> {
    ends.iter()
        .find(|(_, _, why)| why.reason == Some(Reason::Refused))
        .map(|(_, _, why)| {
            let text = match why.cause {
                Cause::ResetReceived => "the peer refused: a reset answered the SYN",
                _ => "refused: an ICMP error answered the SYN, from the peer or a firewall",
            };
            (Code::Refused, Evidence::plain(text))
        })
}

fn timed_out(ends: &[(Side, &Track, Why)]) -> Option<(Code, Evidence)> {
    let (_, track, why) = ends
        .iter()
        .find(|(_, _, why)| why.cause == Cause::Timeout)?;
    let text = match (why.reason, track.last_living()) {
        (Some(Reason::Unreachable), _) => "there was no way to the peer",
        (_, TcpState::SynSent) => "nobody answered the SYN",
        (_, state) if state.has_fin_in_flight() => "nobody acknowledged its FIN",
        _ => "the peer did not answer any more",
    };
    Some((Code::TimedOut, Evidence::plain(text)))
}

/// Most programs have a patience of their own, which is shorter than the kernel's.
fn given_up(ends: &[(Side, &Track, Why)]) -> Option<(Code, Evidence)> {
    ends.iter()
        .find(|(_, track, why)| {
            track.last_living() == TcpState::SynSent
                && matches!(why.cause, Cause::Close | Cause::ProcessExit)
        })
        .map(|_| {
            let text = "nobody had answered its SYN when the program gave up";
            (Code::TimedOut, Evidence::plain(text))
        })
}

fn reset(ends: &[(Side, &Track, Why)]) -> Option<(Code, Evidence)> {
    let sent = ends
        .iter()
        .find(|(_, _, why)| why.cause == Cause::ResetSent);
    if let Some((side, _, why)) = sent {
        let text = format!("{} sent a reset{}", side.letter(), because(why.reason));
        return Some((Code::Aborted, Evidence(text.into())));
    }
    ends.iter()
        .find(|(_, _, why)| why.cause == Cause::ResetReceived)
        .map(|(side, ..)| {
            let text = format!("{} received a reset", side.letter());
            (Code::Aborted, Evidence(text.into()))
        })
}

fn because(reason: Option<Reason>) -> String {
    match reason {
        Some(Reason::UnreadData(1)) => ": it was closed with 1 byte unread".to_owned(),
        Some(Reason::UnreadData(bytes)) => format!(": it was closed with {bytes} bytes unread"),
        Some(Reason::LingerZero) => ": it was closed with SO_LINGER 0".to_owned(),
        Some(Reason::DataAfterClose) => ": data came after its close".to_owned(),
        Some(Reason::NeverAccepted) => {
            ": its listener was closed before it was accepted".to_owned()
        }
        Some(Reason::Disconnected) => ": the program disconnected it".to_owned(),
        Some(Reason::Destroyed) => ": an administrator destroyed it".to_owned(),
        Some(Reason::Refused | Reason::Unreachable | Reason::Kernel(_)) | None => String::new(),
    }
}

/// Both FINs went through and no TIME_WAIT was made, or the only end here closed second.
fn closed_without_time_wait(
    ends: &[(Side, &Track, Why)],
    visible: usize,
) -> Option<(Code, Evidence)> {
    let (_, track, why) = ends
        .iter()
        .find(|(_, _, why)| matches!(why.cause, Cause::FinReceived | Cause::AckReceived))?;
    let text = match (track.last_living(), why.cause) {
        (TcpState::FinWait2, Cause::FinReceived) => {
            "both FINs went through; the host had no room for a TIME_WAIT"
        }
        (TcpState::LastAck, Cause::AckReceived) if visible == 1 => {
            "its FIN was acknowledged, after the peer's"
        }
        _ => return None,
    };
    Some((Code::Orderly, Evidence::plain(text)))
}
