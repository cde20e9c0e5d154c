//! How many ephemeral ports connections to one destination take up, most of them in TIME_WAIT.
//!
//! The kernel gives a port again to another destination, but not to the same one while its 4-tuple
//! is in use; a TIME_WAIT on loopback is in the way for a second only, unless the host says otherwise. So ports are counted by (local address, destination), of the side that connected.
//! The traps: this runs beside every connection of a busy host, so it counts steps and does not
//! walk the connections; and the tracker forgets settled connections beyond a number, so a TIME_WAIT
//! counts here until its 60 s are over, known or forgotten.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::diagnosis::finding::{Code, Severity};
use crate::diagnosis::rules::{Draft, Drafts};
use crate::diagnosis::settings::Settings;
use crate::model::{Endpoint, Scope, TcpState, Timestamp};
use crate::timeline::{Change, ConnId, Connection, Found, Side, Tracker};

type Fast = foldhash::fast::RandomState;

/// `TCP_TIMEWAIT_LEN`, include/net/tcp.h.
const TIME_WAIT_LENGTH: Duration = Duration::from_secs(60);
/// So many ports are counted in all; of more nothing is said.
const COUNTED: usize = 400_000;
/// A destination with fewer can't be near any threshold: no host that connects out in earnest has so
/// small a range.
const FEW: usize = 4;
/// A busy destination is judged this often.
const EVERY: Duration = Duration::from_secs(1);
/// What holds goes on to hold until it is this much (percent) below its threshold.
const SLACK: u32 = 90;

/// From an address to a destination.
pub(super) type Way = (Scope, IpAddr, Endpoint);

#[derive(Clone, Copy, Debug)]
struct Use {
    conn: ConnId,
    /// In TIME_WAIT since then.
    waits: Option<Timestamp>,
}

impl Use {
    /// Whether `connect()` may take the port though its TIME_WAIT is there: after a second, where the
    /// host allows it (`tcp_twsk_unique`, net/ipv4/tcp_ipv4.c).
    fn is_given_again(&self, at: Timestamp, may_reuse: bool) -> bool {
        const DELAY: Duration = Duration::from_secs(1);
        may_reuse && self.waits.is_some_and(|since| since.plus(DELAY) <= at)
    }

    fn is_over(&self, at: Timestamp) -> bool {
        self.waits
            .is_some_and(|since| since.plus(TIME_WAIT_LENGTH) <= at)
    }
}

/// The ports in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    ways: HashMap<Way, HashMap<u16, Use, Fast>, Fast>,
    counted: usize,
    /// Ways with more than a few.
    busy: BTreeSet<Way>,
    judged: Option<Timestamp>,
    swept: Option<Timestamp>,
}

impl Ports {
    /// Takes in a step of an end that connected.
    pub(super) fn note(&mut self, change: &Change, connection: &Connection) {
        match change {
            Change::Opened { ends, at, .. } => self.met(connection, ends[0].as_ref(), *at),
            Change::Joined {
                side: Side::A,
                found,
                at,
                ..
            } => self.met(connection, Some(found), *at),
            Change::Moved {
                side: Side::A,
                step,
                ..
            } => match step.to {
                TcpState::TimeWait => self.waits(connection, step.when.not_after()),
                TcpState::Close => self.ends(connection),
                _ => {}
            },
            _ => {}
        }
    }

    fn met(&mut self, connection: &Connection, found: Option<&Found>, at: Timestamp) {
        match found.map(|found| (found.state, found.age)) {
            None | Some((TcpState::Close, _)) => {}
            Some((TcpState::TimeWait, age)) => {
                let waited = age.map_or(Duration::ZERO, |age| age.at_least);
                self.waits(connection, at.minus(waited));
            }
            Some(_) => self.insert(connection, None),
        }
    }

    fn waits(&mut self, connection: &Connection, since: Timestamp) {
        self.insert(connection, Some(since));
    }

    fn insert(&mut self, connection: &Connection, waits: Option<Timestamp>) {
        let Some((way, port)) = way_of(connection) else {
            return;
        };
        if self.counted >= COUNTED {
            return;
        }
        let ports = self.ways.entry(way).or_default();
        let conn = connection.id();
        let before = ports.insert(port, Use { conn, waits });
        self.counted += usize::from(before.is_none());
        if ports.len() == FEW {
            self.busy.insert(way);
        }
    }

    fn ends(&mut self, connection: &Connection) {
        let Some((way, port)) = way_of(connection) else {
            return;
        };
        let Some(ports) = self.ways.get_mut(&way) else {
            return;
        };
        // The port may be another connection's by now.
        let is_its_own = |usage: &Use| usage.conn == connection.id();
        if ports.get(&port).is_some_and(is_its_own) {
            ports.remove(&port);
            self.counted -= 1;
            if ports.is_empty() {
                self.ways.remove(&way);
                self.busy.remove(&way);
            }
        }
    }

