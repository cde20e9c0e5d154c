//! What the user asked for, asked of what is known at a moment: which connections, listeners and
//! findings are wanted, and of which nobody can tell.
//!
//! The trap: who holds a socket can be hidden, and then neither "it is wanted" nor "it is not" is
//! true. Whoever counts on a whole answer asks [`Asked::is_undecided`] too.

use std::cell::OnceCell;
use std::collections::HashSet;

use crate::diagnosis::finding::Code;
use crate::diagnosis::until::Choose;
use crate::diagnosis::{Diagnosis, Finding, Known, Severity, Subject};
use crate::model::filter::expr::Truth;
use crate::model::filter::{EndFacts, Family, Filter, Selection};
use crate::model::tcp::StateSet;
use crate::model::{Descriptor, Endpoint, FourTuple, TcpState, Timestamp};
use crate::timeline::{Connection, Listener, Owners, Side, Track, Tracker};
use crate::view::facts;

/// A filter, and what it is asked of.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is wanted.
    pub filter: &'a Filter,
    /// Of which connections.
    pub tracker: &'a Tracker,
    /// What was found of them.
    pub diagnosis: &'a Diagnosis,
    /// At that moment.
    pub at: Timestamp,
}

impl<'a> Asked<'a> {
    /// A filter, asked of all that is known.
    pub const fn of(filter: &'a Filter, known: &'a Known, at: Timestamp) -> Self {
        Self {
            filter,
            tracker: &known.tracker,
            diagnosis: &known.diagnosis,
            at,
        }
    }

    /// Whether the connection is one that the filter asks for. Live, the sources have asked for
    /// ports and hosts already; a recording holds what was asked for then.
    pub fn wants(self, connection: &Connection) -> bool {
        self.is_in_place(connection)
            && connection.is_selected_by(&self.filter.selection)
            && self.truth_of_expr(connection) == Truth::Yes
    }

    fn is_in_place(self, connection: &Connection) -> bool {
        let [local, remote] = Side::BOTH.map(|side| connection.endpoint(side));
        self.filter.keeps(&FourTuple { local, remote })
    }

    /// What the expression alone says of a connection.
    pub(in crate::view) fn truth_of_expr(self, connection: &Connection) -> Truth {
        let Self {
            diagnosis,
            tracker,
            at,
            ..
        } = self;
        self.filter.expr.as_ref().map_or(Truth::Yes, |expr| {
            facts::truth(expr, connection, diagnosis, tracker, at)
        })
    }

    /// The same where nobody may be able to tell.
    pub fn truth(self, connection: &Connection) -> Truth {
        self.truth_where(connection, |track| {
            is_hidden(track) || is_not_looked_into(track)
        })
    }

    /// Whether the expression is what can't tell, of a connection that is wanted but for that.
    pub fn expression_is_unsure(self, connection: &Connection) -> bool {
        self.filter.expr.is_some()
            && connection.is_selected_by(&self.filter.selection)
            && self.truth(connection) == Truth::Unknown
    }

    /// Whether it is wanted, where who holds an end of which `is_so` is true can be anybody.
    fn truth_where(self, connection: &Connection, is_so: impl Fn(&Track) -> bool) -> Truth {
        let selection = &self.filter.selection;
        let may_be_theirs = || {
            !selection.processes.is_any()
                && connection.visible().any(|(_, track)| is_so(track))
                && connection.is_selected_by(&selection.held_by_any())
        };
        let selected = match connection.is_selected_by(selection) {
            true => Truth::Yes,
            false if may_be_theirs() => Truth::Unknown,
            false => return Truth::No,
        };
        match self.is_in_place(connection) {
            true => selected.min(self.truth_of_expr(connection)),
            false => Truth::No,
        }
    }

    /// Whether a finding is about something that the filter asks for. A finding of one end is wanted
    /// when either end of its connection is selected: what chooses one end hides no trouble of the
    /// other.
    pub fn wants_finding(self, finding: &Finding) -> bool {
        self.wants_finding_where(finding, |remote| {
            let mut all = self.tracker.connections();
            all.any(|connection| ends(connection).contains(&remote) && self.wants(connection))
        })
    }

