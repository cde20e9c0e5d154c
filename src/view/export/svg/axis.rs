//! A time axis that leaves out stretches in which nothing happens.
//!
//! A teardown of 300 µs at the end of an 8 s connection is one pixel on an even axis. So where
//! steps would fall onto each other the longest quiet stretches are broken: drawn short, with a
//! sign of it, and labelled with how long they are. Between two breaks the axis is even. The trap:
//! what is broken must be seen to be broken, since lengths on both sides can't be compared.

/// Pixels that a broken stretch takes, by how many there are: on each side of the sign there is
/// room for the name of a state, as long as there are few.
const fn broken_width(breaks: usize) -> f64 {
    match breaks {
        0..=2 => 188.0,
        3 => 150.0,
        4 => 104.0,
        _ => 64.0,
    }
}

/// Of a piece of the axis that is a single moment.
const MOMENT: f64 = 22.0;
const MOST_BREAKS: usize = 6;

/// A stretch between two moments at which something happens.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u64,
    to: u64,
    /// Pixels that it needs for what is in it.
    need: f64,
    broken: bool,
}

impl Gap {
    const fn length(&self) -> u64 {
        self.to - self.from
    }
}

/// A piece of the axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    /// Nanoseconds.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) x: f64,
    pub(super) width: f64,
    /// Nothing happens in it, and it is drawn shorter than it is.
    pub(super) broken: bool,
}

/// From moments to places.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) pieces: Vec<Piece>,
}

impl Axis {
    /// An axis of `width` pixels from `x` on. `moments` are those at which something happens, and
    /// `need` says how many pixels are wanted between two that follow each other.
    pub(super) fn new(
        mut moments: Vec<u64>,
        x: f64,
        width: f64,
        need: impl Fn(u64, u64) -> f64,
    ) -> Self {
        moments.sort_unstable();
        moments.dedup();
        let mut gaps: Vec<Gap> = moments
            .windows(2)
            .map(|pair| Gap {
                from: pair[0],
                to: pair[1],
                need: need(pair[0], pair[1]),
                broken: false,
            })
            .collect();
        let first = moments.first().copied().unwrap_or(0);
        loop {
            let pieces = laid_out(&gaps, first, x, width);
            if !is_crowded(&gaps, &pieces) || !break_longest(&mut gaps) {
                return Self { pieces };
            }
        }
    }

    /// Where a moment is.
    pub(super) fn x(&self, at: u64) -> f64 {
        let Some(piece) = self
            .pieces
            .iter()
            .find(|piece| at <= piece.to)
            .or(self.pieces.last())
        else {
            return 0.0;
        };
        place_in(piece, at)
    }
}

fn place_in(piece: &Piece, at: u64) -> f64 {
    let length = piece.to - piece.from;
    if length == 0 {
        return piece.x + piece.width / 2.0;
    }
    let passed = at.clamp(piece.from, piece.to) - piece.from;
    piece.x + piece.width * (passed as f64 / length as f64)
}

/// Whether a stretch that is not broken has less room than it needs.
fn is_crowded(gaps: &[Gap], pieces: &[Piece]) -> bool {
    gaps.iter().filter(|gap| !gap.broken).any(|gap| {
        pieces
            .iter()
            .find(|piece| !piece.broken && piece.from <= gap.from && gap.to <= piece.to)
            .is_some_and(|piece| place_in(piece, gap.to) - place_in(piece, gap.from) < gap.need)
    })
}

/// Breaks the longest stretch; not where that would help nothing.
fn break_longest(gaps: &mut [Gap]) -> bool {
    /// A stretch that is not much longer than the others is no quiet one.
    const MUCH: u64 = 4;
    if gaps.iter().filter(|gap| gap.broken).count() == MOST_BREAKS {
        return false;
    }
    let whole = gaps.iter().filter(|gap| !gap.broken);
    let Some(shortest) = whole.clone().map(Gap::length).min() else {
        return false;
    };
    let longest = gaps
        .iter_mut()
        .filter(|gap| !gap.broken)
        .max_by_key(|gap| gap.length());
    match longest {
        Some(gap) if gap.length() / MUCH > shortest => {
            gap.broken = true;
            true
        }
        _ => false,
    }
}

