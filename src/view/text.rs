//! Lines for people and for grep: one a transition, one row a connection for a list.
//!
//! Only formats what it is given. Every line begins with the time of day and the connection's
//! number, so that one connection can be cut out with grep.

pub mod held;
mod list;
mod news;

use std::fmt::Write;
use std::time::Duration;

use crate::model::{Body, Descriptor, Observation, SourceName, TcpState, Timestamp};
use crate::timeline::{
    Came, Cause, Change, Connection, Found, Mark, Reason, SeenBeside, Side, Transition,
};
use crate::view::cause::{self, Step};
use crate::view::duration::{age as brief_age, brief, is_telling};
use crate::view::palette::{ColorMode, painted};
use crate::view::plain::plain;
use crate::view::wall::WallClock;
use crate::view::{MULTIPATH, owners, source, verdict};

pub use list::{list, listeners};

/// Formats lines: knows the wall clock and whether colour is wanted.
#[derive(Debug)]
pub struct Lines {
    /// For the times of day.
    pub clock: WallClock,
    /// Whether states are coloured.
    pub color: ColorMode,
}

fn held(side: Side, nth: usize, connection: &Connection) -> String {
    let words = owners::news(connection, side, nth);
    let words = words.unwrap_or_else(|| "held by others now".to_owned());
    format!("{} {}  {words}", side.letter(), connection.endpoint(side))
}

/// The age of the state that the end was found in, which came later than the opening.
fn dated(side: Side, at: Timestamp, connection: &Connection) -> String {
    let (letter, local) = (side.letter(), connection.endpoint(side));
    let found = connection.end(side).and_then(|track| {
        let age = track.age(0, at)?;
        Some((track.spans().first()?.state, age))
    });
    match found {
        Some((state, age)) => format!(
            "{letter} {local}  has been in {state} for {}",
            brief_age(age)
        ),
        None => format!("{letter} {local}"),
    }
}

impl Lines {
    /// The line of a change; of a step, with who holds the end.
    pub fn change_with(
        &self,
        change: &Change,
        connection: &Connection,
        holders: Option<String>,
    ) -> String {
        let (at, text) = match change {
            Change::Opened { at, ends, .. } => (*at, self.opened(ends, connection)),
            Change::Joined {
                side, at, found, ..
            } => (
                *at,
                format!("found  {}", self.end(*side, Some(found), connection)),
            ),
            Change::Moved { side, step, .. } => (
                step.when.not_after(),
                self.moved(*side, step, connection, holders),
            ),
            Change::Marked { side, mark, .. } => (mark.at, marked(*side, mark, connection)),
            Change::Held { side, at, nth, .. } => (*at, held(*side, *nth, connection)),
            Change::Dated { side, at, .. } => (*at, dated(*side, *at, connection)),
            Change::Missed { side, at, .. } => (*at, missed(*side, connection)),
            Change::Closed { at, .. } => (*at, closed(connection)),
        };
        self.line(at, connection, &text)
    }

    fn line(&self, at: Timestamp, connection: &Connection, text: &str) -> String {
        let conn = format!("#{}", connection.id());
        format!("{} {conn:>4} {text}", self.clock.time_of_day(at))
    }

    fn opened(&self, ends: &[Option<Found>; 2], connection: &Connection) -> String {
        let [a, b] =
            Side::BOTH.map(|side| self.end(side, ends[side as usize].as_ref(), connection));
        let multipath = if connection.is_multipath() {
            "  MPTCP"
        } else {
            ""
        };
        format!("open   {a}  {b}{multipath}")
    }

    fn end(&self, side: Side, found: Option<&Found>, connection: &Connection) -> String {
        let state = match found {
            None if connection.endpoint(side) == connection.endpoint(side.other()) => {
                "itself".to_owned()
            }
            None if connection.is_local() => "not seen".to_owned(),
            // On another host, in another namespace, or gone when we came.
            None => "not seen here".to_owned(),
            Some(found) if found.came == Came::Born => "new".to_owned(),
            Some(found) => {
                let age = found
                    .age
                    .filter(|age| is_telling(*age))
                    .map_or_else(String::new, |age| format!(" for {}", brief_age(age)));
                format!("{}{age}", painted(found.state, self.color))
            }
        };
        format!("{} {} {state}", side.letter(), connection.endpoint(side))
    }

    fn moved(
        &self,
        side: Side,
        step: &Transition,
        connection: &Connection,
        holders: Option<String>,
    ) -> String {
        let mut notes = vec![cause::certainty(step.certainty, step.when)];
        notes.extend(cause::words(&step.why, Step::from(step)));
        notes.extend(
            step.in_from
                .filter(|lasted| !lasted.is_zero() && step.from != TcpState::Close)
                .map(|lasted| format!("{} in {}", brief(lasted), step.from)),
        );
        notes.extend(step.seen.and_then(|seen| news_beside(step, seen)));
        notes.extend(holders);
        format!(
            "{} {}  {} -> {}  {}",
            side.letter(),
            connection.endpoint(side),
            painted(step.from, self.color),
            painted(step.to, self.color),
            notes.join(", ")
        )
    }

