//! A network namespace for one test, made without any tool: nothing in it but its own loopback.
//!
//! A network namespace belongs to a thread, so the test's body runs in a thread of its own; what
//! the body spawns (threads, processes) is born into the namespace. It ends with its last thread
//! and its last socket. The trap: `/proc/net` and `/proc/self/net` are of the process's first
//! thread, outside; inside it is `/proc/thread-self/net`.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::UnshareFlags;

/// Runs `body` in a fresh network namespace whose loopback is up. Panics pass through.
///
/// Where that is not permitted, says so on the real stderr, which the test harness does not
/// capture, and returns false without having run `body`.
pub fn in_fresh_netns<F: FnOnce() + Send>(name: &str, body: F) -> bool {
    let inside = || match enter() {
        Ok(()) => {
            body();
            true
        }
        Err(error) => {
            skip(name, &error);
            false
        }
    };
    thread::scope(|scope| {
        // The harness tells tests apart by the name of the thread that panics.
        let thread = thread::Builder::new().name(name.to_owned());
        match thread.spawn_scoped(scope, inside).unwrap().join() {
            Ok(ran) => ran,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn skip(name: &str, error: &io::Error) {
    let line = format!(
        "skipped: {name}: needs root (CAP_SYS_ADMIN) to make a network namespace: {error}\n"
    );
    // Written in one piece: other tests write too. A stderr that is closed has no reader.
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}

#[allow(
    unsafe_code,
    reason = "unshare is unsafe for shared descriptor tables, which NEWNET leaves alone"
)]
fn enter() -> io::Result<()> {
    // SAFETY: NEWNET touches no descriptor.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    set_up("lo")
}

/// Brings an interface up (SIOCSIFFLAGS): neither std nor rustix can.
#[allow(
    unsafe_code,
    dead_code,
    reason = "an ioctl that no safe crate of ours wraps; not every test file needs it"
)]
pub fn set_up(interface: &str) -> io::Result<()> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: all zeroes is a valid ifreq: bytes and integers.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    assert!(interface.len() < request.ifr_name.len());
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is a valid ifreq and outlives the call.
    let result = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[allow(
    unsafe_code,
    dead_code,
    reason = "a socket option that no safe crate of ours sets; not every test file needs it"
)]
/// Binds a socket to an interface (SO_BINDTODEVICE).
pub fn bind_to_device(socket: impl AsFd, device: &str) {
    // SAFETY: the name outlives the call and its length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_ptr().cast(),
            device.len() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
