//! The report of `tcpwatch doctor` for people: what is wrong, worst first, what to do about it, and
//! what was not looked at.
//!
//! The trap: silence reads as health. Whatever could not be seen, and every rule that one look
//! can't decide, is named at the end.

mod elsewhere;
pub(in crate::view) mod listeners;
mod options;
mod words;

use std::fmt::Write;
use std::time::Duration;

use crossterm::style::Stylize;

use crate::diagnosis::finding::{Code, Finding, Severity};
use crate::diagnosis::group::Group;
use crate::diagnosis::words::counted;
use crate::diagnosis::{Health, Unseen};
use crate::model::Timestamp;
use crate::model::filter::{Filter, Selection};
use crate::timeline::ConnId;
use crate::view::duration;
use crate::view::palette::{ColorMode, painted};
use crate::view::plain::{plain, quoted};
use crate::view::waiting::Unsure;
pub use elsewhere::Elsewhere;
pub use words::sentence;
pub(in crate::view) use words::{peer, process, sentence_with_script};

/// So many connections of a group are listed without being asked for.
const LISTED: usize = 5;
/// So many different pieces of evidence are shown of a group.
const EVIDENCE: usize = 3;
/// So many other namespaces are named.
const NAMESPACES: usize = 5;
/// So many holders of a group have a line of their own.
const HOLDERS: usize = 8;

/// All that a look, or several, came to.
pub struct Report<'a> {
    /// What was looked at; everything when that is the filter.
    pub filter: Filter,
    /// Where, as `--netns` has it.
    pub netns: Option<String>,
    /// The moment of the look.
    pub now: Timestamp,
    /// Connections that the filter wants.
    pub connections: usize,
    /// More, of which nobody can tell whether they are of the processes asked for.
    pub undecided: usize,
    /// What was found, worst first.
    pub groups: Vec<Group<'a>>,
    /// The listeners, each with its worth of trouble.
    pub listeners: Vec<Health<'a>>,
    /// All listeners are wanted, not only those in trouble.
    pub all_listeners: bool,
    /// What could not be seen.
    pub unseen: Unseen,
    /// What else could not be seen, in words.
    pub missed: Vec<String>,
    /// Rules that were not asked.
    pub not_looked_for: Vec<Code>,
    /// Other network namespaces that hold sockets of the ports, with how to look there.
    pub elsewhere: Vec<Elsewhere>,
    /// States count from this age on.
    pub older_than: Duration,
    /// What is milder is not shown.
    pub severity: Severity,
    /// Every connection is listed.
    pub verbose: bool,
}

