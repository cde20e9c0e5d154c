//! What is shown: screen, lines, JSON. Formats what it is given; reads no clock, opens no source.

mod cause;
pub mod doctor;
pub mod duration;
mod exchange;
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
pub mod waiting;
pub mod wall;

use crate::diagnosis::finding::Code;
use crate::diagnosis::until::Choose;
use crate::diagnosis::verdict::judge;
use crate::diagnosis::{Finding, Subject, Verdict};
use crate::model::filter::{EndFacts, Family, Filter, Selection};
use crate::model::tcp::StateSet;
use crate::model::{Descriptor, FourTuple, TcpState};
use crate::timeline::{Connection, Listener, Owners, Side, Track, Tracker};

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
                Some(connection) => {
                    wants(filter, connection)
                        || (!selection.processes.is_any() && waits_at(filter, finding, tracker))
                }
                None => is_of_wanted(filter, finding),
            })
        }
        Subject::Listener(id) => match tracker.listener(id) {
            Some(listener) => wants_listener(filter, listener, tracker),
            None => filter.keeps_listener(&id.tuple.local),
        },
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

/// Whether a connection that nobody has accepted waits at a listener of the processes asked for.
fn waits_at(filter: &Filter, finding: &Finding, tracker: &Tracker) -> bool {
    let standing = finding.standing.as_ref();
    let standing = standing.filter(|_| finding.code == Code::CloseWaitNeverAccepted);
    standing.is_some_and(|standing| {
        let mut listeners = tracker.listeners_of(standing.local, standing.scope);
        listeners.any(|listener| wants_listener(filter, listener, tracker))
    })
}

/// Whether a listener is one that the filter asks for.
pub fn wants_listener(filter: &Filter, listener: &Listener, tracker: &Tracker) -> bool {
    let local = listener.local();
    let Selection {
        states,
        family,
        processes,
        ..
    } = &filter.selection;
    let holders = tracker.owners_of(listener).holders();
    let is_theirs =
        processes.is_any() || holders.iter().any(|holder| processes.has(&holder.program));
    let is_of_family = family.is_none_or(|family| {
        // One on every IPv6 address mostly serves IPv4 too.
        local.is_any_address() || (family == Family::V4) == local.addr().is_ipv4()
    });
    filter.keeps_listener(&local)
        && is_of_family
        && is_theirs
        && (states.is_empty() || states.contains(TcpState::Listen))
}

impl Choose for Filter {
    fn wants(&self, connection: &Connection) -> bool {
        wants(self, connection)
    }

    fn may_want(&self, connection: &Connection) -> bool {
        may_be_theirs(self, connection, is_not_looked_into)
    }

    fn is_hidden(&self, connection: &Connection) -> bool {
        may_be_theirs(self, connection, |track| {
            !track.is_gone() && is_hidden(track)
        })
    }

    fn wants_finding(&self, finding: &Finding, tracker: &Tracker) -> bool {
        wants_finding(self, finding, tracker)
    }

    fn wants_listener(&self, listener: &Listener, tracker: &Tracker) -> bool {
        wants_listener(self, listener, tracker)
    }
}

/// Whether `connection` can be of a process that is asked for, and nobody can tell: an end is so.
fn may_be_theirs(filter: &Filter, connection: &Connection, is_so: impl Fn(&Track) -> bool) -> bool {
    let selection = &filter.selection;
    !selection.processes.is_any()
        && connection.visible().any(|(_, track)| is_so(track))
        && connection.is_selected_by(&selection.held_by_any())
        && !wants(filter, connection)
}

fn is_not_looked_into(track: &Track) -> bool {
    !track.is_gone()
        && track.beside().descriptor == Some(Descriptor::Held)
        && track.owners() == Owners::NotLooked
}

fn is_hidden(track: &Track) -> bool {
    track.owners() == Owners::Hidden
}

/// Whether who asks for a process can't be told if this connection is its: who holds it is hidden,
/// or could not be looked up.
pub fn is_undecided(filter: &Filter, connection: &Connection) -> bool {
    may_be_theirs(filter, connection, |track| {
        !track.is_gone() && is_hidden(track) || is_not_looked_into(track)
    })
}

/// The same of a listener in trouble.
pub fn is_undecided_listener(filter: &Filter, listener: &Listener, tracker: &Tracker) -> bool {
    let any = Filter {
        selection: filter.selection.held_by_any(),
        ..filter.clone()
    };
    !filter.selection.processes.is_any()
        && matches!(
            tracker.owners_of(listener),
            Owners::Hidden | Owners::NotLooked
        )
        && wants_listener(&any, listener, tracker)
}

/// What to say to who asks for a process, where `connection` may be one of its and who holds it is
/// hidden; `None` where it is not.
pub fn hidden_holders(filter: &Filter, connection: &Connection) -> Option<&'static str> {
    may_be_theirs(filter, connection, is_hidden).then_some(
        "--pid and --process: who holds the sockets of others is not visible without \
         CAP_SYS_PTRACE, so connections may be missing",
    )
}

/// How a connection ended; `None` of a multipath one (MPTCP), to which the rules don't apply.
fn verdict(connection: &Connection) -> Option<Verdict> {
    (!connection.is_multipath()).then(|| judge(connection))
}

/// What stands in its place.
const MULTIPATH: &str = "multipath (MPTCP): its teardown goes by other rules";
