//! The command line of `replay`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::cli::choices::{ColorArg, ThresholdArgs};
use crate::cli::looks::{LooksArgs, OnScreen};
use crate::cli::when::When;
use crate::cli::{FilterArgs, Format, Refusal, shown_as};
use crate::diagnosis::Settings;
use crate::model::filter::Filter;
use crate::source::replay::{Offset, Options};
use crate::view::palette::ColorMode;
use crate::view::tui::playback::Speed;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Recordings, or parts of one, in any order; '-' is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Begin there: 14:02:11.5, 2026-11-20T22:00:00, +10s after the start, -5m before the end
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Options"
    )]
    from: Option<When>,
    /// End there; what comes later is not read
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Options"
    )]
    until: Option<When>,
    /// How fast time passes on the screen (1/16 to 1024)
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = speed, allow_negative_numbers = true, help_heading = "Options")]
    speed: Speed,
    /// What is added to the clock of a host, or of a file (without a name: of the second recording)
    #[arg(long, value_name = "[HOST=]TIME", value_parser = offset, allow_hyphen_values = true, help_heading = "Options")]
    offset: Vec<Offset>,
    /// The screen, lines, or JSON (default: the screen on a terminal, else lines)
    #[arg(long, value_enum, help_heading = "Options")]
    format: Option<Format>,
    #[command(flatten)]
    threshold: ThresholdArgs,
    /// Colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto, help_heading = "Options")]
    color: ColorArg,
    #[command(flatten)]
    looks: LooksArgs,
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Replaying {
    /// The recordings.
    pub files: Vec<PathBuf>,
    /// What is wanted; `None` is what was wanted when it was recorded.
    pub filter: Option<Filter>,
    /// Where to begin.
    pub from: Option<When>,
    /// Where to end.
    pub until: Option<When>,
    /// How fast.
    pub speed: Speed,
    /// How recordings are put together.
    pub options: Options,
    /// The thresholds of the rules.
    pub settings: Settings,
    /// How to show it.
    pub format: Format,
    /// Whether to use colour.
    pub color: ColorMode,
    /// How the screen begins.
    pub screen: OnScreen,
}

impl ReplayArgs {
    pub(super) fn settle(self) -> Result<Replaying, Refusal> {
        read_once(&self.files, "replay: ")?;
        // Keys may come from /dev/tty.
        let has_screen = std::io::stdout().is_terminal();
        let format = shown_as(self.format, has_screen, "output")?;
        Ok(Replaying {
            files: self.files,
            filter: self.filter.said(),
            from: self.from,
            until: self.until,
            speed: self.speed,
            options: Options {
                offsets: self.offset,
            },
            settings: self.threshold.settings(),
            format,
            screen: self.looks.settle(self.color.mode()),
            color: self.color.mode(),
        })
    }
}

/// Standard input ends once.
pub(super) fn read_once(files: &[PathBuf], command: &str) -> Result<(), Refusal> {
    let inputs = files.iter().filter(|file| file.as_os_str() == "-");
    if inputs.count() > 1 {
        return Err(Refusal::Usage(format!(
            "{command}standard input ('-') can be read once only"
        )));
    }
    Ok(())
}

fn speed(text: &str) -> Result<Speed, String> {
    let number = |text: &str| text.parse::<f64>().ok();
    let times = match text.strip_suffix('x').unwrap_or(text).split_once('/') {
        Some((over, under)) => number(over).zip(number(under)).map(|(a, b)| a / b),
        None => number(text.strip_suffix('x').unwrap_or(text)),
    };
    times
        .and_then(Speed::new)
        .ok_or_else(|| "not a speed that is possible here (allowed: 1/16 to 1024)".to_owned())
}

/// `-1.5ms`, `web=+20us`: signed, with a unit.
pub(super) fn offset(text: &str) -> Result<Offset, String> {
    let (of, time) = match text.rsplit_once('=') {
        Some((of, time)) => (Some(of.to_owned()), time),
        None => (None, text),
    };
    let refused = || {
        "not an offset (allowed: a signed time with a unit, written as -1.5ms, +20us, web=2s)"
            .to_owned()
    };
    if of.as_deref() == Some("") {
        return Err(refused());
    }
    let by = if time == "0" { Some(0) } else { nanos(time) };
    by.map(|by| Offset { of, by }).ok_or_else(refused)
}

fn nanos(time: &str) -> Option<i64> {
    let time: jiff::SignedDuration = time.parse().ok()?;
    i64::try_from(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_signed_and_may_name_its_host() {
        let of = |of: Option<&str>, by| {
            Ok(Offset {
                of: of.map(Into::into),
                by,
            })
        };
        assert_eq!(offset("-1.5ms"), of(None, -1_500_000));
        assert_eq!(offset("+20us"), of(None, 20_000));
        assert_eq!(offset("web=2s"), of(Some("web"), 2_000_000_000));
        assert_eq!(offset("a=b.jsonl=-1ns"), of(Some("a=b.jsonl"), -1));
        for wrong in ["", "5", "=1s", "web", "web=", "1 parsec", "99999999999h"] {
            assert!(offset(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_speed_is_a_number_or_a_fraction() {
        for text in ["1", "0.0625", "1/16", "1024", "4x", "1/2x"] {
            assert!(speed(text).is_ok(), "{text}");
        }
        for text in ["", "0", "-1", "1/17", "1025", "1/0", "NaN", "fast"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
