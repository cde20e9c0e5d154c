//! What the keys do to the screen, and what they ask of whoever moves time.

mod arranging;
mod typing;

use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::model::filter::Filter;
use crate::timeline::ConnId;
use crate::view::Asked;
use crate::view::palette::Background;
use crate::view::tui::choice::{Chosen, Move};
use crate::view::tui::keys::{self, Action, Shown};
use crate::view::tui::playback::Travel;
use crate::view::tui::prompt::Wanted;
use crate::view::tui::rows::{Of, Row, Rows};
use crate::view::tui::scroll::Scroll;
use crate::view::tui::viewport::{Scale, Way, steps_of};
use crate::view::tui::{App, Follow, Input, Reaction, Screen, copied, mode, pace};

/// What a picture is saved under unless the user says otherwise.
const NAME: &str = "tcpwatch.svg";

impl App {
    /// Takes in what came from the terminal.
    pub fn update(&mut self, input: Input, known: &Known, now: Timestamp) -> Reaction {
        if matches!(input, Input::Key(_) | Input::Mouse(_)) {
            // Keys can come faster than pictures: what the last one asked for is there for this.
            self.refresh(known, now);
        }
        let had_said = self.has_heard_out(input);
        let before = (self.screen, self.choice.row());
        let reaction = match input {
            Input::TerminalGone => Reaction::Quit,
            Input::Resize => Reaction::Redraw,
            Input::Background(found) => {
                self.hear_of_background(found);
                Reaction::Redraw
            }
            Input::Continued => Reaction::Repaint,
            Input::Mouse(event) => self.take_mouse(&event, known, now),
            Input::Key(key) if self.prompt.is_some() => self.type_on(&key, known, now),
            Input::Key(key) => match keys::action_of(&key, mode(self.playback.as_ref())) {
                Some(action) => self.act(action, known, now),
                None => Reaction::Nothing,
            },
        };
        if before != (self.screen, self.choice.row()) {
            // Another text begins where texts begin.
            self.scroll = Scroll::default();
        }
        match reaction {
            Reaction::Nothing if had_said => Reaction::Redraw,
            other => other,
        }
    }

    fn refresh(&mut self, known: &Known, now: Timestamp) {
        let picture = self.follow.picture(known);
        let of = Of {
            asked: Asked::of(&self.filter, picture, self.follow.at(now)),
            moved: picture.moved(),
            pace: pace(self.playback.as_ref(), &self.follow),
            is_recorded: self.playback.is_some(),
        };
        self.rows.refresh(of, self.choice.conn());
        if self.screen == Screen::Findings {
            self.found.refresh(of, self.rows.query());
        }
    }

    pub(super) fn act(&mut self, action: Action, known: &Known, now: Timestamp) -> Reaction {
        if self.is_helping && !action.works_beside_help() {
            return Reaction::Nothing;
        }
        match action {
            Action::Quit => return Reaction::Quit,
            Action::Suspend => return Reaction::Suspend,
            Action::Repaint => return Reaction::Repaint,
            Action::Help => self.is_helping = !self.is_helping,
            Action::Back => self.take_back(),
            Action::Show(shown) => self.show(shown),
            Action::NextScreen => self.screen = self.screen.next(),
            Action::PreviousScreen => self.screen = self.screen.next().next().next(),
            Action::Enter => self.enter(known, now),
            Action::Pause if self.playback.is_some() => {
                return Reaction::Travel(Travel::PlayOrPause);
            }
            Action::Pause => self.toggle_pause(known, now),
            Action::GoTo => self.ask_for(Wanted::Time, String::new()),
            Action::Save => self.ask_for(Wanted::Name, NAME.to_owned()),
            Action::Copy => return self.copy(known, now),
            Action::Background => {
                self.toggle_background();
                let for_what = match self.looks().background {
                    Background::Dark => "for a dark background",
                    Background::Light => "for a light background",
                };
                self.say(for_what.to_owned());
            }
            Action::Mouse => {
                self.is_mouse_heard = !self.is_mouse_heard;
                let what = match self.is_mouse_heard {
                    true => "the mouse chooses; with Shift it selects text",
                    false => "the mouse selects text",
                };
                self.say(what.to_owned());
                return Reaction::Listen {
                    to_mouse: self.is_mouse_heard,
                };
            }
            Action::Up
            | Action::Down
            | Action::PageUp
            | Action::PageDown
            | Action::HalfPageUp
            | Action::HalfPageDown
            | Action::First
            | Action::Last => self.go(action, known, now),
            Action::Filter
            | Action::Search
            | Action::NextMatch
            | Action::PreviousMatch
            | Action::Sort
            | Action::Reverse
            | Action::SortAgain
            | Action::Group => return self.arrange(action, known, now),
            Action::Next
            | Action::Previous
            | Action::NextOfChosen
            | Action::PreviousOfChosen
            | Action::NextOfCursor
            | Action::PreviousOfCursor
            | Action::Faster
            | Action::Slower
            | Action::Start
            | Action::End => return self.travel(action, known, now),
            Action::ZoomIn
            | Action::ZoomOut
            | Action::CursorLeft
            | Action::CursorRight
            | Action::PanLeft
            | Action::PanRight
            | Action::Follow
            | Action::Fit
            | Action::Scale => return self.look(action, known, now),
        }
        Reaction::Redraw
    }

