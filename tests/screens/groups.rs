//! Findings and connections in groups: which process leaks, how many, since when.

use std::sync::Arc;

use ratatui::crossterm::event::KeyModifiers;
use ratatui::crossterm::event::{KeyCode, MouseButton, MouseEvent, MouseEventKind};
use tcpwatch::model::{Holder, Queues, Sample, Seen, TcpState};
use tcpwatch::view::tui::{Input, Reaction};

use crate::build::{Story, at, holder, in_state, mini, unread};
use crate::found::{begin, with_inode};
use crate::loopback;

const NOW: u64 = 60_000;

/// A script of an interpreter.
fn script(pid: u32, name: &str, fd: u32) -> Holder {
    let mut holder = holder("python3", (pid, 1), &[fd]);
    let program = Arc::make_mut(&mut holder.program);
    program.cmdline = Some(format!("/usr/bin/python3 /srv/{name} --port 50008").into());
    holder
}

/// Connections that are opened at `ms`, and closed by A a second later, which B is not.
fn leaks(
    story: &mut Story,
    ms: u64,
    clients: impl Iterator<Item = u16>,
    bytes: u32,
) -> Vec<Sample> {
    let ends: Vec<[Sample; 2]> = clients
        .map(|client| {
            let [a, b] = loopback(client, TcpState::Established);
            [a, with_inode(b, client)]
        })
        .collect();
    story.look(ms, ends.as_flattened(), &[]);
    let closed: Vec<Sample> = ends
        .iter()
        .flat_map(|&[a, b]| {
            let waits = mini(in_state(a, TcpState::FinWait2), at(ms + 61_000));
            let read = Sample {
                queues: Queues::Stream {
                    receive: 0,
                    send: 0,
                },
                ..with_inode(in_state(b, TcpState::CloseWait), b.id.tuple.remote.port())
            };
            let leaks = match bytes {
                0 => read,
                bytes => unread(read, bytes),
            };
            [waits, leaks]
        })
        .collect();
    story.look(ms + 1000, &[], &closed);
    ends.iter().map(|&[_, b]| b).collect()
}

/// Forty by one script, three by another with bytes unread, one whose holder is hidden, and one that
/// was closed at last.
fn story() -> Story {
    let mut story = begin();
    for (fd, b) in (9..).zip(leaks(&mut story, 2000, 40_001..40_041, 0)) {
        story.held(3500, b, &[script(11_970, "leak_srv.py", fd)]);
    }
    for (fd, b) in (9..).zip(leaks(&mut story, 5000, 40_101..40_104, 4000)) {
        story.held(6500, b, &[script(11_971, "slow_srv.py", fd)]);
    }
    for b in leaks(&mut story, 8000, 40_201..40_202, 0) {
        story.held_as(9500, b, &[], Seen::Partly);
    }
    let over = leaks(&mut story, 11_000, 40_301..40_302, 0);
    story.held(12_500, over[0], &[holder("java", (555, 1), &[44])]);
    // Of more connections than leak, nothing was found.
    let well = (40_401..40_451).flat_map(|client| loopback(client, TcpState::Established));
    story.look(14_000, &well.collect::<Vec<_>>(), &[]);
    story.look(50_000, &[], &[]);
    story.gone(51_000, over[0]);
    story.look(NOW - 1000, &[], &[]);
    story
}

fn snapshots(name: &str, story: &mut Story) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let screen = story.screen(width, height, NOW);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

fn lines(story: &mut Story, ms: u64) -> Vec<String> {
    let screen = story.screen(120, 40, ms).to_string();
    let lines = screen.lines().map(|line| line.trim_matches('"'));
    lines.map(str::to_owned).collect()
}

/// The rows of the pane.
fn rows(story: &mut Story, ms: u64) -> Vec<String> {
    let lines = lines(story, ms);
    let list = lines
        .iter()
        .skip_while(|line| !line.contains("worst first"));
    let list = list.skip(1).take_while(|line| {
        let is_lane = line.starts_with(" time");
        !is_lane && !line.contains("; Enter ") && !line.contains(", since ") && !line.is_empty()
    });
    let rows = list.filter(|line| !line.trim().is_empty());
    rows.map(|line| line.trim_end().to_owned()).collect()
}

/// The codes of the groups, from the top, with the mark of the chosen one.
fn groups(story: &mut Story, ms: u64) -> Vec<String> {
    let rows = rows(story, ms);
    let of_groups = rows
        .iter()
        .filter(|row| row.contains(['\u{25b8}', '\u{25be}']));
    let code = |row: &String| {
        let mut words = row[2..].split_whitespace();
        let code = words.nth(1).unwrap_or_default();
        format!("{}{code}", &row[..1])
    };
    of_groups.map(code).collect()
}

fn chosen(story: &mut Story, ms: u64) -> String {
    let rows = rows(story, ms);
    let row = rows.iter().find(|row| row.starts_with('>'));
    row.unwrap_or_else(|| panic!("nothing is chosen of {rows:#?}"))
        .clone()
}

#[test]
fn which_process_leaks_how_many_and_since_when_is_one_row() {
    let mut story = story();
    story.type_keys("fv", NOW);
    let first = rows(&mut story, NOW).remove(0);
    assert!(first.starts_with(">! \u{25b8} close-wait-"), "{first}");
    let rows = rows(&mut story, NOW);
    let row = rows.iter().find(|row| row.contains("leak_srv.py")).unwrap();
    assert!(row.contains("  40  "), "{row}");
    assert!(
        row.contains("python3[11970] leak_srv.py: 40 connections"),
        "{row}"
    );
    // The next key takes what was said away.
    story.type_keys("g", NOW);
    snapshots("findings_grouped", &mut story);
    story.press(KeyCode::Enter, NOW);
    snapshots("findings_grouped_open", &mut story);
}

