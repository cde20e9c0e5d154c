//! One colour a state, for lines and for lanes, and never the only sign.
//!
//! Lines have the sixteen colours that every terminal has, and leave their shades to the user. So
//! has the screen, in a choice for each background: yellow on white can't be read. Where a terminal
//! has 256, their shades are known, and were chosen (tests below) so that states which stand beside
//! each other stay apart for the colour-blind too.

use crossterm::style::Stylize;
use ratatui::backend::IntoCrossterm;
use ratatui::style::Color;

use crate::diagnosis::Severity;
use crate::model::TcpState;

/// Whether colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorMode {
    /// The 16 ANSI colours, which follow the user's own palette.
    On,
    /// None at all; bold, reverse and underline remain.
    Off,
}

/// How many colours the screen may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// None at all; bold, reverse and underline remain.
    None,
    /// The 16 ANSI colours, which follow the user's own palette.
    Sixteen,
    /// The 256 of xterm, of which those above 15 look the same everywhere.
    Many,
}

impl From<ColorMode> for Colors {
    fn from(mode: ColorMode) -> Self {
        match mode {
            ColorMode::On => Self::Sixteen,
            ColorMode::Off => Self::None,
        }
    }
}

/// What is written on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Dark, as most are.
    #[default]
    Dark,
    /// Light.
    Light,
}

impl Background {
    /// The other one.
    #[must_use]
    pub const fn toggled(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Dark,
        }
    }
}

/// The colour of a state on the screen; `None` is the terminal's own.
pub const fn on_screen(state: TcpState, colors: Colors, on: Background) -> Option<Color> {
    match (colors, on) {
        (Colors::None, _) => None,
        (Colors::Sixteen, Background::Dark) => color(state),
        (Colors::Sixteen, Background::Light) => color_on_light(state),
        (Colors::Many, on) => match shades(state) {
            Some((dark, _)) if matches!(on, Background::Dark) => Some(Color::Indexed(dark)),
            Some((_, light)) => Some(Color::Indexed(light)),
            None => None,
        },
    }
}

/// Of the sixteen only blue, magenta, red and grey can be read on white in every common palette.
const fn color_on_light(state: TcpState) -> Option<Color> {
    Some(match state {
        TcpState::Established => Color::Blue,
        // Of the ends of one connection, one closing never meets one that waits for close().
        TcpState::CloseWait | TcpState::LastAck | TcpState::Closing => Color::Magenta,
        TcpState::SynSent | TcpState::SynRecv | TcpState::TimeWait => Color::DarkGray,
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Close | TcpState::Listen => {
            return None;
        }
    })
}

/// A state's shade of xterm's 256 on a dark and on a light background.
const fn shades(state: TcpState) -> Option<(u8, u8)> {
    Some(match state {
        TcpState::SynSent | TcpState::SynRecv => (64, 232),
        TcpState::Established => (123, 62),
        TcpState::FinWait1 => (220, 130),
        TcpState::FinWait2 => (100, 232),
        TcpState::Closing => (174, 95),
        TcpState::CloseWait => (198, 161),
        TcpState::LastAck => (165, 53),
        TcpState::TimeWait => (147, 93),
        TcpState::Close | TcpState::Listen => return None,
    })
}

/// The colour of a finding on the screen; `None` is the terminal's own.
pub const fn severity_on_screen(
    severity: Severity,
    colors: Colors,
    on: Background,
) -> Option<Color> {
    match (colors, on, severity) {
        (Colors::None, ..) | (.., Severity::Info) => None,
        (Colors::Sixteen, Background::Light, Severity::Warn) => Some(Color::Magenta),
        (Colors::Sixteen, ..) => of_severity(severity),
        (Colors::Many, Background::Dark, Severity::Error) => Some(Color::Indexed(203)),
        (Colors::Many, Background::Light, Severity::Error) => Some(Color::Indexed(160)),
        (Colors::Many, Background::Dark, Severity::Warn) => Some(Color::Indexed(221)),
        (Colors::Many, Background::Light, Severity::Warn) => Some(Color::Indexed(94)),
    }
}

