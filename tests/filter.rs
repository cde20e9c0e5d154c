//! The filter language, asked of connections that are made up here, and its page in docs/.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "common/build.rs"]
mod build;

use std::fs;

use build::{Story, at, endpoint, holder, in_state, let_go, listener, mini, sock, unread};
use tcpwatch::diagnosis::Severity;
use tcpwatch::diagnosis::until::{FailOn, Progress, Target, Until};
use tcpwatch::model::filter::{Expr, Filter};
use tcpwatch::model::{Body, Look, Observation, Seen, SourceName, TcpState};
use tcpwatch::record::FilterText;
use tcpwatch::timeline::Tracker;
use tcpwatch::view::facts::{self, Truth};
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::{Asked, facts::CODES};

fn read(text: &str) -> Expr {
    match facts::parse(text) {
        Ok(Some(expr)) => expr,
        other => panic!("{text}: {other:?}"),
    }
}

/// #1: curl has closed, nginx has 14 bytes unread and leaks. #2: its client is elsewhere, its holders
/// are hidden. #3: closed in good order, over IPv6. #4: opened and held, nobody has looked by whom.
fn scene() -> Story {
    use TcpState::{CloseWait, Established, FinWait2, TimeWait};
    let mut story = Story::with(Filter::default(), ColorMode::Off, Tracker::default()).running();
    let here = |port| endpoint("127.0.0.1", port);
    let (a, b) = (
        sock(here(40_000), here(50_008), Established),
        sock(here(50_008), here(40_000), Established),
    );
    let mut near = sock(
        endpoint("10.0.0.7", 50_008),
        endpoint("192.168.7.2", 51_000),
        Established,
    );
    near.inode = Some(7001);
    let (six, port) = (endpoint("::1", 40_001), endpoint("::1", 8080));
    let (c, d) = (sock(six, port, Established), sock(port, six, Established));
    let (e, f) = (
        sock(here(40_002), here(9000), Established),
        sock(here(9000), here(40_002), Established),
    );
    story.look(1000, &[listener(here(50_008), 0), a, b], &[]);
    story.look(2000, &[near], &[]);
    story.look(3000, &[c, d], &[]);
    story.held(3100, a, &[holder("curl", (4711, 1), &[3])]);
    story.held(3101, b, &[holder("nginx", (812, 1), &[9])]);
    story.held_as(3102, near, &[], Seen::Partly);
    story.held(3103, c, &[holder("wget", (4712, 1), &[3])]);
    story.held(3104, d, &[holder("node", (900, 1), &[7])]);
    let orphan = mini(let_go(in_state(a, FinWait2)), at(65_000));
    let leaks = unread(in_state(b, CloseWait), 14);
    story.look(5000, &[], &[orphan, leaks]);
    story.look(
        6000,
        &[],
        &[mini(let_go(in_state(c, TimeWait)), at(66_000))],
    );
    story.gone(6100, d);
    story.look(30_000, &[e, f], &[]);
    story.look(40_000, &[], &[]);
    story
}

/// The connections of which it is so, and those of which nobody can tell.
fn asked(story: &Story, text: &str) -> (Vec<u64>, Vec<u64>) {
    let expr = read(text);
    let known = &story.known;
    let with = |wanted| {
        let all = known.tracker.connections();
        let such = all.filter(|connection| {
            let (diagnosis, tracker) = (&known.diagnosis, &known.tracker);
            facts::truth(&expr, connection, diagnosis, tracker, at(40_000)) == wanted
        });
        such.map(|connection| connection.id().0).collect()
    };
    (with(Truth::Yes), with(Truth::Unknown))
}

