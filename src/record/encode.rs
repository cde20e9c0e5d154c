//! Observations as lines. The inverse of [`super::decode`]: what is written here is read there.
//!
//! A socket is named once, by a line of its own, and by its number from then on: a name is as long
//! as all the rest of a line. Numbers are never used again within a file, so a line that is lost
//! can make others unreadable and never wrong. A keyframe begins afresh: who starts there needs
//! nothing that came before.
//!
//! What is 0, false or as it mostly is, is left out; docs/recording.md says what stands for what.
//! The trap: "nothing said" and "said to be nothing" are two things (`Option`), so a field that may
//! be unknown is either written or means unknown, unless its `null` is.

use std::collections::HashMap;
use std::io::Write;

use crate::model::event::{Comm, Moment, ResetReason};
use crate::model::observation::HostFacts;
use crate::model::time::nanos_of;
use crate::model::{
    Answer, Body, Caller, Event, Keyframe, Look, Observation, Poll, Queues, Sample, SockId,
    SourceName, SourceState, Timestamp, What,
};
use crate::record::{Header, LONGEST_LINE, SOCKETS_KNOWN, words};

/// So many bytes of a text are written: as escapes they become six times as many.
const LONGEST_TEXT: usize = LONGEST_LINE / 16;

/// Makes lines of observations.
#[derive(Debug, Default)]
pub struct Encoder {
    numbers: HashMap<SockId, u64, foldhash::fast::RandomState>,
    next: u64,
    /// The namespace that the header names: only another one is worth a word.
    netns: Option<u64>,
}

impl Encoder {
    /// Appends the first line of a file. Sockets are named afresh behind it.
    ///
    /// # Errors
    /// When serde_json can't write it, which it can.
    pub fn header(&mut self, header: &Header, out: &mut Vec<u8>) -> serde_json::Result<()> {
        self.numbers.clear();
        self.next = 0;
        self.netns = header.netns;
        serde_json::to_writer(&mut *out, header)?;
        out.push(b'\n');
        Ok(())
    }

    /// Appends the last line of a recording that ends in good order.
    pub fn end(&mut self, at: Timestamp, why: &str, out: &mut Vec<u8>) {
        let mut line = Line::begin(out, "end");
        line.number("at", at.nanos());
        line.text("why", why);
        line.end();
    }

    /// Appends the lines of an observation.
    pub fn observation(&mut self, observation: &Observation, out: &mut Vec<u8>) {
        let (at, source) = (observation.at, observation.source);
        match &observation.body {
            Body::Poll(poll) => self.poll(poll, at, source, out),
            Body::Keyframe(keyframe) => self.keyframe(keyframe, at, source, out),
            Body::Unchanged { until, look } => {
                let mut line = Line::at(out, "unchanged", at);
                line.source(source, SourceName::SockDiag);
                line.number("until", until.nanos());
                line.flag("without_time_wait", *look == Look::WithoutTimeWait);
                line.end();
            }
            Body::Event(event) => self.event(event, at, source, out),
            Body::Lookup {
                asked,
                begun,
                unchanged,
                answer,
            } => self.lookup(at, source, asked, *begun, *unchanged, answer, out),
            Body::Host(facts) => host(facts, self.netns, at, source, out),
            Body::Source(state) => source_state(state, at, source, out),
            Body::Clock { realtime_ns } => {
                let mut line = Line::at(out, "clock", at);
                line.source(source, SourceName::SockDiag);
                line.number("realtime_ns", *realtime_ns);
                line.end();
            }
            Body::Note { pid, text } => {
                let mut line = Line::at(out, "note", at);
                line.source(source, SourceName::Lab);
                line.number("pid", (*pid).into());
                line.text("text", text);
                line.end();
            }
            Body::Lost { count, why } => {
                let mut line = Line::at(out, "lost", at);
                line.word("source", source.token());
                line.optional("count", *count);
                line.text("why", why);
                line.end();
            }
        }
    }

    /// The number of a socket, which is named first when it is new.
    fn number(&mut self, id: &SockId, out: &mut Vec<u8>) -> u64 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        if self.numbers.len() >= SOCKETS_KNOWN {
            self.numbers.clear();
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(*id, number);
        let mut line = Line::begin(out, "socket");
        line.number("n", number);
        line.optional("cookie", id.cookie.map(|cookie| cookie.0));
        line.display("local", id.tuple.local);
        line.display("remote", id.tuple.remote);
        line.netns(id.scope.netns, self.netns);
        line.end();
        number
    }

