//! The last line: the keys that most people need, or what was just done.
//!
//! The keys come from the table that makes them work. What is said may name a file, so it is made
//! harmless here.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::view::plain::plain;
use crate::view::tui::keys::{self, Action, Hint, Shown};
use crate::view::tui::playback::Standing;
use crate::view::tui::{Screen, View, cut};

/// Back from one connection, to the list.
const ENTER: Hint = Hint {
    rank: 3,
    key: "Enter",
    does: "back",
};

/// Findings by process, peer and code.
const GROUP: Hint = Hint {
    rank: 2,
    key: "v",
    does: "group",
};

/// The axis stands still: back to where it follows.
const NOW: Hint = Hint {
    rank: 0,
    key: "F",
    does: "now",
};

/// Below what the line stands.
pub(super) struct On {
    pub(super) screen: Screen,
    pub(super) is_helping: bool,
    /// What Enter does with a row of the findings.
    pub(super) enter: &'static str,
}

/// Draws the keys that are of use here; says where each is, and what it asks for.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    on: &On,
    said: Option<&str>,
) -> Vec<(Range<u16>, Action)> {
    if let Some(said) = said {
        let text = cut(&plain(said), usize::from(area.width.saturating_sub(1)));
        Line::styled(format!(" {text}"), view.theme.strong()).render(area, buffer);
        return Vec::new();
    }
    let playback = view.playback.map(|playback| playback.standing);
    let is_playing = matches!(playback, Some(Standing::Playing | Standing::Waiting));
    let works = |action: Action| !on.is_helping || action.works_beside_help();
    let all = keys::bindings(view.mode()).filter(|binding| works(binding.action));
    let hints = all.filter_map(|binding| {
        let hint = binding.hint;
        let named = match (binding.action, on.screen) {
            (Action::Show(Shown::Findings), Screen::Findings) => hint.map(|it| it.saying("list")),
            (Action::Enter, Screen::Findings) => Some(ENTER.saying(on.enter)),
            (Action::Group, Screen::Findings) => Some(GROUP),
            (Action::Enter, Screen::Whole | Screen::Ladder) => Some(ENTER),
            (Action::Pause, _) if is_playing => binding.hint.map(|it| it.saying("pause")),
            (Action::Follow, _) if !view.viewport.follows() => Some(NOW),
            _ => binding.hint,
        };
        Some((named?, binding.action))
    });
    let mut hints: Vec<(Hint, Action)> = hints.collect();
    hints.sort_by_key(|(hint, _)| hint.rank);
    let width_of = |hint: &Hint| hint.key.chars().count() + hint.does.len() + 3;
    let width =
        |hints: &[(Hint, Action)]| -> usize { hints.iter().map(|(it, _)| width_of(it)).sum() };
    // The last one names the help, which has them all.
    while hints.len() > 1 && width(&hints) > usize::from(area.width) {
        hints.remove(hints.len() - 2);
    }
    let mut spans = Vec::new();
    let mut places = Vec::new();
    let mut x = area.x;
    for (hint, action) in hints {
        spans.push(Span::styled(format!(" {}", hint.key), view.theme.strong()));
        spans.push(Span::raw(format!(" {} ", hint.does)));
        let end = x + u16::try_from(width_of(&hint)).unwrap_or(0);
        places.push((x..end, action));
        x = end;
    }
    Line::from(spans).render(area, buffer);
    places
}
