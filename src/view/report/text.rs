//! A report for people, in as many columns as there are: what was recorded, numbers, then connection by
//! connection what each end passed.
//!
//! Only formats what it is given. The trap: columns are shared by what is of one width
//! and what is not; names and reasons flow into the lines below and stand apart by their indent.

mod brief;
mod found;
mod numbers;
mod paper;
mod recorded;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Came, Connection, Mark, MarkKind, Side, Span, Track, When};
use crate::view::cause::{self, certainty};
use crate::view::duration::{self, age};
use crate::view::owners;
use crate::view::palette::{ColorMode, painted};
use crate::view::plain::plain;
use crate::view::report::spent::spent;
use crate::view::report::{About, Shown, Summary};
use crate::view::standing::{facts, sentence};
use crate::view::wall;
use crate::view::{MULTIPATH, verdict};
use paper::{flow, flow_after};
use recorded::recorded;

pub(in crate::view) use paper::plural;
pub(in crate::view) use recorded::{blind_words, read_words};

/// Formats a report.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What it is about.
    pub about: &'a About,
    /// Whether states are coloured.
    pub color: ColorMode,
    /// Columns of a line.
    pub width: usize,
    /// A line a connection.
    pub brief: bool,
}

impl Text<'_> {
    /// What stands before the connections.
    pub fn head(&self, summary: &Summary) -> String {
        let mut out = String::new();
        let about = self.about;
        for (number, recording) in about.recordings.iter().enumerate() {
            let letter = (about.recordings.len() > 1).then_some(number);
            recorded(self.width, &mut out, letter, recording);
        }
        out.push_str(&self.period());
        for word in &about.clocks {
            flow(self.width, &mut out, "clocks: ", 0, &plain(&word.sentence));
        }
        out.push('\n');
        self.totals(&mut out, summary);
        self.findings(&mut out, summary);
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
                self.width,
                &mut out,
                "chosen: ",
                0,
                &format!("connections of {}", plain(&about.filter)),
            );
        }
        out
    }

    /// One connection.
    pub fn connection(&self, shown: &Shown<'_>) -> String {
        if self.brief {
            return self.one_line(shown);
        }
        let connection = shown.connection;
        let mut out = String::new();
        let [a, b] = Side::BOTH.map(|side| connection.endpoint(side));
        out.push_str(&format!("#{}  {a} -> {b}\n", connection.id()));
        flow(self.width, &mut out, "    ", 4, &self.life(shown));
        let ending = match (connection.closed(), verdict(connection)) {
            (None, _) => sentence(connection, shown.until),
            (Some(_), Some(verdict)) => {
                Some(format!("{}: {}", verdict.code.token(), verdict.sentence))
            }
            (Some(_), None) => Some(MULTIPATH.to_owned()),
        };
        if let Some(ending) = ending {
            flow(self.width, &mut out, "    ", 4, &ending);
        }
        self.found(&mut out, shown);
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
            // The state may have been dated back.
            Came::Found => format!(
                "found {}",
                clock.date_time_and_zone(shown.connection.opened())
            ),
        };
        let ended = match shown.ended() {
            Some(end) => format!("over after {}", lived(shown, end)),
            None => format!("not over after {}", lived(shown, When::At(shown.until))),
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
        let host = self.about.host_of(track);
        out.push_str(&format!("  {} {endpoint}{host}\n", side.letter()));
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
        lines.extend(owners::changes(connection, side).map(|(at, words)| (at, Line::Held(words))));
        lines.sort_by_key(|(at, _)| *at);
        let mut day = self.about.clock.day(shown.began().0.not_after());
        for line in joined(lines) {
            let today = self.about.clock.day(line.0);
            if today != day {
                out.push_str(&format!("    {}\n", today.as_deref().unwrap_or_default()));
                day = today;
            }
            self.line(out, line, shown);
        }
        let dropped = track.holdings_dropped();
        if dropped > 0 {
            let text = format!("{dropped} changes of holders behind the first not kept");
            flow(self.width, out, "    ", 4, &text);
        }
        let dropped = track.marks_dropped();
        if dropped > 0 {
            let text = format!("{dropped} older mark{} not kept", plural(dropped));
            flow(self.width, out, "    ", 4, &text);
        }
    }

    fn line(&self, out: &mut String, (at, line): (Timestamp, Line<'_>), shown: &Shown<'_>) {
        let time = self.about.clock.time_of_day(at);
        match line {
            Line::State(track, index) => self.state(out, &time, (track, index), shown),
            Line::Mark(mark) => {
                let head = format!("    {time}  ");
                flow(
                    self.width,
                    out,
                    &head,
                    INDENT,
                    &format!("{} {}", sign(mark), cause::mark_words(mark)),
                );
            }
            Line::Held(words) => {
                let head = format!("    {time}  ");
                flow(self.width, out, &head, INDENT, &format!("- {words}"));
            }
            Line::Again(mark, times, last) => {
                let head = format!("    {time}  ");
                let within = duration::brief(last.since(mark.at));
                let text = format!("! {}, {times} times in {within}", cause::mark_words(mark));
                flow(self.width, out, &head, INDENT, &text);
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
        flow_after(
            self.width,
            out,
            (&head, columns),
            INDENT + 32,
            &notes.join(", "),
        );
    }

    /// What stands behind the connections.
    pub fn tail(&self, summary: &Summary) -> String {
        let mut out = String::new();
        if self.brief {
            out.push('\n');
        }
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
                    format!(" on {}", recording.name())
                }
                _ => String::new(),
            };
            let head = format!("  {time}  {}{host}: ", loss.source);
            flow(
                self.width,
                &mut out,
                &head,
                6,
                &format!("{count}{}", plain(&loss.why)),
            );
        }
        if summary.losses.left_out > 0 {
            out.push_str(&format!("  and {} more\n", summary.losses.left_out));
        }
        out
    }
}

/// How long from its begin to `end`.
fn lived(shown: &Shown<'_>, end: When) -> String {
    let (began, came) = shown.began();
    let most = match came {
        Came::Born => began.not_before().map(|from| end.not_after().since(from)),
        Came::Found => None,
    };
    let least = end.not_before().unwrap_or(end.not_after());
    age(crate::timeline::Age {
        at_least: least.since(began.not_after()),
        at_most: most,
    })
}

/// A line of an end's way.
enum Line<'a> {
    State(&'a Track, usize),
    Mark(&'a Mark),
    /// Who held it from then on.
    Held(String),
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
        MarkKind::ResetSent(_)
        | MarkKind::ResetReceived
        | MarkKind::Retransmit
        | MarkKind::NoAnswer => "!",
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
    } else if connection.is_local() {
        "not seen"
    } else {
        "not seen here"
    }
}
