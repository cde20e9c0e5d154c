//! The rows of the ladder: what stands beside which lifeline, and the arrow between them.
//!
//! Every item of an exchange has a row or a few; a state and the segment that proves it share one.
//! There are some hundreds at most, since a track keeps so many marks; only those in sight are
//! drawn.

use ratatui::style::Style;

use crate::model::TcpState;
use crate::timeline::{Cause, Certainty, Connection, Mark, MarkKind, Side};
use crate::view::exchange::{
    Again, Entered, Exchange, Flag, Item, Proof, Segment, Steps, Wait, What, passed,
};
use crate::view::plain::plain;
use crate::view::tui::fit::{cut, wrap};
use crate::view::tui::ladder::columns::Columns;
use crate::view::tui::ladder::row::{Arrow, Drawn, Kind, Life, Row, Text};
use crate::view::tui::ladder::words;
use crate::view::tui::{View, letter, shown_state};
use crate::view::{cause, owners};

/// All rows of an exchange.
pub(super) fn rows(
    exchange: &Exchange<'_>,
    connection: &Connection,
    view: &View<'_>,
    columns: &Columns,
) -> Vec<Row> {
    let life = |side: Side| match connection.end(side) {
        None => Life::Unseen,
        Some(_) => Life::Absent,
    };
    let mut ladder = Ladder {
        exchange,
        connection,
        view,
        columns,
        lives: Side::BOTH.map(life),
        rows: Vec::new(),
        dated: None,
    };
    ladder.forgotten();
    let items = exchange.items();
    let mut next = 0;
    while let Some(item) = items.get(next) {
        let begin = ladder.rows.len();
        let (steps, taken) = ladder.take(item, items.get(next + 1));
        ladder.date(begin, next, steps, taken);
        next += taken;
    }
    ladder.verdict();
    ladder.rows
}

struct Ladder<'a> {
    exchange: &'a Exchange<'a>,
    connection: &'a Connection,
    view: &'a View<'a>,
    columns: &'a Columns,
    lives: [Life; 2],
    rows: Vec<Row>,
    /// The item with whose time the last row stands that has one; none behind a wait.
    dated: Option<usize>,
}

