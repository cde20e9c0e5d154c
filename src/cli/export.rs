//! The command line of `export`: a recording for another program, or a picture of its screen.
//!
//! The trap: the screen shows what the replay shows, so what chooses among connections in a report
//! is of no use there, and what is pressed on a screen is of no use elsewhere. Both are refused.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::choices::ColorArg;
use crate::cli::keys::Keys;
use crate::cli::report::{ChosenArgs, refused};
use crate::cli::when::When;
use crate::cli::{Chosen, Config, Format as ShownAs, OnScreen, Refusal, Replaying};
use crate::view::export::Format;
use crate::view::palette::{Background, ColorMode, Colors};
use crate::view::tui::playback::Speed;
use crate::view::tui::{Glyphs, Input, Looks};

/// What to export.
#[derive(Debug)]
pub struct Export {
    /// Of what.
    pub chosen: Chosen,
    /// As what.
    pub format: Format,
    /// Where to.
    pub out: Out,
}

/// Where an export goes.
#[derive(Debug)]
pub struct Out {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// Whether what is there already may be replaced.
    pub force: bool,
}

/// A picture of the screen of a replay.
#[derive(Debug)]
pub struct Picture {
    /// Of what.
    pub replaying: Replaying,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The moment; the end when nothing is said.
    pub at: Option<When>,
    /// What is pressed before it is drawn.
    pub keys: Vec<Input>,
    /// Where to.
    pub out: Out,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// As what: svg (a picture), perfetto (for ui.perfetto.dev), csv (a row a transition), mermaid (a
    /// sequence diagram), screen (a picture of the replay's screen, SVG); without it, by the ending of
    /// the file
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true, value_parser = to, help_heading = "Options")]
    to: Vec<To>,
    /// Stop there; what comes later is not read
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Options"
    )]
    until: Option<When>,
    /// The file to write; '-' is standard output
    #[arg(
        short,
        long,
        value_name = "OUT",
        default_value = "-",
        help_heading = "Options"
    )]
    out: PathBuf,
    /// Replace the file when it is there already
    #[arg(long, help_heading = "Options")]
    force: bool,
    #[command(flatten)]
    screen: ScreenArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --to screen")]
struct ScreenArgs {
    /// The moment that is shown, as replay's times: 14:02:11.5, +10s, -5m (default: the end)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<When>,
    /// Columns and rows (40x10 to 500x200) [default: 120x40]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<(u16, u16)>,
    /// Keys that are pressed before it is drawn: letters, and names as <Enter>, <Tab>, <Esc>, <Left>,
    /// <PgDn>, <F1>, <C-l> for Ctrl-L, <lt> for '<'
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    keys: Option<Keys>,
    /// What it is drawn on [default: dark]
    #[arg(long, value_enum, value_name = "THEME")]
    theme: Option<ThemeArg>,
    /// Colour (auto: unless NO_COLOR is set) [default: auto]
    #[arg(long, value_enum, value_name = "WHEN", hide_possible_values = true)]
    color: Option<ColorArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ThemeArg {
    /// Light letters on a dark screen
    Dark,
    /// Dark letters on a light screen
    Light,
}

const USUAL_SIZE: (u16, u16) = (120, 40);

impl ExportArgs {
    pub(in crate::cli) fn settle(self) -> Result<Config, Refusal> {
        let mut wanted = None;
        let mut until = self.until;
        for to in self.to {
            match to {
                To::As(target) if wanted.is_none() => wanted = Some(target),
                To::Time(when) if until.is_none() => until = Some(when),
                To::As(_) => return Err(refused("--to: one format can be written at a time")),
                To::Time(_) => return Err(refused("--to: one time can be the end")),
            }
        }
        let wanted = wanted.or_else(|| format_of(&self.out).map(Target::File));
        let Some(wanted) = wanted else {
            return Err(refused(&format!("--to: say the format ({ALLOWED})")));
        };
        let chosen = self.chosen.settle(until)?;
        let out = Out {
            path: self.out,
            force: self.force,
        };
        match wanted {
            Target::Screen => self.screen.settle(chosen, out).map(Config::Picture),
            Target::File(format) => {
                self.screen.refuse_any()?;
                Ok(Config::Export(Export {
                    chosen,
                    format,
                    out,
                }))
            }
        }
    }
}

impl ScreenArgs {
    fn settle(self, chosen: Chosen, out: Out) -> Result<Picture, Refusal> {
        let used = [
            ("--conn", !chosen.conns.is_empty()),
            ("--verdict", !chosen.ways.is_empty()),
            ("--finding", !chosen.codes.is_empty()),
        ];
        if let Some((option, _)) = used.into_iter().find(|(_, is_used)| *is_used) {
            return Err(refused(&format!(
                "{option}: not with --to screen (allowed: the filters of replay, and --keys to \
                 choose on it)"
            )));
        }
        if chosen.from.is_some() {
            return Err(refused(
                "--from: not with --to screen (allowed: --at for the moment that is shown)",
            ));
        }
        let color = self.color.unwrap_or(ColorArg::Auto).mode_of_a_picture();
        Ok(Picture {
            replaying: Replaying {
                files: chosen.files,
                filter: chosen.filter,
                from: None,
                until: chosen.to,
                speed: Speed::default(),
                options: chosen.options,
                settings: chosen.settings,
                format: ShownAs::Tui,
                color,
                screen: OnScreen {
                    looks: Looks {
                        colors: match color {
                            ColorMode::On => Colors::Many,
                            ColorMode::Off => Colors::None,
                        },
                        background: match self.theme {
                            Some(ThemeArg::Light) => Background::Light,
                            Some(ThemeArg::Dark) | None => Background::Dark,
                        },
                        glyphs: Glyphs::Unicode,
                    },
                    asks_background: false,
                    hears_mouse: false,
                },
            },
            size: self.size.unwrap_or(USUAL_SIZE),
            at: self.at,
            keys: self.keys.map(|keys| keys.0).unwrap_or_default(),
            out,
        })
    }

