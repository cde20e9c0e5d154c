//! What can be chosen of sources and colour, and what that comes to.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};

use crate::model::SourceName;
use crate::source::feed::Choice;
use crate::view::palette::ColorMode;

#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
pub(super) struct SourceArgs {
    /// Where connections are read from
    #[arg(long, value_enum, default_value_t = SourceArg::Auto)]
    pub(super) source: SourceArg,
    /// Colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    color: ColorArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SourceArg {
    /// The best that works
    Auto,
    /// netlink sock_diag
    SockDiag,
    /// /proc/net/tcp
    Proc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EventsArg {
    /// Where they can be had
    Auto,
    /// Or not at all
    On,
    /// Never
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorArg {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also into pipes
    Always,
    /// Never
    Never,
}

impl SourceArg {
    pub(super) const fn choice(self) -> Choice {
        match self {
            Self::Auto => Choice::Auto,
            Self::SockDiag => Choice::Only(SourceName::SockDiag),
            Self::Proc => Choice::Only(SourceName::Proc),
        }
    }
}

impl SourceArgs {
    /// no-color.org: set and not empty. `TERM=dumb` can't colour either.
    pub(super) fn color(&self) -> ColorMode {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = match self.color {
            ColorArg::Always => true,
            ColorArg::Never => false,
            ColorArg::Auto => !is_set("NO_COLOR") && !is_dumb && std::io::stdout().is_terminal(),
        };
        if wanted {
            ColorMode::On
        } else {
            ColorMode::Off
        }
    }
}
