//! The lines of what was found, and of what is over.
//!
//! The trap: an end can have several findings at once, and who it is, for how long and by whom it is
//! held is worth saying once.

use crate::diagnosis::{Finding, News};
use crate::model::Timestamp;
use crate::view::duration::brief;
use crate::view::finding::{of_whom, sentence};
use crate::view::palette::painted_severity;
use crate::view::text::Lines;

impl Lines {
    /// The lines of all that one observation brought, worst first.
    pub fn news<'a>(&self, news: impl Iterator<Item = &'a News>, at: Timestamp) -> Vec<String> {
        let mut all: Vec<&News> = news.collect();
        all.sort_by_key(|news| rank(news));
        let mut lines = Vec::with_capacity(all.len());
        let mut before: Option<&News> = None;
        for news in all {
            let is_same = before.is_some_and(|before| is_beside(before, news));
            lines.push(self.of_news(news, at, is_same));
            before = Some(news);
        }
        lines
    }

    fn of_news(&self, news: &News, at: Timestamp, is_same: bool) -> String {
        let finding = news.finding();
        let code = finding.code.token();
        let (at, text) = match news {
            News::Found(_) => {
                let at = finding.at.max(at);
                let said = match (is_same, of_whom(finding)) {
                    (true, Some(end)) => format!("{end}: {}", finding.what),
                    _ => sentence(finding, at),
                };
                let severity = painted_severity(finding.severity, self.color);
                let gap = " ".repeat(7 - finding.severity.token().len());
                (at, format!("{severity}{gap}{code}  {said}"))
            }
            News::Over(_) => {
                let over = finding.over.unwrap_or(at);
                (
                    over,
                    format!("over   {code}  {}", over_words(finding, over)),
                )
            }
        };
        let end = finding.subject.end();
        let conn = end.map_or_else(|| "-".to_owned(), |(conn, _)| format!("#{conn}"));
        format!("{} {conn:>4} {text}", self.clock.time_of_day(at))
    }
}

/// What is over first; then the worst, with what else was found of the same beside it.
fn rank(news: &News) -> (bool, std::cmp::Reverse<crate::diagnosis::Severity>) {
    let is_found = matches!(news, News::Found(_));
    (is_found, std::cmp::Reverse(news.finding().severity))
}

/// Whether both were found of one thing.
fn is_beside(before: &News, news: &News) -> bool {
    matches!((before, news), (News::Found(a), News::Found(b)) if a.subject == b.subject)
}

/// `B 127.0.0.1:50008 after 12 s`
fn over_words(finding: &Finding, over: Timestamp) -> String {
    let lasted = brief(over.since(finding.at));
    match of_whom(finding) {
        Some(whom) => format!("{whom} after {lasted}"),
        None => format!("after {lasted}"),
    }
}
