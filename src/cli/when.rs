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
    /// The same moment on its monotonic clock and in nanoseconds since 1970; `None` leaves only
    /// times that count from start or end.
    pub anchor: Option<(Timestamp, u64)>,
    /// The zone of local time.
    pub zone: TimeZone,
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
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refused = || {
            let text = text.escape_default();
            format!("'{text}' is not a time (allowed: {ALLOWED})")
        };
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
            Self::TimeOfDay(time) => write!(f, "{time}"),
            Self::Local(local) => write!(f, "{local}"),
            Self::Absolute(at) => write!(f, "{at}"),
        }
    }
}

impl When {
    /// The moment, on the recording's clock. It may lie before its start or behind its end.
    ///
    /// # Errors
    /// When it needs a date and the recording has none.
    pub fn resolve(&self, extent: &Extent) -> Result<Timestamp, NoSuchTime> {
        match self {
            Self::AfterStart(by) => Ok(extent.begin.plus(*by)),
            Self::BeforeEnd(by) => Ok(extent.end.minus(*by)),
            Self::Absolute(at) => extent.monotonic(*at),
            Self::Local(local) => {
                let at = self.zoned(*local, extent)?;
                extent.monotonic(at)
            }
            Self::TimeOfDay(time) => self.on_its_day(*time, extent),
        }
    }

    /// The first moment of that time of day from the start on; when the recording has none, the
    /// one that is nearest to it.
    fn on_its_day(&self, time: Time, extent: &Extent) -> Result<Timestamp, NoSuchTime> {
        let begin = extent.date(extent.begin)?;
        let first_day = begin.to_zoned(extent.zone.clone()).date();
        let mut nearest: Option<(Duration, Timestamp)> = None;
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
    fn date(&self, at: Timestamp) -> Result<jiff::Timestamp, NoSuchTime> {
        let (monotonic, realtime) = self.anchor.ok_or(NoSuchTime::NoDate)?;
        let nanos = i128::from(realtime) + i128::from(at.nanos()) - i128::from(monotonic.nanos());
        jiff::Timestamp::from_nanosecond(nanos).map_err(|_| NoSuchTime::NoDate)
    }

    /// The ends of the clock at the outside.
    fn monotonic(&self, at: jiff::Timestamp) -> Result<Timestamp, NoSuchTime> {
        let (monotonic, realtime) = self.anchor.ok_or(NoSuchTime::NoDate)?;
        let nanos = at.as_nanosecond() - i128::from(realtime) + i128::from(monotonic.nanos());
        let nanos = nanos.clamp(0, u64::MAX.into());
        Ok(Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }

    /// How far outside of the recording a moment lies.
    fn distance(&self, at: Timestamp) -> Duration {
        self.begin.since(at) + at.since(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// From 23:59:50 UTC on the 20th, for so many seconds.
    fn extent(seconds: u64) -> Extent {
        let begin: jiff::Timestamp = "2026-11-20T23:59:50Z".parse().unwrap();
        let realtime = u64::try_from(begin.as_nanosecond()).unwrap();
        let monotonic = Timestamp::from_nanos(1000 * SECOND);
        Extent {
            begin: monotonic,
            end: monotonic.plus(Duration::from_secs(seconds)),
            anchor: Some((monotonic, realtime)),
            zone: TimeZone::UTC,
        }
    }

    fn resolved(text: &str, seconds: u64) -> f64 {
        let when: When = text.parse().unwrap();
        let extent = extent(seconds);
        let at = when.resolve(&extent).unwrap().nanos();
        (i128::from(at) - i128::from(extent.begin.nanos())) as f64 / 1e9
    }

    #[test]
    fn every_spelling_is_a_moment() {
        for (text, seconds) in [
            ("+10s", 10.0),
            ("+1.5s", 1.5),
            ("+0", 0.0),
            ("-5s", 55.0),
            ("-1m", 0.0),
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
        let at = when.resolve(&extent).unwrap();
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
            anchor: None,
            ..extent(60)
        };
        let when: When = "12:00:00".parse().unwrap();
        assert_eq!(when.resolve(&extent), Err(NoSuchTime::NoDate));
        assert!(When::AfterStart(Duration::ZERO).resolve(&extent).is_ok());
    }
}
