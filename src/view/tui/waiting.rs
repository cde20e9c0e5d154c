//! What stands in the place of the connections while there are none to show: what is awaited,
//! whether anybody looks, and what is there and not wanted.
//!
//! The trap: a filter of processes can be empty because nobody may look who holds what.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::model::filter::{Filter, Selection};
use crate::view::tui::View;
use crate::view::tui::fit::wrap;
use crate::view::tui::playback::Standing;

/// No connection yet.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    (filter, text): (&Filter, &str),
) {
    let of = if text.is_empty() {
        String::new()
    } else {
        format!(" for {text}")
    };
    let waiting = if view.playback.is_some() {
        ""
    } else {
        "Waiting: "
    };
    let mut lines = vec![
        format!("{waiting}no connection{of} yet."),
        next(view, filter),
    ];
    let mut all = view.picture.connections();
    let hidden = all.find_map(|connection| view.asked(filter).hidden_holders(connection));
    lines.extend(hidden.map(|hidden| format!("{hidden}.")));
    let lines = lines
        .iter()
        .flat_map(|text| wrap(text, usize::from(area.width.saturating_sub(2))));
    let top = area.y + area.height / 3;
    for (y, line) in (top..area.bottom()).zip(lines) {
        Line::raw(line)
            .centered()
            .render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

/// What is there instead, or can be expected.
fn next(view: &View<'_>, filter: &Filter) -> String {
    if let Some(Standing::Reading(_)) = view.playback.map(|playback| playback.standing) {
        return "The recording is being read.".to_owned();
    }
    if let Some(others) = others(view, filter) {
        return others;
    }
    let text = if view.playback.is_some() {
        "None had been seen by this moment of the recording."
    } else if !view.heard.is_watching() {
        "No source is looking yet."
    } else if view.picture.listeners().next().is_some() {
        "The listener is there; a connection shows as soon as one is opened."
    } else {
        "No listener is seen either. What comes will show by itself."
    };
    text.to_owned()
}

/// The connections that the filter leaves out, which all are left out for one thing; `None` when
/// there are none.
fn others(view: &View<'_>, filter: &Filter) -> Option<String> {
    let processes = &filter.selection.processes;
    let by_any = Filter {
        selection: filter.selection.held_by_any(),
        ..filter.clone()
    };
    let all = view.picture.connections();
    let seen = all
        .clone()
        .filter(|connection| view.asked(&by_any).wants(connection))
        .count();
    if seen > 0 && !processes.is_any() {
        let held = Filter {
            selection: Selection {
                processes: processes.clone(),
                ..Selection::default()
            },
            ..Filter::default()
        };
        return Some(match seen {
            1 => format!("The one connection seen is not held by {held}."),
            _ => format!("None of the {seen} connections seen is held by {held}."),
        });
    }
    match all.len() {
        0 => None,
        1 => Some("The one connection seen does not match.".to_owned()),
        seen => Some(format!("None of the {seen} connections seen matches.")),
    }
}