    fn poll(&mut self, poll: &Poll, at: Timestamp, source: SourceName, out: &mut Vec<u8>) {
        let rows = poll.appeared.len() + poll.changed.len() + poll.missing.len();
        let mut line = Line::at(out, "poll", at);
        line.source(source, SourceName::SockDiag);
        line.number("begun", poll.begun.nanos());
        line.flag("first", poll.first);
        line.flag("incomplete", !poll.complete);
        line.flag("without_time_wait", poll.look == Look::WithoutTimeWait);
        line.number("rows", rows as u64);
        line.end();
        for sample in &poll.appeared {
            self.row("new", sample, out);
        }
        for sample in &poll.changed {
            self.row("changed", sample, out);
        }
        for id in &poll.missing {
            let number = self.number(id, out);
            let mut line = Line::begin(out, "row");
            line.number("sock", number);
            line.word("is", "missing");
            line.end();
        }
    }

    fn keyframe(
        &mut self,
        keyframe: &Keyframe,
        at: Timestamp,
        source: SourceName,
        out: &mut Vec<u8>,
    ) {
        self.numbers.clear();
        let mut line = Line::at(out, "keyframe", at);
        line.source(source, SourceName::SockDiag);
        line.number("begun", keyframe.begun.nanos());
        line.number("rows", keyframe.samples.len() as u64);
        line.end();
        for sample in &keyframe.samples {
            self.row("there", sample, out);
        }
    }

    fn row(&mut self, is: &str, row: &Sample, out: &mut Vec<u8>) {
        let number = self.number(&row.id, out);
        let mut line = Line::begin(out, "row");
        line.number("sock", number);
        line.word("is", is);
        sample(&mut line, row);
        line.end();
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one observation")]
    fn lookup(
        &mut self,
        at: Timestamp,
        source: SourceName,
        asked: &SockId,
        begun: Timestamp,
        unchanged: Option<Timestamp>,
        answer: &Answer,
        out: &mut Vec<u8>,
    ) {
        let number = self.number(asked, out);
        let found = match answer {
            Answer::Found(sample) => Some((self.number(&sample.id, out), sample)),
            Answer::Gone | Answer::Other(_) => None,
        };
        let mut line = Line::at(out, "lookup", at);
        line.source(source, SourceName::SockDiag);
        line.number("sock", number);
        line.number("begun", begun.nanos());
        line.optional("unchanged", unchanged.map(Timestamp::nanos));
        match (answer, found) {
            (Answer::Gone, _) => line.word("answer", "gone"),
            (Answer::Other(cookie), _) => {
                line.word("answer", "other");
                line.optional("cookie", cookie.map(|cookie| cookie.0));
            }
            (Answer::Found(_), Some((found, row))) => {
                line.number("found", found);
                sample(&mut line, row);
            }
            (Answer::Found(_), None) => {}
        }
        line.end();
    }

    fn event(&mut self, event: &Event, at: Timestamp, source: SourceName, out: &mut Vec<u8>) {
        let number = self.number(&event.id, out);
        let mut line = Line::at(out, "event", at);
        line.source(source, SourceName::Bpf);
        line.number("sock", number);
        match event.what {
            What::State { from, to } => {
                line.word("from", from.name());
                line.word("to", to.name());
            }
            What::ResetSent(reason) => {
                line.word("what", "reset_sent");
                if reason != ResetReason::Unsaid {
                    line.word("reason", words::reason_word(reason));
                }
            }
            What::ResetReceived => line.word("what", "reset_received"),
            What::Retransmit => line.word("what", "retransmit"),
            What::Freed => line.word("what", "freed"),
        }
        if let Some(found) = &event.moment {
            moment(&mut line, found);
        }
        if let Some(by) = &event.caller {
            caller(&mut line, by);
        }
        line.end();
    }
}

fn sample(line: &mut Line<'_>, sample: &Sample) {
    line.word("state", sample.state.name());
    match sample.queues {
        Queues::Stream { receive, send } => {
            line.nonzero("receive", receive.into());
            line.nonzero("send", send.into());
        }
        Queues::Accept { waiting, backlog } => {
            line.number("waiting", waiting.into());
            line.optional("backlog", backlog.map(u64::from));
        }
        Queues::Absent => line.flag("queueless", true),
    }
    if let Some(timer) = sample.timer {
        match words::timer_word(timer.kind) {
            Ok(word) => line.word("timer", word),
            Err(code) => line.display("timer", format_args!("other:{code}")),
        }
        line.number("deadline", timer.deadline.nanos());
    }
    line.nonzero("retransmits", sample.retransmits.into());
    line.optional("inode", sample.inode.map(u64::from));
    line.optional("uid", sample.uid.map(u64::from));
    line.optional("shut", sample.shutdown.map(|shut| shut.mask().into()));
    line.optional("cgroup", sample.cgroup);
    line.flag("multipath", sample.multipath);
}

fn moment(line: &mut Line<'_>, moment: &Moment) {
    line.word("file", words::file_word(moment.file));
    line.nonzero("shut", moment.shutdown.mask().into());
    line.optional("error", moment.error.map(u64::from));
    line.nonzero("receive", moment.receive.into());
    line.nonzero("send", moment.send.into());
    line.flag("lingers_not", moment.lingers_not);
    match moment.fin_received {
        Some(true) => line.flag("fin", true),
        Some(false) => {}
        None => line.null("fin"),
    }
    line.nonzero("bytes_received", moment.bytes_received);
    line.nonzero("bytes_acked", moment.bytes_acked);
    line.optional("cgroup", moment.cgroup);
    line.flag("multipath", moment.multipath);
}

fn caller(line: &mut Line<'_>, caller: &Caller) {
    line.number("pid", caller.pid.into());
    comm(line, caller.comm);
    line.flag("exiting", caller.exiting);
    line.optional("signal", caller.signal.map(u64::from));
}

/// A name that is text; the bytes of one that isn't.
fn comm(line: &mut Line<'_>, comm: Comm) {
    let length = comm.0.iter().position(|&byte| byte == 0);
    let (name, rest) = comm.0.split_at(length.unwrap_or(comm.0.len()));
    match str::from_utf8(name) {
        Ok(name) if rest.iter().all(|&byte| byte == 0) => line.text("comm", name),
        _ => line.display(
            "comm_hex",
            format_args!("{:032x}", u128::from_be_bytes(comm.0)),
        ),
    }
}

fn host(
    facts: &HostFacts,
    usual: Option<u64>,
    at: Timestamp,
    source: SourceName,
    out: &mut Vec<u8>,
) {
    let mut line = Line::at(out, "host", at);
    line.source(source, SourceName::SockDiag);
    line.netns(facts.scope.netns, usual);
    line.optional("fin_timeout_ns", facts.fin_timeout.map(nanos_of));
    line.optional("max_tw_buckets", facts.max_tw_buckets);
    line.optional("time_wait_overflows", facts.time_wait_overflows);
    line.optional("listen_overflows", facts.listen_overflows);
    line.optional("resets", facts.resets);
    line.flag("server_fast_open", facts.server_fast_open);
    line.end();
}

fn source_state(state: &SourceState, at: Timestamp, source: SourceName, out: &mut Vec<u8>) {
    let mut line = Line::at(out, "source", at);
    line.word("source", source.token());
    match state {
        SourceState::Running { period, cost, why } => {
            line.word("state", "running");
            line.number("period_ns", nanos_of(*period));
            line.optional("cost_ns", cost.map(nanos_of));
            if let Some(why) = why {
                line.text("why", why);
            }
        }
        SourceState::Off { why } => {
            line.word("state", "off");
            line.text("why", why);
        }
    }
    line.end();
}

/// A line that is being written. Writing to a `Vec` can't fail, so nothing here is a `Result`.
struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Line<'a> {
    fn begin(out: &'a mut Vec<u8>, kind: &str) -> Self {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Self { out }
    }

