//! Many connections at once, with different ends: nothing is lost, nothing is made up, and every
//! bound told contains the moment at which it truly happened.

use std::io::Write;
use std::net::TcpListener;

use crate::sockets::{Between, Pair, abort_on_close, server, stamped};
use crate::story::{Story, Truth};
use crate::through_every_source;
use crate::watcher::Watcher;

/// Chance that is the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A connection of the crowd, and what is known of it.
struct Member {
    pair: Pair,
    truths: Vec<Truth>,
    /// What its verdict may be.
    verdicts: &'static [&'static str],
    first_closer: Option<&'static str>,
}

impl Member {
    fn born(server: &TcpListener) -> Self {
        let (connecting, stream) =
            stamped(|| std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap());
        let mut pair = Pair::of(stream);
        let (accepting, ()) = stamped(|| pair.accept(server));
        let truths = vec![
            Truth::of_a(&pair, "ESTABLISHED", connecting),
            Truth::of_b(&pair, "ESTABLISHED", accepting.since(connecting)),
        ];
        Self {
            pair,
            truths,
            verdicts: &[],
            first_closer: None,
        }
    }

    /// Brings it to an end, in one of many ways.
    fn end(&mut self, dice: &mut Dice) {
        let awaits = dice.roll(2) == 0;
        match dice.roll(6) {
            0 => self.close(awaits),
            1 => self.close_from_the_server(awaits),
            2 => self.shut_down(awaits),
            3 => self.abort(),
            4 => self.leave_unread(),
            _ => self.close_both_at_once(),
        }
    }

    fn close(&mut self, awaits: bool) {
        let closing = self.pair.close_client();
        self.truth_a("FIN_WAIT1", closing);
        if awaits {
            let fin_wait2 = self.pair.client_enters("FIN_WAIT2").not_before(closing);
            self.truth_a("FIN_WAIT2", fin_wait2);
        }
        let (reading, ()) = stamped(|| self.pair.server_reads_to_end());
        let close_wait = reading.since(closing);
        self.truth_b("CLOSE_WAIT", close_wait);
        self.end_orderly(closing);
    }

    fn shut_down(&mut self, awaits: bool) {
        let shutting = self.pair.shut_client();
        self.truth_a("FIN_WAIT1", shutting);
        self.pair.server_reads_to_end();
        if awaits {
            let mut server = self.pair.server.as_ref().unwrap();
            server.write_all(b"answer").unwrap();
        }
        self.end_orderly(shutting);
    }

    fn end_orderly(&mut self, closing: Between) {
        let last_ack = self.pair.close_server();
        let time_wait = self.pair.client_enters("TIME_WAIT").not_before(last_ack);
        self.truth_b("LAST_ACK", last_ack);
        self.truth_a("TIME_WAIT", time_wait);
        let gone = self.pair.server_vanishes().not_before(last_ack);
        self.truth_b("CLOSE", gone.not_before(closing));
        self.verdicts = &["orderly"];
        self.first_closer = Some("a");
    }

    fn close_from_the_server(&mut self, awaits: bool) {
        let closing = self.pair.close_server();
        self.truth_b("FIN_WAIT1", closing);
        if awaits {
            let fin_wait2 = self.pair.server_enters("FIN_WAIT2").not_before(closing);
            self.truth_b("FIN_WAIT2", fin_wait2);
        } else {
            self.pair.client_enters("CLOSE_WAIT");
        }
        let last_ack = self.pair.close_client();
        let time_wait = self.pair.server_enters("TIME_WAIT").not_before(last_ack);
        self.truth_a("LAST_ACK", last_ack);
        self.truth_b("TIME_WAIT", time_wait);
        self.verdicts = &["orderly"];
        self.first_closer = Some("b");
    }

    fn abort(&mut self) {
        abort_on_close(self.pair.client.as_ref().unwrap());
        let reset = self.pair.close_client();
        self.truth_a("CLOSE", reset);
        let gone = self.pair.server_vanishes().not_before(reset);
        self.truth_b("CLOSE", gone);
        self.verdicts = &["aborted"];
    }

    fn leave_unread(&mut self) {
        let mut client = self.pair.client.as_ref().unwrap();
        client.write_all(b"unread").unwrap();
        self.pair.server.as_ref().unwrap().peek(&mut [0]).unwrap();
        let reset = self.pair.close_server();
        self.truth_b("CLOSE", reset);
        self.verdicts = &["aborted"];
    }

    /// Not a simultaneous close: the FIN is mostly quicker than the second call.
    fn close_both_at_once(&mut self) {
        let closing = self.pair.close_client();
        self.pair.close_server();
        self.truth_a("FIN_WAIT1", closing);
        self.pair.client_enters("TIME_WAIT");
        self.verdicts = &["orderly", "simultaneous"];
    }

