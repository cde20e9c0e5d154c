//! A connection on one line: who, when, for how long, and how it ended in a few words.

use crate::timeline::When;
use crate::timeline::{Came, Side};
use crate::view::report::text::found::mark;
use crate::view::report::text::{Text, lived};
use crate::view::report::{Shown, Way};
use crate::view::verdict;

impl Text<'_> {
    pub(super) fn one_line(&self, shown: &Shown<'_>) -> String {
        let connection = shown.connection;
        let clock = &self.about.clock;
        let (began, came) = shown.began();
        let at = match came {
            Came::Born => began.not_after(),
            Came::Found => connection.opened(),
        };
        let spans_days = clock.day(self.about.begin()) != clock.day(self.about.last);
        let time = if spans_days {
            clock.date_and_time(at)
        } else {
            clock.time_of_day(at)
        };
        let came = match came {
            Came::Born => "opened",
            Came::Found => "found ",
        };
        let lasted = lived(shown, shown.ended().unwrap_or(When::At(shown.until)));
        let [a, b] = Side::BOTH.map(|side| connection.endpoint(side));
        format!(
            "#{:<6} {a} -> {b}  {came} {time}  {lasted}  {}{}\n",
            connection.id(),
            few_words(shown),
            mark(shown)
        )
    }
}

/// `orderly, A first`; of one that goes on its states.
fn few_words(shown: &Shown<'_>) -> String {
    let connection = shown.connection;
    if shown.way() == Way::Open {
        let states = connection
            .visible()
            .map(|(side, track)| format!(", {} {}", side.letter(), track.state().name()));
        return format!("open{}", states.collect::<String>());
    }
    let closer = verdict(connection).and_then(|verdict| verdict.first_closer);
    let closer = closer.map_or_else(String::new, |side| format!(", {} first", side.letter()));
    format!("{}{closer}", shown.way().token())
}
