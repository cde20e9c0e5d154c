//! The rules: each looks at one end (or at a listener, a destination, a pair) and says what it
//! finds, or when to ask again.
//!
//! A rule is a function of what was seen and of the moment, and of nothing else. It fires with what
//! it rests on, or not at all. The trap: every state that is trouble when it lasts is healthy for a
//! moment, so each has a threshold, and counts from the *latest* moment at which the state can have
//! begun: a finding never comes too early.

mod close_wait;
mod fin_wait2;
mod half_open;
mod listeners;
mod ports;
mod relay;
mod resets;
mod shared;
mod unanswered;
mod wide;
mod zero_window;

use std::borrow::Cow;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Severity, Standing};
use crate::diagnosis::settings::Settings;
use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, Side, Track, Tracker};

pub(super) use wide::Wide;

/// What a rule looks at.
pub(super) struct Case<'a> {
    /// The moment.
    pub(super) at: Timestamp,
    pub(super) tracker: &'a Tracker,
    pub(super) connection: &'a Connection,
    pub(super) side: Side,
    pub(super) track: &'a Track,
    pub(super) settings: &'a Settings,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) code: Code,
    pub(super) severity: Severity,
    /// From when on it holds.
    pub(super) at: Timestamp,
    pub(super) what: Cow<'static, str>,
    pub(super) evidence: Vec<Cow<'static, str>>,
    pub(super) advice: Cow<'static, str>,
    pub(super) standing: Option<Standing>,
}

/// What the rules say of one subject, each code at most once.
pub(super) type Drafts = Vec<Draft>;

/// Asks all rules about an end; says when to ask again if nothing changes.
pub(super) fn of_end(case: &Case<'_>, drafts: &mut Drafts) -> Option<Timestamp> {
    match case.track.state() {
        TcpState::Established => earliest([
            shared::check(case, drafts),
            zero_window::check(case, drafts),
            half_open::check(case, drafts),
        ]),
        TcpState::CloseWait => earliest([
            close_wait::check(case, drafts),
            shared::check(case, drafts),
            zero_window::check(case, drafts),
        ]),
        TcpState::FinWait2 => fin_wait2::check(case, drafts),
        TcpState::FinWait1 | TcpState::LastAck => earliest([
            unanswered::check(case, drafts),
            zero_window::check(case, drafts),
            None,
        ]),
        TcpState::SynSent => unanswered::check(case, drafts),
        TcpState::Close => resets::check(case, drafts),
        _ => None,
    }
}

/// States that every healthy connection passes in a moment.
pub(super) const fn is_passing(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::SynSent
            | TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::CloseWait
            | TcpState::LastAck
    )
}

fn earliest(dues: [Option<Timestamp>; 3]) -> Option<Timestamp> {
    dues.into_iter().flatten().min()
}

/// Whether the present state of an end has lasted for a time.
pub(super) enum Lasted {
    /// Since then it is longer than that.
    Since(Timestamp),
    /// It will be, then.
    Until(Timestamp),
}

/// Looks without news are said once a second at least; until then nothing is proven.
const AGAIN: Duration = Duration::from_millis(500);

impl Case<'_> {
    /// Whether the end has been in its state for longer than `threshold`.
    pub(super) fn has_lasted(&self, threshold: Duration) -> Lasted {
        if threshold.is_zero() {
            return Lasted::Since(self.entered());
        }
        self.lasts_until(self.entered().plus(threshold))
    }

    /// Whether it is as late as that, and a look begun since shows the end as it was: what is known
    /// can lag behind on a busy host, and a mini-socket changes without a word.
    pub(super) fn lasts_until(&self, due: Timestamp) -> Lasted {
        if due <= self.at && self.tracker.proven(self.track) >= due {
            Lasted::Since(due)
        } else {
            Lasted::Until(due.max(self.at.plus(AGAIN)))
        }
    }

    /// The latest moment at which the present state can have begun.
    pub(super) fn entered(&self) -> Timestamp {
        let span = self.track.spans().last();
        let since = |span| self.connection.since(self.side, span).not_after();
        span.map_or(self.at, since)
    }

    /// Whether it is as late as that, of what no look has to prove.
    pub(super) fn reaches(&self, due: Timestamp) -> Lasted {
        if due <= self.at {
            Lasted::Since(due)
        } else {
            Lasted::Until(due)
        }
    }

    /// A finding of this end that holds since `at`.
    pub(super) fn draft(
        &self,
        (code, severity): (Code, Severity),
        at: Timestamp,
        what: impl Into<Cow<'static, str>>,
        evidence: Vec<Cow<'static, str>>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Draft {
        Draft {
            code,
            severity,
            // It was not known before the connection was.
            at: at.max(self.connection.opened()),
            what: what.into(),
            evidence,
            advice: advice.into(),
            standing: Some(Standing::of(self.connection, self.side, self.track)),
        }
    }

    /// The other end, where it is seen.
    pub(super) fn peer(&self) -> Option<&Track> {
        self.connection.end(self.side.other())
    }
}
