//! Exact lookups: is this very socket still there? They cost under a microsecond each, however
//! large the table.
//!
//! Asked by cookie, ENOENT is an answer: that incarnation is gone. Asked without, the kernel
//! hands out whoever has the 4-tuple now, or the listener, so the tuple is compared. The traps:
//! a socket that is bound to a device is found by that device alone, and of listeners that share
//! an address one is found, not each.

use crate::model::{
    Answer, Body, Cookie, Observation, Sample, Scope, SockId, SourceName, TcpState, Timestamp,
};
use crate::source::clock;
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::discover::{open_socket, receive, send};
use crate::source::sock_diag::wire::{Message, Row, lookup_request, messages, row};
use crate::source::table::Table;

/// The answers to this many fit into the default receive queue with room to spare (166 of the
/// longest kind overrun it).
const BATCH: usize = 64;
/// An answer is one message of at most a few hundred bytes.
const ROOM: usize = 8 << 10;
const OPERATION: &str = "lookup of a socket";

/// Asks for single sockets.
pub(super) struct Lookups {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
    requests: Vec<u8>,
    sequence: u32,
}

/// One answer, with the time it was asked and answered.
pub(super) struct Answered {
    asked: SockId,
    begun: Timestamp,
    at: Timestamp,
    answer: Answer,
    device: u32,
}

impl Answered {
    /// Whether the socket that was asked for is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        !matches!(self.answer, Answer::Found(_))
    }

    /// Whether it is a listener that was asked for in vain.
    pub(super) fn is_lost_listener(&self) -> bool {
        self.is_gone() && self.asked.tuple.remote.port() == 0
    }

    /// A dump shows a listener: perhaps this one.
    pub(super) fn seen_listening(&mut self, row: &Row, at: Timestamp) {
        if self.is_lost_listener() && row.sample.id == self.asked {
            self.answer = Answer::Found(row.sample);
            self.device = row.device;
            self.at = at;
        }
    }

    /// Brings the table to what was answered.
    pub(super) fn settle(&self, table: &mut Table<Cookie>) {
        match (&self.answer, self.asked.cookie) {
            (Answer::Found(sample), _) => {
                if let Some(cookie) = sample.id.cookie {
                    table.found(cookie, sample, self.device, self.at);
                }
            }
            (Answer::Gone | Answer::Other(_), Some(cookie)) => table.gone(&cookie),
            (Answer::Gone | Answer::Other(_), None) => {}
        }
    }

    /// What the tracker is told.
    pub(super) fn observation(&self) -> Observation {
        Observation {
            at: self.at,
            source: SourceName::SockDiag,
            body: Body::Lookup {
                asked: self.asked,
                begun: self.begun,
                unchanged: None,
                answer: self.answer,
            },
        }
    }
}

/// What came for one question.
#[derive(Clone, Copy)]
enum Reply {
    Row(Row),
    NoEntry,
    /// Something is there that we can't read: no answer.
    Unreadable,
}

impl Lookups {
    pub(super) fn open() -> Result<Self, DiagError> {
        Ok(Self {
            socket: open_socket()?,
            buffer: vec![0; ROOM],
            requests: Vec::new(),
            sequence: 0,
        })
    }

    /// Asks for each of these sockets, in order. One without a cookie was never seen: whoever has
    /// its 4-tuple is the answer.
    pub(super) fn ask(
        &mut self,
        asked: &[SockId],
        scope: Scope,
        table: &Table<Cookie>,
    ) -> Result<Vec<Answered>, DiagError> {
        let mut answers = Vec::with_capacity(asked.len());
        let ours: Vec<(SockId, u32)> = asked.iter().map(|id| (*id, device(id, table))).collect();
        for batch in ours.chunks(BATCH) {
            self.ask_batch(batch, scope, &mut answers)?;
        }
        Ok(answers)
    }

