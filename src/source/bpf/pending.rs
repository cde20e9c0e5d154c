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
    repeated: u64,
}

impl Backlog {
    /// Takes a record from the ring.
    pub fn push(&mut self, record: &Record) {
        if record.is_rescued() && self.repeats(record) {
            self.repeated += 1;
            return;
        }
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

    /// Both programs told it: it is the same change as the last one of its socket. Looked for among
    /// what is still here, since the two lie close together.
    fn repeats(&self, record: &Record) -> bool {
        let mut changes = self.records.iter().rev();
        changes
            .find(|earlier| earlier.kind == STATE && earlier.sock == record.sock)
            .is_some_and(|earlier| earlier.is_same_change(record))
    }

    /// How many were dropped because both programs told them.
    pub const fn repeated(&self) -> u64 {
        self.repeated
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
            // Stable, for it makes use of the order that is there.
            self.order.sort();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::bpf::record::FREED;

    fn state(at: u64, sock: u64, from: TcpState, to: TcpState, port: u16) -> Record {
        Record {
            at,
            sock,
            cookie: sock,
            kind: STATE,
            from: from as u8,
            to: to as u8,
            local_port: port,
            remote_port: 80,
            ..Record::default()
        }
    }

    fn opens(at: u64, sock: u64) -> Record {
        state(at, sock, TcpState::Close, TcpState::SynSent, 0)
    }

    fn opened(at: u64, sock: u64, port: u16) -> Record {
        state(at, sock, TcpState::SynSent, TcpState::Established, port)
    }

    fn pushed(records: &[Record]) -> Backlog {
        let mut backlog = Backlog::default();
        for record in records {
            backlog.push(record);
        }
        backlog
    }

    /// Times and local ports of what is handed out, and until when.
    fn handed(backlog: &mut Backlog, until: u64) -> (Vec<(u64, u16)>, u64) {
        let mut out = Vec::new();
        let until = backlog.hand_out(until, |record| out.push((record.at, record.local_port)));
        (out, until)
    }

    #[test]
    fn records_come_out_in_order_and_not_too_new() {
        let mut backlog = pushed(&[opened(30, 1, 1), opened(10, 2, 2), opened(20, 3, 3)]);
        assert_eq!(backlog.oldest(), Some(10));
        assert_eq!(handed(&mut backlog, 20), (vec![(10, 2), (20, 3)], 20));
        backlog.push(&opened(25, 4, 4));
        backlog.push(&opened(40, 5, 5));
        assert_eq!(handed(&mut backlog, 30), (vec![(25, 4), (30, 1)], 30));
        assert_eq!(handed(&mut backlog, 99), (vec![(40, 5)], 99));
        assert_eq!((backlog.len(), backlog.oldest()), (0, None));
    }

    #[test]
    fn an_opening_waits_for_its_port_and_keeps_its_time() {
        let mut backlog = pushed(&[opened(5, 9, 9), opens(10, 1), opened(20, 2, 2)]);
        assert_eq!(handed(&mut backlog, 50), (vec![(5, 9)], 9));
        assert_eq!(backlog.oldest_waiting(), Some(10));
        backlog.push(&opened(60, 1, 40000));
        let all = vec![(10, 40000), (20, 2), (60, 40000)];
        assert_eq!(handed(&mut backlog, 60), (all, 60));
        assert_eq!(backlog.len(), 0);
    }

    #[test]
    fn a_port_can_be_learnt_elsewhere() {
        let mut backlog = pushed(&[opens(10, 1), opens(20, 2), opens(90, 3)]);
        assert_eq!(backlog.without_port(50), [1, 2]);
        backlog.name(&HashMap::from([(2, 40002), (7, 7)]));
        assert_eq!(handed(&mut backlog, 50), (vec![], 9));
        let mut given_up = Vec::new();
        backlog.give_up(50, |record| given_up.push(record.cookie));
        assert_eq!(given_up, [1], "2 was named, and 3 is too young");
        assert_eq!(handed(&mut backlog, 50), (vec![(20, 40002)], 50));
        assert_eq!(backlog.oldest_waiting(), Some(90));
    }

    #[test]
    fn what_never_got_a_port_never_was_a_connection() {
        let fails = state(12, 1, TcpState::SynSent, TcpState::Close, 0);
        let mut backlog = pushed(&[opens(10, 1), fails]);
        assert_eq!(handed(&mut backlog, 50), (vec![(12, 0)], 50));
    }

    #[test]
    fn an_address_that_another_socket_has_now_says_nothing() {
        let other = Record {
            cookie: 77,
            ..opened(20, 1, 40000)
        };
        let mut backlog = pushed(&[opens(10, 1), other]);
        assert_eq!(handed(&mut backlog, 50), (vec![(20, 40000)], 50));
    }

    #[test]
    fn a_socket_can_be_opened_again() {
        let refused = state(12, 1, TcpState::SynSent, TcpState::Close, 40001);
        let mut backlog = pushed(&[opens(10, 1), refused, opens(20, 1), opened(30, 1, 40002)]);
        let all = vec![(10, 40001), (12, 40001), (20, 40002), (30, 40002)];
        assert_eq!(handed(&mut backlog, 50), (all, 50));
    }

    #[test]
    fn a_half_made_socket_is_named_by_its_next_change() {
        let born = Record {
            cookie: 500,
            remote_port: 0,
            ..state(10, 1, TcpState::Listen, TcpState::SynRecv, 80)
        };
        let named = Record {
            remote_port: 40000,
            ..state(11, 1, TcpState::SynRecv, TcpState::Established, 80)
        };
        let mut backlog = pushed(&[born, named]);
        let mut out = Vec::new();
        backlog.hand_out(50, |record| out.push((record.cookie, record.remote_port)));
        assert_eq!(out, [(1, 40000), (1, 40000)]);
        let freed = Record {
            kind: FREED,
            ..named
        };
        let mut backlog = pushed(&[born, freed]);
        assert_eq!(handed(&mut backlog, 50).0, [(11, 80)]);
        assert!(pushed(&[born]).without_port(50).is_empty());
    }

    #[test]
    fn what_both_programs_told_is_told_once() {
        let rescued = |record: Record| Record {
            flags: record.flags | crate::source::bpf::record::RESCUED,
            ..record
        };
        let (one, other) = (opened(10, 1, 1), opened(11, 2, 2));
        let next = state(13, 1, TcpState::Established, TcpState::CloseWait, 1);
        let again = rescued(opened(12, 1, 1));
        let mut backlog = pushed(&[one, other, again, rescued(next)]);
        assert_eq!(backlog.repeated(), 1);
        let all = vec![(10, 1), (11, 2), (13, 1)];
        assert_eq!(handed(&mut backlog, 50).0, all);
        // Connected again: the same change, but not the last one.
        let mut backlog = pushed(&[one, next, again]);
        assert_eq!(handed(&mut backlog, 50).0.len(), 3);
    }

    #[test]
    fn those_that_find_no_room_to_wait_are_counted() {
        let mut backlog = Backlog::default();
        for sock in 0..MOST_WAITING as u64 + 3 {
            backlog.push(&opens(10, sock));
        }
        assert_eq!((backlog.take_lost(), backlog.take_lost()), (3, 0));
        assert_eq!(backlog.len(), MOST_WAITING);
    }
}
