//! The screen as pictures, at 80x24 and at 120x40, and sessions of keys.
//!
//! Snapshots are read by people before they are accepted: does this tell somebody at three in the
//! morning what is going on?

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "screens/arranged.rs"]
mod arranged;
#[path = "common/build.rs"]
mod build;
#[path = "screens/found.rs"]
mod found;
#[path = "screens/groups.rs"]
mod groups;
#[path = "screens/ladder.rs"]
mod ladder;
#[path = "screens/lanes.rs"]
mod lanes;
#[path = "screens/looks.rs"]
mod looks;
#[path = "screens/present.rs"]
mod present;
#[path = "common/replayed.rs"]
mod replayed;
#[path = "screens/sessions.rs"]
mod sessions;
#[path = "common/tape.rs"]
mod tape;
#[path = "screens/whole.rs"]
mod whole;

use std::sync::Arc;
use std::time::Duration;

use build::{
    Story, at, endpoint, in_state, killed, let_go, listener, mini, moment, process, sock, step,
    unread,
};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use tcpwatch::model::event::{File, ResetReason, What};
use tcpwatch::model::filter::{Filter, ProcessSet, Selection};
use tcpwatch::model::tcp::StateSet;
use tcpwatch::model::{Body, Moment, Sample, Seen, SourceName, SourceState, TcpState};
use tcpwatch::record::Bytes;
use tcpwatch::run::replay::player::{Player, World};
use tcpwatch::source::replay::{Input as Taped, Options, Replay};
use tcpwatch::timeline::Tracker;
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::tui::playback::{End, Finale, Playback, Speed, Standing, Travel};
use tcpwatch::view::tui::{App, Input, Reaction, draw};

const SERVER: u16 = 50008;

/// Both ends of a connection on loopback, A first.
fn loopback(client: u16, state: TcpState) -> [Sample; 2] {
    let (a, b) = (endpoint("127.0.0.1", client), endpoint("127.0.0.1", SERVER));
    [sock(a, b, state), sock(b, a, state)]
}

fn waiting_server() -> Sample {
    listener(endpoint("0.0.0.0", SERVER), 0)
}

/// `close()` on A, B has 14 bytes and the end of file to read.
fn closed_by_a() -> Story {
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(37834, TcpState::Established);
    story.look(1000, &[waiting_server()], &[]);
    story.look(2000, &[a, b], &[]);
    let waits = let_go(in_state(a, TcpState::FinWait2));
    let unread = unread(in_state(b, TcpState::CloseWait), 14);
    story.look(9100, &[], &[mini(waits, at(69_100)), unread]);
    story
}

/// One connection of every kind that a person meets.
fn zoo() -> Story {
    let mut story = Story::on_port("50008").running();
    let found = loopback(40001, TcpState::Established);
    story.look(1000, &[&[waiting_server()][..], &found].concat(), &[]);

    // Closed by A, B leaks.
    let [a, b] = loopback(40002, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    let waits = mini(in_state(a, TcpState::FinWait2), at(65_000));
    let leaks = unread(in_state(b, TcpState::CloseWait), 14);
    story.look(5000, &[], &[waits, leaks]);

    // Shut down by A, which still reads.
    let [a, b] = loopback(40003, TcpState::Established);
    story.look(6000, &[a, b], &[]);
    let held = in_state(a, TcpState::FinWait2);
    story.look(7500, &[], &[held, in_state(b, TcpState::CloseWait)]);

    // Closed in good order: FIN_WAIT1, CLOSE_WAIT and LAST_ACK fell between two looks.
    let [a, b] = loopback(40004, TcpState::Established);
    story.look(8000, &[a, b], &[]);
    story.look(
        11_000,
        &[],
        &[mini(in_state(a, TcpState::TimeWait), at(71_000))],
    );
    story.gone(11_001, b);

    // Reset.
    let [a, b] = loopback(40005, TcpState::Established);
    story.look(12_000, &[a, b], &[]);
    story.gone(14_000, a);
    story.gone(14_001, b);

    // The other end is on another host; IPv6; not accepted by the program yet.
    let far = endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 51_000);
    let near = endpoint("2001:db8::7", SERVER);
    story.look(
        15_000,
        &[let_go(sock(near, far, TcpState::Established))],
        &[],
    );
    let (client, server) = (endpoint("::1", 40_006), endpoint("::1", SERVER));
    let six = [
        sock(client, server, TcpState::Established),
        sock(server, client, TcpState::Established),
    ];
    story.look(16_000, &six, &[]);
    story
}

