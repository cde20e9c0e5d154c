//! Who holds an end, and what is wrong, on the screen.

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use tcpwatch::model::filter::Filter;
use tcpwatch::model::{Holder, Queues, Sample, Seen, TcpState};
use tcpwatch::timeline::ConnId;
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::tui::{App, Input, draw};

use crate::build::{Story, endpoint, holder, in_state, let_go, listener, mini, unread};
use crate::{SERVER, at, loopback, marked, waiting_server};

/// All ends of a server have one port, and each has its own file.
pub fn with_inode(sample: Sample, client: u16) -> Sample {
    Sample {
        inode: Some(200_000 + u32::from(client)),
        ..sample
    }
}

/// A connection that is opened at `ms`, held by these, and closed by A a second later.
pub fn leaked(story: &mut Story, client: u16, ms: u64, holders: [&[Holder]; 2]) -> [Sample; 2] {
    let [a, b] = loopback(client, TcpState::Established);
    let b = with_inode(b, client);
    story.look(ms, &[a, b], &[]);
    for (end, holders) in [a, b].into_iter().zip(holders) {
        if !holders.is_empty() {
            story.held(ms + 2, end, holders);
        }
    }
    let waits = mini(in_state(a, TcpState::FinWait2), at(ms + 61_000));
    let leaks = Sample {
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        ..with_inode(in_state(b, TcpState::CloseWait), client)
    };
    story.look(ms + 1000, &[], &[waits, leaks]);
    [a, b]
}

pub fn begin() -> Story {
    let mut story = Story::on_port("50008").running();
    story.look(1000, &[waiting_server()], &[]);
    story.held(1001, waiting_server(), &[holder("python3", (812, 1), &[3])]);
    story
}

/// Leaked by a server; shared by its forty children; never accepted; one whose holder is hidden; one
/// that was closed at last.
pub fn story() -> Story {
    let mut story = begin();
    let (curl, python) = (
        [holder("curl", (900, 1), &[5])],
        [holder("python3", (812, 1), &[9])],
    );
    leaked(&mut story, 40_001, 2000, [&curl, &python]);

    let first = [holder("guacd", (700, 1), &[6, 7])];
    let [_, b] = leaked(&mut story, 40_002, 4000, [&[], &first]);
    let mut all = vec![holder("guacd", (700, 1), &[6, 7])];
    all.extend((0..39).map(|n| holder("guacd", (701 + n, 700), &[6])));
    story.held(5500, b, &all);
    all.remove(0);
    let shared = (b, all);

    let [a, b] = loopback(40_003, TcpState::Established);
    story.look(6000, &[a, let_go(b)], &[]);
    let waits = mini(in_state(a, TcpState::FinWait2), at(67_000));
    let queued = let_go(unread(in_state(b, TcpState::CloseWait), 14));
    let full = listener(endpoint("0.0.0.0", SERVER), 129);
    story.look(7000, &[], &[full, waits, queued]);

    let [_, b] = leaked(&mut story, 40_004, 8000, [&[], &[]]);
    story.held_as(9500, b, &[], Seen::Partly);

    let java = [holder("java", (555, 1), &[44])];
    let [a, b] = leaked(&mut story, 40_005, 10_000, [&[], &java]);
    story.held(20_000, shared.0, &shared.1);
    story.look(42_000, &[], &[]);
    story.gone(45_000, b);
    story.gone(45_001, a);
    // Time passes by observations alone.
    story.look(47_000, &[], &[]);
    story
}

