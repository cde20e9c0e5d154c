//! Keys while something is typed, and what is done with it.

use ratatui::crossterm::event::KeyEvent;

use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::view::tui::playback::Travel;
use crate::view::tui::prompt::{Prompt, Typed, Wanted};
use crate::view::tui::query::Query;
use crate::view::tui::viewport::Way;
use crate::view::tui::{App, Reaction};

impl App {
    pub(super) fn ask_for(&mut self, wanted: Wanted, text: String) {
        self.chosen_before = self.choice.row();
        self.prompt = Some(Prompt::new(wanted, text));
    }

    /// A key while something is typed.
    pub(super) fn type_on(&mut self, key: &KeyEvent, known: &Known, now: Timestamp) -> Reaction {
        let Some(prompt) = &mut self.prompt else {
            return Reaction::Nothing;
        };
        let wanted = prompt.wanted;
        match prompt.take(key) {
            Typed::Nothing => return Reaction::Nothing,
            Typed::Moved => {}
            Typed::Quit => return Reaction::Quit,
            Typed::Suspend => return Reaction::Suspend,
            Typed::Cancelled => {
                self.prompt = None;
                if wanted == Wanted::Filter {
                    self.show_what_matches(None);
                }
            }
            Typed::Changed => {
                if matches!(wanted, Wanted::Filter | Wanted::Search)
                    && let Some(query) = self.read_query()
                    && wanted == Wanted::Filter
                    && !query.as_ref().is_some_and(Query::is_unfinished)
                {
                    self.show_what_matches(query);
                }
            }
            Typed::Entered => return self.entered(wanted, known, now),
        }
        Reaction::Redraw
    }

    /// Reads what was typed; where it can't be read, that is said, and there is nothing.
    fn read_query(&mut self) -> Option<Option<Query>> {
        let prompt = self.prompt.as_mut()?;
        match Query::parse(&prompt.text) {
            Ok(query) => {
                prompt.accept();
                Some(query)
            }
            Err(error) => {
                prompt.refuse(Some(error.at), error.text);
                None
            }
        }
    }

    /// The row that was chosen before the typing began is so again as soon as it is there.
    fn show_what_matches(&mut self, query: Option<Query>) {
        self.rows.set_query(query);
        if let Some(row) = self.chosen_before {
            self.choice.put(row);
        }
    }

    fn entered(&mut self, wanted: Wanted, known: &Known, now: Timestamp) -> Reaction {
        let query = match wanted {
            Wanted::Filter | Wanted::Search => self.read_query().flatten(),
            Wanted::Time | Wanted::Name => None,
        };
        if self.prompt.as_ref().is_none_or(Prompt::is_refused) {
            return Reaction::Redraw;
        }
        let text = self
            .prompt
            .take()
            .map_or_else(String::new, |prompt| prompt.text);
        let text = text.trim().to_owned();
        match wanted {
            Wanted::Time if !text.is_empty() => return Reaction::Travel(Travel::To(text)),
            Wanted::Name if !text.is_empty() => return Reaction::Save(text),
            Wanted::Search => {
                self.search = query;
                if self.search.is_some() {
                    self.go_to_match(Way::On, known, now);
                }
            }
            Wanted::Filter => self.show_what_matches(query),
            Wanted::Time | Wanted::Name => {}
        }
        Reaction::Redraw
    }
}
