//! Observations of every kind, and of many of one: what is written is read back.

use std::sync::Arc;

use proptest::prelude::*;
use tcpwatch::model::Observation;
use tcpwatch::model::event::Comm;
use tcpwatch::model::holder::CMDLINE;
use tcpwatch::model::{
    Answer, Body, Keyframe, Look, Poll, Program, Seen, SourceName, TcpState, Timestamp,
};
use tcpwatch::record::{Encoder, Skipped};

use crate::observations::observations;
use crate::{at, header, held, id, program, read, said, sample, story, written};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_written_is_read_back(all in observations(12)) {
        let (again, reader) = read(written(&all));
        prop_assert_eq!(&again, &all);
        let unordered = Skipped { disordered: reader.skipped().disordered, ..Skipped::default() };
        prop_assert_eq!(reader.skipped(), unordered);
        prop_assert_eq!(reader.torn(), 0);
    }
}

/// The longest stamps at any place of the clock.
#[test]
fn a_clock_that_is_nearly_over_is_read() {
    let mut last = said(0, SourceName::SockDiag, Body::Clock { realtime_ns: 0 });
    last.at = Timestamp::from_nanos(u64::MAX);
    let all = vec![last.clone(), last];
    assert_eq!(read(written(&all)).0, all);
}

#[test]
fn more_sockets_than_have_numbers_are_told_apart() {
    let of = |number: u64| id(number, number as u16, 80);
    let rows = |numbers: std::ops::Range<u64>| {
        numbers
            .map(|number| sample(of(number), TcpState::Established))
            .collect::<Vec<_>>()
    };
    let look = |appeared, changed, missing| {
        Body::Poll(Poll {
            begun: at(0),
            look: Look::Whole,
            complete: true,
            first: false,
            appeared,
            changed,
            missing,
        })
    };
    let mut all = vec![
        said(
            1,
            SourceName::SockDiag,
            look(rows(0..40_000), vec![], vec![]),
        ),
        said(
            2,
            SourceName::SockDiag,
            look(vec![], rows(0..20_000), vec![]),
        ),
        said(
            3,
            SourceName::SockDiag,
            look(vec![], vec![], (0..40_000).map(of).collect()),
        ),
    ];
    for number in (0..40_000).rev().step_by(7) {
        let answer = Answer::Found(sample(of(39_999 - number), TcpState::CloseWait));
        let lookup = Body::Lookup {
            asked: of(number),
            begun: at(3),
            unchanged: None,
            answer,
        };
        all.push(said(4, SourceName::Follow, lookup));
    }
    let (again, reader) = read(written(&all));
    assert!(again == all, "{:?}", reader.skipped());
    assert_eq!(reader.skipped(), Skipped::default());
}

/// A text of any length can be read back, if not all of it.
#[test]
fn a_text_without_end_is_cut_and_not_lost() {
    let endless = "\u{1b}é".repeat(1 << 20);
    let note = Body::Note {
        pid: 1,
        text: endless.clone(),
    };
    let (again, reader) = read(written(&[said(1, SourceName::Lab, note)]));
    let Body::Note { text, .. } = &again[0].body else {
        panic!("{:?}", reader.skipped())
    };
    assert!(text.len() > 10_000 && endless.starts_with(text.as_str()));
}

