//! What following costs: the CPU share of the quick thread while it looks at both ends of one and
//! of a hundred connections a thousand times a second, and the cost of a lookup beside 200,000
//! other sockets against beside none. `cargo bench --bench follow`.
//!
//! Shares are of one core, of a thread's own CPU time, and come beside that of a thread that
//! sleeps and wakes as often, sends the same questions and throws the answers away unread: that
//! part is the machine's and its kernel's, and differs between machines by a factor of three. As root everything is in a network
//! namespace of its own. The trap: one process may not have 200,000 descriptors, so the others
//! are held by children, which are this program again.

#[path = "../house/crowd.rs"]
mod crowd;
#[path = "../../tests/common/netns.rs"]
#[allow(
    clippy::unwrap_used,
    unsafe_code,
    reason = "the tests' helper, which makes the namespace"
)]
mod netns;

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use crowd::Crowd;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use rustix::event::{Timespec, poll};
use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::model::{Ask, Body, Look, Observation, Sample, SockId, SourceState, TcpState};
use tcpwatch::source::quick::{Events, Quick, Wanted};
use tcpwatch::source::sock_diag::SockDiag;
use tcpwatch::source::sock_diag::follow::{Follower, Manner};
use tcpwatch::source::sock_diag::wire::lookup_request;
use tcpwatch::source::{Poller, Request, clock, host};

/// What a child is told to be.
const CHILD: &str = "hold-connections";
/// Sockets beside which a lookup is measured.
const OTHERS: usize = 200_000;
/// Sockets of one child: the descriptors that a process may have are some 20,000.
const OF_ONE_CHILD: usize = 18_000;
const TICK: Duration = Duration::from_millis(1);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == CHILD) {
        let pairs = arguments.get(place + 1).context("how many?")?.parse()?;
        return hold(pairs);
    }
    // `cargo test --all-targets` runs this too: briefly then, to see that it works.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let mut result = Ok(());
    let inside = netns::in_fresh_netns("bench", || result = measure(is_bench));
    if inside { result } else { measure(is_bench) }
}

fn measure(is_bench: bool) -> anyhow::Result<()> {
    let span = Duration::from_millis(if is_bench { 4000 } else { 200 });
    println!("CPU share of one core at 1 kHz, over {span:?}");
    println!("{:<30}{:>10}{:>10}{:>10}", "", "kernel", "follow", "ratio");
    for pairs in [0, 1, 10, 100] {
        let crowd = Crowd::open(pairs).context("open connections on loopback")?;
        let request = request(&crowd);
        let ends = ends(&request)?;
        anyhow::ensure!(ends.len() == 2 * pairs, "{} ends", ends.len());
        let floor = asker(&ends, span)?;
        let share = following(request, &ends, span)?;
        println!(
            "  both ends of {pairs:>3} connections{:>8.2} %{:>8.2} %{:>10.2}",
            floor * 100.0,
            share * 100.0,
            share / floor
        );
    }
    lookups(if is_bench { OTHERS } else { 100 })
}

fn request(crowd: &Crowd) -> Request {
    Request {
        filter: Filter {
            ports: PortSet::one(crowd.port),
            ..Filter::default()
        },
        scope: host::scope(),
        ..Request::default()
    }
}

/// The ends of a crowd.
fn ends(request: &Request) -> anyhow::Result<Vec<SockId>> {
    let mut told = Vec::new();
    SockDiag::open(request.clone())?.look(&mut told)?;
    let appeared = |told: Observation| match told.body {
        Body::Poll(poll) if poll.look == Look::Whole => poll.appeared,
        _ => Vec::new(),
    };
    let is_end = |sample: &Sample| sample.state == TcpState::Established;
    let samples = told.into_iter().flat_map(appeared).filter(is_end);
    Ok(samples.map(|sample| sample.id).collect())
}

/// CPU time of a thread of this process so far.
fn cpu_of(thread: rustix::thread::Pid) -> anyhow::Result<Duration> {
    let path = format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero());
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let nanos = text.split_whitespace().next().context("no figure")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// The share of a core that a thread uses in this time.
fn share_of(thread: rustix::thread::Pid, span: Duration) -> anyhow::Result<f64> {
    let (begun, before) = (clock::now(), cpu_of(thread)?);
    thread::park_timeout(span);
    let (cpu, wall) = (cpu_of(thread)? - before, clock::now().since(begun));
    Ok(cpu.as_secs_f64() / wall.as_secs_f64())
}

