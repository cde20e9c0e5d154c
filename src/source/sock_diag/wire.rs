//! The `sock_diag` protocol as bytes: requests out, rows in. Opens nothing.
//!
//! The header and the attributes are read by the netlink crates; what they drop or would allocate
//! for is read here from the same bytes: the expiry of a mini-socket's timer, the retransmit count
//! of probes, and the attributes above 18. Layout: `struct inet_diag_msg`
//! (include/uapi/linux/inet_diag.h), 72 bytes, then attributes.
//!
//! The traps: a dump that the kernel can't do ends in an NLMSG_DONE whose *payload* is the errno,
//! and looks like an empty table to who does not read it. And the answer to an exact lookup of a
//! tuple that is gone is the LISTEN socket: compare the 4-tuple.

use std::time::Duration;

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, NlasIterator, Parseable,
};
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, INET_DIAG_SHUTDOWN, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseBuffer, InetResponseHeader, SocketId, StateFlags,
};

use crate::model::{
    Cookie, Endpoint, FourTuple, Queues, Sample, Scope, Shutdown, SockId, TcpState, Timer,
    TimerKind, Timestamp,
};
use crate::source::sock_diag::DiagError;

/// `TCPDIAG_GETSOCK` (include/uapi/linux/inet_diag.h): the old request, which alone walks the
/// table once for both families.
const TCPDIAG_GETSOCK: u16 = 18;
/// `INET_DIAG_REQ_BYTECODE` (include/uapi/linux/inet_diag.h).
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// `INET_DIAG_REQ_PROTOCOL` (include/uapi/linux/inet_diag.h): a protocol above 255.
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
/// `IPPROTO_MPTCP` (include/uapi/linux/in.h).
const IPPROTO_MPTCP: u32 = 262;
/// `INET_DIAG_CGROUP_ID` (include/uapi/linux/inet_diag.h): the crate's constants end at 18.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// A row without its attributes.
pub(super) const ROW: usize = size_of::<InetResponseBuffer>();
/// Length of `struct inet_diag_req`, the old request.
const OLD_REQUEST: usize = 60;
/// "Whatever the cookie is" (`INET_DIAG_NOCOOKIE`).
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// The states of a dump of connections: all but LISTEN, and nothing above bit 11. Bit 13
/// (`BOUND_INACTIVE`) would walk the bind table as well.
pub const CONNECTION_STATES: u32 = 0xfff & !LISTEN_STATES;
/// The states of a dump of listeners, which walks the small table of listeners alone.
pub const LISTEN_STATES: u32 = 1 << TcpState::Listen as u32;
/// The bit of TIME_WAIT.
pub const TIME_WAIT_STATE: u32 = 1 << TcpState::TimeWait as u32;

/// Which families a dump asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// Both, in one walk of the table.
    Both,
    /// IPv4 alone, which leaves out IPv4 connections of dual-stack sockets.
    V4,
    /// IPv6, and IPv4 connections of dual-stack sockets.
    V6,
}

/// A request that `netlink-packet-sock-diag` has no room for: with a filter, or the old kind.
enum DiagRequest {
    Old {
        states: u32,
        filter: Vec<DefaultNla>,
    },
    ByFamily {
        request: Box<InetRequest>,
        filter: Vec<DefaultNla>,
    },
}

impl NetlinkSerializable for DiagRequest {
    fn message_type(&self) -> u16 {
        match self {
            Self::Old { .. } => TCPDIAG_GETSOCK,
            Self::ByFamily { .. } => SOCK_DIAG_BY_FAMILY,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Old { filter, .. } => OLD_REQUEST + filter.as_slice().buffer_len(),
            Self::ByFamily { request, filter } => {
                request.buffer_len() + filter.as_slice().buffer_len()
            }
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Old { states, filter } => {
                let (head, tail) = buffer.split_at_mut(OLD_REQUEST);
                head.fill(0);
                // family, two prefix lengths and ext stay 0; then the socket id (48 bytes),
                // idiag_states, idiag_dbs.
                head[52..56].copy_from_slice(&states.to_ne_bytes());
                filter.as_slice().emit(tail);
            }
            Self::ByFamily { request, filter } => {
                let (head, tail) = buffer.split_at_mut(request.buffer_len());
                request.emit(head);
                filter.as_slice().emit(tail);
            }
        }
    }
}

