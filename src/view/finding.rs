//! Findings in words: the sentence that says of whom, since when, what, and by whom it is held.
//!
//! The trap: what is over was so, and is told as it was then, however late it is read.

use crate::diagnosis::finding::{Finding, Standing, Subject};
use crate::model::Timestamp;
use crate::timeline::{Age, Connection, Side, Tracker, When};
use crate::view::duration::{age as age_words, is_telling, narrow_age};
use crate::view::owners;

/// `B 127.0.0.1:50008 (from 127.0.0.1:40001) has been in CLOSE_WAIT for 41 s: all data was read ...;
/// held by python3[812] fd 9`.
pub(super) fn sentence(finding: &Finding, now: Timestamp) -> String {
    let what = &finding.what;
    let Some(standing) = &finding.standing else {
        return match of_what(finding) {
            Some(of) => format!("{of}: {what}"),
            None => what.clone().into_owned(),
        };
    };
    let held = owners::words(standing.owners());
    let held = held.map_or_else(String::new, |held| format!("; {held}"));
    format!("{}: {what}{held}", who(standing, finding, now))
}

/// What a finding without an end is about.
fn of_what(finding: &Finding) -> Option<String> {
    match &finding.subject {
        Subject::Listener(id) => Some(format!("listener {}", id.tuple.local)),
        Subject::Destination { local, remote, .. } => Some(format!("{local} to {remote}")),
        Subject::End(..) | Subject::Pair { .. } => None,
    }
}

/// What it is about, short: `B 127.0.0.1:50008`.
pub(super) fn of_whom(finding: &Finding) -> Option<String> {
    let of_end = |standing: &Standing| format!("{} {}", standing.side.letter(), standing.local);
    finding
        .standing
        .as_ref()
        .map(of_end)
        .or_else(|| of_what(finding))
}

/// Who holds it, and what was found: a row's worth, where the code and the age stand beside it.
pub(super) fn brief(finding: &Finding) -> String {
    let standing = finding.standing.as_ref();
    let holder = standing.and_then(|standing| owners::brief(standing.owners()));
    match of_what(finding).or(holder) {
        Some(of) => format!("{of}: {}", finding.what),
        None => finding.what.clone().into_owned(),
    }
}

/// Until when it was so: now, or until it was over.
fn until(finding: &Finding, now: Timestamp) -> Timestamp {
    finding.over.map_or(now, |over| over.min(now))
}

/// For how long, in seven columns: the state of an end; the finding, of anything else.
pub(super) fn since(finding: &Finding, now: Timestamp) -> String {
    let until = until(finding, now);
    let standing = finding
        .standing
        .as_ref()
        .filter(|_| !finding.code.is_fact());
    let lasted = until.since(finding.at);
    narrow_age(standing.map_or_else(
        || Age {
            at_least: lasted,
            at_most: Some(lasted),
        },
        |standing| standing.age(until),
    ))
}

/// Whether the state that it is about is older than our watching: then its moment is when it was
/// found, and not when it came to be.
pub(super) fn was_there_before(finding: &Finding, tracker: &Tracker) -> bool {
    let (Some(standing), Some((conn, _))) = (&finding.standing, finding.subject.end()) else {
        return false;
    };
    let opened = tracker.get(conn).map(Connection::opened);
    matches!(standing.since, When::Before(_))
        || opened.is_some_and(|opened| standing.since.not_after() < opened)
}

fn who(standing: &Standing, finding: &Finding, now: Timestamp) -> String {
    let (letter, local, remote) = (standing.side.letter(), standing.local, standing.remote);
    let way = match standing.side {
        Side::A => "to",
        Side::B => "from",
    };
    let end = format!("{letter} {local} ({way} {remote})");
    if finding.code.is_fact() {
        return end;
    }
    let (has_been, is) = match finding.over {
        None => ("has been", "is"),
        Some(_) => ("was", "was"),
    };
    let age = standing.age(until(finding, now));
    let state = standing.state;
    if is_telling(age) {
        format!("{end} {has_been} in {state} for {}", age_words(age))
    } else {
        format!("{end} {is} in {state}")
    }
}
