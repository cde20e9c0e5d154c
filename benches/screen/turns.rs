//! Turns of the main loop beside 10,000 connections a second: what came in the time of a picture is taken
//! in, then a key, then a picture. A key that comes at the worst moment waits for all three.

use std::time::Duration;

use tcpwatch::model::{Answer, Body, Observation, SourceName, Timestamp};
use tcpwatch::source::clock;

use crate::events;
use crate::rounds::{duration, median};
use crate::world::{Kind, Screen, World};

/// Of 10,000 a second, those of 50 ms.
const A_TURN: u64 = 500;
/// The keys that are pressed in turn: down, another order, its turn, groups, none, a page.
const KEYS: &str = "jsSvvvvvGo/age > 1ms\n";

pub fn bench(turns: u64) {
    // What nobody sees any more is dropped: the retention is full before it begins.
    let mut world = World::of(Kind::Mixed, 60);
    let mut screen = Screen::new((200, 60));
    for observation in events::opening() {
        world.known.take(&observation);
        screen.app.note(&observation);
    }
    let full = 24_000 / A_TURN;
    let (mut taken, mut answered, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let mut keys = KEYS.chars().cycle();
    for turn in 0..full + turns {
        let batch = later(events::events(turn * A_TURN, A_TURN));
        let before = clock::thread_cpu();
        take_in(&mut world, &mut screen, &batch);
        let at_key = clock::thread_cpu();
        if let Some(key) = keys.next() {
            screen.press(key, &world);
        }
        screen.draw(&world);
        let done = clock::thread_cpu();
        if turn >= full {
            taken.push(nanos(at_key.saturating_sub(before)));
            answered.push(nanos(done.saturating_sub(at_key)));
            whole.push(nanos(done.saturating_sub(before)));
        }
    }
    println!(
        "\na turn of the main loop beside 10,000 connections a second, {} known, {turns} turns\n{:<52}{:>10}{:>10}",
        world.known.tracker.connections().len(),
        "",
        "median",
        "worst"
    );
    for (name, all) in [
        ("what came in 50 ms is taken in", taken),
        ("a key, and its picture", answered),
        ("all of it, of 50 ms", whole),
    ] {
        println!(
            "  {name:<50}{:>10}{:>10}",
            duration(median(all.iter().copied())),
            duration(all.iter().copied().fold(0.0, f64::max))
        );
    }
}

/// An observation after the other, and what is asked about them: every missing end is gone.
fn take_in(world: &mut World, screen: &mut Screen, batch: &[Observation]) {
    let mut asked = Vec::new();
    for observation in batch {
        world.known.take(observation);
        screen.app.note(observation);
        world.now = world.now.max(observation.at);
        asked.extend(world.known.asks().filter_map(|ask| ask.to_confirm()));
    }
    for asked in asked {
        let observation = Observation {
            host: 0,
            at: world.now,
            source: SourceName::SockDiag,
            body: Body::Lookup {
                asked,
                begun: world.now,
                unchanged: None,
                answer: Answer::Gone,
            },
        };
        world.known.take(&observation);
        screen.app.note(&observation);
        world.known.asks();
    }
}

/// As one connection every 100 us, behind what is known at the start.
fn later(mut batch: Vec<Observation>) -> Vec<Observation> {
    let begin = 2_000_000_000_000;
    for observation in &mut batch {
        observation.at = Timestamp::from_nanos(begin + observation.at.nanos() * 8);
    }
    batch
}

fn nanos(spent: Duration) -> f64 {
    spent.as_nanos() as f64
}
