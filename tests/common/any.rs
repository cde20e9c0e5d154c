//! Observations of every kind, with all that can be said or not said in them.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use tcpwatch::model::event::{Comm, File, ResetReason};
use tcpwatch::model::observation::HostFacts;
use tcpwatch::model::{
    Answer, Body, Caller, Cookie, Counters, Endpoint, Event, FourTuple, Holder, Holders, Info,
    InfoAnswer, Keyframe, Look, Moment, Observation, Poll, ProcessId, Program, Queues, Sample,
    Scope, Seen, Shutdown, SockId, SourceName, SourceState, TcpState, Timer, TimerKind, Timestamp,
    What,
};

use crate::said;

/// Small ones, the largest, and any.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, Just(u64::MAX), Just(i64::MAX as u64), any::<u64>()]
}

fn number32() -> impl Strategy<Value = u32> {
    prop_oneof![0..3u32, Just(u32::MAX), any::<u32>()]
}

fn stamp() -> impl Strategy<Value = Timestamp> {
    number().prop_map(Timestamp::from_nanos)
}

fn endpoint() -> BoxedStrategy<Endpoint> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits)));
    let local = any::<u64>()
        .prop_map(|low| IpAddr::V6(Ipv6Addr::from((0xfe80u128 << 112) | u128::from(low))));
    let mapped = any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped()));
    let known = select(vec!["::", "::1", "0.0.0.0", "127.0.0.1", "::1.2.3.4"])
        .prop_map(|text| text.parse().unwrap());
    (
        prop_oneof![v4, v6, local, mapped, known],
        any::<u16>(),
        number32(),
    )
        .prop_map(|(addr, port, interface)| Endpoint::on_interface(addr, port, interface))
        .boxed()
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Some(7)), Just(None), number().prop_map(Some)]
        .prop_map(|netns| Scope { host: 0, netns })
}

fn sock_id() -> BoxedStrategy<SockId> {
    (scope(), of(number()), endpoint(), endpoint())
        .prop_map(|(scope, cookie, local, remote)| SockId {
            scope,
            cookie: cookie.map(Cookie),
            tuple: FourTuple { local, remote },
        })
        .boxed()
}

fn state() -> impl Strategy<Value = TcpState> {
    select(TcpState::ALL.to_vec())
}

fn queues() -> BoxedStrategy<Queues> {
    prop_oneof![
        (number32(), number32()).prop_map(|(receive, send)| Queues::Stream { receive, send }),
        (number32(), of(number32()))
            .prop_map(|(waiting, backlog)| Queues::Accept { waiting, backlog }),
        Just(Queues::Absent),
    ]
    .boxed()
}

fn timer() -> BoxedStrategy<Timer> {
    (1..=u8::MAX, stamp())
        .prop_map(|(code, deadline)| Timer {
            kind: TimerKind::from_kernel(code).unwrap(),
            deadline,
        })
        .boxed()
}

fn shutdown() -> impl Strategy<Value = Shutdown> {
    (0..4u8).prop_map(Shutdown::from_kernel)
}

fn row() -> BoxedStrategy<Sample> {
    (
        (sock_id(), state(), queues(), of(timer()), any::<u8>()),
        (
            of(number32()),
            of(number32()),
            of(shutdown()),
            of(number()),
            any::<bool>(),
        ),
    )
        .prop_map(
            |(
                (id, state, queues, timer, retransmits),
                (inode, uid, shutdown, cgroup, multipath),
            )| {
                Sample {
                    id,
                    state,
                    queues,
                    timer,
                    retransmits,
                    inode,
                    uid,
                    shutdown,
                    cgroup,
                    multipath,
                }
            },
        )
        .boxed()
}

fn reason() -> impl Strategy<Value = ResetReason> {
    use ResetReason::*;
    select(vec![
        AbortOnClose,
        AbortOnLinger,
        AbortOnData,
        AbortOnMemory,
        TimeWaitSocket,
        KeepaliveTimeout,
        DisconnectWithData,
        State,
        NoSocket,
        Other,
        Unsaid,
    ])
}

