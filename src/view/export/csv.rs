//! A table: one row a transition, and behind those of a connection one a finding, for spreadsheets
//! and scripts.
//!
//! Columns are stable: new ones are added at the end. The trap: a spreadsheet takes a cell that
//! begins with `=`, `+`, `-` or `@` for a formula, and a process chooses its own name.

use std::fmt::{Display, Write};

use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::timeline::{Call, Certainty, Holding, Reason, When};
use crate::view::export::held_at;
use crate::view::owners;
use crate::view::plain::plain;
use crate::view::report::findings::{Told, end_of, of_shown};
use crate::view::report::{About, Shown, Step};
use crate::view::verdict;

const COLUMNS: [&str; 30] = [
    "time",
    "at_ns",
    "not_before_ns",
    "not_after_ns",
    "certainty",
    "source",
    "host",
    "conn",
    "end",
    "local",
    "remote",
    "from",
    "to",
    "in_from_ns",
    "cause",
    "call",
    "reason",
    "signal",
    "pid",
    "process",
    "descriptor",
    "unread",
    "unacked",
    "verdict",
    "first_closer",
    "sentence",
    "owner_pids",
    "owners",
    "finding",
    "severity",
];

pub(super) fn head(out: &mut String) {
    out.push_str(&COLUMNS.join(","));
    out.push_str("\r\n");
}

pub(super) fn connection(shown: &Shown<'_>, about: &About, out: &mut String) {
    let ended = shown
        .connection
        .closed()
        .and_then(|_| verdict(shown.connection));
    let (code, closer, sentence) = match &ended {
        Some(verdict) => (
            verdict.code.token(),
            verdict.first_closer.map(|side| side.token()),
            verdict.sentence.as_str(),
        ),
        None => ("", None, ""),
    };
    for step in shown.steps() {
        let at = step.entered().from.not_after();
        if shown.from.is_some_and(|from| at < from) {
            continue;
        }
        let mut row = Row {
            out,
            is_first: true,
        };
        step_cells(&mut row, &step, shown, about);
        row.text(code);
        row.maybe(closer);
        row.text(sentence);
        row.owners(held_at(step.track, at));
        row.maybe(None::<u8>);
        row.maybe(None::<u8>);
        row.out.push_str("\r\n");
    }
    for told in of_shown(shown) {
        finding(&told, shown, about, out);
    }
}

/// A row of its own: no transition, and what was found instead.
fn finding(told: &Told, shown: &Shown<'_>, about: &About, out: &mut String) {
    let finding = &told.finding;
    let Some(side) = end_of(finding, shown) else {
        return;
    };
    let (connection, at) = (shown.connection, finding.at);
    let mut row = Row {
        out,
        is_first: true,
    };
    row.maybe(about.clock.utc(at));
    row.plain(at.nanos());
    for _ in 0..4 {
        row.maybe(None::<u8>);
    }
    row.text(about.name_of(connection.scope().host));
    row.plain(connection.id());
    row.plain(side.token());
    row.plain(connection.endpoint(side));
    row.plain(connection.endpoint(side.other()));
    let standing = finding.standing.as_ref();
    row.maybe(standing.map(|standing| standing.state.name()));
    let before_verdict = COLUMNS.iter().position(|name| *name == "verdict");
    for _ in 12..before_verdict.unwrap_or_default() {
        row.maybe(None::<u8>);
    }
    row.maybe(None::<u8>);
    row.maybe(None::<u8>);
    row.text(&told.sentence());
    row.owners(standing.and_then(|standing| standing.holding.as_ref()));
    row.plain(finding.code.token());
    row.plain(finding.severity.token());
    row.out.push_str("\r\n");
}

fn step_cells(row: &mut Row<'_>, step: &Step<'_>, shown: &Shown<'_>, about: &About) {
    let (old, new) = (step.left(), step.entered());
    let connection = shown.connection;
    let at = new.from.not_after();
    row.maybe(about.clock.utc(at));
    row.plain(at.nanos());
    row.maybe(new.from.not_before().map(Timestamp::nanos));
    row.plain(at.nanos());
    row.plain(new.certainty.token());
    row.plain(new.source.token());
    row.text(about.name_of(connection.scope().host));
    row.plain(connection.id());
    row.plain(step.side.token());
    row.plain(connection.endpoint(step.side));
    row.plain(connection.endpoint(step.side.other()));
    row.plain(old.state.name());
    row.plain(new.state.name());
    row.maybe(in_from(step));
    let why = &new.why;
    row.plain(why.cause.token());
    row.maybe(why.call.map(Call::token));
    row.maybe(why.reason.and_then(Reason::token));
    row.maybe(why.signal);
    row.maybe(why.by.map(|process| process.pid));
    row.text(&why.by.map_or_else(String::new, |by| by.comm.text()));
    row.maybe(new.descriptor.map(crate::model::Descriptor::token));
    let (unread, unacked) = shown.queued_at(step.side, new);
    let thrown_away = match why.reason {
        Some(Reason::UnreadData(bytes)) => Some(bytes),
        _ => None,
    };
    row.maybe(unread.or(thrown_away));
    row.maybe(unacked);
}

/// How long the state before was seen to last, as in the lines of JSON.
fn in_from(step: &Step<'_>) -> Option<u64> {
    let old = step.left();
    match (old.certainty, old.from) {
        (Certainty::Inferred, _) | (_, When::Before(_)) => None,
        (_, from) => Some(nanos_of(
            step.entered().from.not_after().since(from.not_after()),
        )),
    }
}

struct Row<'a> {
    out: &'a mut String,
    is_first: bool,
}

impl Row<'_> {
    fn next(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(',');
        }
    }

    /// A cell of ours: it needs no quotes.
    fn plain(&mut self, value: impl Display) {
        self.next();
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// Empty when it is not known.
    fn maybe(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.plain(value),
            None => self.next(),
        }
    }

    /// Two cells: pids, and names with their descriptors.
    fn owners(&mut self, set: Option<&Holding>) {
        let holders = set.map_or(&[][..], |set| &set.holders);
        let pids: Vec<String> = holders
            .iter()
            .map(|one| one.program.id.pid.to_string())
            .collect();
        self.text(&pids.join(" "));
        self.text(&owners::holders(holders.iter()));
    }

    /// A cell of text from anywhere.
    fn text(&mut self, text: &str) {
        self.next();
        let text = plain(text);
        let is_formula = text.starts_with(['=', '+', '-', '@']);
        let needs_quotes = text.contains([',', '"', '\r', '\n', ';']) || is_formula;
        let needs_quotes = needs_quotes || text.starts_with(' ') || text.ends_with(' ');
        if !needs_quotes {
            self.out.push_str(&text);
            return;
        }
        self.out.push('"');
        if is_formula {
            self.out.push('\'');
        }
        self.out.push_str(&text.replace('"', "\"\""));
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut out = String::new();
        let mut row = Row {
            out: &mut out,
            is_first: true,
        };
        row.text(text);
        out
    }

    #[test]
    fn cells_are_quoted_and_formulas_defused() {
        for (text, written) in [
            ("nginx", "nginx"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-x", "\"'-x\""),
            ("@SUM", "\"'@SUM\""),
            ("a\nb\u{1b}", "a\\u{a}b\\u{1b}"),
            ("", ""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
