//! What exact events cost: the tracker, the watched machine, the program as a whole.
//! `cargo bench --bench exact`; needs root (or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN for a network
//! namespace of its own) and two cores. `cargo bench --bench exact -- tracker` measures the tracker alone.
//!
//! Both sides of every ratio come from one run, their rounds taken in turn. Nothing here fails on a
//! figure; what must not be lost is counted and said.

#![allow(
    clippy::unwrap_used,
    reason = "a bench may fail loudly, and tells by where"
)]

mod generator;
#[path = "../../tests/common/netns.rs"]
mod netns;
mod program;
mod story;
mod watched;

use std::time::Duration;

use tcpwatch::diagnosis::Known;
use tcpwatch::source::clock;
use tcpwatch::timeline::Tracker;

fn main() {
    generator::be_one_if_asked();
    // `cargo test --all-targets` runs this too: a short run then, to see that it works.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    tracker(if is_bench { 200_000 } else { 2_000 });
    if std::env::args().any(|argument| argument == "tracker") {
        return;
    }
    let (rounds, seconds) = if is_bench { (7, 2) } else { (1, 1) };
    netns::in_fresh_netns("the watched machine", || watched::bench(rounds, seconds));
    let seconds = if is_bench { 10 } else { 1 };
    netns::in_fresh_netns("the program as a whole", || program::bench(seconds));
}

/// Nanoseconds of an event in the tracker, its changes taken and dropped; and in the tracker with the
/// diagnosis beside it. The two take turns.
fn tracker(connections: u64) {
    let mut tracker = Tracker::default();
    let mut known = Known::default();
    for observation in story::opening() {
        tracker.ingest(&observation);
        known.take(&observation);
    }
    let mut spent = [Duration::ZERO; 2];
    let mut changes = 0usize;
    for first in (0..connections).step_by(1000) {
        let batch = story::events(first, 1000);
        spent[0] += timed(|| {
            for observation in &batch {
                tracker.ingest(observation);
                changes += tracker.changes().count();
                tracker.asks();
            }
        });
        spent[1] += timed(|| {
            for observation in &batch {
                known.take(observation);
                known.asks();
            }
        });
    }
    let events = connections as f64 * story::EVENTS as f64;
    let [alone, both] = spent.map(|spent| spent.as_nanos() as f64 / events);
    println!(
        "tracker: {alone:.0} ns an event ({changes} changes of {connections} connections, {} known in \
         the end); with the diagnosis {both:.0} ns: {:.2}",
        tracker.connections().len(),
        both / alone
    );
    let found = known.diagnosis.findings().len();
    assert_eq!(found, 0, "the connections are healthy");
}

fn timed(act: impl FnOnce()) -> Duration {
    let before = clock::thread_cpu();
    act();
    clock::thread_cpu().saturating_sub(before)
}
