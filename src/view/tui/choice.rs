//! Which row is chosen, and which part of the list is in sight.
//!
//! Both are kept as connection numbers, not as row indices: the chosen one stays chosen while
//! others come and go above it, and when it closes.

mod by_number;

use crate::diagnosis::{Diagnosis, Severity};
use crate::timeline::{ConnId, Connection, Side};
use crate::view::Asked;
use crate::view::tui::query::Query;
use crate::view::tui::rows::{Row, Rows};
use by_number::Window;

/// The connections that the user asked to see, in the order of their numbers.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) asked: Asked<'a>,
    /// What was typed to choose among them; rows know it by themselves.
    pub(super) query: Option<&'a Query>,
}

impl<'a> Chosen<'a> {
    fn wants(self) -> impl Fn(&&'a Connection) -> bool {
        move |connection| self.asked.wants(connection)
    }

    /// From `id` on, itself included.
    pub(super) fn from(self, id: ConnId) -> impl Iterator<Item = &'a Connection> {
        self.asked.tracker.connections_in(id..).filter(self.wants())
    }

    /// From the one before `id` upwards.
    pub(super) fn above(self, id: ConnId) -> impl Iterator<Item = &'a Connection> {
        self.asked
            .tracker
            .connections_in(..id)
            .rev()
            .filter(self.wants())
    }

    /// From the one after `id` on.
    pub(super) fn below(self, id: ConnId) -> impl Iterator<Item = &'a Connection> {
        self.from(ConnId(id.0.saturating_add(1)))
    }

    fn first(self) -> Option<ConnId> {
        self.from(ConnId(0)).next().map(Connection::id)
    }

    fn newest(self) -> Option<ConnId> {
        let all = self.asked.tracker.connections_in(..).rev();
        all.filter(self.wants()).map(Connection::id).next()
    }

    /// `id` itself, or when it was dropped the one that has its place.
    fn nearest(self, id: ConnId) -> Option<ConnId> {
        let beside = || self.above(id).next();
        self.from(id).next().or_else(beside).map(Connection::id)
    }
}

/// How bad the worst is that holds of a connection, or of one of its ends, or has happened to it.
pub(super) fn worst_of(
    diagnosis: &Diagnosis,
    conn: ConnId,
    side: Option<Side>,
) -> Option<Severity> {
    let all = diagnosis.about(conn);
    all.filter(|finding| finding.over.is_none())
        .filter(|finding| side.is_none_or(|side| finding.subject.is_about(conn, side)))
        .map(|finding| finding.severity)
        .max()
}

/// Which row the rest of the screen is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    /// None was there to choose yet; the first that comes is taken.
    Unset,
    /// This one.
    On(Row),
    /// Whichever was seen last.
    Newest,
}

/// The way a choice moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Up(usize),
    Down(usize),
    First,
    Last,
}

/// The chosen row, and what is in sight of the list and of the lanes.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    focus: Focus,
    /// Where the chosen row was, for when it is gone.
    place: usize,
    list: Window,
    lanes: Window,
    /// The first rows in sight of the list and of the lanes, where rows have an order of their own.
    tops: [usize; 2],
    top_rows: [Option<Row>; 2],
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            focus: Focus::Unset,
            place: 0,
            list: Window::default(),
            lanes: Window::default(),
            tops: [0; 2],
            top_rows: [None; 2],
        }
    }
}

/// Whether it is not known in this picture.
fn is_unknown(id: ConnId, chosen: Chosen<'_>) -> bool {
    chosen.asked.tracker.get(id).is_none()
}

/// What rows are to be in sight of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    List,
    Lanes,
}

impl Choice {
    pub(super) const fn follow_newest(&mut self) {
        self.focus = Focus::Newest;
    }

    pub(super) const fn put(&mut self, row: Row) {
        self.focus = Focus::On(row);
    }

    /// The row that is chosen for itself, not for being the newest.
    pub(super) const fn row(&self) -> Option<Row> {
        match self.focus {
            Focus::On(row) => Some(row),
            Focus::Unset | Focus::Newest => None,
        }
    }

    /// The connection that is chosen by its number, not by being the newest.
    pub(super) const fn conn(&self) -> Option<ConnId> {
        match self.focus {
            Focus::On(row) => row.conn(),
            Focus::Unset | Focus::Newest => None,
        }
    }