fn what() -> BoxedStrategy<What> {
    prop_oneof![
        (state(), state()).prop_map(|(from, to)| What::State { from, to }),
        reason().prop_map(What::ResetSent),
        Just(What::ResetReceived),
        Just(What::Retransmit),
        Just(What::Freed),
    ]
    .boxed()
}

fn moment() -> BoxedStrategy<Moment> {
    let files = vec![File::Held, File::Closing, File::Absent, File::Unknown];
    (
        (
            shutdown(),
            select(files),
            of(any::<u16>()),
            number32(),
            number32(),
        ),
        (any::<bool>(), of(any::<bool>()), number(), number()),
        (of(number()), any::<bool>()),
    )
        .prop_map(
            |(
                (shutdown, file, error, receive, send),
                (lingers_not, fin_received, bytes_received, bytes_acked),
                (cgroup, multipath),
            )| Moment {
                shutdown,
                file,
                error,
                receive,
                send,
                lingers_not,
                fin_received,
                bytes_received,
                bytes_acked,
                cgroup,
                multipath,
            },
        )
        .boxed()
}

fn comm() -> impl Strategy<Value = Comm> {
    prop_oneof![
        Just(Comm(*b"curl\0\0\0\0\0\0\0\0\0\0\0\0")),
        Just(Comm(*b"\x1b[2J\"\\\n\r\t\0\0\0\0\0\0\0")),
        any::<[u8; 16]>().prop_map(Comm),
    ]
}

fn caller() -> BoxedStrategy<Caller> {
    (number32(), comm(), any::<bool>(), of(any::<u8>()))
        .prop_map(|(pid, comm, exiting, signal)| Caller {
            pid,
            comm,
            exiting,
            signal,
        })
        .boxed()
}

fn look() -> impl Strategy<Value = Look> {
    select(vec![Look::Whole, Look::WithoutTimeWait])
}

fn poll() -> BoxedStrategy<Body> {
    (
        (stamp(), look(), any::<bool>(), any::<bool>()),
        (vec(row(), 0..4), vec(row(), 0..4), vec(sock_id(), 0..4)),
    )
        .prop_map(
            |((begun, look, complete, first), (appeared, changed, missing))| {
                Body::Poll(Poll {
                    begun,
                    look,
                    complete,
                    first,
                    appeared,
                    changed,
                    missing,
                })
            },
        )
        .boxed()
}

fn lookup() -> BoxedStrategy<Body> {
    let answer = prop_oneof![
        row().prop_map(Answer::Found),
        Just(Answer::Gone),
        of(number()).prop_map(|cookie| Answer::Other(cookie.map(Cookie))),
    ];
    (sock_id(), stamp(), of(stamp()), answer)
        .prop_map(|(asked, begun, unchanged, answer)| Body::Lookup {
            asked,
            begun,
            unchanged,
            answer,
        })
        .boxed()
}

fn facts() -> BoxedStrategy<Body> {
    (
        (scope(), of(number()), of(number())),
        (of(number()), of(number()), of(number()), any::<bool>()),
        (of(any::<(u16, u16)>()), of(any::<u8>())),
    )
        .prop_map(
            |(
                (scope, fin_timeout, max_tw_buckets),
                (time_wait_overflows, listen_overflows, resets, server_fast_open),
                (port_range, time_wait_reuse),
            )| {
                Body::Host(HostFacts {
                    port_range,
                    time_wait_reuse,
                    scope,
                    fin_timeout: fin_timeout.map(Duration::from_nanos),
                    max_tw_buckets,
                    time_wait_overflows,
                    listen_overflows,
                    resets,
                    server_fast_open,
                })
            },
        )
        .boxed()
}

/// Any text at all, control characters and what turns the direction of writing included.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        vec(any::<char>(), 0..12).prop_map(String::from_iter),
        Just("\u{1b}]0;x\u{7}\u{202e}\u{9b}\0\"\\\n\u{feff}😀".to_owned()),
    ]
    .boxed()
}

fn source_state() -> BoxedStrategy<Body> {
    let running =
        (number(), of(number()), of(text())).prop_map(|(period, cost, why)| SourceState::Running {
            period: Duration::from_nanos(period),
            cost: cost.map(Duration::from_nanos),
            why,
        });
    let off = text().prop_map(|why| SourceState::Off { why });
    prop_oneof![running, off].prop_map(Body::Source).boxed()
}

