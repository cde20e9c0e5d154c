//! A healthy server under load: many styles of closing at once, none of which may be spoken of.
//!
//! What was watched is recorded, and judged a second time with thresholds as low as they may be.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use tcpwatch::diagnosis::{Known, Settings};
use tcpwatch::record::{Item, Reader};
use tcpwatch::timeline::Tracker;

use crate::sockets::{Pair, server_with_backlog, while_nobody_closes};
use crate::story::describe;
use crate::watcher::Watcher;
use crate::{findings, in_both_ways};

/// How long the load lasts.
const LASTS: Duration = Duration::from_secs(6);

/// The lowest thresholds at which a healthy server on a busy machine is still left in peace.
const LOW: Settings = Settings {
    older_than: Duration::from_secs(5),
    half_close: Duration::from_secs(10),
    unanswered: Duration::from_millis(2500),
    window_shut: Duration::from_secs(2),
    handover: Duration::from_millis(500),
    half_open: Duration::from_secs(2),
    listener_full: Duration::from_millis(100),
    time_wait_percent: 40,
    ports_percent: 50,
};

/// Somebody who answers.
struct Service {
    addr: SocketAddr,
    /// Nobody asks any more.
    is_done: Arc<AtomicBool>,
}

struct Load<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    over: Arc<AtomicBool>,
}

impl<'s, 'e> Load<'s, 'e> {
    /// Answers each connection, one after the other.
    fn serves(&self, mut answer: impl FnMut(TcpStream) + Send + 'e) -> Service
    where
        'e: 's,
    {
        let server: TcpListener = server_with_backlog(1024);
        let service = Service {
            addr: server.local_addr().unwrap(),
            is_done: Arc::default(),
        };
        let is_done = Arc::clone(&service.is_done);
        self.scope.spawn(move || {
            for stream in server.incoming() {
                if is_done.load(Ordering::Relaxed) {
                    return;
                }
                answer(stream.unwrap());
            }
        });
        service
    }

    /// Connects again and again, this often a second at most.
    fn asks(&self, service: Service, a_second: u32, ask: impl Fn(TcpStream) + Send + 'e) {
        let over = Arc::clone(&self.over);
        let addr = service.addr;
        self.scope.spawn(move || {
            let begun = Instant::now();
            for number in 0_u32.. {
                if over.load(Ordering::Relaxed) {
                    // One more wakes whoever accepts.
                    service.is_done.store(true, Ordering::Relaxed);
                    drop(TcpStream::connect(addr).unwrap());
                    return;
                }
                ask(TcpStream::connect(addr).unwrap());
                let due = Duration::from_secs(1) * number / a_second;
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        });
    }
}

fn all_of_it(load: &Load<'_, '_>) {
    // The server closes first, as HTTP/1.0 does.
    let closes_first = load.serves(|mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(b"answer").unwrap();
    });
    load.asks(closes_first, 500, |mut stream| {
        stream.write_all(b"what").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    // The client closes first.
    let closes_last = load.serves(|mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(b"answer").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    load.asks(closes_last, 500, |mut stream| {
        stream.write_all(b"what").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
    });
    // A half-close that is answered.
    let answers_at_the_end = load.serves(|mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(&[7; 10_000]).unwrap();
    });
    load.asks(answers_at_the_end, 30, |mut stream| {
        stream.write_all(b"what").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    // A client that waits in vain and closes; the server sees that and closes too.
    let is_slow = load.serves(|mut stream| {
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    load.asks(is_slow, 20, |mut stream| {
        let patience = Duration::from_millis(30);
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(b"what").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap_err();
    });
    // A process for each connection: the parent closes its copy at once.
    let forks = load.serves(|stream| {
        let copy = stream.try_clone().unwrap();
        let mut command = Command::new("cat");
        command
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(copy)));
        let mut child = while_nobody_closes(|| command.spawn()).unwrap();
        drop(command);
        thread::spawn(move || child.wait().unwrap());
    });
    load.asks(forks, 10, |mut stream| {
        stream.write_all(b"echo").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        thread::sleep(Duration::from_millis(50));
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    // A reader that is slower than its writer.
    let sends_much = load.serves(|mut stream| {
        stream.write_all(&vec![7; 4_000_000]).unwrap();
    });
    load.asks(sends_much, 2, |mut stream| {
        let mut part = vec![0; 200_000];
        while stream.read(&mut part).unwrap() > 0 {
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// A file that goes with the test.
struct Recording(PathBuf);

impl Recording {
    fn new(way: &str) -> Self {
        let name = format!("tcpwatch-healthy-{way}-{}.jsonl", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Left over from a process of the same number that was killed, if at all.
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_healthy_server_is_left_in_peace() {
    in_both_ways("a healthy server", |way| {
        let recording = Recording::new(way);
        let path = recording.0.to_str().unwrap().to_owned();
        // Kept alive and idle for as long as it lasts.
        let server = server_with_backlog(1024);
        let addr = server.local_addr().unwrap();
        let idle: Vec<TcpStream> = (0..50)
            .flat_map(|_| {
                [
                    TcpStream::connect(addr).unwrap(),
                    server.accept().unwrap().0,
                ]
            })
            .collect();
        let mut watcher = Watcher::on(way, &["--record", &path, "--interval", "100ms"]);
        let over = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let load = Load {
                scope,
                over: Arc::clone(&over),
            };
            all_of_it(&load);
            thread::sleep(LASTS);
            over.store(true, Ordering::Relaxed);
        });
        drop(idle);
        // All that was before has been told when the last one is.
        let mut last = Pair::to(&server);
        last.close_client();
        last.close_server();
        watcher.sees_closed(&last);
        let story = watcher.finish_with_losses();
        let found: Vec<String> = findings(&story.lines).collect();
        let about: Vec<_> = story
            .lines
            .iter()
            .filter(|line| line["type"] == "finding")
            .cloned()
            .collect();
        assert!(found.is_empty(), "{way}:\n{}", describe(&about));
        let closed = story.all("closed").count();
        assert!(closed > 1000, "{way}: too little happened: {closed}");
        judged_again(&recording.0, way);
    });
}

fn judged_again(file: &Path, way: &str) {
    let mut reader = Reader::open(Arc::new(File::open(file).unwrap()), 0).unwrap();
    let mut known = Known::new(Tracker::default(), LOW);
    let mut seen = 0;
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Observation(observation) = item {
            known.take(&observation);
            known.asks();
            seen += 1;
        }
    }
    assert!(seen > 1000, "{way}: {seen} observations");
    let found: Vec<String> = known
        .diagnosis
        .findings()
        .map(|finding| format!("{finding:#?}\n"))
        .collect();
    assert!(
        found.is_empty(),
        "{way}, judged severely:\n{}",
        found.concat()
    );
}
