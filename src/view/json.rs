//! Machine output: one JSON object a line, one document for a list. A promise: fields are added,
//! never renamed or removed within a version, and `null` is unknown.
//!
//! Lines are appended, each with its newline, to a buffer that the caller uses again. The trap: everything that a
//! reader might sum or compare is a number in nanoseconds of `CLOCK_MONOTONIC`; prose is for people
//! and may change.

mod bytes;
mod doctor;
mod document;
mod finding;
mod line;
mod owners;
mod verdict;
mod waiting;

use serde::Serialize;

use crate::diagnosis::News;
use crate::model::filter::Filter;
use crate::model::time::nanos_of;
use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::timeline::{Age, Change, Connection};
use crate::view::verdict;
use bytes::{Address, append};
use finding::{FindingLine, OverLine};
use line::{Clock, DatedLine, EventLine, HeldLine, Line, Open, TransitionLine};
use verdict::VerdictInfo;

pub(super) use bytes::inert;
pub use doctor::{Layout, doctor};
pub use document::list;
pub(super) use document::{detailed, reported};
pub use waiting::waited;

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
    /// The network namespace that is looked at; `None` when it could not be told.
    pub netns: Option<u64>,
    /// The same moment on both clocks, nanoseconds.
    pub clock: Option<(Timestamp, u64)>,
    /// The sources.
    pub sources: Vec<SourceInfo>,
    /// What is wanted.
    pub filter: Filter,
}

/// Appends the first line of live output.
///
/// # Errors
/// When serde_json can't write it, which it can. Then nothing is appended.
pub fn write_session(out: &mut Vec<u8>, session: &Session) -> serde_json::Result<()> {
    let line = Line::Session {
        version: VERSION,
        tcpwatch: env!("CARGO_PKG_VERSION"),
        kernel: &session.kernel,
        host: &session.host,
        netns: session.netns,
        clock: session.clock.map(|(monotonic, realtime_ns)| Clock {
            monotonic_ns: monotonic.nanos(),
            realtime_ns,
        }),
        sources: &session.sources,
        filter: session.filter.to_string(),
    };
    append(out, &line)
}

/// Appends the line of an observation that is shown as it came; nothing for the others.
///
/// # Errors
/// As [`write_session`].
pub fn write_observation(out: &mut Vec<u8>, observation: &Observation) -> serde_json::Result<()> {
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
        | Body::Keyframe(_)
        | Body::Holders(_)
        | Body::Info(_)
        | Body::Host(_) => return Ok(()),
    };
    append(out, &line)
}

/// Appends the line of an experiment's conclusion.
///
/// # Errors
/// As [`write_session`].
pub fn write_conclusion(
    out: &mut Vec<u8>,
    experiment: &str,
    shown: bool,
    text: &str,
    at: Timestamp,
) -> serde_json::Result<()> {
    let line = Line::Conclusion {
        at_ns: at.nanos(),
        experiment,
        shown,
        text,
    };
    append(out, &line)
}

/// Appends the line of what was found, or is over.
///
/// # Errors
/// As [`write_session`].
pub fn write_news(out: &mut Vec<u8>, news: &News, at: Timestamp) -> serde_json::Result<()> {
    let line = match news {
        News::Found(finding) => Line::Finding(FindingLine::new(finding, finding.at.max(at))),
        News::Over(finding) => Line::FindingOver(OverLine::new(finding)),
    };
    append(out, &line)
}

