//! What `tcpwatch report` is told, and `tcpwatch export` too: files, a filter, a part of the time.
//!
//! What a time means is known only when the recordings are read; here it is only spelled right.

use std::path::PathBuf;

use clap::Args;

use crate::cli::choices::{ColorArg, ThresholdArgs};
use crate::cli::replay::{offset, read_once};
use crate::cli::when::When;
use crate::cli::{FilterArgs, ListFormat, Refusal};
use crate::diagnosis::Settings;
use crate::diagnosis::finding::Code;
use crate::model::filter::Filter;
use crate::source::replay::{Offset, Options};
use crate::view::palette::ColorMode;
use crate::view::report::Way;

/// What to read, and what is wanted of it.
#[derive(Debug)]
pub struct Chosen {
    /// The recordings; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// What is wanted of the connections; `None` is what was wanted when it was recorded.
    pub filter: Option<Filter>,
    /// Their numbers, first and last of each range, empty for all.
    pub conns: Vec<(u64, u64)>,
    /// How they ended, empty for all.
    pub ways: Vec<Way>,
    /// What was found of them, empty for all.
    pub codes: Vec<Code>,
    /// What was before is left out.
    pub from: Option<When>,
    /// The world stops there.
    pub to: Option<When>,
    /// How recordings are put together.
    pub options: Options,
    /// The thresholds of the rules.
    pub settings: Settings,
}

/// What to report.
#[derive(Debug)]
pub struct Report {
    /// Of what.
    pub chosen: Chosen,
    /// How to show it.
    pub format: ListFormat,
    /// A line a connection.
    pub brief: bool,
    /// Whether to use colour.
    pub color: ColorMode,
}

#[derive(Debug, Args)]
pub(super) struct ChosenArgs {
    /// Recordings, also of several hosts, and parts of them, in any order; '-' is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Connections by their numbers: 12, a list 12,15, a range 12-20
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = numbers, help_heading = "Filter")]
    conn: Vec<(u64, u64)>,
    /// Connections that ended so: orderly, simultaneous, aborted, orphaned, timed-out, refused,
    /// unknown, multipath, or are still open
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = way, help_heading = "Filter")]
    verdict: Vec<Way>,
    /// Connections of which one of these was found: close-wait-leaked, data-lost, ... (docs/diagnosis.md)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code, help_heading = "Filter")]
    finding: Vec<Code>,
    /// Leave out what was before: 14:02:11.5, 2026-11-20T22:00:00, +10s after the start, -5m before the end
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Options"
    )]
    from: Option<When>,
    /// What is added to the clock of a host, or of a file (without a name: of the second recording)
    #[arg(long, value_name = "[HOST=]TIME", value_parser = offset, allow_hyphen_values = true, help_heading = "Options")]
    offset: Vec<Offset>,
    #[command(flatten)]
    threshold: ThresholdArgs,
}

impl ChosenArgs {
    pub(super) fn settle(self, to: Option<When>) -> Result<Chosen, Refusal> {
        read_once(&self.files, "")?;
        Ok(Chosen {
            files: self.files,
            filter: self.filter.said(),
            conns: self.conn,
            ways: self.verdict,
            codes: self.finding,
            from: self.from,
            to,
            options: Options {
                offsets: self.offset,
            },
            settings: self.threshold.settings(),
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// Stop there; what comes later is not read
    #[arg(
        long,
        visible_alias = "until",
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Options"
    )]
    to: Option<When>,
    /// Words, or a JSON document
    #[arg(long, value_enum, default_value_t = ListFormat::Text, help_heading = "Options")]
    format: ListFormat,
    /// A line a connection
    #[arg(long, help_heading = "Options")]
    brief: bool,
    /// Colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto, help_heading = "Options")]
    color: ColorArg,
}

impl ReportArgs {
    pub(super) fn settle(self) -> Result<Report, Refusal> {
        if self.brief && self.format == ListFormat::Json {
            return Err(refused(
                "--brief: a JSON document has no lines (leave out one of the two)",
            ));
        }
        Ok(Report {
            brief: self.brief,
            chosen: self.chosen.settle(self.to)?,
            format: self.format,
            color: self.color.mode(),
        })
    }
}

pub(super) fn refused(text: &str) -> Refusal {
    Refusal::Usage(text.to_owned())
}

/// `12`, `12-20`.
fn numbers(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err("not numbers of connections (allowed: 12, 12,15, 12-20)".to_owned()),
    }
}

/// A verdict's word.
fn way(text: &str) -> Result<Way, String> {
    let wanted = text.to_ascii_lowercase();
    Way::all().find(|way| way.token() == wanted).ok_or_else(|| {
        let words: Vec<&str> = Way::all().map(Way::token).collect();
        format!("not a verdict (allowed: {})", words.join(", "))
    })
}

/// A finding's word.
fn code(text: &str) -> Result<Code, String> {
    Code::of(&text.to_ascii_lowercase()).ok_or_else(|| {
        let words: Vec<&str> = Code::ALL.into_iter().map(Code::token).collect();
        format!("not a finding (allowed: {})", words.join(", "))
    })
}
