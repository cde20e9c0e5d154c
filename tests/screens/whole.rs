//! One connection with all the room, and the pane of its details beside the others.

use std::time::Duration;

use ratatui::crossterm::event::KeyCode;
use tcpwatch::model::event::{File, ResetReason, What};
use tcpwatch::model::{
    Body, Counters, Holder, Info, InfoAnswer, Moment, Program, Queues, Sample, Seen, Shutdown,
    SourceName, SourceState, TcpState, Timer, TimerKind,
};

use crate::build::{
    Story, at, endpoint, holder, in_state, killed, mini, moment, process, sock, step, unread,
};
use crate::{closed_by_a, closed_by_events, loopback, opened_by_events, waiting_server};

/// The chosen connection in every size; where it is longer than the smallest, its other pages too.
fn snapshot(name: &str, story: &mut Story, ms: u64) {
    story.press(KeyCode::Enter, ms);
    for (width, height) in [(200, 60), (120, 40), (80, 24)] {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

/// The pages behind the first one, at 80x24.
fn pages(name: &str, story: &mut Story, ms: u64) {
    let mut before = story.screen(80, 24, ms).to_string();
    for page in 2.. {
        story.press(KeyCode::PageDown, ms);
        let screen = story.screen(80, 24, ms);
        if screen.to_string() == before {
            return;
        }
        before = screen.to_string();
        insta::assert_snapshot!(format!("{name}_80x24_page{page}"), screen);
    }
}

/// All that a look can say of a socket.
fn told_in_full(sample: Sample) -> Sample {
    Sample {
        shutdown: Some(Shutdown::from_kernel(0)),
        cgroup: Some(4_294_967_297_123),
        ..sample
    }
}

fn listening() -> Story {
    let mut story = Story::on_port("50008").running();
    story.look(1000, &[waiting_server()], &[]);
    story
}

#[test]
fn both_ends_open() {
    let mut story = listening();
    let [a, b] = loopback(40_001, TcpState::Established).map(told_in_full);
    let b = unread(b, 14);
    let timer = Timer {
        kind: TimerKind::Retransmit,
        deadline: at(10_300),
    };
    let a = Sample {
        timer: Some(timer),
        retransmits: 2,
        queues: Queues::Stream {
            receive: 0,
            send: 1448,
        },
        ..a
    };
    story.look(2000, &[a, b], &[]);
    story.held(2002, a, &[holder("curl", (900, 1), &[5])]);
    story.held(2003, b, &[holder("nginx", (812, 1), &[3])]);
    snapshot("whole_open", &mut story, 10_000);
    // Values that count change in their places.
    let first = story.screen(80, 24, 10_000).to_string();
    let later = story.screen(80, 24, 10_100).to_string();
    let labels = |screen: &str| -> Vec<String> {
        let lines = screen.lines().skip(8);
        lines.map(|line| line.chars().take(13).collect()).collect()
    };
    assert_eq!(labels(&first), labels(&later));
    assert!(first.contains("retransmit, 300 ms left"), "{first}");
    assert!(later.contains("retransmit, 200 ms left"), "{later}");
}

#[test]
fn a_leak_with_its_holders() {
    let mut story = listening();
    let [a, b] = loopback(40_001, TcpState::Established).map(told_in_full);
    story.look(2000, &[a, b], &[]);
    story.held(2002, a, &[holder("curl", (900, 1), &[5])]);
    let first = [holder("guacd", (700, 1), &[6, 7])];
    story.held(2003, b, &first);
    let waits = mini(in_state(a, TcpState::FinWait2), at(63_000));
    let leaks = Sample {
        shutdown: Some(Shutdown::from_kernel(1)),
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        ..told_in_full(in_state(b, TcpState::CloseWait))
    };
    story.look(3000, &[], &[waits, leaks]);
    let mut all = vec![holder("guacd", (700, 1), &[6, 7])];
    all.extend((0..11).map(|n| holder("guacd", (701 + n, 700), &[6])));
    story.held(5500, b, &all);
    story.look(44_000, &[], &[]);
    snapshot("whole_leaked", &mut story, 45_000);
    pages("whole_leaked", &mut story, 45_000);
}

#[test]
fn closed_in_good_order() {
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, _] = closed_by_events(&mut story, false);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    snapshot("whole_orderly", &mut story, 4000);
    pages("whole_orderly", &mut story, 4000);
}

/// Data is sent again and again, and the server is killed with four thousand bytes unread.
fn aborted() -> Story {
    use TcpState::{Close, Established};
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let sent = Moment {
        send: 900,
        bytes_acked: 5001,
        bytes_received: 77,
        ..moment(File::Held, 0, 0)
    };
    for us in [2_000_000, 2_200_000, 2_600_000, 3_400_000] {
        story.event(us, a, What::Retransmit, sent, None);
    }
    let python = killed(process("python3", 4711), 9);
    let unread = Moment {
        bytes_received: 5000,
        bytes_acked: 77,
        ..moment(File::Closing, 3, 4000)
    };
    let us = 4_000_000;
    story.event(us, b, step(Established, Close), unread, Some(python));
    let reset = What::ResetSent(ResetReason::AbortOnClose);
    story.event(us + 20, b, reset, unread, None);
    story.event(us + 30, a, What::ResetReceived, sent, None);
    let refused = Moment {
        error: Some(104),
        ..sent
    };
    story.event(us + 40, a, step(Established, Close), refused, None);
    story
}

#[test]
fn aborted_with_what_each_end_lost() {
    let mut story = aborted();
    snapshot("whole_aborted", &mut story, 6000);
    pages("whole_aborted", &mut story, 6000);
}

/// IPv6, its other end elsewhere; found half closed, its counters are asked for.
#[test]
fn one_end_is_not_visible() {
    let mut story = Story::on_port("50008").running();
    let far = endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 51_000);
    let near = endpoint("2001:db8::7", 50_008);
    let waits = sock(near, far, TcpState::CloseWait);
    story.look(1000, &[waits], &[]);
    let counters = Counters {
        state: TcpState::CloseWait,
        data_sent: Duration::from_millis(23_004),
        data_received: Duration::from_millis(22_004),
        ack_received: Duration::from_secs(20),
        keepalive: false,
        backoff: 0,
        bytes_received: Some(101),
        bytes_acked: Some(4000),
    };
    let info = Info {
        id: waits.id,
        begun: at(1001),
        answer: InfoAnswer::Counters(counters),
    };
    story.observe(1002, SourceName::Info, Body::Info(info));
    snapshot("whole_far", &mut story, 3000);
    pages("whole_far", &mut story, 3000);
}

