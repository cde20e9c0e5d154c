//! The first lines: what is watched, by what, at what cost, what was missed, who listens.
//!
//! The sources' line tells of the collecting, which goes on while the picture is paused; the
//! listeners and counts are the picture's.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::Severity;
use crate::model::filter::Filter;
use crate::model::{SourceName, SourceState};
use crate::timeline::Listener;
use crate::view::plain::plain;
use crate::view::size::size;
use crate::view::source::{brief_words, words};
use crate::view::tui::View;
use crate::view::tui::fit::{head, width_of};
use crate::view::tui::playback::{self, corner, draw_bar};
use crate::view::tui::sign::word_of;
use crate::view::tui::theme::Theme;
use crate::view::{duration, owners};

/// Draws as many of the three lines as there is room for; the middle one goes first.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    (filter, text): (&Filter, &str),
) {
    let mut lines = vec![counts_line(view, filter, area.width)];
    let is_news = !view.heard.is_watching() || view.heard.recording().is_some();
    let finale = view.playback.and_then(|playback| playback.finale.as_ref());
    if let Some(end) = finale {
        let text = playback::finale(end);
        lines.insert(0, Line::styled(text, view.theme.strong()));
    } else if let Some(clocks) = view
        .playback
        .and_then(|playback| playback.clocks.as_deref())
    {
        let line = Line::styled(format!(" {}", plain(clocks)), view.theme.alert());
        lines.insert(0, cut(line, area.width));
    } else if area.height >= 3 || is_news {
        lines.insert(0, sources_in(view, area.width));
    }
    lines.truncate(usize::from(area.height.saturating_sub(1)));
    first_line(buffer, area, view, text);
    for (y, line) in (area.y + 1..area.bottom()).zip(lines) {
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

fn first_line(buffer: &mut Buffer, area: Rect, view: &View<'_>, filter: &str) {
    let (mode, style) = if let Some(playback) = view.playback {
        let style = if view.is_paused() {
            view.theme.paused()
        } else {
            view.theme.strong()
        };
        (corner(playback, view), style)
    } else if view.is_paused() {
        let behind = duration::brief(view.now.since(view.at));
        (format!(" PAUSED {behind} behind "), view.theme.paused())
    } else {
        (" LIVE ".to_owned(), view.theme.strong())
    };
    let what = if filter.is_empty() {
        "all connections"
    } else {
        filter
    };
    let netns = view.netns.map_or_else(String::new, |name| {
        format!("  netns {}", plain(brief(name)))
    });
    let title = Line::from(vec![
        Span::styled(" tcpwatch", view.theme.strong()),
        Span::raw(netns),
        Span::raw(format!("  {}", plain(what))),
        Span::styled(arranged(view), view.theme.strong()),
    ]);
    let free = usize::from(area.width).saturating_sub(title.width());
    let mode = with_recording(mode, view, free);
    let mode_width = u16::try_from(mode.chars().count())
        .unwrap_or(0)
        .min(area.width);
    let room = area.width - mode_width;
    if let Some(playback) = view.playback {
        let free = u16::try_from(title.width()).unwrap_or(u16::MAX);
        let between = (area.x + free.min(room), area.x + room);
        draw_bar(buffer, between, area.y, playback, view.at);
    }
    title.render(Rect::new(area.x, area.y, room, 1), buffer);
    buffer.set_stringn(area.x + room, area.y, &mode, mode_width.into(), style);
}

/// What was typed to choose among them, how many match, and by what they are grouped.
fn arranged(view: &View<'_>) -> String {
    let mut text = String::new();
    if let Some(query) = view.rows.query() {
        let (matched, unknown) = view.rows.counts();
        // The numbers first: what is typed can be long.
        text.push_str(&format!("  {matched} match"));
        if unknown > 0 {
            text.push_str(&format!(", {unknown} unknown"));
        }
        text.push_str(&format!(": {}", plain(query.text())));
    }
    if let Some(by) = view.rows.grouped_by() {
        text.push_str(&format!("  by {}", by.name()));
    }
    text
}

/// A namespace by its name, also where it was named by its path in the place of `ip netns`.
fn brief(name: &str) -> &str {
    name.strip_prefix("/run/netns/")
        .or_else(|| name.strip_prefix("/var/run/netns/"))
        .unwrap_or(name)
}

/// What is recorded beside it, in front of the corner: as much of that as there is room for.
fn with_recording(mode: String, view: &View<'_>, room: usize) -> String {
    let Some(bytes) = view.heard.recorded() else {
        return mode;
    };
    [
        format!(" REC {} {mode}", size(bytes)),
        format!(" REC {mode}"),
    ]
    .into_iter()
    .find(|text| text.chars().count() < room)
    .unwrap_or(mode)
}

/// In full, or else in brief, or else cut off.
fn sources_in(view: &View<'_>, width: u16) -> Line<'static> {
    let full = sources_line(view, words);
    if full.width() <= usize::from(width) {
        return full;
    }
    cut(sources_line(view, brief_words), width)
}

type Words = fn(SourceName, &SourceState) -> String;

fn sources_line(view: &View<'_>, words: Words) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    if let Some(text) = view.heard.recording() {
        let text = plain(text).into_owned();
        spans.push(Span::styled(text, view.theme.alert()));
        spans.push(Span::raw("; "));
    }
    let first = spans.len();
    let sources = view.heard.sources();
    if sources.is_empty() {
        spans.push(Span::styled("no source has begun yet", view.theme.quiet()));
    }
    // Those that run come first: when the line is too long, it is reasons that are cut off.
    let is_running = |state: &SourceState| matches!(state, SourceState::Running { .. });
    let running = sources.iter().filter(|(_, state)| is_running(state));
    let off = sources.iter().filter(|(_, state)| !is_running(state));
    for (name, state) in running.chain(off) {
        if spans.len() > first {
            spans.push(Span::raw("; "));
        }
        let style = source_style(state, view);
        spans.push(Span::styled(words(*name, state), style));
    }
    Line::from(spans)
}

/// A line that is too long ends in `…`; the help has it in full.
fn cut(line: Line<'static>, width: u16) -> Line<'static> {
    let width = usize::from(width);
    if line.width() <= width {
        return line;
    }
    let mut room = width.saturating_sub(2);
    let mut spans = Vec::with_capacity(line.spans.len() + 1);
    for span in line.spans {
        let content = head(&span.content, room);
        room -= width_of(&content);
        spans.push(Span::styled(content, span.style));
    }
    spans.push(Span::raw("\u{2026}"));
    Line::from(spans)
}

fn source_style(state: &SourceState, view: &View<'_>) -> Style {
    match state {
        SourceState::Running { .. } => Style::new(),
        SourceState::Off { .. } if view.heard.is_watching() => view.theme.quiet(),
        SourceState::Off { .. } => view.theme.alert(),
    }
}

fn counts_line(view: &View<'_>, filter: &Filter, width: u16) -> Line<'static> {
    let width = usize::from(width);
    let (short, full) = lost(view);
    let tail = tail(view, filter, width.saturating_sub(3 + short.width()));
    let taken: usize = tail.iter().chain([&short]).map(Span::width).sum();
    let mut spans = vec![Span::raw(" ")];
    spans.extend(listeners(view, width.saturating_sub(taken + 4)));
    spans.push(Span::raw("  "));
    spans.extend(tail);
    let taken: usize = spans.iter().map(Span::width).sum();
    let fits = taken + full.width() <= width;
    spans.push(if fits { full } else { short });
    Line::from(spans)
}

/// The picture's counts, and what was found, in as many words as there is room for beside the first
/// listener.
fn tail(view: &View<'_>, filter: &Filter, room: usize) -> Vec<Span<'static>> {
    let totals = view.picture.totals();
    let dropped = match totals.dropped {
        0 => String::new(),
        n => format!(" ({n} forgotten)"),
    };
    let open = format!("{} open, ", totals.open);
    let seen = format!("{} seen{dropped}, ", totals.seen);
    let found = [Severity::token, word_of].map(|word| found(view, filter, word));
    let [words, signs] = found;
    let first = listeners(view, 0).iter().map(Span::width).sum::<usize>();
    let both = format!("{open}{seen}");
    let fits = |text: &str, found: &[Span<'_>]| {
        let found: usize = found.iter().map(Span::width).sum();
        first + text.chars().count() + found <= room
    };
    let (text, found) = match () {
        () if signs.is_empty() || fits(&both, &words) => (both, words),
        () if fits(&both, &signs) => (both, signs),
        () if fits(&open, &signs) => (open, signs),
        () if fits("", &signs) => (String::new(), signs),
        // The worst, and the comma behind it.
        () => (
            String::new(),
            [&signs[..1], &signs[signs.len() - 1..]].concat(),
        ),
    };
    std::iter::once(Span::raw(text)).chain(found).collect()
}

/// How much was found and is not over, worst first; nothing when nothing was.
fn found(
    view: &View<'_>,
    filter: &Filter,
    word: fn(Severity) -> &'static str,
) -> Vec<Span<'static>> {
    let (counts, stopped) = if *filter == Filter::default() {
        let count = |severity| view.diagnosis.count(severity);
        (Severity::ALL.map(count), None)
    } else {
        counted(view, filter)
    };
    let found = Severity::ALL.into_iter().zip(counts).rev();
    let mut spans: Vec<Span<'static>> = Vec::new();
    for (severity, count) in found.filter(|(_, count)| *count > 0) {
        let more = if stopped == Some(severity) { "+" } else { "" };
        let word = word(severity);
        let gap = if word.len() > 1 { " " } else { "" };
        let text = format!("{count}{more}{gap}{word}");
        spans.push(Span::styled(text, view.theme.severity(severity)));
        spans.push(Span::raw(" "));
    }
    if !spans.is_empty() {
        spans.pop();
        spans.push(Span::raw(", "));
    }
    spans
}

/// Those that the filter lets through, and where the counting stopped: a picture may not take long.
fn counted(view: &View<'_>, filter: &Filter) -> ([usize; 3], Option<Severity>) {
    const MOST: usize = 1000;
    let mut counts = [0; 3];
    let all = view.diagnosis.ranked(..);
    let holds = all.take_while(|finding| finding.over.is_none());
    for (index, finding) in holds.enumerate() {
        if index == MOST {
            return (counts, Some(finding.severity));
        }
        if view.asked(filter).wants_finding(finding) {
            counts[finding.severity as usize] += 1;
        }
    }
    (counts, None)
}

/// What the collecting has lost up to now, short and with its reason.
fn lost(view: &View<'_>) -> (Span<'static>, Span<'static>) {
    let totals = view.tracker.totals();
    let short = match (totals.losses, totals.lost) {
        (0, _) => return (Span::raw("lost 0"), Span::raw("lost 0")),
        (1, 0) => "lost some".to_owned(),
        (times, 0) => format!("lost some, {times} times"),
        (_, n) => format!("lost {n}"),
    };
    let style = view.theme.alert();
    let full = loss_text(view).unwrap_or_else(|| short.clone());
    (Span::styled(short, style), Span::styled(full, style))
}

/// What was lost and why, `None` when nothing was.
pub(super) fn loss_text(view: &View<'_>) -> Option<String> {
    let totals = view.tracker.totals();
    let why = plain(view.heard.last_loss()?);
    Some(match totals.lost {
        0 if totals.losses == 1 => format!("lost some: {why}"),
        0 => format!("lost some, {} times: {why}", totals.losses),
        n => format!("lost {n}: {why}"),
    })
}

/// As many listeners as fit, full ones and those with waiting connections first.
fn listeners(view: &View<'_>, room: usize) -> Vec<Span<'static>> {
    let mut all: Vec<&Listener> = view.picture.listeners().collect();
    if all.is_empty() {
        return vec![Span::styled("no listener", view.theme.quiet())];
    }
    all.sort_by_key(|listener| Reverse((is_full(listener), listener.waiting)));
    let mut spans = vec![Span::raw("listening")];
    let mut used = "listening".len();
    for (index, listener) in all.iter().enumerate() {
        let rest = format!(" +{}", all.len() - index);
        let last = index + 1 == all.len();
        let free = room.saturating_sub(used + if last { 0 } else { rest.len() });
        let [full, short] = listener_words(listener, view);
        let text = if width_of(&full) <= free { full } else { short };
        if width_of(&text) > free && index > 0 {
            spans.push(Span::raw(rest));
            break;
        }
        used += width_of(&text);
        spans.push(Span::styled(text, queue_style(listener, view.theme)));
    }
    spans
}

/// With its owner, where one is known, and without.
fn listener_words(listener: &Listener, view: &View<'_>) -> [String; 2] {
    let (local, queue) = (listener.local(), queue(listener));
    let short = format!(" {local} {queue}");
    let full = match owners::brief(view.picture.owners_of(listener)) {
        Some(owner) => format!(" {local} {owner} {queue}"),
        None => short.clone(),
    };
    [full, short]
}

fn queue(listener: &Listener) -> String {
    let full = if is_full(listener) { " FULL" } else { "" };
    match listener.backlog {
        Some(backlog) => format!("queue {}/{backlog}{full}", listener.waiting),
        None => format!("queue {}", listener.waiting),
    }
}

fn queue_style(listener: &Listener, theme: Theme) -> Style {
    match (is_full(listener), listener.waiting) {
        (true, _) => theme.alert(),
        (false, 0) => Style::new(),
        (false, _) => theme.strong(),
    }
}

/// The kernel lets one more in than the backlog says; at the backlog, it is as good as full.
fn is_full(listener: &Listener) -> bool {
    listener
        .backlog
        .is_some_and(|backlog| listener.waiting >= backlog.max(1))
}
