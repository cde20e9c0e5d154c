//! What the user wants to see, parsed and evaluated.
//!
//! Two kinds that must never be mixed: what may be given to the kernel keeps a connection whole
//! (either port, either address); what looks at one end ([`Selection`]) is asked only after the
//! two ends have been paired, or it would tear them apart.

pub mod expr;
mod process;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::model::tcp::StateSet;
use crate::model::{Endpoint, FourTuple, TcpState};

pub use expr::Expr;
use expr::{Term, Which};
pub use process::{NamePart, ProcessName, ProcessSet, parse_pid, script_name};

/// A text that is not what the filter allows; the message names the text and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not a port number.
    #[error("'{0}' is not a port (allowed: 1 to 65535, lists as 80,443, ranges as 8000-8099)")]
    Port(String),
    /// A range that holds nothing.
    #[error("the range '{0}' is empty: its first port is above its last (write it as {1})")]
    EmptyRange(String, String),
    /// No port at all.
    #[error(
        "the list of ports has an empty place (allowed: 1 to 65535, lists as 80,443, ranges as 8000-8099)"
    )]
    NoPort,
    /// Not an address.
    #[error(
        "'{0}' is not an IP address (allowed: 10.0.0.7, ::1, or with a prefix 10.0.0.0/8; names are not looked up)"
    )]
    Address(String),
    /// Not the number of a process.
    #[error("'{0}' is not a pid (allowed: 1 to 4194304, lists as 812,813)")]
    Pid(String),
    /// A name of no letters.
    #[error("a process has a name (allowed: python3, lists as nginx,python3)")]
    NoName,
    /// A prefix longer than the address.
    #[error("'{0}' has no valid prefix length (allowed: 0 to {1})")]
    Prefix(String, u8),
}

/// A set of ports: sorted ranges that neither overlap nor touch. The empty set means "any".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    ranges: Vec<(u16, u16)>,
}

impl PortSet {
    /// The set of one port.
    pub fn one(port: u16) -> Self {
        Self {
            ranges: vec![(port, port)],
        }
    }

    /// The set of all from one port to another; `None` when there are none.
    pub fn range(first: u16, last: u16) -> Option<Self> {
        let ranges = vec![(first, last)];
        (first <= last && first > 0).then_some(Self { ranges })
    }

