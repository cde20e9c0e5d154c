//! Every change of every TCP socket of our network namespace, at its exact time, from programs that
//! run in the kernel.
//!
//! ```text
//!     btf -> layout -> program (asm) -> sys -> kernel -> ring -> pending -> record -> Observation
//! ```
//!
//! Needs CAP_BPF and CAP_PERFMON while it is opened, and nothing afterwards. Everything ends with
//! the descriptors, so also a kill leaves nothing behind.
//!
//! The traps: records lie in the ring in the order of their places, and not of their stamps, so
//! nothing is handed out before all places that were taken by then have been read; and the kernel
//! wakes us for every record that finds the ring empty: who reads at once, again and again, is
//! woken for each and slows the host down. Let a few milliseconds pass between two reads.

mod ask;
pub mod asm;
pub mod btf;
mod error;
pub mod layout;
mod misses;
mod open;
mod pending;
mod privileges;
pub mod program;
mod record;
mod ring;
mod sys;

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub use error::BpfError;
pub use privileges::{drop_capabilities, missing_capabilities};

use crate::model::event::ResetReason;
use crate::model::filter::Filter;
use crate::model::time::nanos_of;
use crate::model::{Body, FourTuple, Observation, Scope, SourceName, Timestamp};
use crate::source::{Request, clock};
use ask::Asker;
use misses::Misses;
use pending::Backlog;
use program::Probe;
use record::{Context, Record};
use ring::{Counter, End, MarkTable, Ring};

/// The size of the ring unless told otherwise: 60,000 events, a twentieth of a second of the
/// fastest that two processors were seen to make.
pub const DEFAULT_RING: usize = 8 << 20;
/// How many records are taken from the ring at once.
const AT_ONCE: usize = 64 << 10;
/// A stamp is taken behind its place in the ring, so what is not there yet will have a younger one
/// than now, but for what two processors' clocks differ by.
const SLACK: Duration = Duration::from_micros(1);
/// The same where only a part of the ring was read, and what was read says how old the rest is. It
/// is wrong only for a processor that was interrupted for longer between place and stamp.
const PART_SLACK: Duration = Duration::from_millis(5);
/// How long a connection that is being opened may go without its port before the kernel's table
/// is asked.
const PORT_PATIENCE: Duration = Duration::from_millis(50);
/// More than this is not kept back for one that waits.
const MOST_KEPT: usize = 256 << 10;

/// How it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size of the ring in bytes: a power of two, at least a page.
    pub ring: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { ring: DEFAULT_RING }
    }
}

/// A program that runs.
struct Running {
    program: OwnedFd,
    /// Hold it, and the one that stands in for it, to their tracepoint.
    _attached: [OwnedFd; 2],
}

/// The source.
pub struct Bpf {
    ring: Ring,
    lost: Counter,
    marks: MarkTable,
    running: Vec<Running>,
    /// Programs that do not run, and why.
    absent: Vec<(Probe, BpfError)>,
    backlog: Backlog,
    asker: Option<Asker>,
    scope: Scope,
    filter: Filter,
    /// The part of it that asks for addresses.
    hosts: Filter,
    reasons: Vec<ResetReason>,
    says_fin: bool,
    says_cgroup: bool,
    has_more: bool,
    /// Until when everything was handed out; never moves back.
    handed_out: u64,
    /// When the table was asked for those that still wait.
    asked: Option<u64>,
    lost_said: u64,
    misses: Misses,
}

impl Bpf {
    /// Loads the programs and lets them run.
    ///
    /// # Errors
    /// When the kernel lacks something, or does not allow it: in one line, with what would help.
    pub fn open(request: &Request, options: &Options) -> Result<Self, BpfError> {
        open::open(request, options)
    }

