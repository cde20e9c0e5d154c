//! The part of the filter that the kernel evaluates, as `inet_diag` bytecode.
//!
//! Only conditions that are the same for both ends of a connection go in: "either port is in P and
//! either address is in H". Layout: operations of four bytes {code, yes, no}, jumps relative and
//! in bytes (`struct inet_diag_bc_op`, include/uapi/linux/inet_diag.h).
//!
//! The trap is the kernel's audit (`inet_diag_bc_audit`, net/ipv4/inet_diag.c): it walks the `yes`
//! chain, and every `no` must land on that chain or four bytes past the end, which rejects. So
//! `yes` is always the next operation, and an OR is written with jumps that never succeed.

use std::net::IpAddr;

use crate::model::filter::{Filter, Network, PortSet};

// enum in include/uapi/linux/inet_diag.h
const JUMP: u8 = 1;
const LOCAL_AT_LEAST: u8 = 2;
const LOCAL_AT_MOST: u8 = 3;
const REMOTE_AT_LEAST: u8 = 4;
const REMOTE_AT_MOST: u8 = 5;
const LOCAL_ADDRESS: u8 = 7;
const REMOTE_ADDRESS: u8 = 8;
const LOCAL_IS: u8 = 11;
const REMOTE_IS: u8 = 12;

/// Jumps are 16 bits wide, and so is the attribute's length, header included.
const LONGEST: usize = u16::MAX as usize - 64;

/// One condition of an alternative, without its jumps.
struct Condition {
    code: u8,
    /// What follows the operation: a port, or an address.
    operand: Vec<u8>,
}

/// Conditions that must all hold.
type Alternative = Vec<Condition>;

/// The bytecode for connections, empty when everything is wanted.
///
/// A filter too long for the kernel is widened to ranges around it; the exact filter is applied
/// to the rows afterwards.
pub fn connections(filter: &Filter) -> Vec<u8> {
    let exact = program(groups(filter, ports_either_end, false));
    if exact.len() <= LONGEST {
        return exact;
    }
    let wide = program(groups(filter, ports_either_end, true));
    if wide.len() <= LONGEST {
        wide
    } else {
        Vec::new()
    }
}

/// The bytecode for the listeners that such connections can come from: their own port alone.
pub fn listeners(filter: &Filter) -> Vec<u8> {
    let alternatives: Vec<Alternative> = filter.port_groups().flat_map(local_ports).collect();
    let program = program(vec![alternatives]);
    if program.len() <= LONGEST {
        program
    } else {
        Vec::new()
    }
}

/// The groups of alternatives of which each must have one that holds.
fn groups(
    filter: &Filter,
    ports: fn(&PortSet) -> Vec<Alternative>,
    widened: bool,
) -> Vec<Vec<Alternative>> {
    let mut groups: Vec<Vec<Alternative>> = filter
        .port_groups()
        .map(|set| match (widened, set.hull()) {
            (true, Some((first, last))) => [true, false]
                .map(|local| range(first, last, local))
                .into_iter()
                .collect(),
            _ => ports(set),
        })
        .collect();
    if !filter.hosts.is_empty() && !widened {
        groups.push(filter.hosts.iter().flat_map(address_either_end).collect());
    }
    groups
}

fn ports_either_end(set: &PortSet) -> Vec<Alternative> {
    set.ranges()
        .iter()
        .flat_map(|&(first, last)| [range(first, last, true), range(first, last, false)])
        .collect()
}

fn local_ports(set: &PortSet) -> Vec<Alternative> {
    set.ranges()
        .iter()
        .map(|&(first, last)| range(first, last, true))
        .collect()
}

fn range(first: u16, last: u16, local: bool) -> Alternative {
    let (is, at_least, at_most) = if local {
        (LOCAL_IS, LOCAL_AT_LEAST, LOCAL_AT_MOST)
    } else {
        (REMOTE_IS, REMOTE_AT_LEAST, REMOTE_AT_MOST)
    };
    if first == last {
        return vec![port_condition(is, first)];
    }
    vec![
        port_condition(at_least, first),
        port_condition(at_most, last),
    ]
}

