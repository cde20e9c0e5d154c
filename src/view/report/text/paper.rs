//! Text in as many columns as there are.
//!
//! The trap: a word longer than a line is kept whole: an address that is cut can't be searched for.

pub(in crate::view) const fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// `head`, and behind it `text`, in as many lines as it needs; those below begin at `indent`.
pub(super) fn flow(width: usize, out: &mut String, head: &str, indent: usize, text: &str) {
    flow_after(width, out, (head, head.chars().count()), indent, text);
}

/// As [`flow`], of a head that takes so many columns.
pub(super) fn flow_after(
    width: usize,
    out: &mut String,
    (head, columns): (&str, usize),
    indent: usize,
    text: &str,
) {
    out.push_str(head);
    let mut column = columns;
    let mut is_first = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !is_first && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if !is_first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        is_first = false;
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_flows_into_the_columns_that_there_are() {
        let mut out = String::new();
        flow(100, &mut out, "  head: ", 4, &"word ".repeat(40));
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| line.chars().count() <= 100));
        assert!(lines[1].starts_with("    word"));
        assert_eq!(out.matches("word").count(), 40);
    }

    #[test]
    fn a_word_longer_than_a_line_is_kept_whole() {
        let mut out = String::new();
        flow(100, &mut out, "", 2, &format!("a {} b", "x".repeat(200)));
        assert!(out.contains(&"x".repeat(200)));
    }
}
