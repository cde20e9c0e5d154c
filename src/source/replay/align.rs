//! One time axis for several recordings: that of the first.
//!
//! Stamps of one boot are of one clock. Others are put together by their anchors, which are as good
//! as the hosts' wall clocks are; what the user knows better is added.

use std::path::{Path, PathBuf};

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

/// What is to be added to the stamps of one recording.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shift {
    /// All of it, nanoseconds.
    pub(super) all: i64,
    /// What of it the user has said.
    pub(super) given: i64,
}

/// What is to be added to the stamps of each recording.
pub(super) fn shifts(all: &[Recorded], options: &Options) -> Result<Vec<Shift>, ReplayError> {
    let Some(axis) = all.first().map(|first| &first.header) else {
        return Err(ReplayError::Nothing);
    };
    // The first of a boot speaks for all of it: the wall clock may have been set since.
    let shift = |one: &Recorded| {
        let first = all
            .iter()
            .map(|other| &other.header)
            .find(|other| is_one_clock(other, &one.header))
            .unwrap_or(&one.header);
        if is_one_clock(axis, first) {
            0
        } else {
            shift_onto(&axis.clock, &first.clock)
        }
    };
    let mut given = vec![0_i64; all.len()];
    for offset in &options.offsets {
        let index = meant(all, offset)?;
        given[index] = given[index].saturating_add(offset.by);
    }
    let with_given = all.iter().map(shift).zip(&given);
    let mut shifts: Vec<i64> = with_given
        .map(|(shift, given)| shift.saturating_add(*given))
        .collect();
    keep_the_earliest_on_the_axis(all, &mut shifts);
    Ok(shifts
        .into_iter()
        .zip(given)
        .map(|(all, given)| Shift { all, given })
        .collect())
}

/// Whether both are of one boot, so that their stamps are of one clock.
pub(super) fn is_one_clock(a: &Header, b: &Header) -> bool {
    a.recording == b.recording || a.boot_id.is_some() && a.boot_id == b.boot_id
}

/// The recording that an offset is for.
fn meant(all: &[Recorded], offset: &Offset) -> Result<usize, ReplayError> {
    let Some(of) = &offset.of else {
        return if all.len() > 1 {
            Ok(1)
        } else {
            Err(ReplayError::NoSecond)
        };
    };
    let named = Path::new(of);
    let is_path = |file: &PathBuf| plain(file) == plain(named);
    let is_name = |file: &PathBuf| file.file_name() == Some(named.as_os_str());
    let ways = [
        positions(all, |one| one.header.host == *of),
        positions(all, |one| one.files.iter().any(is_path)),
        positions(all, |one| one.files.iter().any(is_name)),
    ];
    // A file may be called as a host that several recordings have.
    if let Some(index) = ways.iter().find_map(|way| match way[..] {
        [only] => Some(only),
        _ => None,
    }) {
        return Ok(index);
    }
    let several = ways.into_iter().find(|way| !way.is_empty());
    let of = of.escape_default().to_string();
    Err(match several {
        Some(several) => ReplayError::SeveralOffered {
            of,
            files: files(several.into_iter().filter_map(|index| all.get(index))),
        },
        None => ReplayError::NotOffered {
            of,
            given: given(all),
        },
    })
}

/// `./b.jsonl` and `b.jsonl` are one file.
fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

/// One file of each, for a message.
fn files<'a>(all: impl Iterator<Item = &'a Recorded>) -> String {
    let first = all.filter_map(|one| one.files.first());
    let names: Vec<String> = first.map(|file| file.display().to_string()).collect();
    names.join(", ")
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
