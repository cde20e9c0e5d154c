//! What somebody meant who wrote it as another program has it: a line that names the right way.
//!
//! Asked only when the command line was refused, so nothing that works is ever in its way. The
//! trap: a hint that is wrong is worse than none, so each knows exactly what it answers.

use std::ffi::OsString;
use std::path::Path;

use crate::model::filter::expr::distance;

/// The commands that have options as a live view has.
const COMMANDS: [&str; 8] = [
    "list", "doctor", "wait", "record", "lab", "report", "export", "replay",
];

/// The options of a live view that are given nothing.
const FLAGS: [&str; 4] = ["--force", "--record-cmdline", "--ipv4", "--ipv6"];

/// What to write instead; `None` when nobody knows what was meant.
pub(super) fn hint(arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments
        .iter()
        .skip(1)
        .map_while(|word| word.to_str())
        .collect();
    let (first, rest) = words.split_first()?;
    match *first {
        "help" => Some(match rest.first() {
            Some(command) => format!("help: write 'tcpwatch {command} --help'"),
            None => "help: write 'tcpwatch --help'".to_owned(),
        }),
        "record" => record(rest).or_else(|| foreign(first, rest)),
        "replay" | "report" | "export" => foreign(first, rest).or_else(|| reading(first, rest)),
        "list" | "lab" | "doctor" | "wait" => foreign(first, rest),
        _ => foreign("", &words)
            .or_else(|| turned_round(&words))
            .or_else(|| alone(first)),
    }
}

/// A command behind its options.
fn turned_round(words: &[&str]) -> Option<String> {
    let place = words.iter().position(|word| COMMANDS.contains(word))?;
    let (options, rest) = words.split_at(place);
    // What an option is given may be called like a command.
    let is_value = options
        .last()
        .is_some_and(|word| word.starts_with("--") && !word.contains('=') && !FLAGS.contains(word));
    let is_options = options.first().is_some_and(|word| word.starts_with('-')) && !is_value;
    let [command, after @ ..] = rest else {
        return None;
    };
    let all: Vec<&str> = [&[*command][..], options, after].concat();
    is_options.then(|| {
        format!(
            "{command}: a command comes before its options: write 'tcpwatch {}'",
            all.join(" ")
        )
    })
}

/// A word that is no command.
fn alone(word: &str) -> Option<String> {
    let port = word.strip_prefix(':').unwrap_or(word);
    let is_ports = port.starts_with(|c: char| c.is_ascii_digit())
        && port
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '-'));
    if is_ports {
        return Some(format!(
            "'{word}' is no command: a port is chosen by --port {port}"
        ));
    }
    let is_recording = Path::new(word).extension().is_some_and(|it| it == "jsonl");
    is_recording.then(|| format!("'{word}' is no command: write 'tcpwatch replay {word}'"))
}

/// Options as other programs have them.
fn foreign(command: &str, words: &[&str]) -> Option<String> {
    let value_of = |name: &str| {
        let place = words.iter().position(|word| *word == name)?;
        let value = words.get(place + 1).filter(|word| !word.starts_with('-'));
        Some(value.copied())
    };
    if let Some(port) = value_of("-p") {
        return Some(format!("-p: write --port {}", port.unwrap_or("PORT")));
    }
    if let Some(file) = value_of("-w") {
        let file = file.unwrap_or("FILE");
        return Some(format!("-w: write 'tcpwatch record -o {file}'"));
    }
    if let Some(file) = value_of("-r") {
        let file = file.unwrap_or("FILE");
        return Some(format!("-r: write 'tcpwatch replay {file}'"));
    }
    if command == "export"
        && let Some(format) = value_of("--format")
    {
        let format = format.unwrap_or("FORMAT");
        return Some(format!("--format: an export has --to {format}"));
    }
    value_of("--json").map(|_| "--json: write --format json".to_owned())
}

/// `record` with a file and no `-o`.
fn record(words: &[&str]) -> Option<String> {
    let has_output = words
        .iter()
        .any(|word| word.starts_with("-o") || word.starts_with("--output"));
    if has_output {
        return None;
    }
    match words {
        [file] if !file.starts_with('-') => Some(format!("record: write -o {file}")),
        [] => Some("record: say where to, for example 'tcpwatch record -o night.jsonl'".to_owned()),
        _ => None,
    }
}

/// A command that reads recordings, and none is named.
fn reading(command: &str, words: &[&str]) -> Option<String> {
    let example = match command {
        "export" => "tcpwatch export night.jsonl -o night.svg".to_owned(),
        command => format!("tcpwatch {command} night.jsonl"),
    };
    words
        .is_empty()
        .then(|| format!("{command}: name a recording, for example '{example}'"))
}

/// Whether a suggestion is that of a slip of the finger, and no wild guess.
pub(super) fn is_near(written: &str, suggested: &str) -> bool {
    let [written, suggested] = [written, suggested].map(|word| word.trim_start_matches('-'));
    distance(written, suggested) <= 2 && written.chars().next() == suggested.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Refusal, parse};

    fn said(line: &str) -> String {
        match parse(line.split(' ')) {
            Err(Refusal::Usage(text)) => text,
            other => panic!("{line} gave {other:?}"),
        }
    }

    #[test]
    fn what_was_meant_is_named() {
        for (line, meant) in [
            ("tcpwatch 50008", "--port 50008"),
            ("tcpwatch :50008", "--port 50008"),
            ("tcpwatch -p 80", "--port 80"),
            ("tcpwatch list -p 80", "--port 80"),
            ("tcpwatch -w x.jsonl", "record -o x.jsonl"),
            ("tcpwatch -r x.jsonl", "replay x.jsonl"),
            ("tcpwatch x.jsonl", "replay x.jsonl"),
            ("tcpwatch record x.jsonl", "-o x.jsonl"),
            ("tcpwatch record", "record -o night.jsonl"),
            ("tcpwatch replay", "tcpwatch replay night.jsonl"),
            ("tcpwatch report", "tcpwatch report night.jsonl"),
            ("tcpwatch export", "tcpwatch export night.jsonl"),
            ("tcpwatch help", "tcpwatch --help"),
            ("tcpwatch help lab", "tcpwatch lab --help"),
            ("tcpwatch --port 51000 list", "tcpwatch list --port 51000"),
            (
                "tcpwatch -4 --port=80 doctor --verbose",
                "tcpwatch doctor -4 --port=80 --verbose",
            ),
            ("tcpwatch --json", "--format json"),
            ("tcpwatch report x --json", "--format json"),
            ("tcpwatch export x --format svg", "--to svg"),
            ("tcpwatch --prot 80", "--port"),
        ] {
            let text = said(line);
            assert!(text.contains(meant), "{line}: {text}");
            assert!(!text.contains('\n'), "{line}: {text}");
        }
        assert!(!said("tcpwatch --bogus").contains("similar"));
        assert!(!said("tcpwatch --process list --bogus").contains("before"));
    }

    #[test]
    fn a_slip_of_the_finger_is_near() {
        assert!(is_near("--prot", "--port") && is_near("--hosts", "--host"));
        assert!(!is_near("--output", "--port") && !is_near("--json", "--conn"));
    }
}