fn snapshot(name: &str, story: &mut Story, ms: u64) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn nothing_there_yet() {
    snapshot("empty_no_source", &mut Story::on_port("50008"), 10);
    let mut story = Story::on_port("50008").running();
    story.look(1000, &[], &[]);
    snapshot("empty", &mut story, 3000);
    story.look(4000, &[waiting_server()], &[]);
    snapshot("empty_with_listener", &mut story, 5000);
}

/// Whoever asks for a process hears that there are connections, and that nobody may look whose.
#[test]
fn nothing_of_the_process_that_is_asked_for() {
    let filter = Filter {
        selection: Selection {
            processes: ProcessSet {
                pids: vec![11_135],
                ..ProcessSet::default()
            },
            ..Selection::default()
        },
        ..Filter::default()
    };
    let mut story = Story::with(filter, ColorMode::On, Tracker::default()).running();
    story.app.show_netns("/run/netns/blue".into());
    let [a, b] = loopback(40_001, TcpState::Established);
    let other = loopback(40_002, TcpState::Established);
    story.look(1000, &[a, b, other[0], other[1], waiting_server()], &[]);
    story.held_as(1100, a, &[], Seen::Partly);
    snapshot("none_of_the_process", &mut story, 3000);
}

#[test]
fn a_live_teardown() {
    snapshot("closed_by_a", &mut closed_by_a(), 14_000);
}

#[test]
fn every_kind_of_connection() {
    let mut story = zoo();
    snapshot("zoo_found", &mut story, 18_000);
    for name in [
        "zoo_closed",
        "zoo_shut_down",
        "zoo_orderly",
        "zoo_aborted",
        "zoo_far",
    ] {
        story.type_keys("j", 18_000);
        snapshot(name, &mut story, 18_000);
    }
}

#[test]
fn close_up() {
    // Looks so far apart that the bounds can be seen.
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(40_004, TcpState::Established);
    story.look(1000, &[waiting_server(), a, b], &[]);
    story.look_after(
        2500,
        500,
        &[],
        &[
            mini(in_state(a, TcpState::TimeWait), at(62_100)),
            in_state(b, TcpState::LastAck),
        ],
    );
    story.gone(3000, b);
    story.type_keys("+++", 3500);
    snapshot("close_up", &mut story, 3500);
    let mut story = closed_by_a();
    story.type_keys("----", 14_000);
    snapshot("from_afar", &mut story, 14_000);
}

#[test]
fn help() {
    let mut story = zoo();
    let why = "needs CAP_BPF and CAP_PERFMON: run as root to see every step at its exact time";
    let off = SourceState::Off { why: why.into() };
    story.observe(16_000, SourceName::Bpf, Body::Source(off));
    story.type_keys("?", 18_000);
    snapshot("help", &mut story, 18_000);
}

#[test]
fn losses_and_the_second_best_source() {
    let mut story = zoo();
    let why = "sock_diag refused: Operation not permitted; the kernel's module tcp_diag is missing";
    let off = SourceState::Off { why: why.into() };
    story.observe(16_000, SourceName::SockDiag, Body::Source(off));
    let running = SourceState::Running {
        period: Duration::from_millis(500),
        cost: Some(Duration::from_millis(12)),
        why: Some("sock_diag is missing".into()),
    };
    story.observe(16_000, SourceName::Proc, Body::Source(running));
    let lost = Body::Lost {
        count: Some(12),
        why: "receive buffer full".into(),
    };
    story.observe(16_100, SourceName::Proc, lost);
    story.look(16_200, &[], &[listener(endpoint("0.0.0.0", SERVER), 129)]);
    snapshot("losses", &mut story, 18_000);
    story.type_keys("?", 18_000);
    snapshot("losses_in_full", &mut story, 18_000);
}

