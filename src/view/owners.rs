//! Holders in words: who holds a socket, who did, and why nobody is named.
//!
//! The trap: names and command lines are whatever a program chose to be called; only their
//! harmless spelling leaves this file.

use crate::model::{Holder, Seen, Timestamp};
use crate::timeline::{Connection, Holding, Owners, Side};
use crate::view::plain::plain;

/// So many holders, or descriptors, are named in a line; of others it is said how many.
const NAMED: usize = 4;
/// So many characters of a command line are shown.
const CMDLINE: usize = 80;

/// Where a descriptor is that no process shows.
pub(super) const ELSEWHERE: &str = "in flight over a UNIX socket, registered in an io_uring, the kernel's \
                                    own, or in a process that lets nobody look";

/// `python3[812]`.
pub(super) fn process(holder: &Holder) -> String {
    let comm = holder.program.comm.text();
    format!("{}[{}]", plain(&comm), holder.program.id.pid)
}

/// `fd 3`, `fds 3,4`.
fn descriptors(fds: &[u32]) -> String {
    let named: Vec<String> = fds.iter().take(NAMED).map(u32::to_string).collect();
    let (word, more) = match fds.len() {
        0 | 1 => ("fd", String::new()),
        count if count > NAMED => ("fds", format!(" and {} more", count - NAMED)),
        _ => ("fds", String::new()),
    };
    format!("{word} {}{more}", named.join(","))
}

/// `python3[812] fd 3, python3[813] fd 3 and 38 more`.
pub(super) fn holders<'a>(all: impl ExactSizeIterator<Item = &'a Holder>) -> String {
    first_of(all, NAMED)
}

