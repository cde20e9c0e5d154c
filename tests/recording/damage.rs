//! What can be wrong with a file: every prefix, every line, every byte. What can't be read is
//! counted and said, the rest is read, and nothing is made up.

use std::io;
use std::sync::Arc;

use proptest::prelude::*;
use tcpwatch::model::{Body, Cookie, Event, Observation, SourceName, Timestamp, What};
use tcpwatch::record::{Bytes, Encoder, Header, Item, OpenError, Reader, Skipped};
use tcpwatch::timeline::Tracker;

use crate::observations::observations;
use crate::{at, header, id, read, said, story, written};

/// What a recording says, without what it says of itself.
fn told(all: Vec<Observation>) -> Vec<Observation> {
    let (of_itself, told): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|told| is_loss(told).is_some());
    drop(of_itself);
    told
}

fn is_loss(told: &Observation) -> Option<u64> {
    match &told.body {
        Body::Lost { count, .. } if told.source == SourceName::Recording => *count,
        _ => None,
    }
}

/// That the losses that are said are those that are counted.
fn assert_said(all: &[Observation], skipped: Skipped) {
    let lost: u64 = all.iter().filter_map(is_loss).sum();
    assert_eq!(lost, skipped.lines());
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

fn follow(all: &[Observation]) {
    let mut tracker = Tracker::default();
    for observation in all {
        tracker.ingest(observation);
        tracker.changes().for_each(drop);
        tracker.asks().for_each(drop);
    }
}

/// A sequence of state changes of one socket, a second apart.
fn changes(number: u64) -> Vec<Observation> {
    (1..=number)
        .map(|second| {
            let event = Event {
                id: id(second % 5 + 1, 40_000 + (second % 5) as u16, 80),
                what: What::Retransmit,
                moment: None,
                caller: None,
            };
            said(second * 1000, SourceName::Bpf, Body::Event(event))
        })
        .collect()
}

#[test]
fn a_prefix_says_what_its_whole_lines_say() {
    let bytes = written(&story());
    let all = read(bytes.clone()).0;
    let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for cut in first_line..=bytes.len() {
        let (again, reader) = read(bytes[..cut].to_vec());
        assert_eq!(reader.skipped(), Skipped::default(), "cut at {cut}");
        let last_line = bytes[..cut]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .unwrap()
            + 1;
        assert_eq!(reader.torn(), cut - last_line);
        assert_begins(&again, &all);
        follow(&again);
    }
    for cut in 0..first_line {
        let wrong = Reader::open(Arc::new(bytes[..cut].to_vec()), 0)
            .err()
            .unwrap();
        match cut {
            0 => assert!(matches!(wrong, OpenError::Empty)),
            _ => assert!(matches!(wrong, OpenError::HeaderCut), "{cut}: {wrong}"),
        }
    }
}

/// That these are the first of all, the last of them perhaps a look with some of its rows.
fn assert_begins(these: &[Observation], all: &[Observation]) {
    let Some((last, before)) = these.split_last() else {
        return;
    };
    assert_eq!(before, &all[..before.len()]);
    match (&last.body, &all[before.len()].body) {
        (Body::Poll(part), Body::Poll(whole)) if part != whole => {
            assert!(!part.complete);
            assert!(whole.appeared.starts_with(&part.appeared));
            assert!(whole.changed.starts_with(&part.changed));
            assert!(whole.missing.starts_with(&part.missing));
        }
        _ => assert_eq!(last, &all[before.len()]),
    }
}

#[test]
fn what_grows_is_read_on() {
    /// Bytes that come one by one.
    struct Growing(Vec<u8>, std::sync::atomic::AtomicUsize);
    impl Bytes for Growing {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            let there = self.1.load(std::sync::atomic::Ordering::Relaxed);
            self.0[..there].to_vec().read_at(into, offset)
        }
    }
    let bytes = written(&story());
    let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let growing = Arc::new(Growing(bytes, first_line.into()));
    let mut reader = Reader::open(Arc::clone(&growing) as Arc<dyn Bytes>, 0).unwrap();
    let mut all = Vec::new();
    for there in first_line..=growing.0.len() {
        growing.1.store(there, std::sync::atomic::Ordering::Relaxed);
        while let Some(item) = reader.next_item().unwrap() {
            if let Item::Observation(observation) = item {
                all.push(observation);
            }
        }
        reader = reader.clone();
    }
    assert_eq!(all, story());
    assert_eq!((reader.torn(), reader.skipped()), (0, Skipped::default()));
}

