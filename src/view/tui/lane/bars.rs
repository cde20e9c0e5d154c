//! What is queued at an end, as bars on its lane: what its program has not read from below, what its
//! peer has not acknowledged from above.
//!
//! Bars stand on every second column of a span, in turn for the one and the other, so that the
//! state's own glyph is seen between them. The traps: a queue can fill and empty within a column,
//! so a bar is as high as the highest level since the last one of its kind; and the axis moves below the
//! lane, so columns are counted from where the span begins, not from where the sight does.

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Certainty, Level, Span};
use crate::view::tui::lane::{Kind, Lane, Layer, end_of};

/// Bytes that were not read, from a few up: below 64, then eight times as much each.
pub(in crate::view::tui) const UNREAD: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];
/// Bytes that were not acknowledged: up to what a window holds that is not scaled (65,535 bytes, RFC
/// 7323), and more.
pub(in crate::view::tui) const UNACKED: [char; 2] = ['\u{2594}', '\u{2580}'];

/// From one bar to the next of the same kind.
const APART: i64 = 4;
/// Where they stand, counted from the beginning of the span.
const OF_UNREAD: i64 = 2;
const OF_UNACKED: i64 = 0;

const fn unread_glyph(bytes: u32) -> Option<char> {
    match bytes.checked_ilog2() {
        None => None,
        Some(log) => {
            let eighths = (log / 3).saturating_sub(1);
            let highest = UNREAD.len() - 1;
            let height = if eighths as usize > highest {
                highest
            } else {
                eighths as usize
            };
            Some(UNREAD[height])
        }
    }
}

const fn unacked_glyph(bytes: u32) -> Option<char> {
    match bytes {
        0 => None,
        1..=0xffff => Some(UNACKED[0]),
        _ => Some(UNACKED[1]),
    }
}

/// The highest levels in some columns.
struct Peaks {
    first: i64,
    unread: Vec<u32>,
    unacked: Vec<u32>,
}

impl Peaks {
    fn new(first: i64, last: i64) -> Self {
        let width = usize::try_from(last - first + 1).unwrap_or(0);
        Self {
            first,
            unread: vec![0; width],
            unacked: vec![0; width],
        }
    }

    fn take(&mut self, first: i64, last: i64, level: &Level) {
        for column in first.max(self.first)..=last {
            let index = usize::try_from(column - self.first).unwrap_or(usize::MAX);
            let Some((unread, unacked)) =
                self.unread.get_mut(index).zip(self.unacked.get_mut(index))
            else {
                return;
            };
            *unread = level.unread.max(*unread);
            *unacked = level.unacked.max(*unacked);
        }
    }

    /// The highest of `of` from one column to another.
    fn highest(&self, of: &[u32], first: i64, last: i64) -> u32 {
        let index = |column: i64| usize::try_from(column - self.first).unwrap_or(0);
        let end = index(last + 1).min(of.len());
        let columns = of.get(index(first)..end);
        columns.into_iter().flatten().copied().max().unwrap_or(0)
    }
}

impl Lane<'_> {
    /// The bars of the span at `index`. What was seen in the very moment of a step is of the state
    /// behind it, but for the last moment of all.
    pub(super) fn bars<'l>(
        &mut self,
        spans: &[Span],
        index: usize,
        levels: impl Iterator<Item = &'l Level>,
        at: Timestamp,
    ) {
        let span = &spans[index];
        let (begin, end) = (span.from.not_after(), end_of(spans, index, at));
        let next = spans.get(index + 1).map(|next| next.state);
        let has_last_moment = next.is_none_or(|next| next == TcpState::Close);
        let until = |level: &Level| level.to.unwrap_or(at).min(end);
        let is_within = |level: &Level| {
            let is_before_its_end = level.from < end || (has_last_moment && level.from == end);
            is_before_its_end && (level.from >= begin || until(level) > begin)
        };
        let queued = levels.filter(|level| level.unread > 0 || level.unacked > 0);
        let mut queued = queued.filter(|level| is_within(level)).peekable();
        let is_seen = span.certainty != Certainty::Inferred && span.state != TcpState::Close;
        if !is_seen || queued.peek().is_none() {
            return;
        }
        let (first, last) = (self.column(begin), self.column(end));
        let sight = self.columns.in_sight(first.saturating_add(1), last);
        if sight.is_empty() || last.saturating_sub(first) < APART {
            return;
        }
        let (from, to) = (
            first.max(sight.start() - APART),
            last.min(sight.end() + APART),
        );
        let mut peaks = Peaks::new(from, to);
        for level in queued {
            let from = self.column(level.from.max(begin));
            peaks.take(from, self.column(until(level)).min(to), level);
        }
        for column in sight {
            // The last one of a span that is over stands for the rest of it, too; the next would
            // lie below the mark of the next step.
            let is_last = next.is_some() && last - column <= APART;
            let until = if is_last { last } else { column };
            let since = column - APART + 1;
            let glyph = match column.saturating_sub(first).rem_euclid(APART) {
                OF_UNREAD => unread_glyph(peaks.highest(&peaks.unread, since, until)),
                OF_UNACKED => unacked_glyph(peaks.highest(&peaks.unacked, since, until)),
                _ => None,
            };
            if let Some(glyph) = glyph.filter(|_| self.layer(column) == Some(Layer::Fill)) {
                self.put(column, Layer::Fill, glyph, Kind::Fill(span.state));
            }
        }
    }
}
