//! The axis: which column a moment falls in, and which moment a column stands for.
//!
//! Proportional to time, or to the order of steps: each step then has as much room as the next,
//! however long it took, so that a teardown of 100 µs within an hour can be read beside it.
//!
//! The traps: an axis that moves by fractions of a column makes every edge flicker. Columns of time
//! are whole multiples of a fixed length since the clock's start, so the picture moves column by
//! column and an edge that is settled stays in its cell. And the right edge need not be the present.

mod order;
mod zoom;

use std::rc::Rc;
use std::time::Duration;

use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::view::duration;
use order::Order;
pub(super) use zoom::Zoom;

/// The moments in sight.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    width: u16,
}

#[derive(Clone, Debug)]
enum Scale {
    /// Columns of equal length, the last of which holds the right edge.
    Time {
        column_ns: u64,
        /// The number of the last column since the clock's start.
        last: u64,
    },
    Order(Order),
}

impl Axis {
    /// So much time as `zoom` says, up to `right`.
    pub(super) fn new(right: Timestamp, zoom: Zoom, width: u16) -> Self {
        let column_ns = column_ns(zoom, width);
        let last = right.nanos() / column_ns;
        Self {
            scale: Scale::Time { column_ns, last },
            width,
        }
    }

    /// Steps at equal distances, in the order of time, up to `right`; `None` where there are none.
    pub(super) fn in_order(
        steps: Rc<[Timestamp]>,
        right: Timestamp,
        zoom: Zoom,
        width: u16,
    ) -> Option<Self> {
        let order = Order::new(steps, right, zoom, width)?;
        Some(Self {
            scale: Scale::Order(order),
            width,
        })
    }

    pub(super) const fn width(&self) -> u16 {
        self.width
    }

    /// The column of a moment; negative left of what is in sight, `width` or more right of it.
    pub(super) fn column(&self, at: Timestamp) -> i64 {
        match &self.scale {
            Scale::Time { column_ns, last } => {
                let number = (at.nanos() / column_ns).cast_signed();
                number - last.cast_signed() + i64::from(self.width) - 1
            }
            Scale::Order(order) => order.column(at),
        }
    }

    /// The first moment of a column, which may lie out of sight.
    pub(super) fn moment(&self, column: i64) -> Timestamp {
        match &self.scale {
            Scale::Time { column_ns, last } => {
                let number = last.cast_signed() + column + 1 - i64::from(self.width);
                let number = u64::try_from(number).unwrap_or(0);
                Timestamp::from_nanos(number.saturating_mul(*column_ns))
            }
            Scale::Order(order) => order.moment(column),
        }
    }

    /// Labels, from the right to the left: each ends in its column.
    pub(super) fn ticks(&self) -> Vec<(u16, String)> {
        match &self.scale {
            Scale::Time { column_ns, .. } => self.distances(*column_ns),
            Scale::Order(order) => order.labels(),
        }
    }

    /// Distances from the right edge.
    fn distances(&self, column_ns: u64) -> Vec<(u16, String)> {
        let step = tick_distance(column_ns);
        let ticks = (1..=self.width / 2).map_while(|n| {
            let back = step * u32::from(n);
            let columns = u16::try_from(nanos_of(back) / column_ns).ok()?;
            let column = self.width.checked_sub(columns + 1)?;
            Some((column, format!("-{}", tick_label(back))))
        });
        ticks.collect()
    }
}

fn column_ns(zoom: Zoom, width: u16) -> u64 {
    (nanos_of(zoom.span()) / u64::from(width.max(1))).max(1)
}

/// The right edge that leaves `at` in its column, from the left, at another zoom.
pub(super) fn edge_around(at: Timestamp, column: u16, zoom: Zoom, width: u16) -> Timestamp {
    let right = u64::from(width.saturating_sub(column + 1));
    at.plus(Duration::from_nanos(
        right.saturating_mul(column_ns(zoom, width)),
    ))
}

