//! A group of findings in one sentence.
//!
//! `python3[812]: 57 connections to 10.0.0.7:5432 in CLOSE_WAIT for 3 to 41 min, all read to the end
//! and not closed; descriptors 9-65`. The trap: what is true of one end is not always true of all,
//! so ages and bytes are told from the least to the most, and bounds stay bounds.

use std::time::Duration;

use crate::diagnosis::finding::{Code, Owned, Subject};
use crate::diagnosis::group::{Ages, Group, Party, Peer, Unread};
use crate::diagnosis::words::counted;
use crate::model::filter::script_name;
use crate::view::duration;
use crate::view::owners::ELSEWHERE;
use crate::view::plain::plain;

/// So many ranges of numbers are written out.
const RANGES: usize = 6;
/// So many characters of a command line are shown.
const CMDLINE: usize = 120;

/// The group in one sentence, without its full stop.
pub fn sentence(group: &Group<'_>) -> String {
    said_of(group, process(group))
}

/// The same, with the script behind an interpreter: `python3[812] app.py: 57 connections ...`.
pub(in crate::view) fn sentence_with_script(group: &Group<'_>) -> String {
    let script = match group.parties.as_slice() {
        [party] => script_name(&party.program),
        _ => None,
    };
    let who = process(group).map(|who| match script {
        Some(script) => format!("{who} {}", plain(script)),
        None => who,
    });
    said_of(group, who)
}

fn said_of(group: &Group<'_>, who: Option<String>) -> String {
    let who = who.map_or_else(String::new, |who| format!("{who}: "));
    let subject = group.findings.first().map(|finding| finding.subject);
    let what = match (group.count(), subject) {
        (1, Some(Subject::Listener(id))) => {
            format!("listener {}: {}", id.tuple.local, first_clause(group))
        }
        (1, _) => one(group),
        (_, Some(Subject::Listener(_))) => {
            let listeners = counted(group.count(), "listener");
            format!("{listeners}{}: {}", at(&group.peer), first_clause(group))
        }
        _ => many(group),
    };
    format!("{who}{what}{}", descriptors_or_why(group))
}

fn one(group: &Group<'_>) -> String {
    if group.state.is_none() && group.ages.is_none() {
        return format!("{}: {}", peer(group), first_clause(group));
    }
    let state = in_state(group);
    format!(
        "1 connection {}{state}: {}",
        peer(group),
        first_clause(group)
    )
}

fn many(group: &Group<'_>) -> String {
    let noun = match group.code {
        Code::RelayPairLeaked => format!("{} pairs of connections, the ones", group.count()),
        _ => counted(group.count(), "connection"),
    };
    let state = in_state(group);
    format!("{noun} {}{state}, {}", peer(group), clause(group))
}

fn in_state(group: &Group<'_>) -> String {
    let state = group
        .state
        .map_or_else(String::new, |state| format!(" in {state}"));
    let ages = group.ages.and_then(ages);
    let ages = ages.map_or_else(String::new, |ages| format!(" for {ages}"));
    format!("{state}{ages}")
}

fn at(peer: &Peer) -> String {
    match peer {
        Peer::At(local) => format!(" at {local}"),
        Peer::To(_) | Peer::Between(..) | Peer::Unknown => String::new(),
    }
}

/// With whom: `to 10.0.0.7:5432`, `from 31 addresses to 10.0.0.1:8080`.
pub(in crate::view) fn peer(group: &Group<'_>) -> String {
    match &group.peer {
        Peer::To(remote) => format!("to {remote}"),
        Peer::At(local) => match (group.callers.len(), group.callers.first()) {
            (1, Some(caller)) => format!("from {caller} to {local}"),
            (0, _) | (_, None) => format!("to {local}"),
            (callers, _) => format!("from {callers} addresses to {local}"),
        },
        Peer::Between(local, remote) => format!("from {local} to {remote}"),
        Peer::Unknown => String::new(),
    }
}

fn first_clause(group: &Group<'_>) -> String {
    group
        .findings
        .first()
        .map_or_else(String::new, |finding| plain(&finding.what).into_owned())
}

/// What all findings of a group have in common.
fn clause(group: &Group<'_>) -> String {
    let said = match group.code {
        Code::CloseWaitNeverAccepted => "never accepted: they wait in the listener's queue",
        Code::CloseWaitUnread => return unread(group.unread),
        Code::CloseWaitEofUnread => "all data read and the end-of-file not",
        Code::CloseWaitLeaked => "all read to the end and not closed",
        Code::CloseWaitShared => {
            return format!(
                "each held by {} processes: closing in one is not enough",
                group.parties.len()
            );
        }
        Code::CloseWaitHalfClose => {
            "of which the peers only shut down their sending side and still read: half-closes in use"
        }
        _ => return several(group),
    };
    said.to_owned()
}

