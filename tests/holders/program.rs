//! The program as its users run it: owners in the list, changes on the lanes, and what an ordinary
//! user is told.

use std::process::Command;

use serde_json::Value;

use crate::copy::Copy;
use crate::holding::{Shell, alone};
use crate::netns::in_fresh_netns;
use crate::sockets::{Pair, port_of, server};
use crate::watcher::{NOBODY, Watcher, program_as_nobody, run, run_to_end};

fn me() -> u32 {
    std::process::id()
}

fn pids(owners: &Value) -> Vec<u64> {
    let all = owners.as_array().unwrap();
    all.iter()
        .map(|owner| owner["pid"].as_u64().unwrap())
        .collect()
}

fn listed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_list_names_who_holds_both_ends() {
    let _alone = alone();
    in_fresh_netns("the_list_names_who_holds_both_ends", || {
        let server = server();
        let pair = Pair::to(&server);
        let shell = Shell::holding(pair.server.as_ref().unwrap());
        let port = port_of(&server).to_string();
        let list = listed(&run(&["list", "--port", &port, "--format", "json"]));
        let ends = &list["connections"][0];
        assert_eq!(pids(&ends["a"]["owners"]), [u64::from(me())]);
        let mut both = [me(), shell.pid()].map(u64::from);
        both.sort_unstable();
        assert_eq!(pids(&ends["b"]["owners"]), both);
        let output = run(&["list", "--port", &port]);
        let text = String::from_utf8(output.stdout).unwrap();
        let held = format!("sh[{}] fd 2", shell.pid());
        assert!(text.contains(&held), "{text}");
    });
}

#[test]
fn a_copy_closed_and_a_fork_are_on_the_lane() {
    let _alone = alone();
    in_fresh_netns("a_copy_closed_and_a_fork_are_on_the_lane", || {
        let server = server();
        let mut watcher = Watcher::on("sock-diag", &["--port", &port_of(&server).to_string()]);
        let pair = Pair::to(&server);
        watcher.sees_established(&pair);
        let mut shell = Shell::holding(pair.server.as_ref().unwrap());
        let pid = u64::from(shell.pid());
        let says = |line: &Value, what: &str| {
            let all = line[what].as_array();
            line["type"] == "holders"
                && line["end"] == "b"
                && all.is_some_and(|all| all.iter().any(|one| one.as_u64() == Some(pid)))
        };
        watcher.wait_for("the shell as a holder", |line| says(line, "came"));
        shell.does("exec 2>&-");
        let line = watcher.wait_for("its copy closed", |line| says(line, "closed"));
        assert_eq!(pids(&line["owners"]), [u64::from(me())]);
        watcher.finish();
    });
}

#[test]
fn an_ordinary_user_is_told_what_is_not_visible() {
    let _alone = alone();
    let copy = Copy::new("holders");
    in_fresh_netns("an_ordinary_user_is_told_what_is_not_visible", || {
        let server = server();
        let pair = Pair::to(&server);
        let mut command = Command::new("/bin/sh");
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
        let shell = Shell::of(command, pair.server.as_ref().unwrap());
        let port = port_of(&server).to_string();
        let as_nobody =
            |arguments: &[&str]| run_to_end(program_as_nobody(&copy.program(), arguments));
        let list = listed(&as_nobody(&["list", "--port", &port, "--format", "json"]));
        let ends = &list["connections"][0];
        assert_eq!(ends["a"]["owners"], Value::Null, "hidden is not nobody");
        assert_eq!(pids(&ends["b"]["owners"]), [u64::from(shell.pid())]);
        let text = String::from_utf8(as_nobody(&["list", "--port", &port]).stdout).unwrap();
        assert!(
            text.contains("  not visible without CAP_SYS_PTRACE  "),
            "{text}"
        );
        assert!(text.contains("(others may not be visible)"), "{text}");
        let mut watcher = Watcher::start_as_nobody(
            &copy.program(),
            &["--format", "json", "--port", &port, "--interval", "10ms"],
        );
        let session = watcher.wait_for("its first line", |line| line["type"] == "session");
        let sources = session["sources"].as_array().unwrap().clone();
        let holders = sources.iter().find(|source| source["name"] == "holders");
        let why = holders.unwrap()["why"].as_str().unwrap();
        assert!(why.contains("CAP_SYS_PTRACE"), "{why}");
        watcher.wait_for("the shell as the only one seen", |line| {
            line["type"] == "holders" && line["end"] == "b" && line["seen"] == "partly"
        });
        watcher.finish();
    });
}

#[test]
fn a_proc_that_hides_the_others_does_not_make_them_nobody() {
    let _alone = alone();
    let copy = Copy::new("hidepid");
    in_fresh_netns("a_proc_that_hides_the_others", || {
        let server = server();
        let _pair = Pair::to(&server);
        let port = port_of(&server);
        let program = copy.program();
        let script = format!(
            "mount -t proc -o hidepid=2 proc /proc || exit 99; \
             {0} list --port {port} --format json; \
             exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \
             {0} list --port {port} --format json",
            program.display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["-m", "-p", "-f", "/bin/sh", "-c", &script])
            .current_dir("/");
        command.stdout(std::process::Stdio::piped());
        let output = run_to_end(command);
        if output.status.code() == Some(99) {
            eprintln!("skipped: hidepid: /proc can't be mounted here");
            return;
        }
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        // Root in a pid namespace of its own, then nobody behind hidepid: neither can know.
        let lists = serde_json::Deserializer::from_slice(&output.stdout);
        let lists: Vec<Value> = lists.into_iter().map(Result::unwrap).collect();
        assert_eq!(lists.len(), 2);
        for list in lists {
            for end in ["a", "b"] {
                assert_eq!(list["connections"][0][end]["owners"], Value::Null);
            }
        }
    });
}
