//! Whole lives as a run with events records them: the events of both ends, the lookups that tell
//! what became of them, and looks that go on beside.

use tcpwatch::model::{
    Answer, Body, Look, Observation, Poll, Queues, Sample, SockId, SourceName, TcpState, Timer,
    TimerKind, Timestamp,
};
use tcpwatch::record::{Anchor, FORMAT, FilterText, Header, VERSION};

use crate::events;

/// Lives between two looks, and those of them that a look happens to show.
const LOOK_EVERY: usize = 100;

pub fn header() -> Header {
    Header {
        format: FORMAT.into(),
        version: VERSION,
        tcpwatch: "0.1.0".into(),
        about: "a bench".into(),
        host: "bench".into(),
        kernel: "6.18".into(),
        boot_id: None,
        netns: None,
        recording: "bench".into(),
        part: 1,
        clock: Anchor {
            monotonic_ns: 1,
            realtime_ns: 1_700_000_000_000_000_000,
        },
        filter: FilterText::default(),
        sources: vec!["sock_diag".into(), "bpf".into()],
        period_ns: 100_000_000,
        cmdlines: false,
    }
}

/// What is said of so many lives from number `first` on, in order of time.
pub fn batch(first: u64, number: u64) -> Vec<Observation> {
    let mut all = Vec::new();
    if first == 0 {
        all.extend(events::opening());
    }
    for (index, life) in events::events(first, number)
        .chunks(events::EVENTS)
        .enumerate()
    {
        all.extend_from_slice(life);
        let Some(last) = life.last() else { continue };
        let ids = [0, 1].map(|end| match &life[end].body {
            Body::Event(event) => event.id,
            _ => unreachable!("a life is of events"),
        });
        all.push(lookup(
            last.at,
            ids[1],
            Answer::Found(rest(ids[1], last.at)),
        ));
        all.push(lookup(last.at, ids[0], Answer::Gone));
        if index % LOOK_EVERY == 0 {
            all.push(look(last.at, rest(ids[1], last.at)));
        }
    }
    all
}

fn lookup(last: Timestamp, asked: SockId, answer: Answer) -> Observation {
    let nanos = |more| Timestamp::from_nanos(last.nanos() + more);
    Observation {
        at: nanos(2000),
        host: 0,
        source: SourceName::Follow,
        body: Body::Lookup {
            asked,
            begun: nanos(1000),
            unchanged: None,
            answer,
        },
    }
}

/// The mini-socket that stays.
fn rest(id: SockId, at: Timestamp) -> Sample {
    Sample {
        id,
        state: TcpState::TimeWait,
        queues: Queues::Absent,
        timer: Some(Timer {
            kind: TimerKind::TimeWait,
            deadline: Timestamp::from_nanos(at.nanos() + 60_000_000_000),
        }),
        retransmits: 0,
        inode: None,
        uid: None,
        shutdown: None,
        cgroup: None,
        multipath: false,
    }
}

fn look(last: Timestamp, shown: Sample) -> Observation {
    Observation {
        at: Timestamp::from_nanos(last.nanos() + 3000),
        host: 0,
        source: SourceName::SockDiag,
        body: Body::Poll(Poll {
            begun: last,
            look: Look::Whole,
            complete: true,
            first: false,
            appeared: vec![shown],
            changed: vec![],
            missing: vec![],
        }),
    }
}
