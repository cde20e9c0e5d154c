//! The way of the tracker's questions to the quick thread: a channel, and an eventfd that wakes
//! the thread out of poll().
//!
//! The trap: the thread sleeps without end when it has nothing to do. So the last asker that is
//! dropped wakes it too, after its end of the channel is closed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};

use rustix::event::{EventfdFlags, eventfd};

use crate::model::Ask;

/// Takes the tracker's questions to the quick thread.
#[derive(Clone)]
pub struct Asker {
    // Dropped in this order: who is woken by the end finds the channel closed.
    sender: Sender<Vec<Ask>>,
    wake: Wake,
}

#[derive(Clone)]
struct Wake(Arc<OwnedFd>);

impl Asker {
    /// Hands on what is for this thread, [`Ask::Follow`] and [`Ask::Leave`]; without any it costs
    /// nothing. When the thread has ended there is nobody to ask, and it has said so itself.
    pub fn send(&self, asks: &[Ask]) {
        let ours = |ask: &&Ask| matches!(ask, Ask::Follow(_) | Ask::Leave(_));
        let batch: Vec<Ask> = asks.iter().filter(ours).copied().collect();
        if !batch.is_empty() && self.sender.send(batch).is_ok() {
            self.wake.now();
        }
    }
}

impl Asker {
    /// Lets the thread read the events that are there, and say until when that is all.
    pub fn prompt(&self) {
        if self.sender.send(Vec::new()).is_ok() {
            self.wake.now();
        }
    }
}

impl Wake {
    fn now(&self) {
        // It can only refuse when it is at its maximum, and then it wakes already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.now();
    }
}

/// The thread's end.
pub(super) struct Asked {
    receiver: Receiver<Vec<Ask>>,
    wake: Arc<OwnedFd>,
}

/// Both ends.
pub(super) fn channel() -> io::Result<(Asker, Asked)> {
    let (sender, receiver) = mpsc::channel();
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let wake = Arc::new(eventfd(0, flags)?);
    let asker = Asker {
        sender,
        wake: Wake(Arc::clone(&wake)),
    };
    Ok((asker, Asked { receiver, wake }))
}

impl Asked {
    /// Readable when something was asked, or nobody is left to ask.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Hands on all that was asked, in order. Returns whether somebody prompts for the events;
    /// `None` when nobody is left to ask.
    pub(super) fn take(&self, mut each: impl FnMut(Ask)) -> Option<bool> {
        let mut is_prompted = false;
        // First the eventfd, or what is asked in between would wake nobody.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        loop {
            match self.receiver.try_recv() {
                Ok(batch) => {
                    is_prompted |= batch.is_empty();
                    batch.into_iter().for_each(&mut each);
                }
                Err(TryRecvError::Empty) => return Some(is_prompted),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
    }
}