impl<'a> Report<'a> {
    /// The groups that are to be shown.
    fn shown(&self) -> impl Iterator<Item = &Group<'a>> {
        let is_shown = |group: &&Group<'_>| group.severity >= self.severity;
        self.groups.iter().filter(is_shown)
    }

    /// Whether something was found that is at least so bad as asked for.
    pub fn is_alarming(&self) -> bool {
        self.shown().next().is_some()
    }

    /// `412 connections of port 8080`.
    fn looked_at(&self) -> String {
        let of = match self.filter.to_string().as_str() {
            "" => String::new(),
            filter => format!(" of {filter}"),
        };
        format!("{}{of}", counted(self.connections, "connection"))
    }

    /// What could not be seen, a sentence each.
    pub fn unseen_words(&self) -> Vec<String> {
        let mut said = Vec::new();
        let Unseen {
            hidden,
            silent,
            undated,
            ..
        } = self.unseen;
        if self.undecided > 0 {
            let more = counted(self.undecided, "socket");
            said.push(match Unsure::of(&self.filter) {
                Unsure::Holders => format!(
                    "{more} more may be of the processes asked for: who holds them is not visible \
                     without CAP_SYS_PTRACE: run it as root, or as the user of the program"
                ),
                Unsure::Expression => format!(
                    "{more} more may be asked for by --filter: who holds them (root sees it), \
                     their age or their queues are not known well enough"
                ),
            });
        }
        if hidden > 0 {
            said.push(format!(
                "the holders of {} are not visible without CAP_SYS_PTRACE: run it as root, or as \
                 the user of the program",
                counted(hidden, "socket")
            ));
        }
        if silent > 0 {
            said.push(format!(
                "{} did not answer for {} counters in time: whoever holds the lock does not give it \
                 back",
                counted(silent, "socket"),
                if silent == 1 { "its" } else { "their" },
            ));
        }
        if undated > 0 {
            said.push(format!(
                "the age of {} in CLOSE_WAIT or FIN_WAIT2 is not known, and may be above {}: \
                 --older-than 0s counts them, --watch waits until they are",
                counted(undated, "end"),
                duration::brief(self.older_than)
            ));
        }
        said.extend(self.missed.iter().cloned());
        said
    }

    /// The report as text.
    pub fn text(&self, color: ColorMode) -> String {
        let mut text = String::new();
        self.write(&mut text, color);
        text
    }

    fn write(&self, text: &mut String, color: ColorMode) {
        let (mut groups, mut findings) = (0, 0);
        for group in self.shown() {
            self.group(text, group, color);
            text.push('\n');
            groups += 1;
            findings += group.count();
        }
        listeners::write(text, self);
        if groups == 0 {
            line(text, &self.no_trouble());
        } else {
            let found = counted(findings, "finding");
            let of = counted(groups, "group");
            line(
                text,
                &format!("{found} in {of}, {} looked at", self.looked_at()),
            );
        }
        self.what_is_not_shown(text);
    }

    /// That nothing was found, no more than is known.
    fn no_trouble(&self) -> String {
        let looked_at = self.looked_at();
        if self.undecided > 0 {
            let more = counted(self.undecided, "socket");
            return format!("no trouble found in {looked_at}; {more} more may be of those");
        }
        match self.unseen.undated_close_wait {
            0 => format!("no trouble in {looked_at}"),
            undated => {
                format!("no trouble found in {looked_at}; {undated} in CLOSE_WAIT of unknown age")
            }
        }
    }

    fn what_is_not_shown(&self, text: &mut String) {
        let milder: usize = self
            .groups
            .iter()
            .filter(|group| group.severity < self.severity)
            .map(Group::count)
            .sum();
        if milder > 0 {
            let milder = counted(milder, "finding");
            let severity = self.severity.token();
            line(
                text,
                &format!("{milder} below {severity} not shown: --severity info shows all"),
            );
        }
        if self.unseen.younger > 0 {
            line(
                text,
                &format!(
                    "{} in CLOSE_WAIT or FIN_WAIT2 for less than {} (--older-than)",
                    counted(self.unseen.younger, "connection"),
                    duration::brief(self.older_than)
                ),
            );
        }
        for said in self.unseen_words() {
            line(text, &format!("not seen: {said}"));
        }
        let of_what = self.counted_elsewhere();
        for found in self.elsewhere.iter().take(NAMESPACES) {
            let said = found.words(&of_what, &self.options_elsewhere());
            line(text, &format!("elsewhere: {said}"));
        }
        let more = self.elsewhere.len().saturating_sub(NAMESPACES);
        if more > 0 {
            let more = counted(more, "network namespace");
            line(
                text,
                &format!("elsewhere: {more} more: --format json has all"),
            );
        }
        if !self.not_looked_for.is_empty() {
            let codes: Vec<&str> = self
                .not_looked_for
                .iter()
                .map(|code| code.token())
                .collect();
            line(
                text,
                &format!(
                    "not looked for (they need watching: tcpwatch{}): {}",
                    self.options_here(),
                    codes.join(", ")
                ),
            );
        }
    }

    /// What was counted in other namespaces, in words: who holds the sockets there was not looked
    /// up, nor what becomes of them.
    fn counted_elsewhere(&self) -> String {
        let selection = &self.filter.selection;
        let counted = Filter {
            selection: Selection {
                local_ports: selection.local_ports.clone(),
                remote_ports: selection.remote_ports.clone(),
                ..Selection::default()
            },
            expr: None,
            ..self.filter.clone()
        };
        counted.to_string()
    }

    /// How to ask for the same in another namespace.
    pub(in crate::view) fn options_elsewhere(&self) -> String {
        let thresholds = options::of_thresholds(self.older_than, self.severity);
        options::of_filter(&self.filter) + &thresholds
    }

    /// How to look at the same.
    fn options_here(&self) -> String {
        let netns = self.netns.as_deref().map(|netns| {
            let netns = plain(netns);
            format!(" --netns {}", quoted(&netns))
        });
        netns.unwrap_or_default() + &options::of_filter(&self.filter)
    }

    fn group(&self, text: &mut String, group: &Group<'_>, color: ColorMode) {
        let severity = colored(group.severity, color);
        line(text, &format!("{severity}  {}", group.code.token()));
        line(text, &format!("  {}", sentence(group)));
        if let Some(first) = group.findings.first() {
            line(text, &format!("  do: {}", plain(&first.advice)));
        }
        if let Some(seen) = evidence(group) {
            line(text, &format!("  seen: {seen}"));
        }
        for holder in holders(group) {
            line(text, &format!("  {holder}"));
        }
        self.connections(text, group, color);
    }

    fn connections(&self, text: &mut String, group: &Group<'_>, color: ColorMode) {
        let shown = match (self.verbose, group.count()) {
            (false, count) if count > LISTED => LISTED,
            (_, count) => count,
        };
        for finding in group.findings.iter().take(shown) {
            self.connection(text, finding, color);
        }
        let more = group.count() - shown;
        if more > 0 {
            line(text, &format!("    and {more} more: --verbose lists them"));
        }
    }

    fn connection(&self, text: &mut String, finding: &Finding, color: ColorMode) {
        let (Some((ConnId(conn), side)), Some(standing)) =
            (finding.subject.end(), &finding.standing)
        else {
            return;
        };
        let age = standing.age(self.now);
        let age = match duration::is_telling(age) {
            true => format!(" for {}", duration::age(age)),
            false => String::new(),
        };
        let unread = match standing.unread {
            Some(bytes) if bytes > 0 => format!(", {} unread", counted(bytes, "byte")),
            _ => String::new(),
        };
        let fds = standing.owners().holders().first().map(|first| {
            let ranges = words::ranges(&first.fds);
            format!(", fd {ranges}")
        });
        let way = match side {
            crate::timeline::Side::A => "to",
            crate::timeline::Side::B => "from",
        };
        line(
            text,
            &format!(
                "    #{conn} {} {} {way} {}  {}{age}{unread}{}",
                side.letter(),
                standing.local,
                standing.remote,
                painted(standing.state, color),
                fds.unwrap_or_default(),
            ),
        );
    }
}

