//! What a terminal's colours are in a picture, where nobody's palette is to be had.
//!
//! The sixteen were chosen to be read on their background. The trap: dim and reversed are made by
//! the terminal, of the colours that are there, so they are made here too.

use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};

use crate::view::palette::Background;

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(u8, u8, u8);

impl Rgb {
    const fn new(hex: u32) -> Self {
        let [_, red, green, blue] = hex.to_be_bytes();
        Self(red, green, blue)
    }

    /// As SVG names it, briefly where that can be.
    pub(super) fn name(self) -> String {
        let Self(red, green, blue) = self;
        let is_brief = [red, green, blue].iter().all(|it| it >> 4 == it & 15);
        if is_brief {
            format!("#{:x}{:x}{:x}", red & 15, green & 15, blue & 15)
        } else {
            format!("#{red:02x}{green:02x}{blue:02x}")
        }
    }

    /// So many percent of it, and the rest of another.
    fn mixed(self, percent: u16, other: Self) -> Self {
        let mix = |own: u8, other: u8| {
            let sum = u16::from(own) * percent + u16::from(other) * (100 - percent);
            u8::try_from(sum / 100).unwrap_or(u8::MAX)
        };
        Self(
            mix(self.0, other.0),
            mix(self.1, other.1),
            mix(self.2, other.2),
        )
    }
}

/// What is dim has so many percent of its colour.
const DIM: u16 = 62;

/// A terminal's palette.
pub(super) struct Shades {
    /// Of text that has none.
    pub(super) fore: Rgb,
    /// Of what is behind it.
    pub(super) back: Rgb,
    sixteen: [u32; 16],
}

const DARK: [u32; 16] = [
    0x2a313d, 0xf2606a, 0x7fc878, 0xe3bc53, 0x6aa5f8, 0xdc82de, 0x54c7d4, 0xd7dde6, 0x8390a3,
    0xff8790, 0xa5dd9d, 0xffdc7d, 0x95baff, 0xeea6f1, 0x86e0eb, 0xffffff,
];
const LIGHT: [u32; 16] = [
    0x1b222e, 0xb91c2e, 0x1d7434, 0x855c00, 0x1f55c6, 0x95269c, 0x0d6678, 0xc5ccd6, 0x5f6b7c,
    0xd1293d, 0x26883f, 0x9a6d00, 0x3a6ce0, 0xae3fb5, 0x0f7f94, 0xffffff,
];

impl Shades {
    pub(super) const fn of(background: Background) -> Self {
        match background {
            Background::Dark => Self {
                fore: Rgb::new(0xd7dde6),
                back: Rgb::new(0x10141b),
                sixteen: DARK,
            },
            Background::Light => Self {
                fore: Rgb::new(0x1b222e),
                back: Rgb::new(0xffffff),
                sixteen: LIGHT,
            },
        }
    }

    /// What a cell is written with, and what is behind it unless that is as everywhere.
    pub(super) fn of_cell(&self, cell: &Cell) -> (Rgb, Option<Rgb>) {
        let has = |modifier| cell.modifier.contains(modifier);
        let (mut fore, mut back) = (self.shade(cell.fg), self.shade(cell.bg));
        if has(Modifier::REVERSED) {
            (fore, back) = (
                Some(back.unwrap_or(self.back)),
                Some(fore.unwrap_or(self.fore)),
            );
        }
        let fore = fore.unwrap_or(self.fore);
        let fore = match has(Modifier::DIM) {
            true => fore.mixed(DIM, back.unwrap_or(self.back)),
            false => fore,
        };
        (fore, back)
    }

    /// The line below a cell, if it has one.
    pub(super) fn underline(&self, cell: &Cell, fore: Rgb) -> Option<Rgb> {
        let has_line = cell.modifier.contains(Modifier::UNDERLINED);
        has_line.then(|| self.shade(cell.underline_color).unwrap_or(fore))
    }

    /// `None` is the terminal's own.
    fn shade(&self, color: Color) -> Option<Rgb> {
        let place = match color {
            Color::Reset => return None,
            Color::Rgb(red, green, blue) => return Some(Rgb(red, green, blue)),
            Color::Indexed(index @ 16..) => return Some(of_256(index)),
            Color::Indexed(index) => index,
            Color::Black => 0,
            Color::Red => 1,
            Color::Green => 2,
            Color::Yellow => 3,
            Color::Blue => 4,
            Color::Magenta => 5,
            Color::Cyan => 6,
            Color::Gray => 7,
            Color::DarkGray => 8,
            Color::LightRed => 9,
            Color::LightGreen => 10,
            Color::LightYellow => 11,
            Color::LightBlue => 12,
            Color::LightMagenta => 13,
            Color::LightCyan => 14,
            Color::White => 15,
        };
        self.sixteen.get(usize::from(place)).copied().map(Rgb::new)
    }
}

/// xterm's 256 colours from the sixteenth on: a cube of six levels, then greys (xterm, 256colres.pl).
const fn of_256(index: u8) -> Rgb {
    const fn level(of: u8) -> u8 {
        match of {
            0 => 0,
            of => 55 + 40 * of,
        }
    }
    if index >= 232 {
        let grey = 8 + 10 * (index - 232);
        return Rgb(grey, grey, grey);
    }
    let index = index.saturating_sub(16);
    Rgb(level(index / 36), level(index / 6 % 6), level(index % 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_the_names_that_svg_knows() {
        assert_eq!(Rgb::new(0xff0000).name(), "#f00");
        assert_eq!(Rgb::new(0x10141b).name(), "#10141b");
        assert_eq!(of_256(16).name(), "#000");
        assert_eq!(of_256(231).name(), "#fff");
        assert_eq!(of_256(196).name(), "#f00");
        assert_eq!(of_256(232).name(), "#080808");
        assert_eq!(of_256(255).name(), "#eee");
    }

    #[test]
    fn dim_lies_between_the_colour_and_what_is_behind_it() {
        let shades = Shades::of(Background::Light);
        let mut cell = Cell::default();
        cell.modifier = Modifier::DIM;
        let (fore, back) = shades.of_cell(&cell);
        assert_eq!(back, None);
        assert!(fore.0 > shades.fore.0 && fore.0 < shades.back.0);
    }
}
