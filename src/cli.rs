//! The command line: raw flags in, settled configuration out.
//!
//! Knows what the user may type and nothing of what is done with it. Every refusal is one line
//! that names the value and what is allowed.

mod choices;
mod doctor;
pub(crate) mod export;
mod filter;
mod hints;
mod keys;
mod known;
mod lab;
mod looks;
mod netns;
mod packaging;
mod record;
mod refusal;
mod replay;
mod report;
mod term;
mod values;
mod wait;
pub mod when;

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cli::choices::{EventsArg, SourceArg, SourceArgs, ThresholdArgs};
pub use crate::cli::doctor::Doctor;
use crate::cli::doctor::DoctorArgs;
use crate::cli::export::ExportArgs;
pub use crate::cli::export::{Export, Out, Picture};
use crate::cli::filter::FilterArgs;
use crate::cli::lab::LabArgs;
pub use crate::cli::lab::{Lab, LabAddresses};
use crate::cli::looks::LooksArgs;
pub use crate::cli::looks::OnScreen;
use crate::cli::netns::NetnsArgs;
use crate::cli::record::{BesideArgs, RecordArgs};
pub use crate::cli::refusal::Refusal;
use crate::cli::replay::ReplayArgs;
pub use crate::cli::replay::Replaying;
use crate::cli::report::ReportArgs;
pub use crate::cli::report::{Chosen, Report};
use crate::cli::values::{budget, duration, interval, ring};
pub use crate::cli::wait::Wait;
use crate::cli::wait::WaitArgs;
use crate::diagnosis::Settings;
use crate::model::SourceName;
use crate::model::filter::Filter;
use crate::record::recorder::Plan;
use crate::source::feed::Choice;
use crate::source::netns::Namespace;
use crate::source::quick::{Events, Wanted};
use crate::view::palette::ColorMode;

/// Both ends of every TCP connection on one time axis, moving through teardown.
#[derive(Debug, Parser)]
#[command(
    name = "tcpwatch",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 done; 1 nothing matched (list, report, export), something found (doctor), timed out (wait), or not shown (lab); 2 trouble or wrong usage; 3 a --fail-on finding (wait)."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    beside: BesideArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One look: both ends of every connection on one row
    List(ListArgs),
    /// What is wrong, who holds it, and what to do: one look, in words
    Doctor(DoctorArgs),
    /// Wait until connections are closed, or in a state: for scripts
    Wait(WaitArgs),
    /// Record what is seen, with nothing shown, to replay it later
    Record(RecordArgs),
    /// Run a teardown experiment here and watch it (without a name: list them)
    Lab(LabArgs),
    /// What a recording shows: connections, their ends, how long they were in each state
    Report(ReportArgs),
    /// A recording as a picture, a table, a diagram, for the Perfetto UI, or its screen as a picture
    Export(ExportArgs),
    /// A recording on the same screen, with time travel
    Replay(ReplayArgs),
    /// Completions of the command line, for a shell to load
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// The manual page, for man(1)
    Man,
    #[command(hide = true)]
    LabActor { role: String },
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
struct WatchArgs {
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    threshold: ThresholdArgs,
    /// The screen, lines, or JSON (default: the screen on a terminal, else lines)
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    looks: LooksArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
struct LookArgs {
    /// Time between two looks (1ms to 1h); stretched by itself when a look is costly
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = interval, allow_negative_numbers = true)]
    interval: Duration,
    /// End after this time
    #[arg(long, value_name = "TIME", value_parser = duration, allow_negative_numbers = true)]
    duration: Option<Duration>,
    /// Kernel events: every transition at its exact time (needs root, or CAP_BPF and CAP_PERFMON)
    #[arg(long, value_enum, default_value_t = EventsArg::Auto)]
    events: EventsArg,
    #[command(flatten)]
    netns: NetnsArgs,
    /// How much of a core following known connections may take (0.1% to 100%)
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = budget, allow_negative_numbers = true)]
    budget: f64,
    /// How often ends in motion are looked at, without events (1 to 10000 a second)
    #[arg(long, value_name = "HZ", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    rate: u32,
    /// Room for events that wait to be read (a power of two of bytes, 4KiB to 1GiB)
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = ring, hide = true)]
    ring: usize,
    /// Write what went wrong to this file (the kernel's own words, for a bug report)
    #[arg(long, value_name = "FILE")]
    log: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// A table, or a JSON document
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
    #[command(flatten)]
    netns: NetnsArgs,
}

/// How a live command shows what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The screen
    Tui,
    /// A line a transition
    Text,
    /// A JSON object a line
    Json,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// A table
    Text,
    /// One document
    Json,
}

/// What is to be done.
#[derive(Debug)]
pub enum Config {
    /// Watch.
    Live(Live),
    /// Record, and show nothing.
    Record(Live),
    /// One look.
    List(List),
    /// What is wrong.
    Doctor(Doctor),
    /// Wait.
    Wait(Wait),
    /// Which experiments there are.
    LabIndex,
    /// One experiment.
    Lab(Lab),
    /// Report.
    Report(Report),
    /// Export.
    Export(Export),
    /// Draw the screen of a recording.
    Picture(Picture),
    /// Show a recording.
    Replay(Replaying),
    /// Be a process of an experiment.
    LabActor(String),
}

