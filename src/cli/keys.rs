//! Keys as text: letters, and names in angle brackets.
//!
//! The names are those that vi's users know. The trap: `<` itself is a key, and begins a name; it is
//! written `<lt>`.

use std::str::FromStr;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::view::tui::Input;

/// Keys, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys(pub(super) Vec<Input>);

const ALLOWED: &str = "allowed: letters, and <Enter> <Tab> <S-Tab> <Esc> <Space> <BS> <Del> <Up> \
                       <Down> <Left> <Right> <Home> <End> <PgUp> <PgDn> <F1> to <F12> <C-l> <lt>";

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if letter == '<' {
                let (name, behind) = rest[1..]
                    .split_once('>')
                    .ok_or_else(|| format!("'{rest}' names no key: '>' is missing ({ALLOWED})"))?;
                let key = named(name).ok_or_else(|| format!("<{name}> is no key ({ALLOWED})"))?;
                keys.push(Input::Key(key));
                rest = behind;
            } else if letter.is_control() {
                return Err(format!("a control character is no letter ({ALLOWED})"));
            } else {
                keys.push(Input::Key(pressed(KeyCode::Char(letter))));
                rest = &rest[letter.len_utf8()..];
            }
        }
        Ok(Self(keys))
    }
}

/// Terminals tell of Shift beside a capital letter.
fn pressed(code: KeyCode) -> KeyEvent {
    let is_capital = matches!(code, KeyCode::Char(c) if c.is_uppercase());
    let held = if is_capital {
        KeyModifiers::SHIFT
    } else {
        KeyModifiers::NONE
    };
    KeyEvent::new(code, held)
}

/// What stands between the brackets, in any case.
fn named(name: &str) -> Option<KeyEvent> {
    let name = name.to_ascii_lowercase();
    if let Some(letter) = name.strip_prefix("c-") {
        let mut letters = letter.chars();
        let (letter, None) = (letters.next()?, letters.next()) else {
            return None;
        };
        return Some(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
    }
    if let Some(number) = name.strip_prefix('f') {
        let number: u8 = number.parse().ok()?;
        return (1..=12)
            .contains(&number)
            .then(|| pressed(KeyCode::F(number)));
    }
    Some(pressed(match name.as_str() {
        "enter" | "cr" | "return" => KeyCode::Enter,
        "tab" => KeyCode::Tab,
        "s-tab" => return Some(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)),
        "esc" => KeyCode::Esc,
        "space" => KeyCode::Char(' '),
        "bs" | "backspace" => KeyCode::Backspace,
        "del" | "delete" => KeyCode::Delete,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pgup" | "pageup" => KeyCode::PageUp,
        "pgdn" | "pagedown" => KeyCode::PageDown,
        "lt" => KeyCode::Char('<'),
        "gt" => KeyCode::Char('>'),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<KeyCode> {
        let Keys(keys) = text.parse().unwrap();
        let codes = keys.into_iter().map(|key| match key {
            Input::Key(key) => key.code,
            other => panic!("{other:?}"),
        });
        codes.collect()
    }

    #[test]
    fn letters_are_themselves_and_names_stand_in_brackets() {
        use KeyCode::{Char, Down, Enter, F, Left, PageDown};
        assert_eq!(codes("jJ"), [Char('j'), Char('J')]);
        assert_eq!(codes("<Enter><left>t+1s<CR>"), {
            let typed = [Char('t'), Char('+'), Char('1'), Char('s')];
            [&[Enter, Left][..], &typed, &[Enter]].concat()
        });
        assert_eq!(codes("<lt>>"), [Char('<'), Char('>')]);
        assert_eq!(codes("<PgDn><F10><Down>"), [PageDown, F(10), Down]);
        assert_eq!(codes(""), []);
        assert_eq!(codes("\u{e9}"), [Char('\u{e9}')]);
    }

    #[test]
    fn control_is_held_as_a_terminal_says_it() {
        let Keys(keys) = "<C-F>G".parse().unwrap();
        let held = [
            KeyEvent::new(KeyCode::Char('f'), KeyModifiers::CONTROL),
            KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT),
        ];
        assert_eq!(keys, held.map(Input::Key));
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for wrong in ["<", "<Ent", "<>", "<F0>", "<F13>", "<C-ab>", "<C->", "a\n"] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong:?}");
        }
    }
}
