//! A peer that no longer hears: what is sent again, what times out, and an orphan that runs out.
//!
//! An end is made deaf by a filter on its own socket, so that all of it stays on loopback and needs
//! no privilege.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::net::sockopt;

use crate::life::{A, B, Life, fact, me};
use crate::scene::{Way, in_every_way, with_events};
use crate::sockets::{Pair, deafen, let_hear, server, stamped};

#[test]
fn data_that_is_never_acknowledged_times_out() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        sockopt::set_tcp_user_timeout(life.socket(A), 300).unwrap();
        deafen(life.socket(B));
        let (writing, written) = stamped(|| life.socket(A).write_all(b"lost"));
        written.unwrap();
        let gone = life.vanishes(A, writing);
        life.enters(A, fact("CLOSE", gone.since(writing), "timeout"));
        life.is_marked(A, "retransmit", gone.since(writing));
        let_hear(life.socket(B));
        let closing = life.drops(B);
        let reset = life.vanishes(B, closing);
        life.enters(B, fact("FIN_WAIT1", closing, "close").by("close", &me()));
        life.enters(B, fact("CLOSE", reset, "reset_received"));
        life.is_marked(B, "reset_received", reset);
        let freed = life.drops(A);
        life.is_marked(A, "freed", freed);
        life.ends_somehow("timed-out");
        scene.tells(&[&life]);
    });
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        deafen(&server);
        let (client, call) = connects_in_vain(server.local_addr().unwrap());
        let mut life = Life::of(Pair::half(client, server.local_addr().unwrap()));
        life.enters(A, fact("SYN_SENT", call, "connect").by("connect", &me()));
        scene.sees(&life, A, "SYN_SENT");
        let gone = life.vanishes(A, call);
        life.enters(A, fact("CLOSE", gone, "timeout"));
        life.ends_somehow("timed-out");
        scene.tells(&[&life]);
    });
}

fn connects_in_vain(to: std::net::SocketAddr) -> (TcpStream, crate::sockets::Between) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_tcp_user_timeout(&client, 500).unwrap();
    let (call, begun) = stamped(|| connect(&client, &to));
    assert_eq!(begun, Err(rustix::io::Errno::INPROGRESS));
    (client.into(), call)
}

#[test]
fn what_is_sent_again_is_marked() {
    with_events(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        deafen(life.socket(B));
        let (writing, written) = stamped(|| life.socket(A).write_all(b"again"));
        written.unwrap();
        let conn = scene.conn(&life);
        scene.watcher.wait_for("a retransmission", |line| {
            line["conn"] == conn && line["what"] == "retransmit"
        });
        let_hear(life.socket(B));
        let mut data = [0; 5];
        let reading = stamped(|| life.socket(B).read_exact(&mut data).unwrap()).0;
        life.is_marked(A, "retransmit", reading.since(writing));
        life.closes_first(A);
        life.closes_last(B);
        life.ends("orderly", A, "close");
        scene.tells(&[&life]);
    });
}

/// FIN_WAIT1 lasts, so that close() and shutdown() are told apart in it, and a close() in it moves
/// nothing.
#[test]
fn a_fin_that_has_to_be_sent_again() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        deafen(life.socket(B));
        let call = stamped(|| life.socket(A).shutdown(Shutdown::Write).unwrap()).0;
        let fin_wait1 = fact("FIN_WAIT1", call, "shutdown_wr");
        life.enters(A, fin_wait1.by("shutdown_wr", &me()));
        scene.sees(&life, A, "FIN_WAIT1");
        let closing = life.drops(A);
        life.is_marked(A, "close_call", closing).by = Some(me());
        if scene.way == Way::Events {
            let conn = scene.conn(&life);
            scene.watcher.wait_for("a retransmission", |line| {
                line["conn"] == conn && line["what"] == "retransmit"
            });
        }
        let_hear(life.socket(B));
        life.fin_goes_through(A, call, 0);
        let all = life.steps[A as usize].last().unwrap().when.since(call);
        life.is_marked(A, "retransmit", all);
        scene.sees(&life, A, "FIN_WAIT2");
        life.closes_last(B);
        life.ends("orderly", A, "shutdown");
        scene.tells(&[&life]);
    });
}

/// The kernel drops an orphan's FIN_WAIT2 after a while, and says so to nobody.
#[test]
fn an_orphan_that_runs_out() {
    in_every_way(|stage| {
        std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "1").unwrap();
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let closing = life.closes_first(A);
        scene.sees(&life, A, "FIN_WAIT2");
        let gone = life.vanishes(A, closing);
        life.enters(A, fact("CLOSE", gone, "timeout").of_a_mini_socket());
        scene.sees(&life, A, "CLOSE");
        let call = life.drops(B);
        life.enters(B, fact("LAST_ACK", call, "close").by("close", &me()));
        let reset = life.vanishes(B, call);
        life.enters(B, fact("CLOSE", reset, "reset_received"));
        life.is_marked(B, "reset_received", reset);
        life.ends("orphaned", A, "close");
        scene.tells(&[&life]);
    });
}
