//! The one door to the clocks. Nothing else in the house may read one.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::model::{Body, Observation, SourceName, Timestamp};

/// `CLOCK_MONOTONIC`, now.
pub fn now() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::Monotonic))
}

/// CPU time that this thread has used.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(nanos(ClockId::ThreadCPUTime))
}

/// The same moment on both clocks, as an observation.
pub fn anchor(source: SourceName) -> Observation {
    Observation {
        host: 0,
        at: now(),
        source,
        body: Body::Clock {
            realtime_ns: nanos(ClockId::Realtime),
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
