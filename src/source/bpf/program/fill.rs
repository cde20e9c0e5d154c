//! The part of a program that fills its place in the ring: who, what, the socket at that moment,
//! and who called.
//!
//! It must not know what was checked before, but for this: the socket is one of ours, and `TCP` is
//! 0 for a mini-socket. The trap: the place holds what an earlier event left there, so every byte
//! of the record is written.

use std::mem::offset_of;

use crate::model::TcpState;
use crate::source::bpf::asm::Reg::{R0, R1, R2, R4, R5};
use crate::source::bpf::asm::{Alu, Helper, If, Reg, Width};
use crate::source::bpf::layout::{Bits, References};
use crate::source::bpf::program::{FROM, PLACE, PORT, Probe, Program, REASON, SOCK, TCP, TO, Turn};
use crate::source::bpf::record::{self, Record};

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

impl Program<'_> {
    /// Fills the place that was taken, all of it.
    pub(super) fn fill(&mut self) {
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
        let flags = match self.turn {
            Turn::First => record::FULL,
            Turn::Second => record::FULL | record::RESCUED,
        };
        self.asm.set(R5, flags.into());
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
