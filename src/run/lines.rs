//! Live output as lines: text for people, JSON for machines. Flushed as soon as nothing more is
//! waiting, so that a reader at the other end of a pipe is never behind.

use std::collections::HashSet;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::{Format, Live};
use crate::diagnosis::{Known, News, Subject};
use crate::lab::judge::Conclusion;
use crate::model::filter::Filter;
use crate::model::{Body, Observation, SourceName, SourceState, Timestamp};
use crate::run::complain;
use crate::run::live::{Flow, Show};
use crate::source::host;
use crate::timeline::{Came, Change, ConnId, Connection, Found, Owners, Side, Tracker};
use crate::view::Asked;
use crate::view::json::{self, Session, SourceInfo};
use crate::view::palette::ColorMode;
use crate::view::text::held::Owed;
use crate::view::text::{self, Lines};
use crate::view::wall::WallClock;

const WRITING: &str = "write to standard output";
/// Bytes that are collected before they are written: some hundred lines.
const ROOM: usize = 1 << 16;
/// How often to look whether anybody still reads our output.
pub(super) const READER_CHECK: Duration = Duration::from_secs(1);

/// How often it is seen what has become old enough to be wanted.
const AGED: Duration = Duration::from_millis(500);

/// What the first line says beside what the sources say, and what is printed how.
pub(super) struct Output<'a> {
    pub(super) format: Format,
    pub(super) color: ColorMode,
    pub(super) filter: &'a Filter,
    pub(super) kernel: String,
    pub(super) host: String,
    /// The network namespace that is, or was, looked at.
    pub(super) netns: Option<u64>,
    /// Whether some connections are hidden by the filter.
    pub(super) hides: bool,
    /// Nothing that is earlier is printed.
    pub(super) from: Option<Timestamp>,
}

/// Live output as lines.
pub(super) struct LineShow {
    format: Format,
    out: BufWriter<StdoutLock<'static>>,
    /// Lines of JSON on their way to `out`.
    json: Vec<u8>,
    lines: Lines,
    filter: Filter,
    /// Whether some connections, or the beginnings of some, are not shown.
    hides: bool,
    from: Option<Timestamp>,
    /// Connections whose opening was shown, kept only where some are hidden.
    shown: HashSet<ConnId>,
    /// The newest observation's time.
    now: Timestamp,
    /// When it was last seen what has become old enough.
    aged: Timestamp,
    /// Whose holders are still to be said, in lines for people.
    owed: Owed,
    /// The opening batch is part of the first line.
    told_until: Timestamp,
    /// It was said that holders are hidden.
    said_hidden: bool,
    /// Why not all holders can be seen: said when somebody is missed.
    unsaid: Option<String>,
}

impl LineShow {
    pub(super) fn open(config: &Live, opening: &[Observation]) -> anyhow::Result<Self> {
        let (kernel, host) = host::identity();
        let output = Output {
            format: config.format,
            color: config.color,
            filter: &config.filter,
            kernel,
            host,
            netns: opening.iter().find_map(netns_of),
            hides: config.filter.chooses(),
            from: None,
        };
        Self::of(output, opening)
    }

    pub(super) fn of(output: Output<'_>, opening: &[Observation]) -> anyhow::Result<Self> {
        let mut clock = WallClock::new(TimeZone::system());
        for observation in opening {
            clock.note(observation);
        }
        let mut show = Self {
            format: output.format,
            out: BufWriter::with_capacity(ROOM, io::stdout().lock()),
            json: Vec::with_capacity(1024),
            lines: Lines {
                clock,
                color: output.color,
            },
            filter: output.filter.clone(),
            hides: output.hides || output.from.is_some(),
            from: output.from,
            shown: HashSet::new(),
            now: Timestamp::default(),
            aged: Timestamp::default(),
            owed: Owed::default(),
            told_until: opening.iter().map(|told| told.at).max().unwrap_or_default(),
            said_hidden: false,
            unsaid: None,
        };
        if show.format == Format::Json {
            let session = show.session(output, opening);
            json::write_session(&mut show.json, &session)?;
            show.send_json()?;
            show.flush()?;
        }
        Ok(show)
    }

    fn session(&self, output: Output<'_>, opening: &[Observation]) -> Session {
        let mut sources: Vec<SourceInfo> = Vec::new();
        for observation in opening {
            if let Body::Source(state) = &observation.body {
                let info = SourceInfo::new(observation.source, state);
                // The running one first.
                let place = if info.is_active() { 0 } else { sources.len() };
                sources.insert(place, info);
            }
        }
        Session {
            kernel: output.kernel,
            host: output.host,
            netns: output.netns,
            clock: self.lines.clock.anchor(),
            sources,
            filter: output.filter.clone(),
        }
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{line}").context(WRITING)
    }