/// What is said of the first, and whether it is said of all.
fn several(group: &Group<'_>) -> String {
    let first = first_clause(group);
    let all_alike = group.findings.iter().all(|finding| {
        group
            .findings
            .first()
            .is_some_and(|first| first.what == finding.what)
    });
    match all_alike {
        true => format!("each: {first}"),
        false => format!("the oldest: {first}"),
    }
}

fn unread(unread: Option<Unread>) -> String {
    let Some(Unread { sum, least, most }) = unread else {
        return "with data received and not read".to_owned();
    };
    let each = if least == most {
        format!("{least} each")
    } else {
        format!("{least} to {most} each")
    };
    format!(
        "with {} unread ({each}) and the end-of-file behind them",
        counted(sum, "byte")
    )
}

/// `python3[812]`, `40 processes nginx[812-851]`; `None` when nobody is known.
pub(in crate::view) fn process(group: &Group<'_>) -> Option<String> {
    let named = processes(&group.parties);
    match (group.owned, group.parties.len()) {
        (_, 0) => None,
        (Owned::Before, _) => Some(format!("formerly {named}")),
        (_, 1) => Some(named),
        (_, many) => Some(format!("{many} processes {named}")),
    }
}

/// `nginx[812-851]`, `php[3,5], nginx[812]`: the pids of each name.
pub(super) fn processes(parties: &[Party]) -> String {
    let mut by_name: Vec<(String, Vec<u32>)> = Vec::new();
    for party in parties {
        let name = plain(&party.program.comm.text()).into_owned();
        let pid = party.program.id.pid;
        match by_name.iter_mut().find(|(known, _)| *known == name) {
            Some((_, pids)) => pids.push(pid),
            None => by_name.push((name, vec![pid])),
        }
    }
    let left_out = by_name.len().saturating_sub(RANGES);
    let named: Vec<String> = by_name
        .iter_mut()
        .take(RANGES)
        .map(|(name, pids)| {
            pids.sort_unstable();
            format!("{name}[{}]", ranges(pids))
        })
        .collect();
    match left_out {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `9-65`, `3,5,7-9 and 12 more`.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let all = crate::diagnosis::group::ranges(numbers.iter().copied());
    let shown = match all.len() {
        count if count > RANGES => RANGES - 1,
        count => count,
    };
    let named: Vec<String> = all[..shown]
        .iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    let more: u64 = all[shown..]
        .iter()
        .map(|(first, last)| u64::from(last - first) + 1)
        .sum();
    match more {
        0 => named.join(","),
        more => format!("{} and {more} more", named.join(",")),
    }
}

/// `descriptor 9`, `descriptors 9-65`.
pub(super) fn descriptors(fds: &[u32]) -> String {
    let word = if fds.len() == 1 {
        "descriptor"
    } else {
        "descriptors"
    };
    format!("{word} {}", ranges(fds))
}

fn descriptors_or_why(group: &Group<'_>) -> String {
    if group.code == Code::CloseWaitNeverAccepted {
        // The descriptors are the listener's, and closing them is no help.
        return String::new();
    }
    match (group.owned, group.parties.as_slice()) {
        (Owned::Now, [party]) if is_of_ends(group) => format!("; {}", descriptors(&party.fds)),
        (Owned::Now, [first, rest @ ..])
            if is_of_ends(group) && rest.iter().all(|party| party.fds == first.fds) =>
        {
            format!("; {} of each", descriptors(&first.fds))
        }
        (Owned::Hidden, _) if group.count() == 1 => {
            "; its holder is not visible without CAP_SYS_PTRACE".to_owned()
        }
        (Owned::Hidden, _) => "; their holders are not visible without CAP_SYS_PTRACE".to_owned(),
        (Owned::Nobody, _) => format!("; no process shows a descriptor ({ELSEWHERE})"),
        _ => String::new(),
    }
}

fn is_of_ends(group: &Group<'_>) -> bool {
    group
        .findings
        .first()
        .is_some_and(|finding| finding.subject.end().is_some())
}

/// `held by python3[812], user app, descriptors 9-65: python3 app.py`.
pub(super) fn holder(group: &Group<'_>, party: &Party) -> String {
    let verb = match (group.code, group.owned) {
        (Code::CloseWaitNeverAccepted | Code::ListenOverflow, _) => "listener of",
        (_, Owned::Before) => "was held by",
        _ => "held by",
    };
    let program = &*party.program;
    let name = plain(&program.comm.text()).into_owned();
    let user = match (&program.user, program.uid) {
        (Some(user), _) => format!(", user {}", plain(user)),
        (None, Some(uid)) => format!(", uid {uid}"),
        (None, None) => String::new(),
    };
    let cmdline = program.cmdline.as_deref().map_or_else(String::new, |text| {
        let text = plain(text);
        let cut: String = text.chars().take(CMDLINE).collect();
        let dots = if cut.len() < text.len() { "..." } else { "" };
        format!(": {cut}{dots}")
    });
    let fds = descriptors(&party.fds);
    format!("{verb} {name}[{}]{user}, {fds}{cmdline}", program.id.pid)
}

/// `41 s`, `3 to 41 min`, `at least 3 min`, `3 min to more than 2 h`; `None` when nothing is known.
fn ages(ages: Ages) -> Option<String> {
    let low = coarse(ages.youngest, false);
    match ages.oldest_at_most {
        None if ages.oldest < Duration::from_millis(1) => None,
        None if coarse(ages.oldest, false) == low => Some(format!("at least {}", join(low))),
        None => {
            let high = join(coarse(ages.oldest, false));
            Some(format!("{} to {high} or longer", join(low)))
        }
        Some(most) => {
            // One time is told as it is of each end.
            if duration::brief(ages.youngest) == duration::brief(most) {
                return Some(duration::brief(most));
            }
            let high = coarse(most, true);
            // Rounded either way, one time must not look like two.
            if coarse(ages.youngest, true) == high || low == coarse(most, false) {
                return Some(join(low));
            }
            if ages.youngest < Duration::from_millis(1) {
                return Some(format!("at most {}", join(high)));
            }
            if low.1 == high.1 {
                return Some(format!("{} to {}", low.0, join(high)));
            }
            Some(format!("{} to {}", join(low), join(high)))
        }
    }
}

fn join((number, unit): (String, &'static str)) -> String {
    format!("{number} {unit}")
}

/// A number and its unit, rounded so that a bound stays true.
fn coarse(duration: Duration, up: bool) -> (String, &'static str) {
    let millis = duration.as_millis();
    let (step, unit) = match millis {
        0..1000 => (1, "ms"),
        1000..10_000 => {
            let tenths = if up {
                millis.div_ceil(100)
            } else {
                millis / 100
            };
            return (format!("{}.{}", tenths / 10, tenths % 10), "s");
        }
        10_000..120_000 => (1000, "s"),
        120_000..7_200_000 => (60_000, "min"),
        7_200_000..172_800_000 => (3_600_000, "h"),
        _ => (86_400_000, "d"),
    };
    let number = if up {
        millis.div_ceil(step)
    } else {
        millis / step
    };
    (number.to_string(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_go_from_the_youngest_to_the_oldest() {
        let secs = Duration::from_secs;
        let of = |youngest, oldest, most: Option<u64>| {
            ages(Ages {
                youngest: secs(youngest),
                youngest_at_most: None,
                oldest: secs(oldest),
                oldest_at_most: most.map(secs),
            })
        };
        for (youngest, oldest, most, said) in [
            (180, 2460, Some(2460), "3 to 41 min"),
            (41, 41, Some(41), "41 s"),
            (185, 185, Some(185), "3 min 5 s"),
            (185, 190, Some(190), "3 min"),
            (30, 2460, Some(2460), "30 s to 41 min"),
            (180, 180, None, "at least 3 min"),
            (180, 8000, None, "3 min to 2 h or longer"),
            (0, 0, Some(5), "at most 5.0 s"),
        ] {
            assert_eq!(of(youngest, oldest, most).as_deref(), Some(said));
        }
        assert_eq!(of(0, 0, None), None);
        let (youngest, most) = (Duration::from_millis(47_600), Duration::from_millis(47_700));
        let of_one = Ages {
            youngest,
            youngest_at_most: Some(most),
            oldest: youngest,
            oldest_at_most: Some(most),
        };
        let row = duration::age(crate::timeline::Age {
            at_least: youngest,
            at_most: Some(most),
        });
        assert_eq!(
            ages(of_one),
            Some(row),
            "a group of one is as old as its row"
        );
    }

    #[test]
    fn many_numbers_are_ranges() {
        assert_eq!(ranges(&[9]), "9");
        assert_eq!(ranges(&[9, 10, 11]), "9-11");
        assert_eq!(ranges(&[3, 4, 6]), "3,4,6");
        let odd: Vec<u32> = (0..20).map(|n| 2 * n + 1).collect();
        assert_eq!(ranges(&odd), "1,3,5,7,9 and 15 more");
    }
}
