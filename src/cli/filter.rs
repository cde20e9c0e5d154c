//! Which connections the user wants.
//!
//! Knows the options' spelling; what each text means is the model's. Every option that can be said
//! more than once means the union of what it was said with.

use clap::Args;

use crate::model::TcpState;
use crate::model::filter::{
    Expr, Family, Filter, Network, PortSet, ProcessName, ProcessSet, Selection, parse_pid,
};
use crate::view::facts;

#[derive(Debug, Args)]
#[command(next_help_heading = "Filter")]
pub(super) struct FilterArgs {
    /// Either port: 50008, a list 80,443, a range 8000-8099
    #[arg(long, value_name = "PORTS", allow_negative_numbers = true)]
    port: Vec<PortSet>,
    /// The port of one end itself
    #[arg(long, value_name = "PORTS", allow_negative_numbers = true)]
    local_port: Vec<PortSet>,
    /// The port that one end talks to
    #[arg(long, value_name = "PORTS", allow_negative_numbers = true)]
    remote_port: Vec<PortSet>,
    /// Either address: 10.0.0.7, ::1, a network 10.0.0.0/8
    #[arg(long, value_name = "ADDR[/LEN]", value_delimiter = ',')]
    host: Vec<Network>,
    /// Connections of which one end is, or was, in one of these states
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<TcpState>,
    /// Connections of which one end is, or was, held by one of these processes
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = parse_pid, allow_negative_numbers = true)]
    pid: Vec<u32>,
    /// The same by the process's name: of the kernel (as ps -o comm has it), of its command, or of
    /// the script that an interpreter runs (orders-api.py)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    process: Vec<ProcessName>,
    /// IPv4 connections, also those of dual-stack servers
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 connections
    #[arg(short = '6', long = "ipv6")]
    ipv6: bool,
    /// All of it in one expression, also of ages, queues and findings:
    /// 'port 80 and state close-wait and age > 30s', 'not process nginx', 'finding any'
    /// (docs/filter.md has the language)
    #[arg(long, value_name = "EXPR", value_parser = expression)]
    filter: Option<Said>,
}

/// What an expression asks for; nothing, when it is empty.
#[derive(Clone, Debug)]
struct Said(Option<Expr>);

fn expression(text: &str) -> Result<Said, String> {
    facts::parse(text)
        .map(Said)
        .map_err(|error| format!("column {}: {error}", error.column(text)))
}

impl FilterArgs {
    /// What the user said; `None` when that was nothing.
    pub(super) fn said(self) -> Option<Filter> {
        let filter = self.settle();
        (filter != Filter::default()).then_some(filter)
    }

    pub(super) fn settle(self) -> Filter {
        let union = |sets: Vec<PortSet>| {
            sets.iter().fold(PortSet::default(), |mut all, set| {
                all.extend(set);
                all
            })
        };
        Filter {
            ports: union(self.port),
            hosts: self.host,
            selection: Selection {
                local_ports: union(self.local_port),
                remote_ports: union(self.remote_port),
                states: self.state.into_iter().collect(),
                family: match (self.ipv4, self.ipv6) {
                    (true, _) => Some(Family::V4),
                    (_, true) => Some(Family::V6),
                    _ => None,
                },
                processes: ProcessSet {
                    pids: self.pid,
                    names: self.process,
                },
            },
            expr: self.filter.and_then(|said| said.0),
        }
    }
}
