//! Whatever is pressed, on whatever was recorded: the screen does not panic, and what is known is the
//! same as without it.
//!
//! The trap: a screen that is only fed keys without meaning tests its key table and nothing else. So
//! whole words are typed too, and recordings are real ones, made-up ones that hang together, and noise.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "common/any.rs"]
mod observations;
#[path = "common/replayed.rs"]
mod replayed;
#[path = "common/tape.rs"]
mod tape;

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use tcpwatch::diagnosis::{Known, Settings};
use tcpwatch::model::filter::Filter;
use tcpwatch::model::{Body, Observation, Queues, Sample, SourceName, TcpState, Timestamp};
use tcpwatch::run::replay::player::Player;
use tcpwatch::timeline::Tracker;
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::tui::{App, Input, Reaction, draw};

use crate::replayed::{Replayed, world};

const RECORDED: [&[u8]; 6] = [
    include_bytes!("../fixtures/recordings/v1/close-unprivileged.jsonl"),
    include_bytes!("../fixtures/recordings/v1/close.jsonl"),
    include_bytes!("../fixtures/recordings/v1/newer-minor.jsonl"),
    include_bytes!("../fixtures/recordings/v1/owners.jsonl"),
    include_bytes!("../fixtures/recordings/v1/shutdown-mirrors.jsonl"),
    include_bytes!("../fixtures/recordings/v1/shutdown.jsonl"),
];

/// For noise: times in milliseconds.
fn said(ms: u64, source: SourceName, body: Body) -> Observation {
    Observation {
        source,
        ..tape::said(ms * 1000, body)
    }
}

/// What is done to the screen.
#[derive(Clone, Debug)]
enum Act {
    Key(KeyEvent),
    /// A key that asks for words, the words, and what ends them.
    Words(char, &'static str, KeyCode),
    Mouse(MouseEvent),
    Size(u16, u16),
    /// So many more observations, where they come by themselves.
    Hear(usize),
    /// Time passes, and nothing comes.
    Wait(u64),
    Continued,
}

fn key() -> impl Strategy<Value = KeyEvent> {
    use KeyCode::*;
    let letters = (' '..='~').chain(['\u{e9}', '\u{6f22}', '\u{1f600}']);
    let plain = letters.map(Char).chain([
        Enter,
        Esc,
        Tab,
        BackTab,
        Up,
        Down,
        Left,
        Right,
        Home,
        End,
        PageUp,
        PageDown,
        Backspace,
        Delete,
        F(1),
        Insert,
    ]);
    let plain = plain.map(|code| KeyEvent::new(code, KeyModifiers::NONE));
    let control = "abcdefghiklnuwz"
        .chars()
        .map(|letter| KeyEvent::new(Char(letter), KeyModifiers::CONTROL));
    select(plain.chain(control).collect::<Vec<_>>())
}

fn words() -> impl Strategy<Value = Act> {
    let texts = vec![
        "",
        "port 80",
        "127.0.0.1",
        "age > 1ms and not closed",
        "state close-wait or state fin-wait2",
        "unread > 0",
        "process py or pid 77",
        "age > ",
        "((",
        "not port 80",
        "no such word",
        "\u{6f22}\u{e9}",
        "+5ms",
        "14:02:11.5",
    ];
    let ends = vec![KeyCode::Enter, KeyCode::Enter, KeyCode::Esc, KeyCode::Up];
    (
        select(vec!['/', '/', '\\', 't', 'e']),
        select(texts),
        select(ends),
    )
        .prop_map(|(key, text, end)| Act::Words(key, text, end))
}

fn mouse() -> impl Strategy<Value = Act> {
    use MouseEventKind::*;
    let kinds = vec![
        Down(MouseButton::Left),
        Down(MouseButton::Right),
        Up(MouseButton::Left),
        Drag(MouseButton::Left),
        Moved,
        ScrollDown,
        ScrollUp,
        ScrollLeft,
        ScrollRight,
    ];
    (select(kinds), 0..260u16, 0..90u16).prop_map(|(kind, column, row)| {
        Act::Mouse(MouseEvent {
            kind,
            column: column.min(if row % 7 == 0 { u16::MAX } else { 90 }),
            row: row.min(45),
            modifiers: KeyModifiers::NONE,
        })
    })
}

fn size() -> impl Strategy<Value = Act> {
    let usual = select(vec![(80, 24), (120, 40), (40, 10), (1, 1), (250, 80)]);
    prop_oneof![usual, (1..=250u16, 1..=80u16)].prop_map(|(width, height)| Act::Size(width, height))
}

fn acts(most: usize) -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        10 => key().prop_map(Act::Key),
        2 => words(),
        3 => mouse(),
        1 => size(),
        4 => (1..20usize).prop_map(Act::Hear),
        1 => (0..100_000u64).prop_map(Act::Wait),
        1 => Just(Act::Continued),
    ];
    vec(one, 1..most)
}

