//! Resets: told once, of the end that knows why; and what was lost, of the end that lost it.

use std::io::{Read, Write};

use crate::sockets::{Pair, abort_on_close, destroy, server};
use crate::{Scene, with_events};

fn text(line: &serde_json::Value) -> String {
    format!("{} {}", line["sentence"], line["evidence"])
}

#[test]
fn a_close_with_data_unread() {
    with_events("unread data", || {
        let server = server();
        let mut scene = Scene::on("events", &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        pair.server.as_mut().unwrap().write_all(&[0; 4000]).unwrap();
        let seen = pair.client.as_ref().unwrap().peek(&mut [0; 5000]).unwrap();
        assert_eq!(seen, 4000);
        pair.close_client();
        let found = scene.finds(&pair, "a", "reset-unread-data");
        assert_eq!(found["severity"], "warn");
        assert!(text(&found).contains("4000 bytes"), "{found}");
        let lost = scene.finds(&pair, "a", "data-lost");
        assert!(text(&lost).contains("4000 bytes received"), "{lost}");
        scene.watcher.sees_closed(&pair);
        scene.ends();
    });
}

/// Nothing was on its way: that is information, and the victim adds nothing.
#[test]
fn a_close_with_linger_zero() {
    with_events("linger 0", || {
        let server = server();
        let mut scene = Scene::on("events", &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        abort_on_close(pair.client.as_ref().unwrap());
        pair.close_client();
        let found = scene.finds(&pair, "a", "reset-linger0");
        assert_eq!(found["severity"], "info");
        let verdict = scene.watcher.sees_end(&pair, "aborted");
        assert_eq!(verdict["lost"]["a"]["unacked"], 0, "{verdict}");
        scene.ends();
    });
}

#[test]
fn an_answer_to_a_closed_socket() {
    with_events("data after close", || {
        let server = server();
        let mut scene = Scene::on("events", &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        pair.close_client();
        scene.watcher.sees(&pair, "a", "FIN_WAIT2");
        pair.server.as_mut().unwrap().write_all(b"answer").unwrap();
        let found = scene.finds(&pair, "a", "reset-data-after-close");
        assert_eq!(found["severity"], "warn");
        let lost = scene.finds(&pair, "b", "data-lost");
        assert!(text(&lost).contains("6 bytes sent"), "{lost}");
        let verdict = scene.watcher.sees_end(&pair, "aborted");
        assert_eq!(verdict["lost"]["b"]["unacked"], 6, "{verdict}");
        scene.ends();
    });
}

/// The reason has no code of its own, so the victim tells it.
#[test]
fn a_socket_that_an_administrator_destroys() {
    with_events("destroyed", || {
        let server = server();
        let mut scene = Scene::on("events", &[]);
        let pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        if destroy(pair.a, pair.b).is_err() {
            // This kernel has no SOCK_DESTROY.
            return;
        }
        let found = scene.finds(&pair, "b", "reset-by-peer");
        assert_eq!(found["severity"], "info");
        assert!(text(&found).contains("an administrator"), "{found}");
        scene.ends();
    });
}

/// What came before a reset can be read: it is not lost.
#[test]
fn a_victim_reads_what_had_come() {
    with_events("a victim reads", || {
        let server = server();
        let mut scene = Scene::on("events", &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        pair.client.as_mut().unwrap().write_all(b"seven b").unwrap();
        let mut data = [0; 7];
        let here = pair.server.as_mut().unwrap();
        while here.peek(&mut data).unwrap() < 7 {}
        abort_on_close(pair.client.as_ref().unwrap());
        pair.close_client();
        scene.finds(&pair, "a", "reset-linger0");
        scene.watcher.sees_closed(&pair);
        let read = pair.server.as_mut().unwrap().read(&mut data);
        assert_eq!(read.unwrap(), 7, "it was not lost, and is not said to be");
        scene.ends();
    });
}
