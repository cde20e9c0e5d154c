//! Sessions of keys as data: what somebody does at three in the morning, and what the screen has to say
//! after each key. They stand in `fixtures/sessions`, one file a session; its README tells the words.

mod crowd;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tcpwatch::diagnosis::Known;
use tcpwatch::model::filter::Filter;
use tcpwatch::model::{Observation, Timestamp};
use tcpwatch::view::palette::ColorMode;
use tcpwatch::view::tui::{App, Input, Reaction, draw};

use crate::replayed::{Replayed, world};

/// What moves the picture.
enum Source {
    /// Observations that come as time passes.
    Live {
        known: Box<Known>,
        coming: VecDeque<Observation>,
        now: Timestamp,
    },
    Replay(Box<Replayed>),
}

/// A screen at which somebody sits.
struct Session {
    name: String,
    source: Source,
    app: App,
    size: (u16, u16),
    /// What was asked for that is not the screen's to do.
    asked: Vec<Reaction>,
    /// What was typed so far, for the one who reads that it failed.
    said: String,
}

impl Session {
    fn begin(name: &str, recording: &str) -> Self {
        let bytes = match recording {
            "crowd" => crowd::recording(),
            file => fs::read(Path::new("fixtures/recordings/v1").join(file)).unwrap(),
        };
        let mut replayed = Replayed::new(&bytes);
        while !replayed.read_on(1000) {}
        Self {
            name: name.to_owned(),
            source: Source::Replay(Box::new(replayed)),
            app: App::new(Filter::default(), ColorMode::On, TimeZone::UTC),
            size: (120, 40),
            asked: Vec::new(),
            said: String::new(),
        }
    }

    /// The same recording as if it came now, so far.
    fn live(&mut self, recording: &[u8], far: Duration) {
        let mut world = world(recording);
        let coming: VecDeque<Observation> =
            std::iter::from_fn(|| world.take(None).unwrap()).collect();
        let now = coming.front().unwrap().at;
        self.source = Source::Live {
            known: Box::default(),
            coming,
            now,
        };
        self.pass(far);
    }

    fn pass(&mut self, time: Duration) {
        match &mut self.source {
            Source::Replay(replayed) => replayed.pass(time),
            Source::Live { known, coming, now } => {
                *now = now.plus(time);
                while coming.front().is_some_and(|next| next.at <= *now) {
                    let observation = coming.pop_front().unwrap();
                    known.take(&observation);
                    known.asks();
                    self.app.note(&observation);
                }
            }
        }
    }

    fn press(&mut self, key: KeyEvent) {
        let (known, now) = match &self.source {
            Source::Live { known, now, .. } => (&**known, *now),
            Source::Replay(replayed) => {
                replayed.show(&mut self.app);
                (replayed.player.world().known(), replayed.player.position())
            }
        };
        match (
            self.app.update(Input::Key(key), known, now),
            &mut self.source,
        ) {
            (Reaction::Travel(travel), Source::Replay(replayed)) => {
                replayed.follow(travel, &mut self.app);
            }
            (Reaction::Nothing | Reaction::Redraw, _) => {}
            (other, _) => self.asked.push(other),
        }
        // There is a picture between two keys, as for a person.
        self.screen(self.size);
    }

    fn screen(&mut self, (width, height): (u16, u16)) -> TestBackend {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (known, now) = match &self.source {
            Source::Live { known, now, .. } => (&**known, *now),
            Source::Replay(replayed) => {
                replayed.show(&mut self.app);
                (replayed.player.world().known(), replayed.player.position())
            }
        };
        let app = &mut self.app;
        terminal.draw(|frame| draw(frame, app, known, now)).unwrap();
        terminal.backend().clone()
    }

