//! `tcpwatch doctor`: what is wrong, in words.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::choices::SourceArgs;
use crate::cli::netns::NetnsArgs;
use crate::cli::values::{interval, threshold};
use crate::cli::{FilterArgs, ListFormat};
use crate::diagnosis::{Settings, Severity};
use crate::model::filter::Filter;
use crate::source::feed::Choice;
use crate::source::netns::Namespace;
use crate::view::palette::ColorMode;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing at or above --severity, also when nothing matches; 1 something; 2 trouble, wrong usage, or nothing and --pid or --process ask for what is hidden."
)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// States count from this age on: 0s, 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = threshold, allow_negative_numbers = true)]
    older_than: Duration,
    /// What is milder is not shown in the text, and does not count for the exit status
    #[arg(long, value_enum, default_value_t = SeverityArg::Warn)]
    severity: SeverityArg,
    /// Look again and again, and report whenever what is found changes
    #[arg(long, value_name = "TIME", value_parser = interval, allow_negative_numbers = true)]
    watch: Option<Duration>,
    /// List every connection, not only the first ones
    #[arg(long, short)]
    verbose: bool,
    /// Words, or a JSON document (with --watch: one a line)
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
    #[command(flatten)]
    netns: NetnsArgs,
}

/// How bad something has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SeverityArg {
    /// Worth knowing, it may be as it should be
    Info,
    /// Not as the program should have it
    Warn,
    /// Connections fail, or will soon
    Error,
}

impl From<SeverityArg> for Severity {
    fn from(argument: SeverityArg) -> Self {
        match argument {
            SeverityArg::Info => Self::Info,
            SeverityArg::Warn => Self::Warn,
            SeverityArg::Error => Self::Error,
        }
    }
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// What is wanted.
    pub filter: Filter,
    /// Which source.
    pub source: Choice,
    /// The thresholds.
    pub settings: Settings,
    /// From how bad on it counts.
    pub severity: Severity,
    /// Between two looks; `None`: one look.
    pub watch: Option<Duration>,
    /// Every connection is listed.
    pub verbose: bool,
    /// How to show it.
    pub format: ListFormat,
    /// Whether to use colour.
    pub color: ColorMode,
    /// Where to look.
    pub netns: Option<Namespace>,
}

impl DoctorArgs {
    pub(super) fn settle(self) -> Doctor {
        Doctor {
            filter: self.filter.settle(),
            source: self.source.source.choice(),
            settings: Settings {
                older_than: self.older_than,
                ..Settings::default()
            },
            severity: self.severity.into(),
            watch: self.watch,
            verbose: self.verbose,
            format: self.format,
            color: self.source.color(),
            netns: self.netns.netns,
        }
    }
}
