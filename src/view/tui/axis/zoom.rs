//! How much time is in sight: from what a few segments take on loopback to a day.

use std::time::Duration;

/// A step of the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view::tui) struct Zoom(usize);

/// In microseconds: a whole teardown on loopback takes a hundred.
const SPANS: [u64; 28] = [
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
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    7_200_000_000,
    21_600_000_000,
    43_200_000_000,
    86_400_000_000,
];

impl Default for Zoom {
    /// 20 s: a teardown by hand, and not yet a TIME_WAIT.
    fn default() -> Self {
        Self(19)
    }
}

impl Zoom {
    /// How many steps there are.
    #[cfg(test)]
    pub(in crate::view::tui) const COUNT: usize = SPANS.len();

    #[cfg(test)]
    pub(in crate::view::tui) const fn closest() -> Self {
        Self(0)
    }

    pub(in crate::view::tui) fn span(self) -> Duration {
        let step = self.0.min(SPANS.len() - 1);
        Duration::from_micros(SPANS[step])
    }

    /// The closest one that shows all of `wanted`.
    pub(in crate::view::tui) fn showing(wanted: Duration) -> Self {
        let all = SPANS
            .iter()
            .position(|&span| Duration::from_micros(span) >= wanted);
        Self(all.unwrap_or(SPANS.len() - 1))
    }

    pub(in crate::view::tui) const fn closer(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    pub(in crate::view::tui) const fn farther(self) -> Self {
        Self(if self.0 + 1 < SPANS.len() {
            self.0 + 1
        } else {
            self.0
        })
    }

    /// Its place in the table, from the closest.
    pub(super) const fn step(self) -> usize {
        self.0
    }
}
