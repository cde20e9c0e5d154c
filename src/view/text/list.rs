//! The table of `tcpwatch list`: one row a connection, as wide as its widest cells.

use crate::diagnosis::Health;
use crate::model::Timestamp;
use crate::timeline::{Connection, SeenBeside, Side, Track};
use crate::view::doctor::listeners::words as listener_words;
use crate::view::duration::{age as brief_age, is_telling};
use crate::view::owners;
use crate::view::palette::{ColorMode, painted};
use crate::view::text::{beside, queued};

/// The table of `tcpwatch list`: both ends of a connection on one row.
pub fn list<'a>(
    connections: impl Iterator<Item = &'a Connection>,
    now: Timestamp,
    color: ColorMode,
) -> String {
    let rows: Vec<[String; 9]> = connections.map(|c| list_row(c, now)).collect();
    let titles = [
        "A (opened)",
        "STATE",
        "AGE",
        "B",
        "STATE",
        "AGE",
        "A HELD BY",
        "B HELD BY",
        "NOTES",
    ]
    .map(str::to_owned);
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

/// The listeners that were asked for, one a line.
pub fn listeners(listeners: &[Health<'_>]) -> String {
    let rows: Vec<[String; 2]> = listeners.iter().map(listener_words).collect();
    let widest = rows.iter().map(|[local, _]| width(local)).max();
    let widest = widest.unwrap_or(0);
    let mut text = String::new();
    for [local, words] in rows {
        let padding = " ".repeat(widest - width(&local));
        text.push_str(&format!("LISTEN  {local}{padding}  {words}\n"));
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn list_row(connection: &Connection, now: Timestamp) -> [String; 9] {
    let [a, b] = Side::BOTH.map(|side| {
        let end = connection.end(side);
        let state = end.map_or("-".to_owned(), |track| track.state().to_string());
        let age = end
            .and_then(|track| track.present_age(now))
            .filter(|age| is_telling(*age))
            .map_or_else(|| "-".to_owned(), brief_age);
        let owners = end.map_or_else(|| "-".to_owned(), |track| owners::cell(track.owners()));
        (connection.endpoint(side).to_string(), state, age, owners)
    });
    let multipath = connection.is_multipath().then(|| "MPTCP".to_owned());
    let ends = connection.visible().filter_map(|(side, track)| {
        let notes = end_notes(track);
        (!notes.is_empty()).then(|| format!("{}: {}", side.letter(), notes.join(", ")))
    });
    let notes: Vec<String> = multipath.into_iter().chain(ends).collect();
    let notes = notes.join("; ");
    [a.0, a.1, a.2, b.0, b.1, b.2, a.3, b.3, notes]
}

fn end_notes(track: &Track) -> Vec<String> {
    let seen = SeenBeside::from(track.last());
    [beside(track.state(), &seen), queued(&seen)]
        .into_iter()
        .flatten()
        .collect()
}
