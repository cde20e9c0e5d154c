//! Asks the kernel's table for the ports of connections that are being opened.
//!
//! A dump of SYN_SENT alone: few rows, but a walk through the whole table, so the asker paces
//! itself. It must not know why it is asked. The trap: the socket belongs to the network namespace
//! of the thread that opens it.

use std::collections::HashMap;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::model::{Scope, TcpState};
use crate::source::clock;
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::wire::{Families, dump_request, read_dump};

/// Twice what the kernel puts into a datagram of a dump.
const ROOM: usize = 64 << 10;
/// The kernel answers at once, or something is wrong: the events must not wait for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// The part of our time that may go into asking: one in so many.
const SHARE: u32 = 20;
const OPERATION: &str = "dump of SYN_SENT";

/// The asker.
pub struct Asker {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    not_before: u64,
}

impl Asker {
    /// Opens the socket; `None` where that is not possible.
    pub fn open() -> Option<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).ok()?;
        socket.bind_auto().ok()?;
        socket.connect(&SocketAddr::new(0, 0)).ok()?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).ok()?;
        Some(Self {
            socket,
            buffer: vec![0; ROOM],
            sequence: 0,
            not_before: 0,
        })
    }

    /// When it may ask next.
    pub const fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The local ports of all sockets in SYN_SENT by their cookies, as far as they can be had.
    pub fn ports(&mut self) -> HashMap<u64, u16> {
        let begun = clock::now();
        let mut ports = HashMap::new();
        // Kernels that refuse one request for both families answer one for each.
        if self.dump(Families::Both, &mut ports).is_err() {
            for families in [Families::V4, Families::V6] {
                // A family without an answer has no ports; who waits is given up then.
                let _ = self.dump(families, &mut ports);
            }
        }
        let ended = clock::now();
        self.not_before = ended.plus(ended.since(begun) * SHARE).nanos();
        ports
    }

    fn dump(&mut self, families: Families, ports: &mut HashMap<u64, u16>) -> Result<(), DiagError> {
        let io = |error| DiagError::Io {
            operation: OPERATION,
            error,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let states = TcpState::SynSent.bit().into();
        let request = dump_request(families, states, &[], self.sequence);
        self.socket.send(&request, 0).map_err(io)?;
        loop {
            let length = self.socket.recv(&mut &mut *self.buffer, 0).map_err(io)?;
            let datagram = self.buffer.get(..length).unwrap_or_default();
            let (scope, at) = (Scope::default(), clock::now());
            let read = read_dump(datagram, self.sequence, scope, at, OPERATION, |row| {
                let id = row.sample.id;
                let port = id.tuple.local.port();
                if let (Some(cookie), 1..) = (id.cookie, port) {
                    ports.insert(cookie.0, port);
                }
            })?;
            if read.done {
                return Ok(());
            }
        }
    }
}
