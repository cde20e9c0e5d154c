//! A filter as a person writes it: `port 50008 and state close-wait and age > 30s`.
//!
//! Knows what was asked, how it is spelled, and how answers are joined; what is true of a
//! connection is said by whoever has it. Codes of findings and the like are words here.
//!
//! The trap: a connection has two ends. What `and` joins must hold of one and the same end, and
//! `not` is asked of the connection: it is true exactly when neither end has what it denies. So
//! `not X` always shows what `X` hides, but for what nobody can tell, which neither of them shows.

mod error;
mod field;
mod lex;
mod near;
mod parse;
mod show;
mod value;

use std::cmp::Ordering;
use std::time::Duration;

use crate::model::filter::{Family, NamePart, Network, PortSet, ProcessSet};
use crate::model::tcp::StateSet;

pub use error::ExprError;
pub use field::fields;
pub use near::distance;

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// It is not.
    No,
    /// Nobody can tell, or not yet.
    Unknown,
    /// It is.
    Yes,
}

impl Truth {
    /// What is known.
    pub const fn of(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }

    /// Whether the contrary is so. Of what is not known, it is not known either.
    #[must_use]
    pub const fn denied(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

/// The words that this room does not know: which there are, in their order.
#[derive(Debug)]
pub struct Words {
    /// The codes of findings.
    pub findings: &'static [&'static str],
    /// The codes of verdicts.
    pub verdicts: &'static [&'static str],
    /// The severities, mildest first.
    pub severities: &'static [&'static str],
}

/// Some of the words of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordSet {
    among: &'static [&'static str],
    /// A bit for each, in their order.
    bits: u64,
}

impl WordSet {
    const fn none(among: &'static [&'static str]) -> Self {
        Self { among, bits: 0 }
    }

    const fn all(among: &'static [&'static str]) -> Self {
        let bits = match among.len() {
            64.. => u64::MAX,
            count => (1 << count) - 1,
        };
        Self { among, bits }
    }

    /// Whether the word of this place is one of them.
    pub const fn has(self, place: usize) -> bool {
        place < 64 && self.bits & (1 << place) != 0
    }

    const fn add(&mut self, place: usize) {
        if place < 64 {
            self.bits |= 1 << place;
        }
    }

    fn words(self) -> impl Iterator<Item = &'static str> {
        let all = self.among.iter().copied().enumerate();
        all.filter(move |(place, _)| self.has(*place))
            .map(|(_, word)| word)
    }
}

/// One word of several that have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    among: &'static [&'static str],
    /// Its place, the least is 0.
    pub place: usize,
}

/// Of which of the two addresses that an end has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Its own or its peer's.
    Either,
    /// Its own.
    Local,
    /// Its peer's.
    Remote,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its sign")]
pub enum Compare {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

impl Compare {
    /// Whether a value that compares so with the one that was written is meant.
    pub const fn holds(self, with: Ordering) -> bool {
        match self {
            Self::Less => with.is_lt(),
            Self::AtMost => with.is_le(),
            Self::Equal => with.is_eq(),
            Self::AtLeast => with.is_ge(),
            Self::More => with.is_gt(),
        }
    }
}

/// Which of an end's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Received and not read.
    Unread,
    /// Sent and not acknowledged.
    Unacked,
}

/// A condition on one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// A port is one of these.
    Port(Which, PortSet),
    /// An address lies in one of these.
    Host(Which, Vec<Network>),
    /// It is in one of these states.
    State(StateSet),
    /// It is, or has been, in one of these states.
    Was(StateSet),
    /// One of these has it, had it, or made one of its calls. Either pids or names.
    Process(ProcessSet),
    /// The same of a process whose name has this in it.
    Named(NamePart),
    /// So long it has been in its state.
    Age(Compare, Duration),
    /// So many bytes wait.
    Bytes(Queue, Compare, u64),
    /// One of these was found of it.
    Finding(WordSet),
    /// Something so bad was found of it.
    Severity(Compare, Rank),
    /// It ended so.
    Verdict(WordSet),
    /// The connection's number lies in one of these ranges.
    Conn(Vec<(u64, u64)>),
    /// An end of the connection can still move, or none can.
    Open(bool),
    /// Its addresses are of this family.
    Family(Family),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Term(Term),
    /// Two or more, none of them `All`.
    All(Vec<Node>),
    /// Two or more, none of them `Any`.
    Any(Vec<Node>),
    Not(Box<Node>),
}

/// What a person asked to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr {
    root: Box<Node>,
    /// Sets of which each must hold either port of whatever can be meant.
    ports: Vec<PortSet>,
    has_age: bool,
}

impl Expr {
    /// Reads an expression; `None` of an empty text, which asks for nothing in particular.
    ///
    /// # Errors
    /// With the place in the text, what is wrong there, and what is allowed.
    pub fn parse(text: &str, words: &'static Words) -> Result<Option<Self>, ExprError> {
        Ok(parse::parse(text, words)?.map(Self::of))
    }

    fn of(root: Node) -> Self {
        let mut has_age = false;
        root.each(&mut |term| has_age |= matches!(term, Term::Age(..)));
        Self {
            ports: root.ports(),
            has_age,
            root: Box::new(root),
        }
    }

