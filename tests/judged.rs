//! Groups of findings, the doctor's words for them, and the conditions of a wait, from built stories
//! and without a kernel.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's leave covers test functions, not the helpers beside them"
)]

use std::sync::Arc;
use std::time::Duration;

use tcpwatch::diagnosis::finding::{Code, Severity};
use tcpwatch::diagnosis::group::{Peer, group};
use tcpwatch::diagnosis::until::{FailOn, Progress, Until};
use tcpwatch::diagnosis::{Unseen, health};
use tcpwatch::model::event::Comm;
use tcpwatch::model::filter::Filter;
use tcpwatch::model::{
    Body, Holder, Holders, ProcessId, Program, Sample, Scope, Seen, SourceName, TcpState,
};
use tcpwatch::view::Asked;
use tcpwatch::view::doctor::{Report, sentence};
use tcpwatch::view::palette::ColorMode;

#[path = "common/build.rs"]
mod build;

use build::{Story, at, endpoint, let_go, listener, sock, unread};

fn program(pid: u32, comm: &str) -> Arc<Program> {
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm.as_bytes());
    Arc::new(Program {
        id: ProcessId {
            pid,
            started: u64::from(pid),
        },
        parent: Some(1),
        comm: Comm(name),
        uid: Some(1000),
        user: Some("app".into()),
        cmdline: Some("python3 app.py".into()),
    })
}

fn held(story: &mut Story, ms: u64, sample: &Sample, holders: Vec<Holder>) {
    let body = Body::Holders(Holders {
        scope: Scope::default(),
        inode: sample.inode.unwrap(),
        begun: at(ms - 1),
        unchanged: None,
        holders,
        ended: Vec::new(),
        seen: Seen::All,
    });
    story.observe(ms, SourceName::Holders, body);
}

/// Connections of python3[812] to a database, which has closed them: found at 0 s, looked at after
/// `seconds`.
fn leaked(count: u16, bytes: u32, seconds: u64) -> Story {
    let mut story = Story::on_port("5432");
    let samples: Vec<Sample> = (0..count)
        .map(|nth| {
            let local = endpoint("10.0.0.1", 40_000 + nth);
            let sample = sock(local, endpoint("10.0.0.7", 5432), TcpState::CloseWait);
            let mut sample = unread(sample, bytes);
            if bytes == 0 {
                // The end-of-file was read, too.
                sample.queues = tcpwatch::model::Queues::Stream {
                    receive: 0,
                    send: 0,
                };
            }
            sample
        })
        .collect();
    story.look(10, &samples, &[]);
    for (nth, sample) in samples.iter().enumerate() {
        let fds = vec![9 + u32::try_from(nth).unwrap()];
        let program = program(812, "python3");
        held(&mut story, 20, sample, vec![Holder { program, fds }]);
    }
    story.look(seconds * 1000, &[], &[]);
    story
}

fn sentences(story: &Story, ms: u64) -> Vec<String> {
    let findings = story.known.diagnosis.findings();
    let groups = group(findings, &story.known.tracker, at(ms));
    groups.iter().map(sentence).collect()
}

fn text(story: &Story, ms: u64, severity: Severity) -> String {
    let tracker = &story.known.tracker;
    let report = Report {
        filter: Filter {
            ports: "5432".parse().unwrap(),
            ..Filter::default()
        },
        netns: None,
        now: at(ms),
        connections: tracker.connections().count(),
        undecided: 0,
        groups: group(story.known.diagnosis.findings(), tracker, at(ms)),
        listeners: health(tracker.listeners(), tracker),
        all_listeners: true,
        unseen: Unseen::default(),
        missed: vec!["sock_diag: lost: 3 rows".into()],
        not_looked_for: vec![Code::DataLost],
        elsewhere: Vec::new(),
        older_than: Duration::from_secs(30),
        severity,
        verbose: false,
    };
    report.text(ColorMode::Off)
}