    /// Of what is no screen.
    fn refuse_any(&self) -> Result<(), Refusal> {
        let used = [
            ("--at", self.at.is_some()),
            ("--size", self.size.is_some()),
            ("--keys", self.keys.is_some()),
            ("--theme", self.theme.is_some()),
            ("--color", self.color.is_some()),
        ];
        match used.into_iter().find(|(_, is_used)| *is_used) {
            Some((option, _)) => Err(refused(&format!("{option}: only with --to screen"))),
            None => Ok(()),
        }
    }
}

/// What `--to` of an export says: in other commands it is a time, and here it may be one too.
#[derive(Clone, Debug)]
enum To {
    As(Target),
    Time(When),
}

#[derive(Clone, Copy, Debug)]
enum Target {
    File(Format),
    Screen,
}

const ALLOWED: &str = "allowed: svg, perfetto, csv, mermaid, screen";

fn to(text: &str) -> Result<To, String> {
    let target = match text.to_ascii_lowercase().as_str() {
        "svg" => Target::File(Format::Svg),
        "perfetto" => Target::File(Format::Perfetto),
        "csv" => Target::File(Format::Csv),
        "mermaid" => Target::File(Format::Mermaid),
        "screen" => Target::Screen,
        _ => {
            let time = text.parse().map(To::Time);
            return time.map_err(|_| format!("not a format ({ALLOWED})"));
        }
    };
    Ok(To::As(target))
}

/// What a file is by its ending.
pub(crate) fn format_of(out: &Path) -> Option<Format> {
    let ending = out.extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "svg" => Format::Svg,
        "csv" => Format::Csv,
        "mmd" | "mermaid" => Format::Mermaid,
        "json" | "perfetto" => Format::Perfetto,
        _ => return None,
    })
}

