//! The ways to watch a scenario, and what each owes to the truth.
//!
//! With events all of it, exactly. Without them, less: a state may be missing, a cause unknown; but
//! what is told has truly happened, and its bounds contain the moment at which it did. The trap:
//! whoever compares only what is told would be content with silence, so a scenario waits for what
//! any way must show.

use std::net::TcpListener;
use std::thread;

use serde_json::Value;

use crate::copy::Copy;
use crate::events;
use crate::life::{A, B, End, Fact, Life, MarkFact, Who};
use crate::netns::in_fresh_netns;
use crate::story::{Story, describe, ns};
use crate::watcher::Watcher;

/// How it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As root, with events.
    Events,
    /// By an ordinary user, with looks and lookups.
    User,
    /// From /proc.
    Proc,
}

/// A look can be this far from the one before for it to tell a close() from a shutdown().
const NARROW: u64 = 20_000_000;

/// Plays a scenario under each way to watch it, at the same time: they wait more than they work.
pub fn in_every_way(scenario: impl Fn(Stage) + Sync) {
    let ways = [Way::Events, Way::User, Way::Proc];
    play(&ways, scenario);
}

/// Plays a scenario under events alone.
pub fn with_events(scenario: impl Fn(Stage) + Sync) {
    play(&[Way::Events], scenario);
}

/// Plays a scenario twice at once under events, each in a namespace of its own.
pub fn in_two_namespaces_with_events(scenario: impl Fn(Stage) + Sync) {
    play(&[Way::Events, Way::Events], scenario);
}

