//! The program itself on a terminal: at rest beside open connections, and keys beside a storm of new ones.
//!
//! The trap: the terminal's other side is this program, on the same cores as the generator and the
//! program itself; what it measures is the whole way, the scheduler's part included.

use std::time::Duration;

use tcpwatch::source::clock;

use crate::crowd::Crowd;
use crate::generator;
use crate::pty::{Console, Setup};
use crate::rounds::{duration, median};

/// How much is measured.
pub struct Sizes {
    connections: usize,
    rest: Duration,
    rate: u64,
    keys: usize,
}

pub const FULL: Sizes = Sizes {
    connections: 1000,
    rest: Duration::from_secs(10),
    rate: 10_000,
    keys: 50,
};

pub const SHORT: Sizes = Sizes {
    connections: 10,
    rest: Duration::from_millis(300),
    rate: 100,
    keys: 2,
};

/// The last line of the screen, and a line of the help.
const FOOTER: &str = " q quit";
const HELP: &str = "draw all again";

fn start(port: u16, more: &[&str]) -> Console {
    let port = port.to_string();
    let arguments = [&["--port", &port][..], more].concat();
    let mut console = Setup::tcpwatch(&arguments).size(200, 60).start();
    console.wait_for(FOOTER);
    console
}

pub fn at_rest(sizes: &Sizes) {
    let crowd = Crowd::open(crate::crowd::affordable(sizes.connections)).unwrap();
    let mut console = start(crowd.port, &[]);
    // What the start costs is not rest.
    console.linger(sizes.rest / 5);
    let before = (cpu(&console), writes(&console), frames(&console));
    let begun = clock::now();
    console.linger(sizes.rest);
    let took = clock::now().since(begun).as_secs_f64();
    let cpu = cpu(&console);
    let share = |spent: Duration, before: Duration| {
        100.0 * spent.saturating_sub(before).as_secs_f64() / took
    };
    let drawn = frames(&console) - before.2;
    println!(
        "\nthe program at rest, {} connections open, 200 x 60, {took:.1} s at a load of {}\n  \
         {:.2} % of a core, of it {:.2} the main thread, which draws\n  \
         {:.1} pictures a second, {:.2} writes of that thread a picture",
        crowd.len() / 2,
        load(),
        share(cpu[0], before.0[0]),
        share(cpu[1], before.0[1]),
        drawn as f64 / took,
        (writes(&console) - before.1) as f64 / drawn.max(1) as f64,
    );
}

pub fn beside_a_storm(sizes: &Sizes) {
    let mut console = start(generator::PORT, &["--events", "on"]);
    let apart = Duration::from_millis(130);
    let length = apart * sizes.keys as u32 + Duration::from_secs(1);
    let storm = generator::run_beside(length, sizes.rate);
    console.linger(Duration::from_millis(500));
    let before = (console.cpu().unwrap(), frames(&console));
    let begun = clock::now();
    let mut answers = Vec::new();
    for number in 0..sizes.keys {
        // The help comes and goes: only a picture that was drawn behind the key can show that.
        let is_there = number % 2 == 0;
        let pressed = clock::now();
        console.press("?");
        console.wait("the key's picture", |screen| {
            screen.contents().contains(HELP) == is_there
        });
        answers.push(clock::now().since(pressed).as_nanos() as f64);
        console.linger(Duration::from_millis(60 + 7 * (number as u64 % 11)));
    }
    let took = clock::now().since(begun).as_secs_f64();
    let cpu = console.cpu().unwrap().saturating_sub(before.0);
    let drawn = frames(&console) - before.1;
    let (made, made_in) = storm.made();
    println!(
        "\nkeys beside {:.0} connections a second, 200 x 60, at a load of {}\n  \
         from a key to its picture on the terminal: {} median, {} worst of {}\n  \
         {:.0} % of a core, {:.1} pictures a second",
        made as f64 / made_in.as_secs_f64(),
        load(),
        duration(median(answers.iter().copied())),
        duration(answers.iter().copied().fold(0.0, f64::max)),
        answers.len(),
        100.0 * cpu.as_secs_f64() / took,
        drawn as f64 / took,
    );
}

/// How many whole pictures have come.
fn frames(console: &Console) -> usize {
    const END: &[u8] = b"\x1b[?2026l";
    let windows = console.raw().windows(END.len());
    windows.filter(|window| window == &END).count()
}

/// CPU time of the program, and of its main thread: proc(5), `se.sum_exec_runtime` by `schedstat`, which
/// does not count in ticks.
fn cpu(console: &Console) -> [Duration; 2] {
    let pid = console.pid().as_raw_nonzero();
    let spent = |tid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"));
        let stat = stat.unwrap_or_default();
        let nanos = stat.split(' ').next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    };
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let all = tasks.filter_map(|task| task.ok()?.file_name().into_string().ok());
    let of_main = spent(&pid.to_string());
    [all.map(|tid| spent(&tid)).sum(), of_main]
}

/// Calls of write(2) and its like, by the main thread of the program: proc(5), `syscw`.
fn writes(console: &Console) -> u64 {
    let pid = console.pid().as_raw_nonzero();
    let io = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/io")).unwrap_or_default();
    let count = io.lines().find_map(|line| line.strip_prefix("syscw: "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// How many wanted a core in the last minute.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}
