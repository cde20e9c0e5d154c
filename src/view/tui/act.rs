//! What the keys do to the screen, and what they ask of whoever moves time.
//!
//! The trap: while a time is typed every key is a letter of it, but for those that end it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::timeline::ConnId;
use crate::view::tui::choice::{Chosen, Focus};
use crate::view::tui::keys::{self, Action};
use crate::view::tui::playback::{Prompt, Travel};
use crate::view::tui::{App, Follow, Input, Reaction, Screen, mode};

impl App {
    /// Takes in what came from the terminal.
    pub fn update(&mut self, input: Input, known: &Known, now: Timestamp) -> Reaction {
        if matches!(input, Input::Key(_)) && self.said.take().is_some() {
            // The last line is another one, whatever the key does.
            return match self.answer(input, known, now) {
                Reaction::Nothing => Reaction::Redraw,
                reaction => reaction,
            };
        }
        self.answer(input, known, now)
    }

    fn answer(&mut self, input: Input, known: &Known, now: Timestamp) -> Reaction {
        match input {
            Input::TerminalGone => Reaction::Quit,
            Input::Resize => Reaction::Redraw,
            Input::Mouse(_) => Reaction::Nothing,
            Input::Continued => Reaction::Repaint,
            Input::Key(key) if self.prompt.is_some() => self.type_time(&key),
            Input::Key(key) => match keys::action_of(&key, mode(self.playback.as_ref())) {
                Some(action) => self.act(action, known, now),
                None => Reaction::Nothing,
            },
        }
    }

    fn act(&mut self, action: Action, known: &Known, now: Timestamp) -> Reaction {
        if self.is_helping && action.is_of_the_picture() {
            return Reaction::Nothing;
        }
        match action {
            Action::Quit => return Reaction::Quit,
            Action::Suspend => return Reaction::Suspend,
            Action::Repaint => return Reaction::Repaint,
            Action::Help => self.is_helping = !self.is_helping,
            Action::Back if self.is_helping => self.is_helping = false,
            Action::Back => self.screen = Screen::Main,
            Action::Findings => self.toggle(Screen::Findings),
            Action::Enter if self.screen == Screen::Findings => self.go_to_the_found(known),
            Action::Enter => self.toggle(Screen::Whole),
            Action::Pause if self.playback.is_some() => {
                return Reaction::Travel(Travel::PlayOrPause);
            }
            Action::Pause => self.toggle_pause(known, now),
            Action::GoTo => self.prompt = Some(Prompt::default()),
            Action::ZoomIn => self.zoom = self.zoom.closer(),
            Action::ZoomOut => self.zoom = self.zoom.farther(),
            Action::Up
            | Action::Down
            | Action::PageUp
            | Action::PageDown
            | Action::First
            | Action::Newest => self.choose(action, known),
            Action::Next => return Reaction::Travel(Travel::Next(None)),
            Action::Previous => return Reaction::Travel(Travel::Previous(None)),
            Action::NextOfChosen => return self.travel(known, Travel::Next),
            Action::PreviousOfChosen => return self.travel(known, Travel::Previous),
            Action::Faster => return Reaction::Travel(Travel::Faster),
            Action::Slower => return Reaction::Travel(Travel::Slower),
            Action::Start => return Reaction::Travel(Travel::Start),
            Action::End => return Reaction::Travel(Travel::End),
        }
        Reaction::Redraw
    }

    /// To a moment of the chosen connection, if there is one. It stays the chosen one.
    fn travel(&mut self, known: &Known, to: fn(Option<ConnId>) -> Travel) -> Reaction {
        let chosen = Chosen {
            tracker: &known.tracker,
            filter: &self.filter,
        };
        let found = match self.screen {
            Screen::Findings => self.found.settle(chosen, &known.diagnosis),
            Screen::Main | Screen::Whole | Screen::Ladder => None,
        };
        let of_found = found.and_then(|finding| finding.subject.end());
        let of_list = || self.focus.settle(chosen);
        let Some(id) = of_found.map(|(conn, _)| conn).or_else(of_list) else {
            return Reaction::Nothing;
        };
        self.focus = Focus::On(id);
        Reaction::Travel(to(Some(id)))
    }

    /// A key while a time is typed.
    fn type_time(&mut self, key: &KeyEvent) -> Reaction {
        let Some(prompt) = &mut self.prompt else {
            return Reaction::Nothing;
        };
        let held = key.modifiers - KeyModifiers::SHIFT;
        match key.code {
            KeyCode::Char('c') if held == KeyModifiers::CONTROL => return Reaction::Quit,
            KeyCode::Char(c) if held.is_empty() => prompt.push(c),
            KeyCode::Backspace => prompt.pop(),
            KeyCode::Esc => self.prompt = None,
            KeyCode::Enter => {
                let typed = self.prompt.take().map(|prompt| prompt.text);
                return match typed {
                    Some(text) if !text.trim().is_empty() => Reaction::Travel(Travel::To(text)),
                    _ => Reaction::Redraw,
                };
            }
            _ => return Reaction::Nothing,
        }
        Reaction::Redraw
    }

    fn toggle(&mut self, screen: Screen) {
        self.screen = if self.screen == screen {
            Screen::Main
        } else {
            screen
        };
    }

    /// To the connection of the chosen finding; stays where it is about none.
    fn go_to_the_found(&mut self, known: &Known) {
        let picture = self.follow.picture(known);
        let chosen = Chosen {
            tracker: &picture.tracker,
            filter: &self.filter,
        };
        let finding = self.found.settle(chosen, &picture.diagnosis);
        if let Some((conn, _)) = finding.and_then(|finding| finding.subject.end()) {
            self.focus = Focus::On(conn);
            self.screen = Screen::Main;
        }
    }

    pub(super) fn toggle_pause(&mut self, known: &Known, now: Timestamp) {
        self.follow = match self.follow {
            Follow::Live => Follow::Paused {
                at: now,
                picture: Box::new(known.clone()),
            },
            Follow::Paused { .. } => Follow::Live,
        };
    }

    /// Moves the choice, through the connections or the findings that are shown.
    fn choose(&mut self, action: Action, known: &Known) {
        let picture = self.follow.picture(known);
        let chosen = Chosen {
            tracker: &picture.tracker,
            filter: &self.filter,
        };
        if self.screen == Screen::Findings {
            let found = self
                .found
                .choose(action, self.page, chosen, &picture.diagnosis);
            if let Some((conn, _)) = found.and_then(|finding| finding.subject.end()) {
                self.focus = Focus::On(conn);
            }
            return;
        }
        match action {
            Action::Up => self.focus.up(chosen, 1),
            Action::Down => self.focus.down(chosen, 1),
            Action::PageUp => self.focus.up(chosen, self.page),
            Action::PageDown => self.focus.down(chosen, self.page),
            Action::First => self.focus.first(chosen),
            Action::Newest => self.focus = Focus::Newest,
            _ => {}
        }
    }
}
