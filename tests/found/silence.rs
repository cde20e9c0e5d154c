//! Peers that do not answer: SYNs and FINs into silence, a window that stays shut, an end that has not
//! heard of the other's.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::sockets::{Pair, abort_on_close, deafen, server, server_with_backlog};
use crate::{Scene, in_both_ways};

/// Two wait where one may, and the third is dropped.
#[test]
fn a_full_accept_queue() {
    in_both_ways("a full accept queue", |way| {
        let server = server_with_backlog(0);
        let addr = server.local_addr().unwrap();
        let mut scene = Scene::on(way, &[]);
        let first = Pair::of(std::net::TcpStream::connect(addr).unwrap());
        scene.watcher.sees_open(&first);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        assert_eq!(connect(&client, &addr), Err(Errno::INPROGRESS));
        let pair = Pair::half(client.into(), addr);
        let found = scene.finds(&pair, "a", "syn-unanswered");
        assert_eq!(found["severity"], "warn");
        scene.expected.insert("listen-overflow -".to_owned());
        let full = scene.watcher.wait_for("listen-overflow", |line| {
            line["type"] == "finding" && line["code"] == "listen-overflow"
        });
        assert_eq!(full["local"], addr.to_string());
        assert_eq!(full["severity"], "error");
        scene.ends();
    });
}

#[test]
fn a_first_fin_that_nobody_acknowledges() {
    in_both_ways("FIN_WAIT1", |way| {
        let server = server();
        let mut scene = Scene::on(way, &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        deafen(pair.server.as_ref().unwrap());
        pair.close_client();
        let found = scene.finds(&pair, "a", "fin-wait1-stuck");
        assert_eq!(found["state"], "FIN_WAIT1");
        scene.ends();
    });
}

#[test]
fn a_second_fin_that_nobody_acknowledges() {
    in_both_ways("LAST_ACK", |way| {
        let server = server();
        let mut scene = Scene::on(way, &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        pair.shut_client();
        scene.watcher.sees_held_fin_wait2(&pair);
        deafen(pair.client.as_ref().unwrap());
        pair.close_server();
        let found = scene.finds(&pair, "b", "last-ack-stuck");
        assert_eq!(found["state"], "LAST_ACK");
        scene.ends();
    });
}

#[test]
fn a_window_that_stays_shut() {
    in_both_ways("zero window", |way| {
        let server = server();
        let mut scene = Scene::on(way, &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        let client = pair.client.as_mut().unwrap();
        client.set_nonblocking(true).unwrap();
        // More than both buffers hold.
        let full = client.write_all(&vec![7; 64 << 20]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let found = scene.finds(&pair, "a", "zero-window");
        assert_eq!(found["severity"], "warn");
        // Read to the end, it opens again.
        let client = pair.client.as_mut().unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        pair.server.as_mut().unwrap().read_to_end(&mut all).unwrap();
        scene.is_over("zero-window");
        scene.ends();
    });
}

/// The reset of one end never comes to the other.
#[test]
fn an_end_that_has_not_heard() {
    in_both_ways("half-open", |way| {
        let server = server();
        let mut scene = Scene::on(way, &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        deafen(pair.client.as_ref().unwrap());
        abort_on_close(pair.server.as_ref().unwrap());
        pair.close_server();
        if way == "events" {
            scene.finds(&pair, "b", "reset-linger0");
        }
        let found = scene.finds(&pair, "a", "ends-disagree");
        assert_eq!(found["state"], "ESTABLISHED");
        scene.ends();
    });
}
