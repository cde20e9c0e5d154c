//! The time axis: which column a moment falls in, how much time is in sight, and where the ticks
//! are.
//!
//! The trap: an axis that moves by fractions of a column makes every edge flicker. Columns are
//! whole multiples of a fixed length since the clock's start, so the picture moves column by
//! column and an edge that is settled stays in its cell.

use std::time::Duration;

use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::view::duration;

/// How much time is in sight: a step of the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zoom(usize);

/// In microseconds: a whole teardown on loopback takes a hundred.
const SPANS: [u64; 21] = [
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
];

impl Default for Zoom {
    /// 20 s: a teardown by hand, and not yet a TIME_WAIT.
    fn default() -> Self {
        Self(16)
    }
}

impl Zoom {
    pub(super) fn span(self) -> Duration {
        let step = self.0.min(SPANS.len() - 1);
        Duration::from_micros(SPANS[step])
    }

    /// The closest one that shows all of `wanted`.
    pub(super) fn showing(wanted: Duration) -> Self {
        let all = SPANS
            .iter()
            .position(|&span| Duration::from_micros(span) >= wanted);
        Self(all.unwrap_or(SPANS.len() - 1))
    }

    pub(super) const fn closer(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    pub(super) fn farther(self) -> Self {
        Self((self.0 + 1).min(SPANS.len() - 1))
    }
}

/// Columns of equal length, the last of which holds the moment of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    column_ns: u64,
    /// The number of the last column since the clock's start.
    last: u64,
    width: u16,
}

impl Axis {
    pub(super) fn new(at: Timestamp, zoom: Zoom, width: u16) -> Self {
        let column_ns = (nanos_of(zoom.span()) / u64::from(width.max(1))).max(1);
        Self {
            column_ns,
            last: at.nanos() / column_ns,
            width,
        }
    }

    pub(super) const fn width(&self) -> u16 {
        self.width
    }

    /// The column of a moment; negative left of what is in sight.
    pub(super) fn column(&self, at: Timestamp) -> i64 {
        let number = (at.nanos() / self.column_ns).cast_signed();
        number - self.last.cast_signed() + i64::from(self.width) - 1
    }

    /// Distances from now at which the axis is labelled, with their columns.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (u16, String)> {
        let step = self.tick_distance();
        (1..=self.width / 2).map_while(move |n| {
            let back = step * u32::from(n);
            let columns = u16::try_from(nanos_of(back) / self.column_ns).ok()?;
            let column = self.width.checked_sub(columns + 1)?;
            Some((column, tick_label(back)))
        })
    }

    /// The shortest round distance whose labels do not touch.
    fn tick_distance(&self) -> Duration {
        /// In microseconds.
        const ROUND: [u64; 28] = [
            20,
            50,
            100,
            200,
            500,
            1000,
            2000,
            5000,
            10_000,
            20_000,
            50_000,
            100_000,
            200_000,
            500_000,
            1_000_000,
            2_000_000,
            5_000_000,
            10_000_000,
            20_000_000,
            30_000_000,
            60_000_000,
            120_000_000,
            300_000_000,
            600_000_000,
            1_200_000_000,
            1_800_000_000,
            3_600_000_000,
            7_200_000_000,
        ];
        const LABEL: u64 = 12;
        let room = LABEL * self.column_ns;
        ROUND
            .into_iter()
            .map(Duration::from_micros)
            .find(|&distance| nanos_of(distance) >= room)
            .unwrap_or(Duration::from_secs(3600))
    }
}

/// Seconds and less with a fraction only where there is one, so that no two labels are alike.
fn tick_label(back: Duration) -> String {
    let micros = back.as_micros();
    let (unit, name) = match micros {
        0..1000 => (1, "\u{b5}s"),
        1000..1_000_000 => (1000, "ms"),
        1_000_000..60_000_000 => (1_000_000, "s"),
        _ => return format!("-{}", duration::brief(back)),
    };
    match micros % unit * 10 / unit {
        0 => format!("-{} {name}", micros / unit),
        tenths => format!("-{}.{tenths} {name}", micros / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_is_in_the_last_column() {
        let now = Timestamp::from_nanos(1_234_567_890_123);
        let axis = Axis::new(now, Zoom::default(), 80);
        assert_eq!(axis.column(now), 79);
        assert_eq!(axis.column(now.minus(Duration::from_secs(10))), 39);
        assert!(axis.column(now.minus(Duration::from_secs(21))) < 0);
    }

    #[test]
    fn ticks_do_not_touch() {
        for width in [20, 31, 71, 111, 300] {
            let mut zoom = Zoom(0);
            for _ in SPANS {
                let axis = Axis::new(Timestamp::from_nanos(1 << 50), zoom, width);
                let columns: Vec<u16> = axis.ticks().map(|(column, _)| column).collect();
                let labels: std::collections::HashSet<String> =
                    axis.ticks().map(|(_, label)| label).collect();
                assert_eq!(labels.len(), columns.len(), "{labels:?}");
                assert!(
                    columns.windows(2).all(|pair| pair[0] >= pair[1] + 11),
                    "{columns:?}"
                );
                zoom = zoom.farther();
            }
        }
    }
}
