//! The program on a real terminal: what a user sees, types and is left with.
//!
//! The trap: time. Nothing here sleeps or counts on speed; a test waits for what it wants to see,
//! and a bound in seconds is there only where the promise itself is one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]
#![allow(
    unsafe_code,
    reason = "a session with a terminal of its own is made between fork and exec"
)]

#[path = "terminal/modes.rs"]
mod modes;
mod pty;
#[path = "common/tape.rs"]
mod tape;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use procfs::process::Process;
use pty::{Console, Setup};
use rustix::process::Signal;
use tcpwatch::source::clock;
use tcpwatch::view::tui::terminal::Guard;

/// A port that nobody has a socket on: below those that are given out.
const IDLE: [&str; 2] = ["--port", "1"];
/// What the program promises to keep when it is asked to end.
const END_TIME: Duration = Duration::from_secs(2);
const CTRL_C: &str = "\x03";
const CTRL_L: &str = "\x0c";
const CTRL_Z: &str = "\x1a";
const ESC: &str = "\x1b";
/// What a shell says of a job that SIGTSTP or SIGSTOP has stopped.
const STOPPED_BY_TSTP: i32 = 128 + 20;
const STOPPED_BY_STOP: i32 = 128 + 19;

/// A recording that still comes, through a named pipe.
#[test]
fn what_grows_has_the_usual_span_and_says_that_it_waits() {
    let tape = Taped::new("grows");
    let whole = std::fs::read(tape.name()).unwrap();
    let pipe = format!("{}.fifo", tape.name());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let mut console = Setup::tcpwatch(&["replay", &pipe]).start();
    let mut writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    std::fs::remove_file(&pipe).unwrap();
    std::io::Write::write_all(&mut writer, &whole).unwrap();
    console.wait_for("waiting for more");
    console.wait("the axis that waits too", |screen| {
        let text = screen.contents();
        let axis = text.lines().find(|line| line.starts_with(" time"));
        axis.is_some_and(|axis| axis.trim_end().ends_with("waiting") && axis.contains("-5 s"))
    });
    // What was not recorded is no place to go to.
    console.press("t03:10\r");
    console.wait_for("is outside of the recording (2023-11-1");
    console.press(ESC);
    drop(writer);
    console.wait_for("end of the recording");
    console.press("q");
    assert_ends_well(console);
}

/// The program, waiting for a connection on a port where none comes.
fn waiting() -> Console {
    waiting_on(Setup::tcpwatch(&IDLE))
}

fn waiting_on(setup: Setup) -> Console {
    let mut console = setup.start();
    console.wait_for("Waiting: no connection for port 1 yet.");
    console
}

/// A recording in a file of its own, gone at the end.
struct Taped(std::path::PathBuf);

