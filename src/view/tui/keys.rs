//! The keys: one table, from which the keys work, the help is written and the last line is made.
//!
//! In raw mode Ctrl-C and Ctrl-Z come as keys, not as signals. Esc takes back and never quits:
//! whoever presses it once too often would lose the screen.

mod table;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

pub(super) use table::SECTIONS;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Down,
    Up,
    First,
    Last,
    PageDown,
    PageUp,
    HalfPageDown,
    HalfPageUp,
    Pause,
    ZoomIn,
    ZoomOut,
    Help,
    Back,
    Repaint,
    Suspend,
    /// To the next step of all that are shown.
    Next,
    Previous,
    /// To the next step of the chosen connection.
    NextOfChosen,
    PreviousOfChosen,
    /// The cursor to the next step of the chosen connection, also in a replay.
    NextOfCursor,
    PreviousOfCursor,
    CursorLeft,
    CursorRight,
    PanLeft,
    PanRight,
    Follow,
    Fit,
    Scale,
    Faster,
    Slower,
    Start,
    End,
    GoTo,
    /// Another screen.
    Show(Shown),
    NextScreen,
    PreviousScreen,
    Enter,
    Filter,
    Search,
    NextMatch,
    PreviousMatch,
    Sort,
    Reverse,
    SortAgain,
    Group,
    Copy,
    Save,
    Background,
    Mouse,
}

/// What fills the screen, as a key names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    List,
    Whole,
    Ladder,
    Findings,
}

impl Action {
    /// Whether it is of use while the help covers the rest.
    pub(super) const fn works_beside_help(self) -> bool {
        matches!(
            self,
            Self::Quit
                | Self::Pause
                | Self::Help
                | Self::Back
                | Self::Repaint
                | Self::Suspend
                | Self::Background
                | Self::Mouse
                | Self::Up
                | Self::Down
                | Self::PageUp
                | Self::PageDown
                | Self::HalfPageUp
                | Self::HalfPageDown
                | Self::First
                | Self::Last
        )
    }
}

/// What is on the screen: the present, or a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Live,
    Replay,
}

/// Columns of the keys in the help.
pub(super) const KEYS_WIDTH: usize = 11;

/// Keys that have to do with each other, under a title in the help.
pub(super) struct Section {
    pub(super) title: &'static str,
    bindings: &'static [Binding],
}

impl Section {
    /// The lines of it that hold now.
    pub(super) fn bindings(&self, mode: Mode) -> impl Iterator<Item = &'static Binding> {
        let holds = move |binding: &&Binding| binding.only.is_none_or(|only| only == mode);
        self.bindings.iter().filter(holds)
    }
}

/// A line of the table.
pub(super) struct Binding {
    keys: &'static [Key],
    /// Where it works; `None` is everywhere.
    only: Option<Mode>,
    /// The keys as the help shows them; empty where the line above names them.
    pub(super) shown: &'static str,
    pub(super) action: Action,
    /// What it does, in the help.
    pub(super) help: &'static str,
    /// How the last line of the screen names it; most are not named there.
    pub(super) hint: Option<Hint>,
}

/// How the last line names a key.
#[derive(Clone, Copy)]
pub(super) struct Hint {
    /// What has the smallest is named where there is little room.
    pub(super) rank: u8,
    pub(super) key: &'static str,
    pub(super) does: &'static str,
}

impl Hint {
    /// The same key, which does something else here.
    pub(super) const fn saying(self, does: &'static str) -> Self {
        Self { does, ..self }
    }
}

/// All of them in words, by the titles they stand under: the keys, and what they do.
pub fn in_words() -> impl Iterator<Item = (&'static str, Vec<(&'static str, String)>)> {
    SECTIONS.iter().map(|section| {
        let named = section.bindings.iter().filter(|it| !it.shown.is_empty());
        let words = named.map(|binding| {
            let only = match binding.only {
                None => "",
                Some(Mode::Live) => " (live)",
                Some(Mode::Replay) => " (replay)",
            };
            (binding.shown, format!("{}{only}", binding.help))
        });
        (section.title, words.collect())
    })
}

#[derive(Clone, Copy)]
enum Key {
    Plain(KeyCode),
    Control(char),
}

/// The lines of the table that hold now.
pub(super) fn bindings(mode: Mode) -> impl Iterator<Item = &'static Binding> {
    SECTIONS
        .iter()
        .flat_map(move |section| section.bindings(mode))
}

/// What the pressed key asks for, if anything.
pub(super) fn action_of(pressed: &KeyEvent, mode: Mode) -> Option<Action> {
    bindings(mode)
        .find(|binding| binding.keys.iter().any(|key| key.is(pressed)))
        .map(|binding| binding.action)
}

impl Key {
    /// Shift is part of the character already (`G`, `?`), so it is not compared.
    fn is(self, pressed: &KeyEvent) -> bool {
        let held = pressed.modifiers - KeyModifiers::SHIFT;
        match self {
            Self::Plain(code) => held.is_empty() && pressed.code == code,
            Self::Control(c) => held == KeyModifiers::CONTROL && pressed.code == KeyCode::Char(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice() {
        for (mode, key) in [Mode::Live, Mode::Replay].into_iter().flat_map(|mode| {
            bindings(mode).flat_map(move |binding| binding.keys.iter().map(move |key| (mode, key)))
        }) {
            let pressed = match *key {
                Key::Plain(code) => KeyEvent::new(code, KeyModifiers::NONE),
                Key::Control(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL),
            };
            let takers =
                bindings(mode).filter(|binding| binding.keys.iter().any(|key| key.is(&pressed)));
            assert_eq!(takers.count(), 1, "{pressed:?}");
        }
    }

    /// Columns of the help for a key and for what it does.
    #[test]
    fn the_help_has_room_for_every_key() {
        for section in &SECTIONS {
            for binding in section.bindings {
                assert!(binding.shown.len() <= KEYS_WIDTH, "{}", binding.shown);
                let room = 40 - 3 - KEYS_WIDTH;
                assert!(binding.help.len() <= room, "{}", binding.help);
            }
        }
    }

    #[test]
    fn the_docs_have_every_key() {
        let docs = include_str!("../../../docs/screen.md");
        for (title, words) in in_words() {
            let mut text = format!("| {title} | |\n|---|---|\n");
            for (shown, does) in words {
                text.push_str(&format!("| `{shown}` | {does} |\n"));
            }
            assert!(docs.contains(&text), "docs/screen.md lacks\n{text}");
        }
    }

    #[test]
    fn a_letter_with_control_is_another_key() {
        let control_q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL);
        assert_eq!(action_of(&control_q, Mode::Live), None);
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(action_of(&shifted, Mode::Live), Some(Action::Last));
    }
}
