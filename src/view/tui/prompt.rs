//! The line that is typed into, in place of the footer: a time to go to, what to show, what to look
//! for, a name to save under.
//!
//! The trap: while it is there every key is a letter of it, but for those that end it, take a letter
//! back, or work on signals elsewhere (Ctrl-C, Ctrl-Z).

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::view::tui::fit::cut;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Time,
    Filter,
    Search,
    Name,
}

impl Wanted {
    const fn title(self) -> &'static str {
        match self {
            Self::Time => " go to: ",
            Self::Filter => " show: ",
            Self::Search => " look for: ",
            Self::Name => " save as: ",
        }
    }

    /// What is said while nothing is wrong, and while nothing was typed.
    const fn advice(self, is_empty: bool) -> &'static str {
        match self {
            Self::Time => "14:02:11.5, +10s after the start, -5m before the end",
            Self::Filter | Self::Search if is_empty => {
                "port 80 and state close-wait, age > 30s, not process nginx, ..."
            }
            Self::Filter => "Enter keeps it, Esc shows all",
            Self::Search => "Enter goes there, Esc cancels",
            Self::Name => ".svg the screen; .mmd .csv .json what is listed",
        }
    }
}

/// What was typed so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) wanted: Wanted,
    pub(super) text: String,
    /// Letters in front of the place where the next one goes.
    place: usize,
    /// What is wrong with it, and at which letter.
    error: Option<(Option<usize>, String)>,
}

/// What came of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// It is another text.
    Changed,
    /// The same text, seen otherwise.
    Moved,
    /// It is done.
    Entered,
    /// It is given up.
    Cancelled,
    Quit,
    Suspend,
    Nothing,
}

/// Nobody types more.
const LONGEST: usize = 400;

impl Prompt {
    pub(super) fn new(wanted: Wanted, text: String) -> Self {
        Self {
            wanted,
            place: text.chars().count(),
            text,
            error: None,
        }
    }

    /// Says what is wrong, at this byte of the text where that can be told.
    pub(super) fn refuse(&mut self, at: Option<usize>, error: String) {
        let letters = at.map(|at| {
            let before = self.text.char_indices().take_while(|(byte, _)| *byte < at);
            before.count()
        });
        self.error = Some((letters, error));
    }

    pub(super) fn accept(&mut self) {
        self.error = None;
    }

