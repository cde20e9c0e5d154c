//! The words of the house as plain types: what a socket, an end, a look and an observation are.
//!
//! Everything else imports this room, so it knows nothing of the rest: no IO, no clock, no
//! terminal. What a kernel does not say is `None` here, never 0.

pub mod event;
pub mod filter;
pub mod holder;
pub mod observation;
pub mod sock;
pub mod tcp;
pub mod time;

pub use event::{Caller, Event, Moment, What};
pub use holder::{Counters, Holder, Holders, Info, InfoAnswer, ProcessId, Program, Seen};
pub use observation::{
    Answer, Ask, Body, Keyframe, Look, Observation, Poll, SourceName, SourceState,
};
pub use sock::{Cookie, Descriptor, Endpoint, FourTuple, Queues, Sample, Scope, SockId};
pub use tcp::{Shutdown, TcpState, Timer, TimerKind};
pub use time::Timestamp;