    /// The same, where `is_end` says whether a connection that is wanted has its end there.
    fn wants_finding_where(self, finding: &Finding, is_end: impl Fn(Endpoint) -> bool) -> bool {
        let Self {
            filter, tracker, ..
        } = self;
        match &finding.subject {
            Subject::End(..) | Subject::Pair { .. } => {
                let mut conns = finding.subject.connections();
                conns.any(|conn| match tracker.get(conn) {
                    Some(connection) => self.wants(connection) || self.waits_at_theirs(finding),
                    None => self.is_of_wanted(finding),
                })
            }
            Subject::Listener(id) => match tracker.listener(id) {
                Some(listener) => self.wants_listener(listener),
                None => filter.keeps_listener(&id.tuple.local) && filter.expr.is_none(),
            },
            Subject::Destination { local, remote, .. } => {
                let is_there = filter.keeps_destination(*local, remote);
                let truth = filter.expr.as_ref().map_or(Truth::Yes, |expr| {
                    facts::truth_of_destination(expr, finding, (*local, *remote))
                });
                let chooses = filter.selection != Selection::default();
                is_there && !chooses && truth == Truth::Yes
                    || (is_there || filter.expr.is_some()) && filter.chooses() && is_end(*remote)
            }
        }
    }

    /// Of a connection that is forgotten by now, what the finding says of it has to do.
    fn is_of_wanted(self, finding: &Finding) -> bool {
        let filter = self.filter;
        finding.standing.as_ref().is_some_and(|standing| {
            let tuple = FourTuple {
                local: standing.local,
                remote: standing.remote,
            };
            let states = StateSet::EMPTY.with(standing.state);
            let processes = &filter.selection.processes;
            let mut holders = standing.owners().holders().iter();
            let is_so = filter.expr.as_ref().is_none_or(|expr| {
                facts::truth_of_standing(expr, finding, standing, self.at) == Truth::Yes
            });
            filter.keeps(&tuple)
                && filter.selection.matches(&EndFacts { tuple, states })
                && (processes.is_any() || holders.any(|holder| processes.has(&holder.program)))
                && is_so
        })
    }

    /// Whether a connection that nobody has accepted waits at a listener of the processes asked for.
    fn waits_at_theirs(self, finding: &Finding) -> bool {
        let standing = finding.standing.as_ref();
        let standing = standing.filter(|_| finding.code == Code::CloseWaitNeverAccepted);
        !self.filter.selection.processes.is_any()
            && standing.is_some_and(|standing| {
                let mut listeners = self.tracker.listeners_of(standing.local, standing.scope);
                listeners.any(|listener| self.wants_listener(listener))
            })
    }

    /// Whether a listener is one that the filter asks for.
    pub fn wants_listener(self, listener: &Listener) -> bool {
        self.selects_listener(&self.filter.selection, listener)
            && self.truth_of_listener(listener) == Truth::Yes
    }

    fn truth_of_listener(self, listener: &Listener) -> Truth {
        self.filter.expr.as_ref().map_or(Truth::Yes, |expr| {
            facts::truth_of_listener(expr, listener, self.diagnosis, self.tracker)
        })
    }

    fn selects_listener(self, selection: &Selection, listener: &Listener) -> bool {
        let local = listener.local();
        let Selection {
            states,
            family,
            processes,
            ..
        } = selection;
        let holders = self.tracker.owners_of(listener).holders();
        let is_theirs =
            processes.is_any() || holders.iter().any(|holder| processes.has(&holder.program));
        let is_of_family = family.is_none_or(|family| {
            // One on every IPv6 address mostly serves IPv4 too.
            local.is_any_address() || (family == Family::V4) == local.addr().is_ipv4()
        });
        self.filter.keeps_listener(&local)
            && is_of_family
            && is_theirs
            && (states.is_empty() || states.contains(TcpState::Listen))
    }

    /// Whether nobody can tell if this connection is wanted: who holds it is hidden or could not be
    /// looked up, or it is not known well enough for the expression. What the expression can't tell
    /// of a connection matters only where something so bad was found of it.
    pub fn is_undecided(self, connection: &Connection, least: Severity) -> bool {
        let truth = self.truth_where(connection, |track| {
            !track.is_gone() && is_hidden(track) || is_not_looked_into(track)
        });
        let by_options = !connection.is_selected_by(&self.filter.selection);
        let mut about = self.diagnosis.about(connection.id());
        truth == Truth::Unknown
            && (by_options || about.any(|it| it.over.is_none() && it.severity >= least))
    }

