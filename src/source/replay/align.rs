//! One time axis for several recordings: that of the first.
//!
//! Stamps of one boot are of one clock. Others are put together by their anchors, which are as good
//! as the hosts' wall clocks are; what the user knows better is added.

use crate::record::{Anchor, Header};
use crate::source::replay::{Offset, Options, Recorded, ReplayError};

/// What is to be added to stamps of one clock to have them on the axis of another, nanoseconds.
pub(super) fn shift_onto(axis: &Anchor, clock: &Anchor) -> i64 {
    let origin = |anchor: &Anchor| i128::from(anchor.realtime_ns) - i128::from(anchor.monotonic_ns);
    clamped(origin(clock) - origin(axis))
}

fn clamped(nanos: i128) -> i64 {
    let bound = nanos.clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(bound).unwrap_or(0)
}

/// What is to be added to the stamps of each recording.
pub(super) fn shifts(all: &[Recorded], options: &Options) -> Result<Vec<i64>, ReplayError> {
    let Some(axis) = all.first().map(|first| &first.header) else {
        return Err(ReplayError::Nothing);
    };
    let shift = |one: &Recorded| {
        if is_same_boot(axis, &one.header) {
            0
        } else {
            shift_onto(&axis.clock, &one.header.clock)
        }
    };
    let mut shifts: Vec<i64> = all.iter().map(shift).collect();
    for offset in &options.offsets {
        for index in meant(all, offset)? {
            shifts[index] = shifts[index].saturating_add(offset.by);
        }
    }
    keep_the_earliest_on_the_axis(all, &mut shifts);
    Ok(shifts)
}

fn is_same_boot(a: &Header, b: &Header) -> bool {
    a.recording == b.recording || a.boot_id.is_some() && a.boot_id == b.boot_id
}

/// The recordings that an offset is for.
fn meant(all: &[Recorded], offset: &Offset) -> Result<Vec<usize>, ReplayError> {
    let Some(of) = &offset.of else {
        return if all.len() > 1 {
            Ok(vec![1])
        } else {
            Err(ReplayError::NoSecond)
        };
    };
    let by_host = positions(all, |one| one.header.host == *of);
    if !by_host.is_empty() {
        return Ok(by_host);
    }
    let is_file = |path: &std::path::PathBuf| {
        path.as_os_str() == of.as_str() || path.file_name().is_some_and(|name| name == of.as_str())
    };
    let by_file = positions(all, |one| one.files.iter().any(is_file));
    if by_file.is_empty() {
        return Err(ReplayError::NotOffered {
            of: of.escape_default().to_string(),
            given: given(all),
        });
    }
    Ok(by_file)
}

fn positions(all: &[Recorded], is_meant: impl Fn(&Recorded) -> bool) -> Vec<usize> {
    let with_index = all.iter().enumerate();
    with_index
        .filter(|(_, one)| is_meant(one))
        .map(|(index, _)| index)
        .collect()
}

/// Hosts and files, for a message.
fn given(all: &[Recorded]) -> String {
    let mut names: Vec<String> = Vec::new();
    for one in all {
        let host = one.header.host.escape_default().to_string();
        let files = one.files.iter().map(|file| file.display().to_string());
        for name in std::iter::once(host).chain(files) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.join(", ")
}

/// A recording from before the first one's clock began would have no stamps: all are moved then.
fn keep_the_earliest_on_the_axis(all: &[Recorded], shifts: &mut [i64]) {
    let begins = all
        .iter()
        .zip(shifts.iter())
        .map(|(one, shift)| i128::from(one.header.clock.monotonic_ns) + i128::from(*shift));
    let lacking = clamped(-begins.min().unwrap_or(0).min(0));
    for shift in shifts {
        *shift = shift.saturating_add(lacking);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_is_the_same_on_the_axis() {
        let axis = Anchor {
            monotonic_ns: 100,
            realtime_ns: 1_000_100,
        };
        let clock = Anchor {
            monotonic_ns: 7_000,
            realtime_ns: 1_000_350,
        };
        assert_eq!(7_000 + shift_onto(&axis, &clock), 350);
        assert_eq!(shift_onto(&axis, &axis), 0);
    }

    #[test]
    fn clocks_that_are_absurdly_far_apart_do_not_overflow() {
        let early = Anchor {
            monotonic_ns: u64::MAX,
            realtime_ns: 0,
        };
        let late = Anchor {
            monotonic_ns: 0,
            realtime_ns: u64::MAX,
        };
        assert_eq!(shift_onto(&early, &late), i64::MAX);
        assert_eq!(shift_onto(&late, &early), i64::MIN);
    }
}
