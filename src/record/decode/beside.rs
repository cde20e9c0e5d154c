//! Processes, who holds what, and a socket's own counters: the inverse of
//! [`crate::record::encode`]'s file of this name.
//!
//! Knows one line, and asks for processes by their numbers. The trap: a set in which one holder
//! can't be read is no set: who is missing would be taken for somebody who closed their copy.

use std::sync::Arc;
use std::time::Duration;

use crate::model::holder::{CMDLINE, Counters, InfoAnswer};
use crate::model::{Body, Holder, Holders, Info, ProcessId, Program, Seen, Timestamp};
use crate::record::decode::{Decoder, Known, Said, Unread, needed};

impl<S: Known> Decoder<'_, S> {
    pub(super) fn process(&self) -> Result<Said, Unread> {
        let raw = &self.raw;
        let program = Program {
            id: ProcessId {
                pid: needed(raw.pid)?,
                started: needed(raw.started)?,
            },
            parent: raw.parent,
            comm: self.comm()?,
            uid: raw.uid,
            user: raw.user.as_deref().map(|user| beginning(user, USER)),
            cmdline: raw.cmdline.as_deref().map(|line| beginning(line, CMDLINE)),
        };
        Ok(Said::Process {
            number: needed(raw.n)?,
            program: Arc::new(program),
        })
    }

    pub(super) fn holders(&self) -> Result<Body, Unread> {
        let raw = &self.raw;
        let ended = raw.ended.unwrap_or_default();
        Ok(Body::Holders(Holders {
            scope: self.scope(),
            inode: needed(raw.inode)?,
            begun: self.begun()?,
            unchanged: raw.unchanged.map(Timestamp::from_nanos),
            holders: self.held(raw.by.unwrap_or_default())?,
            ended: words_of(ended).map(process_id).collect::<Result<_, _>>()?,
            seen: match raw.partly {
                true => Seen::Partly,
                false => Seen::All,
            },
        }))
    }

    fn held(&self, text: &str) -> Result<Vec<Holder>, Unread> {
        let all: Vec<Holder> = words_of(text)
            .map(|word| self.holder(word))
            .collect::<Result<_, _>>()?;
        // Each once, by pid: what follows from a set rests on that.
        match all.is_sorted_by(|a, b| a.program.id < b.program.id) {
            true => Ok(all),
            false => Err(Unread::Malformed),
        }
    }

    /// `0:3,4`
    fn holder(&self, word: &str) -> Result<Holder, Unread> {
        let (process, fds) = match word.split_once(':') {
            Some((process, fds)) => (process, Some(fds)),
            None => (word, None),
        };
        let fds = fds.into_iter().flat_map(|fds| fds.split(','));
        let fds: Vec<u32> = fds.map(number).collect::<Result<_, _>>()?;
        Ok(Holder {
            program: self
                .known
                .process(number(process)?)
                .ok_or(Unread::UnknownName)?,
            fds,
        })
    }

    pub(super) fn info(&self) -> Result<Body, Unread> {
        let raw = &self.raw;
        let answer = match raw.silent_ns {
            Some(time) => InfoAnswer::Silent(Duration::from_nanos(time)),
            None => InfoAnswer::Counters(self.counters()?),
        };
        Ok(Body::Info(Info {
            id: self.socket(raw.sock)?.id,
            begun: self.begun()?,
            answer,
        }))
    }

    fn counters(&self) -> Result<Counters, Unread> {
        let raw = &self.raw;
        let since = |nanos: Option<u64>| needed(nanos).map(Duration::from_nanos);
        Ok(Counters {
            state: self.state(raw.state)?,
            data_sent: since(raw.data_sent_ns)?,
            data_received: since(raw.data_received_ns)?,
            ack_received: since(raw.ack_received_ns)?,
            keepalive: raw.keepalive,
            backoff: raw.backoff,
            bytes_received: raw.bytes_received,
            bytes_acked: raw.bytes_acked,
        })
    }
}

/// Names of users are shorter (`LOGIN_NAME_MAX` of limits.h).
const USER: usize = 256;

/// No more of a text than what is kept of one live: thousands of processes are held.
fn beginning(text: &str, most: usize) -> Box<str> {
    let most = text.len().min(most);
    let end = (0..=most).rev().find(|&end| text.is_char_boundary(end));
    text[..end.unwrap_or(0)].into()
}

/// What stands between single spaces.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let is_any = !text.is_empty();
    text.split(' ').filter(move |_| is_any)
}

/// `812.4423`
fn process_id(word: &str) -> Result<ProcessId, Unread> {
    let (pid, started) = word.split_once('.').ok_or(Unread::Malformed)?;
    Ok(ProcessId {
        pid: number(pid)?,
        started: number(started)?,
    })
}

/// A number as we write it.
pub(super) fn number<N: TryFrom<u64>>(text: &str) -> Result<N, Unread> {
    let is_ours = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let number = text.parse::<u64>().ok().filter(|_| is_ours);
    number
        .and_then(|number| N::try_from(number).ok())
        .ok_or(Unread::Malformed)
}
