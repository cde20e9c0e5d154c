//! Thousands of connections as quickly as they can be made: every step of every one, nothing lost,
//! nothing mixed up.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::life::{A, B, Life, fact, me};
use crate::scene::with_events;
use crate::sockets::{Between, Pair, server, stamped};
use crate::story::{Story, describe, ns};

const MANY: usize = 3000;

/// The calls of a short life.
struct Calls {
    connecting: Between,
    accepting: Between,
    closing: Between,
    reading: Between,
    last: Between,
}

fn short_life(server: &std::net::TcpListener) -> (Pair, Calls) {
    let addr = server.local_addr().unwrap();
    let (connecting, client) = stamped(|| std::net::TcpStream::connect(addr).unwrap());
    let mut pair = Pair::of(client);
    let accepting = stamped(|| pair.accept(server)).0;
    let closing = pair.close_client();
    let reading = stamped(|| pair.server_reads_to_end()).0;
    let last = pair.close_server();
    let calls = Calls {
        connecting,
        accepting,
        closing,
        reading,
        last,
    };
    (pair, calls)
}

/// What they did. The last steps are awaited only for all together, so they have one upper bound.
fn truth(pair: Pair, calls: &Calls, all_done: u64) -> Life {
    let mut life = Life::of(pair);
    life.connected(calls.connecting, calls.accepting);
    let done = |since: Between| Between {
        earliest: since.earliest,
        latest: all_done,
    };
    let me = me();
    life.enters(
        A,
        fact("FIN_WAIT1", calls.closing, "close").by("close", &me),
    );
    life.enters(A, fact("FIN_WAIT2", done(calls.closing), "ack_received"));
    let time_wait = fact("TIME_WAIT", done(calls.last), "fin_received");
    life.enters(A, time_wait.of_a_mini_socket());
    let read = calls.reading.since(calls.closing);
    life.enters(B, fact("CLOSE_WAIT", read, "fin_received").unread(0));
    life.enters(B, fact("LAST_ACK", calls.last, "close").by("close", &me));
    life.enters(B, fact("CLOSE", done(calls.last), "ack_received"));
    life.ends("orderly", A, "close");
    life
}

/// The numbers that the lines of one connection bear.
fn by_connection(story: &Story) -> BTreeMap<u64, Vec<Value>> {
    let mut lines: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for line in &story.lines {
        if let Some(conn) = line["conn"].as_u64() {
            lines.entry(conn).or_default().push(line.clone());
        }
    }
    lines
}

#[test]
fn a_burst_is_told_whole() {
    with_events(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let played: Vec<(Pair, Calls)> = (0..MANY).map(|_| short_life(&server)).collect();
        let all_done = played
            .iter()
            .map(|(pair, _)| pair.client_enters("TIME_WAIT").latest)
            .max()
            .unwrap();
        let closed = Cell::new(0);
        scene.watcher.wait_for("the end of all", |line| {
            closed.set(closed.get() + usize::from(line["type"] == "closed"));
            closed.get() == MANY
        });
        let story = scene.watcher.finish();
        assert_eq!(story.all("open").count(), MANY);
        assert_eq!(story.all("closed").count(), MANY);
        assert_eq!(story.all("transition").count(), 10 * MANY);

        let mut lines = by_connection(&story);
        let opened: BTreeMap<String, u64> = story
            .all("open")
            .map(|line| (line["a"].as_str().unwrap().to_owned(), ns(line, "conn")))
            .collect();
        let mut cookies = BTreeSet::new();
        for (pair, calls) in played {
            let life = truth(pair, &calls, all_done);
            let conn = opened[&life.pair.a.to_string()];
            let own = lines.remove(&conn).unwrap();
            let first = own[0]["type"] == "open" && own[0]["b"] == *life.pair.b.to_string();
            assert!(first, "\n{}", describe(&own));
            let own = Story { lines: own };
            crate::scene::tells_exactly(&own, conn, &life);
            cookies.extend(own.cookies(conn));
        }
        // One for each end of each life, and none of them twice.
        assert_eq!(cookies.len(), 2 * MANY);
        assert!(lines.is_empty());
    });
}
