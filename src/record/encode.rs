//! Observations as lines. The inverse of [`super::decode`]: what is written here is read there.
//!
//! A socket is named once, by a line of its own, and by its number from then on: a name is as long
//! as all the rest of a line. So is a process. Numbers are never used again within a file, so a line that is lost
//! can make others unreadable and never wrong. A keyframe begins afresh: who starts there needs
//! nothing that came before.
//!
//! What is 0, false or as it mostly is, is left out; docs/recording.md says what stands for what.
//! The trap: "nothing said" and "said to be nothing" are two things (`Option`), so a field that may
//! be unknown is either written or means unknown, unless its `null` is.

mod beside;
mod line;

use std::collections::HashMap;

use crate::model::event::{Comm, Moment, ResetReason};
use crate::model::observation::HostFacts;
use crate::model::time::nanos_of;
use crate::model::{
    Answer, Body, Caller, Event, FourTuple, Keyframe, Look, Observation, Poll, Queues, Sample,
    SockId, SourceName, SourceState, TcpState, TimerKind, Timestamp, What,
};
use crate::record::usual::Usual;
use crate::record::{Header, NAMES_KNOWN, words};
use beside::Processes;
use line::Line;

/// Makes lines of observations.
#[derive(Debug, Default)]
pub struct Encoder {
    numbers: HashMap<SockId, Number, foldhash::fast::RandomState>,
    next: u64,
    processes: Processes,
    /// The sockets named last: the other end of a connection that is here is named by its number.
    recent: [Option<(u64, FourTuple)>; RECENT],
    /// The namespace that the header names: only another one is worth a word.
    netns: Option<u64>,
}

/// The other end is mostly named at once.
const RECENT: usize = 8;

/// The number of a socket, and the cgroup that its lines need not repeat.
#[derive(Clone, Copy, Debug)]
struct Number {
    number: u64,
    cgroup: Option<u64>,
}

