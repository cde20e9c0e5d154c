//! Assembles BPF programs: instructions by name, jumps to labels, and the text of it all.
//!
//! Encoding: Documentation/bpf/standardization/instruction-set.rst, include/uapi/linux/bpf.h. It
//! must not know what a program is for.
//!
//! For little-endian machines: elsewhere the two registers of an instruction change places.
//!
//! The trap: a jump counts instructions from the one behind it, and a 64-bit constant takes two.

use std::fmt;

/// A register. R1 to R5 carry the arguments of a call and are lost in it, R0 its result; R6 to R9
/// are kept; R10 is the frame, below which are 512 bytes of stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "their numbers are their meaning")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much is loaded or stored (`BPF_B`, `BPF_H`, `BPF_W`, `BPF_DW`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    U8,
    /// Two.
    U16,
    /// Four.
    U32,
    /// Eight.
    U64,
}

impl Width {
    /// The width of so many bytes.
    pub const fn of(bytes: u32) -> Option<Self> {
        Some(match bytes {
            1 => Self::U8,
            2 => Self::U16,
            4 => Self::U32,
            8 => Self::U64,
            _ => return None,
        })
    }

    const fn code(self) -> u8 {
        match self {
            Self::U32 => 0x00,
            Self::U16 => 0x08,
            Self::U8 => 0x10,
            Self::U64 => 0x18,
        }
    }
}

/// An operation on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "their names are their meaning")]
pub enum Alu {
    Add = 0x00,
    Sub = 0x10,
    Or = 0x40,
    And = 0x50,
    Left = 0x60,
    Right = 0x70,
    Move = 0xb0,
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum If {
    /// `==`
    Is = 0x10,
    /// `!=`
    IsNot = 0x50,
}

/// The kernel's functions that a program may call (`enum bpf_func_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs, reason = "named as in include/uapi/linux/bpf.h")]
pub enum Helper {
    KtimeGetNs = 5,
    GetSmpProcessorId = 8,
    GetCurrentComm = 16,
    GetSocketCookie = 46,
    RingbufReserve = 131,
    RingbufSubmit = 132,
    SkcToTcpSock = 137,
    GetCurrentTaskBtf = 158,
}

// Classes and modes, include/uapi/linux/bpf_common.h and bpf.h.
const LD: u8 = 0x00;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
const IMM: u8 = 0x00;
const MEM: u8 = 0x60;
const ATOMIC: u8 = 0xc0;
const BY_REGISTER: u8 = 0x08;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
const GOTO: u8 = 0x00;
/// `BPF_END` to big-endian.
const TO_BIG_ENDIAN: u8 = 0xd0 | BY_REGISTER;
/// `BPF_PSEUDO_MAP_FD`.
const MAP: u8 = 1;
/// `BPF_PSEUDO_MAP_VALUE`.
const MAP_VALUE: u8 = 2;

/// One instruction: `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u8,
    /// Destination in the lower half, source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A place in the program to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Why a program can't be assembled: each is a mistake in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    /// A jump to a label that stands nowhere.
    #[error("instruction {0} jumps to a label that stands nowhere")]
    NoLabel(usize),
    /// A jump farther than 16 bits say.
    #[error("instruction {0} jumps too far")]
    TooFar(usize),
    /// An offset of a load or store beyond 16 bits.
    #[error("offset {0} does not fit in a load")]
    Offset(u32),
}

/// A program being written.
#[derive(Debug, Default)]
pub struct Assembler {
    insns: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
    wrong: Option<AsmError>,
}

impl Assembler {
    fn push(&mut self, code: u8, to: Reg, from: u8, offset: u32, immediate: i32) {
        let offset = i16::try_from(offset).unwrap_or_else(|_| {
            self.wrong = Some(AsmError::Offset(offset));
            0
        });
        self.insns.push(Insn {
            code,
            registers: from << 4 | to as u8,
            offset,
            immediate,
        });
    }

    /// A label that stands nowhere yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label stands before the next instruction.
    pub fn stand(&mut self, label: Label) {
        self.labels[label.0] = Some(self.insns.len());
    }

    /// `to = *(from + offset)`
    pub fn load(&mut self, to: Reg, width: Width, from: Reg, offset: u32) {
        self.push(LDX | MEM | width.code(), to, from as u8, offset, 0);
    }

    /// `*(to + offset) = from`
    pub fn store(&mut self, width: Width, to: Reg, offset: u32, from: Reg) {
        self.push(STX | MEM | width.code(), to, from as u8, offset, 0);
    }

    /// `*(to + offset) = value`
    pub fn store_value(&mut self, width: Width, to: Reg, offset: u32, value: i32) {
        self.push(ST | MEM | width.code(), to, 0, offset, value);
    }

