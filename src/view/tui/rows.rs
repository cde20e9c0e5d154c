//! The rows of the list when they are not simply all connections by their numbers: sorted, grouped, or
//! those that match what was typed.
//!
//! Rows keep their places while data flows: the order is made when the user asks for it, and what
//! comes later is added at the end. What has stopped to match goes, but for the chosen one. The trap:
//! there can be twenty thousand, so all of them are looked at a few times a second at most, and only
//! when something was seen.

pub(super) mod group;
pub(super) mod sort;
mod worst;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::diagnosis::Severity;
use crate::model::Timestamp;
use crate::timeline::{ConnId, Connection};
use crate::view::Asked;
use crate::view::tui::query::{Query, Truth};
use group::{GroupBy, Key};
use sort::{Column, Sort};
use worst::Worst;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// Whether time passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It does, and there is another picture soon.
    Live,
    /// It is moved, to and fro, and this may be the last picture for long: it has to be true.
    Replay,
}

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
    places: HashMap<ConnId, usize, foldhash::fast::RandomState>,
    groups: Vec<Group>,
    rows: Vec<Row>,
    matched: usize,
    unknown: usize,
}

/// Rows are looked at again after so much time for each connection: 10,000 twice a second.
const PERIOD_EACH: Duration = Duration::from_micros(50);
/// And not more often than that.
const PERIOD: Duration = Duration::from_millis(200);

impl Rows {
    /// Whether the list is simply all connections by their numbers.
    pub(super) fn are_plain(&self) -> bool {
        self.sort == Sort::default() && self.group.is_none() && self.query.is_none()
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
        self.groups.iter().find(|group| group.key == *key)
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
        self.rows.iter().position(|&one| one == row)
    }

    /// Makes the rows again if that is due. `kept` stays among them, whether or not it still matches.
    pub(super) fn refresh(&mut self, of: Of<'_>, kept: Option<ConnId>) {
        if self.are_plain() {
            (self.made, self.is_asked) = (None, false);
            return;
        }
        if self.is_due(of) {
            self.make(of, kept);
        }
    }

    fn is_due(&self, of: Of<'_>) -> bool {
        let Some((at, moved)) = self.made else {
            return true;
        };
        let count = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let period = PERIOD.max(PERIOD_EACH.saturating_mul(count));
        let counts_time = self.query.as_ref().is_some_and(Query::depends_on_time);
        let now = of.asked.at;
        let is_other = moved != of.moved || (counts_time && at != now);
        let is_due = of.pace == Pace::Replay || at.distance(now) >= period;
        self.is_asked || (is_other && is_due)
    }

    fn make(&mut self, of: Of<'_>, kept: Option<ConnId>) {
        let of_focus = kept;
        // Whoever asked for another order wants to see what matches now, and that alone.
        let kept = kept.filter(|id| !self.is_asked && self.places.contains_key(id));
        let mut all = self.matching(of, kept);
        let worst = match self.group.is_some() || self.sort.column == Column::Found {
            true => Worst::of(of.asked.diagnosis),
            false => Worst::default(),
        };
        if self.is_asked || self.made.is_none() || self.sort.column == Column::Number {
            self.sort.order(&mut all, of.asked.at, &worst);
        } else {
            all = self.in_their_places(all, of, &worst);
        }
        self.places.clear();
        let places = all.iter().enumerate();
        self.places
            .extend(places.map(|(place, connection)| (connection.id(), place)));
        self.gather(&all, &worst);
        self.made = Some((of.asked.at, of.moved));
        self.is_asked = false;
        if self.group.is_some() {
            self.lay_out(of_focus);
            return;
        }
        self.rows.clear();
        let in_order = all.iter().map(|connection| Row::Conn(connection.id()));
        self.rows.extend(in_order);
    }

    fn matching<'a>(&mut self, of: Of<'a>, kept: Option<ConnId>) -> Vec<&'a Connection> {
        let (mut matched, mut unknown) = (0, 0);
        let query = self.query.as_ref();
        let wanted = of.asked.tracker.connections();
        let wanted = wanted.filter(|connection| of.asked.wants(connection));
        let all = wanted.filter(|connection| {
            let truth = query.map_or(Truth::Yes, |query| query.truth(connection, of.asked));
            matched += usize::from(truth == Truth::Yes);
            unknown += usize::from(truth == Truth::Unknown);
            truth == Truth::Yes || kept == Some(connection.id())
        });
        let all = all.collect();
        (self.matched, self.unknown) = (matched, unknown);
        all
    }

    /// Those that were there before where they were, and behind them what has come.
    fn in_their_places<'a>(
        &self,
        all: Vec<&'a Connection>,
        of: Of<'a>,
        worst: &Worst<'_>,
    ) -> Vec<&'a Connection> {
        let mut there: Vec<(usize, &Connection)> = Vec::with_capacity(all.len());
        let mut new: Vec<&Connection> = Vec::new();
        for connection in all {
            match self.places.get(&connection.id()) {
                Some(&place) => there.push((place, connection)),
                None => new.push(connection),
            }
        }
        there.sort_unstable_by_key(|&(place, _)| place);
        self.sort.order(&mut new, of.asked.at, worst);
        let there = there.into_iter().map(|(_, connection)| connection);
        there.chain(new).collect()
    }

    /// Into groups, which keep their places too; at first the largest stands first, of findings the
    /// worst.
    fn gather(&mut self, all: &[&Connection], worst: &Worst<'_>) {
        let Some(by) = self.group else {
            self.groups.clear();
            return;
        };
        if self.is_asked {
            self.groups.clear();
        }
        for group in &mut self.groups {
            group.members.clear();
            group.worst = None;
        }
        let keys = self.groups.iter().enumerate();
        let mut places: HashMap<Key, usize, foldhash::fast::RandomState> =
            keys.map(|(place, group)| (group.key, place)).collect();
        for connection in all {
            let key = Key::of(by, connection, worst);
            let place = *places.entry(key).or_insert_with(|| {
                self.groups.push(Group {
                    key,
                    members: Vec::new(),
                    worst: None,
                });
                self.groups.len() - 1
            });
            let group = &mut self.groups[place];
            group.members.push(connection.id());
            let found = worst.about(connection.id());
            group.worst = group.worst.max(found.map(|finding| finding.severity));
        }
        self.groups.retain(|group| !group.members.is_empty());
        if self.is_asked || self.made.is_none() {
            self.groups.sort_by_key(|group| {
                // Who groups by what was found asks for the worst.
                let worst = group.worst.filter(|_| by == GroupBy::Finding);
                (Reverse((worst, group.members.len())), group.key)
            });
        }
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
    }
}