/// Connections that come, move through any states, hold unread bytes and go, as looks and lookups tell.
fn plausible() -> impl Strategy<Value = Vec<Observation>> {
    let state = || select(TcpState::ALL.to_vec());
    let one = (1..400_000u64, 0..12u64, state(), state(), 0..40u32, 0..8u8);
    vec(one, 1..60).prop_map(|steps| {
        let mut us = 1000;
        let mut is_first = true;
        let steps = steps.into_iter().map(|(step, number, a, b, unread, kind)| {
            us += step;
            let mut ends = tape::ends(number, [a, b]);
            for (end, inode) in ends.iter_mut().zip(1..) {
                end.queues = Queues::Stream {
                    receive: unread,
                    send: unread / 3,
                };
                end.inode = Some(inode + 2 * u32::try_from(number).unwrap());
            }
            match kind {
                0 => tape::gone(us, &ends[0]),
                1 => tape::gone(us, &ends[1]),
                2 => tape::keyframe(us, &ends),
                3 => tape::look(us, false, &ends[..1], &[]),
                4 => tape::look(us, false, &[], &ends),
                _ => tape::look(
                    us,
                    std::mem::take(&mut is_first),
                    &tape::open(number),
                    &ends[1..],
                ),
            }
        });
        steps.collect()
    })
}

fn recording() -> impl Strategy<Value = Vec<u8>> {
    let made = |story: Vec<Observation>| tape::written(&tape::header("r", 1, 0), &story, true);
    prop_oneof![
        3 => select(RECORDED.to_vec()).prop_map(<[u8]>::to_vec),
        4 => plausible().prop_map(made),
        1 => (1..30u64).prop_map(tape::recording),
        3 => observations::observations(20).prop_map(made),
    ]
}

/// All that a recording tells.
fn heard(recording: &[u8]) -> Vec<Observation> {
    let mut world = world(recording);
    std::iter::from_fn(|| world.take(None).unwrap()).collect()
}

/// All that is known of connections and findings.
fn told(known: &Known) -> String {
    let mut text = format!("{:?}\n", known.tracker.totals());
    for connection in known.tracker.connections() {
        let _ = writeln!(text, "{connection:?}");
    }
    for finding in known.diagnosis.findings() {
        let _ = writeln!(text, "{finding:?}");
    }
    text
}

/// The screen and its terminal.
struct Console {
    app: App,
    terminal: Terminal<TestBackend>,
}

impl Console {
    fn new() -> Self {
        Self {
            app: App::new(Filter::default(), ColorMode::On, TimeZone::UTC),
            terminal: Terminal::new(TestBackend::new(80, 24)).unwrap(),
        }
    }

    fn draw(&mut self, known: &Known, now: Timestamp) {
        let app = &mut self.app;
        self.terminal
            .draw(|frame| draw(frame, app, known, now))
            .unwrap();
    }

    /// Does it, but for what time and observations do; gives what is to be done about it.
    fn act(&mut self, act: &Act, known: &Known, now: Timestamp) -> Vec<Reaction> {
        let inputs = match act {
            Act::Key(key) => vec![Input::Key(*key)],
            Act::Words(first, words, last) => {
                let typed = std::iter::once(*first)
                    .chain(words.chars())
                    .map(KeyCode::Char);
                let keys = typed.chain([*last]);
                keys.map(|code| Input::Key(KeyEvent::from(code))).collect()
            }
            Act::Mouse(event) => vec![Input::Mouse(*event)],
            Act::Size(width, height) => {
                self.terminal.backend_mut().resize(*width, *height);
                vec![Input::Resize]
            }
            Act::Continued => vec![Input::Continued],
            Act::Hear(_) | Act::Wait(_) => Vec::new(),
        };
        let app = &mut self.app;
        let reactions = inputs.into_iter();
        reactions
            .map(|input| app.update(input, known, now))
            .collect()
    }

