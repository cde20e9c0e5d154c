//! The findings in the place of the list, worst first, and all that is said of the chosen one:
//! its sentence, what it rests on, and what to do.
//!
//! The chosen one is kept by its number, so it stays chosen while others come and go. The trap: ten
//! thousand can be known, so rows are taken from where the choice is, and none is counted.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::{Diagnosis, Finding, Place, Subject};
use crate::model::Timestamp;
use crate::timeline::{Connection, Side};
use crate::view::finding::{brief, sentence, since, was_there_before};
use crate::view::plain::plain;
use crate::view::tui::choice::{Chosen, Move};
use crate::view::tui::fit::{wrap, wrap_behind};
use crate::view::tui::mouse::Places;
use crate::view::tui::sign::of_severity;
use crate::view::tui::{View, cut, lanes, list, pad};

/// Which finding is chosen, and which part of them is in sight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    chosen: Option<u64>,
    top: Option<Place>,
}

impl Choice {
    /// The chosen finding; the worst, when none was chosen yet or that one is forgotten.
    pub(super) fn settle<'a>(&mut self, shown: Chosen<'a>) -> Option<&'a Finding> {
        let diagnosis = shown.asked.diagnosis;
        let wanted = |finding: &&Finding| shown.wants_finding(finding);
        let kept = self.chosen.and_then(|number| diagnosis.get(number));
        let finding = kept
            .filter(wanted)
            .or_else(|| diagnosis.ranked(..).find(wanted));
        self.chosen = finding.map(|finding| finding.number);
        finding
    }

    /// Moves the choice by rows, or to an end.
    pub(super) fn choose<'a>(&mut self, to: Move, shown: Chosen<'a>) -> Option<&'a Finding> {
        let diagnosis = shown.asked.diagnosis;
        let now = Place::of(self.settle(shown)?);
        let wanted = |finding: &&Finding| shown.wants_finding(finding);
        let passed = match to {
            Move::Up(by) => diagnosis.ranked(..now).rev().filter(wanted).take(by).last(),
            Move::Down(by) => diagnosis.ranked(now..).filter(wanted).take(by + 1).last(),
            Move::First => diagnosis.ranked(..).find(wanted),
            Move::Last => diagnosis.ranked(..).rev().find(wanted),
        };
        if let Some(finding) = passed {
            self.chosen = Some(finding.number);
        }
        self.settle(shown)
    }

    /// Chooses a finding by its number.
    pub(super) const fn put(&mut self, number: u64) {
        self.chosen = Some(number);
    }

    /// Whether this one is chosen.
    pub(super) fn is_on(&self, number: u64) -> bool {
        self.chosen == Some(number)
    }

    /// The chosen one, `None` when none is.
    pub(super) fn chosen<'a>(&self, diagnosis: &'a Diagnosis) -> Option<&'a Finding> {
        diagnosis.get(self.chosen?)
    }

    /// At most `height` findings, the chosen one among them.
    fn rows<'a>(
        &mut self,
        shown: Chosen<'a>,
        diagnosis: &'a Diagnosis,
        chosen: &Finding,
        height: usize,
    ) -> Vec<&'a Finding> {
        let wanted = |finding: &&Finding| shown.wants_finding(finding);
        let here = Place::of(chosen);
        let top = self.top.unwrap_or(here).min(here);
        let below = diagnosis.ranked(top..).filter(wanted);
        let mut rows: Vec<&Finding> = below.take(height).collect();
        if rows.last().is_none_or(|last| Place::of(last) < here) {
            let above = diagnosis.ranked(..=here).rev().filter(wanted);
            rows = above.take(height).collect();
            rows.reverse();
        }
        if let Some(first) = rows.first().map(|first| Place::of(first)) {
            let above = diagnosis.ranked(..first).rev().filter(wanted);
            let mut filled: Vec<&Finding> = above.take(height - rows.len()).collect();
            filled.reverse();
            filled.append(&mut rows);
            rows = filled;
        }
        self.top = rows.first().map(|first| Place::of(first));
        rows
    }
}

