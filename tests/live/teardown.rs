//! The end in good order, step by step: what each lane shows, and that close() and shutdown(),
//! which netstat shows alike, are told apart.

use std::io::{Read, Write};

use crate::sockets::{Pair, server};
use crate::story::Truth;
use crate::through_every_source;
use crate::watcher::Watcher;

#[test]
fn a_close_is_told_step_by_step_on_both_lanes() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);

        let closing = pair.close_client();
        let fin_wait2 = pair.client_enters("FIN_WAIT2");
        watcher.sees(&pair, "a", "FIN_WAIT2");
        watcher.sees(&pair, "b", "CLOSE_WAIT");
        let last_ack = pair.close_server();
        let time_wait = pair.client_enters("TIME_WAIT");
        let verdict = watcher.sees_end(&pair, "orderly");
        assert_eq!(verdict["first_closer"], "a");
        assert_eq!(verdict["how"], "close");

        let story = watcher.finish();
        let conn = story.conn(&pair);
        let end_of_a = ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"];
        assert!(story.path(conn, "a").ends_with(&end_of_a));
        let end_of_b = ["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"];
        assert!(story.path(conn, "b").ends_with(&end_of_b));
        let fin_wait2_line = story.step(conn, "a", "FIN_WAIT2");
        assert_eq!(fin_wait2_line["descriptor"], "gone");
        assert_eq!(fin_wait2_line["call"], serde_json::Value::Null);
        assert_eq!(story.step(conn, "b", "CLOSE_WAIT")["descriptor"], "held");
        story.agrees_with(&[
            Truth::of_a(&pair, "FIN_WAIT1", closing),
            Truth::of_a(&pair, "FIN_WAIT2", fin_wait2.not_before(closing)),
            Truth::of_b(&pair, "LAST_ACK", last_ack),
            Truth::of_a(&pair, "TIME_WAIT", time_wait.not_before(last_ack)),
        ]);
    });
}

#[test]
fn a_server_that_closes_first_is_named() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        pair.close_server();
        watcher.sees(&pair, "b", "FIN_WAIT2");
        pair.close_client();
        let verdict = watcher.sees_end(&pair, "orderly");
        assert_eq!(verdict["first_closer"], "b");
        let story = watcher.finish();
        let conn = story.conn(&pair);
        assert!(story.path(conn, "b").ends_with(&["FIN_WAIT2", "TIME_WAIT"]));
        assert!(story.path(conn, "a").ends_with(&["LAST_ACK", "CLOSE"]));
    });
}

#[test]
fn a_shutdown_is_told_from_a_close_while_the_states_are_the_same() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);

        let shutting = pair.shut_client();
        let fin_wait2 = watcher.sees(&pair, "a", "FIN_WAIT2");
        assert_eq!(fin_wait2["descriptor"], "held");
        watcher.sees(&pair, "b", "CLOSE_WAIT");
        // Half-closed: the answer still arrives.
        pair.server.as_ref().unwrap().write_all(b"answer").unwrap();
        let last_ack = pair.close_server();
        let mut answer = String::new();
        let mut client = pair.client.take().unwrap();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        drop(client);

        let verdict = watcher.sees_end(&pair, "orderly");
        assert_eq!(verdict["first_closer"], "a");
        assert_eq!(verdict["how"], "shutdown");
        let story = watcher.finish();
        let conn = story.conn(&pair);
        // /proc does not show which sides are shut; the others tell it once, with the FIN.
        let calls = story
            .steps(conn, "a")
            .filter(|line| line["call"] == "shutdown_wr")
            .count();
        assert_eq!(calls, usize::from(source != "proc"));
        story.agrees_with(&[
            Truth::of_a(&pair, "FIN_WAIT1", shutting),
            Truth::of_b(&pair, "LAST_ACK", last_ack),
        ]);
    });
}

#[test]
fn bytes_that_wait_are_counted_without_the_fin() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        pair.client.as_ref().unwrap().write_all(b"seven b").unwrap();
        pair.close_client();
        let close_wait = watcher.sees(&pair, "b", "CLOSE_WAIT");
        assert_eq!(close_wait["unread"], 7);
        watcher.finish();
    });
}

#[test]
fn a_connection_that_stays_open_is_not_told_to_end() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let pair = Pair::to(&server);
        watcher.sees_established(&pair);
        let story = watcher.finish();
        assert_eq!(story.all("closed").count(), 0);
        assert_eq!(
            story.path(story.conn(&pair), "a").last(),
            Some(&"ESTABLISHED")
        );
    });
}

#[test]
fn a_peer_that_never_closes_keeps_the_connection_open() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        pair.close_client();
        watcher.sees(&pair, "a", "FIN_WAIT2");
        watcher.sees(&pair, "b", "CLOSE_WAIT");
        let story = watcher.finish();
        assert_eq!(story.all("closed").count(), 0);
    });
}
