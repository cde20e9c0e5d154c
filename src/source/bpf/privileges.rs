//! What this thread is allowed, what it lacks, and how to give it up again.
//!
//! The trap: capabilities belong to a thread, not to a process; what is dropped here stays with
//! the others.

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// The capabilities that loading needs and this thread does not have, in words; `None` when none
/// is missing or it can't be told.
pub fn missing_capabilities() -> Option<&'static str> {
    let held = capabilities(None).ok()?.effective;
    // Kernels before 5.8 know no other, and later ones still take it for both.
    if held.contains(CapabilitySet::SYS_ADMIN) {
        return None;
    }
    let lacks = |capability| !held.contains(capability);
    Some(
        match (lacks(CapabilitySet::BPF), lacks(CapabilitySet::PERFMON)) {
            (true, true) => "CAP_BPF and CAP_PERFMON",
            (true, false) => "CAP_BPF",
            (false, true) => "CAP_PERFMON",
            (false, false) => return None,
        },
    )
}

/// Gives up every capability of the calling thread: once the programs run, none is needed.
///
/// # Errors
/// When the kernel refuses, which it has no reason to.
pub fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_dropped_in_this_thread_alone() {
        let before = capabilities(None).unwrap();
        let thread = std::thread::spawn(|| {
            drop_capabilities().unwrap();
            (capabilities(None).unwrap(), missing_capabilities())
        });
        let (after, missing) = thread.join().unwrap();
        assert!(after.effective.is_empty() && after.permitted.is_empty());
        assert_eq!(missing, Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
