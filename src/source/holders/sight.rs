//! How far we see: whether every process can be looked into, and if not, what is in the way.
//!
//! The trap: what is hidden does not say so. A /proc with `hidepid`, or a namespace of processes of
//! our own, simply lacks the others; so the whole is claimed only by who is known to have it.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::model::Seen;

/// To look at the descriptors of another user's process, and into the folder that lists them.
const NEEDED: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// `PROC_PID_INIT_INO` and `PROC_USER_INIT_INO`, include/linux/proc_ns.h: the host's own.
const HOST_PIDS: u64 = 0xEFFF_FFFC;
const HOST_USERS: u64 = 0xEFFF_FFFD;

/// What this thread can see of the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Whether there can be processes that it does not see.
    pub(super) seen: Seen,
    /// Why; `None` when it sees all.
    pub(super) why: Option<String>,
}

impl Sight {
    /// Of the calling thread.
    pub(super) fn here() -> Self {
        let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        Self::of(&Place {
            lacks_ptrace: !held.contains(CapabilitySet::SYS_PTRACE),
            lacks_search: !held.contains(CapabilitySet::DAC_READ_SEARCH),
            is_hidden: hides_processes(),
            is_host: is_namespace("pid", HOST_PIDS) && is_own_proc(),
            is_host_user: is_namespace("user", HOST_USERS),
        })
    }

    fn of(place: &Place) -> Self {
        let why = match place {
            Place {
                lacks_ptrace: true,
                is_hidden: true,
                ..
            } => {
                "own processes only: /proc hides the others (hidepid) from whoever lacks \
                 CAP_SYS_PTRACE"
            }
            Place {
                lacks_ptrace: true, ..
            } => "own processes only: the others need CAP_SYS_PTRACE (and CAP_DAC_READ_SEARCH)",
            Place {
                lacks_search: true, ..
            } => "own processes only: the others need CAP_DAC_READ_SEARCH beside CAP_SYS_PTRACE",
            Place { is_host: false, .. } => {
                "only the processes of this pid namespace: those outside of it, which can hold a \
                 socket too, are seen from the host"
            }
            Place {
                is_host_user: false,
                ..
            } => "only the processes of this user namespace: the others are seen from the host",
            _ => {
                return Self {
                    seen: Seen::All,
                    why: None,
                };
            }
        };
        Self {
            seen: Seen::Partly,
            why: Some(why.to_owned()),
        }
    }
}

/// What sight depends on.
#[derive(Clone, Copy, Debug)]
struct Place {
    lacks_ptrace: bool,
    lacks_search: bool,
    is_hidden: bool,
    is_host: bool,
    is_host_user: bool,
}

fn is_namespace(kind: &str, inode: u64) -> bool {
    rustix::fs::stat(format!("/proc/thread-self/ns/{kind}")).is_ok_and(|stat| stat.st_ino == inode)
}

/// /proc can be another namespace's.
fn is_own_proc() -> bool {
    let link = std::fs::read_link("/proc/self");
    link.is_ok_and(|link| link.to_str() == Some(&std::process::id().to_string()))
}

/// `hidepid=1` and above: whose processes we may not look into we do not see.
fn hides_processes() -> bool {
    let mounts = procfs::process::Process::myself().and_then(|myself| myself.mountinfo());
    let Ok(mounts) = mounts else { return false };
    // Of several that are mounted there the last is on top.
    let proc = mounts
        .0
        .iter()
        .rfind(|mount| mount.fs_type == "proc" && mount.mount_point.as_os_str() == "/proc");
    proc.and_then(|mount| mount.super_options.get("hidepid"))
        .is_some_and(|value| !matches!(value.as_deref(), Some("0" | "off")))
}

/// Gives up every capability of the calling thread that looking does not need.
pub(super) fn keep_what_looking_needs() {
    let Ok(held) = capabilities(None) else {
        return;
    };
    let kept = held.permitted & NEEDED;
    // Refused, it keeps those of its user.
    let _ = set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Place = Place {
        lacks_ptrace: false,
        lacks_search: false,
        is_hidden: true,
        is_host: true,
        is_host_user: true,
    };

    #[test]
    fn only_who_can_see_all_claims_it() {
        assert_eq!(Sight::of(&ROOT).seen, Seen::All);
        let others = [
            (
                Place {
                    lacks_ptrace: true,
                    ..ROOT
                },
                "hidepid",
            ),
            (
                Place {
                    lacks_ptrace: true,
                    is_hidden: false,
                    ..ROOT
                },
                "CAP_SYS_PTRACE",
            ),
            (
                Place {
                    lacks_search: true,
                    ..ROOT
                },
                "CAP_DAC_READ_SEARCH",
            ),
            (
                Place {
                    is_host: false,
                    ..ROOT
                },
                "pid namespace",
            ),
            (
                Place {
                    is_host_user: false,
                    ..ROOT
                },
                "user namespace",
            ),
        ];
        for (place, word) in others {
            let sight = Sight::of(&place);
            assert_eq!(sight.seen, Seen::Partly, "{place:?}");
            assert!(sight.why.is_some_and(|why| why.contains(word)), "{place:?}");
        }
    }

    #[test]
    fn what_looking_needs_is_kept_in_this_thread() {
        let held = std::thread::spawn(|| {
            keep_what_looking_needs();
            capabilities(None).unwrap()
        });
        let held = held.join().unwrap();
        assert!((held.effective - NEEDED).is_empty(), "{held:?}");
        assert_eq!(held.effective, held.permitted);
    }
}
