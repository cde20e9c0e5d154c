//! What is installed beside the program: completions that their shells can read, and a manual page
//! that has every option.
//!
//! The trap: a test that asks the generator what there is would find what it forgot in neither
//! place. `--help` is the other witness.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

fn tcpwatch(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    assert!(done.stderr.is_empty(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// The words before two blanks, below this heading of a short help.
fn below(help: &str, heading: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn commands() -> Vec<String> {
    let commands = below(&tcpwatch(&["-h"]), "Commands:");
    assert!(commands.contains(&"export".to_owned()), "{commands:?}");
    commands
}

/// `--port`, and all the others that a help tells of.
fn options(help: &str) -> Vec<String> {
    let words = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = match line.split_once(", ") {
            Some((short, rest)) if short.len() == 2 => rest,
            _ => line,
        };
        line.starts_with("--").then(|| {
            let end = line.find(|c: char| c != '-' && !c.is_ascii_alphanumeric());
            line[..end.unwrap_or(line.len())].to_owned()
        })
    });
    words.collect()
}

/// Whether `program` is content with what it is given; `None` when it is not installed.
fn accepts(program: &str, arguments: &[&str], text: &str) -> Option<(bool, String)> {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: there is no {program}");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Some((done.status.success(), said))
}

#[test]
fn completions_can_be_read_by_their_shells() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")] {
        let script = tcpwatch(&["completions", shell]);
        if let Some(told) = accepts(shell, &[check], &script) {
            assert_eq!(told, (true, String::new()), "{shell}");
        }
    }
}

