//! Who a socket is and what one look at it says.
//!
//! The trap: the kernel shows one IPv4 connection of a dual-stack server as two families,
//! `127.0.0.1` and `::ffff:127.0.0.1`. An [`Endpoint`] is folded when it is made, so nothing
//! behind this door ever meets the second spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Shutdown, TcpState, Timer, TimerKind};

/// An address and a port, in the one canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    addr: IpAddr,
    port: u16,
    interface: u32,
}

impl Endpoint {
    /// Folds a v4-mapped address to IPv4. Port in host order.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self::on_interface(addr, port, 0)
    }

    /// As [`Endpoint::new`], with the interface index that a link-local address needs to be one
    /// address (RFC 4007). For every other address the index is dropped: it is not part of who
    /// the endpoint is, and only one of two ends may be bound to a device.
    pub fn on_interface(addr: IpAddr, port: u16, interface: u32) -> Self {
        let addr = addr.to_canonical();
        let interface = match addr {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => interface,
            _ => 0,
        };
        Self {
            addr,
            port,
            interface,
        }
    }

    /// The address, IPv4 wherever it can be.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The port, in host order; 0 when the kernel has none yet.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The interface index of a link-local address.
    pub const fn interface(&self) -> Option<u32> {
        match self.interface {
            0 => None,
            index => Some(index),
        }
    }

    /// `0.0.0.0` or `::`: what a listener on every address is bound to.
    pub const fn is_any_address(&self) -> bool {
        match self.addr {
            IpAddr::V4(v4) => v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_unspecified(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr, self.interface()) {
            (IpAddr::V4(addr), _) => write!(f, "{addr}:{}", self.port),
            (IpAddr::V6(addr), None) => write!(f, "[{addr}]:{}", self.port),
            (IpAddr::V6(addr), Some(index)) => write!(f, "[{addr}%{index}]:{}", self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<(Ipv4Addr, u16)> for Endpoint {
    fn from((addr, port): (Ipv4Addr, u16)) -> Self {
        Self::new(addr.into(), port)
    }
}

impl From<(Ipv6Addr, u16)> for Endpoint {
    fn from((addr, port): (Ipv6Addr, u16)) -> Self {
        Self::new(addr.into(), port)
    }
}

/// One end's view of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourTuple {
    /// The socket's own endpoint.
    pub local: Endpoint,
    /// The endpoint it talks to.
    pub remote: Endpoint,
}

impl FourTuple {
    /// The same connection as the other end sees it.
    #[must_use]
    pub const fn mirror(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }

    /// A socket connected to itself: a connection with one end.
    pub fn is_own_mirror(&self) -> bool {
        self.local == self.remote
    }
}

/// Where a cookie, or a loopback address, means something: a network namespace of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scope {
    /// The host; 0 is the one that is watched live.
    pub host: u16,
    /// The network namespace's inode (`/proc/self/ns/net`), `None` when it could not be read.
    pub netns: Option<u64>,
}

/// The kernel's name for a socket (`SO_COOKIE`). It survives from SYN_RECV to TIME_WAIT, is never
/// given to another while the host is up, and is not ordered. A program can connect its socket
/// again, so only together with the 4-tuple it names an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Who a socket is, as far as the source knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SockId {
    /// Where the rest is unique.
    pub scope: Scope,
    /// The incarnation; `None` from /proc.
    pub cookie: Option<Cookie>,
    /// The 4-tuple, which later incarnations share.
    pub tuple: FourTuple,
}

/// What is queued at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queues {
    /// A connection's, in sequence numbers: a FIN counts one on either side.
    Stream {
        /// `rcv_nxt - copied_seq`.
        receive: u32,
        /// `write_seq - snd_una`.
        send: u32,
    },
    /// A listener's, in connections.
    Accept {
        /// Connections that wait for `accept()`.
        waiting: u32,
        /// How many may wait, `None` from /proc; the kernel lets one more in.
        backlog: Option<u32>,
    },
    /// A mini-socket (TIME_WAIT, orphan FIN_WAIT2) or a request socket has no queues.
    Absent,
}

/// Whether a program still holds the socket, as the inode tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// A descriptor is open somewhere: what was sent was `shutdown()`'s FIN, not `close()`'s
    /// (or `close()` blocks in SO_LINGER).
    Held,
    /// The last descriptor is closed: by `close()`, or because its process ended.
    Gone,
    /// No program has accepted the connection.
    NotAccepted,
}