impl Taped {
    fn new(name: &str) -> Self {
        let name = format!("tcpwatch-{name}-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, tape::recording(50)).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Taped {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// As while its recorder runs: nothing says how long it goes on.
#[test]
fn a_file_without_its_last_line_may_still_be_written() {
    let tape = Taped::new("fresh");
    let whole = std::fs::read_to_string(tape.name()).unwrap();
    let (without, _) = whole.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(tape.name(), format!("{without}\n")).unwrap();
    let file = std::fs::File::options().append(true).open(tape.name());
    let file = file.unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    // Of the future it was written to neither.
    for (written, expected) in [
        (now - Duration::from_secs(3600), "was stopped at once"),
        (now + Duration::from_secs(3600), "was stopped at once"),
        (now, "may still be being written"),
    ] {
        file.set_modified(written).unwrap();
        let setup = Setup::tcpwatch(&["replay", tape.name(), "--speed", "1024"]);
        let mut console = setup.size(120, 24).start();
        console.wait_for(expected);
        console.press("q");
        assert_ends_well(console);
    }
}

fn travels(mut console: Console) {
    // It lasts 50 ms.
    console.wait_for("stopped in good order");
    console.assert_taken();
    console.press("\x1b[D");
    console.wait_for("paused 1x");
    assert!(
        !console.text().contains("stopped in good order"),
        "{console}"
    );
    console.press("]");
    console.wait_for("paused 2x");
    console.press("t+10s\r");
    console.wait_for(" end");
    console.press("tnever\r");
    console.wait_for("'never' is not a time");
    console.press(ESC);
    console.wait_for("q quit");
    console.press("\x1b[H");
    console.wait_for("paused 2x");
    console.wait_for("1 open, 1 seen");
    console.press(" ");
    console.wait_for("stopped in good order");
    console.press("\x1b[D");
    console.wait_for("paused 2x");
    console.press("\x1b[F");
    console.wait_for("stopped in good order");
    console.press("q");
    assert_ends_well(console);
}

#[test]
fn a_recording_travels_in_time() {
    let tape = Taped::new("travels");
    travels(Setup::tcpwatch(&["replay", tape.name()]).start());
}

#[test]
fn a_recording_travels_in_time_from_a_pipe() {
    let tape = Taped::new("piped");
    travels(Setup::tcpwatch_reading(tape.name(), &["replay", "-"]).start());
}

/// Every line of the picture of an idle port has its place.
#[track_caller]
fn assert_whole_picture(console: &Console) {
    let rows = console.rows();
    assert!(rows[0].starts_with(" tcpwatch  port 1 "), "{console}");
    assert!(rows[0].trim_end().ends_with("LIVE"), "{console}");
    assert!(rows[1].starts_with(" sock_diag "), "{console}");
    assert!(rows[2].starts_with(" no listener "), "{console}");
    let last = rows.last().unwrap();
    assert!(last.starts_with(" q quit "), "{console}");
    let filled = rows.iter().filter(|row| !row.trim().is_empty());
    assert_eq!(filled.count(), 6, "{console}");
}

#[track_caller]
fn assert_ends_well(mut console: Console) {
    assert_eq!(console.status(), 0, "{console}");
    console.assert_given_back();
    assert_eq!(console.text().trim(), "", "{console}");
}

#[test]
fn it_begins_with_its_own_screen() {
    let console = waiting();
    console.assert_taken();
    assert_whole_picture(&console);
    console.press("q");
    assert_ends_well(console);
}

#[test]
fn ctrl_c_is_a_key_that_quits() {
    let console = waiting();
    console.press(CTRL_C);
    assert_ends_well(console);
}

#[test]
fn signals_end_it_in_good_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let console = waiting();
        console.signal(signal);
        assert!(console.is_gone_within(END_TIME), "{signal:?}");
        assert_ends_well(console);
    }
}

#[test]
fn only_whole_frames_are_sent() {
    let mut console = waiting();
    console.press("?");
    console.wait_for("next, previous row");
    console.press("q");
    assert_eq!(console.status(), 0);
    console.assert_given_back();
    let raw = String::from_utf8(console.raw().to_vec()).unwrap();
    let (greeting, rest) = raw.split_once("\x1b[?2026h").unwrap();
    let mouse = "\x1b[?1002h\x1b[?1006h";
    let question = "\x1b]11;?\x1b\\";
    assert_eq!(greeting, format!("\x1b[?1049h\x1b[?25l{mouse}{question}"));
    let (frames, farewell) = rest.rsplit_once("\x1b[?2026l").unwrap();
    let mouse = "\x1b[?1006l\x1b[?1002l";
    assert_eq!(farewell, format!("\x1b[0m{mouse}\x1b[?1049l\x1b[?25h"));
    // The farewell itself begins with an end, in case a frame was on its way.
    let frames = frames.strip_suffix("\x1b[?2026l").unwrap();
    for (index, between) in frames.split("\x1b[?2026l").enumerate() {
        let begins = between.matches("\x1b[?2026h").count();
        assert_eq!(begins, usize::from(index > 0), "{}", between.escape_debug());
        assert!(index == 0 || between.starts_with("\x1b[?2026h"));
    }
}

/// An idle port, for a second: ages, and time itself, would move the picture five times.
#[test]
fn a_picture_that_does_not_change_is_not_sent() {
    let line = [&IDLE[..], &["--duration", "1s"]].concat();
    let mut console = waiting_on(Setup::tcpwatch(&line));
    let before = console.raw().len();
    assert_eq!(console.status(), 0, "{console}");
    console.assert_given_back();
    let sent = String::from_utf8(console.raw()[before..].to_vec()).unwrap();
    // A source may have said something of itself by then: that is seen, and has letters.
    let frames = sent.split("\x1b[?2026h").skip(1);
    for frame in frames {
        let frame = frame.split("\x1b[?2026l").next().unwrap();
        let is_seen = frame.split('\x1b').skip(1).any(|part| {
            let text = part.trim_start_matches(|c: char| "[;?".contains(c) || c.is_ascii_digit());
            text.len() > 1
        });
        assert!(is_seen, "{}", sent.escape_debug());
    }
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    let mut console = waiting();
    for _ in 0..2 {
        console.press(CTRL_Z);
        assert_eq!(console.status(), STOPPED_BY_TSTP, "{console}");
        console.assert_given_back();
        console.press("fg\n");
        console.wait("the picture", |screen| {
            screen.alternate_screen() && screen.contents().contains("Waiting")
        });
        console.assert_taken();
        assert_whole_picture(&console);
    }
    console.press("q");
    assert_eq!(console.status(), 0, "{console}");
    console.assert_given_back();
}

#[test]
fn stopped_from_outside_it_takes_the_terminal_again_when_it_goes_on() {
    let mut console = waiting();
    console.signal(Signal::STOP);
    assert_eq!(console.status(), STOPPED_BY_STOP);
    // What a shell does then: its own modes, its prompt.
    console.meddle("\x1b[H\x1b[2J\x1b[?25h$ prompt");
    console.wait_for("$ prompt");
    console.press("fg\n");
    console.wait("the picture", |screen| {
        let text = screen.contents();
        screen.hide_cursor() && text.contains("Waiting") && !text.contains("prompt")
    });
    console.assert_taken();
    assert_whole_picture(&console);
    console.press("q");
    assert_ends_well(console);
}

/// As under `ssh -t host tcpwatch` or in a container: who stops there never goes on.
#[test]
fn ctrl_z_without_a_shell_does_not_stop_it() {
    let mut console = waiting_on(Setup::tcpwatch(&IDLE).without_shell());
    console.press(CTRL_Z);
    console.press("?");
    console.wait_for("next, previous row");
    console.assert_taken();
    console.press("q");
    assert!(console.is_gone_within(END_TIME), "{console}");
}

#[test]
fn it_ends_with_its_terminal() {
    let mut console = waiting();
    console.hang_up();
    assert!(console.is_gone_within(END_TIME));
}

#[test]
fn it_ends_with_its_terminal_when_it_is_deaf_to_hangup() {
    let mut console = waiting_on(Setup::deaf_to_hangup(&IDLE));
    console.signal(Signal::HUP);
    console.press("?");
    console.wait_for("next, previous row");
    let before = console.cpu().unwrap();
    let mut after = before;
    let deadline = clock::now().plus(END_TIME);
    console.hang_up();
    while !console.is_gone_within(Duration::from_millis(10)) {
        assert!(clock::now() < deadline);
        after = console.cpu().unwrap_or(after);
    }
    let used = after - before;
    assert!(used < Duration::from_millis(500), "{used:?}");
}

#[test]
fn a_terminal_that_nobody_reads_does_not_keep_it() {
    let mut console = waiting_on(Setup::tcpwatch(&IDLE).size(200, 60));
    let await_that = |console: &Console, is_so: &dyn Fn(&Console) -> bool| {
        let deadline = clock::now().plus(pty::PATIENCE);
        while !is_so(console) {
            assert!(clock::now() < deadline);
            assert!(!console.is_gone_within(Duration::from_millis(20)));
        }
    };
    await_that(&console, &|console| {
        console.press(CTRL_L);
        console.is_full() && console.is_in_call("tcpwatch", libc::SYS_write)
    });
    // More than the main thread's channel holds: whoever else has a message finds it full.
    console.press(&"j".repeat(1000));
    await_that(&console, &|console| {
        console.is_in_call("keys", libc::SYS_futex)
    });
    console.signal(Signal::TERM);
    assert!(console.is_gone_within(END_TIME));
    // 128 + SIGTERM when it could not end in good order.
    assert!([0, 143].contains(&console.status()));
    assert!(console.is_as_before(), "{console}");
}

#[test]
fn the_picture_follows_the_size() {
    let mut console = waiting();
    for (columns, rows) in [
        (120, 40),
        (60, 16),
        (40, 10),
        (39, 10),
        (40, 9),
        (20, 5),
        (1, 1),
        (200, 60),
        (80, 24),
    ] {
        console.resize(columns, rows);
        console.wait(&format!("{columns}x{rows}"), |screen| {
            let lines: Vec<String> = screen.rows(0, columns).collect();
            let small = format!("too small: {columns}x{rows}");
            match columns {
                1 => lines[0] == "t",
                _ if columns < 40 || rows < 10 => lines.concat().starts_with(&small),
                _ => {
                    lines
                        .last()
                        .is_some_and(|line| line.starts_with(" q quit "))
                        && lines[0].trim_end().ends_with("LIVE")
                        && lines[0].trim_end().chars().count() + 1 == usize::from(columns)
                }
            }
        });
    }
    assert_whole_picture(&console);
    console.press("q");
    assert_ends_well(console);
}

/// Whoever drags the window's edge goes on typing.
#[test]
fn a_key_that_comes_with_another_size_is_a_key() {
    let mut console = waiting();
    for columns in 100..120 {
        console.resize(columns, 24);
        console.press("?");
        console.wait_for("next, previous row");
        console.press(ESC);
        console.resize(columns, 25);
        console.wait_for("Waiting");
    }
    console.press("q");
    assert_ends_well(console);
}

/// A serial line, or a program that made the terminal and said nothing of its size.
#[test]
fn a_terminal_without_a_size_gets_the_picture_when_it_has_one() {
    let mut console = Setup::tcpwatch(&IDLE).size(0, 0).start();
    console.wait("the screen", vt100::Screen::alternate_screen);
    console.resize(80, 24);
    console.wait_for("Waiting");
    assert_whole_picture(&console);
    console.press("q");
    assert_ends_well(console);
}

/// An address of this host that nobody else uses: a port is soon used again, and what is left of
/// others (TIME_WAIT) would be shown with it.
fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A listener, with the program watching it.
fn with_listener(setup: impl FnOnce(&[&str]) -> Setup, more: &[&str]) -> (TcpListener, Console) {
    let address = own_address();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let address = address.to_string();
    let mut arguments = vec!["--port", &port, "--host", &address];
    arguments.extend(more);
    let mut console = setup(&arguments).size(120, 40).start();
    console.wait_for("The listener is there");
    (listener, console)
}

fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_connection_is_shown_from_its_opening_to_its_end() {
    let (listener, mut console) = with_listener(Setup::tcpwatch, &[]);
    console.press("+++");
    let (client, server) = connect(&listener);
    console.wait("both lanes ESTABLISHED", |screen| {
        let text = screen.contents();
        text.contains("A ESTABLISHED for") && text.contains("B ESTABLISHED for")
    });

    drop(client);
    console.wait("half closed", |screen| {
        let text = screen.contents();
        ["A FIN_WAIT2 for", "FIN_WAIT2 fd gone", "B CLOSE_WAIT for"]
            .iter()
            .all(|part| text.contains(part))
    });

    console.press(" ");
    console.wait_for("PAUSED");
    let picture = console.rows().split_off(2);
    drop(server);
    console.wait("a second of pause", |screen| {
        let first = screen.rows(0, 120).next().unwrap();
        ["PAUSED 1.", "PAUSED 2."]
            .iter()
            .any(|part| first.contains(part))
    });
    assert_eq!(console.rows().split_off(2), picture, "{console}");
    console.press(" ");
    console.wait("the end", |screen| {
        let text = screen.contents();
        text.contains(" LIVE") && text.contains("orderly: A closed first")
    });

    console.press("?");
    console.wait_for("stop the picture, go on");
    console.press(ESC);
    console.wait("the connection again", |screen| {
        let text = screen.contents();
        text.contains("orderly: A closed first") && !text.contains("stop the picture")
    });

    let (_second, _other) = connect(&listener);
    console.wait_for(" connection 2:");
    for (key, chosen) in [
        ("g", 1),
        ("j", 2),
        ("k", 1),
        ("G", 2),
        ("\x1b[A", 1),
        ("\x1b[B", 2),
    ] {
        console.press(key);
        console.wait_for(&format!(" connection {chosen}:"));
    }
    console.press("\x1b[5~\x1b[6~\x06\x02-_=\x1b[H\x1b[F\x1bOP\x1b[<0;1;1M\u{e9}");
    console.press("?");
    console.wait_for("stop the picture, go on");
    console.press("q");
    assert_ends_well(console);
}

#[test]
fn experiments_conclude_on_the_screen_and_after_it() {
    for (name, lesson) in [
        ("close", "close: shown: "),
        ("shutdown", "shutdown: shown: "),
    ] {
        let mut console = Setup::tcpwatch(&["lab", name, "--step", "50ms"])
            .size(120, 40)
            .start();
        console.wait_for(lesson);
        console.assert_taken();
        console.press("q");
        assert_eq!(console.status(), 0, "{console}");
        console.assert_given_back();
        console.wait("the conclusion on the terminal's own screen", |screen| {
            screen
                .contents()
                .starts_with(&format!("tcpwatch: {lesson}"))
        });
    }
}

#[test]
fn an_experiment_that_is_left_leaves_no_process() {
    let mut console = Setup::tcpwatch(&["lab", "close", "--step", "1h"]).start();
    console.wait_for(" listening 127.0.0.1:");
    let actors = children(console.pid());
    assert!(!actors.is_empty());
    console.press("q");
    assert_ends_well(console);
    for actor in actors {
        assert!(Process::new(actor).is_err(), "{actor}");
    }
}

fn children(pid: rustix::process::Pid) -> Vec<i32> {
    let pid = pid.as_raw_nonzero().get();
    procfs::process::all_processes()
        .unwrap()
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| stat.ppid == pid)
        .map(|stat| stat.pid)
        .collect()
}

