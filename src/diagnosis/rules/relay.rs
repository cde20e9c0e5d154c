//! Proxies that pass no close on: one process holds an old CLOSE_WAIT on one connection and an old
//! FIN_WAIT2 on another.
//!
//! The two are joined by when they began: what a proxy hears on one side and does on the other lies
//! close together. The traps: a proxy with a half-close in use looks like this until the answer is
//! through; both ends of one connection in one process are no proxy; a process can have thousands
//! of either, so the nearest is looked up and not searched for; and who holds an end can become
//! known after the end was found.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use crate::diagnosis::finding::{Code, Finding, Owned, Severity, Standing, Subject};
use crate::diagnosis::rules::{Draft, Drafts};
use crate::diagnosis::words;
use crate::model::{ProcessId, Timestamp};
use crate::timeline::{ConnId, Connection, Owners, Side, Track, Tracker, When};

type Fast = foldhash::fast::RandomState;
type End = (ConnId, Side);
/// A process of a host.
type Proc = (u16, ProcessId);

/// An end is sought a partner for in so many of the processes that hold it.
const HOLDERS: usize = 64;
/// What a proxy hears it passes on within this.
const NEAR: Duration = Duration::from_secs(2);
/// So many ends before and after an end are tried as its partner.
const TRIED: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    CloseWait,
    FinWait2,
}

impl Kind {
    const fn of(code: Code) -> Option<Self> {
        match code {
            Code::CloseWaitUnread | Code::CloseWaitEofUnread | Code::CloseWaitLeaked => {
                Some(Self::CloseWait)
            }
            Code::FinWait2Held => Some(Self::FinWait2),
            _ => None,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::CloseWait => Self::FinWait2,
            Self::FinWait2 => Self::CloseWait,
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    kind: Kind,
    /// When it entered its state.
    since: When,
    /// From when on it has been old.
    at: Timestamp,
    severity: Severity,
    processes: Vec<Proc>,
    pair: Option<Subject>,
}

impl Known {
    const fn entered(&self) -> Timestamp {
        self.since.not_after()
    }
}

/// How far apart two moments are, at least and at most; `None` when one of them can be any time
/// before.
fn apart(one: When, other: When) -> (Duration, Option<Duration>) {
    let gap = |earlier: When, later: When| {
        let from = later.not_before().unwrap_or_default();
        from.since(earlier.not_after())
    };
    let reach = |earlier: When, later: When| {
        let from = earlier.not_before()?;
        Some(later.not_after().since(from))
    };
    let at_most = reach(one, other).zip(reach(other, one));
    (
        gap(one, other).max(gap(other, one)),
        at_most.map(|(one, other)| one.max(other)),
    )
}

/// The ends of a process that have no partner, by when they entered their state.
#[derive(Clone, Debug, Default)]
struct Free {
    close_wait: BTreeSet<(Timestamp, End)>,
    fin_wait2: BTreeSet<(Timestamp, End)>,
}

impl Free {
    const fn of_mut(&mut self, kind: Kind) -> &mut BTreeSet<(Timestamp, End)> {
        match kind {
            Kind::CloseWait => &mut self.close_wait,
            Kind::FinWait2 => &mut self.fin_wait2,
        }
    }

    const fn of(&self, kind: Kind) -> &BTreeSet<(Timestamp, End)> {
        match kind {
            Kind::CloseWait => &self.close_wait,
            Kind::FinWait2 => &self.fin_wait2,
        }
    }

    /// The nearest end of a kind, of those that fit.
    fn nearest(
        &self,
        kind: Kind,
        (entered, end): (Timestamp, End),
        fits: impl Fn(End) -> bool,
    ) -> Option<(Duration, End)> {
        let all = self.of(kind);
        let is_partner = |(_, other): &&(Timestamp, End)| other.0 != end.0 && fits(*other);
        let before = all.range(..(entered, end)).rev().take(TRIED);
        let after = all.range((entered, end)..).take(TRIED);
        let distance = |&(at, other): &(Timestamp, End)| (at.distance(entered), other);
        let before = before.clone().find(is_partner);
        let after = after.clone().find(is_partner);
        before.into_iter().chain(after).map(distance).min()
    }

    fn is_empty(&self) -> bool {
        self.close_wait.is_empty() && self.fin_wait2.is_empty()
    }
}

/// The old ends of each process, and those that belong together.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    ends: HashMap<End, Known, Fast>,
    free: BTreeMap<Proc, Free>,
    /// Pairs, by which process holds both.
    pairs: HashMap<Subject, Proc, Fast>,
    /// Ends that came free, or to be known, and have not been sought a partner for.
    newcomers: BTreeSet<End>,
    /// Pairs to be judged.
    changed: BTreeSet<Subject>,
}

impl Relays {
    /// Something was found, or is told otherwise.
    pub(super) fn note(&mut self, finding: &Finding) {
        let (Some(kind), Subject::End(conn, side), Some(standing)) =
            (Kind::of(finding.code), finding.subject, &finding.standing)
        else {
            return;
        };
        let end = (conn, side);
        let processes = processes_of(standing);
        let since = standing.since;
        let (at, severity) = (finding.at, finding.severity);
        if let Some(known) = self.ends.get_mut(&end)
            && known.kind == kind
            && known.processes == processes
            && known.since == since
        {
            if known.severity != severity {
                known.severity = severity;
                self.changed.extend(known.pair);
            }
            return;
        }
        self.forget(end);
        let known = Known {
            kind,
            since,
            at,
            severity,
            processes,
            pair: None,
        };
        self.set_free(end, &known);
        self.ends.insert(end, known);
        // Who holds the other end tells whether that is in a pair rightly.
        let of_the_other = self.ends.get(&(conn, side.other()));
        let pair = of_the_other.and_then(|known| known.pair);
        self.changed.extend(pair);
    }