impl Descriptor {
    /// The word in machine output.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Gone => "gone",
            Self::NotAccepted => "not_accepted",
        }
    }
}

/// One socket as one look showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Who it is.
    pub id: SockId,
    /// Its state.
    pub state: TcpState,
    /// What is queued.
    pub queues: Queues,
    /// The running timer.
    pub timer: Option<Timer>,
    /// Retransmissions, or probes, that are not answered.
    pub retransmits: u8,
    /// The socket file's inode; `None` is the kernel's 0: no file is attached.
    pub inode: Option<u32>,
    /// The owner's user id; `None` for mini-sockets, of which the kernel says 0 for everybody.
    pub uid: Option<u32>,
    /// Which sides are shut; `None` when the source or the kind of socket does not say.
    pub shutdown: Option<Shutdown>,
    /// The cgroup v2 id.
    pub cgroup: Option<u64>,
    /// A subflow of a multipath connection (MPTCP), whose teardown goes by other rules. False
    /// also where the source can't tell.
    pub multipath: bool,
}

impl Sample {
    /// A mini-socket: what the kernel keeps of a connection in TIME_WAIT, and in FIN_WAIT2 once
    /// the descriptor is gone.
    pub fn is_mini_socket(&self) -> bool {
        self.inode.is_none()
            && self
                .timer
                .is_some_and(|timer| timer.kind == TimerKind::TimeWait)
    }

    /// Whether a program still holds it. `None` where the inode does not tell: a TIME_WAIT shows
    /// none even while the descriptor is open, and a handshake has none yet.
    pub fn descriptor(&self) -> Option<Descriptor> {
        match (self.state, self.inode) {
            (TcpState::TimeWait | TcpState::SynRecv | TcpState::Close, None) => None,
            (_, Some(_)) => Some(Descriptor::Held),
            (TcpState::Established | TcpState::CloseWait, None) => Some(Descriptor::NotAccepted),
            (_, None) => Some(Descriptor::Gone),
        }
    }

    /// Bytes received that the program has not read; the FIN's one is taken off.
    pub fn unread(&self) -> Option<u32> {
        match self.queues {
            Queues::Stream { receive, .. } => {
                Some(receive.saturating_sub(self.state.has_received_fin().into()))
            }
            Queues::Accept { .. } | Queues::Absent => None,
        }
    }

    /// Bytes sent or queued that the peer has not acknowledged; the one of a FIN or SYN is taken
    /// off.
    pub fn unacked(&self) -> Option<u32> {
        match self.queues {
            Queues::Stream { send, .. } => {
                Some(send.saturating_sub(self.state.has_control_in_flight().into()))
            }
            Queues::Accept { .. } | Queues::Absent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str, port: u16) -> Endpoint {
        Endpoint::new(text.parse().unwrap(), port)
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        assert_eq!(endpoint("::ffff:127.0.0.1", 80), endpoint("127.0.0.1", 80));
        assert_eq!(endpoint("::ffff:127.0.0.1", 80).to_string(), "127.0.0.1:80");
        assert_eq!(endpoint("::1", 80).to_string(), "[::1]:80");
        // `::` is IPv4-compatible by its bits, yet no IPv4 address.
        assert_eq!(endpoint("::", 80).to_string(), "[::]:80");
    }

    #[test]
    fn an_interface_counts_for_link_local_addresses_alone() {
        let addr: IpAddr = "fe80::1".parse().unwrap();
        assert_ne!(
            Endpoint::on_interface(addr, 1, 2),
            Endpoint::on_interface(addr, 1, 3)
        );
        assert_eq!(
            Endpoint::on_interface(addr, 1, 2).to_string(),
            "[fe80::1%2]:1"
        );
        let global: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(
            Endpoint::on_interface(global, 1, 2),
            Endpoint::new(global, 1)
        );
    }

    #[test]
    fn mirroring_twice_is_the_tuple_itself() {
        let tuple = FourTuple {
            local: endpoint("10.0.0.1", 5),
            remote: endpoint("10.0.0.2", 6),
        };
        assert_eq!(tuple.mirror().mirror(), tuple);
        assert!(!tuple.is_own_mirror());
    }
}
