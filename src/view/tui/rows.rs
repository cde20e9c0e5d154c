//! The rows of the list when they are not simply all connections by their numbers: sorted, grouped, or
//! those that match what was typed.
//!
//! Rows keep their places while data flows: the order is made when the user asks for it, and what
//! comes later is added at the end. What has stopped to match goes, but for the chosen one. The trap:
//! there can be twenty thousand, so they are looked at again only when something was seen, a few times a
//! second at most, and a part of them a picture (`making`).

pub(super) mod group;
mod making;
pub(super) mod sort;
mod worst;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::diagnosis::Severity;
use crate::model::Timestamp;
use crate::model::filter::Selection;
use crate::timeline::ConnId;
use crate::view::Asked;
use crate::view::tui::query::Query;
use group::{GroupBy, Key};
use making::{Making, Met};
use sort::{Column, Sort};

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Row {
    Group(Key),
    Conn(ConnId),
}

impl Row {
    pub(super) const fn conn(self) -> Option<ConnId> {
        match self {
            Self::Conn(id) => Some(id),
            Self::Group(_) => None,
        }
    }
}

/// Connections that have something in common.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) key: Key,
    /// In the order of the list; never empty.
    pub(super) members: Vec<ConnId>,
    /// The worst that was found of them.
    pub(super) worst: Option<Severity>,
}

/// What the rows are made of.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) asked: Asked<'a>,
    /// How much had been taken in by then.
    pub(super) moved: u64,
    pub(super) pace: Pace,
    /// All of it was recorded, whatever is asked for now.
    pub(super) is_recorded: bool,
}

/// Whether time passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It does, and there is another picture soon.
    Flowing,
    /// It stands still, or is moved to and fro, and this may be the last picture for long: it has to be
    /// true.
    Still,
}

type Fast = foldhash::fast::RandomState;

/// The order of the list.
#[derive(Debug, Default)]
pub(super) struct Rows {
    sort: Sort,
    group: Option<GroupBy>,
    query: Option<Query>,
    opened: HashSet<Key>,
    /// When they were made, and how much had been taken in by then.
    made: Option<(Timestamp, u64)>,
    /// The user wants another order than the one that was.
    is_asked: bool,
    /// The user's own filter leaves some out: to find those of a picture would be a walk through all.
    is_choosy: bool,
    /// On their way.
    making: Option<Making>,
    places: HashMap<ConnId, usize, Fast>,
    groups: Vec<Group>,
    group_places: HashMap<Key, usize, Fast>,
    rows: Vec<Row>,
    /// Where each is, when they are grouped.
    row_places: HashMap<Row, usize, Fast>,
    matched: usize,
    unknown: usize,
}

/// So much time lies between one making and the next at least.
pub(super) const PERIOD: Duration = Duration::from_millis(200);
/// So many connections are looked at a picture: it may cost 2 ms, and an expression half a microsecond.
const PART: usize = 1500;

impl Rows {
    /// Whether the list is simply all connections by their numbers.
    pub(super) fn are_plain(&self) -> bool {
        self.are_by_number() && self.query.is_none() && !self.is_choosy
    }

    /// Whether the newest comes last.
    pub(super) fn are_by_number(&self) -> bool {
        self.sort == Sort::default() && self.group.is_none()
    }

    /// Whether it counts what was found of them.
    fn need_findings(&self) -> bool {
        self.group.is_some() || self.sort.column == Column::Found
    }

    pub(super) const fn sort(&self) -> Sort {
        self.sort
    }

    pub(super) const fn grouped_by(&self) -> Option<GroupBy> {
        self.group
    }

    pub(super) const fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    /// How many match what was typed, and of how many that can't be told.
    pub(super) const fn counts(&self) -> (usize, usize) {
        (self.matched, self.unknown)
    }

    pub(super) fn set_sort(&mut self, sort: Sort) {
        self.sort = sort;
        self.is_asked = true;
    }

    pub(super) fn set_group(&mut self, group: Option<GroupBy>) {
        self.group = group;
        self.opened.clear();
        self.is_asked = true;
    }

    pub(super) fn set_query(&mut self, query: Option<Query>) {
        self.query = query;
        self.is_asked = true;
    }

    /// Makes the order again, from what is known by then.
    pub(super) const fn ask_again(&mut self) {
        self.is_asked = true;
    }

    /// Opens a group, or closes it.
    pub(super) fn toggle(&mut self, key: Key) {
        if !self.opened.remove(&key) {
            self.opened.insert(key);
        }
        self.lay_out(None);
    }

    pub(super) fn is_open(&self, key: &Key) -> bool {
        self.opened.contains(key)
    }

    pub(super) fn group(&self, key: &Key) -> Option<&Group> {
        self.group_places.get(key).map(|&place| &self.groups[place])
    }

    pub(super) fn all(&self) -> &[Row] {
        &self.rows
    }

    /// All connections among them, in their order, also of groups that are closed.
    pub(super) fn conns(&self) -> Vec<ConnId> {
        match self.group {
            None => self.rows.iter().filter_map(|row| row.conn()).collect(),
            Some(_) => {
                let members = self.groups.iter().flat_map(|group| &group.members);
                members.copied().collect()
            }
        }
    }

    /// Opens the group of a connection.
    pub(super) fn reveal(&mut self, id: ConnId) {
        let mut groups = self.groups.iter();
        let of = groups.find(|group| group.members.contains(&id));
        if let Some(key) = of.map(|group| group.key)
            && self.opened.insert(key)
        {
            self.lay_out(None);
        }
    }

