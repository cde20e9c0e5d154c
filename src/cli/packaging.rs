//! What is installed beside the program: completions for shells, and the manual page.
//!
//! Both are made of the same table that the command line is read with. The trap: neither crate
//! leaves out all that is hidden, so they are given a copy without it.

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::known::with_words;
use crate::model::filter::expr::fields;
use crate::view::tui::keys_in_words;

/// The page is of no day. The roff crate leaves out an argument that is empty, quotes and all.
const NO_DATE: &str = " ";

/// What `shell` reads to complete a command line.
pub(super) fn completions(command: &Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    let mut command = with_words(visible(command));
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page, of the program and its commands, for man(1).
pub(super) fn manual(mut command: Command) -> String {
    command.build();
    let mut whole = visible(&command);
    whole.build();
    // Under the heading that the others have.
    for flag in ["help", "version"] {
        whole = whole.mut_arg(flag, |it| it.help_heading("Options"));
    }
    let page = Page { whole };
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = page.write(&command, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The same, without what is hidden, and without the flags that every command is given by itself.
fn visible(command: &Command) -> Command {
    let is_given = |it: &Arg| matches!(it.get_id().as_str(), "help" | "version");
    let arguments = command
        .get_arguments()
        .filter(|it| !it.is_hide_set() && !is_given(it));
    let commands = command.get_subcommands().filter(|it| !it.is_hide_set());
    let mut shown = Command::new(command.get_name().to_owned());
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
        .about(command.get_about().cloned().unwrap_or_default())
        .disable_help_subcommand(true)
        .args(arguments.cloned())
        .subcommands(commands.map(visible))
}

struct Page {
    /// The program.
    whole: Command,
}

impl Page {
    fn write(&self, command: &Command, out: &mut Vec<u8>) -> std::io::Result<()> {
        let man = Man::new(self.whole.clone())
            .title("TCPWATCH")
            .manual("User Commands")
            .date(NO_DATE);
        man.render_title(out)?;
        man.render_name_section(out)?;
        let mut synopsis = Roff::default();
        synopsis.control("SH", ["SYNOPSIS"]);
        usage(&mut synopsis, command);
        synopsis.to_writer(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)?;
        let all: Vec<&Command> = command.get_subcommands().collect();
        for shown in self.whole.get_subcommands() {
            let Some(original) = all.iter().find(|it| it.get_name() == shown.get_name()) else {
                continue;
            };
            self.write_command(shown, original, out)?;
        }
        keys().to_writer(out)?;
        expressions().to_writer(out)?;
        last_sections(command).to_writer(out)
    }

    fn write_command(
        &self,
        shown: &Command,
        original: &Command,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let is_help = |it: &&Arg| it.get_id().as_str() == "help";
        let mut head = Roff::default();
        head.control("SH", [original.get_bin_name().unwrap_or_default()]);
        if let Some(about) = shown.get_about() {
            head.text([roman(about.to_string())]);
        }
        head.control("PP", []);
        usage(&mut head, original);
        head.to_writer(out)?;
        let (known, own): (Vec<&Arg>, Vec<&Arg>) = shown
            .get_arguments()
            .filter(|it| !is_help(it))
            .partition(|it| self.has(it));
        if !own.is_empty() {
            let plain = own.into_iter().cloned().map(|it| it.help_heading(None));
            let own_only = Command::new(shown.get_name().to_owned())
                .disable_help_flag(true)
                .args(plain);
            let mut options = Vec::new();
            Man::new(own_only).render_options_section(&mut options)?;
            // They stand under the command's own heading.
            let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
            out.extend_from_slice(options.as_bytes());
        }
        as_above(&known).to_writer(out)
    }

    /// Whether the program without a command has the same one, told of already.
    fn has(&self, wanted: &Arg) -> bool {
        self.whole.get_arguments().any(|known| {
            wanted.get_long().is_some()
                && known.get_long() == wanted.get_long()
                && known.get_help() == wanted.get_help()
                && known.get_default_values() == wanted.get_default_values()
        })
    }
}

/// How a command is called, a line each way.
fn usage(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let ways = usage.trim_start_matches("Usage:").lines().map(str::trim);
    for (index, way) in ways.enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        let rest = way.strip_prefix(name).unwrap_or_default();
        roff.text([bold(name), roman(rest)]);
    }
}

/// Names the options that need not be explained again.
fn as_above(known: &[&Arg]) -> Roff {
    let mut roff = Roff::default();
    if known.is_empty() {
        return roff;
    }
    let mut names = vec![italic("As above: ")];
    for (index, argument) in known.iter().enumerate() {
        if index > 0 {
            names.push(roman(", "));
        }
        names.extend(argument.get_long().map(|long| bold(format!("--{long}"))));
    }
    roff.control("PP", []);
    roff.text(names);
    roff
}

/// What can be pressed on the screen.
fn keys() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["KEYS"]);
    for (title, keys) in keys_in_words() {
        roff.control("SS", [title]);
        for (key, does) in keys {
            roff.control("TP", []);
            roff.text([bold(key)]);
            roff.text([roman(does)]);
        }
    }
    roff
}

/// What `--filter`, and a filter that is typed on the screen, is made of.
fn expressions() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["FILTER EXPRESSIONS"]);
    roff.text([roman(
        "Conditions of a field and what it is compared with, joined by and, or, not and parentheses: \
         'port 80 and (state close-wait or age > 30s)'. A word without a field is a port, an address, a \
         state, a finding, or else a part of a process's name. The fields, and what may stand behind \
         them:",
    )]);
    for (field, values) in fields() {
        roff.control("TP", []);
        roff.text([bold(field)]);
        roff.text([roman(values.unwrap_or("(nothing)"))]);
    }
    roff.control("PP", []);
    roff.text([roman(
        "What and joins must be true of one and the same end of a connection; not X is true when X is \
         true of neither. What is not known is neither true nor false: such a connection is shown by \
         neither X nor not X.",
    )]);
    roff
}

/// What is no option.
fn last_sections(command: &Command) -> Roff {
    let mut roff = Roff::default();
    let mut section = |name: &str, text: Vec<Inline>| {
        roff.control("SH", [name]);
        roff.text(text);
    };
    if let Some(after) = command.get_after_help() {
        let after = after.to_string();
        let text = after.trim_start_matches("Exit status: ").to_owned();
        section("EXIT STATUS", vec![roman(text)]);
    }
    section(
        "ENVIRONMENT",
        vec![
            bold("NO_COLOR"),
            roman(
                ": set and not empty, no colour is used unless --color always says so. TERM: \
                 what the terminal can do; without colours none are used, and where the cursor does \
                 not move (dumb, or not set) there is no screen. TZ: the zone of the times that are shown and typed.",
            ),
        ],
    );
    section(
        "SEE ALSO",
        vec![
            bold("ss"),
            roman("(8), "),
            bold("tcp"),
            roman("(7), "),
            bold("sock_diag"),
            roman("(7)"),
        ],
    );
    roff
}
