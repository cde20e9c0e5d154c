//! Text in so many columns: padded, cut, or an address without its middle.
//!
//! Knows no screen. The traps: an address is told by its port before all, so that is never cut off. And
//! a process can be named 漢字: a letter is not a column, it may be two of them, or none.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

/// The columns that `text` takes when it is drawn.
pub(super) fn width_of(text: &str) -> usize {
    match is_plain(text) {
        true => text.len(),
        false => signs(&Span::raw(text)).map(|sign| sign.width()).sum(),
    }
}

/// A byte a column.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// What is drawn: a sign at a time, with what combines with it. What controls the terminal never is.
fn signs<'a>(text: &'a Span<'a>) -> impl Iterator<Item = &'a str> {
    let signs = text.styled_graphemes(Style::new()).map(|sign| sign.symbol);
    signs.filter(|sign| !sign.contains(char::is_control))
}

/// As much of the beginning as has room in `width` columns.
pub(super) fn head(text: &str, width: usize) -> String {
    if is_plain(text) {
        return text[..width.min(text.len())].to_owned();
    }
    let mut room = width;
    let fits = |sign: &&str| {
        let left = room.checked_sub(sign.width());
        room = left.unwrap_or(room);
        left.is_some()
    };
    signs(&Span::raw(text)).take_while(fits).collect()
}

/// As much of the end as has room in `width` columns.
fn tail(text: &str, width: usize) -> String {
    let span = Span::raw(text);
    let signs: Vec<&str> = signs(&span).collect();
    let mut room = width;
    let is_beyond = |sign: &&str| match room.checked_sub(sign.width()) {
        Some(left) => {
            room = left;
            false
        }
        None => true,
    };
    let first = signs.iter().rev().position(is_beyond);
    signs[first.map_or(0, |count| signs.len() - count)..].concat()
}

/// `text` broken wherever `width` columns are full.
pub(super) fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    for sign in signs(&Span::raw(text)) {
        match (room >= sign.width(), lines.last_mut()) {
            (true, Some(line)) => line.push_str(sign),
            _ => {
                lines.push(sign.to_owned());
                room = width;
            }
        }
        room = room.saturating_sub(sign.width());
    }
    lines
}

/// How many lines [`broken`] makes of it.
pub(super) fn count_of_broken(text: &str, width: usize) -> usize {
    match is_plain(text) {
        true => text.len().div_ceil(width),
        false => broken(text, width).len(),
    }
}

/// `text` in exactly `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let mut padded = head(text, width);
    let rest = width - width_of(&padded);
    padded.extend(std::iter::repeat_n(' ', rest));
    padded
}

/// What is longer than `width` ends in `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut cut = head(text, width.saturating_sub(1));
    if width > 0 {
        cut.push('\u{2026}');
    }
    cut
}

/// Two addresses that share `room`: the second gives way to the first only down to its half.
pub(super) fn shorten_both(a: &str, b: &str, room: usize) -> (String, String) {
    let (a_long, b_long) = (width_of(a), width_of(b));
    let b_kept = b_long.min(room - room / 2);
    let a_room = a_long.min(room - b_kept);
    (shorten(a, a_room), shorten(b, room - a_room))
}

/// An address in at most `width` columns: its middle is left out, so that the port stays.
pub(super) fn shorten(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else {
        return String::new();
    };
    let port = text.rsplit_once(':').map_or(0, |(_, port)| port.len() + 1);
    let of_tail = port.max(kept / 2).min(kept);
    let (head, tail) = (head(text, kept - of_tail), tail(text, of_tail));
    format!("{head}\u{2026}{tail}")
}

/// Words in lines of at most `width` columns; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_after(text, width, width)
}

/// Text behind a word, and below itself.
pub(super) fn wrap_behind(word: &str, text: &str, width: usize) -> Vec<Line<'static>> {
    let indent = width_of(word);
    let lines = wrap(text, width.saturating_sub(indent).max(1)).into_iter();
    lines
        .enumerate()
        .map(|(index, line)| match index {
            0 => Line::raw(format!("{word}{line}")),
            _ => Line::raw(format!("{:indent$}{line}", "")),
        })
        .collect()
}

/// As [`wrap`], with another width for the first line.
pub(super) fn wrap_after(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words(text) {
        let width = if lines.len() <= 1 { first } else { rest };
        match lines.last_mut() {
            Some(line) if width_of(line) + 1 + width_of(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The words of a text; a number and its unit are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut end = text.find(' ');
        if let Some(first) = end
            && text[..first].ends_with(|last: char| last.is_ascii_digit())
        {
            let behind = &text[first + 1..];
            let next = behind.find(' ').unwrap_or(behind.len());
            let unit = behind[..next].trim_end_matches([',', ';', ':', '.', ')']);
            if matches!(unit, "\u{b5}s" | "ms" | "s" | "min" | "h" | "d") {
                end = (first + 1 + next < text.len()).then_some(first + 1 + next);
            }
        }
        rest = end.map(|end| &text[end + 1..]);
        Some(end.map_or(text, |end| &text[..end]))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text of any kind, with much of what is no column wide, or two.
    fn any_text() -> impl Strategy<Value = String> {
        "([ -~]|[\u{4e00}-\u{4e40}]|[\u{300}-\u{310}]|[\u{1f468}\u{200d}\u{1f469}\u{fe0f}\u{2764}]|\\PC|.){0,24}"
    }

    /// The columns that are drawn on, by drawing it.
    fn drawn(text: &str) -> usize {
        let area = ratatui::layout::Rect::new(0, 0, 200, 1);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        usize::from(buffer.set_stringn(0, 0, text, 200, Style::new()).0)
    }

    proptest! {
        #[test]
        fn padded_it_has_exactly_so_many_columns(text in any_text(), width in 0..60usize) {
            let padded = pad(&text, width);
            prop_assert_eq!(width_of(&padded), width);
            prop_assert_eq!(drawn(&padded), width, "{:?}", padded);
        }

        #[test]
        fn cut_and_shortened_it_has_no_more(text in any_text(), width in 0..60usize) {
            prop_assert!(drawn(&cut(&text, width)) <= width);
            prop_assert!(drawn(&shorten(&text, width)) <= width);
            if drawn(&text) <= width {
                prop_assert_eq!(cut(&text, width), text);
            }
        }

        #[test]
        fn only_a_word_that_is_longer_is_beyond_the_width(text in any_text(), width in 1..60usize) {
            for line in wrap(&text, width) {
                prop_assert!(drawn(&line) <= width || words(&line).count() == 1, "{:?}", line);
            }
        }
    }

    #[test]
    fn a_letter_may_be_two_columns_or_none() {
        assert_eq!(pad("漢字漢", 5), "漢字 ");
        assert_eq!(pad("e\u{301}e\u{301}", 3), "e\u{301}e\u{301} ");
        assert_eq!(cut("漢字漢", 5), "漢字\u{2026}");
        assert_eq!(cut("漢字漢", 4), "漢\u{2026}");
        assert_eq!(shorten("漢字漢字:80", 6), "漢\u{2026}:80");
        assert_eq!(wrap("漢字 漢字", 8), ["漢字", "漢字"]);
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        let text = "for at least 54 s: given up in 1 min 5 s, and 7 times";
        assert_eq!(
            wrap(text, 16),
            [
                "for at least",
                "54 s: given up",
                "in 1 min 5 s,",
                "and 7 times"
            ]
        );
        assert_eq!(wrap("54 s", 3), ["54 s"]);
        assert_eq!(wrap("a  b", 9), ["a  b"]);
        assert_eq!(wrap("", 9), [""]);
    }
}
