//! The same in other surroundings: over IPv6 and both versions, on a 4-tuple that is used again or
//! lives twice at once, where there is no room for TIME_WAIT, over several paths.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, listen, socket_with,
};

use crate::life::{A, B, Life, fact};
use crate::scene::{Scene, in_every_way, in_two_namespaces_with_events, with_events};
use crate::sockets::{Pair, connect_from, dual_stack_server, port_of, server};

fn whole_life(mut life: Life, mut scene: Scene) {
    scene.watcher.sees_established(&life.pair);
    life.closes_first(A);
    scene.sees(&life, A, "FIN_WAIT2");
    life.closes_last(B);
    life.ends("orderly", A, "close");
    scene.tells(&[&life]);
}

#[test]
fn over_ipv6() {
    in_every_way(|stage| {
        let server = TcpListener::bind("[::1]:0").unwrap();
        let scene = stage.watched();
        whole_life(Life::begins(&server), scene);
    });
}

#[test]
fn an_ipv4_client_of_a_dual_stack_server() {
    in_every_way(|stage| {
        let server = dual_stack_server();
        let scene = stage.watched();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&server)));
        let life = Life::accepted(&server, || TcpStream::connect(to).unwrap());
        whole_life(life, scene);
    });
}

/// A listener that no look has shown: its event, or the client's SYN_SENT, says who is who.
#[test]
fn a_listener_that_comes_later() {
    with_events(|stage| {
        let mut scene = stage.watched();
        let server = server();
        let mut life = Life::begins(&server);
        life.closes_first(B);
        scene.sees(&life, B, "FIN_WAIT2");
        life.closes_last(A);
        life.ends("orderly", B, "close");
        scene.tells(&[&life]);
    });
}

#[test]
fn a_four_tuple_used_twice() {
    in_every_way(|stage| {
        let server = server();
        let mut scene = stage.watched();
        let addr = server.local_addr().unwrap();
        let any_port = (IpAddr::from(Ipv4Addr::LOCALHOST), 0).into();
        let mut first = Life::accepted(&server, || connect_from(any_port, addr));
        scene.watcher.sees_established(&first.pair);
        first.closes_first(A);
        scene.sees(&first, A, "FIN_WAIT2");
        first.closes_last(B);
        first.ends("orderly", A, "close");
        scene.sees(&first, A, "TIME_WAIT");

        let mut second = Life::accepted(&server, || connect_from(first.pair.a, addr));
        second.nth = 1;
        // The new life has put an end to the TIME_WAIT of the old one.
        let connecting = second.steps[A as usize][0].when;
        first.enters(A, fact("CLOSE", connecting, "unknown").of_a_mini_socket());
        for end in [A, B] {
            scene.sees(&second, end, "ESTABLISHED");
        }
        second.closes_first(B);
        scene.sees(&second, B, "FIN_WAIT2");
        second.closes_last(A);
        second.ends("orderly", B, "close");
        scene.tells(&[&first, &second]);
    });
}

/// Both are called the same, and both are heard by one program in the kernel: each watcher shows
/// the one of its own namespace.
#[test]
fn a_four_tuple_in_two_namespaces() {
    let (both_live, both_close) = (Barrier::new(2), Barrier::new(2));
    let entered = AtomicUsize::new(0);
    in_two_namespaces_with_events(|stage| {
        let first = [A, B][entered.fetch_add(1, Ordering::Relaxed)];
        let own = File::open("/proc/thread-self/ns/net").unwrap();
        let own = own.metadata().unwrap().ino();
        let server = TcpListener::bind("127.0.0.1:41000").unwrap();
        let mut scene = stage.watched();
        let addr = server.local_addr().unwrap();
        let from = "127.0.0.1:42000".parse().unwrap();
        let mut life = Life::accepted(&server, || connect_from(from, addr));
        scene.watcher.sees_established(&life.pair);
        both_live.wait();
        life.closes_first(first);
        both_close.wait();
        scene.sees(&life, first, "FIN_WAIT2");
        life.closes_last(first.other());
        life.ends("orderly", first, "close");
        let story = scene.tells(&[&life]);
        let open = story.all("open").next().unwrap();
        assert_eq!(open["netns"], own, "{open}");
    });
}

/// The kernel reports the same events, and makes no TIME_WAIT: nothing is to be claimed of one.
#[test]
fn no_room_for_time_wait() {
    in_every_way(|stage| {
        fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0").unwrap();
        let server = server();
        let mut scene = stage.watched();
        let mut life = scene.connects(&server);
        let call = life.pair.shut_client();
        let shut = fact("FIN_WAIT1", call, "shutdown_wr");
        life.enters(A, shut.by("shutdown_wr", &crate::life::me()));
        life.fin_goes_through(A, call, 0);
        scene.sees(&life, A, "FIN_WAIT2");
        let last = life.drops(B);
        let [a_gone, b_gone] = [A, B].map(|end| life.vanishes(end, last));
        life.enters(A, fact("CLOSE", a_gone, "fin_received"));
        let last_ack = fact("LAST_ACK", last, "close");
        life.enters(B, last_ack.by("close", &crate::life::me()));
        life.enters(B, fact("CLOSE", b_gone, "ack_received"));
        let freed = life.drops(A);
        life.is_marked(A, "freed", freed);
        life.ends("orderly", A, "shutdown");
        scene.tells(&[&life]).never_tells(&["TIME_WAIT"]);
    });
}

/// Which path a FIN takes says nothing of the whole: no verdict.
#[test]
fn several_paths_have_no_verdict() {
    with_events(|stage| {
        let multipath = || {
            let flags = SocketFlags::CLOEXEC;
            let path = Some(ipproto::MPTCP);
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, path)
        };
        let (server, client) = match (multipath(), multipath()) {
            (Ok(server), Ok(client)) => (server, client),
            (Err(error), _) | (_, Err(error)) => {
                let line = format!("skipped: no MPTCP here: {error}\n");
                let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
                return;
            }
        };
        bind(&server, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listen(&server, 8).unwrap();
        let server = TcpListener::from(server);
        let mut scene = stage.watched();
        connect(&client, &server.local_addr().unwrap()).unwrap();
        let mut pair = Pair::of(client.into());
        pair.accept(&server);
        let open = scene.watcher.sees_open(&pair);
        pair.close_client();
        pair.server_reads_to_end();
        pair.close_server();
        let verdict = scene.watcher.sees_closed(&pair);
        assert_eq!(open["mptcp"], true, "{open}");
        assert!(verdict.is_null(), "{verdict}");
        scene.watcher.finish();
    });
}
