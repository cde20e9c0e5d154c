//! `tcpwatch report`: what recordings show, written as it is read.

use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::Context;

use crate::cli::{ListFormat, Report};
use crate::run::list::tell_unknown;
use crate::run::load::Loaded;
use crate::run::{Outcome, complain};
use crate::view::report::json::Json;
use crate::view::report::text::Text;

const WRITING: &str = "write to standard output";

pub(super) fn report(config: &Report) -> anyhow::Result<Outcome> {
    let loaded = Loaded::new(&config.chosen)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match config.format {
        ListFormat::Text => text(config, &loaded, &mut out)?,
        ListFormat::Json => json(&loaded, &mut out)?,
    }
    out.flush().context(WRITING)?;
    Ok(outcome(&loaded))
}

/// Nothing matched, and said so, or done.
pub(super) fn outcome(loaded: &Loaded) -> Outcome {
    tell_unknown(loaded.unsure);
    if loaded.summary.seen > 0 {
        return Outcome::Done;
    }
    let of = match loaded.about.filter.as_str() {
        "" => String::new(),
        filter => format!(" of {}", crate::view::plain::plain(filter)),
    };
    complain(&format!("no TCP connection{of} in what was recorded"));
    loaded.hidden.into_iter().for_each(complain);
    Outcome::NothingMatched
}

fn text(config: &Report, loaded: &Loaded, out: &mut impl Write) -> anyhow::Result<()> {
    let text = Text {
        about: &loaded.about,
        color: config.color,
        width: width(),
        brief: config.brief,
    };
    put(out, &text.head(&loaded.summary))?;
    loaded.connections(|shown| put(out, &text.connection(shown)))?;
    put(out, &text.tail(&loaded.summary))
}

/// Columns: a terminal's, as far as a report fits in them; elsewhere always the same.
fn width() -> usize {
    const LEAST: usize = 80;
    const ELSEWHERE: usize = 100;
    if !io::stdout().is_terminal() {
        return ELSEWHERE;
    }
    crossterm::terminal::size().map_or(ELSEWHERE, |(columns, _)| usize::from(columns).max(LEAST))
}

fn json(loaded: &Loaded, out: &mut impl Write) -> anyhow::Result<()> {
    let mut json = Json::new(&loaded.about);
    put(out, &json.head()?)?;
    loaded.connections(|shown| put(out, &json.connection(shown)?))?;
    put(out, &json.tail(&loaded.summary)?)
}

fn put(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    out.write_all(text.as_bytes()).context(WRITING)
}
