//! What is said to the terminal beside the picture: the mouse, the question for its background, the
//! clipboard, and glyphs that it has.

use std::net::TcpListener;

use rustix::process::Signal;
use tcpwatch::view::tui::terminal::{Copied, Guard};
use vt100::{MouseProtocolEncoding, MouseProtocolMode};

use crate::pty::{Console, Setup};
use crate::{
    CTRL_Z, END_TIME, ESC, IDLE, STOPPED_BY_STOP, STOPPED_BY_TSTP, Taped, assert_ends_well,
    assert_whole_picture, connect, waiting, waiting_on, with_listener,
};

const QUESTION: &str = "\x1b]11;?\x1b\\";
/// What a terminal with a light background answers.
const LIGHT: &str = "\x1b]11;rgb:ffff/ffff/ffff\x1b\\";
/// ESTABLISHED on a dark and on a light background, of 256 colours.
const ON_DARK: &str = "38;5;123";
const ON_LIGHT: &str = "38;5;62";

fn sent(console: &Console) -> String {
    String::from_utf8(console.raw().to_vec()).unwrap()
}

#[track_caller]
fn assert_mouse(console: &Console, mode: MouseProtocolMode, encoding: MouseProtocolEncoding) {
    assert_eq!(console.screen().mouse_protocol_mode(), mode, "{console}");
    assert_eq!(console.screen().mouse_protocol_encoding(), encoding);
}

#[test]
fn the_mouse_is_asked_for_buttons_and_drags_alone() {
    let mut console = waiting();
    let (on, sgr) = (MouseProtocolMode::ButtonMotion, MouseProtocolEncoding::Sgr);
    assert_mouse(&console, on, sgr);
    console.press(CTRL_Z);
    assert_eq!(console.status(), STOPPED_BY_TSTP, "{console}");
    console.assert_given_back();
    console.press("fg\n");
    console.wait("the picture", |screen| {
        screen.contents().contains("Waiting") && screen.mouse_protocol_mode() == on
    });
    assert_mouse(&console, on, sgr);
    // A press, a drag, the wheel, and that the button is let go.
    console.press("\x1b[<0;1;1M\x1b[<32;2;1M\x1b[<64;1;1M\x1b[<65;1;1M\x1b[<0;2;1m");
    console.press("?");
    console.wait_for("next, previous row");
    console.press("q");
    assert_eq!(console.status(), 0);
    console.assert_given_back();
    assert!(!sent(&console).contains("?1003"), "every move is asked for");
}

#[test]
fn without_the_mouse_the_terminal_keeps_it() {
    let setup = Setup::tcpwatch(&[&IDLE[..], &["--mouse", "off"]].concat());
    let mut console = waiting_on(setup);
    assert_mouse(
        &console,
        MouseProtocolMode::None,
        MouseProtocolEncoding::Default,
    );
    console.press(CTRL_Z);
    assert_eq!(console.status(), STOPPED_BY_TSTP);
    console.press("fg\n");
    console.wait("the picture", |screen| {
        screen.alternate_screen() && screen.contents().contains("Waiting")
    });
    console.press("q");
    assert_eq!(console.status(), 0);
    console.assert_given_back();
    assert!(!sent(&console).contains("?1002h"));
}

/// Whoever stops it, the terminal is its own again when it goes on.
#[test]
fn every_stop_from_outside_is_survived() {
    for (signal, stopped) in [
        (Signal::STOP, STOPPED_BY_STOP),
        (Signal::TSTP, STOPPED_BY_TSTP),
    ] {
        let mut console = waiting();
        console.signal(signal);
        assert_eq!(console.status(), stopped);
        // A shell that knows of the mouse takes it back.
        console.meddle("\x1b[?1002l\x1b[?1006l\x1b[H\x1b[2J$ prompt");
        console.wait_for("$ prompt");
        console.press("fg\n");
        console.wait("the picture", |screen| {
            let is_heard = screen.mouse_protocol_mode() == MouseProtocolMode::ButtonMotion;
            is_heard && !screen.contents().contains("prompt")
        });
        assert_whole_picture(&console);
        console.press("q");
        assert_ends_well(console);
    }
}

/// A listener and a connection to it, which has a colour.
fn with_connection(more: &[&str]) -> (TcpListener, [std::net::TcpStream; 2], Console) {
    let (listener, mut console) = with_listener(Setup::tcpwatch, more);
    let (client, server) = connect(&listener);
    console.wait_for("A ESTABLISHED for");
    (listener, [client, server], console)
}

