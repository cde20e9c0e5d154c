//! Connections made by the test itself, and the truth about them: stamps around the calls, and
//! the kernel's own table, read without the program under test.
//!
//! The trap: a call returns before its effects have gone everywhere. An acknowledgement may be
//! delayed by 40 ms, and on a busy machine a segment on loopback too is handled later, elsewhere.
//! So every truth is a pair of bounds, and a state is awaited in the kernel's table.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, listen, socket, sockopt};
use rustix::time::{ClockId, clock_gettime};

/// For whatever must come: long enough for a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `CLOCK_MONOTONIC`, as in the program's output.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
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

/// A listener on the IPv4 loopback.
pub fn server() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A listener that lets as many connections wait.
pub fn server_with_backlog(backlog: i32) -> TcpListener {
    let server = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&server, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listen(&server, backlog).unwrap();
    server.into()
}

/// A listener on all addresses, for IPv4 clients as well.
pub fn dual_stack_server() -> TcpListener {
    let server = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
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
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
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
        stamped(|| drop(self.client.take().unwrap())).0
    }

    /// close() on the server's socket.
    pub fn close_server(&mut self) -> Between {
        stamped(|| drop(self.server.take().unwrap())).0
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

    /// Waits until the kernel shows the client's socket in a state; when it entered it.
    pub fn client_enters(&self, state: &'static str) -> Between {
        until_the_kernel_shows(self.a, self.b, Some(state))
    }

    /// Waits until the kernel shows the server's socket in a state; when it entered it.
    pub fn server_enters(&self, state: &'static str) -> Between {
        until_the_kernel_shows(self.b, self.a, Some(state))
    }

    /// Waits until the kernel has no row of the server's socket.
    pub fn server_vanishes(&self) -> Between {
        until_the_kernel_shows(self.b, self.a, None)
    }
}

/// The state that the kernel's table shows for a 4-tuple, told by its two ports.
pub fn kernel_state(local: SocketAddr, remote: SocketAddr) -> Option<&'static str> {
    let ports = (local.port(), remote.port());
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok())
        .flat_map(|text| text.lines().skip(1).map(parsed_row).collect::<Vec<_>>())
        .find(|(local, remote, _)| (*local, *remote) == ports)
        .map(|(_, _, state)| state)
}

fn parsed_row(line: &str) -> (u16, u16, &'static str) {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let port = |column: &str| u16::from_str_radix(column.rsplit_once(':').unwrap().1, 16).unwrap();
    (port(columns[1]), port(columns[2]), state_name(columns[3]))
}

fn state_name(code: &str) -> &'static str {
    match code {
        "01" => "ESTABLISHED",
        "02" => "SYN_SENT",
        "03" => "SYN_RECV",
        "04" => "FIN_WAIT1",
        "05" => "FIN_WAIT2",
        "06" => "TIME_WAIT",
        "07" => "CLOSE",
        "08" => "CLOSE_WAIT",
        "09" => "LAST_ACK",
        "0A" => "LISTEN",
        "0B" => "CLOSING",
        other => panic!("the kernel shows state {other}"),
    }
}

fn until_the_kernel_shows(
    local: SocketAddr,
    remote: SocketAddr,
    state: Option<&'static str>,
) -> Between {
    let begun = Instant::now();
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
            begun.elapsed() < PATIENCE,
            "{local} -> {remote} is in {shown:?}, not {state:?}"
        );
        std::thread::yield_now();
    }
}
