//! How the screen is to look, by what the user says and by what the environment says of the terminal.
//!
//! The trap: a variable says what somebody believed of some terminal. So each guess has a flag that
//! overrules it, and where nothing is said the poorer terminal is assumed.

use clap::{Args, ValueEnum};

use crate::cli::term;
use crate::view::palette::{Background, ColorMode, Colors};
use crate::view::tui::{Glyphs, Looks};

#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
pub(super) struct LooksArgs {
    /// What the screen's colours are to be read on (auto: what the terminal says)
    #[arg(long, value_enum, value_name = "THEME", default_value_t = ThemeArg::Auto)]
    theme: ThemeArg,
    /// The screen in ASCII alone (auto: where the locale is not UTF-8, or TERM has no more)
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = AsciiArg::Auto,
        default_missing_value = "always"
    )]
    ascii: AsciiArg,
    /// The mouse; with Shift it selects text as always
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = MouseArg::On)]
    mouse: MouseArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ThemeArg {
    /// What the terminal says: COLORFGBG, or its answer
    Auto,
    /// Light letters
    Dark,
    /// Dark letters
    Light,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AsciiArg {
    /// Where it is needed
    Auto,
    /// Wherever it is
    Always,
    /// Never
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MouseArg {
    /// Clicks and the wheel work
    On,
    /// It is the terminal's
    Off,
}

/// How the screen begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnScreen {
    /// How it looks.
    pub looks: Looks,
    /// Whether the terminal is to be asked for its background: nobody has said it.
    pub asks_background: bool,
    /// Whether the mouse is listened to.
    pub hears_mouse: bool,
}

impl LooksArgs {
    pub(super) fn settle(&self, color: ColorMode) -> OnScreen {
        self.settle_by(color, &|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    fn settle_by(&self, color: ColorMode, variable: Variables<'_>) -> OnScreen {
        let colors = colors(color, variable);
        let said = match self.theme {
            ThemeArg::Dark => Some(Background::Dark),
            ThemeArg::Light => Some(Background::Light),
            ThemeArg::Auto => background(variable),
        };
        let glyphs = match self.ascii {
            AsciiArg::Always => Glyphs::Ascii,
            AsciiArg::Never => Glyphs::Unicode,
            AsciiArg::Auto => glyphs(variable),
        };
        OnScreen {
            looks: Looks {
                colors,
                background: said.unwrap_or_default(),
                glyphs,
            },
            asks_background: said.is_none() && colors != Colors::None && !is_poor(variable),
            hears_mouse: self.mouse == MouseArg::On,
        }
    }
}

impl Default for OnScreen {
    fn default() -> Self {
        Self {
            looks: Looks {
                colors: Colors::None,
                background: Background::Dark,
                glyphs: Glyphs::Ascii,
            },
            asks_background: false,
            hears_mouse: false,
        }
    }
}

/// The environment.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

fn colors(wanted: ColorMode, variable: Variables<'_>) -> Colors {
    let is = |name, of: &dyn Fn(&str) -> bool| variable(name).is_some_and(|value| of(&value));
    let has_many = is("COLORTERM", &|it| it == "truecolor" || it == "24bit")
        || is("TERM", &|it| {
            it.contains("256color") || it.contains("direct")
        });
    match (wanted, has_many) {
        (ColorMode::Off, _) => Colors::None,
        (ColorMode::On, true) => Colors::Many,
        (ColorMode::On, false) => Colors::Sixteen,
    }
}

/// `COLORFGBG=15;0`, which rxvt and konsole set: the last number is the background's, of the sixteen.
fn background(variable: Variables<'_>) -> Option<Background> {
    let said = variable("COLORFGBG")?;
    let (_, last) = said.rsplit_once(';')?;
    match last.parse().ok()? {
        0..=6_u8 | 8 => Some(Background::Dark),
        7 | 9..=15 => Some(Background::Light),
        _ => None,
    }
}

/// POSIX, 8.2: the first of these that is set and not empty; without any the locale is "POSIX".
fn glyphs(variable: Variables<'_>) -> Glyphs {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let mut said = names.filter_map(variable).filter(|value| !value.is_empty());
    let locale = said.next().unwrap_or_default().to_ascii_lowercase();
    let is_utf8 = locale.contains("utf-8") || locale.contains("utf8");
    match is_utf8 && !is_poor(variable) {
        true => Glyphs::Unicode,
        false => Glyphs::Ascii,
    }
}

fn is_poor(variable: Variables<'_>) -> bool {
    term::is_poor(&variable("TERM").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        looks: LooksArgs,
    }

    const USUAL: [(&str, &str); 2] = [("TERM", "xterm"), ("LANG", "en_US.UTF-8")];

    fn settled(arguments: &[&str], color: ColorMode, more: &[(&str, &str)]) -> OnScreen {
        let line = Line::try_parse_from(["x"].iter().chain(arguments)).unwrap();
        let variable = |name: &str| {
            let mut all = more.iter().chain(&USUAL);
            let found = all.find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        };
        line.looks.settle_by(color, &variable)
    }

    fn auto(more: &[(&str, &str)]) -> OnScreen {
        settled(&[], ColorMode::On, more)
    }

    #[test]
    fn as_many_colours_as_the_terminal_has() {
        for (name, value, expected) in [
            ("TERM", "xterm", Colors::Sixteen),
            ("TERM", "xterm-256color", Colors::Many),
            ("TERM", "tmux-256color", Colors::Many),
            ("TERM", "xterm-direct", Colors::Many),
            ("COLORTERM", "truecolor", Colors::Many),
            ("COLORTERM", "24bit", Colors::Many),
            ("COLORTERM", "", Colors::Sixteen),
        ] {
            assert_eq!(
                auto(&[(name, value)]).looks.colors,
                expected,
                "{name}={value}"
            );
            let none = settled(&[], ColorMode::Off, &[(name, value)]);
            assert_eq!(none.looks.colors, Colors::None);
            assert!(!none.asks_background);
        }
    }

    #[test]
    fn the_background_is_said_or_asked_for() {
        let is = |on: OnScreen| (on.looks.background, on.asks_background);
        for (value, expected) in [
            ("15;0", (Background::Dark, false)),
            ("0;15", (Background::Light, false)),
            ("0;default;15", (Background::Light, false)),
            ("7;8", (Background::Dark, false)),
            ("0;7", (Background::Light, false)),
            ("15;default", (Background::Dark, true)),
            ("15", (Background::Dark, true)),
            ("0;16", (Background::Dark, true)),
        ] {
            assert_eq!(is(auto(&[("COLORFGBG", value)])), expected, "{value}");
        }
        assert_eq!(is(auto(&[])), (Background::Dark, true));
        for term in ["dumb", "linux", "linux-16color", "vt100", ""] {
            assert_eq!(is(auto(&[("TERM", term)])), (Background::Dark, false));
        }
        let dark = settled(
            &["--theme", "dark"],
            ColorMode::On,
            &[("COLORFGBG", "0;15")],
        );
        assert_eq!(is(dark), (Background::Dark, false));
        let light = settled(&["--theme", "light"], ColorMode::On, &[]);
        assert_eq!(is(light), (Background::Light, false));
    }

    #[test]
    fn ascii_is_for_those_who_have_no_more() {
        for (more, expected) in [
            (&[][..], Glyphs::Unicode),
            (&[("LANG", "C")], Glyphs::Ascii),
            (&[("LANG", "")], Glyphs::Ascii),
            (&[("LANG", "de_DE.ISO-8859-1")], Glyphs::Ascii),
            (&[("LANG", "C.utf8")], Glyphs::Unicode),
            (&[("LC_ALL", "C")], Glyphs::Ascii),
            (&[("LC_ALL", "")], Glyphs::Unicode),
            (&[("LC_ALL", "C.UTF-8"), ("LANG", "C")], Glyphs::Unicode),
            (&[("LC_CTYPE", "POSIX")], Glyphs::Ascii),
            (&[("TERM", "dumb")], Glyphs::Ascii),
            (&[("TERM", "linux")], Glyphs::Ascii),
            (&[("TERM", "vt220")], Glyphs::Ascii),
        ] {
            assert_eq!(auto(more).looks.glyphs, expected, "{more:?}");
            for (flag, expected) in [
                ("--ascii", Glyphs::Ascii),
                ("--ascii=always", Glyphs::Ascii),
                ("--ascii=never", Glyphs::Unicode),
            ] {
                let said = settled(&[flag], ColorMode::On, more);
                assert_eq!(said.looks.glyphs, expected, "{flag} {more:?}");
            }
        }
    }

    #[test]
    fn the_mouse_is_heard_unless_it_is_not_wanted() {
        assert!(auto(&[]).hears_mouse);
        assert!(!settled(&["--mouse", "off"], ColorMode::On, &[]).hears_mouse);
    }
}