#[test]
fn a_recording_beside_it_is_shown_where_there_is_room() {
    let corner = |ports: &str, bytes: Option<u64>| {
        let mut story = Story::on_port(ports).running();
        story.app.show_recorded(bytes);
        let picture = story.screen(80, 24, 1000).to_string();
        let first = picture.lines().next().unwrap_or_default();
        first.trim_matches(['"', ' ']).to_owned()
    };
    let size = Some(5_432_100);
    assert!(corner("50008", size).ends_with(" REC 5.4 MB  LIVE"));
    assert!(!corner("50008", None).contains("REC"));
    // A long filter leaves room for less, and none.
    let many: Vec<String> = (0..9).map(|n| (50_001 + 2 * n).to_string()).collect();
    assert!(corner(&many[..8].join(","), size).ends_with(" REC  LIVE"));
    assert!(!corner(&many.join(","), size).contains("REC"));
}

#[test]
fn all_sources_are_told_how_they_do() {
    let mut story = zoo();
    let running = |period, cost, why: Option<&str>| {
        Body::Source(SourceState::Running {
            period,
            cost,
            why: why.map(str::to_owned),
        })
    };
    let why = "needs CAP_BPF and CAP_PERFMON (run as root, or setcap \
               cap_bpf,cap_perfmon+ep on the program)";
    let off = Body::Source(SourceState::Off { why: why.into() });
    story.observe(16_000, SourceName::Bpf, off);
    let often = running(
        Duration::from_millis(1),
        Some(Duration::from_micros(21)),
        Some("37 ends"),
    );
    story.observe(16_000, SourceName::Follow, often);
    let joined = running(Duration::ZERO, None, None);
    story.observe(16_000, SourceName::Destroy, joined);
    let lost = Body::Lost {
        count: Some(12),
        why: "ring full".into(),
    };
    story.observe(16_100, SourceName::Bpf, lost);
    snapshot("sources", &mut story, 18_000);
    story.type_keys("?", 18_000);
    snapshot("sources_in_full", &mut story, 18_000);
}

const NGINX: (&str, u32) = ("nginx", 812);
const PYTHON: (&str, u32) = ("python3", 4711);

/// Both ends of a connection that is opened by events, just before `us`.
fn opened_by_events(story: &mut Story, us: u64) -> [Sample; 2] {
    use TcpState::{Close, Established, Listen, SynRecv, SynSent};
    let [a, b] = loopback(37_834, Established);
    let (held, absent) = (moment(File::Held, 0, 0), moment(File::Absent, 0, 0));
    let nginx = Some(process(NGINX.0, NGINX.1));
    story.event(us - 60, a, step(Close, SynSent), held, nginx);
    story.event(us - 40, b, step(Listen, SynRecv), absent, None);
    story.event(us - 20, a, step(SynSent, Established), held, None);
    story.event(us, b, step(SynRecv, Established), absent, None);
    [a, b]
}

/// Closed by A, then by B, in 180 microseconds of the two thousandth millisecond. The peer's FIN
/// comes to A while it is a full socket, or to the mini-socket that it leaves.
fn closed_by_events(story: &mut Story, fin_comes_early: bool) -> [Sample; 2] {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
    let [a, b] = opened_by_events(story, 1_000_000);
    let nginx = Some(process(NGINX.0, NGINX.1));
    let python = Some(process(PYTHON.0, PYTHON.1));
    let closing = moment(File::Closing, 3, 0);
    let absent = Moment {
        fin_received: Some(fin_comes_early),
        ..moment(File::Absent, 3, 0)
    };
    let us = 1_999_700;
    let answered = us + if fin_comes_early { 40 } else { 160 };
    let mut events = [
        (us, a, step(Established, FinWait1), closing, nginx),
        (
            us + 20,
            b,
            step(Established, CloseWait),
            moment(File::Held, 1, 1),
            None,
        ),
        (answered, b, step(CloseWait, LastAck), closing, python),
        (us + 60, a, step(FinWait1, FinWait2), absent, None),
        (us + 61, a, step(FinWait2, Close), absent, None),
        (us + 180, b, step(LastAck, Close), closing, None),
    ];
    events.sort_by_key(|event| event.0);
    for (us, end, what, moment, caller) in events {
        story.event(us, end, what, moment, caller);
    }
    [a, b]
}

