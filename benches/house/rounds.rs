//! Contenders measured in turn, round after round, so that a ratio compares two sides that had
//! the same machine in the same moment.
//!
//! Time is the CPU time of this thread: what other programs do meanwhile does not count, except
//! for the caches that they take.

use std::fmt::Write;
use std::time::Duration;

use tcpwatch::source::clock;

use crate::count;

/// Rounds that are not counted: caches, frequency, the first growth of buffers.
const WARM_UP: usize = 3;

/// What one run of a contender took.
pub struct Taken {
    cpu: Duration,
    allocations: u64,
    units: usize,
}

/// Runs `work`, which does `units` of whatever is measured.
pub fn take(units: usize, work: impl FnOnce()) -> Taken {
    let (cpu, allocations) = (clock::thread_cpu(), count::allocations());
    work();
    Taken {
        cpu: clock::thread_cpu().saturating_sub(cpu),
        allocations: count::allocations() - allocations,
        units,
    }
}

/// One line of the table.
pub struct Contender<'a> {
    name: String,
    /// The line that it is compared with.
    against: Option<&'static str>,
    run: Box<dyn FnMut() -> Taken + 'a>,
    nanos: Vec<f64>,
    allocations: Vec<f64>,
}

impl<'a> Contender<'a> {
    /// A contender that runs by `run`, compared with the line named `against`.
    pub fn new(
        name: impl Into<String>,
        against: Option<&'static str>,
        run: impl FnMut() -> Taken + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            against,
            run: Box::new(run),
            nanos: Vec::new(),
            allocations: Vec::new(),
        }
    }

    fn round(&mut self) {
        let taken = (self.run)();
        let units = taken.units.max(1) as f64;
        self.nanos.push(taken.cpu.as_nanos() as f64 / units);
        self.allocations.push(taken.allocations as f64 / units);
    }
}

/// Runs all contenders in turn, `rounds` times, and writes their table.
pub fn run(title: &str, unit: &str, rounds: usize, mut contenders: Vec<Contender<'_>>) -> String {
    for contender in &mut contenders {
        contender.nanos.reserve(rounds + WARM_UP);
        contender.allocations.reserve(rounds + WARM_UP);
    }
    for _ in 0..rounds + WARM_UP {
        for contender in &mut contenders {
            contender.round();
        }
    }
    for contender in &mut contenders {
        contender.nanos.drain(..WARM_UP);
        contender.allocations.drain(..WARM_UP);
    }
    table(title, unit, &contenders)
}

fn table(title: &str, unit: &str, contenders: &[Contender<'_>]) -> String {
    let mut text = format!(
        "\n{title}, {unit}\n{:<52}{:>10}{:>10}{:>10}{:>8}{:>13}\n",
        "", "median", "min", "max", "ratio", "allocations"
    );
    for line in contenders {
        let ratio = line.against.and_then(|name| {
            let other = contenders.iter().find(|other| other.name == name)?;
            let ratios = line.nanos.iter().zip(&other.nanos).map(|(a, b)| a / b);
            Some(format!("{:.2}", median(ratios)))
        });
        let _ = writeln!(
            text,
            "  {:<50}{:>10}{:>10}{:>10}{:>8}{:>13.3}",
            line.name,
            duration(median(line.nanos.iter().copied())),
            duration(line.nanos.iter().copied().fold(f64::INFINITY, f64::min)),
            duration(line.nanos.iter().copied().fold(0.0, f64::max)),
            ratio.unwrap_or_default(),
            median(line.allocations.iter().copied()),
        );
    }
    text
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn duration(nanos: f64) -> String {
    match nanos {
        ..1e3 => format!("{nanos:.1} ns"),
        1e3..1e6 => format!("{:.1} us", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}
