//! What lies on top of a lane: resets, segments sent again, changes of holders, findings. Each is a
//! sign at a moment.
//!
//! Knows tracks and findings; where a sign is drawn is the lane's. The trap: several signs can fall
//! into one cell of the screen, and none may hide another unsaid.

use crate::diagnosis::{Finding, Severity};
use crate::model::{Holder, Timestamp};
use crate::timeline::{Call, Holding, Mark, MarkKind, Track};

/// A reset went out.
pub(super) const RESET_SENT: char = '\u{25b2}';
/// A reset came in.
pub(super) const RESET_RECEIVED: char = '\u{25bc}';
/// A segment was sent again; of 2 to 9 in one cell the number.
pub(super) const RETRANSMIT: char = '\u{2191}';
/// Ten segments or more in one cell.
pub(super) const MANY: char = '+';
/// `close()`: of a step the call that made it, beside one that came after the FIN was out.
pub(super) const CLOSE_CALL: char = '\u{a2}';
/// `shutdown()`.
pub(super) const SHUTDOWN: char = '\u{a7}';
/// The process ended, by itself or killed.
pub(super) const ENDED: char = '\u{2020}';
/// The socket did not answer a question.
pub(super) const NO_ANSWER: char = '?';
/// The kernel freed the socket.
pub(super) const FREED: char = '\u{25cb}';
/// Another process holds the socket, or a process holds it once more.
pub(super) const COPIED: char = '\u{2295}';
/// A copy was closed; others are left.
pub(super) const COPY_CLOSED: char = '\u{2296}';
/// The last copy was closed.
pub(super) const ALL_CLOSED: char = '\u{2297}';
/// Signs of different kinds.
pub(super) const SEVERAL: char = '\u{2021}';

/// The sign of a finding, in lists and on lanes: never a colour alone.
pub(super) const fn of_severity(severity: Severity) -> char {
    word_of(severity).as_bytes()[0] as char
}

/// The same, as a word of one letter.
pub(super) const fn word_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "E",
        Severity::Warn => "!",
        Severity::Info => "i",
    }
}

/// The mark of a step that the local program made, where it is not plain from the state.
///
/// A call counts as seen when an event told it, and when a look proves it: a descriptor that is
/// still held proves `shutdown()`. One that is gone proves no call, only that it was closed
/// somehow, and such a step has a cause and no call ([`crate::timeline::Why`]).
pub(super) const fn of_call(call: Call) -> Option<char> {
    match call {
        Call::Connect => None,
        Call::Close => Some(CLOSE_CALL),
        Call::ShutdownWr | Call::ShutdownRdwr => Some(SHUTDOWN),
        Call::Exit => Some(ENDED),
    }
}

/// Whether it is the mark of a step by a call.
pub(super) const fn is_call(glyph: char) -> bool {
    matches!(glyph, CLOSE_CALL | SHUTDOWN | ENDED)
}

/// Something at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    pub(super) at: Timestamp,
    pub(super) glyph: char,
    /// It is told in the style of its severity.
    pub(super) severity: Option<Severity>,
}

impl Sign {
    fn plain(at: Timestamp, glyph: char) -> Self {
        let is_reset = matches!(glyph, RESET_SENT | RESET_RECEIVED);
        Self {
            at,
            glyph,
            severity: is_reset.then_some(Severity::Error),
        }
    }

    const fn of_mark(mark: &Mark) -> (Timestamp, char) {
        let glyph = match mark.kind {
            MarkKind::ResetSent(_) => RESET_SENT,
            MarkKind::ResetReceived => RESET_RECEIVED,
            MarkKind::Retransmit => RETRANSMIT,
            MarkKind::CloseCall => CLOSE_CALL,
            MarkKind::Freed => FREED,
            MarkKind::NoAnswer => NO_ANSWER,
        };
        (mark.at, glyph)
    }

    pub(super) const fn is_reset(self) -> bool {
        matches!(self.glyph, RESET_SENT | RESET_RECEIVED)
    }
}

/// All signs of an end up to `at`, in the order of time.
pub(super) fn signs<'a>(
    track: &Track,
    findings: impl Iterator<Item = &'a Finding>,
    at: Timestamp,
) -> Vec<Sign> {
    let marks = track.marks().iter().map(Sign::of_mark);
    let changes = track.holdings().windows(2);
    let changes = changes.filter_map(|pair| Some((pair[1].from.not_after(), change(pair)?)));
    let mut all: Vec<Sign> = marks
        .chain(changes)
        .map(|(at, glyph)| Sign::plain(at, glyph))
        .collect();
    all.extend(findings.map(|finding| Sign {
        at: finding.at,
        glyph: of_severity(finding.severity),
        severity: Some(finding.severity),
    }));
    all.retain(|sign| sign.at <= at);
    // What came late stands behind what was later.
    all.sort_by_key(|sign| sign.at);
    all
}

/// What changed from one set of holders to the next.
fn change(pair: &[Holding]) -> Option<char> {
    let [before, after] = pair else {
        return None;
    };
    let gained = |holder: &Holder| holder.fds.len() > copies(before, holder);
    let lost = |holder: &Holder| holder.fds.len() > copies(after, holder);
    let came = after.holders.iter().any(gained);
    let left = before.holders.iter().any(lost);
    match (came, left) {
        (true, true) => Some(SEVERAL),
        (true, false) => Some(COPIED),
        (false, true) if after.holders.is_empty() => Some(ALL_CLOSED),
        (false, true) => Some(COPY_CLOSED),
        (false, false) => None,
    }
}

/// Under how many descriptors the process holds it in a set.
fn copies(set: &Holding, of: &Holder) -> usize {
    let mut all = set.holders.iter();
    let same = all.find(|holder| holder.program.id == of.program.id);
    same.map_or(0, |holder| holder.fds.len())
}

/// The sign of those that fall into one cell.
pub(super) fn together(signs: &[Sign]) -> Option<Sign> {
    let first = *signs.first()?;
    let severity = signs.iter().filter_map(|sign| sign.severity).max();
    let glyph = match (
        signs.iter().all(|sign| sign.glyph == first.glyph),
        first.glyph,
    ) {
        (false, _) => several(signs),
        (true, RETRANSMIT) if signs.len() > 1 => u32::try_from(signs.len())
            .ok()
            .and_then(|count| char::from_digit(count, 10))
            .unwrap_or(MANY),
        (true, glyph) => glyph,
    };
    Some(Sign {
        glyph,
        severity,
        ..first
    })
}

/// Findings of one moment are told by the worst of them.
fn several(signs: &[Sign]) -> char {
    let of_findings = |sign: &Sign| {
        let severity = sign.severity.filter(|_| !sign.is_reset())?;
        Some(severity)
    };
    let all: Option<Vec<Severity>> = signs.iter().map(of_findings).collect();
    let worst = all.and_then(|all| all.into_iter().max());
    worst.map_or(SEVERAL, of_severity)
}
