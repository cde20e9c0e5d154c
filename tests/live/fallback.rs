//! Where a sandbox forbids netlink, /proc takes over by itself and the program says so, with the
//! reason; a source that the user named is not replaced.
//!
//! The sandbox is real: a seccomp filter that the program is started under, which needs no root.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::sockets::{Pair, server, while_nobody_closes};
use crate::watcher::{PROGRAM, program};

// include/uapi/linux/bpf_common.h and seccomp.h
const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const WITH_ERRNO: u32 = 0x0005_0000;
const ALLOWED: u32 = 0x7fff_0000;
/// Where `struct seccomp_data` has the system call, and the low half of its first argument.
const CALL: u32 = 0;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") {
    16
} else {
    20
};

/// A filter under which `socket(AF_NETLINK, ..)` fails with this errno and all else works.
fn no_netlink(errno: i32) -> Vec<libc::sock_filter> {
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    vec![
        op(LOAD, 0, 0, CALL),
        op(EQUAL, 0, 3, u32::try_from(libc::SYS_socket).unwrap()),
        op(LOAD, 0, 0, FIRST_ARGUMENT),
        op(EQUAL, 0, 1, u32::try_from(libc::AF_NETLINK).unwrap()),
        op(RETURN, 0, 0, WITH_ERRNO | u32::try_from(errno).unwrap()),
        op(RETURN, 0, 0, ALLOWED),
    ]
}

#[allow(unsafe_code, reason = "only prctl starts a program under seccomp")]
fn sandboxed(command: &mut Command, errno: i32) {
    let mut filter = no_netlink(errno);
    let enter = move || {
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).map_err(io::Error::other)?,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: plain arguments; the filter outlives the call.
        let entered = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const program) == 0
        };
        if entered {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

fn run_sandboxed(errno: i32, arguments: &[&str]) -> Output {
    let mut command = program(Path::new(PROGRAM), arguments);
    sandboxed(&mut command, errno);
    let child = while_nobody_closes(|| command.spawn()).unwrap();
    child.wait_with_output().unwrap()
}

fn source<'a>(session: &'a Value, name: &str) -> &'a Value {
    let sources = session["sources"].as_array().unwrap();
    sources
        .iter()
        .find(|source| source["name"] == name)
        .unwrap()
}

#[test]
fn proc_takes_over_where_netlink_is_forbidden_and_says_why() {
    for errno in [libc::EPERM, libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT] {
        let server = server();
        let _connection = Pair::to(&server);
        let port = server.local_addr().unwrap().port().to_string();
        let arguments = ["--port", &port, "--format", "json", "--duration", "1ms"];
        let output = run_sandboxed(errno, &arguments);
        assert_eq!(output.status.code(), Some(0), "{errno}");
        let lines: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [diag, proc] = ["sock_diag", "proc"].map(|name| source(&lines[0], name));
        assert_eq!(diag["active"], false);
        assert!(
            diag["why"].as_str().unwrap().contains("AF_NETLINK"),
            "{diag}"
        );
        assert_eq!(proc["active"], true);
        let why = proc["why"].as_str().unwrap();
        assert!(why.starts_with("instead of sock_diag: "), "{why}");
        let open = lines.iter().find(|line| line["type"] == "open").unwrap();
        assert_eq!(open["a_state"], "ESTABLISHED");
        assert_eq!(open["b_state"], "ESTABLISHED");
        assert_eq!(open["a_cookie"], Value::Null);
    }
}

#[test]
fn a_source_that_was_named_is_not_replaced() {
    let output = run_sandboxed(libc::EPERM, &["list", "--source", "sock-diag"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("tcpwatch: sock_diag: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
