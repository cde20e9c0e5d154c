//! The exchange of one connection as a ladder.

use tcpwatch::model::event::{File, ResetReason, What};
use tcpwatch::model::{Body, Moment, Sample, SourceName, TcpState};

use crate::build::{
    Story, endpoint, holder, in_state, killed, let_go, mini, moment, process, sock, step, unread,
};
use crate::{
    NGINX, PYTHON, at, closed_by_a, closed_by_events, loopback, opened_by_events, waiting_server,
};

/// In every size, with the ladder opened.
fn snapshot(name: &str, story: &mut Story, ms: u64) {
    story.type_keys("3", ms);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("ladder_{name}_{width}x{height}"), screen);
    }
}

fn by_events() -> Story {
    let mut story = Story::on_port("50008").running().with_events();
    story.look(900, &[waiting_server()], &[]);
    story
}

fn by_looks() -> Story {
    let mut story = Story::on_port("50008").running();
    story.look(1000, &[waiting_server()], &[]);
    story
}

#[test]
fn an_orderly_close_by_events() {
    let mut story = by_events();
    let [a, _] = closed_by_events(&mut story, false);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    snapshot("orderly", &mut story, 4000);
}

/// The same, as looks show it: some steps at once, and some not at all.
#[test]
fn an_orderly_close_by_looks() {
    let mut story = by_looks();
    let [a, b] = loopback(37_834, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    let waits = mini(in_state(a, TcpState::TimeWait), at(65_000));
    story.look(5000, &[], &[waits, in_state(b, TcpState::LastAck)]);
    story.gone(5100, b);
    snapshot("orderly_by_looks", &mut story, 14_000);
}

/// All six steps of a graceful shutdown, one by one.
#[test]
fn a_graceful_shutdown_has_six_steps() {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
    let mut story = by_events();
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let (nginx, python) = (process(NGINX.0, NGINX.1), process(PYTHON.0, PYTHON.1));
    let held = |shutdown, receive| moment(File::Held, shutdown, receive);
    let us = 2_000_000;
    story.event(us, a, step(Established, FinWait1), held(2, 0), Some(nginx));
    story.event(us + 20, b, step(Established, CloseWait), held(1, 1), None);
    story.event(us + 60, a, step(FinWait1, FinWait2), held(2, 0), None);
    let us = 2_450_000;
    story.event(us, b, step(CloseWait, LastAck), held(3, 0), Some(python));
    let fin = Moment {
        fin_received: Some(true),
        ..held(3, 1)
    };
    story.event(us + 30, a, step(FinWait2, Close), fin, None);
    story.found(us + 40, mini(in_state(a, TcpState::TimeWait), at(62_450)));
    story.event(us + 50, b, step(LastAck, Close), held(3, 0), None);
    story.event(us + 400, b, What::Freed, held(3, 0), Some(python));
    story.event(us + 700, a, What::Freed, held(3, 0), Some(nginx));
    snapshot("six_steps", &mut story, 4000);
}

/// A has shut its sending side and waits for an answer.
#[test]
fn a_half_close() {
    use TcpState::{CloseWait, Established, FinWait1, FinWait2};
    let mut story = by_events();
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let nginx = Some(process(NGINX.0, NGINX.1));
    let us = 2_000_000;
    let shut = moment(File::Held, 2, 0);
    story.event(us, a, step(Established, FinWait1), shut, nginx);
    let came = moment(File::Held, 1, 15);
    story.event(us + 20, b, step(Established, CloseWait), came, None);
    story.event(us + 60, a, step(FinWait1, FinWait2), shut, None);
    story.look(2100, &[], &[unread(in_state(b, CloseWait), 14)]);
    snapshot("half_close", &mut story, 14_000);
}

/// B is killed with data unread; A had sent the same again and again.
fn killed_with_data_unread() -> Story {
    use TcpState::{Close, Established};
    let mut story = by_events();
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
    story
}

#[test]
fn a_reset_with_data_unread() {
    snapshot("reset_unread", &mut killed_with_data_unread(), 6000);
}

#[test]
fn an_abort_by_linger_0() {
    use TcpState::{Close, Established};
    let mut story = by_events();
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let lingers_not = Moment {
        lingers_not: true,
        ..moment(File::Closing, 3, 0)
    };
    let us = 1_500_000;
    let nginx = Some(process(NGINX.0, NGINX.1));
    story.event(us, a, step(Established, Close), lingers_not, nginx);
    let held = moment(File::Held, 0, 0);
    story.event(us + 30, b, What::ResetReceived, held, None);
    let reset = Moment {
        error: Some(104),
        ..held
    };
    story.event(us + 40, b, step(Established, Close), reset, None);
    snapshot("linger_0", &mut story, 1800);
}

#[test]
fn a_simultaneous_close() {
    use TcpState::{Close, Closing, Established, FinWait1};
    let mut story = by_events();
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let shut = moment(File::Held, 2, 0);
    let (nginx, python) = (process(NGINX.0, NGINX.1), process(PYTHON.0, PYTHON.1));
    let us = 1_500_000;
    story.event(us, a, step(Established, FinWait1), shut, Some(nginx));
    story.event(us + 5, b, step(Established, FinWait1), shut, Some(python));
    let both = moment(File::Held, 3, 1);
    story.event(us + 30, a, step(FinWait1, Closing), both, None);
    story.event(us + 32, b, step(FinWait1, Closing), both, None);
    let fin = Moment {
        fin_received: Some(true),
        ..both
    };
    story.event(us + 60, a, step(Closing, Close), fin, None);
    story.event(us + 62, b, step(Closing, Close), fin, None);
    for end in [a, b] {
        story.found(
            us + 100,
            mini(in_state(end, TcpState::TimeWait), at(61_500)),
        );
    }
    snapshot("simultaneous", &mut story, 1800);
}

/// Nobody called: the kernel closed for it.
#[test]
fn a_killed_process() {
    use TcpState::{CloseWait, Established, FinWait1, FinWait2};
    let mut story = by_events();
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let nginx = Some(killed(process(NGINX.0, NGINX.1), 15));
    let us = 1_500_000;
    let closing = moment(File::Closing, 3, 0);
    story.event(us, a, step(Established, FinWait1), closing, nginx);
    let held = moment(File::Held, 1, 1);
    story.event(us + 20, b, step(Established, CloseWait), held, None);
    let absent = moment(File::Absent, 3, 0);
    story.event(us + 60, a, step(FinWait1, FinWait2), absent, None);
    snapshot("killed", &mut story, 9000);
}

#[test]
fn one_end_is_not_visible() {
    use TcpState::{Close, CloseWait, Established, LastAck, Listen, SynRecv};
    let mut story = by_events();
    let far = endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 51_000);
    let near = sock(endpoint("2001:db8::7", 50_008), far, Established);
    let python = Some(process(PYTHON.0, PYTHON.1));
    let absent = moment(File::Absent, 0, 0);
    story.event(1_000_000, near, step(Listen, SynRecv), absent, None);
    story.event(1_000_300, near, step(SynRecv, Established), absent, None);
    let held = moment(File::Held, 1, 1);
    story.event(2_000_000, near, step(Established, CloseWait), held, None);
    let closing = moment(File::Closing, 3, 0);
    story.event(5_500_000, near, step(CloseWait, LastAck), closing, python);
    story.event(5_500_400, near, step(LastAck, Close), closing, None);
    snapshot("not_visible", &mut story, 7000);
}

