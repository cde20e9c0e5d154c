//! What is known when a picture is drawn: connections that nobody has opened, in several states, held by
//! several processes.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use tcpwatch::diagnosis::Known;
use tcpwatch::model::event::Comm;
use tcpwatch::model::filter::Filter;
use tcpwatch::model::{
    Body, Cookie, Endpoint, FourTuple, Holder, Holders, Look, Observation, Poll, ProcessId,
    Program, Queues, Sample, Scope, Seen, SockId, SourceName, TcpState, Timestamp,
};
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::tui::{App, Input, draw};

use crate::story::Story;

const PORT: u16 = 50_008;
const BEGIN: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
/// Who holds the servers' ends.
const NAMES: [&[u8; 16]; 4] = [
    b"python3\0\0\0\0\0\0\0\0\0",
    b"nginx\0\0\0\0\0\0\0\0\0\0\0",
    b"postgres\0\0\0\0\0\0\0\0",
    b"java\0\0\0\0\0\0\0\0\0\0\0\0",
];
/// Frames are at most this often.
const FRAME: Duration = Duration::from_millis(50);
/// Sockets that are seen otherwise between two pictures.
const MOVED: usize = 50;

/// Which connections there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open, half closed and closed ones.
    Mixed,
    /// Half closed for a minute: every one of them is a finding.
    Troubled,
    /// Each from a host of its own that is not seen.
    Far,
}

/// All that is known, and the time.
pub struct World {
    pub known: Known,
    pub now: Timestamp,
    /// The servers' ends that are open, in the order in which they move.
    open: Vec<Sample>,
    next: usize,
}

impl World {
    pub fn of(kind: Kind, number: usize) -> Self {
        let mut samples = invented(&like(), PORT, number);
        for (inode, sample) in (1..).zip(&mut samples) {
            sample.inode = Some(inode);
        }
        let is_server = |sample: &&Sample| sample.id.tuple.local.port() == PORT;
        if kind == Kind::Far {
            samples.retain(|sample| is_server(&sample));
        }
        let half = 2 * match kind {
            Kind::Mixed => number / 2,
            Kind::Troubled => number,
            Kind::Far => 0,
        };
        let over = if kind == Kind::Mixed { half / 2 } else { 0 };
        let found = Story::of(&samples, PORT, BEGIN).found;
        let half_closed = Story::of(&samples[..half], PORT, BEGIN).half_closed;
        let over = Story::of(&samples[..over], PORT, BEGIN);
        let servers: Vec<Sample> = samples.iter().filter(is_server).copied().collect();
        let held = servers.iter().zip(0..).map(held);
        let told = found.into_iter().chain(held).chain(half_closed);
        let mut known = Known::default();
        for observation in told.chain(over.closed).chain(over.confirmed) {
            known.take(&observation);
            known.asks();
        }
        let until = BEGIN.plus(Duration::from_secs(60));
        if kind != Kind::Far {
            let look = Look::Whole;
            known.take(&said(until, Body::Unchanged { until, look }));
            known.asks();
        }
        let open = match kind {
            Kind::Far => servers,
            Kind::Mixed => servers[half / 2..].to_vec(),
            Kind::Troubled => Vec::new(),
        };
        Self {
            known,
            now: until.plus(Duration::from_secs(1)),
            open,
            next: 0,
        }
    }

    /// The time of the next picture: some connections are seen with other queues by then.
    pub fn move_on(&mut self) {
        self.now = self.now.plus(FRAME);
        if self.open.is_empty() {
            return;
        }
        let changed = (0..MOVED).map(|step| {
            let place = (self.next + step) % self.open.len();
            let sample = &mut self.open[place];
            let unread = ((self.next + step) % 97) as u32;
            sample.queues = Queues::Stream {
                receive: unread,
                send: 0,
            };
            *sample
        });
        let poll = Poll {
            begun: self.now,
            look: Look::Whole,
            complete: true,
            first: false,
            appeared: Vec::new(),
            changed: changed.collect(),
            missing: Vec::new(),
        };
        self.next += MOVED;
        self.known.take(&said(self.now, Body::Poll(poll)));
        self.known.asks();
    }
}

/// A screen whose bytes go nowhere.
pub struct Screen {
    pub app: App,
    terminal: Terminal<CrosstermBackend<io::Sink>>,
}

