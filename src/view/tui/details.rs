//! The details of the chosen connection: how its ends stand, or how it ended, and every step of
//! both in the order of time.

mod history;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Certainty, Connection, Side, Track};
use crate::view::duration;
use crate::view::plain::plain;
use crate::view::standing::{held, queued};
use crate::view::tui::{View, letter, not_visible, shorten_both, shown_state};
use crate::view::{MULTIPATH, verdict};
use history::newest;

/// Draws the pane.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>, connection: &Connection) {
    if area.height == 0 {
        return;
    }
    let bar = Rect::new(area.x, area.y, area.width, 1);
    buffer.set_style(bar, view.theme.bar());
    title(connection, area.width).render(bar, buffer);
    let room = usize::from(area.height - 1);
    let mut lines = standing(connection, view, area.width);
    lines.truncate(room);
    let left = room - lines.len();
    lines.extend(newest(connection, view, area.width, left));
    for (y, line) in (area.y + 1..area.bottom()).zip(lines) {
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

fn title(connection: &Connection, width: u16) -> Line<'static> {
    let multipath = if connection.is_multipath() {
        " (MPTCP)"
    } else {
        ""
    };
    let name = format!(" connection {}{multipath}", connection.id());
    let room = usize::from(width).saturating_sub(name.len() + 8);
    let [a, b] = Side::BOTH.map(|side| connection.endpoint(side).to_string());
    let (a, b) = shorten_both(&a, &b, room);
    Line::from(format!("{name}: A {a}, B {b}"))
}

/// How it ended, or how both ends stand.
fn standing(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    if connection.closed().is_some() {
        let sentence = verdict(connection).map_or_else(
            || MULTIPATH.to_owned(),
            |verdict| format!("{}: {}", verdict.code.token(), verdict.sentence),
        );
        let room = usize::from(width.saturating_sub(2));
        return wrap(&plain(&sentence), room)
            .into_iter()
            .map(|line| Line::styled(format!(" {line}"), view.theme.strong()))
            .collect();
    }
    Side::BOTH
        .into_iter()
        .map(|side| end_line(connection, side, view))
        .collect()
}

fn end_line(connection: &Connection, side: Side, view: &View<'_>) -> Line<'static> {
    let name = format!(" {} ", letter(side));
    let Some(track) = connection.end(side) else {
        let text = format!("{name}{}", not_visible(connection));
        return Line::styled(text, view.theme.quiet());
    };
    let Some(index) = track.span_at(view.at) else {
        return Line::raw(name);
    };
    let span = &track.spans()[index];
    let state = span.state;
    let inferred = match span.certainty {
        Certainty::Inferred => ", inferred: no look has shown it",
        Certainty::Exact | Certainty::Sampled => "",
    };
    let age = track
        .age(index, view.at)
        .map_or_else(String::new, |age| format!(" for {}", duration::age(age)));
    Line::from(vec![
        Span::raw(name),
        Span::styled(shown_state(state), view.theme.state(state)),
        Span::raw(age),
        Span::raw(inferred),
        Span::raw(facts(track, state, view.at)),
    ])
}

/// What is known of a living end beside its state.
fn facts(track: &Track, state: TcpState, at: Timestamp) -> String {
    if state == TcpState::Close {
        return String::new();
    }
    let last = track.last();
    let mut facts = String::new();
    let holder = track.descriptor_in(state).and_then(|d| held(state, d));
    for fact in holder.map(str::to_owned).into_iter().chain(queued(track)) {
        facts.push_str(", ");
        facts.push_str(&fact);
    }
    if let Some(timer) = last.timer {
        let left = duration::brief(timer.deadline.since(at));
        facts.push_str(&match state {
            TcpState::TimeWait => format!(", ends in {left}"),
            TcpState::FinWait2 if last.is_mini_socket() => format!(", given up in {left}"),
            _ => format!(", {} timer {left}", timer.kind.name()),
        });
    }
    facts
}

/// Words in lines of at most `width` columns; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_after(text, width, width)
}

/// As [`wrap`], with another width for the first line.
fn wrap_after(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let width = if lines.len() <= 1 { first } else { rest };
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