#[test]
fn a_teardown_by_events() {
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, _] = closed_by_events(&mut story, false);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    snapshot("exact", &mut story, 4000);
    story.type_keys(" ++++++++++++", 2000);
    snapshot("exact_close_up", &mut story, 4000);
}

#[test]
fn a_time_wait_that_no_look_has_shown() {
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    closed_by_events(&mut story, true);
    story.look(3000, &[], &[]);
    snapshot("time_wait_inferred", &mut story, 4000);
}

#[test]
fn an_abort_with_unread_data() {
    use TcpState::{Close, Established};
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let held = moment(File::Held, 0, 0);
    for us in [2_000_000, 2_200_000, 2_600_000, 3_400_000] {
        story.event(us, a, What::Retransmit, held, None);
    }
    let python = killed(process(PYTHON.0, PYTHON.1), 9);
    let unread = moment(File::Closing, 3, 4000);
    let us = 4_000_000;
    story.event(us, b, step(Established, Close), unread, Some(python));
    let reset = What::ResetSent(ResetReason::AbortOnClose);
    story.event(us + 20, b, reset, unread, None);
    story.event(us + 30, a, What::ResetReceived, held, None);
    let refused = Moment {
        error: Some(104),
        ..held
    };
    story.event(us + 40, a, step(Established, Close), refused, None);
    story.event(us + 900_000, a, What::Freed, held, None);
    snapshot("aborted_with_unread_data", &mut story, 6000);
}

#[test]
fn many_listeners() {
    let mut story = Story::with(Filter::default(), ColorMode::On, Tracker::default()).running();
    let mut all: Vec<Sample> = (0..20)
        .map(|n| listener(endpoint("10.20.30.40", 8000 + n), 0))
        .collect();
    all.push(listener(endpoint("fe80::5054:ff:fe12:3456", 9443), 3));
    story.look(1000, &all, &[]);
    for (width, listed) in [
        (
            80,
            "listening [fe80::5054:ff:fe12:3456]:9443 queue 3/128 +20",
        ),
        (120, "9443 queue 3/128 10.20.30.40:8000 queue 0/128 +19"),
    ] {
        let screen = story.screen(width, 24, 1500).to_string();
        assert!(screen.contains(listed), "{screen}");
    }
}

#[test]
fn notes_of_the_lab_stand_between_the_steps() {
    let mut story = closed_by_a();
    for (ms, text) in [(9000, "close(3)"), (9200, "\u{1b}[2Jread 0 bytes\nbye")] {
        let note = Body::Note {
            pid: 4242,
            text: text.into(),
        };
        story.observe(ms, SourceName::Lab, note);
    }
    snapshot("notes", &mut story, 14_000);
}

#[test]
fn a_pause_freezes_the_picture() {
    let mut story = closed_by_a();
    story.type_keys(" ", 14_000);
    let before = story.screen(80, 24, 14_000);
    let [a, b] = loopback(40_009, TcpState::Established);
    story.look(20_000, &[a, b], &[]);
    let [a, b] = loopback(37_834, TcpState::CloseWait);
    story.look(21_000, &[], &[in_state(b, TcpState::LastAck)]);
    story.gone(22_000, a);
    story.gone(22_000, b);
    assert_eq!(story.known.tracker.totals().seen, 2);
    snapshot("paused", &mut story, 26_000);

    let paused = story.screen(80, 24, 26_000);
    let below_first_line =
        |screen: &ratatui::backend::TestBackend| screen.buffer().content()[80..].to_vec();
    assert_eq!(below_first_line(&before), below_first_line(&paused));
    story.type_keys("p", 26_000);
    let live = story.screen(80, 24, 26_000).to_string();
    assert!(
        live.contains("LIVE") && live.contains("1 open, 2 seen"),
        "{live}"
    );
}