/// How to watch.
#[derive(Clone, Debug)]
pub struct Live {
    /// What is wanted.
    pub filter: Filter,
    /// Where to look; `None` for where we are.
    pub netns: Option<Namespace>,
    /// Which source.
    pub source: Choice,
    /// What is wanted beside the looks.
    pub quick: Wanted,
    /// Where to write what went wrong.
    pub log: Option<std::path::PathBuf>,
    /// Between two looks.
    pub interval: Duration,
    /// The thresholds of the rules.
    pub settings: Settings,
    /// When to end.
    pub duration: Option<Duration>,
    /// How to show it.
    pub format: Format,
    /// Whether to use colour.
    pub color: ColorMode,
    /// How the screen begins.
    pub screen: OnScreen,
    /// Where to record it.
    pub record: Option<Plan>,
}

/// What to list.
#[derive(Debug)]
pub struct List {
    /// What is wanted.
    pub filter: Filter,
    /// Where to look; `None` for where we are.
    pub netns: Option<Namespace>,
    /// Which source.
    pub source: Choice,
    /// How to show it.
    pub format: ListFormat,
    /// Whether to use colour.
    pub color: ColorMode,
}

/// Reads the command line.
///
/// # Errors
/// A line for standard error, or for standard output the text that was asked for: `--help`,
/// `--version`, completions, the manual page.
pub fn parse<I, T>(arguments: I) -> Result<Config, Refusal>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().map(Into::into).collect();
    let cli =
        Cli::try_parse_from(&arguments).map_err(|error| Refusal::from_clap(&error, &arguments))?;
    match cli.command {
        None => Ok(Config::Live(live(
            cli.filter.settle(),
            cli.watch,
            &cli.source,
            &cli.beside,
        )?)),
        Some(Command::Record(args)) => {
            let record = Some(args.plan()?);
            let (choice, color) = (args.source.choice(), ColorMode::Off);
            let filter = args.filter.settle();
            Ok(Config::Record(Live {
                record,
                ..settled(filter, args.look, choice, Format::Text, color)
            }))
        }
        Some(Command::List(args)) => Ok(Config::List(List {
            filter: args.filter.settle(),
            netns: args.netns.netns,
            source: args.source.source.choice(),
            format: args.format,
            color: args.source.color(),
        })),
        Some(Command::Doctor(args)) => Ok(Config::Doctor(args.settle())),
        Some(Command::Wait(args)) => Ok(Config::Wait(args.settle())),
        Some(Command::Lab(args)) => args.settle(),
        Some(Command::Report(args)) => Ok(Config::Report(args.settle()?)),
        Some(Command::Export(args)) => args.settle(),
        Some(Command::Replay(args)) => Ok(Config::Replay(args.settle()?)),
        Some(Command::Completions { shell }) => Err(Refusal::Text(packaging::completions(
            &Cli::command(),
            shell,
        ))),
        Some(Command::Man) => Err(Refusal::Text(packaging::manual(Cli::command()))),
        Some(Command::LabActor { role }) => Ok(Config::LabActor(role)),
    }
}

fn live(
    filter: Filter,
    args: WatchArgs,
    source: &SourceArgs,
    beside: &BesideArgs,
) -> Result<Live, Refusal> {
    let format = shown_as(args.format, is_terminal(), "input and output")?;
    let record = beside.plan()?;
    let choice = source.source.choice();
    Ok(Live {
        record,
        settings: args.threshold.settings(),
        screen: args.looks.settle(source.color()),
        ..settled(filter, args.look, choice, format, source.color())
    })
}

fn settled(
    filter: Filter,
    args: LookArgs,
    choice: Choice,
    format: Format,
    color: ColorMode,
) -> Live {
    let wanted = Wanted {
        events: match (args.events, choice) {
            (EventsArg::On, _) => Events::On,
            (EventsArg::Off, _) => Events::Off("--events off"),
            // Who names a source wants to see what that one shows.
            (EventsArg::Auto, Choice::Only(SourceName::Proc)) => Events::Off("--source proc"),
            (EventsArg::Auto, _) => Events::Auto,
        },
        sock_diag: choice != Choice::Only(SourceName::Proc),
        discover: args.interval,
        budget: args.budget,
        rate: args.rate,
        ring: args.ring,
        ..Wanted::default()
    };
    Live {
        filter,
        netns: args.netns.netns,
        source: choice,
        quick: wanted,
        log: args.log,
        interval: args.interval,
        settings: Settings::default(),
        duration: args.duration,
        format,
        color,
        screen: OnScreen::default(),
        record: None,
    }
}