/// `120x40`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once(['x', 'X']);
    let size = parts.and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    size.filter(|(columns, rows)| (40..=500).contains(columns) && (10..=200).contains(rows))
        .ok_or_else(|| {
            "not a size that is possible here (allowed: 40x10 to 500x200, columns and rows)"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;
    use crate::view::report::Way;

    fn settled(arguments: &[&str]) -> Result<Config, String> {
        let line = ["tcpwatch", "export"].iter().chain(arguments);
        match parse(line.copied()) {
            Ok(config) => Ok(config),
            Err(Refusal::Usage(text)) => Err(text),
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    fn export(arguments: &[&str]) -> Result<Export, String> {
        settled(arguments).map(|config| match config {
            Config::Export(export) => export,
            other => panic!("{arguments:?} gave {other:?}"),
        })
    }

    fn picture(arguments: &[&str]) -> Picture {
        let line = [&["a", "--to", "screen"], arguments].concat();
        match settled(&line) {
            Ok(Config::Picture(picture)) => picture,
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    #[test]
    fn to_is_a_format_and_may_be_a_time_too() {
        let plain = export(&["a", "--to", "svg"]).unwrap();
        assert_eq!(plain.format, Format::Svg);
        assert!(plain.chosen.to.is_none());
        let both = export(&["a", "--to", "+5s", "--to", "csv", "-o", "b"]).unwrap();
        assert_eq!(both.format, Format::Csv);
        assert!(both.chosen.to.is_some());
        for (out, format) in [
            ("x.svg", Format::Svg),
            ("x.CSV", Format::Csv),
            ("x.mmd", Format::Mermaid),
            ("x.mermaid", Format::Mermaid),
            ("x.json", Format::Perfetto),
            ("x.perfetto", Format::Perfetto),
        ] {
            assert_eq!(export(&["a", "-o", out]).unwrap().format, format);
        }
        assert_eq!(export(&["a", "--to", "SVG"]).unwrap().format, Format::Svg);
        let chosen = export(&[
            "a",
            "--to",
            "svg",
            "--conn",
            "2-4,7",
            "--verdict",
            "aborted,open",
        ]);
        let chosen = chosen.unwrap().chosen;
        assert_eq!(chosen.conns, [(2, 4), (7, 7)]);
        let ways: Vec<&str> = chosen.ways.into_iter().map(Way::token).collect();
        assert_eq!(ways, ["aborted", "open"]);
        for wrong in [
            &["a"][..],
            &["a", "-o", "x.txt"],
            &["a", "--to", "svg", "--conn", "4-2"],
            &["a", "--to", "svg", "--verdict", "fine"],
            &["a", "--to", "png"],
            &["a", "--to", "+5s"],
            &["a", "--to", "svg", "--to", "csv"],
            &["--to", "svg"],
            &["-", "-", "--to", "svg"],
        ] {
            assert!(settled(wrong).is_err(), "{wrong:?}");
        }
    }

    fn looks(picture: &Picture) -> Looks {
        picture.replaying.screen.looks
    }

    #[test]
    fn a_picture_of_the_screen_has_a_moment_a_size_and_keys() {
        let usual = picture(&[]);
        assert_eq!(
            (usual.size, looks(&usual).background),
            ((120, 40), Background::Dark)
        );
        assert!(usual.at.is_none() && usual.keys.is_empty());
        let asked = picture(&[
            "--at",
            "-5s",
            "--size",
            "80x24",
            "--keys",
            "jj<Enter>",
            "--theme",
            "light",
            "--color",
            "never",
            "--until",
            "+9s",
        ]);
        assert_eq!(
            (asked.size, looks(&asked).background),
            ((80, 24), Background::Light)
        );
        assert_eq!((asked.keys.len(), asked.at.is_some()), (3, true));
        assert_eq!(looks(&asked).colors, Colors::None);
        assert!(asked.replaying.until.is_some());
    }

    #[test]
    fn what_is_of_no_use_is_refused() {
        for (wrong, why) in [
            (
                &["a", "--to", "svg", "--keys", "j"][..],
                "--keys: only with --to screen",
            ),
            (
                &["a", "-o", "b.svg", "--size", "80x24"],
                "--size: only with",
            ),
            (&["a", "--to", "screen", "--conn", "3"], "--conn: not with"),
            (&["a", "--to", "screen", "--from", "+1s"], "--at"),
            (&["a", "--to", "screen", "--size", "80"], "40x10 to 500x200"),
            (
                &["a", "--to", "screen", "--size", "9999x40"],
                "40x10 to 500x200",
            ),
            (&["a", "--to", "screen", "--keys", "<Bogus>"], "<Bogus>"),
        ] {
            let said = settled(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong:?}: {said}");
        }
    }
}
