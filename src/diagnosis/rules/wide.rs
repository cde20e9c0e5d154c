//! The rules that look at more than one end: listeners, destinations, and pairs of connections of
//! one process. Each keeps what it needs to know when to look; nothing here walks all connections.

use crate::diagnosis::finding::{Code, Finding, Subject};
use crate::diagnosis::rules::Drafts;
use crate::diagnosis::rules::listeners::Listeners;
use crate::diagnosis::rules::ports::Ports;
use crate::diagnosis::rules::relay::Relays;
use crate::diagnosis::settings::Settings;
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Change, Connection, Side, Tracker};

/// What the wide rules keep.
#[derive(Clone, Debug, Default)]
pub(in crate::diagnosis) struct Wide {
    listeners: Listeners,
    ports: Ports,
    relays: Relays,
}

impl Wide {
    /// Whether a change is of use here; asked of every one, before its connection is looked up.
    pub(in crate::diagnosis) const fn wants(change: &Change) -> bool {
        match change {
            Change::Opened { .. } | Change::Joined { .. } => true,
            Change::Moved {
                side: Side::A,
                step,
                ..
            } => matches!(step.to, TcpState::TimeWait | TcpState::Close),
            _ => false,
        }
    }

    /// Takes in a change of a connection.
    pub(in crate::diagnosis) fn note(&mut self, change: &Change, connection: &Connection) {
        self.ports.note(change, connection);
    }

    /// What is to be looked at now.
    pub(in crate::diagnosis) fn subjects(
        &mut self,
        at: Timestamp,
        tracker: &Tracker,
        subjects: &mut Vec<Subject>,
    ) {
        let listeners = self.listeners.subjects(tracker);
        subjects.extend(listeners.into_iter().map(Subject::Listener));
        let ways = self.ports.subjects(at).into_iter();
        subjects.extend(ways.map(|(scope, local, remote)| Subject::Destination {
            scope,
            local,
            remote,
        }));
        subjects.extend(self.relays.subjects(tracker));
    }

    /// Asks the rules about one of them, of which the codes that `holds` says hold already.
    pub(in crate::diagnosis) fn judge(
        &mut self,
        subject: &Subject,
        now: (Timestamp, &Tracker, &Settings),
        holds: impl Fn(Code) -> bool,
        drafts: &mut Drafts,
    ) {
        match subject {
            Subject::Listener(id) => self.listeners.judge(id, now, drafts),
            Subject::Destination {
                scope,
                local,
                remote,
            } => self
                .ports
                .judge(&(*scope, *local, *remote), now, holds, drafts),
            Subject::Pair { .. } => self.relays.judge(subject, now.1, drafts),
            Subject::End(..) => {}
        }
    }

    /// Something was found, or is told otherwise.
    pub(in crate::diagnosis) fn note_found(&mut self, finding: &Finding) {
        self.relays.note(finding);
    }

    /// It does not hold any more.
    pub(in crate::diagnosis) fn note_over(&mut self, finding: &Finding) {
        self.relays.note_over(finding);
    }
}
