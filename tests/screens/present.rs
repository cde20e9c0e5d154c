//! What was seen of an earlier state, or before events were heard, is not told as if it were so now;
//! and the details show the part of the history that is asked about.

use ratatui::crossterm::event::KeyCode;
use tcpwatch::model::event::{File, What};
use tcpwatch::model::{Body, Moment, Queues, Sample, SourceName, TcpState, Timer, TimerKind};
use tcpwatch::view::tui::Reaction;

use crate::build::{Story, at, in_state, mini, moment, process, sock, step, unread};
use crate::{closed_by_events, loopback, waiting_server};

/// Looks and events run; both ends were found open.
fn found_open() -> (Story, [Sample; 2]) {
    let mut story = Story::on_port("50008").running().with_events();
    let [a, b] = loopback(40_001, TcpState::Established);
    let timer = Timer {
        kind: TimerKind::Retransmit,
        deadline: at(2900),
    };
    let a = Sample {
        timer: Some(timer),
        retransmits: 3,
        queues: Queues::Stream {
            receive: 0,
            send: 1448,
        },
        ..a
    };
    story.look(1000, &[waiting_server(), a, b], &[]);
    (story, [a, b])
}

/// The row of an end that begins with `label`, in the text about one connection.
fn row(story: &mut Story, ms: u64, label: &str, nth: usize) -> String {
    let screen = story.screen(80, 100, ms).to_string();
    let mut rows = screen.lines().filter_map(|line| {
        let line = line.trim_matches('"').strip_prefix(' ')?;
        let rest = line.strip_prefix(label)?;
        Some(rest.trim().to_owned())
    });
    rows.nth(nth)
        .unwrap_or_else(|| panic!("no {label} in {screen}"))
}

#[test]
fn a_look_of_an_earlier_state_tells_nothing_of_the_present_one() {
    use TcpState::{Established, FinWait1};
    let (mut story, [a, _]) = found_open();
    story.press(KeyCode::Char('2'), 1000);
    assert_eq!(row(&mut story, 1100, "timer", 0), "retransmit, 1.8 s left");
    assert_eq!(
        row(&mut story, 1100, "as ss shows", 0),
        "Recv-Q 0, Send-Q 1448"
    );

    let closing = Moment {
        send: 700,
        ..moment(File::Closing, 3, 0)
    };
    let curl = Some(process("curl", 900));
    story.event(1_500_000, a, step(Established, FinWait1), closing, curl);
    let before = "- (looked at before this state)";
    assert_eq!(row(&mut story, 1501, "timer", 0), before);
    assert_eq!(row(&mut story, 1501, "as ss shows", 0), before);
    assert_eq!(
        row(&mut story, 1501, "resent", 0).split(',').next(),
        Some("- unanswered")
    );
    // The event has told of the queues.
    assert!(row(&mut story, 1501, "queues", 0).starts_with("0 unread, 699"));

    let waits = Sample {
        queues: Queues::Stream {
            receive: 0,
            send: 1,
        },
        ..in_state(a, FinWait1)
    };
    story.look(1600, &[], &[waits]);
    assert_eq!(row(&mut story, 1601, "timer", 0), "none runs");
    assert_eq!(
        row(&mut story, 1601, "as ss shows", 0),
        "Recv-Q 0, Send-Q 1"
    );
    assert!(row(&mut story, 1601, "resent", 0).starts_with("0 unanswered"));
}

#[test]
fn the_details_tell_no_timer_of_an_earlier_state() {
    use TcpState::{Established, FinWait1};
    let (mut story, [a, _]) = found_open();
    let screen = story.screen(80, 24, 1100).to_string();
    assert!(screen.contains("timer 1.8 s"), "{screen}");
    let closing = moment(File::Closing, 3, 0);
    story.event(1_500_000, a, step(Established, FinWait1), closing, None);
    let screen = story.screen(80, 24, 1501).to_string();
    assert!(!screen.contains("timer"), "{screen}");
}

#[test]
fn what_was_sent_again_is_counted_from_where_events_were_heard() {
    let (mut story, [a, _]) = found_open();
    story.press(KeyCode::Char('2'), 1000);
    let found = "3 unanswered, 0 seen since 14:02:01.000000";
    assert_eq!(row(&mut story, 1100, "resent", 0), found);
    let sent = moment(File::Held, 0, 0);
    story.event(1_200_000, a, What::Retransmit, sent, None);
    let once = "3 unanswered, 1 seen since 14:02:01.000000";
    assert_eq!(row(&mut story, 1300, "resent", 0), once);

    let lost = Body::Lost {
        count: Some(3),
        why: "ring full".into(),
    };
    story.observe(1400, SourceName::Bpf, lost);
    let at_least = "3 unanswered, in all at least 1";
    assert_eq!(row(&mut story, 1500, "resent", 0), at_least);
    // The other end has nothing that was seen before.
    let later = "0 unanswered, 0 seen since 14:02:01.400000";
    assert_eq!(row(&mut story, 1500, "resent", 1), later);
}