    /// Puts a register on the stack, in the 8-byte slot `slot` counted from 1.
    pub fn keep(&mut self, slot: i16, from: Reg) {
        self.push(STX | MEM | Width::U64.code(), Reg::R10, from as u8, 0, 0);
        self.at_slot(slot);
    }

    /// Takes a register from the stack.
    pub fn recall(&mut self, to: Reg, slot: i16) {
        self.push(LDX | MEM | Width::U64.code(), to, Reg::R10 as u8, 0, 0);
        self.at_slot(slot);
    }

    fn at_slot(&mut self, slot: i16) {
        if let Some(last) = self.insns.last_mut() {
            last.offset = -8 * slot;
        }
    }

    /// `*(to + offset) += from`, atomically, on 64 bits.
    pub fn atomic_add(&mut self, to: Reg, offset: u32, from: Reg) {
        // The immediate is the operation: BPF_ADD is 0.
        self.push(STX | ATOMIC | Width::U64.code(), to, from as u8, offset, 0);
    }

    /// `to operation= value`, the value extended by its sign.
    pub fn alu_value(&mut self, operation: Alu, to: Reg, value: i32) {
        self.push(ALU64 | operation as u8, to, 0, 0, value);
    }

    /// `to operation= from`
    pub fn alu(&mut self, operation: Alu, to: Reg, from: Reg) {
        let code = ALU64 | BY_REGISTER | operation as u8;
        self.push(code, to, from as u8, 0, 0);
    }

    /// `to = from`
    pub fn copy(&mut self, to: Reg, from: Reg) {
        self.alu(Alu::Move, to, from);
    }

    /// `to = value`
    pub fn set(&mut self, to: Reg, value: i32) {
        self.alu_value(Alu::Move, to, value);
    }

    /// Network order to host order, of the lower 16 bits; the rest becomes 0.
    pub fn network_u16(&mut self, to: Reg) {
        self.push(ALU | TO_BIG_ENDIAN, to, 0, 0, 16);
    }

    /// The map of this descriptor.
    pub fn map(&mut self, to: Reg, fd: i32) {
        self.constant(to, MAP, fd);
    }

    /// The address of the first value of an array map.
    pub fn map_value(&mut self, to: Reg, fd: i32) {
        self.constant(to, MAP_VALUE, fd);
    }

    fn constant(&mut self, to: Reg, kind: u8, low: i32) {
        self.push(LD | IMM | Width::U64.code(), to, kind, 0, low);
        self.push(0, Reg::R0, 0, 0, 0);
    }

    /// Jumps when the condition holds on 64 bits; the value is extended by its sign.
    pub fn jump(&mut self, condition: If, of: Reg, value: i32, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.push(JMP | condition as u8, of, 0, 0, value);
    }

    /// Jumps when the condition holds on the lower 32 bits.
    pub fn jump32(&mut self, condition: If, of: Reg, value: u32, label: Label) {
        self.jumps.push((self.insns.len(), label));
        let value = i32::from_ne_bytes(value.to_ne_bytes());
        self.push(JMP32 | condition as u8, of, 0, 0, value);
    }

    /// Jumps when the condition holds between two registers.
    pub fn jump_registers(&mut self, condition: If, of: Reg, with: Reg, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.push(JMP | BY_REGISTER | condition as u8, of, with as u8, 0, 0);
    }

    /// Jumps.
    pub fn goto(&mut self, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.push(JMP | GOTO, Reg::R0, 0, 0, 0);
    }

    /// Calls the kernel.
    pub fn call(&mut self, helper: Helper) {
        self.push(JMP | CALL, Reg::R0, 0, 0, helper as i32);
    }

    /// Ends the program.
    pub fn exit(&mut self) {
        self.push(JMP | EXIT, Reg::R0, 0, 0, 0);
    }

    /// The program, with its jumps filled in.
    ///
    /// # Errors
    /// When it can't be written as it is.
    pub fn finish(mut self) -> Result<Vec<Insn>, AsmError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        for (from, label) in self.jumps {
            let to = self.labels[label.0].ok_or(AsmError::NoLabel(from))?;
            let distance = to as i64 - from as i64 - 1;
            self.insns[from].offset =
                i16::try_from(distance).map_err(|_| AsmError::TooFar(from))?;
        }
        Ok(self.insns)
    }
}