    /// What is wrong with what was typed.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_ref().map(|(_, error)| error.as_str())
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.error.is_some()
    }

    /// Takes in a key.
    pub(super) fn take(&mut self, key: &KeyEvent) -> Typed {
        let held = key.modifiers - KeyModifiers::SHIFT;
        if held == KeyModifiers::CONTROL {
            return self.take_with_control(key.code);
        }
        match key.code {
            _ if !held.is_empty() => return Typed::Nothing,
            KeyCode::Esc => return Typed::Cancelled,
            KeyCode::Enter => return Typed::Entered,
            KeyCode::Char(c) if !c.is_control() && self.text.len() < LONGEST => {
                self.text.insert(self.byte(self.place), c);
                self.place += 1;
            }
            KeyCode::Backspace if self.place > 0 => {
                self.place -= 1;
                self.text.remove(self.byte(self.place));
            }
            KeyCode::Delete if self.place < self.letters() => {
                self.text.remove(self.byte(self.place));
            }
            KeyCode::Left => return self.go(self.place.saturating_sub(1)),
            KeyCode::Right => return self.go(self.place + 1),
            KeyCode::Home => return self.go(0),
            KeyCode::End => return self.go(usize::MAX),
            _ => return Typed::Nothing,
        }
        self.error = None;
        Typed::Changed
    }

    /// As in a shell.
    fn take_with_control(&mut self, code: KeyCode) -> Typed {
        match code {
            KeyCode::Char('c') => return Typed::Quit,
            KeyCode::Char('z') => return Typed::Suspend,
            KeyCode::Char('a') => return self.go(0),
            KeyCode::Char('e') => return self.go(usize::MAX),
            KeyCode::Char('u') => self.remove_from(0),
            KeyCode::Char('w') => {
                let before = &self.text[..self.byte(self.place)];
                let word = before.trim_end().rfind(' ').map_or(0, |space| space + 1);
                self.remove_from(before[..word].chars().count());
            }
            _ => return Typed::Nothing,
        }
        self.error = None;
        Typed::Changed
    }

    fn remove_from(&mut self, place: usize) {
        let (from, to) = (self.byte(place), self.byte(self.place));
        self.text.replace_range(from..to, "");
        self.place = place;
    }

    fn go(&mut self, place: usize) -> Typed {
        self.place = place.min(self.letters());
        Typed::Moved
    }

    fn letters(&self) -> usize {
        self.text.chars().count()
    }

    fn byte(&self, letter: usize) -> usize {
        let all = self.text.char_indices().nth(letter);
        all.map_or(self.text.len(), |(byte, _)| byte)
    }

    /// The line in so many columns: the text, at least the part around the cursor, and how it goes on.
    pub(super) fn line(&self, width: u16, strong: Style, alert: Style) -> Line<'static> {
        let title = self.wanted.title();
        let said = match &self.error {
            // It has the line above.
            Some(_) => "",
            None => self.wanted.advice(self.text.is_empty()),
        };
        let room = usize::from(width).saturating_sub(title.len());
        // What is typed goes before what is said of it.
        let most = (room * 2 / 3).max(room.saturating_sub(said.chars().count() + 3));
        let skipped = (self.place + 1).saturating_sub(most.max(1));
        let wrong = self.error.as_ref().and_then(|(at, _)| *at);
        let mut spans = vec![Span::styled(title, strong)];
        let letters = self.text.chars().chain([' ']).enumerate();
        let mut used = 0;
        for (place, letter) in letters.skip(skipped).take(most) {
            let is_wrong = wrong.is_some_and(|wrong| place >= wrong && place < self.letters());
            let style = if is_wrong { alert } else { Style::new() };
            let style = match place == self.place {
                true => style.add_modifier(ratatui::style::Modifier::REVERSED),
                false => style,
            };
            spans.push(Span::styled(letter.to_string(), style));
            used += 1;
        }
        spans.push(Span::raw("  "));
        spans.push(Span::raw(cut(said, room.saturating_sub(used + 2))));
        Line::from(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[KeyEvent]) -> Prompt {
        let mut prompt = Prompt::new(Wanted::Filter, String::new());
        for key in keys {
            prompt.take(key);
        }
        prompt
    }

    fn plain(c: char) -> KeyEvent {
        KeyEvent::from(KeyCode::Char(c))
    }

    fn control(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    #[test]
    fn letters_go_where_the_cursor_is() {
        let left = KeyEvent::from(KeyCode::Left);
        let prompt = typed(&[
            plain('a'),
            plain('\u{e4}'),
            left,
            plain('x'),
            control('e'),
            plain('!'),
        ]);
        assert_eq!(prompt.text, "ax\u{e4}!");
        let delete = KeyEvent::from(KeyCode::Delete);
        let back = KeyEvent::from(KeyCode::Backspace);
        let prompt = typed(&[
            plain('a'),
            plain('\u{e4}'),
            plain('c'),
            control('a'),
            delete,
            delete,
            back,
        ]);
        assert_eq!(prompt.text, "c");
    }

    #[test]
    fn a_word_and_a_line_are_taken_back() {
        let mut keys: Vec<KeyEvent> = "port 80 and  ".chars().map(plain).collect();
        keys.push(control('w'));
        assert_eq!(typed(&keys).text, "port 80 ");
        keys.push(control('u'));
        assert_eq!(typed(&keys).text, "");
        keys.push(control('w'));
        assert_eq!(typed(&keys).text, "");
    }

    #[test]
    fn the_place_of_the_next_letter_is_always_in_sight() {
        let keys: Vec<KeyEvent> = (0..300).map(|_| plain('x')).collect();
        let mut prompt = typed(&keys);
        prompt.refuse(Some(299), "no such field".into());
        for width in [10, 40, 80] {
            let line = prompt.line(width, Style::new(), Style::new());
            let reversed = |span: &&Span<'_>| {
                span.style
                    .add_modifier
                    .contains(ratatui::style::Modifier::REVERSED)
            };
            assert_eq!(line.spans.iter().filter(reversed).count(), 1);
        }
    }
}