    /// What is to be judged now: the busy ways, once in a while.
    pub(super) fn subjects(&mut self, at: Timestamp) -> Vec<Way> {
        let is_due =
            |last: Option<Timestamp>, every| last.is_none_or(|last| at.since(last) >= every);
        if self.counted > FEW && is_due(self.swept, TIME_WAIT_LENGTH / 2) {
            self.swept = Some(at);
            self.forget_what_is_over(at);
        }
        if self.busy.is_empty() || !is_due(self.judged, EVERY) {
            return Vec::new();
        }
        self.judged = Some(at);
        self.busy.iter().copied().collect()
    }

    fn forget_what_is_over(&mut self, at: Timestamp) {
        let busy = &mut self.busy;
        self.ways.retain(|way, ports| {
            ports.retain(|_, usage| !usage.is_over(at));
            if ports.is_empty() {
                busy.remove(way);
            }
            !ports.is_empty()
        });
        self.counted = self.ways.values().map(HashMap::len).sum();
    }

    pub(super) fn judge(
        &self,
        way: &Way,
        (at, tracker, settings): (Timestamp, &Tracker, &Settings),
        holds: impl Fn(Code) -> bool,
        drafts: &mut Drafts,
    ) {
        let (Some(ports), Some((first, last))) = (
            self.ways.get(way),
            tracker.host(way.0.host).port_range.filter(|(a, b)| a <= b),
        ) else {
            return;
        };
        let there_are = u32::from(last - first) + 1;
        let may_reuse = match tracker.host(way.0.host).time_wait_reuse {
            Some(0) => false,
            Some(1) => true,
            // The default, since Linux 4.19.
            Some(_) | None => way.1.is_loopback() && way.2.addr().is_loopback(),
        };
        let in_use = ports
            .iter()
            .filter(|(port, _)| (first..=last).contains(port))
            .filter(|(_, usage)| !usage.is_over(at) && !usage.is_given_again(at, may_reuse));
        let (mut used, mut waiting) = (0_u32, 0_u32);
        for (_, usage) in in_use {
            used += 1;
            waiting += u32::from(usage.waits.is_some());
        }
        let reaches = |count: u32, percent: u32, code| {
            let percent = match holds(code) {
                true => percent * SLACK / 100,
                false => percent,
            };
            u64::from(count) * 100 >= u64::from(there_are) * u64::from(percent)
        };
        let counts = Counts {
            used,
            waiting,
            there_are,
            range: (first, last),
        };
        if reaches(waiting, settings.time_wait_percent, Code::TimeWaitPileup) {
            drafts.push(counts.pileup(at));
        }
        if reaches(used, settings.ports_percent, Code::EphemeralPortsLow) {
            drafts.push(counts.low(at));
        }
    }
}

/// Where the side that connected is, and on which port; `None` when it is not seen.
fn way_of(connection: &Connection) -> Option<(Way, u16)> {
    let scope = connection.end_scope(Side::A)?;
    let local = connection.endpoint(Side::A);
    Some((
        (scope, local.addr(), connection.endpoint(Side::B)),
        local.port(),
    ))
}

struct Counts {
    used: u32,
    waiting: u32,
    there_are: u32,
    range: (u16, u16),
}

impl Counts {
    fn range(&self) -> String {
        let (first, last) = self.range;
        format!("net.ipv4.ip_local_port_range is {first} to {last}")
    }

    fn pileup(&self, at: Timestamp) -> Draft {
        let Self {
            waiting, there_are, ..
        } = self;
        Draft {
            code: Code::TimeWaitPileup,
            severity: Severity::Warn,
            at,
            what: format!("{waiting} TIME_WAITs take up {} of {there_are} ports", self.share(*waiting))
                .into(),
            evidence: vec![
                "this side connects, and closes first: its TIME_WAIT keeps the port for 60 s".into(),
                self.range().into(),
            ],
            advice: "Keep connections and use them again (a pool, HTTP keep-alive), or let the other \
                     side close first. Widen the range if that is not enough. TIME_WAIT itself is no \
                     fault: SO_LINGER 0 against it loses data."
                .into(),
            standing: None,
        }
    }

    fn low(&self, at: Timestamp) -> Draft {
        let Self {
            used,
            waiting,
            there_are,
            ..
        } = self;
        Draft {
            code: Code::EphemeralPortsLow,
            severity: Severity::Error,
            at,
            what: format!(
                "{used} of {there_are} ports are in use, {waiting} of them in TIME_WAIT: connect() soon \
                 fails with EADDRNOTAVAIL"
            )
            .into(),
            evidence: vec![
                format!("{} of the ports, to this one destination", self.share(*used)).into(),
                self.range().into(),
            ],
            advice: "Keep connections and use them again, or connect from, or to, more addresses: ports \
                     are counted for each pair. Widen net.ipv4.ip_local_port_range."
                .into(),
            standing: None,
        }
    }

    fn share(&self, count: u32) -> String {
        format!("{} %", u64::from(count) * 100 / u64::from(self.there_are))
    }
}