    /// All of these; `None` of none.
    pub fn all(terms: Vec<Term>) -> Option<Self> {
        let nodes: Vec<Node> = terms.into_iter().map(Node::Term).collect();
        (!nodes.is_empty()).then(|| Self::of(Node::all(nodes)))
    }

    /// Whether it is so of a connection, for which `ask` says of each end whether a term is. No
    /// term is asked more than once.
    pub fn truth(&self, ask: &impl Fn(&Term) -> [Truth; 2]) -> Truth {
        let [one, other] = self.root.truths(ask);
        one.max(other)
    }

    /// Whether it can become otherwise without anything being observed.
    pub const fn depends_on_time(&self) -> bool {
        self.has_age
    }

    /// Sets of which each must hold either port: what may be left to the kernel, as mirrored it is
    /// the same.
    pub fn port_groups(&self) -> &[PortSet] {
        &self.ports
    }

    /// Whether it asks for more than [`Expr::port_groups`] says.
    pub fn says_more_than_ports(&self) -> bool {
        let is_ports = |node: &Node| matches!(node, Node::Term(Term::Port(Which::Either, _)));
        match &*self.root {
            Node::All(nodes) => !nodes.iter().all(is_ports),
            node => !is_ports(node),
        }
    }

    /// All its terms, in the order in which they are written.
    pub fn each_term<'a>(&'a self, mut visit: impl FnMut(&'a Term)) {
        self.root.each(&mut visit);
    }

    /// Whether one of its terms is such.
    pub fn any_term(&self, is_such: impl Fn(&Term) -> bool) -> bool {
        let mut any = false;
        self.each_term(|term| any |= is_such(term));
        any
    }

    /// Whether its last term, as it is written in `text`, may only be the begin of another: a name
    /// that is a field's begin. For whoever reads while somebody types.
    pub fn is_unfinished(&self, text: &str) -> bool {
        let mut last = None;
        self.each_term(|term| last = Some(term));
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let word = text.rsplit(|c: char| !is_of_word(c)).next();
        matches!(last, Some(Term::Named(_)))
            && word.is_some_and(|word| !word.is_empty() && field::is_begun(word))
    }

    /// Whether it asks who holds an end.
    pub fn asks_for_processes(&self) -> bool {
        self.any_term(|term| matches!(term, Term::Process(_) | Term::Named(_)))
    }
}

impl Node {
    fn all(nodes: Vec<Self>) -> Self {
        let flat = nodes.into_iter().flat_map(|node| match node {
            Self::All(inner) => inner,
            other => vec![other],
        });
        Self::joined(flat.collect(), Self::All)
    }

    fn any(nodes: Vec<Self>) -> Self {
        let flat = nodes.into_iter().flat_map(|node| match node {
            Self::Any(inner) => inner,
            other => vec![other],
        });
        Self::joined(flat.collect(), Self::Any)
    }

    fn joined(mut nodes: Vec<Self>, join: fn(Vec<Self>) -> Self) -> Self {
        match (nodes.pop(), nodes.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                nodes.extend(last);
                join(nodes)
            }
        }
    }

    fn not(node: Self) -> Self {
        Self::Not(Box::new(node))
    }

    fn each<'a>(&'a self, visit: &mut impl FnMut(&'a Term)) {
        match self {
            Self::Term(term) => visit(term),
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.each(visit)),
            Self::Not(node) => node.each(visit),
        }
    }

    /// Of each end. Both at once, so that a `not`, which looks at both, costs no more.
    fn truths(&self, ask: &impl Fn(&Term) -> [Truth; 2]) -> [Truth; 2] {
        match self {
            Self::Term(term) => ask(term),
            Self::All(nodes) => {
                let mut so_far = [Truth::Yes; 2];
                for node in nodes {
                    let [one, other] = node.truths(ask);
                    so_far = [so_far[0].min(one), so_far[1].min(other)];
                    if so_far == [Truth::No; 2] {
                        break;
                    }
                }
                so_far
            }
            Self::Any(nodes) => {
                let mut so_far = [Truth::No; 2];
                for node in nodes {
                    let [one, other] = node.truths(ask);
                    so_far = [so_far[0].max(one), so_far[1].max(other)];
                    if so_far == [Truth::Yes; 2] {
                        break;
                    }
                }
                so_far
            }
            Self::Not(node) => {
                let [one, other] = node.truths(ask);
                [one.max(other).denied(); 2]
            }
        }
    }

    /// Sets of which each must hold either port where this is true of an end.
    fn ports(&self) -> Vec<PortSet> {
        match self {
            Self::Term(Term::Port(_, ports)) => vec![ports.clone()],
            Self::Term(_) | Self::Not(_) => Vec::new(),
            Self::All(nodes) => nodes.iter().flat_map(Self::ports).collect(),
            Self::Any(nodes) => {
                let mut either = PortSet::default();
                for node in nodes {
                    match node.ports().first() {
                        Some(ports) => either.extend(ports),
                        None => return Vec::new(),
                    }
                }
                vec![either]
            }
        }
    }
}

#[cfg(test)]
mod tests;
