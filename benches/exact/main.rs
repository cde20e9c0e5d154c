//! What exact events cost: the tracker alone, and the watched machine.
#![allow(clippy::unwrap_used, reason = "a bench may fail loudly")]

mod story;

use tcpwatch::source::clock;
use tcpwatch::timeline::Tracker;

fn main() {
    tracker();
}

/// Nanoseconds an event costs in the tracker, its changes taken and dropped.
fn tracker() {
    const CONNECTIONS: u64 = 200_000;
    let mut tracker = Tracker::default();
    for observation in story::opening() {
        tracker.ingest(&observation);
    }
    let mut spent = std::time::Duration::ZERO;
    let mut changes = 0usize;
    for first in (0..CONNECTIONS).step_by(1000) {
        let batch = story::events(first, 1000);
        let before = clock::thread_cpu();
        for observation in &batch {
            tracker.ingest(observation);
            changes += tracker.changes().count();
            tracker.asks();
        }
        spent += clock::thread_cpu().saturating_sub(before);
    }
    let events = CONNECTIONS as f64 * story::EVENTS as f64;
    println!(
        "tracker: {:.0} ns an event, {changes} changes, {} known",
        spent.as_nanos() as f64 / events,
        tracker.connections().len()
    );
}
