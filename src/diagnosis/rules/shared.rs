//! A socket that one process has closed and others have not: nothing is sent.
//!
//! The trap: a server that accepts, forks, and closes its own copy does just that, a thousand times
//! a second. So the process that closed must have held the socket beside those who still do for
//! longer than a handover takes, by looks that lie at least that far apart; it must have had it
//! first; and whoever ended did not close.

use std::time::Duration;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Case, Drafts, Lasted};
use crate::diagnosis::words;
use crate::model::{Descriptor, Holder, Timestamp};
use crate::timeline::Holding;

/// Asked of ends whose FIN is not out.
pub(super) fn check(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    let sets = case.track.holdings();
    if sets.len() < 2 || case.track.beside().descriptor != Some(Descriptor::Held) {
        return None;
    }
    let last = sets.last().filter(|last| !last.holders.is_empty())?;
    let left = who_left(sets, last, case.settings.handover)?;
    // Those who still hold it may be about to close it too.
    let since = match case.lasts_until(left.known.plus(case.settings.handover)) {
        Lasted::Since(since) => since,
        Lasted::Until(due) => return Some(due),
    };
    let (severity, due) = match case.lasts_until(left.known.plus(case.settings.older_than)) {
        Lasted::Since(_) => (Severity::Warn, None),
        Lasted::Until(due) => (Severity::Info, Some(due)),
    };
    let name = words::process(left.holder.program.comm, left.holder.program.id.pid);
    let count = last.holders.len();
    let others = match count {
        1 => "another process still holds it".to_owned(),
        _ => format!("{count} other processes still hold it"),
    };
    drafts.push(case.draft(
        (Code::SharedDescriptor, severity),
        since,
        format!("{name} has closed its copy and nothing was sent: {others}"),
        vec![
            format!(
                "{name} held it beside the others for at least {:.1} s, and does not any more",
                left.beside.as_secs_f64()
            )
            .into(),
            format!(
                "{} {} it now, and no FIN is out",
                words::holders(&last.holders),
                if count == 1 { "holds" } else { "hold" }
            )
            .into(),
        ],
        "The peer is told when the last copy is closed. Close it in the others, or open it with \
         SOCK_CLOEXEC when they only inherited it; to end it for all, call shutdown() before close().",
    ));
    due
}

/// A process that closed its copy.
struct Left<'a> {
    holder: &'a Holder,
    /// So long, at least, it had been beside one who still holds it.
    beside: Duration,
    /// When it was known.
    known: Timestamp,
}

/// The newest one who left.
fn who_left<'a>(sets: &'a [Holding], last: &Holding, handover: Duration) -> Option<Left<'a>> {
    let steps = sets.windows(2).enumerate().rev();
    for (index, pair) in steps {
        let [before, after] = pair else {
            continue;
        };
        let gone = after.left_since(before).filter(|holder| {
            let id = holder.program.id;
            !after.has_ended(id) && !last.has(id)
        });
        for holder in gone {
            let Some(until) = after.from.not_before() else {
                continue;
            };
            let Some(together) = together_since(sets, index, holder, last) else {
                continue;
            };
            let beside = until.since(together);
            if beside >= handover {
                return Some(Left {
                    holder,
                    beside,
                    known: after.from.not_after(),
                });
            }
        }
    }
    None
}

/// From when on the process, up to the set at `index`, was beside one who still holds the socket and
/// had it from this one, or after it.
fn together_since(
    sets: &[Holding],
    index: usize,
    holder: &Holder,
    last: &Holding,
) -> Option<Timestamp> {
    let id = holder.program.id;
    let mut since = None;
    for set in sets[..=index].iter().rev() {
        let is_beside = set.has(id)
            && last
                .holders
                .iter()
                .any(|other| set.has(other.program.id) && came_later(sets, holder, other));
        if !is_beside {
            break;
        }
        since = Some(set.from.not_after());
    }
    since
}

/// Whether `other` got the socket after `holder` had it: it was not in a set in which that one was, or
/// is its child.
fn came_later(sets: &[Holding], holder: &Holder, other: &Holder) -> bool {
    let (id, other_id) = (holder.program.id, other.program.id);
    let was_first = sets
        .iter()
        .find(|set| set.has(id) || set.has(other_id))
        .is_some_and(|set| set.has(id) && !set.has(other_id));
    was_first || other.program.parent == Some(id.pid)
}
