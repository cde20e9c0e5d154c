//! A copy of a socket that is closed while another process holds on.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::sockets::{Pair, server, while_nobody_closes, while_nobody_starts};
use crate::{Scene, in_both_ways};

/// A process that holds a copy of the socket until its standard input ends.
fn holds(pair: &Pair) -> Child {
    let copy = pair.server.as_ref().unwrap().try_clone().unwrap();
    let copy = OwnedFd::from(copy);
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::from(copy));
    // The command keeps its copy until it is dropped.
    while_nobody_closes(move || command.spawn()).unwrap()
}

#[test]
fn a_copy_that_is_closed_while_a_child_holds_on() {
    in_both_ways("shared descriptor", |way| {
        let server = server();
        let mut scene = Scene::on(way, &[]);
        let mut pair = Pair::to(&server);
        scene.watcher.sees_established(&pair);
        let mut child = holds(&pair);
        let pid = child.id();
        scene.watcher.wait_for("two holders", |line| {
            line["type"] == "holders"
                && line["local"] == pair.b.to_string()
                && line["owners"].as_array().is_some_and(|owners| {
                    owners.len() == 2 && owners.iter().any(|owner| owner["pid"] == pid)
                })
        });
        // That they hold it together for a while is what is tested.
        thread::sleep(Duration::from_millis(2500));
        pair.close_server();
        let found = scene.finds(&pair, "b", "shared-descriptor");
        assert_eq!(found["severity"], "info");
        let owners = found["owners"].as_array().unwrap();
        assert!(owners.iter().all(|owner| owner["pid"] == pid), "{found}");
        while_nobody_starts(|| drop(child.stdin.take()));
        child.wait().unwrap();
        scene.is_over("shared-descriptor");
        scene.ends();
    });
}
