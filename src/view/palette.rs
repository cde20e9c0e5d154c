//! One colour a state, for lines and for lanes: of the sixteen that every terminal has, and
//! never the only sign.

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

/// What is written on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Dark, as most are.
    #[default]
    Dark,
    /// Light.
    Light,
}

/// The colour of a state: what waits for a local program stands out (CLOSE_WAIT), what the kernel
/// settles alone does not. CLOSE and LISTEN have the terminal's own.
pub const fn color(state: TcpState) -> Option<Color> {
    Some(match state {
        TcpState::Established => Color::Cyan,
        TcpState::SynSent | TcpState::SynRecv => Color::Green,
        TcpState::FinWait1 | TcpState::FinWait2 => Color::Yellow,
        TcpState::Closing => Color::LightYellow,
        TcpState::CloseWait | TcpState::LastAck => Color::Magenta,
        TcpState::TimeWait => Color::LightBlue,
        TcpState::Close | TcpState::Listen => return None,
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
