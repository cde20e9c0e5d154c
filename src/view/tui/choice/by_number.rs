//! All connections by their numbers, which is how the list is without a wish of the user.
//!
//! Nothing here counts or walks all of them unless the user's filter chooses among them: there can be
//! twenty thousand, and ten thousand more a second.

use crate::timeline::{ConnId, Connection};
use crate::view::tui::choice::Chosen;

/// A part of the list that moves only when the chosen connection would leave it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::view::tui) struct Window {
    top: Option<ConnId>,
}

impl Window {
    /// The connections in sight, at most `height` of them, `focus` among them.
    pub(in crate::view::tui) fn rows<'a>(
        &mut self,
        chosen: Chosen<'a>,
        focus: ConnId,
        height: usize,
    ) -> Vec<&'a Connection> {
        if height == 0 {
            return Vec::new();
        }
        let top = self.top.unwrap_or(focus).min(focus);
        let mut rows: Vec<_> = chosen.from(top).take(height).collect();
        if rows.last().is_none_or(|last| last.id() < focus) {
            rows = chosen
                .above(ConnId(focus.0.saturating_add(1)))
                .take(height)
                .collect();
            rows.reverse();
        }
        fill_from_above(&mut rows, chosen, height);
        self.top = rows.first().map(|row| row.id());
        rows
    }
}

/// A short rest at the end of the list is shown with what precedes it.
fn fill_from_above<'a>(rows: &mut Vec<&'a Connection>, chosen: Chosen<'a>, height: usize) {
    let Some(first) = rows.first().filter(|_| rows.len() < height) else {
        return;
    };
    let mut filled: Vec<_> = chosen.above(first.id()).take(height - rows.len()).collect();
    filled.reverse();
    filled.append(rows);
    *rows = filled;
}
