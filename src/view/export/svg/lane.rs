//! One connection in the picture: its addresses and verdict, two lanes over one axis, and all of
//! it in words.
//!
//! A state's bar reaches from the moment it was seen to the last at which it is known to have held;
//! the change to the next lies in the hatched part between. The trap: several states that fall
//! between the same two looks have no place of their own, so they share that part, in their order,
//! dashed.

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Mark, Side, Track};
use crate::view::cause;
use crate::view::duration;
use crate::view::export::svg::Used;
use crate::view::export::svg::axis::Axis;
use crate::view::export::svg::draw::{Draw, WIDTH};
use crate::view::export::svg::scale::{grid, labels};
use crate::view::export::svg::style::{class, wrapped};
use crate::view::export::{holder, is_fuzzy, is_inferred, sureness};
use crate::view::owners;
use crate::view::report::findings::{Told, end_of, of_shown};
use crate::view::report::spent::spent;
use crate::view::report::{About, Shown};
use crate::view::standing::{facts, sentence};
use crate::view::{MULTIPATH, verdict};

const LEFT: f64 = 52.0;
const PLOT: f64 = WIDTH - LEFT - 44.0;
const BAR: f64 = 26.0;
/// Pixels of a letter of a bar's name.
pub(super) const LETTER: f64 = 6.7;
/// Rows of words below a lane.
const ROWS: usize = 40;

/// Draws a connection; gives its height.
pub(super) fn card(shown: &Shown<'_>, about: &About, used: &mut Used) -> (String, f64) {
    let connection = shown.connection;
    let mut draw = Draw::default();
    let [a, b] = Side::BOTH.map(|side| connection.endpoint(side));
    let mut y = 22.0;
    draw.text(
        28.0,
        y,
        "b",
        &format!("#{}  {a} \u{2192} {b}", connection.id()),
    );
    for part in wrapped(&ending(shown), 155) {
        y += 17.0;
        draw.text(28.0, y, "", &part);
    }
    y += 26.0;
    let axis = axis(shown);
    let top = y;
    let bottom = top + 2.0 * BAR + 34.0;
    grid(&mut draw, &axis, top, bottom);
    for side in Side::BOTH {
        let lane = Lane {
            shown,
            about,
            axis: &axis,
            side,
            y: top + f64::from(side as u8) * (BAR + 30.0),
        };
        lane.draw(&mut draw, used);
    }
    for piece in axis.pieces.iter().filter(|piece| piece.broken) {
        used.broken = true;
        draw.zigzag(piece.x + piece.width / 2.0, top - 6.0, bottom - top + 6.0);
    }
    y = labels(&mut draw, &axis, bottom + 4.0, about);
    let rows = Side::BOTH.map(|side| words(&mut draw, side, y + 18.0, shown, about));
    y += 18.0 + rows[0].max(rows[1]);
    let mut out = Draw::default();
    out.rect("card", 12.0, 0.0, WIDTH - 24.0, y, "");
    out.out.push_str(&draw.out);
    (out.out, y)
}

fn ending(shown: &Shown<'_>) -> String {
    let connection = shown.connection;
    if let Some(sentence) = sentence(connection, shown.until) {
        return sentence;
    }
    verdict(connection).map_or_else(
        || MULTIPATH.to_owned(),
        |verdict| format!("{}: {}", verdict.code.token(), verdict.sentence),
    )
}

/// The axis that has room for all that happens.
fn axis(shown: &Shown<'_>) -> Axis {
    let from = shown.from.unwrap_or_default();
    let clip = |at: Timestamp| at.max(from).min(shown.until.max(from)).nanos();
    let mut moments = Vec::new();
    // Where states share a part between two looks, and how many.
    let mut shared: Vec<(u64, u64, f64)> = Vec::new();
    for (_, track) in shown.connection.visible() {
        let spans = track.spans();
        let born = usize::from(spans.len() > 1 && spans[0].state == TcpState::Close);
        for (index, span) in spans.iter().enumerate().skip(born) {
            let (low, high) = bounds(track, index);
            moments.extend([clip(low), clip(high)]);
            if is_inferred(span) && low < high {
                shared.push((
                    clip(low),
                    clip(high),
                    span.state.name().len() as f64 * LETTER + 10.0,
                ));
            }
        }
        if track.state() != TcpState::Close {
            moments.push(clip(shown.until));
        }
        moments.extend(track.marks().iter().map(|mark| clip(mark.at)));
    }
    moments.extend(shown.findings.iter().map(|finding| clip(finding.at)));
    Axis::new(moments, LEFT, PLOT, |low, high| {
        let names: f64 = shared
            .iter()
            .filter(|(begin, end, _)| (*begin, *end) == (low, high))
            .map(|(.., pixels)| *pixels)
            .sum();
        (names / 2.0).max(12.0)
    })
}

