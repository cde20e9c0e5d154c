//! One census: who is in the set, and how.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tcpwatch::model::{Body, Holders, Scope, Seen};
use tcpwatch::source::holders::census;

use crate::holding::{Shell, alone, copy, inode, pids_of};
use crate::watcher::NOBODY;

pub fn socket() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn sets(inodes: &[u32]) -> Vec<Holders> {
    let all = census(inodes, Scope::default(), true).into_iter();
    all.filter_map(|told| match told.body {
        Body::Holders(set) => Some(set),
        _ => None,
    })
    .collect()
}

fn set(socket: &impl AsFd) -> Holders {
    sets(&[inode(socket)]).remove(0)
}

#[test]
fn one_process_with_several_descriptors() {
    let _alone = alone();
    let socket = socket();
    let mut shell = Shell::holding(&socket);
    shell.does("exec 5>&2 7>&2");
    let set = set(&socket);
    assert_eq!(pids_of(&set), sorted([std::process::id(), shell.pid()]));
    let is_shell = |holder: &&tcpwatch::model::Holder| holder.program.id.pid == shell.pid();
    let holder = set.holders.iter().find(is_shell).unwrap();
    assert_eq!(holder.fds, [2, 5, 7]);
    let program = &holder.program;
    assert_eq!(program.comm.text(), "sh");
    assert_eq!(program.parent, Some(std::process::id()));
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(program.uid, Some(me));
    let cmdline = program.cmdline.as_deref().unwrap();
    assert!(
        cmdline.starts_with("/bin/sh -c while read line;"),
        "{cmdline}"
    );
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", shell.pid())).unwrap();
    let started = stat.split_whitespace().nth(21).unwrap();
    assert_eq!(program.id.started.to_string(), started);
}

fn sorted<const N: usize>(mut pids: [u32; N]) -> [u32; N] {
    pids.sort_unstable();
    pids
}

#[test]
fn every_inode_is_answered_for_once_and_nobody_is_an_answer() {
    let _alone = alone();
    let (one, other) = (socket(), socket());
    let (one, other) = (inode(&one), inode(&other));
    // Nobody has that one: inodes of sockets are not given that high so soon.
    let sets = sets(&[other, u32::MAX, one, other]);
    let inodes: Vec<u32> = sets.iter().map(|set| set.inode).collect();
    assert_eq!(inodes, sorted([one, other, u32::MAX]));
    assert_eq!(sets[2].holders, []);
    assert_eq!(pids_of(&sets[0]), [std::process::id()]);
}

#[test]
fn forty_children_hold_it_too() {
    let _alone = alone();
    let socket = socket();
    let mut shell = Shell::holding(&socket);
    shell.does("i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done");
    let set = set(&socket);
    assert_eq!(set.holders.len(), 42, "{:?}", pids_of(&set));
    let of_shell = |holder: &&tcpwatch::model::Holder| holder.program.parent == Some(shell.pid());
    assert_eq!(set.holders.iter().filter(of_shell).count(), 40);
    assert!(pids_of(&set).is_sorted());
}

/// Sends a descriptor over a UNIX socket.
pub fn sends(through: &OwnedFd, fd: &impl AsFd) {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    assert!(message.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(
        through,
        &[IoSlice::new(b"x")],
        &mut message,
        SendFlags::empty(),
    )
    .unwrap();
}

/// Receives one.
pub fn receives(from: &OwnedFd) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut message, flags).unwrap();
    let received = message.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.unwrap()
}

pub fn unix_pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
}

#[test]
fn nobody_shows_what_is_in_flight() {
    let _alone = alone();
    let socket = socket();
    let number = inode(&socket);
    let (out, into) = unix_pair();
    sends(&out, &socket);
    drop(socket);
    let in_flight = sets(&[number]).remove(0);
    assert_eq!(in_flight.holders, []);
    // Whoever runs these tests as root may look everywhere.
    let is_root = rustix::process::geteuid().is_root();
    assert!(!is_root || in_flight.seen == Seen::All, "{in_flight:?}");
    let received = receives(&into);
    assert_eq!(inode(&received), number);
    assert_eq!(pids_of(&set(&received)), [std::process::id()]);
}

#[test]
fn processes_that_come_and_go_are_no_trouble() {
    let _alone = alone();
    let socket = socket();
    let shell = Shell::holding(&socket);
    let wanted = [std::process::id(), shell.pid()];
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                Command::new("/bin/true").status().unwrap();
            }
        });
        for _ in 0..30 {
            let set = set(&socket);
            // One that is being started has a copy until it is another program.
            let missing = wanted.iter().find(|pid| !pids_of(&set).contains(pid));
            assert_eq!(missing, None, "{set:?}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_user_is_named_and_a_process_may_be_called_anything() {
    use std::os::unix::ffi::OsStrExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let _alone = alone();
    let socket = socket();
    let folder = std::env::temp_dir().join(format!("tcpwatch-name-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"a)\n\x1b[31m\xff b");
    let program = folder.join(name);
    std::fs::copy("/bin/sh", &program).unwrap();
    let shell = Shell::of(Command::new(&program), &socket);
    let as_nobody = {
        let mut command = Command::new("/bin/sh");
        command.uid(NOBODY).gid(NOBODY);
        Shell::of(command, &copy(&socket))
    };
    let set = set(&socket);
    std::fs::remove_dir_all(&folder).unwrap();
    let of = |pid: u32| {
        set.holders
            .iter()
            .find(|h| h.program.id.pid == pid)
            .unwrap()
    };
    let odd = &of(shell.pid()).program;
    assert_eq!(&odd.comm.0[..name.len()], name.as_bytes());
    assert!(
        odd.cmdline
            .as_deref()
            .unwrap()
            .contains("a)\n\u{1b}[31m\u{fffd} b -c")
    );
    assert_eq!(of(as_nobody.pid()).program.uid, Some(NOBODY));
    assert_eq!(of(as_nobody.pid()).program.user.as_deref(), Some("nobody"));
}
