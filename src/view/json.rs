//! Machine output: one JSON object a line, one document for a list. A promise: fields are added,
//! never renamed or removed within a version, and `null` is unknown.
//!
//! Only formats what it is given. The trap: everything that a reader might sum or compare is a
//! number in nanoseconds of `CLOCK_MONOTONIC`; prose is for people and may change.

mod document;

use serde::Serialize;
use serde_json::Value;

use crate::diagnosis::Verdict;
use crate::diagnosis::verdict::judge;
use crate::model::filter::Filter;
use crate::model::time::nanos_of;
use crate::model::{Body, Descriptor, Observation, SourceName, SourceState, TcpState, Timestamp};
use crate::timeline::{Age, Call, Change, Connection, Found, Reason, Side, Transition};
use crate::view::plain::acts;

pub use document::list;

/// The version of the output.
pub const VERSION: u32 = 1;
/// An end was not where its last event had left it.
const MISSED: &str = "the end was in another state than its last event said: events are missing";

/// How a source is doing, for the first line.
#[derive(Debug, Clone, Serialize)]
pub struct SourceInfo {
    name: &'static str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_ns: Option<u64>,
    why: Option<String>,
}

impl SourceInfo {
    /// Whether it runs.
    pub const fn is_active(&self) -> bool {
        self.active
    }

    /// From what the source said last.
    pub fn new(name: SourceName, state: &SourceState) -> Self {
        let (active, period_ns, why) = match state {
            SourceState::Running { period, why, .. } => {
                (true, Some(nanos_of(*period)), why.clone())
            }
            SourceState::Off { why } => (false, None, Some(why.clone())),
        };
        Self {
            name: name.token(),
            active,
            period_ns,
            why,
        }
    }
}

/// What the first line says.
#[derive(Debug, Clone)]
pub struct Session {
    /// The kernel's release.
    pub kernel: String,
    /// The host's name.
    pub host: String,
    /// The same moment on both clocks, nanoseconds.
    pub clock: Option<(Timestamp, u64)>,
    /// The sources.
    pub sources: Vec<SourceInfo>,
    /// What is wanted.
    pub filter: Filter,
}

/// One line of output, without its newline.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Session {
        version: u32,
        tcpwatch: &'static str,
        kernel: &'a str,
        host: &'a str,
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
    Open(Open),
    /// The other end of a connection that is known already.
    End {
        at_ns: u64,
        conn: u64,
        end: &'static str,
        local: String,
        remote: String,
        state: &'static str,
        age_ns: Option<u64>,
        cookie: Option<u64>,
    },
    Transition(Box<TransitionLine>),
    Closed {
        at_ns: u64,
        conn: u64,
        verdict: VerdictInfo,
    },
    /// Something that happened to an end without moving its state.
    Event {
        at_ns: u64,
        conn: u64,
        end: &'static str,
        what: &'static str,
        reason: Option<&'static str>,
        pid: Option<u32>,
        comm: Option<String>,
    },
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
struct Clock {
    monotonic_ns: u64,
    realtime_ns: u64,
}

#[derive(Debug, Serialize)]
struct Open {
    at_ns: u64,
    conn: u64,
    a: String,
    b: String,
    a_state: Option<&'static str>,
    b_state: Option<&'static str>,
    a_age_ns: Option<u64>,
    b_age_ns: Option<u64>,
    a_cookie: Option<u64>,
    b_cookie: Option<u64>,
    netns: Option<u64>,
}

#[derive(Debug, Serialize)]
struct TransitionLine {
    at_ns: u64,
    conn: u64,
    end: &'static str,
    local: String,
    remote: String,
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
    comm: Option<String>,
    descriptor: Option<&'static str>,
    unread: Option<u32>,
    unacked: Option<u32>,
    owners: Option<Value>,
}

#[derive(Debug, Serialize)]
struct VerdictInfo {
    code: &'static str,
    first_closer: Option<&'static str>,
    how: Option<&'static str>,
    half_close: Option<bool>,
    lost_bytes: Option<u64>,
    signal: Option<u8>,
    sentence: String,
}

impl From<Verdict> for VerdictInfo {
    fn from(verdict: Verdict) -> Self {
        Self {
            code: verdict.code.token(),
            first_closer: verdict.first_closer.map(Side::token),
            how: verdict.how.map(|how| how.token()),
            half_close: None,
            lost_bytes: verdict.lost_bytes,
            signal: verdict.signal,
            sentence: verdict.sentence,
        }
    }
}

fn print(line: &Line<'_>) -> serde_json::Result<String> {
    serde_json::to_string(line).map(inert)
}

