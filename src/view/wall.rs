//! Monotonic stamps as times of day, by the newest anchor that the sources gave.
//!
//! Reads no clock: the anchor is an observation. Before the first one there is no date, and a
//! stamp prints as seconds since the clock's start.

use jiff::tz::TimeZone;

use crate::model::{Body, Observation, Timestamp};

/// Turns stamps into times of day.
#[derive(Clone, Debug)]
pub struct WallClock {
    zone: TimeZone,
    anchor: Option<(Timestamp, u64)>,
}

impl WallClock {
    /// Times in this zone.
    pub const fn new(zone: TimeZone) -> Self {
        Self { zone, anchor: None }
    }

    /// Takes in an anchor, if this is one.
    pub fn note(&mut self, observation: &Observation) {
        if let Body::Clock { realtime_ns } = observation.body {
            self.anchor = Some((observation.at, realtime_ns));
        }
    }

    /// The anchor: the same moment on the monotonic clock, and in nanoseconds since 1970.
    pub const fn anchor(&self) -> Option<(Timestamp, u64)> {
        self.anchor
    }

    /// `12:03:04.512`, to the millisecond.
    pub fn time_of_day(&self, at: Timestamp) -> String {
        self.zoned(at).map_or_else(
            || format!("{:.3}", at.nanos() as f64 / 1e9),
            |zoned| zoned.strftime("%H:%M:%S%.3f").to_string(),
        )
    }

    fn zoned(&self, at: Timestamp) -> Option<jiff::Zoned> {
        let (monotonic, realtime) = self.anchor?;
        let nanos = i128::from(realtime) + i128::from(at.nanos()) - i128::from(monotonic.nanos());
        let stamp = jiff::Timestamp::from_nanosecond(nanos).ok()?;
        Some(stamp.to_zoned(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceName;

    #[test]
    fn a_stamp_is_a_time_of_day_once_there_is_an_anchor() {
        let mut clock = WallClock::new(TimeZone::UTC);
        let at = Timestamp::from_nanos(5_250_000_000);
        assert_eq!(clock.time_of_day(at), "5.250");
        clock.note(&Observation {
            at: Timestamp::from_nanos(1_000_000_000),
            source: SourceName::SockDiag,
            body: Body::Clock {
                realtime_ns: 1_700_000_000_000_000_000,
            },
        });
        assert_eq!(clock.time_of_day(at), "22:13:24.250");
        assert_eq!(clock.time_of_day(Timestamp::from_nanos(0)), "22:13:19.000");
    }
}
