//! Ends that a reset has ended: who sent it, why, and what was lost.
//!
//! The end that sends a reset knows why, so it is told there. The other end adds only that it was
//! hit, which is told where the sender's reason is not: it is not seen here, or it is none of
//! those that have a code. What either has lost is told of that end. Looks can only guess at
//! resets; all of this rests on events.
//!
//! The traps: the event of the victim can come before the one that shows the sender's reason, so a
//! victim waits for a moment; and a reset that answers the late FIN of a connection that is over is
//! only its echo.

use std::borrow::Cow;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::lost::Lost;
use crate::diagnosis::rules::{Case, Draft, Drafts, Lasted};
use crate::diagnosis::words;
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Call, Cause, Reason, Track, Why};

/// The sender's own event is there by then (`PATIENCE` of timeline/turned.rs is half of it).
const BOTH_ARE_TOLD: Duration = Duration::from_millis(100);

/// Asked of ends that are gone.
pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let why = case.track.why_gone()?;
    if !matches!(why.cause, Cause::ResetSent | Cause::ResetReceived) || is_opening(case.track) {
        return None;
    }
    let at = case.entered();
    let lost = Lost::of(case.track)?;
    if lost.is_some() {
        drafts.push(data_lost(case, at, lost, why));
    }
    if why.cause == Cause::ResetSent {
        drafts.extend(sender(case, at, lost, why));
        return None;
    }
    if is_echo(case.track) && !lost.is_some() {
        return None;
    }
    let told_there = case.peer().and_then(sent_by).and_then(code_of).is_some();
    if told_there {
        return None;
    }
    let is_alone = case.peer().is_none();
    match case.reaches(at.plus(BOTH_ARE_TOLD)) {
        Lasted::Until(due) if !is_alone => Some(due),
        _ => {
            drafts.push(victim(case, at, lost));
            None
        }
    }
}

/// A handshake that is refused is no reset of a connection.
fn is_opening(track: &Track) -> bool {
    matches!(
        track.last_living(),
        TcpState::SynSent | TcpState::SynRecv | TcpState::Close
    )
}

/// Both FINs were out, and the peer had given the connection up before it heard of the second.
fn is_echo(track: &Track) -> bool {
    matches!(
        track.last_living(),
        TcpState::LastAck | TcpState::Closing | TcpState::TimeWait
    )
}

/// Why an end sent a reset, if it did.
fn sent_by(track: &Track) -> Option<(Option<Reason>, TcpState)> {
    let why = track.why_gone()?;
    (why.cause == Cause::ResetSent).then_some((why.reason, track.last_living()))
}

/// The code of a reason, where it has one.
fn code_of((reason, state): (Option<Reason>, TcpState)) -> Option<Code> {
    match reason {
        Some(Reason::UnreadData(_)) => Some(Code::ResetUnreadData),
        Some(Reason::LingerZero) => Some(Code::ResetLinger0),
        Some(Reason::DataAfterClose) => Some(Code::ResetDataAfterClose),
        // A kernel that gives no reasons: an end that has closed answers nothing else so.
        Some(Reason::Kernel(kernel)) if kernel.token().is_none() && state == TcpState::FinWait2 => {
            Some(Code::ResetDataAfterClose)
        }
        _ => None,
    }
}

fn data_lost(case: &Case<'_>, at: Timestamp, lost: Lost, why: Why) -> Draft {
    let mut evidence: Vec<Cow<'static, str>> = vec![
        match why.cause {
            Cause::ResetSent => "this end sent a reset",
            _ => "this end received a reset",
        }
        .into(),
    ];
    if lost.unread > 0 {
        evidence.push("its receive queue was thrown away in the moment of the close".into());
    }
    if lost.unacked > 0 {
        evidence.push(
            "its send queue was thrown away; what was on its way may have arrived, nobody knows"
                .into(),
        );
    }
    case.draft(
        (Code::DataLost, Severity::Warn),
        at,
        format!("lost in a reset: {}", lost.words()),
        evidence,
        "Both programs have to agree on the end: send all, shutdown(SHUT_WR), read until recv() \
         returns 0, and close() then.",
    )
}