/// The screen where there is one, unless something else is said. It needs a terminal for all of
/// `needed`, which moves its cursor.
fn shown_as(said: Option<Format>, has_terminal: bool, needed: &str) -> Result<Format, Refusal> {
    let refused = match term::refuses_screen(&term::of_environment()) {
        _ if !has_terminal => Some(format!("needs a terminal for {needed}")),
        Some(why) => Some(format!("needs a terminal that moves its cursor, and {why}")),
        None => None,
    };
    match (said, refused) {
        (Some(Format::Tui), Some(why)) => Err(Refusal::Usage(format!(
            "--format tui: the screen {why} (allowed here: text, json)"
        ))),
        (Some(said), _) => Ok(said),
        (None, Some(_)) => Ok(Format::Text),
        (None, None) => Ok(Format::Tui),
    }
}

fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

impl LookArgs {
    /// As they are when nothing is said.
    fn usual(interval: Duration, events: EventsArg, netns: NetnsArgs) -> Self {
        let Wanted {
            budget, rate, ring, ..
        } = Wanted::default();
        Self {
            interval,
            duration: None,
            events,
            budget,
            rate,
            ring,
            log: None,
            netns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        let line = ["tcpwatch"].iter().chain(arguments);
        match parse(line.copied()) {
            Err(Refusal::Usage(text)) => text,
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    fn accepted(arguments: &[&str]) -> Config {
        parse(["tcpwatch"].iter().chain(arguments).copied()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_refusal_is_one_line_that_names_the_value_and_what_is_allowed() {
        for (arguments, value, allowed) in [
            (&["--port", "70000"][..], "'70000'", "1 to 65535"),
            (&["--port", "0"], "'0'", "1 to 65535"),
            (&["--port", "90-80"], "'90-80'", "80-90"),
            (&["--local-port", "http"], "'http'", "1 to 65535"),
            (&["--state", "HALF_OPEN"], "'HALF_OPEN'", "CLOSE_WAIT"),
            (&["--interval", "abc"], "'abc'", "1ms to 1h"),
            (&["--interval", "90"], "'90'", "1ms to 1h"),
            (&["--interval", "0s"], "'0s'", "1ms to 1h"),
            (&["--interval", "2h"], "'2h'", "1ms to 1h"),
            (&["--interval=-1s"], "'-1s'", "1ms to 1h"),
            (&["--duration", "soon"], "'soon'", "with a unit"),
            (&["--host", "example.com"], "'example.com'", "10.0.0.7"),
            (&["--host", "10.0.0.0/40"], "'10.0.0.0/40'", "0 to 32"),
            (&["--source", "magic"], "'magic'", "sock-diag"),
            (&["--format", "xml"], "'xml'", "json"),
            (&["--events", "maybe"], "'maybe'", "auto, on, off"),
            (&["--budget", "0%"], "'0%'", "0.1%"),
            (&["--rate", "0"], "0", "1..=10000"),
            (&["list", "--port", "70000"], "'70000'", "1 to 65535"),
            (&["lab", "close", "--port", "0"], "'0'", "1 to 65535"),
            (&["lab", "close", "--port", "1-9"], "'1-9'", "1 to 65535"),
            (&["--port", "-1"], "'-1'", "1 to 65535"),
            (&["--port", "5001-"], "'5001-'", "1 to 65535"),
            (&["--port", "80,"], "'80,'", "1 to 65535"),
            (&["--interval", "-1"], "'-1'", "1ms to 1h"),
            (&["--pid", "python3"], "'python3'", "1 to 4194304"),
            (&["--pid", "812,"], "''", "1 to 4194304"),
            (&["--pid", "-1"], "'-1'", "1 to 4194304"),
            (&["--process", ""], "''", "python3"),
            (&["--filter", "prot 80"], "column 6: '80'", "'port'"),
            (&["--filter", "age > 30"], "'30' has no unit", "30s"),
            (&["--record-cmdline"], "--record-cmdline", "--record FILE"),
            (&["--port", "1", "list"], "list", "tcpwatch list --port 1"),
            (&["--bogus"], "'--bogus'", ""),
        ] {
            let text = refused(arguments);
            assert!(text.contains(value), "{arguments:?}: {text}");
            assert!(text.contains(allowed), "{arguments:?}: {text}");
            assert!(!text.contains('\n'), "{arguments:?}: {text}");
        }
    }

    #[test]
    fn filters_are_read_in_all_their_forms() {
        let Config::Live(live) = accepted(&[
            "--port",
            "80,443",
            "--port",
            "8000-8010",
            "--host",
            "10.0.0.0/8,::1",
            "--state",
            "close-wait,TIME_WAIT",
            "-4",
            "--pid",
            "812,813",
            "--process",
            "python3",
            "--process",
            "nginx",
            "--filter",
            "unread > 4k or closed",
            "--interval",
            "1s",
            "--format",
            "json",
        ]) else {
            panic!("not live");
        };
        assert_eq!(
            live.filter.to_string(),
            "port 80,443,8000-8010 and host 10.0.0.0/8,::1 and state TIME_WAIT,CLOSE_WAIT \
             and pid 812,813 and process python3,nginx and IPv4 and (unread > 4000 or closed)"
        );
        assert_eq!(live.interval, Duration::from_secs(1));
        assert_eq!(live.format, Format::Json);
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for flag in ["--help", "--version"] {
            assert!(matches!(parse(["tcpwatch", flag]), Err(Refusal::Text(_))));
        }
    }
}
