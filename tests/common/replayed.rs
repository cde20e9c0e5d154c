//! A recording under a screen, moved by what the screen asks for: what `replay` does, without its threads.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]
#![allow(dead_code, reason = "no test file uses all of them")]

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tcpwatch::cli::when::{Use, When};
use tcpwatch::model::filter::Filter;
use tcpwatch::run::replay::player::{Player, Stops, World};
use tcpwatch::source::replay::{Input, Options, Replay};
use tcpwatch::view::tui::App;
use tcpwatch::view::tui::playback::{End, Finale, Playback, Speed, Standing, Travel};

/// Before anything of it was taken in.
pub fn world(recording: &[u8]) -> World {
    let taped = Input {
        name: "taped".into(),
        bytes: Arc::new(recording.to_vec()),
    };
    let replay = Replay::open(vec![taped], &Options::default()).unwrap();
    World::new(replay, TimeZone::UTC)
}

/// A player and what the user has asked of it.
pub struct Replayed {
    pub player: Player,
    speed: Speed,
    is_read: bool,
    is_playing: bool,
}

impl Replayed {
    /// Nothing is read yet.
    pub fn new(recording: &[u8]) -> Self {
        Self {
            player: Player::new(world(recording)).unwrap(),
            speed: Speed::new(1.0).unwrap(),
            is_read: false,
            is_playing: true,
        }
    }

    /// Reads on; all was read once it has come to an end.
    pub fn read_on(&mut self, most: usize) -> bool {
        let was_read = self.is_read;
        self.is_read |= self.player.read_on(most).unwrap();
        if self.is_read && !was_read {
            self.player.seek(self.player.begin()).unwrap();
        }
        self.is_read
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        if self.is_read && self.is_playing {
            let to = self.player.position().plus(self.speed.of(time));
            self.player.advance(to, usize::MAX).unwrap();
        }
    }

    /// To where the screen asks. Keys that come while it is read lead nowhere.
    pub fn follow(&mut self, travel: Travel, app: &mut App) {
        if !self.is_read {
            return;
        }
        let stops = |of: Option<_>| of.map_or_else(|| Stops::All(Filter::default()), Stops::Of);
        let player = &mut self.player;
        match travel {
            Travel::PlayOrPause => self.is_playing = !self.is_playing,
            Travel::Faster => self.speed = self.speed.faster(),
            Travel::Slower => self.speed = self.speed.slower(),
            Travel::Next(of) => {
                self.is_playing = false;
                player.next(&stops(of)).unwrap();
            }
            Travel::Previous(of) => {
                self.is_playing = false;
                player.previous(&stops(of)).unwrap();
            }
            Travel::Start => player.seek(player.begin()).unwrap(),
            Travel::End => player.seek(player.end()).unwrap(),
            Travel::To(typed) => {
                let extent = player.extent(TimeZone::UTC);
                let when = typed.parse::<When>().ok();
                match when.and_then(|when| when.resolve(&extent, Use::Shown).ok()) {
                    Some(at) => player.seek(at).unwrap(),
                    None => app.refuse_time(typed, "there is no such time".to_owned()),
                }
            }
        }
    }

    /// Tells the screen where it stands.
    pub fn show(&self, app: &mut App) {
        let is_at_end = self.player.position() >= self.player.end();
        let standing = match (self.is_read, self.is_playing) {
            (false, _) => Standing::Reading(None),
            (true, _) if is_at_end => Standing::Ended,
            (true, true) => Standing::Playing,
            (true, false) => Standing::Paused,
        };
        let playback = Playback {
            standing,
            speed: self.speed,
            begin: self.player.begin(),
            end: self.player.end(),
            finale: (standing == Standing::Ended).then_some(Finale {
                why: End::Stopped,
                unread: 0,
            }),
            clocks: None,
        };
        app.show_moment(playback, self.player.world().heard().clone());
    }
}
