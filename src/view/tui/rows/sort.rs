//! By what the list is sorted, and the place of a connection in that order.
//!
//! A place is a number, so that ten thousand are sorted within a millisecond. What is not known
//! comes last, whichever way the order goes.

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;

use crate::diagnosis::verdict;
use crate::model::time::nanos_of;
use crate::model::{Endpoint, Timestamp};
use crate::timeline::{Connection, Side, Track};
use crate::view::tui::rows::worst::Worst;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::view::tui) enum Column {
    #[default]
    Number,
    /// The worst that was found.
    Found,
    Address(Side),
    State(Side),
    Age(Side),
    Unread,
    Owner(Side),
    Verdict,
}

impl Column {
    /// In the order of the key that goes through them.
    pub(in crate::view::tui) const ALL: [Self; 12] = [
        Self::Number,
        Self::Found,
        Self::Age(Side::A),
        Self::Age(Side::B),
        Self::Unread,
        Self::State(Side::A),
        Self::State(Side::B),
        Self::Owner(Side::A),
        Self::Owner(Side::B),
        Self::Address(Side::A),
        Self::Address(Side::B),
        Self::Verdict,
    ];

    /// Its name, where it is said what the list is sorted by.
    pub(in crate::view::tui) const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Found => "findings",
            Self::Address(Side::A) => "address of A",
            Self::Address(Side::B) => "address of B",
            Self::State(Side::A) => "state of A",
            Self::State(Side::B) => "state of B",
            Self::Age(Side::A) => "age of A",
            Self::Age(Side::B) => "age of B",
            Self::Unread => "unread",
            Self::Owner(Side::A) => "owner of A",
            Self::Owner(Side::B) => "owner of B",
            Self::Verdict => "verdict",
        }
    }

    /// Whether who sorts by it wants the largest first.
    const fn is_largest_first(self) -> bool {
        matches!(self, Self::Found | Self::Age(_) | Self::Unread)
    }
}

/// By what, and which way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::view::tui) struct Sort {
    pub(in crate::view::tui) column: Column,
    is_reversed: bool,
}

/// A place in an order; those of one column can be compared.
type Place = (u128, u64);

impl Sort {
    /// By this column; the other way round when it is that already.
    pub(in crate::view::tui) fn by(self, column: Column) -> Self {
        Self {
            column,
            is_reversed: self.column == column && !self.is_reversed,
        }
    }

    /// By the next column.
    pub(in crate::view::tui) fn next(self) -> Self {
        let all = Column::ALL.iter().position(|&column| column == self.column);
        let next = all.map_or(0, |place| (place + 1) % Column::ALL.len());
        Self {
            column: Column::ALL[next],
            is_reversed: false,
        }
    }

    /// The other way round.
    pub(in crate::view::tui) const fn reversed(self) -> Self {
        Self {
            is_reversed: !self.is_reversed,
            ..self
        }
    }

    /// Whether the largest comes first.
    pub(in crate::view::tui) const fn falls(self) -> bool {
        self.column.is_largest_first() != self.is_reversed
    }

    /// Sorts connections as they are at a moment; equal ones by their numbers.
    pub(super) fn order(
        self,
        connections: &mut Vec<&Connection>,
        at: Timestamp,
        worst: &Worst<'_>,
    ) {
        let falls = self.falls();
        if self.column == Column::Number {
            connections.sort_unstable_by_key(|connection| connection.id());
            if falls {
                connections.reverse();
            }
            return;
        }
        let mut placed: Vec<(Option<Place>, &Connection)> = connections
            .drain(..)
            .map(|connection| (self.place(connection, at, worst), connection))
            .collect();
        placed.sort_unstable_by(|(a, one), (b, other)| {
            let order = match (a, b) {
                (Some(a), Some(b)) if falls => Reverse(a).cmp(&Reverse(b)),
                (Some(a), Some(b)) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            order.then(one.id().cmp(&other.id()))
        });
        connections.extend(placed.into_iter().map(|(_, connection)| connection));
    }

    fn place(self, connection: &Connection, at: Timestamp, worst: &Worst<'_>) -> Option<Place> {
        let of = |side: Side| connection.end(side);
        match self.column {
            Column::Number => Some((0, connection.id().0)),
            Column::Found => {
                let found = worst.about(connection.id())?;
                Some((0, found.severity as u64))
            }
            Column::Address(side) => Some(address(connection.endpoint(side))),
            Column::State(side) => Some((0, of(side)?.state() as u64)),
            Column::Age(side) => Some((0, age(of(side)?, at)?)),
            Column::Unread => {
                let ends = connection.visible();
                let most = ends.filter_map(|(_, track)| track.unread()).max()?;
                Some((0, most.into()))
            }
            Column::Owner(side) => owner(of(side)?),
            Column::Verdict => {
                let is_told = connection.closed().is_some() && !connection.is_multipath();
                is_told.then(|| (0, verdict::code_of(connection) as u64))
            }
        }
    }
}

/// IPv4 before IPv6, as a person has them in a table.
fn address(endpoint: Endpoint) -> Place {
    let bits = match endpoint.addr() {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits().max(1 << 32),
    };
    (bits, endpoint.port().into())
}

fn age(track: &Track, at: Timestamp) -> Option<u64> {
    let index = track.span_at(at)?;
    Some(nanos_of(track.age(index, at)?.at_least))
}

/// By the name, then by the number of the process.
fn owner(track: &Track) -> Option<Place> {
    let owners = track.owners();
    let program = &owners.holders().first()?.program;
    Some((u128::from_be_bytes(program.comm.0), program.id.pid.into()))
}
