//! Processes, who holds what, and a socket's own counters, as lines.
//!
//! A process is named once, like a socket: forty of them may hold each of a thousand sockets. The
//! traps: a name, a user and a command line can be any bytes; a command line can hold a password,
//! so it is written only where the header says so; and a set must fit into a line that is read.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::model::holder::{Counters, InfoAnswer};
use crate::model::time::nanos_of;
use crate::model::{Holder, Holders, Info, ProcessId, Program, Seen, SourceName, Timestamp};
use crate::record::encode::line::Line;
use crate::record::encode::{Encoder, comm};
use crate::record::{LONGEST_LINE, NAMES_KNOWN};

/// So many bytes are written of a set: the rest of it would make a line that is not read.
const LONGEST_SET: usize = LONGEST_LINE / 2;

/// The numbers of processes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    numbers: HashMap<ProcessId, (u64, Arc<Program>), foldhash::fast::RandomState>,
    next: u64,
    /// Whether command lines are written.
    pub(super) with_cmdlines: bool,
}

impl Processes {
    /// Another file begins.
    pub(super) fn begin(&mut self, with_cmdlines: bool) {
        *self = Self {
            with_cmdlines,
            ..Self::default()
        };
    }

    /// Who reads on from here knows none.
    pub(super) fn name_afresh(&mut self) {
        self.numbers.clear();
    }

    /// The number of a process, which is named first when it is new or not what it was.
    fn number(&mut self, program: &Arc<Program>, out: &mut Vec<u8>) -> u64 {
        if let Some((number, known)) = self.numbers.get(&program.id)
            && self.is_same(known, program)
        {
            return *number;
        }
        if self.numbers.len() >= NAMES_KNOWN {
            self.numbers.clear();
        }
        let number = self.next;
        self.next += 1;
        self.numbers
            .insert(program.id, (number, Arc::clone(program)));
        self.name(number, program, out);
        number
    }

    /// Whether a line about one is a line about the other.
    fn is_same(&self, known: &Arc<Program>, program: &Arc<Program>) -> bool {
        Arc::ptr_eq(known, program)
            || known.comm == program.comm
                && known.parent == program.parent
                && known.uid == program.uid
                && known.user == program.user
                && (!self.with_cmdlines || known.cmdline == program.cmdline)
    }

    fn name(&self, number: u64, program: &Program, out: &mut Vec<u8>) {
        let mut line = Line::begin(out, "process");
        line.number("n", number);
        line.number("pid", program.id.pid.into());
        line.number("started", program.id.started);
        line.optional("parent", program.parent.map(u64::from));
        comm(&mut line, program.comm);
        line.optional("uid", program.uid.map(u64::from));
        if let Some(user) = &program.user {
            line.text("user", user);
        }
        if let Some(cmdline) = program.cmdline.as_ref().filter(|_| self.with_cmdlines) {
            line.text("cmdline", cmdline);
        }
        line.end();
    }
}

impl Encoder {
    pub(super) fn holders(
        &mut self,
        told: &Holders,
        at: Timestamp,
        source: SourceName,
        out: &mut Vec<u8>,
    ) {
        let (held, is_all) = self.held(&told.holders, out);
        // "holders" is what a fixture of this version takes for a later one's.
        let mut line = Line::at(out, "held", at);
        line.source(source, SourceName::Holders);
        line.netns(told.scope.netns, self.netns);
        line.number("inode", told.inode.into());
        line.number("begun", told.begun.nanos());
        line.optional("unchanged", told.unchanged.map(Timestamp::nanos));
        if !held.is_empty() {
            line.word("by", &held);
        }
        if !told.ended.is_empty() {
            line.word("ended", &ended(&told.ended));
        }
        line.flag("partly", !is_all || told.seen == Seen::Partly);
        line.end();
    }

    /// `0:3,4 2:7`, each by its number and under which descriptors; and whether that is all.
    fn held(&mut self, holders: &[Holder], out: &mut Vec<u8>) -> (String, bool) {
        let mut held = String::new();
        for (index, holder) in holders.iter().enumerate() {
            // Of more, the first would have lost their names before the line is read.
            if index >= NAMES_KNOWN || held.len() >= LONGEST_SET {
                return (held, false);
            }
            let number = self.processes.number(&holder.program, out);
            let space = if index == 0 { "" } else { " " };
            // A String takes everything.
            let _ = write!(held, "{space}{number}");
            for (index, fd) in holder.fds.iter().enumerate() {
                let mark = if index == 0 { ':' } else { ',' };
                let _ = write!(held, "{mark}{fd}");
            }
        }
        (held, true)
    }
}

/// `812.4423 813.4424`: the pid, and when it started.
fn ended(all: &[ProcessId]) -> String {
    let mut text = String::new();
    for (index, id) in all.iter().enumerate() {
        if text.len() >= LONGEST_SET / 2 {
            break;
        }
        let space = if index == 0 { "" } else { " " };
        // A String takes everything.
        let _ = write!(text, "{space}{}.{}", id.pid, id.started);
    }
    text
}

pub(super) fn info(told: &Info, sock: u64, at: Timestamp, source: SourceName, out: &mut Vec<u8>) {
    let mut line = Line::at(out, "info", at);
    line.source(source, SourceName::Info);
    line.number("sock", sock);
    line.number("begun", told.begun.nanos());
    match &told.answer {
        InfoAnswer::Silent(time) => line.number("silent_ns", nanos_of(*time)),
        InfoAnswer::Counters(found) => counters(&mut line, found),
    }
    line.end();
}

fn counters(line: &mut Line<'_>, found: &Counters) {
    line.word("state", found.state.name());
    line.number("data_sent_ns", nanos_of(found.data_sent));
    line.number("data_received_ns", nanos_of(found.data_received));
    line.number("ack_received_ns", nanos_of(found.ack_received));
    line.flag("keepalive", found.keepalive);
    line.nonzero("backoff", found.backoff.into());
    line.optional("in", found.bytes_received);
    line.optional("out", found.bytes_acked);
}
