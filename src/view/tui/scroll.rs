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

    /// A page towards the begin.
    pub(super) fn page_up(&mut self) {
        let top = self.top.unwrap_or(self.lowest);
        self.top = Some(top.saturating_sub(self.page()));
    }

    /// A page towards the end, where it stays.
    pub(super) fn page_down(&mut self) {
        let top = self.top.map(|top| top + self.page());
        self.top = top.filter(|&top| top < self.lowest);
    }

    const fn page(&self) -> usize {
        // One line of the page before is still there, so that the place is found again.
        let page = self.height.saturating_sub(1);
        if page == 0 { 1 } else { page }
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
        scroll.page_up();
        assert_eq!(scroll.window(12, 4), 4..8);
        assert_eq!(scroll.window(20, 4), 4..8);
        for _ in 0..9 {
            scroll.page_up();
        }
        assert_eq!(scroll.window(20, 4), 0..4);
        for _ in 0..9 {
            scroll.page_down();
        }
        assert_eq!(scroll.window(20, 4), 16..20);
        assert_eq!(scroll.window(21, 4), 17..21);
    }

    #[test]
    fn what_fits_is_seen_whole() {
        let mut scroll = Scroll::default();
        scroll.page_up();
        assert_eq!(scroll.window(3, 4), 0..3);
        assert_eq!(scroll.window(0, 4), 0..0);
    }
}
