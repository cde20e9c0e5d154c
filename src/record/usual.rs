//! What the moment of an event mostly is, and is then left out of its line.
//!
//! A promise like the words: a line that leaves a field out means what stands here, for ever. The
//! trap: it is no statement of how TCP goes. What is otherwise is written, whatever it is.

use crate::model::event::File;
use crate::model::{TcpState, What};

/// What a line that leaves it out says of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usual {
    pub(super) file: File,
    pub(super) shut: u8,
    pub(super) fin: bool,
}

/// Open, and nothing has happened to it.
const OPEN: Usual = usual(File::Held, 0, false);
/// Nobody has it any more, and the peer has said goodbye.
const OVER: Usual = usual(File::Absent, 3, true);

impl Usual {
    pub(super) const fn at(what: &What) -> Self {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
            TimeWait,
        };
        match what {
            What::State { from, to } => match (from, to) {
                // Nobody has accepted it yet.
                (Listen, SynRecv) | (SynRecv, Established) => usual(File::Absent, 0, false),
                (Established, CloseWait) => usual(File::Held, 1, true),
                (Established, FinWait1) | (Listen, Close) => usual(File::Closing, 3, false),
                (CloseWait, LastAck) => usual(File::Closing, 3, true),
                (FinWait1, FinWait2) => usual(File::Absent, 3, false),
                (FinWait1 | FinWait2 | Closing | LastAck, Close | Closing | TimeWait) => OVER,
                _ => OPEN,
            },
            What::Freed => OVER,
            What::ResetSent(_) | What::ResetReceived | What::Retransmit => OPEN,
        }
    }
}

const fn usual(file: File, shut: u8, fin: bool) -> Usual {
    Usual { file, shut, fin }
}
