//! How the second program at a tracepoint knows that the first was skipped, and tells in its place.
//!
//! The kernel skips a program that is running already on the same processor: an interrupt inside
//! it that brings another event (`prog->active`, `__bpf_trace_run`, kernel/trace/bpf_trace.c).
//! Then the second one, which the kernel runs right behind the first, is not running, and does the
//! work. When the first did run, it has left a mark: the event's socket, in a table with a place
//! for each processor, written at its end even if nobody wanted the event. The second one takes
//! the mark away and is done.
//!
//! Nothing is lost: the second program passes an event over only if it finds a mark with the
//! event's own socket, and a socket's mark is made only by the first program for an event of that
//! socket. Two events of one socket are never told at once on one processor, for the socket is
//! locked. So whoever was skipped finds no mark of its own and is told. That holds whatever
//! interrupts whom, and needs nothing to be atomic but a word.
//!
//! What an interrupt at each place does (the other's event, with first' and second'):
//!
//! - In the first program, mark or no mark made: first' is skipped, second' finds no mark of its
//!   own, tells the event and leaves all marks alone.
//! - Between first and second: first' pushes the mark down a place and writes its own, second'
//!   takes its own and lifts the other up again. So the table has two places: tasks are
//!   interrupted by packets, packets by nothing that brings events.
//! - In the second program: first' runs and marks, second' is skipped, nobody takes the mark. The
//!   second program itself wipes it, for it writes both places. Only around its own first read and
//!   last write a stale mark can stay.
//! - In the second program while it stands in for the first, which is being interrupted itself:
//!   that would be a third level, and is really lost. Both were skipped, and it is counted.
//!
//! A stale mark does no harm but to the very next event of its socket on its processor, and that
//! only if it is skipped (once in 100,000): any that is not takes it along. And even that is said:
//! what is lost is what the kernel counts as skipped less what the second program told. Should a
//! mark be pushed out (a third level; two events inside the second program's first nanosecond),
//! an event is told twice. The second record carries [`record::RESCUED`], repeats the change before
//! it, which no socket can do, and is dropped when it is read.

use crate::source::bpf::asm::Reg::{R0, R1, R2, R3};
use crate::source::bpf::asm::{Alu, Helper, If, Width};
use crate::source::bpf::program::{Label, Probe, Program, SOCK};

/// Bytes of a processor: a line of the cache for each tracepoint, and some to make a power of two.
const CPU_SHIFT: i32 = 9;
const LINE: u32 = 64;
// Words of a line.
const TOP: u32 = 0;
const BELOW: u32 = 8;
const RESCUED: u32 = 16;

/// Which of a tracepoint's two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Tells events.
    First,
    /// Tells those for which the first was skipped.
    Second,
}

/// The table of marks.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// The descriptor of the map.
    pub table: i32,
    /// For so many processors: a power of two.
    pub cpus: u32,
}

impl Marks {
    /// How large the table is for so many processors.
    pub const fn size(cpus: u32) -> usize {
        (cpus as usize) << CPU_SHIFT
    }

    /// Where the numbers of events are that the second programs told.
    pub fn rescued(cpus: u32) -> impl Iterator<Item = usize> {
        let lines = (0..cpus as usize)
            .flat_map(|cpu| Probe::ALL.map(|probe| (cpu << CPU_SHIFT) + line(probe) as usize));
        lines.map(|line| line + RESCUED as usize)
    }
}

const fn line(probe: Probe) -> u32 {
    LINE * (probe.kind() as u32 - 1)
}

