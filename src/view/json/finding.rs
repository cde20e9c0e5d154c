//! Findings in machine output.

use std::borrow::Cow;

use serde::Serialize;

use crate::diagnosis::finding::{Finding, Subject};
use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::timeline::{Owners, Side};
use crate::view::finding::sentence;
use crate::view::json::bytes::Address;
use crate::view::json::owners::OwnersInfo;
use crate::view::json::{age_ns, known_how};

/// What a finding is about.
#[derive(Debug, Serialize)]
struct About {
    conn: Option<u64>,
    end: Option<&'static str>,
    /// The other connection of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_conn: Option<u64>,
    /// As far as it is one address, or two, with ports.
    local: Option<Address>,
    remote: Option<Address>,
}

impl About {
    fn of(finding: &Finding) -> Self {
        let end = finding.subject.end();
        let (local, remote) = match (&finding.subject, &finding.standing) {
            (_, Some(standing)) => (Some(standing.local), Some(standing.remote)),
            (Subject::Listener(id), None) => (Some(id.tuple.local), None),
            (Subject::Destination { remote, .. }, None) => (None, Some(*remote)),
            (Subject::End(..) | Subject::Pair { .. }, None) => (None, None),
        };
        let other_conn = match finding.subject {
            Subject::Pair { fin_wait2, .. } => Some(fin_wait2.0.0),
            _ => None,
        };
        Self {
            conn: end.map(|(conn, _)| conn.0),
            end: end.map(|(_, side)| Side::token(side)),
            other_conn,
            local: local.map(Address),
            remote: remote.map(Address),
        }
    }
}

/// Something that was found, as it is at a moment.
#[derive(Debug, Serialize)]
pub(super) struct FindingLine<'a> {
    /// Since when it holds.
    at_ns: u64,
    code: &'static str,
    severity: &'static str,
    #[serde(flatten)]
    about: About,
    state: Option<&'static str>,
    age_ns: Option<u64>,
    age_max_ns: Option<u64>,
    age: Option<&'static str>,
    unread: Option<u32>,
    owners: OwnersInfo<'a>,
    /// The number of its group, in a document that has groups.
    pub(super) group: Option<usize>,
    evidence: &'a [Cow<'static, str>],
    sentence: String,
    advice: &'a str,
}

impl<'a> FindingLine<'a> {
    pub(super) fn new(finding: &'a Finding, now: Timestamp) -> Self {
        let standing = finding.standing.as_ref();
        let age = standing.map(|standing| standing.age(now));
        Self {
            at_ns: finding.at.nanos(),
            code: finding.code.token(),
            severity: finding.severity.token(),
            about: About::of(finding),
            state: standing.map(|standing| standing.state.name()),
            age_ns: age_ns(age),
            age_max_ns: age.and_then(|age| age.at_most).map(nanos_of),
            age: age.and_then(known_how),
            unread: standing.and_then(|standing| standing.unread),
            owners: OwnersInfo(standing.map_or(Owners::NotLooked, |standing| standing.owners())),
            group: None,
            evidence: &finding.evidence,
            sentence: sentence(finding, now),
            advice: &finding.advice,
        }
    }
}

/// Something that does not hold any more.
#[derive(Debug, Serialize)]
pub(super) struct OverLine {
    at_ns: Option<u64>,
    code: &'static str,
    severity: &'static str,
    #[serde(flatten)]
    about: About,
    since_ns: u64,
}

impl OverLine {
    pub(super) fn new(finding: &Finding) -> Self {
        Self {
            at_ns: finding.over.map(Timestamp::nanos),
            code: finding.code.token(),
            severity: finding.severity.token(),
            about: About::of(finding),
            since_ns: finding.at.nanos(),
        }
    }
}
