//! The recorder against sinks that are slow, or full.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::SyncSender;

use super::*;
use crate::model::event::Comm;
use crate::model::{
    Endpoint, FourTuple, Holders, Keyframe, Program, Queues, Scope, Seen, TcpState,
};
use crate::record::{FORMAT, FilterText, Item, Reader, VERSION};

type Held = Arc<Mutex<Vec<u8>>>;

/// Takes bytes when it is let.
struct Gated {
    held: Held,
    /// It waits at a write, and goes on when something comes, or for ever when nobody is left.
    gate: Receiver<()>,
    waits: SyncSender<()>,
}

impl Sink for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.waits.try_send(());
        let _ = self.gate.recv();
        self.held.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

struct Stage {
    recorder: Recorder,
    held: Held,
    open: Option<Sender<()>>,
    waits: Receiver<()>,
    asked: Arc<AtomicU64>,
    asked_holders: Arc<AtomicU64>,
}

fn stage() -> Stage {
    let (open, gate) = mpsc::channel();
    let (tell, waits) = mpsc::sync_channel(100);
    let held = Held::default();
    let sink = Gated {
        held: Arc::clone(&held),
        gate,
        waits: tell,
    };
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let asked_holders = Arc::new(AtomicU64::new(0));
    let holders_count = Arc::clone(&asked_holders);
    let surroundings = Surroundings {
        clock: Box::new(|| Anchor {
            monotonic_ns: 1_000_000_000,
            realtime_ns: 5_000_000_000,
        }),
        ask_keyframe: Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }),
        ask_holders: Box::new(move || {
            holders_count.fetch_add(1, Ordering::SeqCst);
        }),
        wake: Box::new(|| ()),
    };
    let mut recorder = Recorder::into_sink(Box::new(sink), surroundings).unwrap();
    recorder.begin(header());
    Stage {
        recorder,
        held,
        open: Some(open),
        waits,
        asked,
        asked_holders,
    }
}

fn header() -> Header {
    Header {
        format: FORMAT.into(),
        version: VERSION,
        tcpwatch: "0".into(),
        about: "test".into(),
        host: "web".into(),
        kernel: "6".into(),
        boot_id: None,
        netns: None,
        recording: "r".into(),
        part: 1,
        clock: Anchor {
            monotonic_ns: 1_000_000_000,
            realtime_ns: 5_000_000_000,
        },
        filter: FilterText::default(),
        sources: Vec::new(),
        period_ns: 1,
        cmdlines: false,
    }
}

fn note(number: u64) -> Observation {
    Observation {
        at: Timestamp::from_nanos(1_000_000_000 + number),
        host: 0,
        source: SourceName::Lab,
        body: Body::Note {
            pid: 1,
            text: number.to_string(),
        },
    }
}

fn read(held: &Held) -> (Vec<Observation>, bool) {
    let bytes = held.lock().unwrap().clone();
    let mut reader = Reader::open(Arc::new(bytes), 0).unwrap();
    let (mut told, mut ended) = (Vec::new(), false);
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Observation(observation) => told.push(observation),
            Item::End { .. } => ended = true,
            Item::Header(_) => panic!("a second header"),
        }
    }
    assert_eq!(reader.skipped().lines(), 0);
    (told, ended)
}

#[test]
fn a_full_queue_is_a_loss_in_its_place_and_never_a_wait() {
    let mut stage = stage();
    // Room for three batches of one, and for one when there was none.
    stage.recorder.room = 3 * weight_of_one() + 1;
    // The disk stands still in the middle of the header.
    stage.waits.recv().unwrap();
    for number in 0..10 {
        stage.recorder.tap(&note(number));
        stage.recorder.hand_over();
    }
    assert_eq!(stage.recorder.news(), Some(News::Losing));
    assert_eq!(stage.recorder.news(), None);
    assert_eq!(stage.asked.load(Ordering::SeqCst), 0);
    // It goes on: there is room again as soon as all is written.
    stage.open = None;
    while stage.recorder.waiting.load(Ordering::Relaxed) > 0 {
        thread::yield_now();
    }
    stage.recorder.tap(&note(10));
    stage.recorder.hand_over();
    assert_eq!(stage.recorder.news(), Some(News::Lost(7)));
    let ended = stage.recorder.finish();
    assert!(ended.failure.is_none());
    let summary = ended.summary.unwrap();
    assert_eq!((summary.observations, summary.lost), (4, 7));
    assert_eq!(stage.asked.load(Ordering::SeqCst), 1);
    let (told, has_end) = read(&stage.held);
    assert!(has_end);
    let expected: Vec<Observation> = (0..3)
        .map(note)
        .chain([loss(7, note(9).at), note(10)])
        .collect();
    assert_eq!(told, expected);
}

