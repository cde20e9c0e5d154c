//! Connections made by the test itself, and the truth about them: stamps around the calls, and
//! the kernel's own table, read without the program under test.
//!
//! The trap: a call returns before its effects have gone everywhere. An acknowledgement may be
//! delayed by 40 ms, and on a busy machine a segment on loopback too is handled later, elsewhere.
//! So every truth is a pair of bounds, and a state is awaited in the kernel's table.
//! And a server that closes at the very moment in which its delayed acknowledgement is due sends the
//! two out of order; the answer meets nobody, and the reset that follows ends the client's
//! TIME_WAIT (RFC 1337), once in some thousand times. Whoever closes a server's end not at once
//! awaits the client's FIN_WAIT2 before.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};
use tcpwatch::source::clock;

/// For whatever must come: long enough for a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `CLOCK_MONOTONIC`, as in the program's output.
pub fn now_ns() -> u64 {
    clock::now().nanos()
}

/// When something truly happened.
#[derive(Clone, Copy, Debug)]
pub struct Between {
    /// Not before.
    pub earliest: u64,
    /// Not after.
    pub latest: u64,
}

impl Between {
    /// It cannot have been before this call.
    pub fn not_before(self, call: Self) -> Self {
        Self {
            earliest: self.earliest.max(call.earliest),
            ..self
        }
    }

    /// Some time from the begin of this call on.
    pub fn since(self, call: Self) -> Self {
        Self {
            earliest: call.earliest,
            ..self
        }
    }
}

/// Makes a call; when it was made.
pub fn stamped<T>(call: impl FnOnce() -> T) -> (Between, T) {
    let earliest = now_ns();
    let result = call();
    let latest = now_ns();
    (Between { earliest, latest }, result)
}

/// A process that is being started holds copies of all descriptors until it executes its program.
/// A close() meanwhile, by another test in another thread, would close nothing.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process while nobody closes, until it has lost its copies. The start itself returns a
/// little earlier, so its end is told by a pipe of which the process has a copy, too.
pub fn while_nobody_closes<T>(start: impl FnOnce() -> T) -> T {
    let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let (mut copies, copy) = std::io::pipe().unwrap();
    let started = start();
    drop(copy);
    assert_eq!(copies.read(&mut [0]).unwrap(), 0);
    started
}

/// Does something while no process is being started.
pub fn while_nobody_starts<T>(act: impl FnOnce() -> T) -> T {
    let _together = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// Makes a call that closes.
fn closing(close: impl FnOnce()) -> Between {
    while_nobody_starts(|| stamped(close).0)
}

/// A TCP socket that no child inherits.
fn tcp_socket(family: AddressFamily) -> OwnedFd {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// From now on this socket takes nothing in: all that comes for it is dropped before TCP sees it,
/// as if the peer had fallen off the net. (A classic filter that passes no byte.)
pub fn deafen(socket: &impl AsFd) {
    let mut drop_all = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut drop_all,
    };
    set_filter(socket, libc::SO_ATTACH_FILTER, &program);
}

/// Lets it hear again.
pub fn let_hear(socket: &impl AsFd) {
    set_filter(socket, libc::SO_DETACH_FILTER, &0_i32);
}

#[allow(
    unsafe_code,
    reason = "a socket option that no safe crate of ours wraps"
)]
fn set_filter<T>(socket: &impl AsFd, option: libc::c_int, value: &T) {
    let fd = socket.as_fd().as_raw_fd();
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap();
    let value: *const T = value;
    // SAFETY: the value is of the option's type and outlives the call.
    let done = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, value.cast(), length) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A listener on the IPv4 loopback.
