//! The screen of a recording: time passes as the user says.
//!
//! Frames come at most twenty times a second while time passes, and none while it does not. The
//! trap: the first reading takes a while, and keys must work meanwhile.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::cli::Replaying;
use crate::cli::when::{NoSuchTime, Use, When};
use crate::model::Timestamp;
use crate::run::clocks::{complain_of, contradiction};
use crate::run::live::Flow;
use crate::run::replay::player::{Player, Stops, World};
use crate::run::replay::{News, filter, until};
use crate::source::clock;
use crate::source::replay::{Ending, Recorded, Replay};
use crate::view::tui::playback::{End, Finale, Playback, Speed, Standing, Travel};
use crate::view::tui::terminal::{Guard, restore, spawn_keys};
use crate::view::tui::{App, Input, Reaction, draw};

/// Frames are at least this far apart.
const FRAME: Duration = Duration::from_millis(50);
/// Observations taken in between two looks at the keys.
const GULP: usize = 20_000;
/// So much time is in sight, unless the recording is shorter.
const SPAN: Duration = Duration::from_secs(20);
/// Nothing is to be done until there is news.
const IDLE: Duration = Duration::from_secs(3600);

/// Shows the recording until the user has seen enough.
pub(super) fn show(
    config: &Replaying,
    mut replay: Replay,
    to_main: SyncSender<News>,
    news: &Receiver<News>,
) -> anyhow::Result<()> {
    let zone = TimeZone::system();
    let wanted = filter(config, &replay);
    let until = until(config, &mut replay, zone.clone())?;
    let mut player = Player::new(World::new(replay, zone.clone()).with(config.settings))?;
    if let Some(until) = until {
        player.end_at(until);
    }
    let app = App::new(wanted.clone(), config.color, zone.clone());
    let guard = Guard::enter()
        .context("take the terminal for the screen (--format text needs no terminal)")?;
    spawn_keys(move |key| to_main.send(News::Key(key)).is_ok())
        .context("start the thread of the keys")?;
    let mut screen = Screen {
        player,
        app,
        guard,
        zone,
        stops: Stops::All(wanted),
        speed: config.speed,
        from: config.from.clone(),
        clocks: None,
        is_read: false,
        has_more: true,
        is_playing: true,
        moved: clock::now(),
        drawn: None,
        is_stale: true,
    };
    let done = screen.until_the_end(news);
    restore();
    complain_of(&screen.player.clocks());
    done
}

struct Screen {
    player: Player,
    app: App,
    guard: Guard,
    zone: TimeZone,
    stops: Stops,
    speed: Speed,
    /// Where to begin, once the recording was read.
    from: Option<When>,
    /// What contradicts itself, once the recording was read.
    clocks: Option<String>,
    /// It was read once, as far as it had come.
    is_read: bool,
    /// There may be more to read now.
    has_more: bool,
    is_playing: bool,
    /// Time has passed up to then.
    moved: Timestamp,
    drawn: Option<Timestamp>,
    is_stale: bool,
}

