//! The thread that watches: what changes is said, with bounds that hold it.

use std::time::Duration;

use tcpwatch::model::Ask;

use crate::holding::{Shell, Watching, alone, inode, pids_of};
use crate::sets::{receives, sends, socket, unix_pair};
use crate::sockets::{Between, now_ns, stamped};

fn me() -> u32 {
    std::process::id()
}

/// A machine that does much else lets a thread wait; on a quiet one it is a tenth of a second.
const NARROW: Duration = Duration::from_secs(5);

/// What changed the set lies within the bounds that were told, which are narrow.
fn lies_within(call: &Between, at: u64, set: &tcpwatch::model::Holders) {
    let unchanged = set.unchanged.unwrap().nanos();
    assert!(
        unchanged <= call.latest && call.earliest <= at,
        "{call:?} {set:?}"
    );
    assert!(
        at - unchanged < NARROW.as_nanos() as u64,
        "{}",
        at - unchanged
    );
}

#[test]
fn a_copy_that_is_closed_is_missed_within_bounds() {
    let _alone = alone();
    let socket = socket();
    let mut shell = Shell::holding(&socket);
    let mut watching = Watching::over(&socket);
    let (first, ..) = watching.sees_pids(0, &[me(), shell.pid()]);
    let (call, ()) = stamped(|| shell.does("exec 2>&-"));
    let (_, at, set) = watching.sees_pids(first + 1, &[me()]);
    lies_within(&call, at, &set);
    assert_eq!(set.ended, []);
}

#[test]
fn a_fork_is_seen_and_its_end_is_no_close() {
    let _alone = alone();
    let socket = socket();
    let mut shell = Shell::holding(&socket);
    let mut watching = Watching::over(&socket);
    let (first, ..) = watching.sees_pids(0, &[me(), shell.pid()]);
    let (call, ()) = stamped(|| shell.does("sleep 1000 & child=$!"));
    let (second, at, set) = watching.sees(first + 1, "a child", |set| set.holders.len() == 3);
    lies_within(&call, at, &set);
    let of_shell = |h: &&tcpwatch::model::Holder| h.program.parent == Some(shell.pid());
    let child = set.holders.iter().find(of_shell).unwrap().program.id;
    shell.does("kill -9 $child; wait");
    let (_, _, set) = watching.sees_pids(second + 1, &[me(), shell.pid()]);
    assert_eq!(set.ended, [child]);
}

#[test]
fn a_child_that_is_forked_at_once_does_not_hide_its_parent() {
    let _alone = alone();
    let kept = socket();
    let mut watching = Watching::over(&kept);
    watching.sees_pids(0, &[me()]);
    for _ in 0..20 {
        let socket = socket();
        let mut shell = Shell::holding(&socket);
        // The thread takes it for an old one.
        let from = watching.sets.len();
        watching.ask(Ask::Keyframe);
        watching.sees(from, "the kept one", |set| set.inode == inode(&kept));
        let (from, number, held) = (watching.sets.len(), inode(&socket), now_ns());
        drop(socket);
        shell.does("sleep 1000 &");
        watching.ask(Ask::Holders(number));
        let is_it = |set: &tcpwatch::model::Holders| set.inode == number;
        let (first, at, set) = watching.sees(from, "it", is_it);
        if set.holders.len() == 2 {
            continue;
        }
        let (_, later, set) = watching.sees(first + 1, "both", |set| {
            is_it(set) && set.holders.len() == 2
        });
        let since = set.unchanged.map_or(0, |since| since.nanos());
        let child = shell.pid();
        assert!(later - at < NARROW.as_nanos() as u64, "{set:?} of {child}");
        assert!(since <= held, "both held it before: {set:?}");
    }
}