fn hundreds(color: ColorMode) -> Story {
    let mut story = Story::with(Filter::default(), color, Tracker::new(150)).running();
    story.look(1000, &[waiting_server()], &[]);
    for n in 0..300 {
        let ms = 2000 + u64::from(n) * 10;
        let [a, b] = loopback(20_000 + n, TcpState::Established);
        story.look(ms, &[a, b], &[]);
        if n % 3 == 0 {
            story.gone(ms + 5, b);
            story.gone(ms + 5, a);
        }
    }
    story
}

#[test]
fn hundreds_of_connections_scroll() {
    let mut story = hundreds(ColorMode::On);
    snapshot("hundreds", &mut story, 6000);
    for _ in 0..20 {
        story.press(KeyCode::PageDown, 6000);
    }
    snapshot("hundreds_paged", &mut story, 6000);
    story.type_keys("G", 6000);
    snapshot("hundreds_newest", &mut story, 6000);
}

#[test]
fn small_terminals() {
    let mut story = zoo();
    for (width, height) in [(20, 5), (40, 10), (60, 16)] {
        let screen = story.screen(width, height, 18_000);
        insta::assert_snapshot!(format!("small_{width}x{height}"), screen);
    }
}

#[test]
fn without_colour_no_cell_has_one() {
    let mut story = hundreds(ColorMode::Off);
    let lost = Body::Lost {
        count: None,
        why: "receive buffer full".into(),
    };
    story.observe(6000, SourceName::SockDiag, lost);
    for key in [" ", "?"] {
        let screen = story.screen(120, 40, 6000);
        let plain =
            |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
        assert!(screen.buffer().content().iter().all(plain));
        story.type_keys(key, 6000);
    }
}

#[test]
fn colours_tell_states_apart() {
    let screen = closed_by_a().screen(80, 24, 14_000);
    let of = |text: char| {
        let cells = screen.buffer().content();
        cells
            .iter()
            .find(|cell| cell.symbol().starts_with(text))
            .map(|cell| cell.fg)
    };
    assert_eq!(of('\u{2501}'), Some(Color::Cyan));
    assert_eq!(of('\u{2593}'), Some(Color::Magenta));
}

/// The number in the row that is marked.
fn marked(story: &mut Story, ms: u64) -> String {
    let screen = story.screen(80, 24, ms).to_string();
    let row = screen
        .lines()
        .find(|line| line.starts_with("\">"))
        .unwrap_or_default();
    let number = row.split_whitespace().nth(1).unwrap_or_default();
    number.trim_end_matches(['E', '!', 'i']).to_owned()
}

#[test]
fn the_choice_stays_on_its_connection() {
    let mut story = zoo();
    assert_eq!(marked(&mut story, 18_000), "1");
    story.type_keys("j", 18_000);
    assert_eq!(marked(&mut story, 18_000), "2");
    // It closes, and others come.
    let [a, b] = loopback(40_002, TcpState::CloseWait);
    story.gone(19_000, b);
    story.gone(19_000, a);
    let [c, d] = loopback(40_100, TcpState::Established);
    story.look(20_000, &[c, d], &[]);
    assert_eq!(marked(&mut story, 20_000), "2");
    story.type_keys("G", 20_000);
    assert_eq!(marked(&mut story, 20_000), "8");
    story.type_keys("g", 20_000);
    assert_eq!(marked(&mut story, 20_000), "1");
    story.type_keys("k", 20_000);
    assert_eq!(marked(&mut story, 20_000), "1");
}

#[test]
fn a_dropped_choice_moves_to_its_neighbour() {
    let mut story = Story::with(Filter::default(), ColorMode::On, Tracker::new(1)).running();
    story.look(1000, &[waiting_server()], &[]);
    for n in 0..3u16 {
        let [a, b] = loopback(20_000 + n, TcpState::Established);
        story.look(2000 + u64::from(n) * 100, &[a, b], &[]);
    }
    assert_eq!(marked(&mut story, 3000), "1");
    for n in 0..2u16 {
        let [a, b] = loopback(20_000 + n, TcpState::Established);
        story.gone(4000, b);
        story.gone(4000, a);
    }
    // Dropped is what is too much when the next observation comes.
    story.look(4500, &[], &[]);
    assert_eq!(marked(&mut story, 5000), "2");
}

