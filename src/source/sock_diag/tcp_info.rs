//! `struct tcp_info` (include/uapi/linux/tcp.h) as bytes: a socket's own counters, out of the
//! attribute of a row. Opens nothing.
//!
//! The kernel has made the struct longer again and again, so it is read by its length, and what an
//! older one lacks is `None`. The traps: `tcpi_last_ack_sent` is never filled in, and
//! `tcpi_last_ack_recv` counts from the boot while nothing was received (SYN_SENT).

use std::time::Duration;

use netlink_packet_core::NlasIterator;
use netlink_packet_sock_diag::constants::INET_DIAG_INFO;

use crate::model::{Counters, TcpState};
use crate::source::sock_diag::wire::ROW;

/// Where the fields begin, in bytes.
mod field {
    pub(super) const STATE: usize = 0;
    pub(super) const BACKOFF: usize = 4;
    pub(super) const LAST_DATA_SENT: usize = 44;
    pub(super) const LAST_DATA_RECV: usize = 52;
    pub(super) const LAST_ACK_RECV: usize = 56;
    pub(super) const BYTES_ACKED: usize = 120;
    pub(super) const BYTES_RECEIVED: usize = 128;
}

/// `idiag_timer` (net/ipv4/inet_diag.c) when no timer runs. Of several that run it names one, and
/// the keepalive's last.
const NO_TIMER: u8 = 0;

/// Reads the counters from the payload of a message. `None` when it has none, as that of a
/// mini-socket, or is too short for the times.
pub fn counters(payload: &[u8]) -> Option<Counters> {
    let timer = *payload.get(2)?;
    let info = attribute(payload.get(ROW..)?)?;
    let byte = |at: usize| info.get(at).copied();
    let millis = |at: usize| {
        let bytes = info.get(at..at + 4)?.try_into().ok()?;
        Some(Duration::from_millis(u32::from_ne_bytes(bytes).into()))
    };
    let count = |at: usize| {
        let bytes = info.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    Some(Counters {
        state: TcpState::from_kernel(byte(field::STATE)?)?,
        data_sent: millis(field::LAST_DATA_SENT)?,
        data_received: millis(field::LAST_DATA_RECV)?,
        ack_received: millis(field::LAST_ACK_RECV)?,
        keepalive: timer != NO_TIMER,
        backoff: byte(field::BACKOFF)?,
        bytes_received: count(field::BYTES_RECEIVED),
        bytes_acked: count(field::BYTES_ACKED),
    })
}

/// The attribute, as far as the row can be read.
fn attribute(bytes: &[u8]) -> Option<&[u8]> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == INET_DIAG_INFO)
        .and_then(|attribute| {
            // The header, which the length counts, and the value behind it.
            let length = usize::from(attribute.length());
            attribute.into_inner().get(4..length)
        })
}
