//! The ladder: the exchange of the chosen connection as a sequence diagram between its two ends.
//!
//! ```text
//!                    1  close() by curl[4711] │                    │
//!                                   FIN_WAIT1 │──────── FIN ──────►│
//!   +38 µs           2                        │                    │ CLOSE_WAIT
//!   ⋮ 12 s              waits for B's FIN     ⋮                    ⋮ has not closed
//! ```
//!
//! The time of a row counts from the row above. The trap: no packet was captured, and a look shows
//! several steps at once; what was not seen is dashed and in parentheses, and where the order of
//! two rows is not known it says so.

mod columns;
mod row;
mod rows;
mod words;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::Timestamp;
use crate::timeline::{Connection, Side};
use crate::view::exchange::{Exchange, Note};
use crate::view::owners;
use crate::view::tui::fit::{cut, shorten, width_of, wrap};
use crate::view::tui::pane::{draw_bar, draw_lines, place};
use crate::view::tui::scroll::Scroll;
use crate::view::tui::{View, not_visible};
use columns::Columns;
use row::Row;
use rows::rows;

/// Draws the pane.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    connection: &Connection,
    scroll: &mut Scroll,
) {
    if area.height == 0 {
        return;
    }
    let columns = Columns::of(area.width);
    let rows = rows(&exchange(connection, view), connection, view, &columns);
    let mut head = ends(connection, view, &columns);
    let mut foot = foot(&rows, area, view);
    // What happened before what that means.
    let room = usize::from(area.height - 1);
    head.truncate(room.saturating_sub(LEAST_ROWS));
    foot.truncate(room.saturating_sub(head.len() + LEAST_ROWS));
    let height = room.saturating_sub(head.len() + foot.len());
    // What goes on is followed, what is over is read from its begin.
    let window = match connection.closed() {
        Some(_) => scroll.window_from_begin(rows.len(), height),
        None => scroll.window(rows.len(), height),
    };
    let place = place(window.start, window.end, rows.len());
    let title = title(connection, &rows, view, area.width);
    draw_bar(buffer, area, view, title, place);
    let shown = rows[window].iter().map(|row| row.line(view, &columns));
    let mut lines: Vec<Line<'_>> = head.into_iter().chain(shown).collect();
    lines.resize(room.saturating_sub(foot.len()), Line::default());
    lines.extend(foot);
    draw_lines(buffer, area, lines);
}

/// So many rows are left for the exchange, however low the pane.
const LEAST_ROWS: usize = 3;

/// What is known of the connection at the moment that is shown.
fn exchange<'a>(connection: &'a Connection, view: &View<'a>) -> Exchange<'a> {
    let notes = view.heard.notes().map(|note| Note {
        at: note.at,
        pid: note.pid,
        text: &note.text,
    });
    let findings = view.diagnosis.about(connection.id());
    Exchange::of(connection, Timestamp::default(), findings)
        .with_notes(notes)
        .known_at(view.at)
        .numbered()
        .waiting(view.at)
}