pub fn server() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A listener that lets as many connections wait.
pub fn server_with_backlog(backlog: i32) -> TcpListener {
    let server = tcp_socket(AddressFamily::INET);
    bind(&server, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listen(&server, backlog).unwrap();
    server.into()
}

/// A listener on all addresses, for IPv4 clients as well.
pub fn dual_stack_server() -> TcpListener {
    let server = tcp_socket(AddressFamily::INET6);
    sockopt::set_ipv6_v6only(&server, false).unwrap();
    bind(&server, &"[::]:0".parse::<SocketAddr>().unwrap()).unwrap();
    listen(&server, 8).unwrap();
    server.into()
}

/// The port that a listener listens on.
pub fn port_of(server: &TcpListener) -> u16 {
    server.local_addr().unwrap().port()
}

/// Connects from an address of the caller's choice, even if it has a TIME_WAIT; to itself, too.
pub fn connect_from(local: SocketAddr, remote: SocketAddr) -> TcpStream {
    let client = tcp_socket(AddressFamily::INET);
    sockopt::set_socket_reuseaddr(&client, true).unwrap();
    bind(&client, &local).unwrap();
    connect(&client, &remote).unwrap();
    client.into()
}

/// close() will abort: a reset instead of a FIN.
pub fn abort_on_close(stream: &TcpStream) {
    sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// Both ends of one connection, as its client addresses it.
pub struct Pair {
    /// The socket that connected; `None` once it is closed.
    pub client: Option<TcpStream>,
    /// The socket that was accepted; `None` once it is closed.
    pub server: Option<TcpStream>,
    /// The client's address: end A.
    pub a: SocketAddr,
    /// The server's address: end B.
    pub b: SocketAddr,
}

impl Pair {
    /// Connects to `server`, over the loopback of its own family, and accepts.
    pub fn to(server: &TcpListener) -> Self {
        let addr = server.local_addr().unwrap();
        let mut pair = Self::of(TcpStream::connect(addr).unwrap());
        pair.accept(server);
        pair
    }

    /// A connection of which one end has not been heard of, and perhaps never is.
    pub fn half(client: TcpStream, server: SocketAddr) -> Self {
        Self {
            a: client.local_addr().unwrap(),
            b: server,
            client: Some(client),
            server: None,
        }
    }

    /// A connection that nobody has accepted yet.
    pub fn of(client: TcpStream) -> Self {
        Self {
            a: client.local_addr().unwrap(),
            b: client.peer_addr().unwrap(),
            client: Some(client),
            server: None,
        }
    }

    /// Takes the connection from the accept queue.
    pub fn accept(&mut self, server: &TcpListener) {
        self.server = Some(server.accept().unwrap().0);
    }

    /// close() on the client.
    pub fn close_client(&mut self) -> Between {
        closing(|| drop(self.client.take().unwrap()))
    }

    /// close() on the server's socket.
    pub fn close_server(&mut self) -> Between {
        closing(|| drop(self.server.take().unwrap()))
    }

    /// shutdown(SHUT_WR) on the client.
    pub fn shut_client(&mut self) -> Between {
        let client = self.client.as_ref().unwrap();
        stamped(|| client.shutdown(Shutdown::Write).unwrap()).0
    }

    /// Reads the end of file that the client's FIN is.
    pub fn server_reads_to_end(&mut self) {
        let mut all = Vec::new();
        let server = self.server.as_mut().unwrap();
        server.read_to_end(&mut all).unwrap();
    }

    /// The kernel's word on the client's socket, now.
    pub fn client_state(&self) -> Option<&'static str> {
        kernel_state(self.a, self.b)
    }

    /// The kernel's word on the server's socket, now.
    pub fn server_state(&self) -> Option<&'static str> {
        kernel_state(self.b, self.a)
    }

    /// Waits until the kernel shows the client's socket in a state; when it entered it.
    pub fn client_enters(&self, state: &'static str) -> Between {
        until_the_kernel_shows(self.a, self.b, Some(state))
    }

    /// Waits until the kernel shows the server's socket in a state; when it entered it.
    pub fn server_enters(&self, state: &'static str) -> Between {
        until_the_kernel_shows(self.b, self.a, Some(state))
    }

    /// Waits until the kernel has no row of the client's socket.
    pub fn client_vanishes(&self) -> Between {
        until_the_kernel_shows(self.a, self.b, None)
    }

    /// Waits until the kernel has no row of the server's socket.
    pub fn server_vanishes(&self) -> Between {
        until_the_kernel_shows(self.b, self.a, None)
    }
}

