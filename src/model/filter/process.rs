//! Processes by their pids and names.
//!
//! Knows what a process is called in which place. The traps: the kernel keeps 15 bytes of a name,
//! so a longer one is compared as far as that; and a script or a renamed thread has another name
//! there than on its command line, so either will do. A script that an interpreter was given has its
//! name in the second word, or behind options.

use std::fmt;

use crate::model::Program;
use crate::model::event::Comm;
use crate::model::filter::FilterError;

/// `PID_MAX_LIMIT` of a 64-bit kernel, include/linux/threads.h.
const HIGHEST_PID: u32 = 4 * 1024 * 1024;
/// `TASK_COMM_LEN` less its end, include/linux/sched.h.
const NAME_KEPT: usize = 15;

/// Which processes are wanted. The empty set means "any".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSet {
    /// Their numbers; none means any.
    pub pids: Vec<u32>,
    /// Their names; none means any.
    pub names: Vec<ProcessName>,
}

/// The name of a process, as the user spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessName(Box<str>);

/// A part of the name of a process, in either case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePart(Box<str>);

impl ProcessSet {
    /// Whether every process is wanted, and one that is not known too.
    pub const fn is_any(&self) -> bool {
        self.pids.is_empty() && self.names.is_empty()
    }

    /// Whether a process is one of these.
    pub fn has(&self, program: &Program) -> bool {
        self.has_pid(program.id.pid)
            && self.has_name(|name| {
                name.is_comm(program.comm)
                    || program
                        .cmdline
                        .as_deref()
                        .is_some_and(|line| name.is_first_of(line) || name.is_script_of(line))
            })
    }

    /// Whether a process of which no more is known is one of these.
    pub fn has_caller(&self, pid: u32, comm: Comm) -> bool {
        self.has_pid(pid) && self.has_name(|name| name.is_comm(comm))
    }

    /// Whether a process of which only the number is known can be one of these.
    pub fn may_have(&self, pid: u32) -> bool {
        self.has_pid(pid)
    }

    fn has_pid(&self, pid: u32) -> bool {
        self.pids.is_empty() || self.pids.contains(&pid)
    }

    fn has_name(&self, is_it: impl Fn(&ProcessName) -> bool) -> bool {
        self.names.is_empty() || self.names.iter().any(is_it)
    }
}

impl ProcessName {
    /// The name as the kernel keeps it.
    fn is_comm(&self, comm: Comm) -> bool {
        let wanted = self.0.as_bytes();
        *kept(&comm) == wanted[..wanted.len().min(NAME_KEPT)]
    }

    /// The first word of a command line, or the last part of its path.
    fn is_first_of(&self, cmdline: &str) -> bool {
        let path = cmdline.split(' ').next().unwrap_or_default();
        *self.0 == *path || *self.0 == *file_of(path)
    }

    /// The script of an interpreter: the first word behind its name that is no option. What an
    /// option is given as a word of its own (`-W error`) is taken for the script.
    fn is_script_of(&self, cmdline: &str) -> bool {
        script_of(cmdline).is_some_and(|path| *self.0 == *path || *self.0 == *file_of(path))
    }
}

impl NamePart {
    /// A part of a name; `None` of no letters.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// As the user spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is in one of the names of a process: the kernel's, its command's, its script's.
    pub fn is_of(&self, program: &Program) -> bool {
        let is_in = |text: &str| self.is_in(text.as_bytes());
        self.is_of_comm(program.comm)
            || program.cmdline.as_deref().is_some_and(|line| {
                let first = line.split(' ').next().unwrap_or_default();
                is_in(first) || script_of(line).is_some_and(is_in)
            })
    }

    /// Whether it is in the name that the kernel keeps.
    pub fn is_of_comm(&self, comm: Comm) -> bool {
        self.is_in(kept(&comm))
    }

    fn is_in(&self, text: &[u8]) -> bool {
        let part = self.0.as_bytes();
        let mut places = text.windows(part.len());
        places.any(|place| place.eq_ignore_ascii_case(part))
    }
}

/// The name without what fills it up.
fn kept(comm: &Comm) -> &[u8] {
    let length = comm.0.iter().position(|&byte| byte == 0);
    &comm.0[..length.unwrap_or(comm.0.len())]
}

/// The name of the script that a process runs, where that is an interpreter. Not safe to print as it
/// is.
pub fn script_name(program: &Program) -> Option<&str> {
    let path = script_of(program.cmdline.as_deref()?)?;
    Some(file_of(path)).filter(|name| !name.is_empty())
}

/// The script that an interpreter was given.
fn script_of(cmdline: &str) -> Option<&str> {
    let mut words = cmdline.split(' ').filter(|word| !word.is_empty());
    let is_script = words.next().is_some_and(is_interpreter);
    // With these, what follows is a program, or the name of a module.
    let mut arguments = words.take_while(|word| !matches!(*word, "-c" | "-e" | "-m"));
    let script = arguments.find(|word| !word.starts_with('-'));
    script.filter(|_| is_script)
}