#[test]
fn connections_of_one_process_to_one_peer_are_one_sentence() {
    let said = sentences(&leaked(57, 0, 41), 41_000);
    let start = "python3[812]: 57 connections to 10.0.0.7:5432 in CLOSE_WAIT for at least 40 s, all \
                 read to the end and not closed; descriptors 9-65";
    assert_eq!(said, [start]);
    let said = sentences(&leaked(1, 0, 41), 41_000);
    let start = "python3[812]: 1 connection to 10.0.0.7:5432 in CLOSE_WAIT for at least 40 s: ";
    assert!(said[0].starts_with(start), "{said:?}");
    assert!(said[0].ends_with("; descriptor 9"), "{said:?}");
    let said = sentences(&leaked(3, 100, 41), 41_000);
    let part = "with 300 bytes unread (100 each) and the end-of-file behind them";
    assert!(said[0].contains(part), "{said:?}");
}

#[test]
fn what_was_never_accepted_is_its_listeners() {
    let mut story = Story::on_port("5432");
    let local = endpoint("127.0.0.1", 5432);
    let listening = listener(local, 2);
    let waiting = [1, 2].map(|host| {
        let remote = endpoint(&format!("10.0.0.{host}"), 50_000 + host);
        let_go(sock(local, remote, TcpState::CloseWait))
    });
    story.look(10, &[listening, waiting[0], waiting[1]], &[]);
    let holder = Holder {
        program: program(7, "nginx"),
        fds: vec![6],
    };
    held(&mut story, 20, &listening, vec![holder]);
    story.look(60_000, &[], &[]);
    let tracker = &story.known.tracker;
    let groups = group(story.known.diagnosis.findings(), tracker, at(60_000));
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].severity, Severity::Error);
    assert_eq!(groups[0].peer, Peer::At(local));
    assert_eq!(groups[0].callers.len(), 2);
    let said = sentence(&groups[0]);
    let start = "nginx[7]: 2 connections from 2 addresses to 127.0.0.1:5432 in CLOSE_WAIT";
    assert!(said.starts_with(start), "{said}");
    let text = text(&story, 60_000, Severity::Warn);
    assert!(
        text.contains("queue 2 of 128; never accepted: 2 in CLOSE_WAIT"),
        "{text}"
    );
}

#[test]
fn a_report_reads_from_the_worst_to_what_was_not_seen() {
    insta::assert_snapshot!(text(&leaked(7, 0, 41), 41_000, Severity::Warn));
    let calm = text(&leaked(7, 0, 41), 41_000, Severity::Error);
    assert!(
        calm.starts_with("no trouble in 7 connections of port 5432\n"),
        "{calm}"
    );
    assert!(calm.contains("7 findings below error not shown"), "{calm}");
}

/// A wait that is fed with a story's looks.
struct Fed {
    story: Story,
    until: Until,
}

impl Fed {
    fn new(target: &str, at_least: Option<u64>, fail_on: &[&str]) -> Self {
        let mut codes = FailOn::default();
        for word in fail_on {
            codes.extend(word.parse().unwrap());
        }
        Self {
            story: Story::on_port("80"),
            until: Until::new(target.parse().unwrap(), at_least, codes),
        }
    }

    fn look(&mut self, ms: u64, appeared: &[Sample], changed: &[Sample]) -> Progress {
        self.story.look_after(ms, 100, appeared, changed);
        // The story's own observation is the newest: it is told again as what it was.
        let body = Body::Unchanged {
            until: at(ms),
            look: tcpwatch::model::Look::Whole,
        };
        let told = tcpwatch::model::Observation {
            at: at(ms),
            host: 0,
            source: SourceName::SockDiag,
            body,
        };
        self.until.take(
            &told,
            &self.story.known,
            &Asked::of(&Filter::default(), &self.story.known, told.at),
        );
        self.until.progress()
    }
}

