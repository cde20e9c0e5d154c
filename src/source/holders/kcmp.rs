//! Whether two threads have the same descriptors, asked of the kernel: kcmp(2).
//!
//! The trap: it may be refused, or not be built in (CONFIG_KCMP); then they are looked into to see.

#![expect(unsafe_code, reason = "a system call that no library here has")]

/// `KCMP_FILES`, include/uapi/linux/kcmp.h.
const FILES: libc::c_long = 2;

/// Whether it is known that a thread shows what its process shows.
pub(super) fn share_descriptors(pid: u32, tid: u32) -> bool {
    let (pid, tid) = (libc::c_long::from(pid), libc::c_long::from(tid));
    // SAFETY: this kind takes numbers only, and writes nothing.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, pid, tid, FILES, 0_usize, 0_usize) };
    order == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_has_its_own() {
        assert!(!share_descriptors(std::process::id(), 1));
    }
}
