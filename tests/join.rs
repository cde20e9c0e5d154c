//! The join against a kernel that is made up: connections whose true history is known, told to
//! the tracker by events, lookups and looks of which some are lost, late, or read before what
//! they are told after.
//!
//! Whatever is missing, nothing wrong may be said: an exact step is the truth to the nanosecond,
//! a sampled or inferred one holds it between its bounds, and every chain is whole. The generator
//! is seeded, so a failure names the run that shows it again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tcpwatch::model::event::File;
use tcpwatch::model::observation::HostFacts;
use tcpwatch::model::{
    Answer, Body, Cookie, Endpoint, Event, FourTuple, Look, Moment, Observation, Poll, Queues,
    Sample, Scope, Shutdown, SockId, SourceName, SourceState, TcpState, Timer, TimerKind,
    Timestamp, What,
};
use tcpwatch::timeline::{Came, Certainty, Change, Connection, Side, Tracker, When};

use TcpState::*;

/// xorshift64*: good enough to choose by, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }

    fn one_in(&mut self, odds: u64) -> bool {
        odds > 0 && self.below(odds) == 0
    }
}

/// One step of an end, as it truly happened.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: u64,
    end: usize,
    to: TcpState,
    /// The full socket takes it, so there is an event.
    kind: Kind,
    file: File,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The full socket goes from one state to the next.
    Full,
    /// The full socket is closed, a mini-socket in this state is there from then on.
    Turn,
    /// The mini-socket moves, without a word.
    Silent,
}

/// A life, in steps of both ends: how it begins is always the same.
fn life(dice: &mut Dice) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.open(dice);
    match dice.below(6) {
        0 => {
            // close(); the server closes much later, or never.
            steps.close_a(dice);
            if !dice.one_in(3) {
                steps.wait(dice);
                steps.full(1, LastAck, File::Closing);
                steps.silent(0, TimeWait);
                steps.full(1, Close, File::Closing);
            }
        }
        1 => {
            // shutdown(), held: the peer's FIN comes to the full socket.
            steps.wait(dice);
            steps.full(0, FinWait1, File::Held);
            steps.full(1, CloseWait, File::Held);
            steps.full(0, FinWait2, File::Held);
            steps.wait(dice);
            steps.full(1, LastAck, File::Closing);
            steps.turn(0, TimeWait, File::Held);
            steps.full(1, Close, File::Closing);
        }
        2 => {
            // Both at once.
            steps.wait(dice);
            steps.full(0, FinWait1, File::Closing);
            steps.full(1, FinWait1, File::Closing);
            steps.full(0, Closing, File::Absent);
            steps.full(1, Closing, File::Absent);
            steps.turn(0, TimeWait, File::Absent);
            steps.turn(1, TimeWait, File::Absent);
        }
        3 => {
            // A reset.
            steps.wait(dice);
            steps.full(1, Close, File::Closing);
            steps.full(0, Close, File::Held);
        }
        4 => {
            // All in one go.
            steps.wait(dice);
            steps.full(0, FinWait1, File::Closing);
            steps.full(1, CloseWait, File::Held);
            steps.full(1, LastAck, File::Closing);
            steps.full(0, FinWait2, File::Absent);
            steps.turn(0, TimeWait, File::Absent);
            steps.full(1, Close, File::Closing);
        }
        _ => {
            // Data after the close.
            steps.close_a(dice);
            steps.wait(dice);
            steps.silent(0, Close);
            steps.full(1, Close, File::Held);
        }
    }
    steps.all
}

#[derive(Default)]
struct Steps {
    all: Vec<Step>,
    now: u64,
}

impl Steps {
    fn open(&mut self, dice: &mut Dice) {
        self.now = 1_000_000 + dice.below(300_000);
        self.full(0, SynSent, File::Held);
        self.full(1, SynRecv, File::Absent);
        self.full(1, Established, File::Absent);
        self.full(0, Established, File::Held);
    }

    fn close_a(&mut self, dice: &mut Dice) {
        self.wait(dice);
        self.full(0, FinWait1, File::Closing);
        self.full(1, CloseWait, File::Held);
        self.now += dice.below(40_000);
        self.full(0, FinWait2, File::Absent);
        self.turn(0, FinWait2, File::Absent);
    }

