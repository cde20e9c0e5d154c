//! How long recordings are: of connections at rest, and of one that is torn down.

use std::time::Duration;

use tcpwatch::model::event::{Comm, File};
use tcpwatch::model::{
    Answer, Body, Caller, Event, Holders, Keyframe, Look, Moment, Observation, Poll, Queues,
    Sample, Shutdown, SockId, SourceName, TcpState, Timer, TimerKind, Timestamp, What,
};
use tcpwatch::record::Encoder;

use crate::{header, held, id, program, read, sample};

fn second(second: u64) -> Timestamp {
    Timestamp::from_nanos(34_567_891_234_567).plus(Duration::from_secs(second))
}

fn looked(at: Timestamp, body: Body) -> Observation {
    Observation {
        at: at.plus(Duration::from_micros(345)),
        host: 0,
        source: SourceName::SockDiag,
        body,
    }
}

fn look(at: Timestamp, first: bool, appeared: Vec<Sample>, changed: Vec<Sample>) -> Observation {
    let poll = Poll {
        begun: at,
        look: Look::Whole,
        complete: true,
        first,
        appeared,
        changed,
        missing: vec![],
    };
    looked(at, Body::Poll(poll))
}

/// Both ends of connections that send each other a keepalive after two hours.
fn idle(now: u64) -> Vec<Sample> {
    let end = |number: u64| {
        let (local, remote) = (40_000 + (number / 2) as u16, 5432);
        let (local, remote) = if number.is_multiple_of(2) {
            (local, remote)
        } else {
            (remote, local)
        };
        let id = id(1_234_567_890 + number, local, remote);
        let begun = now / 7200 * 7200 + number * 30;
        Sample {
            timer: Some(Timer {
                kind: TimerKind::KeepAlive,
                deadline: second(begun + 7200),
            }),
            queues: Queues::Stream {
                receive: 0,
                send: 0,
            },
            inode: Some(123_456_789 + number as u32),
            uid: Some(1000),
            shutdown: Some(Shutdown::from_kernel(0)),
            cgroup: Some(12_345),
            ..sample(id, TcpState::Established)
        }
    };
    (0..200).map(end).collect()
}

#[test]
fn a_day_of_a_hundred_idle_connections_is_below_10_megabytes() {
    let mut encoder = Encoder::default();
    let (mut bytes, mut lines) = (0, Vec::new());
    encoder.header(&header(), &mut lines).unwrap();
    let mut write = |observation: Observation| {
        encoder.observation(&observation, &mut lines);
        bytes += lines.len();
        lines.clear();
    };
    write(look(second(0), true, idle(0), vec![]));
    for now in 1..=86_400 {
        let at = second(now);
        write(looked(
            at,
            Body::Unchanged {
                until: at,
                look: Look::Whole,
            },
        ));
        if now % 60 == 0 {
            let realtime_ns = 1_795_270_830_000_000_000 + at.nanos();
            write(looked(at, Body::Clock { realtime_ns }));
        }
        // The timers of two ends of a hundred run out, each at its own time.
        if now % 30 == 0 {
            let moved = idle(now)[(now / 30 % 200) as usize];
            if now % 7200 < 6000 {
                write(look(at, false, vec![], vec![moved]));
            }
        }
        if now % 3600 == 0 {
            let keyframe = Keyframe {
                begun: at,
                samples: idle(now),
            };
            write(looked(at, Body::Keyframe(keyframe)));
        }
    }
    println!("{bytes} bytes a day");
    assert!((5_000_000..10_000_000).contains(&bytes), "{bytes}");
}

fn event(us: u64, id: SockId, what: What, file: File, shut: u8, fin: bool) -> Observation {
    let is_call =
        file == File::Closing || matches!(what, What::State { to, .. } if to == TcpState::SynSent);
    Observation {
        at: second(0).plus(Duration::from_micros(us)),
        host: 0,
        source: SourceName::Bpf,
        body: Body::Event(Event {
            id,
            what,
            moment: Some(Moment {
                shutdown: Shutdown::from_kernel(shut),
                file,
                error: None,
                // The one of the FIN, until the program has read it.
                receive: u32::from(fin && shut == 1),
                send: 0,
                lingers_not: false,
                fin_received: Some(fin),
                bytes_received: if shut > 0 { 1460 } else { 0 },
                bytes_acked: if shut > 0 { 518 } else { 0 },
                cgroup: Some(12_345),
                multipath: false,
            }),
            caller: is_call.then_some(Caller {
                pid: 12_345,
                comm: Comm(*b"postgres\0\0\0\0\0\0\0\0"),
                exiting: false,
                signal: None,
            }),
        }),
    }
}

