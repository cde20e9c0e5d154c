//! `sock_diag` as bytes: answers that a kernel gave, whole, cut and damaged; requests byte by
//! byte; and every way to say no.
//!
//! fixtures/sock_diag/README.md tells where the datagrams come from. They were recorded on a
//! little-endian machine, and the annotated requests are little-endian too.

#![cfg(target_endian = "little")]
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use tcpwatch::model::{
    Cookie, Descriptor, Endpoint, FourTuple, Queues, Sample, Scope, SockId, TcpState, TimerKind,
    Timestamp,
};
use tcpwatch::source::sock_diag::DiagError;
use tcpwatch::source::sock_diag::wire::{
    CONNECTION_STATES, Datagram, Families, LISTEN_STATES, Message, Row, dump_request,
    lookup_request, messages, read_dump, row,
};

const CONNECTIONS: &[u8] = include_bytes!("../fixtures/sock_diag/connections.bin");
const CONNECTIONS_V4: &[u8] = include_bytes!("../fixtures/sock_diag/connections_v4.bin");
const CONNECTIONS_V6: &[u8] = include_bytes!("../fixtures/sock_diag/connections_v6.bin");
const LISTENERS: &[u8] = include_bytes!("../fixtures/sock_diag/listeners.bin");
const LOOKUPS: &[u8] = include_bytes!("../fixtures/sock_diag/lookups.bin");
const ERRORS: &[u8] = include_bytes!("../fixtures/sock_diag/errors.bin");
const EVERYTHING: [&[u8]; 6] = [
    CONNECTIONS,
    CONNECTIONS_V4,
    CONNECTIONS_V6,
    LISTENERS,
    LOOKUPS,
    ERRORS,
];

const AT: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
const SCOPE: Scope = Scope {
    host: 0,
    netns: Some(4026531840),
};
const OPERATION: &str = "dump of connections";

// include/uapi/linux/netlink.h, include/uapi/linux/inet_diag.h
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_DUMP_INTR: u16 = 0x10;
const SHUTDOWN: u16 = 8;
const CGROUP_ID: u16 = 21;

/// Where the fields of `struct inet_diag_msg` begin.
const FAMILY: usize = 0;
const STATE: usize = 1;
const TIMER: usize = 2;
const COOKIE: usize = 44;
const ROW: usize = 72;
const HEADER: usize = 16;

#[derive(Deserialize)]
struct Expected {
    row: Vec<ExpectedRow>,
    lookup: Vec<ExpectedLookup>,
    error: Vec<ExpectedError>,
}

#[derive(Deserialize)]
struct ExpectedRow {
    family: u8,
    address: String,
    local: u16,
    remote: u16,
    state: String,
    receive: Option<u32>,
    send: Option<u32>,
    timer: Option<String>,
    shutdown: Option<u8>,
    descriptor: String,
    cookie: Option<u64>,
    inode: Option<u32>,
    uid: Option<u32>,
    cgroup: Option<u64>,
}

#[derive(Deserialize)]
struct ExpectedLookup {
    name: String,
    sequence: u32,
    address: IpAddr,
    local: u16,
    remote: u16,
    cookie: Option<u64>,
    answer: String,
}

#[derive(Deserialize)]
struct ExpectedError {
    name: String,
    sequence: u32,
    shape: String,
    becomes: String,
}

fn expected() -> Expected {
    toml::from_str(include_str!("../fixtures/sock_diag/expected.toml")).unwrap()
}

