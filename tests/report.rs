//! Reports and exports, from files to what is printed: the program is run on recordings that are
//! made up here, and what it says is compared and read back.
//!
//! Snapshots are read by people before they are accepted: would this go into a ticket?

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "common/build.rs"]
mod build;
#[path = "report/read.rs"]
mod read;
#[path = "report/tape.rs"]
mod tape;

use std::fs;
use std::process::{Command, Output, Stdio};

use build::{
    at, endpoint, in_state, killed, let_go, listener, mini, moment, process, sock, step, unread,
};
use read::{csv_rows, tracks_of, xml_texts};
use serde_json::Value;
use tape::{Folder, Tape};
use tcpwatch::model::event::{File, ResetReason, What};
use tcpwatch::model::{Moment, Sample, TcpState};

const SERVER: u16 = 50008;
const FORMATS: [&str; 4] = ["svg", "perfetto", "csv", "mermaid"];

fn ends(client: u16, state: TcpState) -> [Sample; 2] {
    let (a, b) = (endpoint("127.0.0.1", client), endpoint("127.0.0.1", SERVER));
    [sock(a, b, state), sock(b, a, state)]
}

/// The server waits for connections.
fn waiting() -> Sample {
    listener(endpoint("0.0.0.0", SERVER), 0)
}

/// By events: opened, closed by A after 8 s, in 300 µs; A keeps a TIME_WAIT.
fn exact(name: &str) -> Tape {
    let mut tape = Tape::new("web").with_events();
    close_by_events(&mut tape, 40_000, 1_000_000, name);
    tape
}

fn close_by_events(tape: &mut Tape, client: u16, us: u64, name: &str) {
    use TcpState::{
        Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
    };
    let [a, b] = ends(client, Established);
    let (curl, nginx) = (Some(process(name, 4711)), Some(process("nginx", 812)));
    let held = moment(File::Held, 0, 0);
    tape.event(us, a, step(Close, SynSent), held, curl);
    tape.event(
        us + 20,
        b,
        step(Listen, SynRecv),
        moment(File::Absent, 0, 0),
        None,
    );
    tape.event(us + 40, a, step(SynSent, Established), held, None);
    tape.event(
        us + 45,
        b,
        step(SynRecv, Established),
        moment(File::Absent, 0, 0),
        None,
    );
    let end = us + 8_000_000;
    tape.event(end, a, What::Retransmit, held, None);
    tape.event(
        end + 2,
        a,
        step(Established, FinWait1),
        moment(File::Closing, 3, 0),
        curl,
    );
    tape.event(
        end + 40,
        b,
        step(Established, CloseWait),
        moment(File::Held, 1, 15),
        None,
    );
    tape.event(
        end + 90,
        a,
        step(FinWait1, FinWait2),
        moment(File::Absent, 3, 0),
        None,
    );
    tape.event(
        end + 95,
        a,
        step(FinWait2, Close),
        moment(File::Absent, 3, 0),
        None,
    );
    let waits = mini(let_go(in_state(a, FinWait2)), at(60_000));
    tape.found(end + 100, waits);
    tape.event(
        end + 290,
        b,
        step(CloseWait, LastAck),
        moment(File::Closing, 3, 0),
        nginx,
    );
    tape.event(
        end + 300,
        b,
        step(LastAck, Close),
        moment(File::Absent, 3, 0),
        None,
    );
    tape.found(end + 310, mini(in_state(a, TcpState::TimeWait), at(69_300)));
}

/// By looks alone: one that leaks, one in good order, one that vanished, one from afar.
fn sampled() -> Tape {
    let mut tape = Tape::new("db-7");
    let [a, b] = ends(40_002, TcpState::Established);
    tape.look(1000, &[waiting()], &[]);
    tape.look(2000, &[a, b], &[]);
    let waits = mini(in_state(a, TcpState::FinWait2), at(65_000));
    tape.look(
        5000,
        &[],
        &[waits, unread(in_state(b, TcpState::CloseWait), 14)],
    );
    let [a, b] = ends(40_004, TcpState::Established);
    tape.look(8000, &[a, b], &[]);
    tape.look(
        11_000,
        &[],
        &[mini(in_state(a, TcpState::TimeWait), at(71_000))],
    );
    tape.gone(11_001, b);
    let [a, b] = ends(40_005, TcpState::Established);
    tape.look(12_000, &[a, b], &[]);
    tape.gone(14_000, a);
    tape.gone(14_001, b);
    tape.lost(14_500, Some(3), "rows that could not be read");
    let far = endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 51_000);
    let near = endpoint("2001:db8::7", SERVER);
    tape.look(
        15_000,
        &[let_go(sock(near, far, TcpState::Established))],
        &[],
    );
    tape
}

/// A server that is killed with data unread.
fn aborted() -> Tape {
    use TcpState::{Close, Established};
    let mut tape = Tape::new("web").with_events();
    let [a, b] = ends(40_007, Established);
    tape.look(500, &[waiting(), a, b], &[]);
    let python = Some(killed(process("python3", 99), 9));
    let sent = What::ResetSent(ResetReason::AbortOnClose);
    tape.event(2_000_000, b, sent, moment(File::Closing, 3, 4000), None);
    tape.event(
        2_000_001,
        b,
        step(Established, Close),
        moment(File::Closing, 3, 4000),
        python,
    );
    let reset = Moment {
        error: Some(104),
        ..moment(File::Held, 3, 0)
    };
    tape.event(
        2_000_030,
        a,
        What::ResetReceived,
        moment(File::Held, 0, 0),
        None,
    );
    tape.event(2_000_031, a, step(Established, Close), reset, None);
    tape
}