/// JSON leaves DEL, C1 and bidirectional controls as they are; a terminal would act on them. The
/// same text in JSON's own escapes.
fn inert(json: String) -> String {
    if !json.chars().any(acts) {
        return json;
    }
    let mut units = [0; 2];
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // Line breaks are those of a document, between its fields.
        if acts(c) && c != '\n' {
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// The first line of live output.
///
/// # Errors
/// When serde_json can't write it, which it can.
pub fn session(session: &Session) -> serde_json::Result<String> {
    print(&Line::Session {
        version: VERSION,
        tcpwatch: env!("CARGO_PKG_VERSION"),
        kernel: &session.kernel,
        host: &session.host,
        clock: session.clock.map(|(monotonic, realtime_ns)| Clock {
            monotonic_ns: monotonic.nanos(),
            realtime_ns,
        }),
        sources: &session.sources,
        filter: session.filter.to_string(),
    })
}

/// The line of an observation that is shown as it came, `None` for the others.
///
/// # Errors
/// As [`session`].
pub fn observation(observation: &Observation) -> serde_json::Result<Option<String>> {
    let at_ns = observation.at.nanos();
    let line = match &observation.body {
        Body::Source(state) => Line::Source {
            at_ns,
            info: SourceInfo::new(observation.source, state),
        },
        Body::Clock { realtime_ns } => Line::Clock {
            at_ns,
            clock: Clock {
                monotonic_ns: at_ns,
                realtime_ns: *realtime_ns,
            },
        },
        Body::Lost { count, why } => Line::Lost {
            at_ns,
            source: observation.source.token(),
            count: *count,
            why,
            conn: None,
            end: None,
        },
        Body::Note { pid, text } => Line::Note {
            at_ns,
            pid: *pid,
            text,
        },
        Body::Poll(_)
        | Body::Event(_)
        | Body::Unchanged { .. }
        | Body::Lookup { .. }
        | Body::Host(_) => {
            return Ok(None);
        }
    };
    print(&line).map(Some)
}

/// The line of an experiment's conclusion.
///
/// # Errors
/// As [`session`].
pub fn conclusion(
    experiment: &str,
    shown: bool,
    text: &str,
    at: Timestamp,
) -> serde_json::Result<String> {
    print(&Line::Conclusion {
        at_ns: at.nanos(),
        experiment,
        shown,
        text,
    })
}

/// The line of a change.
///
/// # Errors
/// As [`session`].
pub fn change(change: &Change, connection: &Connection) -> serde_json::Result<String> {
    let line = match change {
        Change::Opened { conn, at, ends } => Line::Open(open(conn.0, *at, ends, connection)),
        Change::Joined {
            conn,
            side,
            at,
            found,
        } => Line::End {
            at_ns: at.nanos(),
            conn: conn.0,
            end: side.token(),
            local: connection.endpoint(*side).to_string(),
            remote: connection.endpoint(side.other()).to_string(),
            state: found.state.name(),
            age_ns: age_ns(found.age),
            cookie: found.cookie.map(|cookie| cookie.0),
        },
        Change::Moved { side, step, .. } => {
            Line::Transition(Box::new(transition(*side, step, connection)))
        }
        Change::Marked { conn, side, mark } => Line::Event {
            at_ns: mark.at.nanos(),
            conn: conn.0,
            end: side.token(),
            what: mark.kind.token(),
            reason: mark.kind.reason().and_then(Reason::token),
            pid: mark.by.map(|process| process.pid),
            comm: mark.by.map(|process| process.comm.text()),
        },
        Change::Missed { conn, side, at } => Line::Lost {
            at_ns: at.nanos(),
            source: SourceName::Bpf.token(),
            count: None,
            why: MISSED,
            conn: Some(conn.0),
            end: Some(side.token()),
        },
        Change::Closed { conn, at } => Line::Closed {
            at_ns: at.nanos(),
            conn: conn.0,
            verdict: judge(connection).into(),
        },
    };
    print(&line)
}

fn open(conn: u64, at: Timestamp, ends: &[Option<Found>; 2], connection: &Connection) -> Open {
    let state = |end: &Option<Found>| end.map(|found| found.state.name());
    let age = |end: &Option<Found>| end.and_then(|found| age_ns(found.age));
    let cookie = |end: &Option<Found>| end.and_then(|found| found.cookie).map(|c| c.0);
    let [a, b] = ends;
    Open {
        at_ns: at.nanos(),
        conn,
        a: connection.endpoint(Side::A).to_string(),
        b: connection.endpoint(Side::B).to_string(),
        a_state: state(a),
        b_state: state(b),
        a_age_ns: age(a),
        b_age_ns: age(b),
        a_cookie: cookie(a),
        b_cookie: cookie(b),
        netns: connection.scope().netns,
    }
}

fn age_ns(age: Option<Age>) -> Option<u64> {
    age.and_then(Age::known).map(nanos_of)
}

fn transition(side: Side, step: &Transition, connection: &Connection) -> TransitionLine {
    let seen = step.seen;
    TransitionLine {
        at_ns: step.when.not_after().nanos(),
        conn: connection.id().0,
        end: side.token(),
        local: connection.endpoint(side).to_string(),
        remote: connection.endpoint(side.other()).to_string(),
        from: step.from.name(),
        to: step.to.name(),
        in_from_ns: step.in_from.map(nanos_of),
        certainty: step.certainty.token(),
        not_before_ns: step.when.not_before().map(Timestamp::nanos),
        not_after_ns: step.when.not_after().nanos(),
        source: step.source.token(),
        call: step.why.call.map(Call::token).or_else(|| call(step)),
        cause: step.why.cause.token(),
        reason: step.why.reason.and_then(Reason::token),
        signal: step.why.signal,
        pid: step.why.by.map(|process| process.pid),
        comm: step.why.by.map(|process| process.comm.text()),
        descriptor: seen.and_then(|seen| seen.descriptor).map(Descriptor::token),
        unread: seen.and_then(|seen| seen.unread),
        unacked: seen.and_then(|seen| seen.unacked),
        owners: None,
    }
}

/// The one call that a look alone can tell: only `shutdown(SHUT_WR)` sends a FIN and leaves the
/// receive side open. Told once, with the first state after the FIN that was seen: FIN_WAIT2 when
/// FIN_WAIT1 was passed between two looks, and so has no beginning.
fn call(step: &Transition) -> Option<&'static str> {
    let is_first_fin = match step.to {
        TcpState::FinWait1 => true,
        TcpState::FinWait2 => step.in_from.is_none(),
        _ => false,
    };
    let seen = step.seen?;
    let shutdown = seen.shutdown?;
    let only_send = shutdown.send() && !shutdown.receive();
    (is_first_fin && only_send && seen.descriptor == Some(Descriptor::Held))
        .then_some("shutdown_wr")
}
