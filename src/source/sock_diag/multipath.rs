//! Which connections are subflows of MPTCP: their teardown goes by other rules, and no row of the
//! TCP table says so unless it is asked for with `tcp_info`, which takes the socket's lock.
//!
//! So the MPTCP sockets are dumped beside it; each has the 4-tuple of its first subflow. Such a dump
//! walks a table of its own, a tenth to a fifth of a look's cost even when it is empty: it is made
//! once a second, and after a look that showed somebody new. The trap: later subflows have 4-tuples
//! of their own and are not found this way.

use std::collections::HashSet;
use std::time::Duration;

use netlink_sys::Socket;

use crate::model::{FourTuple, Scope, Timestamp};
use crate::source::clock;
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::discover::{open_socket, receive, send};
use crate::source::sock_diag::wire::{Families, multipath_request, read_dump};

const OPERATION: &str = "dump of MPTCP sockets";
/// Twice what the kernel puts into a datagram of a dump.
const ROOM: usize = 64 << 10;
/// Whether the namespace has MPTCP is looked at again after this time: the switch can be turned.
const SWITCH: Duration = Duration::from_secs(10);
/// How often the table is read when nobody is new.
const PERIOD: Duration = Duration::from_secs(1);

/// The 4-tuples of MPTCP sockets.
pub(super) struct Multipath {
    /// `None` when there is nothing to ask.
    socket: Option<Socket>,
    buffer: Vec<u8>,
    sequence: u32,
    tuples: HashSet<FourTuple, foldhash::fast::RandomState>,
    /// This kernel can't tell: no `mptcp_diag`.
    mute: bool,
    switch_read: Timestamp,
    /// When the table was last read; `None` when that is not good enough.
    dumped: Option<Timestamp>,
}

impl Multipath {
    pub(super) fn open() -> Self {
        let mut multipath = Self {
            socket: None,
            buffer: Vec::new(),
            sequence: 0,
            tuples: HashSet::default(),
            mute: false,
            switch_read: clock::now(),
            dumped: None,
        };
        multipath.read_switch();
        multipath
    }

    /// Whether the connection is a subflow.
    pub(super) fn has(&self, tuple: &FourTuple) -> bool {
        !self.tuples.is_empty() && self.tuples.contains(tuple)
    }

    /// Somebody is new: who knows what he is.
    pub(super) fn somebody_is_new(&mut self) {
        self.dumped = None;
    }

    /// Reads the table anew when it is time. What fails here costs the mark and nothing else.
    pub(super) fn look(&mut self, scope: Scope, now: Timestamp) {
        if self.mute {
            return;
        }
        if now.since(self.switch_read) >= SWITCH {
            self.switch_read = now;
            self.read_switch();
        }
        let is_fresh = self.dumped.is_some_and(|at| now.since(at) < PERIOD);
        if self.socket.is_none() || is_fresh {
            return;
        }
        self.dumped = Some(now);
        self.tuples.clear();
        for families in [Families::V4, Families::V6] {
            match self.dump(families, scope) {
                Ok(()) => {}
                Err(error) if error.passes() => self.socket = open_socket().ok(),
                Err(_) => {
                    self.mute = true;
                    self.socket = None;
                    return;
                }
            }
        }
    }

    /// `net.mptcp.enabled` of this thread's namespace; absent in a kernel without MPTCP.
    fn read_switch(&mut self) {
        let switch = std::fs::read_to_string("/proc/sys/net/mptcp/enabled");
        let is_on = switch.is_ok_and(|text| text.trim() != "0");
        // Connections that were made before it was turned off live on.
        if is_on && self.socket.is_none() {
            self.buffer.resize(ROOM, 0);
            self.socket = open_socket().ok();
        }
    }

    fn dump(&mut self, families: Families, scope: Scope) -> Result<(), DiagError> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        self.sequence = self.sequence.wrapping_add(1);
        send(
            socket,
            &multipath_request(families, self.sequence),
            OPERATION,
        )?;
        loop {
            let length = receive(socket, &mut self.buffer, OPERATION)?;
            let datagram = self.buffer.get(..length).unwrap_or_default();
            let tuples = &mut self.tuples;
            let read = read_dump(
                datagram,
                self.sequence,
                scope,
                Timestamp::default(),
                OPERATION,
                |row| {
                    tuples.insert(row.sample.id.tuple);
                },
            )?;
            if read.done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use rustix::net::{AddressFamily, Protocol, SocketType, bind, connect, listen, socket};

    use super::super::discover::netns::in_fresh_netns;
    use super::super::{Poller, Request, SockDiag};
    use crate::model::{Body, Sample};
    use crate::source::host;

    /// `IPPROTO_MPTCP` of the socket call.
    fn multipath_socket() -> Option<std::os::fd::OwnedFd> {
        let protocol = Protocol::from_raw(std::num::NonZeroU32::new(262).unwrap());
        socket(AddressFamily::INET, SocketType::STREAM, Some(protocol)).ok()
    }

    fn ends(source: &mut SockDiag, port: u16) -> Vec<Sample> {
        let mut told = Vec::new();
        source.look(&mut told).unwrap();
        let polls = told.into_iter().filter_map(|told| match told.body {
            Body::Poll(poll) => Some(poll.appeared),
            _ => None,
        });
        polls
            .flatten()
            .filter(|sample| {
                let tuple = sample.id.tuple;
                tuple.remote.port() != 0
                    && (tuple.local.port() == port || tuple.remote.port() == port)
            })
            .collect()
    }

    #[test]
    fn a_subflow_is_told_from_a_connection_of_its_own() {
        const NAME: &str = "a_subflow_is_told_from_a_connection_of_its_own";
        in_fresh_netns(NAME, || {
            let Some(server) = multipath_socket() else {
                eprintln!("skipped: {NAME}: no MPTCP in this kernel");
                return;
            };
            let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
            bind(&server, &any).unwrap();
            listen(&server, 8).unwrap();
            let server = TcpListener::from(server);
            let at = server.local_addr().unwrap();
            let client = multipath_socket().unwrap();
            connect(&client, &at).unwrap();
            let (_served, _) = server.accept().unwrap();
            let plain = TcpListener::bind(any).unwrap();
            let plain_port = plain.local_addr().unwrap().port();
            let _plain_client = TcpStream::connect(plain.local_addr().unwrap()).unwrap();
            let _plain_served = plain.accept().unwrap();

            let request = Request {
                scope: host::scope(),
                ..Request::default()
            };
            let mut source = SockDiag::open(request.clone()).unwrap();
            let shown = ends(&mut source, at.port());
            assert_eq!(shown.len(), 2, "{shown:#?}");
            assert!(shown.iter().all(|sample| sample.multipath), "{shown:#?}");

            // One that comes later is known by the look after the one that first shows it.
            let late = multipath_socket().unwrap();
            connect(&late, &at).unwrap();
            let mut told = Vec::new();
            for _ in 0..2 {
                source.look(&mut told).unwrap();
            }
            let late = TcpStream::from(late).local_addr().unwrap().port();
            let marked = told.iter().any(|told| match &told.body {
                Body::Poll(poll) => poll
                    .appeared
                    .iter()
                    .chain(&poll.changed)
                    .any(|sample| sample.id.tuple.local.port() == late && sample.multipath),
                _ => false,
            });
            assert!(marked, "{told:#?}");

            let mut source = SockDiag::open(request).unwrap();
            let shown = ends(&mut source, plain_port);
            assert_eq!(shown.len(), 2, "{shown:#?}");
            assert!(shown.iter().all(|sample| !sample.multipath), "{shown:#?}");
        });
    }
}
