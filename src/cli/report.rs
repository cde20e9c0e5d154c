//! What `tcpwatch report` and `tcpwatch export` are told: files, a filter, a part of the time.
//!
//! What a time means is known only when the recordings are read; here it is only spelled right.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::choices::{ColorArg, ThresholdArgs};
use crate::cli::replay::{offset, read_once};
use crate::cli::when::When;
use crate::cli::{FilterArgs, ListFormat, Refusal};
use crate::diagnosis::Settings;
use crate::diagnosis::finding::Code;
use crate::model::filter::Filter;
use crate::source::replay::{Offset, Options};
use crate::view::export::Format;
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

/// What to export.
#[derive(Debug)]
pub struct Export {
    /// Of what.
    pub chosen: Chosen,
    /// As what.
    pub format: Format,
    /// Where to; `-` is standard output.
    pub out: PathBuf,
    /// Whether what is there already may be replaced.
    pub force: bool,
}

#[derive(Debug, Args)]
struct ChosenArgs {
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
    fn settle(self, to: Option<When>) -> Result<Chosen, Refusal> {
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

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// As what: svg (a picture), perfetto (for ui.perfetto.dev), csv (a row a transition), mermaid (a
    /// sequence diagram); without it, by the ending of the file
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true, value_parser = to, help_heading = "Options")]
    to: Vec<To>,
    /// Stop there; what comes later is not read
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Options"
    )]
    until: Option<When>,
    /// The file to write; '-' is standard output
    #[arg(
        short,
        long,
        value_name = "OUT",
        default_value = "-",
        help_heading = "Options"
    )]
    out: PathBuf,
    /// Replace the file when it is there already
    #[arg(long, help_heading = "Options")]
    force: bool,
}

impl ExportArgs {
    pub(super) fn settle(self) -> Result<Export, Refusal> {
        let mut format = None;
        let mut until = self.until;
        for to in self.to {
            match to {
                To::Format(wanted) if format.is_none() => format = Some(wanted),
                To::Time(when) if until.is_none() => until = Some(when),
                To::Format(_) => return Err(refused("--to: one format can be written at a time")),
                To::Time(_) => return Err(refused("--to: one time can be the end")),
            }
        }
        let Some(format) = format.or_else(|| format_of(&self.out)) else {
            return Err(refused(
                "--to: say the format (allowed: svg, perfetto, csv, mermaid)",
            ));
        };
        Ok(Export {
            chosen: self.chosen.settle(until)?,
            format,
            out: self.out,
            force: self.force,
        })
    }
}

fn refused(text: &str) -> Refusal {
    Refusal::Usage(text.to_owned())
}

/// What `--to` of an export says: in other commands it is a time, and here it may be one too.
#[derive(Clone, Debug)]
enum To {
    Format(Format),
    Time(When),
}

fn to(text: &str) -> Result<To, String> {
    Ok(To::Format(match text.to_ascii_lowercase().as_str() {
        "svg" => Format::Svg,
        "perfetto" => Format::Perfetto,
        "csv" => Format::Csv,
        "mermaid" => Format::Mermaid,
        _ => {
            return text
                .parse()
                .map(To::Time)
                .map_err(|_| "not a format (allowed: svg, perfetto, csv, mermaid)".to_owned());
        }
    }))
}

/// What a file is by its ending.
fn format_of(out: &Path) -> Option<Format> {
    let ending = out.extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "svg" => Format::Svg,
        "csv" => Format::Csv,
        "mmd" | "mermaid" => Format::Mermaid,
        "json" | "perfetto" => Format::Perfetto,
        _ => return None,
    })
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

#[cfg(test)]
mod tests {
    use crate::cli::{Config, Refusal, parse};
    use crate::view::export::Format;

    fn export(arguments: &[&str]) -> Result<super::Export, String> {
        let line = ["tcpwatch", "export"].iter().chain(arguments);
        match parse(line.copied()) {
            Ok(Config::Export(export)) => Ok(export),
            Err(Refusal::Usage(text)) => Err(text),
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    #[test]
    fn to_is_a_format_and_may_be_a_time_too() {
        let plain = export(&["a", "--to", "svg"]).unwrap();
        assert_eq!(plain.format, Format::Svg);
        assert!(plain.chosen.to.is_none());
        let both = export(&["a", "--to", "+5s", "--to", "csv", "-o", "b"]).unwrap();
        assert_eq!(both.format, Format::Csv);
        assert!(both.chosen.to.is_some());
        for (out, format) in [
            ("x.svg", Format::Svg),
            ("x.CSV", Format::Csv),
            ("x.mmd", Format::Mermaid),
            ("x.mermaid", Format::Mermaid),
            ("x.json", Format::Perfetto),
            ("x.perfetto", Format::Perfetto),
        ] {
            assert_eq!(export(&["a", "-o", out]).unwrap().format, format);
        }
        assert_eq!(export(&["a", "--to", "SVG"]).unwrap().format, Format::Svg);
        let chosen = export(&[
            "a",
            "--to",
            "svg",
            "--conn",
            "2-4,7",
            "--verdict",
            "aborted,open",
        ]);
        let chosen = chosen.unwrap().chosen;
        assert_eq!(chosen.conns, [(2, 4), (7, 7)]);
        let ways: Vec<&str> = chosen.ways.into_iter().map(super::Way::token).collect();
        assert_eq!(ways, ["aborted", "open"]);
        for wrong in [
            &["a"][..],
            &["a", "-o", "x.txt"],
            &["a", "--to", "svg", "--conn", "4-2"],
            &["a", "--to", "svg", "--verdict", "fine"],
            &["a", "--to", "png"],
            &["a", "--to", "+5s"],
            &["a", "--to", "svg", "--to", "csv"],
            &["--to", "svg"],
            &["-", "-", "--to", "svg"],
        ] {
            assert!(export(wrong).is_err(), "{wrong:?}");
        }
    }
}