/// Whether any sequence sets a colour; back to the terminal's own is none.
fn has_colour(raw: &[u8]) -> bool {
    let text = String::from_utf8_lossy(raw);
    text.split("\x1b[")
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && !";:".contains(c))?;
            rest[end..].starts_with('m').then(|| &rest[..end])
        })
        .flat_map(|codes| codes.split([';', ':']))
        .filter_map(|code| code.parse::<u16>().ok())
        .any(|code| matches!(code, 30..=38 | 40..=48 | 58 | 90..=97 | 100..=107))
}

#[test]
fn colour_is_used_when_it_is_wanted() {
    let plain = |arguments: &[&str]| Setup::tcpwatch(arguments);
    let no_color = |arguments: &[&str]| Setup::tcpwatch(arguments).env("NO_COLOR", "1");
    let empty = |arguments: &[&str]| Setup::tcpwatch(arguments).env("NO_COLOR", "");
    let vt100 = |arguments: &[&str]| Setup::tcpwatch(arguments).env("TERM", "vt100");
    let check = |setup: &dyn Fn(&[&str]) -> Setup, more: &[&str], expected: bool| {
        let (listener, mut console) = with_listener(setup, more);
        let _ends = connect(&listener);
        console.wait_for("A ESTABLISHED for");
        console.press("q");
        assert_eq!(console.status(), 0);
        assert_eq!(has_colour(console.raw()), expected, "{more:?}");
    };
    check(&plain, &[], true);
    check(&empty, &[], true);
    check(&no_color, &[], false);
    check(&vt100, &[], false);
    check(&plain, &["--color", "never"], false);
    check(&no_color, &["--color", "always"], true);
}

