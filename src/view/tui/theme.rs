//! How things look: one style for each meaning, and none that carries meaning alone.
//!
//! The trap: a screen that needs its colours is lost on a monochrome terminal, in a log and to
//! the colour-blind. Every state also has a name and a glyph of its own, red never stands against
//! green, and the terminal's own foreground is used wherever nothing has to be told apart.

use ratatui::style::{Color, Modifier, Style};

use crate::diagnosis::Severity;
use crate::model::TcpState;
use crate::view::palette::{self, ColorMode};

/// Styles by meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    mode: ColorMode,
}

impl Theme {
    pub(super) const fn new(mode: ColorMode) -> Self {
        Self { mode }
    }

    fn coloured(self, color: Color) -> Style {
        match self.mode {
            ColorMode::On => Style::new().fg(color),
            ColorMode::Off => Style::new(),
        }
    }

    /// A state's name and lane.
    pub(super) fn state(self, state: TcpState) -> Style {
        let style = palette::color(state).map_or(Style::new(), |color| self.coloured(color));
        match state {
            TcpState::CloseWait => style.add_modifier(Modifier::BOLD),
            _ => style,
        }
    }

    /// Something is wrong: losses, a full accept queue, no source.
    pub(super) fn alert(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A finding, beside the sign of its severity.
    pub(super) fn severity(self, severity: Severity) -> Style {
        let style = palette::of_severity(severity).map_or(Style::new(), |it| self.coloured(it));
        style.add_modifier(Modifier::BOLD)
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
