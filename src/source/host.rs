//! Facts of the host that the timeline needs: limits from sysctls, counters from netstat.
//!
//! The trap: /proc/net is the network namespace of the process, not of the thread; all paths here
//! go through `thread-self`.

use std::fs;
use std::time::Duration;

use crate::model::observation::HostFacts;
use crate::model::{Body, Observation, Scope, SourceName, Timestamp};
use crate::source::clock;

/// The network namespace of the calling thread.
pub fn scope() -> Scope {
    let netns = rustix::fs::stat("/proc/thread-self/ns/net")
        .ok()
        .map(|stat| stat.st_ino);
    Scope { host: 0, netns }
}

/// Reads what is worth knowing. What can't be read is `None`.
pub fn facts(scope: Scope) -> HostFacts {
    let netstat = fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default();
    HostFacts {
        scope,
        fin_timeout: sysctl("tcp_fin_timeout").map(Duration::from_secs),
        max_tw_buckets: sysctl("tcp_max_tw_buckets"),
        time_wait_overflows: counter(&netstat, "TcpExt:", "TCPTimeWaitOverflow"),
        listen_overflows: counter(&netstat, "TcpExt:", "ListenOverflows"),
        // TFO_SERVER_ENABLE, include/net/tcp.h
        server_fast_open: sysctl("tcp_fastopen").is_some_and(|bits| bits & 2 != 0),
    }
}

/// The facts as an observation.
pub fn observe(facts: HostFacts, source: SourceName, at: Timestamp) -> Observation {
    Observation {
        at,
        source,
        body: Body::Host(facts),
    }
}

/// Reads the facts anew and says them when they have changed: before a lookup's "gone" is
/// judged, the count of TIME_WAITs that found no room must be known.
pub fn refresh(known: &mut HostFacts, source: SourceName, out: &mut Vec<Observation>) {
    let facts = facts(known.scope);
    if facts != *known {
        *known = facts;
        out.push(observe(facts, source, clock::now()));
    }
}

fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
    text.trim().parse().ok()
}

/// A counter of /proc/net/netstat: a line of names and a line of numbers behind one prefix.
fn counter(netstat: &str, prefix: &str, name: &str) -> Option<u64> {
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
    fn this_host_says_something() {
        let facts = facts(scope());
        assert!(facts.scope.netns.is_some());
        assert!(facts.fin_timeout.is_some());
    }
}
