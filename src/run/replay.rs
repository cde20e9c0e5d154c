//! `tcpwatch replay`: recordings as a source, with the same tracker and the same views.
//!
//! As lines, they come at once, and are those that were printed live. On the screen time can go
//! back ([`player`]).

pub(in crate::run) mod extent;
mod lines;
pub mod player;
mod screen;
pub(in crate::run) mod showing;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, bail};
use jiff::tz::TimeZone;

use crate::cli::when::{Extent, Use, When};
use crate::cli::{Format, Replaying};
use crate::model::Timestamp;
use crate::model::filter::Filter;
use crate::record::FilterText;
use crate::record::recorder::later_parts;
use crate::run::compressed::refuse_compressed;
use crate::run::live::{Message, TO_END};
use crate::run::replay::extent::extent;
use crate::run::{Outcome, complain, signals};
use crate::source::replay::{Ending, Input, Replay, ReplayError, allow_files};
use crate::view::facts;
use crate::view::plain::plain;
use crate::view::tui::Input as Key;
use crate::view::tui::terminal::end_on_panic;

/// News wait here while the main thread is busy. One of more to read is as good as many.
const WAITING_NEWS: usize = 64;

/// What the threads tell the main thread.
enum News {
    /// There is more to read.
    More,
    /// A key, or the terminal.
    Key(Key),
    /// A signal asks to end.
    End,
}

/// Replays until the end, or until the user or a signal says otherwise.
pub(super) fn replay(config: &Replaying) -> anyhow::Result<Outcome> {
    end_on_panic();
    let (to_main, news) = sync_channel(WAITING_NEWS);
    let replay = open(config, &to_main)?;
    tell_the_just_begun(&replay);
    let tell = to_main.clone();
    signals::spawn(TO_END, move |message| {
        let news = match message {
            Message::End => News::End,
            Message::Input(key) => News::Key(key),
            _ => return true,
        };
        tell.try_send(news).is_ok()
    })
    .context("install signal handlers")?;
    match config.format {
        Format::Tui => screen::show(config, replay, to_main, &news)?,
        Format::Text | Format::Json => lines::print(config, replay, &news)?,
    }
    Ok(Outcome::Done)
}

fn open(config: &Replaying, to_main: &SyncSender<News>) -> anyhow::Result<Replay> {
    open_with(config, |file| {
        let more = to_main.clone();
        // When the channel is full, there is news enough.
        Input::open(file, move || {
            let _ = more.try_send(News::More);
        })
    })
}

/// As far as they go now.
pub(super) fn open_whole(config: &Replaying) -> anyhow::Result<Replay> {
    let replay = open_with(config, Input::open_whole)?;
    tell_the_just_begun(&replay);
    Ok(replay)
}

fn open_with(
    config: &Replaying,
    open: impl Fn(&Path) -> Result<Input, ReplayError>,
) -> anyhow::Result<Replay> {
    let files = given(&config.files);
    allow_files(files.len());
    let inputs = files.iter().map(|file| open(file));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    refuse_compressed(&inputs, "replay")?;
    Ok(Replay::open(inputs, &config.options)?)
}

/// The files that were given. Of a recording whose first file was removed, when files changed, and
/// which is named by that, those that are left.
pub(super) fn given(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::with_capacity(files.len());
    for file in files {
        let is_lost = file.as_os_str() != "-" && !file.exists();
        let parts = if is_lost {
            later_parts(file)
        } else {
            Vec::new()
        };
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            all.push(file.clone());
            continue;
        };
        let [file, first, last] =
            [file, first, last].map(|it| plain(&it.display().to_string()).into_owned());
        complain(&match parts.len() {
            1 => format!("{file} is not there any more: {first} is read"),
            count => {
                format!("{file} is not there any more: {first} to {last} are read ({count} files)")
            }
        });
        let is_new = |part: &PathBuf| !files.contains(part);
        all.extend(parts.into_iter().filter(is_new));
    }
    all
}

/// What is wanted: what the user says, or what was wanted when it was recorded.
fn filter(config: &Replaying, replay: &Replay) -> Filter {
    let recorded = || {
        let mut all = replay.recordings().map(|one| &one.header.filter);
        let first = all.next();
        // What one of several was not asked for is not hidden in the others.
        first
            .filter(|first| all.all(|other| other == *first))
            .map_or_else(Filter::default, recorded_filter)
    };
    config.filter.clone().unwrap_or_else(recorded)
}

/// A filter as it was recorded. What this version can't read of it wants everything.
pub(super) fn recorded_filter(recorded: &FilterText) -> Filter {
    Filter {
        expr: facts::parse(recorded.expr()).ok().flatten(),
        ..recorded.filter()
    }
}

/// When that is; `option` says whose time it is.
fn resolve(
    when: Option<&When>,
    extent: &Extent,
    what_for: Use,
    option: &str,
) -> anyhow::Result<Option<Timestamp>> {
    when.map(|when| {
        when.resolve(extent, what_for)
            .with_context(|| option.to_owned())
    })
    .transpose()
}

/// `--until`, which must leave something to be seen.
fn until(
    config: &Replaying,
    replay: &mut Replay,
    zone: TimeZone,
) -> anyhow::Result<Option<Timestamp>> {
    let extent = extent(replay, &[config.until.as_ref()], zone)?;
    if extent.grows && matches!(config.until, Some(When::BeforeEnd(_))) {
        bail!("--until: what comes from a pipe has no end yet to count from");
    }
    let until = resolve(config.until.as_ref(), &extent, Use::Until, "--until")?;
    let first = replay.peek()?;
    if let (Some(until), Some(first)) = (until, first)
        && until < first
    {
        bail!(
            "--until: the recording begins {} later",
            crate::view::duration::brief(first.since(until))
        );
    }
    Ok(until)
}

/// Says which files hold nothing, although the others can be read.
pub(super) fn tell_the_just_begun(replay: &Replay) {
    for file in replay.recordings().flat_map(|one| &one.just_begun) {
        complain(&format!(
            "{} is empty: it was just begun when the recorder was stopped",
            plain(&file.display().to_string())
        ));
    }
}

/// Says how the recordings ended, where that is not as it should be.
fn tell_the_end(replay: &Replay) {
    for one in replay.recordings() {
        let name = one.name();
        let name = plain(&name);
        match &one.ending {
            Ending::Said(why) if &**why == "stopped" => {}
            Ending::Said(why) => complain(&format!("{name}: the recording ended: {}", plain(why))),
            Ending::GoesOn(part) => complain(&format!(
                "{name}: the recording goes on in part {part}, which was not given"
            )),
            Ending::Unsaid => complain(&format!(
                "{name}: the recording ends without its last line: the recorder was stopped at \
                 once, failed, or still writes"
            )),
        }
        if one.skipped.lines() > 0 {
            let lines = one.skipped.lines();
            complain(&format!("{name}: {lines} lines could not be read"));
        }
        for missing in &one.missing {
            let (first, last) = (missing.start(), missing.end());
            complain(&if first == last {
                format!("{name}: part {first} is missing")
            } else {
                format!("{name}: parts {first} to {last} are missing")
            });
        }
    }
}

/// Waits for news; the end is one too.
fn wait(news: &Receiver<News>) -> News {
    news.recv().unwrap_or(News::End)
}
