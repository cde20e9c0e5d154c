//! How things look: one style for each meaning, and none that carries meaning alone.
//!
//! The trap: a screen that needs its colours is lost on a monochrome terminal, in a log and to
//! the colour-blind. Every state also has a name and a glyph of its own, red never stands against
//! green, and the terminal's own foreground is used wherever nothing has to be told apart.

use ratatui::style::{Color, Modifier, Style};

use crate::diagnosis::Severity;
use crate::model::TcpState;
use crate::view::palette::{self, Background, Colors};

/// What the terminal can show, and how it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// How many colours.
    pub colors: Colors,
    /// What is written on.
    pub background: Background,
    /// Which glyphs it has.
    pub glyphs: Glyphs,
}

/// Which glyphs a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Lines, blocks and arrows.
    Unicode,
    /// Those of a typewriter.
    Ascii,
}

/// Styles by meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) looks: Looks,
}

impl Theme {
    pub(super) const fn new(looks: Looks) -> Self {
        Self { looks }
    }

    fn coloured(color: Option<Color>) -> Style {
        color.map_or(Style::new(), |color| Style::new().fg(color))
    }

    /// A state's name and lane.
    pub(super) fn state(self, state: TcpState) -> Style {
        let Looks {
            colors, background, ..
        } = self.looks;
        let style = Self::coloured(palette::on_screen(state, colors, background));
        match state {
            TcpState::CloseWait => style.add_modifier(Modifier::BOLD),
            _ => style,
        }
    }

    /// Something is wrong: losses, a full accept queue, no source.
    pub(super) fn alert(self) -> Style {
        self.severity(Severity::Error)
    }

    /// A finding, beside the sign of its severity.
    pub(super) fn severity(self, severity: Severity) -> Style {
        let Looks {
            colors, background, ..
        } = self.looks;
        let color = palette::severity_on_screen(severity, colors, background);
        Self::coloured(color).add_modifier(Modifier::BOLD)
    }

    /// What is there to be skipped.
    pub(super) const fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings and the chosen row.
    pub(super) const fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The bar that heads a pane.
    pub(super) const fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    /// The column of the cursor.
    pub(super) const fn cursor(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The picture is not the present.
    pub(super) const fn paused(self) -> Style {
        Style::new()
            .add_modifier(Modifier::REVERSED)
            .add_modifier(Modifier::BOLD)
    }
}
