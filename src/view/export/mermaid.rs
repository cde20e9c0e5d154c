//! A sequence diagram to paste into an issue.
//!
//! No packet was captured: each message is one that a state proves (who is in CLOSE_WAIT has
//! received a FIN), and the diagram says so. The traps: a diagram of more than 50,000 characters is
//! not drawn, so connections beyond a few are left out, which it says too; and `;`, `#` and a line
//! break end a text in its language.

mod notes;
mod order;

use std::fmt::Write;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Cause, Certainty, Connection, MarkKind, Side, Span, Track, When};
use crate::view::cause;
use crate::view::duration::brief;
use crate::view::export::{holder, is_inferred, what};
use crate::view::plain::plain;
use crate::view::report::findings::of_shown;
use crate::view::report::text::plural;
use crate::view::report::{About, Shown};
use crate::view::standing::sentence;
use crate::view::{MULTIPATH, verdict};
use order::resets;

/// Beside each other they are still to be read.
const CONNECTIONS: u64 = 4;
/// GitHub draws up to 50,000.
const CHARACTERS: usize = 45_000;
/// Notes and messages of one connection.
const ITEMS: usize = 120;

/// Diagrams, one below the other.
#[derive(Debug, Default)]
pub(super) struct Diagram {
    participants: String,
    body: String,
    drawn: u64,
    left_out: u64,
}

impl Diagram {
    pub(super) fn connection(&mut self, shown: &Shown<'_>, about: &About) {
        let room = CHARACTERS.saturating_sub(self.participants.len() + self.body.len());
        if self.drawn == CONNECTIONS {
            self.left_out += 1;
            return;
        }
        let participants = participants(shown.connection);
        let body = Story::of(shown, about).written();
        if participants.len() + body.len() > room {
            self.left_out += 1;
            return;
        }
        self.drawn += 1;
        self.participants += &participants;
        self.body += &body;
    }

    /// Gives how many connections were left out.
    pub(super) fn end(self, about: &About, out: &mut String) -> u64 {
        out.push_str("sequenceDiagram\n");
        let version = env!("CARGO_PKG_VERSION");
        out.push_str(&format!(
            "    %% tcpwatch {version}: {}\n",
            escaped(&what(about))
        ));
        for word in &about.clocks {
            out.push_str(&format!("    %% {}\n", escaped(&word.sentence)));
        }
        out.push_str(&self.participants);
        out.push_str(&self.body);
        if self.drawn == 0 {
            out.push_str("    participant none as no connection\n");
        }
        for word in about.clocks.iter().filter(|word| !word.agrees()) {
            if self.drawn > 0 {
                let text = escaped(&word.sentence);
                out.push_str(&format!("    Note over {}: {text}\n", self.first()));
            }
        }
        if self.left_out > 0 {
            let count = self.left_out;
            let text = format!(
                "{count} more connection{} left out: choose with --conn",
                plural(count)
            );
            out.push_str(&format!("    %% {text}\n"));
            if self.drawn > 0 {
                out.push_str(&format!("    Note over {}: {text}\n", self.first()));
            }
        }
        self.left_out
    }

    /// The name of the first participant.
    fn first(&self) -> &str {
        let after = self.participants.split("participant ").nth(1);
        after
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or("none")
    }
}

fn participants(connection: &Connection) -> String {
    let mut out = String::new();
    out.push_str(&format!("    box #{}\n", connection.id()).replace('#', "connection "));
    for side in Side::BOTH {
        let end = connection.end(side);
        let who = match end {
            None if connection.is_local() => "<br/>not seen".to_owned(),
            None => "<br/>not seen here".to_owned(),
            Some(track) => {
                holder(track).map_or_else(String::new, |by| format!("<br/>{}", escaped(&by)))
            }
        };
        let address = escaped(&connection.endpoint(side).to_string());
        out.push_str(&format!(
            "    participant {} as {} {address}{who}\n",
            id(connection, side),
            side.letter(),
        ));
    }
    out.push_str("    end\n");
    out
}

fn id(connection: &Connection, side: Side) -> String {
    format!("{}{}", side.letter(), connection.id())
}

