//! One offset out of an interval of them, and how it is written.
//!
//! The trap: an offset that is rounded for the eye may lie outside of the interval that it was
//! taken from, and would then mend nothing.

use crate::diagnosis::causality::constraint::Bounds;

/// So many connections are kept for the case that no offset satisfies all.
const KEPT: usize = 512;

/// The middle when both bounds are known, which is the estimate when the ways there and back take
/// the same time; else the known one and `near` more; 0 when there is none.
pub(super) fn choose(bounds: Bounds, near: i64) -> i64 {
    match (bounds.at_least, bounds.at_most) {
        (Some(least), Some(most)) => middle(least, most),
        (Some(least), None) => least.saturating_add(near),
        (None, Some(most)) => most.saturating_sub(near),
        (None, None) => 0,
    }
}

fn middle(least: i64, most: i64) -> i64 {
    let middle = i128::midpoint(i128::from(least), i128::from(most));
    i64::try_from(middle).unwrap_or(least)
}

/// What some of the connections allow, evenly taken from all.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    kept: Vec<Bounds>,
    /// One in so many is kept.
    one_in: u64,
    seen: u64,
}

impl Crowd {
    pub(super) const fn new() -> Self {
        Self {
            kept: Vec::new(),
            one_in: 1,
            seen: 0,
        }
    }

    pub(super) fn add(&mut self, bounds: Bounds) {
        if self.seen.is_multiple_of(self.one_in) {
            if self.kept.len() == KEPT {
                let mut is_even = false;
                self.kept.retain(|_| {
                    is_even = !is_even;
                    is_even
                });
                self.one_in *= 2;
            }
            if self.seen.is_multiple_of(self.one_in) {
                self.kept.push(bounds);
            }
        }
        self.seen += 1;
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.kept.len()
    }

    /// The offsets that satisfy the most of them: where most of them overlap.
    pub(super) fn overlap(&self) -> Bounds {
        let edges = || {
            let bounds = self.kept.iter();
            bounds.flat_map(|bounds| [bounds.at_least, bounds.at_most])
        };
        let satisfied = |offset: i64| {
            let fits = |bounds: &&Bounds| bounds.contains(offset);
            self.kept.iter().filter(fits).count()
        };
        let most = edges()
            .flatten()
            .map(|edge| (satisfied(edge), edge))
            .max_by_key(|&(count, edge)| (count, std::cmp::Reverse(edge.unsigned_abs()), edge));
        let Some((_, edge)) = most else {
            return Bounds::NONE;
        };
        let fits = |bounds: &&Bounds| bounds.contains(edge);
        let overlap = self.kept.iter().filter(fits);
        overlap.fold(Bounds::NONE, |all, bounds| all.and(*bounds))
    }
}

/// The offset with as few digits as lie in the interval, three at least, and a unit.
pub(super) fn written(offset: i64, inside: Bounds) -> String {
    let rounded = rounded(offset, inside).unsigned_abs();
    let (unit, name) = match rounded {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, part) = (rounded / unit, rounded % unit);
    let sign = if offset < 0 { "-" } else { "" };
    let mut text = format!("{sign}{whole}");
    if part > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{part:0width$}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text + name
}

/// The offset rounded to as few digits as still lie in the interval.
fn rounded(offset: i64, inside: Bounds) -> i64 {
    let digits = offset.unsigned_abs().checked_ilog10().unwrap_or(0);
    (0..digits.saturating_sub(1))
        .rev()
        .map(|zeros| {
            let step = 10i64.pow(zeros);
            let half = offset.signum() * (step / 2);
            offset.saturating_add(half) / step * step
        })
        .find(|&round| !inside.contains(offset) || inside.contains(round))
        .unwrap_or(offset)
}
