//! One colour a state, for lines and for lanes: of the sixteen that every terminal has, and
//! never the only sign.

use crossterm::style::{Color, Stylize};

use crate::model::TcpState;

/// Whether colour may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorMode {
    /// Colours of the terminal.
    On,
    /// None at all.
    Off,
}

/// The colour of a state.
pub const fn color(state: TcpState) -> Color {
    match state {
        TcpState::Established => Color::Green,
        TcpState::SynSent | TcpState::SynRecv | TcpState::Listen => Color::Cyan,
        TcpState::FinWait1 | TcpState::Closing => Color::Magenta,
        TcpState::FinWait2 => Color::Blue,
        TcpState::CloseWait => Color::Yellow,
        TcpState::LastAck => Color::Red,
        TcpState::TimeWait | TcpState::Close => Color::DarkGrey,
    }
}

/// The state's name, in its colour when that is wanted.
pub fn painted(state: TcpState, mode: ColorMode) -> String {
    match mode {
        ColorMode::On => state.name().with(color(state)).to_string(),
        ColorMode::Off => state.name().to_owned(),
    }
}
