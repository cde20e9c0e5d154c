//! What is said to the terminal when it is taken and when it is given back.
//!
//! The trap: crossterm's own word for the mouse asks for every move of it (1003), and each would wake
//! us for nothing. Buttons, drags and the wheel are enough (1002), in the form that knows columns
//! beyond 223 (1006): xterm's ctlseqs, "Mouse Tracking".

use ratatui::crossterm::Command;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::style::ResetColor;
use ratatui::crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};

/// The mouse is reported from then on.
pub(super) const MOUSE_ON: &str = "\x1b[?1002h\x1b[?1006h";
/// The mouse is the terminal's own again.
pub(super) const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l";

/// Said when the terminal is taken.
pub(super) fn greeting(hears_mouse: bool) -> String {
    let mut text = said(&EnterAlternateScreen) + &said(&Hide);
    if hears_mouse {
        text += MOUSE_ON;
    }
    text
}

/// Said when it is given back. A frame may have been on its way, of which only a part went out. What
/// was never turned on is turned off too: who says it in a hurry can't know.
pub(super) fn farewell() -> String {
    let frame = said(&EndSynchronizedUpdate) + &said(&ResetColor);
    frame + MOUSE_OFF + &said(&LeaveAlternateScreen) + &said(&Show)
}

fn said(command: &impl Command) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = command.write_ansi(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_on_is_turned_off() {
        let greeting = greeting(true);
        let farewell = farewell();
        for mode in ["?1049", "?1002", "?1006"] {
            assert!(greeting.contains(&format!("\x1b[{mode}h")), "{mode}");
            assert!(farewell.contains(&format!("\x1b[{mode}l")), "{mode}");
        }
        assert!(greeting.contains("\x1b[?25l") && farewell.contains("\x1b[?25h"));
        assert!(farewell.contains("\x1b[0m"));
        assert!(!greeting.contains("?1003") && !greeting.contains("?2004"));
    }
}