impl Ladder<'_> {
    /// Draws an item, with the next one where both are one: which steps that is, and how many items
    /// were taken.
    fn take(&mut self, item: &Item<'_>, next: Option<&Item<'_>>) -> (Steps, usize) {
        let both = next.map(|next| (next, item.steps.and(next.steps)));
        match (item.what, both.map(|(next, steps)| (next.what, steps))) {
            (What::State(state), Some((What::Segment(segment), steps)))
            | (What::Segment(segment), Some((What::State(state), steps)))
                if is_one(&state, &segment) =>
            {
                self.state(&state, Some(&segment));
                return (steps, 2);
            }
            (What::State(state), _) => self.state(&state, None),
            (What::Segment(segment), _) => self.segment(&segment),
            (What::Mark(side, mark), _) => self.mark(side, mark),
            (What::Again(again), _) => self.again(again),
            (What::Held(side, nth), _) => {
                let news = owners::news(self.connection, side, nth).unwrap_or_default();
                self.beside(side, &news, Style::new());
            }
            (What::Found(side, finding), _) => {
                let style = self.view.theme.severity(finding.severity);
                self.across(&words::found(side, finding), style);
            }
            (What::Said(side, note), _) => {
                let (text, quiet) = (plain(note.text), self.view.theme.quiet());
                match side {
                    Some(side) => self.beside(side, &text, quiet),
                    None => self.across(&format!("[{}] {text}", note.pid), quiet),
                }
            }
            (What::Wait(wait), _) => self.wait(&wait),
        }
        (item.steps, 1)
    }

    /// The time and the steps of an item, on the first of its rows. A time counts from the row above
    /// that has one, so that all of them add up.
    fn date(&mut self, begin: usize, index: usize, steps: Steps, taken: usize) {
        let items = self.exchange.items();
        let Some(item) = items.get(index).filter(|_| begin < self.rows.len()) else {
            return;
        };
        let is_unknown = self.exchange.may_be_before_the_one_above(index);
        let is_roomy = self.columns.time > 15;
        let above = self.dated.and_then(|above| items.get(above));
        let since = above.filter(|_| !is_elsewhere(item, taken) && !is_wait(item));
        let since = since.map(|above| passed(above, item));
        let mut time = match (item.what, since) {
            (What::Wait(wait), _) => words::waited(wait.lasted, self.columns.time - 1),
            _ if words::is_earlier(item) => "earlier".to_owned(),
            (_, Some(since)) => words::since(since, self.columns.time - 2),
            (_, None) if above.is_none() && is_roomy => self.view.heard.time(item.at),
            (_, None) => String::new(),
        };
        if is_wait(item) {
            self.dated = None;
        } else if above.is_none() || since.is_some() {
            self.dated = Some(index);
        }
        if is_unknown {
            time.push('?');
        }
        let mut numbers = String::new();
        for step in steps.numbers() {
            if numbers.len() + 2 < self.columns.step {
                let plus = if numbers.is_empty() { "" } else { "+" };
                numbers = format!("{numbers}{plus}{step}");
            } else if numbers.is_empty() {
                numbers = step.to_string();
            }
        }
        if let Some(row) = self.rows.get_mut(begin) {
            row.at = Some(item.at);
            row.since = since;
            row.time = time;
            row.steps = numbers;
            row.is_order_unknown = is_unknown;
        }
    }

    fn rung(&mut self, side: Side, text: Text, arrow: Option<Arrow>) {
        let texts = match side {
            Side::A => [text, Text::default()],
            Side::B => [Text::default(), text],
        };
        self.rows
            .push(Row::new(Drawn::Rung(texts, self.lives, arrow)));
    }

    fn state(&mut self, entered: &Entered<'_>, segment: Option<&Segment<'_>>) {
        let (side, state) = (entered.side, entered.span.state);
        let life = &mut self.lives[side as usize];
        if *life == Life::Absent {
            *life = Life::Seen;
        }
        let is_inferred = entered.span.certainty == Certainty::Inferred;
        let (style, name) = match is_inferred {
            true => (self.view.theme.quiet(), format!("({})", shown_state(state))),
            false => (self.view.theme.state(state), shown_state(state).to_owned()),
        };
        let room = self.columns.text();
        let cause =
            words::of_cause(entered).filter(|_| segment.is_some() || !self.is_told(entered));
        for line in cause.map_or_else(Vec::new, |it| wrap(&it, room)) {
            self.rung(side, Text::new(cut(&line, room), Style::new()), None);
        }
        let arrow = segment.map(|segment| self.arrow(segment));
        self.rung(side, Text::new(cut(&name, room), style), arrow);
        if state == TcpState::Close {
            self.lives[side as usize] = Life::Absent;
        }
        for line in words::of_holder(entered, room).map_or_else(Vec::new, |it| wrap(it, room)) {
            let quiet = self.view.theme.quiet();
            self.rung(side, Text::new(cut(&line, room), quiet), None);
        }
    }

    fn segment(&mut self, segment: &Segment<'_>) {
        let told = match segment.proof {
            Proof::Told(mark) => Some(mark),
            Proof::State(_) => None,
        };
        let side = match told.map(|mark| mark.kind) {
            Some(MarkKind::ResetReceived) => segment.from.other(),
            _ => segment.from,
        };
        let room = self.columns.text();
        let mut lines = told.map_or_else(Vec::new, |mark| wrap(&cause::mark_words(mark), room));
        let last = lines.pop().unwrap_or_default();
        for line in lines {
            self.rung(side, Text::new(cut(&line, room), Style::new()), None);
        }
        let arrow = self.arrow(segment);
        self.rung(side, Text::new(cut(&last, room), Style::new()), Some(arrow));
    }

    fn arrow(&self, segment: &Segment<'_>) -> Arrow {
        let theme = self.view.theme;
        let name = segment.flag.name();
        let is_here = self.connection.end(segment.from).is_some();
        let short = match segment.flag {
            Flag::SynAck => "S+A",
            Flag::FinAck => "F+A",
            Flag::FinPerhapsAck => "F+A?",
            _ => name,
        };
        let (label, kind, style) = match (segment.flag, segment.is_inferred()) {
            (_, true) => (format!("({name})"), Kind::Unseen, theme.quiet()),
            (Flag::Rst, false) => (name.to_owned(), Kind::Reset, theme.alert()),
            (_, false) if is_here => (name.to_owned(), Kind::Seen, Style::new()),
            (_, false) => (format!("{name}, implied"), Kind::Seen, Style::new()),
        };
        Arrow {
            from: segment.from,
            label,
            short: short.to_owned(),
            kind,
            style,
        }
    }

    fn mark(&mut self, side: Side, mark: &Mark) {
        let style = match mark.kind {
            MarkKind::ResetReceived | MarkKind::NoAnswer => self.view.theme.alert(),
            _ => Style::new(),
        };
        self.beside(side, &cause::mark_words(mark), style);
    }

    /// Whether a row of its own says of the reset that ended an end that it came, and when.
    fn is_told(&self, entered: &Entered<'_>) -> bool {
        let is_it = |item: &Item<'_>| match item.what {
            What::Mark(side, mark) => side == entered.side && mark.kind == MarkKind::ResetReceived,
            What::Segment(segment) => {
                segment.from != entered.side
                    && matches!(segment.proof, Proof::Told(mark) if mark.kind == MarkKind::ResetReceived)
            }
            _ => false,
        };
        entered.span.why.cause == Cause::ResetReceived && self.exchange.items().iter().any(is_it)
    }

    fn again(&mut self, again: Again) {
        let arrow = Arrow {
            from: again.from,
            label: match again.times {
                1 => "again".to_owned(),
                times => format!("again, {times} times"),
            },
            short: format!("{}\u{d7}", again.times),
            kind: Kind::Again,
            style: Style::new(),
        };
        let room = self.columns.text();
        let mut lines = wrap(&words::again(&again), room).into_iter();
        let first = lines.next().unwrap_or_default();
        let text = |line: String| Text::new(cut(&line, room), Style::new());
        self.rung(again.from, text(first), Some(arrow));
        for line in lines {
            self.rung(again.from, text(line), None);
        }
    }

    fn wait(&mut self, wait: &Wait) {
        let quiet = self.view.theme.quiet();
        let room = self.columns.text();
        let sides = Side::BOTH.map(|side| {
            let text = words::waits(wait, side, self.connection);
            wrap(&text, room)
        });
        let lives = self.lives.map(|life| match life {
            Life::Absent => Life::Absent,
            Life::Seen | Life::Unseen | Life::Waits => Life::Waits,
        });
        for row in 0..sides.iter().map(Vec::len).max().unwrap_or(0).max(1) {
            let text = |lines: &Vec<String>| {
                let line = lines.get(row).map_or("", String::as_str);
                Text::new(cut(line, room), quiet)
            };
            let texts = sides.each_ref().map(text);
            self.rows.push(Row::new(Drawn::Rung(texts, lives, None)));
        }
    }

    /// Beside a lifeline, or across where that takes too many lines.
    fn beside(&mut self, side: Side, text: &str, style: Style) {
        /// So many lines are still read beside it.
        const LINES: usize = 3;
        let room = self.columns.text();
        let lines = wrap(text, room);
        let fits = |line: &String| line.chars().count() <= room;
        if lines.len() > LINES || !lines.iter().all(fits) {
            return self.across(&format!("{}: {text}", letter(side)), style);
        }
        for line in lines {
            self.rung(side, Text::new(line, style), None);
        }
    }

    fn across(&mut self, text: &str, style: Style) {
        for line in wrap(text, self.columns.across()) {
            let text = Text::new(cut(&line, self.columns.across()), style);
            self.rows.push(Row::new(Drawn::Across(text)));
        }
    }

    /// What the tracks don't keep any more.
    fn forgotten(&mut self) {
        for (side, track) in self.connection.visible() {
            let dropped = track.marks_dropped();
            if dropped > 0 {
                let text = format!(
                    "({}: {dropped} older resets, retransmissions and calls are not kept)",
                    letter(side)
                );
                self.across(&text, self.view.theme.quiet());
            }
        }
    }

    fn verdict(&mut self) {
        if self.connection.closed().is_some() {
            self.across(&words::verdict(self.connection), self.view.theme.strong());
        }
    }
}

/// Whether a state and a segment are told by one row.
fn is_one(state: &Entered<'_>, segment: &Segment<'_>) -> bool {
    let is_reset = segment.flag == Flag::Rst && state.span.state == TcpState::Close;
    let by_reset = match state.span.why.cause {
        Cause::ResetSent => segment.from == state.side,
        Cause::ResetReceived => segment.from != state.side,
        _ => false,
    };
    // What was told at another time has a row, and a time, of its own.
    let is_at_once = match segment.proof {
        Proof::Told(mark) => match mark.kind {
            MarkKind::ResetReceived => state.span.from.not_after() == mark.at,
            _ => true,
        },
        Proof::State(_) => true,
    };
    segment.is_proved_by(state) || (is_reset && by_reset && is_at_once)
}

const fn is_wait(item: &Item<'_>) -> bool {
    matches!(item.what, What::Wait(_))
}

/// Whether it is an arrow alone, drawn at another time than that of the state that proves it: it has
/// no time of its own.
fn is_elsewhere(item: &Item<'_>, taken: usize) -> bool {
    let is_proved = matches!(item.what, What::Segment(it) if matches!(it.proof, Proof::State(_)));
    is_proved && taken == 1 && item.at != item.when.not_after()
}
