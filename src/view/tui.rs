//! The terminal screen: connections, their two lanes, and the details of the chosen one.
//!
//! ```text
//!  tcpwatch  port 50008                                                     LIVE
//!  sock_diag every 100 ms, 240 µs a look                                  header
//!  listening 0.0.0.0:50008 queue 0/128  1 open, 12 seen, lost 0
//!      # A → B                      A is in             B is in
//! >   12 127.0.0.1:37834→:50008     FIN_WAIT2   12 s    CLOSE_WAIT  12 s    list
//!  time       -15 s             -10 s             -5 s            now   timeline
//! >   12 A ━━━ESTABLISHED━━━━━━|─FIN_WAIT2 fd gone───────────────────
//!        B ━━━ESTABLISHED━━━━━━|▓CLOSE_WAIT▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
//!  connection 12: A 127.0.0.1:37834, B 127.0.0.1:50008                   details
//!  A FIN_WAIT2 for 12 s, descriptor gone
//!  14:02:11.532  A ESTABLISHED -> FIN_WAIT2  within 98 ms  descriptor gone
//!  q quit  ↑↓ choose  space pause  + - zoom  ? help                       footer
//! ```
//!
//! [`App`] is the state of the screen, changed by [`App::update`] (keys) and [`App::note`] (what
//! sources say of themselves); [`draw`] makes the picture of a moment and reads no clock. Panes
//! have places that depend on the size of the screen alone.
//!
//! The traps: while paused nothing later may shine through, and a look refreshes more than it
//! adds (queues, descriptors), so the paused picture is a copy of the tracker. And only what is in
//! sight may cost anything: there can be twenty thousand connections.

mod act;
mod axis;
mod choice;
mod details;
mod findings;
mod fit;
mod header;
mod heard;
mod help;
mod keys;
mod ladder;
mod lane;
mod lanes;
mod list;
pub mod playback;
mod scroll;
mod sign;
pub mod terminal;
mod theme;
mod waiting;
mod whole;

use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::diagnosis::{Diagnosis, Finding, Known, Severity};
use crate::model::filter::Filter;
use crate::model::{Observation, TcpState, Timestamp};
use crate::timeline::{ConnId, Connection, Side, Tracker};
use crate::view::palette::ColorMode;
use crate::view::plain::plain;
use axis::Zoom;
use choice::{Chosen, Focus, Window};
use fit::{cut, pad, shorten, shorten_both, wrap};
pub use heard::Heard;
use keys::{Action, Mode};
use playback::{Playback, Prompt, Standing, Travel};
use scroll::Scroll;
use theme::Theme;

/// What the screen is told by the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was pressed, moved or turned.
    Mouse(MouseEvent),
    /// The terminal has another size.
    Resize,
    /// We were stopped and go on: somebody else had the terminal.
    Continued,
    /// The terminal is gone, or can't be read any more.
    TerminalGone,
}

/// What has to be done about an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Nothing,
    /// The picture is another one.
    Redraw,
    /// Every cell is to be sent again: something else wrote on the terminal.
    Repaint,
    /// The user wants back to the shell for a while.
    Suspend,
    /// The user wants to another moment of the recording.
    Travel(Travel),
    /// This text is to be in the clipboard.
    Copy(String),
    /// The picture is to be written to a file: its name, as it was typed.
    Save(String),
    /// The mouse is to be listened to, or left to the terminal.
    Listen {
        /// Whether it is to be listened to.
        to_mouse: bool,
    },
    /// It is over.
    Quit,
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Screen {
    /// The list, the lanes and the details.
    Main,
    /// The chosen connection has all the room.
    Whole,
    /// The same, as an exchange between two ends.
    Ladder,
    /// The findings have the list's place, and what is said of the chosen one the details'.
    Findings,
}

/// Which moment the picture is of.
#[derive(Debug)]
enum Follow {
    Live,
    Paused {
        at: Timestamp,
        /// Everything as it was known then.
        picture: Box<Known>,
    },
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    filter: Filter,
    filter_text: String,
    /// The namespace that is looked into, as the user named it.
    netns: Option<String>,
    theme: Theme,
    heard: Heard,
    screen: Screen,
    /// The help covers the screen.
    is_helping: bool,
    follow: Follow,
    focus: Focus,
    list: Window,
    lanes: Window,
    found: findings::Choice,
    /// Of the texts about one connection.
    scroll: Scroll,
    zoom: Zoom,
    /// Rows of the list when it was last drawn.
    page: usize,
    /// Where the replay stands; `None` when it is the present that is shown.
    playback: Option<Playback>,
    prompt: Option<Prompt>,
    /// Said in place of the last line, until the next key.
    said: Option<String>,
}

