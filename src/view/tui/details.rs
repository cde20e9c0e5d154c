//! The details of the chosen connection: how its ends stand, or how it ended, and every step of
//! both in the order of time.

pub(super) mod history;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::diagnosis::{Finding, Place};
use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Certainty, Connection, Owners, Side, Track};
use crate::view::plain::plain;
use crate::view::standing::{held, queued};
use crate::view::tui::fit::{cut, wrap, wrap_after, wrap_behind};
use crate::view::tui::sign::of_severity;
use crate::view::tui::{View, findings, letter, not_visible, pane, shorten_both, shown_state};
use crate::view::{MULTIPATH, duration, owners, verdict};
use history::{history, shown};

/// Draws the pane.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>, connection: &Connection) {
    if area.height == 0 {
        return;
    }
    let title = title(connection, area.width);
    let room = usize::from(area.height - 1);
    let mut lines = standing(connection, view, area.width, room);
    lines.truncate(room);
    let history = history(connection, view);
    let kept = history.len().min(LEAST_HISTORY);
    let free = room.saturating_sub(lines.len() + kept);
    lines.extend(found(connection, view, area.width, free.max(1)));
    lines.truncate(room);
    let left = room - lines.len();
    lines.extend(shown(&history, connection, view, area.width, left));
    pane::draw(buffer, area, view, title, lines);
}

/// So many lines are left for the history, however much was found.
const LEAST_HISTORY: usize = 2;
/// With so much room, holders have lines of their own.
const ROOMY: usize = 11;
/// So many holders of an end have one.
const HOLDERS: usize = 4;

pub(super) fn title(connection: &Connection, width: u16) -> Line<'static> {
    let multipath = if connection.is_multipath() {
        " (MPTCP)"
    } else {
        ""
    };
    let guessed = match connection.sides_are_guessed() {
        true => " (which is A is a guess)",
        false => "",
    };
    let name = format!(" connection {}{multipath}{guessed}", connection.id());
    let room = usize::from(width).saturating_sub(name.len() + 8);
    let [a, b] = Side::BOTH.map(|side| connection.endpoint(side).to_string());
    let (a, b) = shorten_both(&a, &b, room);
    Line::from(format!("{name}: A {a}, B {b}"))
}

/// How it ended, or how both ends stand, and who holds or held them.
fn standing(
    connection: &Connection,
    view: &View<'_>,
    width: u16,
    room: usize,
) -> Vec<Line<'static>> {
    let is_roomy = room >= ROOMY;
    let mut lines: Vec<Line<'static>> = Vec::new();
    if connection.closed().is_some() {
        let sentence = verdict(connection).map_or_else(
            || MULTIPATH.to_owned(),
            |verdict| format!("{}: {}", verdict.code.token(), verdict.sentence),
        );
        let sentence = wrap(&plain(&sentence), usize::from(width.saturating_sub(2)));
        let styled = |line| Line::styled(format!(" {line}"), view.theme.strong());
        lines.extend(sentence.into_iter().map(styled));
        if !is_roomy && lines.len() + 1 + LEAST_HISTORY < room {
            lines.extend(held_by(connection, width));
        }
    }
    for (side, track) in connection.visible().filter(|_| is_roomy) {
        if connection.closed().is_none() {
            lines.extend(end_lines(connection, side, view, width, false));
        }
        lines.extend(holder_lines(side, track, connection, width));
    }
    let ends = Side::BOTH.into_iter();
    let is_seen = |side: &Side| connection.end(*side).is_some();
    for side in ends.filter(|side| connection.closed().is_none() && !(is_roomy && is_seen(side))) {
        lines.extend(end_lines(connection, side, view, width, true));
    }
    lines
}

/// Of a closed connection in little room: who held its ends.
fn held_by(connection: &Connection, width: u16) -> Vec<Line<'static>> {
    let of = |(side, track): (Side, &Track)| {
        let holders = owners::brief(track.owners())?;
        Some(format!("{} was held by {holders}", letter(side)))
    };
    let all: Vec<String> = connection.visible().filter_map(of).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let lines = wrap(&all.join(", "), usize::from(width.saturating_sub(2))).into_iter();
    lines.map(|line| Line::raw(format!(" {line}"))).collect()
}

