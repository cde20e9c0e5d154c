//! The system call `bpf(2)`: maps, programs, and their attachment, each a descriptor that ends it.
//!
//! Layouts: `union bpf_attr`, include/uapi/linux/bpf.h. It must not know what a program is for.
//!
//! The traps: the kernel reads as many bytes as it is told, so every struct here is without
//! padding; a load can be interrupted by a signal and asks to be tried again (EAGAIN); and kernels
//! before 5.11 count maps against RLIMIT_MEMLOCK, and say EPERM when it is too small.

#![expect(
    unsafe_code,
    reason = "bpf(2) takes pointers, and no safe crate of ours wraps it"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::source::bpf::asm::Insn;

// enum bpf_cmd
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_RINGBUF`.
const RINGBUF: u32 = 27;
/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;
/// `BPF_PROG_TYPE_TRACING`.
const TRACING: u32 = 26;
/// `BPF_TRACE_RAW_TP`.
const RAW_TP: u32 = 23;
/// How often a load that a signal interrupted is tried (as libbpf does).
const TRIES: usize = 5;
/// Room for what the kernel says when it refuses a program.
const LOG: usize = 2 << 20;
/// Grants the kernel's functions for GPL programs.
const LICENCE: &CStr = c"Dual MIT/GPL";

/// A name as the kernel shows it, `BPF_OBJ_NAME_LEN`.
pub type Name = [u8; 16];

/// Cuts a name to what the kernel takes.
pub fn name(text: &str) -> Name {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(text.bytes().take(15)) {
        *to = from;
    }
    name
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    numa_node: u32,
    name: Name,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    insn_count: u32,
    insns: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: Name,
    interface: u32,
    attach_type: u32,
    btf: u32,
    func_info_size: u32,
    func_info: u64,
    func_info_count: u32,
    line_info_size: u32,
    line_info: u64,
    line_info_count: u32,
    attach_btf_id: u32,
    attach_to: u32,
    relocations: u32,
}

#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    program: u32,
    zero: u32,
}

/// # Safety
/// `T` is the command's part of `union bpf_attr` without padding, and every address in it holds
/// for as many bytes as it says.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    let size = size_of::<T>();
    // SAFETY: the attributes are valid for their size; the caller answers for what is in them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// As of [`bpf`], and the command answers with a new descriptor.
unsafe fn descriptor<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: as promised by the caller.
    let fd = unsafe { bpf(command, attributes) }?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just made it for us (with O_CLOEXEC), and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor that is borrowed is open, so it is not negative.
    fd.as_raw_fd().unsigned_abs()
}

fn address<T: ?Sized>(of: &T) -> u64 {
    std::ptr::from_ref(of).cast::<u8>().addr() as u64
}

fn create(mut attributes: MapCreate) -> io::Result<OwnedFd> {
    // SAFETY: no padding (seven u32 and 16 bytes), no address.
    match unsafe { descriptor(MAP_CREATE, &mut attributes) } {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && may_lock_more() => {
            // SAFETY: as above.
            unsafe { descriptor(MAP_CREATE, &mut attributes) }
        }
        result => result,
    }
}

/// Lifts the limit of locked memory, which was too small if that was why.
fn may_lock_more() -> bool {
    let all = Rlimit {
        current: None,
        maximum: None,
    };
    getrlimit(Resource::Memlock).current.is_some() && setrlimit(Resource::Memlock, all).is_ok()
}

/// A ring that the programs write and we read.
pub fn ring(size: u32) -> io::Result<OwnedFd> {
    create(MapCreate {
        kind: RINGBUF,
        max_entries: size,
        name: name("tcpwatch_ring"),
        ..MapCreate::default()
    })
}

/// An array of one value, which can be mapped.
pub fn array(value_size: u32, title: &str) -> io::Result<OwnedFd> {
    create(MapCreate {
        kind: ARRAY,
        key_size: 4,
        value_size,
        max_entries: 1,
        flags: MMAPABLE,
        name: name(title),
        ..MapCreate::default()
    })
}

/// Writes the one value of an array, which must have been made for so many bytes.
pub fn write_array(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let key = 0u32;
    let mut attributes = MapUpdate {
        map: number(map),
        zero: 0,
        key: address(&key),
        value: address(value),
        flags: 0,
    };
    // SAFETY: no padding; the key has 4 bytes and the value as many as the map was made for, by
    // the caller's promise; both outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(|_| ())
}

/// The kernel refuses a program.
#[derive(Debug)]
pub struct Refusal {
    /// With what.
    pub error: io::Error,
    /// What its verifier says.
    pub log: String,
}

/// Loads a program for the tracepoint whose typedef has this number in the kernel's BTF.
pub fn load(program: &[Insn], title: &str, tracepoint: u32) -> Result<OwnedFd, Refusal> {
    let refused = match try_load(program, title, tracepoint, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    // Once more, for the verifier's reasons.
    let mut log = vec![0; LOG];
    match try_load(program, title, tracepoint, &mut log) {
        Ok(fd) => Ok(fd),
        Err(_) => Err(Refusal {
            error: refused,
            log: CStr::from_bytes_until_nul(&log)
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        }),
    }
}

fn try_load(program: &[Insn], title: &str, tracepoint: u32, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attributes = ProgLoad {
        kind: TRACING,
        insn_count: program.len() as u32,
        insns: address(program),
        licence: address(LICENCE),
        name: name(title),
        attach_type: RAW_TP,
        attach_btf_id: tracepoint,
        ..ProgLoad::default()
    };
    if !log.is_empty() {
        attributes.log_level = 1;
        attributes.log_size = log.len() as u32;
        attributes.log = log.as_mut_ptr().addr() as u64;
    }
    for _ in 1..TRIES {
        // SAFETY: no padding; the program has as many instructions of 8 bytes as is said, the
        // licence ends in a zero, the log has as many bytes as is said; all outlive the call.
        match unsafe { descriptor(PROG_LOAD, &mut attributes) } {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            result => return result,
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Lets a loaded program run at its tracepoint for as long as the descriptor is open.
pub fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes = RawTracepointOpen {
        name: 0,
        program: number(program),
        zero: 0,
    };
    // SAFETY: no padding, and no address: the program knows its tracepoint.
    unsafe { descriptor(RAW_TRACEPOINT_OPEN, &mut attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::bpf::asm::{Assembler, Reg, Width};
    use crate::source::bpf::{BpfError, missing_capabilities, open};

    #[test]
    fn a_refused_program_comes_back_with_the_verifiers_reasons() {
        let Some(typedef) = open::kernel_types()
            .ok()
            .filter(|_| missing_capabilities().is_none())
            .and_then(|btf| btf.prototype("btf_trace_inet_sock_set_state"))
        else {
            eprintln!("skipped: a_refused_program_comes_back: needs root, and BTF");
            return;
        };
        let mut asm = Assembler::default();
        // Behind the last argument.
        asm.load(Reg::R0, Width::U64, Reg::R1, 800);
        asm.exit();
        let program = asm.finish().unwrap();
        let refusal = load(&program, "refused", typedef.id).unwrap_err();
        let error = BpfError::refused("inet_sock_set_state", refusal.error, refusal.log);
        assert!(
            error
                .log()
                .is_some_and(|log| log.contains("r0 = *(u64 *)(r1 +800)"))
        );
        let text = error.to_string();
        assert!(
            text.contains("inet_sock_set_state") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(&name("tw_inet_sock_set_state"), b"tw_inet_sock_se\0");
        assert_eq!(name("a")[..2], [b'a', 0]);
    }
}
