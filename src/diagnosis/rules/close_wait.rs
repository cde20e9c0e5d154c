//! CLOSE_WAIT that does not go away: the peer has closed, and this end has not.
//!
//! What is left in the receive queue tells four kinds apart, and each old CLOSE_WAIT is of exactly
//! one. The trap is an empty queue: the FIN counts one byte until it is read, unless it came merged
//! with data, and then an empty queue does not prove that the end-of-file was read too.

use std::borrow::Cow;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Case, Drafts, Lasted, listeners};
use crate::diagnosis::words;
use crate::model::{Descriptor, Queues, TcpState, Timestamp};
use crate::timeline::{Listener, Owners};

/// What an old CLOSE_WAIT waits for.
enum Kind {
    NeverAccepted,
    Unread(u32),
    EofUnread,
    /// Whether the end-of-file was read for certain.
    Leaked(bool),
}

pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let since = match case.has_lasted(case.settings.older_than) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let half_close = HalfClose::of(case);
    let (severity, due) = match half_close {
        // As long as the peer only waits for the answer, all may be as it should be.
        HalfClose::InUse => match case.has_lasted(case.settings.half_close) {
            Lasted::Until(due) => (Severity::Info, Some(due)),
            Lasted::Since(_) => (Severity::Warn, None),
        },
        HalfClose::No | HalfClose::Gone | HalfClose::Unknown => (Severity::Warn, None),
    };
    first_four(case, (severity, since), half_close, drafts);
    shared(case, (severity, since), drafts);
    if let HalfClose::InUse = half_close {
        drafts.push(case.draft(
            (Code::CloseWaitHalfClose, severity),
            since,
            "the peer only shut down its sending side and still reads: a half-close in use",
            vec!["the peer is in FIN_WAIT2 and still holds its descriptor".into()],
            match severity {
                Severity::Info => {
                    "Nothing, while the answer is still being made; it ends when this side closes."
                }
                _ => "See whether the answer is still being made; if not, this side has to close.",
            },
        ));
    }
    due
}

fn first_four(
    case: &Case<'_>,
    (severity, since): (Severity, Timestamp),
    half_close: HalfClose,
    drafts: &mut Drafts,
) {
    let Some(kind) = kind(case) else {
        return;
    };
    let (code, severity) = match kind {
        Kind::NeverAccepted => (Code::CloseWaitNeverAccepted, Severity::Error),
        Kind::Unread(_) => (Code::CloseWaitUnread, severity),
        Kind::EofUnread => (Code::CloseWaitEofUnread, severity),
        Kind::Leaked(_) => (Code::CloseWaitLeaked, severity),
    };
    let mut evidence = evidence(case, &kind);
    match half_close {
        HalfClose::Unknown => {
            evidence.push("whether the peer still reads can't be known here".into());
        }
        HalfClose::Gone => evidence.push("the peer's socket is gone".into()),
        HalfClose::No | HalfClose::InUse => {}
    }
    let (what, advice) = match severity {
        // Within its time.
        Severity::Info => while_answering(case, &kind),
        Severity::Warn | Severity::Error => words(case, &kind),
    };
    drafts.push(case.draft((code, severity), since, what, evidence, advice));
}

fn kind(case: &Case<'_>) -> Option<Kind> {
    let track = case.track;
    if track.beside().descriptor == Some(Descriptor::NotAccepted) {
        return Some(Kind::NeverAccepted);
    }
    let Queues::Stream { receive, .. } = track.last().queues else {
        return None;
    };
    Some(match receive {
        0 => Kind::Leaked(track.end_of_file_was_unread()),
        1 => Kind::EofUnread,
        more => Kind::Unread(more - 1),
    })
}

fn words(case: &Case<'_>, kind: &Kind) -> (Cow<'static, str>, &'static str) {
    match kind {
        Kind::NeverAccepted => (
            never_accepted(case),
            "See why the accept loop stands still: its thread is blocked or dead, or the process is \
             out of descriptors. Closing descriptors does not help, there is none.",
        ),
        Kind::Unread(bytes) => (
            format!(
                "{} {} received and not read, and behind {} the end-of-file",
                words::bytes((*bytes).into()),
                if *bytes == 1 { "is" } else { "are" },
                if *bytes == 1 { "it" } else { "them" },
            )
            .into(),
            "See where the reader is stuck: a lock, another connection, a full queue of its own. \
             It has to read to the end, or close.",
        ),
        Kind::EofUnread => (
            "all data was read and the end-of-file was not: the program does not call recv() any \
             more"
                .into(),
            "The connection has to be read until recv() returns 0, or watched for its end (EPOLLRDHUP), \
             and then closed.",
        ),
        Kind::Leaked(true) => (
            "all was read, the end-of-file too, and the socket was not closed: the descriptor is \
             leaked"
                .into(),
            "Find the path that reads 0 and does not close: an error branch, an object that is kept, \
             a pool that does not look. The descriptors name the sockets.",
        ),
        Kind::Leaked(false) => (
            "all data was read and the socket was not closed: its descriptor is leaked, or the \
             program does not read any more"
                .into(),
            "Find the path that keeps the socket after its last read. recv() returns 0 there, or \
             would.",
        ),
    }
}

