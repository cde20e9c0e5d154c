//! A command line that is not to be followed, as one line for whoever typed it.
//!
//! Clap's own message is for a terminal, over several lines; what is said here names the value and
//! what is allowed. The trap: it echoes what was typed, escapes and all.

use clap::error::ErrorKind;

use crate::cli::hints;
use crate::view::plain::plain;

/// Why there is nothing to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Asked for, and no error.
    Text(String),
    /// Wrong usage.
    Usage(String),
}

impl Refusal {
    pub(super) fn from_clap(error: &clap::Error, arguments: &[std::ffi::OsString]) -> Self {
        let text = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Text(text),
            _ => {
                if let Some(hint) = hints::hint(arguments) {
                    return Self::Usage(plain(&hint).into_owned());
                }
                let has_tip = is_good_tip(error);
                // The message itself; the hint at --help is the same for all of them.
                let lines: Vec<&str> = text
                    .lines()
                    .map(str::trim)
                    .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
                    .filter(|line| !line.is_empty() && (has_tip || !line.starts_with("tip:")))
                    .collect();
                let line = lines.join(" ");
                let line = line.strip_prefix("error: ").unwrap_or(&line);
                // It echoes what was typed, less the escapes that clap knows.
                Self::Usage(plain(line).into_owned())
            }
        }
    }
}

/// Whether what clap suggests is like what was written.
fn is_good_tip(error: &clap::Error) -> bool {
    use clap::error::{ContextKind, ContextValue};
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let pairs = [
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        (ContextKind::InvalidValue, ContextKind::SuggestedValue),
        (
            ContextKind::InvalidSubcommand,
            ContextKind::SuggestedSubcommand,
        ),
    ];
    pairs.into_iter().any(|(written, suggested)| {
        text(written)
            .zip(text(suggested))
            .is_some_and(|(written, suggested)| hints::is_near(written, suggested))
    })
}
