//! The screen itself as a picture: a grid of cells, with their colours and styles.
//!
//! Self-contained, and the same in a browser and in a converter. The traps: whoever reads it has
//! another font, whose glyphs are as wide as they like, so that each run of text is told where it
//! begins and how long it is; and glyphs of different fonts leave gaps between them, so that bars and
//! boxes are drawn as shapes. A text element for each run, since not everybody knows the length of a
//! `tspan`; and no run holds two blanks, which would be one.

mod glyph;
mod shade;

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Modifier;
use ratatui::text::Span;

use crate::view::export::svg::escaped;
use crate::view::palette::Background;
use glyph::Shape;
use shade::{Rgb, Shades};

/// A cell's width and height, in the picture's units.
const CELL: (f64, f64) = (9.0, 18.0);
/// Most fonts of one width are 0.6 as wide as they are high.
const FONT_SIZE: f64 = 14.9;
/// From the top of a cell to where its letters stand.
const BASELINE: f64 = 13.5;
/// From the top of a cell to its underline.
const UNDERLINE: f64 = 16.0;
/// Around the screen.
const MARGIN: f64 = 10.0;

/// The cells as a picture, as a terminal with such a background shows them.
pub fn svg(buffer: &Buffer, background: Background) -> String {
    let mut picture = Picture {
        shades: Shades::of(background),
        looks: Vec::new(),
        behind: Layers::default(),
        shapes: Layers::default(),
        lines: Layers::default(),
        text: String::new(),
    };
    for y in 0..buffer.area.height {
        picture.row(buffer, y);
    }
    picture.end(buffer.area.width, buffer.area.height)
}

/// What of a cell's style its glyph shows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    color: Rgb,
    bold: bool,
    italic: bool,
}

/// Outlines that are filled alike: their colour, how much of it, and their way.
#[derive(Default)]
struct Layers(Vec<(Rgb, u8, String)>);

impl Layers {
    /// A rectangle, of so many percent of the colour.
    fn rect(&mut self, color: Rgb, percent: u8, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let [x, y, width, height] = [x, y, width, height].map(brief);
        let way = format!("M{x} {y}h{width}v{height}h-{width}z");
        self.put(color, percent, &way);
    }

    fn put(&mut self, color: Rgb, percent: u8, way: &str) {
        let known = self
            .0
            .iter_mut()
            .find(|(of, share, _)| *of == color && *share == percent);
        match known {
            Some((.., ways)) => ways.push_str(way),
            None => self.0.push((color, percent, way.to_owned())),
        }
    }

    fn write(&self, out: &mut String) {
        for (color, percent, way) in &self.0 {
            let opacity = match percent {
                100 => String::new(),
                percent => format!(" fill-opacity=\".{percent:02}\""),
            };
            let color = color.name();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "<path fill=\"{color}\"{opacity} d=\"{way}\"/>");
        }
    }
}

/// A number as it is written: no digit too many.
fn brief(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Cells of one row that are one piece of text, or one bar.
struct Run<'a> {
    symbol: &'a str,
    /// What there is of it: of a bar its first symbol alone.
    text: String,
    from: u16,
    /// How many columns.
    columns: u16,
    look: Look,
}

struct Picture {
    shades: Shades,
    /// Those that text has; the place is the name.
    looks: Vec<Look>,
    behind: Layers,
    shapes: Layers,
    lines: Layers,
    text: String,
}

impl Picture {
    fn row(&mut self, buffer: &Buffer, y: u16) {
        let top = f64::from(y) * CELL.1;
        let mut runs: Vec<Run<'_>> = Vec::new();
        let (mut behind, mut lines) = (Vec::new(), Vec::new());
        let mut x = 0;
        while x < buffer.area.width {
            let Some(cell) = buffer.cell((buffer.area.x + x, buffer.area.y + y)) else {
                break;
            };
            let columns = columns(cell).min(buffer.area.width - x);
            let (fore, back) = self.shades.of_cell(cell);
            extend(&mut behind, back, (x, columns));
            extend(&mut lines, self.shades.underline(cell, fore), (x, columns));
            if !cell.modifier.contains(Modifier::HIDDEN) {
                let look = Look {
                    color: fore,
                    bold: cell.modifier.contains(Modifier::BOLD),
                    italic: cell.modifier.contains(Modifier::ITALIC),
                };
                append(&mut runs, cell.symbol(), (x, columns), look);
            }
            x += columns;
        }
        for (color, from, columns) in behind {
            let (left, width) = (f64::from(from) * CELL.0, f64::from(columns) * CELL.0);
            self.behind.rect(color, 100, (left, top), (width, CELL.1));
        }
        for (color, from, columns) in lines {
            let (left, width) = (f64::from(from) * CELL.0, f64::from(columns) * CELL.0);
            self.lines
                .rect(color, 100, (left, top + UNDERLINE), (width, 1.0));
        }
        let mut texts = String::new();
        for run in &runs {
            self.draw(run, top, &mut texts);
        }
        if !texts.is_empty() {
            let base = brief(top + BASELINE);
            let _ = writeln!(
                self.text,
                "<g transform=\"translate(0 {base})\">{texts}</g>"
            );
        }
    }

