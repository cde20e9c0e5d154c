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
mod ascii;
mod axis;
mod choice;
mod copied;
mod cursor;
mod details;
mod draw;
mod findings;
mod fit;
mod footer;
mod header;
mod heard;
mod help;
mod keys;
mod ladder;
mod lane;
mod lanes;
mod list;
mod listed;
mod looks;
mod mouse;
mod pane;
pub mod playback;
mod prompt;
mod query;
mod rows;
mod scroll;
mod sign;
pub mod terminal;
mod theme;
mod viewport;
mod waiting;
mod whole;

use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use crate::diagnosis::Known;
use crate::model::filter::Filter;
use crate::model::{Observation, TcpState, Timestamp};
use crate::timeline::{ConnId, Connection, Side};
use crate::view::palette::{Background, ColorMode};
use choice::Choice;
use draw::View;
pub use draw::draw;
use fit::{cut, pad, shorten, shorten_both, wrap};
pub use heard::Heard;
use keys::Mode;
pub use keys::in_words as keys_in_words;
pub use listed::Listed;
use mouse::Places;
use playback::{Playback, Travel};
use prompt::{Prompt, Wanted};
use query::Query;
use rows::{Pace, Row, Rows};
use scroll::Scroll;
use theme::Theme;
pub use theme::{Glyphs, Looks};
use viewport::Viewport;

/// What the screen is told by the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was pressed, moved or turned.
    Mouse(MouseEvent),
    /// The terminal has another size.
    Resize,
    /// The terminal says what it writes on.
    Background(Background),
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
    has_chosen_background: bool,
    is_mouse_heard: bool,
    heard: Heard,
    screen: Screen,
    /// The help covers the screen.
    is_helping: bool,
    follow: Follow,
    rows: Rows,
    choice: Choice,
    found: findings::Choice,
    viewport: Viewport,
    /// Of the texts about one connection.
    scroll: Scroll,
    help: Scroll,
    /// Where things are, as they were last drawn.
    places: Places,
    /// Where the replay stands; `None` when it is the present that is shown.
    playback: Option<Playback>,
    prompt: Option<Prompt>,
    /// The row that was chosen before something was typed.
    chosen_before: Option<Row>,
    /// What was last looked for.
    search: Option<Query>,
    /// Said in place of the footer until the next key.
    said: Option<String>,
}

impl App {
    /// A screen for what `filter` lets through, with times of day in `zone`.
    pub fn new(filter: Filter, color: ColorMode, zone: TimeZone) -> Self {
        Self {
            filter_text: filter.to_string(),
            filter,
            netns: None,
            theme: Theme::new(Looks {
                colors: color.into(),
                background: Background::Dark,
                glyphs: Glyphs::Unicode,
            }),
            has_chosen_background: false,
            is_mouse_heard: true,
            heard: Heard::new(zone),
            screen: Screen::Main,
            is_helping: false,
            follow: Follow::Live,
            rows: Rows::default(),
            choice: Choice::default(),
            found: findings::Choice::default(),
            viewport: Viewport::default(),
            scroll: Scroll::default(),
            help: Scroll::default(),
            places: Places::default(),
            playback: None,
            prompt: None,
            chosen_before: None,
            search: None,
            said: None,
        }
    }

    /// Chooses whichever connection was seen last, until the user chooses another.
    pub const fn follow_newest(&mut self) {
        self.choice.follow_newest();
    }

    /// The connection that was chosen for itself: who looks at it wants to go on doing so.
    pub const fn looks_at(&self) -> Option<ConnId> {
        self.choice.conn()
    }

    /// Names the network namespace that is looked into.
    pub fn show_netns(&mut self, name: String) {
        self.netns = Some(name);
    }

    /// Shows as much time as is `wanted`, until the user zooms.
    pub fn show_span(&mut self, wanted: Duration) {
        self.viewport.show_span(wanted);
    }

    /// Whether the picture stands still, live.
    pub const fn is_paused(&self) -> bool {
        matches!(self.follow, Follow::Paused { .. })
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

    /// Says what is wrong with the time that was typed, which can be typed on.
    pub fn refuse_time(&mut self, typed: String, error: String) {
        let mut prompt = Prompt::new(Wanted::Time, typed);
        prompt.refuse(None, error);
        self.prompt = Some(prompt);
    }
}

impl Screen {
    /// The one behind it, round about.
    const fn next(self) -> Self {
        match self {
            Self::Main => Self::Whole,
            Self::Whole => Self::Ladder,
            Self::Ladder => Self::Findings,
            Self::Findings => Self::Main,
        }
    }
}

const fn mode(playback: Option<&Playback>) -> Mode {
    match playback {
        Some(_) => Mode::Replay,
        None => Mode::Live,
    }
}

const fn pace(playback: Option<&Playback>, follow: &Follow) -> Pace {
    match (playback, follow) {
        (None, Follow::Live) => Pace::Flowing,
        _ => Pace::Still,
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