fn play(ways: &[Way], scenario: impl Fn(Stage) + Sync) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let play = |way: Way| {
        in_fresh_netns(&format!("{way:?}, {test}"), || scenario(Stage(way)));
    };
    let has_events = std::env::var_os("NOEV").is_none() && events::can_run(&test);
    thread::scope(|scope| {
        let play = &play;
        let ways = ways.iter().filter(|way| **way != Way::Events || has_events);
        let playing: Vec<_> = ways.map(|&way| scope.spawn(move || play(way))).collect();
        for scene in playing {
            if let Err(panic) = scene.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// A scenario that is not watched yet.
///
/// Its listeners come first: one that a look overlooks, because it comes in the middle of it, can't
/// say which end is the server's.
pub struct Stage(Way);

impl Stage {
    /// The watcher comes.
    pub fn watched(self) -> Scene {
        Scene::new(self.0)
    }
}

/// A scenario and its watcher.
pub struct Scene {
    /// How it is watched.
    pub way: Way,
    /// Who watches.
    pub watcher: Watcher,
    _copy: Option<Copy>,
}

impl Scene {
    fn new(way: Way) -> Self {
        let (watcher, copy) = match way {
            Way::Events => (Watcher::on("events", &[]), None),
            Way::Proc => (Watcher::on("proc", &[]), None),
            Way::User => {
                let name = thread::current().name().unwrap_or("test").to_owned();
                let letters = name.chars().filter(char::is_ascii_alphanumeric);
                let copy = Copy::new(&letters.collect::<String>());
                let mut arguments = vec!["--format", "json", "--interval", "10ms"];
                arguments.extend(["--source", "sock-diag", "--events", "off"]);
                let watcher = Watcher::start_as_nobody(&copy.program(), &arguments);
                (watcher, Some(copy))
            }
        };
        Self {
            way,
            watcher,
            _copy: copy,
        }
    }

    /// A connection that every way shows established.
    pub fn connects(&mut self, server: &TcpListener) -> Life {
        let life = Life::begins(server);
        self.watcher.sees_established(&life.pair);
        life
    }

    /// Holds the scene until the end is shown in a state.
    pub fn sees(&mut self, life: &Life, end: End, state: &'static str) {
        let conn = self.conn(life);
        let what = format!("{} in {state}", end.token());
        self.watcher.wait_for(&what, |line| {
            is_step(line, conn, end) && line["to"] == state
        });
    }

    /// The number under which the life is shown.
    pub fn conn(&mut self, life: &Life) -> u64 {
        let (a, b) = (life.pair.a.to_string(), life.pair.b.to_string());
        let mut conn = 0;
        for _ in 0..=life.nth {
            let open = self.watcher.wait_for("its opening", |line| {
                let is_its = line["a"] == *a && line["b"] == *b;
                line["type"] == "open" && is_its && ns(line, "conn") > conn
            });
            conn = ns(&open, "conn");
        }
        conn
    }

    /// The curtain falls, and what was told of these lives is held against the truth. They are all
    /// that there was.
    pub fn tells(mut self, lives: &[&Life]) -> Story {
        for life in lives {
            self.waits_for_all_of(life);
        }
        let way = self.way;
        let story = self.watcher.finish();
        for life in lives {
            match story.conns(&life.pair).get(life.nth) {
                Some(&conn) if way == Way::Events => tells_exactly(&story, conn, life),
                Some(&conn) => tells_nothing_wrong(&story, conn, life, way),
                None => assert_ne!(way, Way::Events, "{} is not told", life.pair.a),
            }
        }
        let opened = story.all("open").count();
        assert!(opened <= lives.len(), "{}", describe(&story.lines));
        story
    }

    fn waits_for_all_of(&mut self, life: &Life) {
        if self.way != Way::Events {
            let was_seen = !life.steps[B as usize].is_empty();
            if was_seen && life.ending.is_some() {
                let conn = self.conn(life);
                self.watcher.wait_for("its end", |line| {
                    line["type"] == "closed" && line["conn"] == conn
                });
            }
            return;
        }
        let conn = self.conn(life);
        for end in [A, B] {
            if let Some(last) = life.steps[end as usize].last() {
                self.sees(life, end, last.state);
            }
        }
        for mark in &life.marks {
            self.watcher.wait_for(&format!("{mark:?}"), |line| {
                is_mark(line, conn, mark.end) && line["what"] == mark.what
            });
        }
        if life.ending.is_some() {
            self.watcher.wait_for("its end", |line| {
                line["type"] == "closed" && line["conn"] == conn
            });
        }
    }
}

fn is_step(line: &Value, conn: u64, end: End) -> bool {
    line["type"] == "transition" && line["conn"] == conn && line["end"] == end.token()
}

fn is_mark(line: &Value, conn: u64, end: End) -> bool {
    line["type"] == "event" && line["conn"] == conn && line["end"] == end.token()
}

/// With events: every state, in its order, at its time, for its cause, and no other.
pub fn tells_exactly(story: &Story, conn: u64, life: &Life) {
    let about = || describe(&story.about(&life.pair));
    for end in [A, B] {
        let facts = &life.steps[end as usize];
        let truly: Vec<&str> = facts.iter().map(|fact| fact.state).collect();
        assert_eq!(story.path(conn, end.token()), truly, "{end:?}\n{}", about());
        for (fact, line) in facts.iter().zip(story.steps(conn, end.token())) {
            if let Err(why) = agrees_exactly(fact, line) {
                panic!("{why}: {fact:?} is told as {line}\n{}", about());
            }
        }
    }
    has_its_marks(story, conn, life);
    if let Some(ending) = &life.ending {
        let verdict = story.verdict(conn);
        let told = |field: &str| verdict[field].clone();
        assert_eq!(told("code"), ending.code, "{verdict}\n{}", about());
        if let Some(first) = ending.first_closer {
            assert_eq!(
                told("first_closer"),
                first.token(),
                "{verdict}\n{}",
                about()
            );
        }
        if let Some(how) = ending.how {
            assert_eq!(told("how"), how, "{verdict}\n{}", about());
        }
        assert_eq!(told("signal").as_u64(), ending.signal, "{verdict}");
        assert_eq!(told("lost_bytes").as_u64(), ending.lost_bytes, "{verdict}");
    } else {
        let is_its = |line: &&Value| line["conn"] == conn;
        assert_eq!(story.all("closed").find(is_its), None, "{}", about());
    }
}

fn agrees_exactly(fact: &Fact, line: &Value) -> Result<(), String> {
    let (not_before, not_after) = (ns(line, "not_before_ns"), ns(line, "not_after_ns"));
    let is_exact = line["certainty"] == "exact";
    let may_be_looked_up = fact.is_of_a_mini_socket && !is_exact;
    check(is_exact || may_be_looked_up, "not exact")?;
    check(
        line["source"] == "bpf" || fact.is_of_a_mini_socket,
        "not by an event",
    )?;
    check(is_within(fact, not_before, not_after), "at another time")?;
    // Of the end of a mini-socket a look does not always tell why.
    let may_be_unknown = may_be_looked_up && line["cause"] == "unknown";
    check(
        line["cause"] == fact.cause || may_be_unknown,
        "another cause",
    )?;
    check(line["call"].as_str() == fact.call, "another call")?;
    check(line["reason"].as_str() == fact.reason, "another reason")?;
    check(line["signal"].as_u64() == fact.signal, "another signal")?;
    check(process_of(line) == fact.by, "another process")?;
    let unread = line["unread"].as_u64();
    check(
        fact.unread.is_none() || unread == fact.unread,
        "another count of bytes",
    )
}

fn is_within(fact: &Fact, not_before: u64, not_after: u64) -> bool {
    not_before <= fact.when.latest && fact.when.earliest <= not_after
}

fn process_of(line: &Value) -> Option<Who> {
    Some(Who {
        pid: line["pid"].as_u64()?,
        comm: line["comm"].as_str()?.to_owned(),
    })
}

/// Every mark is told at its time, and no other of its kind. A segment may be sent again whenever
/// the machine is slow.
fn has_its_marks(story: &Story, conn: u64, life: &Life) {
    let told: Vec<&Value> = story
        .all("event")
        .filter(|line| line["conn"] == conn)
        .collect();
    for mark in &life.marks {
        let is_told = |line: &&&Value| is_mark(line, conn, mark.end) && tells_mark(mark, line);
        let found = told.iter().find(is_told);
        assert!(
            found.is_some(),
            "{mark:?} in\n{}",
            describe(&story.about(&life.pair))
        );
    }
    for line in told {
        let is_it = |mark: &&MarkFact| is_mark(line, conn, mark.end) && line["what"] == mark.what;
        let is_known = line["what"] == "retransmit" || life.marks.iter().any(|mark| is_it(&mark));
        assert!(
            is_known,
            "{line} in\n{}",
            describe(&story.about(&life.pair))
        );
    }
}

fn tells_mark(mark: &MarkFact, line: &Value) -> bool {
    let at = ns(line, "at_ns");
    line["what"] == mark.what
        && (mark.when.earliest..=mark.when.latest).contains(&at)
        && (mark.reason.is_none() || line["reason"].as_str() == mark.reason)
        && process_of(line) == mark.by
}

/// Without events: every state told was truly entered, in this order, within the bounds told, and
/// for the cause told, if one is.
fn tells_nothing_wrong(story: &Story, conn: u64, life: &Life, way: Way) {
    let about = || describe(&story.about(&life.pair));
    for end in [A, B] {
        let mut facts = life.steps[end as usize].iter();
        let told: Vec<&Value> = story.steps(conn, end.token()).collect();
        for (line, next) in told.iter().zip(told.iter().skip(1).map(Some).chain([None])) {
            let Some(fact) = facts.find(|fact| line["to"] == fact.state) else {
                panic!("never happened: {line}\n{}", about());
            };
            let is_sampled = |line: &Value| line["certainty"] == "sampled";
            let is_seen = way == Way::User
                && fact.state == "FIN_WAIT1"
                && (is_sampled(line)
                    || next.is_some_and(|n| n["to"] == "FIN_WAIT2" && is_sampled(n)));
            if let Err(why) = agrees_as_far_as_told(fact, line, is_seen) {
                panic!("{why}: {fact:?} is told as {line}\n{}", about());
            }
        }
    }
    let Some(closed) = story.all("closed").find(|line| line["conn"] == conn) else {
        return;
    };
    let verdict = &closed["verdict"];
    let Some(ending) = &life.ending else {
        panic!("it did not end: {closed}\n{}", about());
    };
    let agrees = |field: &str, truth: Option<&str>| {
        let told = verdict[field].as_str();
        // What exited has closed, as far as looks tell.
        told.is_none()
            || truth.is_none()
            || told == truth
            || (told, truth) == (Some("close"), Some("exit"))
    };
    // The one that gave up in silence answers the other's FIN with a reset, and looks may show no
    // more than that.
    let was_reset = life.marks.iter().any(|mark| mark.what == "reset_received");
    let is_answered_by_a_reset = ending.code == "timed-out" && was_reset;
    let code = verdict["code"].as_str().unwrap();
    assert!(
        ["unknown", ending.code].contains(&code) || (code == "aborted" && is_answered_by_a_reset),
        "{verdict}\n{}",
        about()
    );
    let first = ending.first_closer.map(End::token);
    assert!(agrees("first_closer", first), "{verdict}\n{}", about());
    assert!(agrees("how", ending.how), "{verdict}\n{}", about());
}

/// `is_seen`: a look has shown what the first FIN did.
fn agrees_as_far_as_told(fact: &Fact, line: &Value, is_seen: bool) -> Result<(), String> {
    let (not_before, not_after) = (line["not_before_ns"].as_u64(), ns(line, "not_after_ns"));
    let is_within = is_within(fact, not_before.unwrap_or(0), not_after);
    check(is_within, "at another time")?;
    let is_null_or = |field: &str, truth: Option<&str>| {
        let told = line[field].as_str();
        told.is_none() || told == truth
    };
    check(is_null_or("call", fact.call), "another call")?;
    check(is_null_or("reason", fact.reason), "another reason")?;
    check(line["signal"].is_null(), "a signal that no look can tell")?;
    check(line["pid"].is_null(), "a process that no look can tell")?;
    let cause = line["cause"].as_str().unwrap_or_default();
    let is_close_for_exit = cause == "close" && fact.cause == "process_exit";
    let is_true = cause == fact.cause || cause == "unknown" || is_close_for_exit;
    check(is_true, "another cause")?;
    let is_narrow = not_before.is_some_and(|from| not_after - from <= NARROW);
    let must_be_known = match fact.cause {
        "shutdown_wr" => is_seen,
        // In FIN_WAIT1 it looks like a close() that lingers.
        "shutdown_rdwr" => is_seen && line["certainty"] == "inferred",
        // In the middle of the call the descriptor is still held.
        "close" => is_seen && is_narrow && line["descriptor"] != "held",
        _ => false,
    };
    check(
        cause != "unknown" || !must_be_known,
        "a cause that the state's length lets be known",
    )
}

fn check(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}