#[test]
fn a_light_terminal_gets_dark_letters() {
    let (_listener, _ends, mut console) = with_connection(&[]);
    assert_eq!(sent(&console).matches(QUESTION).count(), 1);
    assert!(sent(&console).contains(ON_DARK) && !sent(&console).contains(ON_LIGHT));
    // However late it answers.
    console.press(LIGHT);
    console.wait("dark letters", |screen| {
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut shown = cells.filter_map(|(row, column)| screen.cell(row, column));
        shown.any(|cell| cell.fgcolor() == vt100::Color::Idx(62))
    });
    console.press("q");
    assert_eq!(console.status(), 0);
    console.assert_given_back();
}

/// To a reader of keys an answer is Alt-] and letters, of which each could mean something.
#[test]
fn an_answer_is_no_key() {
    let mut console = waiting();
    // Between two keys, in two parts, and of a kind that nobody knows.
    console.press(&format!("?{}{ESC}", "\x1b]11;rgb:0000/0000/0000\x07"));
    console.wait_for("Waiting");
    console.press("?");
    console.wait_for("next, previous row");
    console.press("?");
    console.wait_for("Waiting");
    assert_whole_picture(&console);
    console.press("q");
    assert_ends_well(console);

    for answer in ["\x1b]11;rgb:qqqq/?/q\x07", "\x1b]11;?q\x1b\\"] {
        let mut console = waiting();
        console.press(&answer[..9]);
        console.press(&answer[9..]);
        console.press("?");
        console.wait_for("next, previous row");
        console.press("q");
        assert_ends_well(console);
    }
}

/// What comes after the end is read by the shell, as if it had been typed.
#[test]
fn an_answer_that_comes_with_the_end_is_not_left_to_the_shell() {
    let mut console = Setup::tcpwatch(&IDLE).start();
    console.wait("the screen", vt100::Screen::alternate_screen);
    console.press(&format!("q{LIGHT}"));
    assert_eq!(console.status(), 0);
    console.assert_given_back();
    console.press("fg\n");
    // The shell knows the command, and has no such job.
    assert_ne!(console.status(), 0);
}

#[test]
fn who_knows_the_background_does_not_ask() {
    let themed = |theme| Setup::tcpwatch(&[&IDLE[..], &["--theme", theme]].concat());
    let said = |name, value| Setup::tcpwatch(&IDLE).env(name, value);
    for (setup, asks) in [
        (Setup::tcpwatch(&IDLE), true),
        (themed("dark"), false),
        (themed("light"), false),
        (themed("auto"), true),
        (said("COLORFGBG", "0;15"), false),
        (said("NO_COLOR", "1"), false),
        (said("TERM", "linux"), false),
    ] {
        let mut console = setup.start();
        console.wait_for("Waiting: no connection for port 1 yet.");
        assert_eq!(sent(&console).contains(QUESTION), asks, "{console}");
        // Nobody waits for an answer that was not asked for.
        console.press("q");
        assert_ends_well(console);
    }
}

#[test]
fn a_theme_is_what_it_says() {
    for (theme, used, unused) in [("dark", ON_DARK, ON_LIGHT), ("light", ON_LIGHT, ON_DARK)] {
        let (_listener, _ends, console) = with_connection(&["--theme", theme]);
        let sent = sent(&console);
        assert!(sent.contains(used) && !sent.contains(unused), "{theme}");
    }
}

#[test]
fn in_ascii_nothing_else_reaches_the_terminal() {
    let ascii = |arguments: &[&str]| Setup::tcpwatch(&[arguments, &["--ascii"]].concat());
    let posix = |arguments: &[&str]| Setup::tcpwatch(arguments).env("LC_ALL", "C");
    let console_of_linux = |arguments: &[&str]| Setup::tcpwatch(arguments).env("TERM", "linux");
    let plain = |arguments: &[&str]| Setup::tcpwatch(arguments);
    let check = |setup: &dyn Fn(&[&str]) -> Setup, more: &[&str], expected: bool| {
        let (listener, mut console) = with_listener(setup, more);
        let (client, _server) = connect(&listener);
        console.wait_for("A ESTABLISHED for");
        drop(client);
        console.wait_for("B CLOSE_WAIT for");
        console.press("?");
        console.wait_for("next, previous row");
        console.press("q");
        assert_eq!(console.status(), 0);
        assert_eq!(console.raw().is_ascii(), expected, "{console}");
    };
    check(&ascii, &[], true);
    check(&posix, &[], true);
    check(&console_of_linux, &[], true);
    check(&plain, &[], false);
    check(&posix, &["--ascii=never"], false);
}

