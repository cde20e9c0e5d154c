//! The lab with real processes on the real loopback: what they announce, and that nothing is left
//! of them however they end. Every wait here is for an event, and each of these is sure to come.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tcpwatch::lab::experiments::find;
use tcpwatch::lab::{Announcement, Conductor, LabError, LoopbackFamily, Plan, Role, Running};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpwatch");
const SHORT: Duration = Duration::from_millis(5);
const NEVER: Duration = Duration::from_secs(3600);

fn start(
    name: &str,
    family: LoopbackFamily,
    port: u16,
    step: Duration,
) -> Result<Conductor, LabError> {
    let plan = Plan {
        experiment: find(name).unwrap(),
        family,
        port,
        step,
    };
    Conductor::start(Path::new(PROGRAM), plan)
}

fn start_v4(name: &str, step: Duration) -> Conductor {
    start(name, LoopbackFamily::V4, 0, step).unwrap()
}

fn run(conductor: Conductor) -> (Running, Receiver<Announcement>) {
    let (sender, announcements) = mpsc::channel();
    let running = conductor
        .run(move |told| sender.send(told).is_ok())
        .unwrap();
    (running, announcements)
}

fn pid_of(told: &Announcement) -> u32 {
    match told {
        Announcement::Step { pid, .. } => *pid,
        other => panic!("no step: {other:?}"),
    }
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn send_signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Performs the experiment to its end; who announced what, with the client's own port as `PORT`.
fn script(name: &str, family: LoopbackFamily) -> Option<Vec<String>> {
    let conductor = match start(name, family, 0, SHORT) {
        Err(LabError::NoIpv6(why)) => {
            eprintln!("skipped: {name} over {family:?}, this host has no IPv6 ({why})");
            return None;
        }
        started => started.unwrap(),
    };
    let (server_port, opening) = (conductor.port, conductor.opening.clone());
    let (_running, announcements) = run(conductor);
    let told: Vec<Announcement> = std::iter::once(opening).chain(announcements).collect();
    let lines = told.iter().map(|told| line(told, server_port)).collect();
    for told in &told[..told.len() - 1] {
        assert!(is_gone(pid_of(told)), "still there after the end: {told:?}");
    }
    Some(lines)
}

fn line(told: &Announcement, server_port: u16) -> String {
    match told {
        Announcement::Step { role, text, .. } => {
            let text = text.replace(&format!(":{server_port})"), ":50008)");
            let text = match text.strip_prefix("accept() = ") {
                Some(peer) => format!("accept() = {}:PORT", peer.rsplit_once(':').unwrap().0),
                None => text,
            };
            format!("{role}: {text}")
        }
        Announcement::Finished => "finished".to_owned(),
        Announcement::Failed(why) => format!("failed: {why}"),
    }
}

fn check(name: &str, family: LoopbackFamily, expected: &[&str]) {
    if let Some(lines) = script(name, family) {
        assert_eq!(lines, expected, "{name} over {family:?}");
    }
}

/// The first three lines are the addresses' only place.
fn check_everywhere(name: &str, rest: &[&str]) {
    let beginnings = [
        (LoopbackFamily::V4, ["127.0.0.1", "127.0.0.1", "127.0.0.1"]),
        (LoopbackFamily::V6, ["[::1]", "[::1]", "[::1]"]),
        (
            LoopbackFamily::DualStack,
            ["[::]", "127.0.0.1", "[::ffff:127.0.0.1]"],
        ),
    ];
    for (family, [bound, reached, peer]) in beginnings {
        let beginning = [
            format!("server: listen({bound}:50008)"),
            format!("client: connect({reached}:50008)"),
            format!("server: accept() = {peer}:PORT"),
        ];
        let expected: Vec<&str> = beginning
            .iter()
            .map(String::as_str)
            .chain(rest.iter().copied())
            .collect();
        check(name, family, &expected);
    }
}

#[test]
fn close_ends_in_a_reset() {
    check_everywhere(
        "close",
        &[
            "client: send(7 bytes)",
            "client: close()",
            "server: recv() = 7 bytes \"request\"",
            "server: recv() = 0, end of file",
            "server: send(6 bytes)",
            // In CLOSE_WAIT a reset is told as EPIPE, not as ECONNRESET (tcp_reset()).
            "server: send() = EPIPE",
            "server: close()",
            "server: close(listener)",
            "finished",
        ],
    );
}

#[test]
fn shutdown_leaves_the_way_open_for_the_answer() {
    check_everywhere(
        "shutdown",
        &[
            "client: send(7 bytes)",
            "client: shutdown(SHUT_WR)",
            "server: recv() = 7 bytes \"request\"",
            "server: recv() = 0, end of file",
            "server: send(6 bytes)",
            "server: close()",
            "client: recv() = 6 bytes \"answer\"",
            "client: recv() = 0, end of file",
            "client: close()",
            "server: close(listener)",
            "finished",
        ],
    );
}

#[test]
fn the_two_ends_are_two_processes_and_neither_is_this_one() {
    let conductor = start_v4("shutdown", SHORT);
    let server = pid_of(&conductor.opening);
    let (_running, announcements) = run(conductor);
    let client = pid_of(&announcements.recv().unwrap());
    assert_ne!(server, client);
    for told in announcements
        .into_iter()
        .filter(|told| *told != Announcement::Finished)
    {
        let Announcement::Step { pid, role, .. } = told else {
            panic!("{told:?}");
        };
        assert_eq!(pid, if role == Role::Server { server } else { client });
    }
}

#[test]
fn processes_are_named_by_their_role() {
    let conductor = start_v4("close", SHORT);
    let server = pid_of(&conductor.opening);
    let name = std::fs::read_to_string(format!("/proc/{server}/comm")).unwrap();
    assert_eq!(name, "lab-server\n");
}

#[test]
fn a_taken_port_is_named_with_the_way_out() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let error = start("close", LoopbackFamily::V4, port, SHORT).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("port {port} on 127.0.0.1 is taken (EADDRINUSE); choose another with --port")
    );
}