    fn draw(&mut self, run: &Run<'_>, top: f64, texts: &mut String) {
        let (left, width) = (
            f64::from(run.from) * CELL.0,
            f64::from(run.columns) * CELL.0,
        );
        match glyph::shape(run.symbol) {
            Some(shape) => self.shape(&shape, run, (left, top)),
            None => {
                let class = match self.look(run.look) {
                    0 => String::new(),
                    name => format!(" class=\"s{name}\""),
                };
                // One letter can't be spaced, only stretched; of ASCII every font has it as wide as
                // the others.
                let length = match (run.columns, run.symbol.is_ascii()) {
                    (1, true) => String::new(),
                    (_, true) => format!(" textLength=\"{}\"", brief(width)),
                    (_, false) => format!(
                        " textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"",
                        brief(width)
                    ),
                };
                let (x, text) = (brief(left), escaped(&run.text));
                let _ = write!(texts, "<text x=\"{x}\"{length}{class}>{text}</text>");
            }
        }
    }

    fn shape(&mut self, shape: &Shape, run: &Run<'_>, (left, top): (f64, f64)) {
        let color = run.look.color;
        for cell in 0..run.columns {
            if shape.is_endless && cell > 0 {
                break;
            }
            let left = left + f64::from(cell) * CELL.0;
            // A bar goes on through all its cells.
            let times = if shape.is_endless { run.columns } else { 1 };
            for [x, y, width, height] in &shape.rects {
                let at = (left + x * CELL.0, top + y * CELL.1);
                let size = (width * CELL.0 * f64::from(times), height * CELL.1);
                self.shapes.rect(color, shape.percent, at, size);
            }
            if shape.is_cross {
                self.cross(color, (left, top));
            }
        }
    }

    /// Two diagonals.
    fn cross(&mut self, color: Rgb, (left, top): (f64, f64)) {
        let (x, y) = (brief(left), brief(top + 3.0));
        let (right, below) = (brief(left + CELL.0 - 1.5), y.clone());
        let way = format!("M{x} {y}h1.5l7.5 12h-1.5zM{right} {below}h1.5l-7.5 12h-1.5z");
        self.shapes.put(color, 100, &way);
    }

    /// The name of a look: 0 is that of plain text.
    fn look(&mut self, look: Look) -> usize {
        if look == self.plain() {
            return 0;
        }
        let known = self.looks.iter().position(|known| *known == look);
        1 + known.unwrap_or_else(|| {
            self.looks.push(look);
            self.looks.len() - 1
        })
    }

    const fn plain(&self) -> Look {
        Look {
            color: self.shades.fore,
            bold: false,
            italic: false,
        }
    }

    fn end(self, columns: u16, rows: u16) -> String {
        let (wide, high) = (
            f64::from(columns) * CELL.0 + 2.0 * MARGIN,
            f64::from(rows) * CELL.1 + 2.0 * MARGIN,
        );
        let (width, height) = (brief(wide), brief(high));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <title>The screen of tcpwatch, {columns} columns and {rows} rows</title>\n<style>\n"
        );
        let _ = writeln!(
            out,
            "text{{font:{FONT_SIZE}px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',\
             'Liberation Mono',monospace;fill:{}}}",
            self.shades.fore.name()
        );
        for (place, look) in self.looks.iter().enumerate() {
            let mut style = format!("fill:{}", look.color.name());
            if look.bold {
                style.push_str(";font-weight:700");
            }
            if look.italic {
                style.push_str(";font-style:italic");
            }
            let _ = writeln!(out, ".s{}{{{style}}}", place + 1);
        }
        let back = self.shades.back.name();
        let _ = writeln!(
            out,
            "</style>\n<rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{back}\"/>\n\
             <g transform=\"translate({MARGIN} {MARGIN})\">"
        );
        for layers in [&self.behind, &self.shapes, &self.lines] {
            layers.write(&mut out);
        }
        out.push_str(&self.text);
        out.push_str("</g>\n</svg>\n");
        out
    }
}

/// How many columns a cell's symbol takes; those behind it are covered.
fn columns(cell: &Cell) -> u16 {
    let width = Span::raw(cell.symbol()).width();
    u16::try_from(width).unwrap_or(1).max(1)
}

/// Adds a cell to the last strip of its colour, or begins another.
fn extend(strips: &mut Vec<(Rgb, u16, u16)>, color: Option<Rgb>, (x, columns): (u16, u16)) {
    let Some(color) = color else { return };
    match strips.last_mut() {
        Some((of, from, wide)) if *of == color && *from + *wide == x => *wide += columns,
        _ => strips.push((color, x, columns)),
    }
}

