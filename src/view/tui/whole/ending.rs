//! How a connection ended, in full: who closed first and how, what each end lost, and how long it
//! was in each state. While it is open: how it stands, in the same places.

use ratatui::text::Line;

use crate::diagnosis::Verdict;
use crate::model::TcpState;
use crate::timeline::{Certainty, Connection, Side, Track};
use crate::view::plain::plain;
use crate::view::tui::fit::wrap;
use crate::view::tui::whole::{UNKNOWN, Value, row};
use crate::view::tui::{View, letter};
use crate::view::{MULTIPATH, duration, standing, verdict};

/// So many lines are kept for it, so that what is below stays where it is.
const LEAST: usize = 2;

/// The verdict, or how it stands.
pub(super) fn sentence(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let open = || standing::sentence(connection, view.at);
    let text = match verdict(connection).filter(|_| connection.closed().is_some()) {
        Some(verdict) => format!("{}: {}", verdict.code.token(), verdict.sentence),
        None => open().unwrap_or_else(|| MULTIPATH.to_owned()),
    };
    let room = usize::from(width.saturating_sub(2)).max(1);
    let lines = wrap(&plain(&text), room).into_iter();
    let styled = |line| Line::styled(format!(" {line}"), view.theme.strong());
    let mut lines: Vec<Line<'static>> = lines.map(styled).collect();
    while lines.len() < LEAST {
        lines.push(Line::default());
    }
    lines
}

/// What the verdict holds, a row each.
pub(super) fn lines(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let is_over = connection.closed().is_some();
    let verdict = verdict(connection).filter(|_| is_over);
    let of = |say: fn(&Verdict) -> String| match &verdict {
        Some(verdict) => say(verdict),
        None if is_over => UNKNOWN.to_owned(),
        None => format!("{UNKNOWN} (still open)"),
    };
    let mut lines = Vec::new();
    let mut add = |label: &str, text: String| {
        lines.extend(row(label, Value::from(text), width));
    };
    add("verdict", of(|verdict| verdict.code.token().to_owned()));
    add("closer", of(first_closer));
    add("after FIN", of(half_close));
    add("lost", of(lost));
    for (side, track) in connection.visible() {
        add(&format!("{} was in", letter(side)), times(track, view));
    }
    lines
}

/// `A, by close()`.
fn first_closer(verdict: &Verdict) -> String {
    let who = match verdict.first_closer {
        Some(side) => letter(side).to_string(),
        None => UNKNOWN.to_owned(),
    };
    let how = match verdict.how {
        Some(how) => format!(", by {}", how.token()),
        None => String::new(),
    };
    let signal = match verdict.signal {
        Some(signal) => format!(", its process ended by signal {signal}"),
        None => String::new(),
    };
    format!("{who}{how}{signal}")
}

fn half_close(verdict: &Verdict) -> String {
    match verdict.half_close {
        Some(true) => "data still flowed after the first FIN",
        Some(false) => "no data after the first FIN",
        None => UNKNOWN,
    }
    .to_owned()
}

/// Of an end that no event says was reset nothing is known.
fn lost(verdict: &Verdict) -> String {
    let of = |side: Side| match verdict.lost[side as usize] {
        Some(lost) => format!("{} {}", letter(side), lost.words()),
        None => format!("{} {UNKNOWN}", letter(side)),
    };
    Side::BOTH.map(of).join("; ")
}

/// `ESTABLISHED 7.0 s, FIN_WAIT1 <98 ms, FIN_WAIT2 12 s so far`
fn times(track: &Track, view: &View<'_>) -> String {
    let spans = track.spans().iter().enumerate();
    let known = spans.filter(|(_, span)| span.from.not_after() <= view.at);
    let last = track.spans().len() - 1;
    let lived = known.filter(|(_, span)| span.state != TcpState::Close);
    let times: Vec<String> = lived
        .map(|(index, span)| {
            let age = track.age(index, view.at).map(duration::cell);
            let inferred = match span.certainty {
                Certainty::Inferred => " (inferred)",
                Certainty::Exact | Certainty::Sampled => "",
            };
            let so_far = if index == last { " so far" } else { "" };
            let age = age.unwrap_or_else(|| UNKNOWN.to_owned());
            format!("{} {age}{inferred}{so_far}", span.state)
        })
        .collect();
    times.join(", ")
}
