//! Brings the programs into the kernel: reads its types, makes the maps, loads, attaches.
//!
//! It must not know what becomes of the events. The trap: only state changes are essential; a
//! kernel that lacks another tracepoint, or refuses its program, still serves.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::model::filter::{Filter, PortSet};
use crate::source::Request;
use crate::source::bpf::ask::Asker;
use crate::source::bpf::btf::{Btf, Prototype};
use crate::source::bpf::layout::{Layout, NAMES};
use crate::source::bpf::misses::Misses;
use crate::source::bpf::program::{Ports, Probe, Turn, Wanted, assemble};
use crate::source::bpf::ring::{Counter, MarkTable, Ring};
use crate::source::bpf::{Bpf, BpfError, Options, Running, missing_capabilities, pending, sys};

/// The kernel's own description of its types.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The least and the most that a ring may have.
const RING: std::ops::RangeInclusive<usize> = 4096..=1 << 30;
/// The processors that there can be.
const PROCESSORS: &str = "/sys/devices/system/cpu/possible";
/// As many as Linux can be built for.
const MOST_PROCESSORS: u32 = 8192;
/// Every port, 0 included.
const PORTS: usize = 1 << 16;
/// Parameters of `tcp_send_reset` when it says why: the reason, behind socket and packet and the
/// pointer that every tracepoint has.
const WITH_REASON: usize = 4;

/// Reads the kernel's description.
pub(super) fn kernel_types() -> Result<Btf, BpfError> {
    let data = fs::read(BTF).map_err(|error| BpfError::NoBtf { path: BTF, error })?;
    Btf::parse(data, NAMES).map_err(|error| BpfError::Btf { path: BTF, error })
}

pub(super) fn open(request: &Request, options: &Options) -> Result<Bpf, BpfError> {
    if cfg!(target_endian = "big") {
        return Err(BpfError::BigEndian);
    }
    if let Some(missing) = missing_capabilities() {
        return Err(BpfError::Capabilities { missing });
    }
    let netns = request.scope.netns.and_then(|netns| netns.try_into().ok());
    let netns = netns.ok_or(BpfError::NoNamespace)?;
    if !options.ring.is_power_of_two() || !RING.contains(&options.ring) {
        return Err(BpfError::RingSize(options.ring));
    }
    let btf = kernel_types()?;
    let layout = Layout::read(&btf).map_err(|missing| BpfError::Missing(missing.0))?;
    let of = |operation| move |error| BpfError::of(operation, error);
    let ring = Ring::new(options.ring).map_err(of("making the ring"))?;
    let lost = Counter::new().map_err(of("making the count of losses"))?;
    let marks = MarkTable::new(processors()).map_err(of("making the table of marks"))?;
    let table = port_table(&request.filter).map_err(of("making the table of ports"))?;
    let wanted = Wanted {
        netns,
        ring: ring.fd().as_raw_fd(),
        lost: lost.fd().as_raw_fd(),
        ports: table.as_ref().map(|(table, all)| Ports {
            table: table.as_raw_fd(),
            all: *all,
        }),
        marks: marks.marks(),
    };
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for probe in Probe::ALL {
        match start(&btf, &layout, &wanted, probe) {
            Ok(program) => running.push(program),
            Err(error) if probe == Probe::State => return Err(error),
            Err(error) => absent.push((probe, error)),
        }
    }
    Ok(Bpf {
        ring,
        lost,
        marks,
        running,
        absent,
        backlog: pending::Backlog::default(),
        asker: Asker::open(),
        scope: request.scope,
        hosts: Filter {
            hosts: request.filter.hosts.clone(),
            ..Filter::default()
        },
        filter: request.filter.clone(),
        says_fin: layout.flags.is_some() && layout.done.is_some(),
        says_cgroup: layout.cgroup.is_some(),
        reasons: layout.reasons,
        has_more: false,
        handed_out: 0,
        asked: None,
        lost_said: 0,
        misses: Misses::default(),
    })
}