    /// Whether the set allows every port.
    pub const fn is_any(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, first and last port of each, ascending.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    /// Whether `port` is allowed.
    pub fn allows(&self, port: u16) -> bool {
        self.is_any()
            || self
                .ranges
                .iter()
                .any(|&(first, last)| (first..=last).contains(&port))
    }

    /// Whether either port of the tuple is allowed.
    pub fn allows_either(&self, tuple: &FourTuple) -> bool {
        self.allows(tuple.local.port()) || self.allows(tuple.remote.port())
    }

    /// The smallest single range around the set.
    pub fn hull(&self) -> Option<(u16, u16)> {
        Some((self.ranges.first()?.0, self.ranges.last()?.1))
    }

    fn normalise(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            match merged.last_mut() {
                Some(before) if u32::from(first) <= u32::from(before.1) + 1 => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    /// This set and another; "any" wins nothing here: an empty set adds nothing.
    pub fn extend(&mut self, other: &Self) {
        self.ranges.extend_from_slice(&other.ranges);
        self.normalise();
    }
}

impl FromStr for PortSet {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut set = Self::default();
        for item in text.split(',').map(str::trim) {
            set.ranges.push(parse_range(item)?);
        }
        set.normalise();
        Ok(set)
    }
}

fn parse_range(item: &str) -> Result<(u16, u16), FilterError> {
    if item.is_empty() {
        return Err(FilterError::NoPort);
    }
    let Some((first, last)) = item.split_once('-') else {
        let port = parse_port(item)?;
        return Ok((port, port));
    };
    if first.is_empty() || last.is_empty() {
        return Err(FilterError::Port(item.escape_default().to_string()));
    }
    let (first, last) = (parse_port(first.trim())?, parse_port(last.trim())?);
    if first > last {
        let text = item.escape_default().to_string();
        return Err(FilterError::EmptyRange(text, format!("{last}-{first}")));
    }
    Ok((first, last))
}

pub(in crate::model::filter) fn parse_port(text: &str) -> Result<u16, FilterError> {
    let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if port != 0 && digits_only => Ok(port),
        _ => Err(FilterError::Port(text.escape_default().to_string())),
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// An address with a prefix length, folded: a v4-mapped prefix is an IPv4 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address as written.
    pub addr: IpAddr,
    /// How many leading bits count, 0 to 32 or 128.
    pub prefix: u8,
}

impl Network {
    /// Whether the address lies in the network.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                same_prefix(net.to_bits().into(), addr.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => {
                same_prefix(net.to_bits(), addr.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, width: u8, prefix: u8) -> bool {
    let ignored = u32::from(width - prefix.min(width));
    (a ^ b).checked_shr(ignored).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let text = text.trim();
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let bare = addr
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(addr);
        let escaped = || text.escape_default().to_string();
        let addr: IpAddr = bare.parse().map_err(|_| FilterError::Address(escaped()))?;
        let width = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|&prefix| prefix <= width)
                .ok_or_else(|| FilterError::Prefix(escaped(), width))?,
            Some(_) => return Err(FilterError::Prefix(escaped(), width)),
        };
        Ok(fold(addr, prefix))
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn fold(addr: IpAddr, prefix: u8) -> Network {
    match addr {
        IpAddr::V6(v6) if prefix >= 96 => match v6.to_ipv4_mapped() {
            Some(v4) => Network {
                addr: v4.into(),
                prefix: prefix - 96,
            },
            None => Network { addr, prefix },
        },
        _ => Network { addr, prefix },
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.addr.is_ipv4() { 32 } else { 128 };
        if self.prefix == width {
            write!(f, "{}", self.addr)
        } else {
            write!(f, "{}/{}", self.addr, self.prefix)
        }
    }
}

/// IPv4 or IPv6, as the user sees the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Also what a dual-stack socket serves to an IPv4 client.
    V4,
    /// Real IPv6.
    V6,
}

/// What chooses connections after their ends are paired: one end must satisfy all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The end's own port.
    pub local_ports: PortSet,
    /// The port it talks to.
    pub remote_ports: PortSet,
    /// A state it is in, or was in; empty means any.
    pub states: StateSet,
    /// The family of its folded addresses.
    pub family: Option<Family>,
    /// Who holds it, or held it, or made one of its calls.
    pub processes: ProcessSet,
}

/// What a selection looks at of one visible end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndFacts {
    /// The end's addresses.
    pub tuple: FourTuple,
    /// States that were seen of it (not those inferred), now and earlier.
    pub states: StateSet,
}

impl Selection {
    /// The same, whoever holds it: what has to be looked at before that is known.
    #[must_use]
    pub fn held_by_any(&self) -> Self {
        Self {
            processes: ProcessSet::default(),
            ..self.clone()
        }
    }

    /// Whether this end satisfies all of the selection but for its processes, of which whoever
    /// keeps them is asked.
    pub fn matches(&self, end: &EndFacts) -> bool {
        self.local_ports.allows(end.tuple.local.port())
            && self.remote_ports.allows(end.tuple.remote.port())
            && (self.states.is_empty() || self.states.meets(end.states))
            && self
                .family
                .is_none_or(|family| (family == Family::V4) == end.tuple.local.addr().is_ipv4())
    }
}

/// Everything that the user asked to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Either port is one of these.
    pub ports: PortSet,
    /// Either address lies in one of these; empty means any.
    pub hosts: Vec<Network>,
    /// Asked of one end, after pairing.
    pub selection: Selection,
    /// Asked of all that is known of a connection, beside the rest.
    pub expr: Option<Expr>,
}

impl Filter {
    /// Sets of which each must hold either port. Mirrored, such a condition is itself, so both
    /// ends of a connection pass or neither does.
    pub fn port_groups(&self) -> impl Iterator<Item = &PortSet> {
        let said = [
            &self.ports,
            &self.selection.local_ports,
            &self.selection.remote_ports,
        ];
        let of_expr = self.expr.iter().flat_map(Expr::port_groups);
        said.into_iter().chain(of_expr).filter(|set| !set.is_any())
    }

    /// Whether it chooses among connections once their ends are paired: some are hidden then, or
    /// come to be shown in the middle of their lives.
    pub fn chooses(&self) -> bool {
        self.selection != Selection::default() || self.expr.is_some()
    }

    /// Whether it asks who holds an end.
    pub fn asks_for_processes(&self) -> bool {
        let of_expr = || self.expr.as_ref().is_some_and(Expr::asks_for_processes);
        !self.selection.processes.is_any() || of_expr()
    }