/// The datagrams of a recording: each behind its length.
fn datagrams(mut recording: &[u8]) -> Vec<&[u8]> {
    let mut datagrams = Vec::new();
    while let Some((length, rest)) = recording.split_first_chunk() {
        let (datagram, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        datagrams.push(datagram);
        recording = rest;
    }
    datagrams
}

/// Where the messages of a datagram lie.
fn spans(datagram: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut begin = 0;
    while let Some(length) = datagram.get(begin..).and_then(|rest| rest.first_chunk()) {
        let end = begin + u32::from_le_bytes(*length) as usize;
        spans.push(begin..end);
        begin = end.next_multiple_of(4);
    }
    spans
}

fn read(datagram: &[u8], sequence: u32) -> Result<(Vec<Row>, Datagram), DiagError> {
    let mut rows = Vec::new();
    let read = read_dump(datagram, sequence, SCOPE, AT, OPERATION, |row| {
        rows.push(*row);
    })?;
    Ok((rows, read))
}

/// All rows of a recorded dump, which ends in good order and not before its last datagram.
fn dump(recording: &[u8], sequence: u32) -> Vec<Row> {
    let mut all = Vec::new();
    let datagrams = datagrams(recording);
    for (index, datagram) in datagrams.iter().enumerate() {
        let (rows, read) = read(datagram, sequence).unwrap();
        assert_eq!(read.done, index + 1 == datagrams.len());
        assert_eq!((read.unreadable, read.interrupted), (0, false));
        all.extend(rows);
    }
    all
}

/// Every row of both dumps, which is every socket there was.
fn recorded() -> Vec<Row> {
    let mut rows = dump(CONNECTIONS, 1);
    rows.extend(dump(LISTENERS, 2));
    rows
}

fn find(local: u16, remote: u16) -> Sample {
    let ports = |row: &&Row| {
        let tuple = row.sample.id.tuple;
        (tuple.local.port(), tuple.remote.port()) == (local, remote)
    };
    recorded().iter().find(ports).unwrap().sample
}

fn client(story: u16) -> Sample {
    find(story + 10_000, story)
}

fn server(story: u16) -> Sample {
    find(story, story + 10_000)
}

fn left(sample: &Sample) -> f64 {
    sample.timer.unwrap().deadline.since(AT).as_secs_f64()
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = (HEADER + payload.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn refusal(kind: u16, errno: i32) -> Vec<u8> {
    message(kind, 0, 7, &(-errno).to_ne_bytes())
}

/// A recorded row's payload: an established server with 7 bytes unread.
fn a_payload() -> Vec<u8> {
    datagrams(CONNECTIONS)
        .into_iter()
        .flat_map(messages)
        .find_map(|(_, _, message)| match message {
            Message::Row(payload) => {
                let sample = row(payload, SCOPE, AT)?.sample;
                (sample == server(20006)).then(|| payload.to_vec())
            }
            _ => None,
        })
        .unwrap()
}

fn changed(payload: &[u8], at: usize, byte: u8) -> Option<Sample> {
    let mut payload = payload.to_vec();
    payload[at] = byte;
    row(&payload, SCOPE, AT).map(|row| row.sample)
}

/// A row without attributes of its own, and these.
fn with_attributes(attributes: &[u8]) -> Sample {
    let mut payload = a_payload();
    payload.truncate(ROW);
    payload.extend_from_slice(attributes);
    row(&payload, SCOPE, AT).unwrap().sample
}

fn attribute(length: u16, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn tuple(address: &str, local: u16, remote: u16) -> FourTuple {
    let address = address.parse().unwrap();
    FourTuple {
        local: Endpoint::new(address, local),
        remote: Endpoint::new(address, remote),
    }
}

fn assert_is(sample: &Sample, expected: &ExpectedRow) {
    let context = format!("{sample:?}");
    let local: IpAddr = expected.address.parse().unwrap();
    assert_eq!(sample.id.scope, SCOPE);
    assert_eq!(
        sample.id.tuple.local,
        Endpoint::new(local, expected.local),
        "{context}"
    );
    if sample.state == TcpState::Listen {
        assert!(sample.id.tuple.remote.is_any_address(), "{context}");
    } else {
        let remote = Endpoint::new(local, expected.remote);
        assert_eq!(sample.id.tuple.remote, remote, "{context}");
    }
    assert_eq!(sample.state.name(), expected.state, "{context}");
    let mask = sample.shutdown.map(|shutdown| shutdown.mask());
    assert_eq!(mask, expected.shutdown, "{context}");
    let timer = sample.timer.map(|timer| timer.kind.name());
    assert_eq!(timer, expected.timer.as_deref(), "{context}");
    assert_eq!(sample.uid, expected.uid, "{context}");
    if let Some(cookie) = expected.cookie {
        assert_eq!(sample.id.cookie, Some(Cookie(cookie)), "{context}");
    }
    assert!(sample.id.cookie.is_some(), "{context}");
    let inode = expected.inode.filter(|&inode| inode != 0);
    assert_eq!(sample.inode, inode, "{context}");
    if expected.cgroup.is_some() {
        assert_eq!(sample.cgroup, expected.cgroup, "{context}");
    }
    match sample.queues {
        Queues::Absent => assert_eq!(expected.shutdown, None, "{context}"),
        Queues::Stream { receive, send } => {
            assert!(expected.shutdown.is_some(), "{context}");
            for (queue, expected) in [(receive, expected.receive), (send, expected.send)] {
                match expected {
                    Some(exactly) => assert_eq!(queue, exactly, "{context}"),
                    None => assert!(queue > 0, "{context}"),
                }
            }
        }
        Queues::Accept { waiting, backlog } => {
            assert_eq!(sample.state, TcpState::Listen, "{context}");
            assert_eq!(Some(waiting), expected.receive, "{context}");
            assert_eq!(backlog, expected.send, "{context}");
        }
    }
    if let Some(descriptor) = sample.descriptor() {
        assert_eq!(descriptor.token(), expected.descriptor, "{context}");
    }
}

#[test]
fn every_row_says_what_its_program_knows() {
    let rows = recorded();
    let expected = expected().row;
    for expected in &expected {
        let sample = find(expected.local, expected.remote);
        assert_is(&sample, expected);
    }
    assert_eq!(rows.len(), expected.len(), "no row more, none twice");
    assert!(rows.iter().all(|row| row.device == 0));
}

#[test]
fn a_dump_by_family_is_its_part_of_the_dump_of_both() {
    // The recordings follow one another, so timers may have moved.
    let who = |rows: Vec<Row>| {
        let mut ids: Vec<SockId> = rows.iter().map(|row| row.sample.id).collect();
        ids.sort();
        ids
    };
    for (family, recording, sequence) in [(4, CONNECTIONS_V4, 3), (6, CONNECTIONS_V6, 4)] {
        let expected: Vec<(u16, u16)> = expected()
            .row
            .iter()
            .filter(|row| row.family == family && row.state != "LISTEN")
            .map(|row| (row.local, row.remote))
            .collect();
        let both = dump(CONNECTIONS, 1).into_iter().filter(|row| {
            let tuple = row.sample.id.tuple;
            expected.contains(&(tuple.local.port(), tuple.remote.port()))
        });
        assert_eq!(who(dump(recording, sequence)), who(both.collect()));
    }
}

#[test]
fn timers_run_as_long_as_their_stories_say() {
    for story in [20012, 20016, 20017, 20018, 20022, 20023, 20026] {
        let mini = client(story);
        assert!(mini.is_mini_socket(), "{mini:?}");
        let left = left(&mini);
        assert!((50.0..60.0).contains(&left), "{left}");
    }
    let keepalive = left(&client(20006));
    assert!((590.0..=600.0).contains(&keepalive), "{keepalive}");
    for sample in [
        server(20004),
        client(20004),
        client(20007),
        client(20008),
        client(20009),
        client(20010),
        server(20013),
        server(20014),
        client(20015),
        server(20015),
    ] {
        assert!(sample.retransmits > 0, "{sample:?}");
        assert!((0.0..60.0).contains(&left(&sample)), "{sample:?}");
    }
}

#[test]
fn a_fast_open_server_in_syn_recv_is_a_whole_socket() {
    let accepted = server(20005);
    assert_eq!(accepted.state, TcpState::SynRecv);
    assert_eq!(accepted.unread(), Some(5));
    assert_eq!(accepted.descriptor(), Some(Descriptor::Held));
    assert_eq!(server(20004).queues, Queues::Absent);
}

#[test]
fn both_ends_of_a_connection_mirror_each_other() {
    let ids: Vec<FourTuple> = dump(CONNECTIONS, 1)
        .iter()
        .map(|row| row.sample.id.tuple)
        .collect();
    let alone: Vec<u16> = ids
        .iter()
        .filter(|tuple| !ids.contains(&tuple.mirror()))
        .map(|tuple| tuple.remote.port())
        .collect();
    let mut alone = alone;
    alone.sort_unstable();
    assert_eq!(alone, [20002, 20016, 20017, 20023]);
}

#[test]
fn a_lookup_is_answered_by_the_socket_by_nobody_or_by_the_listener() {
    let datagrams = datagrams(LOOKUPS);
    let lookups = expected().lookup;
    assert_eq!(datagrams.len(), lookups.len());
    for (lookup, datagram) in lookups.iter().zip(datagrams) {
        let name = &lookup.name;
        let answers: Vec<_> = messages(datagram).collect();
        let [(sequence, _, answer)] = &answers[..] else {
            panic!("{name}: {answers:?}");
        };
        assert_eq!(*sequence, lookup.sequence, "{name}");
        let Message::Row(payload) = answer else {
            assert_eq!(lookup.answer, "ENOENT", "{name}");
            assert_eq!(*answer, Message::Error(libc::ENOENT), "{name}");
            continue;
        };
        let sample = row(payload, SCOPE, AT).unwrap().sample;
        assert_eq!(sample.state.name(), lookup.answer, "{name}");
        let asked = tuple(&lookup.address.to_string(), lookup.local, lookup.remote);
        if sample.state == TcpState::Listen {
            assert_ne!(sample.id.tuple, asked, "{name}: a listener is no answer");
        } else {
            assert_eq!(sample.id.tuple, asked, "{name}");
            let cookie = lookup.cookie.map(Cookie);
            assert!(cookie.is_none() || sample.id.cookie == cookie, "{name}");
        }
    }
}

#[test]
fn every_recorded_refusal_has_a_name() {
    let datagrams = datagrams(ERRORS);
    let errors = expected().error;
    assert_eq!(datagrams.len(), errors.len());
    for (expected, datagram) in errors.iter().zip(datagrams) {
        let name = &expected.name;
        let error = read(datagram, expected.sequence).unwrap_err();
        let variant = match &error {
            DiagError::NoTcpDiag { .. } => "NoTcpDiag",
            DiagError::Busy { .. } => "Busy",
            DiagError::NotPermitted { .. } => "NotPermitted",
            DiagError::Refused { error, .. } => {
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{name}");
                "Refused"
            }
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(variant, expected.becomes, "{name}");
        assert!(error.to_string().contains(OPERATION), "{error}");
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        let shape = if kind == NLMSG_DONE { "DONE" } else { "ERROR" };
        assert_eq!(shape, expected.shape, "{name}");
        // Left over from a dump that was given up, it concerns nobody.
        let ignored = read(datagram, expected.sequence + 1000).unwrap();
        assert_eq!(ignored, (vec![], Datagram::default()), "{name}");
    }
    assert_eq!(errors[0].shape, "DONE", "a dump's errno hides in its end");
}

#[test]
fn an_errno_is_a_loss_or_the_end_in_an_error_and_in_a_done_alike() {
    for kind in [NLMSG_ERROR, NLMSG_DONE] {
        let error = |errno| read(&refusal(kind, errno), 7).unwrap_err();
        assert!(matches!(error(libc::ENOENT), DiagError::NoTcpDiag { .. }));
        assert!(matches!(error(libc::EPERM), DiagError::NotPermitted { .. }));
        assert!(matches!(
            error(libc::EACCES),
            DiagError::NotPermitted { .. }
        ));
        assert!(matches!(error(libc::EBUSY), DiagError::Busy { .. }));
        assert!(matches!(error(libc::ENOBUFS), DiagError::Overrun { .. }));
        assert!(matches!(error(libc::EINVAL), DiagError::Refused { .. }));
        assert!(matches!(error(i32::MAX), DiagError::Refused { .. }));
        for (errno, passes) in [
            (libc::EBUSY, true),
            (libc::ENOBUFS, true),
            (libc::ENOENT, false),
            (libc::EPERM, false),
            (libc::EINVAL, false),
        ] {
            assert_eq!(error(errno).passes(), passes, "{errno}");
        }
    }
    let overrun = message(NLMSG_OVERRUN, 0, 7, &[]);
    assert!(matches!(read(&overrun, 7), Err(DiagError::Overrun { .. })));
    let cut = DiagError::Truncated {
        operation: OPERATION,
        length: 2,
        room: 1,
    };
    assert!(cut.passes());
    assert_eq!(cut.loss(), "datagram cut short");
}

#[test]
fn the_end_of_a_dump_is_an_end_and_an_acknowledgement_is_nothing() {
    for payload in [&[][..], &[0, 0], &[0; 4], &[0; 8]] {
        let (rows, read) = read(&message(NLMSG_DONE, 0, 7, payload), 7).unwrap();
        assert!(rows.is_empty() && read.done);
    }
    for kind in [NLMSG_ERROR, NLMSG_NOOP, 999] {
        let acknowledgement = message(kind, 0, 7, &[0; 4]);
        assert_eq!(read(&acknowledgement, 7).unwrap().1, Datagram::default());
    }
}

#[test]
fn rows_of_a_dump_that_was_given_up_are_ignored() {
    for recording in [CONNECTIONS, LISTENERS] {
        for datagram in datagrams(recording) {
            assert_eq!(read(datagram, 77).unwrap(), (vec![], Datagram::default()));
        }
    }
    // The old dump's rest, its end, and a row of ours behind it in one datagram.
    let mut mixed = message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP_INTR, 6, &a_payload());
    mixed.extend(message(NLMSG_DONE, 0, 6, &[0; 4]));
    mixed.extend(message(NLMSG_ERROR, 0, 6, &(-libc::EBUSY).to_ne_bytes()));
    mixed.extend(message(SOCK_DIAG_BY_FAMILY, 0, 7, &a_payload()));
    let (rows, read) = read(&mixed, 7).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(read, Datagram::default());
}

#[test]
fn an_interrupted_dump_says_so() {
    let interrupted = message(NLMSG_DONE, NLM_F_DUMP_INTR, 7, &[0; 4]);
    assert!(read(&interrupted, 7).unwrap().1.interrupted);
}

#[test]
fn a_datagram_cut_anywhere_gives_whole_rows_alone() {
    for recording in EVERYTHING {
        for datagram in datagrams(recording) {
            let whole: Vec<_> = messages(datagram).collect();
            for cut in 0..datagram.len() {
                let kept: Vec<_> = messages(&datagram[..cut]).collect();
                assert!(whole.starts_with(&kept), "cut at {cut}");
                // Rows that arrived whole are there, up to the padding behind them.
                let mut end = 0;
                let arrived = |(_, _, message): &&(u32, u16, Message<'_>)| {
                    let Message::Row(payload) = message else {
                        return false;
                    };
                    end += HEADER + payload.len().next_multiple_of(4);
                    end <= cut
                };
                let complete = whole.iter().take_while(arrived).count();
                assert!(kept.len() >= complete, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_row_cut_anywhere_is_no_row_or_lacks_its_attributes() {
    for datagram in EVERYTHING.into_iter().flat_map(datagrams) {
        for (_, _, message) in messages(datagram) {
            let Message::Row(payload) = message else {
                continue;
            };
            let whole = row(payload, SCOPE, AT).unwrap().sample;
            for cut in 0..payload.len() {
                let Some(kept) = row(&payload[..cut], SCOPE, AT) else {
                    assert!(cut < ROW, "cut at {cut}");
                    continue;
                };
                assert!(cut >= ROW, "cut at {cut}");
                let Sample {
                    shutdown, cgroup, ..
                } = kept.sample;
                assert!(shutdown.is_none() || shutdown == whole.shutdown);
                assert!(cgroup.is_none() || cgroup == whole.cgroup);
                let expected = Sample {
                    shutdown,
                    cgroup,
                    ..whole
                };
                assert_eq!(kept.sample, expected, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_damaged_byte_costs_its_row_at_most() {
    const MASKS: [u8; 11] = [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff, 0x0f, 0x55];
    for datagram in EVERYTHING.into_iter().flat_map(datagrams) {
        let whole: Vec<_> = messages(datagram).collect();
        for (hit, span) in spans(datagram).into_iter().enumerate() {
            let payload = span.start + HEADER;
            for (at, mask) in span.flat_map(|at| MASKS.map(|mask| (at, mask))) {
                let mut damaged = datagram.to_vec();
                damaged[at] ^= mask;
                if at < payload {
                    let _ = read(&damaged, 1);
                    continue;
                }
                let left: Vec<_> = messages(&damaged).collect();
                assert_eq!(left.len(), whole.len(), "{mask:#x} at {at}");
                let same = |index: usize| index == hit || left[index] == whole[index];
                assert!((0..whole.len()).all(same), "{mask:#x} at {at}");
                if let Message::Row(payload) = left[hit].2 {
                    let _ = row(payload, SCOPE, AT);
                }
            }
        }
    }
}

#[test]
fn garbage_is_survived() {
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15);
    let all: Vec<&[u8]> = EVERYTHING.into_iter().flat_map(datagrams).collect();
    for round in 0..10_000 {
        let noise: Vec<u8> = (0..random.below(400)).map(|_| random.byte()).collect();
        let _ = row(&noise, SCOPE, AT);
        let _ = read(&noise, 1);
        let framed = message(SOCK_DIAG_BY_FAMILY, 0, 1, &noise);
        let read = read(&framed, 1).unwrap().1;
        assert!(read.unreadable <= 1 && !read.done);
        let mut peppered = all[round % all.len()].to_vec();
        for _ in 0..random.below(20) {
            let at = random.below(peppered.len());
            peppered[at] = random.byte();
        }
        assert!(messages(&peppered).count() <= peppered.len() / HEADER);
    }
}

#[test]
fn a_message_of_impossible_length_ends_the_datagram() {
    let good = message(SOCK_DIAG_BY_FAMILY, 0, 7, &a_payload());
    for length in [
        0u32,
        3,
        15,
        good.len() as u32 * 2 + 1,
        u32::MAX - 2,
        u32::MAX,
    ] {
        let mut bad = good.clone();
        bad[..4].copy_from_slice(&length.to_ne_bytes());
        let datagram = [&good[..], &bad, &good].concat();
        let (rows, _) = read(&datagram, 7).unwrap();
        assert_eq!(rows.len(), 1, "length {length}");
    }
    // A header alone is a row that can't be read, and the next one can.
    let datagram = [message(SOCK_DIAG_BY_FAMILY, 0, 7, &[]), good].concat();
    let (rows, read) = read(&datagram, 7).unwrap();
    assert_eq!((rows.len(), read.unreadable), (1, 1));
}

#[test]
fn an_attribute_of_impossible_length_costs_what_comes_after_it() {
    let mask = attribute(5, SHUTDOWN, &[2]);
    let cgroup = attribute(12, CGROUP_ID, &77u64.to_ne_bytes());
    let sample = with_attributes(&[&mask[..], &cgroup].concat());
    assert_eq!(sample.shutdown.map(|mask| mask.mask()), Some(2));
    assert_eq!(sample.cgroup, Some(77));
    for length in [0u16, 3, 100, u16::MAX] {
        let broken = attribute(length, 99, &[1; 4]);
        let sample = with_attributes(&[&mask[..], &broken, &cgroup].concat());
        assert_eq!(sample.shutdown.map(|mask| mask.mask()), Some(2), "{length}");
        assert_eq!(sample.cgroup, None, "{length}");
    }
    // Too short to hold what they should.
    assert_eq!(with_attributes(&attribute(4, SHUTDOWN, &[])).shutdown, None);
    let short = attribute(8, CGROUP_ID, &[1; 4]);
    assert_eq!(with_attributes(&short).cgroup, None);
}

#[test]
fn unknown_attributes_are_passed_over() {
    let mut attributes = Vec::new();
    for kind in [0u16, 1, 15, 22, 200, 0x3fff, 0x8000 | 3, 0x4000 | 3] {
        attributes.extend(attribute(11, kind, &[0xff; 7]));
    }
    attributes.extend(attribute(5, SHUTDOWN, &[1]));
    let sample = with_attributes(&attributes);
    assert_eq!(sample.shutdown.map(|mask| mask.mask()), Some(1));
    assert_eq!(sample.cgroup, None);
}

#[test]
fn what_a_newer_kernel_says_is_unreadable_or_other_but_never_wrong() {
    let payload = a_payload();
    for family in
        (0..=255u8).filter(|&family| !matches!(i32::from(family), libc::AF_INET | libc::AF_INET6))
    {
        assert_eq!(changed(&payload, FAMILY, family), None);
    }
    for state in (13..=255u8).chain([0]) {
        assert_eq!(changed(&payload, STATE, state), None);
    }
    for timer in 5..=255u8 {
        let sample = changed(&payload, TIMER, timer).unwrap();
        assert_eq!(sample.timer.unwrap().kind, TimerKind::Other(timer));
    }
    let mut unreadable = payload.clone();
    unreadable[STATE] = 13;
    let datagram = message(SOCK_DIAG_BY_FAMILY, 0, 7, &unreadable);
    let (rows, read) = read(&datagram, 7).unwrap();
    assert_eq!((rows.len(), read.unreadable), (0, 1));
}

#[test]
fn a_cookie_is_two_words_and_nobody_has_none_or_all_ones() {
    let cookie = |bytes: [u8; 8]| {
        let mut payload = a_payload();
        payload[COOKIE..COOKIE + 8].copy_from_slice(&bytes);
        row(&payload, SCOPE, AT).unwrap().sample.id.cookie
    };
    assert_eq!(
        cookie([0x55, 0x66, 0x77, 0x88, 0x11, 0x22, 0x33, 0x44]),
        Some(Cookie(0x4433_2211_8877_6655))
    );
    assert_eq!(cookie([0; 8]), None);
    assert_eq!(cookie([0xff; 8]), None);
}

#[test]
fn a_timer_runs_out_at_the_millisecond_it_was_told() {
    let mut payload = a_payload();
    payload[TIMER] = 3;
    payload[52..56].copy_from_slice(&u32::MAX.to_ne_bytes());
    let timer = row(&payload, SCOPE, AT).unwrap().sample.timer.unwrap();
    let longest = Duration::from_millis(u32::MAX.into());
    assert_eq!(timer.deadline, AT.plus(longest));
    // Without a timer the expiry says nothing.
    payload[TIMER] = 0;
    assert_eq!(row(&payload, SCOPE, AT).unwrap().sample.timer, None);
}

/// Expected bytes, piece by piece with what they are.
fn annotated(pieces: &[(&[u8], &str)]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|(bytes, _)| *bytes)
        .copied()
        .collect()
}

#[test]
fn a_dump_of_both_families_is_the_old_request() {
    let expected = annotated(&[
        (&[100, 0, 0, 0], "length: 16 + 60 + 24"),
        (&[18, 0], "TCPDIAG_GETSOCK"),
        (&[0x01, 0x03], "NLM_F_REQUEST | NLM_F_DUMP"),
        (&[0x44, 0x33, 0x22, 0x11], "sequence"),
        (&[0; 4], "port"),
        (&[0], "family: both"),
        (&[0, 0], "prefix lengths"),
        (&[0], "extensions: none"),
        (&[0; 48], "socket id"),
        (&[0xff, 0x0b, 0, 0], "states: 0xfff without LISTEN"),
        (&[0; 4], "idiag_dbs"),
        (
            &[24, 0, 1, 0],
            "attribute: 24 bytes, INET_DIAG_REQ_BYTECODE",
        ),
        (&[0xab; 20], "bytecode"),
    ]);
    let states = CONNECTION_STATES;
    assert_eq!(
        dump_request(Families::Both, states, &[0xab; 20], 0x1122_3344),
        expected
    );
    let unfiltered = dump_request(Families::Both, states, &[], 0x1122_3344);
    assert_eq!(unfiltered[..4], [76, 0, 0, 0], "length: 16 + 60");
    assert_eq!(unfiltered[4..], expected[4..76]);
}

#[test]
fn a_dump_of_one_family_is_the_newer_request() {
    for (families, family) in [(Families::V4, 2), (Families::V6, 10)] {
        let expected = annotated(&[
            (&[96, 0, 0, 0], "length: 16 + 56 + 24"),
            (&[20, 0], "SOCK_DIAG_BY_FAMILY"),
            (&[0x01, 0x03], "NLM_F_REQUEST | NLM_F_DUMP"),
            (&[5, 0, 0, 0], "sequence"),
            (&[0; 4], "port"),
            (&[family], "family"),
            (&[6], "IPPROTO_TCP"),
            (&[0], "extensions: none"),
            (&[0], "padding"),
            (&[0, 0x04, 0, 0], "states: LISTEN"),
            (&[0; 48], "socket id"),
            (
                &[24, 0, 1, 0],
                "attribute: 24 bytes, INET_DIAG_REQ_BYTECODE",
            ),
            (&[0xab; 20], "bytecode"),
        ]);
        let request = dump_request(families, LISTEN_STATES, &[0xab; 20], 5);
        assert_eq!(request, expected);
    }
}

#[test]
fn a_lookup_names_the_socket_its_cookie_and_its_device() {
    let v4 = FourTuple {
        local: Endpoint::new("10.0.0.7".parse().unwrap(), 50008),
        remote: Endpoint::new("192.168.1.2".parse().unwrap(), 443),
    };
    let cookie = Some(Cookie(0x4433_2211_8877_6655));
    let expected = annotated(&[
        (&[72, 0, 0, 0], "length: 16 + 56"),
        (&[20, 0], "SOCK_DIAG_BY_FAMILY"),
        (&[0x01, 0x00], "NLM_F_REQUEST"),
        (&[9, 0, 0, 0], "sequence"),
        (&[0; 4], "port"),
        (
            &[2, 6, 0, 0],
            "AF_INET, IPPROTO_TCP, no extensions, padding",
        ),
        (&[0; 4], "states: ignored by lookups"),
        (&[0xc3, 0x58], "own port, big-endian"),
        (&[0x01, 0xbb], "other port, big-endian"),
        (&[10, 0, 0, 7], "own address"),
        (&[0; 12], "rest of the field"),
        (&[192, 168, 1, 2], "other address"),
        (&[0; 12], "rest of the field"),
        (&[3, 0, 0, 0], "device"),
        (&[0x55, 0x66, 0x77, 0x88], "cookie, low word"),
        (&[0x11, 0x22, 0x33, 0x44], "cookie, high word"),
    ]);
    assert_eq!(lookup_request(&v4, cookie, 3, 9), expected);

    let any = lookup_request(&v4, None, 3, 9);
    assert_eq!(any[..64], expected[..64]);
    assert_eq!(any[64..], [0xff; 8], "INET_DIAG_NOCOOKIE, both words");

    let v6 = tuple("2001:db8::5", 50008, 443);
    let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    let request = lookup_request(&v6, cookie, 0, 9);
    assert_eq!(request[16..20], [10, 6, 0, 0], "AF_INET6");
    assert_eq!(request[28..44], address);
    assert_eq!(request[44..60], address);
    assert_eq!(request[60..64], [0; 4], "no device");

    // A mapped address is asked for as the IPv4 address that it is.
    let mapped = tuple("::ffff:127.0.0.1", 1, 2);
    let plain = tuple("127.0.0.1", 1, 2);
    assert_eq!(
        lookup_request(&mapped, cookie, 0, 9),
        lookup_request(&plain, cookie, 0, 9)
    );
}

/// Marsaglia's xorshift64: the same numbers in every run.
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[4]
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
