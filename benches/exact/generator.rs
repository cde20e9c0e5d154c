//! Connections at full speed, by one process on one core: what a watched machine does while we
//! look.
//!
//! The server's end closes first, so that TIME_WAIT is the listener's, where a new SYN takes its
//! place at once; on the other end it would keep the port, and the ports would run out.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, accept, bind, connect, listen, socket, sockopt};
use rustix::thread::{CpuSet, sched_setaffinity};
use tcpwatch::source::clock;

/// The port of the listener.
pub const PORT: u16 = 50_008;
/// The environment variable that makes this program a generator.
const ROLE: &str = "TCPWATCH_BENCH_GENERATOR";

/// Keeps this thread, and what it starts, on one core.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).unwrap();
}

/// Lets a generator run for so long; gives how many connections it made.
pub fn run_beside(length: Duration, rate: u64) -> Running {
    let child = Command::new(std::env::current_exe().unwrap())
        .env(ROLE, format!("{} {rate}", length.as_millis()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Running(child)
}

/// A generator at work.
pub struct Running(Child);

impl Running {
    /// Whether it has ended.
    pub fn is_done(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Its connections, and how long it took for them.
    pub fn made(mut self) -> (u64, Duration) {
        let mut text = String::new();
        let mut stdout = self.0.stdout.take().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        let mut words = text.split_whitespace().map(|word| word.parse().unwrap());
        let (made, nanos) = (words.next().unwrap(), words.next().unwrap());
        (made, Duration::from_nanos(nanos))
    }
}

/// Is the generator, if this process was started as one.
pub fn be_one_if_asked() {
    let Ok(task) = std::env::var(ROLE) else {
        return;
    };
    let mut words = task.split_whitespace().map(|word| word.parse().unwrap());
    let length = Duration::from_millis(words.next().unwrap());
    let rate: u64 = words.next().unwrap();
    pin(0);
    let (made, took) = generate(length, rate);
    println!("{made} {}", took.as_nanos());
    std::process::exit(0);
}

/// At full speed when `rate` is 0, else so many connections a second, a hundredth at a time.
fn generate(length: Duration, rate: u64) -> (u64, Duration) {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
    let listener = stream();
    sockopt::set_socket_reuseaddr(&listener, true).unwrap();
    bind(&listener, &address).unwrap();
    listen(&listener, 128).unwrap();
    let begun = clock::now();
    let mut made = 0u64;
    loop {
        let gone = clock::now().since(begun);
        if gone >= length {
            return (made, gone);
        }
        let due = match rate {
            0 => made + 100,
            rate => (rate as f64 * gone.as_secs_f64()) as u64,
        };
        while made < due {
            let client = stream();
            connect(&client, &address).unwrap();
            let server = accept(&listener).unwrap();
            drop(server);
            drop(client);
            made += 1;
        }
        if rate > 0 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

fn stream() -> std::os::fd::OwnedFd {
    socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}