    /// Whether it asks for listeners, by their state.
    pub fn asks_for_listeners(&self) -> bool {
        let is_theirs = |term: &Term| match term {
            Term::State(states) | Term::Was(states) => {
                states.iter().count() < TcpState::ALL.len() && states.contains(TcpState::Listen)
            }
            _ => false,
        };
        let of_expr = || {
            self.expr
                .as_ref()
                .is_some_and(|expr| expr.any_term(is_theirs))
        };
        self.selection.states.contains(TcpState::Listen) || of_expr()
    }

    /// Whether it asks what was found.
    pub fn asks_for_findings(&self) -> bool {
        let is_such = |term: &Term| matches!(term, Term::Finding(_) | Term::Severity(..));
        self.expr
            .as_ref()
            .is_some_and(|expr| expr.any_term(is_such))
    }

    /// What of it a recorder leaves the rest of the host out by, which keeps connections whole: of
    /// the expression only its ports.
    #[must_use]
    pub fn recorded(&self) -> Self {
        let ports = |set: &PortSet| Term::Port(Which::Either, set.clone());
        Self {
            expr: self
                .expr
                .as_ref()
                .and_then(|expr| Expr::all(expr.port_groups().iter().map(ports).collect())),
            ..self.clone()
        }
    }

    /// The expression, where it says more than a recorder can choose by.
    pub fn asked_later(&self) -> Option<&Expr> {
        let expr = self.expr.as_ref();
        expr.filter(|expr| expr.says_more_than_ports())
    }

    /// Whether it asks for processes by their names.
    pub fn asks_for_names(&self) -> bool {
        let is_such = |term: &Term| match term {
            Term::Process(wanted) => !wanted.names.is_empty(),
            Term::Named(_) => true,
            _ => false,
        };
        let of_expr = || {
            self.expr
                .as_ref()
                .is_some_and(|expr| expr.any_term(is_such))
        };
        !self.selection.processes.names.is_empty() || of_expr()
    }

    /// Whether what it wants can become otherwise without anything being observed.
    pub fn depends_on_time(&self) -> bool {
        self.expr.as_ref().is_some_and(Expr::depends_on_time)
    }

    /// Whether a connection of this 4-tuple can be wanted. The same for both ends.
    pub fn keeps(&self, tuple: &FourTuple) -> bool {
        self.port_groups().all(|set| set.allows_either(tuple))
            && (self.hosts.is_empty()
                || self.covers(tuple.local.addr())
                || self.covers(tuple.remote.addr()))
    }

    fn covers(&self, addr: IpAddr) -> bool {
        self.hosts.iter().any(|network| network.contains(addr))
    }

    /// Whether a listener bound here can be the one that the connections come from.
    pub fn keeps_listener(&self, local: &Endpoint) -> bool {
        let mut groups = self.port_groups().peekable();
        groups.peek().is_none() || groups.any(|set| set.allows(local.port()))
    }

    /// Whether connections from an address to a destination can be wanted. Their own ports are many,
    /// so they choose nothing.
    pub fn keeps_destination(&self, local: IpAddr, remote: &Endpoint) -> bool {
        let family = self.selection.family;
        self.port_groups().all(|set| set.allows(remote.port()))
            && family.is_none_or(|family| (family == Family::V4) == remote.addr().is_ipv4())
            && (self.hosts.is_empty() || self.covers(local) || self.covers(remote.addr()))
    }
}

