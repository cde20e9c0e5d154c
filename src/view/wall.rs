//! Monotonic stamps as times of day, by the newest anchor that the sources gave.
//!
//! Reads no clock: the anchor is an observation. Before the first one there is no date, and a
//! stamp prints as the time since the first observation. The trap: a wall clock that was set
//! makes the newest anchor the right one, for old stamps too.

use jiff::tz::TimeZone;

use crate::model::{Body, Observation, Timestamp};

/// The columns of a time of day.
pub const WIDTH: usize = 15;

/// Turns stamps into times of day.
#[derive(Clone, Debug)]
pub struct WallClock {
    zone: TimeZone,
    anchor: Option<(Timestamp, u64)>,
    first: Option<Timestamp>,
}

impl WallClock {
    /// Times in this zone.
    pub const fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            anchor: None,
            first: None,
        }
    }

    /// Takes in an anchor, if this is one.
    pub fn note(&mut self, observation: &Observation) {
        self.first.get_or_insert(observation.at);
        // The axis is that of the first recording; the others were put onto it.
        if let (Body::Clock { realtime_ns }, 0) = (&observation.body, observation.host) {
            let realtime_ns = *realtime_ns;
            self.anchor = Some((observation.at, realtime_ns));
        }
    }

    /// The anchor: the same moment on the monotonic clock, and in nanoseconds since 1970.
    pub const fn anchor(&self) -> Option<(Timestamp, u64)> {
        self.anchor
    }

    /// `12:03:04.512345`, in fifteen columns; without an anchor, the seconds since the start.
    /// Microseconds for everything: what is known less closely says so beside.
    pub fn time_of_day(&self, at: Timestamp) -> String {
        let Some(zoned) = self.zoned(at) else {
            let since = at.since(self.first.unwrap_or(at));
            let text = format!("+{}.{:06}", since.as_secs(), since.subsec_micros());
            return format!("{text:>WIDTH$}");
        };
        let micros = zoned.subsec_nanosecond() / 1000;
        let (hour, minute, second) = (zoned.hour(), zoned.minute(), zoned.second());
        format!("{hour:02}:{minute:02}:{second:02}.{micros:06}")
    }

    /// `2026-11-20 12:03:04.512345`; without an anchor as [`WallClock::time_of_day`].
    pub fn date_and_time(&self, at: Timestamp) -> String {
        let time = self.time_of_day(at);
        match self.zoned(at) {
            Some(zoned) => format!("{} {time}", zoned.date()),
            None => time.trim_start().to_owned(),
        }
    }

    /// `2026-03-01 14:02:00.512345 UTC`; without an anchor, the seconds since the start.
    pub fn date_time_and_zone(&self, at: Timestamp) -> String {
        let time = self.time_of_day(at);
        match self.zoned(at) {
            Some(zoned) => format!("{} {time} {}", zoned.date(), zoned.strftime("%Z")),
            None => time.trim_start().to_owned(),
        }
    }

    /// The day, `2026-03-01`, `None` without an anchor.
    pub fn day(&self, at: Timestamp) -> Option<String> {
        self.zoned(at).map(|zoned| zoned.date().to_string())
    }

    /// `2026-03-01T14:02:00.512345678Z`, whatever the zone; `None` without an anchor.
    pub fn utc(&self, at: Timestamp) -> Option<String> {
        let stamp = self.stamp(at)?;
        Some(format!("{stamp:.9}"))
    }

    fn stamp(&self, at: Timestamp) -> Option<jiff::Timestamp> {
        let (monotonic, realtime) = self.anchor?;
        let nanos = i128::from(realtime) + i128::from(at.nanos()) - i128::from(monotonic.nanos());
        jiff::Timestamp::from_nanosecond(nanos).ok()
    }

    fn zoned(&self, at: Timestamp) -> Option<jiff::Zoned> {
        Some(self.stamp(at)?.to_zoned(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceName;

    fn anchor(at: u64, realtime_ns: u64) -> Observation {
        Observation {
            host: 0,
            at: Timestamp::from_nanos(at),
            source: SourceName::SockDiag,
            body: Body::Clock { realtime_ns },
        }
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_stamp_is_a_time_of_day_once_there_is_an_anchor() {
        let mut clock = WallClock::new(TimeZone::UTC);
        let at = Timestamp::from_nanos(5_250_000_000);
        assert_eq!(clock.time_of_day(at), "      +0.000000");
        clock.note(&anchor(SECOND, 1_700_000_000 * SECOND));
        assert_eq!(clock.time_of_day(at), "22:13:24.250000");
        assert_eq!(
            clock.time_of_day(Timestamp::from_nanos(0)),
            "22:13:19.000000"
        );
    }

    #[test]
    fn a_stamp_has_a_date_once_there_is_an_anchor() {
        let mut clock = WallClock::new(TimeZone::UTC);
        let at = Timestamp::from_nanos(5_250_000_001);
        assert_eq!(clock.utc(at), None);
        assert_eq!(clock.date_time_and_zone(at), "+0.000000");
        clock.note(&anchor(SECOND, 1_700_000_000 * SECOND));
        let utc = "2023-11-14T22:13:24.250000001Z";
        assert_eq!(clock.utc(at).as_deref(), Some(utc));
        assert_eq!(
            clock.date_time_and_zone(at),
            "2023-11-14 22:13:24.250000 UTC"
        );
        assert_eq!(clock.day(at).as_deref(), Some("2023-11-14"));
    }

    #[test]
    fn the_clock_of_another_host_dates_nothing() {
        let mut clock = WallClock::new(TimeZone::UTC);
        clock.note(&anchor(SECOND, 1_700_000_000 * SECOND));
        let other = Observation {
            host: 1,
            ..anchor(SECOND, 5 * SECOND)
        };
        clock.note(&other);
        assert_eq!(
            clock.time_of_day(Timestamp::from_nanos(SECOND)),
            "22:13:20.000000"
        );
    }

    #[test]
    fn the_newest_anchor_dates_every_stamp() {
        let mut clock = WallClock::new(TimeZone::UTC);
        let at = Timestamp::from_nanos(9 * SECOND);
        clock.note(&anchor(10 * SECOND, 5 * 3600 * SECOND));
        assert_eq!(clock.time_of_day(at), "04:59:59.000000");
        clock.note(&anchor(20 * SECOND, 7 * 3600 * SECOND));
        assert_eq!(clock.time_of_day(at), "06:59:49.000000");
    }
}