/// When a state was entered, at the earliest and at the latest; never before the one before it.
fn bounds(track: &Track, index: usize) -> (Timestamp, Timestamp) {
    let span = &track.spans()[index];
    let high = span.from.not_after();
    let low = span.from.not_before().unwrap_or(high);
    let floor = index
        .checked_sub(1)
        .map_or(low, |before| match &track.spans()[before] {
            // Those that share their bounds share all of the part between.
            old if old.from == span.from => low,
            old => old.from.not_after(),
        });
    (low.max(floor).min(high), high)
}

struct Lane<'a> {
    shown: &'a Shown<'a>,
    about: &'a About,
    axis: &'a Axis,
    side: Side,
    y: f64,
}

impl Lane<'_> {
    fn draw(&self, draw: &mut Draw, used: &mut Used) {
        let connection = self.shown.connection;
        let held = connection.end(self.side).and_then(holder);
        let title = held.unwrap_or_default();
        draw.rect("lane", LEFT - 12.0, self.y, PLOT + 24.0, BAR, &title);
        let middle = self.y + BAR / 2.0 + 5.0;
        draw.text(24.0, middle, "b", self.side.letter());
        let Some(track) = connection.end(self.side) else {
            let words = if connection.endpoint(self.side) == connection.endpoint(self.side.other())
            {
                "itself"
            } else if connection.is_local() {
                "not seen"
            } else {
                "not seen here: another host, another namespace, or gone before"
            };
            draw.text(LEFT, middle, "q", words);
            return;
        };
        self.bars(draw, track, used);
        for mark in track.marks() {
            self.mark(draw, mark, used);
        }
        for told in of_shown(self.shown) {
            if end_of(&told.finding, self.shown) == Some(self.side) {
                self.found(draw, &told, used);
            }
        }
    }

    fn found(&self, draw: &mut Draw, told: &Told, used: &mut Used) {
        let finding = &told.finding;
        if self.is_before(finding.over.unwrap_or(self.shown.until)) {
            return;
        }
        used.found = true;
        let time = self.about.clock.date_time_and_zone(finding.at);
        let title = format!("{}\n{time}\n{}", found_words(told), finding.advice);
        draw.found(self.x(finding.at), self.y - 7.0, &title);
    }

    fn bars(&self, draw: &mut Draw, track: &Track, used: &mut Used) {
        let spans = track.spans();
        let mut index = usize::from(spans.len() > 1 && spans[0].state == TcpState::Close);
        while index < spans.len() {
            // States that share their bounds, of which all but the last are inferred.
            let group = spans[index..]
                .iter()
                .take_while(|span| span.from == spans[index].from)
                .count();
            if group > 1 && is_fuzzy(&spans[index]) {
                self.shared(draw, track, index..index + group - 1, used);
                index += group - 1;
            } else if is_fuzzy(&spans[index]) && index > 0 {
                self.edge(draw, track, index, used);
            }
            self.bar(draw, track, index, used);
            index += 1;
        }
    }

    /// Where a moment is, within the window.
    fn x(&self, at: Timestamp) -> f64 {
        let from = self.shown.from.unwrap_or_default();
        self.axis.x(at.max(from).nanos())
    }

    fn is_before(&self, at: Timestamp) -> bool {
        self.shown.from.is_some_and(|from| at < from)
    }

    /// The states in `range`, each in its part of what they share.
    fn shared(
        &self,
        draw: &mut Draw,
        track: &Track,
        range: std::ops::Range<usize>,
        used: &mut Used,
    ) {
        let (low, high) = bounds(track, range.start);
        if self.is_before(high) {
            return;
        }
        let (x1, x2) = (self.x(low), self.x(high));
        let width = (x2 - x1) / range.len() as f64;
        let mut x = x1;
        for index in range {
            let state = track.spans()[index].state;
            used.states = used.states.with(state);
            used.inferred = true;
            let title = self.title(track, index);
            let class = format!("inf {}", class(state));
            draw.rect(&class, x, self.y, width.max(3.0), BAR, &title);
            self.name(draw, state.name(), index, track, (x, x + width));
            x += width;
        }
    }

    /// The part in which one state became the other.
    fn edge(&self, draw: &mut Draw, track: &Track, index: usize, used: &mut Used) {
        let (low, high) = bounds(track, index);
        if low == high || self.is_before(high) {
            return;
        }
        let (old, new) = (track.spans()[index - 1].state, track.spans()[index].state);
        let title = format!(
            "{} -> {}: somewhere in {}",
            old.name(),
            new.name(),
            duration::at_most(high.since(low))
        );
        used.fuzzy = true;
        draw.fuzzy(
            class(old),
            class(new),
            (self.x(low), self.x(high)),
            (self.y, BAR),
            &title,
        );
    }

    fn bar(&self, draw: &mut Draw, track: &Track, index: usize, used: &mut Used) {
        let span = &track.spans()[index];
        let begin = span.from.not_after();
        let is_last = index + 1 == track.spans().len();
        let end = if is_last {
            self.shown.until.max(begin)
        } else {
            bounds(track, index + 1).0.max(begin)
        };
        let title = self.title(track, index);
        if span.state == TcpState::Close {
            if !self.is_before(begin) {
                used.ends = true;
                draw.end_cap(self.x(begin), self.y - 2.0, BAR + 4.0, &title);
            }
            return;
        }
        if !is_last && self.is_before(end) {
            return;
        }
        used.states = used.states.with(span.state);
        let colour = class(span.state);
        let (x1, x2) = (self.x(begin), self.x(end));
        if index == 0 || self.is_before(begin) {
            used.earlier = true;
            draw.earlier(colour, x1, self.y, BAR);
        }
        let look = if is_inferred(span) { "inf" } else { "bar" };
        used.inferred |= is_inferred(span);
        let width = (x2 - x1).max(2.5);
        draw.rect(&format!("{look} {colour}"), x1, self.y, width, BAR, &title);
        self.name(draw, span.state.name(), index, track, (x1, x1 + width));
        if is_last {
            used.goes_on = true;
            draw.goes_on(colour, x1 + width, self.y, BAR);
        }
    }

    /// The name where it fits, else the number under which the words below have it. Not over a
    /// place where time is left out.
    fn name(&self, draw: &mut Draw, name: &str, index: usize, track: &Track, (x1, x2): (f64, f64)) {
        let number = number_of(track, index).to_string();
        // The parts of the bar between the signs of time left out.
        let mut parts = vec![x1];
        for piece in self.axis.pieces.iter().filter(|piece| piece.broken) {
            let middle = piece.x + piece.width / 2.0;
            if x1 < middle - 8.0 && middle + 8.0 < x2 {
                parts.extend([middle - 8.0, middle + 8.0]);
            } else if x1 < middle && middle < x2 {
                return;
            }
        }
        parts.push(x2);
        let widest = parts
            .chunks(2)
            .filter_map(|part| Some((*part.first()?, *part.get(1)?)))
            .max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
        let Some((from, to)) = widest else { return };
        let long = format!("{number} {name}");
        let fits = |text: &str| text.len() as f64 * LETTER + 6.0 <= to - from;
        let text = [long.as_str(), name, number.as_str()]
            .into_iter()
            .find(|text| fits(text));
        if let Some(text) = text {
            draw.anchored(
                f64::midpoint(from, to),
                self.y + BAR / 2.0 + 4.0,
                "l",
                "middle",
                text,
            );
        }
    }

    fn title(&self, track: &Track, index: usize) -> String {
        let span = &track.spans()[index];
        let lasted = spent(track, index, self.shown.from, self.shown.until);
        let lasted = lasted.map_or_else(String::new, |spent| {
            let on = if spent.goes_on { ", and on" } else { "" };
            format!(", {}{on}", duration::age(spent.age))
        });
        let time = self.about.clock.date_time_and_zone(span.from.not_after());
        format!(
            "{} {}{lasted}\nfrom {time}: {}",
            self.side.letter(),
            span.state.name(),
            notes(track, index)
        )
    }

    fn mark(&self, draw: &mut Draw, mark: &Mark, used: &mut Used) {
        if self.is_before(mark.at) {
            return;
        }
        used.mark(mark.kind);
        let time = self.about.clock.date_time_and_zone(mark.at);
        let title = format!("{}\n{time}", cause::mark_words(mark));
        draw.mark(mark.kind, self.x(mark.at), self.y - 7.0, &title);
    }
}

