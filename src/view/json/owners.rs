//! Holders in machine output.

use serde::{Serialize, Serializer};

use crate::model::{Holder, Program, Seen};
use crate::timeline::{Holding, Owners};
use crate::view::json::bytes::Name;

/// `null`: nobody has looked, or nobody who could be looked into has it while others could not be;
/// `[]`: everybody was looked into, and no process shows it. Of an end that nobody holds any more,
/// those who did last.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnersInfo<'a>(pub(super) Owners<'a>);

impl Serialize for OwnersInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Owners::NotLooked | Owners::Hidden => serializer.serialize_none(),
            Owners::Nobody => serializer.collect_seq([(); 0]),
            Owners::Now(holding) | Owners::Before(holding) => {
                HoldersInfo(holding).serialize(serializer)
            }
        }
    }
}

/// A set of holders.
#[derive(Debug, Clone, Copy)]
pub(super) struct HoldersInfo<'a>(pub(super) &'a Holding);

impl Serialize for HoldersInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.holders.iter().map(OwnerInfo::from))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct OwnerInfo<'a> {
    pid: u32,
    comm: Name,
    fds: &'a [u32],
    uid: Option<u32>,
    user: Option<&'a str>,
    cmdline: Option<&'a str>,
    /// Clock ticks since the boot: with the pid, who it is.
    started: u64,
}

impl<'a> OwnerInfo<'a> {
    /// A process that holds something under these descriptors.
    pub(super) fn new(program: &'a Program, fds: &'a [u32]) -> Self {
        Self {
            pid: program.id.pid,
            comm: Name(program.comm),
            fds,
            uid: program.uid,
            user: program.user.as_deref(),
            cmdline: program.cmdline.as_deref(),
            started: program.id.started,
        }
    }
}

impl<'a> From<&'a Holder> for OwnerInfo<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self::new(&holder.program, &holder.fds)
    }
}

/// Whether a set can lack somebody.
pub(super) const fn seen_word(seen: Seen) -> &'static str {
    match seen {
        Seen::All => "all",
        Seen::Partly => "partly",
    }
}
