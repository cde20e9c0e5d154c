//! What is shown: screen, lines, JSON. Formats what it is given; reads no clock, opens no source.

mod cause;
pub mod doctor;
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
use crate::model::filter::{EndFacts, Family, Filter, Selection};
use crate::model::tcp::StateSet;
use crate::model::{Endpoint, FourTuple, SockId, TcpState};
use crate::timeline::{Connection, Side, Tracker};

/// Whether the connection is one that the filter asks for. Live, the sources have asked for ports
/// and hosts already; a recording holds what was asked for then.
pub fn wants(filter: &Filter, connection: &Connection) -> bool {
    let [local, remote] = Side::BOTH.map(|side| connection.endpoint(side));
    filter.keeps(&FourTuple { local, remote }) && connection.is_selected_by(&filter.selection)
}

/// Whether a finding is about something that the filter asks for. A finding of one end is wanted
/// when either end of its connection is selected: what chooses one end hides no trouble of the other.
pub fn wants_finding(filter: &Filter, finding: &Finding, tracker: &Tracker) -> bool {
    let selection = &filter.selection;
    match &finding.subject {
        Subject::End(..) | Subject::Pair { .. } => {
            let mut conns = finding.subject.connections();
            conns.any(|conn| match tracker.get(conn) {
                Some(connection) => wants(filter, connection),
                None => is_of_wanted(filter, finding),
            })
        }
        Subject::Listener(id) => {
            wants_listener(filter, id.tuple.local) && is_of_processes(filter, id, tracker)
        }
        Subject::Destination { local, remote, .. } => {
            let chooses = *selection != Selection::default();
            filter.keeps_destination(*local, remote)
                && (!chooses
                    || tracker.connections().any(|connection| {
                        let is_of = Side::BOTH.map(|side| connection.endpoint(side) == *remote);
                        is_of.contains(&true) && wants(filter, connection)
                    }))
        }
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
        let processes = &filter.selection.processes;
        let mut holders = standing.owners().holders().iter();
        filter.keeps(&tuple)
            && filter.selection.matches(&EndFacts { tuple, states })
            && (processes.is_any() || holders.any(|holder| processes.has(&holder.program)))
    })
}

/// Whether one of the processes that are asked for listens there.
fn is_of_processes(filter: &Filter, id: &SockId, tracker: &Tracker) -> bool {
    let processes = &filter.selection.processes;
    let mut all = tracker.listeners();
    processes.is_any()
        || all
            .find(|listener| listener.id == *id)
            .is_some_and(|found| {
                let mut holders = tracker.owners_of(found).holders().iter();
                holders.any(|holder| processes.has(&holder.program))
            })
}

/// Whether a listener is one that the filter asks for.
pub fn wants_listener(filter: &Filter, local: Endpoint) -> bool {
    let Selection { states, family, .. } = &filter.selection;
    let is_of_family = family.is_none_or(|family| {
        // One on every IPv6 address mostly serves IPv4 too.
        local.is_any_address() || (family == Family::V4) == local.addr().is_ipv4()
    });
    filter.keeps_listener(&local)
        && is_of_family
        && (states.is_empty() || states.contains(TcpState::Listen))
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