/// Forty processes that share a hundred sockets: each is named once, and once more behind a
/// keyframe, where a reader may begin.
#[test]
fn a_process_is_named_once() {
    let crew: Vec<Arc<Program>> = (0..40)
        .map(|pid| program(100 + pid, Comm(*b"worker\0\0\0\0\0\0\0\0\0\0")))
        .collect();
    let all: Vec<(&Arc<Program>, &[u32])> = crew.iter().map(|one| (one, &[3, 4][..])).collect();
    let sets = |from: u32| (from..from + 100).map(|inode| (inode, held(inode, &all)));
    let keyframe = Body::Keyframe(Keyframe {
        begun: at(2),
        samples: Vec::new(),
    });
    let mut told: Vec<Observation> = Vec::new();
    told.extend(sets(0).map(|(_, body)| said(1, SourceName::Holders, body)));
    told.push(said(3, SourceName::SockDiag, keyframe));
    told.extend(sets(100).map(|(_, body)| said(4, SourceName::Holders, body)));
    let bytes = written(&told);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(text.matches("\"type\":\"process\"").count(), 80);
    assert_eq!(read(bytes).0, told);
    // Another program in the same process: exec.
    let mut renamed = (*crew[0]).clone();
    renamed.comm.0[0] = b'W';
    let told = vec![
        said(1, SourceName::Holders, held(1, &all[..1])),
        said(
            2,
            SourceName::Holders,
            held(1, &[(&Arc::new(renamed), &[3])]),
        ),
        said(3, SourceName::Holders, held(1, &all[..1])),
    ];
    assert_eq!(read(written(&told)).0, told);
}

/// A set that is longer than a line may be says that it is not all of it.
#[test]
fn a_crowd_is_cut_and_not_lost() {
    let name = Comm(*b"worker\0\0\0\0\0\0\0\0\0\0");
    let crew: Vec<Arc<Program>> = (0..40_000).map(|pid| program(1 + pid, name)).collect();
    let fds: Vec<u32> = (1_000_000_000..1_000_000_064).collect();
    for fds in [&[3][..], &fds] {
        let all: Vec<(&Arc<Program>, &[u32])> = crew.iter().map(|one| (one, fds)).collect();
        let (again, reader) = read(written(&[said(1, SourceName::Holders, held(1, &all))]));
        assert_eq!(reader.skipped(), Skipped::default());
        let Body::Holders(set) = &again[0].body else {
            panic!("{again:?}")
        };
        assert_eq!(set.seen, Seen::Partly);
        let count = set.holders.len();
        assert!(count > 500 && count < 40_000, "{count}");
        assert!(
            set.holders
                .iter()
                .zip(&crew)
                .all(|(holder, one)| holder.program == *one)
        );
    }
}

/// They carry passwords, and recordings go into tickets.
#[test]
fn a_command_line_is_written_only_where_the_header_says_so() {
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    let header = tcpwatch::record::Header {
        cmdlines: false,
        ..header()
    };
    encoder.header(&header, &mut out).unwrap();
    for observation in story() {
        encoder.observation(&observation, &mut out);
    }
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(text.contains("\"cmdlines\":false") && text.contains("\"pid\":812"));
    assert!(
        !text.contains("hunter2") && !text.contains("\"cmdline\":"),
        "{text}"
    );
    let bare = |mut told: Observation| {
        if let Body::Holders(set) = &mut told.body {
            for holder in &mut set.holders {
                Arc::make_mut(&mut holder.program).cmdline = None;
            }
        }
        told
    };
    let expected: Vec<Observation> = story().into_iter().map(bare).collect();
    assert_eq!(read(out).0, expected);
    // Without a header nobody has said that it may be.
    let mut out = Vec::new();
    let mut encoder = Encoder::default();
    for observation in story() {
        encoder.observation(&observation, &mut out);
    }
    assert!(!String::from_utf8(out).unwrap().contains("hunter2"));
}

#[test]
fn no_more_of_a_command_line_is_read_than_is_kept_live() {
    let mut endless = (*program(1, Comm([0; 16]))).clone();
    endless.cmdline = Some("é".repeat(5000).into());
    let told = [said(
        1,
        SourceName::Holders,
        held(1, &[(&Arc::new(endless), &[3])]),
    )];
    let (again, _) = read(written(&told));
    let Body::Holders(set) = &again[0].body else {
        panic!("{again:?}")
    };
    let cmdline = set.holders[0].program.cmdline.as_deref().unwrap();
    assert!((CMDLINE - 2..=CMDLINE).contains(&cmdline.len()));
}
