//! The rows of the pane: the findings that are wanted, worst first, or the groups that `tcpwatch
//! doctor` makes of them.
//!
//! Groups keep their places while data flows; one that is new comes behind the others until the user
//! asks for the order again. What is over is one group, the last, of which nothing is said to last.
//! The trap: ten thousand can be known, so they are asked which are wanted, and put into groups, a few
//! times a second at most; a sentence is made for a group that is in sight alone.

use std::collections::HashMap;
use std::time::Duration;

use crate::diagnosis::finding::Code;
use crate::diagnosis::group::{self, Key, group};
use crate::diagnosis::{Diagnosis, Finding, Severity};
use crate::model::Timestamp;
use crate::view::doctor::{evidence, holders, sentence_with_script};
use crate::view::plain::plain;
use crate::view::tui::query::Query;
use crate::view::tui::rows::{Of, PERIOD, Pace};
use crate::view::{Asked, OfMany};

/// A row of the pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::view::tui) enum Row {
    /// A group, by the number that it has as long as there is such a group.
    Group(u64),
    /// A finding, by its number.
    Finding(u64),
}

/// Findings in one row.
#[derive(Debug)]
pub(super) struct Group {
    id: u64,
    /// What they have in common; `None` of those that are over.
    key: Option<Key>,
    /// The worst of them.
    pub(super) severity: Severity,
    /// Their numbers; never empty.
    pub(super) members: Vec<u64>,
    /// They have rows below it.
    pub(super) is_open: bool,
    said: Option<Said>,
}

impl Group {
    /// What was found; `None` of those that are over.
    pub(super) fn code(&self) -> Option<Code> {
        self.key.as_ref().map(|key| key.code())
    }
}

/// What doctor says of a group, harmless.
#[derive(Clone, Debug)]
pub(super) struct Said {
    at: Timestamp,
    pub(super) sentence: String,
    pub(super) seen: Option<String>,
    pub(super) holders: Vec<String>,
    pub(super) advice: String,
}

impl Said {
    fn of(group: &group::Group<'_>, at: Timestamp) -> Self {
        let first = group.findings.first();
        Self {
            at,
            sentence: sentence_with_script(group),
            seen: evidence(group),
            holders: holders(group),
            advice: first.map_or_else(String::new, |first| plain(&first.advice).into_owned()),
        }
    }
}

/// What the rows were made of.
#[derive(Debug)]
struct Made {
    at: Timestamp,
    moved: u64,
    typed: Option<String>,
    /// So many findings were there.
    known: usize,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    is_grouped: bool,
    /// The user wants the order made now.
    is_asked: bool,
    made: Option<Made>,
    rows: Vec<Row>,
    groups: Vec<Group>,
    /// Where each of the groups is among them.
    places: HashMap<u64, usize, foldhash::fast::RandomState>,
    /// The number of the next group.
    next: u64,
}

/// Rows are made again after so much time for each finding, of 10,000 twice a second, and not more
/// often than those of the list.
const PERIOD_EACH: Duration = Duration::from_micros(50);

/// Whether what was made of so many is to be made again, where something is otherwise since.
fn is_due(pace: Pace, made: Timestamp, now: Timestamp, count: usize) -> bool {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let period = PERIOD.max(PERIOD_EACH.saturating_mul(count));
    pace == Pace::Still || made.distance(now) >= period
}

