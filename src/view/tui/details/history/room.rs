//! Which entries of the history are shown where there is not room for all: the newest, and of a cursor
//! on the time axis those around it. The others are counted.
//!
//! Some entries matter more than newer ones: what began the end of a closed connection, and how an
//! end came into the state that something is found of.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use crate::diagnosis::{Finding, Place};
use crate::timeline::{Connection, Side};
use crate::view::tui::View;
use crate::view::tui::details::history::Entry;
use crate::view::tui::lanes::CURSOR;

/// A text of some lines.
type Block = Vec<Line<'static>>;

/// What fits of the history into `room` lines.
pub(in crate::view::tui::details) fn shown(
    all: &[Entry<'_>],
    connection: &Connection,
    view: &View<'_>,
    width: u16,
    room: usize,
) -> Block {
    if let Some(cursor) = view.viewport.cursor(view.at) {
        let passed = all.partition_point(|entry| entry.at() <= cursor);
        let marked = passed.checked_sub(1);
        let block = |index: usize| {
            let lines = all[index].lines(view, width);
            if Some(index) == marked {
                mark(lines)
            } else {
                lines
            }
        };
        return around(marked.unwrap_or(0), all.len(), room, block);
    }
    let block = |index: usize| all[index].lines(view, width);
    let mut shown = Shown {
        top: Vec::new(),
        rest: (0..all.len()).collect(),
        room,
    };
    let mut secured: Vec<usize> = Vec::new();
    for index in matters(all, connection, view) {
        if !shown.has(index, block) {
            let with = shown.with(index, block);
            if let Some(with) =
                with.filter(|with| secured.iter().all(|&other| with.has(other, block)))
            {
                shown = with;
            } else if secured.is_empty() && connection.closed().is_none() {
                return around(index, all.len(), room, block);
            } else {
                continue;
            }
        }
        secured.push(index);
    }
    shown.lines(block)
}

/// Some entries on top, and below them as many of the newest of the rest as there is room for.
struct Shown {
    top: Vec<usize>,
    rest: Vec<usize>,
    /// Lines for the rest.
    room: usize,
}

impl Shown {
    fn has(&self, index: usize, block: impl Fn(usize) -> Block) -> bool {
        let hidden = fitting(&self.rest, self.room, block).1;
        !self.rest[..hidden].contains(&index)
    }

    /// With one more on top. The count and the newest line have to fit below.
    fn with(&self, index: usize, block: impl Fn(usize) -> Block) -> Option<Self> {
        let room = self.room.checked_sub(block(index).len())?;
        let mut top = self.top.clone();
        top.push(index);
        top.sort_unstable();
        let others = self.rest.iter().copied().filter(|&other| other != index);
        (room >= 2).then(|| Self {
            top,
            rest: others.collect(),
            room,
        })
    }

    fn lines(&self, block: impl Fn(usize) -> Block) -> Block {
        let top: Block = self.top.iter().flat_map(|&index| block(index)).collect();
        let newest = fitting(&self.rest, self.room, block).0;
        top.into_iter().chain(newest).collect()
    }
}

/// Which entries are to stay in sight, the first most of all.
fn matters(all: &[Entry<'_>], connection: &Connection, view: &View<'_>) -> Vec<usize> {
    let mut indices = Vec::new();
    if connection.closed().is_none() {
        let about = view.diagnosis.about(connection.id());
        let mut found: Vec<&Finding> = about
            .filter(|finding| finding.over.is_none() && finding.at <= view.at)
            .collect();
        found.sort_by_key(|finding| Place::of(finding));
        for finding in found {
            let is_of_it = |side: &Side| finding.subject.is_about(connection.id(), *side);
            for side in Side::BOTH.into_iter().filter(is_of_it) {
                let entered = all
                    .iter()
                    .position(|entry| entry.enters_present(side, view));
                indices.extend(entered.filter(|index| !indices.contains(index)));
            }
        }
        if indices.is_empty() {
            return indices;
        }
    }
    let closing = all.iter().position(Entry::starts_closing);
    indices.extend(closing.filter(|index| !indices.contains(index)));
    indices
}

/// The newest of `indices` in `room` lines, and how many are left out; when there are any, the first
/// line counts them.
fn fitting(indices: &[usize], room: usize, block: impl Fn(usize) -> Block) -> (Block, usize) {
    let mut blocks: Vec<Block> = Vec::new();
    let mut taken = 0;
    for &index in indices.iter().rev() {
        let mut block = block(index);
        let is_last = blocks.len() + 1 == indices.len();
        // One line is kept for the count, unless nothing is left to count.
        let free = room.saturating_sub(usize::from(!is_last && room > 1));
        if blocks.is_empty() {
            // The beginning of the newest is better than nothing.
            block.truncate(free);
        }
        taken += block.len();
        if taken > free || block.is_empty() {
            break;
        }
        blocks.push(block);
    }
    let hidden = indices.len() - blocks.len();
    let count = (room > 1).then(|| count(hidden, 0)).flatten();
    let lines = count.into_iter();
    let lines = lines.chain(blocks.into_iter().rev().flatten()).collect();
    (lines, hidden)
}

/// The entry `middle` of `total`, and as many before and behind it as fit into `room` lines, below a
/// line that counts the others.
fn around(middle: usize, total: usize, room: usize, block: impl Fn(usize) -> Block) -> Block {
    let grown = |free: usize| grown(middle, total, free, &block);
    let (lines, first, end) = grown(room);
    if end - first == total || room < 2 {
        return lines;
    }
    let (lines, first, end) = grown(room - 1);
    count(first, total - end).into_iter().chain(lines).collect()
}

/// The lines, the first entry and the end of what fits around `middle`: by turns one before and one
/// behind it.
fn grown(
    middle: usize,
    total: usize,
    room: usize,
    block: &impl Fn(usize) -> Block,
) -> (Block, usize, usize) {
    if total == 0 || room == 0 {
        return (Vec::new(), 0, 0);
    }
    let mut lines = block(middle);
    lines.truncate(room);
    let (mut first, mut end) = (middle, middle + 1);
    let (mut can_rise, mut can_sink) = (true, true);
    while can_rise || can_sink {
        if let Some(before) = first.checked_sub(1).filter(|_| can_rise).map(block)
            && lines.len() + before.len() <= room
        {
            lines.splice(0..0, before);
            first -= 1;
        } else {
            can_rise = false;
        }
        if let Some(behind) = Some(end).filter(|&end| can_sink && end < total).map(block)
            && lines.len() + behind.len() <= room
        {
            lines.extend(behind);
            end += 1;
        } else {
            can_sink = false;
        }
    }
    (lines, first, end)
}

/// ` (6 earlier, 2 later)`
fn count(earlier: usize, later: usize) -> Option<Line<'static>> {
    Some(Line::raw(match (earlier, later) {
        (0, 0) => return None,
        (_, 0) => format!(" ({earlier} earlier)"),
        (0, _) => format!(" ({later} later)"),
        _ => format!(" ({earlier} earlier, {later} later)"),
    }))
}

/// The cursor in front of the first line, and all of it bold.
fn mark(lines: Block) -> Block {
    let bold = |line: Line<'static>| line.patch_style(Modifier::BOLD);
    let mut lines: Block = lines.into_iter().map(bold).collect();
    if let Some(time) = lines.first_mut().and_then(|line| line.spans.first_mut()) {
        let text = time.content.strip_prefix(' ').unwrap_or(&time.content);
        *time = Span::styled(format!("{CURSOR}{text}"), time.style);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of one line each, but for number 3, which has two.
    fn block(index: usize) -> Block {
        let lines = if index == 3 { 2 } else { 1 };
        vec![Line::raw(index.to_string()); lines]
    }

    fn text(block: Block) -> Vec<String> {
        block.into_iter().map(|line| line.to_string()).collect()
    }

    #[test]
    fn what_is_around_an_entry_is_shown_and_the_rest_counted() {
        let around = |middle, room| text(around(middle, 7, room, block));
        assert_eq!(around(2, 1), ["2"]);
        assert_eq!(around(2, 2), [" (2 earlier, 4 later)", "2"]);
        assert_eq!(around(2, 3), [" (1 earlier, 4 later)", "1", "2"]);
        assert_eq!(around(2, 6), [" (3 later)", "0", "1", "2", "3", "3"][..6]);
        assert_eq!(around(6, 3), [" (5 earlier)", "5", "6"]);
        assert_eq!(around(0, 3), [" (5 later)", "0", "1"]);
        assert_eq!(around(4, 8).len(), 8);
        assert_eq!(around(4, 8)[0], "0");
        assert_eq!(around(4, 0), [""; 0]);
        assert_eq!(around(3, 2), [" (3 earlier, 3 later)", "3"]);
    }

    #[test]
    fn the_newest_are_shown_and_the_rest_counted() {
        let all = [0, 1, 2, 3, 4];
        let fitting = |room| text(fitting(&all, room, block).0);
        assert_eq!(fitting(1), ["4"]);
        assert_eq!(fitting(3), [" (4 earlier)", "4"]);
        assert_eq!(fitting(4), [" (3 earlier)", "3", "3", "4"]);
        assert_eq!(fitting(6).len(), 6);
    }

    #[test]
    fn the_mark_takes_the_place_of_a_space() {
        let lines = mark(vec![Line::raw(" 14:02  A"), Line::raw("  more")]);
        assert_eq!(
            text(lines),
            [format!("{CURSOR}14:02  A"), "  more".to_owned()]
        );
    }
}