/// The state of a socket by the kernel's own word: one exact question of `sock_diag`, written out
/// by hand, so that a mistake of the program's source is not made twice. Quick, where a read of
/// /proc takes 10 ms and would blur every truth by that.
fn kernel_state(local: SocketAddr, remote: SocketAddr) -> Option<&'static str> {
    const ERROR: u16 = 2;
    let answer = ask_sock_diag(BY_FAMILY, REQUEST, local, remote);
    match u16::from_ne_bytes([answer[4], answer[5]]) {
        ERROR => None,
        BY_FAMILY => match answer[17] {
            // Nobody has the 4-tuple, and so the listener is shown.
            10 => None,
            code => Some(state_name(code)),
        },
        other => panic!("the kernel answers with {other}"),
    }
}

/// `SOCK_DIAG_BY_FAMILY`, linux/sock_diag.h
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;

/// Destroys a socket, as `ss -K` does. Not every kernel can.
pub fn destroy(local: SocketAddr, remote: SocketAddr) -> std::io::Result<()> {
    const DESTROY: u16 = 21;
    const ACKNOWLEDGE: u16 = 4;
    let answer = ask_sock_diag(DESTROY, REQUEST | ACKNOWLEDGE, local, remote);
    match i32::from_ne_bytes(answer[16..20].try_into().unwrap()) {
        0 => Ok(()),
        errno => Err(std::io::Error::from_raw_os_error(-errno)),
    }
}

/// One question about one socket, and its answer.
fn ask_sock_diag(kind: u16, flags: u16, local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { 2 } else { 10 };
    let mut request = Vec::new();
    // struct nlmsghdr: length, type, flags, sequence, port.
    request.extend(72_u32.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]);
    // struct inet_diag_req_v2: family, IPPROTO_TCP, nothing more, all states, the 4-tuple.
    request.extend([family, 6, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(local.port().to_be_bytes());
    request.extend(remote.port().to_be_bytes());
    request.extend(sixteen_bytes(local.ip()));
    request.extend(sixteen_bytes(remote.ip()));
    // Any interface, any cookie.
    request.extend(0_u32.to_ne_bytes());
    request.extend(u64::MAX.to_ne_bytes());

    let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_SOCK_DIAG).unwrap();
    let kernel = netlink_sys::SocketAddr::new(0, 0);
    socket.send_to(&request, &kernel, 0).unwrap();
    socket.recv_from_full().unwrap().0
}

fn sixteen_bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V6(addr) => addr.octets(),
        IpAddr::V4(addr) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&addr.octets());
            bytes
        }
    }
}

fn state_name(code: u8) -> &'static str {
    match code {
        1 => "ESTABLISHED",
        2 => "SYN_SENT",
        3 => "SYN_RECV",
        4 => "FIN_WAIT1",
        5 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        // A socket that the question caught on its way out; the next answer is another.
        7 => "CLOSE",
        8 => "CLOSE_WAIT",
        9 => "LAST_ACK",
        11 => "CLOSING",
        other => panic!("the kernel shows state {other}"),
    }
}

fn until_the_kernel_shows(
    local: SocketAddr,
    remote: SocketAddr,
    state: Option<&'static str>,
) -> Between {
    let begun = clock::now();
    let mut earliest = now_ns();
    let mut shown_at_once = true;
    loop {
        let asked = now_ns();
        let shown = kernel_state(local, remote);
        if shown == state {
            // Shown by the first look: how long before is not known.
            let earliest = if shown_at_once { 0 } else { earliest };
            return Between {
                earliest,
                latest: now_ns(),
            };
        }
        (earliest, shown_at_once) = (asked, false);
        assert!(
            clock::now().since(begun) < PATIENCE,
            "{local} -> {remote} is in {shown:?}, not {state:?}"
        );
        // Not a wait for something to happen, but room for it: threads that ask without pause
        // starve the one that moves the segments.
        std::thread::park_timeout(Duration::from_micros(100));
    }
}
