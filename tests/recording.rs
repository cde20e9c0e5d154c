//! Recordings as bytes: what is written is read back, and what is damaged is counted.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "recording/any.rs"]
mod any;
#[path = "recording/damage.rs"]
mod damage;
#[path = "recording/fixtures.rs"]
mod fixtures;
#[path = "common/any.rs"]
mod observations;
#[path = "recording/size.rs"]
mod size;

use std::sync::Arc;
use std::time::Duration;

use tcpwatch::model::event::{Comm, File, ResetReason};
use tcpwatch::model::{
    Answer, Body, Caller, Cookie, Counters, Endpoint, Event, FourTuple, Holder, Holders, Info,
    InfoAnswer, Keyframe, Look, Moment, Observation, Poll, ProcessId, Program, Queues, Sample,
    Scope, Seen, Shutdown, SockId, SourceName, TcpState, Timestamp, What,
};
use tcpwatch::record::{Anchor, Encoder, FORMAT, FilterText, Header, Item, Reader, VERSION};

fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000_000 + ms * 1_000_000)
}

fn header() -> Header {
    Header {
        format: FORMAT.into(),
        version: VERSION,
        tcpwatch: "0.1.0".into(),
        about: "test".into(),
        host: "web".into(),
        kernel: "6.18".into(),
        boot_id: Some("b".into()),
        netns: Some(7),
        recording: "r".into(),
        part: 1,
        clock: Anchor {
            monotonic_ns: at(0).nanos(),
            realtime_ns: 1_700_000_000_000_000_000,
        },
        filter: FilterText::default(),
        sources: vec!["sock_diag".into()],
        period_ns: 100_000_000,
        cmdlines: true,
    }
}

fn id(cookie: u64, local: u16, remote: u16) -> SockId {
    let end = |port| Endpoint::new([127, 0, 0, 1].into(), port);
    SockId {
        scope: Scope {
            host: 0,
            netns: Some(7),
        },
        cookie: Some(Cookie(cookie)),
        tuple: FourTuple {
            local: end(local),
            remote: end(remote),
        },
    }
}

fn sample(id: SockId, state: TcpState) -> Sample {
    Sample {
        id,
        state,
        queues: Queues::Stream {
            receive: 0,
            send: 5,
        },
        timer: None,
        retransmits: 0,
        inode: Some(77),
        uid: Some(0),
        shutdown: Some(Shutdown::from_kernel(2)),
        cgroup: Some(4),
        multipath: false,
    }
}

fn said(ms: u64, source: SourceName, body: Body) -> Observation {
    Observation {
        at: at(ms),
        host: 0,
        source,
        body,
    }
}

fn program(pid: u32, comm: Comm) -> Arc<Program> {
    Arc::new(Program {
        id: ProcessId { pid, started: 4423 },
        parent: Some(1),
        comm,
        uid: Some(0),
        user: Some("root".into()),
        cmdline: Some("server --password=hunter2".into()),
    })
}

fn held(inode: u32, holders: &[(&Arc<Program>, &[u32])]) -> Body {
    let holder = |(program, fds): &(&Arc<Program>, &[u32])| Holder {
        program: Arc::clone(program),
        fds: fds.to_vec(),
    };
    Body::Holders(Holders {
        scope: Scope {
            host: 0,
            netns: Some(7),
        },
        inode,
        begun: at(1),
        unchanged: None,
        holders: holders.iter().map(holder).collect(),
        ended: Vec::new(),
        seen: Seen::All,
    })
}

fn story() -> Vec<Observation> {
    let (a, b) = (id(1, 40_000, 80), id(2, 80, 40_000));
    let event = Event {
        id: a,
        what: What::State {
            from: TcpState::Established,
            to: TcpState::FinWait1,
        },
        moment: Some(Moment {
            shutdown: Shutdown::from_kernel(3),
            file: File::Closing,
            error: None,
            receive: 0,
            send: 1,
            lingers_not: false,
            fin_received: Some(false),
            bytes_received: 12,
            bytes_acked: 0,
            cgroup: None,
            multipath: false,
        }),
        caller: Some(Caller {
            pid: 12,
            comm: Comm(*b"a\xff\x1b[2Jb\0\0\0\0\0\0\0\0\0"),
            exiting: false,
            signal: None,
        }),
    };
    let server = program(812, Comm(*b"a\xff\x1b[2Jb\0\0\0\0\0\0\0\0\0"));
    let child = program(813, Comm(*b"child\0\0\0\0\0\0\0\0\0\0\0"));
    let counters = Counters {
        state: TcpState::CloseWait,
        data_sent: Duration::from_millis(8),
        data_received: Duration::from_millis(4),
        ack_received: Duration::from_millis(4),
        keepalive: false,
        backoff: 0,
        bytes_received: Some(12),
        bytes_acked: None,
    };
    let reset = Event {
        id: b,
        what: What::ResetSent(ResetReason::Unsaid),
        moment: None,
        caller: None,
    };
    vec![
        said(
            1,
            SourceName::SockDiag,
            Body::Poll(Poll {
                begun: at(0),
                look: Look::Whole,
                complete: true,
                first: true,
                appeared: vec![
                    sample(a, TcpState::Established),
                    sample(b, TcpState::Established),
                ],
                changed: vec![],
                missing: vec![],
            }),
        ),
        said(2, SourceName::Holders, held(77, &[(&server, &[3])])),
        said(3, SourceName::Holders, held(78, &[])),
        said(
            4,
            SourceName::Holders,
            held(77, &[(&server, &[3, 9]), (&child, &[3])]),
        ),
        said(5, SourceName::Bpf, Body::Event(event)),
        said(
            6,
            SourceName::SockDiag,
            Body::Keyframe(Keyframe {
                begun: at(5),
                samples: vec![
                    sample(a, TcpState::FinWait1),
                    sample(b, TcpState::CloseWait),
                ],
            }),
        ),
        said(6, SourceName::Holders, held(77, &[(&child, &[3])])),
        said(
            7,
            SourceName::Info,
            Body::Info(Info {
                id: b,
                begun: at(6),
                answer: InfoAnswer::Counters(counters),
            }),
        ),
        said(7, SourceName::Bpf, Body::Event(reset)),
        said(
            8,
            SourceName::Follow,
            Body::Lookup {
                asked: a,
                begun: at(7),
                unchanged: None,
                answer: Answer::Other(None),
            },
        ),
        said(
            9,
            SourceName::Bpf,
            Body::Lost {
                count: None,
                why: "line\nbreak".into(),
            },
        ),
    ]
}

fn written(story: &[Observation]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    encoder.header(&header(), &mut out).unwrap();
    for observation in story {
        encoder.observation(observation, &mut out);
    }
    encoder.end(at(10), "stopped", &mut out);
    out
}

fn read(bytes: Vec<u8>) -> (Vec<Observation>, Reader) {
    let mut reader = Reader::open(Arc::new(bytes), 0).unwrap();
    let mut all = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Observation(observation) = item {
            all.push(observation);
        }
    }
    while let Some(item) = reader.finish() {
        if let Item::Observation(observation) = item {
            all.push(observation);
        }
    }
    (all, reader)
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = written(&story());
    let (all, reader) = read(bytes);
    assert_eq!(all, story());
    assert_eq!(reader.skipped(), Default::default());
}
