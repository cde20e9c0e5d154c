//! FIN_WAIT2 held and orphaned, a healthy server, and an ordinary user.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::copy::Copy;
use tcpwatch::source::clock;

use crate::sockets::{Pair, server, server_with_backlog};
use crate::watcher::{program_as_nobody, run_to_end};
use crate::{Report, alone, own_pid, until_it_is_old};

#[test]
fn a_fin_wait2_is_held_or_an_orphan() {
    alone(|| {
        let server = server();
        let mut held = Pair::to(&server);
        let client = held.client.as_ref().unwrap();
        client.shutdown(Shutdown::Both).unwrap();
        held.client_enters("FIN_WAIT2");
        let mut orphan = Pair::to(&server);
        orphan.close_client();
        orphan.client_enters("FIN_WAIT2");
        for pair in [&mut held, &mut orphan] {
            pair.server_reads_to_end();
        }
        let report = Report::of(&["--older-than", "0s"]);
        let found = report.findings("fin-wait2-held");
        assert_eq!(found.len(), 1, "{:#}", report.document);
        assert_eq!(found[0]["local"], held.a.to_string());
        assert_eq!(found[0]["owners"][0]["pid"], own_pid());
        let found = report.findings("fin-wait2-orphan");
        assert_eq!(found.len(), 1, "{:#}", report.document);
        assert_eq!(found[0]["local"], orphan.a.to_string());
        assert_eq!(found[0]["severity"], "info");
        // Two ends of two connections, in one group each: both are of one service.
        let leaked = report.group("close-wait-leaked");
        assert_eq!(leaked["count"], 2);
        assert_eq!(leaked["local"], server.local_addr().unwrap().to_string());
        assert_eq!(leaked["callers"], 1);
    });
}

#[test]
fn a_relay_that_closes_neither_side_is_a_pair() {
    alone(|| {
        let (front, back) = (server(), server());
        let mut caller = Pair::to(&front);
        // Nobody accepts it: its other end would be this process's too, and that is no relay.
        let client = TcpStream::connect(back.local_addr().unwrap()).unwrap();
        let backend = Pair::of(client);
        caller.close_client();
        caller.server_enters("CLOSE_WAIT");
        caller.server_reads_to_end();
        let client = backend.client.as_ref().unwrap();
        client.shutdown(Shutdown::Both).unwrap();
        backend.client_enters("FIN_WAIT2");
        let report = Report::of(&["--older-than", "0s"]);
        assert_eq!(report.status, 1);
        let found = report.findings("relay-pair-leaked");
        assert!(!found.is_empty(), "{:#}", report.document);
        let group = &report.document["groups"][found[0]["group"].as_u64().unwrap() as usize];
        assert_eq!(group["owners"][0]["pid"], own_pid());
        assert!(!group["sentence"].as_str().unwrap().is_empty());
    });
}

#[test]
fn a_full_queue_is_found_and_a_syn_that_meets_it_is_unanswered() {
    alone(|| {
        let server = server_with_backlog(1);
        let addr = server.local_addr().unwrap();
        let _waiting = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
        let report = Report::of(&[]);
        assert_eq!(report.codes(), ["listen-overflow"], "{:#}", report.document);
        assert_eq!(report.status, 1);
        let group = report.group("listen-overflow");
        assert_eq!(group["owners"][0]["pid"], own_pid());
        assert_eq!(group["local"], addr.to_string());
        assert_eq!(report.document["listeners"][0]["full"], true);
        // Nobody answers the next one; it is old enough after some seconds.
        thread::scope(|scope| {
            let begun = clock::now();
            scope.spawn(|| TcpStream::connect_timeout(&addr, Duration::from_secs(8)));
            until_it_is_old(begun, Duration::from_secs(5));
            let report = Report::of(&[]);
            assert_eq!(report.codes(), ["listen-overflow", "syn-unanswered"]);
        });
    });
}

