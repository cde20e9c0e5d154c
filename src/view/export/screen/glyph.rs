//! Glyphs that are drawn, not written: bars and boxes, which have to meet those beside them.
//!
//! A shape is given in parts of its cell. The trap: what is not known here is text, and is drawn by
//! some font; so whoever uses a new bar adds it.

/// What a glyph looks like, in parts of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// From the left, from the top, width, height.
    pub(super) rects: Vec<[f64; 4]>,
    /// Of the colour.
    pub(super) percent: u8,
    /// Several in a row are one.
    pub(super) is_endless: bool,
    /// The two diagonals.
    pub(super) is_cross: bool,
}

/// How thick a line is, in parts of a cell's width; those from top to bottom and from left to right
/// are as thick as each other.
const LIGHT: f64 = 0.13;
const HEAVY: f64 = 0.267;
/// A cell is twice as high as wide.
const FLAT: f64 = 0.5;
/// Two lines lie so far from the middle, in parts of a cell's height.
const TWIN: f64 = 0.09;

/// The shape of a symbol; `None` of text.
pub(super) fn shape(symbol: &str) -> Option<Shape> {
    let mut letters = symbol.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        return None;
    };
    if let Some(percent) = shaded(letter) {
        return Some(filled(vec![[0.0, 0.0, 1.0, 1.0]], percent, true));
    }
    if let Some(rect) = block(letter) {
        let is_endless = rect[2] >= 1.0;
        return Some(filled(vec![rect], 100, is_endless));
    }
    if let Some(dashes) = dashes(letter) {
        return Some(filled(dashes, 100, false));
    }
    match letter {
        '\u{2550}' => {
            let thick = LIGHT * FLAT;
            let line = |at: f64| [0.0, at - thick / 2.0, 1.0, thick];
            let lines = vec![line(0.5 - TWIN), line(0.5 + TWIN)];
            Some(filled(lines, 100, true))
        }
        '\u{2573}' => Some(Shape {
            is_cross: true,
            ..filled(Vec::new(), 100, false)
        }),
        _ => arms(letter).map(|(arms, thick)| crossing(arms, thick)),
    }
}

const fn filled(rects: Vec<[f64; 4]>, percent: u8, is_endless: bool) -> Shape {
    Shape {
        rects,
        percent,
        is_endless,
        is_cross: false,
    }
}

/// The three shades, as much apart as their dots make them.
const fn shaded(letter: char) -> Option<u8> {
    match letter {
        '\u{2591}' => Some(28),
        '\u{2592}' => Some(48),
        '\u{2593}' => Some(70),
        _ => None,
    }
}

/// Parts of a full block.
fn block(letter: char) -> Option<[f64; 4]> {
    let eighths = |of: u32| f64::from(of) / 8.0;
    Some(match letter {
        '\u{2580}' => [0.0, 0.0, 1.0, 0.5],
        '\u{2581}'..='\u{2588}' => {
            let height = eighths(u32::from(letter) - 0x2580);
            [0.0, 1.0 - height, 1.0, height]
        }
        '\u{2589}'..='\u{258f}' => {
            let width = eighths(0x2590 - u32::from(letter));
            [0.0, 0.0, width, 1.0]
        }
        '\u{2590}' => [0.5, 0.0, 0.5, 1.0],
        '\u{2594}' => [0.0, 0.0, 1.0, 0.125],
        '\u{2595}' => [0.875, 0.0, 0.125, 1.0],
        _ => return None,
    })
}

/// Lines with gaps, level or upright.
fn dashes(letter: char) -> Option<Vec<[f64; 4]>> {
    let (count, thick, is_level) = match letter {
        '\u{254c}' => (2, LIGHT, true),
        '\u{254d}' => (2, HEAVY, true),
        '\u{2504}' => (3, LIGHT, true),
        '\u{2505}' => (3, HEAVY, true),
        '\u{2508}' => (4, LIGHT, true),
        '\u{2509}' => (4, HEAVY, true),
        '\u{254e}' => (2, LIGHT, false),
        '\u{254f}' => (2, HEAVY, false),
        '\u{2506}' => (3, LIGHT, false),
        '\u{2507}' => (3, HEAVY, false),
        '\u{250a}' => (4, LIGHT, false),
        '\u{250b}' => (4, HEAVY, false),
        _ => return None,
    };
    let part = 1.0 / f64::from(count);
    let each = (0..count).map(|index| {
        let from = (f64::from(index) + 0.25) * part;
        match is_level {
            true => [from, 0.5 - thick * FLAT / 2.0, part / 2.0, thick * FLAT],
            false => [0.5 - thick / 2.0, from, thick, part / 2.0],
        }
    });
    Some(each.collect())
}

