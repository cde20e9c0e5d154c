//! What the program told of a run, and the rules that every such story obeys, whatever happened.
//!
//! The rules are written down here a second time, from the promise of the machine output and from
//! RFC 9293, on purpose: a test that borrowed the program's own tables would agree with its
//! mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use crate::sockets::{Between, Pair};

/// All lines of a run, found to obey the rules.
pub struct Story {
    /// In the order in which they were printed.
    pub lines: Vec<Value>,
}

/// Something that truly happened: this end entered this state.
#[derive(Clone, Debug)]
pub struct Truth {
    /// The end.
    pub local: SocketAddr,
    /// Whom it talks to.
    pub remote: SocketAddr,
    /// The state.
    pub state: &'static str,
    /// When.
    pub when: Between,
}

impl Truth {
    /// Of end A.
    pub fn of_a(pair: &Pair, state: &'static str, when: Between) -> Self {
        Self {
            local: pair.a,
            remote: pair.b,
            state,
            when,
        }
    }

    /// Of end B.
    pub fn of_b(pair: &Pair, state: &'static str, when: Between) -> Self {
        Self {
            local: pair.b,
            remote: pair.a,
            state,
            when,
        }
    }
}

impl Story {
    /// Checks the rules, of a run in which nothing may be missed.
    pub fn of(lines: Vec<Value>) -> Self {
        if let Some(lost) = lines.iter().find(|line| line["type"] == "lost") {
            let is_about = |line: &&Value| lost["conn"].is_null() || line["conn"] == lost["conn"];
            let about: Vec<Value> = lines.iter().filter(is_about).cloned().collect();
            panic!("nothing was to be lost: {lost}\n{}", describe(&about));
        }
        Self::with_losses(lines)
    }

    /// Checks the rules.
    pub fn with_losses(lines: Vec<Value>) -> Self {
        let mut rules = Rules::default();
        for (index, line) in lines.iter().enumerate() {
            if let Err(why) = rules.check(index, line) {
                panic!("{why}: {line}\n{}", describe(&lines));
            }
        }
        assert!(
            rules.lanes.values().all(|lane| lane.inferred.is_none()),
            "an inferred state leads nowhere:\n{}",
            describe(&lines)
        );
        Self { lines }
    }

    /// The lines of one type.
    pub fn all(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(move |line| line["type"] == kind)
    }

    /// The numbers of the connections between two addresses, oldest first.
    pub fn conns(&self, pair: &Pair) -> Vec<u64> {
        let (a, b) = (pair.a.to_string(), pair.b.to_string());
        self.all("open")
            .filter(|line| line["a"] == *a && line["b"] == *b)
            .map(|line| line["conn"].as_u64().unwrap())
            .collect()
    }

    /// The lines about connections between two addresses.
    pub fn about(&self, pair: &Pair) -> Vec<Value> {
        let conns = self.conns(pair);
        let is_about = |line: &&Value| line["conn"].as_u64().is_some_and(|c| conns.contains(&c));
        self.lines.iter().filter(is_about).cloned().collect()
    }

    /// The number of the only connection between two addresses.
    pub fn conn(&self, pair: &Pair) -> u64 {
        match self.conns(pair).as_slice() {
            [conn] => *conn,
            other => panic!(
                "{} is {other:?} in\n{}",
                pair.a,
                describe(&self.about(pair))
            ),
        }
    }

    /// All of it is about one connection.
    pub fn has_one_connection(&self) {
        let opened = self.all("open").count();
        assert_eq!(opened, 1, "\n{}", describe(&self.lines));
    }

    /// The steps of one end.
    pub fn steps(&self, conn: u64, end: &'static str) -> impl Iterator<Item = &Value> {
        self.all("transition")
            .filter(move |line| line["conn"] == conn && line["end"] == end)
    }