    /// The line of who holds a connection's ends, these of them; `None` when nobody does.
    pub fn held(&self, connection: &Connection, ends: [bool; 2], at: Timestamp) -> Option<String> {
        let text = held::line(connection, ends)?;
        Some(self.line(at, connection, &text))
    }

    /// The line of a change.
    pub fn change(&self, change: &Change, connection: &Connection) -> String {
        self.change_with(change, connection, None)
    }

    /// The line of an observation that belongs to the data, `None` for the others.
    pub fn observation(&self, observation: &Observation) -> Option<String> {
        let text = match &observation.body {
            Body::Lost { count, why } => {
                let why = plain(why);
                let source = observation.source;
                match count {
                    Some(count) => {
                        format!("lost   {} ({source}): {why}", lost(*count, source))
                    }
                    None => format!("lost {source}: {why}"),
                }
            }
            Body::Note { pid, text } => format!("note   [{pid}] {}", plain(text)),
            _ => return None,
        };
        Some(format!(
            "{} {:>4} {text}",
            self.clock.time_of_day(observation.at),
            "-"
        ))
    }
}

/// How much was lost; of other sources, the reason says what.
fn lost(count: u64, source: SourceName) -> String {
    match (source, count) {
        (SourceName::Bpf, 1) => "1 event".to_owned(),
        (SourceName::Bpf, _) => format!("{count} events"),
        _ => count.to_string(),
    }
}

fn marked(side: Side, mark: &Mark, connection: &Connection) -> String {
    let end = connection.endpoint(side);
    format!("{} {end}  {}", side.letter(), cause::mark_words(mark))
}

fn missed(side: Side, connection: &Connection) -> String {
    format!(
        "lost   {} {}: events before this one; what happened in between was not seen",
        side.letter(),
        connection.endpoint(side)
    )
}

fn closed(connection: &Connection) -> String {
    match verdict(connection) {
        Some(verdict) => format!(
            "closed {}: {}{}",
            verdict.code.token(),
            verdict.sentence,
            what_took_long(connection)
        ),
        None => format!("closed, {MULTIPATH}"),
    }
}

/// `; B was in CLOSE_WAIT for 41 s`: the states of the teardown that took longer than a round trip.
fn what_took_long(connection: &Connection) -> String {
    const LONG: Duration = Duration::from_secs(1);
    let mut said = String::new();
    for (side, track) in connection.visible() {
        for (index, pair) in track.spans().windows(2).enumerate() {
            let (span, next) = (&pair[0], &pair[1]);
            let is_quiet = matches!(
                span.state,
                TcpState::Close | TcpState::Established | TcpState::TimeWait
            );
            let age = track.age(index, next.from.not_after());
            if let Some(age) = age.filter(|age| !is_quiet && age.at_least >= LONG) {
                let (letter, state) = (side.letter(), span.state);
                let _ = write!(said, "; {letter} was in {state} for {}", brief_age(age));
            }
        }
    }
    said
}

/// What the look or the event showed beside the state, less what the cause has said already.
fn news_beside(step: &Transition, seen: SeenBeside) -> Option<String> {
    let why = &step.why;
    let tells_descriptor = why.call.is_some()
        || matches!(
            why.cause,
            Cause::Close | Cause::ProcessExit | Cause::ShutdownWr | Cause::ShutdownRdwr
        );
    let tells_unread = matches!(why.reason, Some(Reason::UnreadData(_)));
    let seen = SeenBeside {
        descriptor: seen.descriptor.filter(|_| !tells_descriptor),
        unread: seen.unread.filter(|_| !tells_unread),
        ..seen
    };
    let notes: Vec<String> = [beside(step.to, &seen), queued(&seen)]
        .into_iter()
        .flatten()
        .collect();
    (!notes.is_empty()).then(|| notes.join(", "))
}

/// What there is to say of a source, for standard error; `None` for other observations.
pub fn source_message(observation: &Observation) -> Option<String> {
    match &observation.body {
        Body::Source(state) => Some(source::words(observation.source, state)),
        _ => None,
    }
}

