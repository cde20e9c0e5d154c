//! Recordings replayed: streams joined and merged, and a player that comes to every moment by any
//! way, and finds the same world there.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "common/tape.rs"]
mod tape;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use tape::{REALTIME, at, at_us, gone, header, keyframe, look, open, recording, said, written};
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{Ask, Body, Look, Observation, SourceName, SourceState, Timestamp};
use tcpwatch::record::{Anchor, Bytes, Encoder, FilterText, Header};
use tcpwatch::run::replay::player::{CHECKPOINTS, HELD, Player, Stops, World};
use tcpwatch::source::clock;
use tcpwatch::source::replay::{Ending, Input, Offset, Options, Replay, ReplayError};
use tcpwatch::timeline::{ConnId, DEFAULT_RETENTION, Tracker};

fn input(name: &str, bytes: Vec<u8>) -> Input {
    Input {
        name: PathBuf::from(name),
        bytes: Arc::new(bytes),
    }
}

fn opened(files: &[&[u8]]) -> Replay {
    let inputs = files.iter().enumerate();
    let inputs = inputs.map(|(index, bytes)| input(&format!("file{index}"), bytes.to_vec()));
    Replay::open(inputs.collect(), &Options::default()).unwrap()
}

/// All observations, and the tracker that was told them.
fn played(mut replay: Replay) -> (Vec<Observation>, Tracker, Replay) {
    let mut tracker = Tracker::default();
    let mut all = Vec::new();
    while let Some(observation) = replay.next_observation().unwrap() {
        tracker.ingest(&observation);
        replay.answer(tracker.asks());
        all.push(observation);
    }
    (all, tracker, replay)
}

fn states(tracker: &Tracker) -> Vec<String> {
    let connections = tracker.connections();
    connections
        .map(|connection| {
            let mut text = String::new();
            for (side, track) in connection.visible() {
                let _ = write!(text, "{side:?} {:?} ", track.state());
            }
            text
        })
        .collect()
}

fn losses(all: &[Observation]) -> Vec<String> {
    let losses = all.iter().filter_map(|told| match &told.body {
        Body::Lost { why, .. } => Some(why.to_string()),
        _ => None,
    });
    losses.collect()
}

/// Three parts of one recording. Connection 1 lives in all of them, 2 dies in the second, 3 is
/// born in the third.
fn parts() -> [Vec<u8>; 3] {
    let (one, two, three) = (open(1), open(2), open(3));
    let both = [one, two].concat();
    [
        written(
            &header("r", 1, 0),
            &[look(1000, true, &both, &[]), keyframe(2000, &both)],
            true,
        ),
        written(
            &header("r", 2, 10),
            &[
                keyframe(10_500, &both),
                gone(11_000, &two[0]),
                gone(11_000, &two[1]),
            ],
            true,
        ),
        written(
            &header("r", 3, 20),
            &[
                keyframe(20_500, &one),
                look(21_000, false, &three, &[]),
                keyframe(22_000, &[one, three].concat()),
            ],
            true,
        ),
    ]
}

#[test]
fn parts_are_one_stream_in_any_order() {
    let [a, b, c] = parts();
    let (all, tracker, replay) = played(replay_of([&a, &b, &c]));
    assert_eq!(all.len(), 4, "in step, keyframes say nothing new");
    assert_eq!(states(&tracker).len(), 3);
    let recorded = replay.recordings().next().unwrap();
    assert!(recorded.is_ended() && recorded.missing.is_empty() && recorded.files.len() == 3);
    assert_eq!(recorded.last, Some(at(22)));
    for order in [[&a, &c, &b], [&b, &a, &c], [&c, &b, &a], [&b, &c, &a]] {
        assert_eq!(played(replay_of(order)).0, all);
    }
    // A part that is given twice counts once; so does what is put together in order.
    assert_eq!(played(opened(&[&a, &b, &b, &c, &a])).0, all);
    assert_eq!(played(opened(&[&[a, b, c].concat()])).0, all);
}

