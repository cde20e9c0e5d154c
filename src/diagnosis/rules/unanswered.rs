//! A SYN or a FIN that is sent again and again into silence.
//!
//! The kernel counts how often. The count alone bounds the age: each time it waits at least as long
//! as before. The trap: a FIN that waits behind a shut window, or that a local firewall drops
//! before it is sent, shows the probe timer and not the one for retransmissions; only unanswered
//! probes, which count up, are silence.

use std::borrow::Cow;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Case, Drafts, Lasted};
use crate::diagnosis::words;
use crate::model::{Descriptor, TcpState, TimerKind, Timestamp};
use crate::timeline::sent_again_for;

/// What is shorter is not worth a word.
const TELLING: Duration = Duration::from_secs(1);

pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    if !is_silence(case) {
        return None;
    }
    let since = match long_enough(case) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let (code, what, advice) = match case.track.state() {
        TcpState::SynSent => (
            Code::SynUnanswered,
            "nobody answers its SYN",
            "Look at the way and at the other side: a firewall that drops, a host that is down, an \
             address that is wrong, or a listener whose accept queue is full.",
        ),
        TcpState::LastAck => (
            Code::LastAckStuck,
            "nobody acknowledges its FIN, the second of the two",
            "Look at the way to the peer: a firewall or NAT that has forgotten the connection, a link \
             or host that is down. The kernel gives up by itself (tcp_orphan_retries, tcp_retries2).",
        ),
        _ => (
            Code::FinWait1Stuck,
            "nobody acknowledges its FIN",
            "Look at the way to the peer: a firewall or NAT that has forgotten the connection, a link \
             or host that is down. The kernel gives up by itself (tcp_orphan_retries, tcp_retries2).",
        ),
    };
    let severity = Severity::Warn;
    drafts.push(case.draft((code, severity), since, what, evidence(case), advice));
    None
}

/// Sent again, and not answered since.
fn is_silence(case: &Case<'_>) -> bool {
    let last = case.track.last();
    let kind = last.timer.map(|timer| timer.kind);
    let is_current = last.state == case.track.state() && !case.track.is_gone();
    is_current
        && match case.track.state() {
            TcpState::SynSent => last.retransmits >= 1,
            _ => {
                last.retransmits >= 2
                    && matches!(kind, Some(TimerKind::Retransmit | TimerKind::Probe))
            }
        }
}

/// By the time that the state was entered, or by the number of times, whichever says more.
fn long_enough(case: &Case<'_>) -> Lasted {
    let threshold = case.settings.unanswered;
    if sent_again_for(case.track.last()) >= threshold {
        return Lasted::Since(case.entered().plus(threshold).min(case.at));
    }
    case.has_lasted(threshold)
}

fn evidence(case: &Case<'_>) -> Vec<Cow<'static, str>> {
    let last = case.track.last();
    let is_probe = last
        .timer
        .is_some_and(|timer| timer.kind == TimerKind::Probe);
    let sent = words::counted(last.retransmits, "time");
    let mut evidence: Vec<Cow<'static, str>> = vec![match is_probe {
        true => format!(
            "its probe timer runs, {sent} without an answer: the FIN is still here, behind a shut \
             window or dropped by this host"
        )
        .into(),
        false => format!("sent again {sent} without an answer").into(),
    }];
    let unacked = case.track.beside().unacked.filter(|unacked| *unacked > 0);
    let bound = sent_again_for(case.track.last());
    if bound > TELLING {
        // What was sent before a FIN can have begun it.
        let with_data = match unacked {
            Some(_) => ", for the data before it perhaps",
            None => "",
        };
        let least = bound.as_secs();
        evidence.push(format!("so often takes at least {least} s{with_data}").into());
    }
    if let Some(unacked) = unacked {
        evidence.push(format!("{} before it not acknowledged", is_are(unacked)).into());
    }
    if case.track.beside().descriptor == Some(Descriptor::Gone) {
        evidence.push("its program has let go of it".into());
    }
    match case.peer() {
        Some(peer) if !peer.is_gone() => {
            evidence.push(format!("the peer, on this host, is in {}", peer.state()).into());
        }
        _ => evidence.extend(its_listener(case)),
    }
    evidence
}

fn is_are(bytes: u32) -> String {
    let verb = if bytes == 1 { "is" } else { "are" };
    format!("{} {verb}", words::bytes(bytes.into()))
}

/// Of a SYN, when somebody listens there on this host.
fn its_listener(case: &Case<'_>) -> Option<Cow<'static, str>> {
    if case.track.state() != TcpState::SynSent {
        return None;
    }
    let to = case.connection.endpoint(case.side.other());
    let listener = case
        .tracker
        .listeners_of(to, case.track.id().scope)
        .find(|_| to.addr().is_loopback() || to.addr() == case.track.tuple().local.addr())?;
    let full = if listener.is_full() {
        ": it is full"
    } else {
        ""
    };
    Some(
        format!(
            "a listener is there, {} in its accept queue{full}",
            words::counted(listener.waiting, "connection")
        )
        .into(),
    )
}
