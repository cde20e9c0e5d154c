//! Which part of a text that is longer than its pane is in sight.
//!
//! It stays at the end, where the newest is, until the user goes back; from then on it stays where
//! it is, however much comes.

use std::ops::Range;

/// Where a text stands in its pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    /// The first line in sight; `None` is as far down as it goes.
    top: Option<usize>,
    /// How far down it went when it was last drawn.
    lowest: usize,
    /// Lines in sight when it was last drawn.
    height: usize,
}

impl Scroll {
    /// The lines in sight of `total`, in a pane of `height` lines.
    pub(super) fn window(&mut self, total: usize, height: usize) -> Range<usize> {
        self.lowest = total.saturating_sub(height);
        self.height = height;
        let top = self.top.map_or(self.lowest, |top| top.min(self.lowest));
        top..(top + height).min(total)
    }

    /// One that begins at the top, for a text that does not grow.
    pub(super) const fn from_the_top() -> Self {
        Self {
            top: Some(0),
            lowest: 0,
            height: 0,
        }
    }

    /// So many lines towards the begin.
    pub(super) fn up(&mut self, by: usize) {
        let top = self.top.unwrap_or(self.lowest).min(self.lowest);
        self.top = Some(top.saturating_sub(by));
    }

    /// So many lines towards the end, where it stays.
    pub(super) fn down(&mut self, by: usize) {
        let top = self.top.map(|top| top + by);
        self.top = top.filter(|&top| top < self.lowest);
    }

    /// Lines of a page. One of the page before is still there, so that the place is found again.
    pub(super) const fn page(&self) -> usize {
        if self.height < 2 { 1 } else { self.height - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_at_the_end_until_it_is_moved() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.window(10, 4), 6..10);
        assert_eq!(scroll.window(11, 4), 7..11);
        scroll.up(scroll.page());
        assert_eq!(scroll.window(12, 4), 4..8);
        assert_eq!(scroll.window(20, 4), 4..8);
        for _ in 0..9 {
            scroll.up(scroll.page());
        }
        assert_eq!(scroll.window(20, 4), 0..4);
        for _ in 0..9 {
            scroll.down(scroll.page());
        }
        assert_eq!(scroll.window(20, 4), 16..20);
        assert_eq!(scroll.window(21, 4), 17..21);
    }

    #[test]
    fn what_fits_is_seen_whole() {
        let mut scroll = Scroll::default();
        scroll.up(scroll.page());
        assert_eq!(scroll.window(3, 4), 0..3);
        assert_eq!(scroll.window(0, 4), 0..0);
    }
}
