//! The peer's window is shut: what was sent is not read there.
//!
//! The trap: a window that is shut for a moment is flow control at work. Each look has to show it
//! shut, and never less waiting; and where the peer is seen, what it has unread must stand still, as
//! a slow reader behind a fast writer shows the rest too. A probe that is not answered at all is
//! another trouble, and is named as that.

use std::borrow::Cow;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{AGAIN, Case, Drafts, Lasted};
use crate::diagnosis::words;
use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::Track;

pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let shut = case.track.window_shut_since()?;
    // A FIN that silence meets is told as that.
    let is_told = drafts
        .iter()
        .any(|draft| matches!(draft.code, Code::FinWait1Stuck | Code::LastAckStuck));
    if is_told || case.track.is_gone() {
        return None;
    }
    // A peer that reads slowly makes room now and then.
    let peer = case.peer().filter(|peer| !peer.is_gone());
    let shut = peer
        .and_then(Track::unread_moved)
        .map_or(shut, |moved| moved.max(shut));
    let unanswered = case.track.last().retransmits;
    if matches!(unanswered, 1..3) && nobody_writes(case) {
        // Into silence, perhaps: the next probes tell.
        return Some(case.at.plus(AGAIN));
    }
    let since = match case.lasts_until(shut.plus(case.settings.window_shut)) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let waiting = case.track.beside().unacked.unwrap_or(0);
    let what: Cow<'static, str> = match (unanswered, waiting) {
        (3.., _) => {
            "its window probes are not answered: the peer's window was shut, and now it is silent, \
                     or this host drops what is sent"
                .into()
        }
        (_, 0) => "the peer's window is shut, and the FIN waits behind it".into(),
        _ => format!(
            "the peer's window is shut, and {} {} behind it{}",
            words::bytes(waiting.into()),
            if waiting == 1 { "waits" } else { "wait" },
            match peer.and_then(|peer| peer.beside().unread) {
                Some(1..) => ": the peer's program does not read",
                Some(0) | None => "",
            }
        )
        .into(),
    };
    let mut evidence: Vec<Cow<'static, str>> =
        vec!["every look has shown the probe timer, and what waits has not become less".into()];
    if unanswered > 0 {
        evidence.push(format!("{} without an answer", words::counted(unanswered, "probe")).into());
    }
    if let Some(peer) = peer {
        let held = words::held_by(peer.owners());
        evidence.push(
            match peer.beside().unread {
                Some(unread) if peer.state() != TcpState::TimeWait => format!(
                    "the peer, in {}, has had {} unread since{held}",
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
        "See whether the peer's program reads: it can be blocked, stopped, or wait for this side. If \
         both write before they read, both wait for ever.",
    ));
    None
}

/// This end has sent its FIN, or is nobody's any more: only the kernel still tries.
fn nobody_writes(case: &Case<'_>) -> bool {
    case.track.state().has_fin_in_flight()
        || case.track.beside().descriptor == Some(Descriptor::Gone)
}
