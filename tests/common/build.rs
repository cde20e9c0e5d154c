//! Stories for the screen: observations at fixed times, as a source would make them.
//!
//! Times are milliseconds of the story. Every look is preceded by one that showed the old state
//! 100 ms before, as a source that looks ten times a second would have it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]
#![allow(dead_code, reason = "no test file uses all of them")]

use std::net::IpAddr;
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tcpwatch::diagnosis::{Known, Settings};
use tcpwatch::model::event::{Comm, File, What};
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{
    Answer, Body, Caller, Cookie, Endpoint, Event, FourTuple, Holder, Holders, Look, Moment,
    Observation, Poll, ProcessId, Program, Queues, Sample, Scope, Seen, Shutdown, SockId,
    SourceName, SourceState, TcpState, Timer, TimerKind, Timestamp,
};
use tcpwatch::timeline::Tracker;
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::tui::{App, Glyphs, Input, Looks, Reaction, draw};

/// 100 s after the clock's start, so that nothing is cut off at zero.
pub fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos((100_000 + ms) * 1_000_000)
}

/// As [`at`], in microseconds.
pub fn at_us(us: u64) -> Timestamp {
    Timestamp::from_nanos((100_000_000 + us) * 1000)
}

pub fn endpoint(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(addr.parse::<IpAddr>().unwrap(), port)
}

/// A socket with an open descriptor and empty queues.
pub fn sock(local: Endpoint, remote: Endpoint, state: TcpState) -> Sample {
    let tuple = FourTuple { local, remote };
    let cookie = Cookie(u64::from(local.port()) << 20 | u64::from(remote.port()));
    Sample {
        id: SockId {
            scope: Scope::default(),
            cookie: Some(cookie),
            tuple,
        },
        state,
        queues: Queues::Stream {
            receive: u32::from(state.has_received_fin()),
            send: 0,
        },
        timer: None,
        retransmits: 0,
        inode: Some(u32::from(local.port()) + 100_000),
        uid: Some(1000),
        shutdown: None,
        cgroup: None,
        multipath: false,
    }
}

/// The same socket without a descriptor.
pub fn let_go(sample: Sample) -> Sample {
    Sample {
        inode: None,
        ..sample
    }
}

/// A mini-socket whose timer ends at `deadline`.
pub fn mini(sample: Sample, deadline: Timestamp) -> Sample {
    Sample {
        inode: None,
        uid: None,
        queues: Queues::Absent,
        timer: Some(Timer {
            kind: TimerKind::TimeWait,
            deadline,
        }),
        ..sample
    }
}

pub fn unread(sample: Sample, bytes: u32) -> Sample {
    Sample {
        queues: Queues::Stream {
            receive: bytes + u32::from(sample.state.has_received_fin()),
            send: 0,
        },
        ..sample
    }
}

pub fn in_state(sample: Sample, state: TcpState) -> Sample {
    sock(sample.id.tuple.local, sample.id.tuple.remote, state)
}

pub fn listener(local: Endpoint, waiting: u32) -> Sample {
    Sample {
        queues: Queues::Accept {
            waiting,
            backlog: Some(128),
        },
        ..sock(local, endpoint("0.0.0.0", 0), TcpState::Listen)
    }
}

/// A socket in the moment of an event: its descriptor so, its sides shut so, so much unread.
pub fn moment(file: File, shutdown: u8, receive: u32) -> Moment {
    Moment {
        shutdown: Shutdown::from_kernel(shutdown),
        file,
        error: None,
        receive,
        send: 0,
        lingers_not: false,
        fin_received: None,
        bytes_received: 0,
        bytes_acked: 0,
        cgroup: None,
        multipath: false,
    }
}

/// A process that makes a call.
pub fn process(comm: &str, pid: u32) -> Caller {
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm.as_bytes());
    Caller {
        pid,
        comm: Comm(name),
        exiting: false,
        signal: None,
    }
}

/// A process that holds a socket. It was started by `parent`.
pub fn holder(comm: &str, (pid, parent): (u32, u32), fds: &[u32]) -> Holder {
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm.as_bytes());
    let program = Program {
        id: ProcessId {
            pid,
            started: u64::from(pid) * 10,
        },
        parent: Some(parent),
        comm: Comm(name),
        uid: Some(1000),
        user: Some("app".into()),
        cmdline: Some(format!("/usr/bin/{comm} --port 50008").into()),
    };
    Holder {
        program: program.into(),
        fds: fds.to_vec(),
    }
}

/// The same process, killed.
pub fn killed(caller: Caller, signal: u8) -> Caller {
    Caller {
        exiting: true,
        signal: Some(signal),
        ..caller
    }
}

pub fn step(from: TcpState, to: TcpState) -> What {
    What::State { from, to }
}

/// A tracker and a screen that are told the same story.
pub struct Story {
    pub known: Known,
    pub app: App,
    looked: bool,
}

impl Story {
    pub fn on_port(port: &str) -> Self {
        let ports: PortSet = port.parse().unwrap();
        let filter = Filter {
            ports,
            ..Filter::default()
        };
        Self::with(filter, ColorMode::On, Tracker::default())
    }

    pub fn with(filter: Filter, color: ColorMode, tracker: Tracker) -> Self {
        let mut story = Self {
            known: Known::new(tracker, Settings::default()),
            app: App::new(filter, color, TimeZone::UTC),
            looked: false,
        };
        // 2026-03-01 14:02:00 UTC.
        let realtime_ns = 1_772_373_720_000_000_000;
        story.observe(0, SourceName::SockDiag, Body::Clock { realtime_ns });
        story
    }