    fn do_line(&mut self, line: &str) {
        let _ = writeln!(self.said, "{line}");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "size" => self.size = pair(rest),
            "keys" => keys(rest).into_iter().for_each(|key| self.press(key)),
            "later" => self.pass(time(rest)),
            "shows" | "lacks" => {
                let screen = self.screen(self.size).to_string();
                let is_there = screen.contains(rest);
                assert_eq!(is_there, word == "shows", "{}{screen}", self.said);
            }
            "chosen" => {
                let screen = self.screen(self.size).to_string();
                let mut lines = screen.lines().map(|line| line.trim_matches('"'));
                let marked = lines.find(|line| line.starts_with('>')).unwrap_or_default();
                assert!(marked.contains(rest), "{}{screen}", self.said);
            }
            "asks" => {
                let asked = format!("{:?}", self.asked);
                assert!(asked.contains(rest), "{}asked for {asked}", self.said);
            }
            "snapshot" => {
                for (width, height) in [(80, 24), (120, 40), (200, 60)] {
                    let screen = self.screen((width, height));
                    let name = format!("{}_{rest}_{width}x{height}", self.name);
                    insta::assert_snapshot!(name, screen);
                }
                self.screen(self.size);
            }
            other => panic!("{}: no such word: {other}", self.name),
        }
    }
}

fn pair(text: &str) -> (u16, u16) {
    let (width, height) = text.split_once('x').unwrap();
    (width.parse().unwrap(), height.parse().unwrap())
}

fn time(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}

/// `j`, `Enter`, `^D`; `"port 80"` is typed letter by letter; `3*Down` is pressed three times.
fn keys(text: &str) -> Vec<KeyEvent> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"').filter(|it| it.contains('"')) {
            let (typed, after) = quoted.split_once('"').unwrap();
            all.extend(
                typed
                    .chars()
                    .map(|letter| KeyEvent::from(KeyCode::Char(letter))),
            );
            rest = after.trim_start();
            continue;
        }
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (count, name) = match word.split_once('*') {
            Some((count, name)) if !name.is_empty() => (count.parse().unwrap(), name),
            _ => (1, word),
        };
        all.extend(std::iter::repeat_n(key(name), count));
        rest = after.trim_start();
    }
    all
}

fn key(name: &str) -> KeyEvent {
    let code = match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "Space" => KeyCode::Char(' '),
        "Backspace" => KeyCode::Backspace,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        _ => {
            let mut letters = name.chars();
            return match (letters.next().unwrap(), letters.next(), letters.next()) {
                (letter, None, _) => KeyEvent::from(KeyCode::Char(letter)),
                ('^', Some(letter), None) => KeyEvent::new(
                    KeyCode::Char(letter.to_ascii_lowercase()),
                    KeyModifiers::CONTROL,
                ),
                _ => panic!("no such key: {name}"),
            };
        }
    };
    KeyEvent::from(code)
}

/// Plays `fixtures/sessions/NAME.txt`.
fn play(name: &str) {
    let path = Path::new("fixtures/sessions")
        .join(name)
        .with_extension("txt");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let recording = lines.next().unwrap().strip_prefix("recording ").unwrap();
    let mut session = Session::begin(name, recording);
    let begins = lines.next().unwrap();
    match begins.split_once(" +").unwrap() {
        ("live", far) => {
            let bytes = match recording {
                "crowd" => crowd::recording(),
                file => fs::read(Path::new("fixtures/recordings/v1").join(file)).unwrap(),
            };
            session.live(&bytes, time(far));
        }
        ("replay", far) => session.pass(time(far)),
        (other, _) => panic!("{name}: neither live nor replay: {other}"),
    }
    session.screen(session.size);
    lines.for_each(|line| session.do_line(line));
}

/// A test for every file, by its name.
macro_rules! sessions {
    ($($name:ident)*) => {
        $(#[test] fn $name() { play(stringify!($name)); })*

        /// A session that nobody plays is none.
        #[test]
        fn every_session_is_played() {
            let named = [$(stringify!($name)),*];
            for file in fs::read_dir("fixtures/sessions").unwrap() {
                let path = file.unwrap().path();
                let stem = path.file_stem().unwrap().to_str().unwrap();
                let is_played = stem == "README" || named.contains(&stem);
                assert!(is_played, "{} is not played", path.display());
            }
        }
    };
}

sessions! {
    a_leak_among_many
    a_teardown_of_100_us
    a_filter_mended
    a_search
    a_pause
    a_narrow_terminal
    the_help
    a_finding_and_its_connection
    a_replay_by_steps
}
