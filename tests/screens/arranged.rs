//! Rows in another order: sorted, grouped, those that match; and the time axis: panned, zoomed, fitted
//! to a teardown, with a cursor, by the order of steps.

use ratatui::crossterm::event::{KeyCode, MouseButton, MouseEvent, MouseEventKind};
use ratatui::crossterm::event::{KeyEvent, KeyModifiers};
use tcpwatch::model::{Sample, TcpState};
use tcpwatch::view::tui::{Input, Reaction};

use crate::build::{Story, at, endpoint, in_state, mini, sock, unread};
use crate::{SERVER, closed_by_a, closed_by_events, loopback, marked, zoo};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn snapshots(name: &str, story: &mut Story, ms: u64) {
    for (width, height) in SIZES {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

/// The numbers in the list, from the top.
fn numbers(story: &mut Story, ms: u64) -> Vec<u64> {
    let screen = story.screen(120, 40, ms).to_string();
    let rows = screen.lines().map(|line| line.trim_matches('"'));
    let list = rows.skip_while(|line| !line.starts_with("     #")).skip(1);
    let list = list.take_while(|line| !line.starts_with(" time") && !line.starts_with(" order"));
    list.filter_map(|line| line[1..6].trim().parse().ok())
        .collect()
}

fn line_with(story: &mut Story, text: &str, ms: u64) -> String {
    let screen = story.screen(120, 40, ms).to_string();
    let mut lines = screen.lines().map(|line| line.trim_matches('"'));
    let line = lines.find(|line| line.contains(text));
    line.unwrap_or_else(|| panic!("no {text:?} in\n{screen}"))
        .trim_end()
        .to_owned()
}

fn enter(story: &mut Story, ms: u64) {
    story.press(KeyCode::Enter, ms);
}

#[test]
fn a_list_is_sorted_by_any_column_and_says_so() {
    let mut story = zoo();
    let plain = numbers(&mut story, 18_000);
    assert_eq!(plain, [1, 2, 3, 4, 5, 6, 7]);
    story.type_keys("S", 18_000);
    assert_eq!(numbers(&mut story, 18_000), [7, 6, 5, 4, 3, 2, 1]);
    // By what was found, by the age of A, by that of B, by what is unread.
    story.type_keys("ssss", 18_000);
    assert_eq!(
        numbers(&mut story, 18_000)[0],
        2,
        "14 bytes are unread of it alone"
    );
    snapshots("sorted", &mut story, 18_000);
    story.type_keys("ssssssss", 18_000);
    assert_eq!(
        numbers(&mut story, 18_000),
        plain,
        "behind the last column is the first"
    );
}

#[test]
fn sorted_rows_keep_their_places_until_they_are_sorted_again() {
    let mut story = Story::on_port("50008").running();
    let ends = [41_001, 41_002, 41_003].map(|client| loopback(client, TcpState::Established));
    for (index, [a, b]) in (1..).zip(ends) {
        story.look(index * 1000, &[a, b], &[]);
    }
    story.type_keys("ssss", 4000);
    assert_eq!(numbers(&mut story, 4000), [1, 2, 3]);
    let [_, last] = ends[2];
    story.look(5000, &[], &[unread(last, 99)]);
    let [a, b] = loopback(41_004, TcpState::Established);
    story.look(6000, &[a, unread(b, 7)], &[]);
    assert_eq!(
        numbers(&mut story, 8000),
        [1, 2, 3, 4],
        "what comes is behind what was there"
    );
    story.type_keys("r", 8000);
    assert_eq!(numbers(&mut story, 8000), [3, 4, 1, 2]);
}

#[test]
fn groups_open_and_close_and_the_chosen_row_stays_in_sight() {
    let mut story = zoo();
    story.type_keys("jjvvv", 18_000);
    assert_eq!(
        marked(&mut story, 18_000),
        "3",
        "it is still the chosen one"
    );
    snapshots("grouped", &mut story, 18_000);
    story.type_keys("g", 18_000);
    enter(&mut story, 18_000);
    snapshots("grouped_open", &mut story, 18_000);
    let open = numbers(&mut story, 18_000);
    enter(&mut story, 18_000);
    assert!(numbers(&mut story, 18_000).len() < open.len());
    story.type_keys("v", 18_000);
    line_with(&mut story, "nothing found", 18_000);
    story.type_keys("v", 18_000);
    assert_eq!(numbers(&mut story, 18_000).len(), 7, "not grouped any more");
}

#[test]
fn what_is_typed_chooses_at_once_and_what_is_wrong_is_said_in_place() {
    let mut story = zoo();
    story.type_keys("/state close-wait", 18_000);
    assert_eq!(numbers(&mut story, 18_000), [2, 3]);
    snapshots("filter_typed", &mut story, 18_000);
    story.type_keys(" an", 18_000);
    assert_eq!(
        numbers(&mut story, 18_000),
        [2, 3],
        "half a word leaves the rows as they were"
    );
    snapshots("filter_wrong", &mut story, 18_000);
    enter(&mut story, 18_000);
    story.type_keys("d unread > 10", 18_000);
    enter(&mut story, 18_000);
    assert_eq!(numbers(&mut story, 18_000), [2]);
    line_with(
        &mut story,
        "1 match: state close-wait and unread > 10",
        18_000,
    );
    story.press(KeyCode::Esc, 18_000);
    assert_eq!(numbers(&mut story, 18_000).len(), 7);
    story.type_keys("/port 1", 18_000);
    enter(&mut story, 18_000);
    snapshots("filter_none", &mut story, 18_000);
}

#[test]
fn the_chosen_connection_stays_when_it_closes_and_matches_no_more() {
    let mut story = Story::on_port("50008").running();
    let ends = [41_001, 41_002, 41_003].map(|client| loopback(client, TcpState::Established));
    for (index, [a, b]) in (1..).zip(ends) {
        story.look(index * 1000, &[a, b], &[]);
    }
    story.type_keys("j/open", 4000);
    enter(&mut story, 4000);
    assert_eq!(marked(&mut story, 4000), "2");
    let gone = |story: &mut Story, [a, b]: [Sample; 2], ms| {
        story.gone(ms, a);
        story.gone(ms + 1, b);
    };
    gone(&mut story, ends[0], 5000);
    gone(&mut story, ends[1], 5100);
    assert_eq!(numbers(&mut story, 7000), [2, 3]);
    assert_eq!(marked(&mut story, 7000), "2");
    story.type_keys("j", 7000);
    let [a, b] = loopback(41_004, TcpState::Established);
    story.look(8000, &[a, b], &[]);
    assert_eq!(
        numbers(&mut story, 9000),
        [3, 4],
        "and goes when another is chosen"
    );
}

#[test]
fn a_search_goes_from_match_to_match_and_round() {
    let mut story = zoo();
    story.type_keys("\\state established", 18_000);
    enter(&mut story, 18_000);
    assert_eq!(marked(&mut story, 18_000), "6");
    story.type_keys("n", 18_000);
    assert_eq!(marked(&mut story, 18_000), "7");
    story.type_keys("n", 18_000);
    assert_eq!(marked(&mut story, 18_000), "1");
    story.type_keys("N", 18_000);
    assert_eq!(marked(&mut story, 18_000), "7");
    assert_eq!(
        numbers(&mut story, 18_000).len(),
        7,
        "nothing is hidden by it"
    );
    story.type_keys("\\", 18_000);
    for _ in 0.."state established".len() {
        story.press(KeyCode::Backspace, 18_000);
    }
    story.type_keys("conn 99", 18_000);
    enter(&mut story, 18_000);
    line_with(&mut story, "nothing matches conn 99", 18_000);
}

/// A teardown of some hundred microseconds, an hour after it.
fn long_ago() -> Story {
    let mut story = Story::on_port("50008").running().with_events();
    let [a, _] = closed_by_events(&mut story, false);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    story
}

const AN_HOUR_LATER: u64 = 3_600_000;

#[test]
fn a_teardown_within_an_hour_is_fitted_and_read() {
    let mut story = long_ago();
    story.type_keys("z", AN_HOUR_LATER);
    snapshots("fitted", &mut story, AN_HOUR_LATER);
    story.type_keys(",,", AN_HOUR_LATER);
    snapshots("cursor", &mut story, AN_HOUR_LATER);
    story.type_keys("o", AN_HOUR_LATER);
    snapshots("by_order", &mut story, AN_HOUR_LATER);
    story.type_keys("oF", AN_HOUR_LATER);
    line_with(&mut story, "now", AN_HOUR_LATER);
}

/// Over before anybody could look who holds it: its callers are known.
#[test]
fn who_was_too_quick_is_grouped_by_its_calls() {
    let mut story = long_ago();
    story.type_keys("vv", AN_HOUR_LATER);
    line_with(
        &mut story,
        "A nginx, B python3: 1 connection",
        AN_HOUR_LATER,
    );
}

/// What is between two looks is read as that.
#[test]
fn the_cursor_tells_what_is_only_bounded() {
    let mut story = closed_by_a();
    story.type_keys(",", 14_000);
    snapshots("cursor_sampled", &mut story, 14_000);
    story.type_keys(",", 14_000);
    line_with(&mut story, "A ESTABLISHED", 14_000);
}

#[test]
fn the_axis_is_panned_and_follows_again_at_the_present() {
    let mut story = zoo();
    story.screen(120, 40, 18_000);
    story.type_keys("H", 18_000);
    snapshots("panned", &mut story, 18_000);
    let before = line_with(&mut story, " time ", 18_000);
    assert_eq!(
        line_with(&mut story, " time ", 19_000),
        before,
        "it stands still"
    );
    story.type_keys("LL", 18_000);
    assert!(line_with(&mut story, " time ", 18_000).ends_with("now"));
}

#[test]
fn the_mouse_chooses_opens_sorts_and_points() {
    let mut story = zoo();
    let mouse = |story: &mut Story, kind, column, row| {
        story.screen(120, 40, 18_000);
        let event = MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        };
        story
            .app
            .update(Input::Mouse(event), &story.known, at(18_000))
    };
    let press = MouseEventKind::Down(MouseButton::Left);
    assert_eq!(mouse(&mut story, press, 20, 7), Reaction::Redraw);
    assert_eq!(marked(&mut story, 18_000), "4");
    mouse(&mut story, press, 3, 3);
    assert_eq!(
        numbers(&mut story, 18_000)[0],
        7,
        "the number's heading turns the order"
    );
    mouse(&mut story, MouseEventKind::ScrollDown, 20, 7);
    assert_eq!(marked(&mut story, 18_000), "1");
    mouse(&mut story, press, 90, 16);
    line_with(&mut story, "\u{25bd}", 18_000);
    assert_eq!(
        mouse(&mut story, MouseEventKind::Moved, 1, 1),
        Reaction::Nothing
    );
    // The first of the keys in the last line goes back to now, and then it is "q".
    assert_eq!(mouse(&mut story, press, 2, 39), Reaction::Redraw);
    assert_eq!(mouse(&mut story, press, 2, 39), Reaction::Quit);
}

#[test]
fn what_is_copied_stands_for_itself() {
    let mut story = zoo();
    story.type_keys("j", 18_000);
    let copy = story.press(KeyCode::Char('c'), 18_000);
    let Reaction::Copy(text) = copy else {
        panic!("{copy:?}");
    };
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_to_be_saved_is_asked_for_by_name() {
    let mut story = zoo();
    story.type_keys("e", 18_000);
    let control_u = KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL);
    story
        .app
        .update(Input::Key(control_u), &story.known, at(18_000));
    story.type_keys("leak.csv", 18_000);
    let save = story.press(KeyCode::Enter, 18_000);
    assert_eq!(save, Reaction::Save("leak.csv".into()));
}

/// Keys that come between two pictures act as if there had been one after each.
#[test]
fn keys_need_no_picture_between_them() {
    let mut story = zoo();
    story.type_keys("ssssj/state close-wait", 18_000);
    enter(&mut story, 18_000);
    story.type_keys("Gk", 18_000);
    assert_eq!(marked(&mut story, 18_000), "2");
    // A new one between keys.
    let far = (endpoint("10.0.0.9", 40_900), endpoint("10.0.0.1", SERVER));
    let waits = mini(
        in_state(
            sock(far.0, far.1, TcpState::Established),
            TcpState::TimeWait,
        ),
        at(70_000),
    );
    story.look(18_300, &[waits], &[]);
    story.type_keys("jjjj", 18_600);
    assert_eq!(marked(&mut story, 18_600), "3");
}
