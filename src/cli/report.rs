//! What `tcpwatch report` and `tcpwatch export` are told: files, a filter, a part of the time.
//!
//! What a time means is known only when the recordings are read; here it is only spelled right.

use std::path::PathBuf;

use clap::Args;

use crate::cli::choices::ColorArg;
use crate::cli::replay::offset;
use crate::cli::when::When;
use crate::cli::{FilterArgs, ListFormat, Refusal};
use crate::model::filter::Filter;
use crate::source::replay::{Offset, Options};
use crate::view::export::Format;
use crate::view::palette::ColorMode;

/// What to read, and what is wanted of it.
#[derive(Debug)]
pub struct Chosen {
    /// The recordings; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// What is wanted of the connections; `None` is what was wanted when it was recorded.
    pub filter: Option<Filter>,
    /// Their numbers, empty for all.
    pub conns: Vec<u64>,
    /// What was before is left out.
    pub from: Option<When>,
    /// The world stops there.
    pub to: Option<When>,
    /// How recordings are put together.
    pub options: Options,
}

/// What to report.
#[derive(Debug)]
pub struct Report {
    /// Of what.
    pub chosen: Chosen,
    /// How to show it.
    pub format: ListFormat,
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
    /// Connections by their numbers: 12, or 12,15
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Filter")]
    conn: Vec<u64>,
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
}

impl ChosenArgs {
    fn settle(self, to: Option<When>) -> Result<Chosen, Refusal> {
        let is_standard_input = |file: &&PathBuf| file.as_os_str() == "-";
        if self.files.iter().filter(is_standard_input).count() > 1 {
            return Err(Refusal::Usage(
                "standard input ('-') can be read once only".into(),
            ));
        }
        let filter = self.filter.settle();
        Ok(Chosen {
            files: self.files,
            filter: (filter != Filter::default()).then_some(filter),
            conns: self.conn,
            from: self.from,
            to,
            options: Options {
                offsets: self.offset,
            },
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
    /// Colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto, help_heading = "Options")]
    color: ColorArg,
}

impl ReportArgs {
    pub(super) fn settle(self) -> Result<Report, Refusal> {
        Ok(Report {
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
    /// sequence diagram)
    #[arg(long, required = true, value_name = "FORMAT", allow_hyphen_values = true, value_parser = to, help_heading = "Options")]
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
        let Some(format) = format else {
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
    Ok(To::Format(match text {
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
        for wrong in [
            &["a"][..],
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
