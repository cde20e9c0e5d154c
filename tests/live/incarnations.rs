//! A 4-tuple that is used again is another connection, however quickly it comes.

use std::net::{Ipv4Addr, SocketAddr};

use crate::sockets::{Pair, connect_from, server};
use crate::through_both_sources;
use crate::watcher::Watcher;

/// The first life too must be bound so that its port can be had again.
fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A 4-tuple can be used again at once by a client that binds its port, while the TIME_WAIT of
/// the life before is still there.
#[test]
fn a_four_tuple_used_again_is_another_connection() {
    through_both_sources(|source| {
        let server = server();
        let addr = server.local_addr().unwrap();
        let mut watcher = Watcher::on(source, &[]);
        let mut first = Pair::of(connect_from(any_port(), addr));
        first.accept(&server);
        watcher.sees_established(&first);
        first.close_client();
        first.server_reads_to_end();
        first.close_server();
        watcher.sees_closed(&first);

        let mut second = Pair::of(connect_from(first.a, addr));
        second.accept(&server);
        let again = watcher.wait_for("a second connection", |line| {
            line["type"] == "open" && line["conn"] == 2
        });
        second.close_client();
        second.server_reads_to_end();
        second.close_server();
        watcher.wait_for("its end", |line| {
            line["type"] == "closed" && line["conn"] == 2
        });

        let story = watcher.finish();
        assert_eq!(story.conns(&first), [1, 2]);
        assert_eq!(
            story.path(1, "a").last_chunk(),
            Some(&["TIME_WAIT", "CLOSE"])
        );
        assert_eq!(story.path(2, "a").last(), Some(&"TIME_WAIT"));
        for conn in [1, 2] {
            assert_eq!(story.verdict(conn)["code"], "orderly");
        }
        let before = story.all("open").next().unwrap();
        let cookies = ["a_cookie", "b_cookie"].map(|field| (&before[field], &again[field]));
        for (before, again) in cookies {
            assert_eq!(before.is_u64(), source == "sock-diag");
            assert_eq!(again.is_u64(), source == "sock-diag");
            assert!(before.is_null() || before != again);
        }
    });
}

#[test]
fn lives_that_follow_each_other_between_two_looks_are_not_mixed_up() {
    through_both_sources(|source| {
        let server = server();
        let addr = server.local_addr().unwrap();
        let mut watcher = Watcher::on(source, &["--interval", "3ms"]);
        let mut pair = Pair::of(connect_from(any_port(), addr));
        pair.accept(&server);
        let client_addr = pair.a;
        for _ in 0..40 {
            pair.close_client();
            pair.server_reads_to_end();
            pair.close_server();
            pair.client_enters("TIME_WAIT");
            pair = Pair::of(connect_from(client_addr, addr));
            pair.accept(&server);
        }
        // The last one lives on, and is awaited by the only thing that is surely its own.
        pair.shut_client();
        watcher.sees_held_fin_wait2(&pair);
        let story = watcher.finish();
        // Looks may miss whole lives; what they tell is never a way through two of them.
        let conns = story.conns(&pair);
        assert!((1..=41).contains(&conns.len()));
        let newest = *conns.last().unwrap();
        assert_eq!(story.path(newest, "a").last(), Some(&"FIN_WAIT2"));
        for conn in &conns[..conns.len() - 1] {
            assert_eq!(story.path(*conn, "a").last(), Some(&"CLOSE"));
            assert_ne!(story.verdict(*conn)["code"], "aborted", "#{conn}");
        }
    });
}
