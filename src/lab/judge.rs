//! Did the experiment show what it is there to show?
//!
//! Judges by the tracker's connection and its verdict, never by the script: the script knows what
//! the processes called, and the question is what the kernel made of it. Imports the timeline and
//! the diagnosis alone. What the running sources can't show is said as such, not as a failure.

use crate::diagnosis::verdict::{Code, How, judge};
use crate::model::TcpState;
use crate::timeline::{Connection, Side};

/// What an experiment came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// It showed what it should: this.
    Shown(String),
    /// It showed something else: this instead.
    Otherwise(String),
}

impl Conclusion {
    /// The one line, which begins with the experiment's name.
    pub fn line(&self, experiment: &str) -> String {
        match self {
            Self::Shown(text) => format!("{experiment}: shown: {text}"),
            Self::Otherwise(text) => format!("{experiment}: NOT shown: {text}"),
        }
    }

    /// What was seen, in words.
    pub fn text(&self) -> &str {
        match self {
            Self::Shown(text) | Self::Otherwise(text) => text,
        }
    }

    /// Whether it showed what it should.
    pub const fn is_shown(&self) -> bool {
        matches!(self, Self::Shown(_))
    }
}

/// What is expected of the connection of an experiment.
struct Expectation {
    how: How,
    code: Code,
    /// What it means, in words.
    lesson: &'static str,
}

fn expectation(experiment: &str) -> Option<Expectation> {
    match experiment {
        "close" => Some(Expectation {
            how: How::Close,
            code: Code::Aborted,
            lesson: "A gave up its descriptor at its FIN, so nobody was left to read B's answer: \
                     a reset met it, and neither end reached TIME_WAIT",
        }),
        "shutdown" => Some(Expectation {
            how: How::Shutdown,
            code: Code::Orderly,
            lesson: "A kept its descriptor after its FIN and read B's answer to the end; the \
                     TIME_WAIT is A's, who closed first",
        }),
        _ => None,
    }
}

/// Judges the connection that the experiment made, `None` when it never appeared.
pub fn conclude(experiment: &str, connection: Option<&Connection>) -> Conclusion {
    let (Some(expected), Some(connection)) = (expectation(experiment), connection) else {
        return Conclusion::Otherwise("no connection was seen on the experiment's port".into());
    };
    if connection.closed().is_none() {
        return Conclusion::Otherwise(format!(
            "the connection has not ended: A is in {}, B in {}",
            state(connection, Side::A),
            state(connection, Side::B)
        ));
    }
    let verdict = judge(connection);
    let as_expected = verdict.first_closer == Some(Side::A)
        && verdict.how == Some(expected.how)
        && verdict.code == expected.code;
    if as_expected {
        Conclusion::Shown(expected.lesson.into())
    } else {
        Conclusion::Otherwise(format!(
            "expected {} by A and then {}; seen: {}",
            expected.how.token(),
            expected.code.token(),
            verdict.sentence
        ))
    }
}

fn state(connection: &Connection, side: Side) -> &'static str {
    connection
        .end(side)
        .map_or("no state that we can see", |track| match track.state() {
            TcpState::Close => "no table any more",
            state => state.name(),
        })
}