/// Two parts as the recorder writes them: the second begins with what was said, and a keyframe, or
/// without one when none came in time; and the same without a seam.
fn rotated(with_keyframe: bool) -> ([Vec<u8>; 2], Vec<u8>) {
    let one = open(1);
    let facts = |us: u64| {
        let period = Duration::from_millis(100);
        let running = SourceState::Running {
            period,
            cost: None,
            why: None,
        };
        let realtime_ns = REALTIME + at_us(us).nanos();
        [
            said(us, Body::Source(running)),
            said(us, Body::Clock { realtime_ns }),
        ]
    };
    let lost = Observation {
        source: SourceName::Recording,
        ..said(
            10_000,
            Body::Lost {
                count: None,
                why: "no complete look came in time: this file begins without a keyframe".into(),
            },
        )
    };
    let first = [
        facts(500).to_vec(),
        vec![look(1000, true, &[], &[]), look(2000, false, &one, &[])],
    ]
    .concat();
    // Of the moment of the keyframe, and behind it: new.
    let later = [
        facts(10_000)[1].clone(),
        gone(11_000, &one[0]),
        facts(12_000)[0].clone(),
        keyframe(12_500, &one[1..]),
        gone(13_000, &one[1]),
    ];
    let again = match with_keyframe {
        true => [facts(10_000).to_vec(), vec![keyframe(10_000, &one)]].concat(),
        false => vec![lost],
    };
    let mut part = written(&header("r", 1, 0), &first, false);
    Encoder::default().end(at(2), "rotated", &mut part);
    let second = written(&header("r", 2, 10), &[&again[..], &later].concat(), true);
    let whole = written(&header("r", 1, 0), &[&first[..], &later].concat(), true);
    ([part, second], whole)
}

#[test]
fn a_rotated_recording_is_the_same_as_one_that_was_not() {
    for with_keyframe in [true, false] {
        let ([one, two], whole) = rotated(with_keyframe);
        let (all, ..) = played(opened(&[&whole]));
        assert_eq!(all.len(), 8);
        assert_eq!(played(opened(&[&one, &two])).0, all);
        assert_eq!(played(opened(&[&[one, two.clone()].concat()])).0, all);
        // Alone, a part says all that it has.
        let (alone, ..) = played(opened(&[&two]));
        assert_eq!(alone.len(), if with_keyframe { 7 } else { 6 });
    }
}

#[test]
fn how_a_recording_ends_is_told_as_it_is() {
    let ([one, two], whole) = rotated(true);
    let ending = |files: &[&[u8]]| {
        let (_, _, replay) = played(opened(files));
        replay.recordings().next().unwrap().ending.clone()
    };
    assert_eq!(ending(&[&whole]), Ending::Said("stopped".into()));
    assert_eq!(ending(&[&one, &two]), Ending::Said("stopped".into()));
    assert_eq!(ending(&[&one]), Ending::GoesOn(2));
    assert_eq!(ending(&[&one, b""]), Ending::Unsaid, "part 2 is there");
    assert_eq!(ending(&[&whole[..whole.len() - 1]]), Ending::Unsaid);
    let mut full = whole;
    Encoder::default().end(at(20), "the disk was full", &mut full);
    assert_eq!(ending(&[&full]), Ending::Said("the disk was full".into()));
}

#[test]
fn a_file_that_was_just_begun_does_not_hinder_the_others() {
    let [a, b, c] = parts();
    let (all, ..) = played(opened(&[&a, &b, &c]));
    for begun in [&b""[..], b"{\"type\":\"header\",\"for"] {
        let (with, _, replay) = played(opened(&[&a, begun, &b, &c]));
        assert_eq!(with, all);
        let recorded = replay.recordings().next().unwrap();
        assert_eq!(recorded.just_begun, [PathBuf::from("file1")]);
    }
    // What is no recording at all is refused all the same.
    let inputs = [a, b"GIF89a\n".to_vec()].map(|bytes| input("x", bytes));
    assert!(Replay::open(inputs.into(), &Options::default()).is_err());
}