fn sender(case: &Case<'_>, at: Timestamp, lost: Lost, why: Why) -> Option<Draft> {
    let code = code_of((why.reason, case.track.last_living()))?;
    let mut evidence = by_whom(why);
    let (severity, what, advice): (_, Cow<'static, str>, _) = match code {
        Code::ResetUnreadData => {
            evidence.insert(
                0,
                format!(
                    "{} in its receive queue when it closed",
                    words::bytes(lost.unread.into())
                )
                .into(),
            );
            (
                Severity::Warn,
                format!(
                    "it closed without reading {} that had come: the kernel sent a reset instead of \
                     a FIN",
                    words::bytes(lost.unread.into())
                )
                .into(),
                "Read until recv() returns 0 before close(); or shutdown(SHUT_WR) first, and read then. \
                 The peer may lose data that this end had sent before.",
            )
        }
        Code::ResetLinger0 => {
            evidence.insert(0, "SO_LINGER was set to 0 s when it closed".into());
            (
                if lost.is_some() {
                    Severity::Warn
                } else {
                    Severity::Info
                },
                "it closed with SO_LINGER 0: a reset on purpose, no FIN and no TIME_WAIT".into(),
                "If it is to keep TIME_WAIT away, let the other side close first instead: a reset can \
                 overtake data that was sent before it.",
            )
        }
        _ => {
            evidence.insert(0, "it had closed both sides when more came".into());
            (
                Severity::Warn,
                "data came after it had closed: the kernel answered with a reset".into(),
                "The sender has to look at what it reads: recv() returned 0, or would have. If this end \
                 still wants an answer, shutdown(SHUT_WR) and read, and close() then.",
            )
        }
    };
    if lost.unacked > 0 {
        evidence.push(format!("thrown away with it: {}", words::bytes(lost.unacked.into())).into());
    }
    if let Some(peer) = case.peer().filter(|peer| peer.is_gone()) {
        let unacked = peer.beside().unacked.unwrap_or(0);
        if unacked > 0 {
            evidence.push(
                format!(
                    "the peer lost {} that it had sent",
                    words::bytes(unacked.into())
                )
                .into(),
            );
        }
    }
    Some(case.draft((code, severity), at, what, evidence, advice))
}

/// Who made the call.
fn by_whom(why: Why) -> Vec<Cow<'static, str>> {
    let Some(by) = why.by else {
        return Vec::new();
    };
    let name = words::process(by.comm, by.pid);
    vec![
        match (why.call, why.signal) {
            (_, Some(signal)) => {
                format!("{name} was killed by signal {signal}, and the kernel closed")
            }
            (Some(Call::Exit), None) => format!("{name} ended, and the kernel closed"),
            _ => format!("{name} closed it"),
        }
        .into(),
    ]
}

fn victim(case: &Case<'_>, at: Timestamp, lost: Lost) -> Draft {
    let mut evidence: Vec<Cow<'static, str>> =
        vec![format!("a reset came while it was in {}", case.track.last_living()).into()];
    let reason = case.peer().and_then(sent_by).and_then(|(reason, _)| reason);
    evidence.push(match reason {
        Some(Reason::NeverAccepted) => {
            "the peer's listener was closed before it accepted the connection".into()
        }
        Some(Reason::Disconnected) => "the peer's program disconnected the socket".into(),
        Some(Reason::Destroyed) => "an administrator destroyed the peer's socket".into(),
        Some(Reason::Kernel(kernel)) if kernel.token().is_some() => format!(
            "the peer's kernel gave the reason {}",
            kernel.token().unwrap_or_default()
        )
        .into(),
        _ if case.peer().is_some() => "the peer's own end does not say why".into(),
        _ => "the peer is not seen here, so why can't be known".into(),
    });
    if case.track.last_living() == TcpState::CloseWait {
        evidence.push("the peer had closed before: what is sent then is answered so".into());
    }
    if let Some(unread) = case.track.beside().unread.filter(|unread| *unread > 0) {
        evidence.push(
            format!(
                "{} had come before it and can still be read",
                words::bytes(unread.into())
            )
            .into(),
        );
    }
    let severity = if lost.is_some() {
        Severity::Warn
    } else {
        Severity::Info
    };
    let what: Cow<'static, str> = match lost.is_some() {
        true => format!("the peer reset it; lost: {}", lost.words()).into(),
        false => "the peer reset it; nothing of this end's was lost".into(),
    };
    case.draft(
        (Code::ResetByPeer, severity),
        at,
        what,
        evidence,
        "Look at the peer: it closed with data unread, closed before this end's last data came, set \
         SO_LINGER to 0, or a device between the two cut the connection. Run tcpwatch there.",
    )
}
