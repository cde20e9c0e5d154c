//! Monotonic stamps as times of day, by the anchors that the sources gave.
//!
//! Reads no clock: an anchor is an observation. Before the first one there is no date, and a
//! stamp prints as the time since the first observation. The trap: a wall clock that was set makes
//! another anchor the right one from then on, and not for what was before.

use jiff::tz::TimeZone;

use crate::model::{Body, Observation, SourceName, Timestamp};

/// The columns of a time of day.
pub const WIDTH: usize = 15;

/// So many times is the clock set at most; what comes later takes the place of the last.
const ANCHORS: usize = 1024;
/// Anchors that agree this well are one: both clocks are read one after the other. Nanoseconds.
const AGREES: u128 = 1_000_000;

/// Moments that are known on both clocks, in the order of time. Each dates what comes from it on,
/// up to the next; the first one also what was before.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    known: Vec<(Timestamp, u64)>,
    /// The first is a header's: the first of a source takes its place when they agree.
    is_of_header: bool,
}

impl Anchors {
    /// Takes in an anchor, if this is one.
    pub fn note(&mut self, observation: &Observation) {
        // The axis is that of the first recording; the others were put onto it.
        let (Body::Clock { realtime_ns }, 0) = (&observation.body, observation.host) else {
            return;
        };
        let anchor = (observation.at, *realtime_ns);
        let Some(last) = self.known.last_mut() else {
            self.is_of_header = observation.source == SourceName::Recording;
            self.known.push(anchor);
            return;
        };
        let agrees = origin(*last).abs_diff(origin(anchor)) <= AGREES;
        if agrees && std::mem::take(&mut self.is_of_header) {
            *last = anchor;
        } else if !agrees && anchor.0 >= last.0 {
            if self.known.len() == ANCHORS {
                self.known.pop();
            }
            self.known.push(anchor);
        }
    }

    /// The newest one: the same moment on the monotonic clock, and in nanoseconds since 1970.
    pub fn newest(&self) -> Option<(Timestamp, u64)> {
        self.known.last().copied()
    }

    /// The date of a moment; `None` without an anchor, or of what has none.
    pub fn date(&self, at: Timestamp) -> Option<jiff::Timestamp> {
        let later = self.known.partition_point(|(from, _)| *from <= at);
        let anchor = self.known.get(later.saturating_sub(1))?;
        jiff::Timestamp::from_nanosecond(origin(*anchor) + i128::from(at.nanos())).ok()
    }

    /// The first moment of a date, in nanoseconds of the monotonic clock, which may be before it
    /// began; of a date that the clock leapt over, when it leapt. `None` without an anchor.
    pub fn moment(&self, date: jiff::Timestamp) -> Option<i128> {
        let mut from = i128::MIN;
        for (index, anchor) in self.known.iter().enumerate() {
            let moment = date.as_nanosecond() - origin(*anchor);
            let until = self.known.get(index + 1);
            let until = until.map_or(i128::MAX, |(next, _)| i128::from(next.nanos()));
            if moment < until {
                return Some(moment.max(from));
            }
            from = until;
        }
        None
    }
}

/// What is to be added to stamps to have nanoseconds since 1970.
fn origin((at, realtime_ns): (Timestamp, u64)) -> i128 {
    i128::from(realtime_ns) - i128::from(at.nanos())
}

/// Turns stamps into times of day.
#[derive(Clone, Debug)]
pub struct WallClock {
    zone: TimeZone,
    anchors: Anchors,
    first: Option<Timestamp>,
}

impl WallClock {
    /// Times in this zone.
    pub const fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            anchors: Anchors {
                known: Vec::new(),
                is_of_header: false,
            },
            first: None,
        }
    }

    /// Takes in an anchor, if this is one.
    pub fn note(&mut self, observation: &Observation) {
        self.first.get_or_insert(observation.at);
        self.anchors.note(observation);
    }

    /// The newest anchor: the same moment on the monotonic clock, and in nanoseconds since 1970.
    pub fn anchor(&self) -> Option<(Timestamp, u64)> {
        self.anchors.newest()
    }

    /// All of them.
    pub const fn anchors(&self) -> &Anchors {
        &self.anchors
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
        let stamp = self.anchors.date(at)?;
        Some(format!("{stamp:.9}"))
    }

    fn zoned(&self, at: Timestamp) -> Option<jiff::Zoned> {
        Some(self.anchors.date(at)?.to_zoned(self.zone.clone()))
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
    fn a_clock_that_is_set_dates_what_comes_then() {
        let mut clock = WallClock::new(TimeZone::UTC);
        let at = Timestamp::from_nanos(9 * SECOND);
        clock.note(&anchor(10 * SECOND, 5 * 3600 * SECOND));
        assert_eq!(clock.time_of_day(at), "04:59:59.000000");
        clock.note(&anchor(20 * SECOND, 7 * 3600 * SECOND));
        assert_eq!(clock.time_of_day(at), "04:59:59.000000");
        let before = Timestamp::from_nanos(20 * SECOND - 1000);
        assert_eq!(clock.time_of_day(before), "05:00:09.999999");
        let from_then_on = Timestamp::from_nanos(20 * SECOND);
        assert_eq!(clock.time_of_day(from_then_on), "07:00:00.000000");
        // There and back, by the same anchors.
        let moment = |seconds: u64| {
            let date = jiff::Timestamp::from_second(seconds.cast_signed()).unwrap();
            clock.anchors().moment(date).unwrap() / i128::from(SECOND)
        };
        assert_eq!(moment(5 * 3600 - 100), -90);
        assert_eq!(moment(5 * 3600 + 5), 15);
        assert_eq!(moment(6 * 3600), 20, "leapt over");
        assert_eq!(moment(7 * 3600 + 5), 25);
    }

    #[test]
    fn anchors_that_agree_are_one_and_there_is_an_end_to_the_others() {
        let mut anchors = Anchors::default();
        let mut header = anchor(SECOND, 3600 * SECOND);
        header.source = SourceName::Recording;
        anchors.note(&header);
        for seconds in 1..100 {
            anchors.note(&anchor(
                seconds * SECOND,
                (3599 + seconds) * SECOND + 900_000,
            ));
        }
        assert_eq!(anchors.known.len(), 1);
        // What the sources say takes the place of the header's.
        assert_eq!(anchors.newest().unwrap().1, 3600 * SECOND + 900_000);
        for seconds in 100..5000 {
            anchors.note(&anchor(seconds * SECOND, 3600 * SECOND));
        }
        assert_eq!(anchors.known.len(), ANCHORS);
        assert_eq!(
            anchors.newest().unwrap().0,
            Timestamp::from_nanos(4999 * SECOND)
        );
    }
}