/// Under which number a state stands in the words: CLOSE before a birth has none.
fn number_of(track: &Track, index: usize) -> usize {
    let spans = track.spans();
    let born = spans.len() > 1 && spans[0].state == TcpState::Close;
    index + usize::from(!born)
}

/// `warn close-wait-leaked: B 127.0.0.1:80 ...`
fn found_words(told: &Told) -> String {
    let finding = &told.finding;
    let (severity, code) = (finding.severity.token(), finding.code.token());
    format!("{severity} {code}: {}", told.sentence())
}

/// How surely, and why.
fn notes(track: &Track, index: usize) -> String {
    let span = &track.spans()[index];
    let before = index.checked_sub(1).map(|index| track.spans()[index].state);
    let step = cause::Step {
        from: before,
        to: span.state,
    };
    let why = cause::words(&span.why, step).map_or_else(String::new, |why| format!(", {why}"));
    format!("{}{why}", sureness(span))
}

/// All that the lane shows, in words; gives its height.
fn words(draw: &mut Draw, side: Side, y: f64, shown: &Shown<'_>, about: &About) -> f64 {
    const COLUMN: f64 = (WIDTH - 56.0) / 2.0;
    const LETTERS: usize = 82;
    let connection = shown.connection;
    let x = 28.0 + f64::from(side as u8) * COLUMN;
    let mut down = y;
    let host = connection.end(side);
    let host = host.map_or_else(String::new, |track| about.host_of(track));
    let head = format!("{}  {}{host}", side.letter(), connection.endpoint(side));
    draw.text(x, down, "m", &head);
    let Some(track) = connection.end(side) else {
        return 24.0;
    };
    let mut rows: Vec<(Timestamp, String)> = Vec::new();
    for (index, span) in track.spans().iter().enumerate() {
        let number = number_of(track, index);
        if number == 0 {
            continue;
        }
        let lasted = spent(track, index, shown.from, shown.until);
        if lasted.is_none() && span.state != TcpState::Close {
            continue;
        }
        let lasted = lasted.map_or_else(String::new, |spent| {
            let on = if spent.goes_on { " and on" } else { "" };
            format!(" {}{on}", duration::cell(spent.age))
        });
        let is_last = index + 1 == track.spans().len() && connection.closed().is_none();
        let facts = if is_last { facts(track) } else { Vec::new() };
        let seen = if facts.is_empty() {
            ""
        } else {
            ", last seen: "
        };
        let text = format!(
            "{number} {}{lasted}: {}{seen}{}",
            span.state.name(),
            notes(track, index),
            facts.join(", ")
        );
        rows.push((span.from.not_after(), text));
    }
    let marks = track.marks().iter();
    rows.extend(marks.map(|mark| (mark.at, format!("! {}", cause::mark_words(mark)))));
    let held = owners::changes(connection, side);
    rows.extend(held.map(|(at, words)| (at, format!("- {words}"))));
    let found = of_shown(shown).filter(|told| end_of(&told.finding, shown) == Some(side));
    rows.extend(found.map(|told| (told.finding.at, format!("! {}", found_words(&told)))));
    rows.sort_by_key(|(at, _)| *at);
    let more = rows.len().saturating_sub(ROWS);
    for (at, text) in rows.into_iter().take(ROWS) {
        let time = about.clock.time_of_day(at);
        for (part, line) in wrapped(&text, LETTERS - 17).into_iter().enumerate() {
            down += 15.0;
            if part == 0 {
                draw.text(x, down, "m q", time.trim_start());
            }
            draw.text(x + 112.0, down, "m", &line);
        }
    }
    if more > 0 {
        down += 15.0;
        draw.text(x + 112.0, down, "m q", &format!("and {more} more"));
    }
    down - y + 14.0
}
