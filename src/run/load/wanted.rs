//! Which connections, and findings, of a recording are wanted: by the filter that the user said or
//! that each was recorded with, and by what only a report asks for.

use crate::cli::Chosen;
use crate::diagnosis::finding::Code;
use crate::diagnosis::{Finding, Known};
use crate::model::Timestamp;
use crate::model::filter::Filter;
use crate::run::replay::recorded_filter;
use crate::source::replay::Replay;
use crate::view::Asked;
use crate::view::report::{Shown, Way, Window};

/// Which connections are wanted.
pub(super) struct Wanted {
    /// One for all that the user said, or what each recording was made with.
    filters: Vec<Filter>,
    conns: Vec<(u64, u64)>,
    ways: Vec<Way>,
    codes: Vec<Code>,
    from: Option<Timestamp>,
}

impl Wanted {
    pub(super) fn new(chosen: &Chosen, replay: &Replay, window: Window) -> Self {
        let recorded = || {
            replay
                .recordings()
                .map(|one| recorded_filter(&one.header.filter))
        };
        let said = chosen.filter.clone().map(|filter| vec![filter]);
        Self {
            filters: said.unwrap_or_else(|| recorded().collect()),
            conns: chosen.conns.clone(),
            ways: chosen.ways.clone(),
            codes: chosen.codes.clone(),
            from: window.from,
        }
    }

    pub(super) fn has(&self, shown: &Shown<'_>, known: &Known) -> bool {
        self.chooses(shown, known) && self.asks_beside(shown)
    }

    /// What only a report asks for.
    fn asks_beside(&self, shown: &Shown<'_>) -> bool {
        let number = shown.connection.id().0;
        let mut ranges = self.conns.iter();
        (self.conns.is_empty() || ranges.any(|(first, last)| (first..=last).contains(&&number)))
            && (self.ways.is_empty() || self.ways.contains(&shown.way()))
            && (self.codes.is_empty() || shown.findings.iter().any(|it| self.has_code(it.code)))
            && (self.from.is_none() || shown.is_within())
    }

    fn has_code(&self, code: Code) -> bool {
        self.codes.is_empty() || self.codes.contains(&code)
    }

    /// Of what is about no connection: when none is chosen by what only connections have.
    pub(super) fn has_finding(&self, finding: &Finding, (known, at): (&Known, Timestamp)) -> bool {
        let filter = self.filter_of(finding.subject.host().unwrap_or(0));
        self.conns.is_empty()
            && self.ways.is_empty()
            && self.has_code(finding.code)
            && (self
                .from
                .is_none_or(|from| finding.over.is_none_or(|over| over >= from)))
            && filter.is_none_or(|filter| Asked::of(filter, known, at).wants_finding(finding))
    }

    fn filter_of(&self, host: u16) -> Option<&Filter> {
        self.filters.get(usize::from(host)).or(self.filters.first())
    }

    /// What hides that a connection may be wanted.
    pub(super) fn hides(&self, shown: &Shown<'_>, known: &Known) -> Option<&'static str> {
        let filter = self.filter_of(shown.connection.scope().host)?;
        Asked::of(filter, known, shown.until).hidden_holders(shown.connection)
    }

    /// Whether nobody can tell if it is wanted, by the expression.
    pub(super) fn is_unsure(&self, shown: &Shown<'_>, known: &Known) -> bool {
        let filter = self.filter_of(shown.connection.scope().host);
        let is_unsure = |filter: &Filter| {
            Asked::of(filter, known, shown.until).expression_is_unsure(shown.connection)
        };
        self.asks_beside(shown) && filter.is_some_and(is_unsure)
    }

    fn chooses(&self, shown: &Shown<'_>, known: &Known) -> bool {
        let connection = shown.connection;
        let filter = self.filter_of(connection.scope().host);
        filter.is_none_or(|filter| Asked::of(filter, known, shown.until).wants(connection))
    }

    /// What the user asked for, in words.
    pub(super) fn spelled(&self, chosen: &Chosen) -> String {
        let mut words: Vec<String> = Vec::new();
        words.extend(chosen.filter.as_ref().map(Filter::to_string));
        if !self.conns.is_empty() {
            let numbers: Vec<String> = self
                .conns
                .iter()
                .map(|(first, last)| match first == last {
                    true => format!("#{first}"),
                    false => format!("#{first}-{last}"),
                })
                .collect();
            words.push(numbers.join(","));
        }
        let ways: Vec<&str> = self.ways.iter().map(|way| way.token()).collect();
        if !ways.is_empty() {
            words.push(format!("verdict {}", ways.join(",")));
        }
        let codes: Vec<&str> = self.codes.iter().map(|code| code.token()).collect();
        if !codes.is_empty() {
            words.push(format!("finding {}", codes.join(",")));
        }
        words.join(", ")
    }
}
