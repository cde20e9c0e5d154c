//! How long was spent in a state, as far as it is known, and the table of it.
//!
//! A duration has two bounds, and sums keep both: what looks found is a range, what began before
//! we came has no upper bound. The traps: CLOSE is no state that a connection spends time in; and
//! what goes on at the end counts up to there, which is said beside.

use std::time::Duration;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Age, Side, Track};
use crate::view::report::Shown;

/// How long an end was in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The bounds.
    pub age: Age,
    /// It is still in it.
    pub goes_on: bool,
    /// A part of it was before the window.
    pub clipped: bool,
}

/// How long the span at `index` lasted, within the window; `None` when nothing of it does, and of
/// CLOSE.
pub fn spent(
    track: &Track,
    index: usize,
    from: Option<Timestamp>,
    until: Timestamp,
) -> Option<Spent> {
    let span = track.spans().get(index)?;
    let next = track.spans().get(index + 1).map(|next| next.from);
    if span.state == TcpState::Close {
        return None;
    }
    let (begin_least, begin_most) = (span.from.not_before(), span.from.not_after());
    let (end_least, end_most) = match next {
        None => (until, until),
        Some(when) => (
            when.not_before().unwrap_or(begin_most).min(until),
            when.not_after().min(until),
        ),
    };
    if from.is_some_and(|from| end_most <= from && next.is_some()) {
        return None;
    }
    let clip = |at: Timestamp| from.map_or(at, |from| at.max(from));
    let begin_least = begin_least.map(clip).or(from);
    Some(Spent {
        age: Age {
            at_least: clip(end_least).since(clip(begin_most)),
            at_most: begin_least.map(|begin| clip(end_most).since(begin)),
        },
        goes_on: next.is_none(),
        clipped: from.is_some_and(|from| begin_most < from),
    })
}

/// Durations of one state, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// How many times it was entered, or found.
    pub count: u64,
    /// How many of them still went on in the end.
    pub going_on: u64,
    /// All together.
    pub total: Age,
    /// The shortest: of the lower bounds, and of the upper ones.
    pub shortest: Age,
    /// The longest.
    pub longest: Age,
}

impl Sums {
    const fn of(spent: Spent) -> Self {
        Self {
            count: 1,
            going_on: spent.goes_on as u64,
            total: spent.age,
            shortest: spent.age,
            longest: spent.age,
        }
    }

    fn add(&mut self, spent: Spent) {
        let age = spent.age;
        self.count += 1;
        self.going_on += u64::from(spent.goes_on);
        self.total = Age {
            at_least: self.total.at_least.saturating_add(age.at_least),
            at_most: both(self.total.at_most, age.at_most)
                .map(|(sum, most)| sum.saturating_add(most)),
        };
        self.shortest = Age {
            at_least: self.shortest.at_least.min(age.at_least),
            // An unknown upper bound is none that could be the lowest.
            at_most: match (self.shortest.at_most, age.at_most) {
                (Some(known), Some(most)) => Some(known.min(most)),
                (known, most) => known.or(most),
            },
        };
        self.longest = Age {
            at_least: self.longest.at_least.max(age.at_least),
            at_most: both(self.longest.at_most, age.at_most).map(|(known, most)| known.max(most)),
        };
    }

    /// The mean.
    pub fn mean(&self) -> Age {
        let share = |sum: Duration| {
            let nanos = sum.as_nanos() / u128::from(self.count.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        Age {
            at_least: share(self.total.at_least),
            at_most: self.total.at_most.map(share),
        }
    }
}

const fn both(left: Option<Duration>, right: Option<Duration>) -> Option<(Duration, Duration)> {
    match (left, right) {
        (Some(left), Some(right)) => Some((left, right)),
        _ => None,
    }
}

/// Time in each state, for each of the two roles.
#[derive(Clone, Debug, Default)]
pub struct States {
    sums: [[Option<Sums>; TcpState::ALL.len()]; 2],
}

impl States {
    /// Takes in a connection; says whether the window cut off a part of it.
    pub fn take(&mut self, shown: &Shown<'_>) -> bool {
        let mut clipped = false;
        for (side, track) in shown.connection.visible() {
            for (index, span) in track.spans().iter().enumerate() {
                let Some(spent) = spent(track, index, shown.from, shown.until) else {
                    continue;
                };
                clipped |= spent.clipped;
                let place = TcpState::ALL.iter().position(|&state| state == span.state);
                let Some(place) = place else { continue };
                match &mut self.sums[side as usize][place] {
                    Some(sums) => sums.add(spent),
                    none => *none = Some(Sums::of(spent)),
                }
            }
        }
        clipped
    }

    /// The states that an end of that role was in, in the order in which a life passes them.
    pub fn of(&self, side: Side) -> impl Iterator<Item = (TcpState, &Sums)> {
        const LIFE: [TcpState; 9] = [
            TcpState::SynSent,
            TcpState::SynRecv,
            TcpState::Established,
            TcpState::FinWait1,
            TcpState::FinWait2,
            TcpState::Closing,
            TcpState::CloseWait,
            TcpState::LastAck,
            TcpState::TimeWait,
        ];
        LIFE.into_iter().filter_map(move |state| {
            let place = TcpState::ALL.iter().position(|&known| known == state)?;
            Some((state, self.sums[side as usize][place].as_ref()?))
        })
    }
}
