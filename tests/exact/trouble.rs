//! When events can't be had, or not all of them, and what is left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::copy::Copy;
use crate::events;
use crate::life::{A, B, End, Life};
use crate::netns::in_fresh_netns;
use crate::sockets::{PATIENCE, Pair, now_ns, server};
use crate::story::{describe, ns};
use crate::watcher::{NOBODY, Watcher, program, run_to_end};

#[test]
fn an_ordinary_user_who_demands_events_is_told_what_is_missing() {
    let copy = Copy::new("demands");
    in_fresh_netns("demands", || {
        let arguments = ["--events", "on", "--format", "json"];
        let mut command = program(&copy.program(), &arguments);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        let output = run_to_end(command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(output.stdout, b"");
        let line = said.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{said}");
        assert!(line.starts_with("tcpwatch: "), "{line}");
        for needed in ["CAP_BPF", "CAP_PERFMON"] {
            assert!(line.contains(needed), "{line}");
        }
    });
}

#[test]
fn an_ordinary_user_goes_on_without_events_and_knows_why() {
    let copy = Copy::new("auto");
    in_fresh_netns("auto", || {
        let server = server();
        let arguments = ["--format", "json", "--interval", "10ms"];
        let mut watcher = Watcher::start_as_nobody(&copy.program(), &arguments);
        let pair = Pair::to(&server);
        watcher.sees_established(&pair);
        let bpf = |line: &Value| {
            let sources = line["sources"].as_array().into_iter().flatten();
            let mut told = sources.chain([line]);
            told.any(|source| {
                let why = source["why"].as_str().unwrap_or_default();
                let is_off = source["name"] == "bpf" && source["active"] == false;
                is_off && why.contains("CAP_BPF") && why.contains("CAP_PERFMON")
            })
        };
        watcher.wait_for("why there are no events", bpf);
        watcher.finish();
    });
}

/// Much happens while few events fit: what is lost is counted, what is told stays true, and in the
/// end everything is where it is.
#[test]
fn a_ring_too_small_loses_counts_and_heals() {
    if !events::can_run("a ring too small") {
        return;
    }
    in_fresh_netns("a ring too small", || {
        let server = server();
        let mut watcher = Watcher::on("events", &["--ring", "4KiB"]);
        let lives: Vec<Life> = (0..300)
            .map(|index| {
                let mut life = Life::begins(&server);
                let first = [A, B][index % 2];
                let closing = life.drops(first);
                life.reaches(first.other(), "CLOSE_WAIT", closing);
                if index % 3 > 0 {
                    life.drops(first.other());
                    life.ends_somehow("orderly");
                }
                life
            })
            .collect();
        watcher.wait_for("a loss", |line| {
            let is_counted = line["count"].as_u64().is_some_and(|count| count > 0);
            line["type"] == "lost" && line["source"] == "bpf" && is_counted
        });
        // Who lives on is found, however little was told of it before.
        for life in lives.iter().filter(|life| life.ending.is_none()) {
            watcher.sees_open(&life.pair);
        }
        let last = Life::begins(&server);
        watcher.sees_established(&last.pair);
        let states: Vec<_> = lives.iter().map(states_of).collect();
        // The socket that a request became can have another cookie than the look that caught it.
        let was_a_request =
            |line: &Value| line["to"] == "SYN_RECV" && line["certainty"] == "sampled";
        let is_sure = |life: &Life, lines: &[Value]| {
            let conn = number_of(lines, life);
            let mut lines = lines.iter();
            !lines.any(|line| was_a_request(line) && line["conn"].as_u64() == conn)
        };
        let all = || lives.iter().zip(&states);
        for (life, states) in all() {
            if !is_sure(life, &watcher.seen) {
                continue;
            }
            let Some(conn) = number_of(&watcher.seen, life) else {
                // Who came and went with the events that were lost may be missing.
                assert!(life.ending.is_some(), "{} lives", life.pair.a);
                continue;
            };
            for (end, state) in [A, B].into_iter().zip(*states) {
                // A TIME_WAIT of which no event has told may be missing, too.
                let may_be_missing = [None, Some("TIME_WAIT")].contains(&state);
                if !may_be_missing || newest_state(&watcher.seen, conn, end).is_some() {
                    let state = state.unwrap_or("CLOSE");
                    let what = format!("#{conn} {end:?} in {state}");
                    let is_it =
                        |line: &Value| line["conn"] == conn && state_in(line, end) == Some(state);
                    watcher.wait_for(&what, is_it);
                }
            }
        }
        let story = watcher.finish_with_losses();
        for (life, states) in all().filter(|(life, _)| is_sure(life, &story.lines)) {
            let Some(conn) = number_of(&story.lines, life) else {
                continue;
            };
            for (end, state) in [A, B].into_iter().zip(*states) {
                if let Some(newest) = newest_state(&story.lines, conn, end) {
                    let about = || describe(&story.about(&life.pair));
                    assert_eq!(newest, state.unwrap_or("CLOSE"), "{end:?}\n{}", about());
                }
            }
            if let Some(ending) = &life.ending {
                let code = story.verdict(conn)["code"].as_str().unwrap();
                assert!([ending.code, "unknown"].contains(&code), "{code}");
            }
        }
    });
}

fn number_of(lines: &[Value], life: &Life) -> Option<u64> {
    let (a, b) = (life.pair.a.to_string(), life.pair.b.to_string());
    let is_its = |line: &&Value| line["type"] == "open" && line["a"] == *a && line["b"] == *b;
    lines.iter().find(is_its).map(|line| ns(line, "conn"))
}

fn newest_state(lines: &[Value], conn: u64, end: End) -> Option<&str> {
    let about = lines.iter().rev().filter(|line| line["conn"] == conn);
    let mut about = about.filter_map(|line| state_in(line, end));
    about.next()
}

/// The state that a line shows an end in.
fn state_in(line: &Value, end: End) -> Option<&str> {
    let is_its = line["end"] == end.token();
    match line["type"].as_str()? {
        "open" => line[format!("{}_state", end.token())].as_str(),
        "end" if is_its => line["state"].as_str(),
        "transition" if is_its => line["to"].as_str(),
        _ => None,
    }
}

fn states_of(life: &Life) -> [Option<&'static str>; 2] {
    [life.pair.client_state(), life.pair.server_state()]
}

/// The kernel's programs that a process holds, by its descriptors' own word.
fn programs_of(watcher: &Watcher) -> BTreeSet<u32> {
    let descriptors = format!("/proc/{}/fdinfo", watcher.pid().as_raw_nonzero());
    let read = |path: fs::DirEntry| fs::read_to_string(path.path()).unwrap_or_default();
    let infos = fs::read_dir(descriptors).unwrap().flatten().map(read);
    infos
        .flat_map(|info| {
            let ids = info
                .lines()
                .filter_map(|line| line.strip_prefix("prog_id:"));
            ids.map(|id| id.trim().parse().unwrap())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// All programs in the kernel.
#[allow(unsafe_code, reason = "no safe crate of ours wraps bpf(2)")]
fn programs_in_the_kernel() -> BTreeSet<u32> {
    const GET_NEXT_ID: libc::c_int = 11;
    let mut ids = BTreeSet::new();
    // union bpf_attr: start_id, next_id, open_flags.
    let mut attr = [0_u32; 3];
    loop {
        // SAFETY: the kernel reads and writes the twelve bytes that there are.
        let result = unsafe { libc::syscall(libc::SYS_bpf, GET_NEXT_ID, &raw mut attr, 12) };
        if result != 0 {
            let error = std::io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
            return ids;
        }
        ids.insert(attr[1]);
        attr[0] = attr[1];
    }
}

#[test]
fn a_watcher_that_is_killed_leaves_nothing_in_the_kernel() {
    if !events::can_run("killed") {
        return;
    }
    in_fresh_netns("killed", || {
        let mut watcher = Watcher::on("events", &[]);
        let server = server();
        let pair = Pair::to(&server);
        watcher.sees_established(&pair);
        let own = programs_of(&watcher);
        assert!(!own.is_empty() && programs_in_the_kernel().is_superset(&own));
        // Dropping it kills it and waits for its end.
        drop(watcher);
        let killed = now_ns();
        // The kernel frees them when nobody can be running them any more.
        while !programs_in_the_kernel().is_disjoint(&own) {
            assert!(
                u128::from(now_ns() - killed) < PATIENCE.as_nanos(),
                "{own:?}"
            );
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_watcher_keeps_no_capability_but_to_look_into_processes() {
    if !events::can_run("capabilities") {
        return;
    }
    in_fresh_netns("capabilities", || {
        let mut watcher = Watcher::on("events", &[]);
        let server = server();
        let pair = Pair::to(&server);
        watcher.sees_established(&pair);
        let tasks = format!("/proc/{}/task", watcher.pid().as_raw_nonzero());
        let mut threads = 0;
        for task in fs::read_dir(tasks).unwrap().flatten() {
            let mut status = String::new();
            let mut file = fs::File::open(task.path().join("status")).unwrap();
            file.read_to_string(&mut status).unwrap();
            // CAP_SYS_PTRACE is number 19, CAP_DAC_READ_SEARCH number 2.
            let to_look = match status.starts_with("Name:\tholders\n") {
                true => "80004",
                false => "",
            };
            for (field, kept) in [
                ("CapInh:", ""),
                ("CapPrm:", to_look),
                ("CapEff:", to_look),
                ("CapAmb:", ""),
            ] {
                let line = status.lines().find(|line| line.starts_with(field)).unwrap();
                let value = line.trim_start_matches(field).trim();
                assert_eq!(value.trim_start_matches('0'), kept, "{status}");
            }
            threads += 1;
        }
        assert!(threads > 1, "{threads}");
        watcher.finish();
    });
}

/// Not a measurement, but a second would be felt.
#[test]
fn the_first_event_comes_soon() {
    if !events::can_run("soon") {
        return;
    }
    in_fresh_netns("soon", || {
        let server = server();
        let started = now_ns();
        let mut watcher = Watcher::on("events", &[]);
        let pair = Pair::to(&server);
        let first = watcher.wait_for("an event", |line| line["certainty"] == "exact");
        let took = Duration::from_nanos(now_ns() - started);
        let line = format!("from the start to the first event's line: {took:?}\n");
        let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(ns(&first, "at_ns") >= started);
        drop(pair);
        watcher.finish_by(Signal::TERM);
    });
}
