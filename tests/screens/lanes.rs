//! What a lane shows: what is queued over time, the call behind a step, and what is not certain.

use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use tcpwatch::model::event::{File, What};
use tcpwatch::model::{Queues, Sample, Shutdown, TcpState};
use tcpwatch::record::Bytes;
use tcpwatch::run::replay::player::{Player, World};
use tcpwatch::source::replay::{Input as Taped, Options, Replay};
use tcpwatch::timeline::{ConnId, Level, Side, Tracker};
use tcpwatch::view::tui::draw;

use crate::build::{Story, in_state, killed, let_go, mini, moment, process, step, unread};
use crate::{at, closed_by_events, loopback, opened_by_events, tape, waiting_server};

fn snapshot(name: &str, story: &mut Story, ms: u64) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

fn queued(sample: Sample, receive: u32, send: u32) -> Sample {
    Sample {
        queues: Queues::Stream { receive, send },
        ..sample
    }
}

/// A slow reader: the queues of both ends fill, are drained once, and fill again; then A shuts down
/// its write side, and is killed at last.
fn slow_reader() -> Story {
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(40_001, TcpState::Established);
    story.look(1000, &[waiting_server(), a, b], &[]);
    for (ms, sent, received) in [
        (3000, 0, 900),
        (4000, 2000, 60_000),
        (5000, 200_000, 400_000),
        (7000, 900_000, 3_000_000),
        (9000, 0, 0),
        (10_000, 0, 30),
        (11_000, 0, 400_000),
    ] {
        story.look(ms, &[], &[queued(a, 0, sent), queued(b, received, 0)]);
    }
    let shut = Shutdown::from_kernel(2);
    let waits = Sample {
        shutdown: Some(shut),
        ..in_state(a, TcpState::FinWait2)
    };
    let b = queued(in_state(b, TcpState::CloseWait), 400_001, 0);
    story.look(14_000, &[], &[waits, b]);
    story.look(16_000, &[], &[unread(in_state(b, TcpState::CloseWait), 14)]);
    story
}

#[test]
fn queues_over_time() {
    snapshot("lanes_queues", &mut slow_reader(), 18_000);
    let mut story = slow_reader();
    story.type_keys("--", 18_000);
    snapshot("lanes_queues_from_afar", &mut story, 18_000);
}

#[test]
fn levels_are_what_was_observed() {
    let story = slow_reader();
    let connection = story.known.tracker.get(ConnId(1)).unwrap();
    let of = |side| {
        let levels = connection.end(side).unwrap().levels();
        levels.map(|level| (level.unread, level.unacked)).collect()
    };
    let (a, b): (Vec<_>, Vec<_>) = (of(Side::A), of(Side::B));
    assert_eq!(a, [(0, 0), (0, 2000), (0, 200_000), (0, 900_000), (0, 0)]);
    let unread = [0, 900, 60_000, 400_000, 3_000_000, 0, 30, 400_000, 14];
    assert_eq!(b, unread.map(|unread| (unread, 0)), "the FIN is no byte");
    // A level is not claimed beyond the look that showed it last.
    let second = connection.end(Side::B).unwrap().levels().nth(1).unwrap();
    assert_eq!((second.from, second.to), (at(3000), Some(at(3900))));
}

/// The levels of A and B of the first connection.
fn levels_of(tracker: &Tracker) -> Vec<Level> {
    let connection = tracker.get(ConnId(1)).unwrap();
    let levels = connection.visible().flat_map(|(_, track)| track.levels());
    levels.copied().collect()
}

#[test]
fn a_replay_has_the_same_levels_wherever_it_goes() {
    let [a, b] = tape::open(1);
    let mut observations = vec![tape::look(1000, true, &[a, b], &[])];
    observations.extend((2..500u32).map(|n| {
        let changed = [queued(a, 0, n % 7 * 1000), queued(b, n * n, 0)];
        tape::look(u64::from(n) * 1000, false, &[], &changed)
    }));
    let mut tracker = Tracker::default();
    for observation in &observations {
        tracker.ingest(observation);
    }
    let live = levels_of(&tracker);
    assert!(live.iter().any(|level| level.merged > 1), "it was thinned");

    let bytes = tape::written(&tape::header("one", 0, 0), &observations, true);
    let name = "tape".into();
    let bytes: Arc<dyn Bytes> = Arc::new(bytes);
    let replay = Replay::open(vec![Taped { name, bytes }], &Options::default()).unwrap();
    let mut player = Player::new(World::new(replay, TimeZone::UTC)).unwrap();
    assert!(player.read_on(100_000).unwrap());
    let end = player.end();
    player.seek(end).unwrap();
    assert_eq!(levels_of(&player.world().known().tracker), live);
    player.seek(tape::at(100)).unwrap();
    assert!(levels_of(&player.world().known().tracker).len() < live.len());
    player.seek(end).unwrap();
    assert_eq!(levels_of(&player.world().known().tracker), live);
}

