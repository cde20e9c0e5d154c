//! What the cursor reads: the time, and of each end the state that it was in, how long it had been
//! and was to be, how surely that is known, and how far the ends' steps lie apart.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span as Text};
use ratatui::widgets::Widget;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Connection, Side, Span, Track, When};
use crate::view::cause;
use crate::view::duration::{at_least, at_most, brief};
use crate::view::tui::lanes::CURSOR;
use crate::view::tui::{View, cut, letter, not_visible, shown_state};

/// Draws it above the details of `connection`, which have the area that is left.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    connection: &Connection,
) -> Rect {
    let Some(cursor) = view.viewport.cursor(view.at) else {
        return area;
    };
    let lines = lines(view, connection, cursor, area.width);
    let height = u16::try_from(lines.len()).unwrap_or(0).min(area.height);
    for (y, line) in (area.y..area.y + height).zip(lines) {
        let row = Rect::new(area.x, y, area.width, 1);
        line.render(row, buffer);
    }
    Rect::new(area.x, area.y + height, area.width, area.height - height)
}

fn lines(
    view: &View<'_>,
    connection: &Connection,
    cursor: Timestamp,
    width: u16,
) -> Vec<Line<'static>> {
    let time = view.heard.time(cursor);
    let back = brief(view.at.since(cursor));
    let apart = apart(connection, cursor).map_or_else(String::new, |apart| format!("; {apart}"));
    let head = format!(" {CURSOR} {}, {back} back{apart}", time.trim());
    let head = Line::styled(cut(&head, width.into()), view.theme.strong());
    let ends = Side::BOTH
        .into_iter()
        .map(|side| end(view, connection, side, cursor, width));
    std::iter::once(head).chain(ends).collect()
}

/// ` A FIN_WAIT2 for 2.1 ms of 98 ms, exact`
fn end(
    view: &View<'_>,
    connection: &Connection,
    side: Side,
    cursor: Timestamp,
    width: u16,
) -> Line<'static> {
    let name = format!(" {} ", letter(side));
    let Some(track) = connection.end(side) else {
        let text = format!("{name}{}", not_visible(connection));
        return Line::styled(text, view.theme.quiet());
    };
    let Some(index) = track.span_at(cursor) else {
        return Line::styled(format!("{name}not seen yet"), view.theme.quiet());
    };
    let span = &track.spans()[index];
    let words = match left_by_then(track, index, cursor) {
        Some(next) => unsure(track, next),
        None => words(track, index, cursor, view.at),
    };
    let state = shown_state(span.state);
    let room = usize::from(width).saturating_sub(name.len() + state.len());
    Line::from(vec![
        Text::raw(name),
        Text::styled(state, view.theme.state(span.state)),
        Text::raw(cut(&words, room)),
    ])
}

/// The step that may have been made before the cursor: it lies between two looks, of which the first
/// was before. A state that was passed unseen between them shares its bounds.
fn left_by_then(track: &Track, index: usize, cursor: Timestamp) -> Option<usize> {
    let next = track.spans().get(index + 1)?;
    let may_be = next.from.not_before() < Some(next.from.not_after())
        && next.from.not_before().is_some_and(|from| from <= cursor);
    let shares = |span: &&Span| span.from == next.from;
    may_be.then(|| index + track.spans()[index + 1..].iter().take_while(shares).count())
}

/// Where the state of the cursor is not known: what it was before, and what it is behind.
fn unsure(track: &Track, next: usize) -> String {
    let next = &track.spans()[next];
    let within = cause::certainty(next.certainty, next.from);
    format!(
        " or already on the way to {}: {within}",
        shown_state(next.state)
    )
}

/// How long it had been in the state, how long it was to be in all, and how that is known.
fn words(track: &Track, index: usize, cursor: Timestamp, at: Timestamp) -> String {
    let span = &track.spans()[index];
    let sure = cause::certainty(span.certainty, span.from);
    if index == 0 && span.state == TcpState::Close {
        return ", not opened yet".to_owned();
    }
    let been = match span.from {
        When::Before(seen) => at_least(cursor.since(seen)),
        from => brief(cursor.since(from.not_after())),
    };
    let next = track
        .spans()
        .get(index + 1)
        .filter(|next| next.from.not_after() <= at);
    let whole = match next {
        Some(next) => format!(" of {}", between(span, next)),
        None if span.state == TcpState::Close => String::new(),
        None => format!(" of {} so far", brief(at.since(span.from.not_after()))),
    };
    format!(" for {been}{whole}, {sure}")
}

/// How long it was from a step to the next, in as many words as that is known.
fn between(span: &Span, next: &Span) -> String {
    let longest = span
        .from
        .not_before()
        .map(|from| next.from.not_after().since(from));
    let until = next.from.not_before().unwrap_or(next.from.not_after());
    let shortest = until.since(span.from.not_after());
    match longest {
        None => at_least(shortest),
        Some(longest) if longest == shortest => brief(longest),
        Some(longest) if shortest.is_zero() => at_most(longest),
        Some(longest) if brief(longest) == brief(shortest) => brief(longest),
        Some(longest) => format!("{} to {}", brief(shortest), brief(longest)),
    }
}

/// Which of the two states began first, and by how much; `None` where one end is in none.
fn apart(connection: &Connection, cursor: Timestamp) -> Option<String> {
    let [a, b] = Side::BOTH.map(|side| {
        let track = connection.end(side)?;
        let span = &track.spans()[track.span_at(cursor)?];
        let name = format!("{}'s {}", letter(side), shown_state(span.state));
        Some((name, span.from.not_before()?, span.from.not_after()))
    });
    let (a, b) = (a?, b?);
    Some(match () {
        () if a.1 == a.2 && (a.1, a.2) == (b.1, b.2) => "both states began at once".to_owned(),
        () if a.2 <= b.1 => after(&a, &b),
        () if b.2 <= a.1 => after(&b, &a),
        () => format!(
            "which state began first is not known, {} apart at most",
            brief(a.2.max(b.2).since(a.1.min(b.1)))
        ),
    })
}

/// A state, and between which moments it began.
type Begun = (String, Timestamp, Timestamp);

/// `B's CLOSE_WAIT 53 µs after A's FIN_WAIT1`
fn after(first: &Begun, second: &Begun) -> String {
    let (least, most) = (second.1.since(first.2), second.2.since(first.1));
    let by = match () {
        () if least == most || brief(least) == brief(most) => brief(most),
        () if least.is_zero() => at_most(most),
        () => format!("{} to {}", brief(least), brief(most)),
    };
    format!("{} {by} after {}", second.0, first.0)
}
