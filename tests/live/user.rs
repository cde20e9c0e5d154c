//! Everything so far needs no privilege: the same through both sources for a user that is nobody.

use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::copy::Copy;
use crate::sockets::{Pair, server};
use crate::watcher::{NOBODY, Watcher, program, run_to_end};
use crate::{in_netns_each, through_both_sources};

fn watch_as_nobody(program: &Path, source: &str) {
    let server = server();
    let arguments = ["--format", "json", "--interval", "10ms", "--source", source];
    let mut watcher = Watcher::start_as_nobody(program, &arguments);
    let mut pair = Pair::to(&server);
    watcher.sees_established(&pair);
    pair.close_client();
    let fin_wait2 = watcher.sees(&pair, "a", "FIN_WAIT2");
    assert_eq!(fin_wait2["descriptor"], "gone");
    pair.close_server();
    let verdict = watcher.sees_end(&pair, "orderly");
    assert_eq!(verdict["how"], "close");
    watcher.finish();
}

#[test]
fn an_ordinary_user_sees_the_same() {
    let copy = Copy::new("watch");
    through_both_sources(|source| watch_as_nobody(&copy.program(), source));
}

#[test]
fn an_ordinary_user_can_run_an_experiment() {
    let copy = Copy::new("lab");
    in_netns_each(["close"], |experiment| {
        let arguments = ["lab", experiment, "--format", "text", "--step", "200ms"];
        let mut command = program(&copy.program(), &arguments);
        command.args(["--interval", "10ms"]);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        let output = run_to_end(command);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("close: shown: "), "{text}");
    });
}
