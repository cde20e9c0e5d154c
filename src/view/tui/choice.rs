//! Which connection is chosen, and which part of the list is in sight.
//!
//! Both are kept as connection numbers, not as row indices: the chosen one stays chosen while
//! others come and go above it. Nothing here counts or walks all connections unless the user's
//! filter chooses among them: there can be twenty thousand.

use crate::timeline::{ConnId, Connection};
use crate::view::Asked;

/// The connections that the user asked to see, in the order of the list.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) asked: Asked<'a>,
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

/// Which connection the details are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    /// None was there to choose yet; the first that comes is taken.
    Unset,
    /// This one.
    On(ConnId),
    /// Whichever was seen last.
    Newest,
}

impl Focus {
    /// The chosen connection. A first choice, or one that replaces a dropped connection, is kept.
    pub(super) fn settle(&mut self, chosen: Chosen<'_>) -> Option<ConnId> {
        let id = match *self {
            Self::Newest => return chosen.newest(),
            Self::Unset => chosen.first()?,
            Self::On(id) => chosen.nearest(id)?,
        };
        *self = Self::On(id);
        Some(id)
    }

    pub(super) fn down(&mut self, chosen: Chosen<'_>, by: usize) {
        if let Some(id) = self.settle(chosen) {
            let passed = chosen.below(id).take(by).last();
            *self = Self::On(passed.map_or(id, Connection::id));
        }
    }

    pub(super) fn up(&mut self, chosen: Chosen<'_>, by: usize) {
        if let Some(id) = self.settle(chosen) {
            let passed = chosen.above(id).take(by).last();
            *self = Self::On(passed.map_or(id, Connection::id));
        }
    }

    pub(super) fn first(&mut self, chosen: Chosen<'_>) {
        if let Some(id) = chosen.first() {
            *self = Self::On(id);
        }
    }
}

/// A part of the list that moves only when the chosen connection would leave it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    top: Option<ConnId>,
}

impl Window {
    /// The connections in sight, at most `height` of them, `focus` among them.
    pub(super) fn rows<'a>(
        &mut self,
        chosen: Chosen<'a>,
        focus: ConnId,
        height: usize,
    ) -> Vec<&'a Connection> {
        if height == 0 {
            return Vec::new();
        }
        let top = self.top.unwrap_or(focus).min(focus);
        let mut rows: Vec<_> = chosen.from(top).take(height).collect();
        if rows.last().is_none_or(|last| last.id() < focus) {
            rows = chosen
                .above(ConnId(focus.0.saturating_add(1)))
                .take(height)
                .collect();
            rows.reverse();
        }
        fill_from_above(&mut rows, chosen, height);
        self.top = rows.first().map(|row| row.id());
        rows
    }
}

/// A short rest at the end of the list is shown with what precedes it.
fn fill_from_above<'a>(rows: &mut Vec<&'a Connection>, chosen: Chosen<'a>, height: usize) {
    let Some(first) = rows.first().filter(|_| rows.len() < height) else {
        return;
    };
    let mut filled: Vec<_> = chosen.above(first.id()).take(height - rows.len()).collect();
    filled.reverse();
    filled.append(rows);
    *rows = filled;
}
