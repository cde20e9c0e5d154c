//! Where a replay stands: what the header says of it, and what its keys ask for.
//!
//! The screen shows a moment; who moves it is outside. The trap: a recording that ends says nothing
//! of what came after, so the end says how it ended.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::model::Timestamp;
use crate::model::time::nanos_of;
use crate::timeline::ConnId;
use crate::view::plain::plain;
use crate::view::tui::View;

/// Where a replay stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    /// What goes on.
    pub standing: Standing,
    /// So many seconds of the recording pass in one.
    pub speed: Speed,
    /// When the recording begins.
    pub begin: Timestamp,
    /// When it ends, as far as is known.
    pub end: Timestamp,
    /// At its end: what there is to be said of that.
    pub finale: Option<Finale>,
    /// What contradicts itself between the clocks of several recordings.
    pub clocks: Option<String>,
}

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being read for the first time; so many percent, when that is known.
    Reading(Option<u8>),
    /// Time passes.
    Playing,
    /// It does not.
    Paused,
    /// At the end of what has come so far; more may come.
    Waiting,
    /// At the end.
    Ended,
}

impl Standing {
    /// What the last column of the time axis is called: it agrees with the corner.
    pub(super) const fn at_the_axis(self) -> &'static str {
        match self {
            Self::Reading(_) => "reading",
            Self::Playing => "now",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Ended => "end",
        }
    }
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finale {
    /// Why there.
    pub why: End,
    /// Lines that could not be read.
    pub unread: u64,
}

/// Why a recording ends where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The recorder was stopped in good order.
    Stopped,
    /// It was ended, and its last line says why.
    Said(Box<str>),
    /// It goes on in this part, which was not given.
    GoesOn(u32),
    /// It says nothing of an end.
    CutOff,
    /// The same, and it was written to just now.
    MayGrow,
    /// The user wants no more of it.
    Asked,
}

/// How fast time passes, as a power of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

/// The slowest and the fastest.
const SLOWEST: f64 = 1.0 / 16.0;
const FASTEST: f64 = 1024.0;

impl Default for Speed {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Speed {
    /// A speed, if it lies between a sixteenth and 1024.
    pub fn new(times: f64) -> Option<Self> {
        (SLOWEST..=FASTEST).contains(&times).then_some(Self(times))
    }

    /// Twice as fast.
    #[must_use]
    pub fn faster(self) -> Self {
        Self((self.0 * 2.0).min(FASTEST))
    }

    /// Half as fast.
    #[must_use]
    pub fn slower(self) -> Self {
        Self((self.0 / 2.0).max(SLOWEST))
    }

    /// How much time of the recording passes.
    pub fn of(self, time: Duration) -> Duration {
        time.mul_f64(self.0)
    }

    fn label(self) -> String {
        if self.0 >= 1.0 {
            format!("{}x", (self.0 * 100.0).round() / 100.0)
        } else {
            format!("1/{}x", (100.0 / self.0).round() / 100.0)
        }
    }
}

/// Where the user wants to go in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Travel {
    /// Play, or stop.
    PlayOrPause,
    /// To the next transition, of this connection or of all that are shown.
    Next(Option<ConnId>),
    /// To the one before.
    Previous(Option<ConnId>),
    /// Faster.
    Faster,
    /// Slower.
    Slower,
    /// To the start.
    Start,
    /// To the end.
    End,
    /// To a time, as it was typed.
    To(String),
}

/// What the right corner says.
pub(super) fn corner(playback: &Playback, view: &View<'_>) -> String {
    let does = match playback.standing {
        Standing::Reading(None) => return " REPLAY reading ".to_owned(),
        Standing::Reading(Some(percent)) => return format!(" REPLAY reading {percent} % "),
        Standing::Playing => format!("playing {}", playback.speed.label()),
        Standing::Paused => format!("paused {}", playback.speed.label()),
        Standing::Waiting => "waiting for more".to_owned(),
        Standing::Ended => "end".to_owned(),
    };
    format!(" REPLAY {} {does} ", view.heard.date_and_time(view.at))
}

/// A thin bar, left of the corner, if there is room between `from` and `to`.
pub(super) fn draw_bar(
    buffer: &mut Buffer,
    (from, to): (u16, u16),
    y: u16,
    playback: &Playback,
    at: Timestamp,
) {
    const LEAST: u16 = 6;
    const MOST: u16 = 30;
    let room = to.saturating_sub(from + 2).min(MOST);
    if room < LEAST || matches!(playback.standing, Standing::Reading(_)) {
        return;
    }
    let done = share(playback, at, room);
    let area = Rect::new(to - room - 1, y, room, 1);
    for column in 0..room {
        let sign = if column < done {
            "\u{2501}"
        } else {
            "\u{2508}"
        };
        buffer.set_string(area.x + column, y, sign, Style::new());
    }
}

/// How many of so many columns lie behind the position.
fn share(playback: &Playback, at: Timestamp, columns: u16) -> u16 {
    let all = nanos_of(playback.end.since(playback.begin)).max(1);
    let passed = nanos_of(at.since(playback.begin)).min(all);
    let columns = u128::from(passed) * u128::from(columns) / u128::from(all);
    u16::try_from(columns).unwrap_or(u16::MAX)
}

/// Why the recording ends here.
pub(super) fn finale(finale: &Finale) -> String {
    let why = match &finale.why {
        End::Stopped => "end of the recording: it was stopped in good order".to_owned(),
        End::Said(why) => format!("end of the recording: {}", plain(why)),
        End::GoesOn(part) => format!("the recording goes on in part {part}, which was not given"),
        End::CutOff => "the recording ends here without its last line: the recorder was stopped \
                        at once, failed, or still writes"
            .to_owned(),
        // What is behind may have no room.
        End::MayGrow => "the recording may still be being written: it has no last line, and was \
                         written to just now"
            .to_owned(),
        End::Asked => "the end that was asked for (--until)".to_owned(),
    };
    // A narrow screen cuts off what is behind.
    match finale.unread {
        0 => format!(" {why}"),
        1 => format!(" 1 line could not be read; {why}"),
        lines => format!(" {lines} lines could not be read; {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_told_as_it_is_set() {
        let mut speed = Speed::new(1.0 / 16.0).unwrap();
        let mut labels = vec![speed.label()];
        for _ in 0..15 {
            speed = speed.faster();
            labels.push(speed.label());
        }
        assert_eq!(labels[..6], ["1/16x", "1/8x", "1/4x", "1/2x", "1x", "2x"]);
        assert_eq!(labels[14..], ["1024x", "1024x"]);
        assert_eq!(Speed::new(1.0).unwrap().slower().label(), "1/2x");
        assert!(Speed::new(0.0).is_none() && Speed::new(f64::NAN).is_none());
    }
}
