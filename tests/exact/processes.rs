//! Where processes matter: a socket that several hold, and a process that ends and has the kernel
//! close for it.

use std::io::Write;

use rustix::process::Signal;

use crate::actor::{Act, Actor};
use crate::life::{A, B, Life, fact, me};
use crate::scene::in_every_way;
use crate::sockets::{Between, server};

/// The client is given to a process of its own: this one closes its copy, and nothing moves.
fn gives_away(life: &mut Life) -> Actor {
    let actor = Actor::holding(life.socket(A));
    life.drops(A);
    assert_eq!(life.pair.client_state(), Some("ESTABLISHED"));
    assert_eq!(life.pair.server_state(), Some("ESTABLISHED"));
    actor
}

#[test]
fn a_close_of_a_copy_is_nothing_and_the_last_one_is_a_close() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let mut child = gives_away(&mut life);
        let call = child.does(Act::Close);
        life.enters(
            A,
            fact("FIN_WAIT1", call, "close").by("close", &child.who()),
        );
        life.fin_goes_through(A, call, 0);
        scene.sees(&life, A, "FIN_WAIT2");
        life.closes_last(B);
        life.ends("orderly", A, "close");
        scene.tells(&[&life]);
    });
}

#[test]
fn a_shutdown_by_one_holder_is_one_for_all() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let mut child = Actor::holding(life.socket(A));
        let call = child.does(Act::ShutWrite);
        let fin_wait1 = fact("FIN_WAIT1", call, "shutdown_wr");
        life.enters(A, fin_wait1.by("shutdown_wr", &child.who()));
        life.fin_goes_through(A, call, 0);
        scene.sees(&life, A, "FIN_WAIT2");
        // The first of two to close, and the last one.
        child.does(Act::Close);
        assert_eq!(life.pair.client_state(), Some("FIN_WAIT2"));
        let closing = life.drops(A);
        life.is_marked(A, "close_call", closing).by = Some(me());
        life.closes_last(B);
        life.ends("orderly", A, "shutdown");
        scene.tells(&[&life]);
    });
}

/// The only holder ends, in its own way, by this signal if any.
fn ends_with_its_process(signal: Option<u64>, end: impl Fn(&mut Actor) -> Between + Sync) {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let mut child = gives_away(&mut life);
        let ending = end(&mut child);
        let mut fin_wait1 = fact("FIN_WAIT1", ending, "process_exit").by("exit", &child.who());
        fin_wait1.signal = signal;
        life.enters(A, fin_wait1);
        life.fin_goes_through(A, ending, 0);
        scene.sees(&life, A, "FIN_WAIT2");
        life.closes_last(B);
        life.ends("orderly", A, "exit");
        life.ending.as_mut().unwrap().signal = signal;
        scene.tells(&[&life]);
    });
}

#[test]
fn a_process_that_is_killed() {
    ends_with_its_process(Some(9), |child| child.dies_of(Signal::KILL));
}

#[test]
fn a_process_that_is_terminated() {
    ends_with_its_process(Some(15), |child| child.dies_of(Signal::TERM));
}

#[test]
fn a_process_that_exits() {
    ends_with_its_process(None, |child| child.does(Act::Exit));
}

#[test]
fn a_process_that_is_killed_with_data_unread() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        life.socket(B).write_all(b"twelve bytes").unwrap();
        assert_eq!(life.socket(A).peek(&mut [0; 100]).unwrap(), 12);
        let mut child = gives_away(&mut life);
        let killing = child.dies_of(Signal::KILL);
        let gone = life.vanishes(B, killing);
        let reset = fact("CLOSE", killing, "reset_sent").by("exit", &child.who());
        life.enters(A, reset.because("unread_data").signal(9).unread(12));
        life.enters(B, fact("CLOSE", gone, "reset_received"));
        life.is_marked(A, "reset_sent", killing).reason = Some("unread_data");
        life.is_marked(B, "reset_received", gone);
        life.ends("aborted", A, "reset");
        let ending = life.ending.as_mut().unwrap();
        (ending.signal, ending.lost_bytes) = (Some(9), Some(12));
        scene.tells(&[&life]);
    });
}