#[test]
fn a_recording_of_another_host_behind_ours_is_left_out_and_said() {
    let ours = written(
        &header("r", 1, 0),
        &[look(1000, true, &open(1), &[]), gone(9000, &open(1)[0])],
        true,
    );
    let theirs = of_another_host(0, &[look(3000, true, &open(2), &[])]);
    let other_netns = Header {
        netns: Some(8),
        ..header("t", 1, 20)
    };
    let other_netns = written(&other_netns, &[look(21_000, true, &open(2), &[])], true);
    for other in [theirs, other_netns] {
        let (all, tracker, replay) = played(opened(&[&[ours.clone(), other].concat()]));
        let said = losses(&all);
        assert!(
            said.len() == 1 && said[0].contains("give it as a file of its own"),
            "{said:?}"
        );
        assert_eq!(states(&tracker).len(), 1, "nothing is mixed");
        let recorded = replay.recordings().next().unwrap();
        assert_eq!(
            recorded.skipped,
            Default::default(),
            "a header's own fields are known"
        );
    }
}

#[test]
fn many_files_hold_no_buffer_each() {
    let story = [look(1000, true, &open(1), &[])];
    let parts = (1..=2000).map(|part| {
        let ms = u64::from(part);
        let bytes = written(&header("r", part, ms), &story, false);
        input(&part.to_string(), bytes)
    });
    let replay = Replay::open(parts.collect(), &Options::default()).unwrap();
    // A buffer is 256 KiB: 2000 of them would be half a gigabyte, and a copy as much again.
    let copies: Vec<Replay> = (0..64).map(|_| replay.clone()).collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find(|line| line.starts_with("RssAnon"));
    let kilobytes = held.unwrap().split_whitespace().nth(1).unwrap();
    assert!(
        kilobytes.parse::<u64>().unwrap() < 300_000,
        "{kilobytes} kB"
    );
    drop(copies);
}

fn replay_of(files: [&Vec<u8>; 3]) -> Replay {
    opened(&files.map(Vec::as_slice))
}

#[test]
fn a_missing_part_is_joined_at_the_next_keyframe() {
    let [a, b, c] = parts();
    let gone = "A Close B Close ";
    let there = "A Established B Established ";
    for (files, missing) in [
        (vec![a.as_slice(), c.as_slice()], 2..=2),
        (vec![&[a.clone(), c.clone()].concat()], 2..=2),
    ] {
        let (all, tracker, replay) = played(opened(&files));
        assert_eq!(losses(&all), ["part 2 of the recording is missing"]);
        assert_eq!(states(&tracker), [there, gone, there]);
        let recorded = replay.recordings().next().unwrap();
        assert_eq!(recorded.missing, [missing]);
        let answers: Vec<Timestamp> = all
            .iter()
            .filter(|told| matches!(told.body, Body::Lookup { .. }))
            .map(|told| told.at)
            .collect();
        assert!(answers.len() >= 2);
        let is_then = |at: &Timestamp| *at == at_us(20_500);
        assert!(answers.iter().all(is_then), "at the keyframe's time");
    }
    // The first are missing.
    let (all, tracker, replay) = played(opened(&[&c]));
    assert!(losses(&all).is_empty());
    assert!(matches!(&all[0].body, Body::Poll(poll) if poll.first && poll.complete));
    assert_eq!(states(&tracker), [there, there]);
    assert_eq!(replay.recordings().next().unwrap().missing, [1..=2]);
    let (all, ..) = played(opened(&[&b, &c]));
    assert!(losses(&all).is_empty());
}

#[test]
fn in_step_questions_are_dropped() {
    let [a, ..] = parts();
    let mut replay = opened(&[&a]);
    let first = replay.next_observation().unwrap().unwrap();
    replay.answer([Ask::Confirm(open(9)[0].id)]);
    assert!(matches!(first.body, Body::Poll(_)));
    assert_eq!(replay.next_observation().unwrap(), None);
    assert!(replay.is_ended());
}

#[test]
fn what_was_lost_in_the_middle_is_made_good_by_the_next_keyframe() {
    let (one, two) = (open(1), open(2));
    let both = [one, two].concat();
    let lost = Observation {
        source: SourceName::Recording,
        ..said(
            2000,
            Body::Lost {
                count: Some(3),
                why: "the disk was too slow".into(),
            },
        )
    };
    let story = [look(1000, true, &both, &[]), lost, keyframe(3000, &one)];
    let (_, tracker, _) = played(opened(&[&written(&header("r", 1, 0), &story, true)]));
    assert_eq!(
        states(&tracker),
        ["A Established B Established ", "A Close B Close "]
    );
    // The same where a line can't be read.
    let whole = written(&header("r", 1, 0), &story, true);
    let text = String::from_utf8(whole).unwrap();
    let damaged = text.replacen("\"type\":\"lost\"", "\"type\":\"lo", 1);
    let (all, tracker, _) = played(opened(&[damaged.as_bytes()]));
    assert_eq!(losses(&all), ["lines of the recording can't be read"]);
    assert_eq!(
        states(&tracker),
        ["A Established B Established ", "A Close B Close "]
    );
}

