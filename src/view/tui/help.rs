//! The help: keys, signs, and the sources with their reasons in full. Keys come from the table
//! that makes them work, signs from what draws them, so neither can be out of date.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::Severity;
use crate::model::{Descriptor, SourceName, SourceState, TcpState};
use crate::view::source::words;
use crate::view::tui::View;
use crate::view::tui::fit::wrap;
use crate::view::tui::header::loss_text;
use crate::view::tui::keys::{KEYS_WIDTH, SECTIONS, Section};
use crate::view::tui::lane::{EARLIER, GONE, STEP, STEPS, UNACKED, UNREAD, UNSURE, glyph, short};
use crate::view::tui::scroll::Scroll;
use crate::view::tui::sign::{
    ALL_CLOSED, CLOSE_CALL, COPIED, COPY_CLOSED, ENDED, FREED, MANY, NO_ANSWER, RESET_RECEIVED,
    RESET_SENT, RETRANSMIT, SHUTDOWN, of_severity,
};
use crate::view::tui::theme::Theme;

/// Columns of a part; where there is room for three of them there are three beside each other.
const PART: u16 = 40;

/// Draws the page, as far as it is in sight.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>, scroll: &mut Scroll) {
    let (left, right) = keys(view);
    let (signs, sources) = (signs(view.theme), |width| sources(view, width));
    let blocks = match area.width / PART {
        0 | 1 => vec![
            vec![left],
            vec![right],
            vec![signs],
            vec![sources(area.width)],
        ],
        2 => vec![vec![left, right], vec![signs, sources(area.width / 2)]],
        _ => vec![vec![left, right, signs], vec![sources(area.width)]],
    };
    let rows: Vec<Vec<Line<'static>>> = blocks.into_iter().flat_map(beside).collect();
    let window = scroll.window_from_begin(rows.len(), usize::from(area.height));
    let is_all = window.end == rows.len();
    for (y, parts) in (area.y..area.bottom()).zip(&rows[window]) {
        let width = area.width / u16::try_from(parts.len().max(1)).unwrap_or(1);
        for (x, line) in (area.x..area.right())
            .step_by(width.max(1).into())
            .zip(parts)
        {
            let width = width.min(area.right() - x);
            line.render(Rect::new(x, y, width, 1), buffer);
        }
    }
    if !is_all && area.height > 0 {
        let text = " PgDn: more ";
        let width = text.len().try_into().unwrap_or(area.width).min(area.width);
        let corner = Rect::new(area.right() - width, area.bottom() - 1, width, 1);
        Line::styled(text, view.theme.paused()).render(corner, buffer);
    }
}

