//! An axis on which each step has as much room as the next.
//!
//! Between two steps columns are proportional to time; before the first there is none, behind the
//! last the time up to the right edge has the room that is left. When there are more steps than have
//! room, the newest before the right edge are in sight.

use std::rc::Rc;
use std::time::Duration;

use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::view::duration::brief;
use crate::view::tui::axis::Zoom;

/// Columns of a step at least, at the default zoom: a short state's name, and its length above it.
const ROOM: u16 = 10;

#[derive(Clone, Debug)]
pub(super) struct Order {
    steps: Rc<[Timestamp]>,
    /// Those in sight, from this one to the last that is not later than the right edge.
    first: usize,
    /// The end of the axis behind the last step.
    right: Timestamp,
    count: usize,
    width: u16,
}

impl Order {
    pub(super) fn new(
        steps: Rc<[Timestamp]>,
        right: Timestamp,
        zoom: Zoom,
        width: u16,
    ) -> Option<Self> {
        let known = steps.partition_point(|&step| step <= right);
        let most = usize::from((width / room(zoom)).max(1));
        let count = known.min(most);
        (count > 0).then(|| Self {
            first: known - count,
            right,
            count,
            steps,
            width,
        })
    }

    /// Where a step stands, counted from the first in sight; the end of the axis stands behind them.
    fn place(&self, number: usize) -> i64 {
        let place = number * usize::from(self.width) / self.count;
        i64::try_from(place).unwrap_or(i64::MAX)
    }

    fn bounds(&self, number: usize) -> (Timestamp, Timestamp) {
        let from = self.steps[self.first + number];
        let next = number + 1;
        let to = match next < self.count {
            true => self.steps[self.first + next],
            false => self.right,
        };
        (from, to)
    }

    pub(super) fn column(&self, at: Timestamp) -> i64 {
        let shown = &self.steps[self.first..self.first + self.count];
        let before = shown.partition_point(|&step| step <= at);
        let Some(number) = before.checked_sub(1) else {
            return -1;
        };
        let (from, to) = self.bounds(number);
        let (left, right) = (self.place(number), self.place(number + 1));
        if number + 1 == self.count && at >= to {
            // The right edge itself is in the last column.
            return if at == to { right - 1 } else { right };
        }
        let share = share_of(at.since(from), to.since(from), right - left);
        left + share.min(right - left - 1).max(0)
    }

    pub(super) fn moment(&self, column: i64) -> Timestamp {
        let places = 0..self.count;
        let number = places
            .rev()
            .find(|&number| self.place(number) <= column)
            .unwrap_or(0);
        let (from, to) = self.bounds(number);
        let (left, right) = (self.place(number), self.place(number + 1));
        let columns = u64::try_from(column - left).unwrap_or(0);
        let all = u64::try_from(right - left).unwrap_or(1).max(1);
        let nanos = u128::from(nanos_of(to.since(from))) * u128::from(columns) / u128::from(all);
        from.plus(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    /// How long it took from each step to the next, from the right to the left.
    pub(super) fn labels(&self) -> Vec<(u16, String)> {
        let mut labels = Vec::with_capacity(self.count);
        for number in (0..self.count).rev() {
            let (from, to) = self.bounds(number);
            let (left, right) = (self.place(number), self.place(number + 1));
            let text = label(to.since(from));
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            let end = left + (right - left + length) / 2 - 1;
            if let Ok(end) = u16::try_from(end)
                && length > 0
                && length < right - left
            {
                labels.push((end, text));
            }
        }
        labels
    }
}

/// Columns of a step at a zoom: closer is wider.
fn room(zoom: Zoom) -> u16 {
    let usual = Zoom::default().step();
    let closer = u16::try_from(usual.saturating_sub(zoom.step())).unwrap_or(0);
    let farther = u16::try_from(zoom.step().saturating_sub(usual)).unwrap_or(0);
    (ROOM + 2 * closer).saturating_sub(farther).max(2)
}

/// How long it was from one bound to the next.
fn label(length: Duration) -> String {
    match length {
        Duration::ZERO => String::new(),
        short if short < Duration::from_micros(1) => "<1 \u{b5}s".to_owned(),
        length => brief(length),
    }
}

fn share_of(part: Duration, whole: Duration, of: i64) -> i64 {
    let (part, whole) = (part.as_nanos(), whole.as_nanos().max(1));
    let of = u128::try_from(of).unwrap_or(0);
    i64::try_from(part * of / whole).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Timestamp {
        Timestamp::from_nanos(1_000_000 * 1000 + us * 1000)
    }

    fn order(steps: &[u64], right: u64, width: u16) -> Order {
        let steps = steps.iter().map(|&us| at(us)).collect();
        Order::new(steps, at(right), Zoom::default(), width).unwrap()
    }

    #[test]
    fn a_microsecond_has_as_much_room_as_an_hour() {
        let axis = order(&[0, 100, 3_600_000_000], 3_600_000_100, 60);
        let columns = [0, 50, 99, 100, 1_800_000_100, 3_600_000_000, 3_600_000_100];
        let columns: Vec<i64> = columns.into_iter().map(|us| axis.column(at(us))).collect();
        assert_eq!(columns, [0, 10, 19, 20, 30, 40, 59]);
        assert_eq!(axis.column(at(3_600_000_101)), 60);
        let labels: Vec<String> = axis.labels().into_iter().map(|(_, text)| text).collect();
        assert_eq!(labels, ["100 \u{b5}s", "1 h", "100 \u{b5}s"]);
    }

    #[test]
    fn what_has_no_room_is_out_of_sight_on_the_left() {
        let steps: Vec<u64> = (0..100).map(|n| n * 10).collect();
        let axis = order(&steps, 505, 60);
        assert_eq!(axis.column(at(440)), -1);
        assert_eq!(axis.column(at(450)), 0);
        assert_eq!(axis.column(at(500)), 50);
        assert_eq!(axis.moment(50), at(500));
    }

    #[test]
    fn without_a_step_there_is_no_order() {
        assert!(Order::new([].into(), at(0), Zoom::default(), 60).is_none());
        assert!(Order::new([at(9)].into(), at(0), Zoom::default(), 60).is_none());
        assert_eq!(order(&[5], 5, 60).column(at(5)), 59);
    }
}
