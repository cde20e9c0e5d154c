//! Recordings for tests: what a source would say, written as the recorder writes it.
//!
//! The trap: times are in microseconds after the start here, and 1000 s after the boot there.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]
#![allow(dead_code, reason = "no test file uses all of them")]

use tcpwatch::model::{
    Answer, Body, Cookie, Endpoint, FourTuple, Keyframe, Look, Observation, Poll, Queues, Sample,
    Scope, SockId, SourceName, TcpState, Timestamp,
};
use tcpwatch::record::{Anchor, Encoder, FORMAT, FilterText, Header, VERSION};

pub const REALTIME: u64 = 1_700_000_000_000_000_000;

/// 1000 s after the boot.
pub fn at(ms: u64) -> Timestamp {
    at_us(ms * 1000)
}

pub fn at_us(us: u64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000_000 + us * 1000)
}

pub fn header(recording: &str, part: u32, ms: u64) -> Header {
    let begins = at(ms).nanos();
    Header {
        format: FORMAT.into(),
        version: VERSION,
        tcpwatch: "0.1.0".into(),
        about: "test".into(),
        host: "web".into(),
        kernel: "6.18".into(),
        boot_id: Some("boot".into()),
        netns: Some(7),
        recording: recording.into(),
        part,
        clock: Anchor {
            monotonic_ns: begins,
            realtime_ns: REALTIME + begins,
        },
        filter: FilterText::default(),
        sources: vec!["sock_diag".into()],
        period_ns: 100_000_000,
        cmdlines: false,
    }
}

/// Both ends of the connection of that number.
pub fn ends(number: u64, states: [TcpState; 2]) -> [Sample; 2] {
    let end = |port| Endpoint::new([127, 0, 0, 1].into(), port);
    let client = end(20_000 + u16::try_from(number % 40_000).unwrap());
    let sample = |cookie, local, remote, state| Sample {
        id: SockId {
            scope: Scope {
                host: 0,
                netns: Some(7),
            },
            cookie: Some(Cookie(cookie)),
            tuple: FourTuple { local, remote },
        },
        state,
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        timer: None,
        retransmits: 0,
        inode: Some(77),
        uid: Some(0),
        shutdown: None,
        cgroup: None,
        multipath: false,
    };
    let server = end(80);
    [
        sample(2 * number + 1, client, server, states[0]),
        sample(2 * number + 2, server, client, states[1]),
    ]
}

pub fn open(number: u64) -> [Sample; 2] {
    ends(number, [TcpState::Established; 2])
}

pub fn said(us: u64, body: Body) -> Observation {
    Observation {
        at: at_us(us),
        host: 0,
        source: SourceName::SockDiag,
        body,
    }
}

pub fn look(us: u64, first: bool, appeared: &[Sample], changed: &[Sample]) -> Observation {
    let poll = Poll {
        begun: at_us(us - 1),
        look: Look::Whole,
        complete: true,
        first,
        appeared: appeared.to_vec(),
        changed: changed.to_vec(),
        missing: Vec::new(),
    };
    said(us, Body::Poll(poll))
}

pub fn gone(us: u64, sample: &Sample) -> Observation {
    let body = Body::Lookup {
        asked: sample.id,
        begun: at_us(us - 1),
        unchanged: None,
        answer: Answer::Gone,
    };
    said(us, body)
}

pub fn keyframe(us: u64, samples: &[Sample]) -> Observation {
    let body = Body::Keyframe(Keyframe {
        begun: at_us(us - 1),
        samples: samples.to_vec(),
    });
    said(us, body)
}

pub fn written(header: &Header, story: &[Observation], ended: bool) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    encoder.header(header, &mut out).unwrap();
    for observation in story {
        encoder.observation(observation, &mut out);
    }
    if let (true, Some(last)) = (ended, story.last()) {
        encoder.end(last.at, "stopped", &mut out);
    }
    out
}

/// Connections that come and go, one a millisecond, each of three looks and two lookups, with two
/// things at one moment now and then.
pub fn story(connections: u64) -> Vec<Observation> {
    let mut story = vec![look(1000, true, &open(0), &[])];
    let half = [TcpState::FinWait2, TcpState::CloseWait];
    for number in 1..connections {
        let us = number * 1000;
        let both = open(number);
        story.push(look(us + 100, false, &both, &[]));
        story.push(look(us + 300, false, &[], &ends(number, half)));
        story.push(gone(us + 700, &both[0]));
        let together = if number % 3 == 0 { 700 } else { 800 };
        story.push(gone(us + together, &both[1]));
    }
    story
}

pub fn recording(connections: u64) -> Vec<u8> {
    written(&header("r", 1, 0), &story(connections), true)
}