#[test]
fn an_idle_screen_costs_next_to_nothing() {
    const TIME: Duration = Duration::from_secs(5);
    let mut console = waiting();
    let (before, sent) = (console.cpu().unwrap(), console.raw().len());
    console.linger(TIME);
    let share = (console.cpu().unwrap() - before).as_secs_f64() / TIME.as_secs_f64();
    let bytes = console.raw().len() - sent;
    eprintln!(
        "idle screen: {:.1} % of a CPU, {} bytes a second",
        share * 100.0,
        bytes / 5
    );
    // No measurement, only a guard against a loop that does not wait.
    assert!(share < 0.2, "{share}");
    console.press("q");
    assert_ends_well(console);
}

/// Set for the helpers below, which are no tests.
const PANIC: &str = "TCPWATCH_TEST_PANIC";

#[test]
fn a_panic_is_read_on_a_whole_terminal() {
    let setup = Setup::helper_test("panics_while_it_has_the_terminal");
    let mut console = setup.env(PANIC, "1").start();
    assert_eq!(console.status(), 101, "{console}");
    console.wait_for("on purpose");
    console.assert_given_back();
    let raw = String::from_utf8(console.raw().to_vec()).unwrap();
    assert!(raw.contains("\x1b[?1049h") && raw.contains("picture"));
}