/// A server whose child has a copy of the one connection that nobody closes, and another that is
/// closed late.
fn leaky(name: &str) -> Tape {
    let mut tape = Tape::new("web");
    tape.look(1000, &[waiting()], &[]);
    let [a, mut b] = ends(40_010, TcpState::Established);
    let [c, mut d] = ends(40_011, TcpState::Established);
    (b.inode, d.inode) = (Some(7001), Some(7002));
    tape.look(2000, &[a, b, c, d], &[]);
    tape.held(2101, a, &[("curl", 4711, 3)], &[]);
    tape.held(2102, b, &[(name, 812, 9)], &[]);
    tape.held(2103, d, &[(name, 812, 10)], &[]);
    tape.held(3000, b, &[(name, 812, 9), (name, 813, 9)], &[]);
    let gone = |end: Sample| mini(in_state(end, TcpState::FinWait2), at(65_000));
    let state = TcpState::CloseWait;
    let waits = |end: Sample, bytes| unread(Sample { state, ..end }, bytes);
    tape.look(5000, &[], &[gone(a), gone(c), waits(b, 0), waits(d, 14)]);
    tape.held(9000, b, &[(name, 812, 9)], &[813]);
    tape.look(40_000, &[waiting()], &[]);
    tape.gone(60_000, d);
    tape.look(62_000, &[waiting()], &[]);
    tape
}

fn tcpwatch(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(arguments)
        .current_dir(folder.path())
        .env("TZ", "UTC")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(folder: &Folder, arguments: &[&str]) -> String {
    let output = tcpwatch(folder, arguments);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String) {
    let output = tcpwatch(folder, arguments);
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The same whatever the version is.
fn without_version(text: &str) -> String {
    text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn reports_in_words_and_for_machines() {
    for (name, tape) in [
        ("exact", exact("curl")),
        ("sampled", sampled()),
        ("aborted", aborted()),
        ("leaky", leaky("python3")),
    ] {
        let folder = Folder::new();
        folder.write("rec.jsonl", &tape.ended());
        let text = said(&folder, &["report", "rec.jsonl"]);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "too wide: {line}");
        }
        insta::assert_snapshot!(format!("text_{name}"), without_version(&text));
        let json = said(&folder, &["report", "rec.jsonl", "--format", "json"]);
        let value: Value = serde_json::from_str(&json).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        insta::assert_snapshot!(format!("json_{name}"), without_version(&pretty));
    }
}

#[test]
fn exports_in_every_format() {
    for (name, tape) in [
        ("exact", exact("curl")),
        ("sampled", sampled()),
        ("aborted", aborted()),
        ("leaky", leaky("python3")),
    ] {
        let folder = Folder::new();
        folder.write("rec.jsonl", &tape.ended());
        for format in FORMATS {
            let text = said(&folder, &["export", "rec.jsonl", "--to", format]);
            let text = without_version(&text).replace("\r\n", "\n");
            insta::assert_snapshot!(format!("{format}_{name}"), text);
        }
    }
}

#[test]
fn the_same_observations_give_the_same_bytes() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &sampled().ended());
    for arguments in [
        &["report", "rec.jsonl"][..],
        &["report", "rec.jsonl", "--format", "json"],
        &["export", "rec.jsonl", "--to", "svg"],
        &["export", "rec.jsonl", "--to", "perfetto"],
        &["export", "rec.jsonl", "--to", "csv"],
        &["export", "rec.jsonl", "--to", "mermaid"],
    ] {
        assert_eq!(said(&folder, arguments), said(&folder, arguments));
    }
}

/// The kernel may tell of B's FIN before it tells A that its own is acknowledged, and of a reset's
/// arrival before its sending. A diagram has them in the order of cause.
#[test]
fn a_diagram_is_in_the_order_of_cause() {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
    let folder = Folder::new();
    let mut tape = Tape::new("web").with_events();
    let [a, b] = ends(40_001, Established);
    tape.look(500, &[waiting(), a, b], &[]);
    let (held, closing) = (moment(File::Held, 1, 0), moment(File::Closing, 3, 0));
    let gone = moment(File::Absent, 3, 0);
    tape.event(2_000_000, a, step(Established, FinWait1), closing, None);
    tape.event(2_000_010, b, step(Established, CloseWait), held, None);
    tape.event(2_000_020, b, step(CloseWait, LastAck), closing, None);
    tape.event(2_000_030, a, step(FinWait1, FinWait2), gone, None);
    tape.event(2_000_040, a, step(FinWait2, Close), gone, None);
    tape.event(2_000_050, b, step(LastAck, Close), gone, None);
    folder.write("close.jsonl", &tape.ended());
    let diagram = said(&folder, &["export", "close.jsonl", "--to", "mermaid"]);
    let place = |text: &str| {
        diagram
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {diagram}"))
    };
    let order = [
        "A1->>B1: FIN",
        "B1: CLOSE_WAIT",
        "B1: LAST_ACK",
        "B1->>A1: FIN, ACK",
        "A1: FIN_WAIT2",
        "A1->>B1: ACK",
    ];
    assert!(order.map(place).is_sorted(), "{diagram}");

    let mut tape = Tape::new("web").with_events();
    tape.look(500, &[waiting(), a, b], &[]);
    tape.event(2_000_000, a, What::ResetReceived, held, None);
    let sent = What::ResetSent(ResetReason::AbortOnClose);
    tape.event(2_000_007, b, sent, closing, None);
    tape.event(2_000_008, b, step(Established, Close), closing, None);
    let reset = Moment {
        error: Some(104),
        ..moment(File::Held, 3, 0)
    };
    tape.event(2_000_009, a, step(Established, Close), reset, None);
    folder.write("reset.jsonl", &tape.ended());
    let diagram = said(&folder, &["export", "reset.jsonl", "--to", "mermaid"]);
    assert_eq!(diagram.matches(": RST").count(), 1, "{diagram}");
    let place = |text: &str| {
        diagram
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {diagram}"))
    };
    assert!(
        place("B1-xA1: RST") < place("received a reset"),
        "{diagram}"
    );
}

