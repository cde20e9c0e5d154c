//! Lines for people and for grep: one a transition, one row a connection for a list.
//!
//! Only formats what it is given. Every line begins with the time of day and the connection's
//! number, so that one connection can be cut out with grep.

use crate::diagnosis::verdict::judge;
use crate::model::{Body, Descriptor, Observation, SourceState, TcpState, Timestamp};
use crate::timeline::{
    Came, Certainty, Change, Connection, Found, Mark, SeenBeside, Side, Track, Transition, When,
};
use crate::view::duration::{age as brief_age, brief};
use crate::view::palette::{ColorMode, painted};
use crate::view::plain::plain;
use crate::view::wall::WallClock;

/// Formats lines: knows the wall clock and whether colour is wanted.
#[derive(Debug)]
pub struct Lines {
    /// For the times of day.
    pub clock: WallClock,
    /// Whether states are coloured.
    pub color: ColorMode,
}

impl Lines {
    /// The line of a change.
    pub fn change(&self, change: &Change, connection: &Connection) -> String {
        let (at, text) = match change {
            Change::Opened { at, ends, .. } => (*at, self.opened(ends, connection)),
            Change::Joined {
                side, at, found, ..
            } => (
                *at,
                format!("found  {}", self.end(*side, Some(found), connection)),
            ),
            Change::Moved { side, step, .. } => {
                (step.when.not_after(), self.moved(*side, step, connection))
            }
            Change::Marked { side, mark, .. } => (mark.at, self.marked(*side, mark, connection)),
            Change::Missed { side, at, .. } => (
                *at,
                format!(
                    "lost   {} {}: events are missing before this",
                    letter(*side),
                    connection.endpoint(*side)
                ),
            ),
            Change::Closed { at, .. } => {
                let verdict = judge(connection);
                (
                    *at,
                    format!("closed {}: {}", verdict.code.token(), verdict.sentence),
                )
            }
        };
        format!(
            "{} {:>4} {text}",
            self.clock.time_of_day(at),
            format!("#{}", connection.id())
        )
    }

    fn opened(&self, ends: &[Option<Found>; 2], connection: &Connection) -> String {
        let [a, b] =
            Side::BOTH.map(|side| self.end(side, ends[side as usize].as_ref(), connection));
        format!("open   {a}  {b}")
    }

    fn end(&self, side: Side, found: Option<&Found>, connection: &Connection) -> String {
        let state = match found {
            None if connection.endpoint(side) == connection.endpoint(side.other()) => {
                "itself".to_owned()
            }
            // On another host, in another namespace, or gone when we came.
            None => "not seen here".to_owned(),
            Some(found) if found.came == Came::Born => "new".to_owned(),
            Some(found) => {
                let age = found
                    .age
                    .filter(|age| age.known().is_some())
                    .map_or_else(String::new, |age| format!(" for {}", brief_age(age)));
                format!("{}{age}", painted(found.state, self.color))
            }
        };
        format!("{} {} {state}", letter(side), connection.endpoint(side))
    }

    fn moved(&self, side: Side, step: &Transition, connection: &Connection) -> String {
        let mut notes = vec![certainty(step)];
        notes.extend(
            step.in_from
                .filter(|lasted| !lasted.is_zero() && step.from != TcpState::Close)
                .map(|lasted| format!("{} in {}", brief(lasted), step.from)),
        );
        notes.extend(step.seen.and_then(|seen| beside(step.to, &seen)));
        notes.extend(step.seen.and_then(|seen| queued(&seen)));
        format!(
            "{} {}  {} -> {}  {}",
            letter(side),
            connection.endpoint(side),
            painted(step.from, self.color),
            painted(step.to, self.color),
            notes.join(", ")
        )
    }

    fn marked(&self, side: Side, mark: &Mark, connection: &Connection) -> String {
        format!(
            "{} {}  {}",
            letter(side),
            connection.endpoint(side),
            mark.kind.token()
        )
    }

    /// The line of an observation that belongs to the data, `None` for the others.
    pub fn observation(&self, observation: &Observation) -> Option<String> {
        let text = match &observation.body {
            Body::Lost { count, why } => {
                let count = count.map_or_else(String::new, |count| format!(" {count}"));
                format!("lost{count} {}: {why}", observation.source)
            }
            Body::Note { pid, text } => format!("note   [{pid}] {}", plain(text)),
            _ => return None,
        };
        Some(format!(
            "{} {:>4} {text}",
            self.clock.time_of_day(observation.at),
            "-"
        ))
    }
}