#[test]
fn a_program_that_is_no_actor_is_an_error_and_no_wait() {
    let plan = Plan {
        experiment: find("close").unwrap(),
        family: LoopbackFamily::V4,
        port: 0,
        step: SHORT,
    };
    let missing = Conductor::start(Path::new("/no/such/program"), plan).unwrap_err();
    assert!(missing.to_string().starts_with(
        "cannot start the experiment's server process (/no/such/program): No such file"
    ));
    let wrong = Conductor::start(Path::new("/bin/true"), plan).unwrap_err();
    assert!(matches!(wrong, LabError::Listen(_)), "{wrong}");
}

#[test]
fn dropped_before_its_client_came_it_leaves_nothing() {
    let conductor = start_v4("close", NEVER);
    let (port, server) = (conductor.port, pid_of(&conductor.opening));
    drop(conductor);
    assert!(is_gone(server));
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[test]
fn stopped_in_mid_experiment_it_leaves_nothing() {
    let conductor = start_v4("shutdown", SHORT);
    let (port, server) = (conductor.port, pid_of(&conductor.opening));
    // A caller that takes one announcement at a time holds the experiment where it is.
    let (sender, announcements) = mpsc::sync_channel(0);
    let running = conductor
        .run(move |told| sender.send(told).is_ok())
        .unwrap();
    let client = pid_of(&announcements.recv().unwrap());
    assert!(!is_gone(server) && !is_gone(client));
    drop(announcements);
    running.stop();
    assert!(is_gone(server) && is_gone(client));
    start("shutdown", LoopbackFamily::V4, port, SHORT).unwrap();
}

#[test]
fn stopping_interrupts_the_pause_between_steps() {
    let conductor = start_v4("close", NEVER);
    let server = pid_of(&conductor.opening);
    let (running, announcements) = run(conductor);
    running.stop();
    assert!(is_gone(server));
    assert_eq!(
        announcements.iter().count(),
        0,
        "nothing is told of a stopped experiment"
    );
}

#[test]
fn a_process_that_does_not_leave_is_killed() {
    let conductor = start_v4("close", SHORT);
    let server = pid_of(&conductor.opening);
    send_signal(server, Signal::STOP);
    let (running, announcements) = run(conductor);
    let client = pid_of(&announcements.recv().unwrap());
    running.stop();
    assert!(is_gone(server) && is_gone(client));
    assert_eq!(
        announcements.iter().count(),
        0,
        "the server could not accept"
    );
}

#[test]
fn an_experiment_that_nobody_hears_ends_by_itself() {
    let conductor = start_v4("close", SHORT);
    let server = pid_of(&conductor.opening);
    let (sender, heard) = mpsc::channel();
    let running = conductor
        .run(move |told| sender.send(told).is_err())
        .unwrap();
    // The sender is dropped with the thread's closure, when it has ended.
    assert_eq!(heard.iter().count(), 1);
    drop(running);
    assert!(is_gone(server));
}

#[test]
fn a_killed_server_is_a_clear_failure_at_once() {
    let conductor = start_v4("close", NEVER);
    let server = pid_of(&conductor.opening);
    let (_running, announcements) = run(conductor);
    send_signal(server, Signal::KILL);
    assert_eq!(
        announcements.iter().collect::<Vec<_>>(),
        [Announcement::Failed(format!(
            "the server process ({server}) ended before the experiment did"
        ))]
    );
    assert!(is_gone(server));
}

/// An actor without a conductor, as after the conductor's SIGKILL.
fn lone_server() -> (Child, impl BufRead) {
    let mut child = Command::new(PROGRAM)
        .args(["lab-actor", "server"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"listen 127.0.0.1 0\n")
        .unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert!(answer.starts_with("ok listen(127.0.0.1:"), "{answer}");
    (child, answers)
}

#[test]
fn an_actor_that_blocks_leaves_when_its_commands_end() {
    let (mut child, mut answers) = lone_server();
    let mut commands = child.stdin.take().unwrap();
    commands.write_all(b"accept\n").unwrap();
    drop(commands);
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "it waited for its accept() before it left");
}

#[test]
fn a_torn_command_is_not_obeyed() {
    let (mut child, mut answers) = lone_server();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"close-listener")
        .unwrap();
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_call_that_nothing_answers_times_out() {
    let (mut child, mut answers) = lone_server();
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"accept\n")
        .unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert_eq!(answer, "err accept() timed out after 5 s\n");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_role_that_does_not_exist_is_refused() {
    let status = Command::new(PROGRAM)
        .args(["lab-actor", "juggler"])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
