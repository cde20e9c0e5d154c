//! `tcpwatch list`: one look, both ends on one row.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;

use crate::cli::{List, ListFormat};
use crate::diagnosis::{Health, Known, Settings, health};
use crate::model::filter::Filter;
use crate::model::filter::expr::Truth;
use crate::model::{Ask, Body, Observation, Scope, SockId, SourceName, SourceState, Timestamp};
use crate::run::doctor::beside::answers;
use crate::run::{Outcome, complain, place};
use crate::source::feed::Feed;
use crate::timeline::{Connection, Owners, Side, Track, Tracker};
use crate::view::plain::plain;
use crate::view::{Asked, json, text};

/// Looks once and prints what matches.
pub(super) fn list(config: &List) -> anyhow::Result<Outcome> {
    let mut observations = Vec::new();
    let request = place::request(&config.filter, config.netns.as_ref())?;
    let scope = request.scope;
    let mut feed = Feed::open(config.source, request, Duration::ZERO, &mut observations)?;
    feed.look(&mut observations)?;
    let mut known = Known::new(Tracker::new(usize::MAX), Settings::default());
    let mut asks = Vec::new();
    for observation in &observations {
        known.take(observation);
        asks.extend(known.asks());
        tell(observation);
    }
    // The moment of the look: what comes after it is no age.
    let now = observations
        .iter()
        .map(|observation| observation.at)
        .max()
        .unwrap_or_default();
    look_beside(&mut known, asks, (config, now), scope)?;
    let asked = Asked::of(&config.filter, &known, now);
    let tracker = &known.tracker;
    let mut selected: Vec<&Connection> = tracker
        .connections()
        .filter(|connection| asked.wants(connection))
        .collect();
    // The kernel's order is that of its hash table: another one each time.
    selected.sort_by_key(|connection| {
        [Side::B, Side::A].map(|side| {
            let endpoint = connection.endpoint(side);
            (endpoint.port(), endpoint.addr())
        })
    });
    let listeners = listeners(asked);
    let is_empty = selected.is_empty() && listeners.as_ref().is_none_or(Vec::is_empty);
    if is_empty {
        let mut all = tracker.connections();
        let hidden = all.find_map(|connection| asked.hidden_holders(connection));
        hidden.into_iter().for_each(complain);
    }
    tell_unknown(unknown(asked));
    let text = match config.format {
        ListFormat::Json => json::list(selected.iter().copied(), listeners.as_deref(), now)? + "\n",
        ListFormat::Text if is_empty => {
            let filter = config.filter.to_string();
            let of = if filter.is_empty() {
                String::new()
            } else {
                format!(" of {filter}")
            };
            let what = match listeners {
                Some(_) => "connection or listener",
                None => "connection",
            };
            complain(&format!("no TCP {what}{of}"));
            String::new()
        }
        ListFormat::Text => {
            let table = match selected.is_empty() {
                true => String::new(),
                false => text::list(selected.iter().copied(), now, config.color),
            };
            table + &text::listeners(listeners.as_deref().unwrap_or_default())
        }
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("write to standard output")?;
    Ok(if is_empty {
        Outcome::NothingMatched
    } else {
        Outcome::Done
    })
}

/// Of how many connections an expression can't tell whether they match.
fn unknown(asked: Asked<'_>) -> usize {
    let all = asked.tracker.connections();
    all.filter(|connection| asked.expression_is_unsure(connection))
        .count()
}

/// Says so.
pub(super) fn tell_unknown(count: usize) {
    let (more, its) = match count {
        0 => return,
        1 => ("1 connection".to_owned(), "its"),
        count => (format!("{count} connections"), "their"),
    };
    complain(&format!(
        "--filter: {more} more may match: {its} holders, {its} age or {its} queues are not known \
         well enough"
    ));
}

/// The listeners that are asked for by their state; `None` when none are.
fn listeners(asked: Asked<'_>) -> Option<Vec<Health<'_>>> {
    let all = asked.tracker.listeners();
    let wanted = all.filter(|listener| asked.wants_listener(listener));
    asked
        .filter
        .asks_for_listeners()
        .then(|| health(wanted, asked.tracker))
}

/// Looks who holds what will be shown, and asks how old states are that were there before.
fn look_beside(
    known: &mut Known,
    asks: Vec<Ask>,
    (config, now): (&List, Timestamp),
    scope: Scope,
) -> anyhow::Result<()> {
    // Who is asked for by its process is known only then, and so are ages.
    let held_by_any = Filter {
        selection: config.filter.selection.held_by_any(),
        // Whatever is found is found of who holds it, and how old it is.
        expr: match config.filter.asks_for_findings() {
            true => None,
            false => config.filter.expr.clone(),
        },
        ..config.filter.clone()
    };
    let asked = Asked::of(&held_by_any, known, now);
    let undated: Vec<SockId> = asks
        .into_iter()
        .filter_map(|ask| match ask {
            Ask::Info(id) => Some(id),
            _ => None,
        })
        .collect();
    let wanted = || {
        let all = asked.tracker.connections();
        let wanted = all.filter(|it| asked.truth(it) != Truth::No);
        wanted.flat_map(Connection::visible).map(|(_, track)| track)
    };
    let listening = listeners(asked).unwrap_or_default();
    let listening = listening.iter().filter_map(|it| it.listener.inode);
    let inodes: BTreeSet<u32> = wanted()
        .filter_map(|track| track.last().inode)
        .chain(listening)
        .collect();
    let shown: BTreeSet<SockId> = wanted().map(|track| *track.id()).collect();
    let undated: Vec<SockId> = undated
        .into_iter()
        .filter(|id| shown.contains(id))
        .collect();
    if inodes.is_empty() && undated.is_empty() {
        return Ok(());
    }
    let [census, ages] = answers(&inodes, &undated, scope)?;
    for observation in census.iter().chain(&ages) {
        known.take(observation);
        tell(observation);
    }
    let is_nobodys = |(_, track): (_, &Track)| track.owners() == Owners::Nobody;
    let mut ends = known.tracker.connections().flat_map(Connection::visible);
    if ends.any(is_nobodys)
        && let Some(observation) = census.first()
        && let Body::Source(SourceState::Running { why: Some(why), .. }) = &observation.body
    {
        complain(&format!("{}: {}", observation.source, plain(why)));
    }
    Ok(())
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
