//! One picture: what it is made of, and where its panes are.
//!
//! Reads no clock. What it changes of the screen is what follows from the picture itself: which rows
//! there are, which part of them is in sight, and where things are for the mouse.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget};

use crate::diagnosis::{Diagnosis, Finding, Known, Severity};
use crate::model::Timestamp;
use crate::model::filter::Filter;
use crate::timeline::{ConnId, Connection, Side, Tracker};
use crate::view::Asked;
use crate::view::plain::plain;
use crate::view::tui::choice::{Choice, Chosen, Pane, goes_on, worst_of};
use crate::view::tui::keys::Mode;
use crate::view::tui::playback::{Playback, Standing};
use crate::view::tui::prompt::Prompt;
use crate::view::tui::rows::{Of, Pace, Row, Rows};
use crate::view::tui::theme::Theme;
use crate::view::tui::viewport::Viewport;
use crate::view::tui::{
    App, Follow, Glyphs, Heard, Screen, ascii, cursor, cut, details, findings, footer, header,
    help, ladder, lanes, list, mode, pace, waiting, whole, wrap,
};

/// One picture: what it is made of.
pub(super) struct View<'a> {
    /// The connections of the picture.
    pub(super) picture: &'a Tracker,
    /// What is wrong with them.
    pub(super) diagnosis: &'a Diagnosis,
    /// The connections as they are known now.
    pub(super) tracker: &'a Tracker,
    pub(super) heard: &'a Heard,
    pub(super) theme: Theme,
    pub(super) netns: Option<&'a str>,
    /// The moment that is shown.
    pub(super) at: Timestamp,
    pub(super) now: Timestamp,
    pub(super) is_live: bool,
    pub(super) playback: Option<&'a Playback>,
    pub(super) viewport: Viewport,
    pub(super) rows: &'a Rows,
}

impl View<'_> {
    pub(super) const fn is_paused(&self) -> bool {
        match self.playback {
            Some(playback) => !matches!(playback.standing, Standing::Playing),
            None => !self.is_live,
        }
    }

    /// Whether time passes by itself.
    pub(super) const fn pace(&self) -> Pace {
        match (self.playback, self.is_live) {
            (None, true) => Pace::Flowing,
            _ => Pace::Still,
        }
    }

    pub(super) const fn mode(&self) -> Mode {
        mode(self.playback)
    }

    /// A filter, asked of the picture.
    pub(super) const fn asked<'b>(&'b self, filter: &'b Filter) -> Asked<'b> {
        Asked {
            filter,
            tracker: self.picture,
            diagnosis: self.diagnosis,
            at: self.at,
        }
    }

    /// What was found of an end by the moment that is shown, and may be over.
    pub(super) fn findings_of(&self, conn: ConnId, side: Side) -> impl Iterator<Item = &Finding> {
        let all = self.diagnosis.about(conn);
        all.filter(move |finding| finding.subject.is_about(conn, side))
    }

    /// How bad the worst is that holds of a connection, or of one of its ends, or has happened to it.
    pub(super) fn worst_of(&self, conn: ConnId, side: Option<Side>) -> Option<Severity> {
        worst_of(self.diagnosis, conn, side)
    }
}

/// Below this nothing can be read.
const LEAST: (u16, u16) = (40, 10);

/// Draws the picture of `now`, or of the moment of the pause.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, known: &Known, now: Timestamp) {
    let area = frame.area();
    paint(frame.buffer_mut(), area, app, known, now);
    refuse(frame.buffer_mut(), area, app);
    if app.looks().glyphs == Glyphs::Ascii {
        ascii::spell(frame.buffer_mut());
    }
}

/// What is wrong with what is typed stands above it, over whatever is there: it can be long.
fn refuse(buffer: &mut Buffer, area: Rect, app: &App) {
    let error = app.prompt.as_ref().and_then(Prompt::error);
    if let Some(error) = error.filter(|_| area.width >= LEAST.0 && area.height >= LEAST.1) {
        let row = Rect::new(area.x, area.bottom() - 2, area.width, 1);
        let text = cut(&plain(error), usize::from(area.width.saturating_sub(1)));
        Clear.render(row, buffer);
        Line::styled(format!(" {text}"), app.theme.alert()).render(row, buffer);
    }
}

