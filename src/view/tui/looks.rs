//! How the screen looks on this terminal, and what it says in its last line.
//!
//! Knows nothing of the terminal itself: whoever does says what it has. The trap: a terminal answers
//! late what is behind its letters, and a user who has chosen meanwhile has chosen.

use crate::view::palette::Background;
use crate::view::tui::theme::{Looks, Theme};
use crate::view::tui::{App, Input};

impl App {
    /// Looks like this from now on.
    pub const fn show_as(&mut self, looks: Looks) {
        self.theme = Theme::new(looks);
    }

    /// How it looks.
    pub const fn looks(&self) -> Looks {
        self.theme.looks
    }

    /// For a dark background if it was for a light one, and the other way round.
    pub const fn toggle_background(&mut self) {
        self.has_chosen_background = true;
        self.theme.looks.background = self.theme.looks.background.toggled();
    }

    /// Takes in what the terminal says of its background, unless the user knows better.
    pub(super) fn hear_of_background(&mut self, found: Background) {
        if !self.has_chosen_background {
            self.theme.looks.background = found;
        }
    }

    /// Whether the mouse is heard at first.
    pub const fn hear_mouse(&mut self, is_heard: bool) {
        self.is_mouse_heard = is_heard;
    }

    /// Says this in place of the last line, until the next key.
    pub fn say(&mut self, text: String) {
        self.said = Some(text);
    }

    /// Whether something was said that this input ends.
    pub(super) fn has_heard_out(&mut self, input: Input) -> bool {
        matches!(input, Input::Key(_) | Input::Mouse(_)) && self.said.take().is_some()
    }
}
