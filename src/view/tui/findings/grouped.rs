//! A group of findings on the screen: its row, and what doctor says of it.
//!
//! Knows nothing of how groups are made.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use crate::diagnosis::words::counted;
use crate::view::tui::findings::order::{Group, Said};
use crate::view::tui::findings::{CODE, clipped};
use crate::view::tui::fit::{wrap, wrap_behind};
use crate::view::tui::list::{OPEN, SHUT};
use crate::view::tui::sign::of_severity;
use crate::view::tui::{View, cut, pad};

/// The mark, the sign, and whether it is open.
const BEFORE: usize = 5;
const COUNT: usize = 6;

/// What stands above the rows.
pub(super) fn heading(more: &str) -> String {
    let what = pad("group, worst first", CODE);
    format!("{:BEFORE$}{what}{:>COUNT$}  {more}", "", "count")
}

/// `>! ▸ close-wait-leaked           200  python3[11970] leak_srv.py: 200 connections in ...`
pub(super) fn row_line(
    group: &Group,
    said: Option<&Said>,
    view: &View<'_>,
    is_chosen: bool,
    width: u16,
) -> Line<'static> {
    let (mut style, sign) = match said {
        Some(_) => (Style::new(), view.theme.severity(group.severity)),
        None => (view.theme.quiet(), view.theme.quiet()),
    };
    if is_chosen {
        style = style.add_modifier(Modifier::BOLD);
    }
    let turn = if group.is_open { OPEN } else { SHUT };
    let code = group.code().map_or("over", |code| code.token());
    let text = said.map_or(OVER, |said| &said.sentence);
    let room = usize::from(width).saturating_sub(BEFORE + CODE + COUNT + 2);
    let count = group.members.len();
    Line::from(vec![
        Span::styled(if is_chosen { ">" } else { " " }, style),
        Span::styled(of_severity(group.severity).to_string(), sign),
        Span::styled(
            format!(
                " {turn} {}{count:>COUNT$}  {}",
                pad(code, CODE),
                cut(text, room)
            ),
            style,
        ),
    ])
}

/// What is said of those that hold no more.
const OVER: &str = "was so, and is no more";

/// ` warn: close-wait-leaked, 200 findings, Enter shows them`
pub(super) fn title(group: &Group) -> String {
    let count = counted(group.members.len(), "finding");
    let does = if group.is_open { "hides" } else { "shows" };
    let what = match group.code() {
        Some(code) => format!("{}: {}", group.severity.token(), code.token()),
        None => "over".to_owned(),
    };
    format!(" {what}, {count}; Enter {does} them")
}

/// The sentence, who holds them, and what to do; what it rests on, where there is room for it too.
pub(super) fn said(
    said: Option<&Said>,
    view: &View<'_>,
    width: u16,
    room: usize,
) -> Vec<Line<'static>> {
    let width = usize::from(width.saturating_sub(2));
    let Some(said) = said else {
        return vec![Line::styled(format!(" {OVER}"), view.theme.quiet())];
    };
    let sentence = wrap(&format!("{}.", said.sentence), width).into_iter();
    let mut lines: Vec<Line<'static>> = sentence
        .map(|line| Line::styled(format!(" {line}"), view.theme.strong()))
        .collect();
    let advice = wrap_behind(" do:  ", &said.advice, width);
    let why = said.seen.as_ref();
    let why = why.map_or_else(Vec::new, |seen| wrap_behind(" why: ", seen, width));
    let who = said.holders.iter();
    let who: Vec<Line<'static>> = who
        .flat_map(|holder| wrap_behind(" who: ", holder, width))
        .collect();
    let mut left = room.saturating_sub(lines.len() + advice.len());
    // Who it is, before why.
    let has_who = who.len() <= left;
    left -= if has_who { who.len() } else { 0 };
    if why.len() <= left {
        lines.extend(why);
    }
    if has_who {
        lines.extend(who);
    }
    lines.extend(advice);
    clipped(lines, room)
}