#[test]
fn completions_know_every_command_and_option_that_is_shown() {
    let commands = commands();
    for shell in SHELLS {
        let script = tcpwatch(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
            for option in options(&tcpwatch(&[command, "-h"])) {
                let bare = option.trim_start_matches('-');
                assert!(script.contains(bare), "{shell}: {command} {option}");
            }
        }
        for hidden in ["lab-actor", "lab__actor"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
}

/// What bash offers behind these words.
fn offered(words: &[&str]) -> Option<Vec<String>> {
    let script = tcpwatch(&["completions", "bash"]);
    let line = words.join("' '");
    let last = words.len() - 1;
    let ask = format!(
        "{script}\nCOMP_WORDS=('{line}'); COMP_CWORD={last}\n\
         _tcpwatch tcpwatch '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words[last],
        words[last - 1],
    );
    let done = Command::new("bash").args(["-c", &ask]).output().ok()?;
    assert!(done.status.success(), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_options_and_values() {
    let Some(of_nothing) = offered(&["tcpwatch", ""]) else {
        eprintln!("skipped: there is no bash");
        return;
    };
    for command in commands() {
        assert!(of_nothing.contains(&command), "{command}: {of_nothing:?}");
    }
    assert!(of_nothing.contains(&"--port".to_owned()));
    assert!(!of_nothing.contains(&"--ring".to_owned()));
    assert!(!of_nothing.contains(&"lab-actor".to_owned()));
    let of_list = offered(&["tcpwatch", "list", "--fo"]).unwrap();
    assert_eq!(of_list, ["--format"]);
    let values = offered(&["tcpwatch", "list", "--format", ""]).unwrap();
    assert_eq!(values, ["text", "json"]);
    for (words, expected) in [
        (&["tcpwatch", "lab", "clo"][..], "close"),
        (&["tcpwatch", "--state", "clo"], "close-wait"),
        (&["tcpwatch", "list", "--state", "time"], "time-wait"),
        (&["tcpwatch", "wait", "--until", "clos"], "closed"),
        (&["tcpwatch", "wait", "--fail-on", "an"], "any"),
        (&["tcpwatch", "export", "--to", "mer"], "mermaid"),
        (&["tcpwatch", "--events", "au"], "auto"),
        (&["tcpwatch", "--source", "sock"], "sock-diag"),
        (&["tcpwatch", "report", "--finding", "data-l"], "data-lost"),
        (&["tcpwatch", "report", "--verdict", "ord"], "orderly"),
    ] {
        let offered = offered(words).unwrap();
        assert!(
            offered.contains(&expected.to_owned()),
            "{words:?}: {offered:?}"
        );
    }
    // What is no choice is no file either.
    let of_port = offered(&["tcpwatch", "list", "--port", "Car"]).unwrap();
    assert!(!of_port.contains(&"Cargo.toml".to_owned()), "{of_port:?}");
    let of_file = offered(&["tcpwatch", "record", "--output", "Car"]).unwrap();
    assert!(of_file.contains(&"Cargo.toml".to_owned()), "{of_file:?}");
}

/// The part of a page between this heading and the next.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let begin = page.find(&format!("\n.SH {heading}\n"));
    let begin = begin.unwrap_or_else(|| panic!("no {heading}"));
    let rest = &page[begin + 1..];
    let end = rest.find("\n.SH ").unwrap_or(rest.len());
    &rest[..end]
}

#[test]
fn the_manual_page_has_every_command_with_every_option() {
    let page = tcpwatch(&["man"]);
    let plain = page.replace("\\-", "-");
    let has = |section: &str, option: &str| {
        let found = section.match_indices(option);
        found
            .map(|(at, _)| section[at + option.len()..].chars().next())
            .any(|next| next.is_none_or(|c| c != '-' && !c.is_ascii_alphanumeric()))
    };
    for option in options(&tcpwatch(&["-h"])) {
        assert!(has(&plain, &option), "{option}");
    }
    for command in commands() {
        let section = section(&plain, &format!("\"tcpwatch {command}\""));
        for option in options(&tcpwatch(&[&command, "-h"])) {
            if option != "--help" {
                assert!(has(section, &option), "{command} {option}");
            }
        }
    }
    assert!(!plain.contains("lab-actor") && !has(&plain, "--ring"));
    assert!(section(&plain, "\"EXIT STATUS\"").contains("0 done"));
}

/// The screen's own help, and the message that names every field, are the other witnesses.
#[test]
fn the_manual_page_has_the_keys_and_the_filter_language() {
    let page = tcpwatch(&["man"]).replace("\\-", "-");
    let keys = section(&page, "KEYS");
    let expressions = section(&page, "\"FILTER EXPRESSIONS\"");
    let (mut is_of_keys, mut count) = (false, 0);
    for line in include_str!("../docs/screen.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", "---", "---", ""] => {}
            // Their tables have the title of theirs, and nothing beside it; so has that of the signs.
            ["", title, "", ""] => {
                is_of_keys = keys.contains(&format!("\n.SS {title}\n"))
                    || keys.contains(&format!("\n.SS \"{title}\"\n"))
            }
            ["", key, does, ""] if is_of_keys => {
                assert!(keys.contains(does), "{key} {does}");
                count += 1;
            }
            _ => is_of_keys = false,
        }
    }
    assert!(count > 30, "{count}");
    assert!(keys.contains("\\fBq ^C\\fR"), "{keys}");
    let refused = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
        .args(["list", "--filter", "zzzzzz 80"])
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    let fields = said.split_once("(there are ").unwrap().1;
    for field in fields.trim().trim_end_matches(')').split(", ") {
        assert!(expressions.contains(&format!("\\fB{field}\\fR")), "{field}");
    }
}

#[test]
fn the_manual_page_is_set_without_a_warning() {
    let page = tcpwatch(&["man"]);
    for (program, arguments) in [
        ("groff", &["-man", "-Tutf8", "-ww"][..]),
        ("man", &["--warnings", "-l", "-"]),
        ("mandoc", &["-Tlint", "-Werror"]),
    ] {
        if let Some((is_done, said)) = accepts(program, arguments, &page) {
            assert!(is_done && said.is_empty(), "{program}: {said}");
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_trouble() {
    for arguments in [&["man"][..], &["completions", "bash"], &["--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tcpwatch"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before anything is read.
        drop(child.stdout.take());
        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments:?}");
        assert_eq!(said, "", "{arguments:?}");
    }
}
