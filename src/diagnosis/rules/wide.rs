//! The rules that look at more than one end: listeners, destinations, and pairs of connections of
//! one process. They keep what they need to know when to look.

use crate::diagnosis::finding::{Finding, Subject};
use crate::diagnosis::rules::Drafts;
use crate::diagnosis::watch::Diagnosis;
use crate::model::Timestamp;
use crate::timeline::Tracker;

/// What the wide rules keep.
#[derive(Clone, Debug, Default)]
pub(in crate::diagnosis) struct Wide {}

impl Wide {
    /// What is to be looked at now.
    pub(in crate::diagnosis) fn subjects(
        &mut self,
        _at: Timestamp,
        _tracker: &Tracker,
        _known: &Diagnosis,
    ) -> Vec<Subject> {
        Vec::new()
    }

    /// Asks the rules about one of them.
    pub(in crate::diagnosis) fn of(
        &mut self,
        _subject: &Subject,
        _now: (Timestamp, &Tracker),
        _known: &Diagnosis,
        _drafts: &mut Drafts,
    ) {
    }

    /// Something was found.
    pub(in crate::diagnosis) fn note_found(&mut self, _finding: &Finding) {}

    /// It does not hold any more.
    pub(in crate::diagnosis) fn note_over(&mut self, _finding: &Finding) {}
}
