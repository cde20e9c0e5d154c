//! Filters: what is wanted is told whole, what is not wanted never shows.

use std::net::TcpListener;

use serde_json::Value;

use crate::sockets::{Pair, dual_stack_server, port_of, server};
use crate::watcher::{Watcher, run};
use crate::{through_both_sources, through_every_source};

/// One connection to each of three servers. Only those of `wanted` are told under the filter.
struct Scene {
    servers: [TcpListener; 3],
    pairs: Vec<Pair>,
}

impl Scene {
    fn new() -> Self {
        Self {
            servers: [server(), server(), TcpListener::bind("[::1]:0").unwrap()],
            pairs: Vec::new(),
        }
    }

    fn port(&self, index: usize) -> String {
        port_of(&self.servers[index]).to_string()
    }

    /// Connects, half of it before the watcher comes, closes, and compares.
    fn tells(mut self, source: &str, filter: &[&str], wanted: &[usize]) {
        self.pairs = self.servers.iter().map(Pair::to).collect();
        let mut watcher = Watcher::on(source, filter);
        self.pairs.extend(self.servers.iter().map(Pair::to));
        let is_wanted = |index: usize| wanted.contains(&(index % 3));
        for index in (0..6).filter(|index| is_wanted(*index)) {
            watcher.sees_open(&self.pairs[index]);
        }
        for pair in &mut self.pairs {
            pair.close_client();
            pair.server_reads_to_end();
            pair.close_server();
        }
        for index in (0..6).filter(|index| is_wanted(*index)) {
            watcher.sees_end(&self.pairs[index], "orderly");
        }
        let story = watcher.finish();
        for (index, pair) in self.pairs.iter().enumerate() {
            let told = story.conns(pair).len();
            assert_eq!(told, usize::from(is_wanted(index)), "{filter:?} {index}");
        }
    }
}

#[test]
fn a_port_is_either_end_s() {
    through_every_source(|source| {
        let scene = Scene::new();
        let port = scene.port(1);
        scene.tells(source, &["--port", &port], &[1]);
    });
}

#[test]
fn ports_can_be_a_list() {
    through_every_source(|source| {
        let scene = Scene::new();
        let ports = format!("{},{}", scene.port(0), scene.port(2));
        scene.tells(source, &["--port", &ports], &[0, 2]);
    });
}

#[test]
fn ports_can_be_a_range() {
    through_every_source(|source| {
        let scene = Scene::new();
        let port = scene.port(0);
        scene.tells(source, &["--port", &format!("{port}-{port}")], &[0]);
    });
}

#[test]
fn a_local_port_or_a_remote_port_finds_the_whole_connection() {
    through_every_source(|source| {
        // Both ends are here: each port is the local one of one end and the remote of the other.
        for option in ["--local-port", "--remote-port"] {
            let scene = Scene::new();
            let port = scene.port(1);
            scene.tells(source, &[option, &port], &[1]);
        }
    });
}

#[test]
fn a_host_can_be_a_network() {
    through_every_source(|source| {
        for (host, wanted) in [
            ("127.0.0.0/8", &[0, 1][..]),
            ("127.0.0.1", &[0, 1]),
            ("::1", &[2]),
            ("::/0", &[2]),
            ("10.0.0.0/8", &[]),
            ("10.0.0.0/8,::1", &[2]),
        ] {
            Scene::new().tells(source, &["--host", host], wanted);
        }
    });
}

#[test]
fn a_version_is_that_of_the_address() {
    through_every_source(|source| {
        Scene::new().tells(source, &["-4"], &[0, 1]);
        Scene::new().tells(source, &["-6"], &[2]);
    });
}

