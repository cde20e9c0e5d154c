//! One picture of the screen, into memory: what it costs with many connections known, however the rows
//! are arranged.
//!
//! Every round compares with a picture of 60 known connections in the same moment. The trap: rows are
//! made again a few times a second at most, so that the mean of a row says little and its worst picture
//! all; and time passes between two pictures as it does live, or they would be made again each time.

use std::cell::RefCell;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use tcpwatch::source::clock;

use crate::rounds::{self, Contender, duration, take};
use crate::world::{Kind, Screen, World};

/// A large terminal.
const SCREEN: (u16, u16) = (200, 60);
/// As many connections as are in sight of a screen of [`tall`] rows.
const FEW: usize = 60;

/// What is typed, and how it is called.
const ARRANGED: [(&str, &str); 23] = [
    ("plain", ""),
    ("sorted by number, turned", "S"),
    ("sorted by findings", "s"),
    ("sorted by age of A", "ss"),
    ("sorted by age of B", "sss"),
    ("sorted by unread", "ssss"),
    ("sorted by state of A", "sssss"),
    ("sorted by state of B", "ssssss"),
    ("sorted by owner of A", "sssssss"),
    ("sorted by owner of B", "ssssssss"),
    ("sorted by address of A", "sssssssss"),
    ("sorted by address of B", "ssssssssss"),
    ("sorted by verdict", "sssssssssss"),
    (
        "matching age && unread || process",
        "/age > 30s and unread > 0 or process python3\n",
    ),
    ("host 127.1.9.0/24", "/host 127.1.9.0/24\n"),
    ("grouped by peer", "v"),
    ("grouped by process", "vv"),
    ("grouped by process, one open", "vv\n"),
    ("grouped by state", "vvv"),
    ("grouped by finding", "vvvv"),
    ("one connection whole", "2"),
    ("ladder", "3"),
    ("axis by the order of steps", "o"),
];

pub fn bench(many: usize, rounds: usize) {
    let few = RefCell::new(World::of(Kind::Mixed, FEW));
    let mixed = RefCell::new(World::of(Kind::Mixed, many));
    let troubled = World::of(Kind::Troubled, many);
    let far = RefCell::new(World::of(Kind::Far, many));
    let found = troubled.known.diagnosis.findings().len();
    print!("{}", still(&few.borrow(), &mixed.borrow(), rounds));
    print!(
        "{}",
        others(&few.borrow(), &mixed.borrow(), &troubled, rounds)
    );
    println!("  ({found} findings)");
    let after_key = ARRANGED.map(|(name, keys)| (name, keys, Some('r')));
    print!(
        "{}",
        moving("right after the key", &few, &mixed, &after_key, rounds)
    );
    let moving_on = ARRANGED.map(|(name, keys)| (name, keys, None));
    let frames = 5 * rounds;
    print!(
        "{}",
        moving(
            "data moving, 20 pictures a second",
            &few,
            &mixed,
            &moving_on,
            frames
        )
    );
    let peers = [
        ("grouped by 10,000 peers", "v", None),
        ("the same, grouped now", "v", Some('r')),
    ];
    print!(
        "{}",
        moving("each from another host", &few, &far, &peers, frames)
    );
}

const PLAIN_FEW: &str = "60 connections known";

fn contender<'a>(
    name: &str,
    against: Option<&'static str>,
    world: &'a World,
    mut screen: Screen,
) -> Contender<'a> {
    Contender::new(name, against, move || take(1, || screen.draw_anew(world)))
}

/// Nothing has changed, and every cell is sent again.
fn still(few: &World, many: &World, rounds: usize) -> String {
    let screen = |keys, world| Screen::new(SCREEN).after(keys, world);
    let mut all = vec![contender(PLAIN_FEW, None, few, screen("", few))];
    all.extend(
        ARRANGED.map(|(name, keys)| contender(name, Some(PLAIN_FEW), many, screen(keys, many))),
    );
    let title = format!(
        "every cell of {} x {}, {} connections known",
        SCREEN.0,
        SCREEN.1,
        many.known.tracker.connections().len()
    );
    rounds::run(&title, "a picture", rounds, all)
}