fn event() -> BoxedStrategy<Body> {
    (sock_id(), what(), of(moment()), of(caller()))
        .prop_map(|(id, what, moment, caller)| {
            Body::Event(Event {
                id,
                what,
                moment,
                caller,
            })
        })
        .boxed()
}

/// Few pids, so that one process is named again and again, and is not always what it was.
fn process() -> BoxedStrategy<Arc<Program>> {
    (
        (
            prop_oneof![0..4u32, number32()],
            prop_oneof![0..2u64, number()],
        ),
        (of(number32()), comm(), of(number32())),
        (of(text()), of(text())),
    )
        .prop_map(|((pid, started), (parent, comm, uid), (user, cmdline))| {
            Arc::new(Program {
                id: ProcessId { pid, started },
                parent,
                comm,
                uid,
                user: user.map(Box::from),
                cmdline: cmdline.map(Box::from),
            })
        })
        .boxed()
}

fn holders() -> BoxedStrategy<Body> {
    let holder = (process(), vec(number32(), 1..4));
    let ended = (number32(), number()).prop_map(|(pid, started)| ProcessId { pid, started });
    (
        (scope(), number32(), stamp(), of(stamp())),
        (vec(holder, 0..4), vec(ended, 0..3), any::<bool>()),
    )
        .prop_map(
            |((scope, inode, begun, unchanged), (mut holders, ended, all))| {
                holders.sort_by_key(|(program, _)| program.id);
                holders.dedup_by_key(|(program, _)| program.id);
                let holder = |(program, fds)| Holder { program, fds };
                Body::Holders(Holders {
                    scope,
                    inode,
                    begun,
                    unchanged,
                    holders: holders.into_iter().map(holder).collect(),
                    ended,
                    seen: if all { Seen::All } else { Seen::Partly },
                })
            },
        )
        .boxed()
}

fn info() -> BoxedStrategy<Body> {
    let time = || number().prop_map(Duration::from_nanos);
    let counters = (
        (state(), time(), time(), time()),
        (any::<bool>(), any::<u8>(), of(number()), of(number())),
    )
        .prop_map(
            |(
                (state, data_sent, data_received, ack_received),
                (keepalive, backoff, bytes_received, bytes_acked),
            )| {
                InfoAnswer::Counters(Counters {
                    state,
                    data_sent,
                    data_received,
                    ack_received,
                    keepalive,
                    backoff,
                    bytes_received,
                    bytes_acked,
                })
            },
        );
    let answer = prop_oneof![counters, time().prop_map(InfoAnswer::Silent)];
    (sock_id(), stamp(), answer)
        .prop_map(|(id, begun, answer)| Body::Info(Info { id, begun, answer }))
        .boxed()
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        holders(),
        info(),
        poll(),
        event(),
        lookup(),
        (stamp(), look()).prop_map(|(until, look)| Body::Unchanged { until, look }),
        facts(),
        source_state(),
        number().prop_map(|realtime_ns| Body::Clock { realtime_ns }),
        (number32(), text()).prop_map(|(pid, text)| Body::Note { pid, text }),
        (of(number()), text()).prop_map(|(count, why)| Body::Lost {
            count,
            why: why.into(),
        }),
        (stamp(), vec(row(), 0..4))
            .prop_map(|(begun, samples)| Body::Keyframe(Keyframe { begun, samples })),
    ]
}

fn source() -> impl Strategy<Value = SourceName> {
    use SourceName::*;
    select(vec![
        SockDiag, Proc, Bpf, Destroy, Follow, Holders, Info, Lab, Recording,
    ])
}

/// What a run can say: in order of time, but for a few that come a little late.
pub fn observations(most: usize) -> impl Strategy<Value = Vec<Observation>> {
    let one = (0..40_000u64, 0..50u64, source(), body());
    vec(one, 1..most).prop_map(|all| {
        let mut ms = 100;
        all.into_iter()
            .map(|(step, late, source, body)| {
                ms += step;
                said(ms - late, source, body)
            })
            .collect()
    })
}
