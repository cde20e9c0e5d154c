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
use crate::view::tui::keys::bindings;
use crate::view::tui::lane::{EARLIER, GONE, STEP, STEPS, UNACKED, UNREAD, UNSURE, glyph, short};
use crate::view::tui::sign::{
    ALL_CLOSED, CLOSE_CALL, COPIED, COPY_CLOSED, ENDED, FREED, MANY, NO_ANSWER, RESET_RECEIVED,
    RESET_SENT, RETRANSMIT, SHUTDOWN, of_severity,
};
use crate::view::tui::theme::Theme;

/// Columns of the keys' half.
const KEYS_WIDTH: u16 = 42;

/// Draws the page.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>) {
    let keys = keys(view);
    let signs = signs(view.theme);
    let height = keys.len().max(signs.len());
    let split = KEYS_WIDTH.min(area.width);
    let left = Rect::new(area.x, area.y, split, area.height);
    let right = Rect::new(area.x + split, area.y, area.width - split, area.height);
    column(buffer, left, keys);
    column(buffer, right, signs);
    let used = u16::try_from(height).unwrap_or(u16::MAX).min(area.height);
    let below = Rect::new(area.x, area.y + used, area.width, area.height - used);
    column(buffer, below, sources(view, area.width));
}

fn column(buffer: &mut Buffer, area: Rect, lines: Vec<Line<'static>>) {
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        line.render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

fn keys(view: &View<'_>) -> Vec<Line<'static>> {
    let theme = view.theme;
    let mut lines = vec![Line::styled(" Keys", theme.strong())];
    let named = bindings(view.mode()).filter(|binding| !binding.shown.is_empty());
    lines.extend(named.map(|binding| {
        Line::from(vec![
            Span::styled(format!("  {:<13}", binding.shown), theme.strong()),
            Span::raw(binding.help),
        ])
    }));
    lines
}

fn signs(theme: Theme) -> Vec<Line<'static>> {
    let (held, gone) = (Some(Descriptor::Held), Some(Descriptor::Gone));
    let mut lines = vec![
        Line::styled("Lanes", theme.strong()),
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
