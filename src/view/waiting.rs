//! What a wait came to, in one line: reached, or who is still open, in which state, since when, and
//! by whom it is held.

use std::time::Duration;

use crate::diagnosis::finding::Finding;
use crate::diagnosis::until::{Target, Until};
use crate::diagnosis::words::counted;
use crate::model::Timestamp;
use crate::model::filter::Filter;
use crate::timeline::{Connection, Side, Tracker};
use crate::view::{duration, finding, owners};

/// So many connections are named in the line.
const NAMED: usize = 5;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended<'a> {
    /// It is so.
    Reached,
    /// The time was over before.
    TimedOut,
    /// This was found.
    Failed(&'a Finding),
}

/// A wait at its end.
pub struct Waited<'a> {
    /// How it ended.
    pub ended: Ended<'a>,
    /// What it waited for, and how far it came.
    pub until: &'a Until,
    /// What was wanted, in words; empty when it was everything.
    pub filter: String,
    /// The connections.
    pub tracker: &'a Tracker,
    /// The moment of the end.
    pub now: Timestamp,
    /// How long it took.
    pub waited: Duration,
    /// So many connections may be wanted too.
    pub unknown: usize,
    /// Why that can't be told.
    pub unsure: Unsure,
}

/// Why nobody can tell whether some connections are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsure {
    /// A process is asked for.
    Holders,
    /// An expression asks for something that is not known of them.
    Expression,
}

impl Unsure {
    /// What a filter leaves open.
    pub const fn of(filter: &Filter) -> Self {
        match filter.expr {
            Some(_) => Self::Expression,
            None => Self::Holders,
        }
    }
}

/// What to say of so many connections of which nobody can tell whether they are wanted.
pub fn unknown(number: usize, why: Unsure) -> String {
    let (are, they, their) = match number {
        1 => ("is", "it is", "its"),
        _ => ("are", "they are", "their"),
    };
    let why = match why {
        Unsure::Holders => format!(
            "{their} holders are not visible without CAP_SYS_PTRACE (run it as root, or as the \
             user of the program)"
        ),
        Unsure::Expression => format!(
            "what --filter asks for is not known of them: {their} holders, which root sees, \
             {their} age or {their} queues"
        ),
    };
    format!(
        "{} {are} open of which it is not known whether {they} among those asked for: {why}",
        counted(number, "connection")
    )
}

impl<'a> Waited<'a> {
    /// The connections that are still open, oldest first.
    pub(in crate::view) fn open(&self) -> impl Iterator<Item = &'a Connection> {
        let tracker = self.tracker;
        self.until.open().filter_map(|conn| tracker.get(conn))
    }

    /// The line, without its newline.
    pub fn sentence(&self) -> String {
        let of = match self.filter.as_str() {
            "" => String::new(),
            filter => format!(" of {filter}"),
        };
        let time = duration::brief(self.waited);
        match self.ended {
            Ended::Failed(found) => format!(
                "failed after {time}: {}: {}",
                found.code.token(),
                finding::sentence(found, self.now)
            ),
            Ended::Reached => format!("reached after {time}: {}", self.reached(&of)),
            Ended::TimedOut => {
                let open: Vec<String> =
                    self.open().take(NAMED).map(|c| ends(c, self.now)).collect();
                let more = match self.until.open().len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!("; and {more} more"),
                };
                let open = match open.is_empty() {
                    true => String::new(),
                    false => format!(": {}{more}", open.join("; ")),
                };
                let unknown = match self.unknown {
                    0 => String::new(),
                    number => format!("; {}", unknown(number, self.unsure)),
                };
                format!(
                    "timed out after {time}: {}{open}{unknown}",
                    self.missing(&of)
                )
            }
        }
    }

    fn reached(&self, of: &str) -> String {
        let seen = self.until.seen();
        match self.until.target() {
            Target::Closed if seen == 0 => format!("there is no connection{of}"),
            Target::Closed if seen == 1 => format!("the one connection{of} is closed"),
            Target::Closed => format!("all {seen} connections{of} are closed"),
            Target::State(state) => {
                let ends = counted(self.until.reached(), self.noun());
                format!("{ends}{of} reached {state}")
            }
        }
    }

    fn missing(&self, of: &str) -> String {
        let (seen, open) = (self.until.seen(), self.until.open().len());
        match self.until.target() {
            Target::Closed if open == 0 => {
                let wanted = self.until.at_least().unwrap_or(0);
                format!(
                    "{} seen{of}, of at least {wanted}",
                    counted(seen, "connection")
                )
            }
            Target::Closed => {
                let are = if open == 1 { "is" } else { "are" };
                format!(
                    "{open} of {}{of} {are} not closed",
                    counted(seen, "connection")
                )
            }
            Target::State(state) => {
                let wanted = self.until.at_least().unwrap_or(1);
                let ends = counted(self.until.reached(), self.noun());
                let seen = counted(seen, "connection");
                format!("{ends}{of} reached {state}, of at least {wanted}; {seen} seen")
            }
        }
    }

    fn noun(&self) -> &'static str {
        match self.until.target() {
            Target::State(crate::model::TcpState::Listen) => "listener",
            _ => "end",
        }
    }
}

/// `#3 A 127.0.0.1:40001 in FIN_WAIT2 for 9 s, B 127.0.0.1:80 in CLOSE_WAIT for 9 s, held by ...`.
fn ends(connection: &Connection, now: Timestamp) -> String {
    let end = |side: Side| {
        let track = connection.end(side)?;
        let age = track
            .present_age(now)
            .filter(|age| duration::is_telling(*age));
        let age = age.map_or_else(String::new, |age| format!(" for {}", duration::age(age)));
        let held = owners::words(track.owners());
        let held = held.map_or_else(String::new, |held| format!(", {held}"));
        Some(format!(
            "{} {} in {}{age}{held}",
            side.letter(),
            connection.endpoint(side),
            track.state(),
        ))
    };
    let ends: Vec<String> = Side::BOTH.into_iter().filter_map(end).collect();
    format!("#{} {}", connection.id(), ends.join(", "))
}