fn file_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Whether a program runs scripts: by its name, with a version behind it maybe.
fn is_interpreter(path: &str) -> bool {
    let name = file_of(path).trim_start_matches('-');
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    matches!(
        bare,
        "python"
            | "pypy"
            | "perl"
            | "ruby"
            | "node"
            | "nodejs"
            | "php"
            | "lua"
            | "sh"
            | "bash"
            | "dash"
            | "zsh"
            | "ksh"
    )
}

impl std::str::FromStr for ProcessName {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        match text.trim() {
            "" => Err(FilterError::NoName),
            name => Ok(Self(name.into())),
        }
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the number of a process.
///
/// # Errors
/// When no process can have it.
pub fn parse_pid(text: &str) -> Result<u32, FilterError> {
    let digits = text.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(pid @ 1..=HIGHEST_PID) if is_number => Ok(pid),
        _ => Err(FilterError::Pid(text.escape_default().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcessId;

    fn program(pid: u32, comm: &str, cmdline: Option<&str>) -> Program {
        let mut bytes = [0; 16];
        bytes[..comm.len()].copy_from_slice(comm.as_bytes());
        Program {
            id: ProcessId { pid, started: 1 },
            parent: None,
            comm: Comm(bytes),
            uid: None,
            user: None,
            cmdline: cmdline.map(Box::from),
        }
    }

    fn named(names: &[&str]) -> ProcessSet {
        ProcessSet {
            pids: Vec::new(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_name_is_the_kernels_or_that_of_the_command() {
        let server = program(812, "python3", Some("/usr/bin/python3.13 server.py"));
        for name in ["python3", "python3.13", "/usr/bin/python3.13"] {
            assert!(named(&[name]).has(&server), "{name}");
        }
        for name in ["python", "python3.1", "server", "PYTHON3", "bin", "812"] {
            assert!(!named(&[name]).has(&server), "{name}");
        }
        assert!(named(&["nginx", "python3"]).has(&server));
        assert!(named(&["python3"]).has_caller(812, server.comm));
        assert!(!named(&["python3.13"]).has_caller(812, server.comm));
    }

    #[test]
    fn a_script_is_known_by_its_name() {
        let wanted = named(&["orders-api.py"]);
        for line in [
            "python3 orders-api.py --port 80",
            "/usr/bin/python3.13 -u -B /srv/orders-api.py",
            "python orders-api.py",
            "perl -w orders-api.py",
            "bash orders-api.py",
        ] {
            assert!(wanted.has(&program(7, "main", Some(line))), "{line}");
        }
        for line in [
            "python3 other.py orders-api.py",
            "python3 -m orders-api.py",
            "python3 -c import orders-api.py",
            "java orders-api.py",
            "vi orders-api.py",
            "python3",
            "",
        ] {
            assert!(!wanted.has(&program(7, "main", Some(line))), "{line}");
        }
        assert!(named(&["/srv/a.rb"]).has(&program(7, "ruby", Some("ruby3.1 /srv/a.rb"))));
    }

    #[test]
    fn a_part_of_a_name_is_found_in_either_case() {
        let server = program(
            7,
            "Gunicorn",
            Some("/usr/bin/python3.13 -u /srv/orders-api.py x"),
        );
        for part in ["guni", "CORN", "python3", "/bin/", "Orders-API"] {
            assert!(NamePart::new(part).unwrap().is_of(&server), "{part}");
        }
        for part in ["nginx", "x", "-u", "gunicorn-and-more"] {
            assert!(!NamePart::new(part).unwrap().is_of(&server), "{part}");
        }
        assert_eq!(NamePart::new(""), None);
    }

    #[test]
    fn the_kernel_keeps_fifteen_bytes_of_a_name() {
        let long = program(7, "systemd-resolve", None);
        assert!(named(&["systemd-resolved"]).has(&long));
        assert!(named(&["systemd-resolve"]).has(&long));
        assert!(!named(&["systemd-resolv"]).has(&long));
        // Fifteen bytes that end within a letter.
        let accents = "é".repeat(8);
        let mut cut = program(7, "", None);
        cut.comm.0[..15].copy_from_slice(&accents.as_bytes()[..15]);
        assert!(named(&[&accents]).has(&cut));
    }

    #[test]
    fn who_says_a_pid_and_a_name_wants_one_process_that_has_both() {
        let wanted = ProcessSet {
            pids: vec![812, 813],
            ..named(&["python3"])
        };
        assert!(wanted.has(&program(813, "python3", None)));
        assert!(!wanted.has(&program(814, "python3", None)));
        assert!(!wanted.has(&program(812, "nginx", None)));
        assert!(!wanted.is_any() && ProcessSet::default().is_any());
    }

    #[test]
    fn wrong_pids_are_named() {
        assert_eq!(parse_pid(" 4194304"), Ok(4_194_304));
        for text in [
            "0",
            "-1",
            "+5",
            "4194305",
            "python3",
            "",
            "1.5",
            "99999999999999999999",
        ] {
            let message = parse_pid(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("'{text}'")), "{message}");
            assert!(message.contains("1 to 4194304"), "{message}");
        }
        assert!("".parse::<ProcessName>().is_err());
    }
}
