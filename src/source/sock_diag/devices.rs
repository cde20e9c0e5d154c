//! The network devices of a namespace by number: a socket that is bound to one is found by exact
//! lookup only when it is asked for there.
//!
//! Asked of rtnetlink, since it answers for the namespace of the thread that opened its socket;
//! the trap is sysfs, which shows the namespace that mounted it. Where a sandbox forbids it the
//! list is empty, and a bound socket that follow was not told of is left to the dumps.

use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::model::Timestamp;

/// A list this old is asked for again.
const FRESH: Duration = Duration::from_secs(1);
/// More are not tried: each is one more question for every socket that vanishes.
const MOST: usize = 32;
/// The kernel answers at once; this is for those that emulate one.
const PATIENCE: Duration = Duration::from_secs(1);
const ROOM: usize = 32 << 10;

/// `RTM_GETLINK` and its answer `RTM_NEWLINK` (include/uapi/linux/rtnetlink.h).
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
/// `NLMSG_ERROR` and `NLMSG_DONE` (include/uapi/linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const FLAGS: u16 = 0x301;
/// `struct nlmsghdr` and `struct ifinfomsg`.
const HEADER: usize = 16;
const LINK: usize = 16;

/// The devices that a socket can be bound to.
pub(in crate::source) struct Devices {
    socket: Option<Socket>,
    known: Vec<u32>,
    asked: Option<Timestamp>,
}

impl Devices {
    pub(in crate::source) fn open() -> Self {
        Self {
            socket: open(),
            known: Vec::new(),
            asked: None,
        }
    }

    /// Their numbers, at most a second old.
    pub(in crate::source) fn numbers(&mut self, now: Timestamp) -> &[u32] {
        if self.asked.is_none_or(|asked| now.since(asked) >= FRESH)
            && let Some(socket) = &self.socket
        {
            self.asked = Some(now);
            match dump(socket) {
                Some(numbers) => self.known = numbers,
                // The rest of its answer may still come: it must not be taken for the next one.
                None => self.socket = open(),
            }
        }
        &self.known
    }
}

fn open() -> Option<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE).ok()?;
    socket.bind_auto().ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).ok()?;
    Some(socket)
}

fn dump(socket: &Socket) -> Option<Vec<u32>> {
    let length = (HEADER + LINK) as u32;
    let mut request = Vec::with_capacity(HEADER + LINK);
    request.extend(length.to_ne_bytes());
    request.extend(GET_LINK.to_ne_bytes());
    request.extend(FLAGS.to_ne_bytes());
    request.resize(HEADER + LINK, 0);
    socket.send(&request, 0).ok()?;
    let mut numbers = Vec::new();
    let mut buffer = vec![0; ROOM];
    loop {
        let length = socket.recv(&mut &mut buffer[..], 0).ok()?;
        if read(buffer.get(..length)?, &mut numbers)? {
            return Some(numbers);
        }
    }
}

/// Reads a datagram; whether it was the last. `None` for an error, or what can't be read.
fn read(mut datagram: &[u8], numbers: &mut Vec<u32>) -> Option<bool> {
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
    while !datagram.is_empty() {
        let length = number(datagram.get(..4)?)? as usize;
        let message = datagram.get(..length)?;
        let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
        match kind {
            // ifi_index follows family, padding and type.
            NEW_LINK if numbers.len() < MOST => {
                numbers.push(number(message.get(HEADER + 4..HEADER + 8)?)?);
            }
            DONE => return Some(true),
            ERROR => return None,
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        if length < HEADER {
            return None;
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::super::discover::netns::in_fresh_netns;
    use super::*;
    use crate::source::clock;

    #[test]
    fn a_fresh_namespace_has_its_loopback() {
        in_fresh_netns("a_fresh_namespace_has_its_loopback", || {
            let mut devices = Devices::open();
            // Tunnels that the kernel makes everywhere may stand beside it.
            assert!(devices.numbers(clock::now()).contains(&1));
        });
    }

    #[test]
    fn what_is_cut_short_is_no_list() {
        let mut numbers = Vec::new();
        assert_eq!(read(&[32, 0, 0, 0, 16, 0], &mut numbers), None);
        assert_eq!(read(&[0; 16], &mut numbers), None);
        assert!(numbers.is_empty());
    }
}
