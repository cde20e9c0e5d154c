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
    Next,
    Previous,
    NextOfChosen,
    PreviousOfChosen,
    Faster,
    Slower,
    Start,
    End,
    GoTo,
    Findings,
    Enter,
    Ladder,
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
            | Self::ZoomOut
            | Self::Next
            | Self::Previous
            | Self::NextOfChosen
            | Self::PreviousOfChosen
            | Self::Faster
            | Self::Slower
            | Self::Start
            | Self::End
            | Self::GoTo
            | Self::Findings
            | Self::Enter
            | Self::Ladder => true,
            Self::Quit | Self::Pause | Self::Help | Self::Back | Self::Repaint | Self::Suspend => {
                false
            }
        }
    }
}

/// What is on the screen: the present, or a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Live,
    Replay,
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

const BINDINGS: [Binding; 29] = [
    Binding {
        keys: &[char('q'), Key::Control('c')],
        only: None,
        shown: "q  Ctrl-C",
        action: Action::Quit,
        help: "quit",
        hint: Some(("q", "quit")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Down), char('j')],
        only: None,
        shown: "Down Up  j k",
        action: Action::Down,
        help: "next, previous connection",
        hint: Some(("\u{2191}\u{2193}", "choose")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Up), char('k')],
        only: None,
        shown: "",
        action: Action::Up,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::PageDown), Key::Control('f')],
        only: None,
        shown: "PgDn  Ctrl-F",
        action: Action::PageDown,
        help: "a page down",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::PageUp), Key::Control('b')],
        only: None,
        shown: "PgUp  Ctrl-B",
        action: Action::PageUp,
        help: "a page up",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Home), char('g')],
        only: Some(Mode::Live),
        shown: "Home  g",
        action: Action::First,
        help: "oldest connection",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::End), char('G')],
        only: Some(Mode::Live),
        shown: "End  G",
        action: Action::Newest,
        help: "newest, and stay on it",
        hint: Some(("G", "newest")),
    },
    Binding {
        keys: &[char(' '), char('p')],
        only: Some(Mode::Live),
        shown: "Space  p",
        action: Action::Pause,
        help: "stop the picture, or go on",
        hint: Some(("space", "pause")),
    },
    Binding {
        keys: &[char(' '), char('p')],
        only: Some(Mode::Replay),
        shown: "Space  p",
        action: Action::Pause,
        help: "play, or pause",
        hint: Some(("space", "play")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Left)],
        only: Some(Mode::Replay),
        shown: "Left Right",
        action: Action::Previous,
        help: "previous, next transition",
        hint: Some(("\u{2190}\u{2192}", "step")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Right)],
        only: Some(Mode::Replay),
        shown: "",
        action: Action::Next,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[char('N')],
        only: Some(Mode::Replay),
        shown: "N  n",
        action: Action::PreviousOfChosen,
        help: "the same, of this one",
        hint: None,
    },
    Binding {
        keys: &[char('n')],
        only: Some(Mode::Replay),
        shown: "",
        action: Action::NextOfChosen,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[char('['), char('<')],
        only: Some(Mode::Replay),
        shown: "[ ]  < >",
        action: Action::Slower,
        help: "slower, faster",
        hint: Some(("[ ]", "speed")),
    },
    Binding {
        keys: &[char(']'), char('>')],
        only: Some(Mode::Replay),
        shown: "",
        action: Action::Faster,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Home)],
        only: Some(Mode::Replay),
        shown: "Home End",
        action: Action::Start,
        help: "start, end of recording",
        hint: None,
    },
    Binding {
        keys: &[Key::Plain(KeyCode::End)],
        only: Some(Mode::Replay),
        shown: "",
        action: Action::End,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[char('t'), char('b')],
        only: Some(Mode::Replay),
        shown: "t  b",
        action: Action::GoTo,
        help: "go to a time",
        hint: Some(("t", "go to")),
    },
    Binding {
        keys: &[char('g')],
        only: Some(Mode::Replay),
        shown: "g  G",
        action: Action::First,
        help: "oldest, newest connection",
        hint: None,
    },
    Binding {
        keys: &[char('G')],
        only: Some(Mode::Replay),
        shown: "",
        action: Action::Newest,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[char('f')],
        only: None,
        shown: "f",
        action: Action::Findings,
        help: "findings, worst first",
        hint: Some(("f", "findings")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Enter)],
        only: None,
        shown: "Enter",
        action: Action::Enter,
        help: "more about it, or go to it",
        hint: None,
    },
    Binding {
        keys: &[char('3')],
        only: None,
        shown: "3",
        action: Action::Ladder,
        help: "the exchange, as a ladder",
        hint: None,
    },
    Binding {
        keys: &[char('+'), char('=')],
        only: None,
        shown: "+  -",
        action: Action::ZoomIn,
        help: "less time, more time",
        hint: Some(("+ -", "zoom")),
    },
    Binding {
        keys: &[char('-'), char('_')],
        only: None,
        shown: "",
        action: Action::ZoomOut,
        help: "",
        hint: None,
    },
    Binding {
        keys: &[char('?')],
        only: None,
        shown: "?",
        action: Action::Help,
        help: "this page",
        hint: Some(("?", "help")),
    },
    Binding {
        keys: &[Key::Plain(KeyCode::Esc)],
        only: None,
        shown: "Esc",
        action: Action::Back,
        help: "back",
        hint: None,
    },
    Binding {
        keys: &[Key::Control('l')],
        only: None,
        shown: "Ctrl-L",
        action: Action::Repaint,
        help: "draw all again",
        hint: None,
    },
    Binding {
        keys: &[Key::Control('z')],
        only: None,
        shown: "Ctrl-Z",
        action: Action::Suspend,
        help: "to the shell (fg returns)",
        hint: None,
    },
];

/// The lines of the table that hold now.
pub(super) fn bindings(mode: Mode) -> impl Iterator<Item = &'static Binding> {
    let holds = move |binding: &&Binding| binding.only.is_none_or(|only| only == mode);
    BINDINGS.iter().filter(holds)
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

    #[test]
    fn a_letter_with_control_is_another_key() {
        let control_q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL);
        assert_eq!(action_of(&control_q, Mode::Live), None);
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(action_of(&shifted, Mode::Live), Some(Action::Newest));
    }
}
