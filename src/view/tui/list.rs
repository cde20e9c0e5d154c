//! The list: one row a connection, both ends' states and ages, and the verdict once it is closed.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::words::counted;
use crate::diagnosis::{Severity, verdict};
use crate::model::{Descriptor, TcpState};
use crate::timeline::{Certainty, Connection, Side, Track};
use crate::view::plain::plain;
use crate::view::tui::fit::width_of;
use crate::view::tui::lane::short;
use crate::view::tui::rows::group::Key;
use crate::view::tui::rows::sort::{Column, Sort};
use crate::view::tui::rows::{Row, Rows};
use crate::view::tui::sign::of_severity;
use crate::view::tui::{View, cut, not_visible, pad, pane, shorten_both, shown_state};
use crate::view::{duration, owners};

const AGE: usize = 7;
/// The mark, the number, and the sign of the worst that was found.
const NUMBER: usize = 7;
/// Two addresses that can be read, of IPv6 too.
const PAIR: usize = 38;
/// The longest owner that is worth its room: a name of fifteen letters and a number.
const OWNER: usize = 24;

/// The widths of a row, fixed by the width of the screen alone.
struct Columns {
    /// Between the sign and the addresses.
    gap: usize,
    pair: usize,
    /// A state's name, in full where there is room for it.
    state: usize,
    /// Beside each state, where there is room: who holds the socket, what is unread.
    note: usize,
    /// Behind that, where there is room: who holds the socket.
    owner: usize,
    verdict: usize,
}

impl Columns {
    /// What the list is sorted by has to be seen: where there is no room beside, states are short.
    fn of(width: u16, sort: Sort) -> Self {
        let needs_note = matches!(sort.column, Column::Unread | Column::Owner(_));
        let (state, note, verdict) = match width {
            110.. => (11, 11, 12),
            76.. if needs_note => (4, 11, 8),
            76.. => (11, 0, 8),
            50.. => (4, 0, 8),
            _ => (4, 0, 0),
        };
        let ends = 2 * (1 + state + 1 + AGE + note);
        let gap = usize::from(width >= 50);
        let taken = NUMBER + gap + ends + 1 + verdict;
        let left = usize::from(width).saturating_sub(taken);
        let owner = match left.saturating_sub(PAIR) / 2 {
            room @ 8.. => room.min(OWNER),
            _ => 0,
        };
        Self {
            gap,
            pair: left - 2 * owner,
            state,
            note,
            owner,
            verdict,
        }
    }

    /// What stands above the columns, and is sorted by when it is pressed.
    fn places(&self, left: u16) -> Vec<(Range<u16>, Column)> {
        let mut x = left;
        let mut places = Vec::new();
        let mut put = |width: usize, column: Column| {
            let end = x + u16::try_from(width).unwrap_or(0);
            places.push((x..end, column));
            x = end;
        };
        put(NUMBER - 1, Column::Number);
        put(1 + self.gap, Column::Found);
        put(self.pair.div_ceil(2), Column::Address(Side::A));
        put(self.pair / 2, Column::Address(Side::B));
        for side in Side::BOTH {
            put(1 + self.state + 1, Column::State(side));
            put(AGE, Column::Age(side));
            if self.note > 0 {
                put(self.note, Column::Unread);
            }
            if self.owner > 0 {
                put(self.owner, Column::Owner(side));
            }
        }
        put(1 + self.verdict, Column::Verdict);
        places
    }

    /// State, age, note and owner.
    const fn end(&self) -> usize {
        self.state + 1 + AGE + self.note + self.owner
    }
}

/// How many connections fit below the heading.
pub(super) const fn capacity(height: u16) -> usize {
    height.saturating_sub(1) as usize
}

/// Draws the heading and the rows; says what the columns of the heading sort by.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    view: &View<'_>,
    rows: &[Row],
    focus: Row,
    more: (bool, bool),
) -> Vec<(Range<u16>, Column)> {
    let columns = Columns::of(area.width, view.rows.sort());
    let heading = Rect::new(area.x, area.y, area.width, 1);
    buffer.set_style(heading, view.theme.bar());
    heading_line(&columns, view.rows, more_words(more)).render(heading, buffer);
    for (y, row) in (area.y + 1..area.bottom()).zip(rows) {
        let area = Rect::new(area.x, y, area.width, 1);
        let is_focus = focus == *row;
        let line = match row {
            Row::Conn(id) => match view.picture.get(*id) {
                Some(connection) => row_line(connection, view, &columns, is_focus),
                None => continue,
            },
            Row::Group(key) => group_line(key, view, is_focus, area.width),
        };
        line.render(area, buffer);
    }
    columns.places(area.x)
}

