//! FIN_WAIT2 that does not go away: this end has closed, and the peer has not.
//!
//! As long as a descriptor is open the kernel waits for ever; without one it waits for
//! `tcp_fin_timeout`, counted from the `close()`. The trap: a program that has shut down its sending
//! side and reads the answer is in FIN_WAIT2 too, and all is well.

use std::borrow::Cow;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Case, Drafts, Lasted};
use crate::diagnosis::words;
use crate::model::{Descriptor, TcpState, Timestamp};

/// TIME_WAIT's length, and the longest that a mini-socket lives (`TCP_TIMEWAIT_LEN`,
/// include/net/tcp.h); above it a full orphan waits first (`tcp_fin_time`).
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    if case.track.is_gone() {
        return None;
    }
    match case.track.beside().descriptor {
        Some(Descriptor::Held) => held(case, drafts),
        Some(Descriptor::Gone) => orphan(case, drafts),
        Some(Descriptor::NotAccepted) | None => None,
    }
}

fn held(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let since = match case.has_lasted(case.settings.older_than) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let (severity, due) = match is_half_close_in_use(case) {
        true => match case.has_lasted(case.settings.half_close) {
            Lasted::Until(due) => (Severity::Info, Some(due)),
            Lasted::Since(_) => (Severity::Warn, None),
        },
        false => (Severity::Warn, None),
    };
    drafts.push(case.draft(
        (Code::FinWait2Held, severity),
        since,
        "the peer has not closed, and a descriptor is still open here: the kernel waits without limit",
        evidence(case),
        "See why the peer does not close. If its answer is not wanted any more, close the descriptor: \
         the kernel then gives up after tcp_fin_timeout.",
    ));
    due
}

/// The peer is in CLOSE_WAIT, or may be on another host, and this end, which only shut down its
/// sending side, still reads.
fn is_half_close_in_use(case: &Case<'_>) -> bool {
    let peer_may_answer = case
        .peer()
        .is_none_or(|peer| peer.state() == TcpState::CloseWait && !peer.is_gone());
    peer_may_answer && reads(case)
}

fn reads(case: &Case<'_>) -> bool {
    case.track
        .beside()
        .shutdown
        .is_none_or(|mask| !mask.receive())
}

fn evidence(case: &Case<'_>) -> Vec<Cow<'static, str>> {
    let mut evidence: Vec<Cow<'static, str>> =
        vec!["its FIN is acknowledged, and its descriptor is open".into()];
    if !reads(case) {
        evidence.push("both of its sides are shut: what still comes is of no use to it".into());
    }
    evidence.push(what_the_peer_does(case));
    if let Some(unread) = case.track.beside().unread.filter(|unread| *unread > 0) {
        evidence.push(
            format!(
                "{} came since and {} not read",
                words::bytes(unread.into()),
                if unread == 1 { "is" } else { "are" }
            )
            .into(),
        );
    }
    evidence
}

fn what_the_peer_does(case: &Case<'_>) -> Cow<'static, str> {
    let Some(peer) = case.peer() else {
        return "the peer is not seen here: whether it still sends can't be known".into();
    };
    if peer.is_gone() {
        return "the peer's socket is gone, and its end did not reach this one".into();
    }
    let held = words::held_by(peer.owners());
    match (peer.state(), peer.beside().descriptor) {
        (TcpState::CloseWait, Some(Descriptor::NotAccepted)) => {
            "the peer is in CLOSE_WAIT, and no program has accepted it".into()
        }
        (state, _) => format!("the peer is in {state}{held}").into(),
    }
}

fn orphan(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let since = match closed_long_ago(case) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let mut evidence: Vec<Cow<'static, str>> =
        vec!["its FIN is acknowledged, and no descriptor is left".into()];
    if let Some(gone) = gone_at(case) {
        let left = gone.since(since.max(case.connection.opened())).as_secs();
        evidence.push(format!("the kernel counts down: gone {left} s after this was found").into());
    }
    evidence.push(what_the_peer_does(case));
    drafts.push(case.draft(
        (Code::FinWait2Orphan, Severity::Info),
        since,
        "given up by its program, and the peer has not closed: the kernel drops it when \
         tcp_fin_timeout is over",
        evidence,
        "Nothing here, it goes by itself. The peer is to be looked at: it has been told that no more \
         comes, and has not closed. What it sends now is answered with a reset.",
    ));
    None
}

/// Counted from the `close()`, where the kernel's timer tells it.
fn closed_long_ago(case: &Case<'_>) -> Lasted {
    let threshold = case.settings.older_than;
    let timeout = case.tracker.host(case.track.id().scope.host).fin_timeout;
    let timer = case.track.last().timer;
    match (timer, timeout) {
        // The timer is as coarse as the kernel's tick, and of any age is of any age.
        (Some(timer), Some(timeout))
            if case.track.last().is_mini_socket() && !threshold.is_zero() =>
        {
            let closed = timer.deadline.minus(timeout);
            let entered = case.entered();
            case.lasts_until(closed.max(entered).plus(threshold))
        }
        _ => case.has_lasted(threshold),
    }
}

fn gone_at(case: &Case<'_>) -> Option<Timestamp> {
    let timer = case.track.last().timer?;
    if case.track.last().is_mini_socket() {
        return Some(timer.deadline);
    }
    // A full orphan, that becomes a mini-socket when this timer is over.
    let timeout = case.tracker.host(case.track.id().scope.host).fin_timeout?;
    Some(timer.deadline.plus(timeout.checked_sub(LONGEST)?))
}
