//! The document of `tcpwatch doctor`: every finding, the groups they are in, the listeners, and
//! what was not seen.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diagnosis::finding::{Code, Finding};
use crate::diagnosis::group::{Group, Party, Peer};
use crate::diagnosis::{Health, Severity};
use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::view::doctor::{Report, peer, process, sentence};
use crate::view::json::VERSION;
use crate::view::json::bytes::{Address, inert};
use crate::view::json::finding::FindingLine;
use crate::view::json::owners::{OwnerInfo, OwnersInfo};

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    at_ns: u64,
    filter: String,
    /// Connections looked at.
    connections: usize,
    /// More, of which nobody can tell whether they are of the processes asked for.
    undecided: usize,
    older_than_ns: u64,
    severity: &'static str,
    findings: Vec<FindingLine<'a>>,
    groups: Vec<GroupInfo<'a>>,
    listeners: Vec<ListenerInfo<'a>>,
    /// Connections in CLOSE_WAIT or FIN_WAIT2 that are not old enough to count.
    younger: usize,
    /// Ends in CLOSE_WAIT or FIN_WAIT2 that may be, as their age is not known.
    undated: usize,
    unseen: Vec<String>,
    not_looked_for: Vec<&'static str>,
    elsewhere: Vec<ElsewhereInfo<'a>>,
}

#[derive(Serialize)]
struct GroupInfo<'a> {
    code: &'static str,
    severity: &'static str,
    process: Option<String>,
    owners: Option<Vec<OwnerInfo<'a>>>,
    peer: String,
    remote: Option<Address>,
    local: Option<Address>,
    /// From how many addresses, where the connections were opened from elsewhere.
    callers: Option<usize>,
    netns: Option<u64>,
    state: Option<&'static str>,
    count: usize,
    oldest_ns: Option<u64>,
    oldest_max_ns: Option<u64>,
    youngest_ns: Option<u64>,
    youngest_max_ns: Option<u64>,
    unread: Option<u64>,
    unread_min: Option<u32>,
    unread_max: Option<u32>,
    sentence: String,
    advice: &'a str,
    conns: Vec<u64>,
    /// Their places in `findings`.
    findings: Vec<usize>,
}

fn owner(party: &Party) -> OwnerInfo<'_> {
    OwnerInfo::new(&party.program, &party.fds)
}

#[derive(Serialize)]
pub(super) struct ListenerInfo<'a> {
    local: Address,
    netns: Option<u64>,
    waiting: u32,
    backlog: Option<u32>,
    full: bool,
    owners: OwnersInfo<'a>,
    never_accepted: NeverAcceptedInfo,
}

#[derive(Serialize)]
struct NeverAcceptedInfo {
    close_wait: usize,
    established: usize,
}

impl<'a> From<&Health<'a>> for ListenerInfo<'a> {
    fn from(health: &Health<'a>) -> Self {
        let listener = health.listener;
        Self {
            local: Address(listener.local()),
            netns: listener.id.scope.netns,
            waiting: listener.waiting,
            backlog: listener.backlog,
            full: listener.is_full(),
            owners: OwnersInfo(health.owners),
            never_accepted: NeverAcceptedInfo {
                close_wait: health.never_accepted.close_wait,
                established: health.never_accepted.established,
            },
        }
    }
}

#[derive(Serialize)]
struct ElsewhereInfo<'a> {
    netns: Option<u64>,
    name: Option<&'a str>,
    pid: Option<u32>,
    comm: Option<&'a str>,
    sockets: usize,
    states: BTreeMap<&'static str, usize>,
    /// How to look there.
    command: Option<String>,
}

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// For one document: indented.
    Pretty,
    /// For one document a line.
    Line,
}