    /// The states that one end was told to enter, in order.
    pub fn path(&self, conn: u64, end: &'static str) -> Vec<&str> {
        self.steps(conn, end)
            .map(|line| line["to"].as_str().unwrap())
            .collect()
    }

    /// The step of one end into a state.
    pub fn step(&self, conn: u64, end: &'static str, to: &str) -> &Value {
        self.steps(conn, end)
            .find(|line| line["to"] == to)
            .unwrap_or_else(|| panic!("no {end} -> {to} in\n{}", describe(&self.lines)))
    }

    /// The cookies of a connection's ends, as far as they are told.
    pub fn cookies(&self, conn: u64) -> BTreeSet<u64> {
        let of_both = self
            .all("open")
            .flat_map(|line| ["a_cookie", "b_cookie"].map(|field| (&line["conn"], &line[field])));
        let of_one = self.all("end").map(|line| (&line["conn"], &line["cookie"]));
        of_both
            .chain(of_one)
            .filter(|(of, _)| **of == conn)
            .filter_map(|(_, cookie)| cookie.as_u64())
            .collect()
    }

    /// The verdict of a connection.
    pub fn verdict(&self, conn: u64) -> &Value {
        let closed = self
            .all("closed")
            .find(|line| line["conn"] == conn)
            .unwrap_or_else(|| panic!("#{conn} is not closed in\n{}", describe(&self.lines)));
        &closed["verdict"]
    }

    /// The true moment lies within what is told of it, where it is told. A state that an end
    /// passed too quickly for a look may be missing, or inferred.
    pub fn agrees_with(&self, truths: &[Truth]) {
        for truth in truths {
            let told = self.all("transition").filter(|line| {
                line["local"] == *truth.local.to_string()
                    && line["remote"] == *truth.remote.to_string()
                    && line["to"] == truth.state
            });
            for line in told {
                let (from, to) = (ns(line, "not_before_ns"), ns(line, "not_after_ns"));
                assert!(
                    from <= truth.when.latest && truth.when.earliest <= to,
                    "{truth:?} is told otherwise: {line}\n{}",
                    describe(&self.lines)
                );
            }
        }
    }

    /// No end is told to have been in one of these states.
    pub fn never_tells(&self, states: &[&str]) {
        let told = self
            .all("transition")
            .find(|line| states.iter().any(|state| line["to"] == *state));
        assert_eq!(told, None, "\n{}", describe(&self.lines));
    }
}

