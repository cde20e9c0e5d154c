//! What waits for an answer at an end: its timer, and how often it has sent something again.
//!
//! The trap: a look knows what it saw in its moment, and an event may have moved the state since;
//! and events tell nothing of the time before they were heard.

use crate::model::{Sample, TcpState, Timestamp};
use crate::timeline::{Coverage, Mark, MarkKind};
use crate::view::duration;
use crate::view::tui::whole::UNKNOWN;
use crate::view::tui::whole::ends::{End, unknown};

impl End<'_> {
    pub(super) fn timer(&self) -> String {
        if self.state == TcpState::Close {
            return unknown();
        }
        let Some(look) = self.look() else {
            return self.no_look();
        };
        let Some(timer) = look.timer else {
            return match self.state {
                // It has one, and the look does not show it.
                TcpState::TimeWait => unknown(),
                _ => "none runs".to_owned(),
            };
        };
        let left = timer.deadline.since(self.view.at);
        match left.is_zero() {
            true => format!("{}, due", timer.kind.name()),
            false => format!("{}, {} left", timer.kind.name(), duration::brief(left)),
        }
    }

    /// The newest look, unless the state is another one since.
    pub(super) fn look(&self) -> Option<&Sample> {
        self.track.look_in(self.state)
    }

    /// Why there is none.
    pub(super) fn no_look(&self) -> String {
        let why = match self.track.was_looked_at() {
            true => "looked at before this state",
            false => "no look has shown it",
        };
        format!("{UNKNOWN} ({why})")
    }

    /// How often something was sent again: as a look counts what is not answered, and as events do.
    pub(super) fn resent(&self) -> String {
        let seen = self.seen_resent();
        if self.state == TcpState::Close {
            // The last look may have been long before.
            return seen;
        }
        let unanswered = self.look().map(|look| look.retransmits.to_string());
        let unanswered = unanswered.unwrap_or_else(unknown);
        format!("{unanswered} unanswered, {seen}")
    }

    /// `in all 2`, or as much of it as events have told.
    fn seen_resent(&self) -> String {
        let marks = self.track.marks().iter();
        let resent = || {
            let is_resent = |mark: &&Mark| mark.kind == MarkKind::Retransmit;
            marks.clone().filter(is_resent)
        };
        let count = resent().count();
        let are_all_since = |since| resent().all(|mark| mark.at >= since);
        let is_cut = self.track.marks_dropped() > 0;
        match self.view.picture.coverage(self.track) {
            Coverage::Whole if !is_cut => format!("in all {count}"),
            Coverage::Since(since) if !is_cut && are_all_since(since) && !self.left_by(since) => {
                let time = self.view.heard.time(since);
                format!("{count} seen since {}", time.trim())
            }
            Coverage::Off if count == 0 => format!("in all {UNKNOWN} (events are off)"),
            Coverage::Since(_) if count == 0 => format!("in all {UNKNOWN} (events were lost)"),
            Coverage::Whole | Coverage::Since(_) | Coverage::Off => {
                format!("in all at least {count}")
            }
        }
    }

    /// Whether it was gone by `since`.
    fn left_by(&self, since: Timestamp) -> bool {
        let span = &self.track.spans()[self.index];
        self.state == TcpState::Close && span.from.not_after() <= since
    }
}