#[test]
fn a_damaged_line_is_a_counted_loss() {
    let lines = lines(&written(&story()));
    for damaged in 1..lines.len() - 1 {
        let mut lines = lines.clone();
        let half = lines[damaged].len() / 2;
        lines[damaged].truncate(half);
        lines[damaged].push(b'\n');
        let (all, reader) = read(lines.concat());
        assert!(reader.skipped().lines() >= 1, "line {damaged}");
        assert_said(&all, reader.skipped());
        follow(&all);
    }
}

/// A line that is gone takes with it what depends on it, and changes nothing else.
#[test]
fn a_line_that_is_gone_makes_nothing_up() {
    let lines = lines(&written(&story()));
    for gone in 1..lines.len() - 1 {
        let mut lines = lines.clone();
        lines.remove(gone);
        let (all, reader) = read(lines.concat());
        assert_said(&all, reader.skipped());
        for observation in told(all) {
            let is_same = story()
                .iter()
                .any(|there| match (&there.body, &observation.body) {
                    (Body::Poll(whole), Body::Poll(part)) => {
                        part == whole
                            || (!part.complete
                                && part.appeared.iter().all(|row| whole.appeared.contains(row)))
                    }
                    _ => *there == observation,
                });
            assert!(is_same, "without line {gone}: {observation:?}");
        }
    }
}

#[test]
fn lines_twice_and_in_any_order_are_read_without_harm() {
    let lines = lines(&written(&story()));
    let mut backward = lines.clone();
    backward[1..].reverse();
    let mut turned = lines.clone();
    turned[1..].rotate_left(lines.len() / 2);
    let twice: Vec<_> = lines
        .iter()
        .flat_map(|line| [line.clone(), line.clone()])
        .collect();
    for damaged in [backward, turned, twice] {
        let (all, reader) = read(damaged.concat());
        assert_said(&all, reader.skipped());
        follow(&all);
    }
}

#[test]
fn a_recording_behind_another_is_read_too() {
    let one = written(&story());
    let (all, reader) = read([one.clone(), one.clone()].concat());
    assert_eq!(all, [story(), story()].concat());
    assert_eq!(reader.skipped().lines(), 0);
    // Its header is lost: its first socket says that another file has begun.
    let second = lines(&one)[1..].concat();
    let other: Vec<_> = story()
        .into_iter()
        .map(|mut told| {
            if let Body::Poll(poll) = &mut told.body {
                for row in &mut poll.appeared {
                    row.id.cookie = row.id.cookie.map(|cookie| Cookie(cookie.0 + 100));
                }
            }
            told
        })
        .collect();
    let third = lines(&written(&other))[1..].concat();
    let (all, reader) = read([one.clone(), second, third].concat());
    assert_said(&all, reader.skipped());
    let known: Vec<_> = [story(), other].concat();
    for told in told(all) {
        assert!(known.contains(&told), "{told:?}");
    }
}

#[test]
fn a_number_of_two_sockets_names_none() {
    let mut lines = lines(&written(&changes(20)));
    let spliced =
        br#"{"type":"socket","n":2,"cookie":99,"local":"10.0.0.1:1","remote":"10.0.0.2:2"}"#;
    lines.insert(20, [&spliced[..], b"\n"].concat());
    let (all, reader) = read(lines.concat());
    assert_said(&all, reader.skipped());
    assert!(reader.skipped().nameless > 0);
    let known = changes(20);
    assert!(told(all).iter().all(|told| known.contains(told)));
}

#[test]
fn line_ends_of_another_system_and_empty_lines_are_read() {
    let text = String::from_utf8(written(&story())).unwrap();
    for text in [
        text.replace('\n', "\r\n"),
        text.replace('\n', "\n\n \t\r\n"),
    ] {
        let (all, reader) = read(text.into_bytes());
        assert_eq!(all, story());
        assert_eq!(reader.skipped(), Skipped::default());
    }
}

