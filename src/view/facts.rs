//! What is true of a connection, asked by an expression: each of its terms, of each end.
//!
//! Reads the timeline and the findings and keeps nothing, so that a screen can ask it of every
//! connection for every picture. The trap: what is not known is not false. Who holds a socket can be
//! hidden, and an age can lie on both sides of a bound; then nobody can tell, and it is said so. An
//! end that is not visible is another matter: it has its addresses, and nothing else is asked of it.

use std::cmp::Ordering;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Finding, Standing};
use crate::diagnosis::verdict::{self, code_of};
use crate::diagnosis::{Diagnosis, Severity, Subject};
use crate::model::filter::expr::{Compare, ExprError, Queue, Term, Which, Words};
use crate::model::filter::{Expr, Family, NamePart, Network, ProcessSet};
use crate::model::tcp::StateSet;
use crate::model::{Descriptor, Endpoint, Program, TcpState, Timestamp};
use crate::timeline::{Age, Connection, Listener, Owners, Process, Side, Track, Tracker};

pub use crate::model::filter::expr::Truth;

/// The words of all of a kind, in their order, known before the program runs.
macro_rules! tokens {
    ($kind:ty) => {{
        let mut words = [""; <$kind>::ALL.len()];
        let mut place = 0;
        while place < words.len() {
            words[place] = <$kind>::ALL[place].token();
            place += 1;
        }
        words
    }};
}

/// The codes of all findings, in their order.
pub const CODES: [&str; Code::ALL.len()] = tokens!(Code);
const VERDICTS: [&str; verdict::Code::ALL.len()] = tokens!(verdict::Code);
const SEVERITIES: [&str; Severity::ALL.len()] = tokens!(Severity);

/// The words of an expression.
pub static WORDS: Words = Words {
    findings: &CODES,
    verdicts: &VERDICTS,
    severities: &SEVERITIES,
};

/// Reads an expression; `None` of an empty text.
///
/// # Errors
/// With the place in the text, what is wrong there, and what is allowed.
pub fn parse(text: &str) -> Result<Option<Expr>, ExprError> {
    Expr::parse(text, &WORDS)
}

/// Whether an expression is true of a connection, as it is known at that time.
pub fn truth(
    expr: &Expr,
    connection: &Connection,
    diagnosis: &Diagnosis,
    tracker: &Tracker,
    at: Timestamp,
) -> Truth {
    expr.truth(&|term| match of_the_whole(term, connection) {
        Some(truth) => [truth; 2],
        None => Side::BOTH.map(|side| match connection.end(side) {
            _ if is_of_addresses(term) => {
                let own = connection.endpoint(side);
                of_addresses(term, &own, &connection.endpoint(side.other()))
            }
            Some(track) => {
                let end = End {
                    connection,
                    side,
                    track,
                };
                end.truth(term, diagnosis, tracker, at)
            }
            None => Truth::No,
        }),
    })
}

/// Whether it is true of a listener.
pub(in crate::view) fn truth_of_listener(
    expr: &Expr,
    listener: &Listener,
    diagnosis: &Diagnosis,
    tracker: &Tracker,
) -> Truth {
    let subject = Subject::Listener(listener.id);
    let local = listener.local();
    let listens = |states: StateSet| Truth::of(states.contains(TcpState::Listen));
    expr.truth(&|term| {
        [match term {
            Term::Port(Which::Either | Which::Local, ports) => {
                Truth::of(ports.allows(local.port()))
            }
            Term::Host(Which::Either | Which::Local, hosts) => {
                let has = |host: &Network| host.contains(local.addr());
                Truth::of(local.is_any_address() || hosts.iter().any(has))
            }
            // One on every IPv6 address mostly serves IPv4 too.
            Term::Family(family) => Truth::of(local.is_any_address() || is_of(*family, &local)),
            Term::State(states) | Term::Was(states) => listens(*states),
            Term::Process(wanted) => holds_listener(listener, tracker, &|it| wanted.has(it)),
            Term::Named(part) => holds_listener(listener, tracker, &|it| part.is_of(it)),
            Term::Finding(_) | Term::Severity(..) => {
                Truth::of(diagnosis.of(&subject).any(|finding| found(term, finding)))
            }
            Term::Open(is_open) => Truth::of(*is_open),
            _ => Truth::No,
        }; 2]
    })
}

/// Whether it is true of what was found of a destination. The ports of those who connect there are
/// many, and some may be meant.
pub(in crate::view) fn truth_of_destination(
    expr: &Expr,
    finding: &Finding,
    (local, remote): (std::net::IpAddr, Endpoint),
) -> Truth {
    expr.truth(&|term| {
        let goes_there = |ports: &crate::model::filter::PortSet| ports.allows(remote.port());
        [match term {
            Term::Port(Which::Remote, ports) => Truth::of(goes_there(ports)),
            Term::Port(Which::Either, ports) if goes_there(ports) => Truth::Yes,
            Term::Port(..) => Truth::Unknown,
            Term::Host(..) | Term::Family(_) => {
                of_addresses(term, &Endpoint::new(local, 0), &remote)
            }
            Term::Finding(_) | Term::Severity(..) => Truth::of(found(term, finding)),
            _ => Truth::No,
        }; 2]
    })
}

