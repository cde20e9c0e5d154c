//! The verdict of a connection in machine output: how it ended, what was lost, and how long each state
//! lasted.
//!
//! The trap: a state that began before we came has no upper bound, and CLOSE is none that lasts.

use serde::Serialize;

use crate::diagnosis::{Lost, Verdict};
use crate::model::TcpState;
use crate::model::time::nanos_of;
use crate::timeline::{Connection, Side, Track};

#[derive(Debug, Serialize)]
pub(super) struct VerdictInfo {
    code: &'static str,
    first_closer: Option<&'static str>,
    how: Option<&'static str>,
    half_close: Option<bool>,
    lost_bytes: Option<u64>,
    /// By end: what it lost in a reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<LostInfo>,
    signal: Option<u8>,
    sentence: String,
    /// By end: its states that are over, and how long each lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<StatesInfo>,
}

#[derive(Debug, Serialize)]
struct LostInfo {
    a: Option<LostOfEnd>,
    b: Option<LostOfEnd>,
}

#[derive(Debug, Serialize)]
struct LostOfEnd {
    unread: u32,
    unacked: u32,
}

impl LostInfo {
    fn of([a, b]: [Option<Lost>; 2]) -> Option<Self> {
        let of_end = |lost: Lost| LostOfEnd {
            unread: lost.unread,
            unacked: lost.unacked,
        };
        (a.is_some() || b.is_some()).then(|| Self {
            a: a.map(of_end),
            b: b.map(of_end),
        })
    }
}

#[derive(Debug, Serialize)]
struct StatesInfo {
    a: Option<Vec<StateInfo>>,
    b: Option<Vec<StateInfo>>,
}

#[derive(Debug, Serialize)]
struct StateInfo {
    state: &'static str,
    /// At least, and at most; the second is null where the state began before we came.
    lasted_ns: [Option<u64>; 2],
}

impl StatesInfo {
    fn of(connection: &Connection) -> Self {
        let of_end = |side: Side| connection.end(side).map(lasted);
        Self {
            a: of_end(Side::A),
            b: of_end(Side::B),
        }
    }
}

fn lasted(track: &Track) -> Vec<StateInfo> {
    let over = track.spans().len().saturating_sub(1);
    (0..over)
        .filter(|index| track.spans()[*index].state != TcpState::Close)
        .filter_map(|index| {
            let next = track.spans().get(index + 1)?;
            let age = track.age(index, next.from.not_after())?;
            Some(StateInfo {
                state: track.spans()[index].state.name(),
                lasted_ns: [Some(nanos_of(age.at_least)), age.at_most.map(nanos_of)],
            })
        })
        .collect()
}

impl VerdictInfo {
    /// With how long each state lasted.
    pub(super) fn with_states(verdict: Verdict, connection: &Connection) -> Self {
        Self {
            states: Some(StatesInfo::of(connection)),
            ..Self::from(verdict)
        }
    }
}

impl From<Verdict> for VerdictInfo {
    fn from(verdict: Verdict) -> Self {
        Self {
            code: verdict.code.token(),
            first_closer: verdict.first_closer.map(Side::token),
            how: verdict.how.map(|how| how.token()),
            half_close: verdict.half_close,
            lost_bytes: verdict.lost_bytes,
            lost: LostInfo::of(verdict.lost),
            states: None,
            signal: verdict.signal,
            sentence: verdict.sentence,
        }
    }
}