fn why_not(bytes: impl Into<Vec<u8>>) -> String {
    match Reader::open(Arc::new(bytes.into()), 0) {
        Ok(_) => panic!("it was opened"),
        Err(wrong) => wrong.to_string(),
    }
}

#[test]
fn what_is_no_recording_is_refused_with_its_reason() {
    assert!(why_not("").contains("empty"));
    assert!(why_not(r#"{"type":"header","form"#).contains("cut short"));
    for other in [
        b"\x7fELF\x02\x01\x01\0\0\n\0".to_vec(),
        vec![0; 3 << 20],
        vec![0xff; 100],
        b"\n".to_vec(),
        b"hello\n".to_vec(),
        b"{\"type\":\"session\",\"version\":1}\n".to_vec(),
        b"{\"type\":\"header\",\"format\":\"other\",\"version\":1}\n".to_vec(),
        b"{\"type\":\"header\",\"format\":\"tcpwatch\",\"version\":0}\n".to_vec(),
        [vec![b'['; 1 << 20], b"\n".to_vec()].concat(),
        [vec![b'x'; 100 << 20], b"\n".to_vec()].concat(),
    ] {
        assert!(why_not(other).contains("not a recording"));
    }
    let version = |version: &str| {
        why_not(format!(
            "{{\"type\":\"header\",\"format\":\"tcpwatch\",\"version\":{version},\"new\":[]}}\n"
        ))
    };
    assert!(version("2").contains("format version 2"));
    assert!(version("18446744073709551615").contains("18446744073709551615"));
    assert!(version("1").contains("damaged"));
    let folder = std::fs::File::open("src").unwrap();
    let wrong = Reader::open(Arc::new(folder), 0).err().unwrap();
    assert!(matches!(wrong, OpenError::Io(_)));
}

/// Lines between two that are whole, as bytes.
fn amid(strange: &[u8]) -> (Vec<Observation>, Skipped) {
    let mut lines = lines(&written(&changes(10)));
    lines.insert(8, [strange, b"\n"].concat());
    let (all, reader) = read(lines.concat());
    assert_said(&all, reader.skipped());
    follow(&all);
    (told(all), reader.skipped())
}

#[test]
fn a_strange_line_is_one_loss_and_the_rest_is_read() {
    let endless = vec![b'7'; 8 << 20];
    let deep = [&b"{\"type\":\"event\",\"sock\":"[..], &[b'['; 500_000]].concat();
    for strange in [
        &b"garbage"[..],
        b"\0\0\0\0",
        b"\xff\xfe{}",
        b"{}",
        b"null",
        b"{\"type\":\"event\"}",
        b"{\"type\":\"\xff\"}",
        b"{\"type\":\"event\",\"at\":99999999999999999999999,\"sock\":0,\"what\":\"freed\"}",
        b"{\"type\":\"event\",\"at\":-1,\"sock\":0,\"what\":\"freed\"}",
        b"{\"type\":\"event\",\"at\":1000006500000,\"sock\":999,\"what\":\"freed\"}",
        b"{\"type\":\"row\",\"sock\":0,\"is\":\"missing\"}",
        b"{\"type\":\"note\",\"at\":1000006500000,\"pid\":1,\"text\":\"\xff\"}",
        b"{\"type\":\"note\",\"at\":1000006500000,\"pid\":1,\"text\":\"a\0b\"}",
        b"{\"type\":\"socket\",\"n\":50,\"local\":\"x\",\"remote\":\"y\"}",
        &deep,
        &endless,
    ] {
        let (all, skipped) = amid(strange);
        let start = String::from_utf8_lossy(&strange[..strange.len().min(60)]).into_owned();
        assert_eq!(all, changes(10), "{start}");
        assert_eq!(skipped.lines(), 1, "{start}");
    }
}

#[test]
fn what_a_later_version_adds_is_counted_and_passed_over() {
    for strange in [
        &b"{\"type\":\"holders\",\"at\":{\"new\":1},\"text\":[1,2]}"[..],
        b"{\"type\":\"event\",\"at\":1000006500000,\"sock\":0,\"what\":\"teleported\"}",
        b"{\"type\":\"event\",\"at\":1000006500000,\"sock\":0,\"what\":\"reset_sent\",\"reason\":\"boredom\"}",
        b"{\"type\":\"event\",\"at\":1000006500000,\"sock\":0,\"from\":\"NEW\",\"to\":\"CLOSE\"}",
        b"{\"type\":\"source\",\"at\":1000006500000,\"source\":\"bpf\",\"state\":\"resting\"}",
        b"{\"type\":\"lost\",\"at\":1000006500000,\"source\":\"xdp\",\"why\":\"x\"}",
    ] {
        let (all, skipped) = amid(strange);
        assert_eq!(all, changes(10));
        let one = Skipped {
            unknown_records: 1,
            ..Skipped::default()
        };
        assert_eq!(skipped, one, "{}", String::from_utf8_lossy(strange));
    }
    let (all, skipped) = amid(
        b"{\"type\":\"clock\",\"at\":1000006500000,\"realtime_ns\":1,\"a\":{\"b\":[]},\"c\":null}",
    );
    assert_eq!(
        (all.len(), skipped.unknown_fields, skipped.lines()),
        (11, 2, 0)
    );
}

#[test]
fn rows_that_are_only_claimed_cost_nothing() {
    for rows in ["18446744073709551615", "1000000000", "5"] {
        let (all, skipped) = amid(
            format!("{{\"type\":\"poll\",\"at\":1000006500000,\"begun\":1,\"rows\":{rows}}}")
                .as_bytes(),
        );
        let look = all.iter().find_map(|told| match &told.body {
            Body::Poll(poll) => Some(poll),
            _ => None,
        });
        assert!(!look.unwrap().complete);
        assert!((1..=5).contains(&skipped.unreadable));
    }
}

/// A stamp that jumps is damage, unless time goes on from there.
#[test]
fn a_stamp_that_jumps_is_believed_when_the_next_one_agrees() {
    let minutes = |all: &[u64]| {
        all.iter()
            .map(|minute| {
                let mut one = changes(1).remove(0);
                one.at =
                    Timestamp::from_nanos(at(0).nanos().saturating_add(minute * 60_000_000_000));
                one
            })
            .collect::<Vec<_>>()
    };
    let far = u64::MAX / 60_000_000_000;
    for (given, misdated) in [
        (&[0u64, 0, 1, 1][..], &[][..]),
        // Seldom a word, and a long pause.
        (&[0, 10, 20, 300, 100_000], &[]),
        (&[0, 5000, 1, 2], &[5000]),
        (&[0, far, 1, 2], &[far]),
        (&[5000, 5000, 0, 5000, 5001], &[0]),
        // Nothing speaks against the last one.
        (&[0, 1, 500], &[]),
        // Time is there now, whatever the lines before said.
        (&[0, 500, 501, 2, 3, 4], &[]),
    ] {
        let mut bytes = written(&minutes(given));
        // The end in good order says when that was.
        bytes.truncate(bytes.len() - lines(&bytes).last().unwrap().len());
        let (all, reader) = read(bytes);
        assert_said(&all, reader.skipped());
        let left: Vec<u64> = given
            .iter()
            .copied()
            .filter(|minute| !misdated.contains(minute))
            .collect();
        assert_eq!(told(all), minutes(&left), "{given:?}");
        assert_eq!(reader.skipped().misdated, misdated.len() as u64);
    }
}

#[test]
fn the_end_is_where_it_can_be() {
    let mut encoder = Encoder::default();
    let mut bytes = written(&changes(3));
    let header: Header = header();
    encoder.header(&header, &mut Vec::new()).unwrap();
    encoder.end(Timestamp::from_nanos(u64::MAX), "stopped", &mut bytes);
    let mut reader = Reader::open(Arc::new(bytes), 0).unwrap();
    let mut last = None;
    while let Some(item) = reader.next_item().unwrap() {
        last = Some(item);
    }
    assert_eq!(
        last,
        Some(Item::End {
            at: at(3000),
            why: "stopped".into()
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Stamps that can't be, in any place: the tracker takes them.
    #[test]
    fn whatever_is_read_is_followed(all in observations(20)) {
        follow(&all);
    }

    #[test]
    fn any_prefix_is_readable(all in observations(8), cut in any::<prop::sample::Index>()) {
        let bytes = written(&all);
        let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let cut = first_line + cut.index(bytes.len() - first_line + 1);
        let (again, reader) = read(bytes[..cut].to_vec());
        prop_assert_eq!(reader.skipped().lines(), 0);
        assert_begins(&again, &all);
    }

    #[test]
    fn any_damage_is_survived_and_said(
        all in observations(8),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = written(&all);
        let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for (place, byte) in damage {
            let place = first_line + place.index(bytes.len() - first_line);
            bytes[place] = byte;
        }
        let (again, reader) = read(bytes);
        let lost: u64 = again.iter().filter_map(is_loss).fold(0, u64::saturating_add);
        prop_assert!(lost >= reader.skipped().lines());
        follow(&again);
    }

    /// A byte that no line can have takes its line, and nothing that is left is new.
    #[test]
    fn a_spoilt_byte_makes_nothing_up(
        number in 5..40u64,
        place in any::<prop::sample::Index>(),
    ) {
        let mut bytes = written(&changes(number));
        let first_line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let place = first_line + place.index(bytes.len() - first_line);
        bytes[place] = 0;
        let (again, reader) = read(bytes);
        assert_said(&again, reader.skipped());
        let known = changes(number);
        for told in told(again) {
            prop_assert!(known.contains(&told), "{:?}", told);
        }
    }
}

#[test]
fn sockets_are_never_mistaken_for_others() {
    let bytes = written(&changes(30));
    let lines = lines(&bytes);
    let known = changes(30);
    for (gone, line) in lines.iter().enumerate().skip(1) {
        if !line.starts_with(b"{\"type\":\"socket\"") {
            continue;
        }
        let mut left = lines.clone();
        left.remove(gone);
        let (all, reader) = read(left.concat());
        assert_eq!(reader.skipped().nameless, 6);
        assert_said(&all, reader.skipped());
        assert!(told(all).iter().all(|told| known.contains(told)));
    }
}

/// A set in which one can't be read is none: who is missing would be taken for one who closed.
#[test]
fn a_set_is_read_whole_or_not_at_all() {
    let lines = lines(&written(&story()));
    let of = |kind: &str| {
        let begin = format!("{{\"type\":\"{kind}\"");
        let is_it = move |line: &&Vec<u8>| line.starts_with(begin.as_bytes());
        lines.iter().filter(is_it).collect::<Vec<_>>()
    };
    assert_eq!((of("process").len(), of("held").len()), (3, 4));
    for gone in of("process") {
        let left: Vec<Vec<u8>> = lines.iter().filter(|line| *line != gone).cloned().collect();
        let (all, reader) = read(left.concat());
        assert!(reader.skipped().nameless >= 1);
        assert_said(&all, reader.skipped());
        assert!(told(all).iter().all(|told| story().contains(told)));
    }
    let set = String::from_utf8(of("held")[2].clone()).unwrap();
    let whole = r#""by":"0:3,9 1:3""#;
    assert!(set.contains(whole), "{set}");
    for wrong in [
        "0:3,9  1:3",
        "0:3,9 1:3 ",
        "1:3 0:3,9",
        "0:3 0:9",
        "0:3,x 1:3",
        "0:3,",
        "0:",
        "00:3",
        "0:03",
        ":3",
        "0:3;1:3",
        "0:4294967296",
        "-1:3",
        " ",
        "0 :3",
    ] {
        let mut lines = lines.clone();
        let place = lines
            .iter()
            .position(|line| line.as_slice() == set.as_bytes());
        let spoilt = set.replace(whole, &format!(r#""by":"{wrong}""#));
        lines[place.unwrap()] = spoilt.into_bytes();
        let (all, reader) = read(lines.concat());
        assert_eq!(reader.skipped().unreadable, 1, "{wrong}");
        assert_said(&all, reader.skipped());
        assert!(
            told(all).iter().all(|told| story().contains(told)),
            "{wrong}"
        );
    }
}