/// The colour of a state: what waits for a local program stands out (CLOSE_WAIT), what the kernel
/// settles alone does not. The others have the terminal's own: green would be yellow to many.
pub const fn color(state: TcpState) -> Option<Color> {
    Some(match state {
        TcpState::Established => Color::Cyan,
        TcpState::FinWait1 | TcpState::FinWait2 => Color::Yellow,
        TcpState::Closing => Color::LightYellow,
        TcpState::CloseWait | TcpState::LastAck => Color::Magenta,
        TcpState::TimeWait => Color::LightBlue,
        TcpState::SynSent | TcpState::SynRecv | TcpState::Close | TcpState::Listen => return None,
    })
}

/// The colour of a finding; what is only worth knowing has the terminal's own.
pub const fn of_severity(severity: Severity) -> Option<Color> {
    match severity {
        Severity::Error => Some(Color::Red),
        Severity::Warn => Some(Color::Yellow),
        Severity::Info => None,
    }
}

/// The severity's word, in its colour when that is wanted.
pub fn painted_severity(severity: Severity, mode: ColorMode) -> String {
    match (mode, of_severity(severity)) {
        (ColorMode::On, Some(color)) => {
            let word = severity.token().with(color.into_crossterm());
            word.bold().to_string()
        }
        _ => severity.token().to_owned(),
    }
}