    /// Takes what is in the ring and hands out, in order of time, what is old enough for nothing
    /// older to come after it. Says until when everything has been handed out.
    pub fn drain(&mut self, out: &mut Vec<Observation>) -> Timestamp {
        let begun = clock::now();
        let (backlog, hosts) = (&mut self.backlog, &self.hosts);
        let is_anywhere = hosts.hosts.is_empty();
        let mut newest = None;
        let mut count = 0u64;
        let end = self.ring.read(AT_ONCE, |record| {
            // Whoever goes elsewhere needs no port.
            if is_anywhere || !record.opens_without_port() || hosts.keeps(&record.tuple()) {
                backlog.push(record);
            }
            newest = newest.max(Some(record.at));
            count += 1;
        });
        self.misses.is_busy |= count > 0;
        self.has_more = end == End::Enough;
        let known = match (end, newest) {
            (End::Empty, _) => begun.minus(SLACK).nanos(),
            (End::Enough, Some(newest)) => Timestamp::from_nanos(newest).minus(PART_SLACK).nanos(),
            // Behind an unfinished record there can be any.
            _ => 0,
        };
        let unnamed = self.settle_ports(begun, end);
        let until = known.max(self.handed_out);
        self.handed_out = self.hand_out(until, out).max(self.handed_out);
        let until = Timestamp::from_nanos(self.handed_out);
        self.say_losses(begun, unnamed, out);
        until
    }

    /// Whether the ring held more than was taken at once.
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// When something is kept back: the moment to drain again, though nothing new came.
    pub fn next_due(&self) -> Option<Timestamp> {
        let at = |nanos| Timestamp::from_nanos(nanos);
        let oldest = at(self.backlog.oldest()?).plus(SLACK);
        let Some(waiting) = self.backlog.peek_waiting() else {
            return Some(oldest);
        };
        if let Some(asked) = self.asked {
            return Some(at(asked).plus(SLACK));
        }
        let may_ask = self.asker.as_ref().map_or(0, Asker::not_before);
        let port = at(waiting).plus(PORT_PATIENCE).max(at(may_ask));
        Some(if self.backlog.oldest() < Some(waiting) {
            oldest.min(port)
        } else {
            port
        })
    }

    /// How many events, wanted or not, were told by a second program where the kernel skipped the
    /// first. They are not lost.
    pub fn rescued(&self) -> u64 {
        self.marks.rescued()
    }

    /// For poll(): readable while there is something in the ring.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }

    /// What this kernel does not report, in words; `None` when it reports everything.
    pub fn limits(&self) -> Option<String> {
        let lacks: Vec<String> = self
            .absent
            .iter()
            .map(|(probe, error)| {
                let verb = match error {
                    BpfError::Missing(_) => "has no",
                    _ => "refuses the program for",
                };
                format!("{verb} {}: {}", probe.tracepoint(), probe.lacking())
            })
            .collect();
        (!lacks.is_empty()).then(|| format!("this kernel {}", lacks.join("; it ")))
    }

    fn hand_out(&mut self, until: u64, out: &mut Vec<Observation>) -> u64 {
        let context = Context {
            scope: self.scope,
            reasons: &self.reasons,
            says_fin: self.says_fin,
            says_cgroup: self.says_cgroup,
        };
        let filter = &self.filter;
        self.backlog.hand_out(until, |record| {
            let tuple = record.tuple();
            if keeps(filter, record, &tuple) {
                out.extend(record.observation(tuple, &context));
            }
        })
    }

    /// Asks for the ports of those that have waited long enough, and gives up those that the
    /// answer does not name. Says how many events are lost by that.
    fn settle_ports(&mut self, now: Timestamp, end: End) -> u64 {
        let mut unnamed = self.backlog.take_lost();
        let since = now.minus(PORT_PATIENCE).nanos();
        // The answer is older than all that is in the ring now: who was named by a record after
        // it has been told. Whose records do not come is of a port that nobody wants.
        if let Some(asked) = self.asked
            && end == End::Empty
        {
            self.asked = None;
            unnamed += self.give_up(asked.saturating_sub(nanos_of(PORT_PATIENCE)));
        }
        if self.backlog.len() > MOST_KEPT {
            unnamed += self.give_up(u64::MAX);
        }
        if self.asked.is_some() || self.backlog.oldest_waiting().is_none_or(|at| at > since) {
            return unnamed;
        }
        let is_opening = !self.backlog.without_port(since).is_empty();
        match &mut self.asker {
            Some(asker) if is_opening => {
                if asker.not_before() <= now.nanos() {
                    self.asked = Some(now.nanos());
                    let ports = asker.ports();
                    self.backlog.name(&ports);
                }
            }
            _ => self.asked = Some(now.nanos()),
        }
        unnamed
    }