/// Who looks at a connection goes on doing so, however many newer ones are over.
#[test]
fn what_is_looked_at_is_not_dropped() {
    let mut story = Story::with(Filter::default(), ColorMode::On, Tracker::new(2)).running();
    story.type_keys("jk", 1500);
    for n in 0..4u16 {
        let ms = 2000 + u64::from(n) * 1000;
        let [a, b] = loopback(20_000 + n, TcpState::Established);
        story.look(ms, &[a, b], &[]);
        story.type_keys("g", ms);
        story.known.tracker.hold(story.app.looks_at());
        story.gone(ms + 500, b);
        story.gone(ms + 501, a);
    }
    story.look(7000, &[], &[]);
    assert_eq!(marked(&mut story, 7500), "1");
    let known: Vec<u64> = story
        .known
        .tracker
        .connections()
        .map(|it| it.id().0)
        .collect();
    assert_eq!(known, [1, 4]);
    // Nobody looks at it any more: its turn has come.
    story.type_keys("j", 7500);
    story.known.tracker.hold(story.app.looks_at());
    for n in 0..3u16 {
        let ms = 8000 + u64::from(n) * 1000;
        let [a, b] = loopback(20_009 + n, TcpState::Established);
        story.look(ms, &[a, b], &[]);
        story.gone(ms + 500, b);
        story.gone(ms + 501, a);
    }
    story.look(12_000, &[], &[]);
    assert!(story.known.tracker.connections().all(|it| it.id().0 != 1));
}

#[test]
fn a_selection_hides_the_others() {
    let selection = Selection {
        states: StateSet::EMPTY.with(TcpState::CloseWait),
        ..Selection::default()
    };
    let filter = Filter {
        selection,
        ..Filter::default()
    };
    let mut story = Story::with(filter, ColorMode::On, Tracker::default()).running();
    let [a, b] = loopback(40_001, TcpState::Established);
    let [c, d] = loopback(40_002, TcpState::Established);
    story.look(1000, &[waiting_server(), a, b, c, d], &[]);
    let screen = story.screen(80, 24, 1500).to_string();
    assert!(
        screen.contains("Waiting: no connection for state CLOSE_WAIT yet."),
        "{screen}"
    );
    story.look(2000, &[], &[in_state(d, TcpState::CloseWait)]);
    assert_eq!(marked(&mut story, 2500), "2");
    story.type_keys("kg", 2500);
    assert_eq!(marked(&mut story, 2500), "2");
}

#[test]
fn keys_answer_as_the_table_says() {
    let mut story = zoo();
    let with_control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    for (key, reaction) in [
        (KeyEvent::from(KeyCode::Char('q')), Reaction::Quit),
        (with_control('c'), Reaction::Quit),
        (with_control('z'), Reaction::Suspend),
        (with_control('l'), Reaction::Repaint),
        (KeyEvent::from(KeyCode::Esc), Reaction::Redraw),
        (KeyEvent::from(KeyCode::Char('x')), Reaction::Nothing),
    ] {
        let answer = story.app.update(Input::Key(key), &story.known, at(18_000));
        assert_eq!(answer, reaction, "{key:?}");
    }
    story.type_keys("?jj", 18_000);
    story.press(KeyCode::Esc, 18_000);
    assert_eq!(marked(&mut story, 18_000), "1", "the help covers the list");
    let answer = story
        .app
        .update(Input::TerminalGone, &story.known, at(18_000));
    assert_eq!(answer, Reaction::Quit);
}

#[test]
fn no_keys_and_no_size_bring_it_down() {
    let mut story = hundreds(ColorMode::On);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let codes = [
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Esc,
        KeyCode::Enter,
        KeyCode::Char(' '),
        KeyCode::Char('+'),
        KeyCode::Char('-'),
        KeyCode::Char('?'),
        KeyCode::Char('j'),
        KeyCode::Char('G'),
        KeyCode::Char('f'),
    ];
    for round in 0..1000u16 {
        let ms = 6000 + u64::from(round) * 10;
        for _ in 0..3 {
            let code = codes[usize::try_from(next(codes.len() as u64)).unwrap()];
            story.press(code, ms);
        }
        if round % 7 == 0 {
            let [a, b] = loopback(30_000 + round, TcpState::Established);
            story.look(ms, &[a, b], &[]);
            story.gone(ms, a);
            story.gone(ms, b);
        }
        let width = u16::try_from(1 + next(200)).unwrap();
        let height = u16::try_from(1 + next(60)).unwrap();
        story.screen(width, height, ms);
    }
}

