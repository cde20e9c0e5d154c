//! What goes into the clipboard: a row, or a finding, as a line for a message or a bug report.

use crate::diagnosis::Finding;
use crate::model::Timestamp;
use crate::timeline::{Connection, Side};
use crate::view::finding::sentence;
use crate::view::plain::plain;
use crate::view::tui::{not_visible, shown_state};
use crate::view::{MULTIPATH, duration, owners, verdict};

/// `A 127.0.0.1:37834 FIN_WAIT2 for 12 s, curl[812]; B 127.0.0.1:50008 CLOSE_WAIT for 12 s, ...`
pub(super) fn connection(connection: &Connection, at: Timestamp) -> String {
    let ends = Side::BOTH.map(|side| end(connection, side, at));
    let mut text = ends.join("; ");
    if connection.closed().is_some() {
        let told = verdict(connection).map_or_else(
            || MULTIPATH.to_owned(),
            |verdict| format!("{}: {}", verdict.code.token(), verdict.sentence),
        );
        text.push_str("; ");
        text.push_str(&plain(&told));
    }
    text
}

fn end(connection: &Connection, side: Side, at: Timestamp) -> String {
    let mut text = format!("{} {}", side.letter(), connection.endpoint(side));
    let Some(track) = connection.end(side) else {
        return format!("{text} {}", not_visible(connection));
    };
    if let Some(index) = track.span_at(at) {
        text.push(' ');
        text.push_str(shown_state(track.spans()[index].state));
        if let Some(age) = track.age(index, at) {
            text.push_str(&format!(" for {}", duration::age(age)));
        }
    }
    if let Some(unread) = track.unread().filter(|&bytes| bytes > 0) {
        text.push_str(&format!(", {unread} B unread"));
    }
    if let Some(owners) = owners::few_words(track.owners()) {
        text.push_str(", ");
        text.push_str(&owners);
    }
    text
}

/// `warn close-wait-leaked: the sentence. What to do.`
pub(super) fn finding(finding: &Finding, at: Timestamp) -> String {
    let text = format!(
        "{} {}: {} {}",
        finding.severity.token(),
        finding.code.token(),
        sentence(finding, at),
        finding.advice
    );
    plain(&text).into_owned()
}