#[test]
fn every_field_is_asked_of_each_end() {
    let story = scene();
    for (text, so, unknown) in [
        ("port 50008", &[1, 2][..], &[][..]),
        ("port 40000-40002", &[1, 3, 4], &[]),
        ("local-port 51000", &[2], &[]),
        ("remote-port 51000", &[2], &[]),
        ("local-port 50008 and remote-port 40000", &[1], &[]),
        ("local-port 50008 and remote-port 40002", &[], &[]),
        ("host 10.0.0.0/8", &[2], &[]),
        ("host 192.168.7.2 or ::1", &[2, 3], &[]),
        ("local-host 192.168.0.0/16", &[2], &[]),
        (
            "local-host 10.0.0.0/8 and remote-host 192.168.0.0/16",
            &[2],
            &[],
        ),
        ("local-host 10.0.0.7 and remote-host 10.0.0.7", &[], &[]),
        ("ipv6", &[3], &[]),
        ("ipv4", &[1, 2, 4], &[]),
        ("state close-wait", &[1], &[]),
        ("state fin-wait-2", &[1], &[]),
        ("state close-wait and state fin-wait-2", &[], &[]),
        ("state established", &[2, 4], &[]),
        ("state close", &[3], &[]),
        ("state connected", &[1, 2, 3, 4], &[]),
        ("was established", &[1, 2, 3, 4], &[]),
        ("was last-ack", &[3], &[]),
        ("pid 812", &[1], &[2, 4]),
        ("process nginx,node", &[1, 3], &[2, 4]),
        ("process ngin", &[], &[2, 4]),
        ("NGIN", &[1], &[2, 4]),
        ("process curl and state close-wait", &[], &[]),
        ("process nginx and state close-wait", &[1], &[]),
        ("age > 30s and state close-wait", &[1], &[]),
        ("age > 35s and state close-wait", &[], &[1]),
        ("age > 36s and state close-wait", &[], &[]),
        ("age < 36s and state close-wait", &[1], &[]),
        // It was there before anybody looked.
        ("age > 1h and host 10.0.0.7", &[], &[]),
        ("unread > 0", &[1], &[]),
        ("unread = 14", &[1], &[]),
        ("unread >= 1k", &[], &[]),
        ("unread 0", &[2, 4], &[]),
        ("unacked > 0", &[], &[]),
        ("finding any", &[1], &[]),
        ("finding close-wait", &[1], &[]),
        ("finding zero-window", &[], &[]),
        ("severity >= info", &[1], &[]),
        ("conn 2,4-9", &[2, 4], &[]),
        ("open", &[1, 2, 4], &[]),
        ("closed", &[3], &[]),
        ("verdict orderly", &[3], &[]),
        ("verdict aborted,unknown", &[], &[]),
    ] {
        let found = asked(&story, text);
        assert_eq!(found, (so.to_vec(), unknown.to_vec()), "{text}");
        let all = [1, 2, 3, 4].into_iter();
        let others: Vec<u64> = all
            .filter(|conn| !so.contains(conn) && !unknown.contains(conn))
            .collect();
        let contrary = asked(&story, &format!("not ({text})"));
        assert_eq!(contrary, (others, unknown.to_vec()), "not ({text})");
    }
}

#[test]
fn what_is_wanted_is_asked_of_all_that_is_known() {
    let story = scene();
    let filter = |text: &str| Filter {
        expr: facts::parse(text).unwrap(),
        ..Filter::default()
    };
    let counts = |text: &str| {
        let filter = filter(text);
        let asked = Asked::of(&filter, &story.known, at(40_000));
        let all = asked.tracker.connections();
        let findings = asked.diagnosis.findings();
        let listeners = asked.tracker.listeners();
        (
            all.filter(|connection| asked.wants(connection)).count(),
            findings
                .filter(|finding| asked.wants_finding(finding))
                .count()
                > 0,
            listeners
                .filter(|listener| asked.wants_listener(listener))
                .count(),
        )
    };
    assert_eq!(counts(""), (4, true, 1));
    assert_eq!(counts("port 50008"), (2, true, 1));
    assert_eq!(counts("port 8080"), (1, false, 0));
    assert_eq!(counts("state listen"), (0, false, 1));
    assert_eq!(counts("not closed and unread > 0"), (1, true, 0));
    assert_eq!(counts("process node"), (1, false, 0));
}