    /// The rows of the list, from the top, when it is there: the mark, and the number of a connection
    /// or the name of a group.
    fn list(&self) -> Option<Vec<(bool, String)>> {
        let lines = lines(self.terminal.backend().buffer());
        let heading = lines.iter().position(|line| line.starts_with("     # "))?;
        let rows = lines[heading + 1..].iter().map_while(|line| {
            let (mark, number) = (line.chars().next()?, line.get(1..6)?.trim());
            if number.parse::<u64>().is_ok() {
                return Some((mark == '>', number.to_owned()));
            }
            let group = line.split_once(": ").filter(|_| number.is_empty())?;
            let name = group.0.get(8..)?.chars().skip(2).collect();
            (line.contains(" connection")).then_some((mark == '>', name))
        });
        Some(rows.collect())
    }
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let line = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect();
    (0..area.height).map(line).collect()
}

/// Plays a recording as the program does, with the keys pressed.
fn replay(recording: &[u8], acts: &[Act]) -> Player {
    let mut replayed = Replayed::new(recording);
    let mut console = Console::new();
    for act in acts {
        let world = replayed.player.world().clone();
        let position = replayed.player.position();
        for reaction in console.act(act, world.known(), position) {
            if let Reaction::Travel(travel) = reaction {
                replayed.follow(travel, &mut console.app);
            }
        }
        // Keys work while it is read, too.
        replayed.read_on(16);
        match act {
            Act::Hear(count) => {
                let end = replayed.player.end();
                replayed.player.advance(end, *count).unwrap();
            }
            Act::Wait(us) => replayed.pass(Duration::from_micros(*us)),
            _ => {}
        }
        replayed.show(&mut console.app);
        console.draw(replayed.player.world().known(), replayed.player.position());
    }
    while !replayed.read_on(1000) {}
    replayed.player
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_known_live_is_the_same_with_a_screen_beside_it(
        recording in recording(),
        acts in acts(40),
    ) {
        let all = heard(&recording);
        let mut alone = Known::new(Tracker::default(), Settings::default());
        for observation in &all {
            alone.take(observation);
            alone.asks();
        }
        let mut known = Known::new(Tracker::default(), Settings::default());
        let mut console = Console::new();
        let mut coming = all.iter();
        let mut now = all.first().map_or(tape::at(0), |first| first.at);
        for act in &acts {
            if let Act::Hear(count) = act {
                for observation in coming.by_ref().take(*count) {
                    known.take(observation);
                    console.app.note(observation);
                    known.asks();
                    now = now.max(observation.at);
                }
            }
            if let Act::Wait(us) = act {
                now = now.plus(Duration::from_micros(*us));
            }
            let before = told(&known);
            console.act(act, &known, now);
            console.draw(&known, now);
            prop_assert_eq!(before, told(&known));
        }
        for observation in coming {
            known.take(observation);
            console.app.note(observation);
            known.asks();
            now = now.max(observation.at);
        }
        console.draw(&known, now);
        prop_assert_eq!(told(&alone), told(&known));
    }

    #[test]
    fn a_recording_is_the_same_whatever_was_pressed(
        recording in recording(),
        acts in acts(40),
        part in 0..=4u32,
    ) {
        let mut player = replay(&recording, &acts);
        let whole = player.end().since(player.begin());
        let to = player.begin().plus(whole / 4 * part).min(player.end());
        player.seek(to).unwrap();
        let mut fresh = world(&recording);
        while fresh.take(Some(to)).unwrap().is_some() {}
        prop_assert_eq!(told(player.world().known()), told(fresh.known()));
        prop_assert_eq!(heard(&recording).len(), {
            let mut rest = player.world().clone();
            let before = heard(&recording).iter().filter(|one| one.at <= to).count();
            let after = std::iter::from_fn(|| rest.take(None).unwrap()).count();
            before + after
        });
    }

    /// Rows stay in their places, and the chosen one is the chosen one, whatever comes.
    #[test]
    fn nothing_jumps(
        story in plausible(),
        keys in select(vec![
            "", "S", "s", "ss", "sss", "ssss", "sssssss", "ssssssssS", "v", "vv\n", "vvv", "vvvv",
            "/state established\n", "/unread > 3\n", "/age > 1ms\n", "jj/port 80\nss", "jjj", "o", "zl",
        ]),
        downs in 0..6usize,
        heard_first in 1..30usize,
        (width, height) in select(vec![(80, 24), (120, 40), (200, 60)]),
    ) {
        let mut known = Known::default();
        let mut console = Console::new();
        console.terminal.backend_mut().resize(width, height);
        let mut now = tape::at(0);
        let mut before: Option<Vec<(bool, String)>> = None;
        for (place, observation) in story.iter().enumerate() {
            known.take(observation);
            known.asks();
            now = now.max(observation.at);
            console.draw(&known, now);
            if place + 1 < heard_first {
                continue;
            }
            if place + 1 == heard_first {
                for key in keys.chars() {
                    let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
                    console.act(&Act::Key(KeyEvent::from(code)), &known, now);
                }
                for _ in 0..downs {
                    console.act(&Act::Key(KeyEvent::from(KeyCode::Down)), &known, now);
                }
                console.draw(&known, now);
                before = console.list();
                continue;
            }
            let after = console.list();
            // Where nothing is filtered away rows stay, and they can be read.
            let were_there = before.as_ref().is_some_and(|rows| !rows.is_empty());
            let are_there = after.as_ref().is_some_and(|rows| !rows.is_empty());
            prop_assert!(are_there || !were_there || keys.contains('/'), "{}", keys);
            if let (Some(before), Some(after)) = (&before, &after) {
                // What belongs to a group goes with what it is like.
                let is_grouped = keys.contains('v');
                let is_fixed = |name: &str| !is_grouped || name.parse::<u64>().is_err();
                let still: Vec<&String> = names(before)
                    .filter(|name| is_fixed(name) && names(after).any(|one| one == *name))
                    .collect();
                let now_so: Vec<&String> = names(after)
                    .filter(|name| is_fixed(name) && names(before).any(|one| one == *name))
                    .collect();
                prop_assert_eq!(still, now_so, "{}", keys);
                prop_assert_eq!(chosen(before).filter(|name| is_conn(name)),
                    chosen(after).filter(|_| chosen(before).is_some_and(is_conn)), "{}", keys);
            }
            before = after;
        }
    }
}

