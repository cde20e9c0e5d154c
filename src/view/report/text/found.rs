//! What was found, for people: by code, worst first, with the sentences of the first few; and what
//! was found of one connection.
//!
//! The trap: one cause makes a thousand findings alike, so a code tells a few and counts the rest.

use crate::diagnosis::finding::{Code, Finding};
use crate::view::plain::plain;
use crate::view::report::findings::{Count, Told, of_shown};
use crate::view::report::summary::NUMBERS;
use crate::view::report::text::Text;
use crate::view::report::text::numbers::numbers;
use crate::view::report::text::paper::flow;
use crate::view::report::{Shown, Summary};

/// So many of one code are told in full.
const TOLD: usize = 3;

impl Text<'_> {
    /// The section of all that was found; nothing when that is nothing.
    pub(super) fn findings(&self, out: &mut String, summary: &Summary) {
        let codes = summary.findings.codes();
        if codes.is_empty() {
            return;
        }
        out.push_str("FINDINGS\n");
        for (code, count) in codes {
            self.of_code(out, summary, code, count);
        }
        if summary.findings.left_out > 0 {
            let text = format!("{} more are counted only", summary.findings.left_out);
            flow(self.width, out, "  ", 2, &text);
        }
        out.push('\n');
    }

    fn of_code(&self, out: &mut String, summary: &Summary, code: Code, count: Count) {
        let mut conns: Vec<_> = summary
            .findings
            .of(code)
            .filter_map(|told| Some(told.finding.subject.end()?.0))
            .collect();
        conns.sort_unstable();
        conns.dedup();
        let connections = conns.len() as u64;
        conns.truncate(NUMBERS);
        let over = match count.found - count.holding {
            0 => String::new(),
            over if over == count.found => ", over by the end".to_owned(),
            over => format!(", {over} of them over by the end"),
        };
        let severity = count.worst.map_or("", |worst| worst.token());
        let head = format!("  {severity:<5} {}: ", code.token());
        let text = format!("{}{}{over}", count.found, numbers(connections, &conns));
        flow(self.width, out, &head, 8, &text);
        for told in summary.findings.of(code).take(TOLD) {
            flow(self.width, out, "        ", 10, &plain(&told.sentence()));
        }
        if let Some(told) = summary.findings.of(code).next() {
            let advice = format!("advice: {}", told.finding.advice);
            flow(self.width, out, "        ", 10, &plain(&advice));
        }
    }

    /// What was found of a connection, each with what it rests on.
    pub(super) fn found(&self, out: &mut String, shown: &Shown<'_>) {
        for told in of_shown(shown) {
            let finding = &told.finding;
            let head = format!(
                "    {} {}: ",
                finding.severity.token(),
                finding.code.token()
            );
            let text = format!(
                "{}{}{}",
                told.sentence(),
                evidence(finding),
                self.lasting(&told)
            );
            flow(self.width, out, &head, 6, &plain(&text));
        }
    }

    /// From when to when it held; of a fact, when it was.
    fn lasting(&self, told: &Told) -> String {
        let clock = &self.about.clock;
        let time = |at| clock.time_of_day(at).trim_start().to_owned();
        let at = time(told.finding.at);
        match told.finding.over {
            _ if told.finding.code.is_fact() => format!(" ({at})"),
            Some(over) => format!(" (found {at}, over {})", time(over)),
            None => format!(" (found {at}, and still so)"),
        }
    }
}

fn evidence(finding: &Finding) -> String {
    match finding.evidence.join("; ") {
        none if none.is_empty() => String::new(),
        evidence => format!("; {evidence}"),
    }
}

/// ` ! warn close-wait-leaked`, the worst of it and how many more; nothing when nothing was found.
pub(super) fn mark(shown: &Shown<'_>) -> String {
    let worst = shown
        .findings
        .iter()
        .max_by_key(|finding| (finding.severity, std::cmp::Reverse(finding.number)));
    let Some(worst) = worst else {
        return String::new();
    };
    let more = match shown.findings.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "  ! {} {}{more}",
        worst.severity.token(),
        worst.code.token()
    )
}