#[test]
fn a_group_opens_and_a_finding_of_it_leads_to_its_connection() {
    let mut story = story();
    story.type_keys("fv", NOW);
    let shut = rows(&mut story, NOW).len();
    story.press(KeyCode::Enter, NOW);
    assert!(rows(&mut story, NOW).len() > shut);
    story.press(KeyCode::Enter, NOW);
    assert_eq!(rows(&mut story, NOW).len(), shut, "it shuts again");
    story.press(KeyCode::Enter, NOW);
    story.type_keys("j", NOW);
    let finding = chosen(&mut story, NOW);
    let conn = finding[2..].split_whitespace().next().unwrap().to_owned();
    story.press(KeyCode::Enter, NOW);
    assert_eq!(crate::marked(&mut story, NOW), conn);
}

#[test]
fn the_chosen_finding_stays_chosen_when_it_is_grouped_and_when_it_is_not() {
    let mut story = story();
    story.type_keys("fjjjjj", NOW);
    let before = chosen(&mut story, NOW);
    story.type_keys("v", NOW);
    assert_eq!(chosen(&mut story, NOW), before, "below its group's heading");
    story.type_keys("v", NOW);
    assert_eq!(chosen(&mut story, NOW), before);
    // From a group it goes to its first.
    story.type_keys("vgv", NOW);
    let first = chosen(&mut story, NOW);
    assert!(!first.contains('\u{25b8}'), "{first}");
}

#[test]
fn groups_keep_their_places_until_the_order_is_asked_for_again() {
    let mut story = story();
    story.type_keys("fvj", NOW);
    let before = groups(&mut story, NOW);
    // A group that is larger than all others.
    for (fd, b) in (9..).zip(leaks(&mut story, NOW, 41_001..41_061, 0)) {
        story.held(NOW + 1500, b, &[script(777, "new_srv.py", fd)]);
    }
    let later = NOW + 60_000;
    story.look(later - 1000, &[], &[]);
    let after = groups(&mut story, later);
    let common = before.len() - 1;
    assert_eq!(after[..common], before[..common], "{after:?}");
    assert!(
        after.len() > before.len(),
        "what is new is behind: {after:?}"
    );
    assert_eq!(after.last(), before.last(), "what is over is last");
    let place = |story: &mut Story| {
        let rows = rows(story, later);
        let new = rows.iter().position(|row| row.contains("new_srv.py"));
        let old = rows.iter().position(|row| row.contains("leak_srv.py"));
        new.unwrap() < old.unwrap()
    };
    assert!(!place(&mut story));
    story.type_keys("r", later);
    assert!(place(&mut story), "sixty are worse than forty");
}

#[test]
fn what_is_typed_chooses_among_groups() {
    let mut story = story();
    story.type_keys("fv/process java", NOW);
    story.press(KeyCode::Enter, NOW);
    assert_eq!(groups(&mut story, NOW), [">fin-wait2-orphan", " over"]);
    story.type_keys("/", NOW);
    story.press(KeyCode::Esc, NOW);
    assert!(groups(&mut story, NOW).len() > 1);
}

#[test]
fn a_sentence_grows_older_though_nothing_is_seen() {
    let mut story = story();
    story.type_keys("fv", NOW);
    let says = |story: &mut Story, ms: u64, text: &str| {
        let lines = lines(story, ms);
        lines.iter().any(|line| line.contains(text))
    };
    assert!(says(&mut story, NOW, "in CLOSE_WAIT for 57 s"));
    assert!(says(
        &mut story,
        NOW + 30_000,
        "in CLOSE_WAIT for 1 min 27 s"
    ));
}

#[test]
fn a_group_is_copied_as_doctor_says_it() {
    let mut story = story();
    story.type_keys("fv", NOW);
    let Reaction::Copy(text) = story.press(KeyCode::Char('c'), NOW) else {
        panic!("nothing was copied");
    };
    let rows = rows(&mut story, NOW);
    assert!(text.starts_with("warn close-wait-"), "{text}");
    assert!(text.contains("connections"), "{text} {rows:#?}");
}

#[test]
fn a_press_opens_a_group() {
    let mut story = story();
    story.type_keys("fv", NOW);
    let shut = rows(&mut story, NOW).len();
    let lines = lines(&mut story, NOW);
    let heading = lines.iter().position(|line| line.contains("worst first"));
    let press = MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column: 10,
        row: u16::try_from(heading.unwrap() + 2).unwrap(),
        modifiers: KeyModifiers::NONE,
    };
    let input = Input::Mouse(press);
    story.app.update(input, &story.known, at(NOW));
    assert!(rows(&mut story, NOW).len() > shut);
}

#[test]
fn groups_by_process_name_the_script_and_those_by_finding_begin_with_the_worst() {
    let mut story = story();
    story.type_keys("vv", NOW);
    let lines_of_groups = |story: &mut Story| -> Vec<String> {
        let lines = lines(story, NOW);
        let groups = lines.iter().filter(|line| line.contains('\u{25b8}'));
        groups.map(|line| line.trim_end().to_owned()).collect()
    };
    let by_process = lines_of_groups(&mut story).join("\n");
    assert!(
        by_process.contains("B python3 leak_srv.py: 40"),
        "{by_process}"
    );
    assert!(
        by_process.contains("B holder not visible: 1"),
        "{by_process}"
    );
    assert!(!by_process.contains('?'), "{by_process}");
    story.type_keys("vv", NOW);
    let by_finding = lines_of_groups(&mut story);
    assert!(by_finding[0].contains('!'), "{by_finding:#?}");
    let last = by_finding.last().unwrap();
    assert!(last.contains("nothing found"), "{by_finding:#?}");
}