/// The port rides in the `no` field of a second operation, in host order.
fn port_condition(code: u8, port: u16) -> Condition {
    let port = port.to_ne_bytes();
    Condition {
        code,
        operand: vec![0, 0, port[0], port[1]],
    }
}

fn address_either_end(network: &Network) -> [Alternative; 2] {
    [LOCAL_ADDRESS, REMOTE_ADDRESS].map(|code| {
        vec![Condition {
            code,
            operand: host_condition(network),
        }]
    })
}

/// `struct inet_diag_hostcond`: family, prefix length, padding, port (-1 for any), address. An
/// IPv4 condition also matches v4-mapped addresses of IPv6 sockets.
fn host_condition(network: &Network) -> Vec<u8> {
    let (family, address) = match network.addr {
        IpAddr::V4(addr) => (libc::AF_INET as u8, addr.octets().to_vec()),
        IpAddr::V6(addr) => (libc::AF_INET6 as u8, addr.octets().to_vec()),
    };
    let mut operand = vec![family, network.prefix, 0, 0];
    operand.extend_from_slice(&(-1i32).to_ne_bytes());
    operand.extend_from_slice(&address);
    operand
}

/// Lays the groups out one behind the other.
fn program(groups: Vec<Vec<Alternative>>) -> Vec<u8> {
    let total: usize = groups.iter().map(|group| group_length(group)).sum();
    let mut code = Vec::with_capacity(total);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let end = code.len() + group_length(group);
        for (index, alternative) in group.iter().enumerate() {
            let is_last = index + 1 == group.len();
            let next = code.len() + alternative_length(alternative) + jump_length(is_last);
            // When the last alternative fails, so does the program: past the end.
            let failed = if is_last { total + 4 } else { next };
            for condition in alternative {
                emit(&mut code, condition.code, &condition.operand, failed);
            }
            if !is_last {
                emit(&mut code, JUMP, &[], end);
            }
        }
    }
    code
}

fn emit(code: &mut Vec<u8>, operation: u8, operand: &[u8], otherwise: usize) {
    let length = 4 + operand.len();
    let no = u16::try_from(otherwise - code.len()).unwrap_or(u16::MAX);
    let no = no.to_ne_bytes();
    code.extend_from_slice(&[operation, length as u8, no[0], no[1]]);
    code.extend_from_slice(operand);
}

fn group_length(group: &[Alternative]) -> usize {
    let alternatives: usize = group.iter().map(|a| alternative_length(a)).sum();
    alternatives + group.len().saturating_sub(1) * jump_length(false)
}

fn alternative_length(alternative: &[Condition]) -> usize {
    alternative.iter().map(|c| 4 + c.operand.len()).sum()
}