/// A batch with one observation, in the memory that a vector takes for one.
fn weight_of_one() -> usize {
    let mut batch: Vec<Observation> = Vec::new();
    let first = note(0);
    batch.push(first);
    batch.capacity() * size_of::<Observation>() + beside(&note(0))
}

#[test]
fn who_has_lost_goes_on_when_half_of_the_room_is_free() {
    let mut stage = stage();
    stage.recorder.room = 10 * weight_of_one();
    stage.waits.recv().unwrap();
    for number in 0..12 {
        stage.recorder.tap(&note(number));
        stage.recorder.hand_over();
    }
    assert_eq!(stage.recorder.news(), Some(News::Losing));
    // Less than half of it is free: one gap, and not one for each piece of room.
    let held = stage.recorder.waiting.load(Ordering::Relaxed);
    for left in (0..=held).rev().step_by(weight_of_one() / 2) {
        let is_half = left + weight_of_one() <= stage.recorder.room / 2;
        stage.recorder.waiting.store(left, Ordering::Relaxed);
        stage.recorder.tap(&note(20));
        stage.recorder.hand_over();
        assert_eq!(stage.recorder.news().is_some(), is_half, "{left} of {held}");
        if is_half {
            break;
        }
    }
    stage.recorder.waiting.store(held, Ordering::Relaxed);
    stage.open = None;
    assert!(stage.recorder.finish().failure.is_none());
    assert_eq!(stage.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_batch_weighs_what_it_holds() {
    let mut stage = stage();
    stage.recorder.batch = Vec::with_capacity(512);
    stage.recorder.tap(&note(0));
    assert!(stage.recorder.weight() >= 512 * size_of::<Observation>());
    stage.open = None;
}

#[test]
fn a_keyframe_that_nobody_waits_for_is_not_written() {
    let mut stage = stage();
    stage.open = None;
    let at = note(1).at;
    let samples = Vec::new();
    let keyframe = Observation {
        at,
        host: 0,
        source: SourceName::SockDiag,
        body: Body::Keyframe(Keyframe { begun: at, samples }),
    };
    for told in [note(0), keyframe, note(2)] {
        stage.recorder.tap(&told);
    }
    stage.recorder.hand_over();
    let summary = stage.recorder.finish().summary.unwrap();
    assert_eq!(summary.observations, 2);
    assert_eq!(read(&stage.held), (vec![note(0), note(2)], true));
}

fn held(number: u64, inode: u32, fd: u32) -> Observation {
    let program = Program {
        id: ProcessId {
            pid: 812,
            started: 1,
        },
        parent: None,
        comm: Comm(*b"server\0\0\0\0\0\0\0\0\0\0"),
        uid: Some(0),
        user: None,
        cmdline: None,
    };
    Observation {
        source: SourceName::Holders,
        body: Body::Holders(Holders {
            scope: Scope::default(),
            inode,
            begun: note(0).at,
            unchanged: None,
            holders: vec![Holder {
                program: Arc::new(program),
                fds: vec![fd],
            }],
            ended: Vec::new(),
            seen: Seen::All,
        }),
        ..note(number)
    }
}

/// Of sockets of these inodes.
fn keyframe(number: u64, inodes: &[u32]) -> Observation {
    let end = Endpoint::new([127, 0, 0, 1].into(), 80);
    let sample = |inode: &u32| Sample {
        id: SockId {
            scope: Scope::default(),
            cookie: Some(crate::model::Cookie((*inode).into())),
            tuple: FourTuple {
                local: end,
                remote: end,
            },
        },
        state: TcpState::Established,
        queues: Queues::Absent,
        timer: None,
        retransmits: 0,
        inode: Some(*inode),
        uid: None,
        shutdown: None,
        cgroup: None,
        multipath: false,
    };
    Observation {
        source: SourceName::SockDiag,
        body: Body::Keyframe(Keyframe {
            begun: note(number).at,
            samples: inodes.iter().map(sample).collect(),
        }),
        ..note(number)
    }
}

#[test]
fn behind_a_keyframe_it_is_said_again_who_holds_what_it_shows() {
    let mut stage = stage();
    stage.open = None;
    // A keyframe is awaited from a loss on.
    let lose = |stage: &mut Stage, number: u64, asked: u64| {
        stage.recorder.losing = Some((number, note(number).at));
        stage.recorder.tap(&note(number));
        stage.recorder.hand_over();
        while stage.asked.load(Ordering::SeqCst) < asked {
            thread::yield_now();
        }
    };
    lose(&mut stage, 1, 1);
    let told = [
        held(2, 7, 3),
        held(3, 8, 4),
        held(4, 7, 5),
        keyframe(5, &[7, 9]),
    ];
    for observation in &told {
        stage.recorder.tap(observation);
    }
    // What was said before something was lost may not be so any more.
    stage.recorder.hand_over();
    lose(&mut stage, 6, 2);
    let late = [keyframe(7, &[7, 9]), held(8, 9, 6)];
    for observation in &late {
        stage.recorder.tap(observation);
    }
    let summary = stage.recorder.finish().summary.unwrap();
    assert_eq!(summary.observations, 8, "said again is not said");
    assert_eq!(stage.asked_holders.load(Ordering::SeqCst), 2);
    let (read, _) = read(&stage.held);
    let expected = [
        vec![loss(1, note(1).at), note(1)],
        told.to_vec(),
        vec![held(5, 7, 5)],
        vec![loss(6, note(6).at), note(6)],
        late.to_vec(),
    ];
    assert_eq!(read, expected.concat());
}

#[test]
fn what_is_said_of_the_room_is_true() {
    // docs/recording.md gives both numbers.
    assert_eq!(size_of::<Observation>(), 288);
    assert!((460_000..470_000).contains(&(ROOM / 288)));
}

#[test]
fn what_is_lost_last_is_said_at_the_end() {
    let mut stage = stage();
    stage.recorder.room = 1;
    stage.waits.recv().unwrap();
    stage.recorder.tap(&note(0));
    stage.recorder.hand_over();
    stage.recorder.tap(&note(1));
    stage.recorder.hand_over();
    stage.open = None;
    assert_eq!(stage.recorder.finish().summary.unwrap().lost, 1);
    let (told, _) = read(&stage.held);
    assert_eq!(told, [note(0), loss(1, note(1).at)]);
}

#[test]
fn who_is_dropped_has_written_all() {
    let mut stage = stage();
    stage.open = None;
    for number in 0..2000 {
        stage.recorder.tap(&note(number));
    }
    drop(stage.recorder);
    let (told, has_end) = read(&stage.held);
    assert_eq!((told.len(), has_end), (2000, true));
}

/// No space from the second write on.
struct Full(Held);

impl Sink for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap();
        if held.is_empty() {
            held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_what_watches_goes_on() {
    let held = Held::default();
    let (tell, woken) = mpsc::channel();
    let surroundings = Surroundings {
        clock: Box::new(|| Anchor {
            monotonic_ns: 1_000_000_000,
            realtime_ns: 0,
        }),
        ask_keyframe: Box::new(|| ()),
        ask_holders: Box::new(|| ()),
        wake: Box::new(move || tell.send(()).unwrap_or_default()),
    };
    let sink = Box::new(Full(Arc::clone(&held)));
    let mut recorder = Recorder::into_sink(sink, surroundings).unwrap();
    recorder.begin(header());
    recorder.tap(&note(1));
    recorder.hand_over();
    woken.recv().unwrap();
    assert!(matches!(recorder.news(), Some(News::Failed(_))));
    for number in 0..10_000 {
        recorder.tap(&note(number));
        recorder.hand_over();
    }
    assert!(recorder.batch.is_empty());
    assert!(recorder.finish().failure.is_some());
    assert_eq!(read(&held), (vec![], false));
}