    fn send_json(&mut self) -> anyhow::Result<()> {
        let sent = self.out.write_all(&self.json).context(WRITING);
        self.json.clear();
        sent
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().context(WRITING)
    }

    fn observation(&mut self, observation: &Observation) -> anyhow::Result<()> {
        if self.format == Format::Json {
            let in_first_line = observation.at <= self.told_until
                && matches!(observation.body, Body::Source(_) | Body::Clock { .. });
            if !in_first_line {
                json::write_observation(&mut self.json, observation)?;
            }
            return self.send_json();
        }
        if let Some(message) = text::source_message(observation) {
            match is_of_holders(observation) {
                true => self.unsaid = Some(message),
                false => {
                    if observation.source == SourceName::Holders {
                        self.unsaid = None;
                    }
                    complain(&message);
                }
            }
        }
        if let Some(line) = self.lines.observation(observation) {
            self.line(&line)?;
        }
        Ok(())
    }

    /// Shows a change, if its connection is wanted. A connection that comes to be wanted in the
    /// middle of its life is opened first, in the states that it leaves.
    fn change(
        &mut self,
        changes: &[Change],
        connection: &Connection,
        known: &Known,
    ) -> anyhow::Result<()> {
        let Some(change) = changes.first() else {
            return Ok(());
        };
        if self.hides {
            // Once wanted, it is shown to its end.
            let is_shown = self.shown.contains(&connection.id());
            if !is_shown && !self.asked(known).wants(connection) {
                self.say_hidden(change, connection, known);
                return Ok(());
            }
            let is_first = self.shown.insert(connection.id());
            if is_first && !matches!(change, Change::Opened { .. }) {
                self.open_late(changes, change.at(), connection)?;
            }
        }
        self.say_what_was_unsaid(connection);
        self.print(change, connection)
    }

    fn open_late(
        &mut self,
        changes: &[Change],
        at: Timestamp,
        connection: &Connection,
    ) -> anyhow::Result<()> {
        let opening = late_opening(changes, at, connection);
        self.print(&opening, connection)?;
        if self.format != Format::Json {
            self.owed.owe_all(connection, at);
        }
        Ok(())
    }

    /// Shows a connection that came to be wanted though it has not moved: by what was found of it,
    /// or because time has passed.
    fn show_unmoved(&mut self, connection: &Connection, known: &Known) -> anyhow::Result<()> {
        let is_news = !self.shown.contains(&connection.id())
            && connection.closed().is_none()
            && self.asked(known).wants(connection);
        if is_news {
            self.shown.insert(connection.id());
            self.open_late(&[], self.now, connection)?;
        }
        Ok(())
    }

    /// What is asked for, of what is known by the newest observation.
    fn asked<'a>(&'a self, known: &'a Known) -> Asked<'a> {
        Asked::of(&self.filter, known, self.now)
    }

    /// Shows what has become old enough. By observations, so that a replay says the same.
    fn show_the_aged(&mut self, known: &Known) -> anyhow::Result<()> {
        if !self.filter.depends_on_time() || self.now.since(self.aged) < AGED {
            return Ok(());
        }
        self.aged = self.now;
        let mut all = known.tracker.connections();
        all.try_for_each(|connection| self.show_unmoved(connection, known))
    }

    /// Once: whoever asks for a process would wait for its connections in vain.
    fn say_hidden(&mut self, change: &Change, connection: &Connection, known: &Known) {
        if self.said_hidden || !matches!(change, Change::Held { .. }) {
            return;
        }
        if let Some(hidden) = self.asked(known).hidden_holders(connection) {
            self.said_hidden = true;
            complain(hidden);
        }
    }

    /// That some processes can't be looked into is of interest to who misses a holder.
    fn say_what_was_unsaid(&mut self, connection: &Connection) {
        let mut ends = connection.visible();
        if self.unsaid.is_some()
            && ends.any(|(_, track)| matches!(track.owners(), Owners::Nobody | Owners::Hidden))
            && let Some(message) = self.unsaid.take()
        {
            complain(&message);
        }
    }

    fn print(&mut self, change: &Change, connection: &Connection) -> anyhow::Result<()> {
        match self.format {
            Format::Json => {
                json::write_change(&mut self.json, change, connection)?;
                self.send_json()
            }
            Format::Text | Format::Tui if self.owed.takes(change, connection) => {
                let holders = match change {
                    Change::Moved { side, step, .. } => {
                        self.owed.said_with(step, *side, connection)
                    }
                    _ => None,
                };
                self.line(&self.lines.change_with(change, connection, holders))
            }
            Format::Text | Format::Tui => Ok(()),
        }
    }

    /// Says who holds the ends that were seen a while ago.
    fn holders(&mut self, now: Timestamp, tracker: &Tracker) -> anyhow::Result<()> {
        for (conn, ends) in self.owed.due(now) {
            let connection = tracker.get(conn);
            let open = connection.filter(|connection| connection.closed().is_none());
            let line = open.and_then(|open| self.lines.held(open, ends, now));
            if let Some(line) = line {
                self.line(&line)?;
            }
        }
        Ok(())
    }

