//! tcpwatch
pub mod model;
