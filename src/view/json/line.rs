//! The lines of live output, field by field: what is promised to readers.
//!
//! The order of fields here is the order in the output. A field that is added goes to
//! docs/json.md too.

use serde::Serialize;

use crate::model::time::nanos_of;
use crate::model::{Descriptor, Timestamp};
use crate::timeline::{
    Call, Connection, Found, Mark, Owners, Process, Reason, Side, Track, Transition,
};
use crate::view::json::bytes::{Address, Name};
use crate::view::json::finding::{FindingLine, OverLine};
use crate::view::json::owners::{HoldersInfo, OwnersInfo, seen_word};
use crate::view::json::verdict::VerdictInfo;
use crate::view::json::{SourceInfo, age_ns, known_how};

/// One line of output, without its newline.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Session {
        version: u32,
        tcpwatch: &'static str,
        kernel: &'a str,
        host: &'a str,
        netns: Option<u64>,
        clock: Option<Clock>,
        sources: &'a [SourceInfo],
        filter: String,
    },
    Source {
        at_ns: u64,
        #[serde(flatten)]
        info: SourceInfo,
    },
    Clock {
        at_ns: u64,
        #[serde(flatten)]
        clock: Clock,
    },
    Open(Open<'a>),
    /// The other end of a connection that is known already.
    End {
        at_ns: u64,
        conn: u64,
        end: &'static str,
        local: Address,
        remote: Address,
        state: &'static str,
        age_ns: Option<u64>,
        cookie: Option<u64>,
    },
    Transition(TransitionLine<'a>),
    /// Another set of processes holds an end.
    Holders(HeldLine<'a>),
    /// Something was found.
    Finding(FindingLine<'a>),
    /// It does not hold any more.
    FindingOver(OverLine),
    /// How old the state is that an end was found in, known later than the end.
    Age(DatedLine),
    Closed {
        at_ns: u64,
        conn: u64,
        verdict: Option<VerdictInfo>,
    },
    /// Something that happened to an end without moving its state.
    Event(EventLine),
    Lost {
        at_ns: u64,
        source: &'static str,
        count: Option<u64>,
        why: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        conn: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<&'static str>,
    },
    Note {
        at_ns: u64,
        pid: u32,
        text: &'a str,
    },
    /// What an experiment of the lab came to.
    Conclusion {
        at_ns: u64,
        experiment: &'a str,
        shown: bool,
        text: &'a str,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Clock {
    pub(super) monotonic_ns: u64,
    pub(super) realtime_ns: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Open<'a> {
    at_ns: u64,
    conn: u64,
    a: Address,
    b: Address,
    a_state: Option<&'static str>,
    b_state: Option<&'static str>,
    a_age_ns: Option<u64>,
    b_age_ns: Option<u64>,
    a_cookie: Option<u64>,
    b_cookie: Option<u64>,
    netns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b_netns: Option<u64>,
    a_owners: OwnersInfo<'a>,
    b_owners: OwnersInfo<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mptcp: bool,
}

impl<'a> Open<'a> {
    pub(super) fn new(
        conn: u64,
        at: Timestamp,
        ends: &[Option<Found>; 2],
        connection: &'a Connection,
    ) -> Self {
        let state = |end: &Option<Found>| end.map(|found| found.state.name());
        let age = |end: &Option<Found>| end.and_then(|found| age_ns(found.age));
        let cookie = |end: &Option<Found>| end.and_then(|found| found.cookie).map(|c| c.0);
        let [a, b] = ends;
        Self {
            at_ns: at.nanos(),
            conn,
            a: Address(connection.endpoint(Side::A)),
            b: Address(connection.endpoint(Side::B)),
            a_state: state(a),
            b_state: state(b),
            a_age_ns: age(a),
            b_age_ns: age(b),
            a_cookie: cookie(a),
            b_cookie: cookie(b),
            netns: connection.scope().netns,
            b_netns: other_netns(connection),
            a_owners: owners_of(connection, Side::A),
            b_owners: owners_of(connection, Side::B),
            mptcp: connection.is_multipath(),
        }
    }
}

/// Who holds an end, or did last, as far as that is known by now.
fn owners_of(connection: &Connection, side: Side) -> OwnersInfo<'_> {
    let track = connection.end(side);
    OwnersInfo(track.map_or(Owners::NotLooked, Track::owners))
}

/// The namespace of B where it is another than A's.
pub(super) fn other_netns(connection: &Connection) -> Option<u64> {
    let b = connection.end_scope(Side::B)?.netns;
    b.filter(|_| b != connection.scope().netns)
}

#[derive(Debug, Serialize)]
pub(super) struct TransitionLine<'a> {
    at_ns: u64,
    conn: u64,
    end: &'static str,
    local: Address,
    remote: Address,
    from: &'static str,
    to: &'static str,
    in_from_ns: Option<u64>,
    certainty: &'static str,
    not_before_ns: Option<u64>,
    not_after_ns: u64,
    source: &'static str,
    call: Option<&'static str>,
    cause: &'static str,
    reason: Option<&'static str>,
    signal: Option<u8>,
    pid: Option<u32>,
    comm: Option<Name>,
    descriptor: Option<&'static str>,
    unread: Option<u32>,
    unacked: Option<u32>,
    owners: OwnersInfo<'a>,
}

impl<'a> TransitionLine<'a> {
    pub(super) fn new(side: Side, step: &Transition, connection: &'a Connection) -> Self {
        let (seen, why) = (step.seen, &step.why);
        Self {
            at_ns: step.when.not_after().nanos(),
            conn: connection.id().0,
            end: side.token(),
            local: Address(connection.endpoint(side)),
            remote: Address(connection.endpoint(side.other())),
            from: step.from.name(),
            to: step.to.name(),
            in_from_ns: step.in_from.map(nanos_of),
            certainty: step.certainty.token(),
            not_before_ns: step.when.not_before().map(Timestamp::nanos),
            not_after_ns: step.when.not_after().nanos(),
            source: step.source.token(),
            call: why.call.map(Call::token),
            cause: why.cause.token(),
            reason: why.reason.and_then(Reason::token),
            signal: why.signal,
            pid: pid(why.by),
            comm: name(why.by),
            descriptor: seen.and_then(|seen| seen.descriptor).map(Descriptor::token),
            unread: seen
                .and_then(|seen| seen.unread)
                .or_else(|| thrown_away(why.reason)),
            unacked: seen.and_then(|seen| seen.unacked),
            owners: owners_of(connection, side),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct HeldLine<'a> {
    at_ns: u64,
    conn: u64,
    end: &'static str,
    local: Address,
    remote: Address,
    not_before_ns: Option<u64>,
    not_after_ns: u64,
    owners: HoldersInfo<'a>,
    /// Whether there can be others: `all`, `partly`.
    seen: &'static str,
    /// Pids of those who were not in the set before.
    came: Vec<u32>,
    /// Those of the set before who closed their copy.
    closed: Vec<u32>,
    /// Those of the set before who have ended.
    ended: Vec<u32>,
}

impl<'a> HeldLine<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        side: Side,
        at: Timestamp,
        nth: usize,
    ) -> Option<Self> {
        let track = connection.end(side)?;
        let (before, set) = track.holding(nth)?;
        let left = || before.into_iter().flat_map(|before| set.left_since(before));
        let pids = |has_ended: bool| {
            left()
                .map(|holder| holder.program.id)
                .filter(|id| set.has_ended(*id) == has_ended)
                .map(|id| id.pid)
                .collect()
        };
        let came = set.came_after(before).map(|holder| holder.program.id.pid);
        Some(Self {
            at_ns: at.nanos(),
            conn: connection.id().0,
            end: side.token(),
            local: Address(connection.endpoint(side)),
            remote: Address(connection.endpoint(side.other())),
            not_before_ns: set.from.not_before().map(Timestamp::nanos),
            not_after_ns: set.from.not_after().nanos(),
            owners: HoldersInfo(set),
            seen: seen_word(set.seen),
            came: came.collect(),
            closed: pids(false),
            ended: pids(true),
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct DatedLine {
    at_ns: u64,
    conn: u64,
    end: &'static str,
    local: Address,
    remote: Address,
    state: &'static str,
    age_ns: Option<u64>,
    age_max_ns: Option<u64>,
    age: Option<&'static str>,
}

impl DatedLine {
    pub(super) fn new(connection: &Connection, side: Side, at: Timestamp) -> Option<Self> {
        let track = connection.end(side)?;
        let age = track.age(0, at)?;
        Some(Self {
            at_ns: at.nanos(),
            conn: connection.id().0,
            end: side.token(),
            local: Address(connection.endpoint(side)),
            remote: Address(connection.endpoint(side.other())),
            state: track.spans().first()?.state.name(),
            age_ns: age_ns(Some(age)),
            age_max_ns: age.at_most.map(nanos_of),
            age: known_how(age),
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct EventLine {
    at_ns: u64,
    conn: u64,
    end: &'static str,
    what: &'static str,
    reason: Option<&'static str>,
    unread: Option<u32>,
    pid: Option<u32>,
    comm: Option<Name>,
}

impl EventLine {
    pub(super) fn new(conn: u64, side: Side, mark: &Mark) -> Self {
        let reason = mark.kind.reason();
        Self {
            at_ns: mark.at.nanos(),
            conn,
            end: side.token(),
            what: mark.kind.token(),
            reason: reason.and_then(Reason::token),
            unread: thrown_away(reason),
            pid: pid(mark.by),
            comm: name(mark.by),
        }
    }
}

/// How much the program had not read when it closed.
const fn thrown_away(reason: Option<Reason>) -> Option<u32> {
    match reason {
        Some(Reason::UnreadData(bytes)) => Some(bytes),
        _ => None,
    }
}

fn pid(by: Option<Process>) -> Option<u32> {
    by.map(|process| process.pid)
}

fn name(by: Option<Process>) -> Option<Name> {
    by.map(|process| Name(process.comm))
}
