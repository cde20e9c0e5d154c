//! The findings in the place of the list, worst first, and all that is said of the chosen one:
//! its sentence, what it rests on, and what to do.
//!
//! The chosen one is kept by its number, so it stays chosen while others come and go. The trap: ten
//! thousand can be known, so a picture asks none that is not in sight whether it is wanted.

mod grouped;
mod order;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::{Finding, Subject};
use crate::model::Timestamp;
use crate::timeline::{Connection, Side};
use crate::view::Asked;
use crate::view::finding::{brief, sentence, since, was_there_before};
use crate::view::plain::plain;
use crate::view::tui::choice::{Chosen, Move};
use crate::view::tui::fit::{wrap, wrap_behind};
use crate::view::tui::keys::Action;
use crate::view::tui::mouse::Places;
use crate::view::tui::query::Query;
use crate::view::tui::rows::{Of, Pace};
use crate::view::tui::sign::of_severity;
use crate::view::tui::{View, copied, cut, lanes, list, pad, pane};
pub(super) use order::Row;
use order::{Order, finding_of};

/// Which row is chosen, and which part of them is in sight.
#[derive(Debug, Default)]
pub(super) struct Choice {
    order: Order,
    chosen: Option<Row>,
    /// The user chose it; else it is the worst.
    is_own: bool,
    /// Where the chosen row was, for when it is gone.
    place: usize,
    top: usize,
    top_row: Option<Row>,
}

impl Choice {
    /// Makes the rows again if that is due.
    pub(super) fn refresh(&mut self, of: Of<'_>, query: Option<&Query>) {
        self.order.refresh(of, query, self.chosen);
        // There is a choice from then on.
        self.row();
    }

