//! Coming in the middle of a life: the states found are told as found, their ages where the
//! kernel still knows them, and never older than they are.

use std::time::Duration;

use serde_json::Value;

use crate::sockets::{Between, Pair, now_ns, server};
use crate::story::ns;
use crate::through_every_source;
use crate::watcher::Watcher;

/// The kernel counts its timers in these; 10 ms is the coarsest.
const JIFFY: u64 = 10_000_000;

/// There is nothing to await: time itself has to pass, for an age that is worth the name.
fn grow_older() {
    let (_nobody, never) = std::sync::mpsc::channel::<()>();
    let waited = never.recv_timeout(Duration::from_millis(120));
    assert!(waited.is_err());
}

/// The age told is a lower bound, and at least that at which the program was started, less what
/// the kernel's timers may be off.
fn is_the_age_since(entered: Between, started: u64, open: &Value, field: &str) {
    let (at, age) = (ns(open, "at_ns"), ns(open, field));
    let (most, least) = (at - entered.earliest, started - entered.latest);
    assert!(age <= most, "{field} {age} is more than {most}: {open}");
    assert!(
        age + 3 * JIFFY >= least,
        "{field} {age} is less than {least}: {open}"
    );
}

#[test]
fn a_time_wait_found_has_its_age() {
    through_every_source(|source| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.close_client();
        pair.server_reads_to_end();
        let closing = pair.close_server();
        let entered = pair.client_enters("TIME_WAIT").not_before(closing);
        pair.server_vanishes();
        grow_older();
        let started = now_ns();
        let mut watcher = Watcher::on(source, &[]);
        let open = watcher.sees_open(&pair);
        assert_eq!(open["a_state"], "TIME_WAIT");
        assert_eq!(open["b_state"], Value::Null);
        is_the_age_since(entered, started, &open, "a_age_ns");
        // Nothing more is to be expected of it.
        assert_eq!(watcher.sees_closed(&pair)["first_closer"], "a");
        watcher.finish();
    });
}

#[test]
fn an_orphan_found_in_fin_wait2_has_its_age() {
    through_every_source(|source| {
        let server = server();
        let mut pair = Pair::to(&server);
        let closing = pair.close_client();
        let entered = pair.client_enters("FIN_WAIT2").not_before(closing);
        grow_older();
        let started = now_ns();
        let mut watcher = Watcher::on(source, &[]);
        let open = watcher.sees_open(&pair);
        assert_eq!(open["a_state"], "FIN_WAIT2");
        assert_eq!(open["b_state"], "CLOSE_WAIT");
        is_the_age_since(entered, started, &open, "a_age_ns");
        // The kernel keeps no such time of a CLOSE_WAIT.
        assert_eq!(open["b_age_ns"], Value::Null);
        pair.close_server();
        watcher.sees_end(&pair, "orderly");
        watcher.finish();
    });
}

#[test]
fn a_shutdown_found_in_fin_wait2_is_as_old_as_its_counters_say() {
    through_every_source(|source| {
        let server = server();
        let mut pair = Pair::to(&server);
        pair.shut_client();
        pair.client_enters("FIN_WAIT2");
        let mut watcher = Watcher::on(source, &[]);
        let open = watcher.sees_open(&pair);
        assert_eq!(open["a_state"], "FIN_WAIT2");
        assert_eq!(open["a_age_ns"], Value::Null);
        pair.close_server();
        let time_wait = watcher.sees(&pair, "a", "TIME_WAIT");
        assert_eq!(time_wait["from"], "FIN_WAIT2");
        // What was found, and not seen to begin, has no beginning where there are no counters, and
        // none while they have not answered.
        let story = watcher.finish();
        let conn = story.conn(&pair);
        let is_dated = story.all("age").any(|line| line["conn"] == conn);
        assert!(is_dated || time_wait["in_from_ns"].is_null(), "{time_wait}");
    });
}

#[test]
fn a_connection_found_established_has_no_age() {
    through_every_source(|source| {
        let server = server();
        let mut pair = Pair::to(&server);
        let mut watcher = Watcher::on(source, &[]);
        let open = watcher.sees_open(&pair);
        assert_eq!(open["a_state"], "ESTABLISHED");
        assert_eq!(open["b_state"], "ESTABLISHED");
        assert_eq!(open["a_age_ns"], Value::Null);
        assert_eq!(open["b_age_ns"], Value::Null);
        pair.close_client();
        pair.client_enters("FIN_WAIT2");
        watcher.sees(&pair, "b", "CLOSE_WAIT");
        pair.close_server();
        let verdict = watcher.sees_end(&pair, "orderly");
        assert_eq!(verdict["first_closer"], "a");
        // No step says where it came from.
        let story = watcher.finish();
        let conn = story.conn(&pair);
        for end in ["a", "b"] {
            let first = story.steps(conn, end).next().unwrap();
            assert_eq!(first["from"], "ESTABLISHED");
        }
    });
}
