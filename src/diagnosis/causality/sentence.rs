//! What is made of two clocks, in English.
//!
//! The trap: an offset that is recommended will be typed, so it is written as an option and lies
//! inside of what mends; all other times are for the eye.

use std::time::Duration;

use crate::diagnosis::causality::offset::written;
use crate::diagnosis::causality::{Breach, Finding, Pair};
use crate::diagnosis::words as spelled;

/// What a sentence needs beside what the connections say.
pub struct Words<'a> {
    /// The names of the first and the second host, safe to print.
    pub names: [&'a str; 2],
    /// What the option calls the second one.
    pub option: &'a str,
    /// The offset that the user has given for the second one already, nanoseconds: another one
    /// replaces it.
    pub given: i64,
    /// Both were recorded in one boot of one machine: nothing lies between their clocks.
    pub is_one_clock: bool,
    /// Writes how long something is.
    pub brief: fn(Duration) -> String,
}

impl Pair {
    /// The finding in a sentence.
    pub fn sentence(&self, words: &Words<'_>) -> String {
        let mut said = if words.is_one_clock {
            self.of_one_clock(words)
        } else {
            self.of_two_clocks(words)
        };
        let is_said = matches!(self.finding(), Finding::Apart { .. });
        if let Some(oddest) = self.oddest.filter(|_| !is_said) {
            said += &self.of_the_odd(oddest, words);
        }
        said
    }

    fn of_one_clock(&self, words: &Words<'_>) -> String {
        let [first, second] = words.names;
        let all = counted(self.connections);
        if self.broken == 0 {
            return format!(
                "{first} and {second} were recorded with one clock, and {} agree",
                if self.odd > 0 {
                    "the others of ".to_owned() + &all
                } else {
                    all
                }
            );
        }
        let what = self.what_broke(words);
        if words.given == 0 {
            return format!(
                "{first} and {second} were recorded with one clock, yet {} of {all} {what}: ends are \
                 paired wrongly, or were told out of order",
                self.broken
            );
        }
        format!(
            "{first} and {second} were recorded with one clock, and with the offset that was given {} \
             of {all} {what}: leave it away",
            self.broken
        )
    }

    fn of_two_clocks(&self, words: &Words<'_>) -> String {
        let [first, second] = words.names;
        let (all, broken) = (counted(self.connections), self.broken);
        let clocks = format!("the clocks of {first} and {second}");
        let what = || self.what_broke(words);
        match self.finding() {
            Finding::Agree { at_least, at_most } => {
                let consistent = self.connections - self.odd;
                let agree = if consistent == 1 { "agrees" } else { "agree" };
                let range = range(at_least, at_most, words);
                format!("{clocks}: {} {agree} with {range}", counted(consistent))
            }
            Finding::Mend { offset } => format!(
                "{clocks} disagree: {broken} of {all} {}; {} would mend it",
                what(),
                self.option(offset, words)
            ),
            Finding::Split { offset } => {
                let best = match offset {
                    Some(offset) => format!("{} leaves the fewest", self.option(offset, words)),
                    None => "as they are the fewest are".to_owned(),
                };
                format!(
                    "{clocks} disagree: {broken} of {all} {}, and no single offset mends all of \
                     them: a clock was set, or they drift apart; {best}",
                    what()
                )
            }
            Finding::Stray => {
                let set = if broken == 1 {
                    ""
                } else {
                    ", or a clock was set meanwhile"
                };
                format!(
                    "{clocks}: {} of {all} agree, but {broken} {}: paired wrongly, or told out of \
                     order{set}",
                    self.connections - broken - self.odd,
                    what()
                )
            }
            Finding::Apart { offset } => self.of_the_unjoined(offset, words),
        }
    }

    fn of_the_unjoined(&self, offset: i64, words: &Words<'_>) -> String {
        let [first, second] = words.names;
        let count = self.apart.map_or(0, |apart| apart.connections);
        format!(
            "{} of {first} and {second} have their other ends there, {} apart: {} joins them",
            counted(count),
            (words.brief)(Duration::from_nanos(offset.unsigned_abs())),
            self.option(offset, words)
        )
    }

    /// Behind another sentence: those that no offset mends.
    fn of_the_odd(&self, oddest: Breach, words: &Words<'_>) -> String {
        let (law, by) = (oddest.law.broken(), (words.brief)(oddest.by));
        let conn = oddest.conn;
        let set = if words.is_one_clock || self.connections > 2 * self.odd {
            ""
        } else {
            "a clock was set meanwhile, or "
        };
        if self.odd == 1 {
            return format!(
                "; #{conn} contradicts itself ({law}, by {by}), which no offset mends: {set}its ends \
                 are paired wrongly, or were told out of order"
            );
        }
        format!(
            "; {} connections contradict themselves (the worst, #{conn}, {law}, by {by}), which no \
             offset mends: {set}their ends are paired wrongly, or were told out of order",
            self.odd
        )
    }

    /// The recommended option. It replaces the one that was given, so that one is in it.
    fn option(&self, offset: i64, words: &Words<'_>) -> String {
        let inside = self.recommended().shifted(words.given);
        let offset = written(offset.saturating_add(words.given), inside);
        let instead = if words.given == 0 {
            String::new()
        } else {
            let given = signed(words.given, words);
            format!(" (instead of the {given} that was given)")
        };
        format!("--offset {}={offset}{instead}", words.option)
    }

    fn what_broke(&self, words: &Words<'_>) -> String {
        let Some(worst) = self.worst else {
            return "contradict each other".to_owned();
        };
        let law = worst.law.broken();
        if self.laws.is_power_of_two() {
            return law.to_owned();
        }
        let breaks = if self.broken == 1 { "breaks" } else { "break" };
        let (conn, by) = (worst.conn, (words.brief)(worst.by));
        format!("{breaks} the order of the protocol (the worst, #{conn}, {law}, by {by})")
    }
}

fn counted(connections: u64) -> String {
    spelled::counted(connections, "connection")
}

fn range(at_least: Option<i64>, at_most: Option<i64>, words: &Words<'_>) -> String {
    let text = |offset| signed(offset, words);
    match (at_least, at_most) {
        (Some(least), Some(most)) => format!("offsets from {} to {}", text(least), text(most)),
        (Some(least), None) => format!("offsets from {} on", text(least)),
        (None, Some(most)) => format!("offsets up to {}", text(most)),
        (None, None) => "any offset".to_owned(),
    }
}

fn signed(offset: i64, words: &Words<'_>) -> String {
    let sign = if offset < 0 { "-" } else { "" };
    let size = Duration::from_nanos(offset.unsigned_abs());
    format!("{sign}{}", (words.brief)(size))
}