impl Program<'_> {
    /// R1 = this processor's part of the table.
    fn find_marks(&mut self, marks: Marks) {
        self.asm.call(Helper::GetSmpProcessorId);
        // The verifier wants to see that it is inside the table.
        let last = marks.cpus.saturating_sub(1);
        self.asm
            .alu_value(Alu::And, R0, i32::try_from(last).unwrap_or(0));
        self.asm.alu_value(Alu::Left, R0, CPU_SHIFT);
        self.asm.map_value(R1, marks.table);
        self.asm.alu(Alu::Add, R1, R0);
    }

    /// The first program's last act.
    pub(super) fn mark(&mut self, marks: Marks) {
        let line = line(self.probe);
        let done = self.asm.label();
        self.find_marks(marks);
        self.asm.load(R2, Width::U64, R1, line + TOP);
        // A stale one of the same socket becomes this one.
        self.asm.jump_registers(If::Is, R2, SOCK, done);
        self.asm.store(Width::U64, R1, line + BELOW, R2);
        self.asm.store(Width::U64, R1, line + TOP, SOCK);
        self.asm.stand(done);
    }

    /// The second program's first: ends if the first has run, else counts and goes on.
    pub(super) fn unless_marked(&mut self, marks: Marks, end: Label) {
        let line = line(self.probe);
        let (not_top, skipped) = (self.asm.label(), self.asm.label());
        self.find_marks(marks);
        self.asm.load(R2, Width::U64, R1, line + TOP);
        self.asm.load(R3, Width::U64, R1, line + BELOW);
        self.asm.jump_registers(If::IsNot, R2, SOCK, not_top);
        self.asm.store(Width::U64, R1, line + TOP, R3);
        self.asm.store_value(Width::U64, R1, line + BELOW, 0);
        self.asm.goto(end);
        self.asm.stand(not_top);
        self.asm.jump_registers(If::IsNot, R3, SOCK, skipped);
        // What lies above it was left by an interrupt of this program.
        self.asm.store_value(Width::U64, R1, line + TOP, 0);
        self.asm.store_value(Width::U64, R1, line + BELOW, 0);
        self.asm.goto(end);
        self.asm.stand(skipped);
        // Only this program, on this processor, writes it, and it never runs within itself.
        self.asm.load(R2, Width::U64, R1, line + RESCUED);
        self.asm.alu_value(Alu::Add, R2, 1);
        self.asm.store(Width::U64, R1, line + RESCUED, R2);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::mem::offset_of;

    use super::*;
    use crate::source::bpf::asm::Insn;
    use crate::source::bpf::asm::run::{Run, World};
    use crate::source::bpf::program::{assemble, tests};
    use crate::source::bpf::record::{self, Record};

    const TABLE: u64 = 0x10_0000;
    const PLACES: u64 = 0x20_0000;
    const NAMESPACE: u64 = 0x30_0000;
    const ARGUMENTS: u64 = 0x40_0000;
    const SOCKETS: u64 = 0x100_0000;
    const APART: u64 = 0x1000;
    /// Sockets from this one on are of another namespace.
    const STRANGERS: u64 = 50;

    const fn socket(number: u64) -> u64 {
        SOCKETS + number * APART
    }

    /// Interrupts at these moments, counted in instructions, each with events of these sockets.
    type Interrupts<'a> = &'a [(usize, &'a [u64])];

    /// A processor with both programs.
    struct Processor<'a> {
        programs: [&'a [Insn]; 2],
        is_active: [bool; 2],
        skipped: u64,
        memory: HashMap<u64, u64>,
        places: u64,
        /// Records that were submitted: who told which socket's event.
        told: Vec<(u64, Turn)>,
        clock: usize,
        interrupts: Interrupts<'a>,
        depth: usize,
    }

    impl World for Processor<'_> {
        fn load(&mut self, address: u64) -> u64 {
            let layout = tests::layout();
            let fd = u64::from(layout.netns_inode.offset);
            if address == NAMESPACE + fd {
                return tests::WANTED.netns.into();
            }
            if address >= SOCKETS {
                let is_namespace = (address - SOCKETS) % APART == u64::from(layout.netns.offset);
                let is_ours = (address - SOCKETS) / APART < STRANGERS;
                return if is_namespace && is_ours {
                    NAMESPACE
                } else {
                    0
                };
            }
            if address >= ARGUMENTS {
                let word = (address - ARGUMENTS) % 64;
                return match word {
                    0 => socket((address - ARGUMENTS) / 64),
                    _ => 1,
                };
            }
            self.memory.get(&address).copied().unwrap_or(0)
        }

        fn store(&mut self, address: u64, value: u64) {
            self.memory.insert(address, value);
        }

        fn call(&mut self, function: i32, first: u64) -> u64 {
            const CPU: i32 = Helper::GetSmpProcessorId as i32;
            const RESERVE: i32 = Helper::RingbufReserve as i32;
            const SUBMIT: i32 = Helper::RingbufSubmit as i32;
            match function {
                CPU => 0,
                RESERVE => {
                    self.places += 0x100;
                    PLACES + self.places
                }
                SUBMIT => {
                    let socket = self.memory[&(first + offset_of!(Record, sock) as u64)];
                    let flags = self.memory[&(first + offset_of!(Record, flags) as u64)];
                    let turn = match flags & u64::from(record::RESCUED) {
                        0 => Turn::First,
                        _ => Turn::Second,
                    };
                    self.told.push(((socket - SOCKETS) / APART, turn));
                    0
                }
                _ => first,
            }
        }

        fn map(&mut self, fd: i32, _: bool) -> u64 {
            if fd == tests::WANTED.marks.table {
                TABLE
            } else {
                0
            }
        }
    }

    impl<'a> Processor<'a> {
        fn new(programs: &'a [Vec<Insn>; 2], interrupts: Interrupts<'a>) -> Self {
            Self {
                programs: [&programs[0], &programs[1]],
                is_active: [false; 2],
                skipped: 0,
                memory: HashMap::new(),
                places: 0,
                told: Vec::new(),
                clock: 0,
                interrupts,
                depth: 0,
            }
        }

        /// A socket's event: what the kernel makes of a tracepoint.
        fn event(&mut self, socket: u64) {
            self.moment();
            for (index, program) in self.programs.into_iter().enumerate() {
                if self.is_active[index] {
                    self.skipped += u64::from(index == 0);
                } else {
                    self.is_active[index] = true;
                    self.moment();
                    let mut run = Run::new(program, ARGUMENTS + socket * 64);
                    while run.step(self) {
                        self.moment();
                    }
                    self.moment();
                    self.is_active[index] = false;
                }
                self.moment();
            }
        }

        /// Between two instructions. Only tasks are interrupted, not what interrupts them.
        fn moment(&mut self) {
            if self.depth > 0 {
                return;
            }
            self.clock += 1;
            for (at, sockets) in self.interrupts {
                if *at == self.clock {
                    self.depth += 1;
                    sockets.iter().for_each(|socket| self.event(*socket));
                    self.depth -= 1;
                }
            }
        }

        fn tellers(&self, socket: u64) -> Vec<Turn> {
            let told = self.told.iter().filter(|told| told.0 == socket);
            told.map(|told| told.1).collect()
        }

        fn word(&self, word: u32) -> u64 {
            let address = TABLE + u64::from(line(Probe::State) + word);
            self.memory.get(&address).copied().unwrap_or(0)
        }
    }

    fn programs() -> [Vec<Insn>; 2] {
        let assemble = |turn| assemble(Probe::State, turn, &tests::layout(), &tests::WANTED);
        [Turn::First, Turn::Second].map(|turn| assemble(turn).unwrap())
    }

    /// How many moments the events of these sockets have.
    fn moments(programs: &[Vec<Insn>; 2], sockets: &[u64]) -> usize {
        let mut processor = Processor::new(programs, &[]);
        sockets.iter().for_each(|socket| processor.event(*socket));
        processor.clock
    }

    #[test]
    fn undisturbed_the_first_tells_and_the_second_takes_its_mark() {
        let programs = programs();
        let mut processor = Processor::new(&programs, &[]);
        for socket in [1, 2, 1, STRANGERS, 3] {
            processor.event(socket);
            assert_eq!((processor.word(TOP), processor.word(BELOW)), (0, 0));
        }
        let told: Vec<_> = [1, 2, 1, 3].map(|socket| (socket, Turn::First)).into();
        assert_eq!(processor.told, told);
        assert_eq!((processor.skipped, processor.word(RESCUED)), (0, 0));
    }

    #[test]
    fn an_interrupt_anywhere_loses_nothing() {
        let programs = programs();
        let (mut skips, mut twice, mut stale) = (0, 0, 0);
        for inner in [&[10][..], &[10, 11], &[10, 11, 12], &[STRANGERS, 10, 11]] {
            for at in 1..=moments(&programs, &[1, 2]) {
                let interrupts = [(at, inner)];
                let mut processor = Processor::new(&programs, &interrupts);
                processor.event(1);
                processor.event(2);
                let mut more = 0;
                // What is told again is told by the second program, behind the first.
                for socket in [1, 2].into_iter().chain(inner.iter().copied()) {
                    let told = processor.tellers(socket);
                    let again = usize::from(told == [Turn::First, Turn::Second]);
                    let expected = usize::from(socket < STRANGERS);
                    assert_eq!(told.len() - again, expected, "{at}: {socket}: {told:?}");
                    twice += again as u64;
                    more += again as u64;
                }
                // Rescued is what was skipped, and what was told twice.
                let rescued = processor.word(RESCUED);
                assert_eq!(rescued, processor.skipped + more, "{at}");
                skips += processor.skipped;
                stale += usize::from(processor.word(TOP) != 0);
            }
        }
        // Of 1,900 moments.
        assert!(skips > 1000, "{skips}");
        assert!(twice < 110, "{twice}");
        assert!(stale < 150, "{stale}");
    }

    #[test]
    fn a_stale_mark_harms_at_most_the_next_event_of_its_socket_and_that_is_counted() {
        let programs = programs();
        let outer = [1, 2];
        let last = moments(&programs, &outer);
        let mut lost = 0;
        for first in 1..=last {
            for second in (first + 1..=last).filter(|second| second.abs_diff(first) % 3 == 1) {
                // The same socket again, which is the worst.
                for inner in [&[10][..], &[11]] {
                    let interrupts = [(first, &[10][..]), (second, inner)];
                    let mut processor = Processor::new(&programs, &interrupts);
                    outer.iter().for_each(|socket| processor.event(*socket));
                    let told = processor.told.len() as u64;
                    let missing = 4u64.saturating_sub(told);
                    assert!(missing == 0 || inner == [10], "{first} {second}");
                    let more = told.saturating_sub(4);
                    let said = processor.skipped - (processor.word(RESCUED) - more);
                    assert_eq!(said, missing, "{first} {second}");
                    lost += missing;
                    // Whoever's event comes undisturbed takes the mark along.
                    processor.event(10);
                    assert_ne!(processor.word(TOP), socket(10), "{first} {second}");
                }
            }
        }
        assert!(lost > 0, "the case is there, and rare: {lost}");
    }
}
