//! How often a couple of ends is worth a look, by what they do.
//!
//! The trap: mini-sockets change nothing but once, and a FIN that nobody acknowledges stays in
//! motion for minutes; neither may come before an end that is in the middle of its teardown.

use std::time::Duration;

use crate::model::{Sample, TcpState, Timestamp};
use crate::source::sock_diag::follow::end::End;

/// An end that did something within this time may do the next thing at any moment.
const LIVELY: Duration = Duration::from_secs(10);
/// An end whose state changed within this time is in the middle of it.
const MOVING: Duration = Duration::from_secs(1);
/// The kernel's timer of a TIME_WAIT fires no earlier than this after what it says.
pub(super) const TIMER_GRAIN: Duration = Duration::from_millis(4);

/// How often a couple is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// In motion, or never looked at: at the full rate, first of all.
    Moving = 0,
    /// May move at any time: at the full rate, as far as the budget goes.
    Lively = 1,
    /// Only mini-sockets, one of them in FIN_WAIT2, or a TIME_WAIT whose time is over.
    Mini = 2,
    /// Nothing happens.
    Idle = 3,
    /// Nothing but TIME_WAIT: at its deadline.
    Waiting = 4,
}

/// The looks that are asked for, by the user and by what else runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The full rate, looks a second.
    pub(super) rate: f64,
    /// What looks slower than the dumps come is not worth it.
    pub(super) least: f64,
    /// Kernel events tell of motion: nothing needs to be fast.
    pub(super) events: bool,
}

/// What a couple does.
pub(super) struct Doing<'a> {
    /// Its ends.
    pub(super) ends: &'a [End],
    /// When any of them last did anything.
    pub(super) moved: Timestamp,
    /// When a state last changed.
    pub(super) stepped: Timestamp,
}

/// Where a couple belongs.
pub(super) fn class_of(doing: &Doing<'_>, settings: Settings, now: Timestamp) -> Class {
    let any = |wanted: fn(&End) -> bool| doing.ends.iter().any(wanted);
    if any(|end| end.said().is_none() || end.is_leaving()) {
        return Class::Moving;
    }
    let waits = |end: &End| end.time_wait_deadline();
    if doing.ends.iter().all(|end| waits(end).is_some()) {
        let over = |end: &End| waits(end).is_some_and(|at| at.plus(TIMER_GRAIN) <= now);
        return if doing.ends.iter().any(over) {
            Class::Mini
        } else {
            Class::Waiting
        };
    }
    if settings.events {
        return Class::Idle;
    }
    let is_mini = |end: &End| end.said().is_some_and(Sample::is_mini_socket);
    if doing.ends.iter().all(is_mini) {
        return Class::Mini;
    }
    let quiet = now.since(doing.moved);
    let in_between = any(|end| end.said().is_some_and(|said| is_passing(said.state)));
    if now.since(doing.stepped) < MOVING || (in_between && quiet < LIVELY) {
        Class::Moving
    } else if in_between || quiet < LIVELY {
        // A FIN that nobody acknowledges for minutes does not come before all others.
        Class::Lively
    } else {
        Class::Idle
    }
}

/// A state that a packet on its way ends.
const fn is_passing(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::SynSent
            | TcpState::SynRecv
            | TcpState::FinWait1
            | TcpState::Closing
            | TcpState::LastAck
    )
}
