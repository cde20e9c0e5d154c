//! Words that several rules need.
//!
//! The trap: a process is called whatever it chose to be called, and a finding's words are printed
//! as they are. So a name comes out of here with everything escaped that is not plainly text.

use std::fmt::{Display, Write};

use crate::model::Holder;
use crate::model::event::Comm;
use crate::timeline::{Holding, Owners};

/// So many are named; of others it is said how many.
const NAMED: usize = 4;

/// `1 byte`, `12 bytes`.
pub(super) fn bytes(count: u64) -> String {
    counted(count, "byte")
}

/// `1 connection`, `12 connections`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// `python3[812]`, harmless to print.
pub(super) fn process(comm: Comm, pid: u32) -> String {
    let mut name = String::new();
    for c in comm.text().chars() {
        if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
            name.push(c);
        } else {
            name.extend(c.escape_unicode());
        }
    }
    let _ = write!(name, "[{pid}]");
    name
}

/// `nginx[7], nginx[8] and 38 more`.
pub(super) fn holders(holders: &[Holder]) -> String {
    let named: Vec<String> = holders
        .iter()
        .take(NAMED)
        .map(|holder| process(holder.program.comm, holder.program.id.pid))
        .collect();
    let more = match holders.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// ` (held by nginx[7])`, or nothing where nobody is known.
pub(super) fn held_by(owners: Owners<'_>) -> String {
    let named = |holding: &Holding| holders(&holding.holders);
    match owners {
        Owners::Now(holding) => format!(" (held by {})", named(holding)),
        Owners::Before(holding) => format!(" (was held by {})", named(holding)),
        Owners::NotLooked | Owners::Hidden | Owners::Nobody => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comm(text: &[u8]) -> Comm {
        let mut name = [0; 16];
        name[..text.len()].copy_from_slice(text);
        Comm(name)
    }

    #[test]
    fn a_name_is_harmless() {
        assert_eq!(process(comm(b"nginx: w"), 7), "nginx: w[7]");
        assert_eq!(process(comm(b"\x1b[2J"), 7), "\\u{1b}[2J[7]");
        assert_eq!(process(comm("\u{202e}x".as_bytes()), 7), "\\u{202e}x[7]");
        assert_eq!(process(comm("grün".as_bytes()), 7), "grün[7]");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(counted(2, "connection"), "2 connections");
    }
}