/// What is not an arrangement of rows.
fn others(few: &World, many: &World, troubled: &World, rounds: usize) -> String {
    let tall = (120, tall(many));
    let of = |size, keys, world| Screen::new(size).after(keys, world);
    let mut newest = Screen::new(SCREEN);
    newest.app.follow_newest();
    newest.draw(many);
    let mut paused = of(SCREEN, "", many);
    paused.app.pause(&many.known, many.now);
    let against = Some(PLAIN_FEW);
    let of_60 = format!("60 in sight (120 x {}), 60 known", tall.1);
    let all = vec![
        contender(PLAIN_FEW, None, few, of(SCREEN, "", few)),
        contender("the newest chosen", against, many, newest),
        contender("paused", against, many, paused),
        contender(&of_60, against, few, of(tall, "", few)),
        contender("60 in sight, many known", against, many, of(tall, "", many)),
        contender(
            "60 in sight, many known, sorted by age",
            against,
            many,
            of(tall, "ss", many),
        ),
        contender(
            "each a finding",
            against,
            troubled,
            of(SCREEN, "", troubled),
        ),
        contender(
            "each a finding, in their pane",
            against,
            troubled,
            of(SCREEN, "4", troubled),
        ),
        contender(
            "each a finding, in their pane, grouped",
            against,
            troubled,
            of(SCREEN, "4v", troubled),
        ),
        contender(
            "each a finding, sorted by them",
            against,
            troubled,
            of(SCREEN, "s", troubled),
        ),
        contender(
            "each a finding, grouped by them",
            against,
            troubled,
            of(SCREEN, "vvvv", troubled),
        ),
        Contender::new("pause: a copy of all", against, || {
            take(1, || {
                black_box(many.known.clone());
            })
        }),
    ];
    rounds::run("other screens, every cell", "a picture", rounds, all)
}

/// The height of a screen that has [`FEW`] connections in its list.
fn tall(many: &World) -> u16 {
    let heights = (60..400).find(|&height| Screen::new((120, height)).rows(many) >= FEW);
    heights.unwrap_or(SCREEN.1)
}

/// Time passes and connections change from picture to picture, as live; with a key pressed before
/// each, whose work counts too.
fn moving(
    title: &str,
    few: &RefCell<World>,
    many: &RefCell<World>,
    arranged: &[(&str, &str, Option<char>)],
    frames: usize,
) -> String {
    let mut text = format!(
        "\n{title}, {} x {}\n{:<52}{:>10}{:>10}{:>10}{:>8}\n",
        SCREEN.0, SCREEN.1, "", "mean", "median", "worst", "ratio"
    );
    for (name, keys, key) in arranged {
        let mut of_few = Screen::new(SCREEN).after("", &few.borrow());
        let mut of_many = Screen::new(SCREEN).after(keys, &many.borrow());
        let (mut little, mut much) = (Vec::new(), Vec::new());
        for _ in 0..frames {
            little.push(timed(&mut of_few, &mut few.borrow_mut(), None));
            much.push(timed(&mut of_many, &mut many.borrow_mut(), *key));
        }
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
        let _ = writeln!(
            text,
            "  {name:<50}{:>10}{:>10}{:>10}{:>8.2}",
            duration(mean(&much)),
            duration(rounds::median(much.iter().copied())),
            duration(much.iter().copied().fold(0.0, f64::max)),
            mean(&much) / mean(&little),
        );
    }
    text
}

/// Nanoseconds of the next picture, and of the key before it.
fn timed(screen: &mut Screen, world: &mut World, key: Option<char>) -> f64 {
    world.move_on();
    let before = clock::thread_cpu();
    if let Some(key) = key {
        screen.press(key, world);
    }
    screen.draw(world);
    let spent: Duration = clock::thread_cpu().saturating_sub(before);
    spent.as_nanos() as f64
}
