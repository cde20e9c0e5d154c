//! Pictures and tables of a recording for other programs, one file a format.
//!
//! Each is given connections one after the other, as the tracker lets go of them, and appends to a
//! text; what it must keep until its end is bounded. The trap: nothing that came from outside may
//! leave here as it is, and a picture, a table and a diagram each have their own way of being
//! misled.

mod csv;
mod mermaid;
mod perfetto;
pub mod screen;
mod svg;

use crate::model::Timestamp;
use crate::timeline::{Certainty, Holding, Process, Span, Track, When};
use crate::view::owners;
use crate::view::plain::plain;
use crate::view::report::{About, Recording, Shown, Summary};

/// A format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The timeline as a picture.
    Svg,
    /// Events for the Perfetto UI.
    Perfetto,
    /// A row a transition.
    Csv,
    /// A sequence diagram.
    Mermaid,
}

/// An export on its way.
#[derive(Debug)]
pub struct Export<'a> {
    about: &'a About,
    /// Numbers of all that is shown, known beforehand.
    summary: &'a Summary,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Svg(svg::Picture),
    Perfetto,
    Csv,
    Mermaid(mermaid::Diagram),
}

impl<'a> Export<'a> {
    /// An export in this format; `out` takes what stands at its begin.
    pub fn begin(
        format: Format,
        about: &'a About,
        summary: &'a Summary,
        out: &mut String,
    ) -> serde_json::Result<Self> {
        let kind = match format {
            Format::Svg => Kind::Svg(svg::Picture::default()),
            Format::Perfetto => {
                perfetto::head(about, summary, out)?;
                Kind::Perfetto
            }
            Format::Csv => {
                csv::head(out);
                Kind::Csv
            }
            Format::Mermaid => Kind::Mermaid(mermaid::Diagram::default()),
        };
        Ok(Self {
            about,
            summary,
            kind,
        })
    }

    /// Takes in a connection; `out` takes what can be told of it now.
    ///
    /// # Errors
    /// When serde_json can't write it, which it can.
    pub fn connection(&mut self, shown: &Shown<'_>, out: &mut String) -> serde_json::Result<()> {
        match &mut self.kind {
            Kind::Svg(picture) => picture.connection(shown, self.about),
            Kind::Perfetto => perfetto::connection(shown, self.about, out)?,
            Kind::Csv => csv::connection(shown, self.about, out),
            Kind::Mermaid(diagram) => diagram.connection(shown, self.about),
        }
        Ok(())
    }

    /// `out` takes what stands at its end. Gives how many connections it had no room for.
    ///
    /// # Errors
    /// As [`Export::connection`].
    pub fn end(self, out: &mut String) -> serde_json::Result<u64> {
        match self.kind {
            Kind::Svg(picture) => Ok(picture.end(self.about, self.summary, out)),
            Kind::Perfetto => {
                perfetto::tail(self.about, self.summary, out)?;
                Ok(0)
            }
            Kind::Csv => Ok(0),
            Kind::Mermaid(diagram) => Ok(diagram.end(self.about, out)),
        }
    }
}

/// `curl[4711]`, harmless.
fn named(process: Process) -> String {
    let name = process.comm.text();
    format!("{}[{}]", plain(&name), process.pid)
}

/// The process that a track's steps name last.
fn owner(spans: &[Span]) -> Option<Process> {
    spans.iter().rev().find_map(|span| span.why.by)
}

/// Who holds an end, or did last, and who held it before, in words; else who made its last call.
fn holder(track: &Track) -> Option<String> {
    owners::words(track.owners()).or_else(|| owner(track.spans()).map(named))
}

/// Those who held an end at that time, or did last by then. Before anybody had looked, those who
/// were seen first.
fn held_at(track: &Track, at: Timestamp) -> Option<&Holding> {
    let mut sets = track.holdings().iter().rev();
    let somebody = |set: &&Holding| !set.holders.is_empty();
    let by_then = sets.find(|set| set.from.not_after() <= at && somebody(set));
    by_then.or_else(|| track.holdings().first().filter(somebody))
}

/// How surely a state's begin is known, in words.
fn sureness(span: &Span) -> String {
    crate::view::cause::certainty(span.certainty, span.from)
}

/// Whether it was never seen.
const fn is_inferred(span: &Span) -> bool {
    matches!(span.certainty, Certainty::Inferred)
}

/// Whether its begin is only known to lie between two moments.
fn is_fuzzy(span: &Span) -> bool {
    matches!(span.from, When::Between(from, to) if from < to)
}

/// What was recorded, on one line: hosts, from when to when.
fn what(about: &About) -> String {
    let mut hosts: Vec<String> = about.recordings.iter().map(Recording::name).collect();
    hosts.dedup();
    let clock = &about.clock;
    let (from, to) = (about.begin(), about.last);
    let end = if clock.day(from) == clock.day(to) {
        clock.time_of_day(to).trim_start().to_owned()
    } else {
        clock.date_time_and_zone(to)
    };
    format!(
        "{}, {} to {end}",
        hosts.join(" and "),
        clock.date_time_and_zone(from)
    )
}
