//! Records between the ring and whoever wants them: put in order, and held back where one of them
//! does not know yet who it is.
//!
//! Two kinds of records wait for the next one of the same socket. A connection that is being
//! opened has its local port only after the event; a socket that is being made of a listener's
//! has neither its addresses nor its cookie. Nothing later is handed out before them, so that what
//! is handed out is in order for good. It must not know the kernel nor a clock: it is given both.
//!
//! The trap: a socket of an unwanted port is silent from then on (its events are not let through),
//! so waiting alone would never end; see [`Backlog::give_up`].

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::model::TcpState;
use crate::source::bpf::record::{Record, STATE};

/// So many can wait at once: a host that opens more connections than this in a twentieth of a
/// second, and to whom nobody answers.
const MOST_WAITING: usize = 16 << 10;

/// Where a waiting record is.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: u64,
    sock: u64,
    number: u64,
}

/// The records.
#[derive(Debug, Default)]
pub struct Backlog {
    /// In the order of the ring. What was handed out or given up is cleared, and leaves when it
    /// is the first.
    records: VecDeque<Record>,
    /// The number of the first of them.
    first: u64,
    /// Times and numbers of those that are to be handed out, sorted if `is_sorted`.
    order: Vec<(u64, u64)>,
    is_sorted: bool,
    newest: u64,
    /// By the socket's address.
    waiting: HashMap<u64, u64, FixedState>,
    /// The same in the order of the ring, with those that wait no more.
    queue: VecDeque<Waiting>,
    lost: u64,
}

impl Backlog {
    /// Takes a record from the ring.
    pub fn push(&mut self, record: &Record) {
        if !self.waiting.is_empty() {
            self.tell_waiting(record);
        }
        let number = self.first + self.records.len() as u64;
        if (record.opens_without_port() || record.is_half_made()) && !self.wait(record, number) {
            return;
        }
        self.records.push_back(*record);
        self.is_sorted = record.at >= self.newest && (self.is_sorted || self.order.is_empty());
        self.order.push((record.at, number));
        self.newest = self.newest.max(record.at);
    }

    fn wait(&mut self, record: &Record, number: u64) -> bool {
        if self.waiting.len() >= MOST_WAITING {
            self.lost += 1;
            return false;
        }
        let (at, sock) = (record.at, record.sock);
        self.waiting.insert(sock, number);
        self.queue.push_back(Waiting { at, sock, number });
        true
    }

    /// The record may say who an earlier one of its socket is.
    fn tell_waiting(&mut self, record: &Record) {
        let Some(number) = self.waiting.remove(&record.sock) else {
            return;
        };
        let Some(waiting) = self.record(number) else {
            return;
        };
        if waiting.is_half_made() {
            let goes_on = record.kind == STATE && record.from == TcpState::SynRecv as u8;
            if goes_on {
                waiting.cookie = record.cookie;
                waiting.family = record.family;
                waiting.local = record.local;
                waiting.remote = record.remote;
                waiting.local_port = record.local_port;
                waiting.remote_port = record.remote_port;
                waiting.device = record.device;
            } else {
                waiting.kind = 0;
            }
        } else if waiting.cookie == record.cookie && record.local_port != 0 {
            waiting.local_port = record.local_port;
        } else {
            // There was no port to be had (then it never was a connection), or another socket
            // has the address.
            waiting.kind = 0;
        }
    }

    fn record(&mut self, number: u64) -> Option<&mut Record> {
        let index = number.checked_sub(self.first)?;
        self.records.get_mut(usize::try_from(index).ok()?)
    }

    /// When the earliest that still waits happened.
    pub fn oldest_waiting(&mut self) -> Option<u64> {
        while let Some(front) = self.queue.front() {
            if self.waiting.get(&front.sock) == Some(&front.number) {
                return Some(front.at);
            }
            self.queue.pop_front();
        }
        None
    }

    /// As [`Backlog::oldest_waiting`], after which nothing was pushed.
    pub fn peek_waiting(&self) -> Option<u64> {
        self.queue
            .iter()
            .find(|entry| self.waiting.get(&entry.sock) == Some(&entry.number))
            .map(|entry| entry.at)
    }

    /// When the earliest that is kept happened.
    pub fn oldest(&self) -> Option<u64> {
        match self.is_sorted {
            true => self.order.first().map(|&(at, _)| at),
            false => self.order.iter().map(|&(at, _)| at).min(),
        }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Those that wait for a port since `since` or longer, by their cookies.
    pub fn without_port(&mut self, since: u64) -> Vec<u64> {
        let mut cookies = Vec::new();
        for index in 0..self.queue.len() {
            let entry = self.queue[index];
            if entry.at > since || self.waiting.get(&entry.sock) != Some(&entry.number) {
                continue;
            }
            if let Some(record) = self.record(entry.number)
                && !record.is_half_made()
            {
                cookies.push(record.cookie);
            }
        }
        cookies
    }

    /// Ports by cookie, asked for elsewhere.
    pub fn name(&mut self, ports: &HashMap<u64, u16>) {
        for index in 0..self.queue.len() {
            let Waiting { sock, number, .. } = self.queue[index];
            if self.waiting.get(&sock) != Some(&number) {
                continue;
            }
            let Some(record) = self.record(number) else {
                continue;
            };
            if let Some(&port) = ports.get(&record.cookie)
                && !record.is_half_made()
            {
                record.local_port = port;
                self.waiting.remove(&sock);
            }
        }
    }

    /// Waits no more for those that happened until `since`; says which they were.
    pub fn give_up(&mut self, since: u64, mut given_up: impl FnMut(&Record)) {
        while let Some(&Waiting { at, sock, number }) = self.queue.front() {
            if at > since {
                return;
            }
            self.queue.pop_front();
            if self.waiting.get(&sock) != Some(&number) {
                continue;
            }
            self.waiting.remove(&sock);
            if let Some(record) = self.record(number) {
                given_up(record);
                record.kind = 0;
            }
        }
    }

    /// How many found no room to wait, since this was asked last.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Hands out what happened until `until`, in order, as far as nothing waits. Says until when
    /// everything has been handed out.
    pub fn hand_out(&mut self, until: u64, mut take: impl FnMut(&Record)) -> u64 {
        let until = match self.oldest_waiting() {
            Some(at) => until.min(at.saturating_sub(1)),
            None => until,
        };
        if !self.is_sorted {
            self.order.sort_unstable();
            self.is_sorted = true;
        }
        let count = self.order.partition_point(|&(at, _)| at <= until);
        for index in 0..count {
            let (_, number) = self.order[index];
            if let Some(record) = self.record(number) {
                if record.kind != 0 {
                    take(record);
                }
                record.kind = 0;
                // Not waited for any more, and so not kept.
                record.at = 0;
            }
        }
        self.order.drain(..count);
        while self.records.front().is_some_and(|record| record.at == 0) {
            self.records.pop_front();
            self.first += 1;
        }
        until
    }
}
