//! A real terminal for the real program: a pseudo-terminal, a shell with job control on it, the
//! program as the shell's foreground job, and a model of the screen that is fed what comes out.
//!
//! The traps. The program must not lead the session: when a leader ends, the kernel hangs up and
//! resets the terminal, and nothing could be said of how it was left; and what stops a job needs
//! a shell that sees it. The shell's own words go another way than the terminal (standard error
//! is a pipe), so that only the program writes there. Nobody reads unless a test waits for
//! something, which is what makes a stalled terminal possible. The screen is judged only between
//! two frames: half a frame is no picture.

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize};
use tcpwatch::model::Timestamp;
use tcpwatch::source::clock;
use vt100::{Color, MouseProtocolEncoding, MouseProtocolMode};

/// How long anything may take that has no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The shell runs the job, and tells how it stopped or ended; then it does what is typed.
const SHELL: &str = r#"
set -m
sh -c 'echo "pid $$" >&2; exec "$@" 2>&1' sh "$@"
echo "status $?" >&2
while read -r line; do
    if [ "$line" = fg ]; then fg >/dev/null; echo "status $?" >&2; fi
done
"#;

const BEGIN_FRAME: &[u8] = b"\x1b[?2026h";
const END_FRAME: &[u8] = b"\x1b[?2026l";

/// How a console is set up.
pub struct Setup {
    command: Command,
    size: (u16, u16),
}

impl Setup {
    /// The program with these arguments, 80 columns and 24 rows.
    pub fn tcpwatch(arguments: &[&str]) -> Self {
        Self::shell("", env!("CARGO_BIN_EXE_tcpwatch"), arguments)
    }

    /// The program with these arguments, and a file piped into it.
    pub fn tcpwatch_reading(file: &str, arguments: &[&str]) -> Self {
        let script = r#"file=$1; shift; cat "$file" | "$0" "$@""#;
        let program = env!("CARGO_BIN_EXE_tcpwatch");
        let first = ["-c", script, program, file];
        Self::shell("", "/bin/sh", &[&first[..], arguments].concat())
    }

    /// The same, with SIGHUP ignored from the start.
    pub fn deaf_to_hangup(arguments: &[&str]) -> Self {
        Self::behind("trap '' HUP", arguments)
    }

    /// The same, behind a line for the shell.
    pub fn behind(line: &str, arguments: &[&str]) -> Self {
        Self::shell(line, env!("CARGO_BIN_EXE_tcpwatch"), arguments)
    }