    /// The chosen row. A first choice, or one that replaces a row that is gone, is kept. A connection
    /// that is not known yet, in a replay that went back, has another in its place, and is chosen again
    /// when it is there.
    pub(super) fn settle(&mut self, chosen: Chosen<'_>, rows: &Rows) -> Option<Row> {
        let row = if rows.are_plain() {
            match self.focus {
                Focus::Newest => return chosen.newest().map(Row::Conn),
                Focus::On(Row::Conn(id)) if is_unknown(id, chosen) => {
                    return chosen.nearest(id).map(Row::Conn);
                }
                Focus::On(Row::Conn(id)) => Row::Conn(chosen.nearest(id)?),
                Focus::Unset | Focus::On(Row::Group(_)) => Row::Conn(chosen.first()?),
            }
        } else {
            let all = rows.all();
            let found = match self.focus {
                Focus::On(row) => rows.place(row),
                Focus::Newest => {
                    let places = all.iter().enumerate();
                    let newest = places.max_by_key(|(_, row)| row.conn());
                    newest.map(|(place, _)| place)
                }
                Focus::Unset => Some(0),
            };
            self.place = found.unwrap_or(self.place).min(all.len().checked_sub(1)?);
            let keeps = match self.focus {
                Focus::Newest => true,
                Focus::On(Row::Conn(id)) => is_unknown(id, chosen),
                Focus::On(Row::Group(_)) | Focus::Unset => false,
            };
            if keeps {
                return Some(all[self.place]);
            }
            all[self.place]
        };
        self.focus = Focus::On(row);
        Some(row)
    }

    /// Moves the choice by rows, or to an end.
    pub(super) fn go(&mut self, to: Move, chosen: Chosen<'_>, rows: &Rows) {
        let Some(now) = self.settle(chosen, rows) else {
            return;
        };
        if rows.are_plain() {
            self.go_by_number(to, now, chosen);
            return;
        }
        if to == Move::Last && rows.are_by_number() {
            // The newest that is among them.
            self.focus = Focus::Newest;
            return;
        }
        let last = rows.all().len() - 1;
        let place = match to {
            Move::Up(by) => self.place.saturating_sub(by),
            Move::Down(by) => (self.place + by).min(last),
            Move::First => 0,
            Move::Last => last,
        };
        self.place = place;
        self.focus = Focus::On(rows.all()[place]);
    }

    fn go_by_number(&mut self, to: Move, now: Row, chosen: Chosen<'_>) {
        let Some(id) = now.conn() else { return };
        let passed = match to {
            Move::Up(by) => chosen.above(id).take(by).last(),
            Move::Down(by) => chosen.below(id).take(by).last(),
            Move::First => chosen.from(ConnId(0)).next(),
            Move::Last => {
                self.focus = Focus::Newest;
                return;
            }
        };
        self.focus = Focus::On(Row::Conn(passed.map_or(id, Connection::id)));
    }

    /// The rows in sight, at most `height` of them, `focus` among them.
    pub(super) fn rows(
        &mut self,
        pane: Pane,
        chosen: Chosen<'_>,
        rows: &Rows,
        focus: Row,
        height: usize,
    ) -> Vec<Row> {
        if !rows.are_plain() {
            return self.rows_in_order(pane, rows, focus, height);
        }
        let window = match pane {
            Pane::List => &mut self.list,
            Pane::Lanes => &mut self.lanes,
        };
        let Some(id) = focus.conn() else {
            return Vec::new();
        };
        let in_sight = window.rows(chosen, id, height).into_iter();
        in_sight
            .map(|connection| Row::Conn(connection.id()))
            .collect()
    }

    fn rows_in_order(&mut self, pane: Pane, rows: &Rows, focus: Row, height: usize) -> Vec<Row> {
        let (all, pane) = (rows.all(), pane as usize);
        let place = rows.place(focus).unwrap_or(0);
        // What comes or goes above moves the rows in sight no more than it has to.
        let top = self.top_rows[pane].and_then(|row| rows.place(row));
        let top = top.unwrap_or(self.tops[pane]);
        let lowest = all.len().saturating_sub(height);
        let least = (place + 1).saturating_sub(height);
        let top = top.clamp(least, place.max(least)).min(lowest);
        self.tops[pane] = top;
        self.top_rows[pane] = all.get(top).copied();
        all[top..(top + height).min(all.len())].to_vec()
    }
}

/// Whether the list goes on above, and below, the rows in sight.
pub(super) fn goes_on(chosen: Chosen<'_>, rows: &Rows, in_sight: &[Row]) -> (bool, bool) {
    let (Some(&first), Some(&last)) = (in_sight.first(), in_sight.last()) else {
        return (false, false);
    };
    if !rows.are_plain() {
        return (
            rows.all().first() != Some(&first),
            rows.all().last() != Some(&last),
        );
    }
    let above = first
        .conn()
        .is_some_and(|id| chosen.above(id).next().is_some());
    let below = last
        .conn()
        .is_some_and(|id| chosen.below(id).next().is_some());
    (above, below)
}
