//! The programs that run in the kernel, one at each tracepoint, assembled for this kernel.
//!
//! Each asks in this order: is it TCP, is it our network namespace, is it one of the ports; then
//! takes a place in the ring, stamps it and fills it. It must not know how it is loaded.
//!
//! The traps. A tracepoint's socket can be NULL, and kernels from 6.2 to 6.12 take out our own
//! check of that, because they believe it can't: what decides is the answer of the kernel's
//! functions, which check for themselves. `skc_num` is 0 at the end of an unhashed socket, so the
//! port is read from `inet_sport`. And a mini-socket is shorter than a socket: of it only
//! `sock_common` is read.

mod fill;

use std::mem::offset_of;

use crate::model::TcpState;
use crate::source::bpf::asm::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9};
use crate::source::bpf::asm::{Alu, AsmError, Assembler, Helper, If, Insn, Label, Reg, Width};
use crate::source::bpf::layout::{Field, Layout};
use crate::source::bpf::record::{self, Record};

/// The socket: `struct sock`, or a mini-socket.
const SOCK: Reg = R6;
/// The same as `struct tcp_sock`; 0 for a mini-socket.
const TCP: Reg = R7;
/// The place in the ring.
const PLACE: Reg = R8;
/// The local port, in host order.
const PORT: Reg = R9;
/// Slots of the stack.
const FROM: i16 = 1;
const TO: i16 = 2;
const REASON: i16 = TO;

/// A tracepoint and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `inet_sock_set_state`
    State,
    /// `tcp_receive_reset`
    ResetReceived,
    /// `tcp_send_reset`; since Linux 6.10 it says why.
    ResetSent {
        /// Whether it does.
        says_why: bool,
    },
    /// `tcp_retransmit_skb`
    Retransmit,
    /// `tcp_destroy_sock`
    Freed,
}

impl Probe {
    /// All, the most important first.
    pub const ALL: [Self; 5] = [
        Self::State,
        Self::ResetReceived,
        Self::ResetSent { says_why: true },
        Self::Retransmit,
        Self::Freed,
    ];

    /// The name of the tracepoint.
    pub const fn tracepoint(self) -> &'static str {
        match self {
            Self::State => "inet_sock_set_state",
            Self::ResetReceived => "tcp_receive_reset",
            Self::ResetSent { .. } => "tcp_send_reset",
            Self::Retransmit => "tcp_retransmit_skb",
            Self::Freed => "tcp_destroy_sock",
        }
    }

    /// What is not shown without it.
    pub const fn lacking(self) -> &'static str {
        match self {
            Self::State => "state changes are not shown",
            Self::ResetReceived => "resets that come in are not shown",
            Self::ResetSent { .. } => "resets that are sent are not shown",
            Self::Retransmit => "retransmissions are not shown",
            Self::Freed => "the freeing of sockets is not shown",
        }
    }

    const fn kind(self) -> u8 {
        match self {
            Self::State => record::STATE,
            Self::ResetReceived => record::RESET_RECEIVED,
            Self::ResetSent { .. } => record::RESET_SENT,
            Self::Retransmit => record::RETRANSMIT,
            Self::Freed => record::FREED,
        }
    }
}

/// What the programs are told when they are made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The inode of our network namespace.
    pub netns: u32,
    /// The descriptor of the ring.
    pub ring: i32,
    /// The descriptor of the map with the count of lost events.
    pub lost: i32,
    /// The ports, `None` for all.
    pub ports: Option<Ports>,
}

/// The table of ports: for each a byte with a bit for every group that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The descriptor of the map.
    pub table: i32,
    /// The bits that a wanted connection's two ports have together.
    pub all: u8,
}

