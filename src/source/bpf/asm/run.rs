//! Runs assembled programs an instruction at a time, so that a test can interrupt them anywhere.
//!
//! It knows the instructions that [`super::Assembler`] writes and no others. It must not know what
//! a program is for: memory and the kernel's functions are the test's.

use super::{
    ALU, ALU64, ATOMIC, BY_REGISTER, CALL, EXIT, GOTO, If, Insn, JMP, JMP32, LD, LDX, MAP, ST, STX,
};

/// What lies outside of a program.
pub trait World {
    /// What is at this address.
    fn load(&mut self, address: u64) -> u64;
    /// Puts something there.
    fn store(&mut self, address: u64, value: u64);
    /// Calls a function of the kernel.
    fn call(&mut self, function: i32, first: u64) -> u64;
    /// The address of a map, or of its value.
    fn map(&mut self, fd: i32, is_value: bool) -> u64;
}

/// Where a program's stack ends; nothing else lies near.
const STACK: u64 = 1 << 40;

/// A program that runs.
pub struct Run<'a> {
    program: &'a [Insn],
    at: usize,
    registers: [u64; 11],
    stack: [u64; 64],
}

impl<'a> Run<'a> {
    /// Before its first instruction.
    pub fn new(program: &'a [Insn], argument: u64) -> Self {
        let mut registers = [0; 11];
        registers[1] = argument;
        registers[10] = STACK;
        Self {
            program,
            at: 0,
            registers,
            stack: [0; 64],
        }
    }

    /// One instruction more; false when it was the last.
    pub fn step(&mut self, world: &mut impl World) -> bool {
        let insn = self.program[self.at];
        let (to, from) = (
            usize::from(insn.registers & 15),
            usize::from(insn.registers >> 4),
        );
        let value = i64::from(insn.immediate) as u64;
        let beside = |register: u64| register.wrapping_add_signed(insn.offset.into());
        let operand = match insn.code & BY_REGISTER {
            0 => value,
            _ => self.registers[from],
        };
        self.at += 1;
        match insn.code & 7 {
            LD => {
                self.registers[to] = world.map(insn.immediate, insn.registers >> 4 != MAP);
                self.at += 1;
            }
            LDX => {
                let address = beside(self.registers[from]);
                self.registers[to] = match self.slot(address) {
                    Some(slot) => self.stack[slot],
                    None => world.load(address),
                };
            }
            ST => world.store(beside(self.registers[to]), value),
            STX if insn.code & 0xe0 == ATOMIC => {}
            STX => {
                let (address, value) = (beside(self.registers[to]), self.registers[from]);
                match self.slot(address) {
                    Some(slot) => self.stack[slot] = value,
                    None => world.store(address, value),
                }
            }
            ALU => self.registers[to] = u64::from((self.registers[to] as u16).swap_bytes()),
            ALU64 => {
                let old = self.registers[to];
                self.registers[to] = match insn.code & 0xf0 {
                    0x00 => old.wrapping_add(operand),
                    0x10 => old.wrapping_sub(operand),
                    0x40 => old | operand,
                    0x50 => old & operand,
                    0x60 => old << (operand & 63),
                    0x70 => old >> (operand & 63),
                    0xb0 => operand,
                    other => panic!("operation {other:#x}"),
                };
            }
            class => match insn.code & 0xf0 {
                CALL => self.registers[0] = world.call(insn.immediate, self.registers[1]),
                EXIT => return false,
                GOTO => self.jump(insn.offset),
                condition => {
                    let of = self.registers[to];
                    let is_equal = match class {
                        JMP32 => of as u32 == operand as u32,
                        JMP => of == operand,
                        other => panic!("class {other}"),
                    };
                    if is_equal == (condition == If::Is as u8) {
                        self.jump(insn.offset);
                    }
                }
            },
        }
        true
    }

    fn jump(&mut self, offset: i16) {
        self.at = self.at.wrapping_add_signed(offset.into());
    }

    fn slot(&self, address: u64) -> Option<usize> {
        let below = STACK.checked_sub(address)?;
        (below <= 512).then(|| (below / 8) as usize - 1)
    }
}
