//! Where the user wants to look: the network namespace of a container, say.

use clap::Args;

use crate::source::netns::Namespace;

/// For every command that looks at live sockets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
pub(super) struct NetnsArgs {
    /// Look into this network namespace: the PID of a process in it, a NAME of 'ip netns', a PATH
    #[arg(long, value_name = "PID|NAME|PATH")]
    pub(super) netns: Option<Namespace>,
}
