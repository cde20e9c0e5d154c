//! Made-up connections between two hosts whose true clocks are known.

use std::net::Ipv4Addr;

use super::offset::written;
use super::*;
use crate::model::event::File;
use crate::model::{
    Body, Cookie, Endpoint, Event, FourTuple, Moment, Observation, Scope, Shutdown, SockId,
    SourceName, TcpState, Timestamp, What,
};
use crate::timeline::Tracker;

use TcpState::*;

/// xorshift64*, seeded, so that a failure can be seen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    /// A way through the network, in nanoseconds.
    fn delay(&mut self) -> u64 {
        10_000 + self.below(400_000)
    }
}

/// When, on which end, from and to which state.
type Step = (u64, usize, TcpState, TcpState);

fn open(dice: &mut Dice, at: u64, steps: &mut Vec<Step>) -> u64 {
    let syn = at + dice.delay();
    let answered = syn + dice.delay();
    let accepted = answered + dice.delay();
    steps.extend([
        (at, 0, Close, SynSent),
        (answered, 0, SynSent, Established),
        (accepted, 1, Listen, SynRecv),
        (accepted, 1, SynRecv, Established),
    ]);
    accepted
}

/// One end closes, then the other.
fn close(dice: &mut Dice, first: usize, at: u64, steps: &mut Vec<Step>) {
    let second = 1 - first;
    let came = at + dice.delay();
    let acknowledged = came + dice.delay();
    let answer = acknowledged + dice.below(3_000_000);
    let back = answer + dice.delay();
    let end = back + dice.delay();
    steps.extend([
        (at, first, Established, FinWait1),
        (came, second, Established, CloseWait),
        (acknowledged, first, FinWait1, FinWait2),
        (answer, second, CloseWait, LastAck),
        (back, first, FinWait2, Close),
        (end, second, LastAck, Close),
    ]);
}

/// Both close before the other's FIN comes.
fn close_at_once(dice: &mut Dice, at: u64, steps: &mut Vec<Step>) {
    let sent = [at, at + dice.below(9_000)];
    let came = [sent[1] + dice.delay(), sent[0] + dice.delay()];
    for end in [0, 1] {
        let acknowledged = came[1 - end].max(came[end]) + dice.delay();
        steps.extend([
            (sent[end], end, Established, FinWait1),
            (came[end], end, FinWait1, Closing),
            (acknowledged, end, Closing, Close),
        ]);
    }
}

fn life(dice: &mut Dice, at: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let opened = open(dice, at, &mut steps);
    let at = opened + 500_000 + dice.below(5_000_000);
    match dice.below(3) {
        0 => close_at_once(dice, at, &mut steps),
        first => close(dice, first as usize - 1, at, &mut steps),
    }
    steps
}

fn observation(port: u16, (at, end, from, to): Step, offset: i64) -> Observation {
    let endpoint = |host: u8, port| Endpoint::from((Ipv4Addr::new(10, 0, 0, host), port));
    let tuple = FourTuple {
        local: endpoint(1, port),
        remote: endpoint(2, 80),
    };
    let host = end as u16;
    let cookie = Some(Cookie(u64::from(port)));
    let moment = Moment {
        shutdown: Shutdown::from_kernel(3),
        file: File::Absent,
        error: None,
        receive: 0,
        send: 0,
        lingers_not: false,
        fin_received: Some(true),
        bytes_received: 0,
        bytes_acked: 0,
        cgroup: None,
        multipath: false,
    };
    let mut said = Observation {
        at: Timestamp::from_nanos(at),
        host,
        source: SourceName::Bpf,
        body: Body::Event(Event {
            id: SockId {
                scope: Scope { host, netns: None },
                cookie,
                tuple: if end == 0 { tuple } else { tuple.mirror() },
            },
            what: What::State { from, to },
            moment: Some(moment),
            caller: None,
        }),
    };
    if end == 1 {
        said.shift(offset);
    }
    said
}

const BEGIN: u64 = 100_000_000_000;