#[test]
fn a_healthy_server_under_load_has_no_trouble() {
    alone(|| {
        let server = server();
        let addr = server.local_addr().unwrap();
        let is_enough = AtomicBool::new(false);
        let serve = || {
            while !is_enough.load(Ordering::SeqCst) {
                let (mut socket, _) = server.accept().unwrap();
                let mut request = Vec::new();
                socket.read_to_end(&mut request).unwrap();
                socket.write_all(&request).unwrap();
            }
        };
        let ask = move || {
            let mut socket = TcpStream::connect(addr).unwrap();
            socket.write_all(b"question").unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            // The last question may meet a server that has gone home.
            socket
                .set_read_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            let _ = socket.read_to_string(&mut answer);
        };
        thread::scope(|scope| {
            let server = scope.spawn(serve);
            scope.spawn(move || {
                while !server.is_finished() {
                    ask();
                }
            });
            let looks = (0..3).flat_map(|_| [&[][..], &["--older-than", "1s"]]);
            let reports: Vec<Report> = looks.map(Report::of).collect();
            is_enough.store(true, Ordering::SeqCst);
            for report in reports {
                assert_eq!(report.codes(), [""; 0], "{:#}", report.document);
                assert_eq!(report.status, 0);
                assert!(report.document["connections"].as_u64() > Some(0));
            }
        });
    });
}

/// One look as somebody who is not root.
fn as_nobody(copy: &Copy, arguments: &[&str]) -> Report {
    let mut all = vec!["doctor", "--format", "json"];
    all.extend(arguments);
    let output = run_to_end(program_as_nobody(&copy.program(), &all));
    let said = String::from_utf8_lossy(&output.stderr);
    Report {
        document: serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}")),
        status: output.status.code().unwrap(),
    }
}

#[test]
fn an_ordinary_user_is_told_what_is_wrong_and_what_can_not_be_seen() {
    let copy = Copy::new("doctor");
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        pair.server_reads_to_end();
        let report = as_nobody(&copy, &["--older-than", "0s"]);
        assert_eq!(report.codes(), ["close-wait-leaked"]);
        assert_eq!(report.status, 1);
        let finding = report.findings("close-wait-leaked")[0];
        assert_eq!(finding["owners"], Value::Null, "not visible is not none");
        let unseen = report.document["unseen"].to_string();
        assert!(unseen.contains("CAP_SYS_PTRACE"), "{unseen}");
        let sentence = &report.group("close-wait-leaked")["sentence"];
        let words = "not visible without CAP_SYS_PTRACE";
        assert!(sentence.as_str().unwrap().contains(words), "{sentence}");
    });
}

#[test]
fn what_is_hidden_is_not_without_trouble() {
    let copy = Copy::new("doctor");
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        let own = own_pid().to_string();
        let port = pair.b.port().to_string();
        let asked: [&[&str]; 2] = [&["--pid", &own], &["--pid", &own, "--port", &port]];
        for filter in asked {
            let report = as_nobody(&copy, &[filter, &["--older-than", "0s"]].concat());
            assert_eq!(report.codes(), [""; 0], "{:#}", report.document);
            assert_eq!(report.status, 2, "{:#}", report.document);
            assert_eq!(report.document["undecided"], 1);
            let unseen = report.document["unseen"].to_string();
            assert!(unseen.contains("CAP_SYS_PTRACE"), "{unseen}");
        }
        // Nobody has this number, and of another port nothing is hidden.
        let nobodys: [&[&str]; 2] = [&["--pid", "4194304"], &["--pid", &own, "--port", "1"]];
        for filter in nobodys {
            let report = as_nobody(&copy, &[filter, &["--older-than", "0s"]].concat());
            assert_eq!(report.status, 0, "{:#}", report.document);
            assert_eq!(report.document["undecided"], 0);
        }
    });
}

#[test]
fn a_filter_of_one_end_hides_no_trouble_of_the_other() {
    alone(|| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_enters("CLOSE_WAIT");
        let port = pair.b.port().to_string();
        let client = pair.a.port().to_string();
        let wanted: [&[&str]; 6] = [
            &["--port", &port],
            &["--local-port", &client],
            &["--state", "fin-wait2"],
            &["--state", "close-wait", "-4"],
            &["--host", "127.0.0.1"],
            &["--pid", &own_pid().to_string()],
        ];
        for filter in wanted {
            let report = Report::of(&[filter, &["--older-than", "0s"]].concat());
            assert_eq!(report.codes(), ["close-wait-eof-unread"], "{filter:?}");
            assert_eq!(report.status, 1);
        }
        let others: [&[&str]; 5] = [
            &["--port", "1"],
            &["--state", "established"],
            &["-6"],
            &["--host", "10.0.0.1"],
            &["--pid", "1"],
        ];
        for filter in others {
            let report = Report::of(&[filter, &["--older-than", "0s"]].concat());
            assert_eq!(report.codes(), [""; 0], "{filter:?}");
            assert_eq!(report.status, 0);
        }
    });
}