    /// The verdict is right. A reset leaves nothing behind, so a life that ended in one may be
    /// missed, or shown by what the look met before the reset; then nobody can know.
    fn is_told_in(&self, story: &Story) {
        let is_reset = self.verdicts == ["aborted"];
        let conn = match story.conns(&self.pair).as_slice() {
            [] if is_reset => return,
            [conn] => *conn,
            other => panic!(
                "{} is {other:?}\n{}",
                self.pair.a,
                crate::story::describe(&story.about(&self.pair))
            ),
        };
        let verdict = story.verdict(conn);
        let code = verdict["code"].as_str().unwrap();
        if code == "unknown" {
            // Resets are counted for all together: when others vanish with it, nobody can say
            // whose one was.
            assert!(is_reset, "{verdict}");
            return;
        }
        assert!(self.verdicts.contains(&code), "{code}: {verdict}");
        if self.first_closer.is_some() {
            assert_eq!(verdict["first_closer"].as_str(), self.first_closer);
        }
    }

    fn truth_a(&mut self, state: &'static str, when: Between) {
        self.truths.push(Truth::of_a(&self.pair, state, when));
    }

    fn truth_b(&mut self, state: &'static str, when: Between) {
        self.truths.push(Truth::of_b(&self.pair, state, when));
    }
}

fn crowd_of_fifty(source: &str, interval: &str, seed: u64) {
    let server = server();
    let mut dice = Dice(seed);
    let mut watcher = Watcher::on(source, &["--interval", interval]);
    let mut ended = Vec::new();
    let mut living: Vec<Member> = Vec::new();
    for _ in 0..50 {
        living.push(Member::born(&server));
        if living.len() > 4 {
            let chosen = dice.roll(living.len() as u64);
            let mut member = living.swap_remove(usize::try_from(chosen).unwrap());
            member.end(&mut dice);
            ended.push(member);
        }
    }
    // Only a connection that a look showed can be told; these live long enough for that.
    for mut member in living {
        watcher.sees_established(&member.pair);
        member.end(&mut dice);
        watcher.sees_closed(&member.pair);
        ended.push(member);
    }
    let story = watcher.finish();
    for member in &ended {
        story.agrees_with(&member.truths);
        member.is_told_in(&story);
    }
}

#[test]
fn every_bound_told_contains_the_truth() {
    through_every_source(|source| {
        crowd_of_fifty(source, "10ms", 0x9e37_79b9_7f4a_7c15);
    });
}

#[test]
fn every_bound_told_contains_the_truth_however_often_it_looks() {
    through_every_source(|source| {
        crowd_of_fifty(source, "1ms", 0x2545_f491_4f6c_dd1d);
    });
}

#[test]
fn every_bound_told_contains_the_truth_however_seldom_it_looks() {
    through_every_source(|source| {
        crowd_of_fifty(source, "150ms", 0xd134_2543_de82_ef95);
    });
}

/// Connections that no look can show alive leave a TIME_WAIT, and that is enough.
fn five_hundred_short_lives(source: &str, interval: &str) {
    let server = server();
    let mut watcher = Watcher::on(source, &["--interval", interval]);
    let pairs: Vec<Pair> = (0..500)
        .map(|_| {
            let mut pair = Pair::to(&server);
            pair.close_client();
            pair.server_reads_to_end();
            pair.close_server();
            pair
        })
        .collect();
    for pair in &pairs {
        watcher.sees_closed(pair);
    }
    let story = watcher.finish();
    for pair in &pairs {
        let conn = story.conn(pair);
        let verdict = story.verdict(conn);
        assert_eq!(verdict["code"], "orderly", "{verdict}");
        assert_eq!(verdict["first_closer"], "a", "{verdict}");
        // A look can skip a row, and the next one then finds a TIME_WAIT that is older than that look;
        // and a late ACK between two sockets of one host can end one (docs/limits.md).
        let mut opened = story.all("open");
        let was_found = opened.any(|open| open["conn"] == conn && open["a_state"] == "TIME_WAIT");
        let passed = story.path(conn, "a").contains(&"TIME_WAIT");
        assert!(was_found || passed, "{:?}", story.path(conn, "a"));
    }
    assert_eq!(story.all("open").count(), 500);
}

#[test]
fn short_lives_between_two_looks_are_all_told() {
    through_every_source(|source| five_hundred_short_lives(source, "500ms"));
}

#[test]
fn short_lives_across_many_looks_are_all_told_as_orderly() {
    through_every_source(|source| five_hundred_short_lives(source, "1ms"));
}