impl fmt::Display for Filter {
    /// One line, empty when everything is wanted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        for (name, ports) in [
            ("port", &self.ports),
            ("local-port", &self.selection.local_ports),
            ("remote-port", &self.selection.remote_ports),
        ] {
            if !ports.is_any() {
                words.push(format!("{name} {ports}"));
            }
        }
        if !self.hosts.is_empty() {
            let hosts: Vec<String> = self.hosts.iter().map(Network::to_string).collect();
            words.push(format!("host {}", hosts.join(",")));
        }
        if !self.selection.states.is_empty() {
            let names: Vec<&str> = self.selection.states.iter().map(|s| s.name()).collect();
            words.push(format!("state {}", names.join(",")));
        }
        let ProcessSet { pids, names } = &self.selection.processes;
        if !pids.is_empty() {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            words.push(format!("pid {}", pids.join(",")));
        }
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(ProcessName::to_string).collect();
            words.push(format!("process {}", names.join(",")));
        }
        match self.selection.family {
            Some(Family::V4) => words.push("IPv4".into()),
            Some(Family::V6) => words.push("IPv6".into()),
            None => {}
        }
        if let Some(expr) = &self.expr {
            words.push(match words.is_empty() {
                true => expr.to_string(),
                false => expr.as_part(),
            });
        }
        f.write_str(&words.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TcpState;

    fn ports(text: &str) -> Result<PortSet, FilterError> {
        text.parse()
    }

    fn tuple(local: u16, remote: u16) -> FourTuple {
        FourTuple {
            local: Endpoint::new("10.0.0.1".parse().unwrap(), local),
            remote: Endpoint::new("192.168.7.2".parse().unwrap(), remote),
        }
    }

    #[test]
    fn ports_come_as_lists_and_ranges_and_are_merged() {
        let set = ports("443, 80,8000-8010,8005-8099,81,65535").unwrap();
        assert_eq!(
            set.ranges(),
            [(80, 81), (443, 443), (8000, 8099), (65535, 65535)]
        );
        assert_eq!(set.to_string(), "80-81,443,8000-8099,65535");
        assert_eq!(set.hull(), Some((80, 65535)));
        assert!(set.allows(8042) && !set.allows(8100));
    }

    #[test]
    fn wrong_ports_are_named() {
        for text in [
            "0", "70000", "http", "-5", "5-", "80,,81", "", "+80", "80;81", "1-2-3",
        ] {
            assert!(ports(text).is_err(), "{text:?}");
        }
        let message = ports("80,70000").unwrap_err().to_string();
        assert!(
            message.starts_with("'70000' is not a port (allowed: 1 to 65535"),
            "{message}"
        );
        let message = ports("90-80").unwrap_err().to_string();
        assert!(
            message.contains("'90-80' is empty") && message.contains("80-90"),
            "{message}"
        );
    }

    #[test]
    fn networks_are_folded_and_matched() {
        let network = |text: &str| text.parse::<Network>().unwrap();
        assert!(network("10.0.0.0/8").contains("10.200.3.4".parse().unwrap()));
        assert!(!network("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(network("0.0.0.0/0").contains("11.0.0.1".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(network("::/0").contains("2001:db8::1".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
        assert_eq!(network("[::1]").to_string(), "::1");
        for text in [
            "example.com",
            "10.0.0.0/33",
            "::1/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_the_kernel_is_given_is_the_same_for_both_ends() {
        let filter = Filter {
            ports: ports("50008").unwrap(),
            hosts: vec!["10.0.0.0/8".parse().unwrap()],
            selection: Selection {
                local_ports: ports("40000").unwrap(),
                ..Selection::default()
            },
            expr: None,
        };
        for (local, remote, kept) in [
            (40000, 50008, true),
            (50008, 40000, true),
            (50008, 1, false),
        ] {
            let tuple = tuple(local, remote);
            assert_eq!(filter.keeps(&tuple), kept);
            assert_eq!(filter.keeps(&tuple.mirror()), kept);
        }
    }

    #[test]
    fn a_selection_is_asked_of_one_end() {
        let selection = Selection {
            local_ports: ports("50008").unwrap(),
            states: StateSet::EMPTY.with(TcpState::CloseWait),
            family: Some(Family::V4),
            ..Selection::default()
        };
        let end = |local, remote, state| EndFacts {
            tuple: tuple(local, remote),
            states: StateSet::EMPTY.with(state),
        };
        assert!(selection.matches(&end(50008, 40000, TcpState::CloseWait)));
        assert!(!selection.matches(&end(40000, 50008, TcpState::CloseWait)));
        assert!(!selection.matches(&end(50008, 40000, TcpState::Established)));
    }

    #[test]
    fn a_filter_prints_as_one_line() {
        assert_eq!(Filter::default().to_string(), "");
        let filter = Filter {
            ports: ports("80-81,443").unwrap(),
            hosts: vec!["::1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            selection: Selection {
                states: StateSet::EMPTY.with(TcpState::TimeWait),
                family: Some(Family::V6),
                processes: ProcessSet {
                    pids: vec![812, 813],
                    names: vec!["python3".parse().unwrap()],
                },
                ..Selection::default()
            },
            expr: None,
        };
        assert_eq!(
            filter.to_string(),
            "port 80-81,443 and host ::1,10.0.0.0/8 and state TIME_WAIT and pid 812,813 \
             and process python3 and IPv6"
        );
    }
}
