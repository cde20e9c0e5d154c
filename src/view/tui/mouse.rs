//! What the mouse points at, and what it does there: press chooses, press again opens, the wheel moves
//! the list, the text or the time axis, and a press on a heading sorts.
//!
//! Places are those of the last picture: what was pressed is what was seen.

use std::ops::Range;

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::timeline::ConnId;
use crate::view::tui::choice::Move;
use crate::view::tui::keys::Action;
use crate::view::tui::lanes::gutter_width;
use crate::view::tui::rows::Row;
use crate::view::tui::rows::sort::Column;
use crate::view::tui::{App, Reaction, Screen, findings};

/// Rows that a turn of the wheel moves.
const TURN: usize = 3;

/// Where things are on the screen.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// With its heading.
    list: Rect,
    rows: Vec<Row>,
    /// What the columns of the list's heading sort by.
    pub(super) columns: Vec<(Range<u16>, Column)>,
    /// With their axis.
    lanes: Rect,
    conns: Vec<ConnId>,
    pub(super) details: Rect,
    /// The findings, with their heading.
    pub(super) found: Rect,
    pub(super) findings: Vec<findings::Row>,
    /// The last line, and what the keys that it names ask for.
    pub(super) foot: Rect,
    pub(super) hints: Vec<(Range<u16>, Action)>,
    /// Rows that a page has: those of the list when it was last drawn.
    page: usize,
}

impl Places {
    /// Nothing is anywhere; how long a page was is still known.
    pub(super) fn forget(&mut self) {
        *self = Self {
            page: self.page,
            ..Self::default()
        };
    }

    pub(super) fn note(&mut self, list: Rect, rows: Vec<Row>, lanes: Rect, conns: Vec<ConnId>) {
        (self.list, self.rows, self.lanes, self.conns) = (list, rows, lanes, conns);
        self.page = usize::from(list.height.saturating_sub(1));
    }

    pub(super) fn note_findings(&mut self, area: Rect, rows: Vec<findings::Row>) {
        (self.found, self.findings) = (area, rows);
        self.page = usize::from(area.height.saturating_sub(1));
    }

    /// The connections that have lanes.
    pub(super) fn lanes(&self) -> &[ConnId] {
        &self.conns
    }

    pub(super) fn page(&self) -> usize {
        self.page.max(1)
    }

    fn hint(&self, x: u16) -> Option<Action> {
        let mut all = self.hints.iter();
        all.find(|(place, _)| place.contains(&x))
            .map(|(_, action)| *action)
    }

    fn column(&self, x: u16) -> Option<Column> {
        let mut all = self.columns.iter();
        all.find(|(place, _)| place.contains(&x))
            .map(|(_, column)| *column)
    }
}

/// What stands in the nth row below the heading of a pane.
fn nth<T: Copy>(all: &[T], pane: Rect, y: u16, height: u16) -> Option<T> {
    let below = y.checked_sub(pane.y + 1)? / height;
    all.get(usize::from(below)).copied()
}

impl App {
    pub(super) fn take_mouse(
        &mut self,
        event: &MouseEvent,
        known: &Known,
        now: Timestamp,
    ) -> Reaction {
        let at = Position::new(event.column, event.row);
        if self.prompt.is_some() {
            return Reaction::Nothing;
        }
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => self.press(at, known, now),
            MouseEventKind::Drag(MouseButton::Left) => self.point_at(at, known, now),
            MouseEventKind::ScrollUp => self.turn(at, true, known, now),
            MouseEventKind::ScrollDown => self.turn(at, false, known, now),
            _ => Reaction::Nothing,
        }
    }

    fn press(&mut self, at: Position, known: &Known, now: Timestamp) -> Reaction {
        if self.places.foot.contains(at) {
            let action = self.places.hint(at.x);
            return action.map_or(Reaction::Nothing, |action| self.act(action, known, now));
        }
        if self.is_helping {
            return Reaction::Nothing;
        }
        let places = &self.places;
        if places.found.contains(at) {
            let Some(row) = nth(&places.findings, places.found, at.y, 1) else {
                return Reaction::Nothing;
            };
            let is_again = self.found.is_on(row);
            self.found.put(row);
            return match is_again || matches!(row, findings::Row::Group(_)) {
                true => self.act(Action::Enter, known, now),
                false => Reaction::Redraw,
            };
        }
        if places.list.contains(at) {
            return self.press_list(at, known, now);
        }
        self.point_at(at, known, now)
    }

    fn press_list(&mut self, at: Position, known: &Known, now: Timestamp) -> Reaction {
        let places = &self.places;
        if at.y == places.list.y {
            let Some(column) = places.column(at.x) else {
                return Reaction::Nothing;
            };
            self.sort_by(self.rows.sort().by(column));
            return Reaction::Redraw;
        }
        let Some(row) = nth(&places.rows, places.list, at.y, 1) else {
            return Reaction::Nothing;
        };
        let is_again = self.choice.row() == Some(row);
        self.choice.put(row);
        match is_again || matches!(row, Row::Group(_)) {
            true => self.act(Action::Enter, known, now),
            false => Reaction::Redraw,
        }
    }

    /// The cursor to where the lanes were pressed, and their connection is the chosen one.
    fn point_at(&mut self, at: Position, known: &Known, now: Timestamp) -> Reaction {
        let lanes = self.places.lanes;
        if self.is_helping || !lanes.contains(at) {
            return Reaction::Nothing;
        }
        if self.screen == Screen::Main
            && let Some(id) = nth(&self.places.conns, lanes, at.y, 2)
        {
            self.choice.put(Row::Conn(id));
        }
        let gutter = gutter_width(lanes.width);
        let Some(column) = at.x.checked_sub(lanes.x + gutter) else {
            return Reaction::Redraw;
        };
        let (picture, moment) = (self.follow.picture(known), self.follow.at(now));
        let chosen = self.choice.conn().and_then(|id| picture.tracker.get(id));
        self.viewport.point(column, moment, chosen);
        Reaction::Redraw
    }

    fn turn(&mut self, at: Position, is_up: bool, known: &Known, now: Timestamp) -> Reaction {
        let is_a_text = matches!(self.screen, Screen::Whole | Screen::Ladder);
        let text = match (self.is_helping, is_a_text) {
            (true, _) => Some(&mut self.help),
            (false, true) if self.places.details.contains(at) => Some(&mut self.scroll),
            _ => None,
        };
        if let Some(text) = text {
            match is_up {
                true => text.up(TURN),
                false => text.down(TURN),
            }
            return Reaction::Redraw;
        }
        if self.places.lanes.contains(at) {
            let action = match is_up {
                true => Action::ZoomIn,
                false => Action::ZoomOut,
            };
            return self.act(action, known, now);
        }
        let is_list = self.places.list.contains(at) || self.places.found.contains(at);
        if !is_list {
            return Reaction::Nothing;
        }
        let to = match is_up {
            true => Move::Up(TURN),
            false => Move::Down(TURN),
        };
        self.choose(to, known, now);
        Reaction::Redraw
    }
}
