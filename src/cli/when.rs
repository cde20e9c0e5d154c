//! A time as the user types it: `14:02:11.5`, `2026-11-20T22:00:00`, `+10s`, `-5m`.
//!
//! Parsed here; what it means is known only when the recording is: [`When::resolve`]. The traps: a
//! time of day without a day is of the day on which the recording has such a time, which may be
//! the one after it began; and without a zone a time is what the screen shows, local time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use crate::model::Timestamp;
use crate::view::duration::brief;
use crate::view::wall::Anchors;

/// What is allowed, for messages.
const ALLOWED: &str = "14:02:11.5, 2026-11-20T22:00:00, +10s after the start, -5m before the end";

/// A moment of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after the start.
    AfterStart(Duration),
    /// So long before the end.
    BeforeEnd(Duration),
    /// A time of day, in local time.
    TimeOfDay(Time),
    /// A date and a time, in local time.
    Local(DateTime),
    /// A moment that names its zone.
    Absolute(jiff::Timestamp),
}

/// What a [`When`] is resolved with.
#[derive(Clone, Debug)]
pub struct Extent {
    /// When the recording begins.
    pub begin: Timestamp,
    /// When it ends, as far as is known.
    pub end: Timestamp,
    /// More may come behind the end.
    pub grows: bool,
    /// What dates it; none leave only times that count from start or end.
    pub anchors: Anchors,
    /// The zone of local time.
    pub zone: TimeZone,
}

/// What a time is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// What was before is left out. Before the start, nothing is.
    From,
    /// What comes later is left out. Behind the end, nothing is.
    Until,
    /// To be shown.
    Shown,
}

/// Why a time is none of the recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchTime {
    /// There is no anchor.
    #[error("the recording has no date: count from its start or its end (+10s, -5m)")]
    NoDate,
    /// A local time that can't be said in nanoseconds since 1970.
    #[error("'{0}' is no moment that a clock can show")]
    Impossible(String),
    /// Nothing was recorded then.
    #[error("{when} is outside of the recording ({recorded})")]
    Outside {
        /// The time.
        when: String,
        /// From when to when that is.
        recorded: String,
    },
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refused = || {
            let text = text.escape_default();
            format!("'{text}' is not a time (allowed: {ALLOWED})")
        };
        let digits = text.trim_start_matches(['+', '-']);
        let is_number =
            digits.parse::<f64>().is_ok() && digits.starts_with(|c: char| c.is_ascii_digit());
        if is_number && digits != "0" {
            return Err(format!(
                "'{text}' has no unit, as in +{digits}s or -{digits}m (allowed: {ALLOWED})"
            ));
        }
        if let Some(rest) = text.strip_prefix('+') {
            return distance(rest).map(Self::AfterStart).ok_or_else(refused);
        }
        if let Some(rest) = text.strip_prefix('-') {
            return distance(rest).map(Self::BeforeEnd).ok_or_else(refused);
        }
        if let Ok(absolute) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::Absolute(absolute));
        }
        // A date alone is its midnight, and no time of day.
        let is_time_of_day = text.get(..6).unwrap_or(text).contains(':');
        if is_time_of_day && let Ok(time) = text.parse::<Time>() {
            return Ok(Self::TimeOfDay(time));
        }
        match text.parse::<DateTime>() {
            Ok(local) if text.contains('-') => Ok(Self::Local(local)),
            _ => Err(refused()),
        }
    }
}

/// A duration with its unit; `0` and `0s` are the start or the end themselves.
fn distance(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.starts_with(['-', '+']) {
        return None;
    }
    let time = jiff::SignedDuration::from_str(text).ok()?;
    Duration::try_from(time).ok()
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterStart(by) => write!(f, "+{by:?}"),
            Self::BeforeEnd(by) => write!(f, "-{by:?}"),
            Self::TimeOfDay(time) if time.second() == 0 && time.subsec_nanosecond() == 0 => {
                write!(f, "{:02}:{:02}", time.hour(), time.minute())
            }
            Self::TimeOfDay(time) => write!(f, "{time}"),
            Self::Local(local) => write!(f, "{local}"),
            Self::Absolute(at) => write!(f, "{at}"),
        }
    }
}

/// The screen and reports cut off fractions of a second: so far outside is within.
const SLACK: i128 = 1_000_000_000;
/// A time of day so far from the recording is another day's: who means that says the day.
const SAME_DAY: i128 = 6 * 3600 * 1_000_000_000;

impl When {
    /// Whether it is said by the wall clock.
    pub const fn is_dated(&self) -> bool {
        !matches!(self, Self::AfterStart(_) | Self::BeforeEnd(_))
    }

