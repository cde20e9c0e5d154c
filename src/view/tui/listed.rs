//! What the screen lists, for who wants to save it.
//!
//! The trap: while the picture stands still, what is listed stands still too.

use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::timeline::{ConnId, Connection};
use crate::view::Asked;
use crate::view::tui::choice::Chosen;
use crate::view::tui::query::Truth;
use crate::view::tui::rows::Row;
use crate::view::tui::{App, Screen};

/// What the screen lists.
pub struct Listed<'a> {
    /// Everything that is known at that moment.
    pub known: &'a Known,
    /// The moment: that of the pause, when there is one.
    pub at: Timestamp,
    /// The chosen one first, which is the only one where one connection has all the room.
    pub connections: Vec<&'a Connection>,
    /// What they were chosen by, in words; empty for everything.
    pub filter: String,
}

impl App {
    /// What is listed of what is known now.
    pub fn listed<'a>(&'a self, known: &'a Known, now: Timestamp) -> Listed<'a> {
        let (known, at) = (self.follow.picture(known), self.follow.at(now));
        let query = self.rows.query();
        let asked = Asked::of(&self.filter, known, at);
        let chosen = Chosen { asked, query };
        let is_typed =
            |one: &&Connection| query.is_none_or(|query| query.truth(one, asked) == Truth::Yes);
        let words = [
            Some(self.filter_text.as_str()),
            query.map(|query| query.text()),
        ];
        let words: Vec<&str> = words
            .into_iter()
            .flatten()
            .filter(|it| !it.is_empty())
            .collect();
        let row = self.choice.clone().settle(chosen, &self.rows);
        let first = row.and_then(Row::conn).and_then(|id| known.tracker.get(id));
        let is_other = |one: &&Connection| first.is_none_or(|first| first.id() != one.id());
        let all = chosen.from(ConnId(0)).filter(is_typed).filter(is_other);
        let is_of_one = matches!(self.screen, Screen::Whole | Screen::Ladder);
        let others = all.take(if is_of_one { 0 } else { usize::MAX });
        Listed {
            known,
            at,
            connections: first.into_iter().chain(others).collect(),
            filter: words.join(" and "),
        }
    }
}