    fn wait(&mut self, dice: &mut Dice) {
        self.now += [20, 1_000, 90_000, 400_000][dice.below(4) as usize];
    }

    fn push(&mut self, end: usize, to: TcpState, kind: Kind, file: File) {
        self.now += 7;
        self.all.push(Step {
            at: self.now,
            end,
            to,
            kind,
            file,
        });
    }

    fn full(&mut self, end: usize, to: TcpState, file: File) {
        self.push(end, to, Kind::Full, file);
    }

    fn turn(&mut self, end: usize, to: TcpState, file: File) {
        self.push(end, to, Kind::Turn, file);
    }

    fn silent(&mut self, end: usize, to: TcpState) {
        self.push(end, to, Kind::Silent, File::Absent);
    }
}

/// What is told badly.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// One event in so many is lost; 0 is none.
    lost: u64,
    /// One lookup in so many is left out.
    no_lookup: u64,
    /// There are no events at all.
    no_events: bool,
    /// The ends are on two hosts, of which the second's clock is ahead by so many microseconds.
    apart: Option<i64>,
}

fn at(us: u64) -> Timestamp {
    Timestamp::from_nanos(us * 1_000)
}

fn id(end: usize) -> SockId {
    let endpoint = |port| Endpoint::from((Ipv4Addr::LOCALHOST, port));
    let tuple = FourTuple {
        local: endpoint(40_000),
        remote: endpoint(80),
    };
    SockId {
        scope: Scope::default(),
        cookie: Some(Cookie(end as u64 + 1)),
        tuple: if end == 0 { tuple } else { tuple.mirror() },
    }
}

/// State and kind of an end at a moment; `None` when it is in no table.
fn truth(steps: &[Step], end: usize, now: u64) -> Option<(TcpState, bool, File)> {
    let step = steps
        .iter()
        .rfind(|step| step.end == end && step.at <= now)?;
    let is_mini = step.kind != Kind::Full;
    (step.to != Close).then_some((step.to, is_mini, step.file))
}

fn sample(steps: &[Step], end: usize, now: u64) -> Option<Sample> {
    let (state, is_mini, file) = truth(steps, end, now)?;
    Some(Sample {
        id: id(end),
        state,
        queues: Queues::Absent,
        timer: is_mini.then_some(Timer {
            kind: TimerKind::TimeWait,
            deadline: at(now + 60_000_000),
        }),
        retransmits: 0,
        inode: (!is_mini && file == File::Held).then_some(7),
        uid: None,
        shutdown: None,
        cgroup: None,
        multipath: false,
    })
}

fn moment(step: &Step, steps: &[Step]) -> Moment {
    let fin = steps.iter().any(|other| {
        other.end != step.end
            && other.at < step.at
            && matches!(other.to, LastAck | FinWait1 | Closing)
    });
    // The reset of the third kind of life, as each end sees it.
    let is_reset = step.to == Close && step.kind == Kind::Full && step.file == File::Held;
    Moment {
        shutdown: Shutdown::from_kernel(3),
        file: step.file,
        error: is_reset.then_some(104),
        receive: 0,
        send: 0,
        lingers_not: false,
        fin_received: Some(fin),
        bytes_received: 0,
        bytes_acked: 0,
        cgroup: None,
        multipath: false,
    }
}

/// What the sources say of a life, in the order in which it is known.
fn told(steps: &[Step], trouble: Trouble, dice: &mut Dice) -> Vec<Observation> {
    let observation = |us, source, body| Observation {
        host: 0,
        at: at(us),
        source,
        body,
    };
    let facts = Body::Host(HostFacts {
        port_range: None,
        time_wait_reuse: None,
        time_wait_overflows: Some(0),
        ..HostFacts::default()
    });
    let mut all = vec![observation(1, SourceName::SockDiag, facts)];
    if !trouble.no_events {
        let running = SourceState::Running {
            period: Duration::from_millis(2),
            cost: None,
            why: None,
        };
        all.push(observation(2, SourceName::Bpf, Body::Source(running)));
        events(steps, trouble, dice, &mut all);
    }
    looks(steps, dice, &mut all);
    all.sort_by_key(|observation| observation.at);
    all
}

