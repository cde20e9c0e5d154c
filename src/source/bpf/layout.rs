//! Where the running kernel keeps what the programs read: offsets, bits and numbers, from BTF.
//!
//! It must not know how the programs read them. The trap: a member that is missing is either an
//! error by name or a `None` that degrades what is said; never offset 0.

use crate::model::event::ResetReason;
use crate::source::bpf::asm::Width;
use crate::source::bpf::btf::{Btf, Names};

/// What is looked for in the kernel's description.
pub const NAMES: Names = Names {
    structs: &[
        "sock",
        "tcp_sock",
        "net",
        "socket",
        "file",
        "cgroup",
        "kernfs_node",
        "task_struct",
        "signal_struct",
    ],
    enums: &["sock_flags", "sk_rst_reason"],
    typedefs: &[
        "btf_trace_inet_sock_set_state",
        "btf_trace_tcp_receive_reset",
        "btf_trace_tcp_send_reset",
        "btf_trace_tcp_retransmit_skb",
        "btf_trace_tcp_destroy_sock",
    ],
};

/// This kernel has no member that nothing can be said without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

/// A plain member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// From the begin of its struct, in bytes.
    pub offset: u32,
    /// How much to load.
    pub width: Width,
}

/// One or more bits of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// What to load.
    pub field: Field,
    /// How far to shift it to the right.
    pub shift: u8,
    /// Which bits count then.
    pub mask: u32,
}

/// How a file's reference count says that the last descriptor is being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// `file_ref_t` of Linux 6.13 and later: the upper two bits are set from the last put on
    /// (`FILE_REF_RELEASED`, include/linux/file_ref.h).
    Zones(Field),
    /// `f_count` before that: 0 from the last put on.
    Count(Field),
}

/// Of the task that makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// `task_struct.flags`.
    pub flags: Field,
    /// `task_struct.tgid`.
    pub group: Field,
    /// `task_struct.signal`.
    pub signal: Field,
    /// `signal_struct.group_exit_code`.
    pub exit_code: Field,
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the kernel's members are, in `read`")]
pub struct Layout {
    pub family: Field,
    pub device: Field,
    pub netns: Field,
    pub netns_inode: Field,
    pub remote_port: Field,
    /// In host order, and 0 once the socket is unhashed: for mini-sockets alone.
    pub mini_port: Field,
    pub local_port: Field,
    pub local_v4: Field,
    pub remote_v4: Field,
    pub local_v6: Option<u32>,
    pub remote_v6: Option<u32>,
    pub shutdown: Field,
    pub error: Field,
    pub socket: Field,
    pub received: Field,
    pub read: Field,
    pub written: Field,
    pub acknowledged: Field,
    pub bytes_received: Field,
    pub bytes_acked: Field,
    pub flags: Option<Field>,
    /// The bit of `SOCK_DONE` in the flags.
    pub done: Option<u8>,
    /// The bit of `SOCK_LINGER` in the flags.
    pub linger: Option<u8>,
    pub linger_time: Option<Field>,
    pub multipath: Option<Bits>,
    pub file: Option<Field>,
    pub references: Option<References>,
    /// From the socket to the cgroup's id.
    pub cgroup: Option<[Field; 3]>,
    pub task: Option<Task>,
    /// Reasons of a reset by their number; empty before Linux 6.10.
    pub reasons: Vec<ResetReason>,
}

