//! A socket whose lock is held by a process that sleeps: it waits for a page of its own memory in
//! the middle of recv(), which nobody brings until the test is over (userfaultfd).

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use std::io::Write;

use tcpwatch::model::{InfoAnswer, SockId};
use tcpwatch::source::clock;
use tcpwatch::source::info::{Inquiry, ask_once};

use crate::netns::in_fresh_netns;
use crate::sockets::{PATIENCE, Pair, port_of, server};
use crate::watcher::{Watcher, run};
use crate::{id_of, infos, look, samples};

const PAGE: usize = 4096;

/// A page that nobody has brought; whoever touches it sleeps until it is let go.
pub struct AbsentPage {
    at: usize,
    guard: Option<OwnedFd>,
}

/// `struct uffdio_api`, include/uapi/linux/userfaultfd.h
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;

impl AbsentPage {
    /// `None` where the kernel forbids it.
    #[allow(unsafe_code, reason = "userfaultfd has no safe form")]
    pub fn new() -> Option<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice, and ioctls with their structs.
        unsafe {
            let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as RawFd;
            if fd < 0 {
                eprintln!("skipped: no userfaultfd: {}", io::Error::last_os_error());
                return None;
            }
            let guard = OwnedFd::from_raw_fd(fd);
            let mut api = Api {
                api: 0xaa,
                features: 0,
                ioctls: 0,
            };
            assert_eq!(libc::ioctl(fd, UFFDIO_API as _, &raw mut api), 0);
            let at = libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(at, libc::MAP_FAILED);
            let mut register = Register {
                start: at as u64,
                len: PAGE as u64,
                mode: 1,
                ioctls: 0,
            };
            let registered = libc::ioctl(fd, UFFDIO_REGISTER as _, &raw mut register);
            assert_eq!(registered, 0, "{}", io::Error::last_os_error());
            Some(Self {
                at: at as usize,
                guard: Some(guard),
            })
        }
    }

    /// Receives into it, in a thread of its own, which sleeps with the socket's lock held.
    #[allow(unsafe_code, reason = "into memory that Rust must not touch")]
    pub fn receive(&self, stream: &TcpStream) -> JoinHandle<isize> {
        let (fd, at) = (stream.as_raw_fd(), self.at);
        let (tell, tid) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            // SAFETY: the page is ours and stays mapped to the end of the process.
            unsafe { libc::recv(fd, at as *mut libc::c_void, PAGE, 0) }
        });
        let stat = format!("/proc/self/task/{}/wchan", tid.recv().unwrap());
        let begun = clock::now();
        while std::fs::read_to_string(&stat).unwrap() != "handle_userfault" {
            assert!(clock::now().since(begun) < PATIENCE, "it does not sleep");
            thread::park_timeout(Duration::from_millis(1));
        }
        reader
    }

    /// Whoever sleeps wakes: the page comes from the kernel as any other.
    pub fn let_go(&mut self) {
        self.guard = None;
    }
}

const LIMIT: Duration = Duration::from_secs(4);

/// Many connections, of which these few don't answer; data waits at each server's end.
fn scene(many: usize) -> (Vec<Pair>, TcpListener) {
    let server = server();
    let mut pairs: Vec<Pair> = (0..many).map(|_| Pair::to(&server)).collect();
    for pair in &mut pairs {
        pair.client.as_mut().unwrap().write_all(b"hello").unwrap();
    }
    (pairs, server)
}

/// All ids with those of these pairs' servers in the middle, and those.
fn ids(pairs: &[Pair], stuck: &[usize], port: u16) -> (Vec<SockId>, Vec<SockId>) {
    let looked = look(&[port]);
    let blocked: Vec<SockId> = stuck
        .iter()
        .map(|&index| id_of(&looked, pairs[index].b, pairs[index].a))
        .collect();
    let mut all: Vec<SockId> = samples(&looked)
        .iter()
        .map(|sample| sample.id)
        .filter(|id| id.tuple.remote.port() != 0 && !blocked.contains(id))
        .collect();
    for (index, id) in blocked.iter().enumerate() {
        all.insert(20 * (index + 1), *id);
    }
    (all, blocked)
}

fn silent(told: &[tcpwatch::model::Observation]) -> Vec<SockId> {
    let is_silent = |info: &tcpwatch::model::Info| matches!(info.answer, InfoAnswer::Silent(_));
    infos(told)
        .into_iter()
        .filter(is_silent)
        .map(|info| info.id)
        .collect()
}

