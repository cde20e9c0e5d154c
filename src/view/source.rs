//! How a source is doing, in words: for the screen's header and for standard error.
//!
//! A source that looks many times a second is told by its rate and its share of a core; one that
//! only listens has no period at all.

use std::borrow::Cow;
use std::time::Duration;

use crate::model::{SourceName, SourceState};
use crate::view::duration::brief;
use crate::view::plain::plain;

/// A shorter period is told as a rate.
const OFTEN: Duration = Duration::from_millis(100);

/// The source in words, with its reason in full.
pub(super) fn words(name: SourceName, state: &SourceState) -> String {
    match state {
        _ if name == SourceName::Holders => owners(state).into_owned(),
        SourceState::Running { period, cost, why } => {
            let why = why
                .as_deref()
                .map_or_else(String::new, |why| format!(" ({})", plain(why)));
            format!("{name} {}{why}", pace(name, *period, *cost))
        }
        SourceState::Off { why } => {
            let off = match name {
                SourceName::Destroy => "not joined",
                _ => "off",
            };
            format!("{name} {off}: {}", plain(why))
        }
    }
}

/// As [`words`], where room is short: how often, and no more; but what is off says why.
pub(super) fn brief_words(name: SourceName, state: &SourceState) -> String {
    match state {
        _ if name == SourceName::Holders => brief_owners(state).to_owned(),
        SourceState::Off { .. } => words(name, state),
        SourceState::Running { period, cost, .. } => {
            let cost = cost.filter(|_| *period < OFTEN);
            let pace = pace(name, *period, cost);
            format!("{name} {}", pace.trim_end_matches(" of a core"))
        }
    }
}

/// Whose sockets are told by name.
fn owners(state: &SourceState) -> Cow<'static, str> {
    match state {
        SourceState::Running { why: None, .. } => "owners: all processes".into(),
        SourceState::Running { why: Some(why), .. } | SourceState::Off { why } => {
            format!("owners: {}", plain(why)).into()
        }
    }
}

/// Whether it is all of them; the help has the reason.
fn brief_owners(state: &SourceState) -> &'static str {
    match state {
        SourceState::Running { why: None, .. } => "owners: all",
        SourceState::Running { why: Some(why), .. } if why.starts_with("own processes only") => {
            "owners: own only"
        }
        SourceState::Running { why: Some(_), .. } => "owners: not all",
        SourceState::Off { .. } => "owners: none",
    }
}

fn pace(name: SourceName, period: Duration, cost: Option<Duration>) -> String {
    if name == SourceName::Destroy {
        return "joined".to_owned();
    }
    if name == SourceName::Bpf || period.is_zero() {
        return "running".to_owned();
    }
    if period >= OFTEN {
        let cost = cost.map_or_else(String::new, |cost| format!(", {} a look", brief(cost)));
        return format!("every {}{cost}", brief(period));
    }
    let cost = cost.map_or_else(String::new, |cost| {
        format!(", {} of a core", share(cost, period))
    });
    format!("at {} Hz{cost}", rate(period))
}

/// How often a second, to three figures.
fn rate(period: Duration) -> u128 {
    let exact = Duration::from_secs(1).as_nanos() / period.as_nanos().max(1);
    let step = match exact {
        0..1000 => 1,
        1000..10_000 => 10,
        _ => 100,
    };
    exact / step * step
}

/// One duration as a part of another: `2.1 %`.
fn share(part: Duration, whole: Duration) -> String {
    let permille = part.as_nanos() * 1000 / whole.as_nanos().max(1);
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn running(period: u64, cost: Option<u64>, why: Option<String>) -> SourceState {
        SourceState::Running {
            period: Duration::from_micros(period),
            cost: match cost {
                Some(cost) => Some(Duration::from_micros(cost)),
                None => None,
            },
            why,
        }
    }

    #[test]
    fn every_source_is_told_in_its_own_words() {
        let off = |why: &str| SourceState::Off { why: why.into() };
        let ends = Some("37 ends".to_owned());
        for (name, state, text) in [
            (
                SourceName::SockDiag,
                running(100_000, Some(240), None),
                "sock_diag every 100 ms, 240 µs a look",
            ),
            (
                SourceName::Follow,
                running(1000, Some(21), ends),
                "follow at 1000 Hz, 2.1 % of a core (37 ends)",
            ),
            (
                SourceName::Follow,
                running(3333, None, None),
                "follow at 300 Hz",
            ),
            (SourceName::Bpf, running(0, None, None), "bpf running"),
            (
                SourceName::Bpf,
                off("needs CAP_BPF"),
                "bpf off: needs CAP_BPF",
            ),
            (
                SourceName::Destroy,
                running(0, None, None),
                "destroy joined",
            ),
            (
                SourceName::Destroy,
                off("bpf tells it\u{1b}"),
                "destroy not joined: bpf tells it\\u{1b}",
            ),
        ] {
            assert_eq!(words(name, &state), text);
        }
        let all = running(10_000_000, None, None);
        assert_eq!(words(SourceName::Holders, &all), "owners: all processes");
        let why = "own processes only: the others need CAP_SYS_PTRACE".to_owned();
        let own = running(10_000_000, None, Some(why.clone()));
        assert_eq!(words(SourceName::Holders, &own), format!("owners: {why}"));
        let brief = brief_words(SourceName::Holders, &own);
        assert_eq!(brief, "owners: own only");
        let follow = running(1000, Some(21), Some("37 ends".to_owned()));
        assert_eq!(
            brief_words(SourceName::Follow, &follow),
            "follow at 1000 Hz, 2.1 %"
        );
    }
}