/// A line for each of the first holders, as much of it as fits, or why nobody is named.
fn holder_lines(
    side: Side,
    track: &Track,
    connection: &Connection,
    width: u16,
) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let (now, owners) = (connection.closed().is_none(), track.owners());
    let word = match owners {
        Owners::Now(_) if now => "held by",
        Owners::Now(_) | Owners::Before(_) => "was held by",
        Owners::Hidden | Owners::Nobody | Owners::NotLooked => {
            let is_held = track.beside().descriptor == Some(Descriptor::Held);
            let why = owners::words(owners).filter(|_| is_held && now);
            return why.map_or_else(Vec::new, |why| wrap_behind("   ", &why, width));
        }
    };
    let of = match now {
        true => "  ".to_owned(),
        false => format!(" {}", letter(side)),
    };
    let all = owners.holders();
    let named = all.iter().take(HOLDERS).map(owners::in_full);
    let mut lines: Vec<Line<'static>> = named
        .map(|holder| Line::raw(cut(&format!("{of} {word} {holder}"), width)))
        .collect();
    if all.len() > HOLDERS {
        lines.push(Line::raw(format!("{of} and {} more", all.len() - HOLDERS)));
    }
    lines
}

fn end_lines(
    connection: &Connection,
    side: Side,
    view: &View<'_>,
    width: u16,
    with_holders: bool,
) -> Vec<Line<'static>> {
    let name = format!(" {} ", letter(side));
    let Some(track) = connection.end(side) else {
        let text = format!("{name}{}", not_visible(connection));
        return vec![Line::styled(text, view.theme.quiet())];
    };
    let Some(index) = track.span_at(view.at) else {
        return vec![Line::raw(name)];
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
    let facts = facts(track, state, view.at, with_holders);
    let head = vec![
        Span::raw(name),
        Span::styled(shown_state(state), view.theme.state(state)),
    ];
    flow(head, &format!("{age}{inferred}{facts}"), 3, width)
}

/// `head`, and behind it `text` in as many lines as it needs, below each other at `indent`.
pub(super) fn flow(
    mut head: Vec<Span<'static>>,
    text: &str,
    indent: usize,
    width: u16,
) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let taken: usize = head.iter().map(Span::width).sum();
    let (first, rest) = (width.saturating_sub(taken), width.saturating_sub(indent));
    let mut parts = wrap_after(text, first.max(1), rest.max(1)).into_iter();
    head.push(Span::raw(parts.next().unwrap_or_default()));
    let rest = parts.map(|part| Line::raw(format!("{:indent$}{part}", "")));
    std::iter::once(Line::from(head)).chain(rest).collect()
}

/// What is known of a living end beside its state.
fn facts(track: &Track, state: TcpState, at: Timestamp, with_holders: bool) -> String {
    if state == TcpState::Close {
        return String::new();
    }
    let mut facts = String::new();
    let held = descriptor_words(track, state, with_holders);
    for fact in held.into_iter().chain(queued(track)) {
        facts.push_str(", ");
        facts.push_str(&fact);
    }
    let look = track.look_in(state);
    if let Some((look, timer)) = look.and_then(|look| Some((look, look.timer?))) {
        let left = duration::brief(timer.deadline.since(at));
        facts.push_str(&match state {
            TcpState::TimeWait => format!(", ends in {left}"),
            TcpState::FinWait2 if look.is_mini_socket() => format!(", given up in {left}"),
            _ => format!(", {} timer {left}", timer.kind.name()),
        });
    }
    facts
}

/// Whether the descriptor is open, and who holds it, unless those have lines of their own.
fn descriptor_words(track: &Track, state: TcpState, with_holders: bool) -> Option<String> {
    let descriptor = track.descriptor_in(state)?;
    let known = held(state, descriptor).map(str::to_owned);
    let owners = track.owners();
    let who = owners::few_words(owners);
    match (descriptor, who) {
        (Descriptor::Held, Some(who)) => {
            let is_shut = matches!(
                state,
                TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing
            );
            let shut = is_shut.then(|| "write side shut".to_owned());
            let words: Vec<String> = shut
                .into_iter()
                .chain(with_holders.then_some(who))
                .collect();
            (!words.is_empty()).then(|| words.join(", "))
        }
        (Descriptor::Gone, Some(who)) if with_holders && matches!(owners, Owners::Before(_)) => {
            Some(who)
        }
        _ => known,
    }
}