/// The program as text, one line an instruction, numbered, as the kernel's own log has it.
pub fn text(program: &[Insn]) -> String {
    let mut lines = String::new();
    let mut skip = false;
    for (index, insn) in program.iter().enumerate() {
        if !std::mem::take(&mut skip) {
            lines.push_str(&format!("{index}: {insn}\n"));
        }
        skip = insn.code == LD | IMM | Width::U64.code();
    }
    lines
}

impl Insn {
    const fn width(&self) -> &'static str {
        match self.code & 0x18 {
            0x00 => "u32",
            0x08 => "u16",
            0x10 => "u8",
            _ => "u64",
        }
    }

    const fn sign(&self) -> &'static str {
        match self.code & 0xf0 {
            0x00 => "+=",
            0x10 => "-=",
            0x40 => "|=",
            0x50 => "&=",
            0x60 => "<<=",
            0x70 => ">>=",
            _ => "=",
        }
    }
}

impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to, from) = (self.registers & 15, self.registers >> 4);
        let (offset, value, width) = (self.offset, self.immediate, self.width());
        let by_register = self.code & BY_REGISTER != 0;
        match self.code & 7 {
            LD => {
                let kind = if from == MAP { "map" } else { "value of map" };
                write!(f, "r{to} = {kind} {value}")
            }
            LDX => write!(f, "r{to} = *({width} *)(r{from} {offset:+})"),
            ST => write!(f, "*({width} *)(r{to} {offset:+}) = {value}"),
            STX if self.code & 0xe0 == ATOMIC => {
                write!(f, "lock *({width} *)(r{to} {offset:+}) += r{from}")
            }
            STX => write!(f, "*({width} *)(r{to} {offset:+}) = r{from}"),
            ALU => write!(f, "r{to} = be{value} r{to}"),
            ALU64 if by_register => write!(f, "r{to} {} r{from}", self.sign()),
            ALU64 => write!(f, "r{to} {} {value}", self.sign()),
            class => match self.code & 0xf0 {
                CALL => write!(f, "call {value}"),
                EXIT => write!(f, "exit"),
                GOTO => write!(f, "goto {offset:+}"),
                condition => {
                    let name = if class == JMP32 { 'w' } else { 'r' };
                    let sign = if condition == If::Is as u8 {
                        "=="
                    } else {
                        "!="
                    };
                    match by_register {
                        true => write!(f, "if {name}{to} {sign} {name}{from} goto {offset:+}"),
                        false => write!(f, "if {name}{to} {sign} {value:#x} goto {offset:+}"),
                    }
                }
            },
        }
    }
}

#[cfg(test)]
pub mod run;

#[cfg(test)]
mod tests {
    use super::Reg::{R0, R1, R2, R6, R7};
    use super::*;

    /// The bytes of one instruction, as the kernel's documentation writes them.
    fn bytes(insn: &Insn) -> [u8; 8] {
        let [a, b] = insn.offset.to_le_bytes();
        let [c, d, e, f] = insn.immediate.to_le_bytes();
        [insn.code, insn.registers, a, b, c, d, e, f]
    }

    fn one(write: impl FnOnce(&mut Assembler)) -> ([u8; 8], String) {
        let mut asm = Assembler::default();
        write(&mut asm);
        let program = asm.finish().unwrap();
        (bytes(&program[0]), program[0].to_string())
    }