/// What there is to say of a source, for standard error; `None` for other observations.
pub fn source_message(observation: &Observation) -> Option<String> {
    let Body::Source(state) = &observation.body else {
        return None;
    };
    let name = observation.source;
    Some(match state {
        SourceState::Off { why } => format!("{name} off: {}", plain(why)),
        SourceState::Running { period, cost, why } => {
            let cost = cost.map_or_else(String::new, |cost| format!(", {} a look", brief(cost)));
            let why = why
                .as_ref()
                .map_or_else(String::new, |why| format!(" ({})", plain(why)));
            format!("{name} every {}{cost}{why}", brief(*period))
        }
    })
}

const fn letter(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
    }
}

fn certainty(step: &Transition) -> String {
    match (step.certainty, step.when) {
        (Certainty::Inferred, _) => "inferred".to_owned(),
        (Certainty::Exact, _) | (_, When::At(_)) => "exact".to_owned(),
        (Certainty::Sampled, When::Between(from, to)) => {
            format!("within {}", brief(to.since(from)))
        }
        (Certainty::Sampled, When::Before(_)) => "some time before".to_owned(),
    }
}

/// What tells programs apart that netstat shows alike.
pub(crate) fn beside(state: TcpState, seen: &SeenBeside) -> Option<String> {
    let shut = seen.shutdown.map(|mask| (mask.send(), mask.receive()));
    let is_closing = matches!(
        state,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck
    );
    Some(match (seen.descriptor?, is_closing) {
        (Descriptor::Gone, true) => "descriptor gone".to_owned(),
        (Descriptor::Held, true) => match shut {
            Some((true, false)) => "descriptor held, write side shut".to_owned(),
            Some((true, true)) => "descriptor held, both sides shut".to_owned(),
            _ => "descriptor held".to_owned(),
        },
        (Descriptor::NotAccepted, _) => "not accepted".to_owned(),
        _ => return None,
    })
}

fn queued(seen: &SeenBeside) -> Option<String> {
    let parts: Vec<String> = [(seen.unread, "unread"), (seen.unacked, "unacknowledged")]
        .into_iter()
        .filter_map(|(count, word)| {
            let count = count.filter(|&count| count > 0)?;
            let s = if count == 1 { "" } else { "s" };
            Some(format!("{count} byte{s} {word}"))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The table of `tcpwatch list`: both ends of a connection on one row.
pub fn list<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    now: Timestamp,
    color: ColorMode,
) -> String {
    let rows: Vec<[String; 7]> = connections.map(|c| list_row(c, now)).collect();
    let titles = ["A (opened)", "STATE", "AGE", "B", "STATE", "AGE", "NOTES"].map(str::to_owned);
    let mut widths = titles.each_ref().map(|title| width(title));
    for row in &rows {
        for (width_so_far, cell) in widths.iter_mut().zip(row) {
            *width_so_far = (*width_so_far).max(width(cell));
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&titles).chain(&rows) {
        let mut line = String::new();
        for (index, (cell, width_here)) in row.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width_here - width(cell));
            let cell = match cell.parse() {
                Ok(state) if index == 1 || index == 4 => painted(state, color),
                _ => cell.clone(),
            };
            line.push_str(&cell);
            line.push_str(&padding);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn list_row(connection: &Connection, now: Timestamp) -> [String; 7] {
    let [a, b] = Side::BOTH.map(|side| {
        let end = connection.end(side);
        let state = end.map_or("-".to_owned(), |track| track.state().to_string());
        let age = end
            .and_then(|track| track.present_age(now))
            .filter(|age| age.known().is_some())
            .map_or_else(|| "-".to_owned(), brief_age);
        (connection.endpoint(side).to_string(), state, age)
    });
    let notes: Vec<String> = connection
        .visible()
        .filter_map(|(side, track)| {
            let notes = end_notes(track);
            (!notes.is_empty()).then(|| format!("{}: {}", letter(side), notes.join(", ")))
        })
        .collect();
    [a.0, a.1, a.2, b.0, b.1, b.2, notes.join("; ")]
}

fn end_notes(track: &Track) -> Vec<String> {
    let seen = SeenBeside::from(track.last());
    [beside(track.state(), &seen), queued(&seen)]
        .into_iter()
        .flatten()
        .collect()
}
