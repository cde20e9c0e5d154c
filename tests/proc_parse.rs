//! The parser of /proc/net/tcp against tables that a kernel printed, whole and damaged.
//!
//! fixtures/proc_net/README.md tells the stories behind the ports. They were recorded on a
//! little-endian machine.

#![cfg(target_endian = "little")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tcpwatch::model::TcpState::*;
use tcpwatch::model::{Descriptor, Queues, Sample, Scope, TcpState, TimerKind, Timestamp};
use tcpwatch::source::proc_net::parse::{Table, parse_table};

const TCP: &[u8] = include_bytes!("../fixtures/proc_net/tcp.txt");
const TCP6: &[u8] = include_bytes!("../fixtures/proc_net/tcp6.txt");
const TABLES: [(&[u8], Table); 2] = [(TCP, Table::Tcp4), (TCP6, Table::Tcp6)];

const AT: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
const OWNER: Option<u32> = Some(1000);

/// The samples of some lines, and how many rows could not be read.
fn parse(bytes: &[u8], table: Table) -> (Vec<Sample>, usize) {
    let mut samples = Vec::new();
    let scope = Scope {
        host: 0,
        netns: Some(4026531840),
    };
    let unreadable = parse_table(bytes, table, scope, AT, |sample| samples.push(sample));
    (samples, unreadable)
}

/// Both tables; every row of them is readable.
fn recorded() -> Vec<Sample> {
    let mut all = Vec::new();
    for (bytes, table) in TABLES {
        let (samples, unreadable) = parse(bytes, table);
        let rows = bytes.iter().filter(|&&byte| byte == b'\n').count() - 1;
        assert_eq!((samples.len(), unreadable), (rows, 0));
        all.extend(samples);
    }
    all
}

fn find(local: u16, remote: u16) -> Option<Sample> {
    let mut found = recorded().into_iter().filter(|sample| {
        let tuple = sample.id.tuple;
        (tuple.local.port(), tuple.remote.port()) == (local, remote)
    });
    let sample = found.next();
    assert!(found.next().is_none(), "two rows from {local} to {remote}");
    sample
}

fn client(story: u16) -> Sample {
    find(story + 10_000, story).expect("a client")
}

fn server(story: u16) -> Sample {
    find(story, story + 10_000).expect("a server")
}

fn listener(story: u16) -> Sample {
    find(story, 0).expect("a listener")
}

fn timer(sample: &Sample) -> Option<TimerKind> {
    sample.timer.map(|timer| timer.kind)
}

fn left(sample: &Sample) -> Duration {
    sample.timer.unwrap().deadline.since(AT)
}

fn stream(receive: u32, send: u32) -> Queues {
    Queues::Stream { receive, send }
}

#[test]
fn every_story_is_in_the_states_it_was_made_for() {
    let stories: &[(u16, TcpState, Option<TcpState>)] = &[
        (20001, Established, Some(Established)),
        (20002, SynSent, None),
        (20003, Established, Some(SynRecv)),
        (20004, SynSent, Some(SynRecv)),
        (20005, SynSent, Some(SynRecv)),
        (20006, Established, Some(Established)),
        (20007, Established, Some(Established)),
        (20008, Established, Some(Established)),
        (20009, FinWait1, Some(Established)),
        (20010, FinWait1, Some(Established)),
        (20011, FinWait2, Some(CloseWait)),
        (20012, FinWait2, Some(CloseWait)),
        (20013, FinWait2, Some(LastAck)),
        (20014, FinWait2, Some(LastAck)),
        (20015, Closing, Some(FinWait1)),
        (20016, TimeWait, None),
        (20017, TimeWait, None),
        (20018, FinWait2, Some(CloseWait)),
        (20021, Established, Some(Established)),
        (20022, FinWait2, Some(CloseWait)),
        (20023, TimeWait, None),
        (20024, Established, Some(SynRecv)),
        (20025, Established, Some(Established)),
        (20026, FinWait2, Some(CloseWait)),
        (20027, Established, Some(SynRecv)),
    ];
    for &(story, client_state, server_state) in stories {
        assert_eq!(client(story).state, client_state, "client of {story}");
        let server = find(story, story + 10_000).map(|sample| sample.state);
        assert_eq!(server, server_state, "server of {story}");
    }
}

#[test]
fn what_proc_does_not_know_is_unknown() {
    for sample in recorded() {
        assert_eq!(sample.id.scope.netns, Some(4026531840));
        assert_eq!(sample.id.cookie, None);
        assert_eq!(sample.shutdown, None);
        assert_eq!(sample.cgroup, None);
        assert_eq!(sample.id.tuple.local.interface(), None);
    }
}

#[test]
fn everything_has_its_owner_but_mini_sockets() {
    for sample in recorded() {
        let owner = if sample.is_mini_socket() { None } else { OWNER };
        assert_eq!(sample.uid, owner, "{sample:?}");
    }
}