#[test]
fn a_filter_is_told_and_recorded_with_its_expression() {
    let filter = Filter {
        ports: "80".parse().unwrap(),
        expr: facts::parse("age > 1m or closed").unwrap(),
        ..Filter::default()
    };
    assert_eq!(filter.to_string(), "port 80 and (age > 1m or closed)");
    let written = serde_json::to_string(&FilterText::from(&filter)).unwrap();
    let read: FilterText = serde_json::from_str(&written).unwrap();
    assert_eq!(read.text, "port 80 and (age > 1m or closed)");
    assert_eq!(facts::parse(read.expr()).unwrap(), filter.expr);
    let kept = Filter {
        expr: facts::parse("port 80 and age > 1m").unwrap(),
        ..Filter::default()
    };
    assert_eq!(kept.recorded().to_string(), "port 80");
    assert!(kept.asked_later().is_some() && kept.recorded().asked_later().is_none());
}

#[test]
fn a_wait_is_not_over_while_nobody_can_tell() {
    let story = scene();
    let waited = |text: &str, moments: &[u64]| {
        let filter = Filter {
            expr: facts::parse(text).unwrap(),
            ..Filter::default()
        };
        let mut until = Until::new(Target::Closed, None, FailOn::default());
        for &ms in moments {
            let look = Observation {
                host: 0,
                at: at(ms),
                source: SourceName::SockDiag,
                body: Body::Unchanged {
                    until: at(ms),
                    look: Look::Whole,
                },
            };
            let asked = Asked::of(&filter, &story.known, at(ms));
            until.take(&look, &story.known, &asked);
        }
        let is_reached = until.progress() == Progress::Reached;
        (until.seen(), until.unknown(), is_reached)
    };
    assert_eq!(waited("closed", &[40_000]), (1, 0, true));
    assert_eq!(waited("process nginx", &[40_000]), (1, 2, false));
    // Hidden for good: it is over, and who waits has to say that it can't be told.
    assert_eq!(waited("process nginx and 51000", &[40_000]), (0, 1, true));
    // Not looked up yet.
    assert_eq!(waited("process nginx and 9000", &[40_000]), (0, 1, false));
    // Time decides it, though nothing is observed of it.
    let old = "age > 35s and state close-wait";
    assert_eq!(waited(old, &[40_000]), (0, 1, false));
    assert_eq!(waited(old, &[40_000, 41_000]), (1, 0, false));
    assert_eq!(waited(old, &[40_000, 40_010]), (0, 1, false));
}

#[test]
fn what_is_not_known_of_the_healthy_alarms_nobody() {
    let story = scene();
    let undecided = |text: &str| -> Vec<u64> {
        let filter = Filter {
            expr: facts::parse(text).unwrap(),
            ..Filter::default()
        };
        let asked = Asked::of(&filter, &story.known, at(40_000));
        let all = asked.tracker.connections();
        let such = all.filter(|connection| asked.is_undecided(connection, Severity::Info));
        such.map(|connection| connection.id().0).collect()
    };
    assert!(undecided("process ngin").is_empty());
    assert_eq!(undecided("age > 35s and state close-wait"), [1]);
}

/// The lines of the fenced blocks of that kind.
fn examples(page: &str, kind: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            is_inside = fence == kind;
        } else if is_inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[test]
fn every_example_of_the_page_is_read() {
    let page = fs::read_to_string("docs/filter.md").unwrap();
    let allowed = examples(&page, "filter");
    assert!(allowed.len() > 25, "{allowed:?}");
    for text in allowed {
        read(&text);
    }
    let refused = examples(&page, "refused");
    assert!(refused.len() > 8, "{refused:?}");
    for line in refused {
        let (text, rest) = line.split_at(26);
        let (column, message) = rest.split_once(": ").unwrap();
        let text = text.trim_end_matches(' ');
        let error = facts::parse(text).unwrap_err();
        assert_eq!(error.column(text).to_string(), column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    let codes = fs::read_to_string("docs/diagnosis.md").unwrap();
    for code in CODES {
        assert!(codes.contains(code) && facts::parse(code).is_ok(), "{code}");
    }
}

#[test]
fn every_field_has_its_row_on_the_page() {
    let page = fs::read_to_string("docs/filter.md").unwrap();
    let refused = facts::parse("xyzzy 80").unwrap_err().to_string();
    let (_, fields) = refused.split_once("(there are ").unwrap();
    for field in fields.trim_end_matches(')').split(", ") {
        assert!(page.contains(&format!("`{field}`")), "{field}");
    }
}