#[test]
fn times_are_of_the_zone_that_is_asked_for() {
    if !std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
        eprintln!("skipped: this system has no /usr/share/zoneinfo");
        return;
    }
    let folder = Folder::new();
    folder.write("rec.jsonl", &exact("curl").ended());
    let output = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(["report", "rec.jsonl"])
        .current_dir(folder.path())
        .env("TZ", "Europe/Berlin")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("2026-03-01 15:02:01.000000 CET"), "{text}");
}

#[test]
fn a_trace_has_a_track_an_end_and_its_slices_abut() {
    for tape in [exact("curl"), sampled(), aborted()] {
        let folder = Folder::new();
        folder.write("rec.jsonl", &tape.ended());
        let trace: Value =
            serde_json::from_str(&said(&folder, &["export", "rec.jsonl", "--to", "perfetto"]))
                .unwrap();
        let report: Value =
            serde_json::from_str(&said(&folder, &["report", "rec.jsonl", "--format", "json"]))
                .unwrap();
        let connections = report["connections"].as_array().unwrap();
        let visible = connections
            .iter()
            .flat_map(|connection| [&connection["a"], &connection["b"]])
            .filter(|end| !end.is_null())
            .count();
        let tracks = tracks_of(&trace);
        assert_eq!(tracks.len(), visible);
        for (track, slices) in &tracks {
            assert!(!slices.is_empty(), "{track:?}");
            for pair in slices.windows(2) {
                assert_eq!(pair[0].end, pair[1].begin, "{track:?}: {pair:?}");
            }
        }
        let names = trace["traceEvents"].as_array().unwrap().iter();
        let threads = names.filter(|event| event["name"] == "thread_name").count();
        assert_eq!(threads, visible);
    }
}

#[test]
fn a_table_has_a_row_a_transition() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &sampled().ended());
    let table = csv_rows(&said(&folder, &["export", "rec.jsonl", "--to", "csv"]));
    let report: Value =
        serde_json::from_str(&said(&folder, &["report", "rec.jsonl", "--format", "json"])).unwrap();
    let steps: usize = report["connections"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|connection| [&connection["a"], &connection["b"]])
        .filter_map(|end| Some(end["spans"].as_array()?.len() - 1))
        .sum();
    assert!(steps > 5);
    assert_eq!(table.len(), steps + 1, "and the names of the columns");
    assert!(table.iter().all(|row| row.len() == table[0].len()));
    let to = table[0].iter().position(|name| name == "to").unwrap();
    assert!(table.iter().any(|row| row[to] == "CLOSE_WAIT"));
}

#[test]
fn what_was_found_is_told_by_code_and_beside_each_connection() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &leaky("python3").ended());
    let json = |arguments: &[&str]| -> Value {
        let all = [&["report", "rec.jsonl", "--format", "json"], arguments].concat();
        serde_json::from_str(&said(&folder, &all)).unwrap()
    };
    let report = json(&[]);
    let findings = report["findings"].as_array().unwrap();
    let found = |code: &str| {
        let mut all = findings.iter().filter(|found| found["code"] == *code);
        all.next().unwrap_or_else(|| panic!("{code}: {report}"))
    };
    let (leak, late) = (found("close-wait-eof-unread"), found("close-wait-unread"));
    assert_eq!((&leak["conn"], &leak["end"]), (&1.into(), &"b".into()));
    assert!(leak["over_ns"].is_null(), "{leak}");
    assert_eq!(late["over_ns"], at(60_000).nanos());
    assert_eq!(late["owners"][0]["pid"], 812);
    assert_eq!(
        report["totals"]["findings"]["close-wait-unread"]["holding"],
        0
    );
    let end = &report["connections"][0]["b"];
    let sets = end["holders"].as_array().unwrap();
    let pids = |set: &Value| -> Vec<u64> {
        let owners = set["owners"].as_array().unwrap().iter();
        owners.map(|owner| owner["pid"].as_u64().unwrap()).collect()
    };
    let all: Vec<_> = sets.iter().map(pids).collect();
    assert_eq!(all, [vec![812], vec![812, 813], vec![812]]);
    assert_eq!(sets[2]["ended"], serde_json::json!([813]));
    let codes = &report["connections"][1]["findings"];
    assert!(
        codes
            .as_array()
            .unwrap()
            .contains(&"close-wait-unread".into())
    );
    // By what was found, and by who held it.
    for (arguments, wanted) in [
        (&["--finding", "close-wait-unread"][..], &[2][..]),
        (&["--finding", "fin-wait2-orphan,data-lost"], &[1, 2]),
        (&["--pid", "813"], &[1]),
        (&["--pid", "4711", "--process", "curl"], &[1]),
        (&["--process", "python3"], &[1, 2]),
    ] {
        let report = json(arguments);
        let shown = report["connections"].as_array().unwrap().iter();
        let numbers: Vec<u64> = shown.map(|one| one["conn"].as_u64().unwrap()).collect();
        assert_eq!(numbers, wanted, "{arguments:?}");
        let of = report["findings"].as_array().unwrap().iter();
        assert!(
            of.clone()
                .all(|it| numbers.contains(&it["conn"].as_u64().unwrap()))
        );
    }
    let (status, complaint) = refused(&folder, &["report", "rec.jsonl", "--finding", "leak"]);
    assert!(
        status == Some(2) && complaint.contains("close-wait-leaked"),
        "{complaint}"
    );
    let brief = said(&folder, &["report", "rec.jsonl", "--brief"]);
    assert!(
        brief.contains("! warn close-wait-eof-unread and 1 more\n"),
        "{brief}"
    );
    // Nothing but that of an end within the window.
    let early = said(&folder, &["report", "rec.jsonl", "--to", "+30s"]);
    assert!(!early.contains("FINDINGS"), "{early}");
}