/// The connection was there when we came, with A's FIN out already.
#[test]
fn found_in_the_middle() {
    let mut story = Story::on_port("50008").running();
    let [a, b] = loopback(37_834, TcpState::Established);
    let waits = mini(in_state(a, TcpState::FinWait2), at(61_000));
    let unread = unread(in_state(b, TcpState::CloseWait), 14);
    story.look(1000, &[waiting_server(), waits, unread], &[]);
    let waits = mini(in_state(a, TcpState::TimeWait), at(69_100));
    story.look(9100, &[], &[waits, in_state(b, TcpState::LastAck)]);
    snapshot("found", &mut story, 12_000);
}

/// Within one look A's FIN was acknowledged and B sent its own: which was first is not known.
#[test]
fn an_order_that_is_not_known() {
    let mut story = by_looks();
    let [a, b] = loopback(37_834, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    let waits = mini(in_state(a, TcpState::FinWait2), at(65_000));
    story.look(5000, &[], &[waits, in_state(b, TcpState::LastAck)]);
    snapshot("order_unknown", &mut story, 5500);
}

/// The kernel drops A, and B is left alone in CLOSE_WAIT.
#[test]
fn a_fin_wait2_that_ran_out() {
    let mut story = by_looks();
    let [a, b] = loopback(37_834, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    let waits = mini(in_state(a, TcpState::FinWait2), at(65_000));
    story.look(5000, &[], &[waits, in_state(b, TcpState::CloseWait)]);
    story.gone(65_050, a);
    story.look(95_000, &[], &[]);
    snapshot("ran_out", &mut story, 95_000);
}

/// A child holds a copy: `close()` in the parent sends nothing.
#[test]
fn a_copy_in_a_child() {
    let mut story = by_looks();
    let [a, b] = loopback(37_834, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    let parent = holder("python3", (4711, 1), &[7]);
    let child = holder("python3", (4712, 4711), &[7]);
    story.held(2100, b, std::slice::from_ref(&parent));
    story.held(2600, b, &[parent, child.clone()]);
    story.held(4000, b, &[child]);
    let waits = let_go(in_state(a, TcpState::FinWait2));
    story.look(6000, &[], &[waits, in_state(b, TcpState::CloseWait)]);
    story.look(39_000, &[], &[]);
    snapshot("fork", &mut story, 39_000);
}

#[test]
fn a_narrow_ladder_and_notes_of_the_lab() {
    let mut story = closed_by_a();
    for (ms, text) in [(9000, "close(3)"), (9200, "\u{1b}[2Jread 0 bytes\nbye")] {
        let note = Body::Note {
            pid: 4242,
            text: text.into(),
        };
        story.observe(ms, SourceName::Lab, note);
    }
    story.type_keys("3", 14_000);
    for (width, height) in [(40, 24), (60, 16), (40, 10)] {
        let screen = story.screen(width, height, 14_000);
        insta::assert_snapshot!(format!("ladder_small_{width}x{height}"), screen);
    }
    let mut story = killed_with_data_unread();
    story.type_keys("3", 6000);
    let screen = story.screen(40, 40, 6000);
    insta::assert_snapshot!("ladder_small_40x40", screen);
}

/// What is above the pane comes into sight, and stays there while more comes.
#[test]
fn a_long_ladder_scrolls() {
    let mut story = by_looks();
    let [a, b] = loopback(37_834, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    // Nothing but marks: as many as there is room for, and more.
    for n in 0..3000_u64 {
        let held = moment(File::Held, 0, 0);
        let end: Sample = if n % 2 == 0 { a } else { b };
        story.event(2_100_000 + n * 1000, end, What::ResetReceived, held, None);
    }
    story.type_keys("3", 6000);
    let text = |story: &mut Story| story.screen(80, 24, 6000).to_string();
    assert!(!text(&mut story).contains("are not kept"));
    for _ in 0..40 {
        story.press(ratatui::crossterm::event::KeyCode::PageUp, 6000);
    }
    let top = text(&mut story);
    assert!(top.contains("(A: 1436 older resets"), "{top}");
}

/// B had sent its FIN when A heard of its own: one segment did both.
#[test]
fn a_fin_that_acknowledges_is_one_arrow() {
    let mut story = by_events();
    let [a, _] = closed_by_events(&mut story, true);
    story.found(1_999_950, mini(in_state(a, TcpState::TimeWait), at(62_000)));
    snapshot("fin_ack", &mut story, 4000);
    let text = story.screen(120, 60, 4000).to_string();
    assert_eq!(text.matches(" FIN, ACK ").count(), 1, "{text}");
    // That of the handshake, and the last.
    assert_eq!(text.matches(" ACK \u{2500}").count() - 2, 2, "{text}");
}

/// What each look showed first was the effect: its cause stands above it all the same.
#[test]
fn looks_do_not_put_effects_above_causes() {
    let mut story = by_looks();
    let [a, b] = loopback(37_834, TcpState::Established);
    story.look(2000, &[a, b], &[]);
    let waits = mini(in_state(a, TcpState::TimeWait), at(65_000));
    story.look(5000, &[], &[waits]);
    story.look(5100, &[], &[in_state(b, TcpState::LastAck)]);
    snapshot("forced", &mut story, 6000);
    let text = story.screen(120, 60, 6000).to_string();
    let row = |words: &str| text.find(words).unwrap();
    assert!(row("│ (CLOSE_WAIT)") < row("│ LAST_ACK"), "{text}");
    assert!(row("│ LAST_ACK") < row("TIME_WAIT │"), "{text}");
}

/// On loopback the kernel tells that a reset came before it tells that it was sent.
fn reset_told_late() -> Story {
    use TcpState::{Close, Established};
    let mut story = by_events();
    let [a, b] = opened_by_events(&mut story, 1_000_000);
    let unread = moment(File::Closing, 3, 4000);
    let held = moment(File::Held, 0, 0);
    let refused = Moment {
        error: Some(104),
        ..held
    };
    let us = 2_000_000;
    let python = process(PYTHON.0, PYTHON.1);
    story.event(us + 589, b, step(Established, Close), unread, Some(python));
    story.event(us + 649, a, What::ResetReceived, held, None);
    story.event(us + 653, a, step(Established, Close), refused, None);
    let reset = What::ResetSent(ResetReason::AbortOnClose);
    story.event(us + 678, b, reset, unread, None);
    story
}

#[test]
fn a_reset_that_is_told_late_stands_above_its_arrival() {
    let mut story = reset_told_late();
    snapshot("reset_told_late", &mut story, 4000);
    story.type_keys("2", 4000);
    let screen = story.screen(120, 80, 4000);
    insta::assert_snapshot!("whole_reset_told_late_120x80", screen);
}
