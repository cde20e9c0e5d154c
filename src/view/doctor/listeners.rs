//! How the listeners do: the queue against its room, who should empty it, and what was left in it.

use crate::diagnosis::Health;
use crate::view::doctor::{Report, line};
use crate::view::owners;

/// So many listeners are listed.
const LISTED: usize = 20;

/// The listeners in trouble, or all of them.
pub(super) fn write(text: &mut String, report: &Report<'_>) {
    let wanted: Vec<&Health<'_>> = report
        .listeners
        .iter()
        .filter(|health| report.all_listeners || health.is_in_trouble())
        .collect();
    if wanted.is_empty() {
        return;
    }
    line(text, "listeners");
    let shown = match wanted.len() {
        _ if report.verbose => wanted.len(),
        count => count.min(LISTED),
    };
    for health in &wanted[..shown] {
        let [local, words] = words(health);
        line(text, &format!("  {local}  {words}"));
    }
    let more = wanted.len() - shown;
    if more > 0 {
        line(text, &format!("  and {more} more: --verbose lists them"));
    }
    text.push('\n');
}

/// `0.0.0.0:8080`, and `queue 129 of 128, full; 57 never accepted are in CLOSE_WAIT; held by nginx[12] fd 6`.
pub(in crate::view) fn words(health: &Health<'_>) -> [String; 2] {
    let listener = health.listener;
    let mut said = vec![match listener.backlog {
        Some(backlog) => format!("queue {} of {backlog}", listener.waiting),
        None => format!("queue {}", listener.waiting),
    }];
    if listener.is_full() {
        said[0].push_str(", full");
    }
    let count = health.never_accepted;
    let waiting = match (count.close_wait, count.established) {
        (0, 0) => None,
        (closed, 0) => Some(format!("{closed} in CLOSE_WAIT")),
        (0, open) => Some(format!("{open} in ESTABLISHED")),
        (closed, open) => Some(format!("{closed} in CLOSE_WAIT and {open} in ESTABLISHED")),
    };
    said.extend(waiting.map(|waiting| format!("never accepted: {waiting}")));
    said.extend(owners::words(health.owners));
    [listener.local().to_string(), said.join("; ")]
}
