//! The keys: one table, from which the keys work, the help is written and the last line is made.
//!
//! In raw mode Ctrl-C and Ctrl-Z come as keys, not as signals. Esc takes back and never quits:
//! whoever presses it once too often would lose the screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Down,
    Up,
    First,
    Newest,
    PageDown,
    PageUp,
    Pause,
    ZoomIn,
    ZoomOut,
    Help,
    Back,
    Repaint,
    Suspend,
}

impl Action {
    /// Whether it changes what the panes show: of no use while something else covers them.
    pub(super) const fn is_of_the_picture(self) -> bool {
        match self {
            Self::Down
            | Self::Up
            | Self::First
            | Self::Newest
            | Self::PageDown
            | Self::PageUp
            | Self::ZoomIn
            | Self::ZoomOut => true,
            Self::Quit | Self::Pause | Self::Help | Self::Back | Self::Repaint | Self::Suspend => {
                false
            }
        }
    }
}

/// A line of the table.
pub(super) struct Binding {
    keys: &'static [Key],
    /// The keys as the help shows them.
    pub(super) shown: &'static str,
    pub(super) action: Action,
    /// What it does, in the help.
    pub(super) help: &'static str,
    /// How the last line of the screen names it; most are not named there.
    pub(super) hint: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy)]
enum Key {
    Plain(KeyCode),
    Control(char),
}

const fn char(c: char) -> Key {
    Key::Plain(KeyCode::Char(c))
}

pub(super) const BINDINGS: [Binding; 14] = [
    Binding {
        keys: &[char('q'), Key::Control('c')],
        shown: "q  Ctrl-C",
        action: Action::Quit,
        help: "quit",
        hint: Some(("q", "quit")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Down), char('j')],
        shown: "Down  j",
        action: Action::Down,
        help: "next connection",
        hint: Some(("\u{2191}\u{2193}", "choose")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Up), char('k')],
        shown: "Up  k",
        action: Action::Up,
        help: "previous connection",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::PageDown), Key::Control('f')],
        shown: "PgDn  Ctrl-F",
        action: Action::PageDown,
        help: "a page down",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::PageUp), Key::Control('b')],
        shown: "PgUp  Ctrl-B",
        action: Action::PageUp,
        help: "a page up",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Home), char('g')],
        shown: "Home  g",
        action: Action::First,
        help: "oldest connection",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::End), char('G')],
        shown: "End  G",
        action: Action::Newest,
        help: "newest, and stay on it",
        hint: Some(("G", "newest")),
    },
    Binding {
        keys: &[char(' '), char('p')],
        shown: "Space  p",
        action: Action::Pause,
        help: "stop the picture, or go on",
        hint: Some(("space", "pause")),
    },
    Binding {
        keys: &[char('+'), char('=')],
        shown: "+",
        action: Action::ZoomIn,
        help: "less time, more detail",
        hint: Some(("+ -", "zoom")),
    },
    Binding {
        keys: &[char('-'), char('_')],
        shown: "-",
        action: Action::ZoomOut,
        help: "more time",
        hint: None,
    },
    Binding {
        keys: &[char('?')],
        shown: "?",
        action: Action::Help,
        help: "this page",
        hint: Some(("?", "help")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Esc)],
        shown: "Esc",
        action: Action::Back,
        help: "close this page",
        hint: None,
    },
    Binding {
        keys: &[Key::Control('l')],
        shown: "Ctrl-L",
        action: Action::Repaint,
        help: "draw all again",
        hint: None,
    },
    Binding {
        keys: &[Key::Control('z')],
        shown: "Ctrl-Z",
        action: Action::Suspend,
        help: "to the shell (fg returns)",
        hint: None,
    },
];

/// What the pressed key asks for, if anything.
pub(super) fn action_of(pressed: &KeyEvent) -> Option<Action> {
    BINDINGS
        .iter()
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
        let all = BINDINGS.iter().flat_map(|binding| binding.keys);
        for key in all {
            let pressed = match *key {
                Key::Plain(code) => KeyEvent::new(code, KeyModifiers::NONE),
                Key::Control(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL),
            };
            let takers = BINDINGS
                .iter()
                .filter(|binding| binding.keys.iter().any(|key| key.is(&pressed)));
            assert_eq!(takers.count(), 1, "{pressed:?}");
        }
    }

    #[test]
    fn a_letter_with_control_is_another_key() {
        let control_q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL);
        assert_eq!(action_of(&control_q), None);
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(action_of(&shifted), Some(Action::Newest));
    }
}
