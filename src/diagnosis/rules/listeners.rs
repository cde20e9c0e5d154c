//! Listeners whose accept queue is full.
//!
//! The trap: one look that shows it full is a burst. It counts when looks that lie apart show it full
//! and none in between shows room, or when the host dropped handshakes while it was full.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Draft, Drafts};
use crate::diagnosis::settings::Settings;
use crate::diagnosis::words;
use crate::model::{SockId, Timestamp};
use crate::timeline::{Listener, Tracker};

/// Listeners that the newest look showed full.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    full: BTreeMap<SockId, Full>,
}

#[derive(Clone, Copy, Debug)]
struct Full {
    /// Handshakes that the host had dropped at full queues when it was first seen full.
    overflows: Option<u64>,
    /// When more had been dropped.
    dropping: Option<Timestamp>,
    /// The newest look, and count, when it was last judged.
    judged: (Option<Timestamp>, Option<u64>),
}

impl Listeners {
    /// What is to be judged now.
    pub(super) fn subjects(&mut self, tracker: &Tracker) -> Vec<SockId> {
        let mut subjects = Vec::new();
        for id in tracker.touched_listeners() {
            let is_full = tracker
                .listener(id)
                .is_some_and(|listener| listener.full_since.is_some());
            if is_full {
                self.full.entry(*id).or_insert(Full {
                    overflows: tracker.host(id.scope.host).listen_overflows,
                    dropping: None,
                    judged: (None, None),
                });
            } else if self.full.remove(id).is_some() {
                subjects.push(*id);
            }
        }
        for (id, full) in &mut self.full {
            let news = (
                tracker.newest_look(id.scope.host),
                tracker.host(id.scope.host).listen_overflows,
            );
            if full.judged != news {
                full.judged = news;
                subjects.push(*id);
            }
        }
        subjects
    }

    pub(super) fn judge(
        &mut self,
        id: &SockId,
        (at, tracker, settings): (Timestamp, &Tracker, &Settings),
        drafts: &mut Drafts,
    ) {
        let (Some(full), Some(listener)) = (self.full.get_mut(id), tracker.listener(id)) else {
            return;
        };
        let Some(since) = listener.full_since else {
            return;
        };
        let now = tracker.host(id.scope.host).listen_overflows;
        let dropped = match (full.overflows, now) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        if dropped > 0 {
            full.dropping.get_or_insert(at);
        }
        let due = since.plus(settings.listener_full);
        let is_proven = tracker.newest_look(id.scope.host) >= Some(due);
        let from = match (is_proven, full.dropping) {
            (true, Some(dropping)) => due.min(dropping),
            (true, None) => due,
            (false, Some(dropping)) => dropping,
            (false, None) => return,
        };
        drafts.push(draft(listener, from, dropped, tracker));
    }
}

fn draft(listener: &Listener, at: Timestamp, dropped: u64, tracker: &Tracker) -> Draft {
    let held = words::held_by(tracker.owners_of(listener));
    let mut evidence: Vec<Cow<'static, str>> =
        vec![format!("{}, and looks that lie apart show it so", queue(listener)).into()];
    if dropped > 0 {
        evidence.push(
            format!(
                "this host has dropped {} at full accept queues since (ListenOverflows)",
                words::counted(dropped, "handshake")
            )
            .into(),
        );
    }
    Draft {
        code: Code::ListenOverflow,
        severity: Severity::Error,
        at,
        what: format!(
            "its accept queue is full, {}{held}: who connects now is not answered",
            queue(listener)
        )
        .into(),
        evidence,
        advice: "See why the accept loop stands still: its thread is blocked or dead, or the process is \
                 out of descriptors. If it only falls behind, let more threads accept, and raise the \
                 backlog (listen(), net.core.somaxconn)."
            .into(),
        standing: None,
    }
}

/// `129 of 128 waiting`.
pub(super) fn queue(listener: &Listener) -> String {
    match listener.backlog {
        Some(backlog) => format!("{} of {backlog} waiting", listener.waiting),
        None => format!("{} waiting", listener.waiting),
    }
}