#[test]
fn whoever_is_killed_has_ended_also_as_a_zombie() {
    let _alone = alone();
    let socket = socket();
    let (mut one, mut other) = (Shell::holding(&socket), Shell::holding(&socket));
    let mut watching = Watching::over(&socket);
    let (first, _, set) = watching.sees_pids(0, &[me(), one.pid(), other.pid()]);
    let id = |pid: u32| {
        let holder = set.holders.iter().find(|h| h.program.id.pid == pid);
        holder.unwrap().program.id
    };
    one.becomes_a_zombie();
    let (second, _, set) = watching.sees_pids(first + 1, &[me(), other.pid()]);
    assert_eq!(set.ended, [id(one.pid())]);
    other.is_killed();
    let (_, _, set) = watching.sees_pids(second + 1, &[me()]);
    assert_eq!(set.ended, [id(other.pid())]);
}

#[test]
fn a_program_that_becomes_another_keeps_it_under_its_new_name() {
    let _alone = alone();
    let socket = socket();
    let mut shell = Shell::holding(&socket);
    let mut watching = Watching::over(&socket);
    let (first, _, before) = watching.sees_pids(0, &[me(), shell.pid()]);
    shell.starts("exec sleep 1000");
    let (_, _, after) = watching.sees(first + 1, "sleep", |set| {
        set.holders.iter().any(|h| h.program.comm.text() == "sleep")
    });
    assert_eq!(pids_of(&before), pids_of(&after));
    let ids = |set: &tcpwatch::model::Holders| -> Vec<_> {
        set.holders.iter().map(|holder| holder.program.id).collect()
    };
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(after.ended, []);
}

#[test]
fn what_is_in_flight_is_nobodys_until_it_arrives() {
    let _alone = alone();
    let socket = socket();
    let mut watching = Watching::over(&socket);
    let (first, ..) = watching.sees_pids(0, &[me()]);
    let (out, into) = unix_pair();
    sends(&out, &socket);
    let before = now_ns();
    drop(socket);
    let (second, at, set) = watching.sees_pids(first + 1, &[]);
    assert!(set.unchanged.unwrap().nanos() <= now_ns() && before <= at);
    assert_eq!(set.ended, []);
    let received = receives(&into);
    watching.sees_pids(second + 1, &[me()]);
    drop(received);
}

#[test]
fn a_new_socket_of_a_known_process_is_found_at_once() {
    let _alone = alone();
    let listener = socket();
    let mut watching = Watching::over(&listener);
    watching.sees_pids(0, &[me()]);
    for _ in 0..5 {
        let socket = socket();
        let (from, asked) = (watching.sets.len(), now_ns());
        watching.ask(Ask::Holders(inode(&socket)));
        let (_, at, _) = watching.sees(from, "the new one", |set| set.inode == inode(&socket));
        assert!(at - asked < NARROW.as_nanos() as u64, "{}", at - asked);
        watching.ask(Ask::NoHolders(inode(&socket)));
    }
}

#[test]
fn who_joins_is_told_all_again() {
    let _alone = alone();
    let (one, other) = (socket(), socket());
    let mut watching = Watching::over(&one);
    watching.ask(Ask::Holders(inode(&other)));
    watching.sees(0, "one", |set| set.inode == inode(&one));
    watching.sees(0, "the other", |set| set.inode == inode(&other));
    let from = watching.sets.len();
    watching.ask(Ask::Keyframe);
    for socket in [&one, &other] {
        let (_, _, set) = watching.sees(from, "it again", |set| set.inode == inode(socket));
        assert_eq!(pids_of(&set), [me()]);
        assert_eq!(set.unchanged, None);
    }
}

#[test]
fn a_socket_closed_before_anybody_looked_is_not_said_to_be_nobodys() {
    let _alone = alone();
    let kept = socket();
    let mut watching = Watching::over(&kept);
    watching.sees_pids(0, &[me()]);
    let gone = socket();
    let number = inode(&gone);
    drop(gone);
    watching.ask(Ask::Holders(number));
    watching.ask(Ask::NoHolders(number));
    // A round later nothing was said of it.
    let from = watching.sets.len();
    watching.ask(Ask::Keyframe);
    watching.sees(from, "the kept one again", |set| set.inode == inode(&kept));
    assert!(watching.sets.iter().all(|(_, set)| set.inode != number));
}