/// What tells programs apart that netstat shows alike.
fn beside(state: TcpState, seen: &SeenBeside) -> Option<String> {
    let shut = seen.shutdown.map(|mask| (mask.send(), mask.receive()));
    let is_closing = matches!(
        state,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck
    );
    Some(match (seen.descriptor?, is_closing) {
        (Descriptor::Gone, true) => "descriptor gone".to_owned(),
        (Descriptor::Held, true) => match shut {
            Some((true, false)) => "descriptor held, write side shut".to_owned(),
            Some((true, true)) => "descriptor held, both sides shut".to_owned(),
            _ => "descriptor held".to_owned(),
        },
        (Descriptor::NotAccepted, _) => "not accepted".to_owned(),
        _ => return None,
    })
}

fn queued(seen: &SeenBeside) -> Option<String> {
    let parts: Vec<String> = [(seen.unread, "unread"), (seen.unacked, "unacknowledged")]
        .into_iter()
        .filter_map(|(count, word)| {
            let count = count.filter(|&count| count > 0)?;
            let s = if count == 1 { "" } else { "s" };
            Some(format!("{count} byte{s} {word}"))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::timeline::{ConnId, MarkKind};
    use crate::view::fixture::{
        at, closed_by_nginx, connection, killed_with_unread_data, marked, process,
        time_wait_inferred, tracker,
    };
    use jiff::tz::TimeZone;

    fn line(change: &Change) -> String {
        let mut lines = Lines {
            clock: WallClock::new(TimeZone::UTC),
            color: ColorMode::Off,
        };
        lines.clock.note(&Observation {
            host: 0,
            at: at(0),
            source: crate::model::SourceName::SockDiag,
            body: Body::Clock {
                realtime_ns: 1_772_373_720_000_000_000,
            },
        });
        lines.change(change, connection(&tracker()))
    }

    #[test]
    fn exact_steps_tell_their_time_and_cause() {
        assert_eq!(
            line(&closed_by_nginx()),
            "14:02:00.000040   #1 A 127.0.0.1:40001  ESTABLISHED -> FIN_WAIT1  exact, \
             close() by nginx[812], 1.2 ms in ESTABLISHED, 12 bytes unacknowledged"
        );
        assert_eq!(
            line(&killed_with_unread_data()),
            "14:02:00.000020   #1 A 127.0.0.1:40001  ESTABLISHED -> CLOSE  exact, reset sent: \
             closed with 4000 bytes unread, py\\u{7f}thon[4711] ended, killed by SIGKILL (9), \
             1.2 ms in ESTABLISHED"
        );
        assert_eq!(
            line(&time_wait_inferred()),
            "14:02:00.000060   #1 A 127.0.0.1:40001  FIN_WAIT2 -> TIME_WAIT  inferred, no look \
             has shown it, FIN received, 1.2 ms in FIN_WAIT2"
        );
    }

    #[test]
    fn marks_and_losses_have_a_line() {
        let by = Some(process("x", 1));
        assert_eq!(
            line(&marked(MarkKind::CloseCall, by)),
            "14:02:00.000080   #1 A 127.0.0.1:40001  close() called by x[1] (the FIN was out \
             already)"
        );
        let missed = Change::Missed {
            conn: ConnId(1),
            side: Side::B,
            at: at(90),
        };
        assert_eq!(
            line(&missed),
            "14:02:00.000090   #1 lost   B 127.0.0.1:80: events before this one; what happened \
             in between was not seen"
        );
    }

    #[test]
    fn an_end_on_this_host_is_not_elsewhere() {
        let opened = Change::Opened {
            conn: ConnId(1),
            at: at(0),
            ends: [None, None],
        };
        assert_eq!(
            line(&opened),
            "14:02:00.000000   #1 open   A 127.0.0.1:40001 not seen  B 127.0.0.1:80 not seen"
        );
    }

    #[test]
    fn losses_of_a_source_begin_with_how_much() {
        let lines = Lines {
            clock: WallClock::new(TimeZone::UTC),
            color: ColorMode::Off,
        };
        let said = |source, count, why| {
            let at = at(0);
            let why = Cow::Borrowed(why);
            let body = Body::Lost { count, why };
            let line = lines.observation(&Observation {
                host: 0,
                at,
                source,
                body,
            });
            line.unwrap_or_default()
        };
        for (source, count, why, ending) in [
            (
                SourceName::Bpf,
                Some(4),
                "ring full",
                " - lost   4 events (bpf): ring full",
            ),
            (
                SourceName::Bpf,
                Some(1),
                "ring full",
                " - lost   1 event (bpf): ring full",
            ),
            (
                SourceName::Proc,
                Some(3),
                "rows that could not be read",
                " - lost   3 (proc): rows that could not be read",
            ),
            (
                SourceName::SockDiag,
                None,
                "receive buffer full",
                " - lost sock_diag: receive buffer full",
            ),
        ] {
            let line = said(source, count, why);
            assert!(line.ends_with(ending), "{line}");
        }
    }
}