#[test]
fn an_ipv4_client_of_a_dual_stack_server_is_ipv4() {
    through_every_source(|source| {
        let server = dual_stack_server();
        let to = format!("127.0.0.1:{}", port_of(&server));
        let mut four = Watcher::on(source, &["-4"]);
        let six = Watcher::on(source, &["-6"]);
        let mut pair = Pair::of(std::net::TcpStream::connect(to).unwrap());
        pair.accept(&server);
        four.sees_established(&pair);
        pair.shut_client();
        four.sees(&pair, "b", "CLOSE_WAIT");
        four.finish();
        assert_eq!(six.finish().all("open").count(), 0);
    });
}

#[test]
fn filters_of_different_kinds_must_all_hold() {
    through_every_source(|source| {
        let scene = Scene::new();
        let ports = format!("{},{}", scene.port(0), scene.port(2));
        let filter = ["--port", &ports, "--host", "127.0.0.1", "-4"];
        scene.tells(source, &filter, &[0]);
    });
}

#[test]
fn a_connection_that_comes_to_be_wanted_is_opened_in_the_state_it_leaves() {
    through_every_source(|source| {
        let server = server();
        let mut watcher = Watcher::on(source, &["--state", "close-wait"]);
        let mut all = Watcher::on(source, &[]);
        let mut pair = Pair::to(&server);
        let other = Pair::to(&server);
        all.sees_established(&pair);
        all.sees_established(&other);
        pair.close_client();
        pair.client_enters("FIN_WAIT2");
        watcher.sees(&pair, "b", "CLOSE_WAIT");
        pair.close_server();
        watcher.sees_closed(&pair);
        let story = watcher.finish();
        let conn = story.conn(&pair);
        let about: Vec<&str> = story
            .lines
            .iter()
            .filter(|line| line["conn"] == conn)
            .map(|line| line["type"].as_str().unwrap())
            .collect();
        assert_eq!(about.first(), Some(&"open"));
        assert_eq!(about.last(), Some(&"closed"));
        assert_eq!(story.conns(&other), [0; 0]);
        all.finish();
    });
}

#[test]
fn the_filter_is_told_in_the_first_line() {
    through_every_source(|source| {
        let filter = ["--port", "80,443", "--state", "close-wait", "-4"];
        let story = Watcher::on(source, &filter).finish();
        assert_eq!(
            story.lines[0]["filter"],
            "port 80,443 and state CLOSE_WAIT and IPv4"
        );
    });
}

#[test]
fn an_expression_is_as_good_as_options() {
    through_every_source(|source| {
        for (expr, wanted) in [
            ("port {0} or ::1", &[0, 2][..]),
            ("not port {0}", &[1, 2]),
            ("not (port {0} or port {1}) and ipv6", &[2]),
            ("local-port {1} and was established", &[1]),
        ] {
            let scene = Scene::new();
            let expr = expr.replace("{0}", &scene.port(0));
            let expr = expr.replace("{1}", &scene.port(1));
            scene.tells(source, &["--filter", &expr], wanted);
        }
    });
}

#[test]
fn a_list_is_chosen_by_state_queue_and_process() {
    through_both_sources(|source| {
        let server = server();
        let (mut one, other) = (Pair::to(&server), Pair::to(&server));
        one.shut_client();
        let me = std::process::id();
        let list = |expr: &str| {
            let arguments = [
                "list", "--source", source, "--format", "json", "--filter", expr,
            ];
            let output = run(&arguments);
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            let rows = document["connections"].as_array().unwrap().iter();
            let rows: Vec<String> = rows
                .map(|row| row["a"]["addr"].as_str().unwrap().to_owned())
                .collect();
            let status = if rows.is_empty() { 1 } else { 0 };
            assert_eq!(output.status.code(), Some(status), "{expr}: {output:?}");
            rows
        };
        let (one, other) = (one.a.to_string(), other.a.to_string());
        assert_eq!(list("state close-wait"), std::slice::from_ref(&one));
        assert_eq!(list("not state close-wait"), [other]);
        assert_eq!(list(&format!("close-wait and pid {me}")), [one]);
        assert!(list("unread > 0").is_empty());
        assert!(list(&format!("not pid {me}")).is_empty());
    });
}
