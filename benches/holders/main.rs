//! What it costs to know who holds a socket: a look through all processes, beside `lsof` and `ss` in
//! the same rounds; and the thread that watches, at rest and while sockets come by the thousand.
//!
//! `cargo bench --bench holders`, as root, or only own processes are looked into. The descriptors are
//! those of children made here (this program again), and whatever else the machine has. Time is CPU
//! time: that of this thread for us, that of waited-for children for the others. The trap: that has
//! the kernel's tick of 10 ms, so it is taken over all rounds.

#![allow(clippy::expect_used, reason = "a measurement may fail loudly")]

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpwatch::model::{Ask, Body, Observation, Scope};
use tcpwatch::source::clock;
use tcpwatch::source::holders::{Watch, census};

const ROUNDS: u32 = 9;
/// Children, and descriptors of each.
const CHILDREN: usize = 40;
const EACH: usize = 1000;
/// New sockets a second, and how long each lives.
const NEW: usize = 5000;
const LIFE: Duration = Duration::from_millis(100);
const RUN: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "hold") {
        return hold();
    }
    // `cargo test --all-targets` runs this too: briefly then, to see that it works.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let (count_of, rounds, run) = match is_bench {
        true => (CHILDREN, ROUNDS, RUN),
        false => (2, 1, Duration::from_millis(200)),
    };
    let children: Vec<Holding> = (0..count_of).map(|_| Holding::start()).collect();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = server.local_addr().expect("its port").port();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    let accepted = server.accept().expect("its other end").0;
    let inodes = [inode(&server), inode(&client), inode(&accepted)];
    let (processes, descriptors) = count();
    println!("{descriptors} descriptors of {processes} processes, {rounds} rounds\n");
    beside_the_others(&inodes, port, descriptors, rounds);
    watching("at rest, 3 sockets", &inodes, None, run);
    let busy = format!("with {NEW} new sockets a second");
    watching(&busy, &inodes, Some(NEW), run);
    drop(children);
}

/// One look of each contender a round.
fn beside_the_others(inodes: &[u32], port: u16, descriptors: usize, rounds: u32) {
    let number = port.to_string();
    let (sport, tcp) = (format!(":{number}"), format!("-iTCP:{number}"));
    let us = env!("CARGO_BIN_EXE_tcpwatch");
    let others: [(&str, &str, Vec<&str>); 3] = [
        ("tcpwatch list", us, vec!["list", "--port", &number]),
        (
            "ss -tanpH sport =",
            "ss",
            vec!["-tanpH", "sport", "=", &sport],
        ),
        ("lsof -nP -iTCP:", "lsof", vec!["-nP", &tcp]),
    ];
    let mut own = Duration::ZERO;
    let mut spent = [Some(Duration::ZERO); 3];
    for _ in 0..rounds {
        let before = clock::thread_cpu();
        let sets = census(inodes, Scope::default(), true);
        own += clock::thread_cpu().saturating_sub(before);
        assert!(sets.len() >= inodes.len());
        for ((_, program, arguments), spent) in others.iter().zip(&mut spent) {
            *spent = spent.and_then(|so_far| Some(so_far + cost_of(program, arguments)?));
        }
    }
    let per = |time: Duration| {
        let one = time.as_secs_f64() / f64::from(rounds);
        (one * 1e3, one * 1e3 * 1e4 / descriptors as f64)
    };
    println!("| a look | ratio | CPU | per 10,000 descriptors |\n|---|---|---|---|");
    let row = |name: &str, time: Duration| {
        let (one, per) = per(time);
        let ratio = time.as_secs_f64() / own.as_secs_f64();
        println!("| {name} | {ratio:.2} | {one:.1} ms | {per:.1} ms |");
    };
    row("the scan", own);
    for ((name, ..), spent) in others.iter().zip(spent) {
        match spent {
            Some(time) => row(name, time),
            None => println!("| {name} | not installed here: skipped | | |"),
        }
    }
}

/// CPU time of a program that is run to its end; `None` when there is none of this name.
fn cost_of(program: &str, arguments: &[&str]) -> Option<Duration> {
    let before = children_cpu();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().ok()?;
    Some(children_cpu() - before)
}

