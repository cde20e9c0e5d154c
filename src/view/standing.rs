//! How the ends of a connection stand that is not over: what a screen, a report and a picture say
//! of them in words.
//!
//! Knows connections and formats them; reads no clock. The trap: a connection that hangs is one
//! that somebody has not closed, and who that is must be said only as far as it is known: an end
//! that is not seen may have done anything.

use crate::model::{Descriptor, TcpState, Timestamp};
use crate::timeline::{Cause, Connection, MarkKind, Side, Track};
use crate::view::cause;
use crate::view::duration;

/// Who holds the socket, where that tells something of this state.
pub(super) const fn held(state: TcpState, descriptor: Descriptor) -> Option<&'static str> {
    match (state, descriptor) {
        (_, Descriptor::NotAccepted) => Some("not accepted: waits in the accept queue"),
        (TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing, Descriptor::Held) => {
            Some("descriptor held: write side shut")
        }
        (TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing, Descriptor::Gone) => {
            Some("descriptor gone")
        }
        (TcpState::CloseWait, Descriptor::Held) => Some("descriptor held: not closed yet"),
        _ => None,
    }
}

/// `5 bytes unread`, `1 byte not acknowledged`, as they were last seen.
pub(super) fn queued(track: &Track) -> impl Iterator<Item = String> {
    let counts = [
        (track.unread(), "unread"),
        (track.unacked(), "not acknowledged"),
    ];
    counts.into_iter().filter_map(|(count, what)| match count? {
        0 => None,
        1 => Some(format!("1 byte {what}")),
        bytes => Some(format!("{bytes} bytes {what}")),
    })
}

/// What is known of a living end beside its state, as it was last seen.
pub(super) fn facts(track: &Track) -> Vec<String> {
    let state = track.state();
    if state == TcpState::Close {
        return Vec::new();
    }
    let holder = track.descriptor_in(state).and_then(|it| held(state, it));
    holder
        .map(str::to_owned)
        .into_iter()
        .chain(queued(track))
        .collect()
}

/// What a connection that is not over waits for; `None` of one that is.
pub(super) fn sentence(connection: &Connection, until: Timestamp) -> Option<String> {
    if connection.closed().is_some() {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    if connection.is_multipath() {
        parts.push("multipath (MPTCP)".to_owned());
    }
    let closer = first_closer(connection);
    parts.extend(closer.map(|side| closed_first(connection, side)));
    let before = parts.len();
    for (side, track) in connection.visible() {
        parts.extend(waits(connection, side, track, until));
    }
    if closer.is_none() && parts.len() == before {
        parts.push("no end has closed".to_owned());
    }
    Some(format!("still open: {}", parts.join("; ")))
}

/// The end whose FIN was the first, as far as states tell.
fn first_closer(connection: &Connection) -> Option<Side> {
    let of = |side: Side, states: &[TcpState]| {
        let spans = connection.end(side)?.spans().iter();
        spans
            .filter(|span| states.contains(&span.state))
            .map(|span| span.from.not_after())
            .min()
    };
    let sent = |side: Side| {
        of(side, &[TcpState::FinWait1, TcpState::FinWait2])
            .or_else(|| of(side.other(), &[TcpState::CloseWait]))
    };
    match Side::BOTH.map(sent) {
        [Some(a), Some(b)] => Some(if b < a { Side::B } else { Side::A }),
        [Some(_), None] => Some(Side::A),
        [None, Some(_)] => Some(Side::B),
        [None, None] => None,
    }
}

fn closed_first(connection: &Connection, side: Side) -> String {
    let letter = side.letter();
    let Some(track) = connection.end(side) else {
        return format!("{letter} closed first: its FIN was received");
    };
    let Some(why) = track.why_of(TcpState::FinWait1) else {
        return format!("{letter} closed first");
    };
    let step = cause::Step {
        from: Some(TcpState::Established),
        to: TcpState::FinWait1,
    };
    match (why.cause, cause::words(&why, step)) {
        (Cause::ShutdownWr | Cause::ShutdownRdwr, Some(words)) => {
            let words = words.replacen(" by ", " of ", 1);
            format!("{letter} shut its sending side first, by {words}")
        }
        (Cause::Close, Some(words)) if why.call.is_some() => {
            let words = words.replacen(" by ", " of ", 1);
            format!("{letter} closed first, by {words}")
        }
        (_, Some(words)) => format!("{letter} closed first ({words})"),
        (_, None) => format!("{letter} closed first"),
    }
}

/// What this end waits for, or keeps the other waiting for.
fn waits(connection: &Connection, side: Side, track: &Track, until: Timestamp) -> Option<String> {
    let letter = side.letter();
    let peer = side.other().letter();
    let long = track
        .present_age(until)
        .filter(|age| duration::is_telling(*age))
        .map_or_else(String::new, |age| format!(" for {}", duration::age(age)));
    let state = track.state();
    let other = connection.end(side.other());
    let queued: Vec<String> = queued(track).collect();
    let behind = |what: String| {
        let mut all = vec![what];
        all.extend(queued.iter().cloned());
        all.join(", ")
    };
    Some(match state {
        TcpState::SynSent => {
            let again = again(track).map_or_else(String::new, |again| format!(", {again}"));
            format!("{letter}'s SYN has not been answered{long}{again}")
        }
        TcpState::SynRecv => format!("{letter} waits for the last segment of the opening{long}"),
        TcpState::CloseWait => {
            let holder = match track.descriptor_in(state) {
                Some(Descriptor::Held) => "its descriptor is held",
                Some(Descriptor::NotAccepted) => "no program has accepted it",
                Some(Descriptor::Gone) => "its descriptor is gone",
                None => "nothing is known of its descriptor",
            };
            behind(format!("{letter} has not closed{long}: {holder}"))
        }
        TcpState::FinWait1 | TcpState::LastAck | TcpState::Closing => {
            let mut text = format!("{letter}'s FIN is not acknowledged{long}");
            if let Some(again) = again(track) {
                text = format!("{text}, {again}");
            }
            behind(text)
        }
        // Where the other end is seen, it says what it waits for.
        TcpState::FinWait2 if other.is_none_or(Track::is_gone) => {
            behind(format!("{letter} waits for {peer}'s FIN{long}"))
        }
        TcpState::FinWait2 if queued.is_empty() => return None,
        TcpState::Established if other.is_some_and(Track::is_gone) => {
            behind(format!("{peer} is gone, and {letter} has not noticed"))
        }
        _ => {
            let facts = facts(track);
            if facts.is_empty() || state == TcpState::TimeWait {
                return None;
            }
            format!("{letter}: {}", facts.join(", "))
        }
    })
}

/// `3 retransmissions` of what is not acknowledged, by the marks or by the last look.
fn again(track: &Track) -> Option<String> {
    let since = track.spans().last()?.from.not_after();
    let marked = track
        .marks()
        .iter()
        .filter(|mark| mark.kind == MarkKind::Retransmit && mark.at >= since)
        .count();
    match marked.max(track.last().retransmits.into()) {
        0 => None,
        1 => Some("1 retransmission".to_owned()),
        times => Some(format!("{times} retransmissions")),
    }
}
