//! What the environment says of the terminal: `TERM`, as terminfo has it.
//!
//! The trap: it is only a name. What no family below has is believed to be able to do everything,
//! as nearly all are by now.

/// As it is set; empty when it is not.
pub(super) fn of_environment() -> String {
    let term = std::env::var_os("TERM").unwrap_or_default();
    term.to_string_lossy().into_owned()
}

/// Why no screen can be drawn on it: it does not move its cursor (terminfo: `dumb`, and those that stand
/// for nobody knows what). `None` when it can be.
pub(super) fn refuses_screen(term: &str) -> Option<String> {
    match term {
        "" => Some("TERM is not set".to_owned()),
        "dumb" | "unknown" | "network" => Some(format!("TERM is {term}")),
        _ => None,
    }
}

/// Whether it has colours: in terminfo the VT100 and its line have none before the VT525, nor has what is
/// called monochrome.
pub(super) fn has_colours(term: &str) -> bool {
    let monochrome = ["sun", "wyse", "vt"];
    let is_monochrome = monochrome.iter().any(|family| term.starts_with(family))
        && !term.starts_with("vt525")
        && !term.ends_with("color");
    refuses_screen(term).is_none()
        && !is_monochrome
        && !term.ends_with("-mono")
        && !term.ends_with("-m")
}

/// A terminal that has no more than ASCII, or whose font lacks what is drawn (the console of Linux
/// has 512 glyphs at most), and which is not asked questions.
pub(super) fn is_poor(term: &str) -> bool {
    let families = ["vt", "ansi", "cons25", "sun", "wyse", "linux"];
    refuses_screen(term).is_some() || families.iter().any(|family| term.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_terminfo() {
        for term in [
            "xterm",
            "xterm-256color",
            "screen",
            "tmux-256color",
            "linux",
            "ansi",
            "vt525",
            "sun-color",
            "rxvt",
            "foot",
            "alacritty",
        ] {
            assert!(has_colours(term), "{term}");
        }
        for term in [
            "",
            "dumb",
            "vt100",
            "vt102",
            "vt220",
            "vt320",
            "vt420",
            "vt100-am",
            "sun",
            "wyse50",
            "xterm-mono",
            "ansi-m",
        ] {
            assert!(!has_colours(term), "{term}");
        }
    }

    #[test]
    fn a_screen_needs_a_cursor_that_moves() {
        assert_eq!(refuses_screen("dumb").as_deref(), Some("TERM is dumb"));
        assert_eq!(refuses_screen("").as_deref(), Some("TERM is not set"));
        for term in ["vt100", "linux", "xterm", "what-nobody-knows"] {
            assert_eq!(refuses_screen(term), None, "{term}");
        }
    }
}
