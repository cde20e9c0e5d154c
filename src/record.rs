//! Recordings: observations as versioned lines of JSON, written and read back.
//!
//! What is recorded is what the sources said, in the order in which it was taken in, and nothing
//! that was concluded from it: an old recording gets better with newer rules, and replay cannot
//! drift from what was shown live. [`Encoder`] and [`Reader`] are inverses of each other.
//!
//! The traps: a recording ends anywhere (a kill, a full disk, power), so every prefix that has its
//! header line must be readable. And it comes from outside: nothing in it is believed, what can't
//! be read is counted, and no line makes the reader take memory that it does not need.

mod decode;
mod encode;
mod fields;
mod lines;
mod look;
mod names;
mod reader;
pub mod recorder;
mod usual;
mod words;

use serde::{Deserialize, Serialize};

use crate::model::filter::{Expr, Family, Filter, ProcessSet, Selection};
use crate::model::{Scope, TcpState};

pub use encode::Encoder;
pub use lines::Bytes;
pub use reader::{Item, OpenError, Reader, Skipped};

/// The version of the format. A reader refuses those above; fields and records are added within
/// one, and a reader skips those that it does not know.
pub const VERSION: u32 = 1;
/// What the first line says it is.
pub const FORMAT: &str = "tcpwatch";
/// How many sockets, and how many processes, have a number at the same time.
const NAMES_KNOWN: usize = 1 << 14;
/// A longer line is none that we write.
const LONGEST_LINE: usize = 1 << 20;

/// The first line of every file of a recording: it explains itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "header")]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The version of the program that wrote it.
    pub tcpwatch: String,
    /// Where the rest is explained.
    pub about: String,
    /// The name of the host.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`: stamps of one boot are of one clock.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The inode of the network namespace.
    #[serde(default)]
    pub netns: Option<u64>,
    /// Files of one recording share it.
    pub recording: String,
    /// Which file of the recording this is, from 1.
    pub part: u32,
    /// The same moment on both clocks.
    pub clock: Anchor,
    /// What was wanted.
    #[serde(default)]
    pub filter: FilterText,
    /// The sources that were running, or not, when the file began.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Between two looks, as it was asked for, nanoseconds.
    #[serde(default)]
    pub period_ns: u64,
    /// Whether the command lines of processes are recorded. They carry passwords.
    #[serde(default)]
    pub cmdlines: bool,
}

/// The same moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970, UTC.
    pub realtime_ns: u64,
}

/// A filter, spelled as on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterText {
    /// All of it, for people.
    pub text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ports: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_ports: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_ports: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    states: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pids: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    expr: String,
}

impl From<&Filter> for FilterText {
    fn from(filter: &Filter) -> Self {
        let selection = &filter.selection;
        Self {
            text: filter.to_string(),
            ports: filter.ports.to_string(),
            hosts: filter.hosts.iter().map(ToString::to_string).collect(),
            local_ports: selection.local_ports.to_string(),
            remote_ports: selection.remote_ports.to_string(),
            states: selection.states.iter().map(|s| s.name().into()).collect(),
            family: selection.family.map(|family| {
                match family {
                    Family::V4 => "ipv4",
                    Family::V6 => "ipv6",
                }
                .into()
            }),
            pids: selection.processes.pids.clone(),
            processes: selection
                .processes
                .names
                .iter()
                .map(ToString::to_string)
                .collect(),
            expr: filter
                .expr
                .as_ref()
                .map_or_else(String::new, Expr::to_string),
        }
    }
}

impl FilterText {
    /// The expression, for whoever knows its words; empty where there is none.
    pub fn expr(&self) -> &str {
        &self.expr
    }

    /// The filter but for its expression; what this version can't read of it wants everything.
    pub fn filter(&self) -> Filter {
        let ports = |text: &str| text.parse().unwrap_or_default();
        let states = self.states.iter().filter_map(|name| name.parse().ok());
        Filter {
            ports: ports(&self.ports),
            hosts: self.hosts.iter().filter_map(|h| h.parse().ok()).collect(),
            selection: Selection {
                local_ports: ports(&self.local_ports),
                remote_ports: ports(&self.remote_ports),
                states: states.collect::<Vec<TcpState>>().into_iter().collect(),
                family: match self.family.as_deref() {
                    Some("ipv4") => Some(Family::V4),
                    Some("ipv6") => Some(Family::V6),
                    _ => None,
                },
                processes: ProcessSet {
                    pids: self.pids.clone(),
                    names: self
                        .processes
                        .iter()
                        .filter_map(|n| n.parse().ok())
                        .collect(),
                },
            },
            expr: None,
        }
    }
}

impl Header {
    /// Where the sockets of the recording are, as the recording of that number.
    pub const fn scope(&self, host: u16) -> Scope {
        Scope {
            host,
            netns: self.netns,
        }
    }
}

impl Header {
    /// Reads a first line; says also how many fields of it this version does not know.
    fn read(line: &[u8]) -> Result<(Self, u64), OpenError> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Any {
            r#type: String,
            format: String,
            version: u64,
        }
        let not_ours = |_| OpenError::NotARecording;
        let any: Any = serde_json::from_slice(line).map_err(not_ours)?;
        if any.r#type != "header" || any.format != FORMAT || any.version == 0 {
            return Err(OpenError::NotARecording);
        }
        if any.version > VERSION.into() {
            return Err(OpenError::TooNew(any.version));
        }
        let header: Self =
            serde_json::from_slice(line).map_err(|error| OpenError::Header(error.to_string()))?;
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line).map_err(not_ours)?;
        let unknown = fields
            .keys()
            .filter(|name| !FIELDS.contains(&name.as_str()));
        Ok((header, unknown.count() as u64))
    }
}

/// The fields of a header.
const FIELDS: [&str; 16] = [
    "type",
    "format",
    "version",
    "tcpwatch",
    "about",
    "host",
    "kernel",
    "boot_id",
    "netns",
    "recording",
    "part",
    "clock",
    "filter",
    "sources",
    "period_ns",
    "cmdlines",
];
