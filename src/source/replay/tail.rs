//! How long a recording is, and when it ends, without reading all of it.
//!
//! The trap: the end can be torn, or be rows, which have no time; so more and more of it is read,
//! and none of it is believed beyond what it is for: to tell what comes first, and how far it is.

use serde::Deserialize;

use crate::model::Timestamp;
use crate::record::Bytes;

/// So much of the end is read at first, and so much at most.
const FIRST: u64 = 64 << 10;
const MOST: u64 = 16 << 20;

/// The number of bytes that there are.
pub(super) fn length(bytes: &dyn Bytes) -> u64 {
    let is_there = |offset: u64| bytes.read_at(&mut [0], offset).is_ok_and(|count| count > 0);
    let mut beyond = 1;
    while is_there(beyond - 1) && beyond < 1 << 62 {
        beyond *= 2;
    }
    // The length lies below `beyond`; what is below `known` is there.
    let mut known = beyond / 2;
    while known < beyond {
        let middle = known + (beyond - known) / 2;
        if is_there(middle) {
            known = middle + 1;
        } else {
            beyond = middle;
        }
    }
    known
}

/// The time of the last line that has one.
pub(super) fn last_time(bytes: &dyn Bytes, length: u64) -> Option<Timestamp> {
    let mut size = FIRST;
    loop {
        let from = length.saturating_sub(size);
        let tail = read(bytes, from, length);
        let mut lines = tail.split(|byte| *byte == b'\n').rev();
        if let Some(at) = lines.find_map(time_of) {
            return Some(at);
        }
        if from == 0 || size >= MOST {
            return None;
        }
        size *= 16;
    }
}

fn read(bytes: &dyn Bytes, from: u64, to: u64) -> Vec<u8> {
    let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    let mut tail = vec![0; wanted];
    let mut there = 0;
    while there < wanted {
        match bytes.read_at(&mut tail[there..], from + there as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => there += count,
        }
    }
    tail.truncate(there);
    tail
}

fn time_of(line: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Timed {
        at: u64,
    }
    let timed: Timed = serde_json::from_slice(line).ok()?;
    Some(Timestamp::from_nanos(timed.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_found() {
        for length_of in [0_usize, 1, 2, 3, 4, 5, 100, 4095, 4096, 4097, 70_001] {
            assert_eq!(length(&vec![b'x'; length_of]), length_of as u64);
        }
    }

    #[test]
    fn the_last_time_is_found_behind_rows_and_a_torn_line() {
        let mut text = String::from("{\"type\":\"unchanged\",\"at\":77}\n");
        for _ in 0..5000 {
            text.push_str("{\"type\":\"row\",\"sock\":1,\"is\":\"missing\"}\n");
        }
        text.push_str("{\"type\":\"unchanged\",\"at\":99");
        let bytes = text.into_bytes();
        let found = last_time(&bytes, length(&bytes));
        assert_eq!(found, Some(Timestamp::from_nanos(77)));
        assert_eq!(last_time(&b"nothing\n".to_vec(), 8), None);
    }
}