/// A thread that sleeps to the beat and sends what follow sends, receives the answers, and does
/// not look at them: what the machine and its kernel take.
fn asker(ends: &[SockId], span: Duration) -> anyhow::Result<f64> {
    let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    let datagrams: Vec<(usize, Vec<u8>)> = ends
        .chunks(64)
        .map(|ends| {
            let requests = ends
                .iter()
                .flat_map(|id| lookup_request(&id.tuple, id.cookie, 0, 1));
            (ends.len(), requests.collect())
        })
        .collect();
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    let (tell, told) = mpsc::channel();
    let asker = thread::spawn(move || -> anyhow::Result<()> {
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1000))?;
        tell.send(rustix::thread::gettid())?;
        let mut next = clock::now();
        let mut buffer = [0; 1024];
        while !end.load(Ordering::Relaxed) {
            next = next.plus(TICK);
            let left = next.since(clock::now());
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            };
            poll(&mut [], Some(&timeout))?;
            for (answers, datagram) in &datagrams {
                socket.send(datagram, 0)?;
                for _ in 0..*answers {
                    socket.recv(&mut &mut buffer[..], 0)?;
                }
            }
        }
        Ok(())
    });
    let share = share_of(told.recv()?, span);
    ended.store(true, Ordering::Relaxed);
    asker.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
    share
}

/// The quick thread with these ends, which may move.
fn following(request: Request, ends: &[SockId], span: Duration) -> anyhow::Result<f64> {
    let asks: Vec<Ask> = ends.iter().copied().map(Ask::Follow).collect();
    // What is measured is what it takes, not how it is limited.
    let wanted = Wanted {
        budget: 1.0,
        events: Events::Off("they make following unnecessary"),
        ..Wanted::default()
    };
    let mut opening = Vec::new();
    let (quick, asker) = Quick::open(request, wanted, &mut None, &mut opening)?;
    let (tell, told) = mpsc::channel();
    let quick = thread::spawn(move || {
        let _ = tell.send(rustix::thread::gettid());
        quick.run(|batch| {
            for told in batch.observations {
                if let Body::Source(SourceState::Running { why: Some(why), .. }) = told.body {
                    println!("  (limited: {why})");
                }
            }
            true
        })
    });
    asker.send(&asks);
    // The first looks are over.
    thread::park_timeout(span / 10);
    let share = share_of(told.recv()?, span);
    drop(asker);
    quick.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
    share
}

/// A lookup's cost beside few and beside many other sockets.
fn lookups(others: usize) -> anyhow::Result<()> {
    let crowd = Crowd::open(32).context("open connections on loopback")?;
    let request = request(&crowd);
    let manner = Manner {
        rate: 1000,
        discover: Duration::from_millis(100),
        events: false,
    };
    let mut follower = Follower::open(&request, manner)?;
    for id in ends(&request)? {
        follower.follow(id);
    }
    let mut lonely = Vec::new();
    let mut crowded = Vec::new();
    for _ in 0..3 {
        lonely.push(cost(&mut follower)?);
        let children = Children::start(others)?;
        crowded.push(cost(&mut follower)?);
        drop(children);
    }
    let (lonely, crowded) = (median(lonely), median(crowded));
    println!("CPU time of a lookup, 64 in one send, as follow makes them");
    println!("  beside no other sockets{lonely:>28.1} ns");
    println!("  beside {others:>6} others{crowded:>30.1} ns");
    println!("  ratio{:>46.2}", crowded / lonely);
    Ok(())
}

fn cost(follower: &mut Follower) -> anyhow::Result<f64> {
    const ROUNDS: usize = 2000;
    let mut out = Vec::new();
    let mut costs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (cpu, made) = (clock::thread_cpu(), follower.made());
        follower.look_at_all(&mut out)?;
        let cpu = clock::thread_cpu().saturating_sub(cpu);
        costs.push(cpu.as_nanos() as f64 / (follower.made() - made).max(1) as f64);
    }
    Ok(median(costs))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processes that hold connections.
struct Children(Vec<Child>);

impl Children {
    fn start(sockets: usize) -> anyhow::Result<Self> {
        let mut children = Self(Vec::new());
        let mut left = sockets;
        while left > 0 {
            let own = left.min(OF_ONE_CHILD);
            left -= own;
            let child = Command::new(std::env::current_exe()?)
                .args([CHILD, &own.div_ceil(2).to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("start a process to hold connections")?;
            children.0.push(child);
        }
        for child in &mut children.0 {
            let ready = child.stdout.as_mut().context("no pipe")?;
            ready
                .read_exact(&mut [0])
                .context("a process could not open its connections")?;
        }
        Ok(children)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Their standard input ends, and so do they.
            drop(child.stdin.take());
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// Holds connections until nobody needs them.
fn hold(pairs: usize) -> anyhow::Result<()> {
    let affordable = crowd::affordable(pairs);
    anyhow::ensure!(affordable == pairs, "only {affordable} connections");
    let crowd = Crowd::open(pairs)?;
    anyhow::ensure!(crowd.len() == 2 * pairs, "only {} sockets", crowd.len());
    let mut out = std::io::stdout();
    out.write_all(b".")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