fn names(rows: &[(bool, String)]) -> impl Iterator<Item = &String> {
    rows.iter().map(|(_, name)| name)
}

fn chosen(rows: &[(bool, String)]) -> Option<&str> {
    let marked = rows.iter().find(|(is_chosen, _)| *is_chosen);
    marked.map(|(_, name)| name.as_str())
}

fn is_conn(name: &str) -> bool {
    name.parse::<u64>().is_ok()
}

/// What the tape says of a socket is what the screen is asked about above.
#[test]
fn the_list_is_read_as_it_is_drawn() {
    let mut known = Known::default();
    let ends: Vec<Sample> = (0..4).flat_map(tape::open).collect();
    known.take(&tape::look(1000, true, &ends, &[]));
    let mut console = Console::new();
    console.draw(&known, tape::at(2));
    let rows = console.list().unwrap();
    let plain = ["1", "2", "3", "4"].map(str::to_owned);
    assert_eq!(names(&rows).cloned().collect::<Vec<_>>(), plain);
    assert_eq!(chosen(&rows), Some("1"));
    console.act(
        &Act::Key(KeyEvent::from(KeyCode::Char('v'))),
        &known,
        tape::at(3),
    );
    console.draw(&known, tape::at(3));
    let rows = console.list().unwrap();
    assert_eq!(names(&rows).next().unwrap(), "peer 127.0.0.1:80");
}