/// The same of a half-close in use.
fn while_answering(case: &Case<'_>, kind: &Kind) -> (Cow<'static, str>, &'static str) {
    let what = match kind {
        Kind::NeverAccepted => return words(case, kind),
        Kind::Unread(_) => words(case, kind).0,
        Kind::EofUnread => {
            "all data was read and the end-of-file was not; the peer still reads".into()
        }
        Kind::Leaked(_) => {
            "all data was read and the socket was not closed; the peer still reads".into()
        }
    };
    (
        what,
        "May be as it should be: the peer waits for an answer, and this side closes when that is \
         sent. If no answer is being made, see what keeps the socket.",
    )
}

fn evidence(case: &Case<'_>, kind: &Kind) -> Vec<Cow<'static, str>> {
    let mut evidence: Vec<Cow<'static, str>> = Vec::new();
    match kind {
        Kind::NeverAccepted => {
            evidence.push("the socket has no file: no process has accepted it".into());
            let listeners = listeners_of(case).map(|listener| {
                format!(
                    "listener {}: {}",
                    listener.local(),
                    listeners::queue(listener)
                )
                .into()
            });
            evidence.extend(listeners);
        }
        Kind::Unread(bytes) => {
            evidence.push(format!("Recv-Q {}: the FIN counts one", bytes + 1).into())
        }
        Kind::EofUnread => evidence.push("Recv-Q 1: the FIN alone".into()),
        Kind::Leaked(true) => {
            evidence.push("Recv-Q 0, and the end-of-file was seen unread before".into());
        }
        Kind::Leaked(false) => evidence.push(
            "Recv-Q 0; a FIN that came with the last data leaves 0 too when only the data was read"
                .into(),
        ),
    }
    if case
        .track
        .beside()
        .unacked
        .is_some_and(|unacked| unacked > 0)
    {
        evidence.push("data of its own is not acknowledged".into());
    }
    evidence
}

/// So many listeners of one address are named (SO_REUSEPORT).
const LISTENERS: usize = 4;

fn listeners_of<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Listener> {
    let local = case.connection.endpoint(case.side);
    let all = case.tracker.listeners_of(local, case.track.id().scope);
    all.take(LISTENERS)
}

/// Names the listener in whose queue it waits, when there is one and no doubt.
fn never_accepted(case: &Case<'_>) -> Cow<'static, str> {
    let mut listeners = listeners_of(case);
    match (listeners.next(), listeners.next()) {
        (Some(listener), None) => format!(
            "it was never accepted: it waits in the queue of listener {}{}, with {}",
            listener.local(),
            words::held_by(case.tracker.owners_of(listener)),
            listeners::queue(listener),
        )
        .into(),
        (Some(listener), Some(_)) => format!(
            "it was never accepted: it waits in the queue of one of the listeners at {}",
            listener.local()
        )
        .into(),
        (None, _) => "it was never accepted: it waits in a listener's queue".into(),
    }
}

fn shared(case: &Case<'_>, (severity, since): (Severity, Timestamp), drafts: &mut Drafts) {
    let Owners::Now(holding) = case.track.owners() else {
        return;
    };
    let count = holding.holders.len();
    if count < 2 {
        return;
    }
    drafts.push(case.draft(
        (Code::CloseWaitShared, severity),
        since.max(holding.from.not_after()),
        format!("{count} processes hold it: closing it in one is not enough"),
        vec![format!("{} have a descriptor of it", words::holders(&holding.holders)).into()],
        "Close it in every process: after a fork() in the one that does not need it, or open it with \
         SOCK_CLOEXEC when a child only inherits it.",
    ));
}

/// Whether the peer has only shut down its sending side.
#[derive(Clone, Copy)]
enum HalfClose {
    /// It has, and still holds its descriptor.
    InUse,
    /// It has closed.
    No,
    /// It has closed, and nothing is left of it.
    Gone,
    /// It is not seen here.
    Unknown,
}

impl HalfClose {
    fn of(case: &Case<'_>) -> Self {
        let Some(peer) = case.peer() else {
            return match is_gone_unseen(case) {
                true => Self::Gone,
                false => Self::Unknown,
            };
        };
        if peer.is_gone() {
            return Self::Gone;
        }
        let only_sends_no_more = peer
            .beside()
            .shutdown
            .is_none_or(|mask| mask.send() && !mask.receive());
        let is_held = peer.beside().descriptor == Some(Descriptor::Held);
        if peer.state() == TcpState::FinWait2 && is_held && only_sends_no_more {
            Self::InUse
        } else {
            Self::No
        }
    }
}

/// A peer that still reads has a socket, which every look shows where it is in the same place.
fn is_gone_unseen(case: &Case<'_>) -> bool {
    let look = case.tracker.newest_look(case.track.id().scope.host);
    case.connection.is_local() && look.is_some_and(|look| look >= case.connection.opened())
}
