//! `tcpwatch lab`: which experiment, over which addresses, watched how.

use std::time::Duration;

use clap::Args;

use crate::cli::choices::SourceArgs;
use crate::cli::record::BesideArgs;
use crate::cli::values::{interval, one_port};
use crate::cli::{Config, Live, Refusal, WatchArgs, live};
use crate::model::filter::Filter;

#[derive(Debug, Args)]
pub(super) struct LabArgs {
    /// Which experiment
    experiment: Option<String>,
    /// Time between two steps
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = interval, allow_negative_numbers = true)]
    step: Duration,
    /// The server's port (default: a free one)
    #[arg(long, value_name = "PORT", value_parser = one_port, allow_negative_numbers = true)]
    port: Option<u16>,
    /// Over IPv6
    #[arg(long, conflicts_with = "dual_stack")]
    ipv6: bool,
    /// An IPv4 client of a server that listens on both
    #[arg(long)]
    dual_stack: bool,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    beside: BesideArgs,
}

/// Which experiment, and how.
#[derive(Debug)]
pub struct Lab {
    /// Its name.
    pub experiment: String,
    /// Between two steps.
    pub step: Duration,
    /// The server's port, 0 for a free one.
    pub port: u16,
    /// Over which addresses.
    pub addresses: LabAddresses,
    /// How to watch; the filter is the experiment's.
    pub watch: Live,
}

/// The addresses of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabAddresses {
    /// 127.0.0.1
    V4,
    /// ::1
    V6,
    /// A server on both, a client over IPv4.
    DualStack,
}

impl LabArgs {
    pub(super) fn settle(self) -> Result<Config, Refusal> {
        let args = self;
        let Some(experiment) = args.experiment else {
            return Ok(Config::LabIndex);
        };
        let addresses = match (args.ipv6, args.dual_stack) {
            (true, _) => LabAddresses::V6,
            (_, true) => LabAddresses::DualStack,
            _ => LabAddresses::V4,
        };
        Ok(Config::Lab(Lab {
            experiment,
            step: args.step,
            port: args.port.unwrap_or(0),
            addresses,
            watch: live(Filter::default(), args.watch, &args.source, &args.beside)?,
        }))
    }
}
