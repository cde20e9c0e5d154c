//! tcpwatch shows both ends of a TCP connection as two lanes on one time axis, moving through
//! teardown.
//!
//! ```text
//!     source  ->  model::Observation  ->  timeline  ->  diagnosis  ->  view
//!        ^                                   |
//!        +------------ model::Ask -----------+
//! ```
//!
//! Data goes one way. A source looks at the kernel's table, or hears its events, and says what is
//! new; `run` puts what several of them say into the order of time; the timeline
//! makes tracks and connections of it; the diagnosis says what they mean; the view shows all
//! three. One thing goes back: what the timeline wants to know. Only `source` (and the tick of
//! the main loop in `run`) reads a clock, so that the same observations always give the same
//! picture. `lab` makes the traffic of the teardown experiments; `run` alone knows every room.

pub mod cli;
pub mod diagnosis;
pub mod lab;
pub mod model;
pub mod record;
pub mod run;
pub mod source;
pub mod timeline;
pub mod view;