    /// It does not hold any more.
    pub(super) fn note_over(&mut self, finding: &Finding) {
        if let (Some(kind), Subject::End(conn, side)) = (Kind::of(finding.code), finding.subject) {
            let end = (conn, side);
            // Of the codes of CLOSE_WAIT one can follow another.
            if self.ends.get(&end).is_some_and(|known| known.kind == kind) {
                self.forget(end);
            }
        }
    }

    fn set_free(&mut self, end: End, known: &Known) {
        for process in &known.processes {
            let free = self.free.entry(*process).or_default();
            free.of_mut(known.kind).insert((known.entered(), end));
        }
        self.newcomers.insert(end);
    }

    fn take(&mut self, end: End, known: &Known) {
        for process in &known.processes {
            if let Some(free) = self.free.get_mut(process) {
                free.of_mut(known.kind).remove(&(known.entered(), end));
                if free.is_empty() {
                    self.free.remove(process);
                }
            }
        }
        self.newcomers.remove(&end);
    }

    fn forget(&mut self, end: End) {
        let Some(known) = self.ends.remove(&end) else {
            return;
        };
        self.take(end, &known);
        let Some(pair) = known.pair else {
            return;
        };
        self.pairs.remove(&pair);
        self.changed.insert(pair);
        let Some((close_wait, fin_wait2)) = both(&pair) else {
            return;
        };
        let other = if close_wait == end {
            fin_wait2
        } else {
            close_wait
        };
        if let Some(mut known) = self.ends.remove(&other) {
            known.pair = None;
            self.set_free(other, &known);
            self.ends.insert(other, known);
        }
    }

