//! What still flowed after the first FIN, and what was lost, as the verdict says it.
//!
//! The trap: an end that has let go of its socket can't take anything in any more, so after a
//! close() nothing flows, or a reset says that it tried to.

use std::fmt::Write;

use crate::diagnosis::lost::Lost;
use crate::diagnosis::verdict::{Code, How};
use crate::timeline::{Connection, Side, Track};

/// Whether data still flowed after the first FIN.
pub(super) fn half_close(
    connection: &Connection,
    (first_closer, how): (Option<Side>, Option<How>),
    code: Code,
) -> Option<bool> {
    let first = first_closer?;
    let told = |side: Side| connection.end(side).and_then(Track::flowed_after_fin);
    match (told(first), told(first.other())) {
        // What the second closer still sent may have met a closed socket.
        (Some(true), _) => return Some(true),
        (None, Some(true)) if code == Code::Orderly => return Some(true),
        (Some(false), _) | (None, Some(false)) => return Some(false),
        _ => {}
    }
    let has_let_go = matches!(how, Some(How::Close | How::Exit));
    let sent_no_fin = matches!(how, Some(How::Reset | How::Timeout));
    ((has_let_go && code == Code::Orderly) || sent_no_fin).then_some(false)
}

/// Adds what flowed, and what was lost beyond what the evidence says already.
pub(super) fn add_what_flowed(
    sentence: &mut String,
    half_close: Option<bool>,
    lost: [Option<Lost>; 2],
) {
    if half_close == Some(true) {
        sentence.push_str("; data still flowed after the first FIN");
    }
    for side in Side::BOTH {
        let Some(lost) = lost[side as usize] else {
            continue;
        };
        let unacked = Lost { unread: 0, ..lost };
        if unacked.is_some() {
            let _ = write!(sentence, "; {} lost {}", side.letter(), unacked.words());
        }
    }
}
