//! The programs that run in the kernel, one at each tracepoint, assembled for this kernel.
//!
//! Each asks in this order: is it TCP, is it our network namespace, is it one of the ports; then
//! stamps, takes a place in the ring and fills it. It must not know how it is loaded.
//!
//! The traps. A tracepoint's socket can be NULL, and kernels from 6.2 to 6.12 take out our own
//! check of that, because they believe it can't: what decides is the answer of the kernel's
//! functions, which check for themselves. `skc_num` is 0 at the end of an unhashed socket, so the
//! port is read from `inet_sport`. And a mini-socket is shorter than a socket: of it only
//! `sock_common` is read.

use std::mem::offset_of;

use crate::model::TcpState;
use crate::source::bpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9};
use crate::source::bpf::asm::{Alu, AsmError, Assembler, Helper, If, Insn, Label, Reg, Width};
use crate::source::bpf::layout::{Bits, Field, Layout, References};
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
const STAMP: i16 = 3;
const REASON: i16 = TO;

/// `PF_EXITING` and `PF_KTHREAD` as bits (include/linux/sched.h).
const EXITING_BIT: i32 = 2;
const KTHREAD_BIT: i32 = 21;
/// The signal in an exit code.
const SIGNAL: i32 = 0x7f;
/// The states into which a local call can move a socket.
const CALLED: i32 = TcpState::SynSent.bit() as i32
    | TcpState::Listen.bit() as i32
    | TcpState::FinWait1.bit() as i32
    | TcpState::LastAck.bit() as i32
    | TcpState::Close.bit() as i32;

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

    fn load_port(&mut self) {
        self.load(PORT, TCP, self.layout.local_port);
        self.asm.network_u16(PORT);
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

    /// The stamp is taken as late as can be: the longer before its place, the more records come
    /// to lie in another order than their stamps.
    fn take_place(&mut self, ring: i32, lost: Label) {
        self.asm.call(Helper::KtimeGetNs);
        self.asm.keep(STAMP, R0);
        self.asm.map(R1, ring);
        self.asm.set(R2, size_of::<Record>() as i32);
        self.asm.set(R3, 0);
        self.asm.call(Helper::RingbufReserve);
        self.asm.jump(If::Is, R0, 0, lost);
        self.asm.copy(PLACE, R0);
        self.asm.recall(R1, STAMP);
        self.store(Width::U64, offset_of!(Record, at), R1);
    }

    fn fill(&mut self) {
        self.fill_identity();
        self.fill_what();
        match self.probe {
            Probe::ResetSent { .. } => {
                let (mini, done) = (self.asm.label(), self.asm.label());
                self.asm.jump(If::Is, TCP, 0, mini);
                self.fill_moment();
                self.asm.goto(done);
                self.asm.stand(mini);
                self.fill_nothing();
                self.asm.stand(done);
            }
            _ => self.fill_moment(),
        }
        match self.probe {
            Probe::State => self.fill_caller(),
            _ => self.fill_no_caller(),
        }
    }

    fn fill_identity(&mut self) {
        self.asm.copy(R1, SOCK);
        self.asm.call(Helper::GetSocketCookie);
        self.store(Width::U64, offset_of!(Record, cookie), R0);
        self.store(Width::U64, offset_of!(Record, sock), SOCK);
        self.store(Width::U16, offset_of!(Record, local_port), PORT);
        self.load(R1, SOCK, self.layout.remote_port);
        self.asm.network_u16(R1);
        self.store(Width::U16, offset_of!(Record, remote_port), R1);
        self.load(R1, SOCK, self.layout.device);
        self.store(Width::U32, offset_of!(Record, device), R1);
        self.fill_addresses();
    }

    fn fill_addresses(&mut self) {
        let (local, remote) = (offset_of!(Record, local), offset_of!(Record, remote));
        let layout = self.layout;
        let (v4, done) = (self.asm.label(), self.asm.label());
        self.load(R1, SOCK, layout.family);
        self.store(Width::U8, offset_of!(Record, family), R1);
        if let (Some(local_v6), Some(remote_v6)) = (layout.local_v6, layout.remote_v6) {
            self.asm.jump(If::IsNot, R1, libc::AF_INET6, v4);
            for (to, from) in [(local, local_v6), (remote, remote_v6)] {
                for half in [0, 8] {
                    self.asm.load(R1, Width::U64, SOCK, from + half);
                    self.store(Width::U64, to + half as usize, R1);
                }
            }
            self.asm.goto(done);
        }
        self.asm.stand(v4);
        for (to, from) in [(local, layout.local_v4), (remote, layout.remote_v4)] {
            // 32 bits loaded fill the register with zeroes.
            self.load(R1, SOCK, from);
            self.store(Width::U64, to, R1);
            self.zero(to + 8);
        }
        self.asm.stand(done);
    }

    fn fill_what(&mut self) {
        let kind = offset_of!(Record, kind) as u32;
        self.asm
            .store_value(Width::U32, PLACE, kind, self.probe.kind().into());
        match self.probe {
            Probe::State => {
                self.asm.recall(R1, FROM);
                self.store(Width::U8, offset_of!(Record, from), R1);
                self.asm.recall(R1, TO);
                self.store(Width::U8, offset_of!(Record, to), R1);
            }
            Probe::ResetSent { says_why: true } => {
                self.asm.recall(R1, REASON);
                self.store(Width::U8, offset_of!(Record, reason), R1);
            }
            _ => {}
        }
    }

    fn fill_moment(&mut self) {
        let layout = self.layout;
        for (field, width, to) in [
            (layout.shutdown, Width::U8, offset_of!(Record, shutdown)),
            (layout.error, Width::U16, offset_of!(Record, error)),
            (
                layout.bytes_received,
                Width::U64,
                offset_of!(Record, bytes_received),
            ),
            (
                layout.bytes_acked,
                Width::U64,
                offset_of!(Record, bytes_acked),
            ),
        ] {
            self.load(R1, TCP, field);
            self.store(width, to, R1);
        }
        for (high, low, to) in [
            (layout.received, layout.read, offset_of!(Record, receive)),
            (
                layout.written,
                layout.acknowledged,
                offset_of!(Record, send),
            ),
        ] {
            self.load(R1, TCP, high);
            self.load(R2, TCP, low);
            self.asm.alu(Alu::Sub, R1, R2);
            self.store(Width::U32, to, R1);
        }
        self.fill_flags();
        self.fill_file();
        self.fill_cgroup();
    }

    fn fill_flags(&mut self) {
        let layout = self.layout;
        self.asm.set(R5, record::FULL.into());
        if let Some(flags) = layout.flags {
            self.load(R1, TCP, flags);
            if let Some(done) = layout.done {
                self.take_bit(R2, R1, done.into());
                let shift = record::FIN_RECEIVED_SHIFT.into();
                self.asm.alu_value(Alu::Left, R2, shift);
                self.asm.alu(Alu::Or, R5, R2);
            }
            if let (Some(linger), Some(time)) = (layout.linger, layout.linger_time) {
                let lingers = self.asm.label();
                self.take_bit(R2, R1, linger.into());
                self.asm.jump(If::Is, R2, 0, lingers);
                self.load(R2, TCP, time);
                self.asm.jump(If::IsNot, R2, 0, lingers);
                self.asm.alu_value(Alu::Or, R5, record::LINGERS_NOT.into());
                self.asm.stand(lingers);
            }
        }
        if let Some(multipath) = layout.multipath {
            let single = self.asm.label();
            self.load_bits(R1, TCP, multipath);
            self.asm.jump(If::Is, R1, 0, single);
            self.asm.alu_value(Alu::Or, R5, record::MULTIPATH.into());
            self.asm.stand(single);
        }
        self.store(Width::U8, offset_of!(Record, flags), R5);
    }

    fn take_bit(&mut self, to: Reg, from: Reg, bit: i32) {
        self.asm.copy(to, from);
        self.asm.alu_value(Alu::Right, to, bit);
        self.asm.alu_value(Alu::And, to, 1);
    }

    fn load_bits(&mut self, to: Reg, from: Reg, bits: Bits) {
        self.load(to, from, bits.field);
        self.asm.alu_value(Alu::Right, to, bits.shift.into());
        let mask = i32::try_from(bits.mask).unwrap_or(i32::MAX);
        self.asm.alu_value(Alu::And, to, mask);
    }

    fn fill_file(&mut self) {
        let layout = self.layout;
        let done = self.asm.label();
        self.asm.set(R4, record::FILE_ABSENT.into());
        self.load(R1, TCP, layout.socket);
        self.asm.jump(If::Is, R1, 0, done);
        if let (Some(file), Some(references)) = (layout.file, layout.references) {
            self.load(R1, R1, file);
            self.asm.jump(If::Is, R1, 0, done);
            self.asm.set(R4, record::FILE_CLOSING.into());
            match references {
                References::Zones(count) => {
                    self.load(R1, R1, count);
                    self.asm.alu_value(Alu::Right, R1, 62);
                    self.asm.jump(If::Is, R1, 3, done);
                }
                References::Count(count) => {
                    self.load(R1, R1, count);
                    self.asm.jump(If::Is, R1, 0, done);
                }
            }
            self.asm.set(R4, record::FILE_HELD.into());
        } else {
            self.asm.set(R4, record::FILE_UNKNOWN.into());
        }
        self.asm.stand(done);
        self.store(Width::U8, offset_of!(Record, file), R4);
    }

    fn fill_cgroup(&mut self) {
        match self.layout.cgroup {
            Some([group, node, id]) => {
                self.load(R1, TCP, group);
                self.load(R1, R1, node);
                self.load(R1, R1, id);
            }
            None => self.asm.set(R1, 0),
        }
        self.store(Width::U64, offset_of!(Record, cgroup), R1);
    }

    /// Of a mini-socket nothing more is known.
    fn fill_nothing(&mut self) {
        for to in [
            offset_of!(Record, cgroup),
            offset_of!(Record, bytes_received),
            offset_of!(Record, bytes_acked),
            offset_of!(Record, receive),
        ] {
            self.zero(to);
        }
        // The shutdown mask, the file, the flags and the task, in one.
        let four = offset_of!(Record, shutdown) as u32;
        self.asm.store_value(Width::U32, PLACE, four, 0);
        let error = offset_of!(Record, error) as u32;
        self.asm.store_value(Width::U16, PLACE, error, 0);
    }

    /// Only where a local call can have made the change: the name costs a call.
    fn fill_caller(&mut self) {
        let Some(task) = self.layout.task else {
            self.fill_no_caller();
            return;
        };
        let (called, done) = (self.asm.label(), self.asm.label());
        self.asm.recall(R1, TO);
        self.asm.recall(R2, FROM);
        self.asm.jump_registers(If::Is, R1, R2, called);
        self.asm.set(R2, CALLED);
        self.asm.alu(Alu::Right, R2, R1);
        self.asm.alu_value(Alu::And, R2, 1);
        self.asm.jump(If::IsNot, R2, 0, called);
        self.fill_no_caller();
        self.asm.goto(done);
        self.asm.stand(called);
        self.asm.call(Helper::GetCurrentTaskBtf);
        self.load(R1, R0, task.group);
        self.store(Width::U32, offset_of!(Record, pid), R1);
        self.asm.set(R5, record::TASK_SAID.into());
        for (bit, shift) in [
            (EXITING_BIT, record::TASK_EXITING_SHIFT),
            (KTHREAD_BIT, record::TASK_KERNEL_SHIFT),
        ] {
            self.load(R1, R0, task.flags);
            self.take_bit(R2, R1, bit);
            self.asm.alu_value(Alu::Left, R2, shift.into());
            self.asm.alu(Alu::Or, R5, R2);
        }
        self.store(Width::U8, offset_of!(Record, task), R5);
        self.load(R1, R0, task.signal);
        self.load(R1, R1, task.exit_code);
        self.asm.alu_value(Alu::And, R1, SIGNAL);
        self.store(Width::U8, offset_of!(Record, signal), R1);
        self.asm.copy(R1, PLACE);
        self.asm
            .alu_value(Alu::Add, R1, offset_of!(Record, comm) as i32);
        self.asm.set(R2, size_of::<[u8; 16]>() as i32);
        self.asm.call(Helper::GetCurrentComm);
        self.asm.stand(done);
    }

    fn fill_no_caller(&mut self) {
        let byte = |to: usize| to as u32;
        let unsaid = record::TASK_UNSAID.into();
        for (width, to) in [
            (Width::U32, offset_of!(Record, pid)),
            (Width::U8, offset_of!(Record, task)),
            (Width::U8, offset_of!(Record, signal)),
            (Width::U64, offset_of!(Record, comm)),
            (Width::U64, offset_of!(Record, comm) + 8),
        ] {
            self.asm.store_value(width, PLACE, byte(to), unsaid);
        }
    }
}