fn line(text: &mut String, line: &str) {
    // To a string it can't fail.
    let _ = writeln!(text, "{line}");
}

/// The different things that the findings rest on, as far as they fit.
pub(in crate::view) fn evidence(group: &Group<'_>) -> Option<String> {
    let mut different: Vec<&str> = Vec::new();
    let mut left_out = false;
    for said in group.findings.iter().flat_map(|finding| &finding.evidence) {
        if different.contains(&said.as_ref()) {
            continue;
        }
        if different.len() == EVIDENCE {
            left_out = true;
            break;
        }
        different.push(said);
    }
    let more = if left_out { "; and others" } else { "" };
    let said = different.join("; ");
    (!different.is_empty()).then(|| format!("{}{more}", plain(&said)))
}

/// Who holds them, with users and command lines, a line each.
pub(in crate::view) fn holders(group: &Group<'_>) -> Vec<String> {
    let shown = match group.parties.len() {
        count if count > HOLDERS => HOLDERS - 1,
        count => count,
    };
    let named = group.parties[..shown].iter();
    let mut lines: Vec<String> = named.map(|party| words::holder(group, party)).collect();
    if let [first, ..] = &group.parties[shown..] {
        let rest = &group.parties[shown..];
        let more = rest.len();
        let all_alike = rest.iter().all(|party| party.fds == first.fds);
        let fds = match all_alike {
            true => format!(", each {}", words::descriptors(&first.fds)),
            false => String::new(),
        };
        let named = words::processes(rest);
        lines.push(format!("and by {more} more: {named}{fds}"));
    }
    lines
}

fn colored(severity: Severity, color: ColorMode) -> String {
    let word = severity.token();
    match (color, severity) {
        (ColorMode::Off, _) | (_, Severity::Info) => word.to_owned(),
        (ColorMode::On, Severity::Warn) => word.yellow().bold().to_string(),
        (ColorMode::On, Severity::Error) => word.red().bold().to_string(),
    }
}