fn first_of<'a>(all: impl ExactSizeIterator<Item = &'a Holder>, most: usize) -> String {
    let count = all.len();
    let named: Vec<String> = all
        .take(most)
        .map(|holder| format!("{} {}", process(holder), descriptors(&holder.fds)))
        .collect();
    let more = match count.saturating_sub(most) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// `python3[812]`, and how many others; `None` when nobody is known.
pub(super) fn brief(owners: Owners<'_>) -> Option<String> {
    let all = owners.holders();
    let first = process(all.first()?);
    Some(match all.len() {
        1 => first,
        count => format!("{first} +{}", count - 1),
    })
}

/// Who holds an end, in words; `None` when nobody has looked.
pub(super) fn words(owners: Owners<'_>) -> Option<String> {
    words_naming(owners, NAMED)
}

/// As [`words`], where there is little room: of several holders the first is named.
pub(super) fn few_words(owners: Owners<'_>) -> Option<String> {
    let named = if owners.holders().len() > 2 { 1 } else { 2 };
    words_naming(owners, named)
}

fn words_naming(owners: Owners<'_>, most: usize) -> Option<String> {
    Some(match owners {
        Owners::NotLooked => return None,
        Owners::Hidden => "its holder is not visible without CAP_SYS_PTRACE".to_owned(),
        Owners::Nobody => format!("no process shows it (its descriptor is {ELSEWHERE})"),
        Owners::Now(holding) => {
            let partly = match holding.seen {
                Seen::All => "",
                Seen::Partly => " (others may not be visible)",
            };
            format!("held by {}{partly}", first_of(holding.holders.iter(), most))
        }
        Owners::Before(holding) => {
            format!("was held by {}", first_of(holding.holders.iter(), most))
        }
    })
}

/// As [`words`], as short as a cell of a table: `python3[812] fd 3`; `-` when nobody has looked.
pub(super) fn cell(owners: Owners<'_>) -> String {
    match owners {
        Owners::NotLooked => "-".to_owned(),
        Owners::Hidden => "not visible without CAP_SYS_PTRACE".to_owned(),
        Owners::Nobody => "no process shows it".to_owned(),
        Owners::Now(holding) => {
            let partly = match holding.seen {
                Seen::All => "",
                Seen::Partly => " (others may not be visible)",
            };
            format!("{}{partly}", holders(holding.holders.iter()))
        }
        Owners::Before(holding) => format!("was {}", holders(holding.holders.iter())),
    }
}

/// A process with all that is known of it:
/// `python3[812] fd 3, user www-data: python3 serve.py --port 80`.
pub(super) fn in_full(holder: &Holder) -> String {
    let program = &holder.program;
    let user = match (&program.user, program.uid) {
        (Some(name), _) => format!(", user {}", plain(name)),
        (None, Some(uid)) => format!(", user {uid}"),
        (None, None) => String::new(),
    };
    let cmdline = program
        .cmdline
        .as_deref()
        .map_or_else(String::new, |line| format!(": {}", cut(line)));
    format!(
        "{} {}{user}{cmdline}",
        process(holder),
        descriptors(&holder.fds)
    )
}

/// A command line, as much of it as a line has room for.
fn cut(line: &str) -> String {
    match line.char_indices().nth(CMDLINE) {
        Some((end, _)) => format!("{}\u{2026}", plain(&line[..end])),
        None => plain(line).into_owned(),
    }
}

/// What the `nth` set of holders of an end says that the one before did not: who came, and how;
/// who left, and how. `None` once it is not kept any more.
pub(super) fn news(connection: &Connection, side: Side, nth: usize) -> Option<String> {
    let (before, set) = connection.end(side)?.holding(nth)?;
    let Some(before) = before else {
        return words(match (set.holders.is_empty(), set.seen) {
            (false, _) => Owners::Now(set),
            (true, Seen::All) => Owners::Nobody,
            (true, Seen::Partly) => Owners::Hidden,
        });
    };
    Some(difference(before, set))
}

/// All changes of an end's holders that are kept, oldest first: when each was known, and what it
/// says that the one before did not.
pub(super) fn changes(
    connection: &Connection,
    side: Side,
) -> impl Iterator<Item = (Timestamp, String)> {
    let track = connection.end(side);
    let sets = track.map_or(&[][..], |track| track.holdings());
    let dropped = track.map_or(0, |track| track.holdings_dropped() as usize);
    sets.iter().enumerate().filter_map(move |(index, set)| {
        let nth = if index == 0 { 0 } else { index + dropped };
        Some((set.from.not_after(), news(connection, side, nth)?))
    })
}

fn difference(before: &Holding, set: &Holding) -> String {
    let is_child = |holder: &&Holder| {
        let mut known = before.holders.iter();
        known.any(|known| Some(known.program.id.pid) == holder.program.parent)
    };
    let (forked, others): (Vec<&Holder>, Vec<&Holder>) =
        set.came_after(Some(before)).partition(is_child);
    let has_ended = |holder: &&Holder| set.has_ended(holder.program.id);
    let (ended, closed): (Vec<&Holder>, Vec<&Holder>) = set.left_since(before).partition(has_ended);
    let came = [
        (forked, " (a child of a holder)", " (children of a holder)"),
        (others, "", ""),
    ];
    let mut said: Vec<String> = Vec::new();
    for (all, one, several) in came {
        let names = first_of(all.iter().copied(), NAMED);
        match all.len() {
            0 => {}
            1 => said.push(format!("{names} holds it too{one}")),
            _ => said.push(format!("{names} hold it too{several}")),
        }
    }
    for (all, one, several) in [
        (ended, "has ended", "have ended"),
        (closed, "closed its copy", "closed their copies"),
    ] {
        match all.as_slice() {
            [] => {}
            [holder] => said.push(format!("{} {one}", process(holder))),
            all => said.push(format!("{} {several}", names(all))),
        }
    }
    match (said.is_empty(), set.holders.len()) {
        (true, _) => format!("held by {}", holders(set.holders.iter())),
        (false, 0) => format!("{}; nobody is seen to hold it now", said.join(", ")),
        (false, 1) => format!("{}; 1 holds it now", said.join(", ")),
        (false, count) => format!("{}; {count} hold it now", said.join(", ")),
    }
}

/// `python3[812], python3[813] and 38 more`.
fn names(all: &[&Holder]) -> String {
    let named: Vec<String> = all
        .iter()
        .take(NAMED)
        .map(|holder| process(holder))
        .collect();
    match all.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::event::Comm;
    use crate::model::{ProcessId, Program, Timestamp};
    use crate::timeline::When;

    fn holder(pid: u32, cmdline: &str) -> Holder {
        Holder {
            program: Arc::new(Program {
                id: ProcessId { pid, started: 1 },
                parent: Some(1),
                comm: Comm(*b"w\x1b[31m\0\0\0\0\0\0\0\0\0\0"),
                uid: Some(33),
                user: Some("www\ndata".into()),
                cmdline: Some(cmdline.into()),
            }),
            fds: vec![3, 9],
        }
    }

    fn holding(holders: &[Holder], seen: Seen) -> Holding {
        Holding {
            from: When::At(Timestamp::default()),
            holders: holders.into(),
            ended: [].into(),
            seen,
        }
    }

    #[test]
    fn nothing_that_a_process_chose_reaches_the_terminal_as_it_is() {
        let set = holding(&[holder(812, "")], Seen::All);
        let cell = cell(Owners::Now(&set));
        assert!(cell.ends_with("[812] fds 3,9"), "{cell}");
        assert!(!cell.chars().any(char::is_control), "{cell:?}");
    }

    #[test]
    fn of_many_holders_the_first_are_named() {
        let set: Vec<Holder> = (1..=40).map(|pid| holder(pid, "")).collect();
        let cell = cell(Owners::Before(&holding(&set, Seen::Partly)));
        assert!(cell.starts_with("was w"), "{cell}");
        assert!(cell.ends_with(" and 36 more"), "{cell}");
    }

    #[test]
    fn who_is_hidden_is_not_nobody() {
        assert_eq!(cell(Owners::NotLooked), "-");
        assert!(cell(Owners::Hidden).contains("CAP_SYS_PTRACE"));
        assert_eq!(cell(Owners::Nobody), "no process shows it");
        let partly = holding(&[holder(1, "")], Seen::Partly);
        assert!(cell(Owners::Now(&partly)).ends_with("(others may not be visible)"));
    }

    #[test]
    fn a_command_line_is_cut_and_harmless() {
        let line = format!("serve \x1b[2J {}", "\u{e4}".repeat(2 * CMDLINE));
        let full = in_full(&holder(812, &line));
        assert!(full.contains("[812] fds 3,9, user "), "{full}");
        assert!(!full.chars().any(char::is_control), "{full:?}");
        assert!(full.matches('\u{e4}').count() < CMDLINE, "{full}");
    }
}
