//! Facts of the host that the timeline needs: limits from sysctls, counters from netstat.
//!
//! The trap: /proc/net is the network namespace of the process, not of the thread; all paths here
//! go through `thread-self`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::model::observation::HostFacts;
use crate::model::{Body, Observation, Scope, SourceName};
use crate::source::clock;
use crate::source::netns::Place;

/// The network namespace of the calling thread.
pub fn scope() -> Scope {
    let netns = rustix::fs::stat("/proc/thread-self/ns/net")
        .ok()
        .map(|stat| stat.st_ino);
    Scope { host: 0, netns }
}

/// Reads what is worth knowing. What can't be read is `None`: of a namespace that is looked at from
/// outside the sysctls, which are our own namespace's for us.
pub fn facts(scope: Scope, place: &Place) -> HostFacts {
    let (netstat, snmp) = (place.read("netstat"), place.read("snmp"));
    let sysctl = |name| match place {
        Place::Own => sysctl(name),
        Place::Through(_) => None,
    };
    let is_own = matches!(place, Place::Own);
    HostFacts {
        scope,
        fin_timeout: sysctl("tcp_fin_timeout").map(Duration::from_secs),
        max_tw_buckets: sysctl("tcp_max_tw_buckets"),
        time_wait_overflows: counter(&netstat, "TcpExt:", "TCPTimeWaitOverflow"),
        listen_overflows: counter(&netstat, "TcpExt:", "ListenOverflows"),
        resets: resets(&snmp),
        port_range: is_own
            .then(|| fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok())
            .flatten()
            .and_then(|text| port_range(&text)),
        time_wait_reuse: sysctl("tcp_tw_reuse").and_then(|value| u8::try_from(value).ok()),
        // TFO_SERVER_ENABLE, include/net/tcp.h
        server_fast_open: sysctl("tcp_fastopen").is_some_and(|bits| bits & 2 != 0),
    }
}

/// The facts as they were last read.
pub struct Watched {
    known: HostFacts,
    said: bool,
    source: SourceName,
    place: Place,
    /// Held open: it is read at every look.
    snmp: Option<File>,
    text: Vec<u8>,
}

impl Watched {
    /// Reads the facts of our own namespace for the first time.
    pub fn new(scope: Scope, source: SourceName) -> Self {
        Self::of(scope, Place::Own, source)
    }

    /// As [`Watched::new`], of a namespace that may be another.
    pub fn of(scope: Scope, place: Place, source: SourceName) -> Self {
        Self {
            known: facts(scope, &place),
            said: false,
            source,
            snmp: place.open("snmp").ok(),
            place,
            text: vec![0; 8 << 10],
        }
    }

    /// Before a look: says all facts the first time, and then when resets were counted since the
    /// look before. The count bounds when a reset can have been.
    pub fn before_look(&mut self, out: &mut Vec<Observation>) {
        let resets = self.resets();
        if !self.said || resets != self.known.resets {
            self.known.resets = resets;
            self.say(out);
        }
    }

    /// Before "gone" is said: whether a TIME_WAIT found no room, and whether a reset was counted,
    /// must be known by then.
    pub fn before_gone(&mut self, out: &mut Vec<Observation>) {
        let facts = facts(self.known.scope, &self.place);
        if facts != self.known {
            self.known = facts;
            self.say(out);
        }
    }

    fn say(&mut self, out: &mut Vec<Observation>) {
        self.said = true;
        out.push(Observation {
            host: 0,
            at: clock::now(),
            source: self.source,
            body: Body::Host(self.known),
        });
    }

    fn resets(&mut self) -> Option<u64> {
        let length = self.snmp.as_ref()?.read_at(&mut self.text, 0).ok()?;
        resets(std::str::from_utf8(self.text.get(..length)?).ok()?)
    }
}

fn resets(snmp: &str) -> Option<u64> {
    counter(snmp, "Tcp:", "EstabResets")
}

/// The first and the last port that `connect()` chooses from.
fn port_range(text: &str) -> Option<(u16, u16)> {
    let mut ports = text.split_whitespace().map(|port| port.parse().ok());
    let range = (ports.next()??, ports.next()??);
    (range.0 <= range.1).then_some(range)
}

fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
    text.trim().parse().ok()
}

/// A counter of /proc/net/netstat or snmp: a line of names and a line of numbers behind one prefix.
pub(in crate::source) fn counter(netstat: &str, prefix: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with(prefix));
    let names = lines.next()?.split_whitespace();
    let numbers = lines.next()?.split_whitespace();
    names
        .zip(numbers)
        .find(|(found, _)| *found == name)
        .and_then(|(_, number)| number.parse().ok())
}

/// The kernel's release and the host's name, for the head of what we write.
pub fn identity() -> (String, String) {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    (text(uname.release()), text(uname.nodename()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows TCPTimeWaitOverflow\n\
                       TcpExt: 1 22 333\nIpExt: InNoRoutes\nIpExt: 7\n";
        let of = |name| counter(netstat, "TcpExt:", name);
        assert_eq!(of("ListenOverflows"), Some(22));
        assert_eq!(of("TCPTimeWaitOverflow"), Some(333));
        assert_eq!(of("InNoRoutes"), None);
        assert_eq!(counter("TcpExt: A\n", "TcpExt:", "A"), None);
    }

    #[test]
    fn a_range_of_ports_is_two_numbers_in_order() {
        assert_eq!(port_range("32768\t60999\n"), Some((32768, 60999)));
        for wrong in ["", "1", "2 1", "a 2", "1 70000"] {
            assert_eq!(port_range(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn this_host_says_something() {
        let facts = facts(scope(), &Place::Own);
        assert!(facts.scope.netns.is_some());
        assert!(facts.fin_timeout.is_some());
        assert!(facts.port_range.is_some());
        assert!(facts.resets.is_some());
    }
}
