//! One end is ESTABLISHED and the other is gone: it waits for a peer that is not there.
//!
//! The trap: what is known of two ends is seldom of one moment. So the end that lives must have been
//! proven to, by a look that began long after the other was gone; a lost event can't make this up.
//! Two hosts' clocks say nothing of each other.

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Case, Drafts, Lasted};
use crate::model::Timestamp;
use crate::timeline::{Cause, Track};

/// Asked of ends in ESTABLISHED.
pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let peer = case.peer().filter(|peer| peer.is_gone())?;
    if peer.id().scope.host != case.track.id().scope.host {
        return None;
    }
    let gone = peer.spans().last()?.from.not_after();
    let entered = case.entered();
    let due = match case.lasts_until(gone.max(entered).plus(case.settings.half_open)) {
        Lasted::Since(due) => due,
        Lasted::Until(due) => return Some(due),
    };
    drafts.push(case.draft(
        (Code::EndsDisagree, Severity::Warn),
        due,
        "the other end, on this host, is gone, and this one has not heard of it: half-open",
        vec![
            format!("the other end was last in {}, and {}", peer.last_living(), ended(peer)).into(),
            "looks begun later show this end ESTABLISHED".into(),
        ],
        "What told of the end was lost: a firewall dropped the reset, or the link was down. It is \
         noticed when this end sends; let it (SO_KEEPALIVE, TCP_USER_TIMEOUT, or a message now and \
         then).",
    ));
    None
}

fn ended(peer: &Track) -> &'static str {
    match peer.why_gone().map(|why| why.cause) {
        Some(Cause::ResetSent) => "sent a reset",
        Some(Cause::Timeout) => "gave up",
        Some(Cause::Close | Cause::ProcessExit) => "was closed",
        _ => "is in no table any more",
    }
}