/// One picture: what it is made of.
struct View<'a> {
    /// The connections of the picture.
    picture: &'a Tracker,
    /// What is wrong with them.
    diagnosis: &'a Diagnosis,
    /// The connections as they are known now.
    tracker: &'a Tracker,
    heard: &'a Heard,
    theme: Theme,
    netns: Option<&'a str>,
    /// The moment that is shown.
    at: Timestamp,
    now: Timestamp,
    is_live: bool,
    playback: Option<&'a Playback>,
}

impl View<'_> {
    const fn is_paused(&self) -> bool {
        match self.playback {
            Some(playback) => !matches!(playback.standing, Standing::Playing),
            None => !self.is_live,
        }
    }

    const fn mode(&self) -> Mode {
        mode(self.playback)
    }

    /// What was found of an end by the moment that is shown, and may be over.
    fn findings_of(&self, conn: ConnId, side: Side) -> impl Iterator<Item = &Finding> {
        let all = self.diagnosis.about(conn);
        all.filter(move |finding| finding.subject.is_about(conn, side))
    }

    /// How bad the worst is that holds of a connection, or of one of its ends, or has happened to it.
    fn worst_of(&self, conn: ConnId, side: Option<Side>) -> Option<Severity> {
        let all = self.diagnosis.about(conn);
        all.filter(|finding| finding.over.is_none())
            .filter(|finding| side.is_none_or(|side| finding.subject.is_about(conn, side)))
            .map(|finding| finding.severity)
            .max()
    }
}

impl App {
    /// A screen for what `filter` lets through, with times of day in `zone`.
    pub fn new(filter: Filter, color: ColorMode, zone: TimeZone) -> Self {
        Self {
            filter_text: filter.to_string(),
            filter,
            netns: None,
            theme: Theme::new(color),
            heard: Heard::new(zone),
            screen: Screen::Main,
            is_helping: false,
            follow: Follow::Live,
            focus: Focus::Unset,
            list: Window::default(),
            found: findings::Choice::default(),
            scroll: Scroll::default(),
            lanes: Window::default(),
            zoom: Zoom::default(),
            page: 1,
            playback: None,
            prompt: None,
            said: None,
        }
    }

    /// Chooses whichever connection was seen last, until the user chooses another.
    pub const fn follow_newest(&mut self) {
        self.focus = Focus::Newest;
    }

    /// Names the network namespace that is looked into.
    pub fn show_netns(&mut self, name: String) {
        self.netns = Some(name);
    }

    /// Shows as much time as is `wanted`, until the user zooms.
    pub fn show_span(&mut self, wanted: Duration) {
        self.zoom = Zoom::showing(wanted);
    }

    /// Stops the picture at `now`, as the key does.
    pub fn pause(&mut self, known: &Known, now: Timestamp) {
        if matches!(self.follow, Follow::Live) {
            self.toggle_pause(known, now);
        }
    }

    /// Takes in what an observation says beside connections.
    pub fn note(&mut self, observation: &Observation) {
        self.heard.note(observation);
    }

    /// Takes in what is wrong with the recording beside it: the header says so from then on.
    pub fn hear_of_recording(&mut self, text: String) {
        self.heard.hear_of_recording(text);
    }

    /// Takes in how much is recorded by now, as long as it goes on.
    pub const fn show_recorded(&mut self, bytes: Option<u64>) {
        self.heard.show_recorded(bytes);
    }

    /// Shows a moment of a recording: where the replay stands, and what was heard by then.
    pub fn show_moment(&mut self, playback: Playback, heard: Heard) {
        self.playback = Some(playback);
        self.heard = heard;
    }

    /// Says this in place of the last line, until the next key.
    pub fn say(&mut self, text: String) {
        self.said = Some(text);
    }