/// A recording that has ended is drawn when something is done, and not else.
#[test]
fn a_frame_is_one_write() {
    let tape = Taped::new("writes");
    let mut console = Setup::tcpwatch(&["replay", tape.name()])
        .size(200, 60)
        .start();
    console.wait_for("stopped in good order");
    let count = |console: &Console| sent(console).matches("\x1b[?2026h").count();
    let (Some(before), frames) = (console.writes(), count(&console)) else {
        eprintln!("skipped: this kernel does not count writes");
        return;
    };
    for _ in 0..10 {
        console.press("?");
        console.wait_for("next, previous row");
        console.press("?");
        console.wait_for("stopped in good order");
        console.wait("the panes", |screen| {
            !screen.contents().contains("next, previous row")
        });
    }
    let frames = count(&console) - frames;
    assert!(frames >= 20, "{frames}");
    let writes = console.writes().unwrap() - before;
    assert_eq!(writes, u64::try_from(frames).unwrap());
    console.press("q");
    assert_ends_well(console);
}

/// Set for the helpers below, which are no tests.
const COPY: &str = "TCPWATCH_TEST_COPY";

#[test]
fn what_is_copied_goes_through_the_terminal() {
    let name = "modes::copies_while_it_has_the_terminal";
    // printf a | base64, and so on.
    let bare = "\x1b]52;c;Y2xvc2UoKSBieSBcdXsxYn1bMko=\x07";
    let wrapped = format!("\x1bP{bare}\x1b\\");
    for (variable, expected) in [("COLUMNS", bare), ("TMUX", bare), ("STY", &wrapped)] {
        let setup = Setup::helper_test(name).env(COPY, "1").env(variable, "1");
        let mut console = setup.start();
        assert_eq!(console.status(), 0, "{console}");
        // Said after all else.
        console.wait_for("test result: ok");
        console.assert_given_back();
        let sent = sent(&console);
        let (_, rest) = sent.split_once("\x1b[?1006h").unwrap();
        let (copied, rest) = rest.split_once("\x1b[?1006l\x1b[?1002l").unwrap();
        assert_eq!(copied, expected, "{variable}");
        assert!(rest.contains("\x1b[?1049l"));
    }
}

#[test]
#[ignore = "a helper, run by another test on a terminal"]
fn copies_while_it_has_the_terminal() {
    if std::env::var_os(COPY).is_none() {
        return;
    }
    let mut guard = Guard::enter().unwrap();
    guard.listen(true).unwrap();
    assert_eq!(guard.copy("close() by \x1b[2J").unwrap(), Copied::All);
    guard.listen(false).unwrap();
}

/// However it ends, at whatever size: nothing of it is left.
#[test]
fn the_terminal_is_left_as_it_was_found() {
    for (columns, rows) in [(80, 24), (40, 10), (12, 3)] {
        for end in [Signal::TERM, Signal::HUP, Signal::INT] {
            let mut console = Setup::tcpwatch(&IDLE).size(columns, rows).start();
            console.wait("a frame", |screen| !screen.contents().trim().is_empty());
            console.assert_taken();
            console.signal(end);
            assert!(console.is_gone_within(END_TIME), "{end:?}");
            assert_ends_well(console);
        }
    }
}

/// Whoever has such a terminal would see escapes: it gets lines.
#[test]
fn a_terminal_that_moves_no_cursor_gets_lines() {
    let tape = Taped::new("dumb");
    let dumb = |arguments: &[&str]| Setup::tcpwatch(arguments).env("TERM", "dumb").start();
    let mut console = dumb(&["replay", tape.name()]);
    assert_eq!(console.status(), 0, "{console}");
    console.wait_for("#50 closed");
    assert!(!sent(&console).contains('\x1b'), "{console}");
    let mut console = dumb(&[&IDLE[..], &["--duration", "1ms"]].concat());
    assert_eq!(console.status(), 0, "{console}");
    assert!(!sent(&console).contains('\x1b'), "{console}");
    for line in [&["replay", tape.name()][..], &IDLE] {
        let mut console = dumb(&[line, &["--format", "tui"]].concat());
        assert_eq!(console.status(), 2, "{console}");
        console.wait_for("TERM is dumb");
        assert!(!sent(&console).contains('\x1b'), "{console}");
    }
}

#[test]
fn a_terminal_without_colours_gets_none() {
    let (listener, mut console) =
        with_listener(|line| Setup::tcpwatch(line).env("TERM", "vt100"), &[]);
    let ends = connect(&listener);
    console.wait_for("A ESTABLISHED for");
    console.press("q");
    assert_eq!(console.status(), 0);
    let sent = sent(&console);
    assert!(sent.contains("\x1b[?1049h"));
    let modes = sent.split("\x1b[").filter_map(|part| {
        let end = part.find(|c: char| c != ';' && !c.is_ascii_digit())?;
        part[end..].starts_with('m').then_some(&part[..end])
    });
    for mode in modes.flat_map(|modes| modes.split(';')) {
        let number: u8 = mode.parse().unwrap_or(0);
        // 39, 49 and 59 are the terminal's own.
        let is_colour = matches!(number, 30..=38 | 40..=48 | 58 | 90..=107);
        assert!(!is_colour, "{number}");
    }
    drop(ends);
}
