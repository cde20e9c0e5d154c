//! Receives the answers to many questions in one system call (`recvmmsg`).
//!
//! Each answer is a datagram of its own, and receiving them one by one costs an eighth more than
//! the kernel takes to give them. The trap: a datagram that is longer than its place is cut, and
//! only its length says so.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::Socket;

use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::discover::failed_to_receive;

/// A row without extensions has at most some 200 bytes; an error repeats the question.
const PLACE: usize = 1 << 10;

/// Room for answers.
pub(super) struct Mailbox {
    places: Vec<u8>,
    lengths: Vec<usize>,
}

impl Mailbox {
    /// Room for so many at a time.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: vec![0; places * PLACE],
            lengths: Vec::with_capacity(places),
        }
    }

    /// Waits for one datagram and takes as many as there are, of at most `most`.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        most: usize,
        operation: &'static str,
    ) -> Result<impl Iterator<Item = &[u8]>, DiagError> {
        self.lengths.clear();
        while self.lengths.is_empty() {
            match self.receive_once(socket, most) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed_to_receive(error, operation)),
            }
        }
        if let Some(&length) = self.lengths.iter().find(|length| **length > PLACE) {
            return Err(DiagError::Truncated {
                operation,
                length,
                room: PLACE,
            });
        }
        let places = self.places.chunks_exact(PLACE);
        Ok(places
            .zip(&self.lengths)
            .map(|(place, length)| place.get(..*length).unwrap_or_default()))
    }

    #[expect(
        unsafe_code,
        reason = "recvmmsg takes pointers, and no safe crate of ours wraps it"
    )]
    fn receive_once(&mut self, socket: &Socket, most: usize) -> io::Result<()> {
        let mut vectors: Vec<libc::iovec> = self
            .places
            .chunks_exact_mut(PLACE)
            .take(most)
            .map(|place| libc::iovec {
                iov_base: place.as_mut_ptr().cast(),
                iov_len: place.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all zeroes is a valid mmsghdr: null pointers and numbers.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        // SAFETY: there are as many headers as is said; each names one vector, which is a place of
        // its own in our buffer. All of them outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                // As elsewhere, MSG_TRUNC gives the real length.
                libc::MSG_WAITFORONE | libc::MSG_TRUNC,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let lengths = headers.iter().take(received);
        self.lengths
            .extend(lengths.map(|header| header.msg_len as usize));
        Ok(())
    }
}
