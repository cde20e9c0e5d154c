//! Where nothing happened for long enough to ask who waited for whom.

use std::time::Duration;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Age, Side, When};
use crate::view::exchange::order::may_be_before;
use crate::view::exchange::{Exchange, Item, Steps, What};

/// Less is to be seen by the time of what follows.
const LONG: Duration = Duration::from_secs(1);

/// How long nothing happened, and how the ends stood.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Wait {
    pub(in crate::view) lasted: Age,
    /// The states of A and of B; `None` of one that is not seen, or was not yet.
    pub(in crate::view) states: [Option<TcpState>; 2],
    /// It is not over.
    pub(in crate::view) goes_on: bool,
}

impl<'a> Exchange<'a> {
    /// As it was known at a moment: what was later is left out.
    pub(in crate::view) fn known_at(mut self, at: Timestamp) -> Self {
        self.items.retain(|item| item.when.not_after() <= at);
        self
    }

    /// Puts the waits in between, up to `at` where it is not over by then.
    pub(in crate::view) fn waiting(mut self, at: Timestamp) -> Self {
        let mut states = [None, None];
        let mut all: Vec<Item<'a>> = Vec::with_capacity(self.items.len() + 8);
        for item in self.items.drain(..) {
            if let Some(above) = all.last() {
                let begin = last_of(above);
                let lasted = passed(&over(above), &item);
                // Of two things that were so when somebody looked, nothing is known in between.
                let is_known = lasted.at_most.is_some() || !lasted.at_least.is_zero();
                if is_known && item.at.since(begin) >= LONG {
                    let wait = wait(above, item.at, lasted, states, false);
                    all.push(wait);
                }
            }
            if let What::State(entered) = item.what {
                states[entered.side as usize] = Some(entered.span.state);
            }
            all.push(item);
        }
        if let Some(last) = all.last().filter(|_| self.connection.closed().is_none())
            && at.since(last_of(last)) >= LONG
        {
            let lasted = until(last, at);
            let goes_on = wait(last, at, lasted, states, true);
            all.push(goes_on);
        }
        self.items = all;
        self
    }

    /// Whether what stands at `index` may have been before what stands above it.
    pub(in crate::view) fn may_be_before_the_one_above(&self, index: usize) -> bool {
        let is_wait = |item: &&Item<'_>| matches!(item.what, What::Wait(_));
        let above = self.items[..index].iter().rev().find(|item| !is_wait(item));
        let item = self.items.get(index).filter(|item| !is_wait(item));
        item.zip(above)
            .is_some_and(|(item, above)| may_be_before(item, above))
    }
}

fn wait<'a>(
    above: &Item<'a>,
    at: Timestamp,
    lasted: Age,
    states: [Option<TcpState>; 2],
    goes_on: bool,
) -> Item<'a> {
    Item {
        at,
        when: above.when,
        rank: above.rank,
        what: What::Wait(Wait {
            lasted,
            states,
            goes_on,
        }),
        steps: Steps::default(),
    }
}

/// When it was over: what was sent again and again, with the last.
const fn last_of(item: &Item<'_>) -> Timestamp {
    match item.what {
        What::Again(again) => again.last,
        _ => item.at,
    }
}

/// As it is when it is over.
const fn over<'a>(item: &Item<'a>) -> Item<'a> {
    let mut over = *item;
    if let What::Again(again) = item.what {
        over.when = When::At(again.last);
    }
    over
}

/// How long after what stands above it an item was; after the first, of what was sent again.
pub(in crate::view) fn passed(above: &Item<'_>, item: &Item<'_>) -> Age {
    let (begin, end) = (bounds(above), bounds(item));
    Age {
        at_least: end.0.map_or(Duration::ZERO, |end| end.since(begin.1)),
        at_most: begin.0.map(|begin| end.1.since(begin)),
    }
}

fn until(above: &Item<'_>, at: Timestamp) -> Age {
    let begin = bounds(&over(above));
    Age {
        at_least: at.since(begin.1),
        at_most: begin.0.map(|begin| at.since(begin)),
    }
}

fn bounds(item: &Item<'_>) -> (Option<Timestamp>, Timestamp) {
    (item.when.not_before(), item.when.not_after())
}

impl Wait {
    /// The state of an end.
    pub(in crate::view) const fn state(&self, side: Side) -> Option<TcpState> {
        self.states[side as usize]
    }
}
