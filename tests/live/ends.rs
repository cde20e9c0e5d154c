//! Which sockets are the two ends of one connection: over IPv6, over both versions at once, with
//! one end alone, or with an end that no program has taken yet.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::sockets::{Pair, connect_from, dual_stack_server, port_of, server_with_backlog};
use crate::through_every_source;
use crate::watcher::Watcher;

#[test]
fn both_ends_over_ipv6_are_one_connection() {
    through_every_source(|source| {
        let server = TcpListener::bind("[::1]:0").unwrap();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        pair.close_client();
        watcher.sees(&pair, "a", "FIN_WAIT2");
        pair.close_server();
        watcher.sees_end(&pair, "orderly");
        let story = watcher.finish();
        story.has_one_connection();
        let open = story.all("open").next().unwrap();
        assert!(open["a"].as_str().unwrap().starts_with("[::1]:"));
    });
}

#[test]
fn an_ipv4_client_of_a_dual_stack_server_is_one_connection() {
    through_every_source(|source| {
        let server = dual_stack_server();
        let mut watcher = Watcher::on(source, &[]);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&server)));
        let mut pair = Pair::of(TcpStream::connect(to).unwrap());
        pair.accept(&server);
        // The kernel shows the server's end as ::ffff:127.0.0.1; the user sees one address.
        watcher.sees_established(&pair);
        pair.close_server();
        watcher.sees(&pair, "b", "FIN_WAIT2");
        pair.close_client();
        assert_eq!(watcher.sees_closed(&pair)["first_closer"], "b");
        let story = watcher.finish();
        story.has_one_connection();
    });
}

#[test]
fn a_socket_connected_to_itself_is_a_connection_with_one_end() {
    through_every_source(|source| {
        // A port that nobody has: taken and given back.
        let addr = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::of(connect_from(addr, addr));
        assert_eq!(pair.a, pair.b);
        watcher.sees(&pair, "a", "ESTABLISHED");
        pair.close_client();
        let verdict = watcher.sees_closed(&pair);
        assert_ne!(verdict["code"], "aborted");
        let story = watcher.finish();
        let conn = story.conn(&pair);
        story.has_one_connection();
        assert_eq!(story.path(conn, "a").last(), Some(&"TIME_WAIT"));
        assert_eq!(story.path(conn, "b"), [""; 0]);
    });
}

#[test]
fn a_connection_that_the_full_queue_lets_wait_has_one_end() {
    through_every_source(|source| {
        let server = server_with_backlog(0);
        let addr = server.local_addr().unwrap();
        let mut watcher = Watcher::on(source, &[]);
        // A backlog of 0 lets one in.
        let taken = Pair::of(TcpStream::connect(addr).unwrap());
        watcher.sees_established(&taken);
        let waiting = socket_in_syn_sent(addr);
        let from = waiting.local_addr().unwrap().to_string();
        let step = watcher.wait_for("a second client in SYN_SENT", |line| {
            line["type"] == "transition" && line["local"] == *from && line["to"] == "SYN_SENT"
        });
        let story = watcher.finish();
        let conn = step["conn"].as_u64().unwrap();
        assert_eq!(step["end"], "a");
        assert_eq!(story.path(conn, "b"), [""; 0]);
    });
}

/// Begins to connect, and does not wait for the answer.
fn socket_in_syn_sent(to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let begun = connect(&client, &to);
    assert_eq!(begun, Err(rustix::io::Errno::INPROGRESS));
    client.into()
}
