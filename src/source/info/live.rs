//! The thread of a live run that answers [`Ask::Info`].
//!
//! The trap: a socket that does not answer may do so for hours, and each question more is one more
//! process that waits. It is said once, asked again a few times, and then left.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::model::{
    Ask, Body, InfoAnswer, Observation, SockId, SourceName, SourceState, Timestamp,
};
use crate::source::info::Inquiry;
use crate::source::{SourceError, clock};

/// How long a live run waits for an answer.
const LIVE_LIMIT: Duration = Duration::from_millis(500);
/// After this long a socket that did not answer is asked again, and then no more.
const AGAIN: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// Who did not answer, and when it is asked again.
struct Silence {
    id: SockId,
    due: Timestamp,
    /// So many of [`AGAIN`] are over.
    times: usize,
}

/// Answers [`Ask::Info`] until nobody asks any more, or nobody listens. A socket that does not
/// answer is said to be silent once, and asked again a few times. Does nothing and costs nothing
/// but when it is asked.
///
/// Where the kernel can't be asked it says so and ends.
pub fn run(asks: &Receiver<Vec<Ask>>, mut send: impl FnMut(Vec<Observation>) -> bool) {
    let mut inquiry: Option<Inquiry> = None;
    let mut silences: Vec<Silence> = Vec::new();
    loop {
        let due = silences.iter().map(|silence| silence.due).min();
        let batch = match due {
            Some(due) => match asks.recv_timeout(due.since(clock::now())) {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            },
            None => match asks.recv() {
                Ok(batch) => batch,
                Err(_) => return,
            },
        };
        let mut ids: Vec<SockId> = std::iter::once(batch)
            .chain(asks.try_iter())
            .flatten()
            .filter_map(|ask| match ask {
                Ask::Info(id) => Some(id),
                _ => None,
            })
            .collect();
        let now = clock::now();
        ids.extend(
            silences
                .iter()
                .filter(|one| one.due <= now)
                .map(|one| one.id),
        );
        if ids.is_empty() {
            continue;
        }
        let asked = inquiry.get_or_insert_default().ask(&ids, LIVE_LIMIT);
        let mut told = match asked {
            Ok(told) => told,
            Err(error) => {
                send(vec![off(&error)]);
                return;
            }
        };
        hear_the_silent(&mut silences, &mut told, &ids, clock::now());
        if !told.is_empty() && !send(told) {
            return;
        }
        // A helper holds a copy of our memory as it was: none is kept for nothing.
        if silences.is_empty() && !inquiry.as_ref().is_some_and(Inquiry::is_stuck) {
            inquiry = None;
        }
    }
}

/// Notes who was silent, takes out what has been said of them before, and forgets who has answered
/// or was silent too often.
fn hear_the_silent(
    silences: &mut Vec<Silence>,
    told: &mut Vec<Observation>,
    asked: &[SockId],
    now: Timestamp,
) {
    let mut silent = Vec::new();
    told.retain(|observation| match &observation.body {
        Body::Info(info) if matches!(info.answer, InfoAnswer::Silent(_)) => {
            silent.push(info.id);
            !silences.iter().any(|known| known.id == info.id)
        }
        _ => true,
    });
    silences.retain(|known| silent.contains(&known.id) || !asked.contains(&known.id));
    for id in silent {
        match silences.iter_mut().find(|known| known.id == id) {
            Some(known) if known.due <= now => {
                known.times += 1;
                let wait = AGAIN.get(known.times).copied();
                known.due = now.plus(wait.unwrap_or_default());
            }
            Some(_) => {}
            None => silences.push(Silence {
                id,
                due: now.plus(AGAIN[0]),
                times: 0,
            }),
        }
    }
    silences.retain(|known| known.times < AGAIN.len());
}

fn off(error: &SourceError) -> Observation {
    Observation {
        host: 0,
        at: clock::now(),
        source: SourceName::Info,
        body: Body::Source(SourceState::Off {
            why: error.to_string(),
        }),
    }
}