/// Draws the pane.
pub(super) fn draw(
    buffer: &mut Buffer,
    body: Rect,
    view: &View<'_>,
    shown: Chosen<'_>,
    choice: &mut Choice,
    places: &mut Places,
) {
    let Some(chosen) = choice.settle(shown) else {
        draw_none(buffer, body, view, shown.query.is_some());
        return;
    };
    let connections: Vec<&Connection> = chosen
        .subject
        .connections()
        .filter_map(|conn| view.picture.get(conn))
        .collect();
    let panes = panes(body, connections.len());
    let height = list::capacity(panes[0].height).max(1);
    let rows = choice.rows(shown, view.diagnosis, chosen, height);
    draw_rows(
        buffer,
        panes[0],
        view,
        &rows,
        chosen,
        more(shown, view, &rows),
    );
    if panes[1].height > 0 {
        let focus = chosen.subject.end().map(|(conn, _)| conn);
        lanes::draw(buffer, panes[1], view, &connections, focus);
    }
    let conns = connections
        .iter()
        .map(|connection| connection.id())
        .collect();
    places.note(Rect::default(), Vec::new(), panes[1], conns);
    places.note_findings(panes[0], rows.iter().map(|row| row.number).collect());
    draw_chosen(buffer, panes[2], view, chosen);
}

/// The rows, the lanes of what the chosen one is about, and what is said of it.
fn panes(body: Rect, connections: usize) -> [Rect; 3] {
    let said = (body.height * 2 / 5)
        .max(8)
        .min(body.height.saturating_sub(3));
    let wanted = 1 + 2 * u16::try_from(connections).unwrap_or(2);
    let lanes = match body.height.saturating_sub(said) {
        rest if connections > 0 && rest >= wanted + 4 => wanted,
        _ => 0,
    };
    Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length(lanes),
        Constraint::Length(said),
    ])
    .areas(body)
}

/// Which way the findings go on.
fn more(shown: Chosen<'_>, view: &View<'_>, rows: &[&Finding]) -> &'static str {
    let wanted = |finding: &&Finding| shown.wants_finding(finding);
    let place = |finding: Option<&&Finding>| finding.map(|finding| Place::of(finding));
    let above = place(rows.first())
        .is_some_and(|first| view.diagnosis.ranked(..first).rev().any(|it| wanted(&it)));
    let below = place(rows.last())
        .is_some_and(|last| view.diagnosis.ranked(last..).skip(1).any(|it| wanted(&it)));
    list::more_words((above, below))
}

/// Columns of the sign, the number and the letter.
const SUBJECT: usize = 11;
/// The longest code.
const CODE: usize = 25;
const AGE: usize = 8;

fn draw_rows(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    rows: &[&Finding],
    chosen: &Finding,
    more: &'static str,
) {
    let heading = Rect::new(area.x, area.y, area.width, 1);
    buffer.set_style(heading, view.theme.bar());
    let title = format!(
        "{:>8} {} {:>AGE$}  {more}",
        "#",
        pad("  found, worst first", CODE + 1),
        "for"
    );
    Line::from(title).render(heading, buffer);
    for (y, finding) in (area.y + 1..area.bottom()).zip(rows) {
        let row = Rect::new(area.x, y, area.width, 1);
        let is_chosen = finding.number == chosen.number;
        row_line(finding, view, is_chosen, area.width).render(row, buffer);
    }
}

/// `>!     2 B close-wait-leaked            41 s  python3[812]: all data was read ...`
fn row_line(finding: &Finding, view: &View<'_>, is_chosen: bool, width: u16) -> Line<'static> {
    let mut style = match finding.over {
        Some(_) => view.theme.quiet(),
        None => Style::new(),
    };
    if is_chosen {
        style = style.add_modifier(Modifier::BOLD);
    }
    let sign_style = match finding.over {
        Some(_) => style,
        None => view.theme.severity(finding.severity),
    };
    let rest = usize::from(width).saturating_sub(SUBJECT + CODE + AGE + 2);
    let age = match finding.over {
        Some(_) => "over".to_owned(),
        None => since(finding, view.at),
    };
    Line::from(vec![
        Span::styled(if is_chosen { ">" } else { " " }, style),
        Span::styled(of_severity(finding.severity).to_string(), sign_style),
        Span::styled(format!("{:>6} ", subject(finding)), style),
        Span::styled(letter(finding), style),
        Span::styled(pad(finding.code.token(), CODE), style),
        Span::styled(format!("{age:>AGE$}  "), style),
        Span::styled(cut(&plain(&brief(finding)), rest), style),
    ])
}

fn subject(finding: &Finding) -> String {
    let end = finding.subject.end();
    end.map_or_else(|| "-".to_owned(), |(conn, _)| conn.to_string())
}

fn letter(finding: &Finding) -> &'static str {
    match finding.subject {
        Subject::End(_, Side::A) => "A ",
        Subject::End(_, Side::B) => "B ",
        Subject::Pair { .. } => "+ ",
        Subject::Listener(_) | Subject::Destination { .. } => "  ",
    }
}

