//! A connection with its spans, as one JSON object: of `tcpwatch list`, and with all that is known
//! of `tcpwatch report`.

use serde::Serialize;

use crate::diagnosis::Health;
use crate::diagnosis::finding::{Code, Finding};
use crate::model::time::nanos_of;
use crate::model::{Descriptor, Timestamp};
use crate::timeline::{
    Call, Certainty, Connection, Holding, Mark, Process, Reason, Side, Span, Track, When,
};
use crate::view::json::bytes::{Address, Name, inert};
use crate::view::json::doctor::ListenerInfo;
use crate::view::json::finding::FindingLine;
use crate::view::json::line::other_netns;
use crate::view::json::owners::{HoldersInfo, OwnersInfo, seen_word};
use crate::view::json::verdict::VerdictInfo;
use crate::view::json::{VERSION, age_ns, known_how};
use crate::view::report::Shown;
use crate::view::report::spent::spent;
use crate::view::standing::sentence;
use crate::view::verdict;

/// The document of `tcpwatch list`.
///
/// # Errors
/// When serde_json can't write it, which it can.
pub fn list<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    listeners: Option<&[Health<'a>]>,
    now: Timestamp,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Document<'a> {
        version: u32,
        connections: Vec<ConnectionInfo<'a>>,
        /// Only where they were asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        listeners: Option<Vec<ListenerInfo<'a>>>,
    }
    let document = serde_json::to_string_pretty(&Document {
        version: VERSION,
        connections: connections.map(|c| ConnectionInfo::new(c, now)).collect(),
        listeners: listeners.map(|all| all.iter().map(ListenerInfo::from).collect()),
    });
    document.map(inert)
}

/// A connection of a report, on one line without its end.
pub(in crate::view) fn detailed(shown: &Shown<'_>) -> serde_json::Result<String> {
    let connection = shown.connection;
    let mut info = ConnectionInfo::new(connection, shown.until);
    for (side, end) in [(Side::A, &mut info.a), (Side::B, &mut info.b)] {
        if let (Some(end), Some(track)) = (end, connection.end(side)) {
            end.add_details(side, track, shown);
        }
    }
    let [a_addr, b_addr] = Side::BOTH.map(|side| Address(connection.endpoint(side)));
    info.life = Some(Life {
        a_addr,
        b_addr,
        host: connection.scope().host,
        opened_ns: bounds(shown.began().0),
        closed_ns: shown.ended().map(bounds),
        until_ns: shown.until.nanos(),
        dropped: shown.dropped,
        mptcp: connection.is_multipath(),
        sentence: sentence(connection, shown.until),
        findings: codes(shown),
    });
    serde_json::to_string(&info).map(inert)
}

/// A finding of a report, on one line without its end.
pub(in crate::view) fn reported(finding: &Finding, now: Timestamp) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Reported<'a> {
        #[serde(flatten)]
        line: FindingLine<'a>,
        over_ns: Option<u64>,
    }
    let reported = Reported {
        line: FindingLine::new(finding, now),
        over_ns: finding.over.map(Timestamp::nanos),
    };
    serde_json::to_string(&reported).map(inert)
}

fn codes(shown: &Shown<'_>) -> Vec<&'static str> {
    let mut codes: Vec<Code> = shown.findings.iter().map(|found| found.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes.into_iter().map(Code::token).collect()
}

#[derive(Serialize)]
pub(super) struct ConnectionInfo<'a> {
    conn: u64,
    #[serde(flatten)]
    life: Option<Life>,
    netns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b_netns: Option<u64>,
    a: Option<EndInfo<'a>>,
    b: Option<EndInfo<'a>>,
    verdict: Option<VerdictInfo>,
}

/// What a report adds to a connection.
#[derive(Serialize)]
struct Life {
    /// Also of an end that was not seen.
    a_addr: Address,
    b_addr: Address,
    /// Which recording.
    host: u16,
    opened_ns: [Option<u64>; 2],
    closed_ns: Option<[Option<u64>; 2]>,
    until_ns: u64,
    dropped: bool,
    mptcp: bool,
    /// What one that is not over waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sentence: Option<String>,
    /// The codes of what was found, each once; the findings stand behind the connections.
    findings: Vec<&'static str>,
}

#[derive(Serialize)]
struct EndInfo<'a> {
    addr: Address,
    state: &'static str,
    age_ns: Option<u64>,
    age_max_ns: Option<u64>,
    age: Option<&'static str>,
    cookie: Option<u64>,
    inode: Option<u32>,
    uid: Option<u32>,
    descriptor: Option<&'static str>,
    unread: Option<u32>,
    unacked: Option<u32>,
    owners: OwnersInfo<'a>,
    spans: Vec<SpanInfo>,
    #[serde(flatten)]
    marks: Option<Marks<'a>>,
}

/// What a report adds to an end.
#[derive(Serialize)]
struct Marks<'a> {
    /// Who held it, oldest first.
    holders: Vec<HeldInfo<'a>>,
    /// Sets between the first and the others, which are not kept.
    holders_dropped: u64,
    marks: Vec<MarkInfo>,
    /// Older ones, which are not kept.
    marks_dropped: u64,
}

/// A set of holders.
#[derive(Serialize)]
struct HeldInfo<'a> {
    from_ns: [Option<u64>; 2],
    owners: HoldersInfo<'a>,
    seen: &'static str,
    /// The pids of those of the set before that had ended.
    ended: Vec<u32>,
}

