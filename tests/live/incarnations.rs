//! A 4-tuple that is used again is another connection, however quickly it comes.

use std::net::{Ipv4Addr, SocketAddr};

use crate::sockets::{Pair, connect_from, server};
use crate::story::describe;
use crate::through_every_source;
use crate::watcher::Watcher;

/// The first life too must be bound so that its port can be had again.
fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A 4-tuple can be used again at once by a client that binds its port, while the TIME_WAIT of
/// the life before is still there.
#[test]
fn a_four_tuple_used_again_is_another_connection() {
    through_every_source(|source| {
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
        for end in ["a", "b"] {
            watcher.wait_for("both ends of a second connection", |line| {
                line["conn"] == 2 && line["end"] == end && line["to"] == "ESTABLISHED"
            });
        }
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
        let mut cookies = story.cookies(1);
        cookies.extend(story.cookies(2));
        // /proc knows none; sock_diag has one for each end of each life.
        assert_eq!(cookies.len(), if source == "proc" { 0 } else { 4 });
    });
}

#[test]
fn lives_that_follow_each_other_between_two_looks_are_not_mixed_up() {
    through_every_source(|source| {
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
        // Looks may miss whole lives; what they tell is never a way through two of them. /proc has
        // no name for a socket but its 4-tuple, so that there the rules of the story must do.
        if source == "proc" {
            return;
        }
        let conns = story.conns(&pair);
        let newest = *conns.last().unwrap();
        let told = || describe(&story.about(&pair));
        assert_eq!(
            story.path(newest, "a").last(),
            Some(&"FIN_WAIT2"),
            "\n{}",
            told()
        );
        for conn in &conns[..conns.len() - 1] {
            assert_ne!(story.verdict(*conn)["code"], "aborted", "\n{}", told());
            assert_ne!(story.path(*conn, "a").last(), Some(&"FIN_WAIT2"));
        }
    });
}