const fn jump_length(is_last: bool) -> usize {
    if is_last { 0 } else { 4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Selection;
    use crate::model::{Endpoint, FourTuple};

    fn filter(ports: &str, hosts: &[&str]) -> Filter {
        Filter {
            ports: if ports.is_empty() {
                PortSet::default()
            } else {
                ports.parse().unwrap()
            },
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            selection: Selection::default(),
            expr: None,
        }
    }

    fn no(op: &[u8]) -> usize {
        u16::from_ne_bytes([op[2], op[3]]).into()
    }

    /// `inet_diag_bc_audit`, as far as jumps go.
    fn audit(code: &[u8]) {
        let chain: Vec<usize> = std::iter::successors(Some(0), |&pc| {
            (pc < code.len()).then(|| pc + usize::from(code[pc + 1]))
        })
        .collect();
        assert_eq!(chain.last(), Some(&code.len()), "the chain ends at the end");
        for &pc in &chain[..chain.len() - 1] {
            let target = pc + no(&code[pc..]);
            assert!(
                target == code.len() + 4 || chain.contains(&target),
                "{pc} jumps beside the chain, to {target}"
            );
        }
    }

    /// `inet_diag_bc_run`.
    fn run(code: &[u8], tuple: &FourTuple) -> bool {
        let mut pc = 0;
        while pc < code.len() {
            let op = &code[pc..];
            let port = || u16::from_ne_bytes([op[6], op[7]]);
            let address = |addr: IpAddr| {
                let length = if op[4] == libc::AF_INET as u8 { 4 } else { 16 };
                let bytes = &op[12..12 + length];
                let of = match <[u8; 4]>::try_from(bytes) {
                    Ok(v4) => IpAddr::from(v4),
                    Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
                };
                Network {
                    addr: of,
                    prefix: op[5],
                }
                .contains(addr)
            };
            let (local, remote) = (&tuple.local, &tuple.remote);
            let yes = match op[0] {
                JUMP => false,
                LOCAL_AT_LEAST => local.port() >= port(),
                LOCAL_AT_MOST => local.port() <= port(),
                REMOTE_AT_LEAST => remote.port() >= port(),
                REMOTE_AT_MOST => remote.port() <= port(),
                LOCAL_IS => local.port() == port(),
                REMOTE_IS => remote.port() == port(),
                LOCAL_ADDRESS => address(local.addr()),
                REMOTE_ADDRESS => address(remote.addr()),
                other => panic!("unknown operation {other}"),
            };
            pc += if yes { usize::from(op[1]) } else { no(op) };
        }
        pc == code.len()
    }

    #[test]
    fn one_port_is_the_well_known_five_operations() {
        let code = connections(&filter("50008", &[]));
        let port = 50008u16.to_ne_bytes();
        let expected = [
            [LOCAL_IS, 8, 12, 0],
            [0, 0, port[0], port[1]],
            [JUMP, 4, 12, 0],
            [REMOTE_IS, 8, 12, 0],
            [0, 0, port[0], port[1]],
        ];
        assert_eq!(code, expected.concat());
    }

    #[test]
    fn the_kernel_decides_as_the_filter_does() {
        let filters = [
            filter("50008", &[]),
            filter("80,443,8000-8099", &[]),
            filter("", &["10.0.0.0/8"]),
            filter("", &["10.0.0.7", "2001:db8::/32", "0.0.0.0/0"]),
            filter("80,90-91", &["10.0.0.0/8", "::1"]),
            Filter {
                selection: Selection {
                    local_ports: "80".parse().unwrap(),
                    remote_ports: "40000-50000".parse().unwrap(),
                    ..Selection::default()
                },
                ..filter("", &["10.0.0.0/8"])
            },
        ];
        let addresses = ["10.0.0.7", "127.0.0.1", "::1", "2001:db8::5"];
        let ports = [1, 80, 81, 90, 443, 8000, 8099, 8100, 40000, 50008, 65535];
        for filter in &filters {
            let code = connections(filter);
            audit(&code);
            for local in addresses.iter().flat_map(|a| ports.map(|p| (*a, p))) {
                for remote in addresses.iter().flat_map(|a| ports.map(|p| (*a, p))) {
                    let tuple = FourTuple {
                        local: Endpoint::new(local.0.parse().unwrap(), local.1),
                        remote: Endpoint::new(remote.0.parse().unwrap(), remote.1),
                    };
                    assert_eq!(
                        run(&code, &tuple),
                        filter.keeps(&tuple),
                        "{filter} {tuple:?}"
                    );
                    assert_eq!(run(&code, &tuple), run(&code, &tuple.mirror()));
                }
            }
        }
    }

    #[test]
    fn a_filter_too_long_for_the_kernel_is_widened_and_loses_nothing() {
        let ports: Vec<String> = (0..4000).map(|n| (1000 + 3 * n).to_string()).collect();
        let filter = filter(&ports.join(","), &[]);
        let code = connections(&filter);
        audit(&code);
        assert!(code.len() <= LONGEST);
        let tuple = |port| FourTuple {
            local: Endpoint::new("10.0.0.1".parse().unwrap(), port),
            remote: Endpoint::new("10.0.0.2".parse().unwrap(), 9),
        };
        assert!(run(&code, &tuple(1000)) && run(&code, &tuple(1000 + 3 * 3999)));
        assert!(!run(&code, &tuple(999)));
    }

    #[test]
    fn without_a_filter_there_is_no_program() {
        assert!(connections(&Filter::default()).is_empty());
        assert!(listeners(&Filter::default()).is_empty());
    }
}