/// Where lines go from the middle.
#[derive(Clone, Copy)]
struct Arms {
    left: bool,
    right: bool,
    up: bool,
    down: bool,
}

/// Lines, corners and crossings, round ones too, of one thickness.
fn arms(letter: char) -> Option<(Arms, f64)> {
    let (names, thick) = match letter {
        '\u{2500}' => ("lr", LIGHT),
        '\u{2501}' => ("lr", HEAVY),
        '\u{2502}' => ("ud", LIGHT),
        '\u{2503}' => ("ud", HEAVY),
        '\u{250c}' | '\u{256d}' => ("rd", LIGHT),
        '\u{250f}' => ("rd", HEAVY),
        '\u{2510}' | '\u{256e}' => ("ld", LIGHT),
        '\u{2513}' => ("ld", HEAVY),
        '\u{2514}' | '\u{2570}' => ("ru", LIGHT),
        '\u{2517}' => ("ru", HEAVY),
        '\u{2518}' | '\u{256f}' => ("lu", LIGHT),
        '\u{251b}' => ("lu", HEAVY),
        '\u{251c}' => ("rud", LIGHT),
        '\u{2523}' => ("rud", HEAVY),
        '\u{2524}' => ("lud", LIGHT),
        '\u{252b}' => ("lud", HEAVY),
        '\u{252c}' => ("lrd", LIGHT),
        '\u{2533}' => ("lrd", HEAVY),
        '\u{2534}' => ("lru", LIGHT),
        '\u{253b}' => ("lru", HEAVY),
        '\u{253c}' => ("lrud", LIGHT),
        '\u{254b}' => ("lrud", HEAVY),
        '\u{2574}' => ("l", LIGHT),
        '\u{2575}' => ("u", LIGHT),
        '\u{2576}' => ("r", LIGHT),
        '\u{2577}' => ("d", LIGHT),
        '\u{2578}' => ("l", HEAVY),
        '\u{2579}' => ("u", HEAVY),
        '\u{257a}' => ("r", HEAVY),
        '\u{257b}' => ("d", HEAVY),
        _ => return None,
    };
    let arms = Arms {
        left: names.contains('l'),
        right: names.contains('r'),
        up: names.contains('u'),
        down: names.contains('d'),
    };
    Some((arms, thick))
}

/// One level piece and one upright piece, which meet in the middle.
fn crossing(arms: Arms, thick: f64) -> Shape {
    let mut rects = Vec::new();
    let (half_width, half_height) = (thick / 2.0, thick * FLAT / 2.0);
    if arms.left || arms.right {
        let from = if arms.left { 0.0 } else { 0.5 - half_width };
        let to = if arms.right { 1.0 } else { 0.5 + half_width };
        rects.push([from, 0.5 - half_height, to - from, 2.0 * half_height]);
    }
    if arms.up || arms.down {
        let from = if arms.up { 0.0 } else { 0.5 - half_height };
        let to = if arms.down { 1.0 } else { 0.5 + half_height };
        rects.push([0.5 - half_width, from, 2.0 * half_width, to - from]);
    }
    let is_line = arms.left && arms.right && !arms.up && !arms.down;
    filled(rects, 100, is_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> impl Iterator<Item = (char, Shape)> {
        ('\u{2500}'..='\u{259f}').filter_map(|c| Some((c, shape(&c.to_string())?)))
    }

    #[test]
    fn every_shape_stays_in_its_cell() {
        let mut count = 0;
        for (letter, shape) in known() {
            count += 1;
            for [x, y, width, height] in shape.rects {
                let is_inside = x >= 0.0 && y >= 0.0 && x + width <= 1.001 && y + height <= 1.001;
                assert!(is_inside && width > 0.0 && height > 0.0, "{letter}");
            }
        }
        assert!(count > 60, "{count}");
    }

    #[test]
    fn no_two_glyphs_look_the_same_but_round_corners() {
        let all: Vec<(char, Shape)> = known().collect();
        for (index, (letter, shape)) in all.iter().enumerate() {
            for (other, same) in &all[index + 1..] {
                let is_round = ('\u{256d}'..='\u{2570}').contains(other);
                assert!(is_round || shape != same, "{letter} {other}");
            }
        }
    }

    #[test]
    fn what_is_endless_reaches_from_side_to_side() {
        for (letter, shape) in known().filter(|(_, shape)| shape.is_endless) {
            let reaches = |[x, _, width, _]: &[f64; 4]| *x == 0.0 && *width == 1.0;
            assert!(shape.rects.iter().all(reaches), "{letter}");
        }
        assert!(shape("a").is_none() && shape("\u{2192}").is_none() && shape("").is_none());
    }
}