/// Whether it is true of an end that is forgotten by now, as far as its finding tells.
pub(in crate::view) fn truth_of_standing(
    expr: &Expr,
    finding: &Finding,
    standing: &Standing,
    at: Timestamp,
) -> Truth {
    let holders = standing.owners();
    let held = |has: &dyn Fn(&Program) -> bool| {
        let mut programs = holders.holders().iter().map(|holder| &holder.program);
        match programs.any(|program| has(program)) {
            true => Truth::Yes,
            false => nobody_known(holders, None),
        }
    };
    let here = |term: &Term| match term {
        Term::State(states) | Term::Was(states) => Truth::of(states.contains(standing.state)),
        Term::Process(wanted) => held(&|it| wanted.has(it)),
        Term::Named(part) => held(&|it| part.is_of(it)),
        Term::Age(compare, than) => older(*compare, standing.age(at), *than),
        Term::Bytes(Queue::Unread, compare, than) => {
            counted(*compare, standing.unread.map(u64::from), *than)
        }
        Term::Bytes(..) | Term::Verdict(_) => Truth::Unknown,
        Term::Finding(_) | Term::Severity(..) => Truth::of(found(term, finding)),
        Term::Open(is_open) => Truth::of(!is_open),
        _ => Truth::No,
    };
    expr.truth(&|term| match term {
        _ if is_of_addresses(term) => {
            let (local, remote) = (standing.local, standing.remote);
            [
                of_addresses(term, &local, &remote),
                of_addresses(term, &remote, &local),
            ]
        }
        Term::Conn(ranges) => {
            let mut all = finding.subject.connections();
            [Truth::of(all.any(|conn| is_among(ranges, conn.0))); 2]
        }
        _ => [here(term), Truth::No],
    })
}

/// What is so of both ends or of none, whether they are visible or not.
fn of_the_whole(term: &Term, connection: &Connection) -> Option<Truth> {
    let is_closed = connection.closed().is_some();
    Some(Truth::of(match term {
        Term::Conn(ranges) => is_among(ranges, connection.id().0),
        Term::Open(is_open) => *is_open != is_closed,
        // A multipath connection has no verdict, and one that goes on has none yet.
        Term::Verdict(codes) => {
            is_closed && !connection.is_multipath() && codes.has(place_of(code_of(connection)))
        }
        _ => return None,
    }))
}

fn place_of(code: verdict::Code) -> usize {
    let mut all = verdict::Code::ALL.into_iter();
    all.position(|known| known == code).unwrap_or(usize::MAX)
}

fn is_among(ranges: &[(u64, u64)], number: u64) -> bool {
    let mut ranges = ranges.iter();
    ranges.any(|(first, last)| (first..=last).contains(&&number))
}

const fn is_of_addresses(term: &Term) -> bool {
    matches!(term, Term::Port(..) | Term::Host(..) | Term::Family(_))
}

/// What every end has, visible or not.
fn of_addresses(term: &Term, own: &Endpoint, peer: &Endpoint) -> Truth {
    Truth::of(match term {
        Term::Port(which, ports) => either(*which, |end| ports.allows(end.port()), own, peer),
        Term::Host(which, hosts) => {
            let has = |end: &Endpoint| hosts.iter().any(|host| host.contains(end.addr()));
            either(*which, has, own, peer)
        }
        Term::Family(family) => is_of(*family, own),
        _ => false,
    })
}

fn either(
    which: Which,
    is_it: impl Fn(&Endpoint) -> bool,
    own: &Endpoint,
    peer: &Endpoint,
) -> bool {
    match which {
        Which::Either => is_it(own) || is_it(peer),
        Which::Local => is_it(own),
        Which::Remote => is_it(peer),
    }
}

fn is_of(family: Family, end: &Endpoint) -> bool {
    (family == Family::V4) == end.addr().is_ipv4()
}

/// A visible end.
struct End<'a> {
    connection: &'a Connection,
    side: Side,
    track: &'a Track,
}

