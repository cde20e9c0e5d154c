//! The socket filter of the destroy multicast: which messages wake us, as a classic BPF program
//! that the kernel runs on each.
//!
//! It sees the message from its netlink header on: `struct nlmsghdr` (16 bytes), then `struct
//! inet_diag_msg` with the two ports, in network order, at 4 and 6. It saves our own wake-ups, not
//! the host's work: the message is built before it is asked.
//!
//! The trap: a reset wipes the 4-tuple before the socket is freed, so a port of 0 must pass; only
//! the cookie tells then whose it was. Jumps are 8 bits wide except the unconditional one, so
//! every test here jumps over one such.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::model::filter::{Filter, PortSet};

// include/uapi/linux/bpf_common.h, include/uapi/linux/filter.h
const LOAD_HALF: u16 = 0x28;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// `BPF_MAXINSNS`.
const LONGEST: usize = 4096;
/// Keep the message whole.
const PASS: u32 = u32::MAX;
const DROP: u32 = 0;

/// `idiag_sport` and `idiag_dport` behind the header.
const PORTS: [u32; 2] = [16 + 4, 16 + 6];

/// One instruction, `struct sock_filter`.
pub(super) type Instruction = libc::sock_filter;

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// The program for a filter, `None` when everything passes. One that is too long for the kernel is
/// widened to ranges around its ports.
pub(super) fn program(filter: &Filter) -> Option<Vec<Instruction>> {
    let groups: Vec<&PortSet> = filter.port_groups().collect();
    if groups.is_empty() {
        return None;
    }
    let exact: Vec<Vec<(u16, u16)>> = groups.iter().map(|set| set.ranges().to_vec()).collect();
    let program = of_groups(&exact);
    if program.len() <= LONGEST {
        return Some(program);
    }
    let wide: Vec<Vec<(u16, u16)>> = groups
        .iter()
        .map(|set| set.hull().into_iter().collect())
        .collect();
    Some(of_groups(&wide))
}

/// Passes when a port is 0, or when each group holds either port.
fn of_groups(groups: &[Vec<(u16, u16)>]) -> Vec<Instruction> {
    let mut program = Vec::new();
    let mut wiped = Vec::new();
    for port in PORTS {
        program.push(instruction(LOAD_HALF, 0, 0, port));
        program.push(instruction(JUMP_EQUAL, 0, 1, 0));
        wiped.push(program.len());
        program.push(instruction(JUMP, 0, 0, 0));
    }
    for ranges in groups {
        let mut held = Vec::new();
        for port in PORTS {
            program.push(instruction(LOAD_HALF, 0, 0, port));
            for &(first, last) in ranges {
                program.push(instruction(JUMP_AT_LEAST, 0, 2, first.into()));
                program.push(instruction(JUMP_ABOVE, 1, 0, last.into()));
                held.push(program.len());
                program.push(instruction(JUMP, 0, 0, 0));
            }
        }
        program.push(instruction(RETURN, 0, 0, DROP));
        land(&mut program, &held);
    }
    land(&mut program, &wiped);
    program.push(instruction(RETURN, 0, 0, PASS));
    program
}

/// The jumps at these places lead to what comes next.
fn land(program: &mut [Instruction], jumps: &[usize]) {
    let here = program.len();
    for &jump in jumps {
        if let Some(instruction) = program.get_mut(jump) {
            instruction.k = u32::try_from(here - jump - 1).unwrap_or(u32::MAX);
        }
    }
}

/// Gives the program to the kernel.
#[expect(
    unsafe_code,
    reason = "a socket option that takes a pointer, which no safe crate of ours sets"
)]
pub(super) fn attach(socket: impl AsFd, program: &mut [Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let whole = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `whole` is a `struct sock_fprog` of the length that is given, and points to as many
    // instructions as it says; both outlive the call, which copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&whole).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Selection;
    use crate::model::{Endpoint, FourTuple};

    fn message(local: u16, remote: u16) -> Vec<u8> {
        let mut message = vec![0xff; 88];
        message[20..22].copy_from_slice(&local.to_be_bytes());
        message[22..24].copy_from_slice(&remote.to_be_bytes());
        message
    }

    /// As the kernel runs it (Documentation/networking/filter.rst), for the operations used here.
    fn run(program: &[Instruction], message: &[u8]) -> bool {
        let (mut at, mut register) = (0_usize, 0_u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            match code {
                LOAD_HALF => {
                    let Some(half) = message.get(k as usize..k as usize + 2) else {
                        return false;
                    };
                    register = u16::from_be_bytes(half.try_into().unwrap()).into();
                }
                JUMP => at += k as usize,
                JUMP_EQUAL => at += jump(register == k),
                JUMP_ABOVE => at += jump(register > k),
                JUMP_AT_LEAST => at += jump(register >= k),
                RETURN => return k != DROP,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn filter(ports: &str, local: &str, remote: &str) -> Filter {
        let set = |text: &str| text.parse().unwrap_or_default();
        Filter {
            ports: set(ports),
            selection: Selection {
                local_ports: set(local),
                remote_ports: set(remote),
                ..Selection::default()
            },
            ..Filter::default()
        }
    }

    #[test]
    fn the_kernel_passes_what_the_filter_keeps_and_what_was_wiped() {
        assert!(program(&Filter::default()).is_none());
        let ports = [0, 1, 79, 80, 81, 443, 7999, 8000, 8042, 8099, 8100, 65535];
        for filter in [
            filter("80", "", ""),
            filter("80,443,8000-8099", "", ""),
            filter("1-65535", "", ""),
            filter("", "80", "443,8000-8100"),
            filter("80", "8000-8099", ""),
        ] {
            let program = program(&filter).unwrap();
            for local in ports {
                for remote in ports {
                    let endpoint = |port| Endpoint::new([10, 0, 0, 1].into(), port);
                    let tuple = FourTuple {
                        local: endpoint(local),
                        remote: endpoint(remote),
                    };
                    let expected = local == 0 || remote == 0 || filter.keeps(&tuple);
                    let passes = run(&program, &message(local, remote));
                    assert_eq!(passes, expected, "{filter}: {local} {remote}");
                }
            }
            assert!(!run(&program, &[0; 16]), "a message without ports");
        }
    }

    #[test]
    fn a_program_too_long_is_widened_and_loses_nothing() {
        let ports: Vec<String> = (0..4000).map(|n| (1000 + 3 * n).to_string()).collect();
        let program = program(&filter(&ports.join(","), "", "")).unwrap();
        assert!(program.len() <= LONGEST);
        assert!(run(&program, &message(1000, 9)) && run(&program, &message(9, 1000 + 3 * 3999)));
        assert!(!run(&program, &message(999, 9)));
        // As long as may be: 680 ranges need 4093 instructions.
        let ports: Vec<String> = (0..680).map(|n| (1000 + 3 * n).to_string()).collect();
        let long = super::program(&filter(&ports.join(","), "", "")).unwrap();
        assert!(long.len() > 4000 && long.len() <= LONGEST);
        assert!(run(&long, &message(9, 1000 + 3 * 679)) && !run(&long, &message(1001, 1002)));
    }
}