    /// The same of a listener in trouble.
    pub fn is_undecided_listener(self, listener: &Listener) -> bool {
        let selection = &self.filter.selection;
        let is_hidden = matches!(
            self.tracker.owners_of(listener),
            Owners::Hidden | Owners::NotLooked
        );
        let selected = match self.selects_listener(selection, listener) {
            true => Truth::Yes,
            false
                if !selection.processes.is_any()
                    && is_hidden
                    && self.selects_listener(&selection.held_by_any(), listener) =>
            {
                Truth::Unknown
            }
            false => Truth::No,
        };
        selected.min(self.truth_of_listener(listener)) == Truth::Unknown
    }

    /// What to say to who asks for a process, where `connection` may be one of its and who holds it
    /// is hidden; `None` where it is not.
    pub fn hidden_holders(self, connection: &Connection) -> Option<&'static str> {
        if !self.may_be_hidden(connection, is_hidden) {
            return None;
        }
        Some(match self.filter.selection.processes.is_any() {
            false => {
                "--pid and --process: who holds the sockets of others is not visible without \
                 CAP_SYS_PTRACE, so connections may be missing"
            }
            true => {
                "--filter: who holds the sockets of others is not visible without CAP_SYS_PTRACE, \
                 so connections may be missing"
            }
        })
    }

    /// Whether it can't be told, and that because who holds an end is hidden.
    fn may_be_hidden(self, connection: &Connection, is_so: impl Fn(&Track) -> bool) -> bool {
        self.filter.asks_for_processes()
            && connection.visible().any(|(_, track)| is_so(track))
            && self.truth_where(connection, is_so) == Truth::Unknown
    }
}

/// Asks which of many findings are wanted. The trap: a finding of a destination is, where one of all
/// connections is; that is asked of them once, and not for each destination.
pub(in crate::view) struct OfMany<'a> {
    asked: Asked<'a>,
    ends: OnceCell<HashSet<Endpoint, foldhash::fast::RandomState>>,
}

impl<'a> OfMany<'a> {
    pub(in crate::view) fn new(asked: Asked<'a>) -> Self {
        Self {
            asked,
            ends: OnceCell::new(),
        }
    }

    /// As [`Asked::wants_finding`].
    pub(in crate::view) fn wants_finding(&self, finding: &Finding) -> bool {
        let is_end = |remote: Endpoint| self.ends().contains(&remote);
        self.asked.wants_finding_where(finding, is_end)
    }

    fn ends(&self) -> &HashSet<Endpoint, foldhash::fast::RandomState> {
        self.ends.get_or_init(|| {
            let all = self.asked.tracker.connections();
            let wanted = all.filter(|connection| self.asked.wants(connection));
            wanted.flat_map(ends).collect()
        })
    }
}

fn ends(connection: &Connection) -> [Endpoint; 2] {
    Side::BOTH.map(|side| connection.endpoint(side))
}

impl Choose for Asked<'_> {
    fn wants(&self, connection: &Connection) -> bool {
        Asked::wants(*self, connection)
    }

    fn may_want(&self, connection: &Connection) -> bool {
        let is_not_looked = || {
            connection
                .visible()
                .any(|(_, track)| is_not_looked_into(track))
        };
        self.truth_where(connection, is_not_looked_into) == Truth::Unknown
            && (is_not_looked() || !self.is_hidden(connection))
    }

    fn is_hidden(&self, connection: &Connection) -> bool {
        self.may_be_hidden(connection, |track| !track.is_gone() && is_hidden(track))
    }

    fn wants_finding(&self, finding: &Finding, _: &Tracker) -> bool {
        Asked::wants_finding(*self, finding)
    }

    fn wants_listener(&self, listener: &Listener, _: &Tracker) -> bool {
        Asked::wants_listener(*self, listener)
    }

    fn depends_on_time(&self) -> bool {
        self.filter.depends_on_time()
    }
}

fn is_not_looked_into(track: &Track) -> bool {
    !track.is_gone()
        && track.beside().descriptor == Some(Descriptor::Held)
        && track.owners() == Owners::NotLooked
}

fn is_hidden(track: &Track) -> bool {
    track.owners() == Owners::Hidden
}
