//! Other rows, or another order of them, and going to those that match.

use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::timeline::{ConnId, Connection};
use crate::view::tui::act::chosen;
use crate::view::tui::keys::Action;
use crate::view::tui::prompt::Wanted;
use crate::view::tui::query::{Query, Truth};
use crate::view::tui::rows::Row;
use crate::view::tui::rows::group::GroupBy;
use crate::view::tui::rows::sort::Sort;
use crate::view::tui::viewport::Way;
use crate::view::tui::{App, Reaction, Screen};

impl App {
    /// Other rows, in another order.
    pub(in crate::view::tui) fn arrange(
        &mut self,
        action: Action,
        known: &Known,
        now: Timestamp,
    ) -> Reaction {
        if self.screen == Screen::Findings
            && let Some(said) = self.found.arrange(action)
        {
            self.say(said.to_owned());
            return Reaction::Redraw;
        }
        let is_of_list = matches!(
            action,
            Action::Sort | Action::Reverse | Action::SortAgain | Action::Group
        );
        if is_of_list && self.screen != Screen::Main {
            self.say("that arranges the list: 1 goes there".to_owned());
            return Reaction::Redraw;
        }
        // Who arranges rows looks at one of them: it stays the chosen one.
        if let Some(row) = self.focus(known, now) {
            self.choice.put(row);
        }
        let sort = self.rows.sort();
        match action {
            Action::Filter => {
                let text = self.rows.query().map(|query| query.text().to_owned());
                self.ask_for(Wanted::Filter, text.unwrap_or_default());
            }
            Action::Search => self.ask_for(Wanted::Search, String::new()),
            Action::NextMatch => self.go_to_match(Way::On, known, now),
            Action::PreviousMatch => self.go_to_match(Way::Back, known, now),
            Action::Sort => self.sort_by(sort.next()),
            Action::Reverse => self.sort_by(sort.reversed()),
            Action::SortAgain => self.rows.ask_again(),
            Action::Group => {
                let group = GroupBy::after(self.rows.grouped_by());
                self.rows.set_group(group);
                let by = group.map_or("not grouped", GroupBy::name);
                self.say(match group {
                    Some(_) => format!("grouped by {by}; Enter opens a group"),
                    None => by.to_owned(),
                });
            }
            _ => return Reaction::Nothing,
        }
        Reaction::Redraw
    }

    pub(in crate::view::tui) fn sort_by(&mut self, sort: Sort) {
        self.rows.set_sort(sort);
        let way = match sort.falls() {
            true => "largest first",
            false => "smallest first",
        };
        self.say(format!("sorted by {}, {way}", sort.column.name()));
    }

    /// To the next row that matches what is looked for; behind the last one to the first.
    pub(in crate::view::tui) fn go_to_match(&mut self, way: Way, known: &Known, now: Timestamp) {
        let Some(search) = &self.search else {
            return self.ask_for(Wanted::Search, String::new());
        };
        let chosen = chosen(&self.follow, &self.filter, &self.rows, (known, now));
        let matches = |id: &ConnId| {
            let connection = chosen.asked.tracker.get(*id);
            connection
                .is_some_and(|connection| search.truth(connection, chosen.asked) == Truth::Yes)
        };
        let all: Vec<ConnId> = match self.rows.are_plain() {
            true => chosen.from(ConnId(0)).map(Connection::id).collect(),
            false => self.rows.conns(),
        };
        let here = self.choice.conn();
        let place = all.iter().position(|&id| Some(id) == here);
        let found = match (way, place) {
            (Way::On, Some(place)) => {
                let mut round = all[place + 1..].iter().chain(&all[..=place]);
                round.find(|id| matches(id))
            }
            (Way::Back, Some(place)) => {
                let before = all[..place].iter().rev();
                before
                    .chain(all[place..].iter().rev())
                    .find(|id| matches(id))
            }
            (Way::On, None) => all.iter().find(|id| matches(id)),
            (Way::Back, None) => all.iter().rev().find(|id| matches(id)),
        };
        match found {
            Some(&id) => {
                self.rows.reveal(id);
                self.choice.put(Row::Conn(id));
            }
            None => self.say(format!("nothing matches {}", self.search_text())),
        }
    }

    pub(in crate::view::tui) fn search_text(&self) -> &str {
        self.search.as_ref().map_or("", Query::text)
    }
}
