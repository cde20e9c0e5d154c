//! Dumps: all sockets that match, both families in one walk of the kernel's table.
//!
//! The trap: a dump that is read slowly grows while it is read, so the loop only receives and
//! decodes. The kernel fills datagrams of 32 KiB when the buffer has room for them.

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::model::filter::Filter;
use crate::model::{Look, Scope};
use crate::source::clock;
use crate::source::sock_diag::wire::{
    CONNECTION_STATES, Datagram, Families, LISTEN_STATES, Row, TIME_WAIT_STATE, dump_request,
    read_dump,
};
use crate::source::sock_diag::{DiagError, bytecode};
use crate::source::table::Seen;

/// Twice what the kernel puts into a datagram of a dump.
const ROOM: usize = 64 << 10;
/// A kernel that answers at all answers at once; this is for those that emulate one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a socket to the kernel's `sock_diag`.
pub(in crate::source) fn open_socket() -> Result<Socket, DiagError> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(DiagError::NoSockDiag)?;
    let io = |operation| move |error| DiagError::Io { operation, error };
    socket.bind_auto().map_err(io("bind a netlink socket"))?;
    socket
        .connect(&SocketAddr::new(0, 0))
        .map_err(io("connect a netlink socket"))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))
        .map_err(|errno| io("set a receive timeout")(errno.into()))?;
    Ok(socket)
}

/// Receives one datagram into the buffer.
pub(super) fn receive(
    socket: &Socket,
    buffer: &mut [u8],
    operation: &'static str,
) -> Result<usize, DiagError> {
    loop {
        let room = buffer.len();
        // MSG_TRUNC makes recv return the datagram's real length.
        match socket.recv(&mut &mut *buffer, libc::MSG_TRUNC) {
            Ok(length) if length > room => {
                return Err(DiagError::Truncated {
                    operation,
                    length,
                    room,
                });
            }
            Ok(length) => return Ok(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed_to_receive(error, operation)),
        }
    }
}

/// What it means that nothing could be received.
pub(super) fn failed_to_receive(error: io::Error, operation: &'static str) -> DiagError {
    if error.kind() == io::ErrorKind::WouldBlock {
        return DiagError::Silent {
            operation,
            seconds: PATIENCE.as_secs(),
        };
    }
    match error.raw_os_error() {
        Some(errno @ (libc::ENOBUFS | libc::EBUSY)) => DiagError::refused(operation, errno),
        _ => DiagError::Io { operation, error },
    }
}

/// Sends a request whole.
pub(super) fn send(
    socket: &Socket,
    bytes: &[u8],
    operation: &'static str,
) -> Result<(), DiagError> {
    loop {
        match socket.send(bytes, 0) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(match error.raw_os_error() {
                    Some(errno @ (libc::EPERM | libc::EACCES | libc::ENOBUFS | libc::EBUSY)) => {
                        DiagError::refused(operation, errno)
                    }
                    // No memory now; there will be again.
                    Some(libc::ENOMEM | libc::EAGAIN) => DiagError::Overrun { operation },
                    _ => DiagError::Io { operation, error },
                });
            }
        }
    }
}

/// How this kernel is asked for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// One walk (`TCPDIAG_GETSOCK`).
    Together,
    /// A walk each, where the old request is refused.
    Apart,
    /// IPv4 alone: no IPv6 in this kernel.
    V4Alone,
}

/// Asks for tables of sockets.
pub(super) struct Dumper {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    manner: Manner,
    connections: Vec<u8>,
    listeners: Vec<u8>,
}

impl Dumper {
    pub(super) fn open(filter: &Filter) -> Result<Self, DiagError> {
        Ok(Self {
            socket: open_socket()?,
            buffer: vec![0; ROOM],
            sequence: 0,
            manner: Manner::Together,
            connections: bytecode::connections(filter),
            listeners: bytecode::listeners(filter),
        })
    }

    /// Every connection that the filter lets pass.
    pub(super) fn connections(
        &mut self,
        scope: Scope,
        look: Look,
        take: &mut impl FnMut(&Row, Seen),
    ) -> Result<Datagram, DiagError> {
        let states = match look {
            Look::Whole => CONNECTION_STATES,
            Look::WithoutTimeWait => CONNECTION_STATES & !TIME_WAIT_STATE,
        };
        let filter = std::mem::take(&mut self.connections);
        let read = self.both_families(states, &filter, scope, "dump of connections", take);
        self.connections = filter;
        read
    }

