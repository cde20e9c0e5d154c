//! The connections a generator makes on one core, watched from the other, against unwatched.
//!
//! Watched means all of it but the printing: the ring is drained, what events can't say is looked
//! up, and every observation goes through the tracker, on the one core that is left. The trap: two
//! rounds of one kind in a row measure the machine's mood, so they take turns.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{Body, Observation, SourceName};
use tcpwatch::source::quick::{Batch, Events, Quick, Wanted};
use tcpwatch::source::{Request, clock, host};
use tcpwatch::timeline::Tracker;

use crate::generator::{self, PORT};

/// What a watched round came to.
struct Round {
    rate: f64,
    seen: u64,
    made: u64,
    events: u64,
    lost: u64,
    /// Share of the second core.
    cpu: f64,
}

pub fn bench(rounds: usize, seconds: u64) {
    let length = Duration::from_secs(seconds);
    let mut unwatched = Vec::new();
    let mut watched = Vec::new();
    for _ in 0..rounds {
        unwatched.push(alone(length));
        watched.push(beside_us(length));
    }
    let (off, on) = (
        median(unwatched.iter().copied()),
        median(watched.iter().map(|round| round.rate)),
    );
    let sum = |of: fn(&Round) -> u64| watched.iter().map(of).sum::<u64>();
    println!(
        "watched: {on:.0} connections a second, unwatched {off:.0}: ratio {:.2}",
        on / off
    );
    println!(
        "watched: {} connections made, {} seen, {} events, {} lost; {:.0} % of the other core",
        sum(|round| round.made),
        sum(|round| round.seen),
        sum(|round| round.events),
        sum(|round| round.lost),
        100.0 * median(watched.iter().map(|round| round.cpu)),
    );
}

fn alone(length: Duration) -> f64 {
    let (made, took) = generator::run_beside(length, 0).made();
    made as f64 / took.as_secs_f64()
}

fn beside_us(length: Duration) -> Round {
    let request = Request {
        filter: Filter {
            ports: PortSet::one(PORT),
            ..Filter::default()
        },
        scope: host::scope(),
        ..Request::default()
    };
    let wanted = Wanted {
        events: Events::On,
        ..Wanted::default()
    };
    let mut opening = Vec::new();
    let (quick, asker) = Quick::open(request, wanted, &mut None, &mut opening).unwrap();
    let (tell, told) = mpsc::sync_channel::<(Batch, Duration)>(8);
    let reader = thread::spawn(move || {
        generator::pin(1);
        let send = |batch| tell.send((batch, clock::thread_cpu())).is_ok();
        quick.run(send)
    });
    let watcher = thread::spawn(move || watch(&opening, told, length));
    let round = watcher.join().unwrap();
    drop(asker);
    reader.join().unwrap().unwrap();
    round
}

fn watch(
    opening: &[Observation],
    told: mpsc::Receiver<(Batch, Duration)>,
    length: Duration,
) -> Round {
    let mut generator = generator::run_beside(length, 0);
    generator::pin(1);
    let mut tracker = Tracker::default();
    for observation in opening {
        tracker.ingest(observation);
    }
    let (mut events, mut lost, mut reader_cpu) = (0, 0, Duration::ZERO);
    let before = clock::thread_cpu();
    let mut ended = None;
    loop {
        if ended.is_none() && generator.is_done() {
            ended = Some(clock::now());
        }
        let Ok((batch, cpu)) = told.recv_timeout(Duration::from_millis(100)) else {
            if ended.is_some() {
                break;
            }
            continue;
        };
        reader_cpu = cpu;
        for observation in &batch.observations {
            match &observation.body {
                Body::Event(_) => events += 1,
                Body::Lost { count, .. } if observation.source == SourceName::Bpf => {
                    lost += count.unwrap_or(1);
                }
                _ => {}
            }
            tracker.ingest(observation);
            tracker.changes();
            tracker.asks();
        }
        if ended.is_some_and(|ended| batch.drained > Some(ended)) {
            break;
        }
    }
    let cpu = clock::thread_cpu() - before + reader_cpu;
    let (made, took) = generator.made();
    Round {
        rate: made as f64 / took.as_secs_f64(),
        seen: tracker.totals().seen,
        made,
        events,
        lost,
        cpu: cpu.as_secs_f64() / took.as_secs_f64(),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