#[test]
fn recordings_one_after_the_other_are_one_stream_with_a_gap() {
    let (one, two) = (open(1), open(2));
    let both = [one, two].concat();
    let hours = 3 * 3600 * 1000;
    let first = written(&header("r", 1, 0), &[look(1000, true, &both, &[])], true);
    let later = |recording: &str, ms: u64| {
        let story = [look(ms * 1000 + 5000, true, &one, &[])];
        written(&header(recording, 1, ms), &story, true)
    };
    let second = later("s", hours);
    for files in [
        vec![first.as_slice(), second.as_slice()],
        vec![&second, &first],
        vec![&[first.clone(), second.clone()].concat()],
    ] {
        let (all, tracker, replay) = played(opened(&files));
        assert_eq!(replay.recordings().len(), 1);
        assert_eq!(losses(&all), ["nothing was recorded for 3 h"]);
        assert_eq!(
            states(&tracker),
            ["A Established B Established ", "A Close B Close "],
            "what the later one's first look lacks is gone"
        );
    }
    // Overlapping, or with another filter, or of another boot, they are two.
    let story = [look(500, true, &one, &[])];
    let overlapping = written(&header("s", 1, 0), &story, true);
    assert_eq!(opened(&[&first, &overlapping]).recordings().len(), 2);
    let other_boot = Header {
        boot_id: Some("another".into()),
        ..header("s", 1, hours)
    };
    let other_boot = written(
        &other_boot,
        &[look(hours * 1000 + 5000, true, &one, &[])],
        true,
    );
    assert_eq!(opened(&[&first, &other_boot]).recordings().len(), 2);
    // In one file, what goes back in time is left out and said.
    let (all, ..) = played(opened(&[&[second, first].concat()]));
    assert!(losses(&all)[0].contains("overlap in time"), "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

/// A recording of another host whose clock began elsewhere: it is `ahead` of ours.
fn of_another_host(ahead: u64, story: &[Observation]) -> Vec<u8> {
    let header = Header {
        host: "db".into(),
        boot_id: Some("another".into()),
        netns: Some(1),
        clock: Anchor {
            monotonic_ns: at(0).nanos() + ahead,
            realtime_ns: REALTIME + at(0).nanos(),
        },
        ..header("other", 1, 0)
    };
    let story: Vec<Observation> = story
        .iter()
        .map(|told| {
            let mut told = told.clone();
            told.shift(ahead.cast_signed());
            told
        })
        .collect();
    written(&header, &story, true)
}

#[test]
fn hosts_are_merged_on_the_axis_of_the_first() {
    let (one, two) = (open(1), open(2));
    let ours = [
        look(1000, true, &one, &[]),
        gone(4000, &one[0]),
        gone(5000, &one[1]),
    ];
    let theirs = [look(2000, true, &two, &[]), gone(4000, &two[0])];
    let first = written(&header("r", 1, 0), &ours, true);
    let second = of_another_host(5_000_000_000_000, &theirs);
    let (all, _, replay) = played(opened(&[&first, &second]));
    let order: Vec<(u16, Timestamp)> = all.iter().map(|told| (told.host, told.at)).collect();
    let expected = [(0, 1), (1, 2), (0, 4), (1, 4), (0, 5)];
    assert_eq!(order, expected.map(|(host, ms)| (host, at(ms))));
    assert_eq!(
        replay.recordings().nth(1).unwrap().shift,
        -5_000_000_000_000
    );

    let merged = |offsets: &[(Option<&str>, i64)]| {
        let offsets = offsets.iter().map(|(of, by)| Offset {
            of: of.map(str::to_owned),
            by: *by,
        });
        let options = Options {
            offsets: offsets.collect(),
        };
        let inputs = vec![
            input("a.jsonl", first.clone()),
            input("b.jsonl", second.clone()),
        ];
        Replay::open(inputs, &options)
    };
    let shifts =
        |replay: Replay| -> Vec<i64> { replay.recordings().map(|one| one.shift).collect() };
    let base = -5_000_000_000_000;
    for offsets in [
        &[(None, -7)][..],
        &[(Some("db"), -7)],
        &[(Some("b.jsonl"), -7)],
        &[(Some("./b.jsonl"), -7)],
        &[(Some("db"), -4), (None, -3)],
    ] {
        assert_eq!(shifts(merged(offsets).unwrap()), [0, base - 7]);
    }
    assert_eq!(shifts(merged(&[(Some("web"), 9)]).unwrap()), [9, base]);
    let refused = merged(&[(Some("mail"), 1)]).map(|_| ()).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("'mail'") && text.contains("web") && text.contains("b.jsonl"),
        "{text}"
    );
}

#[test]
fn an_offset_of_a_host_that_several_recordings_have_is_refused() {
    let of = |netns: u64| Header {
        netns: Some(netns),
        ..header(&format!("r{netns}"), 1, 0)
    };
    let sock = open(1);
    let recording = |netns| written(&of(netns), &[look(1, true, &sock, &[])], true);
    let merged = |of: &str| {
        let options = Options {
            offsets: vec![Offset {
                of: Some(of.to_owned()),
                by: 7,
            }],
        };
        let inputs = vec![
            input("a.jsonl", recording(1)),
            input("b.jsonl", recording(2)),
        ];
        Replay::open(inputs, &options)
    };
    let host = header("r", 1, 0).host;
    let text = merged(&host).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("name the file (a.jsonl, b.jsonl)"), "{text}");
    let replay = merged("./b.jsonl").unwrap();
    let shifts: Vec<(i64, i64)> = replay
        .recordings()
        .map(|one| (one.shift, one.given))
        .collect();
    assert_eq!(shifts, [(0, 0), (7, 7)]);
}