fn bytes_of(request: DiagRequest, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// A request for every socket in `states` that the filter (bytecode, empty for none) lets pass.
pub fn dump_request(families: Families, states: u32, filter: &[u8], sequence: u32) -> Vec<u8> {
    let filter = if filter.is_empty() {
        Vec::new()
    } else {
        vec![DefaultNla::new(INET_DIAG_REQ_BYTECODE, filter.to_vec())]
    };
    let request = match families {
        Families::Both => DiagRequest::Old { states, filter },
        Families::V4 => by_family(AF_INET, states, SocketId::new_v4(), filter),
        Families::V6 => by_family(AF_INET6, states, SocketId::new_v6(), filter),
    };
    bytes_of(request, NLM_F_REQUEST | NLM_F_DUMP, sequence)
}

/// A request for the MPTCP sockets of one family, in every state but LISTEN: their rows carry the
/// 4-tuple of their first subflow, which stands in the TCP table as if it were alone.
pub fn multipath_request(families: Families, sequence: u32) -> Vec<u8> {
    let protocol = DefaultNla::new(INET_DIAG_REQ_PROTOCOL, IPPROTO_MPTCP.to_ne_bytes().to_vec());
    let request = match families {
        Families::V6 => by_family(
            AF_INET6,
            CONNECTION_STATES,
            SocketId::new_v6(),
            vec![protocol],
        ),
        _ => by_family(
            AF_INET,
            CONNECTION_STATES,
            SocketId::new_v4(),
            vec![protocol],
        ),
    };
    bytes_of(request, NLM_F_REQUEST | NLM_F_DUMP, sequence)
}

fn by_family(family: u8, states: u32, socket_id: SocketId, filter: Vec<DefaultNla>) -> DiagRequest {
    DiagRequest::ByFamily {
        request: Box::new(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            // Shutdown mask, cgroup and cookie come unasked.
            extensions: ExtensionFlags::empty(),
            states: StateFlags::from_bits_retain(states),
            socket_id,
        }),
        filter,
    }
}

/// A request for the one socket of this 4-tuple; without a cookie, whichever incarnation has it.
///
/// `device` is what the socket is bound to (`SO_BINDTODEVICE`, a VRF, a link-local address), 0 for
/// none: the kernel finds a bound socket only by its device.
pub fn lookup_request(
    tuple: &FourTuple,
    cookie: Option<Cookie>,
    device: u32,
    sequence: u32,
) -> Vec<u8> {
    let request = of_one(tuple, cookie, device, ExtensionFlags::empty());
    bytes_of(request, NLM_F_REQUEST, sequence)
}

/// As [`lookup_request`], and for the socket's own counters (`tcp_info`). For them the kernel takes
/// the socket's lock, and waits for it without an end: `send()` can block, uninterruptibly.
pub fn counters_request(
    tuple: &FourTuple,
    cookie: Option<Cookie>,
    device: u32,
    sequence: u32,
) -> Vec<u8> {
    let request = of_one(tuple, cookie, device, ExtensionFlags::INFO);
    bytes_of(request, NLM_F_REQUEST, sequence)
}

fn of_one(
    tuple: &FourTuple,
    cookie: Option<Cookie>,
    device: u32,
    extensions: ExtensionFlags,
) -> DiagRequest {
    let family = if tuple.local.addr().is_ipv4() {
        AF_INET
    } else {
        AF_INET6
    };
    let socket_id = SocketId {
        source_port: tuple.local.port(),
        destination_port: tuple.remote.port(),
        source_address: tuple.local.addr(),
        destination_address: tuple.remote.addr(),
        interface_id: device,
        cookie: cookie.map_or(ANY_COOKIE, cookie_bytes),
    };
    DiagRequest::ByFamily {
        request: Box::new(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions,
            states: StateFlags::empty(),
            socket_id,
        }),
        filter: Vec::new(),
    }
}

/// Gives a request that was made before the sequence number that its answer will carry
/// (`nlmsg_seq` of `struct nlmsghdr`).
pub fn set_sequence(request: &mut [u8], sequence: u32) {
    if let Some(bytes) = request.get_mut(8..12) {
        bytes.copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// The kernel keeps the cookie as two native words, the low one first.
fn cookie_bytes(cookie: Cookie) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&(cookie.0 as u32).to_ne_bytes());
    bytes[4..].copy_from_slice(&((cookie.0 >> 32) as u32).to_ne_bytes());
    bytes
}

fn cookie_of(bytes: [u8; 8]) -> Option<Cookie> {
    let low = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let high = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    let cookie = u64::from(high) << 32 | u64::from(low);
    // 0 is never given out, and all ones is the wildcard.
    (cookie != 0 && cookie != u64::MAX).then_some(Cookie(cookie))
}

/// One decoded row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it says.
    pub sample: Sample,
    /// The interface that the socket is bound to, 0 for none: needed to look it up again.
    pub device: u32,
}