    /// A source that looks ten times a second.
    pub fn running(mut self) -> Self {
        let state = SourceState::Running {
            period: Duration::from_millis(100),
            cost: Some(Duration::from_micros(240)),
            why: None,
        };
        self.observe(0, SourceName::SockDiag, Body::Source(state));
        self
    }

    /// Kernel events run.
    pub fn with_events(mut self) -> Self {
        let state = SourceState::Running {
            period: Duration::ZERO,
            cost: None,
            why: None,
        };
        self.observe(0, SourceName::Bpf, Body::Source(state));
        self
    }

    /// An event of the end `sample`, in microseconds of the story.
    pub fn event(
        &mut self,
        us: u64,
        sample: Sample,
        what: What,
        moment: Moment,
        caller: Option<Caller>,
    ) {
        let event = Event {
            id: sample.id,
            what,
            moment: Some(moment),
            caller,
        };
        self.tell(at_us(us), SourceName::Bpf, Body::Event(event));
    }

    /// A lookup that finds the end as `sample`, in microseconds of the story.
    pub fn found(&mut self, us: u64, sample: Sample) {
        let body = Body::Lookup {
            asked: sample.id,
            begun: at_us(us - 1),
            unchanged: None,
            answer: Answer::Found(sample),
        };
        self.tell(at_us(us), SourceName::Follow, body);
    }

    pub fn observe(&mut self, ms: u64, source: SourceName, body: Body) {
        self.tell(at(ms), source, body);
    }

    fn tell(&mut self, at: Timestamp, source: SourceName, body: Body) {
        let observation = Observation {
            host: 0,
            at,
            source,
            body,
        };
        self.known.take(&observation);
        self.app.note(&observation);
        self.known.asks();
    }

    /// A look into all processes that finds these with the end `sample`.
    pub fn held(&mut self, ms: u64, sample: Sample, holders: &[Holder]) {
        self.held_as(ms, sample, holders, Seen::All);
    }

    /// As [`Story::held`], of those that could be looked into.
    pub fn held_as(&mut self, ms: u64, sample: Sample, holders: &[Holder], seen: Seen) {
        let holders = Holders {
            scope: Scope::default(),
            inode: sample.inode.unwrap(),
            begun: at(ms.saturating_sub(1)),
            unchanged: None,
            holders: holders.to_vec(),
            ended: Vec::new(),
            seen,
        };
        self.observe(ms, SourceName::Holders, Body::Holders(holders));
    }

    /// A look of 2 ms that ends at `ms`.
    pub fn look(&mut self, ms: u64, appeared: &[Sample], changed: &[Sample]) {
        self.look_after(ms, 100, appeared, changed);
    }

    /// A look whose predecessor was `gap` milliseconds before.
    pub fn look_after(&mut self, ms: u64, gap: u64, appeared: &[Sample], changed: &[Sample]) {
        let first = !std::mem::replace(&mut self.looked, true);
        if !first {
            let unchanged = Body::Unchanged {
                until: at(ms.saturating_sub(gap)),
                look: Look::Whole,
            };
            let seen = (ms + 2).saturating_sub(gap);
            self.observe(seen, SourceName::SockDiag, unchanged);
        }
        let poll = Poll {
            begun: at(ms.saturating_sub(2)),
            look: Look::Whole,
            complete: true,
            first,
            appeared: appeared.to_vec(),
            changed: changed.to_vec(),
            missing: Vec::new(),
        };
        self.observe(ms, SourceName::SockDiag, Body::Poll(poll));
    }

    /// A lookup that finds nothing.
    pub fn gone(&mut self, ms: u64, sample: Sample) {
        let unchanged = Body::Unchanged {
            until: at(ms.saturating_sub(100)),
            look: Look::Whole,
        };
        self.observe(ms.saturating_sub(98), SourceName::SockDiag, unchanged);
        let body = Body::Lookup {
            asked: sample.id,
            begun: at(ms.saturating_sub(1)),
            unchanged: None,
            answer: Answer::Gone,
        };
        self.observe(ms, SourceName::SockDiag, body);
    }

    pub fn press(&mut self, code: KeyCode, ms: u64) -> Reaction {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        self.app.update(Input::Key(key), &self.known, at(ms))
    }

    pub fn type_keys(&mut self, keys: &str, ms: u64) {
        for key in keys.chars() {
            self.press(KeyCode::Char(key), ms);
        }
    }

    /// The screen at a moment, which in ASCII must say as much.
    pub fn screen(&mut self, width: u16, height: u16, ms: u64) -> TestBackend {
        let screen = drawn(&mut self.app, &self.known, (width, height), at(ms));
        assert_said_in_ascii(&mut self.app, &self.known, &screen, at(ms));
        screen
    }
}

/// The screen of an app.
pub fn drawn(app: &mut App, known: &Known, size: (u16, u16), now: Timestamp) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(frame, app, known, now)).unwrap();
    terminal.backend().clone()
}

/// The same in ASCII: nothing else in it, and nothing of what the screen itself draws unknown.
pub fn assert_said_in_ascii(app: &mut App, known: &Known, screen: &TestBackend, now: Timestamp) {
    let looks = app.looks();
    app.show_as(Looks {
        glyphs: Glyphs::Ascii,
        ..looks
    });
    let size = (screen.buffer().area.width, screen.buffer().area.height);
    let ascii = drawn(app, known, size, now);
    app.show_as(looks);
    for (glyph, letter) in screen.buffer().content.iter().zip(&ascii.buffer().content) {
        let (glyph, letter) = (glyph.symbol(), letter.symbol());
        assert!(letter.is_ascii(), "{letter}");
        // A process may be named in any letters.
        let is_foreign = glyph.chars().any(char::is_alphabetic);
        assert!(
            letter != "?" || glyph == "?" || is_foreign,
            "{glyph} has no letter"
        );
    }
}