#[test]
fn names_from_outside_stay_text() {
    for name in [
        "</svg><!--",
        "]]>&'\"",
        "=cmd|'/c'!A1",
        "@SUM(1)",
        "a;b#c%%{x}",
        "\u{1b}[2J\u{7f}",
        "\u{202e}gnp.exe",
        "a,\"b\"\r\nc",
    ] {
        for tape in [exact(name), leaky(name)] {
            stays_text(name, tape);
        }
    }
}

fn stays_text(name: &str, mut tape: Tape) {
    let folder = Folder::new();
    tape.host = format!("{name}\u{ffff}");
    tape.lost(63_000, None, name);
    folder.write("rec.jsonl", &tape.ended());
    let plain = |text: &str| {
        assert!(
            text.chars()
                .all(|c| !c.is_control() || matches!(c, '\n' | '\r')),
            "{text}"
        );
        assert!(!text.contains('\u{202e}'));
    };
    plain(&said(&folder, &["report", "rec.jsonl"]));
    let json = said(&folder, &["report", "rec.jsonl", "--format", "json"]);
    plain(&json);
    let report: Value = serde_json::from_str(&json).unwrap();
    let first = &report["connections"][0];
    let caller = &first["a"]["spans"][1]["comm"];
    let owner = &first["b"]["owners"][0]["comm"];
    assert_eq!(caller.as_str().or(owner.as_str()), Some(name));

    let svg = said(&folder, &["export", "rec.jsonl", "--to", "svg"]);
    plain(&svg);
    let texts = xml_texts(&svg);
    let shown = tcpwatch::view::plain::plain(name).into_owned();
    assert!(
        texts.iter().any(|text| text.contains(&shown)),
        "{shown}: {texts:?}"
    );

    let trace = said(&folder, &["export", "rec.jsonl", "--to", "perfetto"]);
    plain(&trace);
    serde_json::from_str::<Value>(&trace).unwrap();

    let csv = said(&folder, &["export", "rec.jsonl", "--to", "csv"]);
    plain(&csv);
    for cell in csv_rows(&csv).iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
    }

    let mermaid = said(&folder, &["export", "rec.jsonl", "--to", "mermaid"]);
    plain(&mermaid);
    assert!(mermaid.lines().skip(1).all(|line| line.starts_with("    ")));
    let text = mermaid.replace("%% tcpwatch", "");
    assert!(!text.contains("%%") && !text.contains('{'), "{text}");
}