impl Screen {
    pub fn new((width, height): (u16, u16)) -> Self {
        let options = TerminalOptions {
            viewport: Viewport::Fixed(Rect::new(0, 0, width, height)),
        };
        Self {
            app: App::new(Filter::default(), ColorMode::On, TimeZone::UTC),
            terminal: Terminal::with_options(CrosstermBackend::new(io::sink()), options).unwrap(),
        }
    }

    /// The same after these keys; `\n` is Enter, and there is a picture before and behind them.
    pub fn after(mut self, keys: &str, world: &World) -> Self {
        self.draw(world);
        for key in keys.chars() {
            self.press(key, world);
        }
        self.draw(world);
        self
    }

    pub fn press(&mut self, key: char, world: &World) {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            key => KeyCode::Char(key),
        };
        let key = Input::Key(KeyEvent::from(code));
        self.app.update(key, &world.known, world.now);
    }

    pub fn draw(&mut self, world: &World) {
        let (app, known) = (&mut self.app, &world.known);
        self.terminal
            .draw(|frame| draw(frame, app, known, world.now))
            .unwrap();
    }

    /// As when every cell is another one than before.
    pub fn draw_anew(&mut self, world: &World) {
        // What was drawn last is forgotten.
        self.terminal.swap_buffers();
        self.draw(world);
    }

    /// How many rows are in the list that fills the screen's upper part.
    pub fn rows(&mut self, world: &World) -> usize {
        let (app, known) = (&mut self.app, &world.known);
        let frame = self
            .terminal
            .draw(|frame| draw(frame, app, known, world.now))
            .unwrap();
        let buffer = frame.buffer;
        let line = |y: u16| -> String {
            let cells = (0..6).map(|x| buffer[(x, y)].symbol());
            cells.collect()
        };
        let lines = (0..buffer.area.height).map(line);
        let rows = lines.skip_while(|line| line != "     #").skip(1);
        rows.take_while(|line| line[1..].trim().parse::<u64>().is_ok())
            .count()
    }
}

/// Both ends of `number` connections to `port` that nobody has opened.
fn invented(like: &Sample, port: u16, number: usize) -> Vec<Sample> {
    let server = Endpoint::new(Ipv4Addr::LOCALHOST.into(), port);
    let ends = (0..number).flat_map(|index| {
        let [high, low] = ((index % (1 << 16)) as u16).to_be_bytes();
        let client = Endpoint::new(Ipv4Addr::new(127, 1, high, low).into(), 40_000);
        let tuple = FourTuple {
            local: client,
            remote: server,
        };
        [tuple, tuple.mirror()]
    });
    ends.zip(1..)
        .map(|(tuple, cookie)| {
            let mut sample = *like;
            sample.id.tuple = tuple;
            sample.id.cookie = Some(Cookie(cookie));
            sample
        })
        .collect()
}

fn like() -> Sample {
    let end = Endpoint::new([127, 0, 0, 1].into(), PORT);
    Sample {
        id: SockId {
            scope: Scope::default(),
            cookie: None,
            tuple: FourTuple {
                local: end,
                remote: end,
            },
        },
        state: TcpState::Established,
        queues: Queues::Stream {
            receive: 0,
            send: 0,
        },
        timer: None,
        retransmits: 0,
        inode: None,
        uid: Some(1000),
        shutdown: None,
        cgroup: None,
        multipath: false,
    }
}

fn held((sample, number): (&Sample, usize)) -> Observation {
    let place = number % NAMES.len();
    let program = Program {
        id: ProcessId {
            pid: 100 + place as u32,
            started: 1,
        },
        parent: Some(1),
        comm: Comm(*NAMES[place]),
        uid: Some(1000),
        user: Some("app".into()),
        cmdline: None,
    };
    let set = Holders {
        scope: Scope::default(),
        inode: sample.inode.unwrap(),
        begun: BEGIN,
        unchanged: None,
        holders: vec![Holder {
            program: Arc::new(program),
            fds: vec![3],
        }],
        ended: Vec::new(),
        seen: Seen::All,
    };
    let mut said = said(BEGIN, Body::Holders(set));
    said.source = SourceName::Holders;
    said
}

fn said(at: Timestamp, body: Body) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::SockDiag,
        body,
    }
}
