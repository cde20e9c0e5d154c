//! What recording costs: writing, reading, reading and tracking, and bytes.
//! `cargo bench --bench record`; needs nothing.
//!
//! All parts of a round are taken in turn on the same observations, so a ratio is of one moment of
//! the machine. Nothing here fails on a figure; that what is read is what was written is tested.

#![allow(
    clippy::unwrap_used,
    reason = "a bench may fail loudly, and tells by where"
)]

#[path = "../exact/story.rs"]
#[allow(dead_code, reason = "another bench takes what this one leaves")]
mod events;
mod lives;

use std::sync::Arc;
use std::time::Duration;

use tcpwatch::record::{Encoder, Item, Reader};
use tcpwatch::source::clock;
use tcpwatch::timeline::Tracker;

/// Lives that are made, written or followed in one go.
const BATCH: u64 = 1000;

fn main() {
    // `cargo test --all-targets` runs this too: a short run then, to see that it works.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, batches) = if is_bench { (7, 67) } else { (1, 2) };
    let mut figures: [Vec<f64>; 4] = Default::default();
    let mut last = None;
    for _ in 0..rounds {
        let round = round(batches);
        for (all, one) in figures.iter_mut().zip(round.spent) {
            all.push(one.as_nanos() as f64 / round.observations as f64);
        }
        last = Some(round);
    }
    let Some(round) = last else { return };
    let bytes = round.bytes as f64;
    let [encode, read, track, both] = figures.map(Figure::of);
    println!(
        "{} observations of {} lives, {} MB, {rounds} rounds; CPU time of one thread",
        round.observations,
        batches * BATCH,
        round.bytes / 1_000_000
    );
    println!("write:          {encode} an observation");
    let per_second = bytes / round.observations as f64 / read.median * 1000.0;
    println!("read:           {read} an observation ({per_second:.0} MB/s)");
    println!("track:          {track} an observation");
    println!(
        "read and track: {both} an observation ({:.2} million a second; {:.2} of tracking alone)",
        1000.0 / both.median,
        both.median / track.median
    );
    println!(
        "size:           {:.0} bytes a life, {:.0} an observation",
        bytes / (batches * BATCH) as f64,
        bytes / round.observations as f64
    );
}

struct Figure {
    least: f64,
    median: f64,
    most: f64,
}

impl Figure {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self {
            least: all[0],
            median: all[all.len() / 2],
            most: all[all.len() - 1],
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} ns ({:.0} to {:.0})",
            self.median, self.least, self.most
        )
    }
}

struct Round {
    observations: u64,
    bytes: u64,
    /// Writing, reading, tracking, reading and tracking.
    spent: [Duration; 4],
}

fn round(batches: u64) -> Round {
    let (mut written, mut encode, mut track) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    let mut observations = 0;
    let mut encoder = Encoder::default();
    encoder.header(&lives::header(), &mut written).unwrap();
    let mut tracker = Tracker::default();
    // The writer's buffer is used again and again, as the recorder does it.
    let mut lines = Vec::new();
    for batch in 0..batches {
        let all = lives::batch(batch * BATCH, BATCH);
        observations += all.len() as u64;
        lines.clear();
        encode += spent(|| {
            for observation in &all {
                encoder.observation(observation, &mut lines);
            }
        });
        written.extend_from_slice(&lines);
        track += spent(|| {
            for observation in &all {
                follow(&mut tracker, observation);
            }
        });
    }
    let bytes = written.len() as u64;
    let written = Arc::new(written);
    let mut read_back = 0;
    let mut reader = Reader::open(written.clone(), 0).unwrap();
    let read = spent(|| {
        while let Some(item) = reader.next_item().unwrap() {
            read_back += u64::from(matches!(std::hint::black_box(item), Item::Observation(_)));
        }
    });
    assert_eq!(read_back, observations);
    let mut reader = Reader::open(written, 0).unwrap();
    let mut again = Tracker::default();
    let both = spent(|| {
        while let Some(item) = reader.next_item().unwrap() {
            if let Item::Observation(observation) = item {
                follow(&mut again, &observation);
            }
        }
    });
    assert_eq!(again.totals(), tracker.totals());
    Round {
        observations,
        bytes,
        spent: [encode, read, track, both],
    }
}

fn follow(tracker: &mut Tracker, observation: &tcpwatch::model::Observation) {
    tracker.ingest(observation);
    std::hint::black_box(tracker.changes().count());
    tracker.asks();
}

fn spent(work: impl FnOnce()) -> Duration {
    let before = clock::thread_cpu();
    work();
    clock::thread_cpu().saturating_sub(before)
}