#[test]
fn a_window_cuts_off_what_is_outside() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &sampled().ended());
    let report = |arguments: &[&str]| -> Value {
        let all = [&["report", "rec.jsonl", "--format", "json"], arguments].concat();
        serde_json::from_str(&said(&folder, &all)).unwrap()
    };
    let numbers = |report: &Value| -> Vec<u64> {
        let all = report["connections"].as_array().unwrap().iter();
        all.map(|connection| connection["conn"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(numbers(&report(&[])), [1, 2, 3, 4]);
    // 40005 is gone at 14.001 s, and the world has not seen what comes at 15 s.
    assert_eq!(
        numbers(&report(&["--from", "+14.2s", "--to", "+14.9s"])),
        [1, 2]
    );
    assert_eq!(numbers(&report(&["--to", "+3s"])), [1]);
    assert_eq!(numbers(&report(&["--from", "-500ms"])), [1, 2, 4]);
    assert_eq!(numbers(&report(&["--conn", "2,4"])), [2, 4]);
    assert_eq!(numbers(&report(&["--port", "40005"])), [3]);
    assert_eq!(numbers(&report(&["--state", "close-wait"])), [1]);

    let cut = report(&["--from", "14:02:10", "--to", "14:02:12"]);
    assert_eq!(cut["from"], "2026-03-01T14:02:10.000000000Z");
    let leaks = cut["connections"][0]["b"]["spans"].as_array().unwrap();
    let last = leaks.last().unwrap();
    assert_eq!(last["state"], "CLOSE_WAIT");
    assert_eq!(
        last["lasted_ns"],
        serde_json::json!([2_000_000_000_u64, 2_000_000_000_u64])
    );

    let (status, message) = refused(&folder, &["report", "rec.jsonl", "--port", "9"]);
    assert_eq!(status, Some(1));
    assert!(message.contains("port 9"), "{message}");
    let (status, _) = refused(
        &folder,
        &["report", "rec.jsonl", "--from", "+9s", "--to", "+3s"],
    );
    assert_eq!(status, Some(2));
    let (status, _) = refused(&folder, &["report", "none.jsonl"]);
    assert_eq!(status, Some(2));
}

/// Two hosts that see the same connection, and the clock of one is late by 10 ms.
#[test]
fn clocks_that_contradict_each_other_are_told() {
    use TcpState::{CloseWait, Established, FinWait1};
    let folder = Folder::new();
    let client = endpoint("10.0.0.1", 40_000);
    let server = endpoint("10.0.0.2", SERVER);
    let (a, b) = (
        sock(client, server, Established),
        sock(server, client, Established),
    );
    let mut web = Tape::new("web").with_events();
    web.look(500, &[a], &[]);
    web.event(
        2_000_000,
        a,
        step(Established, FinWait1),
        moment(File::Closing, 3, 0),
        None,
    );
    let mut db = Tape::new("db").with_events();
    db.look(500, &[listener(endpoint("0.0.0.0", SERVER), 0), b], &[]);
    db.event(
        1_990_000,
        b,
        step(Established, CloseWait),
        moment(File::Held, 1, 1),
        None,
    );
    folder.write("web.jsonl", &web.ended());
    folder.write("db.jsonl", &db.ended());
    let report = |more: &[&str]| {
        let files = ["report", "web.jsonl", "db.jsonl"];
        let text = said(&folder, &[&files, more].concat());
        let json = [&files[..], &["--format", "json"], more].concat();
        let json: Value = serde_json::from_str(&said(&folder, &json)).unwrap();
        (text, json["clocks"][0].clone(), json["connections"].clone())
    };
    let (text, clocks, connections) = report(&[]);
    assert_eq!(connections.as_array().unwrap().len(), 1, "{connections}");
    assert!(
        text.contains("clocks: the clocks of web and db disagree"),
        "{text}"
    );
    assert_eq!(
        (&clocks["broken"], &clocks["agree"]),
        (&1.into(), &false.into())
    );
    for format in ["csv", "svg", "perfetto", "mermaid"] {
        let export = ["export", "web.jsonl", "db.jsonl", "--to", format];
        let told = tcpwatch(&folder, &export);
        let error = String::from_utf8(told.stderr).unwrap();
        assert!(error.contains("web and db disagree"), "{format}: {error}");
        let shown = String::from_utf8(told.stdout).unwrap();
        let is_in_it = shown.contains("web and db disagree");
        assert_eq!(is_in_it, format != "csv", "{format}: {shown}");
    }
    for format in ["text", "json"] {
        let replay = ["replay", "web.jsonl", "db.jsonl", "--format", format];
        let error = String::from_utf8(tcpwatch(&folder, &replay).stderr).unwrap();
        assert!(error.contains("--offset db=10"), "{format}: {error}");
    }
    let mend = clocks["offset_ns"].as_i64().unwrap();
    assert!(mend >= 10_000_000, "{clocks}");
    assert!(text.contains(" 10.0.0.1:40000 (web)\n"), "{text}");
    assert!(text.contains(" 10.0.0.2:50008 (db)\n"), "{text}");
    let (text, clocks, _) = report(&["--offset", &format!("{mend}ns")]);
    assert!(text.contains("agree"), "{text}");
    assert_eq!(
        (&clocks["broken"], &clocks["agree"]),
        (&0.into(), &true.into())
    );
}

#[test]
fn what_was_cut_off_is_reported_as_far_as_it_goes() {
    let folder = Folder::new();
    let whole = exact("curl").bytes();
    folder.write("rec.jsonl", &whole[..whole.len() - 20]);
    let text = said(&folder, &["report", "rec.jsonl"]);
    assert!(text.contains("cut off in the middle of a line"), "{text}");
    let json = said(&folder, &["report", "rec.jsonl", "--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["recordings"][0]["ended"], false);
}

#[test]
fn times_count_from_the_last_line_and_those_outside_are_refused() {
    let folder = Folder::new();
    let mut bytes = exact("curl").bytes();
    let last = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok()?["at"].as_u64())
        .max()
        .unwrap();
    let end = last + 60_000_000_000;
    let line = format!("{{\"type\":\"end\",\"at\":{end},\"why\":\"stopped\"}}\n");
    bytes.extend_from_slice(line.as_bytes());
    folder.write("rec.jsonl", &bytes);
    let reported = |arguments: &[&str]| -> Value {
        let common = ["report", "rec.jsonl", "--format", "json"];
        serde_json::from_str(&said(&folder, &[&common, arguments].concat())).unwrap()
    };
    assert_eq!(reported(&[])["to_ns"], end);
    let late = reported(&["--from", "-3s"]);
    assert_eq!(late["from_ns"], end - 3_000_000_000);
    assert_eq!(late["to_ns"], end);
    for wrong in [
        ["--from", "+1h"],
        ["--to", "-1h"],
        ["--from", "03:10"],
        ["--from", "+3"],
    ] {
        let (code, _) = refused(&folder, &[&["report", "rec.jsonl"], &wrong[..]].concat());
        assert_eq!(code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_recording_can_come_through_a_pipe() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &exact("curl").ended());
    let piped = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(["report", "-", "--format", "json"])
        .stdin(fs::File::open(folder.path().join("rec.jsonl")).unwrap())
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let from_file = said(&folder, &["report", "rec.jsonl", "--format", "json"]);
    let connections = |text: &str| {
        let report: Value = serde_json::from_str(text).unwrap();
        report["connections"].clone()
    };
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert_eq!(connections(&piped), connections(&from_file));
}

#[test]
fn an_export_replaces_nothing_unasked_and_leaves_nothing_half() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &exact("curl").ended());
    folder.write("there.svg", b"mine");
    let (status, message) = refused(
        &folder,
        &["export", "rec.jsonl", "--to", "svg", "-o", "there.svg"],
    );
    assert_eq!(status, Some(2));
    assert!(message.contains("--force"), "{message}");
    assert_eq!(folder.read("there.svg"), b"mine");
    let force = [
        "export",
        "rec.jsonl",
        "--to",
        "svg",
        "-o",
        "there.svg",
        "--force",
    ];
    said(&folder, &force);
    assert!(folder.read("there.svg").starts_with(b"<?xml"));
    said(
        &folder,
        &["export", "rec.jsonl", "--to", "csv", "-o", "new.csv"],
    );
    let (status, _) = refused(
        &folder,
        &["export", "none", "--to", "csv", "-o", "never.csv"],
    );
    assert_eq!(status, Some(2));
    let (status, _) = refused(
        &folder,
        &[
            "export",
            "rec.jsonl",
            "--to",
            "csv",
            "-o",
            "no/such/folder.csv",
        ],
    );
    assert_eq!(status, Some(2));
    assert_eq!(folder.names(), ["new.csv", "rec.jsonl", "there.svg"]);
    let mode = |name: &str| {
        let known = fs::metadata(folder.path().join(name)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&known.permissions()) & 0o777
    };
    assert_eq!((mode("new.csv"), mode("there.svg")), (0o600, 0o600));
    // Not even --force turns a recording into its own export.
    std::os::unix::fs::symlink("rec.jsonl", folder.path().join("link")).unwrap();
    for input in ["rec.jsonl", "link"] {
        let arguments = ["export", "rec.jsonl", "--to", "csv", "--force", "-o", input];
        let (status, message) = refused(&folder, &arguments);
        assert_eq!(status, Some(2));
        assert!(message.contains("which is read"), "{message}");
    }
    // What comes from outside is no escape sequence and no second line.
    let (_, message) = refused(&folder, &["report", "a\u{1b}[2J\nb"]);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(!message.contains('\u{1b}'), "{message}");
    // A device is written to, and not replaced.
    said(
        &folder,
        &["export", "rec.jsonl", "--to", "csv", "-o", "/dev/null"],
    );
}

#[test]
fn an_export_that_grows_too_long_leaves_no_draft() {
    let folder = Folder::new();
    let mut tape = Tape::new("web");
    let many: Vec<Sample> = (0..100)
        .flat_map(|n| ends(20_000 + n, TcpState::Established))
        .collect();
    tape.look(2000, &many, &[]);
    folder.write("rec.jsonl", &tape.ended());
    let program = env!("CARGO_BIN_EXE_tcpwatch");
    let line = format!("ulimit -f 1; exec {program} export rec.jsonl --to svg -o out.svg");
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(folder.names(), ["rec.jsonl"]);
}

#[test]
fn what_hangs_is_told_in_a_sentence() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &sampled().ended());
    let report: Value =
        serde_json::from_str(&said(&folder, &["report", "rec.jsonl", "--format", "json"])).unwrap();
    let sentence = "still open: A closed first; B has not closed for 10 s: its descriptor is held, \
                    14 bytes unread";
    assert_eq!(report["connections"][0]["sentence"], sentence);
    assert!(report["connections"][1]["sentence"].is_null());
    let svg = said(&folder, &["export", "rec.jsonl", "--to", "svg"]);
    assert!(svg.contains(sentence), "{svg}");
}

