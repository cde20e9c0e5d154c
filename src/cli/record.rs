//! What the user says about recording: where to, what may be overwritten, when files change.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::values::{max_age, size};
use crate::cli::{FilterArgs, LookArgs, Refusal, SourceArg};
use crate::record::recorder::{Existing, Plan, Rotation, Target};

/// `tcpwatch record`.
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// The recording (- is standard output)
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FILE",
        help_heading = "Options"
    )]
    output: PathBuf,
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    pub(super) look: LookArgs,
    /// Where connections are read from
    #[arg(long, value_enum, default_value_t = SourceArg::Auto)]
    pub(super) source: SourceArg,
}

/// Recording beside a live view.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recording")]
pub(super) struct BesideArgs {
    /// Record what is seen, to replay it later
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    files: FilesArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Recording")]
struct FilesArgs {
    /// Overwrite a file that is there already
    #[arg(long)]
    force: bool,
    /// Go on in another file before one is longer than this (64KiB at least: 100MB, 1GiB)
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    max_size: Option<u64>,
    /// Go on in another file after this time (1s at least)
    #[arg(long, value_name = "TIME", value_parser = max_age, allow_negative_numbers = true)]
    max_age: Option<Duration>,
    /// Keep only the newest so many files of this recording
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    max_files: Option<u32>,
    /// Record the command lines of processes too (they can hold passwords)
    #[arg(long)]
    record_cmdline: bool,
}

impl RecordArgs {
    /// Where to and how.
    pub(super) fn plan(&self) -> Result<Plan, Refusal> {
        let target = if self.output.as_os_str() == "-" {
            Target::Stdout
        } else {
            Target::File(self.output.clone())
        };
        self.files.plan("-o", target)
    }
}

impl BesideArgs {
    /// Where to and how, when it is wanted.
    pub(super) fn plan(&self) -> Result<Option<Plan>, Refusal> {
        match &self.record {
            Some(path) if path.as_os_str() == "-" => Err(Refusal::Usage(
                "--record -: standard output is the live view's (allowed: a file; 'tcpwatch \
                 record -o -' records to standard output)"
                    .into(),
            )),
            Some(path) => self
                .files
                .plan("--record", Target::File(path.clone()))
                .map(Some),
            None => match self.files.first_used() {
                Some(option) => Err(Refusal::Usage(format!(
                    "{option} needs a recording (--record FILE)"
                ))),
                None => Ok(None),
            },
        }
    }
}

impl FilesArgs {
    fn first_used(&self) -> Option<&'static str> {
        let used = [
            (self.force, "--force"),
            (self.max_size.is_some(), "--max-size"),
            (self.max_age.is_some(), "--max-age"),
            (self.max_files.is_some(), "--max-files"),
            (self.record_cmdline, "--record-cmdline"),
        ];
        used.into_iter()
            .find_map(|(is_used, name)| is_used.then_some(name))
    }

    fn plan(&self, option: &str, target: Target) -> Result<Plan, Refusal> {
        let usage = |text: String| Err(Refusal::Usage(text));
        let rotation = Rotation {
            max_size: self.max_size,
            max_age: self.max_age,
            max_files: self.max_files,
        };
        if rotation.max_files.is_some() && !rotation.is_wanted() {
            return usage("--max-files needs --max-size or --max-age".into());
        }
        if target == Target::Stdout && rotation.is_wanted() {
            return usage(format!(
                "{option} -: standard output does not rotate (leave out --max-size and --max-age)"
            ));
        }
        Ok(Plan {
            target,
            existing: if self.force {
                Existing::Replace
            } else {
                Existing::Refuse
            },
            rotation,
            cmdlines: self.record_cmdline,
        })
    }
}
