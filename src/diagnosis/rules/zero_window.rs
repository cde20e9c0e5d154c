//! The peer's window is shut: what was sent is not read there.
//!
//! The trap: a window that is shut for a moment is flow control at work. Each look has to show it
//! shut, and nothing may have been acknowledged in between. A probe that is not answered at all is
//! another trouble, and is named as that.

use std::borrow::Cow;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Case, Drafts, Lasted};
use crate::diagnosis::words;
use crate::model::{TcpState, Timestamp};

pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let shut = case.track.window_shut_since()?;
    // A FIN that silence meets is told as that.
    let is_told = drafts
        .iter()
        .any(|draft| matches!(draft.code, Code::FinWait1Stuck | Code::LastAckStuck));
    if is_told || case.track.is_gone() {
        return None;
    }
    let since = match case.lasts_until(shut.plus(case.settings.window_shut)) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let waiting = case.track.beside().unacked.unwrap_or(0);
    let unanswered = case.track.last().retransmits;
    let what: Cow<'static, str> = match (unanswered, waiting) {
        (3.., _) => {
            "its window probes are not answered: the peer's window was shut, and now it is silent, \
                     or this host drops what is sent"
                .into()
        }
        (_, 0) => "the peer's window is shut, and the FIN waits behind it".into(),
        _ => format!(
            "the peer's window is shut, and {} wait behind it: the peer's program does not read",
            words::bytes(waiting.into())
        )
        .into(),
    };
    let mut evidence: Vec<Cow<'static, str>> = vec![
        "every look has shown the probe timer, and nothing was acknowledged between them".into(),
    ];
    if unanswered > 0 {
        evidence.push(
            format!(
                "{} without an answer",
                words::counted(unanswered.into(), "probe")
            )
            .into(),
        );
    }
    if let Some(peer) = case.peer().filter(|peer| !peer.is_gone()) {
        let held = words::held_by(peer.owners());
        evidence.push(
            match peer.beside().unread {
                Some(unread) if peer.state() != TcpState::TimeWait => format!(
                    "the peer, in {}, has {} unread{held}",
                    peer.state(),
                    words::bytes(unread.into())
                ),
                _ => format!("the peer is in {}{held}", peer.state()),
            }
            .into(),
        );
    }
    drafts.push(case.draft(
        (Code::ZeroWindow, Severity::Warn),
        since,
        what,
        evidence,
        "See why the peer's program does not read: it is blocked, stopped, or waits for this side. If \
         both write before they read, both wait for ever.",
    ));
    None
}
