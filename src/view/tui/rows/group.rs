//! What connections have in common: the peer, the processes, the states of both ends, or the worst
//! that was found of them.

use std::net::IpAddr;

use crate::diagnosis::finding::Code;
use crate::model::event::Comm;
use crate::model::filter::script_name;
use crate::model::{Program, TcpState};
use crate::timeline::{Connection, Owners, Side};
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
    Process([Whose; 2]),
    State([Option<TcpState>; 2]),
    Finding(Option<Code>),
}

/// Who holds an end, or why nobody is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::view::tui) enum Whose {
    /// By its name, and the script behind an interpreter: of many workers each is no group.
    Process(Label),
    Nobody,
    Hidden,
    NotLooked,
    /// No source shows the end itself.
    NotSeen,
}

/// So much of a name and a script's tells them apart.
const LABEL: usize = 40;
type Label = [u8; LABEL];

fn label(program: &Program) -> Label {
    let script = script_name(program).map_or_else(String::new, |script| format!(" {script}"));
    labelled(program.comm, &script)
}

fn labelled(comm: Comm, script: &str) -> Label {
    let mut label = [0; LABEL];
    let name = comm.text();
    for (place, byte) in label.iter_mut().zip(name.bytes().chain(script.bytes())) {
        *place = byte;
    }
    label
}

impl Whose {
    fn of(connection: &Connection, side: Side) -> Self {
        let Some(track) = connection.end(side) else {
            return Self::NotSeen;
        };
        let owners = track.owners();
        // Of one that was over before anybody looked, who made its last call.
        let caller = || track.spans().iter().rev().find_map(|span| span.why.by);
        if let Some(first) = owners.holders().first() {
            return Self::Process(label(&first.program));
        }
        if let Some(caller) = caller() {
            return Self::Process(labelled(caller.comm, ""));
        }
        match owners {
            Owners::Nobody => Self::Nobody,
            Owners::Hidden => Self::Hidden,
            Owners::NotLooked | Owners::Now(_) | Owners::Before(_) => Self::NotLooked,
        }
    }

    /// `python3 app.py`, harmless.
    fn words(self) -> String {
        match self {
            Self::Process(label) => {
                let end = label.iter().position(|&byte| byte == 0);
                let text = String::from_utf8_lossy(&label[..end.unwrap_or(LABEL)]);
                plain(&text).into_owned()
            }
            Self::Nobody => "nobody".to_owned(),
            Self::Hidden => "holder not visible".to_owned(),
            Self::NotLooked => "holder not known".to_owned(),
            Self::NotSeen => "not seen".to_owned(),
        }
    }
}

impl Key {
    pub(super) fn of(by: GroupBy, connection: &Connection, worst: &Worst<'_>) -> Self {
        match by {
            GroupBy::Peer => peer(connection),
            GroupBy::Process => Self::Process(Side::BOTH.map(|side| Whose::of(connection, side))),
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
                let [a, b] = holders.map(Whose::words);
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
