//! The clipboard of the terminal, which may be on another host: OSC 52 (xterm's ctlseqs, "Manipulate
//! Selection Data").
//!
//! tmux takes it as it is and has its own say (`set-clipboard on`). GNU screen takes nothing that it
//! does not know, but hands on what is wrapped in a DCS, of up to 768 bytes (its MAXSTR).
//!
//! The traps. No terminal answers, so nobody knows whether it was taken. And what was copied may be
//! pasted into a shell: it has no control characters, not even the end of a line.

use crate::view::plain::plain;

/// More is not put into a clipboard: terminals drop long sequences whole (some beyond 100,000 bytes).
pub const MOST: usize = 64 << 10;

/// What stands between us and the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Nothing, or one that knows the sequence.
    Nothing,
    /// GNU screen.
    Screen,
}

impl Between {
    /// By what the environment says: a tmux inside of a screen has the last word.
    pub(super) fn of_environment() -> Self {
        let is_set = |name| std::env::var_os(name).is_some();
        match is_set("STY") && !is_set("TMUX") {
            true => Self::Screen,
            false => Self::Nothing,
        }
    }
}

/// What is sent to put `text` into the clipboard, and how much of it that is.
pub(super) fn sequence(text: &str, between: Between) -> (String, Copied) {
    let (text, copied) = harmless(text);
    let sequence = format!("\x1b]52;c;{}\x07", base64(text.as_bytes()));
    match between {
        Between::Nothing => (sequence, copied),
        Between::Screen => (wrapped(&sequence), copied),
    }
}

/// How much was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// All of it.
    All,
    /// Its beginning: so many bytes.
    Beginning(usize),
}

/// `text` as far as it may be copied.
fn harmless(text: &str) -> (String, Copied) {
    let mut text = plain(text).into_owned();
    if text.len() <= MOST {
        return (text, Copied::All);
    }
    let mut end = MOST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    (text, Copied::Beginning(end))
}

/// Bytes of a wrapped piece; screen takes 768 with what is around it.
const PIECE: usize = 700;

/// `ESC P piece ESC \` for each piece: screen hands them on, one behind the other.
fn wrapped(sequence: &str) -> String {
    let mut rest = sequence;
    let mut wrapped = String::with_capacity(sequence.len() + sequence.len() / PIECE * 4 + 8);
    while !rest.is_empty() {
        // It is ASCII throughout.
        let (piece, others) = rest.split_at(PIECE.min(rest.len()));
        wrapped += "\x1bP";
        wrapped += piece;
        wrapped += "\x1b\\";
        rest = others;
    }
    wrapped
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let part = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let all = part(0) << 16 | part(1) << 8 | part(2);
        for digit in 0..4 {
            let index = (all >> (18 - 6 * digit)) & 63;
            // One byte makes two digits, two make three.
            text.push(match digit <= three.len() {
                true => char::from(DIGITS[index as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn what_is_pasted_does_nothing() {
        let (sequence, copied) = sequence("rm\n\x1b[2J\u{202e}", Between::Nothing);
        assert_eq!(copied, Copied::All);
        let coded = base64(b"rm\\u{a}\\u{1b}[2J\\u{202e}");
        assert_eq!(sequence, format!("\x1b]52;c;{coded}\x07"));
    }

    #[test]
    fn no_more_is_copied_than_terminals_take() {
        let (text, copied) = harmless(&"\u{e9}".repeat(MOST));
        assert_eq!((text.len(), copied), (MOST, Copied::Beginning(MOST)));
        let (text, copied) = harmless(&format!("x{}", "\u{e9}".repeat(MOST)));
        assert_eq!(
            (text.len(), copied),
            (MOST - 1, Copied::Beginning(MOST - 1))
        );
        let (sequence, _) = sequence(&"x".repeat(2 * MOST), Between::Nothing);
        assert!(sequence.len() < 100_000);
    }

    #[test]
    fn screen_hands_on_what_is_wrapped() {
        let text = "x".repeat(3000);
        let (bare, _) = sequence(&text, Between::Nothing);
        let (wrapped, _) = sequence(&text, Between::Screen);
        let pieces = wrapped.strip_prefix("\x1bP").unwrap();
        let pieces = pieces.strip_suffix("\x1b\\").unwrap();
        let pieces: Vec<&str> = pieces.split("\x1b\\\x1bP").collect();
        assert!(pieces.iter().all(|piece| piece.len() + 4 <= 768));
        assert_eq!(pieces.concat(), bare);
    }
}