/// A number of nanoseconds of a line.
pub fn ns(line: &Value, field: &str) -> u64 {
    line[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {line}"))
}

/// The lines, for the message of a test that failed.
pub fn describe(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[derive(Default)]
struct Rules {
    lanes: BTreeMap<(u64, String), Lane>,
    closed: BTreeSet<u64>,
    conns: BTreeSet<u64>,
    /// By connection where sources report moments, else of all.
    newest_at: BTreeMap<u64, u64>,
    has_events: bool,
    has_moments: bool,
}

struct Lane {
    state: String,
    /// Bounds of an inferred step whose end is to come.
    inferred: Option<(u64, u64)>,
    not_before: u64,
    has_moved: bool,
}

impl Rules {
    fn check(&mut self, index: usize, line: &Value) -> Result<(), String> {
        let kind = line["type"].as_str().ok_or("no type")?;
        ensure((kind == "session") == (index == 0), "session comes first")?;
        match kind {
            "session" => self.begin_session(line)?,
            "open" | "end" | "transition" | "event" | "closed" => self.check_order(line)?,
            "source" => self.hear_of(line),
            "clock" | "note" | "conclusion" | "lost" | "finding" | "finding_over" => {}
            "holders" | "age" => {
                let conn = line["conn"].as_u64();
                let is_open = conn.is_some_and(|conn| self.conns.contains(&conn));
                ensure(is_open, "it is of a connection never opened")?;
            }
            _ => return Err("a type that is not promised".to_owned()),
        }
        match kind {
            "open" => self.open(line),
            "end" => self.joined(line),
            "transition" => self.transition(line),
            "event" => self.mark(line),
            "closed" => self.over(line),
            _ => Ok(()),
        }
    }

    fn begin_session(&mut self, line: &Value) -> Result<(), String> {
        ensure(line["version"] == 1, "version")?;
        let sources = line["sources"].as_array().ok_or("no sources")?;
        sources.iter().for_each(|source| self.hear_of(source));
        Ok(())
    }

    fn hear_of(&mut self, source: &Value) {
        let is = |name: &str| source["name"] == *name && source["active"] == true;
        self.has_events |= is("bpf");
        self.has_moments |= is("bpf") || is("destroy");
    }

    /// What looks tell is in the order of time. What events tell is too, in each connection; but a
    /// moment that they tell can bound a step of the other end which a look shows only later.
    fn check_order(&mut self, line: &Value) -> Result<(), String> {
        let is_bounded = match line["type"].as_str() {
            Some("transition") => line["certainty"] != "exact",
            Some("open" | "event") => false,
            _ => true,
        };
        if self.has_moments && is_bounded {
            return Ok(());
        }
        let at = ns(line, "at_ns");
        let of = if self.has_moments {
            ns(line, "conn")
        } else {
            0
        };
        let newest = self.newest_at.entry(of).or_default();
        ensure(*newest <= at, "told after something later")?;
        *newest = at;
        Ok(())
    }

    /// Something that moved nothing: of an end that is known, and only events tell it, but that a
    /// socket does not answer.
    fn mark(&mut self, line: &Value) -> Result<(), String> {
        let is_events = line["what"] != "no_answer";
        ensure(self.has_events || !is_events, "a mark without events")?;
        let key = (ns(line, "conn"), line["end"].as_str().ok_or("no end")?);
        let key = (key.0, key.1.to_owned());
        ensure(
            self.lanes.contains_key(&key),
            "a mark on an end never opened",
        )?;
        let known = [
            "reset_sent",
            "reset_received",
            "retransmit",
            "freed",
            "close_call",
            "no_answer",
        ];
        let what = line["what"].as_str().ok_or("no mark")?;
        ensure(known.contains(&what), "a mark that is not promised")
    }

    fn open(&mut self, line: &Value) -> Result<(), String> {
        let conn = ns(line, "conn");
        ensure(self.conns.insert(conn), "a number that is used again")?;
        for end in ["a", "b"] {
            let state = &line[format!("{end}_state")];
            if let Some(state) = state.as_str() {
                self.begin(conn, end, state)?;
            }
        }
        Ok(())
    }

    fn joined(&mut self, line: &Value) -> Result<(), String> {
        let conn = ns(line, "conn");
        ensure(self.conns.contains(&conn), "an end of nothing")?;
        let (end, state) = (line["end"].as_str(), line["state"].as_str());
        self.begin(conn, end.ok_or("no end")?, state.ok_or("no state")?)
    }

    fn begin(&mut self, conn: u64, end: &str, state: &str) -> Result<(), String> {
        ensure(followers(state).is_some(), "no such state")?;
        let lane = Lane {
            state: state.to_owned(),
            inferred: None,
            not_before: 0,
            has_moved: false,
        };
        let before = self.lanes.insert((conn, end.to_owned()), lane);
        ensure(before.is_none(), "an end that was told before")
    }

    /// An end whose birth was seen is opened in its present state, and then its way there is told,
    /// from CLOSE on.
    fn restart_at_birth(&mut self, key: &(u64, String), from: &Value) {
        if let Some(lane) = self.lanes.get_mut(key)
            && *from == "CLOSE"
            && !lane.has_moved
        {
            lane.state = "CLOSE".to_owned();
        }
    }

    fn transition(&mut self, line: &Value) -> Result<(), String> {
        let conn = ns(line, "conn");
        let key = (conn, line["end"].as_str().ok_or("no end")?.to_owned());
        let is_closed = self.closed.contains(&conn);
        self.restart_at_birth(&key, &line["from"]);
        let lane = self.lanes.get_mut(&key).ok_or("an end never opened")?;
        let (from, to) = (&line["from"], line["to"].as_str().ok_or("no state")?);
        ensure(*from == *lane.state, "the chain is broken")?;
        ensure(leads_to(&lane.state, to), "a way that TCP does not have")?;
        ensure(
            !is_closed || (*from == "TIME_WAIT" && to == "CLOSE"),
            "more than the end of TIME_WAIT after the end",
        )?;
        let (not_before, not_after) = (ns(line, "not_before_ns"), ns(line, "not_after_ns"));
        ensure(not_before <= not_after, "bounds the wrong way round")?;
        ensure(lane.not_before <= not_before, "before the step before")?;
        ensure(ns(line, "at_ns") == not_after, "at is not the upper bound")?;
        let certainty = line["certainty"].as_str();
        if let Some((from, until)) = lane.inferred {
            // An event ends what was inferred at its upper bound; a look knows no more than both.
            let from = if certainty == Some("exact") {
                until
            } else {
                from
            };
            ensure(
                (from, until) == (not_before, not_after),
                "bounds not shared",
            )?;
        }
        let is_at_a_moment = not_before == not_after;
        lane.inferred = match certainty {
            Some("inferred") if to == "TIME_WAIT" && is_at_a_moment => None,
            Some("inferred") => Some((not_before, not_after)),
            Some("sampled") => None,
            Some("exact") if self.has_events && is_at_a_moment => None,
            _ => return Err("a certainty that its source cannot have".to_owned()),
        };
        lane.not_before = not_before;
        lane.has_moved = true;
        to.clone_into(&mut lane.state);
        Ok(())
    }

    fn over(&mut self, line: &Value) -> Result<(), String> {
        let conn = ns(line, "conn");
        ensure(self.closed.insert(conn), "closed twice")?;
        let mut ends = self
            .lanes
            .range((conn, String::new())..(conn + 1, String::new()));
        ensure(
            ends.all(|(_, lane)| ["CLOSE", "TIME_WAIT"].contains(&&*lane.state)),
            "closed while an end lives",
        )
    }
}

fn ensure(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// What RFC 9293 lets follow in one step; every state may end in CLOSE by a reset.
fn followers(state: &str) -> Option<&'static [&'static str]> {
    Some(match state {
        "CLOSE" => &["SYN_SENT", "SYN_RECV"],
        "SYN_SENT" => &["SYN_RECV", "ESTABLISHED", "CLOSE"],
        "SYN_RECV" => &["ESTABLISHED", "FIN_WAIT1", "CLOSE"],
        "ESTABLISHED" => &["FIN_WAIT1", "CLOSE_WAIT", "CLOSE"],
        "FIN_WAIT1" => &["FIN_WAIT2", "CLOSING", "TIME_WAIT", "CLOSE"],
        "FIN_WAIT2" => &["TIME_WAIT", "CLOSE"],
        "CLOSING" => &["TIME_WAIT", "CLOSE"],
        "CLOSE_WAIT" => &["LAST_ACK", "CLOSE"],
        "LAST_ACK" | "TIME_WAIT" => &["CLOSE"],
        _ => return None,
    })
}

/// Whether some legal way leads there, not through the end of the life.
fn leads_to(from: &str, to: &str) -> bool {
    let mut open: Vec<&str> = followers(from).unwrap_or_default().to_vec();
    let mut known: BTreeSet<&str> = open.iter().copied().collect();
    while let Some(state) = open.pop() {
        if state == to {
            return true;
        }
        if state != "CLOSE" {
            let next = followers(state).unwrap_or_default();
            open.extend(next.iter().filter(|state| known.insert(state)));
        }
    }
    false
}
