//! The tracker against data files: observations in, tracks and verdicts out, no kernel.
//!
//! `fixtures/scenarios/*.toml`: `[[step]]`s are observations, `[[expect]]`s are connections. Only
//! what an expectation names is compared. How they are written is in tests/common/scenario.rs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

#[path = "common/scenario.rs"]
mod scenario;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scenario::{Expect, Scenario, at, endpoint, files, id, load, told};
use tcpwatch::diagnosis::verdict::judge;
use tcpwatch::model::{Ask, Descriptor, SockId, TcpState, Timestamp};
use tcpwatch::timeline::{
    Came, Cause, Certainty, Change, ConnId, Connection, DEFAULT_RETENTION, Found, Reason, Side,
    Track, Tracker, When,
};

struct Run {
    tracker: Tracker,
    asks: Vec<Ask>,
    changes: Vec<Change>,
}

fn run(scenario: &Scenario, shift_ms: i64) -> Run {
    let mut tracker = Tracker::new(scenario.retention.unwrap_or(DEFAULT_RETENTION));
    let (mut asks, mut changes) = (Vec::new(), Vec::new());
    for said in &told(scenario, shift_ms) {
        tracker.ingest(said);
        changes.extend(tracker.changes());
        asks.extend(tracker.asks());
        for connection in tracker.connections() {
            for (_, track) in connection.visible() {
                check_track(track);
            }
        }
    }
    check_changes(&changes);
    Run {
        tracker,
        asks,
        changes,
    }
}

/// Spans are ordered, abut (by construction), and only states that may follow do.
fn check_track(track: &Track) {
    let spans = track.spans();
    assert!(!spans.is_empty());
    for pair in spans.windows(2) {
        assert_ne!(pair[0].state, pair[1].state, "{spans:?}");
        assert!(
            pair[0].from.not_after() <= pair[1].from.not_after(),
            "{spans:?}"
        );
        assert!(
            pair[0].from.not_before() <= pair[1].from.not_before(),
            "{spans:?}"
        );
        assert_ne!(
            (pair[0].state, track.spans()[0].state == TcpState::Close),
            (TcpState::Close, false),
            "nothing follows the end: {spans:?}"
        );
    }
}

/// What is said is a chain for each end, and every connection closes once at most.
fn check_changes(changes: &[Change]) {
    use std::collections::{HashMap, HashSet};
    let mut states: HashMap<(ConnId, Side), TcpState> = HashMap::new();
    let (mut opened, mut closed) = (HashSet::new(), HashSet::new());
    for change in changes {
        match change {
            Change::Opened { conn, ends, .. } => {
                assert!(opened.insert(*conn), "opened twice");
                for side in Side::BOTH {
                    if let Some(found) = ends[side as usize] {
                        states.insert((*conn, side), chain_start(found));
                    }
                }
            }
            Change::Joined {
                conn, side, found, ..
            } => {
                assert!(states.insert((*conn, *side), chain_start(*found)).is_none());
                // It is not over before this end is.
                closed.remove(conn);
            }
            Change::Moved { conn, side, step } => {
                let state = states
                    .get_mut(&(*conn, *side))
                    .expect("moved before opened");
                assert_eq!(*state, step.from, "broken chain: {change:?}");
                *state = step.to;
            }
            Change::Closed { conn, .. } => assert!(closed.insert(*conn), "closed twice"),
            Change::Marked { conn, .. }
            | Change::Held { conn, .. }
            | Change::Dated { conn, .. }
            | Change::Missed { conn, .. } => {
                assert!(opened.contains(conn), "marked before opened");
            }
        }
    }
}

fn chain_start(found: Found) -> TcpState {
    match found.came {
        Came::Born => TcpState::Close,
        Came::Found => found.state,
    }
}