#[test]
fn closed_means_all_and_at_least_so_many() {
    let (a, b) = (endpoint("127.0.0.1", 40_000), endpoint("127.0.0.1", 80));
    let mut fed = Fed::new("closed", None, &[]);
    assert_eq!(
        fed.until.progress(),
        Progress::Waiting,
        "nothing was looked at"
    );
    assert_eq!(fed.look(10, &[], &[]), Progress::Reached);
    let mut fed = Fed::new("closed", Some(1), &[]);
    assert_eq!(fed.look(10, &[], &[]), Progress::Waiting);
    let open = sock(a, b, TcpState::Established);
    assert_eq!(fed.look(200, &[open], &[]), Progress::Waiting);
    assert_eq!(fed.until.seen(), 1);
    let over = build::mini(build::in_state(open, TcpState::TimeWait), at(60_300));
    assert_eq!(fed.look(300, &[], &[over]), Progress::Reached);
}

#[test]
fn a_state_counts_when_an_end_has_passed_it() {
    let (a, b) = (endpoint("127.0.0.1", 40_000), endpoint("127.0.0.1", 80));
    let ends = [
        sock(a, b, TcpState::Established),
        sock(b, a, TcpState::Established),
    ];
    let mut fed = Fed::new("established", Some(3), &[]);
    assert_eq!(fed.look(10, &ends, &[]), Progress::Waiting);
    assert_eq!(fed.until.reached(), 2);
    let mut fed = Fed::new("fin-wait-1", None, &[]);
    assert_eq!(fed.look(10, &ends, &[]), Progress::Waiting);
    let over = build::mini(build::in_state(ends[0], TcpState::TimeWait), at(60_300));
    assert_eq!(
        fed.look(200, &[], &[over]),
        Progress::Reached,
        "it was passed"
    );
}

/// A finding that ends a wait names who holds the end, if that becomes known soon.
#[test]
fn a_finding_waits_for_its_holders_and_not_for_long() {
    let (local, remote) = (endpoint("10.0.0.1", 80), endpoint("10.0.0.7", 40_000));
    let sample = unread(sock(local, remote, TcpState::CloseWait), 5);
    let holder = |story: &mut Story, ms| {
        let fds = vec![9];
        let program = program(812, "python3");
        held(story, ms, &sample, vec![Holder { program, fds }]);
    };
    for is_named in [true, false] {
        let mut fed = Fed::new("fin-wait-1", None, &["close-wait-unread"]);
        assert_eq!(fed.look(10, &[sample], &[]), Progress::Waiting);
        assert_eq!(fed.look(30_050, &[], &[]), Progress::Waiting);
        assert_eq!(fed.until.due(), Some(at(30_350)));
        fed.until.settle(&fed.story.known, at(30_349));
        assert_eq!(fed.until.progress(), Progress::Waiting);
        let then = if is_named {
            holder(&mut fed.story, 30_100);
            at(30_100)
        } else {
            at(30_350)
        };
        fed.until.settle(&fed.story.known, then);
        let Progress::Failed(finding) = fed.until.progress() else {
            panic!("{:?}", fed.until.progress());
        };
        let named = finding.standing.unwrap().holding.is_some();
        assert_eq!(named, is_named);
    }
}

/// What a SYN's retransmissions take is how old it is at least.
#[test]
fn a_syn_is_as_old_as_its_retransmissions_take() {
    let (local, remote) = (endpoint("10.0.0.1", 40_000), endpoint("10.0.0.7", 80));
    let mut sample = sock(local, remote, TcpState::SynSent);
    sample.retransmits = 4;
    sample.timer = Some(tcpwatch::model::Timer {
        kind: tcpwatch::model::TimerKind::Retransmit,
        deadline: at(20_500),
    });
    let mut story = Story::on_port("80");
    story.look(20_000, &[sample], &[]);
    let finding = story.known.diagnosis.findings().next().unwrap();
    let age = finding.standing.as_ref().unwrap().age(at(20_100));
    assert!(age.at_least >= Duration::from_secs(4), "{age:?}");
}

#[test]
fn families_name_their_codes_and_nothing_else_does() {
    assert!("close-wait".parse::<FailOn>().is_ok());
    assert!("CLOSE_WAIT_LEAKED".parse::<FailOn>().is_ok());
    assert!("any".parse::<FailOn>().is_ok());
    for wrong in ["", "-", "close-wai", "leaked", "wait"] {
        let error = wrong.parse::<FailOn>().unwrap_err().to_string();
        assert!(error.contains("close-wait-leaked"), "{error}");
    }
}