fn events(steps: &[Step], trouble: Trouble, dice: &mut Dice, all: &mut Vec<Observation>) {
    let mut states = [Close, Listen];
    for step in steps.iter().filter(|step| step.kind != Kind::Silent) {
        let from = states[step.end];
        let to = if step.kind == Kind::Turn {
            Close
        } else {
            step.to
        };
        states[step.end] = to;
        let bpf = |us, body| Observation {
            host: 0,
            at: at(us),
            source: SourceName::Bpf,
            body,
        };
        if dice.one_in(trouble.lost) {
            let why = "the ring was full".into();
            let count = Some(1);
            all.push(bpf(step.at + 2_000, Body::Lost { count, why }));
            continue;
        }
        all.push(bpf(
            step.at,
            Body::Event(Event {
                id: id(step.end),
                what: What::State { from, to },
                moment: Some(moment(step, steps)),
                caller: None,
            }),
        ));
        let asks = step.kind == Kind::Turn || (from == LastAck && to == Close);
        if asks && !dice.one_in(trouble.no_lookup) {
            let asked = if step.kind == Kind::Turn {
                step.end
            } else {
                1 - step.end
            };
            lookup(
                steps,
                (SourceName::Follow, asked),
                step.at + 50 + dice.below(9_000),
                dice,
                all,
            );
        }
    }
}

/// A question and its answer, some microseconds apart; the kernel looks somewhere in between.
fn lookup(
    steps: &[Step],
    (source, end): (SourceName, usize),
    begun: u64,
    dice: &mut Dice,
    all: &mut Vec<Observation>,
) {
    let took = 1 + dice.below(20);
    let answer = match sample(steps, end, begun + dice.below(took)) {
        Some(sample) => Answer::Found(sample),
        None => Answer::Gone,
    };
    all.push(Observation {
        host: 0,
        at: at(begun + took),
        source,
        body: Body::Lookup {
            asked: id(end),
            begun: at(begun),
            unchanged: None,
            answer,
        },
    });
}

/// Looks every 100 ms, each row read at some moment of its look.
fn looks(steps: &[Step], dice: &mut Dice, all: &mut Vec<Observation>) {
    let mut said: [Option<Sample>; 2] = [None; 2];
    let last = steps.last().unwrap().at + 500_000;
    let mut begun = 500_000;
    let mut first = true;
    while begun < last {
        let took = 1 + dice.below(3_000);
        let mut poll = Poll {
            begun: at(begun),
            look: Look::Whole,
            complete: true,
            first,
            appeared: Vec::new(),
            changed: Vec::new(),
            missing: Vec::new(),
        };
        first = false;
        // The kernel's table is read row after row.
        let moment = begun + dice.below(took);
        let moments = [moment, moment + dice.below(begun + took - moment)];
        let order = if dice.one_in(2) { [0, 1] } else { [1, 0] };
        for (end, moment) in order.into_iter().zip(moments) {
            let said = &mut said[end];
            let row = sample(steps, end, moment);
            let is_news = |a: &Sample, b: &Sample| (a.state, a.inode) != (b.state, b.inode);
            match (&row, &said) {
                (Some(row), None) => poll.appeared.push(*row),
                (Some(row), Some(said)) if is_news(row, said) => poll.changed.push(*row),
                (None, Some(said)) => poll.missing.push(said.id),
                _ => {}
            }
            let is_missing = row.is_none() && said.is_some();
            *said = row;
            if is_missing {
                lookup(
                    steps,
                    (SourceName::SockDiag, end),
                    begun + took + 100,
                    dice,
                    all,
                );
            }
        }
        let body =
            if poll.appeared.len() + poll.changed.len() + poll.missing.len() > 0 || poll.first {
                Body::Poll(poll)
            } else {
                Body::Unchanged {
                    until: at(begun),
                    look: Look::Whole,
                }
            };
        all.push(Observation {
            host: 0,
            at: at(begun + took),
            source: SourceName::SockDiag,
            body,
        });
        begun += 100_000;
    }
}