/// Messages and notes in the order of time.
struct Story<'a> {
    connection: &'a Connection,
    /// The first FIN, or the begin.
    zero: Timestamp,
    items: Vec<(Timestamp, u8, String)>,
    ending: String,
}

impl<'a> Story<'a> {
    fn of(shown: &Shown<'a>, about: &About) -> Self {
        let connection = shown.connection;
        let fin = first_fin(connection);
        let zero = fin.unwrap_or_else(|| shown.began().0.not_after());
        let mut story = Self {
            connection,
            zero,
            items: Vec::new(),
            ending: ending(shown, about, zero, fin.is_some()),
        };
        for (side, track) in connection.visible() {
            story.track(side, track, shown.from.unwrap_or_default());
            story.held(side, shown);
        }
        for told in of_shown(shown) {
            story.found(&told, shown);
        }
        // Stable, and of one moment what causes the other comes first.
        story.items.sort_by_key(|(at, rank, _)| (*at, *rank));
        story
    }

    fn track(&mut self, side: Side, track: &Track, from: Timestamp) {
        let spans = track.spans();
        if let [first, ..] = spans
            && first.state != TcpState::Close
        {
            self.note(side, first, None);
        }
        for pair in spans.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            if new.from.not_after() < from {
                continue;
            }
            self.step(side, old, new);
        }
        self.marks(side, track, from);
    }

    /// The state that an end enters, and the messages that prove it or that it sends.
    fn step(&mut self, side: Side, old: &Span, new: &Span) {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent,
            TimeWait,
        };
        let other = side.other();
        self.note(side, new, Some(old.state));
        match (old.state, new.state) {
            (_, SynSent) => self.message(side, "SYN", new, 1),
            (_, SynRecv) => {
                self.unless_sent(other, &[SynSent], "SYN", new, 1);
                // Where its arrival is seen, it is drawn there: the kernel answers before it tells
                // that it does.
                if !self.opens_here(other) {
                    self.message(side, "SYN, ACK", new, 3);
                }
            }
            (SynSent, Established) => {
                self.message(other, "SYN, ACK", new, 3);
                self.message(side, "ACK", new, 5);
            }
            (SynRecv, Established) => {
                self.unless_sent(other, &[SynSent], "ACK", new, 5);
            }
            (_, FinWait1) => self.message(side, "FIN", new, 11),
            (_, LastAck) => {
                let at = self.second_fin(side, new);
                self.message_at(at, side, "FIN", new, 16);
            }
            (Established, CloseWait) => {
                self.unless_sent(other, &[FinWait1], "FIN", new, 11);
            }
            (FinWait1, Closing) => {
                self.unless_sent(other, &[FinWait1, LastAck], "FIN", new, 11);
            }
            (FinWait1, FinWait2) => {
                let at = self.first_ack(other, new);
                self.message_at(at, other, "ACK", new, 13);
            }
            (Closing, TimeWait) => self.message(other, "ACK", new, 13),
            (FinWait2 | FinWait1, TimeWait) => {
                self.unless_sent(other, &[LastAck, FinWait1], "FIN", new, 16);
            }
            (LastAck, Close) if new.why.cause == Cause::AckReceived => {
                self.message(other, "ACK", new, 18);
            }
            (_, Close) => self.reset(side, new),
            _ => {}
        }
    }

    /// Whether an end was seen to open the connection and to have it open.
    fn opens_here(&self, side: Side) -> bool {
        self.connection.end(side).is_some_and(|track| {
            track.spans().windows(2).any(|pair| {
                (pair[0].state, pair[1].state) == (TcpState::SynSent, TcpState::Established)
            })
        })
    }

    /// A reset that ended an end, where no mark tells of it.
    fn reset(&mut self, side: Side, new: &Span) {
        let has = |side: Side, sent: bool| resets(self.connection, side, sent).next().is_some();
        let sent_by_step = |side: Side| {
            let track = self.connection.end(side);
            let why = track.and_then(Track::why_gone);
            why.is_some_and(|why| why.cause == Cause::ResetSent)
        };
        match new.why.cause {
            Cause::ResetSent if !has(side, true) && !has(side.other(), false) => {
                self.send(side, "-x", "RST", new, 9);
            }
            Cause::ResetReceived => {
                let other = side.other();
                if !has(other, true) && !has(side, false) && !sent_by_step(other) {
                    self.send(other, "-x", "RST", new, 9);
                }
            }
            _ => {}
        }
    }

    fn marks(&mut self, side: Side, track: &Track, from: Timestamp) {
        let mut again: Option<(Timestamp, Timestamp, u64)> = None;
        let mut drawn = Vec::new();
        for mark in track.marks().iter().filter(|mark| mark.at >= from) {
            let words = escaped(&cause::mark_words(mark));
            let time = self.time(mark.at);
            let (me, peer) = (id(self.connection, side), id(self.connection, side.other()));
            match mark.kind {
                MarkKind::ResetSent(_) => {
                    // On one host its arrival is reported first; it is drawn once, and where
                    // the earlier of the two is.
                    let received = self.other_received(side, mark.at);
                    let at = received.map_or(mark.at, |received| received.min(mark.at));
                    drawn.push((at, 8, format!("{me}-x{peer}: RST, {time}: {words}")));
                }
                MarkKind::ResetReceived if self.other_sent(side, mark.at).is_some() => {
                    drawn.push((mark.at, 10, format!("Note over {me}: {words}, {time}")));
                }
                MarkKind::ResetReceived => {
                    drawn.push((mark.at, 8, format!("{peer}-x{me}: RST, {time}: {words}")));
                }
                MarkKind::Retransmit => {
                    let (first, _, times) = again.unwrap_or((mark.at, mark.at, 0));
                    again = Some((first, mark.at, times + 1));
                }
                MarkKind::CloseCall | MarkKind::Freed | MarkKind::NoAnswer => {
                    drawn.push((mark.at, 12, format!("Note over {me}: {words}, {time}")));
                }
            }
        }
        if let Some((first, last, times)) = again {
            let (me, peer) = (id(self.connection, side), id(self.connection, side.other()));
            let text = format!(
                "{me}-){peer}: {times} retransmission{}, {} to {}",
                plural(times),
                self.time(first),
                self.time(last)
            );
            drawn.push((first, 12, text));
        }
        self.items.extend(drawn);
    }

    /// A state, over its lane.
    fn note(&mut self, side: Side, span: &Span, before: Option<TcpState>) {
        let step = cause::Step {
            from: before,
            to: span.state,
        };
        let when = match span.from {
            When::At(at) => self.time(at),
            When::Between(from, to) if from == to => self.time(to),
            When::Between(from, to) => format!("{} to {}", self.time(from), self.time(to)),
            When::Before(at) => format!("before {}", self.time(at)),
        };
        let inferred = match span.certainty {
            Certainty::Inferred => ", inferred",
            Certainty::Exact | Certainty::Sampled => "",
        };
        let why = cause::words(&span.why, step)
            .map_or_else(String::new, |why| format!("<br/>{}", escaped(&why)));
        let text = format!(
            "Note over {}: {}<br/>{when}{inferred}{why}",
            id(self.connection, side),
            span.state.name()
        );
        self.items
            .push((span.from.not_after(), rank_of(span.state, before), text));
    }

    fn message(&mut self, from: Side, text: &str, by: &Span, rank: u8) {
        self.send(from, ">>", text, by, rank);
    }

    fn message_at(&mut self, at: Timestamp, from: Side, text: &str, by: &Span, rank: u8) {
        self.message(from, text, by, rank);
        if let Some((place, ..)) = self.items.last_mut() {
            *place = at;
        }
    }

    /// A message that the other end's history shows already is not drawn twice.
    fn unless_sent(&mut self, from: Side, states: &[TcpState], text: &str, by: &Span, rank: u8) {
        let has_sent = self
            .connection
            .end(from)
            .is_some_and(|track| states.iter().any(|&state| track.passed(state)));
        if !has_sent {
            self.message(from, text, by, rank);
        }
    }

    fn send(&mut self, from: Side, arrow: &str, text: &str, by: &Span, rank: u8) {
        let (me, peer) = (id(self.connection, from), id(self.connection, from.other()));
        let dash = if is_inferred(by) || by.from.not_before().is_none() {
            "-"
        } else {
            ""
        };
        let arrow = match arrow {
            "-x" => format!("{dash}-x"),
            _ => format!("{dash}->>"),
        };
        self.items.push((
            by.from.not_after(),
            rank,
            format!("{me}{arrow}{peer}: {text}"),
        ));
    }

    fn time(&self, at: Timestamp) -> String {
        if at < self.zero {
            format!("-{}", brief(self.zero.since(at)))
        } else {
            format!("+{}", brief(at.since(self.zero)))
        }
    }

    fn written(&self) -> String {
        let mut out = String::new();
        let both = format!(
            "{},{}",
            id(self.connection, Side::A),
            id(self.connection, Side::B)
        );
        let [a, b] = Side::BOTH.map(|side| self.connection.endpoint(side).to_string());
        let mut line = |text: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "    {text}");
        };
        line(&format!(
            "Note over {both}: {}",
            escaped(&format!("#{} {a} -> {b}", self.connection.id()))
        ));
        for (.., text) in self.items.iter().take(ITEMS) {
            line(text);
        }
        if self.items.len() > ITEMS {
            let more = self.items.len() - ITEMS;
            line(&format!("Note over {both}: {more} more steps left out"));
        }
        line(&format!("Note over {both}: {}", self.ending));
        out
    }
}