/// A player of three connections, read to its end, and its screen.
fn replayed() -> (Player, App) {
    let bytes: Arc<dyn Bytes> = Arc::new(tape::recording(4));
    let name = "tape".into();
    let replay = Replay::open(vec![Taped { name, bytes }], &Options::default()).unwrap();
    let mut player = Player::new(World::new(replay, TimeZone::UTC)).unwrap();
    assert!(player.read_on(1000).unwrap());
    let mut app = App::new(Filter::default(), ColorMode::On, TimeZone::UTC);
    app.show_span(Duration::from_millis(5));
    (player, app)
}

fn show_replay(name: &str, (player, app): (&Player, &mut App), standing: Standing) {
    let finale = (standing == Standing::Ended).then_some(Finale {
        why: End::CutOff,
        unread: 3,
    });
    let playback = Playback {
        standing,
        speed: Speed::new(0.25).unwrap(),
        begin: player.begin(),
        end: player.end(),
        finale,
        clocks: None,
    };
    let world = player.world();
    app.show_moment(playback, world.heard().clone());
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let (known, now) = (world.known(), player.position());
        let screen = build::drawn(app, known, (width, height), now);
        build::assert_said_in_ascii(app, known, &screen, now);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn a_recording_at_any_moment() {
    let (mut player, mut app) = replayed();
    show_replay(
        "replay_reading",
        (&player, &mut app),
        Standing::Reading(Some(43)),
    );
    player.seek(tape::at_us(2250)).unwrap();
    show_replay("replay_playing", (&player, &mut app), Standing::Playing);
    player.seek(player.end()).unwrap();
    show_replay("replay_ended", (&player, &mut app), Standing::Ended);
    let key = |c| Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    let (known, now) = (player.world().known(), player.position());
    for c in "t14:0".chars() {
        assert_eq!(app.update(key(c), known, now), Reaction::Redraw);
    }
    show_replay("replay_prompt", (&player, &mut app), Standing::Paused);
    let enter = Input::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    let to = Reaction::Travel(Travel::To("14:0".into()));
    assert_eq!(app.update(enter, known, now), to);
    app.update(key('?'), known, now);
    show_replay("replay_help", (&player, &mut app), Standing::Paused);
}

#[test]
fn clocks_that_contradict_each_other_are_said_while_it_plays() {
    let (mut player, mut app) = replayed();
    player.seek(tape::at_us(2250)).unwrap();
    let said = "the clocks of web and db\u{1b}[2J disagree: 1 of 1 connection got a FIN early";
    let playback = Playback {
        standing: Standing::Playing,
        speed: Speed::new(1.0).unwrap(),
        begin: player.begin(),
        end: player.end(),
        finale: None,
        clocks: Some(said.to_owned()),
    };
    let world = player.world();
    app.show_moment(playback, world.heard().clone());
    let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
    terminal
        .draw(|frame| draw(frame, &mut app, world.known(), player.position()))
        .unwrap();
    let shown = terminal.backend().to_string();
    let line = shown.lines().nth(1).unwrap();
    assert!(line.contains("the clocks of web and db"), "{line}");
    assert!(line.contains("got a FIN early"), "{line}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn nothing_later_shines_through() {
    let (mut player, mut app) = replayed();
    player.seek(tape::at_us(2250)).unwrap();
    let (mut elsewhere, mut other) = replayed();
    elsewhere.seek(elsewhere.end()).unwrap();
    show_replay("replay_ended", (&elsewhere, &mut other), Standing::Ended);
    elsewhere.seek(tape::at_us(2250)).unwrap();
    show_replay(
        "replay_playing",
        (&elsewhere, &mut other),
        Standing::Playing,
    );
    show_replay("replay_playing", (&player, &mut app), Standing::Playing);
}