/// A server whose clock is 0.7 s behind tells of the next life of a 4-tuple before the client does.
#[test]
fn the_next_life_of_a_4_tuple_is_not_taken_for_this_one() {
    let mut dice = Dice(41);
    let mut told: Vec<Observation> = Vec::new();
    let mut tell = |port: u16, at: u64, is_seen: &dyn Fn(usize) -> bool| {
        let life = life(&mut dice, at);
        let seen = life.into_iter().filter(|step| is_seen(step.1));
        told.extend(seen.map(|step| {
            let mut said = observation(port, step, -700_000_000);
            // Each life is a socket of its own.
            if let Body::Event(event) = &mut said.body {
                event.id.cookie = Some(Cookie(at));
            }
            said
        }));
    };
    for number in 0..8 {
        tell(
            20_000 + number,
            BEGIN + u64::from(number) * 50_000_000,
            &|_| true,
        );
    }
    tell(30_000, BEGIN + 1_000_000_000, &|_| true);
    tell(30_000, BEGIN + 3_000_000_000, &|end| end == 0);
    tell(30_000, BEGIN + 4_000_000_000, &|_| true);
    let tracker = ingested(told);
    let ends = |one: &Connection| one.visible().count();
    let alone: Vec<u64> = tracker
        .connections()
        .filter(|one| ends(one) == 1)
        .map(|one| one.opened().nanos())
        .collect();
    assert_eq!(alone, [BEGIN + 3_000_000_000]);
    assert_eq!(tracker.connections().len(), 11);
}

/// What is concluded of so many connections when host 1 is ahead by what `clock` says.
fn clocks(lives: &[Vec<Step>], clock: &dyn Fn(usize) -> i64) -> Clocks {
    let tracker = tracked(lives, clock);
    assert_eq!(tracker.connections().len(), lives.len(), "all are paired");
    taken(&tracker)
}

/// The same when no end finds the other.
fn unpaired(lives: &[Vec<Step>], clock: &dyn Fn(usize) -> i64) -> Clocks {
    let tracker = tracked(lives, clock);
    assert_eq!(tracker.connections().len(), 2 * lives.len());
    taken(&tracker)
}

fn taken(tracker: &Tracker) -> Clocks {
    let mut clocks = Clocks::default();
    tracker.connections().for_each(|one| clocks.take(one));
    clocks
}

fn tracked(lives: &[Vec<Step>], clock: &dyn Fn(usize) -> i64) -> Tracker {
    let mut told: Vec<Observation> = Vec::new();
    for (number, steps) in lives.iter().enumerate() {
        let port = 20_000 + number as u16;
        let said = steps
            .iter()
            .map(|step| observation(port, *step, clock(number)));
        told.extend(said);
    }
    ingested(told)
}

fn ingested(mut told: Vec<Observation>) -> Tracker {
    told.sort_by_key(|said| said.at);
    // What has no lookup is settled by whatever comes later.
    let last = Observation {
        at: Timestamp::from_nanos(2 * BEGIN),
        host: 0,
        source: SourceName::Bpf,
        body: Body::Clock { realtime_ns: 0 },
    };
    let mut tracker = Tracker::default();
    for said in told.iter().chain([&last]) {
        tracker.ingest(said);
        tracker.changes().for_each(drop);
        tracker.asks().for_each(drop);
    }
    tracker
}

fn lives(dice: &mut Dice) -> Vec<Vec<Step>> {
    (0..3 + dice.below(10))
        .map(|_| {
            let at = BEGIN + dice.below(1_000_000_000);
            life(dice, at)
        })
        .collect()
}

fn only(clocks: &Clocks) -> Pair {
    let mut pairs = clocks.pairs();
    assert_eq!(pairs.len(), 1);
    pairs.remove(0)
}

/// Of two hosts, db1 and web.
fn words(given: i64, is_one_clock: bool) -> Words<'static> {
    Words {
        names: ["db1", "web"],
        option: "web",
        given,
        is_one_clock,
        brief: |time| format!("{} us", time.as_micros()),
    }
}

#[test]
fn the_offset_that_is_recommended_mends_all() {
    for seed in 1..400u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let lives = lives(&mut dice);
        let scale = [1_000, 1_000_000, 1_000_000_000][dice.below(3) as usize];
        let ahead = (dice.below(10_000) as i64 - 5_000) * scale / 1_000;
        let said = clocks(&lives, &|_| ahead);
        let pair = only(&said);
        let (at_least, at_most) = pair.offsets();
        let truth = -ahead;
        assert!(at_least.is_none_or(|least| least <= truth), "run {seed}");
        assert!(at_most.is_none_or(|most| truth <= most), "run {seed}");
        match pair.finding() {
            Finding::Agree { .. } => assert_eq!(pair.broken, 0, "run {seed}"),
            Finding::Mend { offset } => {
                assert!(pair.broken > 0 && pair.worst.is_some());
                assert!(
                    offset.abs_diff(truth) < 500_000,
                    "run {seed}: {offset} {truth}"
                );
                let mended = clocks(&lives, &|_| ahead + offset);
                assert_eq!(only(&mended).broken, 0, "run {seed}");
            }
            _ => panic!("run {seed}: one offset mends all"),
        }
    }
}