    fn at(out: &'a mut Vec<u8>, kind: &str, at: Timestamp) -> Self {
        let mut line = Self::begin(out, kind);
        line.number("at", at.nanos());
        line
    }

    fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut left = number;
        loop {
            first -= 1;
            // The remainder is below 10.
            digits[first] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[first..]);
    }

    fn nonzero(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number(name, number);
        }
    }

    fn optional(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.name(name);
            self.out.extend_from_slice(b"true");
        }
    }

    fn null(&mut self, name: &str) {
        self.name(name);
        self.out.extend_from_slice(b"null");
    }

    /// A text of ours, which needs no escapes.
    fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// As [`Line::word`].
    fn display(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        // A Vec takes everything.
        let _ = write!(self.out, "\"{value}\"");
    }

    /// Any text. Of one that would make its line too long to be read, the beginning.
    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        let longest = text.len().min(LONGEST_TEXT);
        let end = (0..=longest).rev().find(|&end| text.is_char_boundary(end));
        let text = &text[..end.unwrap_or(0)];
        let start = self.out.len();
        // A Vec takes everything, and a str is always JSON.
        let _ = serde_json::to_writer(&mut *self.out, text);
        make_inert(self.out, start);
    }

    fn netns(&mut self, netns: Option<u64>, usual: Option<u64>) {
        match netns {
            netns if netns == usual => {}
            Some(netns) => self.number("netns", netns),
            None => self.null("netns"),
        }
    }

    fn source(&mut self, source: SourceName, usual: SourceName) {
        if source != usual {
            self.word("source", source.token());
        }
    }
}

/// JSON leaves DEL, C1 and what turns the direction of text as they are, on which a terminal would
/// act if the recording were shown on one.
fn make_inert(out: &mut Vec<u8>, start: usize) {
    if out[start..].iter().all(|&byte| byte < 0x7f) {
        return;
    }
    let tail = out.split_off(start);
    let mut units = [0; 2];
    for c in String::from_utf8_lossy(&tail).chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c as u8);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            // A Vec takes everything.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
}
