//! `tcpwatch wait`: for scripts and CI.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::choices::{EventsArg, SourceArgs};
use crate::cli::netns::NetnsArgs;
use crate::cli::values::{interval, threshold};
use crate::cli::{FilterArgs, Format, Live, LookArgs, settled};
use crate::diagnosis::Settings;
use crate::diagnosis::until::{FailOn, Target};

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 it is so; 1 timed out; 2 trouble, wrong usage, ended by a signal, or --pid or --process ask for what is hidden; 3 a --fail-on finding."
)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// closed: every connection that matches, at the start or later, is; or a state that an end
    /// has, or reaches (LISTEN: somebody listens)
    #[arg(long, value_name = "STATE|closed")]
    until: Target,
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = threshold, allow_negative_numbers = true)]
    timeout: Duration,
    /// So many connections must have been seen (closed), or ends have reached the state [default: 0
    /// for closed, 1 for a state]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true)]
    at_least: Option<u64>,
    /// End at once, with status 3, when this is found: a code as close-wait-leaked, a family as
    /// close-wait, or any
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// For --fail-on, states count from this age on
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = threshold, allow_negative_numbers = true)]
    older_than: Duration,
    /// A line at the end, or a JSON object
    #[arg(long, value_enum, default_value_t = WaitFormat::Text)]
    format: WaitFormat,
    /// Time between two looks (1ms to 1h); stretched by itself when a look is costly
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = interval, allow_negative_numbers = true)]
    interval: Duration,
    /// Kernel events: every transition at its exact time (needs root, or CAP_BPF and CAP_PERFMON)
    #[arg(long, value_enum, default_value_t = EventsArg::Auto)]
    events: EventsArg,
    #[command(flatten)]
    netns: NetnsArgs,
}

/// How the result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WaitFormat {
    /// A line
    Text,
    /// A JSON object
    Json,
}

/// What to wait for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// What is waited for.
    pub target: Target,
    /// How long.
    pub timeout: Duration,
    /// How many it takes.
    pub at_least: Option<u64>,
    /// What ends it at once.
    pub fail_on: FailOn,
    /// How to watch, and how to show the result.
    pub watch: Live,
}

impl WaitArgs {
    pub(super) fn settle(self) -> Wait {
        let mut fail_on = FailOn::default();
        for codes in self.fail_on {
            fail_on.extend(codes);
        }
        let look = LookArgs::usual(self.interval, self.events, self.netns);
        let format = match self.format {
            WaitFormat::Text => Format::Text,
            WaitFormat::Json => Format::Json,
        };
        let choice = self.source.source.choice();
        let settings = Settings {
            older_than: self.older_than,
            ..Settings::default()
        };
        Wait {
            target: self.until,
            timeout: self.timeout,
            at_least: self.at_least,
            fail_on,
            watch: Live {
                settings,
                ..settled(
                    self.filter.settle(),
                    look,
                    choice,
                    format,
                    self.source.color(),
                )
            },
        }
    }
}