#[test]
fn true_clocks_break_nothing() {
    let mut dice = Dice(77);
    let lives = lives(&mut dice);
    let said = clocks(&lives, &|_| 0);
    let pair = only(&said);
    assert_eq!((pair.broken, pair.worst), (0, None));
    assert_eq!(pair.connections, lives.len() as u64);
    assert!(pair.constraints >= 4 * pair.connections);
    let (Some(least), Some(most)) = pair.offsets() else {
        panic!("both ways are bounded");
    };
    assert!(least < 0 && 0 < most);
    let sentence = pair.sentence(&words(0, false));
    let begin = format!(
        "the clocks of db1 and web: {} connections agree with",
        lives.len()
    );
    assert!(sentence.starts_with(&begin), "{sentence}");
}

/// The kernel answers a FIN before it enters CLOSING or TIME_WAIT.
#[test]
fn an_ack_that_comes_before_its_sender_has_changed_its_state_breaks_nothing() {
    let mut dice = Dice(9);
    let mut at_once = Vec::new();
    let opened = open(&mut dice, BEGIN, &mut at_once) + 1_000_000;
    at_once.extend([
        (opened, 0, Established, FinWait1),
        (opened + 10, 1, Established, FinWait1),
        // The ACKs are there before the states of who sent them.
        (opened + 5_000, 0, FinWait1, FinWait2),
        (opened + 5_100, 0, FinWait2, TimeWait),
        (opened + 9_000, 1, FinWait1, Closing),
        (opened + 9_100, 1, Closing, Close),
    ]);
    let mut in_turn = Vec::new();
    let opened = open(&mut dice, 2 * opened - BEGIN, &mut in_turn) + 1_000_000;
    in_turn.extend([
        (opened, 0, Established, FinWait1),
        (opened + 1_000, 1, Established, CloseWait),
        (opened + 3_000, 0, FinWait1, FinWait2),
        (opened + 4_000, 1, CloseWait, LastAck),
        (opened + 6_000, 1, LastAck, Close),
        (opened + 6_100, 0, FinWait2, TimeWait),
    ]);
    let said = clocks(&[at_once, in_turn], &|_| 0);
    let pair = only(&said);
    assert_eq!((pair.broken, pair.worst), (0, None));
}

#[test]
fn a_clock_that_was_set_is_mended_by_no_offset() {
    let mut dice = Dice(5);
    let lives: Vec<_> = (0..12)
        .map(|number| life(&mut dice, BEGIN + number * 50_000_000))
        .collect();
    let set = |number: usize| if number < 9 { 0 } else { 700_000_000 };
    let said = clocks(&lives, &set);
    let pair = only(&said);
    let Finding::Split { offset } = pair.finding() else {
        panic!("{:?}", pair.finding());
    };
    assert_eq!(offset, None, "most are in order");
    assert_eq!(pair.broken, 3);
    let sentence = pair.sentence(&words(0, false));
    assert!(sentence.contains("3 of 12 connections"), "{sentence}");
    assert!(sentence.contains("no single offset"), "{sentence}");
}

#[test]
fn a_fin_that_came_before_it_was_sent_is_said_with_what_mends_it() {
    // Only the end of a life: it was there when we came.
    let (at, way) = (BEGIN, 100_000);
    let steps = vec![
        (at, 0, Established, FinWait1),
        (at + way, 1, Established, CloseWait),
        (at + 2 * way, 0, FinWait1, FinWait2),
    ];
    let said = clocks(&[steps], &|_| -2_310_000);
    let pair = only(&said);
    assert_eq!(pair.finding(), Finding::Mend { offset: 2_310_000 });
    let worst = pair.worst.unwrap();
    assert_eq!(
        (worst.law, worst.by),
        (Law::Fin, Duration::from_micros(2_210))
    );
    assert_eq!(
        pair.sentence(&words(0, false)),
        "the clocks of db1 and web disagree: 1 of 1 connection got a FIN before it was sent; \
         --offset web=2.31ms would mend it"
    );
    let more = pair.sentence(&words(-1_000_000, false));
    let option = "--offset web=1.31ms (instead of the -1000 us that was given) ";
    assert!(more.contains(option), "{more}");
    let one_clock = pair.sentence(&words(0, true));
    assert!(!one_clock.contains("offset"), "{one_clock}");
    assert!(one_clock.contains("paired wrongly"), "{one_clock}");
    let moved = pair.sentence(&words(-1_000_000, true));
    assert!(moved.ends_with("leave it away"), "{moved}");
}

