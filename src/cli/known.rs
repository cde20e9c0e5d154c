//! The words that a shell can offer: what an option takes, where that is a choice among known words.
//!
//! The trap: to the command line itself these are no choices. It takes more than is offered (other
//! spellings, lists, times), and its refusals say more; so the words are given to a copy of it, which
//! reads nothing.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};

use crate::diagnosis::finding::Code;
use crate::lab::experiments;
use crate::model::TcpState;
use crate::view::report::Way;

/// The same command, in which every value is a choice, a file, or nothing that anybody knows.
pub(super) fn with_words(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|it| offered(&name, it))
        .mut_subcommands(with_words)
}

fn offered(command: &str, argument: Arg) -> Arg {
    let is_open = argument.get_action().takes_values()
        && argument.get_possible_values().is_empty()
        && argument.get_value_hint() == ValueHint::Unknown;
    let words = words(command, argument.get_id().as_str());
    match (is_open, words.is_empty()) {
        (false, _) => argument,
        (true, false) => argument.value_parser(PossibleValuesParser::new(words)),
        // Where a process is named by a path, files are a help; else they are none.
        (true, true) if argument.get_id() == "netns" => argument.value_hint(ValueHint::AnyPath),
        (true, true) => argument.value_hint(ValueHint::Other),
    }
}

/// What can be said for this argument of that command; nothing when that is no choice.
fn words(command: &str, argument: &str) -> Vec<String> {
    let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match (command, argument) {
        ("lab", "experiment") => experiments::all().iter().map(|it| it.name.into()).collect(),
        ("wait", "until") => states(),
        ("wait", "fail_on") => {
            [all(&["any", "close-wait", "fin-wait2", "reset"]), codes()].concat()
        }
        ("export", "to") => all(&["svg", "perfetto", "csv", "mermaid", "screen"]),
        (_, "state") => states(),
        (_, "finding") => codes(),
        (_, "verdict") => Way::all().map(|way| way.token().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// As they are typed: CLOSE has the name that people have for it.
fn states() -> Vec<String> {
    let name = |state: TcpState| match state {
        TcpState::Close => "closed".to_owned(),
        state => state.name().to_ascii_lowercase().replace('_', "-"),
    };
    let mut states: Vec<String> = TcpState::ALL.into_iter().map(name).collect();
    states.dedup();
    states
}

fn codes() -> Vec<String> {
    Code::ALL.map(|code| code.token().to_owned()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    #[test]
    fn whatever_is_offered_is_taken() {
        for (line, command, argument) in [
            (&["list", "--state"][..], "list", "state"),
            (&["wait", "--until"], "wait", "until"),
            (
                &["wait", "--until", "closed", "--fail-on"],
                "wait",
                "fail_on",
            ),
            (&["export", "a.jsonl", "--to"], "export", "to"),
            (&["report", "a.jsonl", "--finding"], "report", "finding"),
            (&["report", "a.jsonl", "--verdict"], "report", "verdict"),
            (&["lab"], "lab", "experiment"),
        ] {
            let words = words(command, argument);
            assert!(!words.is_empty(), "{line:?}");
            for word in words {
                let line = ["tcpwatch"].iter().chain(line).copied();
                let read = parse(line.chain([word.as_str()]));
                assert!(read.is_ok(), "{word}: {read:?}");
            }
        }
    }
}