/// Reads a row from the payload of a message. `None` when it is too short, or of a family or
/// state that we do not know.
pub fn row(payload: &[u8], scope: Scope, at: Timestamp) -> Option<Row> {
    let header = InetResponseHeader::parse(payload).ok()?;
    let state = TcpState::from_kernel(header.state)?;
    let id = &header.socket_id;
    let endpoint = |addr, port| Endpoint::on_interface(addr, port, id.interface_id);
    let timer = timer(payload, at)?;
    let inode = (header.inode != 0).then_some(header.inode);
    let mut sample = Sample {
        id: SockId {
            scope,
            cookie: cookie_of(id.cookie),
            tuple: FourTuple {
                local: endpoint(id.source_address, id.source_port),
                remote: endpoint(id.destination_address, id.destination_port),
            },
        },
        state,
        queues: Queues::Absent,
        timer,
        // The crate keeps this for one kind of timer only.
        retransmits: *payload.get(3)?,
        inode,
        uid: None,
        shutdown: None,
        cgroup: None,
        multipath: false,
    };
    read_attributes(payload.get(ROW..)?, &mut sample);
    if !sample.is_mini_socket() && !is_request(&sample) {
        sample.uid = Some(header.uid);
        sample.queues = match state {
            TcpState::Listen => Queues::Accept {
                waiting: header.recv_queue,
                backlog: Some(header.send_queue),
            },
            _ => Queues::Stream {
                receive: header.recv_queue,
                send: header.send_queue,
            },
        };
    }
    Some(Row {
        sample,
        device: id.interface_id,
    })
}

/// A handshake that is no socket yet. With TCP Fast Open there is a socket in SYN_RECV, with an
/// inode once it is accepted, and a shutdown mask in any case.
fn is_request(sample: &Sample) -> bool {
    sample.state == TcpState::SynRecv && sample.inode.is_none() && sample.shutdown.is_none()
}

/// The timer with its expiry (bytes 2 and 52 to 55), of which the crate drops TIME_WAIT's.
fn timer(payload: &[u8], at: Timestamp) -> Option<Option<Timer>> {
    let expires = payload.get(52..56)?.try_into().ok()?;
    let left = Duration::from_millis(u32::from_ne_bytes(expires).into());
    Some(TimerKind::from_kernel(*payload.get(2)?).map(|kind| Timer {
        kind,
        deadline: at.plus(left),
    }))
}

/// A broken attribute costs itself and what comes after it, not the row.
fn read_attributes(bytes: &[u8], sample: &mut Sample) {
    for attribute in NlasIterator::new(bytes) {
        let Ok(attribute) = attribute else { return };
        match (attribute.kind(), attribute.value()) {
            (INET_DIAG_SHUTDOWN, [mask, ..]) => {
                sample.shutdown = Some(Shutdown::from_kernel(*mask));
            }
            (INET_DIAG_CGROUP_ID, value) => {
                sample.cgroup = value
                    .get(..8)
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(u64::from_ne_bytes);
            }
            _ => {}
        }
    }
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// The dump is over.
    pub done: bool,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// The kernel says that the table changed under the dump (`NLM_F_DUMP_INTR`).
    pub interrupted: bool,
}

/// One message of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A row's payload.
    Row(&'a [u8]),
    /// The end of a dump.
    Done,
    /// The kernel refuses, with a positive errno.
    Error(i32),
    /// The kernel dropped messages.
    Overrun,
}

/// The messages of a datagram with their sequence numbers and flags. Ends at the first that is
/// cut short; unknown types are skipped.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u32, u16, Message<'_>)> {
    std::iter::from_fn(move || {
        loop {
            // The crate's error is a formatted text: too dear for the end of every datagram.
            if datagram.is_empty() {
                return None;
            }
            let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
            let length = buffer.length() as usize;
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
            let (sequence, flags) = (buffer.sequence_number(), buffer.flags());
            let message = match buffer.message_type() {
                NLMSG_DONE => match errno_of(buffer.payload()) {
                    Some(errno) => Message::Error(errno),
                    None => Message::Done,
                },
                // An errno of 0 is an acknowledgement, which nobody asked for.
                NLMSG_ERROR => match errno_of(buffer.payload()) {
                    Some(errno) => Message::Error(errno),
                    None => continue,
                },
                NLMSG_OVERRUN => Message::Overrun,
                SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => Message::Row(buffer.payload()),
                _ => continue,
            };
            return Some((sequence, flags, message));
        }
    })
}

/// The errno at the head of an error, or inside a DONE: negative in the message, `None` for 0.
fn errno_of(payload: &[u8]) -> Option<i32> {
    let bytes = payload.get(..4)?.try_into().ok()?;
    match i32::from_ne_bytes(bytes) {
        0 => None,
        errno => Some(errno.saturating_neg()),
    }
}

/// Reads the datagram of a dump: hands every row on, and says whether the dump is over.
///
/// # Errors
/// What the kernel refused, by name; `operation` says what was asked.
pub fn read_dump(
    datagram: &[u8],
    sequence: u32,
    scope: Scope,
    at: Timestamp,
    operation: &'static str,
    mut take: impl FnMut(&Row),
) -> Result<Datagram, DiagError> {
    let mut read = Datagram::default();
    for (number, flags, message) in messages(datagram) {
        if number != sequence {
            // The rest of a dump that was given up.
            continue;
        }
        read.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match message {
            Message::Row(payload) => match row(payload, scope, at) {
                Some(row) => take(&row),
                None => read.unreadable += 1,
            },
            Message::Done => read.done = true,
            Message::Error(errno) => return Err(DiagError::refused(operation, errno)),
            Message::Overrun => return Err(DiagError::Overrun { operation }),
        }
    }
    Ok(read)
}