fn describe(track: &Track, shift_ms: i64) -> Vec<String> {
    let shift_ms = if track.id().scope.host == 1 {
        shift_ms
    } else {
        0
    };
    let ms = |at: Timestamp| at.shifted(-shift_ms * 1_000_000).nanos() / 1_000_000;
    track
        .spans()
        .iter()
        .map(|span| {
            let mut text = span.state.name().to_owned();
            if span.certainty == Certainty::Inferred {
                text += " inferred";
            }
            text += &match span.from {
                When::At(at) => format!(" at {}", ms(at)),
                When::Between(from, to) => format!(" {}..{}", ms(from), ms(to)),
                When::Before(to) => format!(" before {}", ms(to)),
            };
            if span.why.cause != Cause::Unknown {
                text += &format!(" by {}", span.why.cause.token());
            }
            if let Some(reason) = span.why.reason.and_then(Reason::token) {
                text += &format!(" reason {reason}");
            }
            text += match span.descriptor {
                Some(Descriptor::Held) => " held",
                Some(Descriptor::Gone) => " gone",
                Some(Descriptor::NotAccepted) => " not_accepted",
                None => "",
            };
            text
        })
        .collect()
}

/// Whether every word of the expectation is in the description, and nothing is inferred that it
/// does not say is.
fn fits(expected: &str, actual: &str) -> bool {
    let actual: Vec<&str> = actual.split(' ').collect();
    let expected: Vec<&str> = expected.split_whitespace().collect();
    let inferred = |words: &[&str]| words.contains(&"inferred");
    actual[0] == expected[0]
        && expected.iter().all(|word| actual.contains(word))
        && inferred(&actual) == inferred(&expected)
}

fn check(file: &Path) {
    let scenario = load(file);
    check_shifted(file, &scenario, 0);
    for &shift in &scenario.shifts {
        check_shifted(file, &scenario, shift);
    }
}

fn check_shifted(file: &Path, scenario: &Scenario, shift: i64) {
    let run = run(scenario, shift);
    let name = format!("{} by {shift} ms", file.file_name().unwrap().display());
    let name = name.as_str();
    for expect in &scenario.expect {
        let connection = find(scenario, &run, expect)
            .unwrap_or_else(|| panic!("{name}: no connection {}", expect.conn));
        check_connection(name, expect, connection, &run.changes, shift);
    }
    if let Some(count) = scenario.connections {
        assert_eq!(
            run.tracker.connections().len(),
            count,
            "{name}: connections"
        );
    }
    if let Some(asks) = &scenario.asks {
        let asked: Vec<SockId> = run.asks.iter().filter_map(Ask::to_confirm).collect();
        let expected: Vec<SockId> = asks.iter().map(|line| id(line)).collect();
        assert_eq!(asked, expected, "{name}: asks");
    }
    if let Some(dropped) = scenario.dropped {
        assert_eq!(run.tracker.totals().dropped, dropped, "{name}: dropped");
    }
}

/// By number; where clocks are shifted the numbers differ, so it is the one of so many that A opened.
fn find<'a>(scenario: &Scenario, run: &'a Run, expect: &Expect) -> Option<&'a Connection> {
    if scenario.shifts.is_empty() {
        return run.tracker.get(ConnId(expect.conn));
    }
    let a = endpoint(expect.a.as_deref().expect("shifted, it needs A's address"));
    let mut of_a = run
        .tracker
        .connections()
        .filter(|connection| connection.endpoint(Side::A) == a);
    of_a.nth(expect.conn as usize - 1)
}