fn laid_out(gaps: &[Gap], first: u64, x: f64, width: f64) -> Vec<Piece> {
    // Runs of stretches that are not broken, with the pixels that they need.
    let mut runs: Vec<(u64, u64, f64)> = vec![(first, first, 0.0)];
    let mut breaks: Vec<(u64, u64)> = Vec::new();
    for gap in gaps {
        if gap.broken {
            breaks.push((gap.from, gap.to));
            runs.push((gap.to, gap.to, 0.0));
        } else if let Some(run) = runs.last_mut() {
            run.1 = gap.to;
            run.2 += gap.need;
        }
    }
    let broken = broken_width(breaks.len());
    let moments = runs.iter().filter(|run| run.2 == 0.0).count();
    let rest = width - broken * breaks.len() as f64 - MOMENT * moments as f64;
    // What has more in it gets more, and the smallest still enough.
    let weight = |need: f64| if need == 0.0 { 0.0 } else { need + 60.0 };
    let all: f64 = runs.iter().map(|run| weight(run.2)).sum();
    let mut pieces = Vec::with_capacity(2 * runs.len());
    let mut at = x;
    for (index, (from, to, need)) in runs.into_iter().enumerate() {
        let width = if need == 0.0 {
            MOMENT
        } else {
            rest * weight(need) / all
        };
        let mut push = |from, to, width, broken| {
            pieces.push(Piece {
                from,
                to,
                x: at,
                width,
                broken,
            });
            at += width;
        };
        push(from, to, width, false);
        if let Some((from, to)) = breaks.get(index) {
            push(*from, *to, broken, true);
        }
    }
    pieces
}

/// A round distance between two ticks, of which one takes at least `least` pixels.
pub(super) fn tick_distance(piece: &Piece, least: f64) -> u64 {
    let per_pixel = (piece.to - piece.from) as f64 / piece.width.max(1.0);
    let wanted = per_pixel * least;
    let mut step: u64 = 1000;
    let factors = [2, 5, 10];
    let mut decade = 1000_u64;
    let mut index = 0;
    while (step as f64) < wanted && decade < u64::MAX / 100 {
        step = decade * factors[index];
        index = (index + 1) % 3;
        if index == 0 {
            decade *= 10;
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_even_life_has_an_even_axis() {
        let axis = Axis::new(vec![0, SECOND, 2 * SECOND], 0.0, 900.0, |_, _| 10.0);
        assert_eq!(axis.pieces.len(), 1);
        assert!((axis.x(SECOND) - 450.0).abs() < 0.01);
    }

    #[test]
    fn a_long_quiet_stretch_does_not_squeeze_a_short_teardown() {
        let end = 8 * SECOND;
        let steps = vec![0, end, end + 40_000, end + 90_000, end + 300_000];
        let axis = Axis::new(steps.clone(), 0.0, 900.0, |_, _| 10.0);
        assert_eq!(axis.pieces.iter().filter(|piece| piece.broken).count(), 1);
        for pair in steps.windows(2) {
            assert!(axis.x(pair[1]) - axis.x(pair[0]) >= 10.0, "{axis:?}");
        }
        let last = axis.pieces.last().unwrap();
        assert!((last.x + last.width - 900.0).abs() < 0.01);
    }

    #[test]
    fn places_never_go_back() {
        let moments: Vec<u64> = (0..40).map(|n| n * n * n * 977).collect();
        let axis = Axis::new(moments, 0.0, 900.0, |_, _| 10.0);
        let places: Vec<f64> = (0..64_000_000).step_by(9973).map(|at| axis.x(at)).collect();
        assert!(places.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn one_moment_is_an_axis() {
        let axis = Axis::new(vec![5], 10.0, 900.0, |_, _| 10.0);
        assert!(axis.x(5) >= 10.0);
    }

    #[test]
    fn ticks_are_round_and_apart() {
        let piece = Piece {
            from: 0,
            to: 300_000,
            x: 0.0,
            width: 600.0,
            broken: false,
        };
        assert_eq!(tick_distance(&piece, 80.0), 50_000);
    }
}
