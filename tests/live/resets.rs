//! Resets: both ends vanish at once, and no state is made up that a FIN would have brought.

use std::io::Write;

use crate::sockets::{Pair, abort_on_close, server, server_with_backlog};
use crate::story::{Story, Truth};
use crate::through_every_source;
use crate::watcher::Watcher;

const NEVER_AFTER_A_RESET: [&str; 3] = ["TIME_WAIT", "LAST_ACK", "CLOSING"];

fn both_ended(story: &Story, pair: &Pair) {
    story.never_tells(&NEVER_AFTER_A_RESET);
    let conn = story.conn(pair);
    for end in ["a", "b"] {
        assert_eq!(story.path(conn, end).last(), Some(&"CLOSE"));
    }
}

#[test]
fn a_close_with_linger_zero_is_an_abort() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        abort_on_close(pair.client.as_ref().unwrap());
        let reset = pair.close_client();
        watcher.sees_end(&pair, "aborted");
        let story = watcher.finish();
        both_ended(&story, &pair);
        story.never_tells(&["FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT"]);
        story.agrees_with(&[Truth::of_a(&pair, "CLOSE", reset)]);
    });
}

#[test]
fn a_close_with_unread_data_is_an_abort() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        pair.client.as_ref().unwrap().write_all(b"unread").unwrap();
        // Else the close could be quicker than the data.
        pair.server.as_ref().unwrap().peek(&mut [0]).unwrap();
        pair.close_server();
        watcher.sees_end(&pair, "aborted");
        let story = watcher.finish();
        both_ended(&story, &pair);
        story.never_tells(&["FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT"]);
    });
}

#[test]
fn an_answer_to_a_closed_socket_is_an_abort() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        watcher.sees_established(&pair);
        pair.close_client();
        watcher.sees(&pair, "a", "FIN_WAIT2");
        watcher.sees(&pair, "b", "CLOSE_WAIT");
        pair.server.as_ref().unwrap().write_all(b"answer").unwrap();
        watcher.sees_end(&pair, "aborted");
        let story = watcher.finish();
        both_ended(&story, &pair);
        let verdict = story.verdict(story.conn(&pair));
        assert_eq!(verdict["first_closer"], "a");
        assert_eq!(verdict["how"], "close");
    });
}

#[test]
fn a_reset_that_nobody_accepted_is_an_abort() {
    through_every_source(|source| {
        let server = server_with_backlog(8);
        let mut watcher = Watcher::on(source, &[]);
        let mut pair =
            Pair::of(std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap());
        watcher.sees_established(&pair);
        let established = watcher.sees(&pair, "b", "ESTABLISHED");
        // An event is of the handshake itself, when nobody can have accepted yet.
        if source != "events" {
            assert_eq!(established["descriptor"], "not_accepted");
        }
        pair.close_client();
        let close_wait = watcher.sees(&pair, "b", "CLOSE_WAIT");
        assert_eq!(close_wait["descriptor"], "not_accepted");
        // Whoever waits in the queue of a listener that goes is reset.
        drop(server);
        watcher.sees_end(&pair, "aborted");
        both_ended(&watcher.finish(), &pair);
    });
}