/// Which way the list goes on.
pub(super) const fn more_words((above, below): (bool, bool)) -> &'static str {
    match (above, below) {
        (true, true) => "\u{2191}\u{2193} more",
        (true, false) => "\u{2191} more",
        (false, true) => "\u{2193} more",
        (false, false) => "",
    }
}

fn heading_line(columns: &Columns, rows: &Rows, more: &'static str) -> Line<'static> {
    let end = 1 + columns.end();
    let mut pair = "A \u{2192} B".to_owned();
    let sort = rows.sort();
    if sort != Sort::default() {
        let arrow = if sort.falls() { FALLS } else { RISES };
        pair.push_str(&format!("  {arrow}{}", sort.column.name()));
    }
    Line::from(vec![
        Span::raw(format!("{:>6} {:gap$}", "#", "", gap = columns.gap)),
        Span::raw(pad(&cut(&pair, columns.pair), columns.pair)),
        Span::raw(pad(" A is in", end)),
        Span::raw(pad(" B is in", end)),
        Span::raw(format!(" {more}")),
    ])
}

/// The largest is first.
const FALLS: char = '\u{25be}';
/// The smallest is first.
const RISES: char = '\u{25b4}';
/// The connections of the group are shown below.
pub(super) const OPEN: char = '\u{25be}';
/// They are not.
pub(super) const SHUT: char = '\u{25b8}';

/// `>  ! ▶ A FIN_WAIT2, B CLOSE_WAIT: 123 connections`
fn group_line(key: &Key, view: &View<'_>, is_focus: bool, width: u16) -> Line<'static> {
    let Some(group) = view.rows.group(key) else {
        return Line::default();
    };
    let style = match is_focus {
        true => view.theme.strong(),
        false => Style::new(),
    };
    let (mark, turn) = (
        if is_focus { '>' } else { ' ' },
        if view.rows.is_open(key) { OPEN } else { SHUT },
    );
    let count = counted(group.members.len(), "connection");
    let room = usize::from(width).saturating_sub(NUMBER + 5 + count.len());
    Line::from(vec![
        Span::styled(format!("{mark}     "), style),
        severity_sign(group.worst, view),
        Span::styled(
            format!(" {turn} {}: {count}", cut(&key.words(), room)),
            style,
        ),
    ])
}

/// What is said of a group in the place of details.
pub(super) fn draw_group(buffer: &mut Buffer, area: Rect, view: &View<'_>, key: &Key) {
    let Some(group) = view.rows.group(key) else {
        return;
    };
    let count = counted(group.members.len(), "connection");
    let title = format!(" {}: {count}", key.words());
    let does = if view.rows.is_open(key) {
        "hides"
    } else {
        "shows"
    };
    let mut lines = vec![Line::raw(format!(" Enter {does} them."))];
    if let Some(worst) = group.worst {
        lines.push(Line::from(vec![
            Span::raw(" The worst that was found of them: "),
            Span::styled(worst.token(), view.theme.severity(worst)),
        ]));
    }
    pane::draw(buffer, area, view, title.into(), lines);
}

fn row_line(
    connection: &Connection,
    view: &View<'_>,
    columns: &Columns,
    is_focus: bool,
) -> Line<'static> {
    let mark = if is_focus { '>' } else { ' ' };
    let style = if is_focus {
        view.theme.strong()
    } else {
        Style::new()
    };
    let mut spans = vec![
        Span::styled(format!("{mark}{:>5}", connection.id()), style),
        severity_sign(view.worst_of(connection.id(), None), view),
        Span::raw(pad("", columns.gap)),
        Span::styled(pad(&pair(connection, columns.pair), columns.pair), style),
    ];
    for side in Side::BOTH {
        spans.push(Span::raw(" "));
        spans.extend(end(connection, side, view, columns));
    }
    if connection.closed().is_some() {
        let code = match connection.is_multipath() {
            true => "MPTCP",
            false => verdict::code_of(connection).token(),
        };
        spans.push(Span::raw(format!(" {}", pad(code, columns.verdict))));
    }
    Line::from(spans)
}

/// That something was found, how bad the worst is.
fn severity_sign(worst: Option<Severity>, view: &View<'_>) -> Span<'static> {
    match worst {
        Some(severity) => {
            let style = view.theme.severity(severity);
            Span::styled(of_severity(severity).to_string(), style)
        }
        None => Span::raw(" "),
    }
}

/// Both addresses; the second without its host where both ends have the same one.
fn pair(connection: &Connection, width: usize) -> String {
    let (a, b) = (connection.endpoint(Side::A), connection.endpoint(Side::B));
    let a_text = a.to_string();
    let b_text = if a.addr() == b.addr() {
        format!(":{}", b.port())
    } else {
        b.to_string()
    };
    let room = width.saturating_sub(1);
    if room < a_text.chars().count().min(PORTS) + b_text.chars().count().min(PORTS) {
        return format!(":{}\u{2192}:{}", a.port(), b.port());
    }
    let (a, b) = shorten_both(&a_text, &b_text, room);
    format!("{a}\u{2192}{b}")
}

/// With less room than this for an address, its port alone says more.
const PORTS: usize = 9;

/// State, age and note of an end, in columns of fixed width.
fn end(
    connection: &Connection,
    side: Side,
    view: &View<'_>,
    columns: &Columns,
) -> Vec<Span<'static>> {
    let width = columns.end();
    let Some(track) = connection.end(side) else {
        let text = match not_visible(connection) {
            long if long.len() > width => "not visible",
            text => text,
        };
        return vec![Span::styled(pad(text, width), view.theme.quiet())];
    };
    let Some(index) = track.span_at(view.at) else {
        return vec![Span::raw(pad("", width))];
    };
    let span = &track.spans()[index];
    let age = track.age(index, view.at);
    let age = age.map_or_else(String::new, duration::narrow_age);
    let style = view.theme.state(span.state);
    let name = match columns.state {
        11.. => shown_state(span.state),
        _ => short(span.state),
    };
    let name = match span.certainty {
        Certainty::Inferred => format!("({name})"),
        Certainty::Exact | Certainty::Sampled => name.to_owned(),
    };
    let sorted_by = view.rows.sort().column;
    let words = match sorted_by {
        Column::Unread => unread(track).unwrap_or_default(),
        _ => note_of(track, span.state),
    };
    let mut note = pad(&format!(" {words}"), columns.note);
    // Whoever holds it is told by name, where that is known.
    let is_free = matches!(words.as_str(), "" | "fd held") && sorted_by != Column::Unread;
    let names_holder = is_free || matches!(sorted_by, Column::Owner(_));
    if columns.owner == 0 && names_holder && !track.owners().holders().is_empty() {
        note = owner(track, columns.note);
    }
    vec![
        Span::styled(pad(&name, columns.state + 1), style),
        Span::raw(format!("{age:>AGE$}")),
        Span::styled(note, style),
        Span::raw(owner(track, columns.owner)),
    ]
}

/// Who holds the end, or did last, in so many columns: the name, and the number where it fits.
fn owner(track: &Track, width: usize) -> String {
    let holders = track.owners().holders();
    let Some(first) = holders.first().filter(|_| width > 0) else {
        return pad("", width);
    };
    let others = match holders.len() {
        1 => String::new(),
        count => format!("+{}", count - 1),
    };
    let (room, name) = (width - 1, first.program.comm.text());
    let name = plain(&name);
    let full = format!("{}{others}", owners::process(first));
    let text = match width_of(&full) <= room {
        true => full,
        false => format!("{}{others}", cut(&name, room.saturating_sub(others.len()))),
    };
    pad(&format!(" {text}"), width)
}

/// What the state alone does not tell, in ten columns.
fn note_of(track: &Track, state: TcpState) -> String {
    match (state, track.descriptor_in(state), unread(track)) {
        (TcpState::Close, ..) => String::new(),
        (_, Some(Descriptor::NotAccepted), _) => "unaccepted".to_owned(),
        (TcpState::CloseWait, _, Some(unread)) => unread,
        (TcpState::FinWait1 | TcpState::FinWait2, Some(Descriptor::Held), _) => "fd held".into(),
        (TcpState::FinWait1 | TcpState::FinWait2, Some(Descriptor::Gone), _) => "fd gone".into(),
        _ => String::new(),
    }
}

/// `unread 14k`
fn unread(track: &Track) -> Option<String> {
    let bytes = track.unread().filter(|&bytes| bytes > 0)?;
    Some(format!("unread {}", short_count(bytes)))
}

/// A count of bytes in three columns or so.
fn short_count(bytes: u32) -> String {
    match bytes {
        0..1000 => bytes.to_string(),
        1000..1_000_000 => format!("{}k", bytes / 1000),
        _ => format!("{}M", bytes / 1_000_000),
    }
}
