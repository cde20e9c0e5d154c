//! The numbers of a report: how connections ended, what was lost, how long ends were in each state.
//!
//! The trap: "nothing was lost" is true of what was looked at, and looks can't see everything.

use crate::model::TcpState;
use crate::timeline::{ConnId, Side};
use crate::view::duration;
use crate::view::palette::{ColorMode, painted};
use crate::view::report::spent::Sums;
use crate::view::report::text::Text;
use crate::view::report::text::paper::{flow, plural};
use crate::view::report::text::recorded::blind_words;
use crate::view::report::{Summary, Way};

impl Text<'_> {
    pub(super) fn totals(&self, out: &mut String, summary: &Summary) {
        let mut ways: Vec<String> = summary
            .closed()
            .map(|(code, count)| {
                let way = Way::Ended(code);
                let numbers = numbers(count, summary.numbers(way));
                format!("{count} {}{numbers}", code.token())
            })
            .collect();
        if summary.multipath > 0 {
            ways.push(format!("{} multipath", summary.multipath));
        }
        if summary.open > 0 {
            let numbers = numbers(summary.open, summary.numbers(Way::Open));
            ways.push(format!("{} still open{numbers}", summary.open));
        }
        let ways = if ways.is_empty() {
            String::new()
        } else {
            format!(": {}", ways.join(", "))
        };
        let seen = summary.seen;
        flow(
            self.width,
            out,
            "",
            2,
            &format!("{seen} connection{}{ways}", plural(seen)),
        );
        if summary.left_out > 0 {
            let count = summary.left_out;
            let text = format!("{count} connection{} left out", plural(count));
            flow(self.width, out, "", 0, &text);
        }
        if summary.dropped > 0 {
            let text = format!(
                "{} settled and dropped before the end to bound memory: what came after is not known",
                summary.dropped
            );
            flow(self.width, out, "", 0, &text);
        }
        if summary.young > 0 {
            let count = match summary.young {
                1 => "1 end was".to_owned(),
                count => format!("{count} ends were"),
            };
            let text = format!(
                "{count} in CLOSE_WAIT in the end for less than {}: too young for a finding (--older-than)",
                duration::brief(summary.older_than)
            );
            flow(self.width, out, "", 0, &text);
        }
        let totals = &summary.totals;
        let losses = totals.losses;
        let lost = if losses == 0 {
            match blind_words(&self.about.recordings) {
                Some(blind) => format!("nothing was lost, but {blind}"),
                None => "nothing was lost".to_owned(),
            }
        } else {
            let times = if losses == 1 { "once" } else { "times" };
            let number = if losses == 1 {
                String::new()
            } else {
                format!("{losses} ")
            };
            let counted = match totals.lost {
                0 => String::new(),
                1 => " (1 row or event)".to_owned(),
                lost => format!(" ({lost} rows or events that could be counted)"),
            };
            format!("something was lost {number}{times}{counted}: see LOSSES")
        };
        flow(self.width, out, "", 0, &lost);
        if totals.unseen > 0 {
            let text = format!(
                "{} socket{} lived and died unseen between two looks",
                totals.unseen,
                plural(totals.unseen)
            );
            flow(self.width, out, "", 0, &text);
        }
        out.push('\n');
    }

    /// The table of time in state, of each role.
    pub(super) fn times(&self, out: &mut String, summary: &Summary) {
        if Side::BOTH
            .iter()
            .all(|side| summary.states.of(*side).next().is_none())
        {
            return;
        }
        out.push_str("TIME IN EACH STATE\n");
        if let Some(from) = self.about.window.from.filter(|_| summary.clipped) {
            let text = format!(
                "Counted from {} on: what was before is cut off.",
                self.about.clock.date_time_and_zone(from)
            );
            flow(self.width, out, "  ", 2, &text);
        }
        let mut goes_on = false;
        for side in Side::BOTH {
            let rows: Vec<(TcpState, &Sums)> = summary.states.of(side).collect();
            if rows.is_empty() {
                continue;
            }
            goes_on |= rows.iter().any(|(_, sums)| sums.going_on > 0);
            let role = match side {
                Side::A => "A, which opened",
                Side::B => "B, which was opened to",
            };
            out.push_str(&format!("  {role}\n"));
            table(out, &rows, self.color);
        }
        if goes_on {
            let text = "* some of them still went on: they count up to where they were last known.";
            flow(self.width, out, "  ", 2, text);
        }
        out.push('\n');
    }
}

/// ` (#2 #5)`: which, as far as they are told.
pub(super) fn numbers(count: u64, first: &[ConnId]) -> String {
    if first.is_empty() {
        return String::new();
    }
    let told: Vec<String> = first.iter().map(|number| format!("#{number}")).collect();
    let more = count.saturating_sub(first.len() as u64);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(" ({}{more})", told.join(" "))
}

fn table(out: &mut String, rows: &[(TcpState, &Sums)], color: ColorMode) {
    let titles = ["TIMES", "TOTAL", "SHORTEST", "MEAN", "LONGEST"].map(str::to_owned);
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|(_, sums)| {
            let star = if sums.going_on > 0 { "*" } else { "" };
            [
                format!("{}{star}", sums.count),
                duration::cell(sums.total),
                duration::cell(sums.shortest),
                duration::cell(sums.mean()),
                duration::cell(sums.longest),
            ]
        })
        .collect();
    let mut widths = titles.each_ref().map(|title| title.chars().count());
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |state: String, columns: usize, row: &[String; 5]| {
        let mut line = format!("    {state}{}", " ".repeat(11 - columns));
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("  {cell:>width$}"));
        }
        line.push('\n');
        line
    };
    out.push_str(&line("STATE".to_owned(), 5, &titles));
    for ((state, _), row) in rows.iter().zip(&cells) {
        out.push_str(&line(painted(*state, color), state.name().len(), row));
    }
}