#[test]
fn one_that_does_not_answer_keeps_nobody_else_from_it() {
    in_fresh_netns("one_does_not_answer", || {
        let (pairs, server) = scene(150);
        let port = port_of(&server);
        let Some(mut page) = AbsentPage::new() else {
            return;
        };
        let reader = page.receive(pairs[70].server.as_ref().unwrap());
        let (all, blocked) = ids(&pairs, &[70], port);
        let begun = clock::now();
        let told = ask_once(&all, LIMIT).unwrap();
        let took = clock::now().since(begun);
        assert_eq!(told.len(), 300);
        assert_eq!(silent(&told), blocked);
        assert!(took >= LIMIT && took < LIMIT * 2, "{took:?}");
        page.let_go();
        assert_eq!(reader.join().unwrap(), 5);
        assert_eq!(silent(&ask_once(&blocked, LIMIT).unwrap()), []);
    });
}

#[test]
fn some_that_do_not_answer_are_all_told_apart() {
    in_fresh_netns("three_do_not_answer", || {
        let (pairs, server) = scene(100);
        let port = port_of(&server);
        let stuck = [10, 50, 90];
        let mut pages: Vec<AbsentPage> = stuck.iter().filter_map(|_| AbsentPage::new()).collect();
        if pages.len() < stuck.len() {
            return;
        }
        let readers: Vec<JoinHandle<isize>> = stuck
            .iter()
            .zip(&pages)
            .map(|(&index, page)| page.receive(pairs[index].server.as_ref().unwrap()))
            .collect();
        let (all, mut blocked) = ids(&pairs, &stuck, port);
        let mut inquiry = Inquiry::default();
        let told = inquiry.ask(&all, LIMIT).unwrap();
        assert_eq!(told.len(), 200);
        let mut quiet = silent(&told);
        quiet.sort();
        blocked.sort();
        assert_eq!(quiet, blocked);
        // Asked again they are waited for where they are waited for already, and answer when they can.
        assert_eq!(silent(&inquiry.ask(&blocked, LIMIT / 10).unwrap()).len(), 3);
        pages.iter_mut().for_each(AbsentPage::let_go);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 5);
        }
        assert_eq!(silent(&inquiry.ask(&all, LIMIT).unwrap()), []);
    });
}

/// A leaked socket that can't be asked is marked, and said once. Its neighbour is dated; and the end
/// comes at once, though a process of ours still waits for the lock.
#[test]
fn a_live_run_goes_on_beside_one_that_does_not_answer_and_ends_at_once() {
    in_fresh_netns("a_live_run_beside_the_stuck", || {
        let (mut pairs, server) = scene(2);
        let port = port_of(&server);
        for pair in &mut pairs {
            pair.shut_client();
            pair.server_enters("CLOSE_WAIT");
        }
        let Some(mut page) = AbsentPage::new() else {
            return;
        };
        let reader = page.receive(pairs[0].server.as_ref().unwrap());
        let port = port.to_string();
        let mut watcher = Watcher::on("sock-diag", &["--port", &port]);
        let marked = watcher.wait_for("the mark", |line| line["what"] == "no_answer");
        let blocked = watcher.sees_open(&pairs[0]);
        assert_eq!(
            (&marked["conn"], &marked["end"]),
            (&blocked["conn"], &"b".into())
        );
        let open = watcher.sees_open(&pairs[1]);
        watcher.wait_for("the other one's age", |line| {
            line["type"] == "age" && line["conn"] == open["conn"] && line["end"] == "b"
        });
        let begun = clock::now();
        let story = watcher.finish();
        let took = clock::now().since(begun);
        assert!(took < Duration::from_secs(5), "{took:?}");
        let marks = story
            .lines
            .iter()
            .filter(|line| line["what"] == "no_answer");
        assert_eq!(marks.count(), 1);
        page.let_go();
        assert_eq!(reader.join().unwrap(), 5);
    });
}

/// One look does not wait longer than it says.
#[test]
fn doctor_says_who_does_not_answer_and_ends() {
    in_fresh_netns("doctor_beside_the_stuck", || {
        let (mut pairs, server) = scene(2);
        let port = port_of(&server);
        for pair in &mut pairs {
            pair.shut_client();
            pair.server_enters("CLOSE_WAIT");
        }
        let Some(mut page) = AbsentPage::new() else {
            return;
        };
        let reader = page.receive(pairs[0].server.as_ref().unwrap());
        let begun = clock::now();
        let port = port.to_string();
        let output = run(&["doctor", "--port", &port, "--older-than", "0s"]);
        let took = clock::now().since(begun);
        assert!(took < Duration::from_secs(5), "{took:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1 socket did not answer"), "{output:?}");
        page.let_go();
        assert_eq!(reader.join().unwrap(), 5);
    });
}
