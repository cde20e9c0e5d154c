//! Who holds an end, and what is wrong, on the screen.

use tcpwatch::model::{Holder, Queues, Sample, Seen, TcpState};

use crate::build::{Story, endpoint, holder, in_state, let_go, listener, mini, unread};
use crate::{SERVER, at, loopback, waiting_server};

/// All ends of a server have one port, and each has its own file.
fn with_inode(sample: Sample, client: u16) -> Sample {
    Sample {
        inode: Some(200_000 + u32::from(client)),
        ..sample
    }
}

/// A connection that is opened at `ms`, held by these, and closed by A a second later.
fn leaked(story: &mut Story, client: u16, ms: u64, holders: [&[Holder]; 2]) -> [Sample; 2] {
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

fn begin() -> Story {
    let mut story = Story::on_port("50008").running();
    story.look(1000, &[waiting_server()], &[]);
    story.held(1001, waiting_server(), &[holder("python3", (812, 1), &[3])]);
    story
}

/// Leaked by a server; shared by its forty children; never accepted; one whose holder is hidden; one
/// that was closed at last.
fn story() -> Story {
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
fn the_pane_of_findings() {
    let mut story = story();
    story.type_keys("f", 48_000);
    pictures("findings_worst", &mut story, 48_000);
    story.type_keys("jj", 48_000);
    pictures("findings_third", &mut story, 48_000);
    story.type_keys("G", 48_000);
    pictures("findings_over", &mut story, 48_000);
}