/// Of what is of one moment, what causes the other comes first.
const fn rank_of(state: TcpState, before: Option<TcpState>) -> u8 {
    match (state, before) {
        (TcpState::SynSent, _) | (_, None) => 0,
        (TcpState::SynRecv, _) => 2,
        (TcpState::Established, Some(TcpState::SynSent)) => 4,
        (TcpState::Established, _) => 6,
        (TcpState::FinWait1, _) => 10,
        (TcpState::CloseWait | TcpState::Closing, _) => 12,
        (TcpState::FinWait2, _) => 14,
        (TcpState::LastAck, _) => 15,
        (TcpState::TimeWait, _) => 17,
        (TcpState::Close | TcpState::Listen, _) => 19,
    }
}

fn first_fin(connection: &Connection) -> Option<Timestamp> {
    let is_fin = |span: &&Span| {
        matches!(
            span.state,
            TcpState::FinWait1 | TcpState::CloseWait | TcpState::LastAck
        ) && span.from.not_before().is_some()
    };
    let firsts = connection
        .visible()
        .filter_map(|(_, track)| track.spans().iter().find(is_fin));
    firsts.map(|span| span.from.not_after()).min()
}

fn ending(shown: &Shown<'_>, about: &About, zero: Timestamp, from_fin: bool) -> String {
    let connection = shown.connection;
    let end = match (connection.closed(), verdict(connection)) {
        (None, _) => sentence(connection, shown.until).unwrap_or_default(),
        (Some(_), Some(verdict)) => format!("{}: {}", verdict.code.token(), verdict.sentence),
        (Some(_), None) => MULTIPATH.to_owned(),
    };
    let from = if from_fin {
        "the first FIN"
    } else {
        "its begin"
    };
    let end = escaped(&end);
    let zero = escaped(&about.clock.date_time_and_zone(zero));
    format!(
        "{end}<br/>Times count from {from}, {zero}.<br/>No packet was captured: messages are what \
         the states prove.<br/>Dotted: from a state that no look has shown."
    )
}

/// A text as mermaid shows it.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '#' | ';' | '<' | '>' | '"' | '&' | '%' | '{' | '}' | '\\' | '`' | '$' => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "#{};", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_do_not_end_before_their_end() {
        assert_eq!(escaped("a;b#c\"d"), "a#59;b#35;c#34;d");
        assert_eq!(escaped("<b>"), "#60;b#62;");
        assert_eq!(escaped("x\ny"), "x#92;u#123;a#125;y");
        assert_eq!(escaped("%%{init}%%"), "#37;#37;#123;init#125;#37;#37;");
    }
}
