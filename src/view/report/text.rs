//! A report for people, in a hundred columns: what was recorded, numbers, then connection by
//! connection what each end passed.
//!
//! Only formats what it is given. The trap: a hundred columns are shared by what is of one width
//! and what is not; names and reasons flow into the lines below and stand apart by their indent.

mod paper;
mod recorded;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Came, Connection, Mark, MarkKind, Side, Span, Track, When};
use crate::view::cause::{self, certainty};
use crate::view::duration::{self, age};
use crate::view::palette::{ColorMode, painted};
use crate::view::plain::plain;
use crate::view::report::spent::{Sums, spent};
use crate::view::report::{About, Shown, Summary};
use crate::view::standing::{facts, sentence};
use crate::view::wall;
use crate::view::{MULTIPATH, verdict};
use paper::{flow, flow_after};
use recorded::recorded;

pub(in crate::view) use paper::plural;
pub(in crate::view) use recorded::read_words;

/// Formats a report.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What it is about.
    pub about: &'a About,
    /// Whether states are coloured.
    pub color: ColorMode,
}

impl Text<'_> {
    /// What stands before the connections.
    pub fn head(&self, summary: &Summary) -> String {
        let mut out = String::new();
        let about = self.about;
        for (number, recording) in about.recordings.iter().enumerate() {
            let letter = (about.recordings.len() > 1).then_some(number);
            recorded(&mut out, letter, recording);
        }
        out.push_str(&self.period());
        for word in &about.clocks {
            flow(&mut out, "clocks: ", 0, &plain(&word.sentence));
        }
        out.push('\n');
        self.totals(&mut out, summary);
        self.times(&mut out, summary);
        out
    }

    fn period(&self) -> String {
        let (about, clock) = (self.about, &self.about.clock);
        let mut out = String::new();
        let line = |name: &str, from: Timestamp, to: Timestamp| {
            let (begin, end) = (clock.date_time_and_zone(from), clock.date_time_and_zone(to));
            let long = duration::brief(to.since(from));
            format!("{name}{begin} to {end} ({long})\n")
        };
        if about.window.from.is_some() {
            out += &line("shown: ", about.begin(), about.last);
        } else if about.window.to.is_some() {
            out += &line("shown: ", about.first, about.last);
        } else {
            out += &line("recorded: ", about.first, about.last);
        }
        if !about.filter.is_empty() {
            flow(
                &mut out,
                "chosen: ",
                0,
                &format!("connections of {}", plain(&about.filter)),
            );
        }
        out
    }

    fn totals(&self, out: &mut String, summary: &Summary) {
        let mut ways: Vec<String> = summary
            .closed()
            .map(|(code, count)| format!("{count} {}", code.token()))
            .collect();
        if summary.multipath > 0 {
            ways.push(format!("{} multipath", summary.multipath));
        }
        if summary.open > 0 {
            ways.push(format!("{} still open", summary.open));
        }
        let ways = if ways.is_empty() {
            String::new()
        } else {
            format!(": {}", ways.join(", "))
        };
        let seen = summary.seen;
        flow(
            out,
            "",
            0,
            &format!("{seen} connection{}{ways}", plural(seen)),
        );
        if summary.left_out > 0 {
            let count = summary.left_out;
            let text = format!("{count} connection{} left out", plural(count));
            flow(out, "", 0, &text);
        }
        if summary.dropped > 0 {
            let text = format!(
                "{} settled and dropped before the end to bound memory: what came after is not known",
                summary.dropped
            );
            flow(out, "", 0, &text);
        }
        let totals = &summary.totals;
        let losses = totals.losses;
        let lost = if losses == 0 {
            "nothing was lost".to_owned()
        } else {
            let times = if losses == 1 { "once" } else { "times" };
            let number = if losses == 1 {
                String::new()
            } else {
                format!("{losses} ")
            };
            format!(
                "something was lost {number}{times} ({} rows or events that could be counted): see LOSSES",
                totals.lost
            )
        };
        flow(out, "", 0, &lost);
        if totals.unseen > 0 {
            let text = format!(
                "{} socket{} lived and died unseen between two looks",
                totals.unseen,
                plural(totals.unseen)
            );
            flow(out, "", 0, &text);
        }
        out.push('\n');
    }

    /// The table of time in state, of each role.
    fn times(&self, out: &mut String, summary: &Summary) {
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
            flow(out, "  ", 2, &text);
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
            flow(out, "  ", 2, text);
        }
        out.push('\n');
    }

    /// One connection.
    pub fn connection(&self, shown: &Shown<'_>) -> String {
        let connection = shown.connection;
        let mut out = String::new();
        let [a, b] = Side::BOTH.map(|side| connection.endpoint(side));
        out.push_str(&format!("#{}  {a} -> {b}\n", connection.id()));
        flow(&mut out, "    ", 4, &self.life(shown));
        let ending = match (connection.closed(), verdict(connection)) {
            (None, _) => sentence(connection, shown.until),
            (Some(_), Some(verdict)) => {
                Some(format!("{}: {}", verdict.code.token(), verdict.sentence))
            }
            (Some(_), None) => Some(MULTIPATH.to_owned()),
        };
        if let Some(ending) = ending {
            flow(&mut out, "    ", 4, &ending);
        }
        for side in Side::BOTH {
            self.end(&mut out, side, shown);
        }
        out.push('\n');
        out
    }

    fn life(&self, shown: &Shown<'_>) -> String {
        let (began, came) = shown.began();
        let clock = &self.about.clock;
        let opened = match came {
            Came::Born => format!("opened {}", clock.date_time_and_zone(began.not_after())),
            Came::Found => format!("found {}", clock.date_time_and_zone(began.not_after())),
        };
        let lived = |end: When| {
            let least = end
                .not_before()
                .unwrap_or(end.not_after())
                .since(began.not_after());
            let most = match came {
                Came::Born => began.not_before().map(|from| end.not_after().since(from)),
                Came::Found => None,
            };
            age(crate::timeline::Age {
                at_least: least,
                at_most: most,
            })
        };
        let ended = match shown.ended() {
            Some(end) => format!("over after {}", lived(end)),
            None => format!("not over after {}", lived(When::At(shown.until))),
        };
        let dropped = if shown.dropped {
            "; dropped then to bound memory: its end is not reported"
        } else {
            ""
        };
        format!("{opened}, {ended}{dropped}")
    }

    fn end(&self, out: &mut String, side: Side, shown: &Shown<'_>) {
        let connection = shown.connection;
        let Some(track) = connection.end(side) else {
            out.push_str(&format!(
                "  {} {}  {}\n",
                side.letter(),
                connection.endpoint(side),
                unseen(connection, side)
            ));
            return;
        };
        let endpoint = connection.endpoint(side);
        out.push_str(&format!("  {} {endpoint}\n", side.letter()));
        let mut lines: Vec<(Timestamp, Line<'_>)> = (0..track.spans().len())
            .filter(|&index| index > 0 || track.spans()[0].state != TcpState::Close)
            .map(|index| {
                (
                    track.spans()[index].from.not_after(),
                    Line::State(track, index),
                )
            })
            .collect();
        lines.extend(track.marks().iter().map(|mark| (mark.at, Line::Mark(mark))));
        lines.sort_by_key(|(at, _)| *at);
        for line in joined(lines) {
            self.line(out, line, shown);
        }
        let dropped = track.marks_dropped();
        if dropped > 0 {
            let text = format!("{dropped} older mark{} not kept", plural(dropped));
            flow(out, "    ", 4, &text);
        }
    }

    fn line(&self, out: &mut String, (at, line): (Timestamp, Line<'_>), shown: &Shown<'_>) {
        let time = self.about.clock.time_of_day(at);
        match line {
            Line::State(track, index) => self.state(out, &time, (track, index), shown),
            Line::Mark(mark) => {
                let head = format!("    {time}  ");
                flow(
                    out,
                    &head,
                    INDENT,
                    &format!("{} {}", sign(mark), cause::mark_words(mark)),
                );
            }
            Line::Again(mark, times, last) => {
                let head = format!("    {time}  ");
                let within = duration::brief(last.since(mark.at));
                let text = format!("! {}, {times} times in {within}", cause::mark_words(mark));
                flow(out, &head, INDENT, &text);
            }
        }
    }

    fn state(
        &self,
        out: &mut String,
        time: &str,
        (track, index): (&Track, usize),
        shown: &Shown<'_>,
    ) {
        let span = &track.spans()[index];
        let before = index.checked_sub(1).map(|index| track.spans()[index].state);
        let mut notes = vec![certainty(span.certainty, span.from)];
        let step = cause::Step {
            from: before,
            to: span.state,
        };
        notes.extend(cause::words(&span.why, step));
        notes.extend(queued_words(
            span,
            shown.queued_at(side_of(track, shown), span),
        ));
        if index + 1 == track.spans().len() && connection_is_open(shown) {
            let said = notes.join(", ");
            let mut facts = facts(track);
            facts.retain(|fact| !said.contains(fact.as_str()));
            if !facts.is_empty() {
                notes.push(format!("last seen: {}", facts.join(", ")));
            }
        }
        let lasted = match spent(track, index, shown.from, shown.until) {
            Some(spent) => {
                let words = duration::cell(spent.age);
                if spent.goes_on && !shown.dropped {
                    format!("{words}, and on")
                } else if spent.goes_on {
                    format!("{words} or more")
                } else {
                    words
                }
            }
            None if span.state == TcpState::Close => String::new(),
            None => "before that".to_owned(),
        };
        let padding = " ".repeat(13_usize.saturating_sub(span.state.name().len()));
        let head = format!(
            "    {time}  {}{padding}{lasted:<17}  ",
            painted(span.state, self.color)
        );
        // Escapes take no columns.
        let columns = 4 + wall::WIDTH + 2 + 13 + lasted.chars().count().max(17) + 2;
        flow_after(out, &head, columns, INDENT + 32, &notes.join(", "));
    }

    /// What stands behind the connections.
    pub fn tail(&self, summary: &Summary) -> String {
        let mut out = String::new();
        let losses = summary.losses.told();
        if losses.is_empty() {
            return out;
        }
        out.push_str("LOSSES\n");
        for loss in losses {
            let time = self.about.clock.date_time_and_zone(loss.at);
            let count = loss.count.map_or_else(String::new, |n| format!("{n}: "));
            let host = match self.about.recordings.get(usize::from(loss.host)) {
                Some(recording) if self.about.recordings.len() > 1 => {
                    format!(" on {}", plain(&recording.host))
                }
                _ => String::new(),
            };
            let head = format!("  {time}  {}{host}: ", loss.source);
            flow(&mut out, &head, 6, &format!("{count}{}", plain(&loss.why)));
        }
        if summary.losses.left_out > 0 {
            out.push_str(&format!("  and {} more\n", summary.losses.left_out));
        }
        out
    }
}

/// A line of an end's way.
enum Line<'a> {
    State(&'a Track, usize),
    Mark(&'a Mark),
    /// A segment sent again and again, and when for the last time.
    Again(&'a Mark, usize, Timestamp),
}

/// Segments sent again with nothing in between become one line.
fn joined(lines: Vec<(Timestamp, Line<'_>)>) -> Vec<(Timestamp, Line<'_>)> {
    let is_again = |mark: &Mark| mark.kind == MarkKind::Retransmit;
    let mut joined: Vec<(Timestamp, Line<'_>)> = Vec::with_capacity(lines.len());
    for (at, line) in lines {
        if let Line::Mark(mark) = line
            && is_again(mark)
            && let Some((_, before)) = joined.last_mut()
        {
            match before {
                Line::Again(_, times, last) => {
                    *times += 1;
                    *last = at;
                    continue;
                }
                Line::Mark(first) if is_again(first) => {
                    *before = Line::Again(first, 2, at);
                    continue;
                }
                _ => {}
            }
        }
        joined.push((at, line));
    }
    joined
}

/// Where what belongs to a line goes on.
const INDENT: usize = 4 + wall::WIDTH + 2;

const fn sign(mark: &Mark) -> &'static str {
    match mark.kind {
        MarkKind::ResetSent(_) | MarkKind::ResetReceived | MarkKind::Retransmit => "!",
        MarkKind::Freed | MarkKind::CloseCall => "-",
    }
}

/// Whether how it stands is of interest.
const fn connection_is_open(shown: &Shown<'_>) -> bool {
    shown.connection.closed().is_none()
}

fn side_of(track: &Track, shown: &Shown<'_>) -> Side {
    let is_a = shown
        .connection
        .end(Side::A)
        .is_some_and(|a| std::ptr::eq(a, track));
    if is_a { Side::A } else { Side::B }
}

fn queued_words(span: &Span, (unread, unacked): (Option<u32>, Option<u32>)) -> Option<String> {
    let said = matches!(
        span.why.reason,
        Some(crate::timeline::Reason::UnreadData(_))
    );
    let parts: Vec<String> = [
        (unread.filter(|_| !said), "unread"),
        (unacked, "unacknowledged"),
    ]
    .into_iter()
    .filter_map(|(count, word)| {
        let count = count.filter(|&count| count > 0)?;
        Some(format!("{count} byte{} {word}", plural(count.into())))
    })
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn unseen(connection: &Connection, side: Side) -> &'static str {
    if connection.endpoint(side) == connection.endpoint(side.other()) {
        "itself"
    } else if crate::view::is_local(connection) {
        "not seen"
    } else {
        "not seen here"
    }
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