/// A time from which every clock can be shifted back.
const BEGIN_NS: i64 = 60_000_000_000;

/// The same, told by two hosts: each of its own end.
fn by_two_hosts(told: &[Observation], apart_us: i64) -> Vec<Observation> {
    let mut all: Vec<Observation> = told
        .iter()
        .flat_map(|said| [0, 1].map(|host| by_host(said, host)))
        .flatten()
        .map(|mut said| {
            let ahead = if said.host == 1 { apart_us * 1_000 } else { 0 };
            said.shift(BEGIN_NS + ahead);
            said
        })
        .collect();
    all.sort_by_key(|said| said.at);
    all
}

/// What a host says of it; `None` when it is about the other one's end.
fn by_host(said: &Observation, host: u16) -> Option<Observation> {
    let mut said = said.clone();
    said.host = host;
    let is_here = |id: &SockId| id.tuple.local.port() == [40_000, 80][usize::from(host)];
    match &mut said.body {
        Body::Event(event) if is_here(&event.id) => event.id = moved(&event.id, host),
        Body::Lookup { asked, answer, .. } if is_here(asked) => {
            *asked = moved(asked, host);
            if let Answer::Found(sample) = answer {
                sample.id = moved(&sample.id, host);
            }
        }
        Body::Event(_) | Body::Lookup { .. } => return None,
        Body::Poll(poll) => {
            for rows in [&mut poll.appeared, &mut poll.changed] {
                rows.retain(|row| is_here(&row.id));
                rows.iter_mut()
                    .for_each(|row| row.id = moved(&row.id, host));
            }
            poll.missing.retain(is_here);
            poll.missing.iter_mut().for_each(|id| *id = moved(id, host));
        }
        _ => {}
    }
    Some(said)
}

/// On a host of its own, and with an address that others can reach.
fn moved(id: &SockId, host: u16) -> SockId {
    let address = |end: Endpoint| {
        let number = if end.port() == 80 { 2 } else { 1 };
        Endpoint::from((Ipv4Addr::new(10, 0, 0, number), end.port()))
    };
    SockId {
        scope: Scope { host, netns: None },
        cookie: id.cookie,
        tuple: FourTuple {
            local: address(id.tuple.local),
            remote: address(id.tuple.remote),
        },
    }
}

/// When the end truly entered the state.
fn entered(steps: &[Step], end: usize, state: TcpState) -> Option<Timestamp> {
    let step = steps
        .iter()
        .find(|step| step.end == end && step.to == state)?;
    Some(at(step.at))
}

fn check(
    connection: &Connection,
    steps: &[Step],
    is_lossy: bool,
    apart: Option<i64>,
) -> Result<(), String> {
    for (side, track) in connection.visible() {
        let end = usize::from(track.tuple().local.port() == 80);
        let shift = apart.map_or(0, |us| BEGIN_NS + [0, us * 1_000][end]);
        for span in track.spans() {
            let first_close = span.state == Close && matches!(span.from, When::Before(_));
            if first_close {
                continue;
            }
            let Some(truly) = entered(steps, end, span.state) else {
                return Err(format!("{side:?} never was in {}", span.state));
            };
            let truly = truly.shifted(shift);
            let fits = match span.from {
                When::At(when) => when == truly,
                When::Between(from, to) => from <= truly && truly <= to,
                When::Before(to) => truly <= to,
            };
            if !fits {
                return Err(format!("{side:?} {span:?}, truly {truly:?}"));
            }
            if !is_lossy
                && span.certainty == Certainty::Sampled
                && span.state != TimeWait
                && span.state != Close
            {
                return Err(format!("{side:?} {span:?} should be exact"));
            }
        }
    }
    Ok(())
}

