//! Pictures and tables of a recording for other programs, one file a format.
//!
//! Each is given connections one after the other, as they are let go, and appends to a text; what
//! it must keep until its end is bounded. Nothing that came from outside leaves here as it is: a
//! picture, a table and a diagram each have their own way of being misled.

mod csv;
mod mermaid;
mod perfetto;
mod svg;

use crate::model::Timestamp;
use crate::timeline::{Certainty, Process, Span, TcpStateName, When};
