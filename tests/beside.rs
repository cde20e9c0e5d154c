//! What the screen writes beside itself: the log, and the files that its user saves. None of it may
//! reach the terminal while the screen is up.
//!
//! The trap: a line that somebody writes there is gone with the next frame, or stays for ever in a
//! cell that does not change; the model of the terminal can show either. So the bytes are looked at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]
#![allow(
    unsafe_code,
    reason = "a session with a terminal of its own is made between fork and exec"
)]

#[allow(dead_code, reason = "other tests need more of it")]
mod pty;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;

use pty::{Console, Setup};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tcpwatch-beside-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A listener of its own, and how it is named on the command line.
fn listener() -> (TcpListener, String) {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let listener = TcpListener::bind((Ipv4Addr::new(127, high, low, 77), 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// What was sent between the first frame and the farewell is frames, and nothing else.
#[track_caller]
fn assert_only_frames(console: &Console) {
    let raw = String::from_utf8_lossy(console.raw()).into_owned();
    let (_, rest) = raw.split_once("\x1b[?2026h").unwrap();
    let (frames, _) = rest.split_once("\x1b[?1049l").unwrap();
    let (frames, farewell) = frames.rsplit_once("\x1b[?2026l").unwrap();
    let is_mode = |code: &str| {
        let number = code.strip_suffix(['m', 'l']);
        number.is_some_and(|it| it.trim_start_matches('?').parse::<u16>().is_ok())
    };
    let modes = farewell.strip_prefix("\x1b[").unwrap_or("0m");
    let is_known = modes.split("\x1b[").all(is_mode);
    assert!(is_known, "{}", farewell.escape_debug());
    for between in frames.split("\x1b[?2026l").skip(1) {
        let is_frame = between.is_empty() || between.starts_with("\x1b[?2026h");
        assert!(is_frame, "{}", between.escape_debug());
    }
}

#[test]
fn what_goes_wrong_under_the_screen_waits_for_its_end() {
    let folder = Folder::new("trouble");
    let (listener, port) = listener();
    let (tape, log) = (folder.file("a.jsonl"), folder.file("log"));
    let arguments = ["--port", &port, "--record", &tape, "--log", &log];
    // Blocks of 512 bytes: it can't be recorded on soon.
    let mut console = Setup::behind("ulimit -f 16", &arguments)
        .size(120, 40)
        .start();
    console.wait_for("The listener is there");
    for _ in 0..40 {
        connect(&listener);
    }
    console.wait_for("recording ended");
    console.assert_taken();
    console.press("q");
    assert_eq!(console.status(), 0, "{console}");
    console.assert_given_back();
    console.wait("what it came to, on the terminal's own screen", |screen| {
        screen.contents().contains("tcpwatch: recording ended: ")
    });
    assert_only_frames(&console);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("sock_diag: running"), "{log}");
    assert!(log.contains("recording ended: "), "{log}");
}

#[test]
fn a_log_that_cannot_be_written_ends_and_says_so_afterwards() {
    let mut console = Setup::tcpwatch(&["--port", "1", "--log", "/dev/full"]).start();
    console.wait_for("Waiting: no connection for port 1 yet.");
    console.press("q");
    assert_eq!(console.status(), 0, "{console}");
    console.assert_given_back();
    console.wait("its complaint, on the terminal's own screen", |screen| {
        let text = screen.contents();
        text.starts_with("tcpwatch: --log /dev/full: it ended: No space left")
    });
    assert_only_frames(&console);
}

/// What was typed, and what the last line says of it.
#[track_caller]
fn save_as(console: &mut Console, name: &str) {
    console.press("e");
    console.wait_for("save as:");
    // The name that is proposed goes first.
    console.press(&format!("\x15{name}\r"));
}

#[test]
fn what_the_screen_shows_is_saved_from_it() {
    let folder = Folder::new("saved");
    let (listener, port) = listener();
    let mut console = Setup::tcpwatch(&["--port", &port]).size(120, 40).start();
    console.wait_for("The listener is there");
    let _ends = connect(&listener);
    console.wait_for("A ESTABLISHED for");
    for (name, what, begins) in [
        ("a.svg", "the screen", "<svg "),
        ("a.mmd", "1 connection", "sequenceDiagram"),
        ("a.csv", "1 connection", "time,at_ns,"),
        ("a.json", "1 connection", "{"),
    ] {
        let file = folder.file(name);
        save_as(&mut console, &file);
        console.wait_for(&format!("saved {file}: {what}, "));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(begins), "{name}: {text}");
    }
    let picture = std::fs::read_to_string(folder.file("a.svg")).unwrap();
    assert!(picture.contains("ESTABLISHED") && !picture.contains("save as"));
    let file = folder.file("a.svg");
    save_as(&mut console, &file);
    console.wait_for("is there already: name another file");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), picture);
    // Whatever key comes next, the last line is itself again.
    console.press("j");
    console.wait_for(" q quit");
    console.press("q");
    assert_eq!(console.status(), 0, "{console}");
    console.assert_given_back();
    assert_only_frames(&console);
}

#[test]
fn a_replay_saves_what_it_shows() {
    let folder = Folder::new("replayed");
    let tape = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/recordings/v1/shutdown.jsonl"
    );
    let mut console = Setup::tcpwatch(&["replay", tape, "--speed", "1024"])
        .size(120, 40)
        .start();
    console.wait_for("stopped in good order");
    for (name, what) in [("a.svg", "the screen"), ("a.mmd", "1 connection")] {
        let file = folder.file(name);
        save_as(&mut console, &file);
        console.wait_for(&format!("saved {file}: {what}, "));
    }
    let picture = std::fs::read_to_string(folder.file("a.svg")).unwrap();
    assert!(picture.contains("REPLAY"), "{picture}");
    console.press("q");
    assert_eq!(console.status(), 0, "{console}");
    assert_only_frames(&console);
}
