//! The program itself beside 10,000 connections a second, its JSON in a file, which is then read
//! again: every transition of every connection must be in it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tcpwatch::source::clock;

use crate::generator::{self, PORT};

const RATE: u64 = 10_000;
/// From birth to TIME_WAIT, or to the end: five steps at either end.
const STEPS: usize = 5;

pub fn bench(seconds: u64) {
    let path = std::env::temp_dir().join(format!("tcpwatch-bench-{}.json", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args([
            "--port",
            &PORT.to_string(),
            "--events",
            "on",
            "--format",
            "json",
        ])
        .stdout(Stdio::from(File::create(&path).unwrap()))
        .spawn()
        .unwrap();
    let pid = child.id();
    await_first_line(&path);
    let (made, took) = generator::run_beside(Duration::from_secs(seconds), RATE).made();
    await_quiet(&path);
    let (cpu, peak) = usage(pid);
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::INT).unwrap();
    child.wait().unwrap();
    let file = Read::of(&path);
    println!(
        "program: {made} connections at {:.0} a second: {} opened, {} whole, {} closed, {} lost; \
         {} MB of JSON, {:.0} % of a core, {peak} at most",
        made as f64 / took.as_secs_f64(),
        file.opened,
        file.whole(),
        file.closed,
        file.lost,
        fs::metadata(&path).unwrap().len() >> 20,
        100.0 * cpu.as_secs_f64() / took.as_secs_f64(),
    );
    fs::remove_file(&path).unwrap();
}

fn await_first_line(path: &std::path::Path) {
    while fs::metadata(path).unwrap().len() == 0 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Until the file has not grown for a while.
fn await_quiet(path: &std::path::Path) {
    let mut length = 0;
    let mut grown = clock::now();
    while clock::now().since(grown) < Duration::from_millis(1500) {
        let now = fs::metadata(path).unwrap().len();
        if now != length {
            (length, grown) = (now, clock::now());
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// CPU time and the most memory so far.
fn usage(pid: u32) -> (Duration, String) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // utime and stime, proc(5); a tick is 10 ms.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    (
        Duration::from_millis(ticks * 10),
        peak.unwrap_or("?").trim().to_owned(),
    )
}

/// What the file tells.
#[derive(Default)]
struct Read {
    opened: usize,
    closed: usize,
    lost: u64,
    steps: HashMap<u64, [usize; 2]>,
}

impl Read {
    fn of(path: &std::path::Path) -> Self {
        let mut read = Self::default();
        for line in BufReader::new(File::open(path).unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let conn = line["conn"].as_u64().unwrap_or(0);
            match line["type"].as_str().unwrap() {
                "open" => read.opened += 1,
                "closed" => read.closed += 1,
                "lost" => read.lost += line["count"].as_u64().unwrap_or(1),
                // TIME_WAIT running out is a step too, and comes or does not.
                "transition" if line["from"] != "TIME_WAIT" => {
                    read.steps.entry(conn).or_default()[usize::from(line["end"] == "b")] += 1;
                }
                _ => {}
            }
        }
        read
    }

    fn whole(&self) -> usize {
        let is_whole = |steps: &&[usize; 2]| **steps == [STEPS; 2];
        self.steps.values().filter(is_whole).count()
    }
}