#[test]
fn a_mini_socket_has_no_level() {
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(40_001, TcpState::Established);
    story.look(1000, &[waiting_server(), a, queued(b, 10, 0)], &[]);
    let waits = let_go(in_state(a, TcpState::FinWait2));
    story.look(2000, &[], &[mini(waits, at(62_000))]);
    let connection = story.known.tracker.get(ConnId(1)).unwrap();
    let levels: Vec<_> = connection.end(Side::A).unwrap().levels().collect();
    assert_eq!(levels.len(), 1);
    assert_eq!(levels[0].to, Some(at(1900)));
}

/// Shut down by A; B is killed later.
fn shut_down_and_killed() -> Story {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let nginx = Some(process("nginx", 812));
    let python = Some(killed(process("python3", 4711), 9));
    let us = 5_000_000;
    let shut = moment(File::Held, 2, 0);
    for (us, end, what, moment, caller) in [
        (us, a, step(Established, FinWait1), shut, nginx),
        (
            us + 20,
            b,
            step(Established, CloseWait),
            moment(File::Held, 1, 1),
            None,
        ),
        (us + 2_000_000, a, step(FinWait1, FinWait2), shut, None),
        (us + 5_000_000, a, What::Retransmit, shut, None),
        (
            us + 7_000_000,
            b,
            step(CloseWait, LastAck),
            moment(File::Closing, 3, 0),
            python,
        ),
        (
            us + 9_000_000,
            b,
            step(LastAck, Close),
            moment(File::Closing, 3, 0),
            None,
        ),
    ] {
        story.event(us, end, what, moment, caller);
    }
    story
}

#[test]
fn calls_at_their_steps() {
    snapshot("lanes_calls", &mut shut_down_and_killed(), 16_000);
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, _] = closed_by_events(&mut story, false);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    story.type_keys(" ++++++++++++", 2000);
    snapshot("lanes_close", &mut story, 4000);
}

/// Looks far apart: most of what is in sight lies between the bounds of a step.
#[test]
fn bounds_as_wide_as_the_sight() {
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(40_004, TcpState::Established);
    story.look(1000, &[waiting_server(), a, b], &[]);
    story.look_after(
        9000,
        7000,
        &[],
        &[
            mini(in_state(a, TcpState::TimeWait), at(62_100)),
            in_state(b, TcpState::LastAck),
        ],
    );
    snapshot("lanes_bounds", &mut story, 9900);
    story.type_keys("+++++", 9900);
    snapshot("lanes_bounds_near", &mut story, 9090);
}

/// Resets, sent again, close(), shutdown(), exit, freed, no answer, copies, bars: whatever a lane can
/// show stands in the help.
#[test]
fn the_help_has_every_sign() {
    let mut story = Story::on_port("50008").running();
    story.type_keys("?", 1000);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut help = story.screen(width, height, 1000).to_string();
        for _ in 0..3 {
            story.press(KeyCode::PageDown, 1000);
            help += &story.screen(width, height, 1000).to_string();
        }
        story.press(KeyCode::Home, 1000);
        for sign in "|\u{2021}\u{ab}\u{2573}\u{2591}\u{25b2}\u{25bc}\u{2191}\u{a2}\u{a7}\u{2020}\
                     \u{25cb}?\u{2295}\u{2296}\u{2297}\u{2581}\u{2588}\u{2594}\u{2580}"
            .chars()
        {
            assert!(help.contains(sign), "{sign} at {width}");
        }
    }
}

#[test]
fn every_lane_is_as_wide_as_its_pane() {
    let mut story = slow_reader();
    for width in 40..220 {
        let mut terminal = Terminal::new(TestBackend::new(width, 24)).unwrap();
        let at = at(18_000);
        let drawn = terminal.draw(|frame| draw(frame, &mut story.app, &story.known, at));
        assert!(drawn.is_ok(), "{width}");
    }
}
