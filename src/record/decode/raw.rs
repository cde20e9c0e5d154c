//! The fields of a line, each as what its name promises, and not yet put together.

use std::borrow::Cow;

use crate::record::fields::{Malformed, Value};

/// All fields that any line has, as they were found: a line has few, and looking at the kind first
/// would need to walk it twice.
#[derive(Default)]
pub(super) struct Raw<'a> {
    pub(super) kind: Option<&'a str>,
    pub(super) at: Option<u64>,
    pub(super) source: Option<&'a str>,
    pub(super) sock: Option<u64>,
    pub(super) n: Option<u64>,
    pub(super) begun: Option<u64>,
    pub(super) until: Option<u64>,
    pub(super) unchanged: Option<u64>,
    pub(super) rows: Option<u64>,
    pub(super) is: Option<&'a str>,
    pub(super) answer: Option<&'a str>,
    pub(super) found: Option<u64>,
    pub(super) cookie: Option<u64>,
    pub(super) mirrors: Option<u64>,
    pub(super) local: Option<&'a str>,
    pub(super) remote: Option<&'a str>,
    /// `None` when the field is not there: it is the header's.
    pub(super) netns: Option<Option<u64>>,
    pub(super) first: bool,
    pub(super) incomplete: bool,
    pub(super) without_time_wait: bool,
    pub(super) state: Option<&'a str>,
    pub(super) receive: u32,
    pub(super) send: u32,
    pub(super) waiting: Option<u32>,
    pub(super) backlog: Option<u32>,
    pub(super) queueless: Option<bool>,
    pub(super) timer: Option<&'a str>,
    pub(super) deadline: Option<u64>,
    pub(super) retransmits: u8,
    pub(super) inode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) shut: Option<u8>,
    /// `None` when the field is not there: it is the socket's.
    pub(super) cgroup: Option<Option<u64>>,
    pub(super) multipath: bool,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) what: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) file: Option<&'a str>,
    pub(super) bare: bool,
    pub(super) error: Option<u16>,
    pub(super) lingers_not: bool,
    /// `None` when the field is not there, which is as usual.
    pub(super) fin: Option<Option<bool>>,
    pub(super) bytes_received: u64,
    pub(super) bytes_acked: u64,
    pub(super) pid: Option<u32>,
    pub(super) comm: Option<Cow<'a, str>>,
    pub(super) comm_hex: Option<&'a str>,
    pub(super) exiting: bool,
    pub(super) signal: Option<u8>,
    pub(super) count: Option<u64>,
    pub(super) why: Option<Cow<'a, str>>,
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) realtime_ns: Option<u64>,
    pub(super) period_ns: Option<u64>,
    pub(super) cost_ns: Option<u64>,
    pub(super) fin_timeout_ns: Option<u64>,
    pub(super) max_tw_buckets: Option<u64>,
    pub(super) time_wait_overflows: Option<u64>,
    pub(super) listen_overflows: Option<u64>,
    pub(super) resets: Option<u64>,
    pub(super) server_fast_open: bool,
}

impl<'a> Raw<'a> {
    /// Takes a field; says whether it is a known one. Bytes, since the compiler makes a tree of them,
    /// and of texts a row of comparisons.
    #[inline]
    pub(super) fn take(&mut self, name: &[u8], value: Value<'a>) -> Result<bool, Malformed> {
        match name {
            b"type" => self.kind = Some(value.word()?),
            b"at" => self.at = Some(value.number()?),
            b"source" => self.source = Some(value.word()?),
            b"sock" => self.sock = Some(value.number()?),
            b"n" => self.n = Some(value.number()?),
            b"begun" => self.begun = Some(value.number()?),
            b"until" => self.until = Some(value.number()?),
            b"unchanged" => self.unchanged = value.number_or_null()?,
            b"rows" => self.rows = Some(value.number()?),
            b"is" => self.is = Some(value.word()?),
            b"answer" => self.answer = Some(value.word()?),
            b"found" => self.found = Some(value.number()?),
            b"cookie" => self.cookie = value.number_or_null()?,
            b"mirrors" => self.mirrors = Some(value.number()?),
            b"local" => self.local = Some(value.word()?),
            b"remote" => self.remote = Some(value.word()?),
            b"netns" => self.netns = Some(value.number_or_null()?),
            b"first" => self.first = value.boolean()?,
            b"incomplete" => self.incomplete = value.boolean()?,
            b"without_time_wait" => self.without_time_wait = value.boolean()?,
            b"state" => self.state = Some(value.word()?),
            b"receive" => self.receive = value.number()?,
            b"send" => self.send = value.number()?,
            b"waiting" => self.waiting = Some(value.number()?),
            b"backlog" => self.backlog = value.number_or_null()?,
            b"queueless" => self.queueless = Some(value.boolean()?),
            b"timer" => self.timer = Some(value.word()?),
            b"deadline" => self.deadline = Some(value.number()?),
            b"retransmits" => self.retransmits = value.number()?,
            b"inode" => self.inode = value.number_or_null()?,
            b"uid" => self.uid = value.number_or_null()?,
            b"shut" => self.shut = Some(value.number()?),
            b"cgroup" => self.cgroup = Some(value.number_or_null()?),
            b"multipath" => self.multipath = value.boolean()?,
            b"from" => self.from = Some(value.word()?),
            b"to" => self.to = Some(value.word()?),
            b"what" => self.what = Some(value.word()?),
            b"reason" => self.reason = Some(value.word()?),
            b"file" => self.file = Some(value.word()?),
            b"bare" => self.bare = value.boolean()?,
            b"error" => self.error = value.number_or_null()?,
            b"lingers_not" => self.lingers_not = value.boolean()?,
            b"fin" => self.fin = Some(value.boolean_or_null()?),
            b"in" => self.bytes_received = value.number()?,
            b"out" => self.bytes_acked = value.number()?,
            b"pid" => self.pid = Some(value.number()?),
            b"comm" => self.comm = Some(value.text()?),
            b"comm_hex" => self.comm_hex = Some(value.word()?),
            b"exiting" => self.exiting = value.boolean()?,
            b"signal" => self.signal = value.number_or_null()?,
            _ => return self.take_rare(name, value),
        }
        Ok(true)
    }

    /// The fields of lines that are few.
    fn take_rare(&mut self, name: &[u8], value: Value<'a>) -> Result<bool, Malformed> {
        match name {
            b"count" => self.count = value.number_or_null()?,
            b"why" => self.why = Some(value.text()?),
            b"text" => self.text = Some(value.text()?),
            b"realtime_ns" => self.realtime_ns = Some(value.number()?),
            b"period_ns" => self.period_ns = Some(value.number()?),
            b"cost_ns" => self.cost_ns = value.number_or_null()?,
            b"fin_timeout_ns" => self.fin_timeout_ns = value.number_or_null()?,
            b"max_tw_buckets" => self.max_tw_buckets = value.number_or_null()?,
            b"time_wait_overflows" => self.time_wait_overflows = value.number_or_null()?,
            b"listen_overflows" => self.listen_overflows = value.number_or_null()?,
            b"resets" => self.resets = value.number_or_null()?,
            b"server_fast_open" => self.server_fast_open = value.boolean()?,
            // No name of any version: the line is damaged.
            _ if !is_text(name) => return Err(Malformed),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn is_text(name: &[u8]) -> bool {
    name.iter().all(|&byte| byte >= b' ') && str::from_utf8(name).is_ok()
}
