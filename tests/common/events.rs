//! Whether the kernel reports events here at all: that takes root, and the kernel's own description
//! of its types (BTF).
//!
//! Asked without the program under test, so that a program which can't do it does not excuse itself.

use std::path::Path;

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Says so on the real stderr, which the test harness does not capture, where they can't run.
pub fn can_run(test: &str) -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "root (CAP_BPF and CAP_PERFMON)"
    } else if !Path::new(TYPES).exists() {
        "the kernel's type information in /sys/kernel/btf/vmlinux"
    } else {
        return true;
    };
    let line = format!("skipped: {test} with events: needs {why}\n");
    // Written in one piece: other tests write too. A stderr that is closed has no reader.
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    false
}
