//! Where things stand in a row: time, step, what A did, the segments, what B did.

/// The columns of a pane; two lifelines of one column each stand beside the middle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) time: usize,
    /// With a space behind it.
    pub(super) step: usize,
    /// What stands beside a lifeline, with a space between them where there is room for it.
    pub(super) side: usize,
    pub(super) middle: usize,
    pub(super) width: usize,
}

/// `ESTABLISHED`.
const LEAST_SIDE: usize = 11;
/// Longer lines are not read more easily.
const MOST_SIDE: usize = 46;

impl Columns {
    pub(super) fn of(width: u16) -> Self {
        let width = usize::from(width);
        let (time, step) = match width {
            ..60 => (8, 2),
            60..100 => (12, 4),
            _ => (16, 4),
        };
        let lifelines = 2;
        let rest = width.saturating_sub(time + step + lifelines);
        let side = (rest * 7 / 20).clamp(LEAST_SIDE, MOST_SIDE);
        let middle = rest.saturating_sub(2 * side).min(48);
        Self {
            time,
            step,
            side,
            middle,
            width,
        }
    }

    /// What fits beside a lifeline.
    pub(super) const fn text(&self) -> usize {
        if self.side > LEAST_SIDE {
            self.side - 1
        } else {
            self.side
        }
    }

    /// Where what A did begins.
    pub(super) const fn indent(&self) -> usize {
        self.time + self.step
    }

    /// What fits above a lifeline: beside it, and it.
    pub(super) const fn name(&self) -> usize {
        self.side + 1
    }

    /// What fits where no lifelines are drawn.
    pub(super) const fn across(&self) -> usize {
        self.width.saturating_sub(self.indent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_fits_however_narrow() {
        for width in 40..=300 {
            let columns = Columns::of(width);
            let taken = columns.indent() + 2 * columns.name() + columns.middle;
            assert!(taken <= usize::from(width), "{width}: {columns:?}");
            assert!(columns.middle >= 6, "{width}: {columns:?}");
        }
    }
}