/// Appends the line of a change.
///
/// # Errors
/// As [`write_session`].
pub fn write_change(
    out: &mut Vec<u8>,
    change: &Change,
    connection: &Connection,
) -> serde_json::Result<()> {
    let line = match change {
        Change::Opened { conn, at, ends } => Line::Open(Open::new(conn.0, *at, ends, connection)),
        Change::Joined {
            conn,
            side,
            at,
            found,
        } => Line::End {
            at_ns: at.nanos(),
            conn: conn.0,
            end: side.token(),
            local: Address(connection.endpoint(*side)),
            remote: Address(connection.endpoint(side.other())),
            state: found.state.name(),
            age_ns: age_ns(found.age),
            cookie: found.cookie.map(|cookie| cookie.0),
        },
        Change::Moved { side, step, .. } => {
            Line::Transition(TransitionLine::new(*side, step, connection))
        }
        Change::Marked { conn, side, mark } => Line::Event(EventLine::new(conn.0, *side, mark)),
        Change::Held { side, at, nth, .. } => match HeldLine::new(connection, *side, *at, *nth) {
            Some(line) => Line::Holders(line),
            // So many sets have come since that this one is not kept.
            None => return Ok(()),
        },
        Change::Dated { side, at, .. } => match DatedLine::new(connection, *side, *at) {
            Some(line) => Line::Age(line),
            None => return Ok(()),
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
            verdict: verdict(connection)
                .map(|verdict| VerdictInfo::with_states(verdict, connection)),
        },
    };
    append(out, &line)
}

/// How surely an age is known; `None` when nothing of it is.
fn known_how(age: Age) -> Option<&'static str> {
    age.known().map(|_| age.precision().token())
}

fn age_ns(age: Option<Age>) -> Option<u64> {
    age.and_then(Age::known).map(nanos_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{ConnId, MarkKind, Reason, Side};
    use crate::view::fixture::{
        at, closed_by_nginx, connection, killed_with_unread_data, marked, process,
        time_wait_inferred, tracker,
    };

    fn line(change: &Change) -> String {
        let mut out = Vec::new();
        write_change(&mut out, change, connection(&tracker())).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_exact_step_has_one_time_and_all_of_its_cause() {
        assert_eq!(
            line(&closed_by_nginx()),
            concat!(
                r#"{"type":"transition","at_ns":1000040000,"conn":1,"end":"a","#,
                r#""local":"127.0.0.1:40001","remote":"127.0.0.1:80","#,
                r#""from":"ESTABLISHED","to":"FIN_WAIT1","in_from_ns":1204000,"#,
                r#""certainty":"exact","not_before_ns":1000040000,"not_after_ns":1000040000,"#,
                r#""source":"bpf","call":"close","cause":"close","reason":null,"signal":null,"#,
                r#""pid":812,"comm":"nginx","descriptor":"gone","unread":0,"unacked":12,"#,
                r#""owners":null}"#,
                "\n"
            )
        );
        let killed = line(&killed_with_unread_data());
        for part in [
            r#""call":"exit","cause":"reset_sent","reason":"unread_data","signal":9"#,
            r#""pid":4711,"comm":"py\u007fthon""#,
            r#""unread":4000"#,
        ] {
            assert!(killed.contains(part), "{killed}");
        }
        let inferred = line(&time_wait_inferred());
        let bounds = r#""inferred","not_before_ns":1000060000,"not_after_ns":1000060000"#;
        assert!(inferred.contains(bounds), "{inferred}");
    }

    #[test]
    fn marks_and_losses_have_a_line() {
        assert_eq!(
            line(&marked(
                MarkKind::ResetSent(Some(Reason::UnreadData(7))),
                None
            )),
            concat!(
                r#"{"type":"event","at_ns":1000080000,"conn":1,"end":"a","what":"reset_sent","#,
                r#""reason":"unread_data","unread":7,"pid":null,"comm":null}"#,
                "\n"
            )
        );
        let by = Some(process("x", 1));
        let closed = line(&marked(MarkKind::CloseCall, by));
        let part = r#""what":"close_call","reason":null,"unread":null,"pid":1,"comm":"x""#;
        assert!(closed.contains(part), "{closed}");
        let missed = Change::Missed {
            conn: ConnId(1),
            side: Side::B,
            at: at(90),
        };
        let missed = line(&missed);
        assert!(missed.starts_with(r#"{"type":"lost","at_ns":1000090000,"source":"bpf","#));
        assert!(missed.ends_with("\"conn\":1,\"end\":\"b\"}\n"), "{missed}");
    }

    #[test]
    fn lines_are_appended() {
        let mut out = Vec::new();
        let tracker = tracker();
        for change in [closed_by_nginx(), time_wait_inferred()] {
            write_change(&mut out, &change, connection(&tracker)).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("}\n"));
    }
}
