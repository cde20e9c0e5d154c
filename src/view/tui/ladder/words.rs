//! The words beside the lifelines: calls, waits, times.
//!
//! The trap: an arrow says already that a segment came; words are for what it does not say.

use crate::diagnosis::Finding;
use crate::model::{Descriptor, TcpState};
use crate::timeline::{Age, Cause, Certainty, Connection, Side, When};
use crate::view::cause::{self, Step};
use crate::view::duration;
use crate::view::exchange::{Again, Entered, Item, Wait};
use crate::view::plain::plain;
use crate::view::standing::{held, queued};
use crate::view::tui::letter;
use crate::view::tui::sign::of_severity;
use crate::view::{MULTIPATH, verdict as judged};

/// Why a state was entered; `None` where an arrow tells.
pub(super) fn of_cause(entered: &Entered<'_>) -> Option<String> {
    let why = &entered.span.why;
    let came = matches!(
        why.cause,
        Cause::SynReceived | Cause::FinReceived | Cause::AckReceived
    );
    if came && why.call.is_none() {
        return None;
    }
    let step = Step {
        from: entered.before,
        to: entered.span.state,
    };
    cause::words(why, step)
}

/// Who holds the socket, where only that tells a `close()` from a `shutdown()`, or where nobody has
/// accepted it; in few columns, in few words.
pub(super) fn of_holder(entered: &Entered<'_>, room: usize) -> Option<&'static str> {
    /// `descriptor held: write side shut`.
    const ROOMY: usize = 32;
    let span = entered.span;
    let descriptor = span.descriptor?;
    let tells = match (span.state, descriptor) {
        (_, Descriptor::NotAccepted) => span.certainty != Certainty::Exact,
        (TcpState::CloseWait, Descriptor::Held) => false,
        _ => span.certainty != Certainty::Exact && span.why.cause != Cause::Close,
    };
    let words = held(span.state, descriptor).filter(|_| tells)?;
    Some(match words.split_once(':') {
        Some((short, _)) if room < ROOMY => short,
        _ => words,
    })
}

/// `! B close-wait-unread: 14 bytes are received and not read ...`
pub(super) fn found(side: Side, finding: &Finding) -> String {
    let (sign, code) = (of_severity(finding.severity), finding.code.token());
    format!("{sign} {} {code}: {}", letter(side), plain(&finding.what))
}

/// `sent again, 4 times in 1.4 s`.
pub(super) fn again(again: &Again) -> String {
    let within = duration::brief(again.last.since(again.first));
    match again.times {
        1 => "retransmitted".to_owned(),
        times => format!("retransmitted {times} times in {within}"),
    }
}

/// Whether it was so when we came.
pub(super) const fn is_earlier(item: &Item<'_>) -> bool {
    matches!(item.when, When::Before(_))
}

/// How long after the row above it something was, in at most so many columns: `+38 µs`; `≤ 98 ms`
/// between the same two looks; nothing at the same time.
pub(super) fn since(age: Age, width: usize) -> String {
    match age.at_most {
        Some(most) if most.is_zero() => String::new(),
        None if age.at_least.is_zero() => "?".to_owned(),
        _ => spelled(age, "+", width),
    }
}

/// How long nothing happened: `⋮ 12 s`.
pub(super) fn waited(lasted: Age, width: usize) -> String {
    spelled(lasted, "\u{22ee} ", width)
}

fn spelled(age: Age, sign: &str, width: usize) -> String {
    let cell = duration::cell(age);
    let before = if cell.starts_with('<') && sign == "+" {
        ""
    } else {
        sign
    };
    let wide = format!("{before}{}", cell.replace('<', "\u{2264} "));
    if wide.chars().count() <= width {
        return wide;
    }
    let narrow = duration::narrow_age(age).replace('<', "\u{2264}");
    let marks = narrow.starts_with(['\u{2264}', '\u{2265}']);
    match marks && sign == "+" {
        true => narrow,
        false => format!("{}{narrow}", sign.trim_end()),
    }
}

/// What an end waits for, or keeps the other waiting for.
pub(super) fn waits(wait: &Wait, side: Side, connection: &Connection) -> String {
    let peer = letter(side.other());
    let Some(state) = wait.state(side) else {
        return String::new();
    };
    let mut words = match state {
        TcpState::SynSent => "waits for an answer".to_owned(),
        TcpState::SynRecv => "waits for the ACK".to_owned(),
        TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck => {
            format!("waits for {peer}'s ACK")
        }
        TcpState::FinWait2 => format!("waits for {peer}'s FIN"),
        TcpState::CloseWait => "has not closed".to_owned(),
        TcpState::TimeWait => "stays in TIME_WAIT".to_owned(),
        TcpState::Established => "open".to_owned(),
        TcpState::Close | TcpState::Listen => return String::new(),
    };
    let track = connection.end(side).filter(|_| wait.goes_on);
    for fact in track.into_iter().flat_map(queued) {
        words = format!("{words}, {fact}");
    }
    words
}

/// How it ended.
pub(super) fn verdict(connection: &Connection) -> String {
    judged(connection).map_or_else(
        || MULTIPATH.to_owned(),
        |verdict| format!("{}: {}", verdict.code.token(), plain(&verdict.sentence)),
    )
}