    /// Shows what was found, if it is about something that is wanted.
    fn news(&mut self, news: &[News], at: Timestamp, known: &Known) -> anyhow::Result<()> {
        if self.filter.expr.is_some() {
            let found = news.iter().map(|news| &news.finding().subject);
            for conn in found.flat_map(Subject::connections) {
                if let Some(connection) = known.tracker.get(conn) {
                    self.show_unmoved(connection, known)?;
                }
            }
        }
        let asked = Asked::of(&self.filter, known, at);
        let shown = &self.shown;
        let wanted = news.iter().filter(|news| {
            let mut about = news.finding().subject.connections();
            !self.hides
                || about.any(|conn| shown.contains(&conn))
                || asked.wants_finding(news.finding())
        });
        match self.format {
            Format::Json => {
                for news in wanted {
                    json::write_news(&mut self.json, news, at)?;
                }
                self.send_json()
            }
            Format::Text | Format::Tui => {
                let lines = self.lines.news(wanted, at);
                lines.iter().try_for_each(|line| self.line(line))
            }
        }
    }

    fn forget_dropped(&mut self, tracker: &Tracker) {
        if self.shown.len() > 2 * tracker.connections().len() + 1024 {
            self.shown.retain(|id| tracker.get(*id).is_some());
        }
    }
}

/// An opening in the states that the ends are in before `changes`, of which the first is about
/// this connection.
fn late_opening(changes: &[Change], at: Timestamp, connection: &Connection) -> Change {
    let leaves = |side: Side| {
        changes
            .iter()
            .filter(|change| change.conn() == connection.id())
            .find_map(|change| match change {
                Change::Moved { side: of, step, .. } if *of == side => Some(step.from),
                _ => None,
            })
    };
    // An end that joins in these changes is told when they come to it.
    let joins = |side: Side| {
        changes.iter().any(|change| {
            matches!(change, Change::Joined { conn, side: of, .. }
                if *conn == connection.id() && *of == side)
        })
    };
    let ends = Side::BOTH.map(|side| {
        let track = connection.end(side).filter(|_| !joins(side));
        track.map(|track| Found {
            state: leaves(side).unwrap_or_else(|| track.state()),
            came: Came::Found,
            age: leaves(side)
                .is_none()
                .then(|| track.present_age(at))
                .flatten(),
            cookie: track.id().cookie,
        })
    });
    Change::Opened {
        conn: connection.id(),
        at,
        ends,
    }
}

impl Show for LineShow {
    fn take(&mut self, observation: &Observation, known: &Known) -> anyhow::Result<()> {
        self.lines.clock.note(observation);
        if self.from.is_some_and(|from| observation.at < from) {
            return Ok(());
        }
        self.now = observation.at;
        self.holders(observation.at, &known.tracker)?;
        self.observation(observation)?;
        let changes = known.changes();
        for index in 0..changes.len() {
            if let Some(connection) = known.tracker.get(changes[index].conn()) {
                self.change(&changes[index..], connection, known)?;
            }
        }
        if !known.news().is_empty() {
            self.news(known.news(), observation.at, known)?;
        }
        self.show_the_aged(known)
    }

    fn settle(&mut self, known: &Known, _: Timestamp) -> anyhow::Result<Flow> {
        self.flush()?;
        self.forget_dropped(&known.tracker);
        Ok(if reader_is_gone() {
            Flow::End
        } else {
            Flow::On
        })
    }

    fn conclusion(
        &mut self,
        experiment: &str,
        conclusion: &Conclusion,
        _: &Known,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => {
                let (shown, text) = (conclusion.is_shown(), conclusion.text());
                json::write_conclusion(&mut self.json, experiment, shown, text, now)?;
                self.send_json()
            }
            Format::Text | Format::Tui => self.line(&conclusion.line(experiment)),
        }
    }

    fn conclude(&mut self) -> anyhow::Result<()> {
        self.flush()
    }
}

/// Whether it tells why some holders can't be seen.
fn is_of_holders(observation: &Observation) -> bool {
    observation.source == SourceName::Holders
        && matches!(
            observation.body,
            Body::Source(SourceState::Running { why: Some(_), .. })
        )
}

/// The namespace that a source looks at, as it says with its facts.
fn netns_of(observation: &Observation) -> Option<u64> {
    match &observation.body {
        Body::Host(facts) => facts.scope.netns,
        _ => None,
    }
}

/// Whether the other end of our pipe is closed, which a write would tell too, if there were
/// anything to write.
pub(super) fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut descriptors = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec::default();
    poll(&mut descriptors, Some(&at_once)).is_ok()
        && descriptors[0].revents().contains(PollFlags::ERR)
}