#[test]
fn a_recording_from_before_the_first_ones_boot_is_on_the_axis_too() {
    // An hour before the first one's clock began.
    let hour = 3600 * 1_000_000_000_u64;
    let early = Header {
        boot_id: Some("before".into()),
        clock: Anchor {
            monotonic_ns: at(0).nanos(),
            realtime_ns: REALTIME - hour,
        },
        ..header("early", 1, 0)
    };
    let (one, two) = (open(1), open(2));
    let early = written(
        &early,
        &[look(1000, true, &two, &[]), gone(2000, &two[0])],
        true,
    );
    let late = written(&header("r", 1, 0), &[look(1000, true, &one, &[])], true);
    let (all, ..) = played(opened(&[&late, &early]));
    assert_eq!(
        all.iter().map(|told| told.host).collect::<Vec<_>>(),
        [1, 1, 0]
    );
    assert_eq!(all[1].at.since(all[0].at), Duration::from_millis(1));
    assert_eq!(
        all[2].at.since(all[0].at).as_nanos(),
        u128::from(hour + at(0).nanos())
    );
}

/// Bytes that grow.
#[derive(Default)]
struct Growing {
    bytes: Mutex<Vec<u8>>,
    /// More than there is, until it is whole.
    whole_at: AtomicU64,
}

impl Bytes for Growing {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        Bytes::read_at(&*self.bytes.lock().unwrap(), into, offset)
    }

    fn is_whole(&self) -> bool {
        self.bytes.lock().unwrap().len() as u64 >= self.whole_at.load(Ordering::SeqCst)
    }
}

