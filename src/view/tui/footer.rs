//! The last line: the keys that most people need, or what was just done.
//!
//! The keys come from the table that makes them work. What is said may name a file, so it is made
//! harmless here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::view::plain::plain;
use crate::view::tui::keys::{self, Action};
use crate::view::tui::{Screen, View};

/// Draws the line.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    screen: Screen,
    said: Option<&str>,
) {
    if let Some(said) = said {
        let line = Line::styled(format!(" {}", plain(said)), view.theme.strong());
        line.render(area, buffer);
        return;
    }
    let hints = keys::bindings(view.mode()).filter_map(|binding| match (binding.action, screen) {
        (Action::Findings, Screen::Findings) => Some(("f", "back")),
        (Action::Enter, Screen::Findings) => Some(("Enter", "go to it")),
        (Action::Enter, Screen::Whole) => Some(("Enter", "back")),
        _ => binding.hint,
    });
    let mut hints: Vec<(&str, &str)> = hints.collect();
    let width = |hints: &[(&str, &str)]| -> usize {
        let widths = hints
            .iter()
            .map(|(key, does)| key.chars().count() + does.len() + 3);
        widths.sum()
    };
    // The last one names the help, which has them all.
    while hints.len() > 1 && width(&hints) > usize::from(area.width) {
        hints.remove(hints.len() - 2);
    }
    let mut spans = Vec::new();
    for (key, does) in hints {
        spans.push(Span::styled(format!(" {key}"), view.theme.strong()));
        spans.push(Span::raw(format!(" {does} ")));
    }
    Line::from(spans).render(area, buffer);
}