/// The sentence, the evidence and the advice.
fn draw_chosen(buffer: &mut Buffer, area: Rect, view: &View<'_>, finding: &Finding) {
    if area.height == 0 {
        return;
    }
    let bar = Rect::new(area.x, area.y, area.width, 1);
    buffer.set_style(bar, view.theme.bar());
    Line::from(title(finding, view)).render(bar, buffer);
    let room = usize::from(area.height - 1);
    let lines = said(finding, view, area.width, room);
    for (y, line) in (area.y + 1..area.bottom()).zip(lines) {
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

/// ` warn: close-wait-leaked, since 14:02:35.000000`
pub(super) fn title(finding: &Finding, view: &View<'_>) -> String {
    let time = |at: Timestamp| view.heard.time(at).trim().to_owned();
    let (code, severity) = (finding.code.token(), finding.severity.token());
    let begun = time(finding.at);
    let was_there = was_there_before(finding, view.tracker);
    let when = match (finding.over, finding.code.is_fact()) {
        (_, true) => format!("at {begun}"),
        (None, false) if was_there => format!("found at {begun}"),
        (Some(over), false) if was_there => format!("found at {begun}, over at {}", time(over)),
        (None, false) => format!("since {begun}"),
        (Some(over), false) => format!("from {begun} to {}, over", time(over)),
    };
    format!(" {severity}: {code}, {when}")
}

/// As much of it as there is room for: what to do is worth more than what it rests on.
fn said(finding: &Finding, view: &View<'_>, width: u16, room: usize) -> Vec<Line<'static>> {
    let strong = match finding.over {
        Some(_) => view.theme.quiet(),
        None => view.theme.strong(),
    };
    let width = usize::from(width.saturating_sub(2));
    let sentence = plain(&sentence(finding, view.at)).into_owned();
    let mut lines: Vec<Line<'static>> = wrap(&sentence, width)
        .into_iter()
        .map(|line| Line::styled(format!(" {line}"), strong))
        .collect();
    let reasons = reasons(finding, width);
    let advice = advice(finding, width);
    if lines.len() + reasons.len() + advice.len() <= room {
        lines.extend(reasons);
    }
    lines.extend(advice);
    if lines.len() > room {
        lines.truncate(room);
        if let Some(last) = lines.last_mut() {
            last.push_span(Span::raw(" \u{2026}"));
        }
    }
    lines
}

/// ` why: Recv-Q 1: the FIN alone`
pub(super) fn reasons(finding: &Finding, width: usize) -> Vec<Line<'static>> {
    let all: Vec<String> = finding
        .evidence
        .iter()
        .map(|reason| plain(reason).into_owned())
        .collect();
    wrap_behind(" why: ", &all.join("; "), width)
}

/// ` do:  Read until recv() returns 0, and close.`
pub(super) fn advice(finding: &Finding, width: usize) -> Vec<Line<'static>> {
    wrap_behind(" do:  ", &plain(&finding.advice), width)
}

/// None yet: what would be one.
fn draw_none(buffer: &mut Buffer, area: Rect, view: &View<'_>, is_typed: bool) {
    let old = crate::view::duration::brief(view.diagnosis.settings().older_than);
    let lines = match is_typed {
        true => {
            vec!["Nothing that was found matches: / and Esc shows all.".to_owned()]
        }
        false => vec![
            "Nothing was found.".to_owned(),
            format!("A CLOSE_WAIT, or a FIN_WAIT2 whose descriptor is held, counts from {old} on."),
        ],
    };
    let lines = lines
        .iter()
        .flat_map(|text| wrap(text, usize::from(area.width.saturating_sub(2))));
    let top = area.y + area.height / 3;
    for (y, line) in (top..area.bottom()).zip(lines) {
        let row = Rect::new(area.x, y, area.width, 1);
        Line::raw(line).centered().render(row, buffer);
    }
}