    /// The moment, on the recording's clock, and within the recording.
    ///
    /// # Errors
    /// When nothing was recorded then, or when it needs a date and the recording has none.
    pub fn resolve(&self, extent: &Extent, what_for: Use) -> Result<Timestamp, NoSuchTime> {
        let at = self.moment(extent)?;
        let (begin, end) = extent.bounds();
        let before = begin - at;
        let after = at - end;
        let may_come = extent.grows && what_for != Use::Shown;
        let is_after = after > SLACK && !may_come;
        let is_before = before > SLACK;
        let is_another_day =
            matches!(self, Self::TimeOfDay(_)) && (before > SAME_DAY || after > SAME_DAY);
        let is_outside = match what_for {
            Use::From => is_after || is_before && is_another_day,
            Use::Until => is_before || is_after && is_another_day,
            // A distance leads to the start or the end at most.
            Use::Shown => self.is_dated() && (is_before || is_after),
        };
        if is_outside {
            return Err(NoSuchTime::Outside {
                when: self.to_string(),
                recorded: extent.in_words(),
            });
        }
        let latest = if may_come { i128::from(u64::MAX) } else { end };
        Ok(stamp(at.min(latest).max(begin)))
    }

    /// Nanoseconds on the recording's clock, which may lie before it began.
    fn moment(&self, extent: &Extent) -> Result<i128, NoSuchTime> {
        let (begin, end) = extent.bounds();
        let nanos = |by: &Duration| i128::try_from(by.as_nanos()).unwrap_or(i128::MAX / 2);
        match self {
            Self::AfterStart(by) => Ok(begin + nanos(by)),
            Self::BeforeEnd(by) => Ok(end - nanos(by)),
            Self::Absolute(at) => extent.monotonic(*at),
            Self::Local(local) => extent.monotonic(self.zoned(*local, extent)?),
            Self::TimeOfDay(time) => self.on_its_day(*time, extent),
        }
    }

    /// The first moment of that time of day from the start on; when the recording has none, the
    /// one that is nearest to it.
    fn on_its_day(&self, time: Time, extent: &Extent) -> Result<i128, NoSuchTime> {
        let begin = extent.date(extent.begin)?;
        let first_day = begin.to_zoned(extent.zone.clone()).date();
        let mut nearest: Option<(i128, i128)> = None;
        // The day before too: of a recording that begins at midnight, 23:59 is a minute before it.
        for days in -1..=1 {
            let Ok(day) = first_day.checked_add(jiff::Span::new().days(days)) else {
                continue;
            };
            let at = self.zoned(day.to_datetime(time), extent)?;
            let at = extent.monotonic(at)?;
            let outside = extent.distance(at);
            if nearest.is_none_or(|(least, _)| outside < least) {
                nearest = Some((outside, at));
            }
        }
        nearest.map(|(_, at)| at).ok_or(NoSuchTime::NoDate)
    }

    fn zoned(&self, local: DateTime, extent: &Extent) -> Result<jiff::Timestamp, NoSuchTime> {
        extent
            .zone
            .to_ambiguous_timestamp(local)
            .compatible()
            .map_err(|_| NoSuchTime::Impossible(self.to_string()))
    }
}

impl Extent {
    fn bounds(&self) -> (i128, i128) {
        let end = self.end.max(self.begin);
        (self.begin.nanos().into(), end.nanos().into())
    }

    fn date(&self, at: Timestamp) -> Result<jiff::Timestamp, NoSuchTime> {
        self.anchors.date(at).ok_or(NoSuchTime::NoDate)
    }

    fn monotonic(&self, at: jiff::Timestamp) -> Result<i128, NoSuchTime> {
        self.anchors.moment(at).ok_or(NoSuchTime::NoDate)
    }

    /// How far outside of the recording a moment lies.
    fn distance(&self, at: i128) -> i128 {
        let (begin, end) = self.bounds();
        (begin - at).max(at - end).max(0)
    }

    /// `2026-11-21 14:54:45 to 14:54:55`; how long it is when it has no date.
    fn in_words(&self) -> String {
        let end = self.end.max(self.begin);
        let zoned = |at| Some(self.anchors.date(at)?.to_zoned(self.zone.clone()));
        let (Some(first), Some(last)) = (zoned(self.begin), zoned(end)) else {
            return format!("{} long", brief(end.since(self.begin)));
        };
        let last = if first.date() == last.date() {
            last.strftime("%H:%M:%S")
        } else {
            last.strftime("%Y-%m-%d %H:%M:%S")
        };
        format!("{} to {last}", first.strftime("%Y-%m-%d %H:%M:%S"))
    }
}

