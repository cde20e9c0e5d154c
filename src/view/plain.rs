//! The one door through which text from outside reaches a terminal.
//!
//! A process can name itself with an escape sequence that clears the screen, and a bidirectional
//! override can make a line read backwards. Both come out of here as visible `\u{..}`.

use std::borrow::Cow;

/// `text` with everything escaped that a terminal would act on rather than show: C0 and C1
/// controls, DEL, line separators, bidirectional controls and characters of no width.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// `word` as one word of a shell's: what a shell would take for something else is quoted. Not made
/// harmless to a terminal.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-,:/@%+".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Whether the character does something instead of being seen.
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown_instead() {
        for (text, shown) in [
            ("nginx: worker", "nginx: worker"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\tc", "a\\u{a}b\\u{9}c"),
            ("\u{7f}\u{9b}31m", "\\u{7f}\\u{9b}31m"),
            ("exe\u{202e}gnp", "exe\\u{202e}gnp"),
            ("grüße 日本", "grüße 日本"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn what_a_shell_would_take_for_something_else_is_quoted() {
        assert_eq!(quoted("db-1.example/b.jsonl"), "db-1.example/b.jsonl");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn harmless_text_is_not_copied() {
        assert!(matches!(plain("harmless"), Cow::Borrowed(_)));
    }
}
