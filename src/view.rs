//! What is shown: screen, lines, JSON. Formats what it is given; reads no clock, opens no source.

mod cause;
pub mod duration;
pub mod export;
mod finding;
#[cfg(test)]
mod fixture;
pub mod json;
mod owners;
pub mod palette;
pub mod plain;
pub mod report;
pub mod size;
mod source;
mod standing;
pub mod text;
pub mod tui;
pub mod wall;

use crate::diagnosis::verdict::judge;
use crate::diagnosis::{Finding, Subject, Verdict};
use crate::model::FourTuple;
use crate::model::filter::{EndFacts, Filter};
use crate::model::tcp::StateSet;
use crate::timeline::{Connection, Side, Tracker};

/// Whether the connection is one that the filter asks for. Live, the sources have asked for ports
/// and hosts already; a recording holds what was asked for then.
pub fn wants(filter: &Filter, connection: &Connection) -> bool {
    let [local, remote] = Side::BOTH.map(|side| connection.endpoint(side));
    filter.keeps(&FourTuple { local, remote }) && connection.is_selected_by(&filter.selection)
}

/// Whether the finding is about something that the filter asks for: a connection, or a listener or a
/// destination whose connections can be wanted.
pub fn wants_finding(filter: &Filter, tracker: &Tracker, finding: &Finding) -> bool {
    let mut conns = finding.subject.connections();
    match &finding.subject {
        Subject::End(..) | Subject::Pair { .. } => conns.any(|conn| match tracker.get(conn) {
            Some(connection) => wants(filter, connection),
            None => is_of_wanted(filter, finding),
        }),
        Subject::Listener(id) => filter.keeps_listener(&id.tuple.local),
        Subject::Destination { local, remote, .. } => filter.keeps_destination(*local, remote),
    }
}

/// Of a connection that is forgotten by now, what the finding says of it has to do.
fn is_of_wanted(filter: &Filter, finding: &Finding) -> bool {
    finding.standing.as_ref().is_some_and(|standing| {
        let tuple = FourTuple {
            local: standing.local,
            remote: standing.remote,
        };
        let states = StateSet::EMPTY.with(standing.state);
        filter.keeps(&tuple) && filter.selection.matches(&EndFacts { tuple, states })
    })
}

/// How a connection ended; `None` of a multipath one (MPTCP), to which the rules don't apply.
fn verdict(connection: &Connection) -> Option<Verdict> {
    (!connection.is_multipath()).then(|| judge(connection))
}

/// Whether both ends are on this host: one that was not seen is not hidden, it was gone already.
fn is_local(connection: &Connection) -> bool {
    let [a, b] = Side::BOTH.map(|side| connection.endpoint(side).addr());
    a == b || a.is_loopback() || b.is_loopback()
}

/// What stands in its place.
const MULTIPATH: &str = "multipath (MPTCP): its teardown goes by other rules";
