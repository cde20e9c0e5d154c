//! Findings in words: the sentence that says of whom, since when, what, and by whom it is held.

use crate::diagnosis::finding::{Finding, Standing, Subject};
use crate::model::Timestamp;
use crate::timeline::Side;
use crate::view::duration::{age as age_words, is_telling};
use crate::view::owners;

/// `B 127.0.0.1:50008 (from 127.0.0.1:40001) has been in CLOSE_WAIT for 41 s: all data was read ...;
/// held by python3[812] fd 9`.
pub(super) fn sentence(finding: &Finding, now: Timestamp) -> String {
    let what = &finding.what;
    let Some(standing) = &finding.standing else {
        return match &finding.subject {
            Subject::Listener(id) => format!("listener {}: {what}", id.tuple.local),
            Subject::Destination { local, remote, .. } => format!("{local} to {remote}: {what}"),
            Subject::End(..) | Subject::Pair { .. } => what.clone().into_owned(),
        };
    };
    let held = owners::words(standing.owners());
    let held = held.map_or_else(String::new, |held| format!("; {held}"));
    format!("{}: {what}{held}", who(standing, finding, now))
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
    let age = standing.age(now);
    let state = standing.state;
    if is_telling(age) {
        format!("{end} has been in {state} for {}", age_words(age))
    } else {
        format!("{end} is in {state}")
    }
}