/// The shortest round distance whose labels do not touch.
fn tick_distance(column_ns: u64) -> Duration {
    /// In microseconds: 1, 2 and 5 of each unit, and what divides minutes, hours and days.
    const ROUND: [u64; 36] = [
        1,
        2,
        5,
        10,
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
        14_400_000_000,
        21_600_000_000,
        43_200_000_000,
        86_400_000_000,
    ];
    const LABEL: u64 = 12;
    let room = LABEL * column_ns;
    ROUND
        .into_iter()
        .map(Duration::from_micros)
        .find(|&distance| nanos_of(distance) >= room)
        .unwrap_or(Duration::from_secs(86_400))
}

/// Seconds and less with a fraction only where there is one, so that no two labels are alike.
fn tick_label(back: Duration) -> String {
    let micros = back.as_micros();
    let (unit, name) = match micros {
        0..1000 => (1, "\u{b5}s"),
        1000..1_000_000 => (1000, "ms"),
        1_000_000..60_000_000 => (1_000_000, "s"),
        _ => return duration::brief(back),
    };
    match micros % unit * 10 / unit {
        0 => format!("{} {name}", micros / unit),
        tenths => format!("{}.{tenths} {name}", micros / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_edge_is_in_the_last_column() {
        let now = Timestamp::from_nanos(1_234_567_890_123);
        let axis = Axis::new(now, Zoom::default(), 80);
        assert_eq!(axis.column(now), 79);
        assert_eq!(axis.column(now.minus(Duration::from_secs(10))), 39);
        assert!(axis.column(now.minus(Duration::from_secs(21))) < 0);
        assert!(axis.column(now.plus(Duration::from_secs(1))) > 79);
    }

    #[test]
    fn a_column_and_its_first_moment_are_inverse() {
        let right = Timestamp::from_nanos(1 << 50);
        let steps: Rc<[Timestamp]> = [3, 4, 900, 1000, 70_000]
            .map(|us: u64| right.minus(Duration::from_micros(us)))
            .into_iter()
            .rev()
            .collect();
        for width in [1, 20, 71, 168] {
            let mut zoom = Zoom::closest();
            for _ in 0..Zoom::COUNT {
                let ordered = Axis::in_order(steps.clone(), right, zoom, width);
                for axis in [Some(Axis::new(right, zoom, width)), ordered] {
                    let axis = axis.unwrap();
                    for column in 0..i64::from(width) {
                        let back = axis.column(axis.moment(column));
                        // Where a column is shorter than a nanosecond there is nothing between.
                        assert!(back <= column, "{column} came back as {back}: {axis:?}");
                    }
                    let columns = (0..1000).map(|us| {
                        axis.column(right.minus(Duration::from_micros(70_000 - us * 70)))
                    });
                    assert!(columns.is_sorted());
                }
                zoom = zoom.farther();
            }
        }
    }

    #[test]
    fn zooming_around_a_moment_leaves_it_in_its_column() {
        let at = Timestamp::from_nanos(1 << 50);
        let mut zoom = Zoom::closest();
        for _ in 0..Zoom::COUNT {
            for column in [0, 17, 70] {
                let axis = Axis::new(edge_around(at, column, zoom, 71), zoom, 71);
                assert_eq!(axis.column(at), i64::from(column));
            }
            zoom = zoom.farther();
        }
    }

    #[test]
    fn ticks_do_not_touch() {
        for width in [20, 31, 71, 111, 300] {
            let mut zoom = Zoom::closest();
            for _ in 0..Zoom::COUNT {
                let axis = Axis::new(Timestamp::from_nanos(1 << 60), zoom, width);
                let ticks = axis.ticks();
                let labels: std::collections::HashSet<&String> =
                    ticks.iter().map(|(_, label)| label).collect();
                assert_eq!(labels.len(), ticks.len(), "{labels:?}");
                assert!(
                    ticks.windows(2).all(|pair| pair[0].0 >= pair[1].0 + 11),
                    "{ticks:?}"
                );
                zoom = zoom.farther();
            }
        }
    }
}