#[test]
fn a_listener_counts_connections() {
    let waiting = |story| match listener(story).queues {
        Queues::Accept { waiting, backlog } => (waiting, backlog),
        other => panic!("{other:?}"),
    };
    assert_eq!(listener(20001).state, Listen);
    assert_eq!(waiting(20001), (1, None));
    assert_eq!(waiting(20002), (1, None));
    assert_eq!(waiting(20003), (0, None));
    assert_eq!(
        listener(20001).id.tuple.local.to_string(),
        "127.0.0.1:20001"
    );
    assert!(listener(20001).id.tuple.remote.is_any_address());
    assert_eq!(listener(20020).id.tuple.local.to_string(), "[::]:20020");
    assert!(listener(20001).inode.is_some());
}

#[test]
fn a_connection_nobody_accepted_has_no_inode() {
    assert_eq!(server(20001).descriptor(), Some(Descriptor::NotAccepted));
    assert_eq!(server(20001).unread(), Some(5));
    assert_eq!(server(20018).descriptor(), Some(Descriptor::NotAccepted));
    assert_eq!(server(20018).unread(), Some(5));
    assert_eq!(server(20018).queues, stream(6, 0));
}

#[test]
fn a_request_socket_has_no_queues_and_a_fast_open_one_has() {
    for story in [20003, 20004, 20024, 20027] {
        let server = server(story);
        assert_eq!(server.queues, Queues::Absent, "{story}");
        assert_eq!(server.descriptor(), None, "{story}");
        assert_eq!(timer(&server), Some(TimerKind::Retransmit), "{story}");
    }
    assert!(server(20004).retransmits > 0);
    let accepted = server(20005);
    assert_eq!(accepted.queues, stream(5, 0));
    assert_eq!(accepted.descriptor(), Some(Descriptor::Held));
    assert!(client(20004).retransmits > 0);
}

#[test]
fn established_ends_show_queue_and_keepalive() {
    assert_eq!(server(20006).queues, stream(7, 0));
    assert_eq!(server(20006).timer, None);
    assert_eq!(timer(&client(20006)), Some(TimerKind::KeepAlive));
    let left = left(&client(20006)).as_secs_f64();
    assert!((590.0..=600.0).contains(&left), "{left}");
}

#[test]
fn unanswered_probes_are_counted() {
    let keepalive = client(20007);
    assert_eq!(timer(&keepalive), Some(TimerKind::KeepAlive));
    assert!((1..=9).contains(&keepalive.retransmits));
    let closed_window = client(20008);
    assert_eq!(timer(&closed_window), Some(TimerKind::Probe));
    assert!(closed_window.retransmits > 0);
    assert!(closed_window.unacked() > Some(0));
    assert!(server(20008).unread() > Some(0));
}

#[test]
fn a_lost_fin_is_retransmitted_and_the_inode_tells_who_sent_it() {
    for (sample, descriptor) in [
        (client(20009), Descriptor::Held),
        (client(20010), Descriptor::Gone),
        (server(20013), Descriptor::Held),
        (server(20014), Descriptor::Gone),
        (client(20015), Descriptor::Held),
        (server(20015), Descriptor::Held),
    ] {
        assert_eq!(sample.descriptor(), Some(descriptor), "{sample:?}");
        assert_eq!(timer(&sample), Some(TimerKind::Retransmit), "{sample:?}");
        assert!(sample.retransmits > 0, "{sample:?}");
        // The FIN is the one thing in the queue, and it is no byte.
        assert!(matches!(sample.queues, Queues::Stream { send: 1, .. }));
        assert_eq!(sample.unacked(), Some(0));
    }
}

#[test]
fn fin_wait2_is_held_or_a_mini_socket() {
    for story in [20011, 20013, 20014] {
        let held = client(story);
        assert_eq!(held.descriptor(), Some(Descriptor::Held));
        assert_eq!(held.timer, None);
        assert!(matches!(held.queues, Queues::Stream { .. }));
    }
    for story in [20012, 20018, 20022, 20026] {
        let orphan = client(story);
        assert!(orphan.is_mini_socket());
        assert_eq!(orphan.descriptor(), Some(Descriptor::Gone));
        assert_eq!(orphan.queues, Queues::Absent);
    }
}

#[test]
fn close_wait_shows_bytes_and_the_fin() {
    assert_eq!(server(20011).queues, stream(11, 0));
    assert_eq!(server(20011).unread(), Some(10));
    for story in [20012, 20022, 20026] {
        assert_eq!(server(story).queues, stream(1, 0));
        assert_eq!(server(story).unread(), Some(0));
        assert_eq!(server(story).descriptor(), Some(Descriptor::Held));
    }
}

#[test]
fn time_wait_counts_down_from_a_minute_and_hides_its_descriptor() {
    for story in [20016, 20017, 20023] {
        let sample = client(story);
        assert!(sample.is_mini_socket());
        assert_eq!(sample.queues, Queues::Absent);
        assert_eq!(sample.descriptor(), None);
        let left = left(&sample).as_secs_f64();
        assert!((50.0..60.0).contains(&left), "{left}");
    }
}