fn stamp(nanos: i128) -> Timestamp {
    let nanos = nanos.clamp(0, u64::MAX.into());
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Observation, SourceName};

    const SECOND: u64 = 1_000_000_000;

    /// From 23:59:50 UTC on the 20th, for so many seconds.
    fn extent(seconds: u64) -> Extent {
        let begin: jiff::Timestamp = "2026-11-20T23:59:50Z".parse().unwrap();
        let realtime = u64::try_from(begin.as_nanosecond()).unwrap();
        let monotonic = Timestamp::from_nanos(1000 * SECOND);
        Extent {
            begin: monotonic,
            end: monotonic.plus(Duration::from_secs(seconds)),
            grows: false,
            anchors: anchors(monotonic, realtime),
            zone: TimeZone::UTC,
        }
    }

    fn anchors(at: Timestamp, realtime_ns: u64) -> Anchors {
        let mut anchors = Anchors::default();
        anchors.note(&Observation {
            at,
            host: 0,
            source: SourceName::SockDiag,
            body: Body::Clock { realtime_ns },
        });
        anchors
    }

    fn resolved(text: &str, seconds: u64) -> f64 {
        let when: When = text.parse().unwrap();
        let extent = extent(seconds);
        let at = when.moment(&extent).unwrap();
        (at - i128::from(extent.begin.nanos())) as f64 / 1e9
    }

    #[test]
    fn what_is_outside_is_said_and_not_guessed() {
        let outcome = |text: &str, what_for| {
            let when: When = text.parse().unwrap();
            let extent = extent(5);
            when.resolve(&extent, what_for)
                .map(|at| at.since(extent.begin).as_secs_f64())
                .map_err(|error| error.to_string())
        };
        for (text, from, until, shown) in [
            ("23:59:52", Some(2.0), Some(2.0), Some(2.0)),
            // A little before, and long before.
            ("23:00", Some(0.0), None, None),
            ("12:00", None, None, None),
            ("2026-11-19T12:00", Some(0.0), None, None),
            // A little after, and long after.
            ("00:30", None, Some(5.0), None),
            ("09:00", None, None, None),
            ("2026-11-22T12:00", None, Some(5.0), None),
            ("+10s", None, Some(5.0), Some(5.0)),
            ("-10s", Some(0.0), None, Some(0.0)),
            // Seconds are shown without their fractions.
            ("+5.9s", Some(5.0), Some(5.0), Some(5.0)),
        ] {
            for (what_for, wanted) in [(Use::From, from), (Use::Until, until), (Use::Shown, shown)]
            {
                let outcome = outcome(text, what_for);
                assert_eq!(
                    outcome.clone().ok(),
                    wanted,
                    "{text} {what_for:?}: {outcome:?}"
                );
            }
        }
        assert_eq!(
            outcome("03:10", Use::Shown).unwrap_err(),
            "03:10 is outside of the recording (2026-11-20 23:59:50 to 23:59:55)"
        );
        // What grows may come there.
        let growing = Extent {
            grows: true,
            ..extent(5)
        };
        let when: When = "+10s".parse().unwrap();
        assert!(when.resolve(&growing, Use::From).is_ok());
    }

    #[test]
    fn a_missing_unit_is_said_as_such() {
        for text in ["3", "+3", "-3", "1.5"] {
            let refused = text.parse::<When>().unwrap_err();
            assert!(
                refused.contains("no unit") && refused.contains("+"),
                "{refused}"
            );
        }
    }

    #[test]
    fn every_spelling_is_a_moment() {
        for (text, seconds) in [
            ("+10s", 10.0),
            ("+1.5s", 1.5),
            ("+0", 0.0),
            ("-5s", 55.0),
            ("-1m", 0.0),
            ("-2m", -60.0),
            ("23:59:51", 1.0),
            ("23:59:51.25", 1.25),
            ("00:00:05", 15.0),
            ("00:00", 10.0),
            // Not in it: the nearest.
            ("23:59:40", -10.0),
            ("00:01:00", 70.0),
            ("2026-11-21T00:00:05", 15.0),
            ("2026-11-21 00:00:05", 15.0),
            ("2026-11-21T00:00:05Z", 15.0),
            ("2026-11-21T01:00:05+01:00", 15.0),
        ] {
            assert_eq!(resolved(text, 60), seconds, "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_local() {
        let when: When = "00:59:55".parse().unwrap();
        let extent = Extent {
            zone: TimeZone::fixed(jiff::tz::offset(1)),
            ..extent(60)
        };
        let at = when.resolve(&extent, Use::Shown).unwrap();
        assert_eq!(at.since(extent.begin), Duration::from_secs(5));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_allowed() {
        for text in [
            "", "x", "10", "10s", "+", "-", "+-1s", "25:00:00", "+5 x", "12",
        ] {
            let refused = text.parse::<When>().unwrap_err();
            assert!(refused.contains("14:02:11.5"), "{text}: {refused}");
        }
    }

    #[test]
    fn without_a_date_only_start_and_end_count() {
        let extent = Extent {
            anchors: Anchors::default(),
            ..extent(60)
        };
        let when: When = "12:00:00".parse().unwrap();
        assert_eq!(when.resolve(&extent, Use::Shown), Err(NoSuchTime::NoDate));
        assert!(
            When::AfterStart(Duration::ZERO)
                .resolve(&extent, Use::Shown)
                .is_ok()
        );
    }
}