fn paint(buffer: &mut Buffer, area: Rect, app: &mut App, known: &Known, now: Timestamp) {
    app.places.forget();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        draw_too_small(buffer, area);
        return;
    }
    let picture = app.follow.picture(known);
    let at = app.follow.at(now);
    let asked = Asked {
        filter: &app.filter,
        tracker: &picture.tracker,
        diagnosis: &picture.diagnosis,
        at,
    };
    let of = Of {
        asked,
        moved: picture.moved(),
        pace: pace(app.playback.as_ref(), &app.follow),
        is_recorded: app.playback.is_some(),
    };
    app.rows.refresh(of, app.choice.conn());
    if app.screen == Screen::Findings {
        app.found.refresh(of, app.rows.query());
    }
    let chosen = Chosen {
        asked,
        query: app.rows.query(),
    };
    app.viewport.drawn(lanes::axis_width(area.width));
    let view = View {
        picture: &picture.tracker,
        diagnosis: &picture.diagnosis,
        tracker: &known.tracker,
        heard: &app.heard,
        theme: app.theme,
        netns: app.netns.as_deref(),
        at,
        now,
        is_live: matches!(app.follow, Follow::Live),
        playback: app.playback.as_ref(),
        viewport: app.viewport,
        rows: &app.rows,
    };
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(if area.height < 16 { 2 } else { 3 }),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    header::draw(buffer, head, &view, (&app.filter, &app.filter_text));
    match &app.prompt {
        Some(prompt) => prompt
            .line(foot.width, app.theme.strong(), app.theme.alert())
            .render(foot, buffer),
        None => {
            let said = app.said.as_deref();
            app.places.foot = foot;
            let on = footer::On {
                screen: app.screen,
                is_helping: app.is_helping,
                enter: app.found.enter_does(),
            };
            app.places.hints = footer::draw(buffer, foot, &view, &on, said);
        }
    }
    if app.is_helping {
        help::draw(buffer, body, &view, &mut app.help);
        return;
    }
    if app.screen == Screen::Findings {
        findings::draw(buffer, body, &view, chosen, &mut app.found, &mut app.places);
        return;
    }
    let Some(focus) = app.choice.settle(chosen, &app.rows) else {
        if app.rows.query().is_some() {
            draw_no_match(buffer, body, &view);
        } else {
            waiting::draw(buffer, body, &view, (&app.filter, &app.filter_text));
        }
        return;
    };
    if let Some(gone) = forgotten(app, picture) {
        app.choice.put(focus);
        app.said = Some(gone);
    }
    let panes = match app.screen {
        Screen::Whole | Screen::Ladder => Panes::of_one(body),
        Screen::Main | Screen::Findings => Panes::of(body),
    };
    let height = list::capacity(panes.list.height);
    let rows = app
        .choice
        .rows(Pane::List, chosen, &app.rows, focus, height);
    let more = goes_on(chosen, &app.rows, &rows);
    app.places.columns = list::draw(buffer, panes.list, &view, &rows, focus, more);
    let height = lanes::capacity(panes.lanes.height);
    let shown = in_lanes(&mut app.choice, &app.rows, chosen, focus, height);
    let connections: Vec<&Connection> = shown
        .iter()
        .filter_map(|&id| picture.tracker.get(id))
        .collect();
    let first = focus.conn().or_else(|| shown.first().copied());
    lanes::draw(buffer, panes.lanes, &view, &connections, focus.conn());
    app.places.note(panes.list, rows, panes.lanes, shown);
    app.places.details = panes.details;
    let Some(connection) = first.and_then(|id| picture.tracker.get(id)) else {
        return;
    };
    let area = cursor::draw(buffer, panes.details, &view, connection);
    let scroll = &mut app.scroll;
    match (app.screen, focus) {
        (Screen::Whole, _) => whole::draw(buffer, area, &view, connection, scroll),
        (Screen::Ladder, _) => ladder::draw(buffer, area, &view, connection, scroll),
        (_, Row::Group(key)) => list::draw_group(buffer, area, &view, &key),
        (_, Row::Conn(_)) => details::draw(buffer, area, &view, connection),
    }
}

/// That the chosen connection is not known any more; a replay that went back will know it again.
fn forgotten(app: &App, picture: &Known) -> Option<String> {
    let id = app.choice.conn()?;
    let is_forgotten = app.playback.is_none() && picture.tracker.get(id).is_none();
    is_forgotten.then(|| format!("connection {id} is forgotten: too many newer ones have closed"))
}

/// The connections that have lanes: those around the chosen row, or the first of the chosen group.
fn in_lanes(
    choice: &mut Choice,
    rows: &Rows,
    chosen: Chosen<'_>,
    focus: Row,
    height: usize,
) -> Vec<ConnId> {
    match focus {
        Row::Group(key) => {
            let group = rows.group(&key);
            let members = group.map_or(&[][..], |group| &group.members);
            members.iter().take(height).copied().collect()
        }
        Row::Conn(_) => {
            let in_sight = choice.rows(Pane::Lanes, chosen, rows, focus, height);
            in_sight.into_iter().filter_map(Row::conn).collect()
        }
    }
}

/// Nothing matches what was typed: what was, and how to get out.
fn draw_no_match(buffer: &mut Buffer, area: Rect, view: &View<'_>) {
    let unknown = match view.rows.counts().1 {
        0 => String::new(),
        1 => " Of one it can't be told.".to_owned(),
        count => format!(" Of {count} it can't be told."),
    };
    let text = format!("No connection matches.{unknown} Esc shows all of them.");
    let lines = wrap(&text, usize::from(area.width.saturating_sub(2)));
    for (y, line) in (area.y + area.height / 3..area.bottom()).zip(lines) {
        Line::raw(line)
            .centered()
            .render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}

/// Where the panes are.
struct Panes {
    list: Rect,
    lanes: Rect,
    details: Rect,
}

impl Panes {
    /// Details go first when it is narrow; lanes come in pairs below their axis.
    fn of(body: Rect) -> Self {
        let details = if body.height < 14 {
            0
        } else {
            body.height * 2 / 5
        };
        let rest = body.height - details;
        let pairs = (rest / 2).saturating_sub(1) / 2;
        let lanes = 1 + 2 * pairs.max(1);
        Self::so_high(body, lanes, details)
    }

    /// One row of the list, one pair of lanes, and all about it, which goes before the lanes.
    fn of_one(body: Rect) -> Self {
        let lanes = if body.height < 12 { 0 } else { 3 };
        Self::so_high(body, lanes, body.height.saturating_sub(2 + lanes))
    }

    fn so_high(body: Rect, lanes: u16, details: u16) -> Self {
        let [list, lanes, details] = Layout::vertical([
            Constraint::Fill(1),
            Constraint::Length(lanes),
            Constraint::Length(details),
        ])
        .areas(body);
        Self {
            list,
            lanes,
            details,
        }
    }
}

fn draw_too_small(buffer: &mut Buffer, area: Rect) {
    let (width, height) = LEAST;
    let text = format!(
        "too small: {}x{}, needs {width}x{height}",
        area.width, area.height
    );
    let lines = wrap(&text, area.width.into());
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        Line::raw(line).render(Rect::new(area.x, y, area.width, 1), buffer);
    }
}
