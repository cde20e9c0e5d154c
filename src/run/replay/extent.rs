//! From when to when a recording is, and its dates, as far as headers and last lines say.

use jiff::tz::TimeZone;

use crate::cli::when::Extent;
use crate::model::{Body, Observation, SourceName, Timestamp};
use crate::source::replay::Replay;

/// The anchor in the header of the first recording.
pub(super) fn anchor(replay: &Replay) -> Option<Observation> {
    let first = replay.recordings().next()?;
    let clock = first.header.clock;
    Some(Observation {
        at: Timestamp::from_nanos(clock.monotonic_ns).shifted(first.shift),
        host: 0,
        source: SourceName::Recording,
        body: Body::Clock {
            realtime_ns: clock.realtime_ns,
        },
    })
}

/// What a time is resolved with, by the headers.
pub(super) fn extent(replay: &Replay, end: Timestamp, zone: TimeZone) -> Extent {
    let anchor = anchor(replay).and_then(|told| match told.body {
        Body::Clock { realtime_ns } => Some((told.at, realtime_ns)),
        _ => None,
    });
    let begin = replay.recordings().map(|one| one.first).min();
    Extent {
        begin: begin.unwrap_or_default(),
        end,
        anchor,
        zone,
    }
}