#[test]
fn of_an_end_whose_whole_life_was_heard_all_is_counted() {
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    closed_by_events(&mut story, false);
    story.press(KeyCode::Char('2'), 3000);
    assert_eq!(row(&mut story, 3000, "resent", 1), "in all 0");
}

/// Connection 1 has 14 bytes unread and is gone, connection 2 has 5.
#[test]
fn an_end_that_is_gone_has_nothing_unread() {
    use TcpState::Established;
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(40_001, Established);
    let [c, d] = loopback(40_002, Established);
    let all = [waiting_server(), a, unread(b, 14), c, unread(d, 5)];
    story.look(1000, &all, &[]);
    let copied = |story: &mut Story, ms| match story.press(KeyCode::Char('c'), ms) {
        Reaction::Copy(text) => text,
        other => panic!("{other:?}"),
    };
    assert!(copied(&mut story, 1100).contains("14 B unread"));
    story.gone(2000, a);
    story.gone(2000, b);
    let text = copied(&mut story, 3000);
    assert!(text.contains("gone") && !text.contains("unread"), "{text}");

    let tracker = &story.known.tracker;
    let mut unread = Vec::new();
    for connection in tracker.connections() {
        unread.extend(connection.visible().map(|(_, track)| track.unread()));
    }
    assert_eq!(unread, [None, None, Some(0), Some(5)]);
}

#[test]
fn the_history_follows_the_cursor() {
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, _] = closed_by_events(&mut story, false);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    story.type_keys("z", 4000);
    let marked = |story: &mut Story, size: (u16, u16)| -> Vec<String> {
        let screen = story.screen(size.0, size.1, 4000).to_string();
        let lines = screen.lines().map(|line| line.trim_matches('"'));
        let lines = lines.filter(|line| line.starts_with("\u{25bd}14:02"));
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    for (step, of) in [
        ("LAST_ACK -> gone", "14:02:01.999880"),
        ("CLOSE_WAIT -> LAST_ACK", "14:02:01.999860"),
    ] {
        story.type_keys(",", 4000);
        for size in [(80, 24), (120, 40)] {
            let lines = marked(&mut story, size);
            let [line] = &lines[..] else {
                panic!("{:?} at {size:?}", lines);
            };
            assert!(line.contains(step) && line.contains(of), "{line}");
        }
    }
    for (width, height) in [(120, 40), (80, 24)] {
        let screen = story.screen(width, height, 4000);
        insta::assert_snapshot!(format!("history_at_cursor_{width}x{height}"), screen);
    }
}

/// B leaks, and what is sent to it is sent again and again by A.
#[test]
fn the_step_into_what_was_found_stays_in_sight() {
    use TcpState::{CloseWait, Established, FinWait1, FinWait2};
    let mut story = Story::on_port("50008").running().with_events();
    let [a, b] = loopback(40_001, Established);
    story.look(1000, &[waiting_server(), a, b], &[]);
    let (closing, held) = (moment(File::Closing, 3, 0), moment(File::Held, 1, 1));
    let curl = Some(process("curl", 900));
    story.event(2_000_000, a, step(Established, FinWait1), closing, curl);
    story.event(2_000_020, b, step(Established, CloseWait), held, None);
    let absent = moment(File::Absent, 3, 0);
    story.event(2_000_040, a, step(FinWait1, FinWait2), absent, None);
    let read = Sample {
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        ..in_state(b, CloseWait)
    };
    let waits = mini(
        sock(a.id.tuple.local, a.id.tuple.remote, FinWait2),
        at(62_000),
    );
    story.look(2100, &[], &[waits, read]);
    let sent = Moment {
        send: 900,
        ..moment(File::Held, 1, 0)
    };
    for n in 0..6 {
        let us = 3_000_000 + n * 1_000_000;
        story.event(us, b, What::Retransmit, sent, None);
        story.event(us + 500_000, b, What::ResetReceived, sent, None);
    }
    story.look(44_000, &[], &[]);
    for (width, height) in [(120, 40), (80, 24)] {
        let screen = story.screen(width, height, 45_000);
        let text = screen.to_string();
        assert!(text.contains("B ESTABLISHED -> CLOSE_WAIT"), "{text}");
        insta::assert_snapshot!(format!("history_of_leak_{width}x{height}"), screen);
    }
}
