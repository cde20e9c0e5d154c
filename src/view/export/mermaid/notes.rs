//! Notes that are no states: who holds an end from then on, and what was found of it.
//!
//! The trap: a note is narrow, so it holds the clause of a finding and not all of its sentence.

use crate::timeline::Side;
use crate::view::export::mermaid::{Story, escaped, id};
use crate::view::owners;
use crate::view::report::Shown;
use crate::view::report::findings::{Told, end_of};

impl Story<'_> {
    /// Who came to hold an end, and who left; who held it first stands in its name.
    pub(super) fn held(&mut self, side: Side, shown: &Shown<'_>) {
        let changes: Vec<_> = owners::changes(self.connection, side).skip(1).collect();
        for (at, words) in changes {
            if shown.from.is_some_and(|from| at < from) {
                continue;
            }
            let (over, time) = (id(self.connection, side), self.time(at));
            let text = format!("Note over {over}: {}, {time}", escaped(&words));
            self.items.push((at, 14, text));
        }
    }

    pub(super) fn found(&mut self, told: &Told, shown: &Shown<'_>) {
        let finding = &told.finding;
        let Some(side) = end_of(finding, shown) else {
            return;
        };
        if shown.from.is_some_and(|from| finding.at < from) {
            return;
        }
        let (over, time) = (id(self.connection, side), self.time(finding.at));
        let (severity, code) = (finding.severity.token(), finding.code.token());
        let words = escaped(&finding.what);
        let text = format!("Note over {over}: {severity} {code}, {time}<br/>{words}");
        self.items.push((finding.at, 20, text));
    }
}