    /// Every listener that such connections can come from.
    pub(super) fn listeners(
        &mut self,
        scope: Scope,
        take: &mut impl FnMut(&Row, Seen),
    ) -> Result<Datagram, DiagError> {
        let filter = std::mem::take(&mut self.listeners);
        let read = self.both_families(LISTEN_STATES, &filter, scope, "dump of listeners", take);
        self.listeners = filter;
        read
    }

    fn both_families(
        &mut self,
        states: u32,
        filter: &[u8],
        scope: Scope,
        operation: &'static str,
        take: &mut impl FnMut(&Row, Seen),
    ) -> Result<Datagram, DiagError> {
        if self.manner == Manner::Together {
            match self.dump(Families::Both, states, filter, scope, operation, take) {
                // A kernel that knows only the newer request says so in its own way.
                Err(DiagError::Refused { .. } | DiagError::NoTcpDiag { .. }) => {
                    self.manner = Manner::Apart;
                }
                result => return result,
            }
        }
        let mut read = self.dump(Families::V4, states, filter, scope, operation, take)?;
        if self.manner == Manner::Apart {
            match self.dump(Families::V6, states, filter, scope, operation, take) {
                Ok(six) => {
                    read.unreadable += six.unreadable;
                    read.interrupted |= six.interrupted;
                }
                Err(DiagError::NoTcpDiag { .. }) => self.manner = Manner::V4Alone,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn dump(
        &mut self,
        families: Families,
        states: u32,
        filter: &[u8],
        scope: Scope,
        operation: &'static str,
        take: &mut impl FnMut(&Row, Seen),
    ) -> Result<Datagram, DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = dump_request(families, states, filter, self.sequence);
        // The kernel fills the first datagram when it is asked, and each other one while the one
        // before is received.
        let mut since = clock::now();
        send(&self.socket, &request, operation)?;
        let mut filling = since;
        let mut whole = Datagram::default();
        while !whole.done {
            let length = receive(&self.socket, &mut self.buffer, operation)?;
            let at = clock::now();
            let seen = Seen { since, at };
            since = std::mem::replace(&mut filling, at);
            let datagram = self.buffer.get(..length).unwrap_or_default();
            let read = read_dump(datagram, self.sequence, scope, at, operation, |row| {
                take(row, seen);
            })?;
            whole.done = read.done;
            whole.unreadable += read.unreadable;
            whole.interrupted |= read.interrupted;
        }
        Ok(whole)
    }

    /// After a loss: a new socket, since the old one may still have a dump running and its rest in
    /// the queue; and room for what was cut.
    pub(super) fn recover(&mut self, error: &DiagError) -> Result<(), DiagError> {
        if let DiagError::Truncated { length, .. } = error {
            self.buffer.resize(length.next_power_of_two(), 0);
        }
        self.socket = open_socket()?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../../tests/common/netns.rs"]
pub(super) mod netns;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::netns::in_fresh_netns;
    use super::*;
    use crate::model::filter::PortSet;
    use crate::model::{Endpoint, FourTuple};
    use crate::source::sock_diag::wire::lookup_request;

    const OPERATION: &str = "a test";

    fn send_lookups(socket: &Socket, count: u32) {
        let nobody = FourTuple {
            local: Endpoint::new([127, 0, 0, 1].into(), 1),
            remote: Endpoint::new([127, 0, 0, 1].into(), 2),
        };
        let requests: Vec<u8> = (1..=count)
            .flat_map(|sequence| lookup_request(&nobody, None, 0, sequence))
            .collect();
        send(socket, &requests, OPERATION).unwrap();
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_an_error_and_makes_room() {
        let mut dumper = Dumper::open(&Filter::default()).unwrap();
        dumper.buffer = vec![0; 8];
        let scope = Scope::default();
        let error = dumper.listeners(scope, &mut |_, _| {}).unwrap_err();
        assert!(error.passes(), "{error}");
        let DiagError::Truncated { length, room, .. } = error else {
            panic!("{error}");
        };
        assert!(room == 8 && length > room);
        dumper.recover(&error).unwrap();
        assert!(dumper.buffer.len() >= length);
        // However many rows there are: every loss is followed by a larger buffer.
        while let Err(error) = dumper.listeners(scope, &mut |_, _| {}) {
            assert!(matches!(error, DiagError::Truncated { .. }), "{error}");
            dumper.recover(&error).unwrap();
        }
    }

    #[test]
    fn a_full_receive_queue_is_an_overrun() {
        let socket = open_socket().unwrap();
        send_lookups(&socket, 1000);
        let mut buffer = vec![0; ROOM];
        let error = loop {
            match receive(&socket, &mut buffer, OPERATION) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DiagError::Overrun { .. }), "{error}");
        assert!(error.passes());
    }

    #[test]
    fn silence_is_an_error() {
        let socket = open_socket().unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(1))).unwrap();
        let error = receive(&socket, &mut [0; 64], OPERATION).unwrap_err();
        assert!(matches!(error, DiagError::Silent { .. }), "{error}");
        assert!(!error.passes());
    }

    /// The local ports of what the kernel lets pass, before anything is filtered here.
    fn passed(ports: &str, hosts: &[&str]) -> (Vec<u16>, Vec<u16>) {
        let filter = Filter {
            ports: ports.parse().unwrap_or_default(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            ..Filter::default()
        };
        let mut dumper = Dumper::open(&filter).unwrap();
        let scope = Scope::default();
        let (mut connections, mut listeners) = (Vec::new(), Vec::new());
        let port = |row: &Row| row.sample.id.tuple.local.port();
        let mut take = |row: &Row, _| connections.push(port(row));
        dumper.connections(scope, Look::Whole, &mut take).unwrap();
        let mut take = |row: &Row, _| listeners.push(port(row));
        dumper.listeners(scope, &mut take).unwrap();
        assert_eq!(dumper.manner, Manner::Together);
        connections.sort_unstable();
        listeners.sort_unstable();
        (connections, listeners)
    }

    #[test]
    fn the_kernel_itself_passes_no_row_too_many() {
        in_fresh_netns("the_kernel_itself_passes_no_row_too_many", || {
            let servers = [
                ("127.0.0.1:8000", "127.0.0.1:8000"),
                ("127.0.0.2:8001", "127.0.0.2:8001"),
                ("[::]:8002", "127.0.0.3:8002"),
                ("[::1]:8003", "[::1]:8003"),
            ];
            let held = servers.map(|(listen, connect)| {
                let listener = TcpListener::bind(listen).unwrap();
                let client = TcpStream::connect(connect).unwrap();
                let server = listener.accept().unwrap().0;
                (listener, client, server)
            });
            // The filter; servers of the connections that pass; listeners that pass.
            let all: &[u16] = &[8000, 8001, 8002, 8003];
            let none: &[&str] = &[];
            let cases = [
                ("", none, all, all),
                ("8001", none, &[8001], &[8001]),
                ("8000,8003", none, &[8000, 8003], &[8000, 8003]),
                ("8001-8002", none, &[8001, 8002], &[8001, 8002]),
                ("", &["127.0.0.2/31"], &[8001, 8002], all),
                ("", &["::1"], &[8003], all),
                (
                    "8000-8001,8003",
                    &["127.0.0.2", "::/1"],
                    &[8001, 8003],
                    &[8000, 8001, 8003],
                ),
                ("9", none, &[], &[]),
            ];
            for (ports, hosts, connections, listeners) in cases {
                let mut expected: Vec<u16> = held
                    .iter()
                    .filter_map(|(_, client, _)| {
                        let (own, other) = (client.local_addr().ok()?, client.peer_addr().ok()?);
                        connections
                            .contains(&other.port())
                            .then_some([own.port(), other.port()])
                    })
                    .flatten()
                    .collect();
                expected.sort_unstable();
                let listeners = listeners.to_vec();
                assert_eq!(
                    passed(ports, hosts),
                    (expected, listeners),
                    "{ports} {hosts:?}"
                );
            }
        });
    }

    /// The tuples that a dumper shows of one port, with their families folded.
    fn tuples(dumper: &mut Dumper) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut take = |row: &Row, _: Seen| {
            seen.insert(format!("{:?} {}", row.sample.id.tuple, row.sample.state));
        };
        let scope = Scope::default();
        dumper.listeners(scope, &mut take).unwrap();
        dumper.connections(scope, Look::Whole, &mut take).unwrap();
        seen
    }

    #[test]
    fn one_walk_for_both_families_shows_what_two_walks_show() {
        let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
            eprintln!("skipped: one_walk_for_both_families: no IPv6 here");
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let _four = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let filter = Filter {
            ports: PortSet::one(port),
            ..Filter::default()
        };
        let mut together = Dumper::open(&filter).unwrap();
        let mut apart = Dumper::open(&filter).unwrap();
        apart.manner = Manner::Apart;
        let shown = tuples(&mut together);
        assert_eq!(shown.len(), 3, "a listener and two ends: {shown:?}");
        assert_eq!(shown, tuples(&mut apart));
        assert_eq!(together.manner, Manner::Together);
        assert_eq!(apart.manner, Manner::Apart);
    }
}
