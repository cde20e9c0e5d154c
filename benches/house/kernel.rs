//! What the kernel spends by itself: a dump that is received and thrown away, or kept to be
//! decoded again and again; and a read of /proc/net/tcp.

use std::fs::File;
use std::io::{self, Read};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use tcpwatch::source::sock_diag::wire::{CONNECTION_STATES, Families, dump_request};

/// The sequence number of every dump here.
pub const SEQUENCE: u32 = 1;
/// Length of a DONE: a header and an errno.
const DONE: usize = 20;
/// `NLMSG_DONE`.
const DONE_TYPE: [u8; 2] = 3_u16.to_ne_bytes();

/// Dumps without decoding.
pub struct Kernel {
    socket: Socket,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Kernel {
    /// A socket of its own, asking as the program does.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            request: dump_request(Families::Both, CONNECTION_STATES, &[], SEQUENCE),
            buffer: vec![0; 64 << 10],
        })
    }

    /// Asks for every connection and hands on each datagram.
    pub fn dump(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        self.socket.send(&self.request, 0)?;
        loop {
            let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            let datagram = &self.buffer[..length];
            take(datagram);
            if is_end(datagram) {
                return Ok(());
            }
        }
    }
}

/// Whether the last message is a DONE, without walking those before it.
fn is_end(datagram: &[u8]) -> bool {
    let Some(start) = datagram.len().checked_sub(DONE) else {
        return true;
    };
    datagram[start..start + 4] == (DONE as u32).to_ne_bytes()
        && datagram[start + 4..start + 6] == DONE_TYPE
}

/// Reads the table as text.
pub fn read_proc(text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    File::open("/proc/thread-self/net/tcp")?.read_to_end(text)?;
    Ok(())
}
