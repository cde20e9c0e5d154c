//! SIGKILL at any moment: what is left is readable, and at most the last second is missing.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tcpwatch::model::TcpState;
use tcpwatch::source::clock;

use crate::sockets::{port_of, server};
use crate::tape::{Folder, Life, Recording, Tape, in_netns, live, pass, text};

const ROUNDS: u64 = 20;

/// Makes connections until told to stop; those that were over by then.
fn traffic(server: &TcpListener, stop: &AtomicBool) -> Vec<Life> {
    let mut lives = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        lives.push(live(server));
        pass(Duration::from_millis(2));
    }
    lives
}

#[test]
fn after_a_kill_at_most_the_last_second_is_missing() {
    in_netns(|has_events| {
        let folder = Folder::new("kill");
        // Another sequence each time, and known when it fails.
        let mut random = clock::now().nanos() | 1;
        for round in 0..ROUNDS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let after = Duration::from_micros(200_000 + random % 1_300_000);
            let file = folder.file(&format!("{round}.jsonl"));
            let server = server();
            let port = port_of(&server).to_string();
            let recording = Recording::start(&["-o", text(&file), "--port", &port]);
            let stop = AtomicBool::new(false);
            let (lives, killed) = thread::scope(|scope| {
                let traffic = scope.spawn(|| traffic(&server, &stop));
                pass(after);
                let killed = clock::now().nanos();
                recording.signal(Signal::KILL);
                assert_eq!(recording.rest().0, None);
                stop.store(true, Ordering::Relaxed);
                (traffic.join().unwrap(), killed)
            });
            let tape = Tape::read(&file);
            tape.is_readable();
            assert!(!tape.ended);
            // Looks are 20 ms apart, and find what events tell at once.
            let owed = lives
                .iter()
                .filter(|life| life.over + 1_000_000_000 < killed);
            for life in owed {
                assert!(
                    tape.shows(life.a, life.b, TcpState::TimeWait)
                        || has_events && tape.shows(life.a, life.b, TcpState::FinWait1),
                    "round {round}, killed after {after:?}: {} is missing",
                    life.a
                );
            }
            // Mostly far less is missing; a second is what a power cut costs.
            let seen = lives
                .iter()
                .filter(|life| tape.shows(life.a, life.b, TcpState::TimeWait));
            assert!(seen.count() > 0, "round {round}, killed after {after:?}");
        }
    });
}
