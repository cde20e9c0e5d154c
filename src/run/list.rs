//! `tcpwatch list`: one look, both ends on one row.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;

use crate::cli::{List, ListFormat};
use crate::model::{Body, Observation, Scope, SourceName, SourceState};
use crate::run::{Outcome, complain, place};
use crate::source::feed::Feed;
use crate::source::holders;
use crate::timeline::{Connection, Owners, Track, Tracker};
use crate::view::plain::plain;
use crate::view::{hidden_holders, json, text};

/// Looks once and prints what matches.
pub(super) fn list(config: &List) -> anyhow::Result<Outcome> {
    let mut observations = Vec::new();
    let request = place::request(&config.filter, config.netns.as_ref())?;
    let scope = request.scope;
    let mut feed = Feed::open(config.source, request, Duration::ZERO, &mut observations)?;
    feed.look(&mut observations)?;
    let mut tracker = Tracker::new(usize::MAX);
    for observation in &observations {
        tracker.ingest(observation);
        tell(observation);
    }
    // The moment of the look: what comes after it is no age.
    let now = observations
        .iter()
        .map(|observation| observation.at)
        .max()
        .unwrap_or_default();
    find_owners(&mut tracker, config, scope);
    let selected: Vec<&Connection> = tracker
        .connections()
        .filter(|connection| connection.is_selected_by(&config.filter.selection))
        .collect();
    if selected.is_empty() {
        let mut all = tracker.connections();
        let hidden = all.find_map(|connection| hidden_holders(&config.filter, connection));
        hidden.into_iter().for_each(complain);
    }
    let text = match config.format {
        ListFormat::Json => json::list(selected.iter().copied(), now)? + "\n",
        ListFormat::Text if selected.is_empty() => {
            let filter = config.filter.to_string();
            let of = if filter.is_empty() {
                String::new()
            } else {
                format!(" of {filter}")
            };
            complain(&format!("no TCP connection{of}"));
            String::new()
        }
        ListFormat::Text => text::list(selected.iter().copied(), now, config.color),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("write to standard output")?;
    Ok(if selected.is_empty() {
        Outcome::NothingMatched
    } else {
        Outcome::Done
    })
}

/// Looks who holds what will be shown.
fn find_owners(tracker: &mut Tracker, config: &List, scope: Scope) {
    // Who is asked for by its process is known only then.
    let held_by_any = config.filter.selection.held_by_any();
    let inodes: Vec<u32> = tracker
        .connections()
        .filter(|connection| connection.is_selected_by(&held_by_any))
        .flat_map(Connection::visible)
        .filter_map(|(_, track)| track.last().inode)
        .collect();
    if inodes.is_empty() {
        return;
    }
    let census = holders::census(&inodes, scope, true);
    for observation in &census {
        tracker.ingest(observation);
        tell(observation);
    }
    let is_nobodys = |(_, track): (_, &Track)| track.owners() == Owners::Nobody;
    let mut ends = tracker.connections().flat_map(Connection::visible);
    if ends.any(is_nobodys)
        && let Some(observation) = census.first()
        && let Body::Source(SourceState::Running { why: Some(why), .. }) = &observation.body
    {
        complain(&format!("{}: {}", observation.source, plain(why)));
    }
}

/// A fallback and a loss are worth a word; that all went as it should is not.
pub(super) fn tell(observation: &Observation) {
    match &observation.body {
        Body::Lost { count, why } => {
            let count = count.map_or_else(String::new, |count| format!("{count} "));
            complain(&format!("{}: lost: {count}{why}", observation.source));
        }
        Body::Source(SourceState::Off { .. }) => {
            if let Some(message) = text::source_message(observation) {
                complain(&match observation.source {
                    SourceName::SockDiag => format!("{message}; /proc is read instead"),
                    _ => message,
                });
            }
        }
        _ => {}
    }
}