#[test]
fn ipv6_addresses_are_read_and_mapped_ones_folded() {
    for story in [20021, 20022, 20024] {
        let server = server(story);
        assert_eq!(server.id.tuple.local.to_string(), format!("[::1]:{story}"));
        assert_eq!(server.id.tuple, client(story).id.tuple.mirror());
    }
    let (rows6, _) = parse(TCP6, Table::Tcp6);
    for story in [20025, 20026, 20027] {
        let server = server(story);
        assert!(rows6.contains(&server) && !rows6.contains(&client(story)));
        assert_eq!(server.id.tuple, client(story).id.tuple.mirror());
        assert!(server.id.tuple.local.addr().is_ipv4());
    }
}

#[test]
fn a_table_cut_anywhere_costs_the_cut_row_at_most() {
    for (bytes, table) in TABLES {
        let (whole, _) = parse(bytes, table);
        for cut in 0..bytes.len() {
            let kept = &bytes[..cut];
            let newlines = kept.iter().filter(|&&byte| byte == b'\n').count();
            let whole_rows = newlines.saturating_sub(1);
            let (samples, unreadable) = parse(kept, table);
            assert_eq!(samples, whole[..samples.len()], "cut at {cut}");
            let rows = samples.len() + unreadable;
            assert!(samples.len() >= whole_rows, "cut at {cut}");
            assert!(
                (whole_rows..=whole_rows + 1).contains(&rows),
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_table_begun_anywhere_costs_the_cut_row_at_most() {
    for (bytes, table) in TABLES {
        let (whole, _) = parse(bytes, table);
        for cut in 0..bytes.len() {
            let kept = &bytes[cut..];
            let newlines = kept.iter().filter(|&&byte| byte == b'\n').count();
            let (samples, unreadable) = parse(kept, table);
            let behind = &whole[whole.len().saturating_sub(newlines - 1)..];
            assert!(samples.ends_with(behind), "begun at {cut}");
            assert!(samples.len() + unreadable <= newlines, "begun at {cut}");
        }
    }
}

#[test]
fn a_damaged_byte_costs_its_row_at_most() {
    // The last two make newlines of digits and blanks.
    const MASKS: [u8; 10] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x80, 0xFF, 0x3A, 0x2A];
    for (bytes, table) in TABLES {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
        for around in lines.windows(3) {
            let (first, last) = (parse(around[0], table).0, parse(around[2], table).0);
            let untouched = parse(&around.concat(), table).0.len();
            let begin = around[0].len();
            for at in begin..begin + around[1].len() {
                for mask in MASKS {
                    let mut damaged = around.concat();
                    let lost_newline = damaged[at] == b'\n';
                    damaged[at] ^= mask;
                    let (samples, unreadable) = parse(&damaged, table);
                    let rows = samples.len() + unreadable;
                    let context = format!("{mask:#x} at {at} of {:?}", around[1].escape_ascii());
                    assert!(samples.starts_with(&first), "{context}");
                    if lost_newline {
                        // Two rows have become one line.
                        assert_eq!(rows, untouched - 1, "{context}");
                    } else {
                        assert!(samples.ends_with(&last), "{context}");
                        let split = usize::from(damaged[at] == b'\n');
                        assert!((untouched..=untouched + split).contains(&rows), "{context}");
                    }
                }
            }
        }
    }
}

#[test]
fn garbage_is_survived_and_counted() {
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15);
    for round in 0..2_000 {
        let (fixture, table) = TABLES[round % 2];
        let length = random.below(600);
        let noise: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        // Bytes that rows are made of get further into the parser.
        let alphabet = b"0123456789ABCDEF :\n-l";
        let likely: Vec<u8> = noise
            .iter()
            .map(|&byte| alphabet[usize::from(byte) % 21])
            .collect();
        let mut peppered = fixture.to_vec();
        for _ in 0..random.below(40) {
            let at = random.below(peppered.len());
            peppered[at] = random.byte();
        }
        for bytes in [noise, likely, peppered] {
            let lines = bytes.split(|&byte| byte == b'\n').count();
            let (samples, unreadable) = parse(&bytes, table);
            assert!(samples.len() + unreadable <= lines);
        }
    }
}

#[test]
fn no_table_is_no_rows() {
    for bytes in [&b""[..], b"\n", b"\n\n  \n", b"  sl  local_address\n"] {
        assert_eq!(parse(bytes, Table::Tcp4), (vec![], 0));
    }
}

#[test]
fn a_table_of_the_other_family_has_no_readable_row() {
    assert_eq!(parse(TCP, Table::Tcp6).0, vec![]);
    assert_eq!(parse(TCP6, Table::Tcp4).0, vec![]);
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