#[test]
fn a_brief_report_has_a_line_a_connection() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &sampled().ended());
    let text = said(&folder, &["report", "rec.jsonl", "--brief"]);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].contains("open, A FIN_WAIT2, B CLOSE_WAIT"),
        "{text}"
    );
    assert!(
        lines[1].contains("127.0.0.1:40004 -> 127.0.0.1:50008"),
        "{text}"
    );
    assert!(lines[1].ends_with("orderly, A first"), "{text}");
    assert!(text.contains("2 still open (#1 #4)"), "{text}");
    let (status, _) = refused(
        &folder,
        &["report", "rec.jsonl", "--brief", "--format", "json"],
    );
    assert_eq!(status, Some(2));
    let text = said(
        &folder,
        &["report", "rec.jsonl", "--brief", "--verdict", "open"],
    );
    let lines = text.lines().filter(|line| line.starts_with('#'));
    assert_eq!(lines.count(), 2, "{text}");
}

#[test]
fn what_looks_alone_may_have_missed_is_said() {
    let folder = Folder::new();
    let mut tape = Tape::new("web");
    tape.look(1000, &ends(40_000, TcpState::Established), &[]);
    folder.write("looks.jsonl", &tape.ended());
    folder.write("events.jsonl", &exact("curl").ended());
    let text = said(&folder, &["report", "looks.jsonl"]);
    assert!(
        text.contains("nothing was lost, but connections shorter than a look (100 ms)"),
        "{text}"
    );
    let text = said(&folder, &["report", "events.jsonl"]);
    assert!(text.contains("\nnothing was lost\n"), "{text}");
}