    pub(super) fn place(&self, row: Row) -> Option<usize> {
        match (self.group, row) {
            (None, Row::Conn(id)) => self.places.get(&id).copied(),
            _ => self.row_places.get(&row).copied(),
        }
    }

    /// Makes the rows again as far as that is due. `kept` stays among them, whether or not it still
    /// matches.
    pub(super) fn refresh(&mut self, of: Of<'_>, kept: Option<ConnId>) {
        self.is_choosy = is_choosy(of);
        if self.are_plain() {
            (self.made, self.is_asked, self.making) = (None, false, None);
            return;
        }
        let has_to_be_true = of.pace == Pace::Still && self.has_moved(of);
        if self.is_asked || self.made.is_none() || has_to_be_true {
            self.making = None;
            self.make(of, kept);
        } else if self.making.is_some() || self.is_due(of) {
            self.go_on(of, kept);
        }
    }

    fn has_moved(&self, of: Of<'_>) -> bool {
        let counts_time = self.query.as_ref().is_some_and(Query::depends_on_time)
            || of.asked.filter.depends_on_time();
        self.made
            .is_none_or(|(at, moved)| moved != of.moved || (counts_time && at != of.asked.at))
    }

    fn is_due(&self, of: Of<'_>) -> bool {
        let made = self.made.map(|(at, _)| at.distance(of.asked.at));
        self.has_moved(of) && made.is_none_or(|since| since >= PERIOD)
    }

    /// All of it at once: somebody waits for it.
    fn make(&mut self, of: Of<'_>, kept: Option<ConnId>) {
        // Whoever asked for another order wants to see what matches now, and that alone.
        let still = kept.filter(|id| !self.is_asked && self.places.contains_key(id));
        let is_new = self.is_asked || self.made.is_none();
        let mut making = Making::begin(of, self.group.filter(|_| !is_new));
        making.go_on(usize::MAX, of, self, still);
        self.take(making, is_new, of, kept);
    }

    /// A part of it.
    fn go_on(&mut self, of: Of<'_>, kept: Option<ConnId>) {
        let mut making = self
            .making
            .take()
            .unwrap_or_else(|| Making::begin(of, self.group));
        let still = kept.filter(|id| self.places.contains_key(id));
        if !making.go_on(PART, of, self, still) {
            self.making = Some(making);
            return;
        }
        self.take(making, false, of, kept);
    }

    /// What was met are the rows from now on.
    fn take(&mut self, making: Making, is_new: bool, of: Of<'_>, kept: Option<ConnId>) {
        (self.matched, self.unknown) = making.counts();
        let begun = making.begun();
        let met = match is_new {
            true => making.in_order(self, of),
            false => making.in_their_places(self, of),
        };
        self.places.clear();
        let places = met.iter().enumerate();
        self.places
            .extend(places.map(|(place, met)| (met.id, place)));
        self.gather(&met);
        self.made = Some(begun);
        self.is_asked = false;
        if self.group.is_some() {
            self.lay_out(kept);
            return;
        }
        self.rows.clear();
        self.rows.extend(met.iter().map(|met| Row::Conn(met.id)));
    }

    /// Into groups, which keep their places too; at first the largest stands first, of findings the
    /// worst.
    fn gather(&mut self, all: &[Met]) {
        if self.group.is_none() || self.is_asked {
            self.groups.clear();
        }
        for group in &mut self.groups {
            group.members.clear();
            group.worst = None;
        }
        self.number_groups();
        for met in all {
            let Some(key) = met.key else { continue };
            let place = *self.group_places.entry(key).or_insert_with(|| {
                self.groups.push(Group {
                    key,
                    members: Vec::new(),
                    worst: None,
                });
                self.groups.len() - 1
            });
            let group = &mut self.groups[place];
            group.members.push(met.id);
            group.worst = group.worst.max(met.worst);
        }
        self.groups.retain(|group| !group.members.is_empty());
        if self.is_asked || self.made.is_none() {
            let by = self.group;
            self.groups.sort_by_key(|group| {
                // Who groups by what was found asks for the worst.
                let worst = group.worst.filter(|_| by == Some(GroupBy::Finding));
                (Reverse((worst, group.members.len())), group.key)
            });
        }
        self.number_groups();
    }

    fn number_groups(&mut self) {
        let places = self.groups.iter().enumerate();
        self.group_places.clear();
        self.group_places
            .extend(places.map(|(place, group)| (group.key, place)));
    }

    fn number_rows(&mut self) {
        let places = self.rows.iter().enumerate();
        self.row_places.clear();
        self.row_places
            .extend(places.map(|(place, &row)| (row, place)));
    }

    /// Headings, and below each that is open its connections; below one that is not, the chosen one.
    fn lay_out(&mut self, kept: Option<ConnId>) {
        self.rows.clear();
        for group in &self.groups {
            self.rows.push(Row::Group(group.key));
            let is_open = self.opened.contains(&group.key);
            let members = group.members.iter().copied();
            let shown = members.filter(|id| is_open || kept == Some(*id));
            self.rows.extend(shown.map(Row::Conn));
        }
        self.number_rows();
    }
}

/// Whether few of the connections that are known may be wanted. Live, the sources have asked for ports
/// already.
fn is_choosy(of: Of<'_>) -> bool {
    let filter = of.asked.filter;
    let asks = filter.expr.is_some() || !filter.hosts.is_empty();
    asks || filter.selection != Selection::default() || (of.is_recorded && !filter.ports.is_any())
}