    /// Other rows, or their order made again: says what was done, `None` where that is nothing.
    pub(super) fn arrange(&mut self, action: Action) -> Option<&'static str> {
        match action {
            Action::Group => Some(self.toggle_groups()),
            Action::SortAgain => {
                self.order.ask_again();
                Some("worst first")
            }
            _ => None,
        }
    }

    fn toggle_groups(&mut self) -> &'static str {
        match self.chosen {
            Some(Row::Group(id)) => {
                let first = self.order.group(id).and_then(|group| group.members.first());
                self.chosen = first.map(|&number| Row::Finding(number));
            }
            Some(Row::Finding(_)) if !self.is_own => self.chosen = None,
            _ => {}
        }
        self.order.toggle_groups();
        match self.order.is_grouped() {
            true => "grouped by process, peer and finding, as doctor does; Enter opens a group",
            false => "not grouped",
        }
    }

    /// Opens the chosen group, or shuts it; says whether a group was chosen.
    pub(super) fn toggle_chosen(&mut self) -> bool {
        match self.row() {
            Some(Row::Group(id)) => {
                self.order.toggle(id);
                true
            }
            _ => false,
        }
    }

    /// The chosen row: the worst when none was chosen yet. One that is not there has another in its
    /// place, and is chosen again when it is there.
    fn row(&mut self) -> Option<Row> {
        let there = self.chosen.map(|row| self.order.place(row));
        let place = there.map_or(0, |place| place.unwrap_or(self.place));
        let rows = self.order.rows();
        self.place = place.min(rows.len().checked_sub(1)?);
        let row = rows[self.place];
        self.chosen = self.chosen.or(Some(row));
        Some(row)
    }

    /// The chosen finding; of a group its first.
    pub(super) fn settle<'a>(&mut self, shown: Chosen<'a>) -> Option<&'a Finding> {
        let row = self.row()?;
        finding_of(&self.order, row, shown.asked.diagnosis)
    }

    /// Moves the choice by rows, or to an end.
    pub(super) fn choose<'a>(&mut self, to: Move, shown: Chosen<'a>) -> Option<&'a Finding> {
        self.row()?;
        let last = self.order.rows().len() - 1;
        let place = match to {
            Move::Up(by) => self.place.saturating_sub(by),
            Move::Down(by) => (self.place + by).min(last),
            Move::First => 0,
            Move::Last => last,
        };
        self.put(self.order.rows()[place]);
        self.settle(shown)
    }

    /// Chooses a row.
    pub(super) const fn put(&mut self, row: Row) {
        self.chosen = Some(row);
        self.is_own = true;
    }

    /// What Enter does with the chosen row.
    pub(super) const fn enter_does(&self) -> &'static str {
        match self.chosen {
            Some(Row::Group(_)) => "open",
            Some(Row::Finding(_)) | None => "go to it",
        }
    }

    /// Whether this one is chosen.
    pub(super) fn is_on(&mut self, row: Row) -> bool {
        self.row() == Some(row)
    }

    /// The chosen row as a line for a message.
    pub(super) fn copied(&mut self, asked: Asked<'_>) -> Option<String> {
        match self.row()? {
            Row::Finding(number) => {
                let finding = asked.diagnosis.get(number)?;
                Some(copied::finding(finding, asked.at))
            }
            Row::Group(id) => {
                let group = self.order.group(id)?;
                let (severity, code) = (group.severity.token(), group.code()?.token());
                // What is copied may be kept: it is said as of now.
                let said = self.order.say(id, asked, Pace::Still)?;
                let (sentence, advice) = (&said.sentence, &said.advice);
                Some(format!("{severity} {code}: {sentence}. {advice}"))
            }
        }
    }

    /// At most `height` rows, the chosen one among them, and which way they go on.
    fn in_sight(&mut self, height: usize) -> (Vec<Row>, (bool, bool)) {
        let all = self.order.rows();
        // What comes or goes above moves the rows in sight no more than it has to.
        let top = self.top_row.and_then(|row| self.order.place(row));
        let lowest = all.len().saturating_sub(height);
        let least = (self.place + 1).saturating_sub(height);
        let top = top.unwrap_or(self.top);
        let top = top.clamp(least, self.place.max(least)).min(lowest);
        self.top = top;
        self.top_row = all.get(top).copied();
        let end = (top + height).min(all.len());
        (all[top..end].to_vec(), (top > 0, end < all.len()))
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
    let row = choice.row();
    let chosen = choice.settle(shown);
    let (Some(row), Some(chosen)) = (row, chosen) else {
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
    let (rows, more) = choice.in_sight(height);
    let order = &mut choice.order;
    let heading = Rect::new(panes[0].x, panes[0].y, panes[0].width, 1);
    buffer.set_style(heading, view.theme.bar());
    Line::from(heading_of(order, list::more_words(more))).render(heading, buffer);
    draw_rows(buffer, panes[0], view, shown, order, (&rows, row));
    if panes[1].height > 0 {
        let focus = chosen.subject.end().map(|(conn, _)| conn);
        lanes::draw(buffer, panes[1], view, &connections, focus);
    }
    let conns = connections
        .iter()
        .map(|connection| connection.id())
        .collect();
    places.note(Rect::default(), Vec::new(), panes[1], conns);
    places.note_findings(panes[0], rows);
    if panes[2].height == 0 {
        return;
    }
    let (width, room) = (panes[2].width, usize::from(panes[2].height - 1));
    let group = match row {
        Row::Group(id) => order.group(id).map(|group| (id, grouped::title(group))),
        Row::Finding(_) => None,
    };
    let (title, lines) = match group {
        Some((id, title)) => {
            let said = order.say(id, shown.asked, view.pace());
            (title, grouped::said(said, view, width, room))
        }
        None => (title(chosen, view), said(chosen, view, width, room)),
    };
    pane::draw(buffer, panes[2], view, title.into(), lines);
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

/// What stands above the rows.
fn heading_of(order: &Order, more: &'static str) -> String {
    if order.is_grouped() {
        return grouped::heading(more);
    }
    let found = pad("  found, worst first", CODE + 1);
    format!("{:>8} {found} {:>AGE$}  {more}", "#", "for")
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
    shown: Chosen<'_>,
    order: &mut Order,
    (rows, chosen): (&[Row], Row),
) {
    for (y, &row) in (area.y + 1..area.bottom()).zip(rows) {
        let is_chosen = row == chosen;
        let line = match row {
            Row::Finding(number) => match view.diagnosis.get(number) {
                Some(finding) => row_line(finding, view, is_chosen, area.width),
                None => continue,
            },
            Row::Group(id) => {
                let said = order.say(id, shown.asked, view.pace()).cloned();
                match order.group(id) {
                    Some(group) => {
                        grouped::row_line(group, said.as_ref(), view, is_chosen, area.width)
                    }
                    None => continue,
                }
            }
        };
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
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
    clipped(lines, room)
}

/// As many lines as there is room for; that there are more is said.
fn clipped(mut lines: Vec<Line<'static>>, room: usize) -> Vec<Line<'static>> {
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
