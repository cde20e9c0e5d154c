//! What connections have in common: the peer, the processes, the states of both ends, or the worst
//! that was found of them.

use std::net::IpAddr;

use crate::diagnosis::finding::Code;
use crate::model::TcpState;
use crate::model::event::Comm;
use crate::timeline::{Connection, Side};
use crate::view::plain::plain;
use crate::view::tui::rows::worst::Worst;
use crate::view::tui::shown_state;

/// By what rows are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view::tui) enum GroupBy {
    Peer,
    Process,
    State,
    Finding,
}

impl GroupBy {
    /// The next way, and behind the last one none.
    pub(in crate::view::tui) const fn after(now: Option<Self>) -> Option<Self> {
        match now {
            None => Some(Self::Peer),
            Some(Self::Peer) => Some(Self::Process),
            Some(Self::Process) => Some(Self::State),
            Some(Self::State) => Some(Self::Finding),
            Some(Self::Finding) => None,
        }
    }

    pub(in crate::view::tui) const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Process => "process",
            Self::State => "state",
            Self::Finding => "finding",
        }
    }
}

/// What the connections of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::view::tui) enum Key {
    /// A client by its address, a server by its address and port.
    Peer(IpAddr, Option<u16>),
    /// Who holds A and B, or did last.
    Process([Option<([u8; 16], u32)>; 2]),
    State([Option<TcpState>; 2]),
    Finding(Option<Code>),
}

impl Key {
    pub(super) fn of(by: GroupBy, connection: &Connection, worst: &Worst<'_>) -> Self {
        match by {
            GroupBy::Peer => peer(connection),
            GroupBy::Process => Self::Process(Side::BOTH.map(|side| holder(connection, side))),
            GroupBy::State => Self::State(Side::BOTH.map(|side| {
                let track = connection.end(side)?;
                Some(track.state())
            })),
            GroupBy::Finding => {
                let found = worst.about(connection.id());
                Self::Finding(found.map(|finding| finding.code))
            }
        }
    }

    /// In words, harmless.
    pub(in crate::view::tui) fn words(&self) -> String {
        match self {
            Self::Peer(addr, None) => format!("peer {addr}"),
            Self::Peer(IpAddr::V6(addr), Some(port)) => format!("peer [{addr}]:{port}"),
            Self::Peer(addr, Some(port)) => format!("peer {addr}:{port}"),
            Self::Process(holders) => {
                let [a, b] = holders.map(|holder| {
                    holder.map_or_else(
                        || "?".to_owned(),
                        |(comm, pid)| format!("{}[{pid}]", plain(&Comm(comm).text())),
                    )
                });
                format!("A {a}, B {b}")
            }
            Self::State(states) => {
                let [a, b] = states.map(|state| state.map_or("not visible", shown_state));
                format!("A {a}, B {b}")
            }
            Self::Finding(None) => "nothing found".to_owned(),
            Self::Finding(Some(code)) => code.token().to_owned(),
        }
    }
}

/// Who is talked to: a client's port tells nothing, a server's does. Where both ends are here it is
/// the server.
fn peer(connection: &Connection) -> Key {
    let of = |side: Side| connection.endpoint(side);
    match (connection.end(Side::A), connection.end(Side::B)) {
        (None, Some(_)) => Key::Peer(of(Side::A).addr(), None),
        _ => Key::Peer(of(Side::B).addr(), Some(of(Side::B).port())),
    }
}

fn holder(connection: &Connection, side: Side) -> Option<([u8; 16], u32)> {
    let owners = connection.end(side)?.owners();
    let program = &owners.holders().first()?.program;
    Some((program.comm.0, program.id.pid))
}
