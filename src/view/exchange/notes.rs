//! What is neither a state nor a segment: who holds an end from then on, what was found of it, and
//! what the processes of the lab announced.
//!
//! The trap: an announcement names a process and no connection.

use crate::diagnosis::Finding;
use crate::model::Timestamp;
use crate::timeline::{Connection, Side, Track, When};
use crate::view::exchange::{Exchange, What};

/// An announcement.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Note<'a> {
    pub(in crate::view) at: Timestamp,
    pub(in crate::view) pid: u32,
    /// As it came: not safe to print as it is.
    pub(in crate::view) text: &'a str,
}

impl<'a> Exchange<'a> {
    /// Who came to hold an end, and who left; who held it first is no news.
    pub(super) fn held(&mut self, side: Side, track: &Track, from: Timestamp) {
        let dropped = usize::try_from(track.holdings_dropped()).unwrap_or(0);
        for (index, set) in track.holdings().iter().enumerate().skip(1) {
            let at = set.from.not_after();
            if at >= from {
                self.push(at, set.from, 14, What::Held(side, index + dropped));
            }
        }
    }

    pub(super) fn found(&mut self, findings: impl Iterator<Item = &'a Finding>, from: Timestamp) {
        let conn = self.connection.id();
        for finding in findings.filter(|finding| finding.at >= from) {
            let is_about = |side: &Side| finding.subject.is_about(conn, *side);
            if let Some(side) = Side::BOTH.into_iter().find(is_about) {
                let when = When::At(finding.at);
                self.push(finding.at, when, 20, What::Found(side, finding));
            }
        }
    }

    /// Takes in what was announced since the connection was first met.
    pub(in crate::view) fn with_notes(mut self, notes: impl Iterator<Item = Note<'a>>) -> Self {
        let Some(first) = self.items.first().map(|item| item.at) else {
            return self;
        };
        for note in notes.filter(|note| note.at >= first) {
            let holds = |side: &Side| knows(self.connection, *side, note.pid);
            let side = Side::BOTH.into_iter().find(holds);
            self.push(note.at, When::At(note.at), 0, What::Said(side, note));
        }
        self.sort();
        self
    }
}

/// Whether a process is known to have held an end, or to have made a call on it.
fn knows(connection: &Connection, side: Side, pid: u32) -> bool {
    connection.end(side).is_some_and(|track| {
        let calls = track.spans().iter().filter_map(|span| span.why.by);
        let closed = track.marks().iter().filter_map(|mark| mark.by);
        let sets = track.holdings().iter();
        let mut holders = sets.flat_map(|set| set.holders.iter());
        calls.chain(closed).any(|process| process.pid == pid)
            || holders.any(|holder| holder.program.id.pid == pid)
    })
}