    /// Of those that are given up, only the opening of a connection is lost whose remote port is
    /// wanted, or any port: its later events would have come, whatever its port.
    fn give_up(&mut self, since: u64) -> u64 {
        let filter = &self.filter;
        let mut lost = 0;
        self.backlog.give_up(since, |record| {
            lost += u64::from(!record.is_half_made() && filter.keeps(&record.tuple()));
        });
        lost
    }

    /// What is counted now was lost before now, but perhaps after all that has been handed out.
    fn say_losses(&mut self, begun: Timestamp, unnamed: u64, out: &mut Vec<Observation>) {
        let lost = self.lost.value();
        let running = self.running.iter();
        let skipped = self.misses.lost(begun, || {
            let misses = running.filter_map(|running| recursion_misses(&running.program));
            let rescued = self.marks.rescued();
            (
                misses.sum(),
                rescued.saturating_sub(self.backlog.repeated()),
            )
        });
        let at = clock::now();
        for (count, why) in [
            (
                lost.saturating_sub(self.lost_said),
                "the ring was full: events were lost",
            ),
            (
                skipped,
                "an interrupted program was skipped: events, wanted or not, were lost",
            ),
            (
                unnamed,
                "connections were opened whose port could not be learnt",
            ),
        ] {
            if count > 0 {
                out.push(Observation {
                    host: 0,
                    at,
                    source: SourceName::Bpf,
                    body: Body::Lost {
                        count: Some(count),
                        why: why.into(),
                    },
                });
            }
        }
        self.lost_said = lost;
    }
}

/// How often the kernel did not run it because it was running there already: an interrupt inside it
/// that brought another event. Once in 100,000 events, on two processors that do nothing else;
/// events of other namespaces count here, too.
///
/// Read from /proc, since bpf(2) would want capabilities for it on some kernels.
fn recursion_misses(program: &OwnedFd) -> Option<u64> {
    let path = format!("/proc/thread-self/fdinfo/{}", program.as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?;
    line.trim().parse().ok()
}

/// Whether the record is of a connection that is wanted. Where the 4-tuple was lost with the
/// connection, only the cookie could tell, so it is handed out.
fn keeps(filter: &Filter, record: &Record, tuple: &FourTuple) -> bool {
    if record.is_nameless_listener() {
        false
    } else if record.is_of_listener() {
        filter.keeps_listener(&tuple.local)
    } else {
        record.is_wiped() || filter.keeps(tuple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::host;

    const fn is_send<T: Send>() {}
    const _: () = is_send::<Bpf>();

    fn opened(name: &str) -> Option<Bpf> {
        let request = Request {
            scope: host::scope(),
            ..Request::default()
        };
        match Bpf::open(&request, &Options::default()) {
            Ok(bpf) => Some(bpf),
            Err(error) if error.log().is_none() => {
                eprintln!("skipped: {name}: {error}");
                None
            }
            Err(error) => panic!("{error}\n{}", error.log().unwrap_or_default()),
        }
    }

    #[test]
    fn every_program_runs_and_says_what_it_missed() {
        let Some(bpf) = opened("every_program_runs_and_says_what_it_missed") else {
            return;
        };
        assert_eq!(bpf.running.len(), Probe::ALL.len());
        for running in &bpf.running {
            assert!(recursion_misses(&running.program).is_some());
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_said_in_words() {
        let Some(mut bpf) = opened("what_a_kernel_lacks_is_said_in_words") else {
            return;
        };
        assert_eq!(bpf.limits(), None);
        let missing = BpfError::Missing("btf_trace_tcp_retransmit_skb".into());
        bpf.absent.push((Probe::Retransmit, missing));
        bpf.absent.push((Probe::Freed, BpfError::BigEndian));
        assert_eq!(
            bpf.limits().unwrap(),
            "this kernel has no tcp_retransmit_skb: retransmissions are not shown; \
             it refuses the program for tcp_destroy_sock: the freeing of sockets is not shown"
        );
    }
}
