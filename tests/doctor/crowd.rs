//! Three thousand leaked sockets: one group, every one counted, and an answer well within a second.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tcpwatch::source::clock;

use crate::sockets::{Pair, server_with_backlog};
use crate::{Report, alone, own_pid, text_of};

const MANY: usize = 3000;

/// As many descriptors as there may be.
fn raise_the_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let enough = limit.current.is_none_or(|most| most > 2 * MANY as u64);
    assert!(enough, "no room for {MANY} descriptors");
}

fn leak(server: &TcpListener) -> Vec<TcpStream> {
    (0..MANY)
        .map(|_| {
            let mut pair = Pair::to(server);
            pair.close_client();
            pair.server_enters("CLOSE_WAIT");
            pair.server.take().unwrap()
        })
        .collect()
}

#[test]
fn three_thousand_leaked_sockets_are_one_sentence() {
    raise_the_limit();
    alone(|| {
        let server = server_with_backlog(64);
        let leaked = leak(&server);
        let begun = clock::now();
        let report = Report::of(&["--older-than", "0s"]);
        let time = clock::now().since(begun);
        assert_eq!(report.status, 1);
        let group = report.group("close-wait-eof-unread");
        assert_eq!(group["count"], MANY);
        assert_eq!(group["conns"].as_array().unwrap().len(), MANY);
        assert_eq!(group["owners"][0]["pid"], own_pid());
        assert_eq!(group["owners"][0]["fds"].as_array().unwrap().len(), MANY);
        // Not optimised and on a busy machine; docs/performance.md has the measured time.
        assert!(time < Duration::from_secs(10), "{time:?}");

        let (text, _) = text_of(&["--older-than", "0s"]);
        assert!(
            text.contains("3000 connections from 127.0.0.1 to"),
            "{text}"
        );
        assert!(
            text.contains("and 2995 more: --verbose lists them"),
            "{text}"
        );
        let (text, _) = text_of(&["--older-than", "0s", "--verbose"]);
        let listed = text.lines().filter(|line| line.contains(" B 127.0.0.1:"));
        assert_eq!(listed.count(), MANY);
        drop(leaked);
    });
}