fn pictures(name: &str, story: &mut Story, ms: u64) {
    for (width, height) in [(60, 16), (80, 24), (120, 40)] {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn holders_and_findings_of_every_kind() {
    let mut story = story();
    pictures("found_leaked", &mut story, 48_000);
    for name in [
        "found_shared",
        "found_never_accepted",
        "found_hidden",
        "found_over",
    ] {
        story.type_keys("j", 48_000);
        pictures(name, &mut story, 48_000);
    }
}

#[test]
fn all_of_one_connection() {
    let mut story = story();
    story.type_keys("j", 48_000);
    story.press(KeyCode::Enter, 48_000);
    pictures("found_whole", &mut story, 48_000);
    story.press(KeyCode::Esc, 48_000);
    assert_eq!(marked(&mut story, 48_000), "2");
}

#[test]
fn nothing_found_says_what_would_be() {
    let mut story = begin();
    story.type_keys("f", 2000);
    let screen = story.screen(80, 24, 2000).to_string();
    assert!(screen.contains("Nothing was found."), "{screen}");
    assert!(screen.contains("counts from 30 s on"), "{screen}");
    assert!(!screen.contains("warn"), "{screen}");
}

/// The chosen row of the pane: its connection and its code.
fn chosen(story: &mut Story) -> (String, String) {
    let screen = story.screen(80, 24, 48_000).to_string();
    let row = screen.lines().find(|line| line.starts_with("\">")).unwrap();
    let mut words = row[3..].split_whitespace();
    let conn = words.next().unwrap().to_owned();
    let code = words.find(|word| word.len() > 1).unwrap();
    (conn, code.to_owned())
}

#[test]
fn the_choice_in_the_pane_is_the_choice_in_the_list() {
    let mut story = story();
    story.type_keys("f", 48_000);
    let worst = ("-".to_owned(), "listen-overflow".to_owned());
    assert_eq!(chosen(&mut story), worst);
    story.press(KeyCode::Enter, 48_000);
    assert_eq!(chosen(&mut story), worst, "it is about no connection");
    story.press(KeyCode::Down, 48_000);
    let (conn, code) = chosen(&mut story);
    assert_eq!((&*conn, &*code), ("3", "close-wait-never-accepted"));
    story.press(KeyCode::Up, 48_000);
    assert_eq!(chosen(&mut story), worst);
    story.press(KeyCode::Up, 48_000);
    assert_eq!(chosen(&mut story), worst, "it is the first");
    story.type_keys("jjj", 48_000);
    story.press(KeyCode::Enter, 48_000);
    assert_eq!(marked(&mut story, 48_000), "2");
    story.type_keys("f", 48_000);
    assert_eq!(chosen(&mut story).0, "2", "the pane remembers");
    story.type_keys("f", 48_000);
    assert_eq!(marked(&mut story, 48_000), "2");
}

#[test]
fn a_pause_keeps_what_was_found_then() {
    let mut story = story();
    story.type_keys(" f", 48_000);
    let before = story.screen(80, 24, 48_000).to_string();
    let [_, b] = loopback(40_001, TcpState::CloseWait);
    story.gone(49_000, with_inode(b, 40_001));
    story.look(50_000, &[], &[]);
    assert_eq!(
        story
            .known
            .diagnosis
            .about(ConnId(1))
            .filter(|it| it.over.is_some())
            .count(),
        1
    );
    let paused = story.screen(80, 24, 50_000).to_string();
    let below = |screen: &str| {
        screen
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(below(&before), below(&paused));
    story.type_keys(" ", 50_000);
    let live = story.screen(80, 24, 50_000).to_string();
    assert_ne!(below(&before), below(&live));
}

#[test]
fn what_the_filter_hides_is_not_found() {
    let found = story();
    let of = |port: &str| Filter {
        ports: port.parse().unwrap(),
        ..Filter::default()
    };
    let shown = |filter: Filter| {
        let mut app = App::new(filter, ColorMode::Off, TimeZone::UTC);
        let key = KeyEvent::from(KeyCode::Char('f'));
        app.update(Input::Key(key), &found.known, at(48_000));
        let mut terminal = Terminal::new(TestBackend::new(120, 24)).unwrap();
        terminal
            .draw(|frame| draw(frame, &mut app, &found.known, at(48_000)))
            .unwrap();
        terminal.backend().to_string()
    };
    let one = shown(of("40003"));
    assert!(one.contains("1 error 1 info"), "{one}");
    assert!(!one.contains("close-wait-leaked"), "{one}");
    let none = shown(of("40999"));
    assert!(none.contains("Nothing was found."), "{none}");
    assert!(!none.contains("error"), "{none}");
}

#[test]
fn names_that_a_program_chose_do_nothing_to_the_terminal() {
    let mut story = begin();
    let mut evil = holder("\u{1b}[2J\u{7f}x", (666, 1), &[9]);
    let program = std::sync::Arc::make_mut(&mut evil.program);
    program.user = Some("ro\u{202e}ot".into());
    program.cmdline = Some(format!("\u{1b}]0;evil\u{7} {}", "long ".repeat(200)).into());
    leaked(&mut story, 40_001, 2000, [&[], &[evil]]);
    story.look(40_000, &[], &[]);
    for key in ["", "f"] {
        story.type_keys(key, 41_000);
        for (width, height) in [(60, 16), (80, 24), (120, 40), (200, 60)] {
            let screen = story.screen(width, height, 41_000);
            let cells = screen.buffer().content();
            let acts = |c: char| c.is_control() || c == '\u{202e}';
            let bad = cells.iter().find(|cell| cell.symbol().chars().any(acts));
            assert!(bad.is_none(), "{bad:?}");
        }
    }
    story.type_keys("f", 41_000);
    pictures("found_evil_name", &mut story, 41_000);
}

#[test]
fn the_pane_of_findings() {
    let mut story = story();
    story.type_keys("f", 48_000);
    pictures("findings_worst", &mut story, 48_000);
    story.type_keys("jj", 48_000);
    pictures("findings_third", &mut story, 48_000);
    story.type_keys("G", 48_000);
    pictures("findings_over", &mut story, 48_000);
}

#[test]
fn what_was_there_before_us_is_found_and_not_begun() {
    let shown = |is_there_before: bool| {
        let mut story = Story::on_port("50008").running();
        let [a, b] = loopback(40_001, TcpState::Established);
        let leaks = in_state(b, TcpState::CloseWait);
        if is_there_before {
            story.look(1000, &[leaks], &[]);
        } else {
            story.look(1000, &[a, b], &[]);
            story.look(2000, &[], &[leaks]);
        }
        story.look(40_000, &[], &[]);
        story.look(45_000, &[], &[]);
        story.type_keys("f", 45_001);
        story.screen(100, 30, 45_002).to_string()
    };
    let before = shown(true);
    assert!(before.contains(", found at "), "{before}");
    let after = shown(false);
    assert!(after.contains(", since "), "{after}");
}

/// A letter may take two columns: whatever stands behind a name stays where it is.
#[test]
fn a_name_of_other_letters_moves_nothing() {
    let drawn = |name: &str, key: &str, (width, height): (u16, u16)| {
        let mut story = begin();
        let holder = holder(name, (812, 1), &[3]);
        leaked(&mut story, 40_001, 2000, [&[], &[holder]]);
        story.look(40_000, &[], &[]);
        story.type_keys(key, 41_000);
        story.screen(width, height, 41_000).buffer().clone()
    };
    let letters = |symbol: &str| symbol.chars().next().unwrap();
    let (plain, other) = ("abcdefghij", "\u{6f22}\u{5b57}\u{6f22}\u{5b57}\u{6f22}");
    for (key, size) in ["", "f", "2", "3"]
        .into_iter()
        .flat_map(|key| [(60, 16), (80, 24), (120, 40), (160, 40)].map(|size| (key, size)))
    {
        let (one, two) = (drawn(plain, key, size), drawn(other, key, size));
        let pairs = one.content().iter().zip(two.content());
        for (place, (one, two)) in pairs.enumerate() {
            let (one, two) = (one.symbol(), two.symbol());
            let is_of_name = plain.contains(letters(one)) && (other.contains(two) || two == " ");
            assert!(
                one == two || is_of_name,
                "{one:?} {two:?} at {place} of {size:?} behind {key:?}: {other}"
            );
        }
    }
}
