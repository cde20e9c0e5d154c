//! A recording and its screen, without a terminal: what is shown, and what the keys do to it.
//!
//! Whoever has a terminal draws it there and lets time pass; whoever wants a picture presses keys
//! that nobody typed. The trap: until all was read once, there is no time to go to.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;

use crate::cli::Replaying;
use crate::cli::when::{NoSuchTime, Use, When};
use crate::diagnosis::Known;
use crate::model::Timestamp;
use crate::run::clocks::contradiction;
use crate::run::replay::player::{Player, Stops, World};
use crate::run::replay::{filter, until};
use crate::run::save::{Scene, save};
use crate::source::replay::{Ending, Recorded, Replay};
use crate::view::report::{ClockWord, Window};
use crate::view::tui::playback::{End, Finale, Playback, Speed, Standing, Travel};
use crate::view::tui::{App, Input, Reaction};

/// So much time is in sight, unless the recording is shorter.
const SPAN: Duration = Duration::from_secs(20);

/// A recording on its screen.
pub(in crate::run) struct Showing {
    pub(super) player: Player,
    pub(in crate::run) app: App,
    zone: TimeZone,
    stops: Stops,
    speed: Speed,
    /// Where to begin, once the recording was read.
    from: Option<When>,
    /// What contradicts itself, once the recording was read.
    clocks: Option<String>,
    /// It was read once, as far as it had come.
    pub(super) is_read: bool,
    is_playing: bool,
    /// From which age on states count.
    older_than: Duration,
    /// A picture is the same whenever it is made: of the file nothing counts but what is in it.
    is_picture: bool,
}

impl Showing {
    /// At the start; nothing is read yet.
    pub(in crate::run) fn new(config: &Replaying, mut replay: Replay) -> anyhow::Result<Self> {
        let zone = TimeZone::system();
        let wanted = filter(config, &replay);
        let until = until(config, &mut replay, zone.clone())?;
        let mut player = Player::new(World::new(replay, zone.clone()).with(config.settings))?;
        if let Some(until) = until {
            player.end_at(until);
        }
        let mut app = App::new(wanted.clone(), config.color, zone.clone());
        app.show_as(config.screen.looks);
        Ok(Self {
            player,
            app,
            zone,
            stops: Stops::All(wanted),
            speed: config.speed,
            from: config.from.clone(),
            clocks: None,
            is_read: false,
            is_playing: true,
            older_than: config.settings.older_than,
            is_picture: false,
        })
    }

    /// Reads on, so many observations at most; says whether there may be more.
    pub(in crate::run) fn read_on(&mut self, most: usize) -> anyhow::Result<bool> {
        let has_more = !self.player.read_on(most)?;
        if !has_more && !self.is_read {
            self.is_read = true;
            self.begin()?;
        }
        Ok(has_more)
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
        Ok(())
    }

    /// Whether time passes on the screen.
    pub(super) fn passes(&self) -> bool {
        self.is_read && self.is_playing && self.player.position() < self.player.end()
    }

    /// Lets so much time pass, at most so many observations of it.
    pub(super) fn pass(&mut self, time: Duration, most: usize) -> anyhow::Result<()> {
        let to = self.player.position().plus(self.speed.of(time));
        self.player.advance(to, most)?;
        if self.player.position() >= self.player.end() && self.player.is_all()? {
            self.is_playing = false;
        }
        Ok(())
    }

    /// Stops at that time; without one, at the end.
    pub(in crate::run) fn stop_at(&mut self, at: Option<&When>) -> anyhow::Result<()> {
        (self.is_playing, self.is_picture) = (false, true);
        let extent = self.player.extent(self.zone.clone());
        let at = match at {
            Some(at) => at.resolve(&extent, Use::Shown).context("--at")?,
            None => self.player.end(),
        };
        Ok(self.player.seek(at)?)
    }

    /// What is to be said of the clocks, as far as was read.
    pub(in crate::run) fn clocks(&self) -> Vec<ClockWord> {
        self.player.clocks()
    }

    /// What is to be drawn: the screen, which knows by now where the replay stands, what it shows, and
    /// the moment.
    pub(in crate::run) fn picture(&mut self) -> anyhow::Result<(&mut App, &Known, Timestamp)> {
        let playback = self.playback()?;
        let (app, world) = (&mut self.app, self.player.world());
        app.show_moment(playback, world.heard().clone());
        Ok((app, world.known(), self.player.position()))
    }

    /// Saves what is shown under that name; `cells` are those of the screen. It says what came of it.
    pub(in crate::run) fn save(&mut self, name: &str, cells: &Buffer) {
        let said = save(name, self.scene(cells));
        self.app.say(said);
    }

    /// What is shown, to be saved.
    pub(in crate::run) fn scene<'a>(&'a self, cells: &'a Buffer) -> Scene<'a> {
        let (world, now) = (self.player.world(), self.player.position());
        let listed = self.app.listed(world.known(), now);
        let stopped = now < self.player.end();
        let shown = (Window::default(), listed.filter.clone());
        let survey = world.survey();
        Scene {
            cells: (cells, self.app.looks().background),
            listed,
            about: survey.about(world.replay(), now, stopped, shown),
            losses: survey.losses.clone(),
            older_than: self.older_than,
        }
    }

    /// Takes in what came from the terminal. Travels are made here, and the picture is another one.
    pub(in crate::run) fn update(&mut self, input: Input) -> anyhow::Result<Reaction> {
        let position = self.player.position();
        let known = self.player.world().known();
        Ok(match self.app.update(input, known, position) {
            Reaction::Travel(travel) => {
                if self.is_read {
                    self.travel(travel)?;
                }
                Reaction::Redraw
            }
            reaction => reaction,
        })
    }

    fn playback(&mut self) -> anyhow::Result<Playback> {
        let standing = self.standing()?;
        let finale = (standing == Standing::Ended)
            .then(|| finale(&mut self.player, !self.is_picture))
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

fn end(one: &Recorded, asks_files: bool) -> End {
    match &one.ending {
        Ending::Said(why) if &**why == "stopped" => End::Stopped,
        Ending::Said(why) => End::Said(why.clone()),
        Ending::GoesOn(part) => End::GoesOn(*part),
        Ending::Unsaid if asks_files && one.files.iter().any(|file| is_fresh(file)) => End::MayGrow,
        Ending::Unsaid => End::CutOff,
    }
}

/// Whether it was written to so lately that its recorder may still be there, which writes about once a
/// second. A file of the future is of no clock that could be asked.
fn is_fresh(file: &Path) -> bool {
    const LATELY: Duration = Duration::from_secs(5);
    let written = std::fs::metadata(file).and_then(|known| known.modified());
    let since = written.map(|written| written.elapsed());
    since.is_ok_and(|since| since.is_ok_and(|since| since < LATELY))
}

/// What there is to be said of the end.
fn finale(player: &mut Player, asks_files: bool) -> anyhow::Result<Finale> {
    let is_by_wish = player.is_cut_by_wish()?;
    let known = player.known();
    let why = if is_by_wish {
        End::Asked
    } else {
        // The worst of them.
        let ends = known.recordings().map(|one| end(one, asks_files));
        ends.max_by_key(|end| match end {
            End::Stopped | End::Asked => 0,
            End::Said(_) => 1,
            End::GoesOn(_) => 2,
            End::MayGrow => 3,
            End::CutOff => 4,
        })
        .unwrap_or(End::CutOff)
    };
    let unread = known.recordings().map(|one| one.skipped.lines()).sum();
    Ok(Finale { why, unread })
}
