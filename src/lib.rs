//! tcpwatch
pub mod diagnosis;
pub mod model;
pub mod timeline;