/// Columns of lines as lines of columns.
fn beside(columns: Vec<Vec<Line<'static>>>) -> Vec<Vec<Line<'static>>> {
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    let line = |row: usize| {
        let columns = columns.iter();
        columns
            .map(|column| column.get(row).cloned().unwrap_or_default())
            .collect()
    };
    (0..height).map(line).collect()
}

/// The keys in two columns: what moves, and what shows.
fn keys(view: &View<'_>) -> (Vec<Line<'static>>, Vec<Line<'static>>) {
    let mut sections = SECTIONS.iter().map(|section| lines_of(section, view));
    let left = sections.by_ref().take(3).flatten().collect();
    (left, sections.flatten().collect())
}

fn lines_of(section: &Section, view: &View<'_>) -> Vec<Line<'static>> {
    let theme = view.theme;
    let named = section.bindings(view.mode());
    let mut lines: Vec<Line<'static>> = named
        .filter(|binding| !binding.shown.is_empty())
        .map(|binding| {
            Line::from(vec![
                Span::styled(format!("  {:<KEYS_WIDTH$} ", binding.shown), theme.strong()),
                Span::raw(binding.help),
            ])
        })
        .collect();
    if !lines.is_empty() {
        lines.insert(
            0,
            Line::styled(format!(" {}", section.title), theme.strong()),
        );
    }
    lines
}

fn signs(theme: Theme) -> Vec<Line<'static>> {
    let (held, gone) = (Some(Descriptor::Held), Some(Descriptor::Gone));
    let mut lines = vec![
        Line::styled(" Lanes", theme.strong()),
        Line::from(fill(theme, TcpState::SynSent, None, "SYN_SENT, SYN_RECV")),
        Line::from(fill(theme, TcpState::Established, None, "ESTABLISHED")),
    ];
    lines.extend([TcpState::FinWait1, TcpState::FinWait2].map(|state| {
        let mut spans = fill(theme, state, held, "fd held  ");
        spans.push(Span::styled(thrice(state, gone), theme.state(state)));
        spans.push(Span::raw(" fd gone: closed"));
        Line::from(spans)
    }));
    let mut closing = fill(theme, TcpState::Closing, None, "CLOSING  ");
    closing.extend(fill(theme, TcpState::LastAck, None, "LAST_ACK"));
    lines.push(Line::from(closing));
    let mut waiting = fill(theme, TcpState::CloseWait, None, "CLOSE_WAIT ");
    waiting.extend(fill(theme, TcpState::TimeWait, None, "TIME_WAIT"));
    lines.push(Line::from(waiting));
    lines.extend([
        Line::raw(format!("{STEP} a step   {STEPS} several in one cell")),
        Line::raw(format!("{EARLIER} began before it was seen   {GONE} gone")),
        Line::raw(format!(
            "{CLOSE_CALL} close()  {SHUTDOWN} shutdown()  {ENDED} exit, kill"
        )),
        Line::raw(format!("{UNSURE} between two looks  (FW1) not seen")),
        bars(),
        Line::raw(format!(
            "{RESET_SENT} reset sent   {RESET_RECEIVED} reset received"
        )),
        Line::raw(format!(
            "{RETRANSMIT} sent again (2-9, {MANY}: so many times)"
        )),
        Line::raw(format!(
            "{FREED} socket freed   {NO_ANSWER} does not answer"
        )),
        Line::raw(format!(
            "{COPIED} copied, {COPY_CLOSED} copy closed, {ALL_CLOSED} last copy"
        )),
        severities(theme),
    ]);
    lines
}

/// What is queued, from a few bytes to many.
fn bars() -> Line<'static> {
    let [few, .., many] = UNREAD;
    let unread: String = [few, UNREAD[UNREAD.len() / 2 - 1], many].iter().collect();
    let unacked: String = UNACKED.iter().collect();
    Line::raw(format!("{unread} unread   {unacked} not acknowledged"))
}

/// The signs of findings.
fn severities(theme: Theme) -> Line<'static> {
    let words = Severity::ALL.into_iter().rev();
    let spans = words.flat_map(|severity| {
        let sign = of_severity(severity).to_string();
        [
            Span::styled(sign, theme.severity(severity)),
            Span::raw(format!(" {}   ", severity.token())),
        ]
    });
    let mut spans: Vec<Span<'static>> = spans.collect();
    spans.push(Span::raw("found"));
    Line::from(spans)
}

/// A state's sign, short name and meaning.
fn fill(
    theme: Theme,
    state: TcpState,
    descriptor: Option<Descriptor>,
    text: &'static str,
) -> Vec<Span<'static>> {
    let sign = thrice(state, descriptor);
    vec![
        Span::styled(format!("{sign}  {:<4}", short(state)), theme.state(state)),
        Span::raw(text),
    ]
}

fn thrice(state: TcpState, descriptor: Option<Descriptor>) -> String {
    glyph(state, descriptor).to_string().repeat(3)
}

/// Sources and losses in full: the header has room for a part of it only. Those that run share
/// their lines, so that on a small screen the reasons of the others are seen too.
fn sources(view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width.saturating_sub(3));
    let (running, off): (Vec<_>, Vec<_>) = view
        .heard
        .sources()
        .iter()
        .partition(|(_, state)| matches!(state, SourceState::Running { .. }));
    let say = |(name, state): (&SourceName, &SourceState)| words(*name, state);
    let running: Vec<String> = running.into_iter().map(say).collect();
    let running = format!("Sources: {}", running.join("; "));
    let lines_of = |text: &str, style| {
        let lines = wrap(text, room).into_iter();
        lines.map(move |line| Line::styled(format!("  {line}"), style))
    };
    let mut lines: Vec<Line<'static>> = lines_of(&running, Style::new()).collect();
    if let Some(text) = loss_text(view) {
        lines.extend(lines_of(&text, view.theme.alert()));
    }
    for text in off.into_iter().map(say) {
        lines.extend(lines_of(&text, Style::new()));
    }
    lines
}