/// What the doctor found, as one document, without its newline.
///
/// # Errors
/// When serde_json can't write it, which it can.
pub fn doctor(report: &Report<'_>, layout: Layout) -> serde_json::Result<String> {
    let all = report.groups.iter().enumerate();
    let findings: Vec<(usize, &Finding)> = all
        .flat_map(|(index, group)| group.findings.iter().map(move |finding| (index, *finding)))
        .collect();
    let mut place = 0;
    let groups = report.groups.iter().map(|group| {
        let from = place;
        place += group.count();
        GroupInfo::new(group, (from..place).collect())
    });
    let document = Document {
        version: VERSION,
        at_ns: report.now.nanos(),
        filter: report.filter.to_string(),
        connections: report.connections,
        undecided: report.undecided,
        older_than_ns: nanos_of(report.older_than),
        severity: Severity::token(report.severity),
        groups: groups.collect(),
        findings: findings
            .iter()
            .map(|(group, finding)| line(finding, *group, report.now))
            .collect(),
        listeners: report.listeners.iter().map(ListenerInfo::from).collect(),
        younger: report.unseen.younger,
        undated: report.unseen.undated,
        unseen: report.unseen_words(),
        not_looked_for: report
            .not_looked_for
            .iter()
            .map(|c| Code::token(*c))
            .collect(),
        elsewhere: report
            .elsewhere
            .iter()
            .map(|found| ElsewhereInfo {
                netns: found.netns,
                name: found.name.as_deref(),
                pid: found.process.as_ref().map(|(pid, _)| *pid),
                comm: found.process.as_ref().map(|(_, comm)| comm.as_str()),
                sockets: found.sockets(),
                states: found
                    .states
                    .iter()
                    .map(|(state, count)| (state.name(), *count))
                    .collect(),
                command: found.command(&report.options_elsewhere()),
            })
            .collect(),
    };
    let text = match layout {
        Layout::Pretty => serde_json::to_string_pretty(&document),
        Layout::Line => serde_json::to_string(&document),
    };
    text.map(inert)
}

fn line(finding: &Finding, group: usize, now: Timestamp) -> FindingLine<'_> {
    let mut line = FindingLine::new(finding, now);
    line.group = Some(group);
    line
}

impl<'a> GroupInfo<'a> {
    fn new(group: &'a Group<'_>, findings: Vec<usize>) -> Self {
        let is_known =
            group.owned == crate::diagnosis::finding::Owned::Nobody || !group.parties.is_empty();
        let (local, remote, callers) = match group.peer {
            Peer::To(remote) => (None, Some(remote), None),
            Peer::At(local) => (Some(local), None, Some(group.callers.len())),
            Peer::Between(_, remote) => (None, Some(remote), None),
            Peer::Unknown => (None, None, None),
        };
        let ages = group.ages;
        let mut conns: Vec<u64> = group
            .findings
            .iter()
            .flat_map(|finding| finding.subject.connections())
            .map(|conn| conn.0)
            .collect();
        conns.dedup();
        Self {
            code: group.code.token(),
            severity: group.severity.token(),
            process: process(group),
            owners: is_known.then(|| group.parties.iter().map(owner).collect()),
            peer: peer(group),
            remote: remote.map(Address),
            local: local.map(Address),
            callers,
            netns: group.scope.netns,
            state: group.state.map(|state| state.name()),
            count: group.count(),
            oldest_ns: ages.map(|ages| nanos_of(ages.oldest)),
            oldest_max_ns: ages.and_then(|ages| ages.oldest_at_most).map(nanos_of),
            youngest_ns: ages.map(|ages| nanos_of(ages.youngest)),
            youngest_max_ns: ages.and_then(|ages| ages.youngest_at_most).map(nanos_of),
            unread: group.unread.map(|unread| unread.sum),
            unread_min: group.unread.map(|unread| unread.least),
            unread_max: group.unread.map(|unread| unread.most),
            sentence: sentence(group),
            advice: group.findings.first().map_or("", |first| &first.advice),
            conns,
            findings,
        }
    }
}