impl<'a> From<&'a Holding> for HeldInfo<'a> {
    fn from(set: &'a Holding) -> Self {
        Self {
            from_ns: bounds(set.from),
            owners: HoldersInfo(set),
            seen: seen_word(set.seen),
            ended: set.ended.iter().map(|id| id.pid).collect(),
        }
    }
}

#[derive(Serialize)]
struct MarkInfo {
    at_ns: u64,
    what: &'static str,
    reason: Option<&'static str>,
    pid: Option<u32>,
    comm: Option<Name>,
}

impl From<&Mark> for MarkInfo {
    fn from(mark: &Mark) -> Self {
        Self {
            at_ns: mark.at.nanos(),
            what: mark.kind.token(),
            reason: mark.kind.reason().and_then(Reason::token),
            pid: pid(mark.by),
            comm: comm(mark.by),
        }
    }
}

#[derive(Serialize)]
struct SpanInfo {
    state: &'static str,
    from_ns: [Option<u64>; 2],
    to_ns: Option<[Option<u64>; 2]>,
    certainty: &'static str,
    #[serde(flatten)]
    details: Option<Details>,
}

/// What a report adds to a span: how it began, and how long it lasted within the window.
#[derive(Serialize)]
struct Details {
    lasted_ns: Option<[Option<u64>; 2]>,
    source: &'static str,
    cause: &'static str,
    call: Option<&'static str>,
    reason: Option<&'static str>,
    signal: Option<u8>,
    pid: Option<u32>,
    comm: Option<Name>,
    descriptor: Option<&'static str>,
    unread: Option<u32>,
    unacked: Option<u32>,
}

fn pid(by: Option<Process>) -> Option<u32> {
    by.map(|process| process.pid)
}

fn comm(by: Option<Process>) -> Option<Name> {
    by.map(|process| Name(process.comm))
}

impl Details {
    fn new(side: Side, track: &Track, index: usize, shown: &Shown<'_>) -> Self {
        let span = &track.spans()[index];
        let (unread, unacked) = shown.queued_at(side, span);
        let why = &span.why;
        let thrown_away = match why.reason {
            Some(Reason::UnreadData(bytes)) => Some(bytes),
            _ => None,
        };
        let lasted = spent(track, index, shown.from, shown.until);
        Self {
            lasted_ns: lasted.map(|spent| {
                [
                    Some(nanos_of(spent.age.at_least)),
                    spent.age.at_most.map(nanos_of),
                ]
            }),
            source: span.source.token(),
            cause: why.cause.token(),
            call: why.call.map(Call::token),
            reason: why.reason.and_then(Reason::token),
            signal: why.signal,
            pid: pid(why.by),
            comm: comm(why.by),
            descriptor: span.descriptor.map(Descriptor::token),
            unread: unread.or(thrown_away),
            unacked,
        }
    }
}

impl<'a> ConnectionInfo<'a> {
    pub(super) fn new(connection: &'a Connection, now: Timestamp) -> Self {
        let end = |side| {
            let track = connection.end(side)?;
            Some(EndInfo::new(track, Address(connection.endpoint(side)), now))
        };
        Self {
            conn: connection.id().0,
            life: None,
            netns: connection.scope().netns,
            b_netns: other_netns(connection),
            a: end(Side::A),
            b: end(Side::B),
            verdict: connection
                .closed()
                .and_then(|_| verdict(connection))
                .map(VerdictInfo::from),
        }
    }
}

impl<'a> EndInfo<'a> {
    fn new(track: &'a Track, addr: Address, now: Timestamp) -> Self {
        let last = track.last();
        let age = track.present_age(now);
        Self {
            addr,
            state: track.state().name(),
            age_ns: age_ns(age),
            age_max_ns: age.and_then(|age| age.at_most).map(nanos_of),
            age: age.and_then(known_how),
            cookie: last.id.cookie.map(|cookie| cookie.0),
            inode: last.inode,
            uid: last.uid,
            descriptor: track.descriptor_in(track.state()).map(Descriptor::token),
            unread: last.unread(),
            unacked: last.unacked(),
            owners: OwnersInfo(track.owners()),
            spans: spans(track.spans()),
            marks: None,
        }
    }

    fn add_details(&mut self, side: Side, track: &'a Track, shown: &Shown<'_>) {
        for (index, span) in self.spans.iter_mut().enumerate() {
            span.details = Some(Details::new(side, track, index, shown));
        }
        self.marks = Some(Marks {
            holders: track.holdings().iter().map(HeldInfo::from).collect(),
            holders_dropped: track.holdings_dropped(),
            marks: track.marks().iter().map(MarkInfo::from).collect(),
            marks_dropped: track.marks_dropped(),
        });
    }
}

fn bounds(when: When) -> [Option<u64>; 2] {
    [
        when.not_before().map(Timestamp::nanos),
        Some(when.not_after().nanos()),
    ]
}

fn spans(spans: &[Span]) -> Vec<SpanInfo> {
    spans
        .iter()
        .enumerate()
        .map(|(index, span)| SpanInfo {
            state: span.state.name(),
            from_ns: bounds(span.from),
            to_ns: spans.get(index + 1).map(|next| bounds(next.from)),
            certainty: Certainty::token(span.certainty),
            details: None,
        })
        .collect()
}
