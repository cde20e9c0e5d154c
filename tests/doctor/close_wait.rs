//! Leaked in three ways, never accepted, shared after a fork, and a half-close in use.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tcpwatch::source::clock;

use crate::sockets::{Pair, server, while_nobody_closes};
use crate::{Report, alone, own_pid, text_of, until_it_is_old};

/// A connection whose client has sent this and closed.
fn closed_by_the_client(data: &[u8]) -> (std::net::TcpListener, Pair) {
    let server = server();
    let mut pair = Pair::to(&server);
    pair.client.as_mut().unwrap().write_all(data).unwrap();
    pair.close_client();
    pair.server_enters("CLOSE_WAIT");
    (server, pair)
}

fn is_held_by_us(owners: &Value) {
    assert_eq!(owners[0]["pid"], own_pid(), "{owners}");
    assert!(!owners[0]["fds"].as_array().unwrap().is_empty(), "{owners}");
}

/// The code is found at once with no threshold, after a second with one, and not with a long one.
fn is_found(code: &str, data: &[u8], prepare: impl FnOnce(&mut Pair) + Send) {
    alone(move || {
        let (_server, mut pair) = closed_by_the_client(data);
        let closed = clock::now();
        prepare(&mut pair);
        let at_once = Report::of(&["--older-than", "0s"]);
        assert_eq!(at_once.codes(), [code], "{:#}", at_once.document);
        assert_eq!(at_once.status, 1);
        let finding = at_once.findings(code)[0];
        assert_eq!(finding["state"], "CLOSE_WAIT");
        assert_eq!(finding["local"], pair.b.to_string());
        assert_eq!(
            finding["unread"],
            if code.ends_with("-unread") && !code.contains("eof") {
                data.len()
            } else {
                0
            }
        );
        is_held_by_us(&finding["owners"]);
        is_held_by_us(&at_once.group(code)["owners"]);
        assert_eq!(finding["group"], 0);

        until_it_is_old(closed, Duration::from_millis(1100));
        let later = Report::of(&["--older-than", "1s"]);
        assert_eq!(later.codes(), [code], "{:#}", later.document);
        let age = later.findings(code)[0]["age_ns"].as_u64().unwrap();
        let most = clock::now().since(closed).as_nanos();
        assert!(u128::from(age) <= most + 20_000_000, "{age} of {most}");
        assert!(age >= 1_000_000_000, "{age}");

        let young = Report::of(&["--older-than", "1h"]);
        assert_eq!(young.codes(), [""; 0], "{:#}", young.document);
        assert_eq!(young.status, 0);
        assert_eq!(young.document["younger"], 1);
        let (text, _) = text_of(&["--older-than", "1h"]);
        let words = "1 connection in CLOSE_WAIT or FIN_WAIT2 for less than 1 h (--older-than)";
        assert!(text.contains(words), "{text}");
        drop(pair);
    });
}

#[test]
fn leaked_with_unread_data() {
    is_found("close-wait-unread", b"four thousand", |_| {});
}

#[test]
fn leaked_with_an_unread_end_of_file() {
    is_found("close-wait-eof-unread", b"", |_| {});
}

#[test]
fn read_to_the_end_and_forgotten() {
    is_found("close-wait-leaked", b"hello", Pair::server_reads_to_end);
}

#[test]
fn never_accepted() {
    alone(|| {
        let server = server();
        let pairs: Vec<Pair> = (0..3)
            .map(|_| {
                let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
                let mut pair = Pair::of(client);
                pair.close_client();
                pair.server_enters("CLOSE_WAIT");
                pair
            })
            .collect();
        let report = Report::of(&["--older-than", "0s"]);
        assert_eq!(report.codes(), ["close-wait-never-accepted"]);
        assert_eq!(report.status, 1);
        let group = report.group("close-wait-never-accepted");
        assert_eq!(group["count"], pairs.len());
        assert_eq!(group["severity"], "error");
        // Nobody holds them; the process that should accept them is named.
        is_held_by_us(&group["owners"]);
        let listener = &report.document["listeners"][0];
        assert_eq!(listener["local"], server.local_addr().unwrap().to_string());
        assert_eq!(listener["never_accepted"]["close_wait"], pairs.len());
        is_held_by_us(&listener["owners"]);
        let (text, status) = text_of(&["--older-than", "0s", "--severity", "error"]);
        assert_eq!(status, 1);
        assert!(text.contains("never accepted: 3 in CLOSE_WAIT"), "{text}");
    });
}

/// A process that holds a copy of the socket until it is told to end.
struct Copyist(Child);

impl Copyist {
    fn of(socket: &TcpStream) -> Self {
        let copy = OwnedFd::from(socket.try_clone().unwrap());
        let mut command = Command::new("cat");
        // It reads from a pipe that nobody writes to, and has the socket as its standard error.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::from(copy));
        Self(while_nobody_closes(|| command.spawn()).unwrap())
    }
}

impl Drop for Copyist {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn shared_by_forty_processes() {
    alone(|| {
        let (_server, mut pair) = closed_by_the_client(b"");
        pair.server_reads_to_end();
        let socket = pair.server.as_ref().unwrap();
        let copyists: Vec<Copyist> = (0..40).map(|_| Copyist::of(socket)).collect();
        let report = Report::of(&["--older-than", "0s"]);
        assert_eq!(report.codes(), ["close-wait-leaked", "close-wait-shared"]);
        let group = report.group("close-wait-shared");
        assert_eq!(group["count"], 1);
        let owners = group["owners"].as_array().unwrap();
        assert_eq!(owners.len(), 41, "the forty and this process");
        for copyist in &copyists {
            let pid = copyist.0.id();
            assert!(
                owners
                    .iter()
                    .any(|it| it["pid"] == pid && it["fds"][0] == 2)
            );
        }
        let (text, _) = text_of(&["--older-than", "0s"]);
        assert!(text.contains("41 processes"), "{text}");
        assert!(text.contains("more: cat["), "{text}");
    });
}

#[test]
fn a_half_close_in_use_is_worth_knowing_and_no_more() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.shut_client();
        pair.client_enters("FIN_WAIT2");
        let report = Report::of(&["--older-than", "0s"]);
        assert_eq!(report.codes(), [""; 0], "{:#}", report.document);
        assert_eq!(report.status, 0);
        let finding = report.findings("close-wait-half-close")[0];
        assert_eq!(finding["severity"], "info");
        let (text, status) = text_of(&["--older-than", "0s"]);
        assert_eq!(status, 0);
        assert!(text.contains("no trouble in 1 connection"), "{text}");
        assert!(text.contains("--severity info shows all"), "{text}");
        let (text, status) = text_of(&["--older-than", "0s", "--severity", "info"]);
        assert_eq!(status, 1);
        assert!(text.contains("close-wait-half-close"), "{text}");
        pair.server.as_mut().unwrap().write_all(b"answer").unwrap();
    });
}