impl Layout {
    /// Looks everything up.
    ///
    /// # Errors
    /// When a member is missing that is needed.
    pub fn read(btf: &Btf) -> Result<Self, Missing> {
        let need = |structure, path| {
            field(btf, structure, path).ok_or_else(|| Missing(format!("{structure}.{path}")))
        };
        let bit = |name| flag(btf, name);
        Ok(Self {
            family: need("sock", "__sk_common.skc_family")?,
            device: need("sock", "__sk_common.skc_bound_dev_if")?,
            netns: need("sock", "__sk_common.skc_net.net")?,
            netns_inode: need("net", "ns.inum")?,
            remote_port: need("sock", "__sk_common.skc_dport")?,
            mini_port: need("sock", "__sk_common.skc_num")?,
            local_port: need("tcp_sock", "inet_conn.icsk_inet.inet_sport")?,
            local_v4: need("sock", "__sk_common.skc_rcv_saddr")?,
            remote_v4: need("sock", "__sk_common.skc_daddr")?,
            local_v6: address(btf, "__sk_common.skc_v6_rcv_saddr"),
            remote_v6: address(btf, "__sk_common.skc_v6_daddr"),
            shutdown: need("sock", "sk_shutdown")?,
            error: need("sock", "sk_err")?,
            socket: need("sock", "sk_socket")?,
            received: need("tcp_sock", "rcv_nxt")?,
            read: need("tcp_sock", "copied_seq")?,
            written: need("tcp_sock", "write_seq")?,
            acknowledged: need("tcp_sock", "snd_una")?,
            bytes_received: need("tcp_sock", "bytes_received")?,
            bytes_acked: need("tcp_sock", "bytes_acked")?,
            flags: field(btf, "sock", "__sk_common.skc_flags"),
            done: bit("SOCK_DONE"),
            linger: bit("SOCK_LINGER"),
            linger_time: field(btf, "sock", "sk_lingertime"),
            multipath: bits(btf, "tcp_sock", "is_mptcp"),
            file: field(btf, "socket", "file"),
            references: references(btf),
            cgroup: cgroup(btf),
            task: task(btf),
            reasons: reasons(btf),
        })
    }
}

fn field(btf: &Btf, structure: &str, path: &str) -> Option<Field> {
    let member = btf.member(structure, path)?;
    Some(Field {
        offset: member.byte()?,
        width: Width::of(member.size)?,
    })
}

/// A bitfield, or a whole member as bits.
fn bits(btf: &Btf, structure: &str, path: &str) -> Option<Bits> {
    let member = btf.member(structure, path)?;
    let Some(bits) = member.width else {
        return Some(Bits {
            field: field(btf, structure, path)?,
            shift: 0,
            mask: u32::MAX >> 1,
        });
    };
    let (offset, shift) = (member.bit / 8, (member.bit % 8) as u8);
    // One byte is enough for the flags that are read this way; a load may not reach beyond.
    (shift + bits <= 8 && bits > 0).then_some(Bits {
        field: Field {
            offset,
            width: Width::U8,
        },
        shift,
        mask: (1 << bits) - 1,
    })
}

/// Where an IPv6 address begins.
fn address(btf: &Btf, path: &str) -> Option<u32> {
    let member = btf.member("sock", path)?;
    (member.size == 16).then(|| member.byte()).flatten()
}

fn flag(btf: &Btf, name: &str) -> Option<u8> {
    btf.enumerators("sock_flags")
        .find(|(found, _)| *found == name)
        .and_then(|(_, bit)| u8::try_from(bit).ok().filter(|bit| *bit < 64))
}

fn references(btf: &Btf) -> Option<References> {
    let long = |path| field(btf, "file", path).filter(|field| field.width == Width::U64);
    long("f_ref.refcnt.counter")
        .map(References::Zones)
        .or_else(|| long("f_count.counter").map(References::Count))
}

fn cgroup(btf: &Btf) -> Option<[Field; 3]> {
    Some([
        field(btf, "sock", "sk_cgrp_data.cgroup")?,
        field(btf, "cgroup", "kn")?,
        field(btf, "kernfs_node", "id").filter(|id| id.width == Width::U64)?,
    ])
}

fn task(btf: &Btf) -> Option<Task> {
    Some(Task {
        flags: field(btf, "task_struct", "flags")?,
        group: field(btf, "task_struct", "tgid")?,
        signal: field(btf, "task_struct", "signal")?,
        exit_code: field(btf, "signal_struct", "group_exit_code")?,
    })
}

fn reasons(btf: &Btf) -> Vec<ResetReason> {
    let mut reasons = Vec::new();
    for (name, number) in btf.enumerators("sk_rst_reason") {
        let name = name.strip_prefix("SK_RST_REASON_").unwrap_or(name);
        // A record has a byte for it.
        let Ok(number) = u8::try_from(number).map(usize::from) else {
            continue;
        };
        if reasons.len() <= number {
            reasons.resize(number + 1, ResetReason::Other);
        }
        reasons[number] = ResetReason::from_kernel_name(name);
    }
    reasons
}
