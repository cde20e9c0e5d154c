//! Why events can't be had, each in one line that says what would help.
//!
//! It must not know how the programs work. The trap: the kernel says EPERM for many reasons, so
//! what is missing is looked for elsewhere: in this thread's capabilities, in the lockdown, in the
//! kernel's version.

use std::fs;
use std::io;

use crate::source::bpf::btf::BtfError;
use crate::source::bpf::privileges::missing_capabilities;

/// The oldest kernel whose functions suffice: `bpf_get_socket_cookie` for tracing.
const OLDEST: (u32, u32) = (5, 12);

/// Why events can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// Not allowed, for want of capabilities.
    #[error(
        "kernel events need {missing} (run as root, or once: setcap cap_bpf,cap_perfmon+ep on the program's file)"
    )]
    Capabilities {
        /// Which.
        missing: &'static str,
    },
    /// Not allowed, by the lockdown.
    #[error(
        "kernel events: {operation} is not permitted: the kernel is locked down for confidentiality (lockdown=integrity would allow it)"
    )]
    Lockdown {
        /// What was tried.
        operation: String,
    },
    /// Not allowed, and we can't see why.
    #[error(
        "kernel events: {operation} is not permitted although the capabilities are there (a container or a security module may forbid bpf(2))"
    )]
    Forbidden {
        /// What was tried.
        operation: String,
    },
    /// No type information.
    #[error(
        "kernel events: {path}: {error} (the kernel must be built with CONFIG_DEBUG_INFO_BTF=y)"
    )]
    NoBtf {
        /// Where it should be.
        path: &'static str,
        /// Why it can't be read.
        error: io::Error,
    },
    /// Type information that we can't read.
    #[error("kernel events: can't read {path}: {error}")]
    Btf {
        /// Where it is.
        path: &'static str,
        /// What is wrong with it.
        error: BtfError,
    },
    /// A member that nothing can be said without.
    #[error(
        "kernel events: this kernel's type information has no {0}, so its sockets can't be read (please report it with the output of 'uname -r')"
    )]
    Missing(String),
    /// Too old.
    #[error(
        "kernel events need Linux {}.{} or later, and this is {release} ({operation}: {error})",
        OLDEST.0,
        OLDEST.1
    )]
    TooOld {
        /// Which it is.
        release: String,
        /// What was tried.
        operation: String,
        /// What it said.
        error: io::Error,
    },
    /// The kernel's verifier refuses a program.
    #[error(
        "kernel events: the kernel refuses the program for {tracepoint}: {error}: {reason} (its whole reasoning is in the log; please report it)"
    )]
    Refused {
        /// Whose program.
        tracepoint: &'static str,
        /// The errno.
        error: io::Error,
        /// The last line of its reasoning.
        reason: String,
        /// All of it.
        log: String,
    },
    /// No network namespace to watch.
    #[error(
        "kernel events: our own network namespace can't be told (is /proc mounted? /proc/thread-self/ns/net must be readable)"
    )]
    NoNamespace,
    /// A size that no ring can have.
    #[error(
        "kernel events: a ring of {0} bytes is not possible (allowed: powers of two from one page, 4096 bytes on most machines, to 1 GiB)"
    )]
    RingSize(usize),
    /// A system call failed.
    #[error("kernel events: {operation}: {error}")]
    Io {
        /// What was tried.
        operation: String,
        /// Why not.
        error: io::Error,
    },
}

impl BpfError {
    /// What the kernel's verifier said, many lines, where it refused a program.
    pub fn log(&self) -> Option<&str> {
        match self {
            Self::Refused { log, .. } => Some(log),
            _ => None,
        }
    }

    /// The error of a failed system call.
    pub(super) fn of(operation: impl Into<String>, error: io::Error) -> Self {
        let operation = operation.into();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::not_permitted(operation),
            Some(libc::EINVAL | libc::ENOSYS) => match too_old() {
                Some(release) => Self::TooOld {
                    release,
                    operation,
                    error,
                },
                None => Self::Io { operation, error },
            },
            _ => Self::Io { operation, error },
        }
    }

    fn not_permitted(operation: String) -> Self {
        if let Some(missing) = missing_capabilities() {
            return Self::Capabilities { missing };
        }
        match fs::read_to_string("/sys/kernel/security/lockdown") {
            Ok(lockdown) if lockdown.contains("[confidentiality]") => Self::Lockdown { operation },
            _ => Self::Forbidden { operation },
        }
    }

    /// The error of a refused program. A verifier that has something to say has a reason of its
    /// own, also when the errno is that of a missing capability.
    pub(super) fn refused(tracepoint: &'static str, error: io::Error, log: String) -> Self {
        let reason = reason(&log).to_owned();
        let operation = || format!("loading the program for {tracepoint}");
        let is_function = reason.contains("unknown func") || reason.contains("invalid func");
        if reason.is_empty() || (is_function && too_old().is_some()) {
            return Self::of(operation(), error);
        }
        Self::Refused {
            tracepoint,
            error,
            reason,
            log,
        }
    }
}

/// The last line of the verifier that is no statistics.
fn reason(log: &str) -> &str {
    let statistics =
        |line: &&str| line.starts_with("processed ") || line.starts_with("verification time");
    log.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !statistics(line))
        .unwrap_or_default()
}

/// The kernel's release when it is older than we need.
fn too_old() -> Option<String> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    (version(&release)? < OLDEST).then(|| release.into_owned())
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.4.0"), Some((5, 4)));
        assert_eq!(version("?"), None);
        assert!(too_old().is_none());
    }

    #[test]
    fn every_error_is_one_line() {
        let io = || io::Error::from_raw_os_error(libc::EINVAL);
        let log = "0: (79) r6 = *(u64 *)(r1 +0)\nR1 is no pointer\nprocessed 1 insns\n\n";
        let refused = BpfError::refused("x", io(), log.to_owned());
        assert_eq!(refused.log(), Some(log));
        let text = refused.to_string();
        assert!(text.contains("R1 is no pointer"), "{text}");
        for error in [
            refused,
            BpfError::NoNamespace,
            BpfError::RingSize(5),
            BpfError::of("making a ring", io()),
            BpfError::Missing("sock.sk_err".into()),
        ] {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_thread_without_capabilities_is_told_which() {
        let told = std::thread::spawn(|| {
            crate::source::bpf::drop_capabilities().unwrap();
            BpfError::of("x", io::Error::from_raw_os_error(libc::EPERM)).to_string()
        });
        let told = told.join().unwrap();
        assert!(told.contains("CAP_BPF and CAP_PERFMON"), "{told}");
        assert!(told.contains("setcap"), "{told}");
    }
}