fn check_connection(
    name: &str,
    expect: &Expect,
    connection: &Connection,
    changes: &[Change],
    shift: i64,
) {
    let name = format!("{name}: #{}", expect.conn);
    let sides = [
        (Side::A, &expect.a, &expect.a_spans, expect.a_age),
        (Side::B, &expect.b, &expect.b_spans, expect.b_age),
    ];
    for (side, addr, spans, age) in sides {
        if let Some(addr) = addr {
            assert_eq!(
                connection.endpoint(side),
                endpoint(addr),
                "{name}: {side:?}"
            );
        }
        if let Some(expected) = spans {
            let actual = connection
                .end(side)
                .map(|track| describe(track, shift))
                .unwrap_or_default();
            let all_fit = actual.len() == expected.len()
                && expected.iter().zip(&actual).all(|(e, a)| fits(e, a));
            assert!(
                all_fit,
                "{name}: {side:?}\nexpected {expected:#?}\nactual {actual:#?}"
            );
        }
        if let Some(age) = age {
            let found = changes.iter().find_map(|change| match change {
                Change::Opened { conn, ends, .. } if conn.0 == expect.conn => ends[side as usize],
                _ => None,
            });
            let known = found.unwrap().age.and_then(|age| age.known()).unwrap();
            assert_eq!(known, Duration::from_millis(age), "{name}: age of {side:?}");
        }
    }
    if let Some(visible) = &expect.visible {
        let letters: String = connection.visible().map(|(side, _)| side.token()).collect();
        assert_eq!(&letters, visible, "{name}: visible ends");
    }
    if expect.open {
        assert!(connection.closed().is_none(), "{name}: is closed");
    }
    let verdict = connection.closed().map(|_| judge(connection));
    if let Some(code) = &expect.closed {
        let verdict = verdict
            .as_ref()
            .unwrap_or_else(|| panic!("{name}: is not closed"));
        assert_eq!(verdict.code.token(), code, "{name}: {}", verdict.sentence);
    }
    if let Some(side) = &expect.first_closer {
        let closer = verdict.as_ref().and_then(|v| v.first_closer);
        assert_eq!(
            closer.map_or("none", Side::token),
            side,
            "{name}: first closer"
        );
    }
    if let Some(expected) = &expect.half_close {
        let told = verdict.as_ref().and_then(|v| v.half_close);
        let told = told.map_or("unknown".to_owned(), |told| told.to_string());
        assert_eq!(&told, expected, "{name}: half-close");
    }
    if let Some(how) = &expect.how {
        let actual = verdict
            .as_ref()
            .and_then(|v| v.how)
            .map_or("none", |how| how.token());
        assert_eq!(actual, how, "{name}: how");
    }
}

fn scenarios() -> Vec<PathBuf> {
    let files = files("scenarios");
    assert!(files.len() >= 15, "the scenarios were not found");
    files
}

#[test]
fn every_scenario_gives_what_it_says() {
    for file in scenarios() {
        check(&file);
    }
}

#[test]
fn the_same_observations_give_the_same_connections() {
    for file in scenarios() {
        let scenario: Scenario = toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let print = |run: &Run| {
            let connections: Vec<String> = run
                .tracker
                .connections()
                .map(|c| format!("{c:?}"))
                .collect();
            format!("{connections:?} {:?} {:?}", run.changes, run.asks)
        };
        assert_eq!(
            print(&run(&scenario, 0)),
            print(&run(&scenario, 0)),
            "{file:?}"
        );
    }
}

#[test]
fn a_life_that_was_over_is_open_again_when_its_other_end_joins() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let text = fs::read_to_string(folder.join("hosts-events.toml")).unwrap();
    let scenario: Scenario = toml::from_str(&text).unwrap();
    for shift in [5_000, -5_000] {
        let run = run(&scenario, shift);
        let kinds: Vec<&str> = run
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Opened { .. } => Some("opened"),
                Change::Joined { .. } => Some("joined"),
                Change::Closed { .. } => Some("closed"),
                _ => None,
            })
            .collect();
        assert_eq!(kinds, ["opened", "closed", "joined", "closed"], "{shift}");
        assert_eq!(run.tracker.totals().open, 0, "it is settled once");
    }
}

#[test]
fn the_namespace_of_b_is_said_where_it_is_another() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let document = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let scenario: Scenario = toml::from_str(&text).unwrap();
        let run = run(&scenario, 0);
        tcpwatch::view::json::list(run.tracker.connections(), None, at(200_000)).unwrap()
    };
    let two = document("hosts-events.toml");
    assert!(two.contains("\"netns\": 1,\n") && two.contains("\"b_netns\": 2,\n"));
    assert!(!document("close.toml").contains("b_netns"));
}