impl Order {
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) const fn is_grouped(&self) -> bool {
        self.is_grouped
    }

    pub(super) fn place(&self, row: Row) -> Option<usize> {
        self.rows.iter().position(|&one| one == row)
    }

    pub(super) fn group(&self, id: u64) -> Option<&Group> {
        self.groups.get(*self.places.get(&id)?)
    }

    /// Groups them, or does not any more.
    pub(super) const fn toggle_groups(&mut self) {
        self.is_grouped = !self.is_grouped;
        self.is_asked = true;
    }

    /// Makes the order again, from what is known by then.
    pub(super) const fn ask_again(&mut self) {
        self.is_asked = true;
    }

    /// Opens a group, or shuts it.
    pub(super) fn toggle(&mut self, id: u64) {
        let place = self.places.get(&id).copied();
        if let Some(group) = place.and_then(|place| self.groups.get_mut(place)) {
            group.is_open = !group.is_open;
            self.lay_out(None);
        }
    }

    /// Makes the rows again if that is due. The chosen one stays, below its group's heading.
    pub(super) fn refresh(&mut self, of: Of<'_>, query: Option<&Query>, chosen: Option<Row>) {
        if !self.is_asked && !self.is_to_be_made(of, query) {
            return;
        }
        let wanted = OfMany::new(of.asked);
        let typed = query.map(|query| OfMany::new(query.asked(of.asked)));
        let is_wanted = |finding: &&Finding| {
            let is_typed = |typed: &OfMany<'_>| typed.wants_finding(finding);
            wanted.wants_finding(finding) && typed.as_ref().is_none_or(is_typed)
        };
        let diagnosis = of.asked.diagnosis;
        let all = diagnosis.ranked(..).filter(is_wanted);
        if self.is_grouped {
            let (holding, over): (Vec<&Finding>, Vec<&Finding>) =
                all.partition(|finding| finding.over.is_none());
            self.gather(&holding, &over, of.asked);
            self.lay_out(chosen);
        } else {
            self.groups.clear();
            self.places.clear();
            self.rows.clear();
            self.rows.extend(all.map(|it| Row::Finding(it.number)));
        }
        self.is_asked = false;
        self.made = Some(Made {
            at: of.asked.at,
            moved: of.moved,
            typed: query.map(|query| query.text().to_owned()),
            known: diagnosis.findings().len(),
        });
    }

    fn is_to_be_made(&self, of: Of<'_>, query: Option<&Query>) -> bool {
        let Some(made) = &self.made else {
            return true;
        };
        if made.typed.as_deref() != query.map(Query::text) {
            return true;
        }
        let counts_time =
            of.asked.filter.depends_on_time() || query.is_some_and(Query::depends_on_time);
        let is_other = made.moved != of.moved || (counts_time && made.at != of.asked.at);
        is_other && is_due(of.pace, made.at, of.asked.at, made.known)
    }

    /// Into groups: those that were there before where they were, and behind them what has come.
    fn gather(&mut self, holding: &[&Finding], over: &[&Finding], asked: Asked<'_>) {
        let before = std::mem::take(&mut self.groups).into_iter().enumerate();
        let mut before: HashMap<Option<Key>, (usize, Group)> = before
            .map(|(place, group)| (group.key.clone(), (place, group)))
            .collect();
        let mut put = |key: Option<Key>, severity: Severity, members: Vec<u64>| {
            let (place, known) = before.remove(&key).unzip();
            let id = known.as_ref().map_or(self.next, |known| known.id);
            self.next += u64::from(known.is_none());
            let group = Group {
                id,
                key,
                severity,
                members,
                is_open: known.is_some_and(|known| known.is_open),
                said: None,
            };
            (place.unwrap_or(usize::MAX), group)
        };
        let numbers = |all: &[&Finding]| all.iter().map(|it| it.number).collect();
        let made = group(holding.iter().copied(), asked.tracker, asked.at);
        let mut groups: Vec<(usize, Group)> = made
            .iter()
            .map(|group| put(Some(group.key()), group.severity, numbers(&group.findings)))
            .collect();
        if !self.is_asked {
            groups.sort_by_key(|(place, _)| *place);
        }
        if let Some(worst) = over.iter().map(|finding| finding.severity).max() {
            groups.push(put(None, worst, numbers(over)));
        }
        self.groups = groups.into_iter().map(|(_, group)| group).collect();
        let places = self.groups.iter().enumerate();
        self.places = places.map(|(place, group)| (group.id, place)).collect();
    }

    /// Headings, and below each that is open its findings; below one that is not, the chosen one.
    fn lay_out(&mut self, chosen: Option<Row>) {
        self.rows.clear();
        for group in &self.groups {
            self.rows.push(Row::Group(group.id));
            let members = group.members.iter().map(|&number| Row::Finding(number));
            let shown = members.filter(|row| group.is_open || chosen == Some(*row));
            self.rows.extend(shown);
        }
    }

    /// What is to be said of a group as of a moment; `None` of those that are over.
    pub(super) fn say(&mut self, id: u64, asked: Asked<'_>, pace: Pace) -> Option<&Said> {
        let group = self.groups.get_mut(*self.places.get(&id)?)?;
        group.key.as_ref()?;
        let (at, count) = (asked.at, group.members.len());
        let is_old = |said: &Said| said.at != at && is_due(pace, said.at, at, count);
        if group.said.as_ref().is_none_or(is_old) {
            group.said = said_of(&group.members, asked);
        }
        group.said.as_ref()
    }
}

fn said_of(members: &[u64], asked: Asked<'_>) -> Option<Said> {
    let found = members.iter().filter_map(|&it| asked.diagnosis.get(it));
    let holding = found.filter(|finding| finding.over.is_none());
    // Who holds some of them can have changed since, and then they are a group of their own soon.
    let made = group(holding, asked.tracker, asked.at);
    let most = made.iter().max_by_key(|group| group.count())?;
    Some(Said::of(most, asked.at))
}

/// The finding of a row; the first of a group.
pub(super) fn finding_of<'a>(
    order: &Order,
    row: Row,
    diagnosis: &'a Diagnosis,
) -> Option<&'a Finding> {
    match row {
        Row::Finding(number) => diagnosis.get(number),
        Row::Group(id) => {
            let mut members = order.group(id)?.members.iter();
            members.find_map(|&number| diagnosis.get(number))
        }
    }
}
