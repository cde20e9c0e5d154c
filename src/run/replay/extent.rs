//! From when to when a recording is, and its dates, by headers and last lines.
//!
//! The trap: clocks are set, and the headers know nothing of that; so when a date is asked for, the
//! recording is read for its anchors.

use jiff::tz::TimeZone;

use crate::cli::when::{Extent, When};
use crate::model::{Body, Observation, SourceName, Timestamp};
use crate::source::replay::{Replay, ReplayError};
use crate::view::wall::Anchors;

/// The anchor in the header of the first recording.
pub(in crate::run) fn anchor(replay: &Replay) -> Option<Observation> {
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

/// What these times are resolved with.
///
/// # Errors
/// When the system can't read.
pub(in crate::run) fn extent(
    replay: &Replay,
    whens: &[Option<&When>],
    zone: TimeZone,
) -> Result<Extent, ReplayError> {
    let ends = replay
        .recordings()
        .map(|one| one.last.unwrap_or(one.newest));
    let begin = replay.recordings().map(|one| one.first).min();
    let mut anchors = Anchors::default();
    if let Some(anchor) = anchor(replay) {
        anchors.note(&anchor);
    }
    if replay.is_whole() && whens.iter().flatten().any(|when| when.is_dated()) {
        let mut scout = replay.clone();
        while let Some(observation) = scout.next_observation()? {
            anchors.note(&observation);
        }
    }
    Ok(Extent {
        begin: begin.unwrap_or_default(),
        end: ends.max().unwrap_or_default(),
        grows: !replay.is_whole() || replay.recordings().any(|one| one.last.is_none()),
        anchors,
        zone,
    })
}