/// The state's name, in its colour when that is wanted.
pub fn painted(state: TcpState, mode: ColorMode) -> String {
    match (mode, color(state)) {
        (ColorMode::On, Some(color)) => state.name().with(color.into_crossterm()).to_string(),
        _ => state.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::{
        CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent, TimeWait,
    };

    /// States of which one can follow the other on a lane, or stand above it on the other lane.
    const BESIDE: [(TcpState, TcpState); 21] = [
        (SynSent, Established),
        (SynRecv, Established),
        (SynRecv, FinWait1),
        (SynRecv, CloseWait),
        (Established, FinWait1),
        (Established, FinWait2),
        (Established, Closing),
        (Established, CloseWait),
        (Established, LastAck),
        (Established, TimeWait),
        (FinWait1, Closing),
        (FinWait1, TimeWait),
        (FinWait2, TimeWait),
        (Closing, TimeWait),
        (FinWait1, CloseWait),
        (FinWait2, Closing),
        (FinWait2, CloseWait),
        (FinWait1, LastAck),
        (FinWait2, LastAck),
        (TimeWait, CloseWait),
        (TimeWait, LastAck),
    ];
    /// Of one colour with sixteen, told apart by their glyphs.
    const ALIKE: [(TcpState, TcpState); 2] = [(FinWait1, FinWait2), (CloseWait, LastAck)];

    type Light = [f64; 3];

    /// How the colour-blind see linear light: Machado, Oliveira and Fernandes, "A
    /// Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15(6),
    /// 2009, at full severity; the first is the usual sight.
    const SIGHTS: [(&str, [Light; 3]); 4] = [
        ("usual", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanopia",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
        (
            "deuteranopia",
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
        ),
        (
            "tritanopia",
            [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        ),
    ];

    /// xterm's own shades of the sixteen, and the terminal's foreground on that background.
    fn rgb(color: Option<Color>, on: Background) -> [u8; 3] {
        match (color, on) {
            (None, Background::Dark) => [229, 229, 229],
            (None, Background::Light) => [0, 0, 0],
            (Some(color), _) => match color {
                Color::Red => [205, 0, 0],
                Color::Yellow => [205, 205, 0],
                Color::Magenta => [205, 0, 205],
                Color::Cyan => [0, 205, 205],
                Color::Blue => [0, 0, 238],
                Color::LightYellow => [255, 255, 0],
                Color::LightBlue => [92, 92, 255],
                Color::DarkGray => [127, 127, 127],
                Color::Indexed(grey @ 232..) => [8 + 10 * (grey - 232); 3],
                Color::Indexed(index @ 16..) => {
                    let level = |of: u8| if of == 0 { 0 } else { 55 + 40 * of };
                    let index = index - 16;
                    [index / 36, index / 6 % 6, index % 6].map(level)
                }
                other => panic!("{other:?}"),
            },
        }
    }

    fn linear(rgb: [u8; 3]) -> Light {
        rgb.map(|part| {
            let part = f64::from(part) / 255.0;
            match part <= 0.040_45 {
                true => part / 12.92,
                false => ((part + 0.055) / 1.055).powf(2.4),
            }
        })
    }

    fn times(rows: &[Light; 3], light: Light) -> Light {
        rows.map(|row| row.iter().zip(light).map(|(a, b)| a * b).sum())
    }

    /// CIE 1976 L*a*b*, in which distances are about as they are seen.
    fn lab(light: Light) -> Light {
        const XYZ: [Light; 3] = [
            [0.412_456_4, 0.357_576_1, 0.180_437_5],
            [0.212_672_9, 0.715_152_2, 0.072_175_0],
            [0.019_333_9, 0.119_192_0, 0.950_304_1],
        ];
        let [x, y, z] = times(&XYZ, light);
        let [x, y, z] = [x / 0.950_47, y, z / 1.088_83].map(|of: f64| match of > 216.0 / 24389.0 {
            true => of.cbrt(),
            false => (24389.0 / 27.0 * of + 16.0) / 116.0,
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    fn apart(one: [u8; 3], other: [u8; 3], sight: &[Light; 3]) -> f64 {
        let seen = |rgb| lab(times(sight, linear(rgb)).map(|part| part.clamp(0.0, 1.0)));
        let (one, other) = (seen(one), seen(other));
        let squares = one.iter().zip(other).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt()
    }

    /// WCAG 2.1, contrast ratio.
    fn contrast(rgb: [u8; 3], on: Background) -> f64 {
        let [red, green, blue] = linear(rgb);
        let own = 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
        match on {
            Background::Dark => own / 0.05,
            Background::Light => 1.05 / own,
        }
    }

    fn assert_apart(colors: Colors, on: Background, least: f64, pairs: &[(TcpState, TcpState)]) {
        for &(one, other) in pairs {
            for (name, sight) in &SIGHTS {
                let shade = |state| rgb(on_screen(state, colors, on), on);
                let distance = apart(shade(one), shade(other), sight);
                assert!(
                    distance >= least,
                    "{one:?} and {other:?}, {colors:?} {on:?}, {name}: {distance:.1}"
                );
            }
        }
    }

    /// 2.3 is what can just be noticed.
    #[test]
    fn states_beside_each_other_stay_apart_for_the_colour_blind() {
        for on in [Background::Dark, Background::Light] {
            assert_apart(Colors::Many, on, 28.0, &BESIDE);
            assert_apart(Colors::Many, on, 28.0, &ALIKE);
            // Nominal shades: a user's palette may have others.
            assert_apart(Colors::Sixteen, on, 10.0, &BESIDE);
        }
    }

    #[test]
    fn every_shade_can_be_read_on_its_background() {
        for on in [Background::Dark, Background::Light] {
            let states = TcpState::ALL.map(|state| on_screen(state, Colors::Many, on));
            let found = Severity::ALL.map(|it| severity_on_screen(it, Colors::Many, on));
            for color in states.into_iter().chain(found).flatten() {
                let contrast = contrast(rgb(Some(color), on), on);
                assert!(contrast >= 4.5, "{color:?} {on:?}: {contrast:.1}");
            }
        }
    }

    #[test]
    fn of_the_sixteen_none_is_used_on_light_that_vanishes_there() {
        let on = Background::Light;
        let states = TcpState::ALL.map(|state| on_screen(state, Colors::Sixteen, on));
        let found = Severity::ALL.map(|it| severity_on_screen(it, Colors::Sixteen, on));
        for color in states.into_iter().chain(found).flatten() {
            assert!(contrast(rgb(Some(color), on), on) >= 4.0, "{color:?}");
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        for on in [Background::Dark, Background::Light] {
            assert!(
                TcpState::ALL
                    .iter()
                    .all(|state| on_screen(*state, Colors::None, on).is_none())
            );
            let found = Severity::ALL.map(|it| severity_on_screen(it, Colors::None, on));
            assert!(found.iter().all(Option::is_none));
        }
    }
}