impl End<'_> {
    fn truth(&self, term: &Term, diagnosis: &Diagnosis, tracker: &Tracker, at: Timestamp) -> Truth {
        match term {
            Term::State(states) => Truth::of(states.contains(self.track.state())),
            Term::Was(states) => Truth::of(self.has_been_in(*states)),
            Term::Process(wanted) => self.is_of_processes(wanted, tracker),
            Term::Named(part) => self.is_of_the_named(part, tracker),
            Term::Age(compare, than) => match self.age(at) {
                Some(age) => older(*compare, age, *than),
                None => Truth::Unknown,
            },
            Term::Bytes(queue, compare, than) => self.waiting(*queue, *compare, *than),
            Term::Finding(_) | Term::Severity(..) => {
                let conn = self.connection.id();
                let about = diagnosis.about(conn);
                let mut here = about.filter(|it| it.subject.is_about(conn, self.side));
                Truth::of(here.any(|finding| found(term, finding)))
            }
            _ => Truth::No,
        }
    }

    /// Now or earlier, seen or passed for sure. The CLOSE before its birth is none of its states.
    fn has_been_in(&self, states: StateSet) -> bool {
        let spans = self.track.spans();
        let is_unborn = |(index, state)| index == 0 && state == TcpState::Close && spans.len() > 1;
        let mut all = spans.iter().map(|span| span.state).enumerate();
        all.any(|(index, state)| states.contains(state) && !is_unborn((index, state)))
    }

    fn age(&self, at: Timestamp) -> Option<Age> {
        let since = self.connection.since(self.side, self.track.spans().last()?);
        Some(Age {
            at_least: at.since(since.not_after()),
            at_most: since.not_before().map(|from| at.since(from)),
        })
    }

    /// What waits in a queue. An end that is over has none.
    fn waiting(&self, queue: Queue, compare: Compare, than: u64) -> Truth {
        let bytes = match queue {
            Queue::Unread => self.track.unread(),
            Queue::Unacked => self.track.unacked(),
        };
        // Requests and mini-sockets have none either.
        let is_small =
            self.track.last().is_mini_socket() || self.track.state() == TcpState::SynRecv;
        match bytes {
            _ if self.track.is_over() => Truth::No,
            None if is_small => Truth::No,
            bytes => counted(compare, bytes.map(u64::from), than),
        }
    }

    fn is_of_processes(&self, wanted: &ProcessSet, tracker: &Tracker) -> Truth {
        match self.track.has_been_of(wanted) {
            true => Truth::Yes,
            false => self.unless_hidden(tracker, &|program| wanted.has(program)),
        }
    }

    fn is_of_the_named(&self, part: &NamePart, tracker: &Tracker) -> Truth {
        let calls = |by: &Process| part.is_of_comm(by.comm);
        match self
            .track
            .has_been_with(|program| part.is_of(program), calls)
        {
            true => Truth::Yes,
            false => self.unless_hidden(tracker, &|program| part.is_of(program)),
        }
    }

    /// Nobody who is known is meant. One that nobody has accepted is its listener's.
    fn unless_hidden(&self, tracker: &Tracker, is_meant: &dyn Fn(&Program) -> bool) -> Truth {
        let descriptor = self.track.beside().descriptor;
        if descriptor == Some(Descriptor::NotAccepted) && !self.track.is_over() {
            let (local, scope) = (self.track.tuple().local, self.track.id().scope);
            let listeners = tracker.listeners_of(local, scope);
            let held = listeners.map(|listener| holds_listener(listener, tracker, is_meant));
            return held.max().unwrap_or(Truth::No);
        }
        nobody_known(self.track.owners(), descriptor)
    }
}

/// Whether somebody who is not known can be meant.
fn nobody_known(owners: Owners<'_>, descriptor: Option<Descriptor>) -> Truth {
    match owners {
        Owners::Hidden => Truth::Unknown,
        Owners::NotLooked if descriptor != Some(Descriptor::NotAccepted) => Truth::Unknown,
        Owners::NotLooked | Owners::Nobody | Owners::Now(_) | Owners::Before(_) => Truth::No,
    }
}

fn holds_listener(
    listener: &Listener,
    tracker: &Tracker,
    is_meant: &dyn Fn(&Program) -> bool,
) -> Truth {
    let owners = tracker.owners_of(listener);
    let mut holders = owners.holders().iter();
    match holders.any(|holder| is_meant(&holder.program)) {
        true => Truth::Yes,
        false => nobody_known(owners, None),
    }
}

/// Whether a finding that holds, or a fact, is one that a term asks for.
fn found(term: &Term, finding: &Finding) -> bool {
    finding.over.is_none()
        && match term {
            Term::Finding(codes) => codes.has(finding.code as usize),
            Term::Severity(compare, rank) => {
                compare.holds((finding.severity as usize).cmp(&rank.place))
            }
            _ => false,
        }
}

/// How an age compares that is known between two bounds: it is so when it is so of both.
fn older(compare: Compare, age: Age, than: Duration) -> Truth {
    let least = age.at_least.cmp(&than);
    // What began before anybody looked can be of any age.
    let most = age
        .at_most
        .map_or(Ordering::Greater, |most| most.cmp(&than));
    match (compare.holds(least), compare.holds(most)) {
        (true, true) => Truth::Yes,
        (false, false) => Truth::No,
        _ => Truth::Unknown,
    }
}

fn counted(compare: Compare, bytes: Option<u64>, than: u64) -> Truth {
    bytes.map_or(Truth::Unknown, |bytes| {
        Truth::of(compare.holds(bytes.cmp(&than)))
    })
}
