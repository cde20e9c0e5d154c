//! The table itself. A key that does what the one above it does the other way round is named there.

use ratatui::crossterm::event::KeyCode;

use super::Key::{Control, Plain};
use super::{Action, Binding, Hint, Key, Mode, Section, Shown};

const fn char(c: char) -> Key {
    Plain(KeyCode::Char(c))
}

const DOWN: Key = Plain(KeyCode::Down);
const UP: Key = Plain(KeyCode::Up);
const LEFT: Key = Plain(KeyCode::Left);
const RIGHT: Key = Plain(KeyCode::Right);
const HOME: Key = Plain(KeyCode::Home);
const END: Key = Plain(KeyCode::End);

/// A line of the help, or nothing where `shown` is empty.
const fn on(
    keys: &'static [Key],
    action: Action,
    shown: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        only: None,
        shown,
        action,
        help,
        hint: None,
    }
}

impl Binding {
    const fn hint(mut self, rank: u8, key: &'static str, does: &'static str) -> Self {
        self.hint = Some(Hint { rank, key, does });
        self
    }

    const fn live(mut self) -> Self {
        self.only = Some(Mode::Live);
        self
    }

    const fn replay(mut self) -> Self {
        self.only = Some(Mode::Replay);
        self
    }
}

/// All keys, by what they have to do with.
pub(in crate::view::tui) const SECTIONS: [Section; 5] = [
    Section {
        title: "Keys",
        bindings: &[
            on(&[char('q'), Control('c')], Action::Quit, "q ^C", "quit").hint(1, "q", "quit"),
            on(
                &[DOWN, char('j')],
                Action::Down,
                "Down Up j k",
                "next, previous row",
            )
            .hint(2, "\u{2191}\u{2193}", "choose"),
            on(&[UP, char('k')], Action::Up, "", ""),
            on(
                &[Plain(KeyCode::PageDown), Control('f')],
                Action::PageDown,
                "PgDn PgUp",
                "a page on, back (^F ^B)",
            ),
            on(
                &[Plain(KeyCode::PageUp), Control('b')],
                Action::PageUp,
                "",
                "",
            ),
            on(
                &[Control('d')],
                Action::HalfPageDown,
                "^D ^U",
                "half a page",
            ),
            on(&[Control('u')], Action::HalfPageUp, "", ""),
            on(&[HOME, char('g')], Action::First, "Home g", "first row").live(),
            on(
                &[END, char('G')],
                Action::Last,
                "End G",
                "last row; stay on newest",
            )
            .live()
            .hint(13, "G", "newest"),
            on(&[char('g')], Action::First, "g G", "first, last row").replay(),
            on(&[char('G')], Action::Last, "", "").replay(),
            on(
                &[char(' '), char('p')],
                Action::Pause,
                "Space p",
                "stop the picture, go on",
            )
            .live()
            .hint(3, "space", "pause"),
        ],
    },
    Section {
        title: "Replay",
        bindings: &[
            on(
                &[char(' '), char('p')],
                Action::Pause,
                "Space p",
                "play, or pause",
            )
            .replay()
            .hint(3, "space", "play"),
            on(
                &[LEFT],
                Action::Previous,
                "Left Right",
                "previous, next step",
            )
            .replay()
            .hint(4, "\u{2190}\u{2192}", "step"),
            on(&[RIGHT], Action::Next, "", "").replay(),
            on(
                &[char(',')],
                Action::PreviousOfChosen,
                ", .",
                "the same, of this one",
            )
            .replay(),
            on(&[char('.')], Action::NextOfChosen, "", "").replay(),
            on(
                &[char('['), char('<')],
                Action::Slower,
                "[ ] < >",
                "slower, faster",
            )
            .replay()
            .hint(5, "[ ]", "speed"),
            on(&[char(']'), char('>')], Action::Faster, "", "").replay(),
            on(
                &[HOME],
                Action::Start,
                "Home End",
                "start, end of recording",
            )
            .replay(),
            on(&[END], Action::End, "", "").replay(),
            on(&[char('t'), char('b')], Action::GoTo, "t b", "go to a time")
                .replay()
                .hint(6, "t", "go to"),
        ],
    },
    Section {
        title: "List",
        bindings: &[
            on(&[char('/')], Action::Filter, "/", "show what matches").hint(8, "/", "filter"),
            on(&[char('\\')], Action::Search, "\\", "go to what matches"),
            on(
                &[char('n')],
                Action::NextMatch,
                "n N",
                "next, previous match",
            ),
            on(&[char('N')], Action::PreviousMatch, "", ""),
            on(
                &[char('s')],
                Action::Sort,
                "s S",
                "sort by next column; turn",
            )
            .hint(9, "s", "sort"),
            on(&[char('S')], Action::Reverse, "", ""),
            on(&[char('r')], Action::SortAgain, "r", "sort and group again"),
            on(&[char('v')], Action::Group, "v", "group rows, or findings"),
        ],
    },
    Section {
        title: "Time axis",
        bindings: &[
            on(
                &[char('+'), char('=')],
                Action::ZoomIn,
                "+ -",
                "less time, more time",
            )
            .hint(11, "+ -", "zoom"),
            on(&[char('-'), char('_')], Action::ZoomOut, "", ""),
            on(&[char('z')], Action::Fit, "z", "fit teardown; life; back").hint(10, "z", "fit"),
            on(&[char('o')], Action::Scale, "o", "by steps, or by time"),
            on(
                &[LEFT],
                Action::Previous,
                "Left Right",
                "cursor to steps in sight",
            )
            .live(),
            on(&[RIGHT], Action::Next, "", "").live(),
            on(
                &[char(',')],
                Action::PreviousOfChosen,
                ", .",
                "cursor to steps of this",
            )
            .live(),
            on(&[char('.')], Action::NextOfChosen, "", "").live(),
            on(
                &[char('(')],
                Action::PreviousOfCursor,
                "( )",
                "cursor to steps of this",
            )
            .replay(),
            on(&[char(')')], Action::NextOfCursor, "", "").replay(),
            on(
                &[char('h')],
                Action::CursorLeft,
                "h l",
                "cursor by a column",
            ),
            on(&[char('l')], Action::CursorRight, "", ""),
            on(
                &[char('H')],
                Action::PanLeft,
                "H L",
                "move what is in sight",
            ),
            on(&[char('L')], Action::PanRight, "", ""),
            on(&[char('F')], Action::Follow, "F", "no cursor, follow"),
        ],
    },
    Section {
        title: "Screens",
        bindings: &[
            on(
                &[Plain(KeyCode::Enter)],
                Action::Enter,
                "Enter",
                "more about it, go to it",
            ),
            on(
                &[char('1')],
                Action::Show(Shown::List),
                "1",
                "list and time axis",
            ),
            on(
                &[char('2')],
                Action::Show(Shown::Whole),
                "2",
                "all of one connection",
            ),
            on(
                &[char('3')],
                Action::Show(Shown::Ladder),
                "3",
                "ladder: who sent what",
            ),
            on(
                &[char('4'), char('f')],
                Action::Show(Shown::Findings),
                "4 f",
                "findings, worst first",
            )
            .hint(7, "f", "findings"),
            on(
                &[Plain(KeyCode::Tab)],
                Action::NextScreen,
                "Tab",
                "the next of these",
            )
            .hint(12, "Tab", "screens"),
            on(&[Plain(KeyCode::BackTab)], Action::PreviousScreen, "", ""),
            on(
                &[char('c'), char('y')],
                Action::Copy,
                "c y",
                "copy the chosen row",
            ),
            on(&[char('e')], Action::Save, "e", "save the picture"),
            on(
                &[char('T')],
                Action::Background,
                "T",
                "light, dark terminal",
            ),
            on(&[char('M')], Action::Mouse, "M", "mouse off, on"),
            on(&[Plain(KeyCode::Esc)], Action::Back, "Esc", "back"),
            on(&[Control('l')], Action::Repaint, "^L", "draw all again"),
            on(
                &[Control('z')],
                Action::Suspend,
                "^Z",
                "to the shell (fg returns)",
            ),
            on(&[char('?')], Action::Help, "?", "this page").hint(u8::MAX, "?", "help"),
        ],
    },
];
