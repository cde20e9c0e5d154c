//! What the doctor was asked, as the command line has it: for commands that a user can copy.
//!
//! The trap: a process's name is whatever somebody called it, and a command is pasted into a shell.

use std::time::Duration;

use crate::diagnosis::{Settings, Severity};
use crate::model::filter::{Expr, Family, Filter, Network, ProcessName};
use crate::view::plain::quoted;

/// The filter's options, each with a space before it.
pub(super) fn of_filter(filter: &Filter) -> String {
    let selection = &filter.selection;
    let processes = &selection.processes;
    let joined = |words: Vec<String>| words.join(",");
    let values = [
        ("port", filter.ports.to_string()),
        ("local-port", selection.local_ports.to_string()),
        ("remote-port", selection.remote_ports.to_string()),
        (
            "host",
            joined(filter.hosts.iter().map(Network::to_string).collect()),
        ),
        (
            "state",
            joined(
                selection
                    .states
                    .iter()
                    .map(|state| state.name().to_owned())
                    .collect(),
            ),
        ),
        (
            "pid",
            joined(processes.pids.iter().map(u32::to_string).collect()),
        ),
        (
            "process",
            joined(processes.names.iter().map(ProcessName::to_string).collect()),
        ),
        (
            "filter",
            filter
                .expr
                .as_ref()
                .map_or_else(String::new, Expr::to_string),
        ),
    ];
    let said = values.iter().filter(|(_, value)| !value.is_empty());
    let said = said.map(|(name, value)| format!(" --{name} {}", quoted(value)));
    let family = match selection.family {
        Some(Family::V4) => " -4",
        Some(Family::V6) => " -6",
        None => "",
    };
    said.collect::<String>() + family
}

/// The thresholds, where they are not the usual ones.
pub(super) fn of_thresholds(older_than: Duration, severity: Severity) -> String {
    let mut said = String::new();
    if older_than != Settings::default().older_than {
        let time = match older_than.subsec_nanos() {
            0 => format!("{}s", older_than.as_secs()),
            _ => format!("{}ms", older_than.as_millis()),
        };
        said = format!(" --older-than {time}");
    }
    if severity != Severity::Warn {
        said = format!("{said} --severity {}", severity.token());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::{ProcessSet, Selection};
    use crate::view::facts;

    #[test]
    fn what_was_asked_can_be_asked_again() {
        let filter = Filter {
            ports: "80,443".parse().unwrap(),
            hosts: vec!["10.0.0.0/8".parse().unwrap()],
            selection: Selection {
                processes: ProcessSet {
                    pids: vec![7, 8],
                    names: vec!["it's; rm".parse().unwrap()],
                },
                family: Some(Family::V4),
                ..Selection::default()
            },
            expr: facts::parse("age > 30s and not closed").unwrap(),
        };
        assert_eq!(
            of_filter(&filter),
            r" --port 80,443 --host 10.0.0.0/8 --pid 7,8 --process 'it'\''s; rm' --filter 'age > 30s and not closed' -4"
        );
        assert_eq!(of_filter(&Filter::default()), "");
        assert_eq!(of_thresholds(Duration::from_secs(30), Severity::Warn), "");
        let said = of_thresholds(Duration::from_millis(1500), Severity::Info);
        assert_eq!(said, " --older-than 1500ms --severity info");
    }
}
