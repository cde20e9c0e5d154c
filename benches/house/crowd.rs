//! Real connections to measure on: both ends here, all on loopback.
//!
//! The trap: thousands of closed connections would stay for a minute as TIME_WAITs and spoil
//! what is measured next. Every socket is told at its birth to reset instead (`SO_LINGER` 0),
//! so that none stays, however this program ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that are needed for anything else.
const SPARE: u64 = 64;

/// Open connections, and the port of their listener.
pub struct Crowd {
    /// What they are connected to.
    pub port: u16,
    _listener: TcpListener,
    streams: Vec<TcpStream>,
}

impl Crowd {
    /// Opens `wanted` connections, or as many as there are ports for.
    pub fn open(wanted: usize) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut streams = Vec::with_capacity(2 * wanted);
        for _ in 0..wanted {
            match pair(&listener, address) {
                Ok(ends) => streams.extend(ends),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            port: address.port(),
            _listener: listener,
            streams,
        })
    }

    /// How many sockets there are, the listener not among them.
    pub fn len(&self) -> usize {
        self.streams.len()
    }
}

fn pair(listener: &TcpListener, address: SocketAddr) -> io::Result<[TcpStream; 2]> {
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        set_socket_linger(end, Some(Duration::ZERO))?;
    }
    Ok([client, server])
}

/// How many connections of at most `wanted` this process may hold; asks for what it may have.
pub fn affordable(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // When it is refused, what there is must do.
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let pairs = files.saturating_sub(SPARE) / 2;
    usize::try_from(pairs).map_or(wanted, |pairs| pairs.min(wanted))
}
