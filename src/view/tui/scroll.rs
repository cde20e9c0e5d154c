//! Which part of a text that is longer than its pane is in sight.
//!
//! A history stays at the end, where the newest is, until the user goes back; from then on it stays
//! where it is, however much comes. What is read from the top begins there.

use std::ops::Range;

/// Where a text stands in its pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    /// The first line in sight; `None` is where the text stands until it is moved.
    top: Option<usize>,
    /// Where that is.
    rests: Rests,
    /// How far down it went when it was last drawn.
    lowest: usize,
    /// Lines in sight when it was last drawn.
    height: usize,
}

/// Where a text stands that nobody has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rests {
    Begin,
    #[default]
    End,
}

impl Scroll {
    /// The lines in sight of `total`, in a pane of `height` lines.
    pub(super) fn window(&mut self, total: usize, height: usize) -> Range<usize> {
        self.show(total, height, Rests::End)
    }

    /// As [`Scroll::window`], of a text that is read from its begin.
    pub(super) fn window_from_begin(&mut self, total: usize, height: usize) -> Range<usize> {
        self.show(total, height, Rests::Begin)
    }

    fn show(&mut self, total: usize, height: usize, rests: Rests) -> Range<usize> {
        self.rests = rests;
        self.lowest = total.saturating_sub(height);
        self.height = height;
        let top = self.top().min(self.lowest);
        top..(top + height).min(total)
    }

    fn top(&self) -> usize {
        self.top.unwrap_or(match self.rests {
            Rests::Begin => 0,
            Rests::End => self.lowest,
        })
    }

    /// So many lines towards the begin.
    pub(super) fn up(&mut self, by: usize) {
        // What has become shorter is in sight above where it was left.
        let top = self.top().min(self.lowest);
        self.top = Some(top.saturating_sub(by));
    }

    /// So many lines towards the end; what rests there stays there.
    pub(super) fn down(&mut self, by: usize) {
        let below = self.top().saturating_add(by);
        self.top = match self.rests {
            Rests::End => Some(below).filter(|&top| top < self.lowest),
            Rests::Begin => Some(below.min(self.lowest)),
        };
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
    fn what_is_read_from_its_begin_stays_there() {
        let mut scroll = Scroll::default();
        assert_eq!(scroll.window_from_begin(10, 4), 0..4);
        scroll.down(scroll.page());
        assert_eq!(scroll.window_from_begin(20, 4), 3..7);
        for _ in 0..9 {
            scroll.down(scroll.page());
        }
        assert_eq!(scroll.window_from_begin(20, 4), 16..20);
        assert_eq!(scroll.window_from_begin(21, 4), 16..20);
        // It became shorter meanwhile.
        assert_eq!(scroll.window_from_begin(10, 4), 6..10);
        scroll.up(scroll.page());
        assert_eq!(scroll.window_from_begin(10, 4), 3..7);
    }

    #[test]
    fn what_fits_is_seen_whole() {
        let mut scroll = Scroll::default();
        scroll.up(scroll.page());
        assert_eq!(scroll.window(3, 4), 0..3);
        assert_eq!(scroll.window(0, 4), 0..0);
    }
}