    /// Esc: one thing after the other, the newest first.
    fn take_back(&mut self) {
        if self.is_helping {
            self.is_helping = false;
        } else if self.screen != Screen::Main {
            self.screen = Screen::Main;
        } else if self.viewport.is_looking() {
            self.viewport.follow();
        } else if self.rows.query().is_some() {
            self.rows.set_query(None);
        }
    }

    fn show(&mut self, shown: Shown) {
        let screen = match shown {
            Shown::List => Screen::Main,
            Shown::Whole => Screen::Whole,
            Shown::Ladder => Screen::Ladder,
            Shown::Findings => Screen::Findings,
        };
        let is_back = self.screen == screen && screen != Screen::Main;
        self.screen = if is_back { Screen::Main } else { screen };
    }

    /// More about the chosen row: a group opens, a connection has all the room, and from a finding it
    /// goes to what it is about.
    fn enter(&mut self, known: &Known, now: Timestamp) {
        match (self.screen, self.focus(known, now)) {
            (Screen::Findings, _) => {
                if !self.found.toggle_chosen()
                    && let Some(conn) = self.target(known, now)
                {
                    self.choice.put(Row::Conn(conn));
                    self.screen = Screen::Main;
                }
            }
            (Screen::Whole | Screen::Ladder, _) => self.screen = Screen::Main,
            (Screen::Main, Some(Row::Group(key))) => self.rows.toggle(key),
            (Screen::Main, _) => self.screen = Screen::Whole,
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

    /// The chosen row.
    fn focus(&mut self, known: &Known, now: Timestamp) -> Option<Row> {
        let chosen = chosen(&self.follow, &self.filter, &self.rows, (known, now));
        self.choice.settle(chosen, &self.rows)
    }

    /// The connection that keys are about: the chosen one, the first of the chosen group, or that of
    /// the chosen finding.
    fn target(&mut self, known: &Known, now: Timestamp) -> Option<ConnId> {
        if self.screen == Screen::Findings {
            let chosen = chosen(&self.follow, &self.filter, &self.rows, (known, now));
            let finding = self.found.settle(chosen);
            return finding
                .and_then(|finding| finding.subject.end())
                .map(|(conn, _)| conn);
        }
        match self.focus(known, now)? {
            Row::Conn(id) => Some(id),
            Row::Group(key) => self.rows.group(&key)?.members.first().copied(),
        }
    }

    /// Moves the choice, or what is in sight of a long text.
    fn go(&mut self, action: Action, known: &Known, now: Timestamp) {
        if self.is_helping {
            return scroll(&mut self.help, action);
        }
        let is_a_text = matches!(self.screen, Screen::Whole | Screen::Ladder);
        let chooses = matches!(
            action,
            Action::Up | Action::Down | Action::First | Action::Last
        );
        if is_a_text && !chooses {
            return scroll(&mut self.scroll, action);
        }
        let page = self.places.page();
        let to = match action {
            Action::Up => Move::Up(1),
            Action::PageUp => Move::Up(page),
            Action::HalfPageUp => Move::Up(page.div_ceil(2)),
            Action::Down => Move::Down(1),
            Action::PageDown => Move::Down(page),
            Action::HalfPageDown => Move::Down(page.div_ceil(2)),
            Action::First => Move::First,
            _ => Move::Last,
        };
        self.choose(to, known, now);
    }

    /// Moves the choice, through the connections or the findings that are shown.
    pub(super) fn choose(&mut self, to: Move, known: &Known, now: Timestamp) {
        let chosen = chosen(&self.follow, &self.filter, &self.rows, (known, now));
        if self.screen == Screen::Findings {
            let found = self.found.choose(to, chosen);
            if let Some((conn, _)) = found.and_then(|finding| finding.subject.end()) {
                self.choice.put(Row::Conn(conn));
            }
            return;
        }
        self.choice.go(to, chosen, &self.rows);
    }

    /// To another moment: of the recording, or live with the cursor.
    fn travel(&mut self, action: Action, known: &Known, now: Timestamp) -> Reaction {
        let travel = match (action, self.playback.is_some()) {
            (Action::Faster, _) => Travel::Faster,
            (Action::Slower, _) => Travel::Slower,
            (Action::Start, _) => Travel::Start,
            (Action::End, _) => Travel::End,
            (Action::NextOfCursor | Action::PreviousOfCursor, _) => {
                return self.jump(action, known, now);
            }
            (Action::Next, true) => Travel::Next(None),
            (Action::Previous, true) => Travel::Previous(None),
            (_, true) => {
                let Some(id) = self.target(known, now) else {
                    return Reaction::Nothing;
                };
                // It stays the chosen one.
                self.choice.put(Row::Conn(id));
                match action {
                    Action::NextOfChosen => Travel::Next(Some(id)),
                    _ => Travel::Previous(Some(id)),
                }
            }
            (_, false) => return self.jump(action, known, now),
        };
        Reaction::Travel(travel)
    }

    /// The cursor to a step of the chosen connection, or of those in sight.
    fn jump(&mut self, action: Action, known: &Known, now: Timestamp) -> Reaction {
        let Some(target) = self.target(known, now) else {
            return Reaction::Nothing;
        };
        // In their order, steps of others have no place.
        let in_sight = match self.viewport.scale() {
            Scale::Time => self.places.lanes(),
            Scale::Order => &[target][..],
        };
        let (way, of) = match action {
            Action::Next => (Way::On, in_sight),
            Action::Previous => (Way::Back, in_sight),
            Action::NextOfChosen | Action::NextOfCursor => (Way::On, &[target][..]),
            _ => (Way::Back, &[target][..]),
        };
        let (picture, at) = (self.follow.picture(known), self.follow.at(now));
        let tracker = &picture.tracker;
        let mut moments: Vec<Timestamp> = of
            .iter()
            .filter_map(|&id| tracker.get(id))
            .flat_map(|connection| steps_of(connection, at))
            .collect();
        moments.sort_unstable();
        match self.viewport.jump(way, &moments, at, tracker.get(target)) {
            true => Reaction::Redraw,
            false => {
                let where_to = if way == Way::On { "later" } else { "earlier" };
                self.say(format!("no {where_to} step is known"));
                Reaction::Redraw
            }
        }
    }

    /// Another part of time.
    fn look(&mut self, action: Action, known: &Known, now: Timestamp) -> Reaction {
        let target = self.target(known, now);
        let (picture, at) = (self.follow.picture(known), self.follow.at(now));
        let chosen = target.and_then(|id| picture.tracker.get(id));
        let viewport = &mut self.viewport;
        match (action, chosen) {
            (Action::ZoomIn, _) => viewport.zoom_in(at),
            (Action::ZoomOut, _) => viewport.zoom_out(at),
            (Action::CursorLeft, _) => viewport.move_cursor(Way::Back, at, chosen),
            (Action::CursorRight, _) => viewport.move_cursor(Way::On, at, chosen),
            (Action::PanLeft, _) => viewport.pan(Way::Back, at, chosen),
            (Action::PanRight, _) => viewport.pan(Way::On, at, chosen),
            (Action::Follow, _) => viewport.follow(),
            (Action::Scale, _) => viewport.toggle_scale(at, chosen),
            (Action::Fit, Some(chosen)) => viewport.fit(chosen, at),
            _ => return Reaction::Nothing,
        }
        Reaction::Redraw
    }

    fn copy(&mut self, known: &Known, now: Timestamp) -> Reaction {
        let target = self.target(known, now);
        let (picture, at) = (self.follow.picture(known), self.follow.at(now));
        let connection = || target.and_then(|id| picture.tracker.get(id));
        let text = match self.screen {
            Screen::Findings => self.found.copied(Asked::of(&self.filter, picture, at)),
            Screen::Main | Screen::Whole | Screen::Ladder => {
                connection().map(|connection| copied::connection(connection, at))
            }
        };
        text.map_or(Reaction::Nothing, Reaction::Copy)
    }
}

/// The connections of the picture that the user asked to see.
fn chosen<'a>(
    follow: &'a Follow,
    filter: &'a Filter,
    rows: &'a Rows,
    (known, now): (&'a Known, Timestamp),
) -> Chosen<'a> {
    Chosen {
        asked: Asked::of(filter, follow.picture(known), follow.at(now)),
        query: rows.query(),
    }
}

fn scroll(text: &mut Scroll, action: Action) {
    let page = text.page();
    match action {
        Action::Up => text.up(1),
        Action::Down => text.down(1),
        Action::PageUp => text.up(page),
        Action::PageDown => text.down(page),
        Action::HalfPageUp => text.up(page.div_ceil(2)),
        Action::HalfPageDown => text.down(page.div_ceil(2)),
        Action::First => text.up(usize::MAX),
        _ => text.down(usize::MAX),
    }
}
