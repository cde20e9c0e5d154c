//! A recording as lines: those that the live command printed, at once.
//!
//! The trap: the first line holds what the sources said until the first look was in, so the
//! beginning is read twice.

use std::sync::mpsc::Receiver;

use anyhow::bail;
use jiff::tz::TimeZone;

use crate::cli::Replaying;
use crate::cli::when::{Use, When};
use crate::model::{Body, Observation, Timestamp};
use crate::run::clocks::complain_of;
use crate::run::lines::{LineShow, Output};
use crate::run::live::{Flow, Show};
use crate::run::replay::extent::extent;
use crate::run::replay::player::World;
use crate::run::replay::{News, filter, resolve, tell_the_end, until, wait};
use crate::source::replay::Replay;

/// Observations between two looks at whether anybody still reads.
const GULP: usize = 4096;
/// A first look comes within so many observations.
const OPENING: usize = 4096;

/// Prints all.
pub(super) fn print(
    config: &Replaying,
    mut replay: Replay,
    news: &Receiver<News>,
) -> anyhow::Result<()> {
    let zone = TimeZone::system();
    let extent = extent(&replay, &[config.from.as_ref()], zone.clone())?;
    if extent.grows && matches!(config.from, Some(When::BeforeEnd(_))) {
        bail!("--from: what comes from a pipe has no end yet to count from");
    }
    let from = resolve(config.from.as_ref(), &extent, Use::From, "--from")?;
    let until = until(config, &mut replay, zone.clone())?;
    let Some(opening) = opening(&replay, until, news)? else {
        return Ok(());
    };
    let wanted = filter(config, &replay);
    let header = replay.recordings().next().map(|one| &one.header);
    let output = Output {
        format: config.format,
        color: config.color,
        filter: &wanted,
        kernel: header.map_or_else(String::new, |header| header.kernel.clone()),
        host: header.map_or_else(String::new, |header| header.host.clone()),
        netns: header.and_then(|header| header.netns),
        hides: config.filter.is_some() || wanted.chooses(),
        from,
    };
    let mut show = LineShow::of(output, &opening)?;
    let mut world = World::new(replay, zone).with(config.settings);
    loop {
        for _ in 0..GULP {
            let Some(observation) = world.take(until)? else {
                if world.is_all(until)? {
                    show.conclude()?;
                    complain_of(&world.clocks());
                    if world.is_ended() {
                        tell_the_end(world.replay());
                    }
                    return Ok(());
                }
                show.settle(world.known(), world.at())?;
                if matches!(wait(news), News::End) {
                    return show.conclude();
                }
                continue;
            };
            show.take(&observation, world.known())?;
        }
        let has_reader = show.settle(world.known(), world.at())? == Flow::On;
        let is_over = std::iter::from_fn(|| news.try_recv().ok()).any(|n| matches!(n, News::End));
        if is_over || !has_reader {
            return show.conclude();
        }
    }
}

/// What was said until the first look was in; `None` when the user wants no more.
fn opening(
    replay: &Replay,
    until: Option<Timestamp>,
    news: &Receiver<News>,
) -> anyhow::Result<Option<Vec<Observation>>> {
    let mut scout = replay.clone();
    let mut opening = Vec::new();
    while opening.len() < OPENING {
        match scout.next_until(until)? {
            Some(observation) => {
                let is_look = matches!(&observation.body, Body::Poll(poll) if poll.first);
                opening.push(observation);
                if is_look {
                    break;
                }
            }
            None if scout.is_ended() || scout.peek()?.is_some() => break,
            None if matches!(wait(news), News::End) => return Ok(None),
            None => {}
        }
    }
    Ok(Some(opening))
}