    /// Joins what can be joined; says which pairs are to be judged.
    pub(super) fn subjects(&mut self, tracker: &Tracker) -> Vec<Subject> {
        if self.newcomers.is_empty() && self.changed.is_empty() {
            return Vec::new();
        }
        let newcomers = std::mem::take(&mut self.newcomers);
        // The nearest first. What a newcomer is nearest to can be taken before its turn comes.
        let mut queue: BinaryHeap<Reverse<(Duration, End, End, Proc)>> = newcomers
            .iter()
            .filter_map(|end| self.nearest(*end, tracker))
            .map(Reverse)
            .collect();
        while let Some(Reverse((_, end, partner, process))) = queue.pop() {
            if !self.is_free(end) {
                continue;
            }
            if self.is_free(partner) {
                self.join(end, partner, process);
            } else {
                queue.extend(self.nearest(end, tracker).map(Reverse));
            }
        }
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    fn is_free(&self, end: End) -> bool {
        self.ends
            .get(&end)
            .is_some_and(|known| known.pair.is_none())
    }

    fn nearest(&self, end: End, tracker: &Tracker) -> Option<(Duration, End, End, Proc)> {
        let known = self.ends.get(&end)?;
        let is_near = |partner: End| {
            let partner = self.ends.get(&partner);
            partner.is_some_and(|partner| apart(known.since, partner.since).0 <= NEAR)
        };
        let wanted = known.kind.other();
        known
            .processes
            .iter()
            .filter(|process| !holds_the_other(**process, end, tracker))
            .filter_map(|process| {
                let fits =
                    |partner| is_near(partner) && !holds_the_other(*process, partner, tracker);
                let free = self.free.get(process)?;
                let (distance, partner) = free.nearest(wanted, (known.entered(), end), fits)?;
                Some((distance, end, partner, *process))
            })
            .min()
    }

    fn join(&mut self, one: End, other: End, process: Proc) {
        let is_close_wait = |end: &End| {
            self.ends
                .get(end)
                .is_some_and(|known| known.kind == Kind::CloseWait)
        };
        let (close_wait, fin_wait2) = if is_close_wait(&one) {
            (one, other)
        } else {
            (other, one)
        };
        let pair = Subject::Pair {
            close_wait,
            fin_wait2,
        };
        for end in [close_wait, fin_wait2] {
            if let Some(mut known) = self.ends.remove(&end) {
                self.take(end, &known);
                known.pair = Some(pair);
                self.ends.insert(end, known);
            }
        }
        self.pairs.insert(pair, process);
        self.changed.insert(pair);
    }

    pub(super) fn judge(&self, subject: &Subject, tracker: &Tracker, drafts: &mut Drafts) {
        let Some((pair, process)) = both(subject).zip(self.pairs.get(subject)) else {
            return;
        };
        let (close_wait, fin_wait2) = pair;
        let (Some(one), Some(other)) = (self.ends.get(&close_wait), self.ends.get(&fin_wait2))
        else {
            return;
        };
        let (Some(here), Some(there)) = (tracker.get(close_wait.0), tracker.get(fin_wait2.0))
        else {
            return;
        };
        let (Some(track), Some(track_there)) = (here.end(close_wait.1), there.end(fin_wait2.1))
        else {
            return;
        };
        if holds_the_other(*process, close_wait, tracker)
            || holds_the_other(*process, fin_wait2, tracker)
        {
            return;
        }
        let name = track
            .owners()
            .holders()
            .iter()
            .find(|holder| holder.program.id == process.1)
            .map_or_else(
                || format!("process {}", process.1.pid),
                |holder| words::process(holder.program.comm, holder.program.id.pid),
            );
        let evidence: Vec<Cow<'static, str>> = vec![
            format!("{name} holds both").into(),
            format!("{} is in CLOSE_WAIT", named(here, close_wait.1)).into(),
            format!("{} is in FIN_WAIT2", named(there, fin_wait2.1)).into(),
            reading(track_there),
            distance(one.since, other.since),
        ];
        drafts.push(Draft {
            code: Code::RelayPairLeaked,
            severity: one.severity.min(other.severity),
            at: one.at.max(other.at),
            what: format!(
                "{name} also holds {} in FIN_WAIT2: it has ended its sending there, and until that \
                 peer closes too it closes neither",
                named(there, fin_wait2.1)
            )
            .into(),
            evidence,
            advice: "If the answer of the side in FIN_WAIT2 is still on its way, nothing. Else the \
                     relay lacks a limit for how long it waits for one side when the other has ended: \
                     then it has to close both sockets."
                .into(),
            standing: Some(Standing::of(here, close_wait.1, track)),
        });
    }
}

/// Whether the process holds the other end of the connection as well: it talks to itself.
fn holds_the_other((host, process): Proc, (conn, side): End, tracker: &Tracker) -> bool {
    let connection = tracker.get(conn);
    let other = connection.and_then(|connection| connection.end(side.other()));
    other.is_some_and(|track| match track.owners() {
        Owners::Now(holding) => track.id().scope.host == host && holding.has(process),
        _ => false,
    })
}

fn reading(track: &Track) -> Cow<'static, str> {
    match track.beside().shutdown {
        Some(mask) if mask.receive() => {
            "both directions are shut down there: no answer is waited for".into()
        }
        Some(_) => "it still reads there".into(),
        None => "whether it still reads there is not known".into(),
    }
}

/// How far apart the two states were entered, as far as that is known.
fn distance(close_wait: When, fin_wait2: When) -> Cow<'static, str> {
    let (least, most) = apart(close_wait, fin_wait2);
    let secs = |duration: Duration| format!("{:.3} s", duration.as_secs_f64());
    match most {
        None => {
            "how far apart they entered these states is not known: they were found in them".into()
        }
        Some(most) if least == most => {
            format!("they entered these states {} apart", secs(most)).into()
        }
        Some(most) if least.is_zero() => {
            format!("they entered these states at most {} apart", secs(most)).into()
        }
        Some(most) => format!(
            "they entered these states {} to {} apart",
            secs(least),
            secs(most)
        )
        .into(),
    }
}

/// `#7 10.0.0.1:40002 to 10.0.0.2:80`.
fn named(connection: &Connection, side: Side) -> String {
    let way = match side {
        Side::A => "to",
        Side::B => "from",
    };
    format!(
        "#{} {} ({way} {})",
        connection.id(),
        connection.endpoint(side),
        connection.endpoint(side.other())
    )
}

const fn both(subject: &Subject) -> Option<(End, End)> {
    match subject {
        Subject::Pair {
            close_wait,
            fin_wait2,
        } => Some((*close_wait, *fin_wait2)),
        _ => None,
    }
}

fn processes_of(standing: &Standing) -> Vec<Proc> {
    let host = standing.scope.host;
    match (&standing.holding, standing.owned) {
        (Some(holding), Owned::Now) => holding
            .holders
            .iter()
            .take(HOLDERS)
            .map(|holder| (host, holder.program.id))
            .collect(),
        _ => Vec::new(),
    }
}
