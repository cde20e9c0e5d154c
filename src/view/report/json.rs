//! A report for machines: one document, written piece by piece.
//!
//! The trap: a document that is cut off in its middle is none, so what is written must be written
//! to its end; and everything in it that can be summed or compared is a number in nanoseconds of
//! `CLOCK_MONOTONIC`, with `null` for what is not known.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::diagnosis::Severity;
use crate::model::time::nanos_of;
use crate::timeline::{Age, Side};
use crate::view::json::{SourceInfo, VERSION, detailed, inert, reported};
use crate::view::report::{About, Read, Recording, Shown, Summary};

/// Writes the document.
#[derive(Debug)]
pub struct Json<'a> {
    /// What it is about.
    pub about: &'a About,
    is_first: bool,
}

impl<'a> Json<'a> {
    /// A document about this.
    pub const fn new(about: &'a About) -> Self {
        Self {
            about,
            is_first: true,
        }
    }

    /// What stands before the connections.
    ///
    /// # Errors
    /// When serde_json can't write it, which it can.
    pub fn head(&self) -> serde_json::Result<String> {
        let about = self.about;
        let recordings: Vec<Value> = about.recordings.iter().map(recording).collect();
        let clock = about.clock.anchor().map(|(monotonic, realtime)| {
            json!({"monotonic_ns": monotonic.nanos(), "realtime_ns": realtime})
        });
        Ok(format!(
            "{{\"version\":{VERSION},\"tcpwatch\":{},\n\"recordings\":{},\n\"clock\":{},\n\
             \"from_ns\":{},\"to_ns\":{},\"from\":{},\"to\":{},\"filter\":{},\n\"connections\":[",
            line(&env!("CARGO_PKG_VERSION"))?,
            line(&recordings)?,
            line(&clock)?,
            about.begin().nanos(),
            about.last.nanos(),
            line(&about.clock.utc(about.begin()))?,
            line(&about.clock.utc(about.last))?,
            line(&about.filter)?,
        ))
    }

    /// One connection.
    ///
    /// # Errors
    /// As [`Json::head`].
    pub fn connection(&mut self, shown: &Shown<'_>) -> serde_json::Result<String> {
        let comma = if std::mem::take(&mut self.is_first) {
            "\n"
        } else {
            ",\n"
        };
        Ok(format!("{comma}{}", detailed(shown)?))
    }

    /// What stands behind the connections.
    ///
    /// # Errors
    /// As [`Json::head`].
    pub fn tail(&self, summary: &Summary) -> serde_json::Result<String> {
        let states: Map<String, Value> = Side::BOTH
            .into_iter()
            .map(|side| (side.token().to_owned(), times(summary, side)))
            .collect();
        let findings = summary.findings.told().iter().map(|told| {
            let text = reported(&told.finding, told.now)?;
            Ok(format!("\n{text}"))
        });
        let findings: Vec<String> = findings.collect::<serde_json::Result<_>>()?;
        let losses: Vec<Value> = summary
            .losses
            .told()
            .iter()
            .map(|loss| {
                json!({
                    "at_ns": loss.at.nanos(),
                    "recording": loss.host,
                    "source": loss.source.token(),
                    "count": loss.count,
                    "why": loss.why,
                })
            })
            .collect();
        let clocks: Vec<Value> = self
            .about
            .clocks
            .iter()
            .map(|word| {
                json!({
                    "recordings": [word.hosts.0, word.hosts.1],
                    "connections": word.connections,
                    "broken": word.broken,
                    "contradictory": word.odd,
                    "apart": word.apart,
                    "agree": word.agrees(),
                    "offset_ns": word.mend_ns,
                    "mends_all": word.mends_all,
                    "offsets_ns": [word.offsets_ns.0, word.offsets_ns.1],
                    "sentence": word.sentence,
                })
            })
            .collect();
        Ok(format!(
            "\n],\n\"findings\":[{}],\n\"totals\":{},\n\"states\":{},\n\"losses\":{},\n\
             \"clocks\":{},\n\"skipped\":{}}}\n",
            findings.join(","),
            line(&totals(summary))?,
            line(&Value::Object(states))?,
            line(&losses)?,
            line(&clocks)?,
            line(&skipped(&self.about.recordings))?,
        ))
    }
}

fn line(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(inert)
}

fn recording(recording: &Recording) -> Value {
    let sources: Vec<SourceInfo> = recording
        .sources
        .iter()
        .map(|(name, state)| SourceInfo::new(*name, state))
        .collect();
    let torn = match recording.read {
        Read::CutOff(bytes) => Some(bytes),
        Read::Ended | Read::Said(_) | Read::GoesOn(_) | Read::Partly => None,
    };
    let ended = match recording.read {
        Read::Ended | Read::Said(_) => Some(true),
        Read::CutOff(_) | Read::GoesOn(_) => Some(false),
        Read::Partly => None,
    };
    json!({
        "files": recording.files,
        "host": recording.host,
        "kernel": recording.kernel,
        "tcpwatch": recording.tcpwatch,
        "netns": recording.netns,
        "filter": recording.filter,
        "sources": sources,
        "shift_ns": recording.shift,
        "ended": ended,
        "torn_bytes": torn,
        "skipped": skipped(std::slice::from_ref(recording)),
    })
}

/// What could not be read, of all of them.
fn skipped(recordings: &[Recording]) -> Value {
    let mut sums = Map::new();
    for (name, _, count) in recordings.iter().flat_map(|known| &known.skipped) {
        let before = sums.get(*name).and_then(Value::as_u64).unwrap_or(0);
        sums.insert((*name).to_owned(), (before + count).into());
    }
    Value::Object(sums)
}

fn totals(summary: &Summary) -> Value {
    let closed: Map<String, Value> = summary
        .closed()
        .map(|(code, count)| (code.token().to_owned(), count.into()))
        .collect();
    let found = summary.findings.codes().into_iter().map(|(code, count)| {
        let count = json!({
            "severity": count.worst.map(Severity::token),
            "found": count.found,
            "holding": count.holding,
        });
        (code.token().to_owned(), count)
    });
    let found: Map<String, Value> = found.collect();
    json!({
        "connections": summary.seen,
        "closed": closed,
        "multipath": summary.multipath,
        "open": summary.open,
        "dropped": summary.dropped,
        "left_out": summary.left_out,
        "losses": summary.totals.losses,
        "lost": summary.totals.lost,
        "late": summary.totals.late,
        "unseen": summary.totals.unseen,
        "older_than_ns": nanos_of(summary.older_than),
        "young_close_wait": summary.young,
        "losses_left_out": summary.losses.left_out,
        "findings": found,
        "findings_left_out": summary.findings.left_out,
    })
}

fn times(summary: &Summary, side: Side) -> Value {
    let bounds = |age: Age| json!([nanos_of(age.at_least), age.at_most.map(nanos_of)]);
    let states: Map<String, Value> = summary
        .states
        .of(side)
        .map(|(state, sums)| {
            let numbers = json!({
                "entered": sums.count,
                "going_on": sums.going_on,
                "total_ns": bounds(sums.total),
                "shortest_ns": bounds(sums.shortest),
                "mean_ns": bounds(sums.mean()),
                "longest_ns": bounds(sums.longest),
            });
            (state.name().to_owned(), numbers)
        })
        .collect();
    Value::Object(states)
}