#[test]
fn without_privileges() {
    let mut story = closed_by_a();
    let why = "needs CAP_BPF and CAP_PERFMON (run as root)";
    let off = SourceState::Off { why: why.into() };
    story.observe(9200, SourceName::Bpf, Body::Source(off));
    let [_, b] = loopback(37_834, TcpState::CloseWait);
    story.held_as(9300, b, &[], Seen::Partly);
    snapshot("whole_hidden", &mut story, 14_000);
}

/// A program calls itself, and is called, what it likes.
fn with_long_words() -> Holder {
    let plain = holder("evil", (4711, 1), &(0..64).collect::<Vec<u32>>());
    let program = Program {
        user: Some("some\u{1b}[31mbody".into()),
        cmdline: Some(format!("/opt/\u{202e}{}\nend", "x".repeat(400)).into()),
        ..Program::clone(&plain.program)
    };
    Holder {
        program: program.into(),
        ..plain
    }
}

/// A subflow, whose holder has a command line longer than the screen.
#[test]
fn multipath_and_long_words() {
    let mut story = listening();
    let [a, b] = loopback(40_001, TcpState::Established).map(|end| Sample {
        multipath: true,
        cgroup: Some(u64::MAX),
        ..end
    });
    story.look(2000, &[a, b], &[]);
    story.held(2003, b, &[with_long_words()]);
    snapshot("whole_multipath", &mut story, 4000);
    pages("whole_multipath", &mut story, 4000);
    let all = story.screen(200, 60, 4000).to_string();
    assert!(!all.contains(['\u{1b}', '\u{202e}']), "{all}");
    assert!(all.contains(r"\u{a}end"), "{all}");
}

/// Keys of the text do not choose another connection, and the choice goes on.
#[test]
fn the_text_is_paged_and_the_choice_is_not() {
    let mut story = listening();
    for port in 40_001..40_020 {
        story.look(2000, &loopback(port, TcpState::Established), &[]);
    }
    story.press(KeyCode::Enter, 3000);
    let top = story.screen(80, 24, 3000).to_string();
    story.press(KeyCode::PageDown, 3000);
    let page = story.screen(80, 24, 3000).to_string();
    assert_ne!(top, page);
    let title = |screen: &str| {
        screen
            .lines()
            .find(|it| it.contains("connection"))
            .map(|it| it[..40].to_owned())
    };
    assert_eq!(title(&top), title(&page));
    story.press(KeyCode::PageUp, 3000);
    assert_eq!(story.screen(80, 24, 3000).to_string(), top);
}

#[test]
fn it_is_drawn_in_every_size() {
    let mut story = aborted();
    story.press(KeyCode::Enter, 6000);
    for width in [40, 41, 67, 109, 110, 111] {
        for height in [10, 15, 16, 31] {
            story.press(KeyCode::PageDown, 6000);
            let screen = story.screen(width, height, 6000).to_string();
            assert!(screen.contains(" connection 1"), "{screen}");
        }
        story.press(KeyCode::PageUp, 6000);
    }
}