    /// The same, and the shell gives way to the program, which then leads the session.
    pub fn without_shell(mut self) -> Self {
        let script = r#"echo "pid $$" >&2; exec "$@" 2>&1"#;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .args(self.command.get_args().skip(2));
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// A test of the running test program.
    pub fn helper_test(name: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--exact", name, "--ignored", "--nocapture"];
        Self::shell("", program.to_str().unwrap(), &arguments)
    }

    fn shell(first: &str, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("{first}\n{SHELL}"), "sh", program])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "0");
        // What it says depends on who runs the tests.
        for name in [
            "NO_COLOR",
            "COLORTERM",
            "COLORFGBG",
            "LC_ALL",
            "LC_CTYPE",
            "TMUX",
            "STY",
        ] {
            command.env_remove(name);
        }
        Self {
            command,
            size: (80, 24),
        }
    }

    /// With a variable in the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// On a terminal of this size; 0x0 is one that does not say.
    pub const fn size(mut self, columns: u16, rows: u16) -> Self {
        self.size = (columns, rows);
        self
    }

    /// Starts it, and returns when the program has its process.
    pub fn start(mut self) -> Console {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        set_size(&master, self.size);
        let before = rustix::termios::tcgetattr(&master).unwrap();
        self.command
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(Stdio::piped());
        // SAFETY: these are system calls without memory of their own, as fork() demands it.
        unsafe {
            self.command.pre_exec(|| {
                // The tests may run under nohup, which a shell can't undo for its jobs.
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let mut shell = self.command.spawn().unwrap();
        let reports = OwnedFd::from(shell.stderr.take().unwrap());
        // The command holds the slave too.
        drop(self.command);
        let (columns, rows) = model_size(self.size);
        let mut console = Console {
            master: Some(master),
            slave: Some(slave),
            reports: Some(reports),
            reported: String::new(),
            shell,
            program: None,
            parser: vt100::Parser::new(rows, columns, 0),
            raw: Vec::new(),
            before,
        };
        let pid: i32 = console.report("pid ").parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        console.program = handle.ok().map(|handle| (pid, handle));
        console
    }
}

fn set_size(master: &OwnedFd, (columns, rows): (u16, u16)) {
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(master, size).unwrap();
}

/// A terminal that does not say how large it is has the usual size.
fn model_size((columns, rows): (u16, u16)) -> (NonZeroU16, NonZeroU16) {
    let or = |size, usual| NonZeroU16::new(size).unwrap_or(usual);
    (
        or(columns, vt100::Parser::DEFAULT_COLS),
        or(rows, vt100::Parser::DEFAULT_ROWS),
    )
}

/// A program on its terminal.
pub struct Console {
    /// The user's side; gone when the terminal is.
    master: Option<OwnedFd>,
    /// The program's side, held so that the terminal outlives the program.
    slave: Option<OwnedFd>,
    /// The shell's words; gone when it has ended.
    reports: Option<OwnedFd>,
    reported: String,
    shell: Child,
    program: Option<(Pid, OwnedFd)>,
    parser: vt100::Parser,
    raw: Vec<u8>,
    before: Termios,
}

impl Console {
    /// What the terminal shows.
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// What the terminal shows, as text.
    pub fn text(&self) -> String {
        self.screen().contents()
    }

    /// The lines that the terminal shows.
    pub fn rows(&self) -> Vec<String> {
        let columns = self.screen().size().1.get();
        self.screen().rows(0, columns).collect()
    }

    /// All bytes that the program has sent.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The program's process.
    pub fn pid(&self) -> Pid {
        self.program.as_ref().unwrap().0
    }

    /// Types on the keyboard.
    pub fn press(&self, keys: &str) {
        let written = rustix::io::write(self.master.as_ref().unwrap(), keys.as_bytes()).unwrap();
        assert_eq!(written, keys.len());
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        let (_, handle) = self.program.as_ref().unwrap();
        rustix::process::pidfd_send_signal(handle, signal).unwrap();
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        set_size(self.master.as_ref().unwrap(), (columns, rows));
        let (columns, rows) = model_size((columns, rows));
        self.parser.screen_mut().set_size(rows, columns);
    }

    /// What somebody else does to the terminal: sets its modes back, and writes on it.
    pub fn meddle(&self, text: &str) {
        let slave = self.slave.as_ref().unwrap();
        let now = OptionalActions::Now;
        rustix::termios::tcsetattr(self.master.as_ref().unwrap(), now, &self.before).unwrap();
        rustix::io::write(slave, text.as_bytes()).unwrap();
    }

    /// Takes the terminal away from all who hold it.
    pub fn hang_up(&mut self) {
        self.slave = None;
        self.master = None;
    }

    /// Whether a program that writes to the terminal would have to wait.
    pub fn is_full(&self) -> bool {
        let slave = self.slave.as_ref().unwrap();
        let mut fds = [PollFd::new(slave, PollFlags::OUT)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 0
    }

    /// How the terminal works now.
    fn modes(&self) -> Termios {
        rustix::termios::tcgetattr(self.master.as_ref().unwrap()).unwrap()
    }

    /// Whether keys reach the program one by one and unchanged.
    pub fn is_raw(&self) -> bool {
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        !self.modes().local_modes.intersects(cooked)
    }

    /// Whether the terminal works as before the program came.
    pub fn is_as_before(&self) -> bool {
        format!("{:?}", self.modes()) == format!("{:?}", self.before)
    }

    /// The program has the terminal.
    #[track_caller]
    pub fn assert_taken(&self) {
        assert!(self.screen().alternate_screen(), "{self}");
        assert!(self.screen().hide_cursor(), "{self}");
        assert!(self.is_raw(), "{self}");
    }

    /// The program has given the terminal back. Its last bytes may still be on their way when its
    /// process is gone: they are waited for.
    #[track_caller]
    pub fn assert_given_back(&mut self) {
        assert!(self.is_as_before(), "{self}");
        self.wait(
            "the terminal's own screen, cursor, mouse and colours",
            |screen| {
                !screen.alternate_screen()
                    && !screen.hide_cursor()
                    && screen.mouse_protocol_mode() == MouseProtocolMode::None
                    && screen.mouse_protocol_encoding() == MouseProtocolEncoding::Default
                    && !screen.bracketed_paste()
                    && !screen.application_cursor()
                    && !screen.application_keypad()
                    && [screen.fgcolor(), screen.bgcolor()] == [Color::Default; 2]
                    && !(screen.bold() || screen.inverse() || screen.underline() || screen.dim())
            },
        );
    }

    /// Waits until the screen shows it.
    #[track_caller]
    pub fn wait(&mut self, what: &str, mut is_there: impl FnMut(&vt100::Screen) -> bool) {
        let deadline = clock::now().plus(PATIENCE);
        loop {
            if !self.is_in_frame() && is_there(self.parser.screen()) {
                return;
            }
            assert!(self.pump(deadline), "{what} does not come:\n{self}");
        }
    }

    /// Waits until the screen shows this text.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    /// Lets time pass.
    pub fn linger(&mut self, time: Duration) {
        let deadline = clock::now().plus(time);
        while self.pump(deadline) {}
    }

    /// Waits for the shell to tell how the program stopped or ended. A shell that has lost its
    /// terminal tells nothing more.
    #[track_caller]
    pub fn status(&mut self) -> i32 {
        self.report("status ").parse().unwrap()
    }

    /// How many write(2) the program's main thread has made; `None` where the kernel does not count.
    pub fn writes(&self) -> Option<u64> {
        let pid = self.pid().as_raw_nonzero().get();
        let counts = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/io")).ok()?;
        let count = counts.lines().find_map(|line| line.strip_prefix("syscw: "));
        Some(count?.parse().unwrap())
    }

    /// The CPU time that the program has used up to now, `None` when it is gone.
    pub fn cpu(&self) -> Option<Duration> {
        let pid = self.pid().as_raw_nonzero().get();
        let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
        let ticks = f64::from(u32::try_from(stat.utime + stat.stime).unwrap());
        let per_second = f64::from(u32::try_from(procfs::ticks_per_second()).unwrap());
        Some(Duration::from_secs_f64(ticks / per_second))
    }

    /// Whether the program's thread of that name is in this system call; also when that can't be
    /// told.
    pub fn is_in_call(&self, thread: &str, call: libc::c_long) -> bool {
        let pid = self.pid().as_raw_nonzero().get();
        let tasks = Process::new(pid).and_then(|process| process.tasks());
        let named = tasks
            .unwrap()
            .filter_map(Result::ok)
            .find(|task| task.stat().is_ok_and(|stat| stat.comm == thread))
            .unwrap();
        let seen = std::fs::read_to_string(format!("/proc/{pid}/task/{}/syscall", named.tid));
        seen.map_or(true, |seen| {
            seen.split(' ').next() == Some(&call.to_string())
        })
    }

    /// Waits for a line of the shell that begins like this, and gives the rest of it.
    #[track_caller]
    fn report(&mut self, prefix: &str) -> String {
        let deadline = clock::now().plus(PATIENCE);
        loop {
            while let Some((line, rest)) = self.reported.split_once('\n') {
                let found = line.strip_prefix(prefix).map(str::to_owned);
                self.reported = rest.to_owned();
                if let Some(found) = found {
                    return found;
                }
            }
            let more = self.reports.is_some() && self.pump(deadline);
            assert!(more, "the shell does not say '{prefix}':\n{self}");
        }
    }

    /// Waits until the program's process is gone, and says whether it is.
    pub fn is_gone_within(&self, time: Duration) -> bool {
        let Some((_, handle)) = &self.program else {
            return true;
        };
        let deadline = clock::now().plus(time);
        wait_readable(&[handle.as_fd()], deadline).contains(&true)
    }

    /// Between the begin of a frame and its end.
    fn is_in_frame(&self) -> bool {
        last(&self.raw, BEGIN_FRAME) > last(&self.raw, END_FRAME)
    }

    /// Takes in what comes next; false when nothing came up to the deadline.
    fn pump(&mut self, deadline: Timestamp) -> bool {
        let sources: Vec<BorrowedFd<'_>> = [&self.master, &self.reports]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
            .collect();
        let ready = wait_readable(&sources, deadline);
        let mut ready = ready.into_iter();
        let mut is_ready = |fd: &Option<OwnedFd>| fd.is_some() && ready.next() == Some(true);
        let (is_output, is_report) = (is_ready(&self.master), is_ready(&self.reports));
        if is_output {
            match read(&mut self.master) {
                Some(bytes) => {
                    self.parser.process(&bytes);
                    self.raw.extend(bytes);
                }
                None => self.slave = None,
            }
        }
        if is_report && let Some(bytes) = read(&mut self.reports) {
            self.reported.push_str(&String::from_utf8_lossy(&bytes));
        }
        is_output || is_report
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.hang_up();
        if let Some((_, handle)) = &self.program {
            // It is gone already, when all is well.
            let _ = rustix::process::pidfd_send_signal(handle, Signal::KILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The picture with its frame, for the one who reads that a test has failed.
impl std::fmt::Display for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let screen = self.screen();
        for row in self.rows() {
            writeln!(f, "|{row}")?;
        }
        let mut tail = String::new();
        for byte in &self.raw[self.raw.len().saturating_sub(80)..] {
            write!(tail, "{}", byte.escape_ascii())?;
        }
        writeln!(
            f,
            "alternate screen {}, cursor hidden {}, size {:?}\nlast bytes: {tail}\nshell: {:?}",
            screen.alternate_screen(),
            screen.hide_cursor(),
            screen.size(),
            self.reported,
        )
    }
}

/// Which of these can be read (or are at their end), at the latest at the deadline.
fn wait_readable(sources: &[BorrowedFd<'_>], deadline: Timestamp) -> Vec<bool> {
    let mut fds: Vec<PollFd<'_>> = sources
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    loop {
        let left = Timespec::try_from(deadline.since(clock::now())).unwrap();
        match poll(&mut fds, Some(&left)) {
            Ok(_) => return fds.iter().map(|fd| !fd.revents().is_empty()).collect(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {}", io::Error::from(error)),
        }
    }
}

/// Reads what is there; at the end, the file is closed.
fn read(file: &mut Option<OwnedFd>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1 << 16];
    let count = rustix::io::read(file.as_ref()?, &mut bytes).unwrap_or(0);
    if count == 0 {
        *file = None;
        return None;
    }
    bytes.truncate(count);
    Some(bytes)
}

/// Where it is found last.
fn last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // Only the newest frame can be open.
    bytes
        .windows(wanted.len())
        .rposition(|window| window == wanted)
}