/// A thread that is gone does not do its work any more: the picture would be of the past.
#[test]
fn a_panic_of_another_thread_ends_the_program() {
    let setup = Setup::helper_test("another_thread_panics_while_it_has_the_terminal");
    let mut console = setup.env(PANIC, "1").start();
    assert_eq!(console.status(), 101, "{console}");
    console.wait_for("on purpose");
    console.assert_given_back();
}

fn guard_with_a_picture() -> Option<Guard> {
    std::env::var_os(PANIC)?;
    let mut guard = Guard::enter().unwrap();
    guard.listen(true).unwrap();
    guard
        .draw(|frame| frame.render_widget("picture", frame.area()))
        .unwrap();
    Some(guard)
}

#[test]
#[ignore = "a helper, run by another test on a terminal"]
fn panics_while_it_has_the_terminal() {
    if let Some(_guard) = guard_with_a_picture() {
        panic!("on purpose");
    }
}

#[test]
#[ignore = "a helper, run by another test on a terminal"]
fn another_thread_panics_while_it_has_the_terminal() {
    if let Some(_guard) = guard_with_a_picture() {
        let _ended = std::thread::spawn(|| panic!("on purpose")).join();
        // The work goes on, as far as this thread knows.
        loop {
            std::thread::park();
        }
    }
}
