//! FIN and acknowledgement in both directions: who closed, by which call, when, and that close() and
//! shutdown() are told apart at every FIN.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::net::sockopt;

use crate::life::{A, B, End, Life, fact, me};
use crate::scene::in_every_way;
use crate::sockets::{Between, server, stamped};

fn close_and_close(first: End) {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        life.closes_first(first);
        scene.sees(&life, first, "FIN_WAIT2");
        life.closes_last(first.other());
        life.ends("orderly", first, "close");
        scene.tells(&[&life]);
    });
}

#[test]
fn a_close_and_a_close() {
    close_and_close(A);
}

#[test]
fn a_close_and_a_close_by_the_server_first() {
    close_and_close(B);
}

/// The first FIN is acknowledged by the second one's segment, so that FIN_WAIT2 lasts no time, and
/// no mini-socket is seen in it.
#[test]
fn two_closes_in_a_row() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let first = life.drops(A);
        let close_wait = life.reaches(B, "CLOSE_WAIT", first);
        let last = life.drops(B);
        let time_wait = life.reaches(A, "TIME_WAIT", last);
        let gone = life.vanishes(B, last);
        life.enters(A, fact("FIN_WAIT1", first, "close").by("close", &me()));
        life.enters(A, fact("FIN_WAIT2", time_wait.since(first), "ack_received"));
        // Whether the peer has acknowledged the FIN by itself before is the machine's affair.
        let time_wait = fact("TIME_WAIT", time_wait, "fin_received");
        life.enters(A, time_wait.of_a_mini_socket());
        life.enters(B, fact("CLOSE_WAIT", close_wait, "fin_received").unread(0));
        life.enters(B, fact("LAST_ACK", last, "close").by("close", &me()));
        life.enters(B, fact("CLOSE", gone, "ack_received"));
        life.ends("orderly", A, "close");
        scene.tells(&[&life]);
    });
}

/// shutdown(), and the FIN goes through.
fn shuts_first(life: &mut Life, end: End, how: Shutdown) -> Between {
    let call = stamped(|| life.socket(end).shutdown(how).unwrap()).0;
    let name = match how {
        Shutdown::Both => "shutdown_rdwr",
        _ => "shutdown_wr",
    };
    life.enters(end, fact("FIN_WAIT1", call, name).by(name, &me()));
    life.fin_goes_through(end, call, 0);
    call
}

#[test]
fn a_shutdown_an_answer_and_a_close_in_time_wait() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        shuts_first(&mut life, A, Shutdown::Write);
        scene.sees(&life, A, "FIN_WAIT2");
        life.pair.server_reads_to_end();
        life.socket(B).write_all(b"answer").unwrap();
        life.closes_last(B);
        let mut answer = String::new();
        life.socket(A).read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        let freed = life.drops(A);
        life.is_marked(A, "freed", freed);
        life.ends("orderly", A, "shutdown");
        scene.tells(&[&life]);
    });
}

#[test]
fn a_shutdown_of_both_sides_and_a_close_in_fin_wait2() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        shuts_first(&mut life, A, Shutdown::Both);
        scene.sees(&life, A, "FIN_WAIT2");
        let closing = life.drops(A);
        life.is_marked(A, "close_call", closing).by = Some(me());
        // Nothing of it moves; a mini-socket has taken its place.
        life.closes_last(B);
        life.ends("orderly", A, "shutdown");
        scene.tells(&[&life]);
    });
}

/// Both calls lead to LAST_ACK, with the same mask: only the descriptor tells.
#[test]
fn a_shutdown_answers_a_close() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        life.closes_first(A);
        scene.sees(&life, A, "FIN_WAIT2");
        let call = stamped(|| life.socket(B).shutdown(Shutdown::Write).unwrap()).0;
        let last_ack = fact("LAST_ACK", call, "shutdown_wr").by("shutdown_wr", &me());
        life.enters(B, last_ack);
        life.last_fin_goes_through(B, call);
        let freed = life.drops(B);
        life.is_marked(B, "freed", freed);
        life.ends("orderly", A, "close");
        scene.tells(&[&life]);
    });
}

/// As much as fits into both ends' buffers, and a FIN that can't be sent behind it.
fn fills_up_and_shuts(life: &mut Life, end: End) -> Between {
    let mut socket = life.socket(end);
    socket.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = socket.write_all(&[0; 65536]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
    let call = stamped(|| socket.shutdown(Shutdown::Write).unwrap()).0;
    let fin_wait1 = fact("FIN_WAIT1", call, "shutdown_wr").by("shutdown_wr", &me());
    life.enters(end, fin_wait1);
    call
}

fn reads_to_end(mut socket: &TcpStream) -> Between {
    let mut all = Vec::new();
    stamped(|| socket.read_to_end(&mut all).unwrap()).0
}

/// Both windows are shut when both shut down, so neither FIN goes out. The end that reads first gets
/// the other's FIN while its own still waits: CLOSING, until the other reads too.
#[test]
fn a_simultaneous_close() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        for end in [A, B] {
            sockopt::set_socket_send_buffer_size(life.socket(end), 65536).unwrap();
        }
        fills_up_and_shuts(&mut life, A);
        fills_up_and_shuts(&mut life, B);
        let b_reads = reads_to_end(life.socket(B));
        let closing = life.reaches(B, "CLOSING", b_reads);
        let fin_wait2 = life.reaches(A, "FIN_WAIT2", b_reads);
        life.enters(B, fact("CLOSING", closing, "fin_received"));
        life.enters(A, fact("FIN_WAIT2", fin_wait2, "ack_received"));
        scene.sees(&life, B, "CLOSING");
        let a_reads = reads_to_end(life.socket(A));
        for (end, cause) in [(A, "fin_received"), (B, "ack_received")] {
            let time_wait = life.reaches(end, "TIME_WAIT", a_reads);
            life.enters(end, fact("TIME_WAIT", time_wait, cause));
        }
        for end in [A, B] {
            let freed = life.drops(end);
            life.is_marked(end, "freed", freed);
        }
        life.ends_somehow("simultaneous");
        scene.tells(&[&life]);
    });
}