fn title(connection: &Connection, rows: &[Row], view: &View<'_>, width: u16) -> Line<'static> {
    let first = rows.iter().find_map(|row| row.at);
    let from = first.map_or_else(String::new, |at| {
        format!(", from {}", view.heard.time(at).trim_start())
    });
    let name = format!(" connection {}: who sent what{from}", connection.id());
    Line::from(cut(&name, width.into()))
}

/// Which ends they are, above their lifelines.
fn ends(connection: &Connection, view: &View<'_>, columns: &Columns) -> Vec<Line<'static>> {
    let name = |side: Side| {
        let room = columns.name() + columns.middle / 2 - 3;
        let address = connection.endpoint(side).to_string();
        format!("{} {}", side.letter(), shorten(&address, room))
    };
    let who = |side: Side| match connection.end(side) {
        None => not_visible(connection).to_owned(),
        Some(track) => owners::brief(track.owners()).unwrap_or_default(),
    };
    // Above the times there is room for A, and B begins before its lifeline where it has to.
    let line = |[a, b]: [String; 2], style| {
        let of_a = columns.indent() + columns.name();
        let a = cut(&a, of_a - 1);
        let b = cut(&b, columns.width.saturating_sub(of_a + 2));
        let begin = of_a + columns.middle;
        let begin = begin.min(columns.width.saturating_sub(width_of(&b)));
        let between = " ".repeat(begin.saturating_sub(of_a));
        let before = " ".repeat(of_a.saturating_sub(width_of(&a)));
        Line::from(Span::styled(format!("{before}{a}{between}{b}"), style))
    };
    let mut lines = vec![line(Side::BOTH.map(name), view.theme.strong())];
    let who = Side::BOTH.map(who);
    if who.iter().any(|who| !who.is_empty()) {
        lines.push(line(who, view.theme.quiet()));
    }
    lines
}

/// What the arrows are, and what the signs mean that are there, as far as there is room.
fn foot(rows: &[Row], area: Rect, view: &View<'_>) -> Vec<Line<'static>> {
    /// Of so many lines of the pane one is for it.
    const SHARE: usize = 8;
    let width = usize::from(area.width).saturating_sub(1);
    let most = (usize::from(area.height) / SHARE).max(1);
    let mut text = match area.width {
        ..46 => "No packet captured: states prove them.".to_owned(),
        _ => "No packet was captured: states prove these.".to_owned(),
    };
    for sign in SIGNS.iter().filter(|sign| rows.iter().any(sign.is_on)) {
        let with = |words: &str| format!("{text} {words}");
        let fits = |text: &String| wrap(text, width).len() <= most;
        let both = [sign.long, sign.short].map(with);
        if let Some(longer) = both.into_iter().find(fits) {
            text = longer;
        }
    }
    let mut lines = wrap(&text, width);
    lines.truncate(most);
    let quiet = view.theme.quiet();
    let styled = |line| Line::styled(format!(" {line}"), quiet);
    lines.into_iter().map(styled).collect()
}

/// What has to be explained where it is there, in a sentence and in few words.
struct Sign {
    is_on: fn(&Row) -> bool,
    long: &'static str,
    short: &'static str,
}

const SIGNS: [Sign; 7] = [
    Sign {
        is_on: Row::is_unseen,
        long: "Dashed, in ( ): from a state that no look has shown.",
        short: "( ): not seen.",
    },
    Sign {
        is_on: |row| row.is_order_unknown,
        long: "?: it may have been before the row above.",
        short: "?: order not known.",
    },
    Sign {
        is_on: Row::is_ack_unknown,
        long: "ACK?: with this FIN or alone before it, not known.",
        short: "ACK?: perhaps alone before it.",
    },
    Sign {
        is_on: |row| !row.steps.is_empty(),
        long: "Steps of a graceful shutdown: 1 shutdown(write) at one end, 2 its FIN has come to the \
               other, which reads until 0, 3 and 4 the same the other way, 5 and 6 both close.",
        short: "1-6: steps of a graceful shutdown.",
    },
    Sign {
        is_on: |row| row.steps.starts_with("1+6"),
        long: "1+6: closed at once, so it can't take an answer.",
        short: "1+6: closed at once.",
    },
    Sign {
        is_on: Row::is_implied,
        long: "Implied: what an end that is not visible must have sent.",
        short: "",
    },
    Sign {
        is_on: Row::is_between,
        long: "\u{2264}: between two looks.",
        short: "",
    },
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::diagnosis::Known;
    use crate::model::TcpState;
    use crate::model::event::{ResetReason, What};
    use crate::run::replay::player::World;
    use crate::source::replay::{Input, Options, Replay};
    use crate::timeline::ConnId;
    use crate::view::fixture::{at, told, tracker};
    use crate::view::palette::{Background, ColorMode};
    use crate::view::tui::heard::Heard;
    use crate::view::tui::rows::Rows;
    use crate::view::tui::theme::Theme;
    use crate::view::tui::viewport::Viewport;
    use crate::view::tui::{Glyphs, Looks};

    const RECORDED: [&[u8]; 5] = [
        include_bytes!("../../../fixtures/recordings/v1/close-unprivileged.jsonl"),
        include_bytes!("../../../fixtures/recordings/v1/close.jsonl"),
        include_bytes!("../../../fixtures/recordings/v1/owners.jsonl"),
        include_bytes!("../../../fixtures/recordings/v1/shutdown-mirrors.jsonl"),
        include_bytes!("../../../fixtures/recordings/v1/shutdown.jsonl"),
    ];

    /// The rows of a connection, as they stand at the end.
    fn drawn(known: &Known, connection: &Connection, now: Timestamp) -> Vec<Row> {
        let heard = Heard::new(TimeZone::UTC);
        let view = View {
            picture: &known.tracker,
            diagnosis: &known.diagnosis,
            tracker: &known.tracker,
            heard: &heard,
            theme: Theme::new(Looks {
                colors: ColorMode::On.into(),
                background: Background::Dark,
                glyphs: Glyphs::Unicode,
            }),
            netns: None,
            at: now,
            now,
            is_live: true,
            playback: None,
            viewport: Viewport::default(),
            rows: &Rows::default(),
        };
        let columns = Columns::of(120);
        rows(&exchange(connection, &view), connection, &view, &columns)
    }

    /// Whether the differences add up between the times that they stand under; how many there were.
    fn add_up(known: &Known, connection: &Connection, now: Timestamp) -> usize {
        let rows = drawn(known, connection, now);
        let (mut begin, mut sum, mut count) = (None, Duration::ZERO, 0);
        let mut is_exact = true;
        for row in &rows {
            match (row.at, row.since, begin) {
                (Some(at), Some(since), Some(from)) => {
                    let Some(most) = since.at_most else {
                        (begin, sum, is_exact) = (Some(at), Duration::ZERO, true);
                        continue;
                    };
                    sum += most;
                    count += 1;
                    is_exact &= since.at_least == most;
                    let passed = at.since(from);
                    match is_exact {
                        true => assert_eq!(sum, passed, "{rows:#?}"),
                        false => assert!(sum >= passed, "{rows:#?}"),
                    }
                }
                // Behind a wait the time of day stands, and all counts from there. An arrow alone may
                // have none.
                (Some(at), None, _) if !["", "?"].contains(&row.time.as_str()) => {
                    (begin, sum, is_exact) = (Some(at), Duration::ZERO, true);
                }
                _ => {}
            }
        }
        count
    }

    #[test]
    fn the_times_of_recordings_add_up() {
        let mut count = 0;
        for recording in RECORDED {
            let taped = Input {
                name: "taped".into(),
                bytes: Arc::new(recording.to_vec()),
            };
            let replay = Replay::open(vec![taped], &Options::default()).unwrap();
            let mut world = World::new(replay, TimeZone::UTC);
            while world.take(None).unwrap().is_some() {}
            for connection in world.tracker().connections() {
                count += add_up(world.known(), connection, world.at());
            }
        }
        assert!(count > 20, "{count}");
    }

    /// What an end does, and how many microseconds later the next thing is.
    fn happenings() -> impl Strategy<Value = Vec<(usize, What, u64)>> {
        use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
        let step = |from, to| What::State { from, to };
        let what = select(vec![
            What::ResetSent(ResetReason::AbortOnClose),
            What::ResetReceived,
            What::Retransmit,
            What::Freed,
            step(Established, FinWait1),
            step(Established, CloseWait),
            step(FinWait1, FinWait2),
            step(CloseWait, LastAck),
            step(LastAck, Close),
            step(Established, Close),
        ]);
        let after = prop_oneof![0..3u64, 1..90u64, 1..40_000u64, 1..3_000_000u64];
        proptest::collection::vec((0..2usize, what, after), 1..14)
    }

    proptest! {
        #[test]
        fn the_times_of_any_connection_add_up(happenings in happenings()) {
            let mut known = Known::default();
            known.tracker = tracker();
            let mut states = [TcpState::Established; 2];
            let mut micros = 1000;
            for (end, what, after) in happenings {
                if let What::State { from, to } = what {
                    // The kernel tells of a chain.
                    if states[end] != from {
                        continue;
                    }
                    states[end] = to;
                }
                known.take(&told(&known.tracker, Side::BOTH[end], what, micros));
                micros += after;
            }
            let now = at(micros + 5_000_000);
            let connection = known.tracker.get(ConnId(1)).unwrap();
            add_up(&known, connection, now);
        }
    }
}
