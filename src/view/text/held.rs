//! When a line says who holds an end: once, and not for a connection that is over before anybody
//! has read it.
//!
//! Who holds an end is known a moment after it was seen. A connection that was there when we came
//! has a line at once, with both of its ends; a new one a second later, or with its next step. The
//! trap: a server that forks for each connection changes the holders twice in its first
//! millisecond; until the first of it is said, only what came of it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Change, ConnId, Connection, Owners, Side, Track, Transition};
use crate::view::owners::words;

/// A new connection is worth a line of its own when it lasts this long.
const LASTS: Duration = Duration::from_secs(1);

/// Ends whose holders are known and not said.
#[derive(Debug, Default)]
pub struct Owed {
    ends: BTreeMap<ConnId, [bool; 2]>,
    due: BTreeSet<(Timestamp, ConnId)>,
}

impl Owed {
    /// Takes in a change of a connection that is shown; says whether it has a line of its own.
    pub fn takes(&mut self, change: &Change, connection: &Connection) -> bool {
        let Change::Held { side, at, nth, .. } = change else {
            if let Change::Closed { .. } = change {
                self.ends.remove(&connection.id());
            }
            return true;
        };
        let is_owed = self.is_owed(connection.id(), *side);
        let Some(track) = connection.end(*side) else {
            return false;
        };
        match track.owners() {
            // A step, or its cause, has said that the last copy was closed.
            Owners::Before(_) => return track.beside().descriptor == Some(Descriptor::Held),
            // That others can't be looked into is said of the source, once for all.
            Owners::Hidden | Owners::NotLooked if *nth == 0 => return false,
            _ => {}
        }
        if *nth == 0 {
            self.owe(connection, *side, *at);
        }
        *nth > 0 && !is_owed
    }

    /// All of a connection that is shown from now on.
    pub fn owe_all(&mut self, connection: &Connection, at: Timestamp) {
        for (side, track) in connection.visible() {
            if let Owners::Now(_) | Owners::Nobody = track.owners() {
                self.owe(connection, side, at);
            }
        }
    }

    fn owe(&mut self, connection: &Connection, side: Side, at: Timestamp) {
        let is_new = connection.visible().any(|(_, track)| is_born(track));
        let due = match is_new {
            true => at.max(connection.opened().plus(LASTS)),
            false => at,
        };
        self.ends.entry(connection.id()).or_default()[side as usize] = true;
        self.due.insert((due, connection.id()));
    }

    fn is_owed(&self, conn: ConnId, side: Side) -> bool {
        self.ends.get(&conn).is_some_and(|of| of[side as usize])
    }

    /// What a step of an end says of its holders, when nothing has yet.
    pub fn said_with(
        &mut self,
        step: &Transition,
        side: Side,
        connection: &Connection,
    ) -> Option<String> {
        let of = self.ends.get_mut(&connection.id())?;
        if !std::mem::take(&mut of[side as usize]) {
            return None;
        }
        let owners = connection.end(side)?.owners();
        let caller = step.why.by.map(|by| by.pid);
        match owners.holders() {
            // The cause names it.
            [holder] if Some(holder.program.id.pid) == caller => None,
            _ => words(owners),
        }
    }

    /// Connections of which it is to be said by now, and which of their ends.
    pub fn due(&mut self, now: Timestamp) -> Vec<(ConnId, [bool; 2])> {
        let mut all = Vec::new();
        while let Some((due, conn)) = self.due.first().copied().filter(|(due, _)| *due < now) {
            self.due.remove(&(due, conn));
            if let Some(ends) = self.ends.remove(&conn).filter(|ends| ends.contains(&true)) {
                all.push((conn, ends));
            }
        }
        all
    }
}

fn is_born(track: &Track) -> bool {
    let first = track.spans().first();
    first.is_some_and(|span| span.state == TcpState::Close)
}

/// `held   A 127.0.0.1:40001 by curl[900] fd 5  B 127.0.0.1:50008 by python3[812] fd 9`; `None` when
/// nobody holds them any more.
pub(super) fn line(connection: &Connection, ends: [bool; 2]) -> Option<String> {
    let of = |(side, track): (Side, &Track)| {
        let said = words(track.owners()).filter(|_| ends[side as usize])?;
        let said = match said.strip_prefix("held ") {
            Some(by) => by.to_owned(),
            None => said,
        };
        Some(format!(
            "{} {} {said}",
            side.letter(),
            connection.endpoint(side)
        ))
    };
    let all: Vec<String> = connection.visible().filter_map(of).collect();
    (!all.is_empty()).then(|| format!("held   {}", all.join("  ")))
}