/// Loads a tracepoint's two programs and lets them run, the first one first: the kernel runs them in
/// the order in which they came.
fn start(btf: &Btf, layout: &Layout, wanted: &Wanted, probe: Probe) -> Result<Running, BpfError> {
    let load = |turn| load(btf, layout, wanted, probe, turn);
    let (program, second) = (load(Turn::First)?, load(Turn::Second)?);
    let attach = |program: &OwnedFd| {
        let operation = || format!("attaching to {}", probe.tracepoint());
        sys::attach(program.as_fd()).map_err(|error| BpfError::of(operation(), error))
    };
    Ok(Running {
        _attached: [attach(&program)?, attach(&second)?],
        program,
    })
}

fn load(
    btf: &Btf,
    layout: &Layout,
    wanted: &Wanted,
    probe: Probe,
    turn: Turn,
) -> Result<OwnedFd, BpfError> {
    let tracepoint = probe.tracepoint();
    let typedef = format!("btf_trace_{tracepoint}");
    let prototype = btf.prototype(&typedef).ok_or(BpfError::Missing(typedef))?;
    let probe = as_declared(probe, prototype);
    let program = assemble(probe, turn, layout, wanted).map_err(|error| {
        BpfError::of(format!("assembling {tracepoint}"), io::Error::other(error))
    })?;
    sys::load(&program, &format!("tw_{tracepoint}"), prototype.id)
        .map_err(|refusal| BpfError::refused(tracepoint, refusal.error, refusal.log))
}

fn as_declared(probe: Probe, prototype: Prototype) -> Probe {
    match probe {
        Probe::ResetSent { .. } => Probe::ResetSent {
            says_why: prototype.parameters >= WITH_REASON,
        },
        other => other,
    }
}

/// The table of ports with the bits of all groups; `None` when every port is wanted.
fn port_table(filter: &Filter) -> io::Result<Option<(OwnedFd, u8)>> {
    let groups: Vec<&PortSet> = filter.port_groups().collect();
    if groups.is_empty() {
        return Ok(None);
    }
    let map = sys::array(PORTS as u32, "tcpwatch_ports")?;
    sys::write_array(map.as_fd(), &groups_of_ports(&groups, ephemeral_ports()))?;
    Ok(Some((map, all_groups(&groups))))
}

const fn all_groups(groups: &[&PortSet]) -> u8 {
    // A filter has three groups at most.
    ((1u16 << groups.len()) - 1) as u8
}

/// For each port the groups that it belongs to. Place 0, of a socket that has no port yet, belongs
/// to those of which it can be given one.
fn groups_of_ports(groups: &[&PortSet], ephemeral: (u16, u16)) -> Vec<u8> {
    let mut table = vec![0u8; PORTS];
    for (index, group) in groups.iter().enumerate() {
        for &(first, last) in group.ranges() {
            for place in &mut table[usize::from(first)..=usize::from(last)] {
                *place |= 1 << index;
            }
            if first <= ephemeral.1 && ephemeral.0 <= last {
                table[0] |= 1 << index;
            }
        }
    }
    table
}

/// How many processors there can ever be, rounded up to a power of two.
fn processors() -> u32 {
    let text = fs::read_to_string(PROCESSORS).unwrap_or_default();
    last_number(&text)
        .map_or(MOST_PROCESSORS, |last| {
            last.saturating_add(1).clamp(1, MOST_PROCESSORS)
        })
        .next_power_of_two()
}

/// Of a list such as `0,2-5`.
fn last_number(list: &str) -> Option<u32> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// The ports that are given to sockets that ask for none, in this thread's network namespace and as
/// of now.
fn ephemeral_ports() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first, last),
        // Not to be read: then it can be any.
        _ => (1, u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_by_the_last_one() {
        let last = ["0\n", "0-1\n", "0,2-5\n", "", "?"].map(last_number);
        assert_eq!(last, [Some(0), Some(1), Some(5), None, None]);
        assert!(processors().is_power_of_two());
    }

    #[test]
    fn a_port_has_the_bits_of_its_groups() {
        let (web, high): (PortSet, PortSet) =
            ("80,443".parse().unwrap(), "440-40000".parse().unwrap());
        let table = groups_of_ports(&[&web, &high], (32768, 60999));
        let at = |port: usize| table[port];
        assert_eq!([at(80), at(443), at(440), at(40000)], [1, 3, 2, 2]);
        assert_eq!([at(79), at(439), at(40001), at(65535)], [0, 0, 0, 0]);
        assert_eq!(at(0), 2, "only the second can be given to a client");
        assert_eq!(all_groups(&[&web, &high]), 3);
    }
}
