//! Holders in words: who holds a socket, who did, and why nobody is named.
//!
//! The trap: names and command lines are whatever a program chose to be called; only their
//! harmless spelling leaves this file.

use crate::model::{Holder, Seen, Timestamp};
use crate::timeline::{Connection, Holding, Owners, Side};
use crate::view::plain::plain;

/// So many holders, or descriptors, are named in a line; of others it is said how many.
const NAMED: usize = 4;

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
    let count = all.len();
    let named: Vec<String> = all
        .take(NAMED)
        .map(|holder| format!("{} {}", process(holder), descriptors(&holder.fds)))
        .collect();
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// Who holds an end, in words; `None` when nobody has looked.
pub(super) fn words(owners: Owners<'_>) -> Option<String> {
    Some(match owners {
        Owners::NotLooked => return None,
        Owners::Hidden => "its holder is not visible without CAP_SYS_PTRACE".to_owned(),
        Owners::Nobody => "no process shows it (its descriptor is in flight over a UNIX socket, \
                           registered in an io_uring, or the kernel's own)"
            .to_owned(),
        Owners::Now(holding) => {
            let partly = match holding.seen {
                Seen::All => "",
                Seen::Partly => " (others may not be visible)",
            };
            format!("held by {}{partly}", holders(holding.holders.iter()))
        }
        Owners::Before(holding) => format!("was held by {}", holders(holding.holders.iter())),
    })
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
    let mut said = Vec::new();
    for holder in set.came_after(Some(before)) {
        let parent = holder.program.parent;
        let is_fork = before
            .holders
            .iter()
            .any(|known| Some(known.program.id.pid) == parent);
        let (name, fds) = (process(holder), descriptors(&holder.fds));
        said.push(match is_fork {
            true => format!("{name} holds it too, {fds}: a child of a holder"),
            false => format!("{name} holds it too, {fds}"),
        });
    }
    for holder in set.left_since(before) {
        let name = process(holder);
        said.push(match set.has_ended(holder.program.id) {
            true => format!("{name} has ended"),
            false => format!("{name} closed its copy"),
        });
    }
    match (said.is_empty(), set.holders.len()) {
        (true, _) => format!("held by {}", holders(set.holders.iter())),
        (false, 0) => format!("{}; nobody is seen to hold it now", said.join(", ")),
        (false, count) => format!("{}; {count} hold it now", said.join(", ")),
    }
}