impl Encoder {
    /// Appends the first line of a file. Sockets and processes are named afresh behind it, and
    /// command lines written only if it says so.
    ///
    /// # Errors
    /// When serde_json can't write it, which it can.
    pub fn header(&mut self, header: &Header, out: &mut Vec<u8>) -> serde_json::Result<()> {
        self.numbers.clear();
        self.recent = [None; RECENT];
        self.next = 0;
        self.processes.begin(header.cmdlines);
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
            Body::Holders(holders) => self.holders(holders, at, source, out),
            Body::Info(info) => {
                let sock = self.number(&info.id, None, out).number;
                beside::info(info, sock, at, source, out);
            }
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

    /// The number of a socket, which is named first when it is new, with its cgroup.
    fn number(&mut self, id: &SockId, cgroup: Option<u64>, out: &mut Vec<u8>) -> Number {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        if self.numbers.len() >= NAMES_KNOWN {
            self.numbers.clear();
        }
        let number = Number {
            number: self.next,
            cgroup,
        };
        self.next += 1;
        self.numbers.insert(*id, number);
        let mut line = Line::begin(out, "socket");
        line.number("n", number.number);
        line.optional("cookie", id.cookie.map(|cookie| cookie.0));
        match self.mirror_of(&id.tuple) {
            Some(other) => line.number("mirrors", other),
            None => {
                line.display("local", id.tuple.local);
                line.display("remote", id.tuple.remote);
            }
        }
        line.netns(id.scope.netns, self.netns);
        line.optional("cgroup", cgroup);
        line.end();
        self.recent[(number.number % RECENT as u64) as usize] = Some((number.number, id.tuple));
        number
    }

    /// The number of a socket that was just named, and whose ends are these the other way round.
    fn mirror_of(&self, tuple: &FourTuple) -> Option<u64> {
        let mirror = tuple.mirror();
        let mut recent = self.recent.iter().flatten();
        recent.find_map(|(number, known)| (*known == mirror).then_some(*number))
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
            let number = self.number(id, None, out);
            let mut line = Line::begin(out, "row");
            line.number("sock", number.number);
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
        self.recent = [None; RECENT];
        self.processes.name_afresh();
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
        let number = self.number(&row.id, row.cgroup, out);
        let mut line = Line::begin(out, "row");
        line.number("sock", number.number);
        if is != "changed" {
            line.word("is", is);
        }
        sample(&mut line, row, number.cgroup);
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
        let cgroup = match answer {
            Answer::Found(sample) => sample.cgroup,
            Answer::Gone | Answer::Other(_) => None,
        };
        let number = self.number(asked, cgroup, out);
        let found = match answer {
            Answer::Found(sample) => Some((self.number(&sample.id, cgroup, out), sample)),
            Answer::Gone | Answer::Other(_) => None,
        };
        let mut line = Line::at(out, "lookup", at);
        line.source(source, SourceName::SockDiag);
        line.number("sock", number.number);
        line.number("begun", begun.nanos());
        line.optional("unchanged", unchanged.map(Timestamp::nanos));
        match (answer, found) {
            (Answer::Gone, _) => line.word("answer", "gone"),
            (Answer::Other(cookie), _) => {
                line.word("answer", "other");
                line.optional("cookie", cookie.map(|cookie| cookie.0));
            }
            (Answer::Found(_), Some((found, row))) => {
                if found.number != number.number {
                    line.number("found", found.number);
                }
                sample(&mut line, row, found.cgroup);
            }
            (Answer::Found(_), None) => {}
        }
        line.end();
    }

    fn event(&mut self, event: &Event, at: Timestamp, source: SourceName, out: &mut Vec<u8>) {
        let cgroup = event.moment.as_ref().and_then(|moment| moment.cgroup);
        let number = self.number(&event.id, cgroup, out);
        let mut line = Line::at(out, "event", at);
        line.source(source, SourceName::Bpf);
        line.number("sock", number.number);
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
        match &event.moment {
            Some(found) => moment(&mut line, found, Usual::at(&event.what), number.cgroup),
            None => line.flag("bare", true),
        }
        if let Some(by) = &event.caller {
            caller(&mut line, by);
        }
        line.end();
    }
}

fn sample(line: &mut Line<'_>, sample: &Sample, cgroup: Option<u64>) {
    let waits = sample.state == TcpState::TimeWait;
    line.word("state", sample.state.name());
    match sample.queues {
        Queues::Stream { receive, send } => {
            line.not("queueless", waits);
            line.nonzero("receive", receive.into());
            line.nonzero("send", send.into());
        }
        Queues::Accept { waiting, backlog } => {
            line.number("waiting", waiting.into());
            line.optional("backlog", backlog.map(u64::from));
        }
        Queues::Absent => line.flag("queueless", !waits),
    }
    if let Some(timer) = sample.timer {
        match words::timer_word(timer.kind) {
            Ok(_) if waits && timer.kind == TimerKind::TimeWait => {}
            Ok(word) => line.word("timer", word),
            Err(code) => line.display("timer", format_args!("other:{code}")),
        }
        line.number("deadline", timer.deadline.nanos());
    }
    line.nonzero("retransmits", sample.retransmits.into());
    line.optional("inode", sample.inode.map(u64::from));
    line.optional("uid", sample.uid.map(u64::from));
    line.optional("shut", sample.shutdown.map(|shut| shut.mask().into()));
    // Nobody owns a mini-socket.
    line.unless_usual("cgroup", sample.cgroup, cgroup.filter(|_| !waits));
    line.flag("multipath", sample.multipath);
}

fn moment(line: &mut Line<'_>, moment: &Moment, usual: Usual, cgroup: Option<u64>) {
    if moment.file != usual.file {
        line.word("file", words::file_word(moment.file));
    }
    if moment.shutdown.mask() != usual.shut {
        line.number("shut", moment.shutdown.mask().into());
    }
    line.optional("error", moment.error.map(u64::from));
    line.nonzero("receive", moment.receive.into());
    line.nonzero("send", moment.send.into());
    line.flag("lingers_not", moment.lingers_not);
    match moment.fin_received {
        Some(fin) if fin == usual.fin => {}
        Some(fin) => {
            line.flag("fin", fin);
            line.not("fin", !fin);
        }
        None => line.null("fin"),
    }
    line.nonzero("in", moment.bytes_received);
    line.nonzero("out", moment.bytes_acked);
    line.unless_usual("cgroup", moment.cgroup, cgroup);
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
    if let Some((first, last)) = facts.port_range {
        line.display("port_range", format_args!("{first}-{last}"));
    }
    line.optional("time_wait_reuse", facts.time_wait_reuse.map(u64::from));
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