/// Of all children that were waited for: fields 16 and 17 of /proc/self/stat, in ticks.
fn children_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let field = |number: usize| -> u64 {
        let text = rest.split_whitespace().nth(number - 3);
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    Duration::from_millis(10 * (field(16) + field(17)))
}

/// The thread over these sockets, for a while, with so many new ones a second.
fn watching(what: &str, inodes: &[u32], new: Option<usize>, run: Duration) {
    let (asks, asked) = mpsc::channel::<Vec<Ask>>();
    let (say, said) = mpsc::channel::<Vec<Observation>>();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let _ = tell.send(rustix::thread::gettid().as_raw_nonzero());
        let watch = Watch::open(Scope::default(), true, &mut Vec::new());
        watch.run(&asked, |batch| say.send(batch).is_ok());
    });
    let tid = told.recv().expect("its number");
    let wanted = inodes.iter().map(|&inode| Ask::Holders(inode)).collect();
    asks.send(wanted).expect("it runs");
    // The first look is for nothing.
    while !said.recv().expect("it runs").iter().any(is_set) {}
    thread::park_timeout(Duration::from_millis(500));
    let (begun, spent) = (clock::now(), schedstat(tid));
    let mut made = 0;
    let mut open = std::collections::VecDeque::new();
    while clock::now().since(begun) < run {
        let now = clock::now();
        let due = new.map_or(0, |new| {
            (now.since(begun).as_secs_f64() * new as f64) as usize
        });
        let mut batch = Vec::new();
        while made < due {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            batch.push(Ask::Holders(inode(&socket)));
            open.push_back((now, socket));
            made += 1;
        }
        while let Some((at, _)) = open.front()
            && now.since(*at) > LIFE
            && let Some((_, socket)) = open.pop_front()
        {
            batch.push(Ask::NoHolders(inode(&socket)));
        }
        if !batch.is_empty() {
            asks.send(batch).expect("it runs");
        }
        thread::park_timeout(Duration::from_millis(if new.is_some() { 1 } else { 100 }));
    }
    let wall = clock::now().since(begun);
    let (cpu, turns) = schedstat(tid);
    let share = (cpu - spent.0).as_secs_f64() / wall.as_secs_f64();
    let turns = (turns - spent.1) as f64 / wall.as_secs_f64();
    let found = said.try_iter().flatten().filter(is_set).count();
    println!(
        "\nthe thread, {what}: {:.2} % of a core, {turns:.0} wake-ups a second; {made} sockets made, \
         {found} sets said",
        share * 100.0
    );
}

fn is_set(told: &Observation) -> bool {
    matches!(told.body, Body::Holders(_))
}

/// CPU time of a thread, and how often it ran.
fn schedstat(tid: std::num::NonZeroI32) -> (Duration, u64) {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).expect("schedstat");
    let numbers: Vec<u64> = text
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    (Duration::from_nanos(numbers[0]), numbers[2])
}

fn inode(socket: &impl AsFd) -> u32 {
    let stat = rustix::fs::fstat(socket).expect("a socket");
    u32::try_from(stat.st_ino).expect("an inode of a socket")
}

/// Processes, and descriptors of those that can be looked into.
fn count() -> (usize, usize) {
    let numbers = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = numbers.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit())
    });
    pids.fold((0, 0), |(processes, all), pid| {
        let own = fs::read_dir(pid.path().join("fd")).map_or(0, Iterator::count);
        (processes + 1, all + own)
    })
}

/// A child that holds descriptors until its standard input ends.
struct Holding(Child);

impl Holding {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let child = Command::new(this)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("a child");
        let mut ready = [0; 5];
        let answers = child.stdout.as_mut().expect("its output");
        answers
            .read_exact(&mut ready)
            .expect("a child that is ready");
        Self(child)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hold() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    // Half of them sockets, half of them files.
    let sockets: Vec<_> = (0..EACH / 2)
        .map_while(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok())
        .collect();
    let files: Vec<_> = (0..EACH / 2)
        .map_while(|_| fs::File::open("/dev/null").ok())
        .collect();
    println!("ready");
    let _ = std::io::stdin().read(&mut [0]);
    drop((sockets, files));
}
