//! `--netns`: looking into another network namespace, by root and by others, from outside and from
//! a third one; and which others there are.
//!
//! Namespaces are made by the tests in threads of their own, held by a process or by a mount, and
//! end with the test.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "common/copy.rs"]
mod copy;
#[path = "common/events.rs"]
mod events;
#[path = "common/netns.rs"]
mod netns;
#[allow(dead_code, reason = "not every test file needs all of it")]
#[path = "common/sockets.rs"]
mod sockets;
#[allow(dead_code, reason = "not every test file needs all of it")]
#[path = "common/story.rs"]
mod story;
#[allow(dead_code, reason = "not every test file needs all of it")]
#[path = "common/watcher.rs"]
mod watcher;

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use copy::Copy;
use netns::in_fresh_netns;
use serde_json::Value;
use sockets::{Pair, port_of, server, while_nobody_closes};
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{Scope, TcpState};
use tcpwatch::source::host;
use tcpwatch::source::netns::{Namespace, others};
use watcher::{NOBODY, Watcher, program, run, run_to_end};

/// A process that holds a namespace, and ends with the test.
struct Resident(Child);

impl Resident {
    /// In the calling thread's namespace: a `cat` that waits for the end of its input.
    fn here(user: u32) -> Self {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.uid(user).gid(user).current_dir("/");
        Self(while_nobody_closes(|| command.spawn()).unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Somewhere else: a namespace with one connection that its client has closed, and a process.
struct Elsewhere {
    resident: Resident,
    port: u16,
    netns: u64,
    /// Dropped, it ends.
    _end: mpsc::Sender<()>,
}

impl Elsewhere {
    /// Made in a thread of its own. `None` where that is not permitted.
    fn new(user: u32, make: fn() -> TcpListener) -> Option<Self> {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            in_fresh_netns("elsewhere", move || {
                let server = make();
                let port = port_of(&server);
                let mut pair = Pair::to(&server);
                pair.close_client();
                pair.client_enters("FIN_WAIT2");
                let netns = host::scope().netns.unwrap();
                tell.send((Resident::here(user), port, netns)).unwrap();
                let _ = ended.recv();
            })
        });
        let (resident, port, netns) = told.recv().ok()?;
        Some(Self {
            resident,
            port,
            netns,
            _end: end,
        })
    }
}

fn v6_server() -> TcpListener {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap()
}

fn as_nobody(copy: &Copy, arguments: &[&str]) -> Output {
    let mut command = program(&copy.program(), arguments);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    run_to_end(command)
}

fn rows(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    document["connections"].as_array().unwrap().clone()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exactly the connection that is elsewhere.
fn shows_it(output: &Output, elsewhere: &Elsewhere, netns: Option<u64>) {
    let rows = rows(output);
    assert_eq!(rows.len(), 1, "{output:?}");
    assert_eq!(output.status.code(), Some(0));
    let port = format!(":{}", elsewhere.port);
    assert!(rows[0]["b"]["addr"].as_str().unwrap().ends_with(&port));
    assert_eq!(rows[0]["b"]["state"], "CLOSE_WAIT");
    assert_eq!(rows[0]["netns"], netns.map_or(Value::Null, Value::from));
}

#[test]
fn root_looks_in_by_pid_and_by_path() {
    for make in [server as fn() -> TcpListener, v6_server] {
        let Some(elsewhere) = Elsewhere::new(0, make) else {
            return;
        };
        let pid = elsewhere.resident.pid();
        let path = format!("/proc/{pid}/ns/net");
        for namespace in [&pid, &path] {
            let arguments = ["list", "--format", "json", "--netns", namespace];
            for source in ["auto", "sock-diag", "proc"] {
                let output = run(&[&arguments[..], &["--source", source]].concat());
                shows_it(&output, &elsewhere, Some(elsewhere.netns));
            }
            // And from a third one.
            let netns = Some(elsewhere.netns);
            in_fresh_netns("a_third_one", || {
                shows_it(&run(&arguments), &elsewhere, netns)
            });
        }
    }
}

#[test]
fn an_ordinary_user_looks_in_through_a_process() {
    let copy = Copy::new("netns");
    for make in [server as fn() -> TcpListener, v6_server] {
        let Some(elsewhere) = Elsewhere::new(0, make) else {
            return;
        };
        let pid = elsewhere.resident.pid();
        let arguments = ["list", "--format", "json", "--netns", &pid];
        for source in ["auto", "proc"] {
            let output = as_nobody(&copy, &[&arguments[..], &["--source", source]].concat());
            // Which namespace it is this user may not know.
            shows_it(&output, &elsewhere, None);
            let why = "may not be entered (needs root, or CAP_SYS_ADMIN)";
            assert_eq!(
                stderr(&output).contains(why),
                source == "auto",
                "{output:?}"
            );
        }
        let path = format!("/proc/{pid}/ns/net");
        for (arguments, why) in [
            (
                ["list", "--netns", &pid, "--source", "sock-diag"],
                "--source proc",
            ),
            (
                ["list", "--netns", &path, "--source", "auto"],
                "entering it is not permitted",
            ),
            (
                ["lab", "close", "--netns", &pid, "--format=text"],
                "can't be started there",
            ),
        ] {
            let output = as_nobody(&copy, &arguments);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(stderr(&output).contains(why), "{output:?}");
            assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
        }
    }
}

/// It takes no right to look at one's own, whoever the process belongs to.
#[test]
fn ones_own_namespace_is_looked_at_as_ever() {
    let copy = Copy::new("own");
    in_fresh_netns("ones_own", || {
        let resident = Resident::here(0);
        let server = server();
        let _pair = Pair::to(&server);
        let pid = resident.pid();
        let arguments = [
            "list",
            "--format",
            "json",
            "--source",
            "sock-diag",
            "--netns",
            &pid,
        ];
        let rows = rows(&as_nobody(&copy, &arguments));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["netns"], host::scope().netns.unwrap());
    });
}

/// A name of `ip netns`, which is a mount; taken away again.
struct Named {
    name: String,
    path: PathBuf,
}

impl Named {
    fn new(name: &str, of: &Resident) -> Option<Self> {
        let name = format!("tcpwatch-{name}-{}", std::process::id());
        let command = Command::new("ip")
            .args(["netns", "attach", &name, &of.pid()])
            .output();
        let output = command.ok()?;
        let path = Path::new("/run/netns").join(&name);
        if !output.status.success() {
            eprintln!("skipped: ip netns attach: {}", stderr(&output));
            return None;
        }
        Some(Self { name, path })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

#[test]
fn a_name_is_looked_into_also_without_a_process() {
    let Some(mut elsewhere) = Elsewhere::new(0, server) else {
        return;
    };
    let Some(named) = Named::new("named", &elsewhere.resident) else {
        return;
    };
    let path = named.path.display().to_string();
    for namespace in [&named.name, &path] {
        let output = run(&["list", "--format", "json", "--netns", namespace]);
        shows_it(&output, &elsewhere, Some(elsewhere.netns));
    }
    let told = others(&port(elsewhere.port), host::scope(), PATIENCE);
    let found = told
        .found
        .iter()
        .find(|one| one.netns == Some(elsewhere.netns));
    assert_eq!(found.unwrap().name.as_ref(), Some(&named.name));
    // Nobody lives there any more but its sockets.
    let _ = elsewhere.resident.0.kill();
    let _ = elsewhere.resident.0.wait();
    let wrong = run(&["list", "--netns", &format!("{}x", named.name)]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains(&named.name), "{wrong:?}");
    let output = run(&["list", "--format", "json", "--netns", &named.name]);
    shows_it(&output, &elsewhere, Some(elsewhere.netns));
}

#[test]
fn what_is_no_namespace_is_said_on_one_line() {
    let folder = std::env::temp_dir().join(format!("tcpwatch-netns-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("file").display().to_string();
    fs::write(&file, "").unwrap();
    let pipe = folder.join("pipe").display().to_string();
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut over = Resident::here(0);
    let zombie = over.pid();
    over.0.kill().unwrap();
    // Ended, and not waited for.
    while !fs::read_to_string(format!("/proc/{zombie}/stat"))
        .unwrap()
        .contains(") Z ")
    {
        thread::park_timeout(Duration::from_millis(1));
    }
    let missing = folder.join("missing").display().to_string();
    let other_kind = "/proc/self/ns/mnt".to_owned();
    let here = folder.display().to_string();
    for (namespace, why) in [
        (file, "that is no network namespace"),
        (pipe, "that is no network namespace"),
        (here, "that is no network namespace"),
        (other_kind, "that is no network namespace"),
        (missing, "can't open it"),
        (zombie, "has ended"),
        ("4194304".into(), "there is no process 4194304"),
        ("4194305".into(), "allowed: the PID of a process"),
        ("0".into(), "allowed: the PID of a process"),
        (String::new(), "netns"),
        ("..".into(), "allowed: the PID of a process"),
        ("no-such-name".into(), "knows no namespace of that name"),
        ("a\u{1b}[31mb".into(), "knows no namespace of that name"),
    ] {
        for command in [&["list"][..], &["--format", "text"], &["lab", "close"]] {
            let output = run(&[command, &["--netns", &namespace]].concat());
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{namespace:?}: {output:?}");
            assert!(text.contains(why), "{namespace:?}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.trim_end().contains(char::is_control), "{text:?}");
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// Watches a namespace from outside, in which a connection is born and ends afterwards.
fn watched_from_outside(start: impl FnOnce(&str) -> Watcher, netns_is_known: bool, is_exact: bool) {
    let (to_us, told) = mpsc::channel();
    let (go, going) = mpsc::channel::<()>();
    let inside = thread::spawn(move || {
        in_fresh_netns("watched_from_outside", move || {
            let resident = Resident::here(0);
            // Before the watching: who listens tells who opened.
            let servers = [server(), v6_server()];
            to_us.send((resident.pid(), host::scope().netns)).unwrap();
            going.recv().unwrap();
            for server in servers {
                let mut pair = Pair::to(&server);
                to_us
                    .send((format!("{} {}", pair.a, pair.b), None))
                    .unwrap();
                going.recv().unwrap();
                pair.close_client();
                pair.client_enters("FIN_WAIT2");
                pair.server_reads_to_end();
                to_us.send((String::new(), None)).unwrap();
                going.recv().unwrap();
                pair.close_server();
                to_us.send((String::new(), None)).unwrap();
                going.recv().unwrap();
            }
            drop(resident);
        })
    });
    let Ok((pid, netns)) = told.recv() else {
        return;
    };
    let mut watcher = start(&pid);
    let known = netns.filter(|_| netns_is_known);
    let known = known.map_or(Value::Null, Value::from);
    assert_eq!(watcher.seen[0]["netns"], known);
    for _ in 0..2 {
        go.send(()).unwrap();
        let (ends, _) = told.recv().unwrap();
        let (a, b) = ends.split_once(' ').unwrap();
        let open = watcher.wait_for("the opening", |line| {
            line["type"] == "open" && line["a"] == a
        });
        assert_eq!(open["b"], b);
        assert_eq!(open["netns"], known);
        let conn = open["conn"].clone();
        for step in ["FIN_WAIT2", "TIME_WAIT"] {
            go.send(()).unwrap();
            told.recv().unwrap();
            let line = watcher.wait_for(step, |line| {
                line["type"] == "transition" && line["conn"] == conn && line["to"] == step
            });
            assert_eq!(
                line["certainty"] == "exact",
                is_exact && step == "FIN_WAIT2",
                "{line}"
            );
        }
    }
    // The process ends, and with it all that held the namespace but us: nothing happens.
    go.send(()).unwrap();
    inside.join().unwrap();
    watcher.finish();
}

#[test]
fn root_watches_events_in_another_namespace() {
    let exact = events::can_run("root_watches_events_in_another_namespace");
    let source = if exact { "events" } else { "sock-diag" };
    watched_from_outside(|pid| Watcher::on(source, &["--netns", pid]), true, exact);
}

#[test]
fn an_ordinary_user_watches_another_namespace() {
    let copy = Copy::new("watched");
    let start = |pid: &str| {
        let arguments = ["--format", "json", "--interval", "10ms", "--netns", pid];
        Watcher::start_as_nobody(&copy.program(), &arguments)
    };
    watched_from_outside(start, false, false);
}

#[test]
fn an_experiment_runs_in_another_namespace() {
    let Some(elsewhere) = Elsewhere::new(0, server) else {
        return;
    };
    let arguments = [
        "lab", "close", "--step", "100ms", "--format", "json", "--netns",
    ];
    let pid = elsewhere.resident.pid();
    let output = run(&[&arguments[..], &[&pid]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let opens: Vec<Value> = lines.filter(|line| line["type"] == "open").collect();
    assert_eq!(opens.len(), 1, "{text}");
    assert_eq!(opens[0]["netns"], elsewhere.netns);
}

#[test]
fn a_recording_says_which_namespace_it_is_of() {
    let Some(elsewhere) = Elsewhere::new(0, server) else {
        return;
    };
    let pid = elsewhere.resident.pid();
    let output = run(&["record", "-o", "-", "--duration", "100ms", "--netns", &pid]);
    let text = String::from_utf8_lossy(&output.stdout);
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(header["netns"], elsewhere.netns, "{output:?}");
}

const PATIENCE: Duration = Duration::from_secs(10);

fn port(port: u16) -> Filter {
    Filter {
        ports: PortSet::one(port),
        ..Filter::default()
    }
}

#[test]
fn other_namespaces_with_sockets_of_a_port_are_named() {
    let Some(elsewhere) = Elsewhere::new(0, server) else {
        return;
    };
    let own = host::scope();
    let told = others(&port(elsewhere.port), own, PATIENCE);
    let found: Vec<_> = told
        .found
        .iter()
        .filter(|one| one.netns == Some(elsewhere.netns))
        .collect();
    let [found] = found[..] else {
        panic!("{told:?}");
    };
    assert_eq!(found.count(TcpState::CloseWait), 1);
    assert_eq!(found.count(TcpState::FinWait2), 1);
    assert_eq!(found.count(TcpState::Listen), 1);
    assert_eq!(found.sockets(), 3);
    let resident = found.process.as_ref().unwrap();
    assert_eq!(resident.pid.to_string(), elsewhere.resident.pid());
    assert_eq!(resident.comm, "cat");
    assert_eq!(found.namespace(), Some(Namespace::Process(resident.pid)));
    assert!(told.looked_into >= 1);
    // From there it is no other one.
    let there = Scope {
        host: 0,
        netns: Some(elsewhere.netns),
    };
    let told = others(&port(elsewhere.port), there, PATIENCE);
    assert!(
        told.found
            .iter()
            .all(|one| one.netns != Some(elsewhere.netns))
    );
    // And without any time nothing is looked into, which is said.
    let told = others(&port(elsewhere.port), own, Duration::ZERO);
    assert!(told.found.is_empty() || told.looked_into > 0);
    let late = told
        .unseen
        .iter()
        .any(|why| why.contains("no time was left"));
    assert!(late || told.looked_into > 0, "{told:?}");
    // We are where we were.
    assert_eq!(host::scope(), own);
}

#[test]
fn a_namespace_has_an_inode_and_a_table_of_its_own() {
    // What the search for others rests on.
    let Some(elsewhere) = Elsewhere::new(NOBODY, server) else {
        return;
    };
    let table = |pid: &str| fs::metadata(format!("/proc/{pid}/net/tcp")).unwrap().ino();
    assert_ne!(table("self"), table(&elsewhere.resident.pid()));
    let same = Resident::here(NOBODY);
    assert_eq!(table("self"), table(&same.pid()));
}
