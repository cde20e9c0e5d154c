//! What can be asked for: the fields, by all their names.
//!
//! Each has its row in docs/filter.md.

use crate::model::TcpState;
use crate::model::filter::Family;
use crate::model::filter::expr::near::nearest;
use crate::model::filter::expr::{Queue, Which};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Port(Which),
    Host(Which),
    State,
    Was,
    Pid,
    Process,
    Age,
    Bytes(Queue),
    Finding,
    Severity,
    Verdict,
    Conn,
    /// Without a value.
    Open(bool),
    Family(Family),
}

/// Their names.
const FIELDS: [(&str, Field); 21] = [
    ("port", Field::Port(Which::Either)),
    ("local-port", Field::Port(Which::Local)),
    ("remote-port", Field::Port(Which::Remote)),
    ("host", Field::Host(Which::Either)),
    ("local-host", Field::Host(Which::Local)),
    ("remote-host", Field::Host(Which::Remote)),
    ("state", Field::State),
    ("was", Field::Was),
    ("pid", Field::Pid),
    ("process", Field::Process),
    ("age", Field::Age),
    ("unread", Field::Bytes(Queue::Unread)),
    ("unacked", Field::Bytes(Queue::Unacked)),
    ("finding", Field::Finding),
    ("severity", Field::Severity),
    ("verdict", Field::Verdict),
    ("conn", Field::Conn),
    ("open", Field::Open(true)),
    ("closed", Field::Open(false)),
    ("ipv4", Field::Family(Family::V4)),
    ("ipv6", Field::Family(Family::V6)),
];

/// Other names of them: of `ss`, and of whoever writes them out.
const ALIASES: [(&str, &str); 7] = [
    ("sport", "local-port"),
    ("dport", "remote-port"),
    ("src", "local-host"),
    ("dst", "remote-host"),
    ("ports", "port"),
    ("connection", "conn"),
    ("ip", "host"),
];

impl Field {
    pub(super) fn of(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase().replace('_', "-");
        let alias = ALIASES.iter().find(|(alias, _)| *alias == word);
        let word = alias.map_or(word.as_str(), |(_, name)| name);
        let field = FIELDS.iter().find(|(name, _)| *name == word);
        field.map(|(_, field)| *field)
    }

    pub(super) fn name(self) -> &'static str {
        let field = FIELDS.iter().find(|(_, field)| *field == self);
        field.map_or("", |(name, _)| name)
    }

    /// What may stand behind it.
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Port(_) => "1 to 65535, lists as 80,443, ranges as 8000-8099",
            Self::Host(_) => "10.0.0.7, ::1, or with a prefix 10.0.0.0/8",
            Self::State | Self::Was => "close-wait, lists as fin-wait-1,fin-wait-2",
            Self::Pid => "1 to 4194304, lists as 812,813",
            Self::Process => "nginx, lists as nginx,python3",
            Self::Age => "> 30s, <= 500ms",
            Self::Bytes(_) => "> 0, >= 64k, < 2MiB",
            Self::Finding => "any, close-wait-leaked, lists",
            Self::Severity => ">= warn, error",
            Self::Verdict => "orderly, lists as aborted,orphaned",
            Self::Conn => "5, lists as 5,7, ranges as 5-9",
            Self::Open(_) | Self::Family(_) => "nothing",
        }
    }
}

/// Whether somebody who types `word` may be about to type a field, a state or what joins terms.
pub(super) fn is_begun(word: &str) -> bool {
    let word = word.to_ascii_lowercase().replace('_', "-");
    let begins = |whole: &str| whole.len() > word.len() && whole.starts_with(&word);
    let states = TcpState::ALL.map(|state| state.name().to_ascii_lowercase().replace('_', "-"));
    let fields = FIELDS.iter().map(|(name, _)| *name);
    let fields = fields.chain(ALIASES.iter().map(|(name, _)| *name));
    ["and", "or", "not"].into_iter().chain(fields).any(begins)
        || states.iter().any(|state| begins(state))
}

/// All of them, each with what may stand behind it; nothing, where nothing may.
pub fn fields() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    FIELDS.into_iter().map(|(name, field)| match field {
        Field::Open(_) | Field::Family(_) => (name, None),
        _ => (name, Some(field.allowed())),
    })
}

fn field_names() -> String {
    FIELDS.map(|(name, _)| name).join(", ")
}

/// That a word is no field, and which was meant.
pub(super) fn no_field(word: &str) -> String {
    match nearest(word, FIELDS.iter().map(|(name, _)| *name)) {
        Some(meant) => format!("is no field: did you mean '{meant}'?"),
        None => format!("is no field (there are {})", field_names()),
    }
}
