//! Text in so many columns: padded, cut, or an address without its middle.
//!
//! Knows no screen. The trap: an address is told by its port before all, so that is never cut off.

use ratatui::text::Line;

/// `text` in exactly `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let cut: String = text.chars().take(width).collect();
    format!("{cut:<width$}")
}

/// What is longer than `width` ends in `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('\u{2026}');
    }
    cut
}

/// Two addresses that share `room`: the second gives way to the first only down to its half.
pub(super) fn shorten_both(a: &str, b: &str, room: usize) -> (String, String) {
    let (a_long, b_long) = (a.chars().count(), b.chars().count());
    let b_kept = b_long.min(room - room / 2);
    let a_room = a_long.min(room - b_kept);
    (shorten(a, a_room), shorten(b, room - a_room))
}

/// An address in at most `width` columns: its middle is left out, so that the port stays.
pub(super) fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else {
        return String::new();
    };
    let port = text.rsplit_once(':').map_or(0, |(_, port)| port.len() + 1);
    let tail = port.max(kept / 2).min(kept);
    let head: String = text.chars().take(kept - tail).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    format!("{head}\u{2026}{tail}")
}

/// Words in lines of at most `width` columns; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_after(text, width, width)
}

/// Text behind a word, and below itself.
pub(super) fn wrap_behind(word: &str, text: &str, width: usize) -> Vec<Line<'static>> {
    let indent = word.chars().count();
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
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
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
    use super::*;

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