/// What is written is what is typed: it must mend as many as what was found.
#[test]
fn the_offset_that_leaves_the_fewest_is_written_so_that_it_does() {
    let mut dice = Dice(11);
    let lives: Vec<_> = (0..12)
        .map(|number| life(&mut dice, BEGIN + number * 50_000_000))
        .collect();
    let clock = |number: usize| if number < 9 { 695_123_456 } else { 0 };
    let said = clocks(&lives, &clock);
    let pair = only(&said);
    let sentence = pair.sentence(&words(0, false));
    let (_, typed) = sentence.split_once("--offset web=").unwrap();
    let (typed, _) = typed.split_once("ms leaves").unwrap();
    let typed = (typed.parse::<f64>().unwrap() * 1e6).round() as i64;
    let then = clocks(&lives, &|number| clock(number) + typed);
    assert!((8..=9).contains(&pair.broken), "{}", pair.broken);
    assert_eq!(only(&then).broken, 3, "{sentence}");
}

#[test]
fn a_connection_that_contradicts_itself_says_nothing_of_clocks() {
    let mut dice = Dice(21);
    let mut lives: Vec<_> = (0..12)
        .map(|number| life(&mut dice, BEGIN + number * 50_000_000))
        .collect();
    let mut odd = Vec::new();
    let at = open(&mut dice, BEGIN, &mut odd) + 1_000_000;
    close(&mut dice, 0, at, &mut odd);
    // Its handshake came early, its end late.
    for step in odd.iter_mut().filter(|step| step.1 == 1) {
        step.0 = if step.0 < at {
            step.0 - 700_000
        } else {
            step.0
        };
        step.0 += if step.2 == LastAck { 0 } else { 1 };
    }
    for step in odd.iter_mut().filter(|step| step.2 == FinWait1) {
        step.0 = at + 1_000;
    }
    lives.push(odd);
    let said = clocks(&lives, &|_| 0);
    let pair = only(&said);
    assert_eq!((pair.broken, pair.odd), (0, 1));
    assert!(matches!(pair.finding(), Finding::Agree { .. }));
    let sentence = pair.sentence(&words(0, false));
    assert!(sentence.contains("12 connections agree"), "{sentence}");
    assert!(sentence.contains("; #1 contradicts itself"), "{sentence}");
    assert!(!sentence.contains("a clock was set"), "{sentence}");
}

/// Ends that are too far apart to be paired.
#[test]
fn clocks_that_are_far_apart_are_said_with_what_joins_the_ends() {
    let mut dice = Dice(31);
    let lives: Vec<_> = (0..40)
        .map(|number| life(&mut dice, BEGIN + number * 50_000_000))
        .collect();
    for ahead in [20_000_000_000, -20_000_000_000] {
        let said = unpaired(&lives, &|_| ahead);
        let pair = only(&said);
        let Finding::Apart { offset } = pair.finding() else {
            panic!("{:?}", pair.finding());
        };
        assert!(offset.abs_diff(-ahead) < 5_000_000, "{offset}");
        assert_eq!(pair.apart.map(|apart| apart.connections), Some(40));
        let sentence = pair.sentence(&words(0, false));
        assert!(
            sentence.starts_with("40 connections of db1 and web have"),
            "{sentence}"
        );
        let option = format!("--offset web={}s joins", -ahead / 1_000_000_000);
        assert!(sentence.contains(&option), "{sentence}");
    }
    // One of them is no proof.
    assert_eq!(unpaired(&lives[..1], &|_| 20_000_000_000).pairs().len(), 0);
}

#[test]
fn an_offset_is_written_short_and_stays_inside() {
    let inside = |least, most| Bounds {
        at_least: Some(least),
        at_most: Some(most),
    };
    assert_eq!(written(2_314_159, Bounds::NONE), "2.31ms");
    assert_eq!(written(-2_314_159, Bounds::NONE), "-2.31ms");
    assert_eq!(written(2_314_159, inside(2_314_000, 2_314_300)), "2.314ms");
    assert_eq!(written(2_314_159, inside(2_314_150, 2_314_300)), "2.3142ms");
    assert_eq!(written(5_000_000_000, Bounds::NONE), "5s");
    assert_eq!(written(-19_999_900_000, Bounds::NONE), "-20s");
    assert_eq!(written(999_999, Bounds::NONE), "1ms");
    assert_eq!(written(12_000, Bounds::NONE), "12us");
    assert_eq!(written(7, Bounds::NONE), "7ns");
    assert_eq!(written(0, Bounds::NONE), "0s");
}

#[test]
fn the_crowd_is_bounded_and_knows_what_fits_most() {
    let mut crowd = Crowd::new();
    for number in 0..100_000i64 {
        let least = if number % 10 == 0 { 5_000 } else { 100 };
        crowd.add(Bounds {
            at_least: Some(least),
            at_most: Some(least + 50),
        });
    }
    assert!(crowd.len() <= 512);
    assert_eq!(choose(crowd.overlap(), NEAR), 125);
}
