//! Resets: who sent it, why, and what was thrown away.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::life::{A, B, Life, fact, me};
use crate::scene::{Scene, in_every_way};
use crate::sockets::{
    Between, Pair, abort_on_close, destroy, server, stamped, while_nobody_starts,
};

/// A's own call ends it; B learns by a reset.
fn aborts(mut life: Life, scene: Scene, reason: &'static str, unread: u64) {
    let call = life.drops(A);
    let gone = life.vanishes(B, call);
    let reset = fact("CLOSE", call, "reset_sent").by("close", &me());
    life.enters(A, reset.because(reason).unread(unread));
    life.enters(B, fact("CLOSE", gone, "reset_received"));
    life.is_marked(A, "reset_sent", call);
    life.is_marked(B, "reset_received", gone);
    let freed = life.drops(B);
    life.is_marked(B, "freed", freed);
    life.ends("aborted", A, "reset");
    life.ending.as_mut().unwrap().lost_bytes = (unread > 0).then_some(unread);
    scene.tells(&[&life]);
}

#[test]
fn a_close_with_data_unread() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let life = scene.connects(&server);
        life.socket(B).write_all(&[0; 4000]).unwrap();
        assert_eq!(life.socket(A).peek(&mut [0; 5000]).unwrap(), 4000);
        aborts(life, scene, "unread_data", 4000);
    });
}

#[test]
fn a_close_with_linger_zero() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let life = scene.connects(&server);
        abort_on_close(life.socket(A));
        aborts(life, scene, "linger_0", 0);
    });
}

#[test]
fn a_close_with_data_unread_in_close_wait() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        life.socket(A).write_all(b"seven b").unwrap();
        let closing = life.drops(A);
        life.enters(A, fact("FIN_WAIT1", closing, "close").by("close", &me()));
        life.fin_goes_through(A, closing, 7);
        scene.sees(&life, A, "FIN_WAIT2");
        let call = life.drops(B);
        let gone = life.vanishes(A, call);
        let reset = fact("CLOSE", call, "reset_sent").by("close", &me());
        life.enters(B, reset.because("unread_data").unread(7));
        let reset = fact("CLOSE", gone, "reset_received");
        life.enters(A, reset.of_a_mini_socket());
        life.is_marked(B, "reset_sent", call);
        life.ends("aborted", A, "close");
        life.ending.as_mut().unwrap().lost_bytes = Some(7);
        scene.tells(&[&life]);
    });
}

#[test]
fn an_answer_to_a_closed_socket() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        life.closes_first(A);
        scene.sees(&life, A, "FIN_WAIT2");
        let (call, written) = stamped(|| life.socket(B).write_all(b"answer"));
        written.unwrap();
        let [a_gone, b_gone] = [A, B].map(|end| life.vanishes(end, call));
        let reset = fact("CLOSE", a_gone, "reset_sent").because("data_after_close");
        life.enters(A, reset.of_a_mini_socket());
        life.enters(B, fact("CLOSE", b_gone, "reset_received"));
        life.is_marked(A, "reset_sent", a_gone).reason = Some("data_after_close");
        life.is_marked(B, "reset_received", b_gone);
        let freed = life.drops(B);
        life.is_marked(B, "freed", freed);
        life.ends("aborted", A, "close");
        scene.tells(&[&life]);
    });
}

/// A port that nobody has: taken and given back.
#[test]
fn a_connect_that_is_refused() {
    in_every_way(|stage| {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let scene = stage.watched();
        let to = nobody.local_addr().unwrap();
        while_nobody_starts(|| drop(nobody));
        let (client, call) = refused(to);
        let mut life = Life::of(Pair::half(client, to));
        life.enters(A, fact("SYN_SENT", call, "connect").by("connect", &me()));
        let close = fact("CLOSE", call, "reset_received").because("refused");
        life.enters(A, close);
        life.is_marked(A, "reset_received", call);
        let freed = life.drops(A);
        life.is_marked(A, "freed", freed);
        life.ends_somehow("refused");
        scene.tells(&[&life]);
    });
}

/// Connects in vain.
fn refused(to: SocketAddr) -> (TcpStream, Between) {
    let client = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    let client = TcpStream::from(client.unwrap());
    // Bound before, as the kernel takes the port back when it is refused; to an address of its own,
    // or it could be the very port, and connect to itself.
    bind(&client, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))).unwrap();
    let (call, result) = stamped(|| connect(&client, &to));
    assert_eq!(result, Err(Errno::CONNREFUSED));
    (client, call)
}

/// Whoever waits in the queue of a listener that goes is reset.
#[test]
fn a_listener_that_is_closed_over_what_it_never_accepted() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let addr = server.local_addr().unwrap();
        let (connecting, client) = stamped(|| TcpStream::connect(addr).unwrap());
        let mut life = Life::of(Pair::of(client));
        let established = life.pair.server_enters("ESTABLISHED");
        life.connected(connecting, established);
        scene.watcher.sees_established(&life.pair);
        let closing = while_nobody_starts(|| stamped(|| drop(server)).0);
        let [a_gone, b_gone] = [A, B].map(|end| life.vanishes(end, closing));
        let reset = fact("CLOSE", b_gone, "reset_sent").because("never_accepted");
        life.enters(B, reset);
        life.enters(A, fact("CLOSE", a_gone, "reset_received"));
        life.is_marked(B, "reset_sent", b_gone);
        life.is_marked(A, "reset_received", a_gone);
        life.ends("aborted", B, "reset");
        scene.tells(&[&life]);
    });
}

#[test]
fn a_socket_that_an_administrator_destroys() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let (call, done) = stamped(|| destroy(life.pair.a, life.pair.b));
        if let Err(error) = done {
            let line = format!("skipped: {:?}: no SOCK_DESTROY here: {error}\n", scene.way);
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
            return;
        }
        let [a_gone, b_gone] = [A, B].map(|end| life.vanishes(end, call));
        let destroyed = fact("CLOSE", a_gone, "reset_sent").because("destroyed");
        life.enters(A, destroyed);
        life.enters(B, fact("CLOSE", b_gone, "reset_received"));
        life.is_marked(A, "reset_sent", call);
        life.is_marked(B, "reset_received", b_gone);
        life.ends("aborted", A, "reset");
        scene.tells(&[&life]);
    });
}
