//! Exact lookups: is this very socket still there? They cost under a microsecond each, however
//! large the table.
//!
//! Asked by cookie, ENOENT is an answer: that incarnation is gone. Asked without, the kernel
//! hands out whoever has the 4-tuple now, or the listener, so the tuple is compared. The traps:
//! a socket that is bound to a device is found by that device alone, and of listeners that share
//! an address one is found, not each.

use crate::model::{
    Answer, Body, Cookie, FourTuple, Observation, Sample, Scope, SockId, SourceName, TcpState,
    Timestamp,
};
use crate::source::clock;
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::discover::{open_socket, send};
use crate::source::sock_diag::mailbox::Mailbox;
use crate::source::sock_diag::wire::{Message, Row, lookup_request, messages, row, set_sequence};
use crate::source::table::{Seen, Table};

/// The answers to this many fit into the default receive queue with room to spare (166 of the
/// longest kind overrun it).
pub(super) const BATCH: usize = 64;
const OPERATION: &str = "lookup of a socket";

/// Asks for single sockets.
pub(super) struct Lookups {
    socket: netlink_sys::Socket,
    mailbox: Mailbox,
    requests: Vec<u8>,
    /// How many of them there are.
    asked: u32,
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

    /// Marks a subflow of MPTCP, which an exact answer does not tell.
    pub(super) fn mark(&mut self, is_multipath: impl Fn(&FourTuple) -> bool) {
        if let Answer::Found(sample) = &mut self.answer {
            sample.multipath = is_multipath(&sample.id.tuple);
        }
    }

    /// Brings the table to what was answered.
    pub(super) fn settle(&self, table: &mut Table<Cookie>) {
        match (&self.answer, self.asked.cookie) {
            (Answer::Found(sample), _) => {
                if let Some(cookie) = sample.id.cookie {
                    let seen = Seen {
                        since: self.begun,
                        at: self.at,
                    };
                    table.found(cookie, sample, self.device, seen);
                }
            }
            (Answer::Gone | Answer::Other(_), Some(cookie)) => table.gone(&cookie),
            (Answer::Gone | Answer::Other(_), None) => {}
        }
    }

