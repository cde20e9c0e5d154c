//! What watching costs, measured beside what the kernel itself spends on the same sockets:
//! `cargo bench`. Needs no root; all its connections are on loopback.
//!
//! Every figure stands in one run with the one it is compared with, and the ratio is the figure:
//! nanoseconds are the machine's, ratios travel. Nothing here fails on a figure. The trap: what
//! other programs have open is in every dump as well, so a quiet machine gives the better table.

mod count;
mod crowd;
mod kernel;
mod rounds;
mod story;

use std::hint::black_box;

use anyhow::Context;
use crowd::Crowd;
use jiff::tz::TimeZone;
use kernel::{Kernel, SEQUENCE};
use rounds::{Contender, take};
use story::Story;
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{Cookie, Look, Observation, Sample, Scope, SourceName, TcpState, Timestamp};
use tcpwatch::source::proc_net::parse;
use tcpwatch::source::sock_diag::{SockDiag, wire};
use tcpwatch::source::table::{Seen, Table};
use tcpwatch::source::{Poller, Request, clock};
use tcpwatch::timeline::Tracker;
use tcpwatch::view::json;
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::text::Lines;
use tcpwatch::view::wall::WallClock;

/// Connections among which the rest is measured.
const MANY: usize = 5000;
/// Connections that a filter lets through.
const FEW: usize = 5;

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` runs this too: a few sockets then, to see that it works.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (pairs, rounds) = if is_bench { (MANY, 41) } else { (20, 1) };
    let pairs = crowd::affordable(pairs + FEW).saturating_sub(FEW);
    let many = Crowd::open(pairs).context("open connections on loopback")?;
    let few = Crowd::open(FEW).context("open connections on loopback")?;
    let recording = Recording::make(&many)?;
    println!(
        "{} sockets of our own, {} in a dump of all; CPU time; {rounds} rounds",
        many.len() + few.len(),
        recording.rows,
    );
    print!("{}", sources(&recording, rounds)?);
    print!("{}", looks(&few, recording.rows, rounds)?);
    print!("{}", tracker(&recording, rounds)?);
    print!("{}", lines(&recording, rounds)?);
    Ok(())
}

/// What the kernel said, once.
struct Recording {
    datagrams: Vec<Vec<u8>>,
    text: Vec<u8>,
    rows: usize,
    /// The rows of the crowd.
    samples: Vec<Sample>,
    port: u16,
    at: Timestamp,
}

impl Recording {
    fn make(crowd: &Crowd) -> anyhow::Result<Self> {
        let mut datagrams = Vec::new();
        Kernel::open()?.dump(|datagram| datagrams.push(datagram.to_vec()))?;
        let mut recording = Self {
            datagrams,
            text: Vec::new(),
            rows: 0,
            samples: Vec::new(),
            port: crowd.port,
            at: clock::now(),
        };
        kernel::read_proc(&mut recording.text)?;
        let mut rows = Vec::new();
        recording.decode(|row| rows.push(row.sample));
        recording.rows = rows.len();
        rows.retain(|sample| {
            let tuple = &sample.id.tuple;
            sample.state == TcpState::Established
                && (tuple.local.port() == crowd.port || tuple.remote.port() == crowd.port)
        });
        recording.samples = rows;
        Ok(recording)
    }

    /// Decodes all of it.
    fn decode(&self, mut row: impl FnMut(&wire::Row)) {
        for datagram in &self.datagrams {
            let read = wire::read_dump(
                datagram,
                SEQUENCE,
                Scope::default(),
                self.at,
                "recorded dump",
                &mut row,
            );
            let _ = black_box(read);
        }
    }
}

const DUMP: &str = "kernel: dump, received and not decoded";
const READ: &str = "kernel: read of /proc/net/tcp";

/// What everything else is compared with.
fn kernel_dump(kernel: &mut Kernel, rows: usize) -> Contender<'_> {
    Contender::new(DUMP, None, move || {
        take(rows, || {
            let read = kernel.dump(|datagram| {
                black_box(datagram);
            });
            let _ = black_box(read);
        })
    })
}

/// A look's cost for every socket that has not changed.
fn sources(recording: &Recording, rounds: usize) -> anyhow::Result<String> {
    let rows = recording.rows;
    let text_rows = recording.text.split(|&byte| byte == b'\n').count() - 2;
    let mut kernel = Kernel::open()?;
    let mut text = Vec::with_capacity(2 * recording.text.len());
    let mut table: Table<Cookie> = Table::new(SourceName::SockDiag);
    let mut out: Vec<Observation> = Vec::with_capacity(16);
    let contenders = vec![
        kernel_dump(&mut kernel, rows),
        Contender::new("decode", Some(DUMP), || {
            take(rows, || {
                recording.decode(|row| {
                    black_box(row);
                });
            })
        }),
        Contender::new(
            "decode and compare with the look before",
            Some(DUMP),
            || {
                out.clear();
                let (since, at) = (recording.at, recording.at);
                let seen = Seen { since, at };
                take(rows, || {
                    table.begin();
                    recording.decode(|row| {
                        if let Some(cookie) = row.sample.id.cookie {
                            table.row(cookie, &row.sample, row.device, seen);
                        }
                    });
                    let (begun, at) = (recording.at, recording.at);
                    table.finish(Look::Whole, begun, at, true, &mut out);
                })
            },
        ),
        Contender::new(READ, None, || {
            take(text_rows, || {
                let _ = black_box(kernel::read_proc(&mut text));
            })
        }),
        Contender::new("parse of its rows", Some(READ), || {
            take(text_rows, || {
                let (scope, at) = (Scope::default(), recording.at);
                parse::parse_table(&recording.text, parse::Table::Tcp4, scope, at, |sample| {
                    black_box(&sample);
                });
            })
        }),
    ];
    Ok(rounds::run(
        "an unchanged socket",
        "a socket",
        rounds,
        contenders,
    ))
}

const ALL: &str = "all of them";

/// A whole look, with and without a filter that the kernel evaluates.
fn looks(few: &Crowd, rows: usize, rounds: usize) -> anyhow::Result<String> {
    let filter = Filter {
        ports: PortSet::one(few.port),
        ..Filter::default()
    };
    let request = |filter| Request {
        filter,
        scope: Scope::default(),
        ..Request::default()
    };
    let mut all = SockDiag::open(request(Filter::default()))?;
    let mut matching = SockDiag::open(request(filter))?;
    let mut out = Vec::with_capacity(64);
    let mut look = |source: &mut SockDiag| {
        out.clear();
        take(1, || {
            let _ = black_box(source.look(&mut out));
        })
    };
    let look = std::cell::RefCell::new(&mut look);
    let contenders = vec![
        Contender::new(ALL, None, || (look.borrow_mut())(&mut all)),
        Contender::new(
            "those of one port, 10 sockets and a listener",
            Some(ALL),
            || (look.borrow_mut())(&mut matching),
        ),
    ];
    let title = format!("a whole look, {rows} sockets in the table");
    Ok(rounds::run(&title, "a look", rounds, contenders))
}

/// What follows from a change.
fn tracker(recording: &Recording, rounds: usize) -> anyhow::Result<String> {
    let mut kernel = Kernel::open()?;
    let story = Story::of(&recording.samples, recording.port, recording.at);
    let (ends, half) = (story.ends, story.ends / 2);
    let mut tracker = Tracker::default();
    let before = count::live_bytes();
    let tracker = std::cell::RefCell::new(&mut tracker);
    let tell = |observations: &[Observation], samples: usize| {
        let mut tracker = tracker.borrow_mut();
        take(samples, || {
            for observation in observations {
                tracker.ingest(observation);
                black_box(tracker.changes().count());
                black_box(tracker.asks().count());
            }
        })
    };
    let contenders = vec![
        kernel_dump(&mut kernel, recording.rows),
        Contender::new("first sight, ESTABLISHED", Some(DUMP), || {
            **tracker.borrow_mut() = Tracker::default();
            tell(&story.found, ends)
        }),
        Contender::new("to FIN_WAIT2, to CLOSE_WAIT", Some(DUMP), || {
            tell(&story.half_closed, ends)
        }),
        Contender::new(
            "to TIME_WAIT, and the other end missing",
            Some(DUMP),
            || tell(&story.closed, ends),
        ),
        Contender::new("looked up and gone", Some(DUMP), || {
            tell(&story.confirmed, half)
        }),
    ];
    let mut text = rounds::run("a changed socket", "a sample", rounds, contenders);
    let bytes = count::live_bytes() - before;
    text.push_str(&format!(
        "  memory of a closed connection, both ends: {} bytes\n",
        bytes / half.max(1) as u64
    ));
    Ok(text)
}

const AS_TEXT: &str = "text";

/// What live output costs, into memory.
fn lines(recording: &Recording, rounds: usize) -> anyhow::Result<String> {
    let story = Story::of(&recording.samples, recording.port, recording.at);
    let mut tracker = Tracker::default();
    let mut changes = Vec::new();
    for observation in story.found.iter().chain(&story.half_closed) {
        tracker.ingest(observation);
        changes.extend(tracker.changes());
    }
    let changes: Vec<_> = changes
        .iter()
        .filter_map(|change| Some((change, tracker.get(change.conn())?)))
        .collect();
    let mut out = Vec::with_capacity(1024);
    let text = Lines {
        clock: WallClock::new(TimeZone::UTC),
        color: ColorMode::Off,
    };
    let contenders = vec![
        Contender::new(AS_TEXT, None, || {
            take(changes.len(), || {
                for (change, connection) in &changes {
                    black_box(text.change(change, connection));
                }
            })
        }),
        Contender::new("JSON", Some(AS_TEXT), || {
            take(changes.len(), || {
                for (change, connection) in &changes {
                    out.clear();
                    let _ = black_box(json::write_change(&mut out, change, connection));
                }
            })
        }),
    ];
    Ok(rounds::run("live output", "a line", rounds, contenders))
}
