//! The values of an expression: text in, a checked value out, or what is allowed.

use std::str::FromStr;
use std::time::Duration;

use crate::model::TcpState;
use crate::model::filter::expr::near::nearest;
use crate::model::filter::expr::{Compare, Rank, WordSet};
use crate::model::filter::{PortSet, parse_port};
use crate::model::tcp::StateSet;

/// What `ss` calls so (ss(8), STATE-FILTER).
const GROUPS: [(&str, &[TcpState]); 2] = [
    (
        "connected",
        &[
            TcpState::Established,
            TcpState::SynSent,
            TcpState::SynRecv,
            TcpState::FinWait1,
            TcpState::FinWait2,
            TcpState::TimeWait,
            TcpState::CloseWait,
            TcpState::LastAck,
            TcpState::Closing,
        ],
    ),
    (
        "synchronized",
        &[
            TcpState::Established,
            TcpState::SynRecv,
            TcpState::FinWait1,
            TcpState::FinWait2,
            TcpState::TimeWait,
            TcpState::CloseWait,
            TcpState::LastAck,
            TcpState::Closing,
        ],
    ),
];

/// A state, or what `ss` calls a group of them.
pub(super) fn states(text: &str) -> Result<StateSet, String> {
    let group = GROUPS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, states)) = group {
        return Ok(states.iter().copied().collect());
    }
    TcpState::from_str(text)
        .map(|state| StateSet::EMPTY.with(state))
        .map_err(|error| {
            let names = TcpState::ALL.map(TcpState::name);
            let plain = text.to_ascii_uppercase().replace('-', "_");
            match names.iter().find(|name| super::distance(&plain, name) <= 2) {
                Some(name) => format!("{error}: did you mean {name}?"),
                None => format!("{error}, and connected, synchronized"),
            }
        })
}

/// Ports, of which `ss` writes one as `:80`.
pub(super) fn ports(text: &str) -> Result<PortSet, String> {
    let text = text.strip_prefix(':').unwrap_or(text);
    PortSet::from_str(text).map_err(|error| error.to_string())
}

/// The ports that compare so with one.
pub(super) fn ports_beyond(text: &str, compare: Compare) -> Result<PortSet, String> {
    let port = parse_port(text.strip_prefix(':').unwrap_or(text)).map_err(|it| it.to_string())?;
    let (first, last) = match compare {
        Compare::Less => (1, port - 1),
        Compare::AtMost => (1, port),
        Compare::Equal => (port, port),
        Compare::AtLeast => (port, u16::MAX),
        Compare::More if port == u16::MAX => (1, 0),
        Compare::More => (port + 1, u16::MAX),
    };
    PortSet::range(first, last).ok_or_else(|| format!("no port is {compare} {port}"))
}

/// A time of 0 and more.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let allowed = "allowed: 500ms, 30s, 5m, 1.5h, 1h30m";
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        return Err(format!("'{text}' has no unit, as in {text}s ({allowed})"));
    }
    let read = jiff::SignedDuration::from_str(text).ok();
    let read = read.and_then(|time| Duration::try_from(time).ok());
    // What is longer (292 years) can't be written in every unit.
    let read = read.filter(|read| i64::try_from(read.as_nanos()).is_ok());
    read.ok_or_else(|| format!("'{}' is not a time ({allowed})", text.escape_default()))
}

/// A number of bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" => Some(1_000),
        "m" | "mb" => Some(1_000_000),
        "g" | "gb" => Some(1_000_000_000),
        "ki" | "kib" => Some(1 << 10),
        "mi" | "mib" => Some(1 << 20),
        "gi" | "gib" => Some(1_u64 << 30),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    let bytes = number.zip(unit);
    let bytes = bytes.and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| {
        let text = text.escape_default();
        format!("'{text}' is not a number of bytes (allowed: 0, 4096, 64k, 2M, 64KiB, 2MiB)")
    })
}

/// Numbers of connections: `5`, `#5`, `5-9`.
pub(super) fn numbers(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| {
        let digits = text.strip_prefix('#').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_number)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        (Some(first), Some(last)) => Err(format!(
            "the range '{text}' is empty: its first number is above its last (write it as \
             {last}-{first})"
        )),
        _ => Err(format!(
            "'{}' is not the number of a connection (allowed: 5, ranges as 5-9, lists as 5,7)",
            text.escape_default()
        )),
    }
}

/// A code, or the beginning of some (`close-wait` of `close-wait-leaked`), or `any`.
pub(super) fn codes(
    text: &str,
    what: &str,
    among: &'static [&'static str],
) -> Result<WordSet, String> {
    let word = text.to_ascii_lowercase().replace('_', "-");
    if word == "any" {
        return Ok(WordSet::all(among));
    }
    let mut set = WordSet::none(among);
    if let Some(place) = among.iter().position(|code| *code == word) {
        set.add(place);
        return Ok(set);
    }
    for (place, code) in among.iter().enumerate() {
        let rest = code.strip_prefix(word.as_str());
        if rest.is_some_and(|rest| !word.is_empty() && rest.starts_with('-')) {
            set.add(place);
        }
    }
    if set.bits != 0 {
        return Ok(set);
    }
    let text = text.escape_default();
    Err(match nearest(&word, among.iter().copied()) {
        Some(meant) => format!("'{text}' is no {what}: did you mean {meant}?"),
        None => format!("'{text}' is no {what} (allowed: any, {})", among.join(", ")),
    })
}

/// One of some words that have an order.
pub(super) fn rank(text: &str, what: &str, among: &'static [&'static str]) -> Result<Rank, String> {
    let is_it = |word: &&str| word.eq_ignore_ascii_case(text);
    among
        .iter()
        .position(is_it)
        .map(|place| Rank { among, place })
        .ok_or_else(|| {
            let text = text.escape_default();
            format!("'{text}' is no {what} (allowed: {})", among.join(", "))
        })
}