    #[test]
    fn every_instruction_is_written_as_the_kernel_reads_it() {
        // What LLVM's assembler makes of the text beside it.
        type Case = (fn(&mut Assembler), [u8; 8], &'static str);
        let cases: &[Case] = &[
            (
                |asm| asm.load(R7, Width::U8, R6, 16),
                [0x71, 0x67, 16, 0, 0, 0, 0, 0],
                "r7 = *(u8 *)(r6 +16)",
            ),
            (
                |asm| asm.load(R7, Width::U16, R6, 814),
                [0x69, 0x67, 0x2e, 3, 0, 0, 0, 0],
                "r7 = *(u16 *)(r6 +814)",
            ),
            (
                |asm| asm.load(R1, Width::U32, R2, 0),
                [0x61, 0x21, 0, 0, 0, 0, 0, 0],
                "r1 = *(u32 *)(r2 +0)",
            ),
            (
                |asm| asm.load(R1, Width::U64, R2, 8),
                [0x79, 0x21, 8, 0, 0, 0, 0, 0],
                "r1 = *(u64 *)(r2 +8)",
            ),
            (
                |asm| asm.store(Width::U32, R1, 4, R2),
                [0x63, 0x21, 4, 0, 0, 0, 0, 0],
                "*(u32 *)(r1 +4) = r2",
            ),
            (
                |asm| asm.store_value(Width::U16, R1, 4, 7),
                [0x6a, 1, 4, 0, 7, 0, 0, 0],
                "*(u16 *)(r1 +4) = 7",
            ),
            (
                |asm| asm.keep(2, R6),
                [0x7b, 0x6a, 0xf0, 0xff, 0, 0, 0, 0],
                "*(u64 *)(r10 -16) = r6",
            ),
            (
                |asm| asm.recall(R6, 1),
                [0x79, 0xa6, 0xf8, 0xff, 0, 0, 0, 0],
                "r6 = *(u64 *)(r10 -8)",
            ),
            (
                |asm| asm.atomic_add(R1, 0, R2),
                [0xdb, 0x21, 0, 0, 0, 0, 0, 0],
                "lock *(u64 *)(r1 +0) += r2",
            ),
            (
                |asm| asm.alu_value(Alu::Right, R1, 62),
                [0x77, 1, 0, 0, 62, 0, 0, 0],
                "r1 >>= 62",
            ),
            (
                |asm| asm.alu_value(Alu::Left, R1, 2),
                [0x67, 1, 0, 0, 2, 0, 0, 0],
                "r1 <<= 2",
            ),
            (
                |asm| asm.alu_value(Alu::And, R1, 1),
                [0x57, 1, 0, 0, 1, 0, 0, 0],
                "r1 &= 1",
            ),
            (
                |asm| asm.alu(Alu::Or, R1, R2),
                [0x4f, 0x21, 0, 0, 0, 0, 0, 0],
                "r1 |= r2",
            ),
            (
                |asm| asm.alu(Alu::Sub, R1, R2),
                [0x1f, 0x21, 0, 0, 0, 0, 0, 0],
                "r1 -= r2",
            ),
            (
                |asm| asm.alu(Alu::Add, R1, R2),
                [0x0f, 0x21, 0, 0, 0, 0, 0, 0],
                "r1 += r2",
            ),
            (
                |asm| asm.copy(R6, R1),
                [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
                "r6 = r1",
            ),
            (
                |asm| asm.set(R0, -1),
                [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
                "r0 = -1",
            ),
            (
                |asm| asm.network_u16(R1),
                [0xdc, 1, 0, 0, 16, 0, 0, 0],
                "r1 = be16 r1",
            ),
            (
                |asm| asm.map(R1, 5),
                [0x18, 0x11, 0, 0, 5, 0, 0, 0],
                "r1 = map 5",
            ),
            (
                |asm| asm.map_value(R1, 5),
                [0x18, 0x21, 0, 0, 5, 0, 0, 0],
                "r1 = value of map 5",
            ),
            (
                |asm| asm.call(Helper::KtimeGetNs),
                [0x85, 0, 0, 0, 5, 0, 0, 0],
                "call 5",
            ),
            (|asm| asm.exit(), [0x95, 0, 0, 0, 0, 0, 0, 0], "exit"),
        ];
        for (write, expected, text) in cases {
            assert_eq!(one(write), (*expected, (*text).to_owned()), "{text}");
        }
    }

    #[test]
    fn jumps_count_from_the_instruction_behind_them() {
        let mut asm = Assembler::default();
        let (back, out) = (asm.label(), asm.label());
        asm.stand(back);
        asm.jump(If::Is, R1, 2, out);
        asm.map(R1, 3);
        asm.jump32(If::IsNot, R1, u32::MAX, back);
        asm.jump_registers(If::Is, R1, R2, out);
        asm.goto(out);
        asm.stand(out);
        asm.exit();
        let program = asm.finish().unwrap();
        let codes: Vec<u8> = program.iter().map(|insn| insn.code).collect();
        assert_eq!(codes, [0x15, 0x18, 0, 0x56, 0x1d, 0x05, 0x95]);
        assert_eq!(
            text(&program),
            "0: if r1 == 0x2 goto +5\n\
             1: r1 = map 3\n\
             3: if w1 != 0xffffffff goto -4\n\
             4: if r1 == r2 goto +1\n\
             5: goto +0\n\
             6: exit\n"
        );
    }

    #[test]
    fn what_can_not_be_written_is_said() {
        let mut asm = Assembler::default();
        let nowhere = asm.label();
        asm.goto(nowhere);
        assert_eq!(asm.finish(), Err(AsmError::NoLabel(0)));
        let mut asm = Assembler::default();
        asm.load(R1, Width::U8, R2, 40000);
        assert_eq!(asm.finish(), Err(AsmError::Offset(40000)));
        let mut asm = Assembler::default();
        let far = asm.label();
        asm.goto(far);
        for _ in 0..40000 {
            asm.exit();
        }
        asm.stand(far);
        assert_eq!(asm.finish(), Err(AsmError::TooFar(0)));
    }
}
