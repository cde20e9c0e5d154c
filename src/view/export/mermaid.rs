//! A sequence diagram to paste into an issue.
//!
//! No packet was captured: each message is one that a state proves (who is in CLOSE_WAIT has
//! received a FIN), and the diagram says so. The traps: a diagram of more than 50,000 characters is
//! not drawn, so connections beyond a few are left out, which it says too; and `;`, `#` and a line
//! break end a text in its language.

use std::fmt::Write;
use std::rc::Rc;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Certainty, Connection, Side, Span, When};
use crate::view::cause;
use crate::view::duration::brief;
use crate::view::exchange::{Entered, Exchange, Flag, Item, Proof, Segment, What};
use crate::view::export::{holder, what};
use crate::view::owners;
use crate::view::plain::plain;
use crate::view::report::text::plural;
use crate::view::report::{About, Shown};
use crate::view::standing::sentence;
use crate::view::{MULTIPATH, verdict};

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
    exchange: Exchange<'a>,
    /// The first FIN, or the begin.
    zero: Timestamp,
    ending: String,
}

impl<'a> Story<'a> {
    fn of(shown: &Shown<'a>, about: &About) -> Self {
        let connection = shown.connection;
        let fin = first_fin(connection);
        let zero = fin.unwrap_or_else(|| shown.began().0.not_after());
        let from = shown.from.unwrap_or_default();
        let findings = shown.findings.iter().map(Rc::as_ref);
        Self {
            connection,
            exchange: Exchange::of(connection, from, findings),
            zero,
            ending: ending(shown, about, zero, fin.is_some()),
        }
    }

    /// A line of the diagram; `None` of what has none.
    fn line(&self, item: &Item<'_>) -> Option<String> {
        let over = |side: Side| id(self.connection, side);
        let note = |side: Side, words: &str, at: Timestamp| {
            let words = escaped(words);
            format!("Note over {}: {words}, {}", over(side), self.time(at))
        };
        Some(match item.what {
            What::State(entered) => self.state(&entered),
            What::Segment(segment) => self.message(&segment),
            What::Mark(side, mark) => note(side, &cause::mark_words(mark), mark.at),
            What::Again(again) => {
                let (me, peer) = (over(again.from), over(again.from.other()));
                let (times, s) = (again.times, plural(again.times));
                let [first, last] = [again.first, again.last].map(|at| self.time(at));
                format!("{me}-){peer}: {times} retransmission{s}, {first} to {last}")
            }
            What::Held(side, nth) => note(
                side,
                &owners::news(self.connection, side, nth)?,
                item.when.not_after(),
            ),
            What::Found(side, finding) => {
                let (severity, code) = (finding.severity.token(), finding.code.token());
                let head = note(side, &format!("{severity} {code}"), finding.at);
                format!("{head}<br/>{}", escaped(&finding.what))
            }
            // A recording's notes are not part of it, and what is between two lines is no line.
            What::Said(..) | What::Wait(_) => return None,
        })
    }

    /// A state, over its lane.
    fn state(&self, entered: &Entered<'_>) -> String {
        let span = entered.span;
        let step = cause::Step {
            from: entered.before,
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
        format!(
            "Note over {}: {}<br/>{when}{inferred}{why}",
            id(self.connection, entered.side),
            span.state.name()
        )
    }

    fn message(&self, segment: &Segment<'_>) -> String {
        let [me, peer] = [segment.from, segment.from.other()].map(|side| id(self.connection, side));
        let dash = if segment.is_inferred() { "-" } else { "" };
        let head = match segment.flag {
            Flag::Rst => "-x",
            _ => "->>",
        };
        let told = match segment.proof {
            Proof::Told(mark) => {
                let words = escaped(&cause::mark_words(mark));
                format!(", {}: {words}", self.time(mark.at))
            }
            Proof::State(_) => String::new(),
        };
        format!("{me}{dash}{head}{peer}: {}{told}", segment.flag.name())
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
        let items = self.exchange.items();
        for text in items.iter().take(ITEMS).filter_map(|it| self.line(it)) {
            line(&text);
        }
        if items.len() > ITEMS {
            let more = items.len() - ITEMS;
            line(&format!("Note over {both}: {more} more steps left out"));
        }
        let is_unknown = |item: &Item<'_>| matches!(item.what, What::Segment(it) if it.flag == Flag::FinPerhapsAck);
        if items.iter().any(is_unknown) {
            let words = "ACK?: with this FIN or alone before it, not known";
            line(&format!("Note over {both}: {words}"));
        }
        line(&format!("Note over {both}: {}", self.ending));
        out
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