/// What was found of it, worst first, in at most `room` lines. What to do about the worst comes
/// before the others, which come in a line each; then all in full, then why and what to do.
fn found(connection: &Connection, view: &View<'_>, width: u16, room: usize) -> Vec<Line<'static>> {
    let mut all: Vec<&Finding> = view.diagnosis.about(connection.id()).collect();
    all.retain(|finding| finding.over.is_none() && finding.at <= view.at);
    all.sort_by_key(|finding| Place::of(finding));
    let Some((worst, others)) = all.split_first() else {
        return Vec::new();
    };
    let words = usize::from(width.saturating_sub(1));
    let advice = findings::advice(worst, words);
    let advised = if advice.len() < room { advice.len() } else { 0 };
    let named = others.len().min(room.saturating_sub(1 + advised));
    let beyond = others.len() - named;
    all.truncate(1 + named);
    let mut shown: Vec<Shown> = all.iter().map(|_| Shown::default()).collect();
    shown[0].advice = advised > 0;
    let block = |index: usize, how: Shown| {
        let beyond = if index == named { beyond } else { 0 };
        how.lines(all[index], connection, view, (width, beyond))
    };
    let mut blocks: Vec<Vec<Line<'static>>> = (0..=named).map(|it| block(it, shown[it])).collect();
    let mut taken: usize = blocks.iter().map(Vec::len).sum();
    for more in [Shown::FULL, Shown::WITH_WHY]
        .into_iter()
        .filter(|_| beyond == 0)
    {
        for index in 0..=named {
            let how = shown[index].and(more);
            let longer = block(index, how);
            let would_take = taken - blocks[index].len() + longer.len();
            if would_take <= room {
                taken = would_take;
                shown[index] = how;
                blocks[index] = longer;
            }
        }
    }
    blocks.into_iter().flatten().collect()
}

/// How much is said of a finding.
#[derive(Clone, Copy, Default)]
struct Shown {
    in_full: bool,
    why: bool,
    advice: bool,
}

impl Shown {
    const FULL: Self = Self {
        in_full: true,
        why: false,
        advice: false,
    };
    const WITH_WHY: Self = Self {
        in_full: true,
        why: true,
        advice: true,
    };

    const fn and(self, more: Self) -> Self {
        Self {
            in_full: self.in_full || more.in_full,
            why: self.why || more.why,
            advice: self.advice || more.advice,
        }
    }

    fn lines(
        self,
        finding: &Finding,
        connection: &Connection,
        view: &View<'_>,
        (width, beyond): (u16, usize),
    ) -> Vec<Line<'static>> {
        let words = usize::from(width.saturating_sub(1));
        let mut lines = match self.in_full {
            true => what_lines(finding, connection, view, width),
            false => vec![one_line(finding, connection, view, width, beyond)],
        };
        if self.why {
            lines.extend(findings::reasons(finding, words));
        }
        if self.advice {
            lines.extend(findings::advice(finding, words));
        }
        lines
    }
}

/// As much of it as one line takes, and how many there are beside.
fn one_line(
    finding: &Finding,
    connection: &Connection,
    view: &View<'_>,
    width: u16,
    beyond: usize,
) -> Line<'static> {
    let more = match beyond {
        0 => String::new(),
        count => format!(" +{count}: f"),
    };
    let (head, text) = what(finding, connection);
    let taken = head.chars().count() + more.len();
    let text = cut(&text, usize::from(width).saturating_sub(taken));
    let style = view.theme.severity(finding.severity);
    Line::from(vec![
        Span::styled(head, style),
        Span::raw(text),
        Span::raw(more),
    ])
}

/// `! B close-wait-leaked: all data was read and the socket was not closed ...`
fn what_lines(
    finding: &Finding,
    connection: &Connection,
    view: &View<'_>,
    width: u16,
) -> Vec<Line<'static>> {
    let style = view.theme.severity(finding.severity);
    let (head, text) = what(finding, connection);
    flow(vec![Span::styled(head, style)], &text, 3, width)
}

/// The end and the code, and what that means.
fn what(finding: &Finding, connection: &Connection) -> (String, String) {
    let head = format!(
        "{} {}",
        sign_and_end(finding, connection),
        finding.code.token()
    );
    (head, format!(": {}", plain(&finding.what)))
}

/// `!B`: how bad it is, and which end it is about.
pub(super) fn sign_and_end(finding: &Finding, connection: &Connection) -> String {
    let is_about = |side: &Side| finding.subject.is_about(connection.id(), *side);
    let side = Side::BOTH.into_iter().find(is_about).map_or(' ', letter);
    format!("{}{side}", of_severity(finding.severity))
}