fn check_chains(changes: &[Change]) -> Result<(), String> {
    let mut states: HashMap<Side, TcpState> = HashMap::new();
    for change in changes {
        let came = |came, state| if came == Came::Born { Close } else { state };
        match change {
            Change::Opened { ends, .. } => {
                for side in Side::BOTH {
                    if let Some(found) = ends[side as usize] {
                        states.insert(side, came(found.came, found.state));
                    }
                }
            }
            Change::Joined { side, found, .. } => {
                states.insert(*side, came(found.came, found.state));
            }
            Change::Moved { side, step, .. } => {
                if states.insert(*side, step.to) != Some(step.from) {
                    return Err(format!("broken chain: {change:?}"));
                }
            }
            Change::Marked { .. }
            | Change::Held { .. }
            | Change::Dated { .. }
            | Change::Missed { .. }
            | Change::Closed { .. } => {}
        }
    }
    Ok(())
}

fn run(seed: u64, trouble: Trouble) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let steps = life(&mut dice);
    let told = told(&steps, trouble, &mut dice);
    let told = match trouble.apart {
        Some(us) => by_two_hosts(&told, us),
        None => told,
    };
    let mut tracker = Tracker::default();
    let mut changes = Vec::new();
    for observation in &told {
        tracker.ingest(observation);
        changes.extend(tracker.changes());
    }
    let is_lossy = trouble.lost > 0 || trouble.no_events;
    let all: Vec<&Connection> = tracker.connections().collect();
    let verdict = match all.as_slice() {
        [] if trouble.no_events => Ok(()),
        [one] => check(one, &steps, is_lossy, trouble.apart).and_then(|()| check_chains(&changes)),
        // An end whose first events were lost can be met when the other one is gone.
        several if trouble.lost > 0 => several
            .iter()
            .try_for_each(|one| check(one, &steps, is_lossy, trouble.apart)),
        other => Err(format!("{} connections", other.len())),
    };
    if let Err(why) = verdict {
        let spans: Vec<_> = all
            .iter()
            .flat_map(|connection| connection.visible())
            .map(|(side, track)| {
                let spans: Vec<_> = track.spans().iter().map(|s| (s.state, s.from)).collect();
                (side, spans)
            })
            .collect();
        panic!("run {seed} {trouble:?}: {why}\ntruth {steps:#?}\nspans {spans:#?}");
    }
}

fn runs(trouble: Trouble) {
    for seed in 0..3_000 {
        run(seed, trouble);
    }
}

const NO_TROUBLE: Trouble = Trouble {
    lost: 0,
    no_lookup: 0,
    no_events: false,
    apart: None,
};

#[test]
fn events_and_lookups_give_the_truth() {
    runs(NO_TROUBLE);
}

#[test]
fn lookups_that_do_not_come_make_nothing_wrong() {
    runs(Trouble {
        no_lookup: 2,
        ..NO_TROUBLE
    });
}

#[test]
fn lost_events_make_nothing_wrong() {
    for lost in [2, 5, 20] {
        runs(Trouble {
            lost,
            no_lookup: 3,
            ..NO_TROUBLE
        });
    }
}

#[test]
fn looks_alone_make_nothing_wrong() {
    runs(Trouble {
        no_events: true,
        ..NO_TROUBLE
    });
}

const CLOCKS_US: [i64; 7] = [0, 1_000, -1_000, 500_000, -500_000, 5_000_000, -5_000_000];

#[test]
fn two_hosts_tell_one_truth_whatever_their_clocks_say() {
    for us in CLOCKS_US {
        let apart = Some(us);
        for seed in 0..300 {
            run(
                seed,
                Trouble {
                    apart,
                    ..NO_TROUBLE
                },
            );
            run(
                seed,
                Trouble {
                    apart,
                    no_lookup: 2,
                    ..NO_TROUBLE
                },
            );
            run(
                seed,
                Trouble {
                    apart,
                    no_events: true,
                    ..NO_TROUBLE
                },
            );
        }
    }
}

#[test]
fn two_hosts_that_lose_events_make_nothing_wrong() {
    for us in CLOCKS_US {
        for seed in 0..300 {
            run(
                seed,
                Trouble {
                    apart: Some(us),
                    lost: 4,
                    no_lookup: 3,
                    ..NO_TROUBLE
                },
            );
        }
    }
}
