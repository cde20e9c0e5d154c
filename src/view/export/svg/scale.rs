//! The axis of a connection as it is drawn: lines, ticks and their times.
//!
//! The trap: labels that touch can't be read, so one that finds no room is left out, and what tells
//! most takes its room first.

use crate::model::Timestamp;
use crate::view::duration;
use crate::view::export::svg::axis::{Axis, Piece, tick_distance};
use crate::view::export::svg::draw::{Draw, WIDTH};
use crate::view::export::svg::lane::LETTER;
use crate::view::report::About;

/// Lines down from the ticks.
pub(super) fn grid(draw: &mut Draw, axis: &Axis, top: f64, bottom: f64) {
    for piece in axis.pieces.iter().filter(|piece| !piece.broken) {
        for (x, _) in ticks(piece) {
            draw.line("gr", (x, top - 4.0), (x, bottom));
        }
    }
}

/// Places of the ticks of a piece, and how long after its begin they are.
fn ticks(piece: &Piece) -> Vec<(f64, u64)> {
    if piece.to == piece.from {
        return vec![(piece.x + piece.width / 2.0, 0)];
    }
    let step = tick_distance(piece, 74.0);
    let length = piece.to - piece.from;
    (0..=length / step)
        .map(|n| n * step)
        .map(|after| {
            (
                piece.x + piece.width * (after as f64 / length as f64),
                after,
            )
        })
        .collect()
}

/// A row of labels that don't touch.
#[derive(Debug, Default)]
struct Row {
    taken: Vec<(f64, f64)>,
}

impl Row {
    /// Whether there is room for the text around `middle`, which it then takes.
    fn takes(&mut self, middle: f64, text: &str) -> bool {
        let half = text.chars().count() as f64 * LETTER / 2.0 + 2.0;
        let (from, to) = (middle - half, middle + half);
        let is_free = self
            .taken
            .iter()
            .all(|(begin, end)| to <= *begin || *end <= from);
        if is_free {
            self.taken.push((from, to));
        }
        is_free
    }
}

/// The axis with its times; gives where it ends.
pub(super) fn labels(draw: &mut Draw, axis: &Axis, y: f64, about: &About) -> f64 {
    // Where the last label of each row of times of day ends.
    let mut taken = [0.0_f64; 3];
    let mut row = Row::default();
    // How much is left out matters more than how far a tick is.
    for piece in axis.pieces.iter().filter(|piece| piece.broken) {
        let (x1, x2) = (piece.x, piece.x + piece.width);
        draw.line("gr", (x1, y), (x2, y));
        let long = duration::brief(std::time::Duration::from_nanos(piece.to - piece.from));
        let text = format!("\u{2026} {long} \u{2026}");
        let middle = f64::midpoint(x1, x2);
        if let Some(text) = [text, long].iter().find(|text| row.takes(middle, text)) {
            draw.anchored(middle, y + 15.0, "m q", "middle", text);
        }
    }
    for piece in axis.pieces.iter().filter(|piece| !piece.broken) {
        let (x1, x2) = (piece.x, piece.x + piece.width);
        draw.line("ax", (x1, y), (x2, y));
        for (x, after) in ticks(piece) {
            draw.line("ax", (x, y), (x, y + 4.0));
            if after == 0 {
                let time = about.clock.time_of_day(Timestamp::from_nanos(piece.from));
                let width = 15.0 * LETTER + 8.0;
                let from = (x - 4.0).min(WIDTH - 20.0 - width);
                let row = taken.iter().position(|end| *end <= from);
                if let Some(row) = row {
                    taken[row] = from + width;
                    let down = y + 30.0 + 13.0 * row as f64;
                    draw.line("gr", (x, y + 4.0), (x, down - 9.0));
                    draw.text(from, down, "m", time.trim_start());
                }
                continue;
            }
            let after = std::time::Duration::from_nanos(after);
            let text = format!("+{}", duration::brief(after));
            let half = text.chars().count() as f64 * LETTER / 2.0;
            if x + half <= x2 + 12.0 && row.takes(x, &text) {
                draw.anchored(x, y + 15.0, "m q", "middle", &text);
            }
        }
    }
    let rows = taken.iter().filter(|end| **end > 0.0).count().max(1);
    y + 24.0 + 13.0 * rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_touch() {
        let mut row = Row::default();
        assert!(row.takes(100.0, "... 7.9 ms ..."));
        assert!(!row.takes(150.0, "+50 us"));
        assert!(row.takes(180.0, "+50 us"));
        assert!(!row.takes(20.0, "far too long for the place that is left there"));
    }
}