/// What a run with events says of a connection that one program opens and the other closes, half a
/// second later: each event, the look that shows it open, the lookup of what stays, and the look
/// that shows that.
fn life() -> Vec<Observation> {
    use TcpState::*;
    let (a, b) = (
        id(1_234_567_890, 40_001, 5432),
        id(1_234_567_891, 5432, 40_001),
    );
    let step = |us, id, from, to, file, shut, fin| {
        event(us, id, What::State { from, to }, file, shut, fin)
    };
    let there = |id, inode| Sample {
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        inode: Some(inode),
        uid: Some(1000),
        shutdown: Some(Shutdown::from_kernel(0)),
        cgroup: Some(12_345),
        ..sample(id, Established)
    };
    let stays = Sample {
        queues: Queues::Absent,
        inode: None,
        uid: None,
        shutdown: None,
        cgroup: None,
        timer: Some(Timer {
            kind: TimerKind::TimeWait,
            deadline: second(60),
        }),
        ..sample(a, TimeWait)
    };
    let ms = |ms| second(0).plus(Duration::from_millis(ms));
    let lookup = Observation {
        source: SourceName::Follow,
        ..looked(
            ms(501),
            Body::Lookup {
                asked: a,
                begun: ms(501),
                unchanged: None,
                answer: Answer::Found(stays),
            },
        )
    };
    let mut gone = look(ms(600), false, vec![], vec![stays]);
    if let Body::Poll(poll) = &mut gone.body {
        poll.missing.push(b);
    }
    vec![
        step(10, a, Close, SynSent, File::Held, 0, false),
        step(40, b, Listen, SynRecv, File::Absent, 0, false),
        step(50, b, SynRecv, Established, File::Absent, 0, false),
        step(60, a, SynSent, Established, File::Held, 0, false),
        look(
            ms(100),
            false,
            vec![there(a, 123_456_789), there(b, 123_456_790)],
            vec![],
        ),
        step(500_010, a, Established, FinWait1, File::Closing, 3, false),
        step(500_030, b, Established, CloseWait, File::Held, 1, true),
        step(500_060, a, FinWait1, FinWait2, File::Absent, 3, false),
        step(500_100, b, CloseWait, LastAck, File::Closing, 3, true),
        step(500_120, a, FinWait2, Close, File::Absent, 3, true),
        event(500_125, a, What::Freed, File::Absent, 3, true),
        step(500_140, b, LastAck, Close, File::Absent, 3, true),
        event(500_145, b, What::Freed, File::Absent, 3, true),
        lookup,
        gone,
    ]
}

#[test]
fn a_connection_that_is_torn_down_is_below_2_kilobytes() {
    let mut encoder = Encoder::default();
    let mut lines = Vec::new();
    encoder.header(&header(), &mut lines).unwrap();
    let before = lines.len();
    for observation in life() {
        encoder.observation(&observation, &mut lines);
    }
    let length = lines.len() - before;
    println!(
        "{length} bytes a life:\n{}",
        String::from_utf8_lossy(&lines[before..])
    );
    assert_eq!(read(lines).0, life());
    assert!((1_000..2_000).contains(&length), "{length} bytes");
}

/// Who holds both ends, as two looks into the processes show it: each by one process under one
/// descriptor.
fn held_by() -> Vec<Observation> {
    let of = |(number, inode): (u64, u32)| {
        let begun = second(0).plus(Duration::from_millis(101 + number));
        let program = program(12_345, Comm(*b"postgres\0\0\0\0\0\0\0\0"));
        let Body::Holders(set) = held(inode, &[(&program, &[9])]) else {
            panic!("no set")
        };
        Observation {
            source: SourceName::Holders,
            ..looked(begun, Body::Holders(Holders { begun, ..set }))
        }
    };
    vec![of((0, 123_456_789)), of((1, 123_456_790))]
}

#[test]
fn who_holds_a_connection_adds_200_bytes() {
    let mut encoder = Encoder::default();
    let mut lines = Vec::new();
    encoder.header(&header(), &mut lines).unwrap();
    let mut longer = |all: &[Observation]| {
        let before = lines.len();
        for observation in all {
            encoder.observation(observation, &mut lines);
        }
        let text = String::from_utf8_lossy(&lines[before..]);
        println!("{} bytes:\n{text}", lines.len() - before);
        lines.len() - before
    };
    let life = longer(&life());
    let first = longer(&held_by());
    let again = longer(&held_by());
    assert!(
        (300..400).contains(&first),
        "{first} bytes, with the process"
    );
    assert!((150..220).contains(&again), "{again} bytes");
    assert!(again * 10 < life, "{again} bytes beside {life}");
}
