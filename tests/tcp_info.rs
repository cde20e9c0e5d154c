//! `struct tcp_info` as bytes: answers that a kernel gave, whole and cut, and a request byte by byte.
//!
//! fixtures/sock_diag/README.md tells where the answers come from; they are little-endian.

#![cfg(target_endian = "little")]
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::time::Duration;

use serde::Deserialize;
use tcpwatch::model::{Cookie, Counters, Endpoint, FourTuple, TcpState};
use tcpwatch::source::sock_diag::tcp_info::counters;
use tcpwatch::source::sock_diag::wire::{Message, counters_request, lookup_request, messages};

const ANSWERS: &[u8] = include_bytes!("../fixtures/sock_diag/counters.bin");

#[derive(Deserialize)]
struct Expected {
    answer: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
    state: String,
    keepalive: Option<bool>,
    data_sent_ms: Option<u64>,
    data_received_ms: Option<u64>,
    ack_received_ms: Option<u64>,
    backoff: Option<u8>,
    bytes_acked: Option<u64>,
    bytes_received: Option<u64>,
}

/// The payload of each answer, in order.
fn payloads() -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut recording = ANSWERS;
    while let Some((length, rest)) = recording.split_first_chunk() {
        let (datagram, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        for (_, _, message) in messages(datagram) {
            let Message::Row(payload) = message else {
                panic!("{message:?}");
            };
            payloads.push(payload.to_vec());
        }
        recording = rest;
    }
    payloads
}

fn expected() -> Vec<Answer> {
    let text = include_str!("../fixtures/sock_diag/counters.toml");
    toml::from_str::<Expected>(text).unwrap().answer
}

#[test]
fn what_a_kernel_answered_is_what_it_told_the_program() {
    let (payloads, expected) = (payloads(), expected());
    assert_eq!(payloads.len(), expected.len());
    for (payload, expected) in payloads.iter().zip(expected) {
        let name = &expected.name;
        let Some(keepalive) = expected.keepalive else {
            assert_eq!(counters(payload), None, "{name}");
            continue;
        };
        let told = counters(payload).unwrap();
        assert_eq!(told.state, expected.state.parse().unwrap(), "{name}");
        assert_eq!(told.keepalive, keepalive, "{name}");
        assert_eq!(Some(told.backoff), expected.backoff, "{name}");
        assert_eq!(told.bytes_acked, expected.bytes_acked, "{name}");
        assert_eq!(told.bytes_received, expected.bytes_received, "{name}");
        for (told, expected) in [
            (told.data_sent, expected.data_sent_ms),
            (told.data_received, expected.data_received_ms),
            (told.ack_received, expected.ack_received_ms),
        ] {
            let apart = told.abs_diff(Duration::from_millis(expected.unwrap()));
            // The program asked a moment before.
            assert!(apart <= Duration::from_millis(20), "{name}: {apart:?}");
        }
    }
}

/// A row without an end of its own, and the struct as long as said, each byte its own number.
fn row(timer: u8, info: &[u8]) -> Vec<u8> {
    const ROW: usize = 72;
    const INFO: u16 = 2;
    const MARK: u16 = 15;
    let mut payload = vec![0; ROW];
    payload[2] = timer;
    for (kind, value) in [(MARK, &[7, 0, 0, 0][..]), (INFO, info)] {
        payload.extend((value.len() as u16 + 4).to_le_bytes());
        payload.extend(kind.to_le_bytes());
        payload.extend(value);
        payload.resize(payload.len().next_multiple_of(4), 0);
    }
    payload
}

/// The struct: CLOSE_WAIT, and in every other byte where it stands.
fn info(length: u8) -> Vec<u8> {
    let mut info: Vec<u8> = (0..length).collect();
    if let Some(state) = info.first_mut() {
        *state = 8;
    }
    info
}

#[test]
fn every_field_is_read_from_its_place() {
    let millis = |first: u8| {
        let bytes = [first, first + 1, first + 2, first + 3];
        Duration::from_millis(u32::from_le_bytes(bytes).into())
    };
    let count = |first: u8| {
        let bytes: [u8; 8] = std::array::from_fn(|index| first + index as u8);
        Some(u64::from_le_bytes(bytes))
    };
    let whole = Counters {
        state: TcpState::CloseWait,
        data_sent: millis(44),
        data_received: millis(52),
        ack_received: millis(56),
        keepalive: false,
        backoff: 4,
        bytes_acked: count(120),
        bytes_received: count(128),
    };
    assert_eq!(counters(&row(0, &info(250))), Some(whole));
    // What an older kernel does not have yet.
    let without_received = Counters {
        bytes_received: None,
        ..whole
    };
    assert_eq!(counters(&row(0, &info(135))), Some(without_received));
    let without_both = Counters {
        bytes_acked: None,
        ..without_received
    };
    assert_eq!(counters(&row(0, &info(104))), Some(without_both));
    assert_eq!(counters(&row(0, &info(60))), Some(without_both));
    // And what is no answer.
    assert_eq!(counters(&row(0, &info(59))), None);
    assert_eq!(counters(&row(0, &[])), None);
    for timer in [1, 2, 4, 9] {
        assert!(counters(&row(timer, &info(60))).unwrap().keepalive);
    }
}

#[test]
fn cut_anywhere_it_is_less_or_nothing() {
    for payload in payloads() {
        let whole = counters(&payload);
        for end in 0..payload.len() {
            let part = counters(&payload[..end]);
            assert!(part.is_none() || part == whole, "{end} bytes");
        }
    }
    let mut odd = row(0, &info(250));
    odd[72] = 255;
    assert_eq!(
        counters(&odd),
        None,
        "an attribute that goes on behind the end"
    );
}

#[test]
fn a_request_for_counters_differs_by_one_bit() {
    let endpoint = |port| Endpoint::new([127, 0, 0, 1].into(), port);
    let tuple = FourTuple {
        local: endpoint(80),
        remote: endpoint(5_000),
    };
    let cookie = Some(Cookie(0x1122_3344_5566));
    let plain = lookup_request(&tuple, cookie, 3, 7);
    let mut with = counters_request(&tuple, cookie, 3, 7);
    // `idiag_ext`, behind the header, family and protocol: bit 1 is INET_DIAG_INFO.
    assert_eq!((plain[18], with[18]), (0, 2));
    with[18] = 0;
    assert_eq!(plain, with);
}