    fn ask_batch(
        &mut self,
        batch: &[(SockId, u32)],
        scope: Scope,
        answers: &mut Vec<Answered>,
    ) -> Result<(), DiagError> {
        let begun = clock::now();
        let replies = self.round(batch, scope, true)?;
        let at = clock::now();
        let gone: Vec<(SockId, u32)> = batch
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| matches!(reply, Reply::NoEntry))
            .map(|(question, _)| *question)
            .collect();
        // Who has the 4-tuple now? A second question only where the first found nobody.
        let mut successors = self.round(&gone, scope, false)?.into_iter();
        for (&(asked, device), reply) in batch.iter().zip(replies) {
            let (answer, device) = match reply {
                Reply::Row(row) if has_tuple(&row.sample, &asked) => {
                    (Answer::Found(row.sample), row.device)
                }
                Reply::Row(_) => (Answer::Gone, device),
                Reply::NoEntry => (successor(&asked, successors.next()), device),
                Reply::Unreadable => continue,
            };
            answers.push(Answered {
                asked,
                begun,
                at,
                answer,
                device,
            });
        }
        Ok(())
    }

    /// Sends all questions in one datagram and collects a reply for each.
    fn round(
        &mut self,
        batch: &[(SockId, u32)],
        scope: Scope,
        with_cookie: bool,
    ) -> Result<Vec<Reply>, DiagError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.sequence.wrapping_add(1);
        self.requests.clear();
        for (id, device) in batch {
            self.sequence = self.sequence.wrapping_add(1);
            let cookie = id.cookie.filter(|_| with_cookie);
            let request = lookup_request(&id.tuple, cookie, *device, self.sequence);
            self.requests.extend_from_slice(&request);
        }
        send(&self.socket, &self.requests, OPERATION)?;
        let mut replies: Vec<Option<Reply>> = vec![None; batch.len()];
        let mut open = batch.len();
        while open > 0 {
            let length = receive(&self.socket, &mut self.buffer, OPERATION)?;
            let at = clock::now();
            let datagram = self.buffer.get(..length).unwrap_or_default();
            for (sequence, _, message) in messages(datagram) {
                let index = sequence.wrapping_sub(first) as usize;
                let Some(reply) = replies.get_mut(index).filter(|reply| reply.is_none()) else {
                    continue;
                };
                *reply = Some(reply_of(message, scope, at)?);
                open -= 1;
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }
}

fn reply_of(message: Message<'_>, scope: Scope, at: Timestamp) -> Result<Reply, DiagError> {
    match message {
        Message::Row(payload) => Ok(row(payload, scope, at).map_or(Reply::Unreadable, Reply::Row)),
        // No such socket, or that cookie is another incarnation's.
        Message::Error(libc::ENOENT | libc::ESTALE) => Ok(Reply::NoEntry),
        Message::Error(errno) => Err(DiagError::refused(OPERATION, errno)),
        Message::Overrun => Err(DiagError::Overrun {
            operation: OPERATION,
        }),
        Message::Done => Ok(Reply::Unreadable),
    }
}

/// The interface to ask by: what the socket is bound to, as far as it was ever seen.
fn device(id: &SockId, table: &Table<Cookie>) -> u32 {
    match id.cookie {
        Some(cookie) => table.device(&cookie),
        None => id.tuple.local.interface().unwrap_or(0),
    }
}

/// Whether the row is of the 4-tuple that was asked for. For one that is not there the kernel
/// hands out its listener.
fn has_tuple(sample: &Sample, asked: &SockId) -> bool {
    sample.id.tuple == asked.tuple
}

/// Whether somebody else has the 4-tuple of a socket that is gone.
fn successor(asked: &SockId, reply: Option<Reply>) -> Answer {
    match reply {
        Some(Reply::Row(row))
            if has_tuple(&row.sample, asked) && row.sample.state != TcpState::Listen =>
        {
            if row.sample.id.cookie == asked.cookie {
                Answer::Found(row.sample)
            } else {
                Answer::Other(row.sample.id.cookie)
            }
        }
        _ => Answer::Gone,
    }
}