#[test]
fn what_grows_has_nothing_now_and_then_more() {
    let whole = recording(40);
    let growing = Arc::new(Growing::default());
    growing.whole_at.store(whole.len() as u64, Ordering::SeqCst);
    let header_end = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    growing.bytes.lock().unwrap().extend(&whole[..header_end]);
    let bytes: Arc<dyn Bytes> = growing.clone();
    let pipe = Input {
        name: "pipe".into(),
        bytes,
    };
    let mut growing_replay = Replay::open(vec![pipe], &Options::default()).unwrap();
    let mut all = Vec::new();
    for chunk in whole[header_end..].chunks(37) {
        while let Some(observation) = growing_replay.next_observation().unwrap() {
            all.push(observation);
        }
        assert!(!growing_replay.is_ended());
        growing.bytes.lock().unwrap().extend(chunk);
    }
    while let Some(observation) = growing_replay.next_observation().unwrap() {
        all.push(observation);
    }
    assert!(growing_replay.is_ended());
    assert_eq!(all, played(opened(&[&whole])).0);
}

#[test]
fn what_is_no_recording_is_refused_by_name_with_a_cure() {
    let folder = std::env::temp_dir().join(format!("tcpwatch-replay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let newer = written(&header("r", 1, 0), &[], false);
    let newer = String::from_utf8(newer)
        .unwrap()
        .replace("\"version\":1", "\"version\":9");
    for (path, says) in [
        (file("empty", b""), "it is empty"),
        (file("binary", b"\x7fELF\0\0\n"), "not a recording"),
        (file("newer", newer.as_bytes()), "use a newer one"),
        (file("cut", b"{\"type\":\"header\",\"for"), "cut short"),
        (folder.clone(), "it is a directory"),
        (folder.join("nowhere"), "can't open it"),
    ] {
        let opened = Input::open(&path, || {})
            .and_then(|input| Replay::open(vec![input], &Options::default()));
        let text = opened.map(|_| ()).unwrap_err().to_string();
        let name = path.display().to_string();
        assert!(text.starts_with(&name) && text.contains(says), "{text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let nothing = Replay::open(Vec::new(), &Options::default());
    assert!(matches!(nothing, Err(ReplayError::Nothing)));
}

#[test]
fn the_end_is_the_stamp_of_the_last_line() {
    let mut bytes = written(
        &header("r", 1, 0),
        &[look(1000, true, &open(1), &[])],
        false,
    );
    assert_eq!(player(&bytes).end(), at(1));
    Encoder::default().end(at(5000), "stopped", &mut bytes);
    let mut whole = player(&bytes);
    assert_eq!(whole.end(), at(5000));
    whole.seek(at(9000)).unwrap();
    assert_eq!(whole.position(), at(5000));
    assert_eq!(whole.extent(TimeZone::UTC).end, at(5000));
}

#[test]
fn a_step_back_after_a_jump_begins_close_by() {
    let mut player = player(&recording(5000));
    let stops = Stops::All(Filter::default());
    for ms in [1500, 4100, 2750] {
        player.seek(at(ms)).unwrap();
        player.previous(&stops).unwrap();
        let back = player.position();
        assert!(back < at(ms) && back >= at(ms - 1), "{back:?}");
        assert_eq!(
            told(player.world().tracker()),
            told(&fresh(&recording(5000), back))
        );
    }
}

/// A player that has read all.
fn player(recording: &[u8]) -> Player {
    let world = World::new(opened(&[recording]), TimeZone::UTC);
    let mut player = Player::new(world).unwrap();
    while !player.read_on(1000).unwrap() {}
    player.seek(player.begin()).unwrap();
    player
}

/// Everything that is known of a world.
fn told(tracker: &Tracker) -> String {
    let mut text = format!("{:?}\n", tracker.totals());
    for connection in tracker.connections() {
        let _ = writeln!(text, "{connection:?}");
    }
    text
}

/// The world at a time, from the start.
fn fresh(recording: &[u8], until: Timestamp) -> Tracker {
    let mut world = World::new(opened(&[recording]), TimeZone::UTC);
    while world.take(Some(until)).unwrap().is_some() {}
    world.tracker().clone()
}

/// Numbers without order, the same each time.
fn shuffled(count: usize, below: u64) -> Vec<u64> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn wherever_it_jumps_it_finds_the_world_of_a_fresh_run() {
    let recording = recording(2000);
    let mut player = player(&recording);
    assert!(player.checkpoints().0 > 4);
    for us in shuffled(30, 2_100_000) {
        let to = at_us(us).clamp(player.begin(), player.end());
        player.seek(at_us(us)).unwrap();
        assert_eq!(player.position(), to);
        assert_eq!(
            told(player.world().tracker()),
            told(&fresh(&recording, to)),
            "at {us} us"
        );
    }
}

#[test]
fn steps_meet_every_transition_once_forth_and_back() {
    let recording = recording(400);
    let mut expected = Vec::new();
    let mut world = World::new(opened(&[&recording]), TimeZone::UTC);
    while world.take(None).unwrap().is_some() {
        if !world.known().changes().is_empty() && expected.last() != Some(&world.at()) {
            expected.push(world.at());
        }
    }
    let all = Stops::All(Filter::default());
    let mut player = player(&recording);
    let mut met = vec![player.position()];
    loop {
        let before = player.position();
        player.next(&all).unwrap();
        if player.position() == before {
            break;
        }
        met.push(player.position());
    }
    assert_eq!(met, expected);
    assert_eq!(told(player.world().tracker()), told(world.tracker()));
    let mut back = vec![player.position()];
    while player.position() > player.begin() {
        player.previous(&all).unwrap();
        back.push(player.position());
    }
    back.reverse();
    assert_eq!(back, expected);
    let start = player.begin();
    assert_eq!(
        told(player.world().tracker()),
        told(&fresh(&recording, start))
    );
}

#[test]
fn steps_of_one_connection_meet_only_its_own() {
    let recording = recording(700);
    let mut player = player(&recording);
    let stops = Stops::Of(ConnId(301));
    let mut met = Vec::new();
    for _ in 0..4 {
        player.next(&stops).unwrap();
        met.push(player.position());
    }
    let us = 300_000;
    assert_eq!(
        met[..3],
        [at_us(us + 100), at_us(us + 300), at_us(us + 700)]
    );
    assert_eq!(met[3], player.end(), "no more");
    player.previous(&stops).unwrap();
    assert_eq!(player.position(), met[2]);
    player.seek(at_us(us + 200)).unwrap();
    player.previous(&stops).unwrap();
    assert_eq!(player.position(), met[0]);
}

#[test]
fn time_passes_as_far_as_it_is_let() {
    let recording = recording(100);
    let mut player = player(&recording);
    let to = at_us(50_250);
    assert!(!player.advance(to, 5).unwrap());
    assert!(player.position() < to);
    assert!(player.advance(to, 10_000).unwrap());
    assert_eq!(player.position(), to);
    assert_eq!(told(player.world().tracker()), told(&fresh(&recording, to)));
    assert!(player.advance(at(9_999_999), 10_000).unwrap());
    assert_eq!(player.position(), player.end());
}

#[test]
fn nothing_behind_until_is_known() {
    let recording = recording(100);
    let mut player = Player::new(World::new(opened(&[&recording]), TimeZone::UTC)).unwrap();
    player.end_at(at_us(50_250));
    assert!(player.read_on(100_000).unwrap());
    assert!(player.is_all().unwrap() && player.is_cut_by_wish().unwrap());
    assert_eq!(player.end(), at_us(50_100));
    player.seek(at(99)).unwrap();
    assert_eq!(player.position(), at_us(50_100));
}

#[test]
fn a_player_follows_what_grows() {
    let whole = recording(200);
    let growing = Arc::new(Growing::default());
    growing.whole_at.store(whole.len() as u64, Ordering::SeqCst);
    let half = whole.len() / 2;
    growing.bytes.lock().unwrap().extend(&whole[..half]);
    let bytes: Arc<dyn Bytes> = growing.clone();
    let pipe = Input {
        name: "pipe".into(),
        bytes,
    };
    let replay = Replay::open(vec![pipe], &Options::default()).unwrap();
    let mut player = Player::new(World::new(replay, TimeZone::UTC)).unwrap();
    assert!(player.read_on(100_000).unwrap());
    assert!(!player.is_all().unwrap());
    let before = player.end();
    player.seek(before).unwrap();
    growing.bytes.lock().unwrap().extend(&whole[half..]);
    assert!(player.read_on(100_000).unwrap());
    assert!(player.is_all().unwrap() && player.end() > before);
    player.seek(player.end()).unwrap();
    let (_, tracker, _) = played(opened(&[&whole]));
    assert_eq!(told(player.world().tracker()), told(&tracker));
    player.seek(before).unwrap();
    assert_eq!(told(player.world().tracker()), told(&fresh(&whole, before)));
}

#[test]
fn checkpoints_do_not_grow_with_the_recording() {
    let (few, _) = player(&recording(2000)).checkpoints();
    assert!(few > 4);
    let (_, held) = player(&recording(12_000)).checkpoints();
    assert!(
        held > DEFAULT_RETENTION && held <= HELD * DEFAULT_RETENTION,
        "{held}"
    );
    let quiet = (1..200_000).map(|us| {
        let body = Body::Unchanged {
            until: at_us(us),
            look: Look::Whole,
        };
        said(us, body)
    });
    let quiet: Vec<Observation> = quiet.collect();
    let (many, _) = player(&written(&header("r", 1, 0), &quiet, true)).checkpoints();
    assert!((CHECKPOINTS / 4..=CHECKPOINTS).contains(&many), "{many}");
}

#[test]
#[ignore = "a million observations: for a release build"]
fn any_position_of_a_million_observations_is_reached_in_a_second() {
    let recording = recording(250_000);
    let began = clock::now();
    let mut player = player(&recording);
    let load = clock::now().since(began);
    let mut slowest = Duration::ZERO;
    for us in shuffled(100, 250_000_000) {
        let began = clock::now();
        player.seek(at_us(us)).unwrap();
        slowest = slowest.max(clock::now().since(began));
    }
    let mut slowest_step = Duration::ZERO;
    for us in shuffled(20, 250_000_000) {
        player.seek(at_us(us)).unwrap();
        let began = clock::now();
        player.previous(&Stops::All(Filter::default())).unwrap();
        slowest_step = slowest_step.max(clock::now().since(began));
    }
    println!(
        "{} MB, first load {load:?}, slowest seek {slowest:?}, slowest step back \
         {slowest_step:?}, checkpoints {:?}",
        recording.len() >> 20,
        player.checkpoints()
    );
    assert!(slowest < Duration::from_secs(1) && slowest_step < Duration::from_secs(1));
}

/// What the program prints with these arguments.
fn printed(arguments: &[&str]) -> String {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_was_printed_live_is_printed_again() {
    for format in ["json", "text"] {
        let name = format!("tcpwatch-live-{format}-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = path.to_str().unwrap();
        let lab = [
            "lab", "close", "--step", "50ms", "--format", format, "--record", file,
        ];
        let live = printed(&lab);
        let again = printed(&["replay", "--format", format, file]);
        // What the experiment came to is no observation.
        let live: Vec<&str> = live.lines().collect();
        let (conclusion, live) = live.split_last().unwrap();
        assert!(conclusion.contains("close"), "{conclusion}");
        assert_eq!(again.lines().collect::<Vec<_>>(), live, "{format}");
        // From a moment on, the end is the same; a port that nobody has, nothing.
        let late = printed(&["replay", "--format", format, "--from=-200ms", file]);
        let lines: Vec<&str> = late.lines().collect();
        assert!(
            lines.len() < live.len() && lines.last() == live.last(),
            "{late}"
        );
        let none = printed(&["replay", "--format", format, "--port", "1", file]);
        assert!(!none.contains("ESTABLISHED"), "{none}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn recordings_that_were_asked_for_different_things_hide_nothing_of_each_other() {
    let recorded = |name: &str, number: u64| {
        let ends = open(number);
        let filter = Filter {
            ports: PortSet::one(ends[0].id.tuple.local.port()),
            ..Filter::default()
        };
        let header = Header {
            filter: FilterText::from(&filter),
            ..header(name, 1, 0)
        };
        let path = std::env::temp_dir().join(format!("tcpwatch-{name}-{}", std::process::id()));
        let bytes = written(&header, &[look(1000, true, &ends, &[])], true);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let files = [recorded("one", 1), recorded("two", 2)];
    let [one, two] = files.each_ref().map(|file| file.to_str().unwrap());
    let opened = |text: String| text.matches("\"type\":\"open\"").count();
    assert_eq!(opened(printed(&["replay", "--format", "json", one])), 1);
    assert_eq!(
        opened(printed(&["replay", "--format", "json", one, two])),
        2
    );
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
}
