//! What can be chosen of sources and colour, and what that comes to.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::term;
use crate::cli::values::threshold;
use crate::diagnosis::Settings;
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

/// The thresholds of the rules.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
pub(super) struct ThresholdArgs {
    /// For findings, states count from this age on: 0s, 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = threshold, allow_negative_numbers = true)]
    older_than: Duration,
}

impl ThresholdArgs {
    /// The others are as they always are.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            older_than: self.older_than,
            ..Settings::default()
        }
    }
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
    /// On a terminal that has some (TERM), unless NO_COLOR is set
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
    pub(super) fn color(&self) -> ColorMode {
        self.color.mode()
    }
}

impl ColorArg {
    /// Of what is drawn into a file, whatever the terminal is like.
    pub(super) fn mode_of_a_picture(self) -> ColorMode {
        match self {
            Self::Always => ColorMode::On,
            Self::Auto if !no_color() => ColorMode::On,
            Self::Auto | Self::Never => ColorMode::Off,
        }
    }

    /// Not every terminal has colours.
    pub(super) fn mode(self) -> ColorMode {
        let has_colours = || term::has_colours(&term::of_environment());
        let wanted = match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => !no_color() && std::io::stdout().is_terminal() && has_colours(),
        };
        if wanted {
            ColorMode::On
        } else {
            ColorMode::Off
        }
    }
}

/// no-color.org: set and not empty.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