    /// What the picture is made of, and its moment: those of the pause, when it is paused.
    pub fn picture<'a>(&'a self, known: &'a Known, now: Timestamp) -> (&'a Known, Timestamp) {
        (self.follow.picture(known), self.follow.at(now))
    }

    /// The connections of a picture that the list shows.
    pub fn shown<'a>(&'a self, picture: &'a Known) -> impl Iterator<Item = &'a Connection> {
        let chosen = Chosen {
            tracker: &picture.tracker,
            filter: &self.filter,
        };
        chosen.from(ConnId(0))
    }

    /// What the list is filtered by, in words.
    pub fn filter_text(&self) -> &str {
        &self.filter_text
    }

    /// Says what is wrong with the time that was typed, which can be typed on.
    pub fn refuse_time(&mut self, typed: String, error: String) {
        self.prompt = Some(Prompt {
            text: typed,
            error: Some(error),
        });
    }
}

const fn mode(playback: Option<&Playback>) -> Mode {
    match playback {
        Some(_) => Mode::Replay,
        None => Mode::Live,
    }
}

impl Follow {
    fn picture<'a>(&'a self, known: &'a Known) -> &'a Known {
        match self {
            Self::Live => known,
            Self::Paused { picture, .. } => picture,
        }
    }

    const fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Live => now,
            Self::Paused { at, .. } => *at,
        }
    }
}

/// Below this nothing can be read.
const LEAST: (u16, u16) = (40, 10);

/// Draws the picture of `now`, or of the moment of the pause. It changes `app` only in what part
/// of the list is in sight.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, known: &Known, now: Timestamp) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        draw_too_small(buffer, area);
        return;
    }
    let picture = app.follow.picture(known);
    let view = View {
        picture: &picture.tracker,
        diagnosis: &picture.diagnosis,
        tracker: &known.tracker,
        heard: &app.heard,
        theme: app.theme,
        netns: app.netns.as_deref(),
        at: app.follow.at(now),
        now,
        is_live: matches!(app.follow, Follow::Live),
        playback: app.playback.as_ref(),
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
            .line(app.theme.strong(), app.theme.alert())
            .render(foot, buffer),
        None => match &app.said {
            Some(said) => {
                Line::styled(format!(" {}", plain(said)), app.theme.strong()).render(foot, buffer)
            }
            None => draw_footer(buffer, foot, &view, app.screen),
        },
    }
    if app.is_helping {
        help::draw(buffer, body, &view);
        return;
    }
    let chosen = Chosen {
        tracker: view.picture,
        filter: &app.filter,
    };
    if app.screen == Screen::Findings {
        app.page = findings::draw(buffer, body, &view, chosen, &mut app.found, app.zoom);
        return;
    }
    let Some(focus) = app.focus.settle(chosen) else {
        waiting::draw(buffer, body, &view, (&app.filter, &app.filter_text));
        return;
    };
    let panes = match app.screen {
        Screen::Whole | Screen::Ladder => Panes::of_one(body),
        Screen::Main | Screen::Findings => Panes::of(body),
    };
    app.page = list::capacity(panes.list.height).max(1);
    let rows = app
        .list
        .rows(chosen, focus, list::capacity(panes.list.height));
    list::draw(buffer, panes.list, &view, chosen, &rows, Some(focus));
    let rows = app
        .lanes
        .rows(chosen, focus, lanes::capacity(panes.lanes.height));
    lanes::draw(buffer, panes.lanes, &view, app.zoom, &rows, Some(focus));
    let Some(connection) = view.picture.get(focus) else {
        return;
    };
    let (area, scroll) = (panes.details, &mut app.scroll);
    match app.screen {
        Screen::Whole => whole::draw(buffer, area, &view, connection, scroll),
        Screen::Ladder => ladder::draw(buffer, area, &view, connection, scroll),
        Screen::Main | Screen::Findings => details::draw(buffer, area, &view, connection),
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

    /// One row of the list, one pair of lanes, and all about it.
    fn of_one(body: Rect) -> Self {
        let lanes = 3.min(body.height.saturating_sub(2));
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

fn draw_footer(buffer: &mut Buffer, area: Rect, view: &View<'_>, screen: Screen) {
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

/// What is printed in place of an end that no source shows: it is on another host, in another
/// network namespace, or was gone when we came.
fn not_visible(connection: &Connection) -> &'static str {
    if connection.is_local() {
        "(not seen)"
    } else {
        "(not visible here)"
    }
}

const fn letter(side: Side) -> char {
    match side {
        Side::A => 'A',
        Side::B => 'B',
    }
}

/// A state's name; a socket that is in no table is "gone".
const fn shown_state(state: TcpState) -> &'static str {
    match state {
        TcpState::Close => "gone",
        other => other.name(),
    }
}