    /// What the tracker is told.
    pub(super) fn observation(&self) -> Observation {
        Observation {
            host: 0,
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
            mailbox: Mailbox::new(BATCH),
            requests: Vec::new(),
            asked: 0,
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
        let mut successors = self.successors(&gone, scope)?.into_iter();
        for (&(asked, device), reply) in batch.iter().zip(replies) {
            let (answer, device) = match reply {
                Reply::Row(row) if has_tuple(&row.sample, &asked) => {
                    (Answer::Found(row.sample), row.device)
                }
                Reply::Row(_) => (Answer::Gone, device),
                Reply::NoEntry => match successors.next() {
                    Some(answer) => (answer, device),
                    None => continue,
                },
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

    /// Who has the 4-tuples of these sockets, which were not found, now?
    fn successors(
        &mut self,
        gone: &[(SockId, u32)],
        scope: Scope,
    ) -> Result<Vec<Answer>, DiagError> {
        let replies = self.round(gone, scope, false)?;
        Ok(gone
            .iter()
            .zip(replies)
            .map(|((asked, _), reply)| successor(asked, reply))
            .collect())
    }

    /// Answers for sockets of which nothing is known but who they are; `None` where the answer
    /// can't be read.
    pub(super) fn find(
        &mut self,
        asked: &[(SockId, u32)],
        devices: &[u32],
        scope: Scope,
    ) -> Result<Vec<Option<Answer>>, DiagError> {
        let mut answers = Vec::with_capacity(asked.len());
        let mut missed = Vec::new();
        for batch in asked.chunks(BATCH) {
            for ((id, device), reply) in batch.iter().zip(self.round(batch, scope, true)?) {
                answers.push(match reply {
                    Reply::Row(row) if has_tuple(&row.sample, id) => {
                        Some(Answer::Found(row.sample))
                    }
                    Reply::Row(_) | Reply::NoEntry => {
                        missed.push((answers.len(), (*id, *device)));
                        None
                    }
                    Reply::Unreadable => None,
                });
            }
        }
        let questions: Vec<(SockId, u32)> = missed.iter().map(|(_, asked)| *asked).collect();
        let settled = self.settle(&questions, devices, scope)?;
        for ((index, _), (answer, _)) in missed.into_iter().zip(settled) {
            if let Some(place) = answers.get_mut(index) {
                *place = Some(answer);
            }
        }
        Ok(answers)
    }

    /// What became of sockets that were not found by their cookies where they were asked for: a
    /// socket can be bound to one of these devices, and only there it is found then.
    pub(super) fn settle(
        &mut self,
        missed: &[(SockId, u32)],
        devices: &[u32],
        scope: Scope,
    ) -> Result<Vec<(Answer, u32)>, DiagError> {
        let mut settled = Vec::with_capacity(missed.len());
        for batch in missed.chunks(BATCH) {
            let answers = self.successors(batch, scope)?;
            settled.extend(
                answers
                    .into_iter()
                    .zip(batch.iter().map(|(_, device)| *device)),
            );
        }
        let mut bound = Vec::new();
        for (index, (asked, device)) in missed.iter().enumerate() {
            let is_gone = settled
                .get(index)
                .is_some_and(|(answer, _)| !matches!(answer, Answer::Found(_)));
            if is_gone && asked.cookie.is_some() {
                let others = devices.iter().filter(|other| *other != device);
                bound.extend(others.map(|&other| (index, (*asked, other))));
            }
        }
        for batch in bound.chunks(BATCH) {
            let questions: Vec<(SockId, u32)> = batch.iter().map(|(_, asked)| *asked).collect();
            let replies = self.round(&questions, scope, true)?;
            for ((index, (asked, _)), reply) in batch.iter().zip(replies) {
                if let Reply::Row(row) = reply
                    && has_tuple(&row.sample, asked)
                    && let Some(place) = settled.get_mut(*index)
                {
                    *place = (Answer::Found(row.sample), row.device);
                }
            }
        }
        Ok(settled)
    }

    /// Sends all questions in one datagram and collects a reply for each.
    fn round(
        &mut self,
        batch: &[(SockId, u32)],
        scope: Scope,
        with_cookie: bool,
    ) -> Result<Vec<Reply>, DiagError> {
        let requests: Vec<Vec<u8>> = batch
            .iter()
            .map(|(id, device)| {
                let cookie = id.cookie.filter(|_| with_cookie);
                lookup_request(&id.tuple, cookie, *device, 0)
            })
            .collect();
        let mut replies = vec![Reply::Unreadable; batch.len()];
        self.begin();
        for request in &requests {
            self.add(request);
        }
        self.exchange(|index, message| {
            if let Some(reply) = replies.get_mut(index) {
                *reply = reply_of(message, scope, clock::now())?;
            }
            Ok(())
        })?;
        Ok(replies)
    }

    /// Begins a datagram of questions.
    pub(super) fn begin(&mut self) {
        self.requests.clear();
        self.asked = 0;
    }

    /// Adds a question, of at most [`BATCH`]. It is numbered here.
    pub(super) fn add(&mut self, question: &[u8]) {
        let start = self.requests.len();
        self.requests.extend_from_slice(question);
        let number = self.sequence.wrapping_add(1 + self.asked);
        set_sequence(self.requests.get_mut(start..).unwrap_or_default(), number);
        self.asked += 1;
    }

    /// Sends the datagram and hands on the reply to each question with its place.
    pub(super) fn exchange(
        &mut self,
        mut take: impl FnMut(usize, Message<'_>) -> Result<(), DiagError>,
    ) -> Result<(), DiagError> {
        let first = self.sequence.wrapping_add(1);
        let mut open = (1_u128 << self.asked) - 1;
        self.sequence = self.sequence.wrapping_add(self.asked);
        if open == 0 {
            return Ok(());
        }
        send(&self.socket, &self.requests, OPERATION)?;
        while open != 0 {
            let most = open.count_ones() as usize;
            let datagrams = self.mailbox.receive(&self.socket, most, OPERATION)?;
            for (sequence, _, message) in datagrams.flat_map(messages) {
                // A number that is not open is the rest of questions that were given up.
                let index = sequence.wrapping_sub(first);
                let bit = 1_u128.checked_shl(index).unwrap_or(0);
                if open & bit != 0 {
                    open &= !bit;
                    take(index as usize, message)?;
                }
            }
        }
        Ok(())
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
fn successor(asked: &SockId, reply: Reply) -> Answer {
    match reply {
        Reply::Row(row)
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