/// Adds a cell to the last run, or begins another. A blank begins none, and ends one when another
/// follows it.
fn append<'a>(runs: &mut Vec<Run<'a>>, symbol: &'a str, (x, columns): (u16, u16), look: Look) {
    let last = runs.last_mut();
    if let Some(run) = last.filter(|run| run.look == look && run.takes(symbol, x)) {
        // The blank between two words.
        if run.from + run.columns < x {
            run.text.push(' ');
        }
        run.text.push_str(symbol);
        run.columns = x + columns - run.from;
        return;
    }
    if symbol != " " && !symbol.is_empty() {
        runs.push(Run {
            symbol,
            text: symbol.to_owned(),
            from: x,
            columns,
            look,
        });
    }
}

impl Run<'_> {
    /// Whether this symbol goes on with it, at most a blank behind its end. What is not ASCII stands
    /// with its own kind alone: nobody knows how wide it is.
    fn takes(&self, symbol: &str, x: u16) -> bool {
        let gap = x - self.from - self.columns;
        let is_letter = symbol.is_ascii() && symbol != " " && !symbol.is_empty();
        match self.symbol.is_ascii() {
            true => is_letter && gap <= 1,
            false => symbol == self.symbol && gap == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::{Color, Style};

    use super::*;

    fn drawn(text: &str, style: Style) -> String {
        let width = u16::try_from(Span::raw(text).width()).unwrap();
        let mut buffer = Buffer::empty(Rect::new(3, 2, width.max(1), 1));
        buffer.set_string(3, 2, text, style);
        svg(&buffer, Background::Dark)
    }

    fn texts(picture: &str) -> Vec<&str> {
        let parts = picture.split("<text").skip(1);
        parts
            .map(|part| part.split("</text>").next().unwrap())
            .collect()
    }

    #[test]
    fn words_go_together_and_columns_stand_for_themselves() {
        let picture = drawn(" a b  cd", Style::new());
        assert_eq!(
            texts(&picture),
            [
                " x=\"9\" textLength=\"27\">a b",
                " x=\"54\" textLength=\"18\">cd"
            ]
        );
    }

    #[test]
    fn what_is_not_ascii_is_told_how_wide_it_is() {
        let picture = drawn("a\u{2192}:80\u{4f60}!", Style::new());
        assert_eq!(
            texts(&picture),
            [
                " x=\"0\">a",
                " x=\"9\" textLength=\"9\" lengthAdjust=\"spacingAndGlyphs\">\u{2192}",
                " x=\"18\" textLength=\"27\">:80",
                " x=\"45\" textLength=\"18\" lengthAdjust=\"spacingAndGlyphs\">\u{4f60}",
                " x=\"63\">!",
            ]
        );
    }

    #[test]
    fn bars_are_one_shape_and_no_text() {
        let picture = drawn("\u{2593}\u{2593}\u{2593}\u{2501}\u{2501}", Style::new());
        assert!(texts(&picture).is_empty());
        assert!(picture.contains("fill-opacity=\".70\" d=\"M0 0h27v18h-27z\""));
        assert!(picture.contains("M27 7.8h18v2.4h-18z"), "{picture}");
    }

    #[test]
    fn nothing_gets_out_of_its_text() {
        let picture = drawn("</text><script>&\u{1b}", Style::new());
        assert_eq!(picture.matches("<script").count(), 0);
        assert!(picture.contains("&lt;/text&gt;&lt;script&gt;&amp;"));
    }

    #[test]
    fn styles_are_seen() {
        let style = Style::new().fg(Color::Indexed(196)).bg(Color::Rgb(1, 2, 3));
        let picture = drawn("x", style.add_modifier(Modifier::BOLD));
        assert!(picture.contains(".s1{fill:#f00;font-weight:700}"));
        assert!(picture.contains("<path fill=\"#010203\" d=\"M0 0h9v18h-9z\"/>"));
        let turned = drawn("x", style.add_modifier(Modifier::REVERSED));
        assert!(turned.contains(".s1{fill:#010203}"));
        assert!(turned.contains("<path fill=\"#f00\" d=\"M0 0h9v18h-9z\"/>"));
        let lined = drawn("   ", Style::new().add_modifier(Modifier::UNDERLINED));
        assert!(lined.contains("M0 16h27v1h-27z"), "{lined}");
        let dim = drawn("x", Style::new().add_modifier(Modifier::DIM));
        assert!(dim.contains(".s1{fill:#"), "{dim}");
    }

    #[test]
    fn a_plain_screen_needs_no_class() {
        let picture = drawn("plain", Style::new());
        assert!(!picture.contains("class="), "{picture}");
    }
}