impl Screen {
    fn until_the_end(&mut self, news: &Receiver<News>) -> anyhow::Result<()> {
        loop {
            self.read_on()?;
            self.let_time_pass()?;
            self.draw_if_due()?;
            match news.recv_timeout(self.patience()) {
                Ok(one) => {
                    if self.hear(one)? == Flow::End {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// How long nothing needs to be done unless there is news.
    fn patience(&self) -> Duration {
        if self.has_more {
            return Duration::ZERO;
        }
        if !self.is_stale && !self.passes() {
            return IDLE;
        }
        let now = clock::now();
        self.drawn
            .map_or(Duration::ZERO, |drawn| drawn.plus(FRAME).since(now))
    }

    /// Whether time passes on the screen.
    fn passes(&self) -> bool {
        self.is_read && self.is_playing && self.player.position() < self.player.end()
    }

    fn read_on(&mut self) -> anyhow::Result<()> {
        if !self.has_more {
            return Ok(());
        }
        let was_read = self.is_read;
        self.has_more = !self.player.read_on(GULP)?;
        self.is_read |= !self.has_more;
        self.is_stale |= !self.is_read || !self.has_more;
        if self.is_read && !was_read {
            self.begin()?;
        }
        Ok(())
    }

    /// All is known that there is: playing begins.
    fn begin(&mut self) -> anyhow::Result<()> {
        self.clocks = contradiction(&self.player.clocks());
        let extent = self.player.extent(self.zone.clone());
        let from = match self.from.take() {
            Some(from) => from.resolve(&extent, Use::From).context("--from")?,
            None => self.player.begin(),
        };
        self.player.seek(from)?;
        let whole = self.player.end().since(self.player.begin());
        // What grows will not stay that short.
        if whole < SPAN && self.player.known().is_whole() {
            self.app.show_span(whole);
        }
        self.moved = clock::now();
        Ok(())
    }

    fn let_time_pass(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let passed = now.since(self.moved);
        self.moved = now;
        if !self.passes() {
            return Ok(());
        }
        let to = self.player.position().plus(self.speed.of(passed));
        self.player.advance(to, GULP)?;
        self.is_stale = true;
        if self.player.position() >= self.player.end() && self.player.is_all()? {
            self.is_playing = false;
        }
        Ok(())
    }

    fn draw_if_due(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let is_due = self.drawn.is_none_or(|drawn| now.since(drawn) >= FRAME);
        if !self.is_stale || !is_due {
            return Ok(());
        }
        let playback = self.playback()?;
        let (app, world) = (&mut self.app, self.player.world());
        app.show_moment(playback, world.heard().clone());
        let (known, position) = (world.known(), self.player.position());
        self.guard
            .draw(|frame| draw(frame, app, known, position))
            .context("draw on the terminal")?;
        self.drawn = Some(now);
        self.is_stale = false;
        Ok(())
    }

    fn playback(&mut self) -> anyhow::Result<Playback> {
        let standing = self.standing()?;
        let finale = (standing == Standing::Ended)
            .then(|| finale(&mut self.player))
            .transpose()?;
        Ok(Playback {
            standing,
            speed: self.speed,
            begin: self.player.begin(),
            end: self.player.end(),
            finale,
            clocks: self.clocks.clone(),
        })
    }

    fn standing(&mut self) -> anyhow::Result<Standing> {
        if !self.is_read {
            let progress = self.player.known().progress();
            let percent = progress.of.map(|all| progress.read * 100 / all.max(1));
            return Ok(Standing::Reading(
                percent.and_then(|percent| u8::try_from(percent.min(100)).ok()),
            ));
        }
        let is_at_end = self.player.position() >= self.player.end();
        Ok(if is_at_end && self.player.is_all()? {
            Standing::Ended
        } else if !self.is_playing {
            Standing::Paused
        } else if is_at_end {
            Standing::Waiting
        } else {
            Standing::Playing
        })
    }

    fn hear(&mut self, news: News) -> anyhow::Result<Flow> {
        match news {
            News::End => Ok(Flow::End),
            News::More => {
                self.has_more = true;
                Ok(Flow::On)
            }
            News::Key(key) => self.input(key),
        }
    }

    fn input(&mut self, input: Input) -> anyhow::Result<Flow> {
        let position = self.player.position();
        let known = self.player.world().known();
        match self.app.update(input, known, position) {
            Reaction::Nothing | Reaction::Copy(_) | Reaction::Save(_) | Reaction::Listen { .. } => {
            }
            Reaction::Redraw => self.is_stale = true,
            Reaction::Repaint => {
                self.guard.repaint().context("clear the terminal")?;
                self.is_stale = true;
            }
            Reaction::Suspend => {
                self.guard.suspend().context("suspend")?;
                self.moved = clock::now();
                self.is_stale = true;
            }
            Reaction::Quit => return Ok(Flow::End),
            Reaction::Travel(travel) => {
                if self.is_read {
                    self.travel(travel)?;
                }
                self.moved = clock::now();
                self.is_stale = true;
            }
        }
        Ok(Flow::On)
    }

    fn travel(&mut self, travel: Travel) -> anyhow::Result<()> {
        match travel {
            Travel::PlayOrPause => self.play_or_pause()?,
            Travel::Faster => self.speed = self.speed.faster(),
            Travel::Slower => self.speed = self.speed.slower(),
            Travel::Next(of) => {
                self.is_playing = false;
                self.player.next(&self.stops(of))?;
            }
            Travel::Previous(of) => {
                self.is_playing = false;
                self.player.previous(&self.stops(of))?;
            }
            Travel::Start => self.player.seek(self.player.begin())?,
            // What may still grow is followed from there.
            Travel::End => self.player.seek(self.player.end())?,
            Travel::To(typed) => self.go_to(typed)?,
        }
        Ok(())
    }

    fn stops(&self, of: Option<crate::timeline::ConnId>) -> Stops {
        of.map_or_else(|| self.stops.clone(), Stops::Of)
    }

    /// At the end, playing begins from the start.
    fn play_or_pause(&mut self) -> anyhow::Result<()> {
        let is_at_end = self.player.position() >= self.player.end() && self.player.is_all()?;
        if is_at_end {
            self.player.seek(self.player.begin())?;
            self.is_playing = true;
        } else {
            self.is_playing = !self.is_playing;
        }
        Ok(())
    }

    fn go_to(&mut self, typed: String) -> anyhow::Result<()> {
        let extent = self.player.extent(self.zone.clone());
        let at = match typed.parse::<When>() {
            Ok(when) => when.resolve(&extent, Use::Shown),
            Err(error) => {
                // A line has little room.
                let brief = error.split(" (allowed").next().unwrap_or_default();
                let brief = format!("{brief} (14:02:11.5, +10s, -5m)");
                self.app.refuse_time(typed, brief);
                return Ok(());
            }
        };
        match at {
            Ok(at) => self.player.seek(at)?,
            // What was typed stands before it.
            Err(NoSuchTime::Outside { recorded, .. }) => {
                let error = format!("is outside of the recording ({recorded})");
                self.app.refuse_time(typed, error);
            }
            Err(error) => self.app.refuse_time(typed, error.to_string()),
        }
        Ok(())
    }
}

fn end(one: &Recorded) -> End {
    match &one.ending {
        Ending::Said(why) if &**why == "stopped" => End::Stopped,
        Ending::Said(why) => End::Said(why.clone()),
        Ending::GoesOn(part) => End::GoesOn(*part),
        Ending::Unsaid => End::CutOff,
    }
}

/// What there is to be said of the end.
fn finale(player: &mut Player) -> anyhow::Result<Finale> {
    let is_by_wish = player.is_cut_by_wish()?;
    let known = player.known();
    let why = if is_by_wish {
        End::Asked
    } else {
        // The worst of them.
        let ends = known.recordings().map(end);
        ends.max_by_key(|end| match end {
            End::Stopped | End::Asked => 0,
            End::Said(_) => 1,
            End::GoesOn(_) => 2,
            End::CutOff => 3,
        })
        .unwrap_or(End::CutOff)
    };
    let unread = known.recordings().map(|one| one.skipped.lines()).sum();
    Ok(Finale { why, unread })
}
