//! Other network namespaces that hold sockets of the ports: what is there, and how to look at it.

use crate::diagnosis::words;
use crate::model::TcpState;
use crate::view::plain::{plain, quoted};

/// A namespace that holds sockets of those that are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its inode.
    pub netns: Option<u64>,
    /// What `ip netns` calls it.
    pub name: Option<String>,
    /// A process in it: its number and its name.
    pub process: Option<(u32, String)>,
    /// So many sockets match in each state.
    pub states: Vec<(TcpState, usize)>,
    /// What to look there with, behind `--netns`.
    pub namespace: Option<String>,
}

impl Elsewhere {
    /// How many sockets there are.
    pub(in crate::view) fn sockets(&self) -> usize {
        self.states.iter().map(|(_, count)| count).sum()
    }

    /// How to look there; `options` chooses what, as ` --port 80`.
    pub(in crate::view) fn command(&self, options: &str) -> Option<String> {
        let namespace = plain(self.namespace.as_deref()?);
        let namespace = quoted(&namespace);
        Some(format!("tcpwatch doctor --netns {namespace}{options}"))
    }

    /// `counted` is by what the sockets were chosen: `the network namespace of nginx[812] has 3 sockets of port 80, 2 in CLOSE_WAIT: tcpwatch ...`.
    pub(super) fn words(&self, counted: &str, options: &str) -> String {
        let whose = match (&self.name, &self.process) {
            (Some(name), _) => format!("network namespace {}", plain(name)),
            (None, Some((pid, comm))) => {
                format!("the network namespace of {}[{pid}]", plain(comm))
            }
            (None, None) => "another network namespace".to_owned(),
        };
        let of = match counted {
            "" => String::new(),
            counted => format!(" of {counted}"),
        };
        let waiting: usize = self
            .states
            .iter()
            .filter(|(state, _)| *state == TcpState::CloseWait)
            .map(|(_, count)| count)
            .sum();
        let waiting = match waiting {
            0 => String::new(),
            waiting => format!(", {waiting} in CLOSE_WAIT"),
        };
        let how = self.command(options);
        let how = how.map_or_else(String::new, |how| format!(": {how}"));
        let sockets = words::counted(self.sockets(), "socket");
        format!("{whose} has {sockets}{of}{waiting}{how}")
    }
}