#[test]
fn a_close_wait_that_is_too_young_for_a_finding_is_counted() {
    let folder = Folder::new();
    folder.write("leaky.jsonl", &leaky("python3").ended());
    let usual = said(&folder, &["report", "leaky.jsonl"]);
    assert!(!usual.contains("too young"), "{usual}");
    assert!(usual.contains("close-wait-"), "{usual}");
    let text = said(&folder, &["report", "leaky.jsonl", "--older-than", "2m"]);
    let line = "1 end was in CLOSE_WAIT in the end for less than 2 min: too young";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("close-wait-leaked"), "{text}");
    let lines = said(&folder, &["replay", "leaky.jsonl", "--older-than", "2m"]);
    assert!(!lines.contains("close-wait-leaked"), "{lines}");
    let lines = said(&folder, &["replay", "leaky.jsonl"]);
    assert!(lines.contains("close-wait-"), "{lines}");
}

#[test]
fn a_connection_that_spans_days_has_dates() {
    let folder = Folder::new();
    let mut tape = Tape::new("web").with_events();
    let [a, b] = ends(40_001, TcpState::Established);
    tape.look(500, &[waiting(), a, b], &[]);
    let closing = moment(File::Closing, 3, 0);
    let close = step(TcpState::Established, TcpState::FinWait1);
    tape.event(90_000_000_000, a, close, closing, None);
    tape.host = "w".repeat(5000);
    folder.write("rec.jsonl", &tape.ended());
    let text = said(&folder, &["report", "rec.jsonl"]);
    assert!(text.contains("\n    2026-03-02\n"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn what_is_compressed_is_to_be_unpacked() {
    let folder = Folder::new();
    folder.write("rec.jsonl.gz", &[0x1f, 0x8b, 8, 0, 0, 0]);
    for command in [&["report"][..], &["replay", "--format", "text"]] {
        let arguments = [command, &["rec.jsonl.gz"]].concat();
        let (status, message) = refused(&folder, &arguments);
        assert_eq!(status, Some(2));
        let cure = format!("zcat rec.jsonl.gz | tcpwatch {} -", command[0]);
        assert!(message.contains(&cure), "{message}");
    }
}

/// Whenever it is ended, there is the whole or nothing.
#[test]
fn an_export_that_is_ended_leaves_no_draft() {
    let folder = Folder::new();
    let mut tape = Tape::new("web").with_events();
    (0..10_000).for_each(|n| tape.short_life(n));
    folder.write("rec.jsonl", &tape.ended());
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(["export", "rec.jsonl", "-o", "out.csv"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    while folder.names() == ["rec.jsonl"] && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let program = rustix::process::Pid::from_child(&child);
    let _ = rustix::process::kill_process(program, rustix::process::Signal::TERM);
    let status = child.wait().unwrap();
    let names = folder.names();
    match status.code() {
        Some(0) => assert_eq!(names, ["out.csv", "rec.jsonl"]),
        _ => assert_eq!(names, ["rec.jsonl"], "{status:?}"),
    }
}

#[test]
fn a_fin_that_nobody_acknowledges_is_told() {
    let folder = Folder::new();
    let mut tape = Tape::new("web").with_events();
    let here = endpoint("10.0.0.1", 40_000);
    let end = sock(here, endpoint("10.0.0.2", SERVER), TcpState::Established);
    tape.look(500, &[end], &[]);
    let closing = moment(File::Closing, 3, 0);
    let close = step(TcpState::Established, TcpState::FinWait1);
    tape.event(2_000_000, end, close, closing, Some(process("curl", 4711)));
    let gone = moment(File::Absent, 3, 0);
    for us in [2_200_000, 2_600_000, 5_000_000] {
        tape.event(
            us,
            in_state(end, TcpState::FinWait1),
            What::Retransmit,
            gone,
            None,
        );
    }
    folder.write("rec.jsonl", &tape.ended());
    let json = said(&folder, &["report", "rec.jsonl", "--format", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        report["connections"][0]["sentence"],
        "still open: B closed first, by close() of curl[4711]; B's FIN is not acknowledged for \
         3.0 s, 3 retransmissions"
    );
}

#[test]
fn what_a_picture_has_no_room_for_is_counted() {
    let folder = Folder::new();
    let mut tape = Tape::new("web");
    tape.look(1000, &[], &[]);
    let many: Vec<Sample> = (0..300)
        .flat_map(|n| ends(20_000 + n, TcpState::Established))
        .collect();
    tape.look(2000, &many, &[]);
    folder.write("rec.jsonl", &tape.ended());
    for format in ["svg", "mermaid"] {
        let output = tcpwatch(&folder, &["export", "rec.jsonl", "--to", format]);
        let (text, message) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        let drawn = match format {
            "svg" => text.matches("class=\"card\"").count(),
            _ => text.matches("    box connection").count(),
        };
        let left = 300 - drawn;
        assert!(text.contains(&format!("{left} more connections left out")));
        assert!(message.contains(&format!("{left} of 300")), "{message}");
        assert!(format != "mermaid" || text.len() < 50_000);
        if format == "svg" {
            let height = text.split("height=\"").nth(1).unwrap();
            let height: u32 = height.split('"').next().unwrap().parse().unwrap();
            assert!((20_000..32_000).contains(&height), "{height}");
            assert!(text.contains("#300  ") && !text.contains("#1  "));
        }
    }
}

#[test]
fn a_picture_draws_first_what_did_not_end_in_good_order() {
    let folder = Folder::new();
    let mut tape = Tape::new("web").with_events();
    let [a, b] = ends(19_000, TcpState::Established);
    tape.look(500, &[waiting(), a, b], &[]);
    for n in 0..250 {
        let us = 1_000_000 + u64::from(n) * 10_000_000;
        close_by_events(&mut tape, 20_000 + n, us, "curl");
    }
    folder.write("rec.jsonl", &tape.ended());
    let svg = said(&folder, &["export", "rec.jsonl", "--to", "svg"]);
    let place = |number: u32| svg.find(&format!(">#{number}  "));
    assert!(place(1).is_some() && place(2).is_none());
    assert!(place(250) < place(251) && place(1) < place(250));
}

/// As many as memory would feel, if they were kept.
#[test]
fn a_long_night_is_no_long_list_in_memory() {
    const CONNECTIONS: u32 = 100_000;
    let folder = Folder::new();
    let mut tape = Tape::new("web").with_events();
    for n in 0..CONNECTIONS {
        tape.short_life(n);
    }
    folder.write("rec.jsonl", &tape.ended());
    drop(tape);
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(["report", "rec.jsonl"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (peak, printed) = tape::peak_memory_of(&mut child);
    let text = String::from_utf8(printed).unwrap();
    assert!(text.contains("\n100000 connections: "), "{}", &text[..2000]);
    let number = |line: &str| {
        let number = line.strip_prefix('#')?.split(' ').next()?;
        number.parse::<u32>().ok()
    };
    let mut numbers: Vec<u32> = text.lines().filter_map(number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=CONNECTIONS));
    // 20,000 are kept, of some kilobytes each.
    assert!(peak < 160 << 20, "{} MiB", peak >> 20);
}

#[test]
fn an_expression_chooses_what_is_told() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &leaky("python3").ended());
    let told = |expr: &str| -> Vec<u64> {
        let arguments = ["report", "rec.jsonl", "--format", "json", "--filter", expr];
        let output = tcpwatch(&folder, &arguments);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let told = report["connections"].as_array().unwrap().iter();
        let told: Vec<u64> = told.map(|it| it["conn"].as_u64().unwrap()).collect();
        let status = if told.is_empty() { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(status), "{expr}");
        told
    };
    assert_eq!(told("port 50008"), [1, 2]);
    assert_eq!(told("state close-wait"), [1]);
    assert_eq!(told("was close-wait"), [1, 2]);
    assert_eq!(told("not state close-wait"), [2]);
    assert_eq!(told("state close-wait and age > 30s"), [1]);
    assert!(told("state close-wait and age > 1h").is_empty());
    assert_eq!(told("close-wait-eof-unread or 40011"), [1, 2]);
    assert_eq!(told("PYTHON and local-port 50008 and open"), [1, 2]);
    assert_eq!(told("PYTHON and state close-wait"), [1]);
    assert_eq!(told("closed or not process python3"), [0; 0]);
    // Nobody has looked who held the client of #2.
    let arguments = ["report", "rec.jsonl", "--filter", "process nginx"];
    let unsure = String::from_utf8(tcpwatch(&folder, &arguments).stderr).unwrap();
    assert!(unsure.contains("1 connection more may match"), "{unsure}");
    let text = said(&folder, &["report", "rec.jsonl", "--filter", "port 40010"]);
    assert!(text.contains("connections of port 40010"), "{text}");
    let refused = tcpwatch(&folder, &["report", "rec.jsonl", "--filter", "prot 80"]);
    assert_eq!(refused.status.code(), Some(2));
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(
        refused.contains("column 6: '80' stands beside 'prot'"),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 1, "{refused}");
}

#[test]
fn lines_begin_with_a_connection_when_it_is_old_enough() {
    let folder = Folder::new();
    folder.write("rec.jsonl", &leaky("python3").ended());
    let replay = |expr: &str| {
        let arguments = ["replay", "rec.jsonl", "--format", "text", "--filter", expr];
        said(&folder, &arguments)
    };
    let old = replay("state close-wait and age > 30s");
    let first = old.lines().find(|line| line.contains("#1 ")).unwrap();
    assert!(first.starts_with("14:02:39.9"), "{old}");
    assert!(first.contains("CLOSE_WAIT"), "{old}");
    // It was wanted, and is told to its end.
    assert!(old.contains("14:03:00") && old.contains("#2 "), "{old}");
    let leaks = replay("finding close-wait-eof-unread");
    let found = leaks.find("close-wait-eof-unread").unwrap();
    assert!(leaks.find("#1 open").unwrap() < found, "{leaks}");
    assert!(!leaks.contains("40011"), "{leaks}");
}