/// Assembles one program.
///
/// # Errors
/// When the kernel's structs are too large for the instructions.
pub fn assemble(probe: Probe, layout: &Layout, wanted: &Wanted) -> Result<Vec<Insn>, AsmError> {
    let mut asm = Assembler::default();
    let (out, lost) = (asm.label(), asm.label());
    let mut program = Program {
        asm: &mut asm,
        probe,
        layout,
        out,
    };
    program.take_arguments();
    program.find_socket();
    program.check_namespace(wanted.netns);
    if let Some(ports) = wanted.ports {
        program.check_ports(ports);
    }
    program.take_place(wanted.ring, lost);
    program.fill();
    asm.copy(R1, PLACE);
    asm.set(R2, 0);
    asm.call(Helper::RingbufSubmit);
    asm.goto(out);
    asm.stand(lost);
    asm.map_value(R1, wanted.lost);
    asm.set(R2, 1);
    asm.atomic_add(R1, 0, R2);
    asm.stand(out);
    asm.set(R0, 0);
    asm.exit();
    asm.finish()
}

struct Program<'a> {
    asm: &'a mut Assembler,
    probe: Probe,
    layout: &'a Layout,
    out: Label,
}

impl Program<'_> {
    fn load(&mut self, to: Reg, from: Reg, field: Field) {
        self.asm.load(to, field.width, from, field.offset);
    }

    fn store(&mut self, width: Width, offset: usize, from: Reg) {
        self.asm.store(width, PLACE, offset as u32, from);
    }

    fn zero(&mut self, offset: usize) {
        self.asm.store_value(Width::U64, PLACE, offset as u32, 0);
    }

    /// The tracepoint's arguments lie where R1 points, 8 bytes each.
    fn take_arguments(&mut self) {
        self.asm.load(SOCK, Width::U64, R1, 0);
        match self.probe {
            Probe::State => {
                self.asm.load(R2, Width::U64, R1, 8);
                self.asm.keep(FROM, R2);
                self.asm.load(R2, Width::U64, R1, 16);
                self.asm.keep(TO, R2);
            }
            Probe::ResetSent { says_why: true } => {
                self.asm.load(R2, Width::U64, R1, 16);
                self.asm.keep(REASON, R2);
            }
            _ => {}
        }
        self.asm.jump(If::Is, SOCK, 0, self.out);
    }

    /// A full TCP socket, or a mini-socket that sends a reset; anything else ends here.
    fn find_socket(&mut self) {
        self.asm.copy(R1, SOCK);
        self.asm.call(Helper::SkcToTcpSock);
        self.asm.copy(TCP, R0);
        if !matches!(self.probe, Probe::ResetSent { .. }) {
            self.asm.jump(If::Is, TCP, 0, self.out);
            self.load_port();
            return;
        }
        let (mini, found) = (self.asm.label(), self.asm.label());
        self.asm.jump(If::Is, TCP, 0, mini);
        self.load_port();
        self.asm.goto(found);
        self.asm.stand(mini);
        // Its answer is 0 where there is no socket, so behind it there is one.
        self.asm.copy(R1, SOCK);
        self.asm.call(Helper::GetSocketCookie);
        self.asm.jump(If::Is, R0, 0, self.out);
        self.load(PORT, SOCK, self.layout.mini_port);
        self.asm.stand(found);
    }

    /// `inet_sport` keeps the port of the last attempt. While a connection is being opened, what
    /// counts is the port that it holds.
    fn load_port(&mut self) {
        self.load(PORT, TCP, self.layout.local_port);
        self.asm.network_u16(PORT);
        if self.probe == Probe::State {
            let kept = self.asm.label();
            self.asm.recall(R1, TO);
            self.asm.jump(If::IsNot, R1, TcpState::SynSent as i32, kept);
            self.load(PORT, SOCK, self.layout.mini_port);
            self.asm.stand(kept);
        }
    }

    fn check_namespace(&mut self, inode: u32) {
        self.load(R1, SOCK, self.layout.netns);
        self.load(R1, R1, self.layout.netns_inode);
        self.asm.jump32(If::IsNot, R1, inode, self.out);
    }

    /// Either port must be in each group. A socket that lost a port is let pass, since only its
    /// cookie tells who it is. One that has no port yet is not: place 0 of the table says whether
    /// it can be given one that is wanted.
    fn check_ports(&mut self, ports: Ports) {
        let (look, wanted) = (self.asm.label(), self.asm.label());
        self.load(R2, SOCK, self.layout.remote_port);
        self.asm.network_u16(R2);
        if self.probe == Probe::State {
            self.asm.recall(R1, TO);
            for opening in [TcpState::SynSent, TcpState::SynRecv] {
                self.asm.jump(If::Is, R1, opening as i32, look);
            }
        }
        self.asm.jump(If::Is, PORT, 0, wanted);
        self.asm.jump(If::Is, R2, 0, wanted);
        self.asm.stand(look);
        // Most verifiers know nothing of a number whose bytes were swapped.
        for port in [PORT, R2] {
            self.asm.alu_value(Alu::And, port, u16::MAX.into());
        }
        self.asm.map_value(R3, ports.table);
        self.asm.copy(R4, R3);
        self.asm.alu(Alu::Add, R3, PORT);
        self.asm.alu(Alu::Add, R4, R2);
        self.asm.load(R3, Width::U8, R3, 0);
        self.asm.load(R4, Width::U8, R4, 0);
        self.asm.alu(Alu::Or, R3, R4);
        self.asm.jump(If::IsNot, R3, ports.all.into(), self.out);
        self.asm.stand(wanted);
    }

    /// The stamp is taken behind the place. So whoever has read all places that were taken has read
    /// every record whose stamp is older, however long the program was interrupted.
    ///
    /// The cookie is made by whoever asks first, and a mini-socket inherits only one that was made:
    /// so it is asked for even when there is no place.
    fn take_place(&mut self, ring: i32, lost: Label) {
        self.asm.copy(R1, SOCK);
        self.asm.call(Helper::GetSocketCookie);
        self.asm.map(R1, ring);
        self.asm.set(R2, size_of::<Record>() as i32);
        self.asm.set(R3, 0);
        self.asm.call(Helper::RingbufReserve);
        self.asm.jump(If::Is, R0, 0, lost);
        self.asm.copy(PLACE, R0);
        self.asm.call(Helper::KtimeGetNs);
        self.store(Width::U64, offset_of!(Record, at), R0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::bpf::asm::text;
    use crate::source::bpf::layout::{References, Task};

    /// A kernel whose members lie at round places.
    fn layout() -> Layout {
        let field = |offset, width| Field { offset, width };
        let (u16, u32, u64) = (
            |offset| field(offset, Width::U16),
            |offset| field(offset, Width::U32),
            |offset| field(offset, Width::U64),
        );
        Layout {
            family: u16(16),
            device: u32(20),
            netns: u64(48),
            netns_inode: u32(176),
            remote_port: u16(12),
            mini_port: u16(14),
            local_port: u16(814),
            local_v4: u32(4),
            remote_v4: u32(0),
            local_v6: None,
            remote_v6: None,
            shutdown: field(575, Width::U8),
            error: u32(284),
            socket: u64(288),
            received: u32(1664),
            read: u32(1464),
            written: u32(1576),
            acknowledged: u32(1672),
            bytes_received: u64(1752),
            bytes_acked: u64(1824),
            flags: None,
            done: None,
            linger: None,
            linger_time: None,
            multipath: None,
            file: None,
            references: None,
            cgroup: None,
            task: None,
            reasons: Vec::new(),
        }
    }

    fn whole_layout() -> Layout {
        let u64 = |offset| Field {
            offset,
            width: Width::U64,
        };
        Layout {
            local_v6: Some(72),
            remote_v6: Some(56),
            flags: Some(u64(96)),
            done: Some(1),
            linger: Some(4),
            linger_time: Some(u64(576)),
            file: Some(u64(16)),
            references: Some(References::Zones(u64(176))),
            cgroup: Some([u64(672), u64(256), u64(96)]),
            task: Some(Task {
                flags: u64(44),
                group: u64(1268),
                signal: u64(1848),
                exit_code: u64(96),
            }),
            ..layout()
        }
    }

    const WANTED: Wanted = Wanted {
        netns: 0xf000_0001,
        ring: 3,
        lost: 4,
        ports: None,
    };

    fn program(probe: Probe, layout: &Layout, ports: Option<Ports>) -> String {
        text(&assemble(probe, layout, &Wanted { ports, ..WANTED }).unwrap())
    }

    #[test]
    fn the_smallest_program_reads_as_it_should() {
        let program = program(Probe::ResetReceived, &layout(), None);
        let expected = "\
            0: r6 = *(u64 *)(r1 +0)\n\
            1: if r6 == 0x0 goto +77\n\
            2: r1 = r6\n\
            3: call 137\n\
            4: r7 = r0\n\
            5: if r7 == 0x0 goto +73\n\
            6: r9 = *(u16 *)(r7 +814)\n\
            7: r9 = be16 r9\n\
            8: r1 = *(u64 *)(r6 +48)\n\
            9: r1 = *(u32 *)(r1 +176)\n\
            10: if w1 != 0xf0000001 goto +68\n\
            11: r1 = r6\n\
            12: call 46\n\
            13: r1 = map 3\n\
            15: r2 = 128\n\
            16: r3 = 0\n\
            17: call 131\n\
            18: if r0 == 0x0 goto +56\n\
            19: r8 = r0\n\
            20: call 5\n\
            21: *(u64 *)(r8 +0) = r0\n";
        assert!(program.starts_with(expected), "{program}");
        let end = "\
            71: r1 = r8\n\
            72: r2 = 0\n\
            73: call 132\n\
            74: goto +4\n\
            75: r1 = value of map 4\n\
            77: r2 = 1\n\
            78: lock *(u64 *)(r1 +0) += r2\n\
            79: r0 = 0\n\
            80: exit\n";
        assert!(program.ends_with(end), "{program}");
    }

    #[test]
    fn ports_are_looked_up_before_anything_costs() {
        let ports = Some(Ports { table: 5, all: 3 });
        for probe in Probe::ALL {
            let program = program(probe, &whole_layout(), ports);
            let at = |what: &str| {
                program
                    .find(what)
                    .unwrap_or_else(|| panic!("{what}: {program}"))
            };
            assert!(at("r3 = value of map 5") < at("call 131\n"));
            assert!(program.contains("if r3 != 0x3 goto"), "{program}");
            // Only a connection that begins has no port for a reason.
            let looks = program.contains("if r1 == 0x2 goto");
            assert_eq!(looks, probe == Probe::State, "{program}");
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_left_out() {
        let state = |layout: &Layout| program(Probe::State, layout, None);
        let (whole, bare) = (state(&whole_layout()), state(&layout()));
        assert!(whole.contains("call 158") && whole.contains("call 16\n"));
        assert!(!bare.contains("call 158") && !bare.contains("call 16\n"));
        let count = |references| {
            state(&Layout {
                references: Some(references),
                ..whole_layout()
            })
        };
        let field = Field {
            offset: 176,
            width: Width::U64,
        };
        assert!(count(References::Zones(field)).contains("r1 >>= 62"));
        assert!(!count(References::Count(field)).contains("r1 >>= 62"));
    }

    #[test]
    fn a_mini_socket_is_told_by_its_cookie() {
        let sent = program(Probe::ResetSent { says_why: false }, &layout(), None);
        let lines: Vec<&str> = sent.lines().collect();
        let mini = lines
            .iter()
            .position(|line| line.contains("r9 = *(u16 *)(r6 +14)"));
        let mini = mini.expect("the port of a mini-socket");
        assert!(lines[mini - 2].contains("call 46"), "{sent}");
        assert!(lines[mini - 1].contains("if r0 == 0x0 goto"), "{sent}");
    }
}
