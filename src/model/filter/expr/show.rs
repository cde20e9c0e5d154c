//! An expression as text, which reads back as the same expression.
//!
//! The trap: what is a name in one place is a word of the language in another. Whatever could be
//! taken for more than it is, is quoted.

use std::fmt;
use std::time::Duration;

use crate::model::filter::expr::lex::{is_sign, keyword};
use crate::model::filter::expr::{Compare, Expr, Node, Queue, Rank, Term, Which, WordSet};
use crate::model::filter::{Family, ProcessSet};
use crate::model::tcp::StateSet;

impl fmt::Display for Expr {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)
    }
}

impl Expr {
    /// As part of an `and`.
    pub(in crate::model::filter) fn as_part(&self) -> String {
        match *self.root {
            Node::Any(_) => format!("({self})"),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(term) => write!(f, "{term}"),
            Self::All(nodes) => joined(f, nodes, " and "),
            Self::Any(nodes) => joined(f, nodes, " or "),
            Self::Not(node) => match **node {
                Self::All(_) | Self::Any(_) => write!(f, "not ({node})"),
                _ => write!(f, "not {node}"),
            },
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, nodes: &[Node], by: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(by)?;
        }
        match node {
            // `and` binds more closely than `or`, so that only this needs them.
            Node::Any(_) => write!(f, "({node})")?,
            _ => write!(f, "{node}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(which, ports) => write!(f, "{}port {ports}", prefix(*which)),
            Self::Host(which, hosts) => {
                write!(f, "{}host {}", prefix(*which), list(hosts))
            }
            Self::State(states) => write!(f, "state {}", names(*states)),
            Self::Was(states) => write!(f, "was {}", names(*states)),
            Self::Process(ProcessSet { pids, names }) => {
                let names: Vec<String> = names.iter().map(|name| word(&name.to_string())).collect();
                match pids.is_empty() {
                    true => write!(f, "process {}", names.join(",")),
                    false => write!(f, "pid {}", list(pids)),
                }
            }
            Self::Named(part) => f.write_str(&quoted(part.as_str())),
            Self::Age(compare, age) => write!(f, "age {compare} {}", time(*age)),
            Self::Bytes(Queue::Unread, compare, bytes) => write!(f, "unread {compare} {bytes}"),
            Self::Bytes(Queue::Unacked, compare, bytes) => write!(f, "unacked {compare} {bytes}"),
            Self::Finding(codes) if *codes == WordSet::all(codes.among) => {
                f.write_str("finding any")
            }
            Self::Finding(codes) => write!(f, "finding {}", words(*codes)),
            Self::Severity(compare, Rank { among, place }) => {
                let word = among.get(*place).copied().unwrap_or_default();
                write!(f, "severity {compare} {word}")
            }
            Self::Verdict(codes) => write!(f, "verdict {}", words(*codes)),
            Self::Conn(ranges) => {
                let ranges: Vec<String> = ranges
                    .iter()
                    .map(|(first, last)| match first == last {
                        true => first.to_string(),
                        false => format!("{first}-{last}"),
                    })
                    .collect();
                write!(f, "conn {}", ranges.join(","))
            }
            Self::Open(true) => f.write_str("open"),
            Self::Open(false) => f.write_str("closed"),
            Self::Family(Family::V4) => f.write_str("ipv4"),
            Self::Family(Family::V6) => f.write_str("ipv6"),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::More => ">",
        })
    }
}

const fn prefix(which: Which) -> &'static str {
    match which {
        Which::Either => "",
        Which::Local => "local-",
        Which::Remote => "remote-",
    }
}

fn list(items: &[impl ToString]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(",")
}

fn names(states: StateSet) -> String {
    let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
    names.join(",")
}

fn words(codes: WordSet) -> String {
    let words: Vec<&str> = codes.words().collect();
    words.join(",")
}

/// A value, quoted where it has to be.
fn word(text: &str) -> String {
    let is_plain = !text.is_empty() && !text.contains(is_sign) && keyword(text).is_none();
    match is_plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

/// A time in the largest unit in which it is a whole number.
fn time(time: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = time.as_nanos();
    let whole = UNITS
        .into_iter()
        .find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => "0s".to_owned(),
    }
}
